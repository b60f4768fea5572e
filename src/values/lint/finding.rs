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
    pub fix: String,
}

/// Every lint by its id; `docs/reference/lints.md` says what each finds.
pub const ALL: &[(&str, Severity)] = &[
    ("not-read", Severity::Error),
    ("secret-not-text", Severity::Error),
    ("secret-cut", Severity::Error),
    ("secret-blank", Severity::Error),
    ("secret-placeholder", Severity::Error),
    ("duplicate-key", Severity::Error),
    ("second-document", Severity::Error),
    ("ignored-rest", Severity::Error),
    ("line-separator", Severity::Warning),
    ("odd-key", Severity::Warning),
    ("unseen-in-key", Severity::Warning),
    ("typographic-quotes", Severity::Warning),
    ("number-rounded", Severity::Warning),
    ("octal", Severity::Warning),
    ("version-not-text", Severity::Warning),
    ("weak-secret", Severity::Warning),
    ("same-secret", Severity::Warning),
    ("secret-shape", Severity::Warning),
    ("unknown-key", Severity::Warning),
    ("misplaced-key", Severity::Warning),
    ("deprecated-key", Severity::Warning),
    ("wrong-type", Severity::Warning),
    ("text-as-boolean", Severity::Warning),
    ("boolean-as-text", Severity::Warning),
    ("number-as-exponent", Severity::Warning),
    ("not-a-text", Severity::Warning),
    ("keys-disagree", Severity::Warning),
    ("lost-last-line", Severity::Warning),
    ("secret-empty", Severity::Note),
    ("tab", Severity::Note),
    ("byte-order-mark", Severity::Note),
    ("carriage-return", Severity::Note),
    ("no-final-newline", Severity::Note),
];

/// A finding without its words yet.
pub(super) fn finding(id: &'static str, at: &Span, path: Option<&Path>) -> LintFinding {
    let severity = ALL.iter().find(|(listed, _)| *listed == id).map_or(Severity::Warning, |(_, severity)| *severity);
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

/// Where a secret is none to Helm: what is wrong there need not be said again.
pub(super) fn at_secrets(findings: &[LintFinding]) -> impl Iterator<Item = &Path> {
    findings.iter().filter(|finding| finding.id == "secret-not-text").filter_map(|finding| finding.path.as_ref())
}
