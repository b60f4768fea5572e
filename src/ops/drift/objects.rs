//! helm's stored objects against those of the cluster.

use super::cause::Cause;
use super::facts::{ObjectFacts, SeenObject, is_stranger};
use super::report::{Between, DriftFinding};
use crate::cluster::{MANAGER, Manager};
use crate::helm::ObjectId;
use crate::ops::objects::Field;
use crate::opschain::live::filled_after_install;
use crate::values::Path;

/// What a comparison of all objects gives.
#[derive(Default)]
pub(super) struct ObjectDrift {
    pub compared: usize,
    pub findings: Vec<DriftFinding>,
    pub notes: Vec<String>,
    /// Differences that are as they should be, each with its object, path and reason.
    pub meant: Vec<(String, Path, String)>,
}

/// Says of each difference why it is there. `failed` is the revision above the deployed one, where that failed.
pub(super) fn judge(objects: &[ObjectFacts], failed: Option<u32>) -> ObjectDrift {
    let mut found = ObjectDrift::default();
    for object in objects {
        let name = object.id.to_string();
        match &object.seen {
            SeenObject::Absent => {
                found.compared += 1;
                found.findings.push(DriftFinding::new(Between::HelmCluster, name, Cause::Missing, Vec::new()));
            }
            SeenObject::Unreadable { why } => found.notes.push(format!("{name} was not compared: {why}")),
            SeenObject::Same => found.compared += 1,
            SeenObject::Other { .. } => {
                found.compared += 1;
                judge_one(object, failed, &mut found);
            }
        }
    }
    found
}

fn judge_one(object: &ObjectFacts, failed: Option<u32>, found: &mut ObjectDrift) {
    let SeenObject::Other { differ, added, stranger, stopped_by, started_by, scaled } = &object.seen else { return };
    let by_dr = (stopped_by.as_deref(), started_by.as_deref());
    let mut by_cause: Vec<(Cause, Vec<Field>)> = Vec::new();
    let mut tell = |field: &Field, cause: &dyn Fn() -> Cause| {
        if let Some(why) = meant(&object.id, field, by_dr, *scaled) {
            found.meant.push((object.id.to_string(), field.path.clone(), why));
            return;
        }
        let cause = cause();
        match by_cause.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, fields)) => fields.push(field.clone()),
            None => by_cause.push((cause, vec![field.clone()])),
        }
    };
    for (field, writer) in differ {
        // What was taken away has no owner any more: who last wrote the object at all took it.
        tell(field, &|| match (writer.as_ref().or(stranger.as_ref()), failed) {
            (Some(Manager { name, at, .. }), Some(revision)) if !is_stranger(name) && name != MANAGER => {
                Cause::HalfUpgraded { revision, at: *at }
            }
            (writer, _) => Cause::of_manager(writer.cloned()),
        });
    }
    for (field, writer) in added {
        // Only what somebody is seen to have put there: the chart's own words may come in other ways.
        if writer.as_ref().is_some_and(|writer| is_stranger(&writer.name)) {
            tell(field, &|| Cause::of_manager(writer.clone()));
        }
    }
    let name = object.id.to_string();
    let findings = by_cause
        .into_iter()
        .map(|(cause, fields)| DriftFinding::new(Between::HelmCluster, name.clone(), cause, fields));
    found.findings.extend(findings);
}

