//! What is told, in words and as JSON.

use std::fmt::Write;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{CommandError, Exit};
use crate::settings::NotifyOn;

/// The most bytes of a message's text: what dead-man services keep of it.
const LONGEST: usize = 10_000;

/// A message. Its texts are masked before it is made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotifyMessage {
    pub at: Timestamp,
    /// `namespace/release`.
    pub install: String,
    /// Who ran it: `user@host`.
    pub by: String,
    /// The command: `bundle create`.
    pub command: String,
    pub event: NotifyOn,
    /// The journalled run, where there is one.
    pub run: Option<String>,
    /// How the command ended, as its exit code says it; nothing at its start.
    pub exit_code: Option<u8>,
    pub kind: Option<&'static str>,
    /// What happened, in a line.
    pub message: String,
    /// What can be done about it.
    pub what_to_do: Vec<String>,
    pub dr: &'static str,
}

impl NotifyMessage {
    /// The text for people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\ninstall: {}\nby: {}\n", self.message, self.install, self.by);
        if let Some(run) = &self.run {
            // A String takes whatever is written.
            _ = writeln!(text, "run: {run} (`dr run show {run}`)");
        }
        for way in &self.what_to_do {
            _ = writeln!(text, "next: {way}");
        }
        match text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST).last() {
            Some(end) if end < text.len() => text[..end].to_owned(),
            _ => text,
        }
    }
}

/// How a command ended, in words: what happened, and what can be done about it.
pub(super) fn outcome(command: &str, result: &Result<Exit, CommandError>) -> (NotifyOn, Exit, String, Vec<String>) {
    match result {
        Ok(Exit::Success) => (NotifyOn::Success, Exit::Success, format!("{command}: done"), Vec::new()),
        Ok(exit) => {
            let text = format!("{command}: not all of it was done (exit code {}, {})", exit.code(), exit.name());
            (NotifyOn::Failure, *exit, text, vec!["Look at what it printed, or run it again.".into()])
        }
        Err(error) => {
            let mut ways: Vec<String> = error
                .open_run()
                .map(|open| open.ways_on())
                .into_iter()
                .flatten()
                .map(|(way, command)| format!("to {way} it: `{command}`"))
                .collect();
            ways.extend(error.hints().iter().cloned());
            (NotifyOn::Failure, error.exit(), format!("{command} failed: {error}"), ways)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> NotifyMessage {
        NotifyMessage {
            at: Timestamp::UNIX_EPOCH,
            install: "ops/opschain".into(),
            by: "op@host".into(),
            command: "bundle create".into(),
            event: NotifyOn::Failure,
            run: Some("create-1".into()),
            exit_code: Some(29),
            kind: Some("store"),
            message: text.into(),
            what_to_do: vec!["`dr doctor` checks it.".into()],
            dr: "0",
        }
    }

    #[test]
    fn a_text_says_what_happened_first_and_then_what_to_do_and_is_never_too_long() {
        let text = message("bundle create failed: no room").text();
        assert!(
            text.starts_with("bundle create failed: no room\n") && text.ends_with("next: `dr doctor` checks it.\n")
        );
        assert!(text.contains("`dr run show create-1`"), "{text}");
        let long = message(&"ä".repeat(LONGEST)).text();
        assert!(long.len() <= LONGEST && long.len() > LONGEST - 2, "{}", long.len());
    }

    #[test]
    fn an_outcome_is_told_with_its_exit_code_and_its_ways_out() {
        let error = CommandError::new(Exit::Store, "store /s is away").hint("Mount it.");
        let (on, exit, text, ways) = outcome("bundle create", &Err(error));
        assert_eq!((on, exit, ways), (NotifyOn::Failure, Exit::Store, vec!["Mount it.".to_owned()]));
        assert_eq!(text, "bundle create failed: store /s is away");
        let (on, ..) = outcome("deploy", &Ok(Exit::Success));
        assert_eq!(on, NotifyOn::Success);
        let (on, _, text, _) = outcome("bundle copy", &Ok(Exit::Store));
        assert!(on == NotifyOn::Failure && text.contains("exit code 29, store"), "{text}");
    }
}
