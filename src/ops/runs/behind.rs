//! The open run behind an error.

use crate::error::{CommandError, Exit, OpenRun};
use crate::journal::{self, Begun, ListedRun};
use crate::ops::Ctx;
use crate::settings::Install;

/// Names the newest open run of the install behind an error.
///
/// An error that itself left a run open, or whose cause is another thing than the state of the install, stays as it is.
/// Runs that cannot be read are no reason for another error.
pub fn open_behind(ctx: &Ctx, error: CommandError) -> CommandError {
    if !tells_of_the_install(error.exit()) {
        return error;
    }
    match newest_open_of(&journal::list(&*ctx.runs).unwrap_or_default(), ctx.install()) {
        Some(run) => error.behind_it(run),
        None => error,
    }
}

/// Whether an error of this code may be so because a run of the install stopped half way.
fn tells_of_the_install(exit: Exit) -> bool {
    use Exit::{
        Busy, Cluster, Drift, Failure, Guard, Helm, Identity, Locked, NotEmpty, Operator, Replica, Resume, Stream,
        Timeout,
    };
    matches!(
        exit,
        Busy | Cluster
            | Drift
            | Failure
            | Guard
            | Helm
            | Identity
            | Locked
            | NotEmpty
            | Operator
            | Replica
            | Resume
            | Stream
            | Timeout
    )
}

fn newest_open_of(runs: &[ListedRun], install: &Install) -> Option<OpenRun> {
    let is_of = |begun: &Begun| (&begun.namespace, &begun.release) == (&install.namespace, &install.release);
    let open = |(id, run): &ListedRun| {
        let run = run.as_ref().ok().filter(|run| run.is_open() && is_of(&run.replay.begun))?;
        Some(OpenRun::new(id.clone(), run.replay.stopped_in().map(str::to_owned)))
    };
    runs.iter().rev().find_map(open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{Journal, Outcome, Record};
    use crate::ops::testing;
    use jiff::Timestamp;

    #[test]
    fn the_newest_open_run_of_the_install_stands_behind_an_error() {
        let runs = MemoryRuns::default();
        let at = Timestamp::UNIX_EPOCH;
        let run = |id: &str, namespace: &str, record: Record| {
            let begun = Begun { namespace: namespace.into(), ..begun(id) };
            Journal::begin(&runs, begun).unwrap().append(record).unwrap();
        };
        let started = |step: &str| Record::Started { step: step.into(), at };
        run("restore-1", "here", started("stage"));
        run("restore-2", "here", Record::Ended { outcome: Outcome::Done, at });
        run("restore-3", "elsewhere", started("swap"));
        let (ctx, none) = (testing::ctx(&runs), testing::ctx(&MemoryRuns::default()));
        let of = |ctx: &Ctx, exit, namespace: &str| {
            let error = CommandError::new(exit, "namespace here is not empty");
            let install = Install { namespace: namespace.into(), ..ctx.install().clone() };
            open_behind(&ctx.for_install(install), error).open_run().cloned()
        };
        let open = OpenRun::new("restore-1".into(), Some("stage".into()));
        assert_eq!(of(&ctx, Exit::NotEmpty, "here"), Some(open));
        assert_eq!(of(&ctx, Exit::NotEmpty, "third"), None);
        // Nobody who mistyped a flag or a file, or said no, wants to read of it.
        for exit in
            [Exit::Usage, Exit::Unconfirmed, Exit::Settings, Exit::NotFound, Exit::Keys, Exit::Vault, Exit::Store]
        {
            assert_eq!(of(&ctx, exit, "here"), None, "{exit:?}");
        }
        assert_eq!(of(&none, Exit::NotEmpty, "here"), None);
    }
}
