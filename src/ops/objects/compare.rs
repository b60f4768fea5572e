//! Two masked objects, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::values::{Path, Segment};

/// What may identify an item of a list, in the order that it is tried.
pub(super) const IDENTIFIERS: &[&str] =
    &["name", "mountPath", "devicePath", "containerPort", "port", "ip", "key", "topologyKey"];

/// What happened to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// It has another value.
    Changed,
}

/// A field that differs. Secrets in it are masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    pub path: Path,
    pub what: Act,
    /// What it was, or is held to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Json>,
    /// What it is, or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Json>,
}

impl Field {
    pub(super) fn changed(path: &Path, old: &Json, new: &Json) -> Self {
        Self { path: path.clone(), what: Act::Changed, old: Some(old.clone()), new: Some(new.clone()) }
    }

    pub(super) fn removed(path: &Path, old: &Json) -> Self {
        Self { path: path.clone(), what: Act::Removed, old: Some(old.clone()), new: None }
    }

    pub(super) fn added(path: &Path, new: &Json) -> Self {
        Self { path: path.clone(), what: Act::Added, old: None, new: Some(new.clone()) }
    }
}

/// Every difference, in the order of the keys. The order of keys does not count; items of lists are matched by what
/// identifies them where that is unique on both sides, else by place.
pub fn compare(old: &Json, new: &Json) -> Vec<Field> {
    let mut fields = Vec::new();
    values(&Path::root(), old, new, &mut fields);
    fields
}

fn values(path: &Path, old: &Json, new: &Json, fields: &mut Vec<Field>) {
    match (old, new) {
        (Json::Object(before), Json::Object(after)) => {
            for (key, value) in before {
                let below = path.join(Segment::Key(key.clone()));
                match after.get(key) {
                    Some(other) => values(&below, value, other, fields),
                    None => fields.push(Field::removed(&below, value)),
                }
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                fields.push(Field::added(&path.join(Segment::Key(key.clone())), value));
            }
        }
        (Json::Array(before), Json::Array(after)) => lists(path, before, after, fields),
        _ if same(old, new) => {}
        _ => fields.push(Field::changed(path, old, new)),
    }
}

fn lists(path: &Path, before: &[Json], after: &[Json], fields: &mut Vec<Field>) {
    if let Some(by) = identifier(before, after) {
        let step =
            |item: &Json| path.join(Segment::Item { by: by.to_owned(), id: identity(item, by).unwrap_or_default() });
        let find =
            |items: &'_ [Json], item: &Json| items.iter().position(|other| identity(other, by) == identity(item, by));
        for item in before {
            match find(after, item) {
                Some(place) => values(&step(item), item, &after[place], fields),
                None => fields.push(Field::removed(&step(item), item)),
            }
        }
        for item in after.iter().filter(|item| find(before, item).is_none()) {
            fields.push(Field::added(&step(item), item));
        }
        return;
    }
    let at = |index| path.join(Segment::Index(index));
    for (index, (old, new)) in before.iter().zip(after).enumerate() {
        values(&at(index), old, new, fields);
    }
    let both = before.len().min(after.len());
    fields.extend(before.iter().enumerate().skip(both).map(|(index, item)| Field::removed(&at(index), item)));
    fields.extend(after.iter().enumerate().skip(both).map(|(index, item)| Field::added(&at(index), item)));
}

/// The key that tells apart the items of both lists, if one does.
pub(super) fn identifier(before: &[Json], after: &[Json]) -> Option<&'static str> {
    if before.is_empty() && after.is_empty() {
        return None;
    }
    IDENTIFIERS.iter().copied().find(|by| is_unique(before, by) && is_unique(after, by))
}

fn is_unique(items: &[Json], by: &str) -> bool {
    let mut seen = std::collections::HashSet::new();
    items.iter().all(|item| identity(item, by).is_some_and(|id| seen.insert(id)))
}

pub(super) fn identity(item: &Json, by: &str) -> Option<String> {
    match &item[by] {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether two scalars are the same: whole numbers are, however they are written.
pub(super) fn same(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Whether a field stands at one of these places or below.
pub(super) fn touches(field: &Field, keys: &[&str]) -> bool {
    let path: Vec<&str> = field.path.keys().collect();
    let common = path.len().min(keys.len());
    path[..common] == keys[..common] && (path.len() >= keys.len() || holds(field, &keys[path.len()..]))
}

/// Whether what came or went holds something there.
fn holds(field: &Field, below: &[&str]) -> bool {
    let inside = |value: &Option<Json>| {
        value.as_ref().is_some_and(|value| below.iter().try_fold(value, |value, key| value.get(key)).is_some())
    };
    matches!(field.what, Act::Added | Act::Removed | Act::Changed) && (inside(&field.old) || inside(&field.new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(old: Json, new: Json) -> Vec<String> {
        compare(&old, &new).iter().map(|field| format!("{:?} {}", field.what, field.path)).collect()
    }

    #[test]
    fn items_are_matched_by_what_is_unique_and_by_place_where_nothing_is() {
        let mounts = |paths: &[&str]| -> Json {
            paths.iter().map(|path| json!({"name": "v", "mountPath": path, "subPath": path})).collect()
        };
        assert_eq!(
            said(json!({"m": mounts(&["/a", "/b"])}), json!({"m": mounts(&["/b", "/a"])})),
            Vec::<String>::new()
        );
        assert_eq!(
            said(
                json!({"e": [{"name": "A", "value": "1"}]}),
                json!({"e": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]})
            ),
            ["Changed e[name=A].value", "Added e[name=B]"]
        );
        assert_eq!(
            said(json!({"e": [{"name": "A"}, {"name": "A"}]}), json!({"e": [{"name": "A"}]})),
            ["Removed e[1]"],
            "a name that stands twice identifies nothing"
        );
        assert_eq!(
            said(json!({"a": 1, "b": [1, 2]}), json!({"a": 1.0, "b": [1, 3, 4]})),
            ["Changed b[1]", "Added b[2]"]
        );
        assert_eq!(said(json!({"a": "1"}), json!({"a": 1})), ["Changed a"]);
    }
}
