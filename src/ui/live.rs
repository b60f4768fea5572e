//! Draws events while work is done: a moving line on a terminal, a line now and then elsewhere, JSON Lines if asked.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::page::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint, visible};
use super::{Manner, Output, width};
use crate::event::Event;
use crate::text::{bytes, elapsed};

/// How often a line is written where nothing can be redrawn.
const EVERY: Duration = Duration::from_secs(10);

/// The drawing of the run at hand.
#[derive(Debug)]
pub(super) struct Live {
    output: Output,
    quiet: bool,
    verbose: u8,
    redraw: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bar: Option<ProgressBar>,
    /// `[ 3/12] stop API and workers`
    head: String,
    begun: Option<Instant>,
    last_line: Option<Instant>,
    last_text: String,
    moved: Option<(Instant, u64)>,
}

impl Live {
    pub(super) fn new(manner: &Manner) -> Self {
        Self {
            output: manner.output,
            quiet: manner.quiet,
            verbose: manner.verbose,
            redraw: std::io::stderr().is_terminal() && manner.output == Output::Human && !manner.quiet,
            state: Mutex::default(),
        }
    }

    /// Ends the moving line, so that other text can follow.
    pub(super) fn settle(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }

    pub(super) fn event(&self, event: &Event) {
        if self.output == Output::Json {
            if let Ok(line) = serde_json::to_string(event) {
                self.print(&mut self.state(), &line);
            }
            return;
        }
        let mut state = self.state();
        match event {
            Event::Warning { message, hint } => {
                let mut text = format!("{} {message}", paint(YELLOW, "warning:"));
                if let Some(hint) = hint {
                    text.push_str(&format!("\n{} {hint}", paint(CYAN, "hint:")));
                }
                self.print(&mut state, &text);
            }
            _ if self.quiet => {}
            Event::RunStarted { run, verb, resumed, .. } => {
                let again = if *resumed { "goes on with" } else { "run" };
                self.print(
                    &mut state,
                    &format!("{} {}", paint(BOLD, &format!("bundle {verb}")), paint(DIM, &format!("({again} {run})"))),
                );
            }
            Event::StepStarted { title, number, of, .. } => self.begin(&mut state, title, *number, *of),
            Event::Waiting { what, seen } => {
                let text = match seen {
                    Some(seen) => format!("waiting for {what}: {seen}"),
                    None => format!("waiting for {what}"),
                };
                self.moving(&mut state, text);
            }
            Event::Progress { what, done, total, unit } => {
                let text = progress(&mut state, what, *done, *total, unit);
                self.moving(&mut state, text);
            }
            Event::StepDone { summary, milliseconds, .. } => {
                let took = paint(DIM, &elapsed(Duration::from_millis(*milliseconds)));
                let text = format!("{} {}  {summary}  {took}", state.head, paint(GREEN, "ok"));
                self.end(&mut state, &text);
            }
            Event::StepSkipped { title, .. } => {
                self.print(&mut state, &format!("        {title}  {}", paint(DIM, "already done")))
            }
            Event::StepFailed { error, .. } => {
                let text = format!("{} {}  {error}", state.head, paint(RED, "failed"));
                self.end(&mut state, &text);
            }
            Event::Undoing { title, .. } => {
                let text = format!("{} {title}", paint(YELLOW, "putting back:"));
                self.end(&mut state, &text);
            }
            Event::Log { source, line } => {
                if self.verbose > 0 {
                    self.print(&mut state, &format!("{} {line}", paint(DIM, &format!("{source} |"))));
                }
            }
            Event::Note { message } => self.print(&mut state, message),
        }
    }

    fn begin(&self, state: &mut State, title: &str, number: usize, of: usize) {
        let digits = of.to_string().len();
        state.head = format!("{} {title}", paint(DIM, &format!("[{number:>digits$}/{of}]")));
        state.begun = Some(Instant::now());
        state.last_line = Some(Instant::now());
        state.last_text.clear();
        state.moved = None;
        if self.redraw {
            if let Some(bar) = state.bar.take() {
                bar.finish_and_clear();
            }
            let bar = spinner();
            bar.set_message(fit(&state.head));
            state.bar = Some(bar);
        }
    }

    /// Shows what the current step is at, without leaving a line behind where the terminal can be redrawn.
    fn moving(&self, state: &mut State, text: String) {
        if self.redraw && state.bar.is_none() {
            // Work outside of a run's steps moves too.
            state.head.clear();
            state.begun = Some(Instant::now());
            state.bar = Some(spinner());
        }
        if let Some(bar) = &state.bar {
            let since = state.begun.map_or(String::new(), |begun| elapsed(begun.elapsed()));
            bar.set_message(fit(format!("{}  {}  {}", state.head, text, paint(DIM, &since)).trim_start()));
            return;
        }
        let due = state.last_line.is_none_or(|last| last.elapsed() >= EVERY);
        if due && text != state.last_text {
            let line = format!("{}  {text}", state.head).trim_start().to_owned();
            self.print(state, &line);
            state.last_line = Some(Instant::now());
            state.last_text = text;
        }
    }

    fn end(&self, state: &mut State, text: &str) {
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        self.print(state, text);
    }

    fn print(&self, state: &mut State, text: &str) {
        match &state.bar {
            // The moving line is taken away while something stands above it, and drawn again below.
            Some(bar) => bar.suspend(|| write(text)),
            None => write(text),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while drawing must not stop work from being told.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn write(text: &str) {
    // Talk that cannot be heard is lost without harm.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

fn progress(state: &mut State, what: &str, done: u64, total: Option<u64>, unit: &str) -> String {
    if unit != "bytes" {
        return match total {
            Some(total) => format!("{what} {done} of {total} {unit}"),
            None => format!("{what} {done} {unit}"),
        };
    }
    let (since, first) = *state.moved.get_or_insert((Instant::now(), done));
    let seconds = since.elapsed().as_secs_f64();
    let rate = if seconds > 0.5 { (done.saturating_sub(first)) as f64 / seconds } else { 0.0 };
    let mut text = match total {
        Some(total) if total > 0 => {
            let percent = (done.min(total) as f64 / total as f64 * 100.0).floor();
            format!("{what} {} of {} ({percent:.0} %)", bytes(done), bytes(total))
        }
        _ => format!("{what} {}", bytes(done)),
    };
    if rate >= 1.0 {
        text.push_str(&format!(", {}/s", bytes(rate as u64)));
        if let Some(left) = total.and_then(|total| total.checked_sub(done)).filter(|left| *left > 0) {
            text.push_str(&format!(", {} left", elapsed(Duration::from_secs_f64(left as f64 / rate))));
        }
    }
    text
}

/// Cuts a line that would wrap: a moving line must stay one line. Colour is dropped from a line that is cut.
fn fit(text: &str) -> String {
    let room = width().saturating_sub(4);
    if visible(text) <= room {
        return text.to_owned();
    }
    let plain = anstream::adapter::strip_str(text).to_string();
    let mut cut = String::new();
    for c in plain.chars() {
        if visible(&cut) + 2 > room {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_share_and_falls_back_without_a_total() {
        let mut state = State::default();
        assert_eq!(progress(&mut state, "database", 512, Some(1024), "bytes"), "database 512 B of 1.0 KiB (50 %)");
        assert_eq!(progress(&mut state, "database", 512, None, "bytes"), "database 512 B");
        assert_eq!(progress(&mut state, "checked", 3, Some(9), "files"), "checked 3 of 9 files");
    }
}
