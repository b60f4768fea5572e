//! What an install cannot start again without, or its data not be opened: looked at while it runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Ctx;
use super::drift::{self, DriftFinding};
use super::release::{Release, secrets_from_bytes};
use crate::bundle::Reader;
use crate::cluster::{Cluster, ClusterError, KeptObject, Lack, ObjectRef, OverfullQuota, PodNeeds, PodRefusal};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::opschain::Names;
use crate::opschain::secrets::{PRESERVED, Preserved, Vital};
use crate::opschain::values::IMMUTABLE;

/// What was found missing, changed or full. Holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Essentials {
    /// What opens the data and is not there, with what it holds.
    #[serde(default)]
    pub lost: Vec<String>,
    /// What pods name and would not find.
    #[serde(default)]
    pub lacking: Vec<Lack>,
    /// The Secrets and ConfigMaps that pods read and that are not as helm stored them.
    #[serde(default)]
    pub changed: Vec<DriftFinding>,
    /// Quotas that hold less than runs.
    #[serde(default)]
    pub overfull: Vec<OverfullQuota>,
}

impl Essentials {
    /// Looks. Of what helm stored, nothing is compared where no `revision` is deployed.
    ///
    /// # Errors
    /// Cluster or helm cannot be asked.
    pub async fn look(ctx: &Ctx, revision: Option<u32>) -> Result<Self> {
        let cluster = ctx.cluster().await?;
        let needs = cluster.pod_needs().await?;
        let overfull = match cluster.overfull_quotas().await {
            // Who may not list quotas has the API server's word when a pod is to be made.
            Err(ClusterError::Forbidden { .. }) => Vec::new(),
            quotas => quotas?,
        };
        let read: Vec<&ObjectRef> =
            needs.named.iter().filter(|object| object.kind != "PersistentVolumeClaim").collect();
        let changed = match revision {
            Some(revision) => drift::of_objects(ctx, revision, &read).await?,
            None => Vec::new(),
        };
        Ok(Self { lost: lost(cluster, &needs).await?, lacking: needs.lacking, changed, overfull })
    }

    /// Refuses an install whose data could not be opened again, by this bundle or by itself.
    ///
    /// # Errors
    /// [`Exit::Keys`] naming all that is lost.
    pub fn require_keys(&self, namespace: &str) -> Result<()> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let what = format!("missing in namespace {namespace}: {}", self.lost.join("; "));
        Err(CommandError::new(Exit::Keys, what)
            .hint("Nothing restored from a bundle without it could read the data, nor can the application once it is started again.")
            .hint("Put it back first: from a bundle, `dr bundle extract BUNDLE secrets` has it, or from whoever took it away."))
    }

    /// Refuses to stop `writers` that could not be started again; `unadmitted` is what the API server says of another pod
    /// of each. Returns what is to be warned of.
    ///
    /// # Errors
    /// [`Exit::Cluster`] where their pods would wait for something that is not there, or for room; [`Exit::Drift`] where
    /// they would come back with another key than the data is written with.
    pub fn require_return(&self, writers: &[&str], unadmitted: &[(String, PodRefusal)]) -> Result<Vec<String>> {
        let lacking = self.lacking.iter().filter(|lack| writers.contains(&lack.workload.as_str()));
        let lacking: Vec<String> = lacking.map(|lack| format!("{} needs {lack}", lack.workload)).collect();
        let nothing_stopped = "Or take the state as it is, without stopping anything, with --quiesce none.";
        if !lacking.is_empty() {
            let what = format!("pods that are stopped would not come back: {}, which is not there", lacking.join(", "));
            return Err(CommandError::new(Exit::Cluster, what).hint("Put it back first.").hint(nothing_stopped));
        }
        // One that does not count these pods refuses none of them.
        let refuses = |quota: &&OverfullQuota| {
            let words = format!("exceeded quota: {},", quota.name);
            unadmitted.iter().any(|(_, refusal)| refusal.why.contains(&words))
        };
        if let Some(quota) = self.overfull.iter().find(refuses) {
            let OverfullQuota { name, resource, used, hard } = quota;
            let what = format!(
                "pods that are stopped would not come back: quota {name} allows {hard} of {resource}, and {used} are used"
            );
            return Err(CommandError::new(Exit::Cluster, what)
                .hint(format!("Raise it, or end what is not needed: `kubectl describe quota {name}`."))
                .hint(nothing_stopped));
        }
        if let Some((object, key)) = self.changed.iter().find_map(|found| Some((&found.object, data_key(found)?))) {
            let what = format!(
                "{object} has another {key} than was deployed: pods that are stopped would come back with it, and could not read the data"
            );
            return Err(CommandError::new(Exit::Drift, what)
                .hint("`dr config drift` says who changed it; `dr deploy` sets what was recorded.")
                .hint(nothing_stopped));
        }
        let changed = |found: &DriftFinding| {
            let fields: Vec<String> = found.fields.iter().map(|field| field.path.to_string()).collect();
            let text = &found.text;
            format!(
                "{} was changed since it was deployed ({}; {text}): pods that come back read it",
                found.object,
                fields.join(", ")
            )
        };
        Ok(self.changed.iter().map(changed).collect())
    }
}

