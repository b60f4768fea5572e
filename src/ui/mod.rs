//! The only door to the terminal: stdout is data, stderr is talk.
//!
//! Whatever goes out is masked by what the process has learned ([`Secrets`]); [`Ui::data`] alone is exempt, since it is
//! for verbs whose very result is the values.

mod hidden;
mod live;
mod page;
mod sink;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use serde::Serialize;

pub use hidden::Typed;
pub use page::{Mark, Page, short_time};
pub use sink::{catch_panics, trace_to_stderr};

use crate::error::{CommandError, Exit, Result};
use crate::event::Events;
use crate::values::Secrets;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Human,
    /// One JSON value on stdout; events as JSON Lines on stderr.
    Json,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to talk, as the global flags say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Human or JSON.
    pub output: Output,
    /// When to colour.
    pub color: Color,
    /// Only errors and results.
    pub quiet: bool,
    /// How much more to say: 1 adds the lines of other programs.
    pub verbose: u8,
    /// Never ask.
    pub no_input: bool,
    /// Answer every plain question with yes.
    pub yes: bool,
}

/// A result that can be shown. Gathered in full before the first byte is written.
pub trait Report: Serialize {
    /// Writes it for people.
    fn human(&self, page: &mut Page);
}

/// The terminal.
#[derive(Debug, Clone)]
pub struct Ui {
    manner: Manner,
    secrets: Secrets,
    live: Arc<live::Live>,
}

impl Ui {
    /// Opens the terminal in the given manner. Whatever `secrets` learns is masked from then on.
    pub fn new(manner: Manner, secrets: Secrets) -> Self {
        let choice = match manner.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        Self { manner, live: Arc::new(live::Live::new(&manner)), secrets }
    }

    /// A page whose texts are masked before they are laid out: a mask is found only in a text that is not yet broken.
    fn page(&self, width: usize) -> Page {
        Page::masking(width, self.secrets.clone())
    }

    /// The manner.
    pub fn manner(&self) -> &Manner {
        &self.manner
    }

    /// Where work sends its events.
    pub fn events(&self) -> Events {
        let (live, secrets) = (Arc::clone(&self.live), self.secrets.clone());
        Events::to(move |event| live.event(&event.scrubbed(&|text| secrets.scrub(text).into_owned())))
    }

    /// Writes a result to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written; a closed pipe is no error.
    pub fn report(&self, report: &impl Report) -> Result<()> {
        self.live.settle();
        match self.manner.output {
            Output::Human => {
                let mut page = self.page(result_width());
                report.human(&mut page);
                self.write(page.text().as_bytes())
            }
            Output::Json => {
                let mut text = serde_json::to_string_pretty(report)
                    .map_err(|e| CommandError::new(Exit::Failure, "write the result as JSON").because(e))?;
                text.push('\n');
                self.write(self.secrets.scrub_json(&text).as_bytes())
            }
        }
    }

    /// Writes bytes to stdout as they are, secrets too: for verbs that are asked for the values themselves.
    ///
    /// # Errors
    /// When stdout cannot be written; a closed pipe is no error.
    pub fn data(&self, bytes: &[u8]) -> Result<()> {
        self.live.settle();
        let mut out = io::stdout().lock();
        written(out.write_all(bytes).and_then(|()| out.flush()))
    }

    fn write(&self, text: &[u8]) -> Result<()> {
        let mut out = anstream::stdout().lock();
        written(out.write_all(text).and_then(|()| out.flush()))
    }

    /// Says a line to the person (stderr), unless quiet or JSON is asked for.
    pub fn talk(&self, line: &str) {
        if !self.manner.quiet && self.manner.output == Output::Human {
            self.live.settle();
            say(&self.secrets.scrub(line));
        }
    }

    /// Shows a plan before it is confirmed: always on stderr in human output, so that stdout stays data.
    pub fn plan(&self, plan: &impl Report) {
        if self.manner.output == Output::Human {
            self.live.settle();
            let mut page = self.page(width());
            plan.human(&mut page);
            say(page.text().trim_end_matches('\n'));
        }
    }

