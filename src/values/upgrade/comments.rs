//! Whose comments are whose.

use std::collections::{HashMap, HashSet};

use super::report::Three;
use crate::values::diff::{comments, placed_comments};
use crate::yaml::Tree;

/// The comments of the release's files: those are not the operator's.
pub(super) struct ShippedComments<'t>(pub(super) HashSet<&'t str>);

impl<'t> ShippedComments<'t> {
    pub(super) fn of(three: Three<'t>) -> Self {
        Self([three.old, three.new].into_iter().flat_map(comments).collect())
    }

    pub(super) fn contains(&self, comment: &str) -> bool {
        self.0.contains(comment)
    }

    /// Whether a comment at this place of the operator's file is the operator's. A line of signs is the operator's if
    /// the comment line before or after it is.
    pub(super) fn is_own(&self, source: &str, at: usize, comment: &str) -> bool {
        let is_own = |comment: &str| comment.contains(char::is_alphanumeric) && !self.contains(comment);
        if comment.contains(char::is_alphanumeric) {
            return is_own(comment);
        }
        let is_own_line =
            |line: Option<&str>| line.map(str::trim).is_some_and(|line| line.starts_with('#') && is_own(line));
        let line = source[..at].rfind('\n').map_or(0, |end| end + 1);
        is_own_line(source[..line].lines().next_back()) || is_own_line(source[at..].lines().nth(1))
    }
}

/// The operator's own comments that a text has not, or not as often, each with its place.
pub(super) fn lost<'t>(yours: &'t Tree, text: &str, shipped: &ShippedComments<'_>) -> Vec<(usize, &'t str)> {
    let Ok(proposed) = Tree::parse(text.as_bytes()) else { return Vec::new() };
    let mut there: HashMap<&str, usize> = HashMap::new();
    for comment in comments(&proposed) {
        *there.entry(comment).or_default() += 1;
    }
    let own = placed_comments(yours).into_iter().filter(|(at, comment)| shipped.is_own(yours.source(), *at, comment));
    own.filter(|(_, comment)| match there.get_mut(comment).filter(|count| **count > 0) {
        Some(count) => {
            *count -= 1;
            false
        }
        None => true,
    })
    .collect()
}
