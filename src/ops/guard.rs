//! What a deployment is refused for: findings in its values, and changes that would make stored data unreadable.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{CommandError, Exit, Result};
use crate::opschain::values::{IMMUTABLE, Immutable};
use crate::values::lint::{LintFinding, Severity};
use crate::values::{Path, Tree, Value};
use crate::yaml::{Node, NodeKind};

/// Refuses values with a finding of severity `error` that is not allowed by its id.
///
/// # Errors
/// [`Exit::Failure`], every such finding with its place.
pub fn refuse_findings(name: &str, findings: &[LintFinding], allow: &[String]) -> Result<()> {
    let grave: Vec<&LintFinding> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error && !allow.iter().any(|id| id == finding.id))
        .collect();
    let Some(first) = grave.first() else { return Ok(()) };
    let text = |finding: &LintFinding| {
        let path = finding.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
        format!("{name}:{}:{}: {path}{}", finding.line, finding.column, finding.reason)
    };
    let mut error = CommandError::new(Exit::Failure, text(first)).hint(format!("{}.", capital(&first.fix)));
    for other in &grave[1..] {
        error = error.hint(format!("Also {}; {}.", text(other), other.fix));
    }
    Err(error.hint(format!("If it is intended, add --allow {}.", first.id)))
}

/// A key that stored data depends on, and that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// Where it stands.
    pub path: Path,
    /// What would happen to it, in words that follow its name.
    pub act: String,
    /// What that destroys, in words that follow a colon.
    pub why: String,
}

/// Values with the chart's defaults beneath them: what is deployed.
#[derive(Debug, Clone, Copy)]
pub struct Effective<'t> {
    pub values: &'t Tree,
    /// The chart's own; without them, a key that the values leave out has no value.
    pub defaults: Option<&'t Tree>,
}

impl Effective<'_> {
    /// The value of a key. A null takes a default of the chart away.
    fn get(&self, keys: &[&str]) -> Option<&Node> {
        let found = self.values.get(keys).or_else(|| {
            // Something else than a map in the way hides what the chart has below it.
            let hidden = (1..keys.len()).any(|depth| {
                let above = self.values.get(&keys[..depth]);
                above.is_some_and(|node| !matches!(node.kind, NodeKind::Map(_)))
            });
            self.defaults.filter(|_| !hidden).and_then(|defaults| defaults.get(keys))
        });
        found.filter(|node| !matches!(node.scalar(), Some(scalar) if scalar.value == Value::Null))
    }
}

/// The keys whose value OpsChain's stored data depends on, and which these values change, blank, retype or take away.
/// One that was empty before is set for the first time, which is no loss. Options of a diff never apply here.
pub fn guarded(old: Effective<'_>, new: Effective<'_>) -> Vec<Guarded> {
    let is_text = old.values.unread().or(new.values.unread()).is_some();
    let differs = |known| match is_text {
        true => compare_texts(known, old, new),
        false => compare(known, old.get(known.path), new.get(known.path)),
    };
    IMMUTABLE.iter().filter_map(differs).collect()
}

/// Why the value at `path` must never change, where that is so.
pub fn guarded_for(path: &Path) -> Option<&'static str> {
    IMMUTABLE.iter().find(|known| Path::of(known.path) == *path).map(|known| known.why)
}

