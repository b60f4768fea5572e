//! How long each step of a run will take, by what earlier runs of this host took; and afterwards, how wrong that was.
//!
//! A step that moves the database takes as long as the database is large: the median of what a byte took is scaled. Of any
//! other step the median is taken as it is. A step of which no run is known is said to be unknown, never guessed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ctx;
use crate::journal::{self, Outcome, Record, Run};

/// So many earlier runs are looked at, the newest: the site of years ago tells nothing of today's.
const NEWEST: usize = 10;

/// How long each step of one run took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PastRun {
    /// Bytes of its database.
    bytes: u64,
    /// Milliseconds by step, of those that were done in one go.
    steps: BTreeMap<String, u64>,
}

/// How long a run will take, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// How many earlier runs it rests on.
    pub runs: usize,
    /// The steps, in order.
    pub steps: Vec<StepForecast>,
}

/// How long a step will take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepForecast {
    pub step: String,
    /// Nothing where no run is known that had it.
    pub milliseconds: Option<u64>,
    /// Whether that was scaled by the size of the database.
    pub by_size: bool,
}

impl Forecast {
    /// All steps that are known, together; nothing where none is.
    pub fn milliseconds(&self) -> Option<u64> {
        let known: Vec<u64> = self.steps.iter().filter_map(|step| step.milliseconds).collect();
        (!known.is_empty()).then(|| known.iter().fold(0, |sum: u64, step| sum.saturating_add(*step)))
    }

    /// The steps of which no run is known.
    pub fn unknown(&self) -> Vec<&str> {
        self.steps.iter().filter(|step| step.milliseconds.is_none()).map(|step| step.step.as_str()).collect()
    }
}

/// A forecast held against what came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForecastOutcome {
    /// How many earlier runs it rested on.
    pub runs: usize,
    /// The steps that were forecast, together.
    pub forecast_milliseconds: u64,
    /// What the same steps took.
    pub took_milliseconds: u64,
    /// Each of them, in order.
    pub steps: Vec<StepOutcome>,
}

/// A step's forecast held against what it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepOutcome {
    pub step: String,
    pub forecast_milliseconds: u64,
    pub took_milliseconds: u64,
}

impl StepOutcome {
    fn is_off_by(&self) -> u64 {
        self.forecast_milliseconds.abs_diff(self.took_milliseconds)
    }
}

impl ForecastOutcome {
    /// How much longer it took than was forecast, in percent; less is negative. Nothing where nothing was to be taken.
    pub fn percent(&self) -> Option<i64> {
        let (forecast, took) = (i128::from(self.forecast_milliseconds), i128::from(self.took_milliseconds));
        (forecast > 0).then(|| i64::try_from((took - forecast) * 100 / forecast).unwrap_or(i64::MAX))
    }

    /// The step whose forecast was the furthest off.
    pub fn furthest(&self) -> Option<&StepOutcome> {
        self.steps.iter().max_by_key(|step| step.is_off_by()).filter(|step| step.is_off_by() > 0)
    }
}

/// Foretells a run of these `steps`, of which those named in `by_size` move a database of so many `bytes`.
pub(super) fn forecast(steps: &[&str], by_size: &[&str], bytes: u64, past: &[PastRun]) -> Forecast {
    let of = |step: &&str| {
        let by_size = by_size.contains(step);
        let took = past.iter().filter_map(|run| Some((*run.steps.get(*step)?, run.bytes)));
        let milliseconds = match by_size {
            // Without a size nothing can be scaled.
            true => {
                median(took.filter(|(_, bytes)| *bytes > 0).map(|(took, size)| scaled(took, bytes, size)).collect())
            }
            false => median(took.map(|(took, _)| took).collect()),
        };
        StepForecast { step: (*step).to_owned(), milliseconds, by_size }
    };
    Forecast { runs: past.len(), steps: steps.iter().map(of).collect() }
}

fn scaled(took: u64, bytes: u64, size: u64) -> u64 {
    u64::try_from(u128::from(took) * u128::from(bytes) / u128::from(size.max(1))).unwrap_or(u64::MAX)
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(lower.midpoint(upper))
}

