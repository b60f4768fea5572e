//! helm's stored objects against those of the cluster.

use super::cause::Cause;
use super::facts::SeenObjects;
use super::report::{Between, DriftFinding};
use crate::cluster::objects::{last_writer, writer_of};
use crate::cluster::{LiveObject, MANAGER, Manager, REPLICAS, STOPPED_BY};
use crate::helm::Object;
use crate::ops::objects::{self, Field, added_by_hand, mask_object, subset};
use crate::opschain::live::filled_after_install;
use crate::values::{Path, Scrubber};

/// What a comparison of all objects gives.
#[derive(Default)]
pub(super) struct ObjectDrift {
    pub compared: usize,
    pub findings: Vec<DriftFinding>,
    pub notes: Vec<String>,
    /// Differences that are as they should be, each with its object, path and reason.
    pub meant: Vec<(String, Path, String)>,
}

/// Compares the objects of a release with what the cluster has. `failed` is the revision above it, where that failed.
pub(super) fn compare_all(
    stored: &[Object],
    seen: &SeenObjects,
    failed: Option<u32>,
    scrubber: &Scrubber,
) -> ObjectDrift {
    let mut scrubber = scrubber.clone();
    for (object, live) in stored.iter().zip(&seen.live) {
        objects::register_object(&mut scrubber, &object.fields);
        if let LiveObject::There { fields, .. } = live {
            objects::register_object(&mut scrubber, fields);
        }
    }
    let mut found = ObjectDrift::default();
    for (object, live) in stored.iter().zip(&seen.live) {
        match live {
            LiveObject::Absent => {
                found.compared += 1;
                let missing =
                    DriftFinding::new(Between::HelmCluster, object.id.to_string(), Cause::Missing, Vec::new());
                found.findings.push(missing);
            }
            LiveObject::Unreadable(why) => found.notes.push(format!("{} was not compared: {why}", object.id)),
            LiveObject::There { fields, written } => {
                found.compared += 1;
                one(object, fields, written, &scrubber, &Beside { scaled: &seen.scaled, failed }, &mut found);
            }
        }
    }
    found
}

/// What is known beside the objects.
struct Beside<'a> {
    /// What an autoscaler scales.
    scaled: &'a [String],
    failed: Option<u32>,
}

type Written = [k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry];

fn one(
    object: &Object,
    live: &serde_json::Value,
    written: &Written,
    scrubber: &Scrubber,
    known: &Beside<'_>,
    looked: &mut ObjectDrift,
) {
    let (set, there) = (mask_object(&object.fields, scrubber), mask_object(live, scrubber));
    let name = object.id.to_string();
    let mut by_cause: Vec<(Cause, Vec<Field>)> = Vec::new();
    let mut add = |cause: Cause, field: Field| match by_cause.iter_mut().find(|(known, _)| *known == cause) {
        Some((_, fields)) => fields.push(field),
        None => by_cause.push((cause, vec![field])),
    };
    for field in subset(&set, &there) {
        if let Some(why) = meant(object, live, &field, known.scaled) {
            looked.meant.push((name.clone(), field.path, why));
            continue;
        }
        // What was taken away has no owner any more: who last wrote the object at all took it.
        let writer = writer_of(written, &field.path).or_else(|| last_writer(written, is_stranger));
        let cause = match (writer, known.failed) {
            (Some(Manager { name, at, .. }), Some(revision)) if !is_stranger(&name) && name != MANAGER => {
                Cause::HalfUpgraded { revision, at }
            }
            (writer, _) => Cause::of_manager(writer),
        };
        add(cause, field);
    }
    for field in added_by_hand(&set, &there) {
        // Only what somebody is seen to have put there: the chart's own words may come in other ways.
        let Some(writer) = writer_of(written, &field.path).filter(|writer| is_stranger(&writer.name)) else { continue };
        match meant(object, live, &field, known.scaled) {
            Some(why) => looked.meant.push((name.clone(), field.path, why)),
            None => add(Cause::of_manager(Some(writer)), field),
        }
    }
    let findings = by_cause
        .into_iter()
        .map(|(cause, fields)| DriftFinding::new(Between::HelmCluster, name.clone(), cause, fields));
    looked.findings.extend(findings);
}

/// Whether the program is neither `dr` nor helm, which goes by the name of its file: `helm`, `helm3`, `helm-v4.1.4`.
/// What only begins so (`helm-controller`) is another.
fn is_stranger(program: &str) -> bool {
    let small = program.to_ascii_lowercase();
    let helm = small
        .strip_prefix("helm")
        .is_some_and(|rest| rest.chars().all(|c| matches!(c, '0'..='9' | '.' | '-' | '_' | 'v')));
    !helm && program != MANAGER
}

/// Why a difference is as it should be, where it is.
fn meant(object: &Object, live: &serde_json::Value, field: &Field, scaled: &[String]) -> Option<String> {
    let keys: Vec<&str> = field.path.keys().collect();
    if keys == ["spec", "replicas"] {
        let notes = &live["metadata"]["annotations"];
        if notes[REPLICAS].is_string() {
            let run = notes[STOPPED_BY].as_str().unwrap_or("a run");
            return Some(format!("stopped by dr ({run}); `dr server start` puts it back"));
        }
        if scaled.contains(&object.id.name) {
            return Some("an autoscaler sets the replicas".into());
        }
    }
    if matches!(keys.first(), Some(&"data" | &"binaryData" | &"stringData"))
        && let Some(why) = filled_after_install(&object.id.kind, &object.id.name)
    {
        return Some(format!("it {why}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::manifest::parse;
    use serde_json::json;

    fn looked(manifest: &str, live: serde_json::Value, written: serde_json::Value, scaled: &[&str]) -> ObjectDrift {
        let stored = parse(manifest).unwrap();
        let written: Vec<_> = serde_json::from_value(written).unwrap();
        let scaled: Vec<String> = scaled.iter().map(|name| (*name).to_owned()).collect();
        let mut looked = ObjectDrift::default();
        let known = Beside { scaled: &scaled, failed: Some(7) };
        one(&stored[0], &live, &written, &objects::comparing_scrubber(None).unwrap(), &known, &mut looked);
        looked
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
