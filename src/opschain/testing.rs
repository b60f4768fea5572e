//! What the tests of OpsChain's own keys ask.

use super::keys::FACTS;
use crate::values::Tree;
use crate::values::lint::{Context, lint_with};

/// What is found in a values file of the release `version`, each as rule and path.
pub(super) fn findings(yaml: &str, version: Option<&str>) -> Vec<String> {
    let tree = Tree::parse(yaml.as_bytes()).unwrap();
    let found = lint_with(&tree, yaml.as_bytes(), &Context { defaults: None, version, facts: &FACTS });
    found.iter().map(|f| format!("{} {}", f.id, f.path.clone().unwrap_or_default())).collect()
}
