//! The lease that keeps two runs off one install.

use std::time::Duration;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Ctx;
use crate::cluster::lease::{self, lease_name};
use crate::cluster::{ClusterError, LeaseGuard};
use crate::error::{CommandError, Exit, OpenRun, Result};
use crate::journal::{self, RunStore};

/// How long the lease may go without a renewal while the application is stopped: two that failed. The API server cannot be
/// reached then, and without it nobody here starts the application again; the watchdog in the helper pod does, once nothing
/// is heard of this process any more.
const UNRENEWED: Duration = Duration::from_secs(40);

/// The lease on the install of a context, as long as this process holds it.
/// A signal waits for its end.
#[derive(Debug, Default)]
pub struct LeaseHolder(Option<(LeaseGuard, TaskTrackerToken)>);

impl LeaseHolder {
    /// Takes the lease, or makes sure that it is still held.
    ///
    /// # Errors
    /// [`Exit::Locked`] when another run has it, or it was lost.
    pub async fn take(&mut self, ctx: &Ctx, run: &str) -> Result<()> {
        let release = &ctx.install().release;
        if let Some((lease, _)) = &self.0 {
            return require_kept(release, lease.lost());
        }
        let cluster = ctx.cluster().await?;
        let taken = cluster.await_lease(&lease_name(release), run, &ctx.who, lease::TTL, &ctx.events).await;
        let lease = taken.map_err(|error| refused(&*ctx.runs, &ctx.who, error))?;
        self.0 = Some((lease, ctx.events.unfinished()));
        Ok(())
    }

    /// `work`, given up when the lease goes.
    ///
    /// # Errors
    /// The work's, or [`Exit::Locked`].
    pub fn guarded<'w, T: 'w>(
        &self,
        release: &'w str,
        work: impl Future<Output = Result<T>> + Send + 'w,
    ) -> impl Future<Output = Result<T>> + Send + 'w {
        let sight = self.0.as_ref().map(|(lease, _)| lease.sight());
        async move {
            let Some(sight) = sight else { return work.await };
            tokio::select! {
                done = work => done,
                why = sight.gone(UNRENEWED) => Err(lost(release, &why)),
            }
        }
    }

    /// Gives the lease back; also one that a dead process of the same run has left. One that another run holds by now
    /// is left alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn release(&mut self, ctx: &Ctx, run: &str) -> Result<()> {
        if self.0.is_none() {
            let name = lease_name(&ctx.install().release);
            match ctx.cluster().await?.acquire_lease(&name, run, &ctx.who, lease::TTL).await {
                Ok(lease) => self.0 = Some((lease, ctx.events.unfinished())),
                Err(ClusterError::Held { .. }) => return Ok(()),
                // The namespace is gone, and the lease with it.
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        match self.0.take() {
            Some((lease, _unfinished)) => Ok(lease.release().await?),
            None => Ok(()),
        }
    }
}

fn require_kept(release: &str, why: Option<String>) -> Result<()> {
    why.map_or(Ok(()), |why| Err(lost(release, &why)))
}

fn lost(release: &str, why: &str) -> CommandError {
    CommandError::new(Exit::Locked, format!("the lease on release {release} was lost: {why}")).hint(
        "Another run may be at work on the install, the API server may be away, or this host stood still: `kubectl get lease` names the holder.",
    )
}

/// Verbs that hold the lease and write no journal, by the first word of their ids: nobody finds them among the runs.
const WITHOUT_JOURNAL: [(&str, &str); 3] = [("deploy", "deploy"), ("start", "server start"), ("stop", "server stop")];

/// The verb that has this id and no journal, where it is one.
pub fn command_of(id: &str) -> Option<&'static str> {
    let verb = id.split_once('-')?.0;
    WITHOUT_JOURNAL.iter().find(|(word, _)| *word == verb).map(|(_, command)| *command)
}

/// Whoever stopped something or holds the lease, for people: a run by its id, a command by its name.
pub fn called(id: &str) -> String {
    command_of(id).map_or_else(|| id.to_owned(), |command| format!("dr {command} ({id})"))
}

/// The error of a lease that was not to be had. Not every holder is a run that is journalled: the ways on are those of
/// the run that this host knows by that id.
fn refused(runs: &dyn RunStore, who: &str, error: ClusterError) -> CommandError {
    let ClusterError::Held { holder, host, .. } = &error else { return error.into() };
    let journalled = holder.contains('-') && command_of(holder).is_none();
    let (holder, elsewhere) = (holder.clone(), journalled && **host != *who);
    let error = CommandError::from(error);
    match journal::find(runs, &holder) {
        Ok((_, run)) if run.is_open() => {
            error.behind_it(OpenRun::new(holder, run.replay.stopped_in().map(str::to_owned)))
        }
        Ok(_) => error.hint(format!("`dr run show {holder}` tells how far it is.")),
        Err(_) if elsewhere => error.hint("`dr run list` on that host tells whether it is a run to resume or abort."),
        Err(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{Journal, Outcome, Record};

    fn refusal(holder: &str, host: &str, runs: &MemoryRuns) -> CommandError {
        let at = Timestamp::UNIX_EPOCH;
        let (lease, holder, host) = ("dr-opschain".into(), holder.into(), host.into());
        let held = ClusterError::Held { lease, holder, host, since: Some(at), renewed: at, lasts: lease::TTL };
        refused(runs, "op@here", held)
    }

    #[test]
    fn a_lease_that_was_lost_ends_the_run_and_says_why() {
        assert!(require_kept("opschain", None).is_ok());
        let error = require_kept("opschain", Some("it is held by run restore-2".into())).unwrap_err();
        assert_eq!(error.exit(), Exit::Locked);
        assert_eq!(error.message(), "the lease on release opschain was lost: it is held by run restore-2");
        assert!(error.hints()[0].contains("`kubectl get lease`"), "{:?}", error.hints());
    }

    #[test]
    fn a_lease_that_is_held_names_ways_on_only_for_a_run_that_has_them() {
        let runs = MemoryRuns::default();
        let wait = "It is at work: let it end, then run the command again.";
        for holder in ["stop-1", "start-1", "deploy-1"] {
            for host in ["op@here", "op@there"] {
                let error = refusal(holder, host, &runs);
                assert_eq!((error.exit(), error.open_run()), (Exit::Locked, None));
                assert_eq!(error.hints(), [wait], "{holder} is no run");
            }
        }
        assert!(refusal("restore-1", "op@there", &runs).hints()[1].starts_with("`dr run list` on that host"));
        let mut journal = Journal::begin(&runs, begun("restore-1")).unwrap();
        let hint = "`dr run show restore-1` tells how far it is.";
        assert_eq!(refusal("restore-1", "op@here", &runs).hints(), [wait, hint], "a living process executes it");
        journal.append(Record::Started { step: "swap".into(), at: Timestamp::UNIX_EPOCH }).unwrap();
        drop(journal);
        let open = OpenRun::new("restore-1".into(), Some("swap".into()));
        assert_eq!(refusal("restore-1", "op@here", &runs).open_run(), Some(&open));
        let ended = Record::Ended { outcome: Outcome::PutBack, at: Timestamp::UNIX_EPOCH };
        Journal::open(&runs, "restore-1").unwrap().append(ended).unwrap();
        assert_eq!(refusal("restore-1", "op@here", &runs).open_run(), None);
    }
}
