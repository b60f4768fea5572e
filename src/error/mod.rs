//! What a command fails with: a kind (which is the exit code), a message, and hints.
//!
//! The modules below have small error enums of their own, without hints. The files in this folder map each of them to
//! a [`CommandError`]; they are the only place that decides an exit code or words a hint.

mod agent;
mod bundle;
mod cluster;
mod crypt;
pub mod exit;
mod file;
mod helm;
mod image;
mod journal;
mod opschain;
mod settings;
mod store;
mod stream;
mod trace;
mod values;
mod vault;

use std::error::Error as StdError;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::cluster::{UNPROVED_BY, lease_name};

pub use crate::text::chain;
pub use crypt::{make_own, trust_command, trust_form};
pub use exit::Exit;

/// The failure of a command, ready to be shown.
///
/// The message is lower-case, names the object, and has no final stop. Hints name the next command or the thing to
/// look at. The sources below `error` are shown as causes, those that the message already ends with left out.
pub struct CommandError {
    exit: Exit,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    open_run: Option<Box<OpenRun>>,
    hints: Vec<String>,
}

/// A run that stands open behind an error: what to do about it comes before any other hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRun {
    pub run: String,
    /// The name of the step that it stopped in, if it had begun one.
    pub step: Option<String>,
    pub way_out: WayOut,
}

/// What can be done about a run that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayOut {
    /// It is resumed or aborted.
    Resume,
    /// It is aborted: resuming it would be refused.
    Abort,
    /// None before it has ended: this `user@host` is at work, and renews the lease on the install.
    AtWork(String),
    /// It is resumed or aborted where its journal is: the host of this `user@host`.
    Elsewhere(String),
    /// None: this user has begun it on this host, its journal is missing or damaged, and only its lease tells of it.
    Lost,
    /// None: its journal was closed and nothing put back, as its lease tells.
    OnlyClosed,
    /// None: it was aborted, and on the database of this name it left word that nothing proves what is in it.
    Unproved(String),
}

impl OpenRun {
    /// One that can be resumed, as far as is known.
    pub fn new(run: String, step: Option<String>) -> Self {
        Self { run, step, way_out: WayOut::Resume }
    }

    /// What can be done about it on the host that has its journal, each with its command.
    pub fn ways_on(&self) -> Vec<(&'static str, String)> {
        let resume = ("resume", format!("dr run resume {}", self.run));
        let abort = ("abort", format!("dr run abort {}", self.run));
        match self.way_out {
            WayOut::Resume | WayOut::Elsewhere(_) => vec![resume, abort],
            WayOut::Abort => vec![abort],
            WayOut::AtWork(_) | WayOut::Lost | WayOut::OnlyClosed | WayOut::Unproved(_) => Vec::new(),
        }
    }

    /// The refusal of an install, `namespace/release`, that the run has half done: it must be neither served, changed nor
    /// bundled before the run is over.
    pub fn half_done(&self, install: &str) -> CommandError {
        let (namespace, release) = install.split_once('/').unwrap_or((install, install));
        let error = CommandError::new(Exit::Locked, format!("install {install} is not whole: {self}"));
        let lease = format!("delete lease {}", lease_name(release));
        let (error, instead, unless) = match &self.way_out {
            WayOut::Resume | WayOut::Abort => return error.behind_it(self.clone()),
            WayOut::AtWork(host) => {
                let look = format!(
                    "Wait for its end. `dr run show {}` tells how far it is: as {host}, whose it is.",
                    self.run
                );
                return error.behind_it(self.clone()).hint(look);
            }
            WayOut::Elsewhere(host) => {
                let there =
                    format!("Its journal is on the host of {host}: resume or abort it there. If that host is gone: ");
                (error.behind_it(self.clone()), there, lease)
            }
            WayOut::Lost => {
                let other = "Another `DR_WHO`, home or state folder may have its journal: look there first with `dr run list`. \
                             Without it, it is neither resumed nor aborted: ";
                (error.behind_it(self.clone()), other.into(), lease)
            }
            WayOut::OnlyClosed => (error, String::new(), lease),
            WayOut::Unproved(database) => {
                let mark = format!("annotate cluster.postgresql.cnpg.io/{database} {UNPROVED_BY}-");
                (error, String::new(), mark)
            }
        };
        error
            .hint(format!("{instead}`kubectl delete namespace {namespace}`, and restore again."))
            .hint(format!("Only where the install is known to be whole: `kubectl -n {namespace} {unless}`."))
    }

