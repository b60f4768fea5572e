//! Texts of several lines, line by line.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Serialize;
use similar::DiffOp;

use super::by_key::by_key;
use super::sequence;
use crate::redact::Scrubber;
use crate::yaml::Tree;

/// How many equal lines stand around each difference.
const CONTEXT: usize = 3;

/// What happened to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// It is on both sides.
    Same,
    /// It is no longer there.
    Removed,
    /// It was not there before.
    Added,
}

impl Sign {
    /// As a unified diff writes it.
    pub fn char(self) -> char {
        match self {
            Self::Same => ' ',
            Self::Removed => '-',
            Self::Added => '+',
        }
    }
}

/// A line of a text, secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextLine {
    /// What happened to it.
    pub sign: Sign,
    /// The line, without its end.
    pub text: String,
}

/// Lines that differ, and a few around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hunk {
    /// The first of its lines in the old text, from 1.
    pub old_line: usize,
    /// The first of its lines in the new text, from 1.
    pub new_line: usize,
    pub lines: Vec<TextLine>,
}

impl Hunk {
    fn count(&self, not: Sign) -> usize {
        self.lines.iter().filter(|line| line.sign != not).count()
    }

    /// `@@ -1,4 +1,5 @@`
    pub fn head(&self) -> String {
        let side = |first: usize, count: usize| match count {
            // An empty stretch is named by the line before it.
            0 => format!("{},0", first - 1),
            1 => first.to_string(),
            _ => format!("{first},{count}"),
        };
        let (old, new) = (self.count(Sign::Added), self.count(Sign::Removed));
        format!("@@ -{} +{} @@", side(self.old_line, old), side(self.new_line, new))
    }
}

/// The differences of two texts, with context; `show` makes of each line what may be shown.
pub(super) fn hunks(old: &str, new: &str, show: &dyn Fn(&str) -> String) -> Vec<Hunk> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut number = |line| {
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        *known.entry(line).or_insert(next)
    };
    let before: Vec<u32> = old.iter().map(|line| number(*line)).collect();
    let after: Vec<u32> = new.iter().map(|line| number(*line)).collect();
    let groups = similar::group_diff_ops(sequence::edits(&before, &after), CONTEXT);
    groups.iter().filter_map(|ops| hunk(ops, &old, &new, show)).collect()
}

fn hunk(ops: &[DiffOp], old: &[&str], new: &[&str], show: &dyn Fn(&str) -> String) -> Option<Hunk> {
    let first = ops.first()?;
    let mut lines = Vec::new();
    let mut add = |sign, texts: &[&str]| lines.extend(texts.iter().map(|text| TextLine { sign, text: show(text) }));
    for op in ops {
        if matches!(op, DiffOp::Equal { .. }) {
            add(Sign::Same, &new[op.new_range()]);
        } else {
            add(Sign::Removed, &old[op.old_range()]);
            add(Sign::Added, &new[op.new_range()]);
        }
    }
    Some(Hunk { old_line: first.old_range().start + 1, new_line: first.new_range().start + 1, lines })
}

/// Both files as they were written, as a unified text diff; secrets masked unless `reveal`. Empty when nothing differs.
pub fn unified(old: &Tree, new: &Tree, scrubber: &Scrubber, names: (&str, &str), reveal: bool) -> String {
    let shown = |tree: &Tree| match tree.unread() {
        _ if reveal => tree.source().to_owned(),
        Some(_) => tree.source().split('\n').map(|line| by_key(scrubber, line)).collect::<Vec<_>>().join("\n"),
        None => scrubber.scrub_source(tree),
    };
    let (before, after) = (shown(old), shown(new));
    if before == after {
        return String::new();
    }
    // What follows the last line's end is no line.
    let trim = |text: &'_ str| text.strip_suffix('\n').map_or(text.len(), str::len);
    let hunks = hunks(&before[..trim(&before)], &after[..trim(&after)], &|line| line.to_owned());
    let mut text = format!("--- {}\n+++ {}\n", names.0, names.1);
    for hunk in &hunks {
        let _ = writeln!(text, "{}", hunk.head());
        for line in &hunk.lines {
            let _ = writeln!(text, "{}{}", line.sign.char(), line.text);
        }
    }
    text
}
