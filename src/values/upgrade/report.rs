//! What an upgrade of a values file is made from, and what it says of each key.

use serde::Serialize;

use crate::yaml::{Path, Tree};

/// The three files.
#[derive(Debug, Clone, Copy)]
pub struct Three<'t> {
    /// The shipped values of the release that the operator comes from.
    pub old: &'t Tree,
    /// Those of the release to go to.
    pub new: &'t Tree,
    pub yours: &'t Tree,
}

impl<'t> Three<'t> {
    /// The same with another text of the file that a proposal of this style is made from.
    pub(super) fn based_on(self, style: ProposalStyle, base: &'t Tree) -> Self {
        match style {
            ProposalStyle::Full => Three { new: base, ..self },
            ProposalStyle::Overrides => Three { yours: base, ..self },
        }
    }
}

/// Whose text the proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposalStyle {
    /// The operator's: what the release has beside it is told, and not copied.
    Overrides,
    /// The new release's, whole.
    Full,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyOutcome {
    /// The operator and the new release both changed it: the operator's value stands.
    Conflict,
    /// The new release does not have it any more; the operator had changed it, and that value stands.
    Removed,
    /// The new release does not have it any more, and it is gone: the operator had the old default.
    Dropped,
    /// The new release does not have it any more, and a merge of the operator's brings it all the same.
    Merged,
    /// It has another name now, and the operator's value stands there.
    Renamed,
    /// It has another name now and another default, which the operator gets, having had the old one.
    RenamedDefault,
    /// Its default changed, and the operator had the old one or none.
    NewDefault,
    New,
    /// New in a list that a file of overrides has, and added there: the list stands for the whole of the release's.
    Added,
    /// The operator changed it, and the release did not.
    Kept,
    /// The operator's own, which neither file has.
    Own,
}

/// One key of the report. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    pub outcome: KeyOutcome,
    /// Where it stands now, or stood.
    pub path: Path,
    /// Where it stood before, when it was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Path>,
    /// The old release's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The new release's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// What the operator has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yours: Option<String>,
}

/// A key of the operator's that the release calls deprecated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeprecatedKey {
    pub path: Path,
    /// What takes its place, or what the release's comment says.
    pub says: String,
}
