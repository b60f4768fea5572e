//! Whether the last bundle of an install came to nothing because the server had removed WAL: then the next one asks it to
//! keep what it needs.

use crate::agent::protocol::WAL_REMOVED;
use crate::error::Result;
use crate::journal::{self, Outcome, Replay};
use crate::ops::Ctx;
use crate::settings::Install;

/// What the plan says of it.
pub(super) const NOTE: &str = "the last bundle failed because the server had removed WAL: this time a temporary \
    replication slot keeps it, on the database's own volume, until it is fetched or the run ends";

/// Looks through this host's runs of `verb`, which makes bundles.
///
/// # Errors
/// The place of the runs cannot be read.
pub(super) fn last_time(ctx: &Ctx, verb: &str) -> Result<bool> {
    let runs = journal::list(&*ctx.runs)?.into_iter().rev();
    let replays: Vec<Replay> = runs.filter_map(|(_, run)| Some(run.ok()?.replay)).collect();
    Ok(newest_lost(replays.iter().filter(|replay| replay.begun.verb == verb && is_of(replay, ctx.install()))))
}

fn is_of(replay: &Replay, install: &Install) -> bool {
    let begun = &replay.begun;
    (&begun.namespace, &begun.release) == (&install.namespace, &install.release)
}

/// Whether WAL was lost since the last bundle that came through, newest run first.
fn newest_lost<'a>(mut newest_first: impl Iterator<Item = &'a Replay>) -> bool {
    let done = |replay: &Replay| replay.outcome == Some(Outcome::Done);
    let lost = |replay: &Replay| replay.failure.as_ref().is_some_and(|(_, error)| error.contains(WAL_REMOVED));
    newest_first.find(|replay| done(replay) || lost(replay)).is_some_and(lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::begun;

    fn replay(failure: Option<&str>) -> Replay {
        let mut replay = Replay::begin(begun("create-1"));
        replay.failure = failure.map(|error| ("copy-base".to_owned(), error.to_owned()));
        replay.outcome = Some(if failure.is_some() { Outcome::PutBack } else { Outcome::Done });
        replay
    }

    #[test]
    fn wal_is_kept_from_the_failure_for_want_of_it_until_a_bundle_came_through() {
        let lost =
            replay(Some("pod dr-x: the server has removed WAL segment 0000000100000000000000A0 before it was fetched"));
        let (other, done) = (replay(Some("pg_basebackup failed: out of memory")), replay(None));
        for (newest_first, keeps) in [
            (vec![], false),
            (vec![&lost, &done], true),
            (vec![&other, &lost], true),
            (vec![&done, &lost], false),
            (vec![&other], false),
        ] {
            assert_eq!(newest_lost(newest_first.iter().copied()), keeps, "{newest_first:?}");
        }
    }
}