    /// The first of them, as what is next for an install in `namespace`.
    pub fn next(&self, namespace: &str) -> String {
        match &self.way_out {
            WayOut::Resume => format!("dr run resume {}", self.run),
            WayOut::Abort => format!("dr run abort {}", self.run),
            WayOut::AtWork(host) => format!("as {host}, until it has ended: dr run show {}", self.run),
            WayOut::Elsewhere(host) => format!("on the host of {host}: dr run resume {}", self.run),
            WayOut::Lost | WayOut::OnlyClosed | WayOut::Unproved(_) => {
                format!("unless it is known to be whole: kubectl delete namespace {namespace}")
            }
        }
    }
}

/// `run restore-1 stands open, stopped in step swap`
impl fmt::Display for OpenRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.run;
        match (&self.way_out, &self.step) {
            (WayOut::AtWork(host), _) => write!(f, "run {run} of {host} is at work on it"),
            (WayOut::Elsewhere(host), _) => write!(f, "run {run} of {host} stands open: it is not at work"),
            (WayOut::Lost, _) => {
                write!(
                    f,
                    "run {run} of this host has not ended, is not at work, and its journal here is missing or damaged"
                )
            }
            (WayOut::OnlyClosed, _) => write!(f, "run {run} was closed in the middle, and nothing of it put back"),
            (WayOut::Unproved(database), _) => {
                write!(f, "run {run} was aborted, and nothing proves what is in database {database} since")
            }
            (WayOut::Resume | WayOut::Abort, Some(step)) => write!(f, "run {run} stands open, stopped in step {step}"),
            (WayOut::Resume | WayOut::Abort, None) => write!(f, "run {run} stands open"),
        }
    }
}

/// The result of a command or of an operation.
pub type Result<T, E = CommandError> = std::result::Result<T, E>;

impl CommandError {
    /// Creates an error with the given exit code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), source: None, open_run: None, hints: Vec::new() }
    }

    /// Adds the cause. What was [given up](crate::read::until_stopped) since the work was stopped is no failure of its own,
    /// and a full disk is [`Exit::Space`], whatever was being written.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        if source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            self.exit = Exit::Interrupted;
        } else if is_full_disk(&*source) {
            self.exit = Exit::Space;
        }
        self.source = Some(source);
        self
    }

    /// Adds a hint: a whole sentence that names the next command or the thing to look at.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Names the run that stands open behind the error; one that was named before stays.
    #[must_use]
    pub fn behind_it(mut self, run: OpenRun) -> Self {
        self.open_run.get_or_insert_with(|| Box::new(run));
        self
    }

    /// Puts the act that failed before the message: `deploy release opschain: no answer`.
    pub fn context(mut self, act: impl fmt::Display) -> Self {
        self.message = format!("{act}: {}", self.message);
        self
    }

    /// The same failure once more; its causes as text. For what was kept and is met again.
    pub fn copy(&self) -> Self {
        let mut message = self.message.clone();
        self.causes().iter().for_each(|cause| message = format!("{message}: {cause}"));
        Self { exit: self.exit, message, source: None, hints: self.hints.clone(), open_run: self.open_run.clone() }
    }

    /// Puts a cause, already a text, behind the message: `read x: permission denied`.
    pub fn context_after(mut self, cause: impl fmt::Display) -> Self {
        self.message = format!("{}: {cause}", self.message);
        self
    }

    /// The same error with another exit code.
    #[must_use]
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The first line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The run that stands open behind the error.
    pub fn open_run(&self) -> Option<&OpenRun> {
        self.open_run.as_deref()
    }

    /// What refuses to resume the run behind it would refuse again.
    #[must_use]
    pub fn not_resumable(mut self) -> Self {
        if let Some(open) = self.open_run.as_mut().filter(|open| open.way_out == WayOut::Resume) {
            open.way_out = WayOut::Abort;
        }
        self
    }

    /// The ways out.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The causes, outermost first, each text once: several libraries repeat their source in their own text.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut above = self.message.clone();
        let mut next = self.source.as_deref().map(|e| e as &dyn StdError);
        while let Some(error) = next {
            let text = error.to_string();
            if !text.is_empty() && !above.ends_with(&text) {
                // A parent that quotes this cause at its end says nothing more than what stands before it.
                causes.push(text.clone());
            }
            above = text;
            next = error.source();
        }
        causes
    }
}