/// The same where one of the two is a text without keys: the value must stand somewhere in it.
fn compare_texts(known: &Immutable, old: Effective<'_>, new: Effective<'_>) -> Option<Guarded> {
    let lines = |tree: &Tree| -> BTreeSet<String> {
        let name = known.path.last().copied().unwrap_or_default();
        tree.source().lines().filter(|line| line.contains(name)).map(|line| line.trim().to_owned()).collect()
    };
    let is_in = |side: Effective<'_>, text: &Tree| match side.get(known.path).filter(|node| !is_blank(node)) {
        Some(node) if side.values.get(known.path).is_none() => {
            // The chart's own value: another one must not be named.
            let default = node.scalar().map(|scalar| scalar.value.text()).unwrap_or_default();
            lines(text).iter().all(|line| line.contains(&default))
        }
        Some(node) => node.scalar().is_some_and(|scalar| text.source().contains(&scalar.value.text())),
        None => lines(text).is_empty(),
    };
    let is_there = match (old.values.unread(), new.values.unread()) {
        (Some(_), Some(_)) => lines(old.values) == lines(new.values),
        (None, _) => is_in(old, new.values),
        (_, None) => is_in(new, old.values),
    };
    (!is_there).then(|| Guarded {
        path: Path::of(known.path),
        act: "is not found with its live value (one of the two files is not read)".into(),
        why: known.why.into(),
    })
}

fn compare(known: &Immutable, old: Option<&Node>, new: Option<&Node>) -> Option<Guarded> {
    let old = old.filter(|node| !is_blank(node))?;
    let act = match new {
        None => "is gone from the values",
        Some(new) if old.same_as(new) => return None,
        Some(new) if is_blank(new) => "is blank",
        Some(new) if new.type_name() != old.type_name() => "is of another type than the live value",
        Some(_) => "differs from the live value",
    };
    Some(Guarded { path: Path::of(known.path), act: act.into(), why: known.why.into() })
}

fn is_blank(node: &Node) -> bool {
    matches!(node.scalar(), Some(scalar) if scalar.value.text().trim().is_empty())
}

/// Those that are not let through by their path.
pub fn unallowed(guarded: Vec<Guarded>, allow: &[String]) -> Vec<Guarded> {
    guarded.into_iter().filter(|key| !allow.iter().any(|path| *path == key.path.to_string())).collect()
}

