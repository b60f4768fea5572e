//! What an upgrade would make of a release: objects that come, go and change, and what that does.

use serde::Serialize;

use super::compare::{Field, compare};
use super::effects::{self, Effect};
use super::masking;
use crate::helm::{Object, ObjectId, RenderMode, Rendered};
use crate::values::Scrubber;

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectChange {
    /// It is made.
    Added,
    /// It is deleted.
    Removed,
    /// It leaves the release, and the cluster keeps it: `helm.sh/resource-policy: keep`.
    Kept,
    /// Some of its fields change.
    Changed,
}

/// An object with what changes in it. Secrets are masked.
#[derive(Debug, Clone, Serialize)]
pub struct ChangedObject {
    #[serde(flatten)]
    pub id: ObjectId,
    /// What becomes of it.
    pub change: ObjectChange,
    /// The fields that change; none for one that comes or goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// A hook: what helm runs beside the objects.
#[derive(Debug, Clone, Serialize)]
pub struct Hook {
    /// The object that it makes.
    #[serde(flatten)]
    pub id: ObjectId,
    /// When: `pre-upgrade`, ...
    pub events: Vec<String>,
}

/// What an upgrade would make of a release.
#[derive(Debug, Serialize)]
pub struct ReleaseDiff {
    /// helm's revision that it is compared with; none when there is no release yet.
    pub revision: Option<u32>,
    /// How the chart was rendered.
    pub rendered: RenderMode,
    /// How many objects stay as they are.
    pub unchanged: usize,
    /// Those that come, go or change, in the order of the new manifest; what goes comes last.
    pub objects: Vec<ChangedObject>,
    /// What helm runs at this upgrade or install.
    pub hooks: Vec<Hook>,
    /// What restarts, what is refused, what is lost.
    pub effects: Vec<Effect>,
}

impl ReleaseDiff {
    /// How many objects change so.
    pub fn count(&self, change: ObjectChange) -> usize {
        self.objects.iter().filter(|object| object.change == change).count()
    }
}

/// Compares the objects of the live revision with those of a rendered one. `live` is empty for a first install. The
/// scrubber should know the secrets of the values; those of the Secrets are registered here.
pub fn between(
    revision: Option<u32>,
    live: &[Object],
    rendered: Rendered,
    scrubber: &Scrubber,
    namespace: &str,
) -> ReleaseDiff {
    let mut scrubber = scrubber.clone();
    for object in live.iter().chain(&rendered.objects) {
        masking::register_object(&mut scrubber, &object.fields);
    }
    let key = |object: &Object| {
        let (group, kind, own, name) = object.id.key();
        (group.to_owned(), kind.to_owned(), own.unwrap_or(namespace).to_owned(), name.to_owned())
    };
    let before: std::collections::HashMap<_, usize> =
        live.iter().enumerate().map(|(place, object)| (key(object), place)).collect();
    let old = masking::masked_objects(live, &scrubber);
    let new = masking::masked_objects(&rendered.objects, &scrubber);
    let mut diff = ReleaseDiff {
        revision,
        rendered: rendered.mode,
        unchanged: 0,
        objects: Vec::new(),
        hooks: Vec::new(),
        effects: Vec::new(),
    };
    let mut seen = std::collections::HashSet::new();
    for (object, fields) in rendered.objects.iter().zip(&new) {
        let id = object.id.clone();
        let Some(place) = before.get(&key(object)) else {
            diff.objects.push(ChangedObject { id, change: ObjectChange::Added, fields: Vec::new() });
            continue;
        };
        seen.insert(*place);
        let changes = compare(&old[*place], fields);
        if changes.is_empty() {
            diff.unchanged += 1;
            continue;
        }
        diff.effects.extend(effects::of_change(&id, &live[*place].fields, &object.fields, &changes));
        diff.objects.push(ChangedObject { id, change: ObjectChange::Changed, fields: changes });
    }
    for (_, object) in live.iter().enumerate().filter(|(place, _)| !seen.contains(place)) {
        let change = if object.is_kept() { ObjectChange::Kept } else { ObjectChange::Removed };
        if change == ObjectChange::Removed {
            diff.effects.extend(effects::of_removal(&object.id));
        }
        diff.objects.push(ChangedObject { id: object.id.clone(), change, fields: Vec::new() });
    }
    let wanted = if revision.is_some() { "upgrade" } else { "install" };
    diff.hooks = rendered.hooks.iter().filter_map(|hook| hook_of(hook, wanted)).collect();
    diff
}

/// The hook, if it runs at this act (`upgrade` or `install`).
fn hook_of(object: &Object, act: &str) -> Option<Hook> {
    let events: Vec<String> = object.hooks.iter().filter(|event| event.ends_with(act)).cloned().collect();
    (!events.is_empty()).then(|| Hook { id: object.id.clone(), events })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::manifest::parse;
    use crate::values::FingerprintKey;

    fn diff(old: &str, new: &str) -> ReleaseDiff {
        let mut scrubber = Scrubber::new(FingerprintKey::from_bytes(&[1; 32]));
        scrubber.register(b"topsecret-one");
        let hooks = parse("apiVersion: batch/v1\nkind: Job\nmetadata: {name: guard, annotations: {helm.sh/hook: 'pre-upgrade,test'}}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: first, annotations: {helm.sh/hook: pre-install}}\n").unwrap();
        let rendered = Rendered { objects: parse(new).unwrap(), hooks, mode: RenderMode::Server };
        let live = parse(old).unwrap();
        between((!live.is_empty()).then_some(3), &live, rendered, &scrubber, "ns")
    }

    fn secret(name: &str, policy: &str, value: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  annotations: {{helm.sh/resource-policy: '{policy}'}}\nstringData: {{password: '{value}'}}\n"
        )
    }

    #[test]
    fn what_comes_goes_stays_and_changes_is_told_apart_without_a_secret() {
        let old = format!(
            "{}{}{}",
            secret("gone", "", "a"),
            secret("left", "keep", "b"),
            secret("same", "", "topsecret-one")
        );
        let new = format!("{}{}", secret("same", "", "topsecret-two"), secret("new", "", "topsecret-one"));
        let diff = diff(&old, &new);
        let said: Vec<String> =
            diff.objects.iter().map(|object| format!("{:?} {}", object.change, object.id)).collect();
        assert_eq!(said, ["Changed Secret same", "Added Secret new", "Removed Secret gone", "Kept Secret left"]);
        assert_eq!(diff.objects[0].fields[0].path.to_string(), "data.password");
        let text = serde_json::to_string(&diff).unwrap();
        assert!(!text.contains("topsecret"), "{text}");
        assert_ne!(diff.objects[0].fields[0].old, diff.objects[0].fields[0].new);
        let hooks: Vec<String> = diff.hooks.iter().map(|hook| format!("{} {:?}", hook.id, hook.events)).collect();
        assert_eq!(hooks, ["Job guard [\"pre-upgrade\"]"]);
    }

    #[test]
    fn a_namespace_that_is_named_on_one_side_only_makes_no_other_object() {
        let object = |namespace: &str| {
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s{namespace}}}\nspec: {{type: ClusterIP}}\n")
        };
        let diff = diff(&object(""), &object(", namespace: ns"));
        assert_eq!(diff.objects.len(), 1);
        assert_eq!(diff.objects[0].change, ObjectChange::Changed);
    }
}
