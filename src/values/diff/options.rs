//! What a comparison is asked to do otherwise than by itself.

use serde::Serialize;

use super::change::{Change, What};
use super::pattern::Pattern;
use super::rules::Rule;
use crate::yaml::Path;

/// How to compare. The default leaves nothing out and shows no secret.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keys that may identify an item of a list, tried before `name`, `key` and `id`; `a.b` is key `b` in map `a`.
    pub identifiers: Vec<String>,
    /// Lists are the same when they hold the same items, in whatever order.
    pub ignore_order: bool,
    /// Paths that are not compared.
    pub exclude: Vec<Pattern>,
    /// If there are any: only what one of them names is told.
    pub filter: Vec<Pattern>,
    /// If there are any: only these kinds are told.
    pub only: Vec<Only>,
    /// Differences that are accepted, with the reason.
    pub rules: Vec<Rule>,
    /// Secrets are shown.
    pub reveal: bool,
    /// Comments and writing are compared too.
    pub layout: bool,
}

/// A kind of change to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// What was not there before.
    Added,
    /// What is no longer there.
    Removed,
    /// What is there on both sides and not the same: value, type, order, place.
    Changed,
}

impl Only {
    pub(super) fn takes(self, change: &Change) -> bool {
        let kind = match change.what {
            _ if change.is_renamed() => Self::Changed,
            What::Added => Self::Added,
            What::Removed => Self::Removed,
            What::Changed | What::Retyped | What::Reordered => Self::Changed,
        };
        self == kind
    }
}

/// A difference that a pattern or a rule left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IgnoredChange {
    pub path: Path,
    /// The pattern that names it.
    pub by: String,
    /// Why, where a rule says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Passed {
    /// Differences that a pattern or a rule names. A map or list counts as one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<IgnoredChange>,
    /// How many changes `filter` or `only` left out.
    pub filtered: usize,
}

impl Passed {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.ignored.is_empty() && self.filtered == 0
    }
}
