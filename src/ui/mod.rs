//! The only door to the terminal: stdout is data, stderr is talk.
//!
//! Whatever goes out is masked by what is registered ([`Secrets`]) and cannot steer the terminal
//! ([`escape`]). [`Ui::data`] alone is exempt from the first, since it is for verbs whose very result is the values, and
//! from the second where stdout is no terminal.

mod escape;
mod hidden;
mod html;
mod live;
mod masked;
mod options;
mod page;
mod repeated;
mod sink;
mod stream;
mod styled;
mod table;
mod terminal;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use hidden::Typed;
pub use html::{HTML_BEGIN, HtmlPage};
pub use options::{Color, Output, OutputOptions};
pub use page::{Mark, Page, short_time};
pub use repeated::{Repeated, RepeatedFlag};
pub use sink::{catch_panics, help, pass_on, plain_bytes, usage};
pub use stream::DataStream;
pub use styled::{Role, Styled};
pub use table::Column;

use crate::error::{CommandError, Exit, Result};
use crate::event::{Events, Stamped};
use crate::read;
use crate::trace;
use crate::values::Secrets;
use terminal::{columns, say};

/// A result that can be shown. Gathered in full before the first byte is written.
pub trait Report: Serialize {
    /// Writes it for people.
    fn human(&self, page: &mut Page);
}

#[derive(Serialize)]
#[serde(transparent)]
struct DryRun<'p, P>(&'p P);

impl<P: Report> Report for DryRun<'_, P> {
    fn human(&self, page: &mut Page) {
        self.0.human(page);
        page.line("Nothing was changed.");
    }
}

/// The terminal.
#[derive(Debug, Clone)]
pub struct Ui {
    options: OutputOptions,
    secrets: Secrets,
    repeated: Repeated,
    live: Arc<live::LiveView>,
    /// Nobody listens to these: they are here to know the run under way, to all that do.
    events: Events,
    cancel: CancellationToken,
}

impl Ui {
    /// Opens the terminal. Whatever is registered with `secrets` is masked from then on; commands that are named repeat what
    /// was given.
    pub fn new(options: OutputOptions, repeated: Repeated, secrets: Secrets) -> Self {
        let choice = match options.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        let cancel = CancellationToken::new();
        let live = live::LiveView::new(options, repeated.clone());
        Self { options, live, secrets, repeated, events: Events::none(), cancel }
    }

    /// Cancelled when the person asks to stop: no question waits for its answer then.
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// How to talk.
    pub fn options(&self) -> &OutputOptions {
        &self.options
    }

    /// Where work sends its events. Logs get them too.
    pub fn events(&self) -> Events {
        self.listen(trace::event)
    }

    /// Where the trace sends its lines, which must not come back to it.
    pub fn trace_events(&self) -> Events {
        self.listen(|_| {})
    }

    fn listen(&self, log: impl Fn(&Stamped) + Send + Sync + 'static) -> Events {
        let (live, secrets) = (Arc::clone(&self.live), self.secrets.clone());
        self.events.heard_by(move |mut stamped| {
            stamped.event = stamped.event.scrubbed(&|text| secrets.scrub(text).into_owned());
            log(&stamped);
            live.event(&stamped);
        })
    }

    /// Writes a result to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written; a closed pipe is no error.
    pub fn report(&self, report: &impl Report) -> Result<()> {
        self.report_masked(report, &self.secrets)
    }

    /// Writes what would be done, and that nothing was.
    ///
    /// # Errors
    /// As [`Ui::report`].
    pub fn dry_run(&self, plan: &impl Report) -> Result<()> {
        self.report(&DryRun(plan))
    }

    /// Writes a result past whatever masks secrets on their way out: for verbs that were asked to show them.
    ///
    /// # Errors
    /// As [`Ui::report`].
    pub fn report_in_the_clear(&self, report: &impl Report) -> Result<()> {
        self.report_masked(report, &Secrets::in_the_clear())
    }

