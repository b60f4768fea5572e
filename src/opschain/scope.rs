//! What a bundle does not hold: said when it is made, stored in it, and said again before it is restored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::directory;
use super::workloads::DATABASE_CLUSTER;

/// One thing that a bundle leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub what: String,
    /// Why it is not in the bundle.
    pub why: String,
    /// What to do about it after a restore.
    pub after: String,
}

/// What the work of the moment is called in a scope.
pub const MOMENT: &str = "work of the moment";
/// The same of work that nobody could see.
pub const UNSEEN_WORK: &str = "work without a pod of its own";
/// The same of changes and steps that ran.
pub const WORK: &str = "running changes and steps";
/// The same of agents that ran.
pub const AGENTS: &str = "running agents";
/// The same of tokens that a bundle may not know.
pub const RUNNER_TOKENS: &str = "tokens of remote runners newer than the bundle";
/// The secret vault's name in a stock install; its services are named after it.
const OWN_VAULT: &str = "opschain-secret-vault";

/// What decides which things a bundle leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeFacts {
    /// It takes along the volume of the Git mirrors.
    pub git: bool,
    /// That of the step data.
    pub steps: bool,
    /// That of the image registry.
    pub registry: bool,
    /// The install runs its own LDAP server, and nobody has read it.
    pub own_ldap: bool,
    /// Its users are in an LDAP server outside of it.
    pub external_ldap: bool,
    /// The install keeps its secrets in a vault outside of it.
    pub external_vault: bool,
    /// The install makes backups of its own, on a volume of its own.
    pub own_backups: bool,
    /// Pods of agents ran when the bundle was made.
    pub agents: bool,
    /// Other work (changes, steps) ran when the bundle was made.
    pub work: bool,
    /// Other clusters replicate from this one.
    pub replicas: bool,
    /// The database's pages carry no checksums.
    pub unchecked_pages: bool,
    /// The bundle was made without stopping the application.
    pub not_quiesced: bool,
    /// Why nobody could say whether work without a pod was under way, where that is so.
    pub unseen_work: Option<&'static str>,
}

impl ScopeFacts {
    /// What the values of an install tell: whose LDAP server, whose secret vault, and whether sites follow its database.
    pub fn of_values(values: &Value) -> Self {
        let own_ldap = directory::runs_own(values);
        Self {
            own_ldap,
            external_ldap: !own_ldap,
            own_backups: makes_own_backups(values),
            external_vault: has_external_vault(values),
            replicas: has_replica_sites(values),
            ..Self::default()
        }
    }
}

/// The bundled vault is switched off, or the address that is given is not its own.
fn has_external_vault(values: &Value) -> bool {
    let switch = |path: &str| values.pointer(path).and_then(Value::as_bool);
    // A server whose own switch is `"-"`, as by default, follows the one of all.
    let server = switch("/openbao/server/enabled").or_else(|| switch("/openbao/global/enabled"));
    if switch("/openbao/enabled") == Some(false) || server == Some(false) {
        return true;
    }
    let text = |path: &str| values.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    let own = text("/openbao/fullnameOverride").unwrap_or(OWN_VAULT);
    let address = text("/env/OPSCHAIN_VAULT_ADDRESS").or_else(|| text("/vaultAddress"));
    address.is_some_and(|address| {
        let host = address.split_once("://").map_or(address, |(_, host)| host);
        let name = host.split(['.', ':', '/']).next().unwrap_or_default();
        name != own && !name.strip_prefix(own).is_some_and(|rest| rest.starts_with('-'))
    })
}

/// Releases with backups of their own make them unless told otherwise.
fn makes_own_backups(values: &Value) -> bool {
    let Some(backup) = values.pointer("/db/backup") else { return false };
    let enabled = |part: &str, default: bool| backup[part]["enabled"].as_bool().unwrap_or(default);
    enabled("periodic", true) || enabled("preDeploy", false)
}

/// A database whose sites replicate from each other names all of them, itself included.
fn has_replica_sites(values: &Value) -> bool {
    let own = values.pointer("/db/cnpg/clusterName").and_then(Value::as_str).unwrap_or(DATABASE_CLUSTER);
    let known = values.pointer("/db/cnpg/externalClusters").and_then(Value::as_array);
    known.into_iter().flatten().any(|cluster| cluster.get("name").and_then(Value::as_str) != Some(own))
}

/// That the users of the install's own LDAP server are not in a bundle, and why.
pub fn own_directory(why: &str) -> LeftOut {
    LeftOut {
        what: "users of the bundled LDAP server".into(),
        why: why.to_owned(),
        after: "Create the users again before the API syncs with LDAP: repeated empty syncs drop groups and their policies."
            .into(),
    }
}

