//! Whether the volumes of the chart can be made here. Nothing here asks anybody.

use serde_json::Value;

use crate::cluster::{StorageFacts, first_instance};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::quantity;
use crate::text::bytes;

/// A volume that an object of the chart asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct VolumeWish {
    pub name: String,
    /// The class; the default one when absent.
    pub class: Option<String>,
    /// A quantity, as written.
    pub size: String,
    /// Whether it is the database's.
    pub of_database: bool,
}

/// The volumes that the chart's objects ask for, the database's first.
pub(super) fn wishes(rendered: &[Object]) -> Vec<VolumeWish> {
    let mut wishes: Vec<VolumeWish> = rendered.iter().flat_map(of_object).collect();
    wishes.sort_by_key(|wish| !wish.of_database);
    wishes
}

fn of_object(object: &Object) -> Vec<VolumeWish> {
    let (name, spec) = (object.id.name.as_str(), &object.fields["spec"]);
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let claim = |name: String, spec: &Value| VolumeWish {
        name,
        class: text(&spec["storageClassName"]),
        size: text(&spec["resources"]["requests"]["storage"]).unwrap_or_default(),
        of_database: false,
    };
    match object.id.kind.as_str() {
        "PersistentVolumeClaim" => vec![claim(name.to_owned(), spec)],
        "StatefulSet" => {
            let templates = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
            let named =
                |template: &Value| format!("{}-{name}-0", template["metadata"]["name"].as_str().unwrap_or_default());
            templates.map(|template| claim(named(template), &template["spec"])).collect()
        }
        "Cluster" if object.id.group() == "postgresql.cnpg.io" => {
            let storage = &spec["storage"];
            let (class, size) = (text(&storage["storageClass"]), text(&storage["size"]).unwrap_or_default());
            vec![VolumeWish { name: first_instance(name), class, size, of_database: true }]
        }
        _ => Vec::new(),
    }
}

/// What is said of the database's volume, and what is to be warned of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StorageVerdict {
    /// The class with what it is, and the sizes.
    pub line: Option<String>,
    pub warnings: Vec<String>,
}

/// Judges by the classes that there are. `needed` is what the database's files and log take, in bytes.
///
/// # Errors
/// [`Exit::Cluster`] when volumes would wait for ever for a class that is not there.
pub(super) fn judge(wishes: &[VolumeWish], facts: &StorageFacts, needed: u64) -> Result<StorageVerdict> {
    let Some(classes) = &facts.classes else { return Ok(StorageVerdict::default()) };
    let lacking: Vec<&VolumeWish> = wishes.iter().filter(|wish| lacks_class(wish, facts)).collect();
    if let Some(first) = lacking.first() {
        let same: Vec<&str> =
            lacking.iter().filter(|wish| wish.class == first.class).map(|wish| wish.name.as_str()).collect();
        let known: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
        let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let volumes = same.join(", ");
        return Err(match &first.class {
            Some(class) => {
                CommandError::new(Exit::Cluster, format!("the cluster has no storage class {class}, which the values name for {volumes}"))
                    .hint(format!("The cluster has: {has}. Make one of that name, or restore where there is one."))
            }
            None => CommandError::new(Exit::Cluster, format!("the cluster has no default storage class, and the values name none for {volumes}"))
                .hint(format!("The cluster has: {has}. `kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true` makes one the default.")),
        });
    }
    let mut warnings = Vec::new();
    warnings.extend(two_defaults(wishes, facts));
    warnings.extend(unseen_provisioners(wishes, facts));
    let database = wishes.first().filter(|wish| wish.of_database);
    warnings.extend(database.and_then(|wish| too_small(wish, needed)));
    Ok(StorageVerdict { line: database.map(|wish| line(wish, facts, needed)), warnings })
}

/// A class that is only a name will do where a volume was made for it beforehand.
fn lacks_class(wish: &VolumeWish, facts: &StorageFacts) -> bool {
    facts.class(wish.class.as_deref()).is_none()
        && wish.class.as_ref().is_none_or(|class| !facts.free_volumes.contains(class))
}

fn two_defaults(wishes: &[VolumeWish], facts: &StorageFacts) -> Option<String> {
    let names: Vec<&str> = facts.defaults().map(|class| class.name.as_str()).collect();
    let taken = facts.default_class().filter(|_| names.len() > 1 && wishes.iter().any(|wish| wish.class.is_none()))?;
    Some(format!(
        "the cluster has {} default storage classes ({}): volumes that name none get {}, the newest",
        names.len(),
        names.join(", "),
        taken.name
    ))
}

