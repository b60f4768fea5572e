//! The ways on of an open run: the commands that would not be refused.

use serde::{Serialize, Serializer};

use super::abort::undoable;
use super::table::{puts_back, resumable};
use super::target::{install_of, refuse_other_cluster};
use crate::error::{CommandError, Exit, OpenRun, WayOut};
use crate::journal::{self, Remains, Run, RunStore};
use crate::ops::Ctx;

/// What can be done about an open run, each with its command, what is next first; in JSON as in errors.
#[derive(Debug, Default)]
pub struct WaysOn(Vec<(&'static str, String)>);

impl WaysOn {
    /// Those of an open run; where another host has its journal, they say so.
    pub fn of(open: &OpenRun) -> Self {
        let there = match &open.way_out {
            WayOut::Elsewhere(host) => format!("on the host of {host}: "),
            _ => String::new(),
        };
        Self(open.ways_on().into_iter().map(|(way, command)| (way, format!("{there}{command}"))).collect())
    }

    /// Those of an open run of this host, as far as its journal tells.
    pub(super) fn of_run(id: &str, run: &Run) -> Self {
        let way_out = if resumable(&run.replay).is_ok() { WayOut::Resume } else { WayOut::Abort };
        Self::of(&OpenRun { way_out, ..OpenRun::new(id.to_owned(), None) })
    }

    /// That of one whose journal cannot be read.
    pub(super) fn of_unreadable(runs: &dyn RunStore, id: &str) -> Self {
        Self(closing_command(runs, id).map(|command| ("abort", command)).into_iter().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, command)| command.as_str())
    }
}

impl Serialize for WaysOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(way, command)| (way, command)))
    }
}

/// The command that is next for an open run: to resume it, or to abort it where that would be refused.
pub fn next_command(id: &str, run: &Run) -> String {
    if resumable(&run.replay).is_ok() { resume_command(id) } else { format!("dr run abort {id}") }
}

/// The command that closes an open run whose journal cannot be read, with what can be told of it put back; none of a journal
/// that cannot be opened at all.
pub fn closing_command(runs: &dyn RunStore, id: &str) -> Option<String> {
    let told = Remains::of(&runs.read(id).ok()?).is_some();
    Some(format!("dr run abort {id}{}", if told { "" } else { " --close-only" }))
}

/// The command that resumes a run, or puts it back.
pub fn resume_command(id: &str) -> String {
    format!("dr run resume {id}")
}

/// The same, once the cluster was asked, too, which alone knows of a namespace that is gone. As far as it answers.
pub async fn next_command_asked(ctx: &Ctx, id: &str, run: &Run) -> String {
    let begun = &run.replay.begun;
    if puts_back(&begun.verb).is_some() {
        return next_command(id, run);
    }
    let ctx = install_of(ctx, &begun.namespace, &begun.release);
    let asked = async {
        refuse_other_cluster(&ctx, id, &begun.cluster_uid).await?;
        undoable(&ctx, &run.replay).await
    };
    match asked.await {
        Ok(Err(_)) => format!("dr run abort {id}"),
        _ => next_command(id, run),
    }
}

/// Names only such ways on of the run behind an error as would not be refused.
pub fn with_ways(ctx: &Ctx, error: CommandError) -> CommandError {
    let Some(open) = error.open_run() else { return error };
    let refused = match journal::find(&*ctx.runs, &open.run) {
        Ok((_, run)) => resumable(&run.replay).is_err(),
        Err(_) => false,
    };
    if refused || error.exit() == Exit::Resume { error.not_resumable() } else { error }
}