/// The first key that changed and that stored data depends on.
fn data_key(found: &DriftFinding) -> Option<String> {
    let guarded: BTreeSet<&str> = IMMUTABLE.iter().filter_map(|one| one.path.last().copied()).collect();
    let mut keys = found.fields.iter().filter_map(|field| field.path.keys().last());
    keys.find(|key| guarded.contains(key)).map(str::to_owned)
}

/// What opens the data of this install and is not there. Whether an install has an object at all is told by the pods
/// that name it, and by the vault that it runs.
async fn lost(cluster: &Cluster, needs: &PodNeeds) -> Result<Vec<String>> {
    let own_vault = cluster.stateful_set(&Names::default().vault()).await?.is_some();
    let mut lost = Vec::new();
    for (preserved, vital) in vital() {
        let named = needs.named.contains(&ObjectRef::new("Secret", preserved.name));
        if named || (own_vault && vital.of_vault) {
            lost.extend(lost_of(preserved, vital, cluster.secret(preserved.name).await?.as_ref()));
        }
    }
    Ok(lost)
}

/// What a bundle does not hold of what opens the data.
///
/// # Errors
/// Its config cannot be opened or understood.
pub fn lost_in_bundle(reader: &Reader, identities: &Identities) -> Result<Vec<String>> {
    let release = Release::parse(&reader.open_member("config/release.json.age", identities)?)?;
    let kept = secrets_from_bytes(&reader.open_member("config/secrets.yaml.age", identities)?)?;
    let vault = format!("StatefulSet {}", Names::default().vault());
    Ok(lost_in(&kept, release.images.iter().any(|image| image.workload == vault)))
}

/// The same of its objects `kept`; `own_vault` is whether its install ran a vault.
fn lost_in(kept: &[KeptObject], own_vault: bool) -> Vec<String> {
    let found = |preserved: &Preserved| {
        let object = ObjectRef::new("Secret", preserved.name);
        kept.iter().find(|kept| kept.object() == object)
    };
    let due = vital().filter(|(_, vital)| own_vault || !vital.of_vault);
    due.filter_map(|(preserved, vital)| lost_of(preserved, vital, found(preserved))).collect()
}

/// What opens the data of a bundle, by its objects `kept`, and is another here, or not there.
///
/// # Errors
/// The Secrets may not be read.
pub async fn others(cluster: &Cluster, kept: &[KeptObject]) -> Result<Vec<String>> {
    let mut others = Vec::new();
    for (preserved, vital) in vital() {
        let object = ObjectRef::new("Secret", preserved.name);
        let Some(of_data) = kept.iter().find(|kept| kept.object() == object) else { continue };
        let here = cluster.secret(preserved.name).await?;
        others.extend(other(preserved, vital, of_data, here.as_ref()));
    }
    Ok(others)
}

/// What of an object is another than the data needs, in words that name it; `None` where nothing is.
fn other(preserved: &Preserved, vital: Vital, of_data: &KeptObject, here: Option<&KeptObject>) -> Option<String> {
    let wanted = of_data.value(vital.key)?;
    let is_same = here.and_then(|here| here.value(vital.key)).is_some_and(|value| *value == *wanted);
    (!is_same).then(|| format!("{} of Secret {}, {}", vital.key, preserved.name, preserved.holds))
}

/// What is to be said of a bundle that lacks these, and what can be done.
pub fn lost_words(lost: &[String]) -> (String, String) {
    let text = format!("the bundle does not hold what opens its data: {}", lost.join("; "));
    (text, "Have it at hand before this bundle is restored, from an older bundle or from who took it away: `dr bundle extract BUNDLE secrets` shows what one holds.".into())
}

fn vital() -> impl Iterator<Item = (&'static Preserved, Vital)> {
    PRESERVED.iter().filter_map(|preserved| Some((preserved, preserved.vital?)))
}