fn unseen_provisioners(wishes: &[VolumeWish], facts: &StorageFacts) -> Vec<String> {
    let Some(seen) = &facts.provisioners else { return Vec::new() };
    let classes = wishes.iter().filter_map(|wish| facts.class(wish.class.as_deref()));
    let mut unseen: Vec<_> = classes
        .filter(|class| !seen.contains(&class.provisioner))
        .map(|class| (&class.name, &class.provisioner))
        .collect();
    unseen.sort();
    unseen.dedup();
    let said = |(class, provisioner)| {
        format!(
            "nothing shows that anybody makes volumes of class {class}: no CSI driver is called {provisioner}, and no volume is its work"
        )
    };
    unseen.into_iter().map(said).collect()
}

fn too_small(wish: &VolumeWish, needed: u64) -> Option<String> {
    let asked = quantity::parse_text(&wish.size)?;
    (asked < needed as f64).then(|| {
        format!("the values ask for a volume of {} for the database, which takes {}: where the storage keeps to sizes, it will not fit", wish.size, bytes(needed))
    })
}

fn line(wish: &VolumeWish, facts: &StorageFacts, needed: u64) -> String {
    let class = match facts.class(wish.class.as_deref()) {
        Some(class) => {
            let default = if wish.class.is_none() { ", default" } else { "" };
            let when = if class.waits_for_pod { "at first use" } else { "at once" };
            format!("class {} ({}{default}, {when})", class.name, class.provisioner)
        }
        None => format!("class {} (made beforehand)", wish.class.as_deref().unwrap_or_default()),
    };
    format!("{} of {class}, for {}", wish.size, bytes(needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClassFacts;
    use crate::helm::manifest;

    const CHART: &str = "\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: ldap}
spec: {storageClassName: shared, resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: registry}
spec: {volumeClaimTemplates: [{metadata: {name: data}, spec: {resources: {requests: {storage: 20Gi}}}}]}
---
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: opschain-db}
spec: {storage: {size: 1Gi}}
";

    fn class(name: &str, is_default: bool, day: i64) -> ClassFacts {
        let created = jiff::Timestamp::from_second(day * 86400).ok();
        ClassFacts {
            name: name.into(),
            provisioner: format!("{name}.example"),
            waits_for_pod: true,
            is_default,
            created,
        }
    }

    fn facts(classes: &[ClassFacts]) -> StorageFacts {
        let provisioners = Some(["shared.example".to_owned(), "fast.example".to_owned()].into());
        StorageFacts { classes: Some(classes.to_vec()), provisioners, ..StorageFacts::default() }
    }

    fn judged(facts: &StorageFacts, needed: u64) -> Result<StorageVerdict> {
        judge(&wishes(&manifest::parse(CHART).unwrap()), facts, needed)
    }

    #[test]
    fn the_plan_says_what_the_volume_of_the_database_is_made_of() {
        let verdict = judged(&facts(&[class("shared", false, 1), class("fast", true, 1)]), 512 << 20).unwrap();
        let line = "1Gi of class fast (fast.example, default, at first use), for 512 MiB";
        assert_eq!(verdict, StorageVerdict { line: Some(line.into()), warnings: Vec::new() });
    }

    #[test]
    fn volumes_that_would_wait_for_ever_are_refused_by_name() {
        let error = judged(&facts(&[class("fast", true, 1)]), 1).unwrap_err();
        assert_eq!(error.message(), "the cluster has no storage class shared, which the values name for ldap");
        let error = judged(&facts(&[class("shared", false, 1)]), 1).unwrap_err();
        let what =
            "the cluster has no default storage class, and the values name none for opschain-db-1, data-registry-0";
        assert_eq!((error.message(), error.exit()), (what, Exit::Cluster));
        assert!(error.hints()[0].starts_with("The cluster has: shared."), "{:?}", error.hints());
        let made = StorageFacts { free_volumes: ["shared".to_owned()].into(), ..facts(&[class("fast", true, 1)]) };
        assert!(judged(&made, 1).is_ok(), "volumes of that class were made beforehand");
        assert_eq!(judged(&StorageFacts::default(), 1).unwrap(), StorageVerdict::default(), "nobody may look");
    }

    #[test]
    fn what_may_go_wrong_with_volumes_is_warned_of() {
        let classes = [class("shared", false, 1), class("fast", true, 1), class("slow", true, 2)];
        let warnings = judged(&facts(&classes), 2 << 30).unwrap().warnings;
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].ends_with("(fast, slow): volumes that name none get slow, the newest"), "{warnings:?}");
        assert!(warnings[1].contains("no CSI driver is called slow.example"), "{warnings:?}");
        assert!(warnings[2].contains("a volume of 1Gi for the database, which takes 2"), "{warnings:?}");
    }
}
