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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    pub run: String,
    /// The name of the step that it stopped in, if it had begun one.
    pub step: Option<String>,
    /// Whether it can be resumed; aborted it can be in any case.
    pub resumable: bool,
}

impl OpenRun {
    /// One that can be resumed, as far as is known.
    pub fn new(run: String, step: Option<String>) -> Self {
        Self { run, step, resumable: true }
    }
}

/// The result of a command or of an operation.
pub type Result<T, E = CommandError> = std::result::Result<T, E>;

impl CommandError {
    /// Creates an error with the given exit code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), source: None, open_run: None, hints: Vec::new() }
    }

    /// Adds the cause.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
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

    /// What can be done about the open run, each with its command.
    pub fn ways_on(&self) -> Vec<(&'static str, String)> {
        let Some(OpenRun { run, resumable, .. }) = self.open_run() else { return Vec::new() };
        let resume = ("resume", format!("dr run resume {run}"));
        let abort = ("abort", format!("dr run abort {run}"));
        if *resumable { vec![resume, abort] } else { vec![abort] }
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
    fn context_comes_first_and_hints_stay() {
        let error = CommandError::new(Exit::Store, "no room").hint("free some").context("write bundle x");
        assert_eq!(error.message(), "write bundle x: no room");
        assert_eq!(error.hints(), ["free some"]);
    }
}