/// What is wrong with what was `found` of an object, in words that name it; `None` where nothing is.
fn lost_of(preserved: &Preserved, vital: Vital, found: Option<&KeptObject>) -> Option<String> {
    let Preserved { name, holds, .. } = preserved;
    let Some(found) = found else { return Some(format!("Secret {name}, {holds}")) };
    let has = |key: &str| found.value(key).is_some_and(|value| !value.iter().all(u8::is_ascii_whitespace));
    let held = has(vital.key) || vital.instead.is_some_and(has);
    (!held).then(|| format!("{} of Secret {name}, {holds}", vital.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, key: &str, value: &str) -> KeptObject {
        let object = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: value}});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_opens_the_data_is_missed_where_it_is_absent_or_blank() {
        let kept = [
            secret("opschain-secret-vault-seal-key", "seal_key", "k"),
            secret("opschain-vault-config", "OPSCHAIN_VAULT_TOKEN", "t"),
            secret("mintpress-transportable-key", "localKey", "k"),
        ];
        assert!(lost_in(&kept, true).is_empty());
        assert_eq!(lost_in(&kept[..1], true).len(), 2);
        assert!(lost_in(&kept[2..], false).is_empty(), "the vault is another's");
        let blank = [kept[0].clone(), secret("opschain-vault-config", "OPSCHAIN_VAULT_TOKEN", " "), kept[2].clone()];
        let lost = lost_in(&blank, true);
        assert_eq!(lost.len(), 1);
        assert!(lost[0].starts_with("OPSCHAIN_VAULT_TOKEN of Secret opschain-vault-config, "), "{lost:?}");
        let by_name =
            [kept[0].clone(), secret("opschain-vault-config", "OPSCHAIN_VAULT_PASSWORD", "p"), kept[2].clone()];
        assert!(lost_in(&by_name, true).is_empty(), "who signs in by name needs no token");
        let essentials = Essentials { lost, ..Essentials::default() };
        assert_eq!(essentials.require_keys("n").unwrap_err().exit(), Exit::Keys);
    }

    #[test]
    fn another_key_than_the_data_needs_is_named_and_what_is_not_vital_may_differ() {
        let (preserved, vital) = vital().find(|(preserved, _)| preserved.name == "opschain-vault-config").unwrap();
        let token = |value: &str| secret("opschain-vault-config", "OPSCHAIN_VAULT_TOKEN", value);
        assert_eq!(other(preserved, vital, &token("t1"), Some(&token("t1"))), None);
        for here in [Some(token("t2")), None] {
            let named = other(preserved, vital, &token("t1"), here.as_ref()).unwrap();
            assert!(named.starts_with("OPSCHAIN_VAULT_TOKEN of Secret opschain-vault-config, "), "{named}");
            assert!(!named.contains("t1") && !named.contains("t2"), "{named}");
        }
        let without = secret("opschain-vault-config", "OTHER", "x");
        assert_eq!(other(preserved, vital, &without, Some(&token("t2"))), None, "the data needs none");
    }

    #[test]
    fn writers_that_would_not_come_back_are_named_with_what_keeps_them() {
        let writers = ["opschain-api"];
        let lack = |workload: &str| Lack {
            workload: workload.into(),
            object: ObjectRef::new("Secret", "s"),
            key: Some("k".into()),
        };
        let essentials = Essentials { lacking: vec![lack("opschain-api")], ..Essentials::default() };
        let error = essentials.require_return(&writers, &[]).unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        let what =
            "pods that are stopped would not come back: opschain-api needs key k of Secret s, which is not there";
        assert_eq!(error.message(), what);
        let others = Essentials { lacking: vec![lack("opschain-ldap")], ..Essentials::default() };
        assert!(others.require_return(&writers, &[]).unwrap().is_empty(), "it is not stopped");
        let quota = OverfullQuota { name: "q".into(), resource: "pods".into(), used: "10".into(), hard: "3".into() };
        let full = Essentials { overfull: vec![quota], ..Essentials::default() };
        let why =
            "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=10, limited: pods=3".to_owned();
        let unadmitted = [("opschain-api".to_owned(), PodRefusal { why, certain: false })];
        let refused = full.require_return(&writers, &unadmitted).unwrap_err();
        assert!(refused.message().contains("quota q allows 3 of pods, and 10 are used"), "{refused}");
        assert!(full.require_return(&writers, &[]).unwrap().is_empty(), "it does not count these pods");
    }

    #[test]
    fn another_key_than_the_data_s_is_refused_and_other_changes_are_said() {
        let changed = |key: &str| -> Essentials {
            let path = format!("data.{key}");
            let field = serde_json::json!({"path": path, "what": "changed", "old": "a", "new": "b"});
            let finding = serde_json::json!({"between": "helm-cluster", "object": "ConfigMap opschain-config", "cause": {"kind": "missing"}, "text": "by kubectl", "fields": [field]});
            serde_json::from_value(serde_json::json!({"changed": [finding]})).unwrap()
        };
        let error = changed("OPSCHAIN_PRIMARY_KEY").require_return(&["opschain-api"], &[]).unwrap_err();
        assert_eq!(error.exit(), Exit::Drift);
        let warned = changed("TZ").require_return(&["opschain-api"], &[]).unwrap();
        assert_eq!(warned.len(), 1);
        assert!(warned[0].contains("data.TZ"), "{warned:?}");
    }
}
