//! What a lint says, and the list of all lints.

use serde::Serialize;

use crate::yaml::{Path, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A deployment is refused until it is fixed or allowed by its id.
    Error,
    /// Worth a look.
    Warning,
    /// `dr` takes care of it.
    Note,
}

/// One finding. It quotes no value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LintFinding {
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

/// A finding without its words yet.
pub(super) fn finding(id: &'static str, at: &Span, path: Option<&Path>) -> LintFinding {
    let severity = ALL.iter().find(|lint| lint.id == id).map_or(Severity::Warning, |lint| lint.severity);
    LintFinding {
        id,
        severity,
        line: at.line,
        column: at.column,
        path: path.cloned(),
        reason: String::new(),
        fix: String::new(),
    }
}