/// The refusal of guarded keys that nobody let through; none of them is no refusal.
///
/// # Errors
/// [`Exit::Guard`] with each key and what is lost.
pub fn refuse_data_loss(guarded: &[Guarded]) -> Result<()> {
    let Some(first) = guarded.first() else { return Ok(()) };
    let text = |key: &Guarded| format!("{} {}, and must never change: {}", key.path, key.act, key.why);
    let mut error = CommandError::new(Exit::Guard, text(first));
    for other in &guarded[1..] {
        error = error.hint(format!("Also {}.", text(other)));
    }
    let allow: Vec<String> = guarded.iter().map(|key| format!("--allow {}", key.path)).collect();
    Err(error
        .hint("Give the old value back: `dr config cat live` prints the values that are live.")
        .hint(format!("If the data is lost anyway and you mean it, add {}.", allow.join(" "))))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::lint::lint;

    fn tree(text: &str) -> Tree {
        Tree::parse(text.as_bytes()).unwrap()
    }

    fn guard_over(old: (&str, &str), new: (&str, &str), allow: &[&str]) -> Result<()> {
        let allow: Vec<String> = allow.iter().map(|id| (*id).to_owned()).collect();
        let trees = [old.0, old.1, new.0, new.1].map(tree);
        let old = Effective { values: &trees[0], defaults: Some(&trees[1]) };
        let new = Effective { values: &trees[2], defaults: Some(&trees[3]) };
        refuse_data_loss(&unallowed(guarded(old, new), &allow))
    }

    fn guard(old: &str, new: &str, allow: &[&str]) -> Result<()> {
        guard_over((old, "{}"), (new, "{}"), allow)
    }

    #[test]
    fn changing_blanking_retyping_or_losing_an_encryption_key_is_refused() {
        let old = "env: {OPSCHAIN_PRIMARY_KEY: abcdefgh, TZ: UTC}\n";
        for (new, act) in [
            ("env: {OPSCHAIN_PRIMARY_KEY: other, TZ: UTC}\n", "differs"),
            ("env: {OPSCHAIN_PRIMARY_KEY: \"\", TZ: UTC}\n", "is blank"),
            ("env: {OPSCHAIN_PRIMARY_KEY: \"  \", TZ: UTC}\n", "is blank"),
            ("env: {OPSCHAIN_PRIMARY_KEY: 12345678, TZ: UTC}\n", "another type"),
            ("env: {OPSCHAIN_PRIMARY_KEY: [abcdefgh]}\n", "another type"),
            ("env: {OPSCHAIN_PRIMARY_KEY: null}\n", "is gone"),
            ("env: {TZ: UTC}\n", "is gone"),
            ("env: x\n", "is gone"),
        ] {
            let error = guard(old, new, &[]).unwrap_err();
            assert_eq!(error.exit(), Exit::Guard, "{new}");
            assert!(error.message().contains(act), "{new}: {error}");
            assert!(!error.to_string().contains("abcdefgh"), "{error}");
        }
        assert!(guard(old, "env: {TZ: CET, OPSCHAIN_PRIMARY_KEY: \"abcdefgh\"}\n", &[]).is_ok());
        assert!(guard(old, "env: {TZ: UTC}\n", &["env.OPSCHAIN_PRIMARY_KEY"]).is_ok());
        assert!(guard("env: {OPSCHAIN_PRIMARY_KEY: \"\"}\n", old, &[]).is_ok(), "set for the first time");
    }

    #[test]
    fn a_number_that_is_quoted_now_is_a_change_of_type() {
        let error = guard("env: {PGPASSWORD: 123456}\n", "env: {PGPASSWORD: \"123456\"}\n", &[]).unwrap_err();
        assert!(error.message().contains("another type"), "{error}");
    }

    #[test]
    fn what_the_values_leave_out_is_what_the_chart_has() {
        let chart = "db: {cnpg: {clusterName: opschain-db}}\n";
        let named = |name: &str| format!("db: {{cnpg: {{clusterName: {name}}}}}\n");
        let same = named("opschain-db");
        assert!(guard_over(("{}", chart), (&same, chart), &[]).is_ok(), "said what held already");
        assert!(guard_over((&same, chart), ("{}", chart), &[]).is_ok(), "left to the chart, which has the same");
        let other = named("site-b");
        assert_eq!(guard_over(("{}", chart), (&other, chart), &[]).unwrap_err().exit(), Exit::Guard);
        assert_eq!(guard_over((&other, chart), ("{}", chart), &[]).unwrap_err().exit(), Exit::Guard);
        let moved = "db: {cnpg: {clusterName: opschain-database}}\n";
        assert_eq!(guard_over(("{}", chart), ("{}", moved), &[]).unwrap_err().exit(), Exit::Guard, "the chart moved");
        assert!(guard_over(("{}", chart), ("db: {cnpg: null}\n", chart), &[]).is_err(), "null takes the default away");
    }

    #[test]
    fn every_guarded_key_is_named_with_its_own_override() {
        let old = "env: {PGPASSWORD: old-one-1, OPSCHAIN_PRIMARY_KEY: abcdefgh}\n";
        let error = guard(old, "env: {}\n", &[]).unwrap_err();
        let last = error.hints().last().unwrap();
        assert!(last.contains("--allow env.OPSCHAIN_PRIMARY_KEY --allow env.PGPASSWORD"), "{last}");
    }

    #[test]
    fn a_grave_finding_is_refused_with_its_place_and_may_be_allowed() {
        let yaml = b"a: 1\na: 2\nPGPASSWORD: 123456\n";
        let findings = lint(&Tree::parse(yaml).unwrap(), yaml);
        let error = refuse_findings("values.yaml", &findings, &[]).unwrap_err();
        assert!(error.message().starts_with("values.yaml:2:1: a: the key stands on line 1"), "{error}");
        assert_eq!(error.hints().len(), 3);
        let allow = ["duplicate-key".to_owned(), "secret-not-text".to_owned()];
        assert!(refuse_findings("values.yaml", &findings, &allow).is_ok());
    }
}
