//! What a bundle of this install does not hold, by what was seen of it.

use super::directory;
use super::facts::{CreateFacts, StoredFacts, drains};
use crate::bundle::OutOfScope;
use crate::cluster::{BesideRelease, Database};
use crate::error::{CommandError, Exit, Result};
use crate::opschain::scope::{LeftOut, ScopeFacts, left_out};
use crate::opschain::workloads::AGENT_PODS;
use crate::settings::Quiesce;

/// What a bundle made in this way does not hold.
pub(super) fn scope(facts: &CreateFacts, stored: &StoredFacts, quiesce: Quiesce) -> Vec<OutOfScope> {
    let agents = facts.working.iter().filter(|name| name.starts_with(AGENT_PODS)).count();
    let takes = |name: &str| facts.volumes.wanted.iter().any(|wanted| wanted == name);
    let seen = ScopeFacts {
        git: takes("git"),
        steps: takes("steps"),
        registry: takes("registry"),
        // Read when the bundle is made, or named below.
        own_ldap: false,
        external_ldap: !stored.own_ldap,
        external_vault: stored.external_vault,
        own_backups: stored.own_backups,
        agents: agents > 0,
        work: facts.working.len() > agents && !drains(quiesce, facts.sight),
        replicas: stored.replica_sites || !facts.replica_databases.is_empty(),
        unchecked_pages: facts.primary.as_ref().is_some_and(|primary| !primary.facts.page_checksums),
        not_quiesced: quiesce == Quiesce::None,
        unseen_work: facts.sight.blind().filter(|_| quiesce != Quiesce::None),
    };
    let item = |left: LeftOut| OutOfScope { what: left.what, why: left.why, whereabouts: left.after };
    let subscriptions = facts.primary.iter().flat_map(|primary| &primary.subscriptions);
    let unread = facts.unread_directory.as_deref().filter(|_| stored.own_ldap).map(directory::left_out);
    let left = left_out(seen).into_iter().chain(beside(facts)).chain(facts.carried.then(of_carried)).map(item);
    let left = unread.into_iter().chain(left).chain(subscriptions.map(|name| subscription(name)));
    left.chain(unlogged(facts)).collect()
}

/// They are in the bundle as empty tables: PostgreSQL makes them so after every crash, and a restore is one.
fn unlogged(facts: &CreateFacts) -> Option<OutOfScope> {
    let tables = &facts.primary.as_ref()?.unlogged;
    (!tables.is_empty()).then(|| OutOfScope {
        what: "the rows of unlogged tables".into(),
        why: format!("PostgreSQL backs up none of them, and a restore makes these empty: {}", few(tables, SHOWN)),
        whereabouts: "If they are needed: ALTER TABLE ... SET LOGGED, and make another bundle.".into(),
    })
}

/// It is in the bundle, and its other end is not.
fn subscription(name: &str) -> OutOfScope {
    OutOfScope {
        what: format!("the publisher of subscription {name}"),
        why: "a restored copy goes on with the subscription, and takes the publisher's slot from the original".into(),
        whereabouts:
            "Where the original lives on: ALTER SUBSCRIPTION ... DISABLE, then SET (slot_name = NONE), in the copy."
                .into(),
    }
}

/// Where a schedule in the cluster makes it, no vault is at hand.
fn of_carried() -> LeftOut {
    LeftOut {
        what: "a look at the config vault".into(),
        why: "a schedule in the cluster made it, with the deployment that it was given: whether the vault is whole, and has changed since, was not looked at".into(),
        after: "Run `dr config verify` on a host with the vault.".into(),
    }
}

/// What others than helm have put into the namespace.
fn beside(facts: &CreateFacts) -> impl Iterator<Item = LeftOut> {
    let BesideRelease { ruling, kept, unseen } = &facts.beside;
    let item = |found: &[String], what: &str, why: &str, after: &str| {
        let why = format!("{why}: {}", few(found, SHOWN_BESIDE));
        (!found.is_empty()).then(|| LeftOut { what: what.into(), why, after: after.into() })
    };
    let ruling = item(
        ruling,
        "what the site has put into the namespace",
        "it is not of the Helm release",
        "Make it where the bundle is restored to: it decides what may run there, and who may speak to whom.",
    );
    let kept = item(
        kept,
        "what others keep in the namespace",
        "neither the Helm release nor the bundle has it",
        "Keep its manifests and its data elsewhere, and apply them again after a restore.",
    );
    let unseen = item(
        unseen,
        "a look at all that stands in the namespace",
        "the access rules do not allow to list these",
        "`dr rbac --for look` prints the role that allows it.",
    );
    [ruling, kept, unseen].into_iter().flatten()
}

/// A base backup of a database that has more than its data volume is not what a restore brings back.
///
/// # Errors
/// [`Exit::Cluster`] naming what it has.
pub fn refuse_odd_volumes(database: &Database) -> Result<()> {
    let name = &database.name;
    if let Some(tablespace) = database.spec.tablespaces.first() {
        let tablespace = tablespace["name"].as_str().unwrap_or("one");
        let what = format!("database {name} has a tablespace of its own: {tablespace}");
        return Err(CommandError::new(Exit::Cluster, what)
            .hint("Move what is in it to pg_default, and take it out of the values."));
    }
    database.own_wal_volume().map_or(Ok(()), |what| {
        Err(CommandError::new(Exit::Cluster, what)
            .hint("A restore could not bring it back. Make the database without walStorage (db.cnpg in the values), or back it up by the operator's own means."))
    })
}