/// Why a difference is as it should be, where it is.
fn meant(
    object: &ObjectId,
    field: &Field,
    (stopped_by, started_by): (Option<&str>, Option<&str>),
    scaled: bool,
) -> Option<String> {
    let keys: Vec<&str> = field.path.keys().collect();
    if keys == ["spec", "replicas"] {
        if let Some(run) = stopped_by {
            return Some(format!("stopped by dr ({run}); `dr server status` says what brings it back"));
        }
        if let Some(by) = started_by {
            return Some(format!("started by dr ({by}) after it was deployed without any"));
        }
        if scaled {
            return Some("an autoscaler sets the replicas".into());
        }
    }
    if matches!(keys.first(), Some(&"data" | &"binaryData" | &"stringData"))
        && let Some(why) = filled_after_install(&object.kind, &object.name)
    {
        return Some(format!("it {why}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::facts::object_facts;
    use super::*;
    use crate::cluster::{BROUGHT_BACK_BY, LiveObject, REPLICAS, STOPPED_BY};
    use crate::helm::manifest::parse;
    use crate::ops::objects::comparing_scrubber;
    use serde_json::json;

    fn looked(manifest: &str, fields: serde_json::Value, written: serde_json::Value, scaled: &[&str]) -> ObjectDrift {
        let live = LiveObject::There { fields, written: serde_json::from_value(written).unwrap() };
        let scaled: Vec<String> = scaled.iter().map(|name| (*name).to_owned()).collect();
        let stored = parse(manifest).unwrap();
        judge(&[object_facts(&stored[0], &live, &scaled, &comparing_scrubber(None).unwrap())], Some(7))
    }

    fn deployment(replicas: u32, annotations: serde_json::Value) -> serde_json::Value {
        json!({"kind": "Deployment", "metadata": {"name": "api", "annotations": annotations}, "spec": {"replicas": replicas}})
    }

    const MANIFEST: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {replicas: 1}\n";

    #[test]
    fn replicas_are_meant_while_stopped_or_scaled_by_an_autoscaler_and_drift_else() {
        let by_hand = json!([{"manager": "kubectl", "subresource": "scale", "time": "2026-08-20T10:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
        let stopped = deployment(0, json!({REPLICAS: "1", STOPPED_BY: "server-1"}));
        let found = looked(MANIFEST, stopped, by_hand.clone(), &[]);
        assert!(found.findings.is_empty() && found.meant[0].2.contains("server-1"));
        assert!(looked(MANIFEST, deployment(5, json!({})), by_hand.clone(), &["api"]).findings.is_empty());
        let held = MANIFEST.replace("replicas: 1", "replicas: 0");
        let started = deployment(3, json!({BROUGHT_BACK_BY: "start-1"}));
        let found = looked(&held, started.clone(), by_hand.clone(), &[]);
        assert!(found.findings.is_empty() && found.meant[0].2.contains("start-1"), "a held install that was started");
        assert_eq!(looked(MANIFEST, started, by_hand.clone(), &[]).findings.len(), 1);
        let found = looked(MANIFEST, deployment(5, json!({})), by_hand, &[]);
        assert_eq!(found.findings[0].text, "scaled outside dr with kubectl, 2026-08-20 10:00:00Z");
    }

    #[test]
    fn fields_of_one_object_are_told_by_who_wrote_them() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '2', c: '3', f: '4'}\n";
        let live = json!({"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "9", "b": "8", "d": "new", "e": "helm's", "f": "5"}});
        let written = json!([
            {"manager": "helm", "operation": "Apply", "time": "2026-08-19T10:00:00Z", "fieldsV1": {"f:data": {"f:e": {}, "f:f": {}}}},
            {"manager": "kubectl-edit", "time": "2026-08-20T10:00:00Z", "fieldsV1": {"f:data": {"f:a": {}, "f:d": {}}}},
            {"manager": "rotator", "time": "2026-08-20T09:00:00Z", "fieldsV1": {"f:data": {"f:b": {}}}}]);
        let found = looked(manifest, live, written, &[]).findings;
        let said: Vec<String> = found
            .iter()
            .map(|finding| {
                let paths: Vec<String> = finding.fields.iter().map(|field| field.path.to_string()).collect();
                format!("{} [{}]", finding.text, paths.join(" "))
            })
            .collect();
        assert_eq!(
            said,
            [
                "edited by hand with kubectl-edit, 2026-08-20 10:00:00Z [data.a data.c data.d]",
                "changed by rotator, 2026-08-20 09:00:00Z [data.b]",
                "written by the upgrade to revision 7, which failed half-way, 2026-08-19 10:00:00Z [data.f]"
            ]
        );
    }

    #[test]
    fn helm_is_known_by_whatever_its_file_is_called() {
        for own in ["helm", "Helm", "helm3", "helm-v4.1.4", "dr"] {
            assert!(!is_stranger(own), "{own}");
        }
        for other in ["helm-controller", "helmfile", "kubectl", "drone"] {
            assert!(is_stranger(other), "{other}");
        }
    }

    #[test]
    fn what_users_fill_is_no_drift() {
        let manifest = "apiVersion: v1\nkind: Secret\nmetadata: {name: opschain-vault-config}\nstringData: {OPSCHAIN_VAULT_TOKEN: ''}\n";
        let live = json!({"kind": "Secret", "metadata": {"name": "opschain-vault-config"}, "data": {"OPSCHAIN_VAULT_TOKEN": "cm9vdA=="}});
        let found = looked(manifest, live, json!([]), &[]);
        assert!(found.findings.is_empty());
        assert!(found.meant[0].2.contains("root token"));
    }
}