fn is_full_disk(error: &(dyn StdError + 'static)) -> bool {
    use io::{Error, ErrorKind};
    let mut next = Some(error);
    while let Some(cause) = next {
        let kind = cause.downcast_ref::<Error>().map(Error::kind);
        if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = cause.source();
    }
    false
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in self.causes() {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (exit {})", self.exit.code())?;
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl StdError for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Doubled(#[source] std::io::Error);

    #[test]
    fn a_cause_that_its_parent_already_quotes_is_said_once() {
        let error =
            CommandError::new(Exit::Failure, "read the store").because(Doubled(std::io::Error::other("disk on fire")));
        assert_eq!(error.to_string(), "read the store: outer: disk on fire");
    }

    #[test]
    fn a_full_disk_has_its_own_exit_whatever_was_being_written() {
        let full = || std::io::Error::from_raw_os_error(28);
        for error in [
            CommandError::new(Exit::Failure, "write the journal").because(full()),
            CommandError::new(Exit::Vault, "record").because(Doubled(full())),
        ] {
            assert_eq!(error.exit(), Exit::Space, "{error}");
        }
        let other = std::io::Error::from_raw_os_error(13);
        assert_eq!(CommandError::new(Exit::Vault, "record").because(other).exit(), Exit::Vault);
    }

    #[test]
    fn a_half_done_install_is_refused_with_the_run_and_its_ways_on() {
        let open = OpenRun::new("restore-1".into(), Some("swap".into()));
        let error = open.half_done("ops/opschain");
        assert_eq!((error.exit(), error.open_run()), (Exit::Locked, Some(&open)));
        let text = "install ops/opschain is not whole: run restore-1 stands open, stopped in step swap";
        assert_eq!((error.message(), error.hints().len()), (text, 0));
        let with = |way_out| OpenRun { way_out, ..open.clone() };
        let unproved = with(WayOut::Unproved("opschain-db".into()));
        let error = unproved.half_done("ops/opschain");
        assert_eq!((error.exit(), error.open_run(), unproved.ways_on().len()), (Exit::Locked, None, 0));
        assert!(error.hints()[0].contains("kubectl delete namespace ops"), "{error:?}");
        assert!(error.message().ends_with("nothing proves what is in database opschain-db since"), "{error}");
        assert!(unproved.next("ops").ends_with(": kubectl delete namespace ops"));
        let error = with(WayOut::Elsewhere("op@there".into())).half_done("ops/opschain");
        assert!(error.hints()[0].contains("op@there") && error.hints()[1].contains("-n ops delete lease dr-opschain"));
        for (way_out, end) in [
            (WayOut::Lost, "its journal here is missing or damaged"),
            (WayOut::OnlyClosed, "run restore-1 was closed in the middle, and nothing of it put back"),
        ] {
            let open = with(way_out);
            assert!(open.half_done("ops/opschain").message().ends_with(end));
            assert_eq!((open.ways_on().len(), open.half_done("ops/opschain").hints().len()), (0, 2));
        }
    }

    #[test]
    fn context_comes_first_and_hints_stay() {
        let error = CommandError::new(Exit::Store, "no room").hint("free some").context("write bundle x");
        assert_eq!(error.message(), "write bundle x: no room");
        assert_eq!(error.hints(), ["free some"]);
    }
}