/// Holds a forecast against the run that it was of. Nothing where nothing was known.
pub(super) fn outcome(forecast: &Forecast, run: &PastRun) -> Option<ForecastOutcome> {
    let steps: Vec<StepOutcome> = forecast
        .steps
        .iter()
        .filter_map(|step| {
            Some(StepOutcome {
                step: step.step.clone(),
                forecast_milliseconds: step.milliseconds?,
                took_milliseconds: *run.steps.get(&step.step)?,
            })
        })
        .collect();
    let sum = |of: fn(&StepOutcome) -> u64| steps.iter().map(of).fold(0u64, u64::saturating_add);
    let (forecast_milliseconds, took_milliseconds) =
        (sum(|step| step.forecast_milliseconds), sum(|step| step.took_milliseconds));
    (!steps.is_empty()).then_some(ForecastOutcome {
        runs: forecast.runs,
        forecast_milliseconds,
        took_milliseconds,
        steps,
    })
}

/// How long the steps of a run took.
pub(super) fn of_run(run: &Run, bytes: u64) -> PastRun {
    let (mut begun, mut steps): (BTreeMap<&str, Vec<Timestamp>>, _) = (BTreeMap::new(), BTreeMap::new());
    for record in &run.records {
        match record {
            Record::Started { step, at } => begun.entry(step).or_default().push(*at),
            Record::Succeeded { step, at, .. } => {
                // What was taken up again has done only a part of its work, and a clock that was put back tells nothing.
                let [since] = begun.get(step.as_str()).map(Vec::as_slice).unwrap_or_default() else { continue };
                let Ok(took) = at.duration_since(*since).as_millis().try_into() else { continue };
                steps.insert(step.clone(), took);
            }
            _ => {}
        }
    }
    PastRun { bytes, steps }
}

/// The newest runs of this host of `verb` that came to their end: those of the cluster, where there are any, else those of
/// others. `size` gives the bytes of the database of a plan that is like the one that is foretold.
///
/// Nothing relies on it: a journal that cannot be read is none.
pub(super) fn past(ctx: &Ctx, verb: &str, cluster: &str, size: impl Fn(&Value) -> Option<u64>) -> Vec<PastRun> {
    let runs = journal::list(&*ctx.runs).unwrap_or_default();
    let done: Vec<(bool, PastRun)> = runs
        .iter()
        .rev()
        .filter_map(|(_, run)| run.as_ref().ok())
        .filter(|run| run.replay.begun.verb == verb && run.replay.outcome == Some(Outcome::Done))
        .filter_map(|run| Some((run.replay.begun.cluster_uid == cluster, of_run(run, size(&run.replay.begun.plan)?))))
        .collect();
    let any_here = done.iter().any(|(is_here, _)| *is_here);
    done.into_iter().filter(|(is_here, _)| *is_here || !any_here).take(NEWEST).map(|(_, run)| run).collect()
}