/// The same for what SQL has made.
///
/// # Errors
/// [`Exit::Cluster`] naming the tablespaces.
pub fn refuse_tablespaces(database: &str, found: &[String]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let what = format!("database {database} has tablespaces of its own: {}", few(found, SHOWN));
    Err(CommandError::new(Exit::Cluster, what)
        .hint("Move what is in them to pg_default (ALTER TABLE ... SET TABLESPACE), and drop them."))
}

/// How many names a sentence has room for.
const SHOWN: usize = 8;
/// How many of them where nothing else says what there was.
const SHOWN_BESIDE: usize = 40;

/// The first of several names, and how many more there are.
fn few(names: &[String], shown: usize) -> String {
    let more = names.len().saturating_sub(shown);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../fixtures/facts/create-good.json");

    #[test]
    fn the_scope_names_what_was_seen_outside_of_the_bundle() {
        let left = |change: fn(&mut CreateFacts)| {
            let mut facts: CreateFacts = serde_json::from_str(GOOD).unwrap();
            change(&mut facts);
            let stored = facts.stored.clone().unwrap();
            scope(&facts, &stored, Quiesce::None).into_iter().map(|item| item.what).collect::<Vec<_>>()
        };
        let stock = left(|_| {});
        let more = |change| {
            let mut more = left(change);
            more.retain(|what| !stock.contains(what));
            more
        };
        assert_eq!(
            more(|facts| facts.beside.ruling = vec!["NetworkPolicy deny-all".into()]),
            ["what the site has put into the namespace"]
        );
        assert_eq!(
            more(|facts| facts.beside.kept = vec!["Ingress portal".into()]),
            ["what others keep in the namespace"]
        );
        assert_eq!(
            more(|facts| facts.beside.unseen = vec!["secrets".into()]),
            ["a look at all that stands in the namespace"]
        );
        assert_eq!(more(|facts| facts.carried = true), ["a look at the config vault"]);
        assert_eq!(
            more(|facts| facts.stored.as_mut().unwrap().own_backups = true),
            ["backups that OpsChain made itself"]
        );
        assert_eq!(
            more(|facts| facts.stored.as_mut().unwrap().external_vault = true),
            ["secrets in the external vault"]
        );
        assert_eq!(more(|facts| facts.stored.as_mut().unwrap().replica_sites = true), ["replica database clusters"]);
        assert_eq!(more(|facts| facts.replica_databases = vec!["b".into()]), ["replica database clusters"]);
        assert_eq!(more(|facts| facts.working = vec!["opschain-agent-7".into()]), ["running agents"]);
        let subscribed = |facts: &mut CreateFacts| {
            facts.primary.as_mut().unwrap().subscriptions = vec!["s in database d".into()];
        };
        assert_eq!(more(subscribed), ["the publisher of subscription s in database d"]);
        let unlogged =
            |facts: &mut CreateFacts| facts.primary.as_mut().unwrap().unlogged = vec!["public.t in database d".into()];
        assert_eq!(more(unlogged), ["the rows of unlogged tables"]);
        let unread = |facts: &mut CreateFacts| facts.unread_directory = Some("no pod is ready".into());
        assert_eq!(more(unread), ["users of the bundled LDAP server"]);
        let without_ldap = left(|facts| facts.stored.as_mut().unwrap().own_ldap = false);
        assert_eq!(without_ldap.len(), stock.len() + 1, "its users are elsewhere then");
        assert!(without_ldap.contains(&"users of the external LDAP server".to_owned()));
    }

    #[test]
    fn a_full_namespace_is_named_up_to_a_bound() {
        let mut facts: CreateFacts = serde_json::from_str(GOOD).unwrap();
        facts.beside.kept = (0..2_000).map(|n| format!("ConfigMap c{n:04}")).collect();
        let named = beside(&facts).next().unwrap().why;
        assert!(named.ends_with("ConfigMap c0039 and 1960 more"), "{named}");
    }

    #[test]
    fn a_database_with_tablespaces_of_its_own_is_refused_by_their_names() {
        assert!(refuse_tablespaces("opschain-db", &[]).is_ok());
        let found: Vec<String> = (1..=10).map(|n| format!("ts{n}")).collect();
        let error = refuse_tablespaces("opschain-db", &found).unwrap_err();
        let text = "database opschain-db has tablespaces of its own: ts1, ts2, ts3, ts4, ts5, ts6, ts7, ts8 and 2 more";
        assert_eq!((error.exit(), error.message()), (Exit::Cluster, text));
    }

    #[test]
    fn a_database_with_a_wal_volume_is_refused_by_name() {
        let mut database = Database { name: "opschain-db".into(), ..Database::default() };
        assert!(refuse_odd_volumes(&database).is_ok());
        database.spec.wal_storage = Some(Default::default());
        let error = refuse_odd_volumes(&database).unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        assert_eq!(error.message(), "database opschain-db keeps its WAL on a volume of its own (walStorage)");
    }
}
