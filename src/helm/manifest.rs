//! A rendered manifest, taken apart into objects.
//!
//! What helm stores and renders is one text of many documents. A line that begins with `---` and a blank or an end
//! separates two of them; the same three dashes inside a block scalar are indented, so they are text and stay.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::error::HelmError;
use crate::values::Tree;

/// Which object: what the API server tells objects apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectId {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Its namespace, where the manifest names one; else the release's, for kinds that live in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
}

impl ObjectId {
    /// The API group, empty for the core's.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// What stays when the version of the API changes.
    pub fn key(&self) -> (&str, &str, Option<&str>, &str) {
        (self.group(), &self.kind, self.namespace.as_deref(), &self.name)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One object of a manifest. It may hold secrets: its `Debug` shows none of its fields.
#[derive(Clone)]
pub struct Object {
    pub id: ObjectId,
    /// When helm runs it, where it is a hook: `pre-upgrade`, ... Empty for an object of the release.
    pub hooks: Vec<String>,
    /// All of it, as the API server would be given it.
    pub fields: Json,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

impl Object {
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.fields["metadata"]["annotations"][name].as_str()
    }

    /// Whether helm leaves it in the cluster when it leaves the release.
    pub fn is_kept(&self) -> bool {
        self.annotation("helm.sh/resource-policy").is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
    }
}

/// Takes a manifest apart. Documents of comments or blank space only are left out, `List`s are opened. Order is kept.
///
/// # Errors
/// `Answer` when a document is not YAML as the API server reads it, or has no kind or name. The text quotes nothing of
/// the manifest but the place.
pub fn parse(manifest: &str) -> Result<Vec<Object>, HelmError> {
    let mut objects = Vec::new();
    for (line, document) in documents(manifest) {
        let wrong = |reason: String| HelmError::Answer {
            verb: "get manifest".into(),
            reason: format!("the document at line {line}: {reason}"),
        };
        let tree = Tree::parse(document.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let fields = tree.to_json();
        if fields.as_object().is_none_or(serde_json::Map::is_empty) {
            continue;
        }
        collect(fields, &mut objects).map_err(|reason| wrong(reason.into()))?;
    }
    Ok(objects)
}

fn collect(mut fields: Json, objects: &mut Vec<Object>) -> Result<(), &'static str> {
    let kind = fields["kind"].as_str().unwrap_or_default().to_owned();
    if kind.ends_with("List") && fields["items"].is_array() {
        if let Json::Array(items) = fields["items"].take() {
            for mut item in items {
                // Items of a typed list may leave out what the list says of them.
                let single = kind.trim_end_matches("List");
                if !single.is_empty() && item["kind"].is_null() {
                    item["kind"] = single.into();
                    item["apiVersion"] = fields["apiVersion"].clone();
                }
                collect(item, objects)?;
            }
        }
        return Ok(());
    }
    let word = |value: &Json| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let id = ObjectId {
        api_version: word(&fields["apiVersion"]).ok_or("it has no apiVersion")?,
        kind: word(&fields["kind"]).ok_or("it has no kind")?,
        namespace: word(&fields["metadata"]["namespace"]),
        name: word(&fields["metadata"]["name"]).ok_or("it has no name")?,
    };
    let hooks = fields["metadata"]["annotations"]["helm.sh/hook"].as_str().unwrap_or_default();
    let hooks = hooks.split(',').map(str::trim).filter(|hook| !hook.is_empty()).map(str::to_owned).collect();
    objects.push(Object { id, hooks, fields });
    Ok(())
}

/// The documents with the line that each begins on, from 1.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = Vec::new();
    let mut begun = 1;
    let mut current = String::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(rest) =
            line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        else {
            current.push_str(line);
            continue;
        };
        documents.push((begun, std::mem::take(&mut current)));
        begun = index + 1;
        // What stands behind the dashes on the same line belongs to the document. A comment does no harm there.
        current.push_str(rest);
    }
    documents.push((begun, current));
    documents.retain(|(_, text)| {
        text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && line.trim() != "...")
    });
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().iter().map(|object| object.id.to_string()).collect()
    }

    #[test]
    fn dashes_inside_a_block_are_text_and_empty_documents_are_nothing() {
        let text = "---\n# Source: c/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: |\n    ---\n    one\n    --- two\n    -----BEGIN\n---\n\n---\n# Source: c/templates/empty.yaml\n# nothing\n--- # c\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n---\n";
        let objects = parse(text).unwrap();
        assert_eq!(names(text), ["ConfigMap a", "Secret b"]);
        assert_eq!(objects[0].fields["data"]["x"], "---\none\n--- two\n-----BEGIN\n");
    }

    #[test]
    fn lists_are_opened_and_hooks_are_known() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s, namespace: ns}}\n- apiVersion: batch/v1\n  kind: Job\n  metadata:\n    name: j\n    annotations: {helm.sh/hook: 'pre-upgrade, post-install'}\n---\napiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: c}}]\n";
        let objects = parse(text).unwrap();
        assert_eq!(names(text), ["Service s", "Job j", "ConfigMap c"]);
        assert_eq!(objects[0].id.namespace.as_deref(), Some("ns"));
        assert_eq!(objects[1].hooks, ["pre-upgrade", "post-install"]);
        assert_eq!(objects[2].id.api_version, "v1");
    }

    #[test]
    fn a_document_that_is_no_object_is_refused_with_its_line_and_nothing_of_it() {
        let error =
            parse("---\nkind: A\napiVersion: v1\nmetadata: {name: x}\n---\nPGPASSWORD: hunter22\n").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 5") && !text.contains("hunter"), "{text}");
        assert_eq!(names(""), Vec::<String>::new());
        assert_eq!(names("# only this\n...\n"), Vec::<String>::new());
    }

    #[test]
    fn an_object_is_the_same_in_another_version_of_its_api() {
        let id = |version: &str| ObjectId {
            api_version: version.into(),
            kind: "CronJob".into(),
            namespace: None,
            name: "c".into(),
        };
        assert_eq!(id("batch/v1beta1").key(), id("batch/v1").key());
        assert_ne!(id("v1").key(), id("batch/v1").key());
    }

    #[test]
    fn what_helm_keeps_says_so() {
        let text =
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: k\n  annotations: {helm.sh/resource-policy: keep}\n";
        assert!(parse(text).unwrap()[0].is_kept());
    }
}