/// What became of the forecast of the run, where it had one.
pub(super) fn outcome_of(ctx: &Ctx, run: &str, forecast: Option<&Forecast>) -> Option<ForecastOutcome> {
    let (_, run) = journal::find(&*ctx.runs, run).ok()?;
    outcome(forecast?, &of_run(&run, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{Begun, Journal};
    use crate::ops::testing;
    use serde_json::json;

    fn past_run(bytes: u64, steps: &[(&str, u64)]) -> PastRun {
        PastRun { bytes, steps: steps.iter().map(|(step, took)| ((*step).to_owned(), *took)).collect() }
    }

    fn known(forecast: &Forecast) -> Vec<(&str, Option<u64>)> {
        forecast.steps.iter().map(|step| (step.step.as_str(), step.milliseconds)).collect()
    }

    #[test]
    fn without_an_earlier_run_nothing_is_known_and_nothing_guessed() {
        let seen = forecast(&["stage", "wake"], &["stage"], 1 << 30, &[]);
        assert_eq!((seen.runs, seen.milliseconds(), seen.unknown()), (0, None, vec!["stage", "wake"]));
        assert_eq!(outcome(&seen, &past_run(1, &[("stage", 5)])), None);
    }

    #[test]
    fn what_moves_the_database_is_scaled_by_its_size_and_the_median_of_the_rest_is_taken() {
        let past = [
            past_run(100, &[("stage", 1_000), ("wake", 30)]),
            past_run(200, &[("stage", 4_000), ("wake", 10)]),
            past_run(100, &[("stage", 3_000), ("wake", 20)]),
        ];
        let seen = forecast(&["stage", "wake", "new"], &["stage"], 1_000, &past);
        // 10, 20 and 30 a byte.
        assert_eq!(known(&seen), [("stage", Some(20_000)), ("wake", Some(20)), ("new", None)]);
        assert_eq!((seen.milliseconds(), seen.unknown()), (Some(20_020), vec!["new"]));
        let two = forecast(&["wake"], &[], 1, &past[..2]);
        assert_eq!(known(&two), [("wake", Some(20))], "between the two in the middle");
        // A run that does not say how large it was tells nothing of what goes by size.
        let sizeless = forecast(&["stage", "wake"], &["stage"], 7, &[past_run(0, &[("stage", 9), ("wake", 9)])]);
        assert_eq!(known(&sizeless), [("stage", None), ("wake", Some(9))]);
        let vast = forecast(&["stage"], &["stage"], u64::MAX, &[past_run(1, &[("stage", u64::MAX)])]);
        assert_eq!(vast.milliseconds(), Some(u64::MAX));
    }

    #[test]
    fn afterwards_it_says_how_wrong_it_was_of_what_it_knew() {
        let seen = forecast(&["a", "b", "new"], &[], 0, &[past_run(1, &[("a", 100), ("b", 100)])]);
        let came = outcome(&seen, &past_run(1, &[("a", 110), ("b", 40), ("new", 9_000)])).unwrap();
        assert_eq!((came.runs, came.forecast_milliseconds, came.took_milliseconds), (1, 200, 150));
        assert_eq!(came.percent(), Some(-25));
        assert_eq!(came.furthest().map(|step| step.step.as_str()), Some("b"));
        let right = outcome(&seen, &past_run(1, &[("a", 100), ("b", 100)])).unwrap();
        assert_eq!((right.percent(), right.furthest()), (Some(0), None));
        let nothing = outcome(&forecast(&["a"], &[], 0, &[past_run(1, &[("a", 0)])]), &past_run(1, &[("a", 3)]));
        assert_eq!(nothing.unwrap().percent(), None);
    }

    /// A run whose step `a` took so many seconds, the first time for nothing.
    fn ran(runs: &MemoryRuns, id: &str, verb: &str, cluster: &str, seconds: i64, outcome: Outcome) {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let begun = Begun { verb: verb.into(), cluster_uid: cluster.into(), plan: json!({"bytes": 7}), ..begun(id) };
        let mut journal = Journal::begin(runs, begun).unwrap();
        for (step, first) in [("a", None), ("b", Some(90))] {
            let step = || step.to_owned();
            if let Some(first) = first {
                journal.append(Record::Started { step: step(), at: at(first) }).unwrap();
                journal.append(Record::Failed { step: step(), error: "x".into(), at: at(first + 1) }).unwrap();
            }
            journal.append(Record::Started { step: step(), at: at(100) }).unwrap();
            let (output, summary) = (Value::Null, String::new());
            journal.append(Record::Succeeded { step: step(), output, summary, at: at(100 + seconds) }).unwrap();
        }
        journal.append(Record::Ended { outcome, at: at(200) }).unwrap();
    }

    #[test]
    fn runs_of_the_verb_that_ended_well_count_and_before_others_those_of_the_cluster() {
        let runs = MemoryRuns::default();
        let ctx = testing::ctx(&runs);
        ran(&runs, "r1", "restore", "elsewhere", 9, Outcome::Done);
        let took = |cluster: &str| {
            let past = past(&ctx, "restore", cluster, |plan| plan["bytes"].as_u64());
            past.iter().map(|run| (run.bytes, run.steps["a"])).collect::<Vec<_>>()
        };
        assert_eq!(took("here"), [(7, 9_000)], "better than nothing");
        ran(&runs, "r2", "restore", "here", 3, Outcome::Done);
        ran(&runs, "r3", "restore", "here", 50, Outcome::Aborted);
        ran(&runs, "c1", "create", "here", 60, Outcome::Done);
        assert_eq!(took("here"), [(7, 3_000)]);
        assert!(past(&ctx, "restore", "here", |_| None).is_empty(), "none is like it");
        let done = past(&ctx, "restore", "here", |_| Some(1));
        assert!(!done[0].steps.contains_key("b"), "what was taken up again is no measure");
        let seen = forecast(&["a"], &[], 0, &past(&ctx, "restore", "here", |_| Some(1)));
        let came = outcome_of(&ctx, "r1", Some(&seen)).unwrap();
        assert_eq!(came.percent(), Some(200));
        assert_eq!(outcome_of(&ctx, "r1", None), None);
    }
}
