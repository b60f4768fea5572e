//! What Helm would read in silence and the author hardly meant.
//!
//! [`lint`] needs nothing but the file. [`lint_with`] also knows the chart's own defaults and what the releases of the
//! product say of keys, as far as the caller has them.

mod keys;
mod known;
mod secrets;
mod written;

use std::collections::HashSet;

use serde::Serialize;

pub use known::{Facts, KeyFact, Shape};

use crate::redact;
use crate::yaml::{Node, Path, Span, Tree, Value};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A deployment is refused until it is mended or allowed by its id.
    Error,
    /// Worth a look.
    Warning,
    /// `dr` takes care of it.
    Note,
}

/// One finding. It quotes no value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The lint's name, as `--allow` takes it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Where, when it is about one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// What is wrong and why it matters.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

/// A lint, as `docs/reference/lints.md` lists it.
#[derive(Debug, Clone, Copy)]
pub struct Lint {
    /// Its name.
    pub id: &'static str,
    /// How bad a finding is.
    pub severity: Severity,
    /// What it finds, in words that follow the name.
    pub finds: &'static str,
}

const fn listed(id: &'static str, severity: Severity, finds: &'static str) -> Lint {
    Lint { id, severity, finds }
}

/// Every lint.
pub const ALL: &[Lint] = &[
    listed("secret-not-text", Severity::Error, "a secret that Helm reads as a number, a boolean or null"),
    listed("duplicate-key", Severity::Error, "a key that stands twice in one map; Helm keeps the last"),
    listed("second-document", Severity::Error, "another document; helm 3 ignores it, helm 4 merges it"),
    listed("ignored-rest", Severity::Error, "text after the end of a document; Helm ignores it"),
    listed("odd-key", Severity::Warning, "a key that is no text without quotes, such as `on` or `0x10`"),
    listed("number-rounded", Severity::Warning, "a number with more digits than Helm keeps"),
    listed("octal", Severity::Warning, "a number with a leading zero, read as octal, binary or hexadecimal"),
    listed("version-not-text", Severity::Warning, "a version read as a number, so that `17.10` becomes `17.1`"),
    listed("weak-secret", Severity::Warning, "a secret that is short, repetitive, a well-known word or a placeholder"),
    listed("same-secret", Severity::Warning, "two secrets of the same value"),
    listed("secret-shape", Severity::Warning, "a secret without the length or encoding that OpsChain asks for"),
    listed("unknown-key", Severity::Warning, "a key that neither the chart nor any release knows; Helm ignores it"),
    listed("misplaced-key", Severity::Warning, "a key that is known, but in another place; Helm ignores it here"),
    listed("deprecated-key", Severity::Warning, "a key that a release has removed or replaced"),
    listed("wrong-type", Severity::Warning, "a map where the chart has a single value, or the other way round"),
    listed("lost-last-line", Severity::Warning, "a last line without an end, of a length at which helm 4 loses it"),
    listed("tab", Severity::Note, "a tab outside of text"),
    listed("byte-order-mark", Severity::Note, "a byte order mark at the beginning"),
    listed("carriage-return", Severity::Note, "lines that end as on Windows"),
    listed("no-final-newline", Severity::Note, "a last line without an end"),
];

/// What is known beside the file itself.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The chart's own values.
    pub defaults: Option<&'a Tree>,
    /// The release that is to run, as its date (`2026-08-20`); without it, the newest.
    pub version: Option<&'a str>,
    /// What the releases say of keys.
    pub facts: &'a Facts,
}