    fn report_masked(&self, report: &impl Report, secrets: &Secrets) -> Result<()> {
        self.live.settle();
        let text = match self.options.output {
            Output::Human => self.page_of(report, columns(io::stdout()), secrets).ansi(),
            Output::Json => {
                let text = serde_json::to_string_pretty(report)
                    .map_err(|e| CommandError::new(Exit::Failure, "write the result as JSON").because(e))?;
                escape::json(&secrets.scrub_json(&text)).into_owned() + "\n"
            }
        };
        let mut out = anstream::stdout().lock();
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Writes bytes to stdout as they are, secrets too: for verbs that are asked for the values themselves. On a
    /// terminal what would steer it is spelt out.
    ///
    /// # Errors
    /// When stdout cannot be written; a closed pipe is no error.
    pub fn data(&self, bytes: &[u8]) -> Result<()> {
        self.live.settle();
        let mut out = io::stdout().lock();
        if !out.is_terminal() {
            return written(out.write_all(bytes).and_then(|()| out.flush()));
        }
        let shown = String::from_utf8_lossy(bytes);
        written(out.write_all(escape::lines(&shown).as_bytes()).and_then(|()| out.flush()))
    }

    /// stdout for a long stream of bytes as they are, secrets too.
    ///
    /// # Errors
    /// [`Exit::Usage`] where stdout is a terminal.
    pub fn stream(&self) -> Result<DataStream> {
        if io::stdout().is_terminal() {
            return Err(CommandError::new(Exit::Usage, "stdout is a terminal: nothing is written to it in the clear")
                .hint("Lead it on with a pipe, or name a file."));
        }
        self.live.settle();
        Ok(DataStream { cancel: self.cancel.clone() })
    }

    /// A page for browsers, which nothing goes into unmasked.
    pub fn html(&self, title: &str) -> HtmlPage {
        HtmlPage::new(title, self.secrets.clone(), self.repeated.clone())
    }

    /// Says something to the person (stderr), unless quiet or JSON is asked for.
    pub fn talk(&self, text: &str) {
        if !self.options.quiet && self.options.output == Output::Human {
            self.live.settle();
            let mut page = self.page(columns(io::stderr()));
            page.wrapped("", "", text);
            say(&page.ansi());
        }
    }

    /// Shows a plan before it is confirmed: always on stderr in human output, so that stdout stays data.
    pub fn plan(&self, plan: &impl Report) {
        if self.options.output == Output::Human {
            self.live.settle();
            let mut page = self.page_of(plan, columns(io::stderr()), &self.secrets);
            page.gap();
            say(&page.ansi());
        }
    }

    /// Shows an error: what failed on what, the causes, the ways out.
    pub fn error(&self, error: &CommandError) {
        self.live.settle();
        if self.options.output == Output::Json {
            let text = self.secrets.scrub_json(&error_json(error, &self.repeated).to_string()).into_owned();
            return say(&(escape::json(&text).into_owned() + "\n"));
        }
        let mut page = self.page(columns(io::stderr()));
        page.error(error);
        say(&page.ansi());
    }

    /// Whether somebody can be asked.
    pub fn can_ask(&self) -> bool {
        !self.options.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a plain question; `--yes` answers it.
    ///
    /// # Errors
    /// [`Exit::Unconfirmed`] when the answer is no, or nobody can be asked.
    pub fn confirm(&self, question: &str) -> Result<()> {
        if self.options.yes {
            return Ok(());
        }
        if !self.can_ask() {
            return Err(self.no_answer(question).hint("Add --yes to continue without being asked."));
        }
        self.confirm_always(question)
    }

    /// Asks a plain question that `--yes` does not answer, since nobody could have expected it. Only where somebody
    /// [can be asked](Ui::can_ask).
    ///
    /// # Errors
    /// [`Exit::Unconfirmed`] when the answer is no.
    pub fn confirm_always(&self, question: &str) -> Result<()> {
        match self.ask(&format!("{question} [y/N] "))?.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(CommandError::new(Exit::Unconfirmed, "not confirmed: nothing was changed")),
        }
    }

    /// Asks which of several things is meant: its place, or `None` where nobody can be asked. `--yes` knows no answer.
    ///
    /// # Errors
    /// [`Exit::Unconfirmed`] when the answer is the number of none.
    pub fn choose(&self, what: &str, things: &[String]) -> Result<Option<usize>> {
        if self.options.yes || !self.can_ask() {
            return Ok(None);
        }
        let mut page = self.page(columns(io::stderr()));
        page.wrapped("", "", what);
        for (place, thing) in (1..).zip(things) {
            page.wrapped(format!("{place}  "), "   ", thing.as_str());
        }
        self.live.settle();
        say(&page.ansi());
        let answer = self.ask(&format!("Which? [1-{}] ", things.len()))?;
        match answer.trim().parse() {
            Ok(number) if (1..=things.len()).contains(&number) => Ok(Some(number - 1)),
            _ => Err(CommandError::new(
                Exit::Unconfirmed,
                format!("`{}` is none of them: nothing was changed", answer.trim()),
            )),
        }
    }

    /// Asks for the name of the thing, for severe acts; `given` is what `--confirm` brought. `--yes` does not answer it.
    ///
    /// # Errors
    /// [`Exit::Unconfirmed`] when the name is not given right, or nobody can be asked.
    pub fn confirm_name(&self, what: &str, name: &str, given: Option<&str>) -> Result<()> {
        let way_on = format!("Add --confirm={name} to continue without being asked.");
        let refused = |given: &str| {
            CommandError::new(Exit::Unconfirmed, format!("`{given}` is not the name of {what}: nothing was changed"))
                .hint(&way_on)
        };
        if let Some(given) = given {
            return if given == name { Ok(()) } else { Err(refused(given)) };
        }
        if !self.can_ask() {
            return Err(self.no_answer(&format!("the name of {what}")).hint(&way_on));
        }
        let answer = self.ask(&format!("Type {name} (the name of {what}) to continue: "))?;
        if answer.trim() == name { Ok(()) } else { Err(refused(answer.trim())) }
    }

    /// Asks for something that is not shown while it is typed; see [`Typed`].
    ///
    /// It is asked on the process's terminal itself, so that stdin may be a pipe.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn ask_hidden(&self, question: &str) -> Result<Typed> {
        if self.options.no_input {
            return Ok(Typed::NoTerminal);
        }
        let _paused = self.live.pause();
        hidden::ask(&escape::one_line(&self.secrets.scrub(question)), &self.cancel)
            .map_err(|e| CommandError::new(Exit::Failure, "ask on the terminal").because(e))
    }