/// Lists what a bundle of this install leaves out, what hurts most first.
pub fn left_out(install: ScopeFacts) -> Vec<LeftOut> {
    let mut list = Vec::new();
    let mut add = |holds: bool, what: &str, why: &str, after: &str| {
        if holds {
            list.push(LeftOut { what: what.into(), why: why.into(), after: after.into() });
        }
    };
    add(
        install.not_quiesced,
        MOMENT,
        "the application wrote while the bundle was made",
        "Changes of that moment may be half done: look at them in OpsChain before anything else.",
    );
    add(
        install.unseen_work.is_some(),
        UNSEEN_WORK,
        install.unseen_work.unwrap_or_default(),
        "Changes that a remote runner or the executor pool had in hand may be half done: look at them in OpsChain.",
    );
    let directory = own_directory("they are kept in the volume opschain-ldap-claim, not in the database");
    add(install.own_ldap, &directory.what, &directory.why, &directory.after);
    add(
        install.external_vault,
        "secrets in the external vault",
        "the vault is kept and backed up elsewhere",
        "Check that the vault is reachable from the cluster and as old as the database.",
    );
    add(
        install.external_ldap,
        "users of the external LDAP server",
        "the server is kept and backed up elsewhere",
        "Check that it is reachable from the cluster before the API starts: repeated empty syncs drop groups.",
    );
    add(
        install.own_backups,
        "backups that OpsChain made itself",
        "they lie in the volume opschain-db-backup, not in the database",
        "Copy them off if they are still needed; the restored install begins with an empty volume.",
    );
    add(
        install.work,
        WORK,
        "they were at work when the bundle was made",
        "They come back as interrupted: run them again.",
    );
    add(install.agents, AGENTS, "an agent is a pod, not data", "Start the agents again from OpsChain.");
    add(
        install.replicas,
        "replica database clusters",
        "they are copies of this database",
        "Delete and redeploy each replica cluster, then restart its vault and log aggregator.",
    );
    add(
        install.unchecked_pages,
        "a check of the database's pages",
        "the database has no page checksums, so a page that its disk has damaged was copied as it is",
        "Have them made once while the database is down: pg_checksums --enable.",
    );
    add(
        true,
        RUNNER_TOKENS,
        "a runner's token rotates, and the old one ends when the new one is first used",
        "Where a remote runner is refused, delete its target in OpsChain and make a new one.",
    );
    add(
        !install.registry,
        "agent images in the image registry",
        "the registry's volume holds images that can be made again",
        "Runner images are copied again by a job; releases before 2026-09-10 need agent images rebuilt by hand.",
    );
    add(
        !install.git,
        "mirrors of project Git repositories",
        "they are copies of the remotes",
        "OpsChain fetches them again at first use.",
    );
    let short_lived = if install.steps { "build caches" } else { "step data and build caches" };
    add(true, short_lived, "they are short-lived", "Nothing: the next runs fill them.");
    add(
        true,
        "log lines not yet written",
        "the log aggregator's buffer is a volume of its own",
        "Nothing: the lines of the last seconds before the bundle may be missing.",
    );
    add(
        true,
        "things outside the namespace",
        "the operator, cert-manager, ingress classes, cluster roles and the cluster's DNS belong to the cluster",
        "Install the operator before restoring; let the nodes trust the certificate authority where it changed.",
    );
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_never_in_a_bundle_is_always_said() {
        let list = left_out(ScopeFacts::default());
        assert_eq!(list.len(), 6);
        assert!(list.iter().all(|item| item.after.ends_with('.') && !item.why.ends_with('.')));
    }

    #[test]
    fn a_vault_or_a_site_outside_is_told_by_the_values() {
        let external = |values: Value| ScopeFacts::of_values(&values).external_vault;
        for own in [
            json!({}),
            json!({"openbao": {"server": {"enabled": "-"}}, "vaultAddress": null}),
            json!({"vaultAddress": "http://opschain-secret-vault:8200"}),
            json!({"env": {"OPSCHAIN_VAULT_ADDRESS": "https://opschain-secret-vault-active.ops.svc:8200/"}}),
            json!({"openbao": {"fullnameOverride": "bao"}, "vaultAddress": "https://bao"}),
        ] {
            assert!(!external(own.clone()), "{own}");
        }
        for outside in [
            json!({"vaultAddress": "https://vault.example.org:8200"}),
            json!({"env": {"OPSCHAIN_VAULT_ADDRESS": "vault.example.org"}}),
            json!({"vaultAddress": "https://opschain-secret-vaults.example.org"}),
            json!({"openbao": {"server": {"enabled": false}}}),
            json!({"openbao": {"global": {"enabled": false}, "server": {"enabled": "-"}}}),
            json!({"openbao": {"enabled": false}}),
        ] {
            assert!(external(outside.clone()), "{outside}");
        }
        let sites = |names: &[&str]| {
            let named: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            ScopeFacts::of_values(&json!({"db": {"cnpg": {"externalClusters": named}}})).replicas
        };
        assert!(!sites(&[]) && !sites(&["opschain-db"]) && sites(&["opschain-db", "opschain-db-b"]));
        assert!(!ScopeFacts::of_values(&json!({"ldap": {"enabled": false}})).own_ldap);
        assert!(ScopeFacts::of_values(&json!({})).own_ldap);
    }

    #[test]
    fn backups_of_the_install_s_own_and_users_elsewhere_are_told_by_the_values() {
        let own = |backup: Value| ScopeFacts::of_values(&json!({"db": {"backup": backup}})).own_backups;
        assert!(own(json!({})) && own(json!({"periodic": {"enabled": false}, "preDeploy": {"enabled": true}})));
        assert!(!own(json!({"periodic": {"enabled": false}})) && !ScopeFacts::of_values(&json!({})).own_backups);
        assert!(ScopeFacts::of_values(&json!({"ldap": {"enabled": false}})).external_ldap);
    }

    #[test]
    fn what_hurts_most_comes_first() {
        let list = left_out(ScopeFacts { own_ldap: true, agents: true, not_quiesced: true, ..ScopeFacts::default() });
        assert_eq!(list[0].what, "work of the moment");
        assert_eq!(list[1].what, "users of the bundled LDAP server");
        assert!(list.iter().any(|item| item.what == "running agents"));
    }
}