    /// Shows an error: what failed on what, the causes, the ways out.
    pub fn error(&self, error: &CommandError) {
        self.live.settle();
        if self.manner.output == Output::Json {
            let value = serde_json::json!({"error": {
                "code": error.exit().code(), "kind": error.exit().name(), "message": error.message(),
                "causes": error.causes(), "hints": error.hints(),
            }});
            return say(&self.secrets.scrub_json(&value.to_string()));
        }
        let mut page = self.page(width());
        page.error(error);
        say(page.text().trim_end_matches('\n'));
    }

    /// Whether somebody can be asked.
    pub fn can_ask(&self) -> bool {
        !self.manner.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a plain question; `--yes` answers it.
    ///
    /// # Errors
    /// [`Exit::Unconfirmed`] when the answer is no, or nobody can be asked.
    pub fn confirm(&self, question: &str) -> Result<()> {
        if self.manner.yes {
            return Ok(());
        }
        if !self.can_ask() {
            return Err(CommandError::new(Exit::Unconfirmed, format!("nobody to ask: {question}"))
                .hint("Add --yes to go on without being asked."));
        }
        match self.ask(&format!("{question} [y/N] "))?.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(CommandError::new(Exit::Unconfirmed, "not confirmed: nothing was changed")),
        }
    }

    /// Asks for the name of the thing, for severe acts; `given` is what `--confirm` brought. `--yes` does not answer it.
    ///
    /// # Errors
    /// [`Exit::Unconfirmed`] when the name is not given right, or nobody can be asked.
    pub fn confirm_name(&self, what: &str, name: &str, given: Option<&str>) -> Result<()> {
        let refused = |given: &str| {
            CommandError::new(Exit::Unconfirmed, format!("`{given}` is not the name of {what}: nothing was changed"))
                .hint(format!("Add --confirm={name} to go on without being asked."))
        };
        if let Some(given) = given {
            return if given == name { Ok(()) } else { Err(refused(given)) };
        }
        if !self.can_ask() {
            return Err(CommandError::new(Exit::Unconfirmed, format!("nobody to ask for the name of {what}"))
                .hint(format!("Add --confirm={name} to go on without being asked.")));
        }
        let answer = self.ask(&format!("Type {name} (the name of {what}) to go on: "))?;
        if answer.trim() == name { Ok(()) } else { Err(refused(answer.trim())) }
    }

    /// Asks for something that is not shown while it is typed; see [`Typed`].
    ///
    /// It is asked on the process's terminal itself, so that stdin may be a pipe. `stop` is looked at while waiting.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn ask_hidden(&self, question: &str, stop: &dyn Fn() -> bool) -> Result<Typed> {
        if self.manner.no_input {
            return Ok(Typed::Nobody);
        }
        self.live.settle();
        hidden::ask(&self.secrets.scrub(question), stop)
            .map_err(|e| CommandError::new(Exit::Failure, "ask on the terminal").because(e))
    }

    fn ask(&self, question: &str) -> Result<String> {
        self.live.settle();
        let failed = |e: io::Error| CommandError::new(Exit::Failure, "ask on the terminal").because(e);
        let mut err = anstream::stderr().lock();
        err.write_all(self.secrets.scrub(question).as_bytes()).and_then(|()| err.flush()).map_err(failed)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        Ok(answer)
    }
}

/// A reader that stopped reading (`dr ... | head`) is no failure of ours.
fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::new(Exit::Failure, "write to stdout").because(error))
        }
        _ => Ok(()),
    }
}

/// Talk that cannot be heard is lost without harm.
fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// The width of the terminal that talk goes to. Where there is none, wide enough that a table stays a table.
fn width() -> usize {
    columns(terminal_size::terminal_size_of(io::stderr()).or_else(|| terminal_size::terminal_size_of(io::stdout())))
}

/// The width of what results are written to: a pipe is wide, whatever stderr is.
fn result_width() -> usize {
    columns(terminal_size::terminal_size_of(io::stdout()))
}

fn columns(size: Option<(terminal_size::Width, terminal_size::Height)>) -> usize {
    size.map_or(160, |(width, _)| usize::from(width.0)).max(20)
}