    fn ask(&self, question: &str) -> Result<String> {
        let _paused = self.live.pause();
        let failed = |e: io::Error| CommandError::new(Exit::Failure, "ask on the terminal").because(e);
        let question = escape::one_line(&self.secrets.scrub(question)).into_owned();
        let mut err = anstream::stderr().lock();
        err.write_all(question.as_bytes()).and_then(|()| err.flush()).map_err(failed)?;
        drop(err);
        let answer = || {
            let mut answer = String::new();
            let read = io::stdin().lock().read_line(&mut answer);
            // A terminal that went away ends its input as well: that is no answer, whether its signal is here or on its way.
            let gone = match &read {
                Ok(0) => rustix::termios::tcgetattr(io::stdin()).is_err(),
                Ok(_) => false,
                Err(error) => error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()),
            };
            if gone { Ok(None) } else { read.map(|_| Some(answer)) }
        };
        let gone = || CommandError::new(Exit::HungUp, "the terminal went away before there was an answer");
        read::until_stopped(&self.cancel, answer).map_err(failed)?.ok_or_else(gone)
    }

    fn no_answer(&self, question: &str) -> CommandError {
        let why = if self.options.no_input { "--no-input was given" } else { "there is no terminal" };
        CommandError::new(Exit::Unconfirmed, format!("confirmation needed, but {why}: {question}"))
    }

    fn page_of(&self, report: &impl Report, width: Option<usize>, secrets: &Secrets) -> Page {
        let mut page = self.page(width).masking(secrets.clone());
        report.human(&mut page);
        page
    }

    /// A page whose texts are masked before they are laid out: a mask is found only in a text that is not yet broken.
    fn page(&self, width: Option<usize>) -> Page {
        Page::new(width)
            .masking(self.secrets.clone())
            .repeating(self.repeated.clone())
            .verbose(self.options.verbose > 0)
    }
}

fn error_json(error: &CommandError, repeated: &Repeated) -> serde_json::Value {
    let hints: Vec<String> = error.hints().iter().map(|hint| repeated.in_text(hint)).collect();
    let mut value = serde_json::json!({
        "code": error.exit().code(), "kind": error.exit().name(), "message": error.message(),
        "causes": error.causes(), "hints": hints,
    });
    if let Some(open) = error.open_run() {
        let ways = open.ways_on().into_iter().map(|(way, command)| (way, repeated.in_line(&command)));
        let ways: std::collections::BTreeMap<_, _> = ways.collect();
        value["open_run"] = serde_json::json!({"run": open.run, "step": open.step, "ways_on": ways});
    }
    serde_json::json!({ "error": value })
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
