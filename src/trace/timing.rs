//! Where the time of a run went: for each step, what each kind of call took. Kept beside the run's journal, so that it is
//! there afterwards.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::read;

/// The name of the file in a run's folder: one [`StepTiming`] a line, in the order in which steps ended.
pub const FILE: &str = "timing.jsonl";

/// One step as one process did it: a step that is done again by a resume has one more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTiming {
    /// The step's name in the journal.
    pub step: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub milliseconds: f64,
    /// `ok`, or the first line of its error.
    pub outcome: String,
    /// The calls that ended meanwhile, the longest kind first. Calls side by side may add up to more than the step.
    pub calls: Vec<CallTiming>,
}

/// The calls of one kind in a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CallTiming {
    /// `cluster`, `exec`, `agent`, `helm`, `psql`, `git`, `vault`, `stream`, `chunk`, `store` or `wait`.
    pub kind: String,
    pub count: u64,
    pub failed: u64,
    /// How long they took together.
    pub milliseconds: f64,
    /// The longest.
    pub slowest: String,
    /// How long that took.
    pub slowest_milliseconds: f64,
}

/// Reads what a run's folder holds; nothing where there is no such file. A last line that a crash has cut is left out.
///
/// # Errors
/// When the file cannot be read, or holds what is no timing.
pub fn read(folder: &Path) -> io::Result<Vec<StepTiming>> {
    let text = match read::text_file(&folder.join(FILE), read::RECORDS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let timing = |(number, line)| {
        let no_timing =
            |error| io::Error::new(io::ErrorKind::InvalidData, format!("{FILE} line {}: {error}", number + 1));
        serde_json::from_str(line).map_err(no_timing)
    };
    whole.lines().enumerate().map(timing).collect()
}

/// The calls of all steps, kind by kind, the longest kind first.
pub fn total(steps: &[StepTiming]) -> Vec<CallTiming> {
    let mut all = Vec::new();
    steps.iter().flat_map(|step| &step.calls).for_each(|calls| merge(&mut all, calls));
    sort(&mut all);
    all
}

fn merge(all: &mut Vec<CallTiming>, more: &CallTiming) {
    let Some(known) = all.iter_mut().find(|timing| timing.kind == more.kind) else { return all.push(more.clone()) };
    known.count = known.count.saturating_add(more.count);
    known.failed = known.failed.saturating_add(more.failed);
    known.milliseconds = rounded(known.milliseconds + more.milliseconds);
    if more.slowest_milliseconds > known.slowest_milliseconds {
        known.slowest_milliseconds = more.slowest_milliseconds;
        known.slowest.clone_from(&more.slowest);
    }
}

fn sort(calls: &mut [CallTiming]) {
    calls.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
}

/// To the microsecond: sums of such numbers would print more digits.
fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}

/// Adds up calls while a step is under way.
pub(super) struct StepClock {
    pub(super) step: String,
    at: Timestamp,
    calls: Vec<CallTiming>,
}

impl StepClock {
    pub(super) fn begin(step: &str) -> Self {
        Self { step: step.to_owned(), at: clock::now(), calls: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: &str, what: &str, milliseconds: f64, failed: bool) {
        let call = CallTiming {
            kind: kind.to_owned(),
            count: 1,
            failed: failed.into(),
            milliseconds,
            slowest: what.to_owned(),
            slowest_milliseconds: milliseconds,
        };
        merge(&mut self.calls, &call);
    }

    pub(super) fn end(mut self, milliseconds: f64, outcome: &str) -> StepTiming {
        sort(&mut self.calls);
        StepTiming { step: self.step, at: self.at, milliseconds, outcome: outcome.to_owned(), calls: self.calls }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing() -> StepTiming {
        let mut clock = StepClock::begin("base");
        clock.add("cluster", "get Pod a", 1.5, false);
        clock.add("helm", "helm history", 30.0, true);
        clock.add("cluster", "get Pod b", 2.25, false);
        clock.add("cluster", "get Pod c", 0.5, false);
        clock.end(50.0, "ok")
    }

    #[test]
    fn calls_are_added_up_by_kind_with_the_slowest_named() {
        let StepTiming { calls, .. } = timing();
        let short: Vec<_> = calls.iter().map(|c| (c.kind.as_str(), c.count, c.failed, c.milliseconds)).collect();
        assert_eq!(short, [("helm", 1, 1, 30.0), ("cluster", 3, 0, 4.25)]);
        assert_eq!((calls[1].slowest.as_str(), calls[1].slowest_milliseconds), ("get Pod b", 2.25));
        let all = total(&[timing(), timing()]);
        assert_eq!((all[0].milliseconds, all[1].count, all[1].slowest.as_str()), (60.0, 6, "get Pod b"));
    }

    #[test]
    fn a_line_that_a_crash_has_cut_is_left_out_and_no_file_is_no_timing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        let line = serde_json::to_string(&timing()).unwrap();
        for cut in 0..line.len() {
            std::fs::write(folder.path().join(FILE), format!("{line}\n{}", &line[..cut])).unwrap();
            assert_eq!(read(folder.path()).unwrap(), [timing_at(&line)]);
        }
        std::fs::write(folder.path().join(FILE), "rubbish\n").unwrap();
        assert!(read(folder.path()).is_err());
    }

    fn timing_at(line: &str) -> StepTiming {
        serde_json::from_str(line).unwrap()
    }
}
