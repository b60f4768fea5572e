//! What a command fails with: a kind (which is the exit code), a message, and hints.
//!
//! The modules below have small error enums of their own, without hints. The files in this folder map each of them to
//! a [`CommandError`]; they are the only place that decides an exit code or words a hint.

mod agent;
mod bundle;
mod cluster;
mod crypt;
pub mod exit;
mod helm;
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

use crate::cluster::{EMPTIED_BY, lease_name};

pub use crate::text::chain;
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
    /// Whether it can be resumed; aborted it can be in any case.
    pub resumable: bool,
    /// Who has its journal, as `user@host`, where that is another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
    /// Whether this host has begun it, and its journal is missing or damaged: only its lease tells of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// The database that it has left empty, where it was aborted once its own data was in it: it stands open no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emptied: Option<String>,
}

impl OpenRun {
    /// One that can be resumed, as far as is known.
    pub fn new(run: String, step: Option<String>) -> Self {
        Self { run, step, resumable: true, elsewhere: None, lost: false, emptied: None }
    }

    /// What can be done about it on the host that has its journal, each with its command.
    pub fn ways_on(&self) -> Vec<(&'static str, String)> {
        let resume = ("resume", format!("dr run resume {}", self.run));
        let abort = ("abort", format!("dr run abort {}", self.run));
        match self.lost || self.emptied.is_some() {
            true => Vec::new(),
            false if self.resumable => vec![resume, abort],
            false => vec![abort],
        }
    }

    /// The refusal of an install, `namespace/release`, that the run has half done: it must be neither served, changed nor
    /// bundled before the run is over.
    pub fn half_done(&self, install: &str) -> CommandError {
        let (namespace, release) = install.split_once('/').unwrap_or((install, install));
        let error = CommandError::new(Exit::Locked, format!("install {install} is not whole: {self}"));
        if let Some(database) = &self.emptied {
            return error
                .hint(format!("`kubectl delete namespace {namespace}`, and restore again."))
                .hint(format!("Only where it is known to be the right one: `kubectl -n {namespace} annotate cluster.postgresql.cnpg.io/{database} {EMPTIED_BY}-`."));
        }
        let error = error.behind_it(self.clone());
        let where_it_is = match &self.elsewhere {
            Some(host) => {
                format!("Its journal is on the host of {host}: resume or abort it there. If that host is gone")
            }
            None if self.lost => "Without its journal it is neither resumed nor aborted".to_owned(),
            None => return error,
        };
        let lease = lease_name(release);
        error.hint(format!("{where_it_is}: `kubectl delete namespace {namespace}`, and restore again.")).hint(format!(
            "Only where the install is known to be whole: `kubectl -n {namespace} delete lease {lease}`."
        ))
    }

    /// The first of them, as what is next for an install in `namespace`.
    pub fn next(&self, namespace: &str) -> String {
        if self.lost || self.emptied.is_some() {
            return format!(
                "kubectl delete namespace {namespace}, unless it is known to be whole, and dr bundle restore"
            );
        }
        let way = if self.resumable { "resume" } else { "abort" };
        let host = self.elsewhere.as_ref().map_or_else(String::new, |host| format!("on the host of {host}: "));
        format!("{host}dr run {way} {}", self.run)
    }
}

/// `run restore-1 stands open, stopped in step swap`
impl fmt::Display for OpenRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(database) = &self.emptied {
            return write!(f, "run {} was aborted, and database {database} is the empty one from before it", self.run);
        }
        match (&self.elsewhere, &self.step) {
            (Some(host), _) => write!(f, "run {} of {host} is at work on it, or stands open", self.run),
            (None, _) if self.lost => {
                write!(f, "run {} of this host has not ended, and its journal here is missing or damaged", self.run)
            }
            (None, Some(step)) => write!(f, "run {} stands open, stopped in step {step}", self.run),
            (None, None) => write!(f, "run {} stands open", self.run),
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
        if let Some(open) = &mut self.open_run {
            open.resumable = false;
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
        let emptied = OpenRun { emptied: Some("opschain-db".into()), ..open.clone() };
        let error = emptied.half_done("ops/opschain");
        assert_eq!((error.exit(), error.open_run(), emptied.ways_on().len()), (Exit::Locked, None, 0));
        assert!(error.hints()[0].contains("kubectl delete namespace ops"), "{error:?}");
        assert!(error.message().ends_with("database opschain-db is the empty one from before it"), "{error}");
        assert!(emptied.next("ops").starts_with("kubectl delete namespace ops"));
        let error = OpenRun { elsewhere: Some("op@there".into()), ..open }.half_done("ops/opschain");
        assert!(error.hints()[0].contains("op@there") && error.hints()[1].contains("-n ops delete lease dr-opschain"));
        let lost = OpenRun { lost: true, ..OpenRun::new("restore-1".into(), None) };
        assert!(lost.half_done("ops/opschain").message().ends_with("its journal here is missing or damaged"));
        assert_eq!((lost.ways_on().len(), lost.half_done("ops/opschain").hints().len()), (0, 2));
    }

    #[test]
    fn context_comes_first_and_hints_stay() {
        let error = CommandError::new(Exit::Store, "no room").hint("free some").context("write bundle x");
        assert_eq!(error.message(), "write bundle x: no room");
        assert_eq!(error.hints(), ["free some"]);
    }
}
