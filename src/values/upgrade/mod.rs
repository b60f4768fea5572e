//! A new release's values file with an operator's edits carried into it.
//!
//! Three files: the shipped old values, the shipped new ones, and the operator's. What the operator changed stays, what
//! the operator left alone becomes new, and the text is that of the new file: its comments and its order. A file of
//! overrides stays the operator's own text, with what the release changed in it. Edits are made
//! in the text, where the values stand; no YAML is emitted for what the operator wrote. The operator's comments go to
//! their keys. At the end the text is read as Helm reads it, and must say what the merge of the three says.

mod comments;
mod deprecated;
mod edit;
mod ends;
mod items;
mod merge;
mod moves;
mod order;
mod overrides;
mod plain;
mod remarks;
mod report;
mod shared;
mod telling;
mod text;
mod written;

use std::collections::HashSet;

use comments::{ShippedComments, lost};
use merge::Merged;
pub use report::{DeprecatedKey, KeyOutcome, KeyReport, ProposalStyle, Three};
use shared::{Parted, first_difference};
use zeroize::Zeroizing;

use super::lint::KeyFacts;
use crate::redact::Scrubber;
use crate::yaml::{Path, Trap, Tree};

/// What came of it.
pub struct Proposal {
    /// Whose text it is.
    pub style: ProposalStyle,
    /// The proposed file. It holds secrets.
    pub text: Zeroizing<String>,
    /// What happened to each key that is not simply the same, worst first.
    pub items: Vec<KeyReport>,
    /// Keys of the operator's in it that the release calls deprecated.
    pub deprecated: Vec<DeprecatedKey>,
    /// The operator's own comments that found no place in the proposal: their keys are gone.
    pub comments: Vec<String>,
}

/// Why there is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// One of the files is more than one document.
    #[error("the {0} values are more than one document")]
    Documents(&'static str),
    /// The text could not be made to say what the merge says; the path is where it first differs.
    #[error("the file's text cannot take the change at {0}")]
    Unfaithful(Path),
    /// The operator's text has what stands there from an anchor, and the two are to become different.
    #[error("the file's text has {0} from an anchor (`<<` or `*`), and the change is to one of the two places only")]
    Shared(Path),
    /// The text is no YAML any more.
    #[error("the file's text cannot take the changes: it would break at line {0}")]
    Broken(usize),
}

/// Makes the proposal: without a `style`, of the one that the operator's file has. `facts` know of keys that have other
/// names now; `scrubber` makes the masks of the report.
///
/// # Errors
/// See [`UpgradeError`]: nothing is proposed that Helm would read otherwise than the merge says.
pub fn propose(
    three: Three<'_>,
    style: Option<ProposalStyle>,
    facts: &KeyFacts,
    scrubber: &Scrubber,
) -> Result<Proposal, UpgradeError> {
    for (tree, name) in [(three.old, "old"), (three.new, "new"), (three.yours, "operator's")] {
        if tree.traps().iter().any(|trap| matches!(trap, Trap::SecondDocument { .. } | Trap::IgnoredRest { .. })) {
            return Err(UpgradeError::Documents(name));
        }
    }
    let plain = [three.old, three.new, three.yours].map(plain::with_line_feeds);
    let [old, new, yours] = &plain;
    let three = Three {
        old: old.as_ref().unwrap_or(three.old),
        new: new.as_ref().unwrap_or(three.new),
        yours: yours.as_ref().unwrap_or(three.yours),
    };
    let style = style.unwrap_or_else(|| overrides::style_of(three));
    let base = if style == ProposalStyle::Full { three.new } else { three.yours };
    let proposal = with_lines_of(three, style, facts, scrubber);
    // What is dropped from the text in silence may come back with a change, and what stands behind a `?` is nothing that
    // is edited: once more, from a file without it.
    let simpler = || plain::without_signs(base).or_else(|| shared::without_dropped(base));
    match proposal.is_err().then(simpler).flatten() {
        Some(cleaned) => {
            let mut proposal = propose(three.based_on(style, &cleaned), Some(style), facts, scrubber)?;
            let mut masks = scrubber.clone();
            masks.register_tree(three.yours);
            proposal.comments = lost_comments(three, &proposal.text, &masks);
            Ok(proposal)
        }
        None => proposal,
    }
}

/// The operator's own comments that a proposal has not, as they may be shown.
fn lost_comments(three: Three<'_>, text: &str, scrubber: &Scrubber) -> Vec<String> {
    scrubber.comments(three.yours, &lost(three.yours, text, &ShippedComments::of(three)))
}