/// Looks through a values file. `bytes` are those that `tree` was read from. Findings come in the order of the file.
pub fn lint(tree: &Tree, bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for trap in tree.traps() {
        findings.push(written::of_trap(trap));
    }
    let secret = redact::secrets(tree);
    for (path, node, _) in &secret {
        if let Some(scalar) = node.scalar()
            && !matches!(scalar.value, Value::String(_))
        {
            let kind = scalar.value.type_name();
            findings.push(Finding {
                reason: format!(
                    "a secret that Helm reads as a {kind}: it is deployed as other characters than were written"
                ),
                fix: "put it in quotes".into(),
                ..finding("secret-not-text", &node.span, Some(path))
            });
        }
    }
    let known: HashSet<*const Node> = secret.iter().map(|(_, node, _)| std::ptr::from_ref(*node)).collect();
    for (path, node) in tree.leaves() {
        if let Some(scalar) = node.scalar()
            && !known.contains(&std::ptr::from_ref(node))
        {
            written::of_number(tree, &path, node, scalar, &mut findings);
        }
    }
    secrets::weak(&secret, &mut findings);
    written::of_bytes(bytes, &mut findings);
    in_order(findings)
}

/// The same, and what can be told with more knowledge: unknown, misplaced and deprecated keys, shapes of secrets.
pub fn lint_with(tree: &Tree, bytes: &[u8], context: &Context<'_>) -> Vec<Finding> {
    let mut findings = lint(tree, bytes);
    secrets::shapes(tree, context.facts, &mut findings);
    secrets::same(&redact::secrets(tree), context.facts, &mut findings);
    keys::check(tree, context, &mut findings);
    in_order(findings)
}

fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

fn finding(id: &'static str, at: &Span, path: Option<&Path>) -> Finding {
    let severity = ALL.iter().find(|lint| lint.id == id).map_or(Severity::Warning, |lint| lint.severity);
    Finding {
        id,
        severity,
        line: at.line,
        column: at.column,
        path: path.cloned(),
        reason: String::new(),
        fix: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(yaml: &[u8]) -> Vec<String> {
        lint(&Tree::parse(yaml).unwrap(), yaml)
            .iter()
            .map(|f| {
                format!(
                    "{}:{} {} {}",
                    f.line,
                    f.column,
                    f.id,
                    f.path.as_ref().map(ToString::to_string).unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn a_secret_made_of_digits_is_an_error_at_its_place() {
        let yaml =
            b"env:\n  OPSCHAIN_PRIMARY_KEY: 12345678901234567890123456789012\n  PGPASSWORD: \"73915028461957302846\"\n";
        assert_eq!(found(yaml), ["2:25 secret-not-text env.OPSCHAIN_PRIMARY_KEY"]);
        let all = lint(&Tree::parse(yaml).unwrap(), yaml);
        assert_eq!(all[0].severity, Severity::Error);
        assert!(!format!("{all:?}").contains("1234"), "a finding quotes a secret");
    }

    #[test]
    fn each_trap_is_found_at_its_place() {
        assert_eq!(found(b"a: 1\na: 2\n"), ["2:1 duplicate-key a"]);
        assert_eq!(found(b"a: 1\n---\nb: 2\n"), ["2:1 second-document "]);
        assert_eq!(found(b"a: 1\n...\nb: 2\n"), ["3:1 ignored-rest "]);
        assert_eq!(found(b"a:\n  on: x\n"), ["2:3 odd-key a.true"]);
        assert_eq!(
            found(b"mode: 0755\nid: 123456789012345678901\nok: 10\nzero: 0\nhalf: 0.5\n"),
            ["1:7 octal mode", "2:5 number-rounded id"]
        );
        assert_eq!(
            found(b"\xef\xbb\xbfa: 1\r\nb: 2"),
            ["1:1 byte-order-mark ", "1:1 carriage-return ", "2:1 no-final-newline "]
        );
        assert_eq!(found(b"a: 1\nversion: 2026.8.20\n"), Vec::<String>::new());
    }

    #[test]
    fn every_finding_has_a_listed_id() {
        let yaml = b"a: 1\na: 2\non: 0755\nPGPASSWORD: 1\nx: 99999999999999999\n---\nb: 1\n...\nc";
        for finding in lint(&Tree::parse(yaml).unwrap(), yaml) {
            let listed = ALL.iter().find(|lint| lint.id == finding.id).unwrap_or_else(|| panic!("{}", finding.id));
            assert_eq!(listed.severity, finding.severity);
        }
    }
}
