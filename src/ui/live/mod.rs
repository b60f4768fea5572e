//! Draws work while it is done: lines that stay and one that moves on a terminal, a line now and then elsewhere, JSON
//! Lines if asked. What the lines say is decided by [`board`]; here are the clock, the terminal and the thread that
//! draws while no event comes.

mod board;
mod meter;

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::board::{Board, EVERY};
use crate::clock;
use crate::event::{Event, Stamped};
use crate::ui::escape;
use crate::ui::options::{Output, OutputOptions};
use crate::ui::page::Page;
use crate::ui::repeated::Repeated;
use crate::ui::terminal::{columns, is_read, say_within};

/// How often the moving line is drawn.
const FRAME: Duration = Duration::from_millis(120);
/// How often it is looked whether a line is due, where nothing is drawn.
const LOOK: Duration = Duration::from_millis(500);
/// How long a reader of stderr that stops reading is waited for, once: then lines are left out until it reads again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The drawing of the work at hand.
#[derive(Debug)]
pub(super) struct LiveView {
    options: OutputOptions,
    repeated: Repeated,
    /// Whether stderr can draw a line again.
    redraws: bool,
    begun: Instant,
    clock: Once,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    board: Board,
    bar: Option<ProgressBar>,
    /// How many texts were left out since stderr was read last.
    unheard: usize,
    /// Somebody is being asked: nothing moves meanwhile.
    paused: usize,
    /// For JSON: the wait or count at hand, and when it was last told.
    told: Option<(Stamped, Duration)>,
}

impl LiveView {
    pub(super) fn new(options: OutputOptions, repeated: Repeated) -> Arc<Self> {
        let capable = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let redraws = std::io::stderr().is_terminal() && capable;
        let begun = Instant::now();
        Arc::new(Self { options, repeated, redraws, begun, clock: Once::new(), state: Mutex::default() })
    }

    /// Takes the moving line away, so that other text can follow; work outside of steps is over with it.
    pub(super) fn settle(&self) {
        let mut state = self.state();
        state.board.settle();
        state.told = None;
        clear(&mut state);
    }

    /// Keeps the moving line away until the guard is dropped.
    pub(super) fn pause(&self) -> Paused<'_> {
        let mut state = self.state();
        state.paused += 1;
        clear(&mut state);
        Paused(self)
    }

    pub(super) fn event(self: &Arc<Self>, stamped: &Stamped) {
        let now = self.begun.elapsed();
        let mut state = self.state();
        if self.options.output == Output::Json {
            write_json(&mut state, stamped);
            state.told = match stamped.event {
                Event::Waiting { .. } | Event::Progress { .. } => Some((stamped.clone(), now)),
                Event::Log { .. } | Event::Note { .. } | Event::Warning { .. } => state.told.take(),
                _ => None,
            };
        } else if !self.options.quiet || matches!(stamped.event, Event::Warning { .. }) {
            let mut page = self.page();
            state.board.event(stamped, now, &mut page);
            self.show(&mut state, now, &page);
        }
        let is_active = state.board.is_active() || state.told.is_some();
        drop(state);
        if is_active {
            self.start_clock();
        }
    }

    /// Draws, or writes what is due, while no event comes.
    fn tick(&self) {
        let now = self.begun.elapsed();
        let mut state = self.state();
        if let Some((mut stamped, told)) = state.told.take() {
            let is_due = now >= told + EVERY;
            if is_due {
                stamped.at = clock::now();
                write_json(&mut state, &stamped);
            }
            state.told = Some((stamped, if is_due { now } else { told }));
        }
        let mut page = self.page();
        state.board.remind(now, &mut page);
        self.show(&mut state, now, &page);
    }

    /// Writes the lines that stay, and draws the moving one below them.
    fn show(&self, state: &mut State, now: Duration, page: &Page) {
        let stay = page.ansi();
        let moving = page.width().filter(|_| state.paused == 0).and_then(|width| state.board.moving(now, width));
        if state.bar.is_some() && !is_read(Duration::ZERO) {
            state.unheard += usize::from(!stay.is_empty());
            return;
        }
        let Some(moving) = moving else {
            clear(state);
            return hear(state, &stay);
        };
        let bar = state.bar.get_or_insert_with(one_line);
        if !stay.is_empty() {
            bar.clone().suspend(|| hear(state, &stay));
        }
        if let Some(bar) = state.bar.as_ref().filter(|_| is_read(Duration::ZERO)) {
            bar.set_message(if wants_colour() { moving.ansi() } else { moving.plain() });
        }
    }

    /// A page as wide as the terminal is now; it may have been resized.
    fn page(&self) -> Page {
        let width = if self.redraws { columns(std::io::stderr()) } else { None };
        Page::new(width).repeating(self.repeated.clone()).verbose(self.options.verbose > 0)
    }

    /// Starts the thread that ticks. It ends with the program, or soon after the last handle is gone.
    fn start_clock(self: &Arc<Self>) {
        self.clock.call_once(|| {
            let live: Weak<Self> = Arc::downgrade(self);
            let pace = if self.redraws { FRAME } else { LOOK };
            let ticks = move || {
                while let Some(live) = live.upgrade() {
                    live.tick();
                    drop(live);
                    std::thread::sleep(pace);
                }
            };
            // Without it lines come with events only: work is more than how it looks.
            drop(std::thread::Builder::new().name("screen".into()).spawn(ticks));
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while drawing must not stop work from being told.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, nothing moves.
pub(super) struct Paused<'l>(&'l LiveView);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.state().paused -= 1;
    }
}

/// Takes the moving line away; where nobody reads, it is only not drawn any more.
fn clear(state: &mut State) {
    if let Some(bar) = state.bar.take() {
        if !is_read(Duration::ZERO) {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.finish_and_clear();
    }
}

/// Writes a text, or leaves it out where nobody reads; how many were left out is said before the next one.
fn hear(state: &mut State, text: &str) {
    if text.is_empty() {
        return;
    }
    let left_out = match state.unheard {
        0 => String::new(),
        count => format!("({count} messages were left out while nobody read them)\n"),
    };
    let patience = if state.unheard == 0 { PATIENCE } else { Duration::ZERO };
    state.unheard = if say_within(&(left_out + text), patience) { 0 } else { state.unheard + 1 };
}

fn one_line() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

fn wants_colour() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// In JSON nothing says what was left out: whoever reads lines has their moments.
fn write_json(state: &mut State, stamped: &Stamped) {
    let Ok(line) = serde_json::to_string(stamped) else { return };
    let patience = if state.unheard == 0 { PATIENCE } else { Duration::ZERO };
    let heard = say_within(&(escape::json(&line).into_owned() + "\n"), patience);
    state.unheard = if heard { 0 } else { state.unheard + 1 };
}