/// The proposal, from all lines of the file whose text it takes.
fn with_lines_of(
    three: Three<'_>,
    style: ProposalStyle,
    facts: &KeyFacts,
    scrubber: &Scrubber,
) -> Result<Proposal, UpgradeError> {
    let mut scrubber = scrubber.clone();
    for tree in [three.old, three.new, three.yours] {
        scrubber.register_tree(tree);
    }
    let shipped = ShippedComments::of(three);
    let lists = items::merge(three, &scrubber, &shipped);
    let own = Three { yours: lists.as_ref().map_or(three.yours, |lists| &lists.tree), ..three };
    let paths = lists.as_ref().map(|lists| lists.paths.clone()).unwrap_or_default();
    let (merged, edited) = merged(own, (style, &paths), facts, &scrubber, &shipped);
    let mut items = merged.items;
    items.extend(lists.iter().flat_map(|lists| lists.items.clone()).map(|item| in_a_list(item, style)));
    let base = if style == ProposalStyle::Full { three.new } else { three.yours };
    // Once more, from a file that has these aliases written out.
    let without = |names: &HashSet<String>, refused: UpgradeError| {
        let written = written::written_out(base, names).ok_or(refused)?;
        propose(three.based_on(style, &written), Some(style), facts, &scrubber)
    };
    // What a release has dropped may stay in a file of overrides.
    let said = (style == ProposalStyle::Overrides).then(|| three.yours.to_json());
    let Parted { text: edited, wanted, kept } =
        match shared::parted(with_line_ends(edited, "\n"), merged.value, said.as_ref()) {
            Ok(parted) => parted,
            Err(entangled) => return without(&entangled.names, UpgradeError::Shared(entangled.path)),
        };
    for item in items.iter_mut().filter(|item| item.outcome == KeyOutcome::Dropped && kept.contains(&item.path)) {
        item.outcome = KeyOutcome::Merged;
    }
    items.sort_by_key(|item| item.outcome);
    let proposed = match Tree::parse(edited.as_bytes()) {
        Ok(proposed) => proposed,
        // The anchor of an alias may have gone with its key.
        Err(error) => return without(&shared::lost(&edited, error.line), UpgradeError::Broken(error.line)),
    };
    let read = proposed.to_json();
    if read != wanted {
        let path = first_difference(&read, &wanted, Path::root());
        let is_shared = stands_elsewhere(base, &path);
        return Err(if is_shared { UpgradeError::Shared(path) } else { UpgradeError::Unfaithful(path) });
    }
    let says_the_same = |text: &str| {
        Tree::parse(text.as_bytes())
            .is_ok_and(|tree| tree.traps().len() == proposed.traps().len() && tree.to_json() == read)
    };
    let ordered = match style {
        ProposalStyle::Full => order::as_yours(&edited, own).filter(|text| says_the_same(text)),
        ProposalStyle::Overrides => None,
    };
    let deprecated = deprecated::deprecated(three, &proposed, facts, &scrubber);
    let text = remarks::carried(ordered.unwrap_or(edited), three.yours, &shipped, &items, says_the_same);
    let comments = lost_comments(three, &text, &scrubber);
    Ok(Proposal { style, text: with_line_ends(text, line_end_of(three)), items, deprecated, comments })
}

/// What the merge says, and the text with its edits.
fn merged<'t>(
    three: Three<'t>,
    (style, lists): (ProposalStyle, &HashSet<Path>),
    facts: &KeyFacts,
    scrubber: &Scrubber,
    shipped: &ShippedComments<'_>,
) -> (Merged<'t>, Zeroizing<String>) {
    let (merged, base, other) = match style {
        ProposalStyle::Full => (merge::merge(three, lists, facts, scrubber), three.new, three.yours),
        ProposalStyle::Overrides => (overrides::merge(three, lists, facts, scrubber), three.yours, three.new),
    };
    let text = text::apply(base, other, &merged.edits, shipped);
    (merged, text)
}

/// How the operator's lines end; where there are none, the new file's.
fn line_end_of(three: Three<'_>) -> &'static str {
    let source = if three.yours.source().contains('\n') { three.yours.source() } else { three.new.source() };
    let (all, windows) = (source.matches('\n').count(), source.matches("\r\n").count());
    if windows * 2 > all { "\r\n" } else { "\n" }
}

fn with_line_ends(text: Zeroizing<String>, end: &str) -> Zeroizing<String> {
    let plain = Zeroizing::new(text.replace("\r\n", "\n"));
    if end == "\n" { plain } else { Zeroizing::new(plain.replace('\n', end)) }
}

/// In a file of overrides, what is new in its lists is copied, and all else that is new only told.
fn in_a_list(item: KeyReport, style: ProposalStyle) -> KeyReport {
    match (item.outcome, style) {
        (KeyOutcome::New, ProposalStyle::Overrides) => KeyReport { outcome: KeyOutcome::Added, ..item },
        _ => item,
    }
}

/// Whether the way to a place leads through a merge key or an alias.
fn stands_elsewhere(tree: &Tree, path: &Path) -> bool {
    let mut node = tree.root();
    for key in path.keys() {
        let Some(entry) = node.entry(key) else { return false };
        if entry.merged || entry.value.span.bytes.start < entry.key_span.bytes.end {
            return true;
        }
        node = &entry.value;
    }
    false
}

#[cfg(test)]
mod tests;
