//! The work at hand as text: events and times in, lines out. It knows no terminal and no clock, so what a person sees is
//! tested without either.
//!
//! A step is one line: state, number, what it does, what was seen, time. On a terminal the line of the running step is
//! drawn again and again below the others; elsewhere it is written when the step begins to wait and every
//! [`EVERY`] from then on, though nothing changes: a log that is silent looks like a program that hangs.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::meter::Meter;
use crate::event::{Event, Stamped};
use crate::text::elapsed;
use crate::ui::escape;
use crate::ui::page::Page;
use crate::ui::styled::{Role, Styled};

/// How often a line is written where nothing can be drawn again.
pub(super) const EVERY: Duration = Duration::from_secs(10);
/// The columns of the state.
const SIGN: usize = 5;

/// What is known of the work at hand.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The columns of the longest name of the run's steps.
    titles: usize,
    activity: Option<Activity>,
    /// The steps that a run of another verb is a part of, outermost first.
    around: Vec<Activity>,
}

/// What is being done.
#[derive(Debug)]
struct Activity {
    /// The step's number and how many there are; nothing for work outside of steps.
    place: Option<(usize, usize)>,
    title: String,
    undoing: bool,
    begun: Duration,
    doing: Doing,
    /// When a line was last written about it.
    told: Duration,
}

#[derive(Debug)]
enum Doing {
    Working,
    Waiting { what: String, seen: Option<String> },
    Counting(Meter),
}

/// A line about a step before it is fitted.
struct StepLine<'a> {
    sign: Styled,
    place: Option<(usize, usize)>,
    title: &'a str,
    time: Option<Duration>,
}

impl Board {
    /// Takes an event and writes the lines that stay.
    pub(super) fn event(&mut self, stamped: &Stamped, now: Duration, page: &mut Page) {
        match &stamped.event {
            Event::RunStarted { verb, steps, resumed } => {
                self.around.extend(self.activity.take_if(|activity| activity.place.is_some()));
                let widest = steps.iter().map(|name| name.width()).max().unwrap_or(0);
                self.titles = if self.around.is_empty() { widest } else { widest.max(self.titles) };
                let how = if *resumed { "resuming run" } else { "run" };
                let run = stamped.run.as_deref().map(|run| format!(", {how} {run}")).unwrap_or_default();
                page.wrapped("", "  ", Styled::new(Role::Strong, verb).then(Role::Faint, run));
            }
            Event::StepStarted { step, number, of } => self.begin(step, *number, *of, false, now),
            Event::Undoing { title, number, of, .. } => self.begin(title, *number, *of, true, now),
            Event::Waiting { what, seen } => self.waiting(what, seen.as_deref(), now, page),
            Event::Progress { what, done, total, unit } => self.progress(what, *done, *total, unit, now),
            Event::StepDone { summary, milliseconds, .. } => self.end(
                Styled::new(Role::Good, "ok"),
                summary.as_str().into(),
                Duration::from_millis(*milliseconds),
                page,
            ),
            Event::StepUndone { summary, milliseconds, .. } => self.end(
                Styled::new(Role::Caution, "undo"),
                summary.as_str().into(),
                Duration::from_millis(*milliseconds),
                page,
            ),
            Event::StepFailed { error, milliseconds, .. } => self.end(
                Styled::new(Role::Bad, "FAIL"),
                Styled::new(Role::Bad, error),
                Duration::from_millis(*milliseconds),
                page,
            ),
            Event::StepSkipped { step, number, of } => {
                let sign = Styled::new(Role::Faint, "skip");
                let line = StepLine { sign, place: Some((*number, *of)), title: step, time: None };
                self.write(line, Styled::new(Role::Faint, "done before"), page);
            }
            Event::Log { source, line } => {
                if page.is_verbose() {
                    let text = Styled::new(Role::Faint, format!("{source} |")).then(Role::Plain, format!(" {line}"));
                    page.wrapped("", "  ", text);
                }
            }
            Event::Note { message } => page.wrapped("", "  ", message),
            Event::Warning { message, hint } => page.warning(message, hint.as_deref()),
        }
        self.remind(now, page);
    }

    /// Where nothing can be drawn again: writes the line that is due, if one is.
    pub(super) fn remind(&mut self, now: Duration, page: &mut Page) {
        if page.width().is_none() && self.activity.as_ref().is_some_and(|activity| now >= activity.told + EVERY) {
            self.tell(now, page);
        }
    }

    /// The line of what is being done, for a terminal of this width.
    pub(super) fn moving(&self, now: Duration, width: usize) -> Option<Styled> {
        let activity = self.activity.as_ref()?;
        let line = activity.line(now);
        let room = line.room_for_seen(width, self.titles);
        let seen = match &activity.doing {
            Doing::Counting(meter) => meter.in_columns(now, room).into(),
            _ => activity.seen(now),
        };
        Some(line.fitted(seen, width, self.titles).0)
    }

    /// Whether anything is being done.
    pub(super) fn is_active(&self) -> bool {
        self.activity.is_some()
    }

    /// Work outside of steps has no end of its own: it is over when something else is shown.
    pub(super) fn settle(&mut self) {
        self.activity.take_if(|activity| activity.place.is_none());
    }

    fn begin(&mut self, title: &str, number: usize, of: usize, undoing: bool, now: Duration) {
        let place = Some((number, of));
        let activity =
            Activity { place, title: title.to_owned(), undoing, begun: now, doing: Doing::Working, told: now };
        self.activity = Some(activity);
    }

    fn waiting(&mut self, what: &str, seen: Option<&str>, now: Duration, page: &mut Page) {
        let activity = self.at_hand("", now);
        let known = matches!(&activity.doing, Doing::Waiting { what: known, .. } if known == what);
        if !known && activity.place.is_none() {
            activity.begun = now;
        }
        activity.doing = Doing::Waiting { what: what.to_owned(), seen: seen.map(str::to_owned) };
        if !known && page.width().is_none() {
            self.tell(now, page);
        }
    }

    fn progress(&mut self, what: &str, done: u64, total: Option<u64>, unit: &str, now: Duration) {
        let activity = self.at_hand(what, now);
        match &mut activity.doing {
            Doing::Counting(meter) if meter.what() == what => meter.update(done, total, now),
            doing => *doing = Doing::Counting(Meter::new(what, unit, done, total, now)),
        }
    }

    /// The activity, one outside of steps if there is none.
    fn at_hand(&mut self, title: &str, now: Duration) -> &mut Activity {
        let outside = || Activity {
            place: None,
            title: title.to_owned(),
            undoing: false,
            begun: now,
            doing: Doing::Working,
            told: now,
        };
        self.activity.get_or_insert_with(outside)
    }

    fn tell(&mut self, now: Duration, page: &mut Page) {
        let Some(activity) = &mut self.activity else { return };
        activity.told = now;
        let (mut line, seen) = (activity.line(now), activity.seen(now));
        line.time.take_if(|time| time.as_secs() == 0);
        let text = line.in_full(page.safe(seen, |text| escape::one_line(text).into_owned()));
        page.push(text);
    }

    fn end(&mut self, sign: Styled, seen: Styled, took: Duration, page: &mut Page) {
        let Some(activity) = self.activity.take().or_else(|| self.around.pop()) else { return };
        let line = StepLine { sign, place: activity.place, title: &activity.title, time: Some(took) };
        self.write(line, seen, page);
    }

    fn write(&self, line: StepLine<'_>, seen: Styled, page: &mut Page) {
        let seen = page.safe(seen, |text| escape::one_line(text).into_owned());
        let Some(width) = page.width() else {
            return page.push(line.in_full(seen));
        };
        let (fitted, is_whole) = line.fitted(seen.clone(), width, self.titles);
        page.push(fitted);
        if !is_whole && page.is_verbose() {
            page.wrapped("     ", "     ", seen);
        }
    }
}

impl Activity {
    fn line(&self, now: Duration) -> StepLine<'_> {
        let sign = match (&self.doing, self.undoing) {
            (_, true) => Styled::new(Role::Caution, "undo"),
            (Doing::Waiting { .. }, _) => Styled::new(Role::Pointer, "wait"),
            _ => Styled::new(Role::Pointer, "run"),
        };
        StepLine { sign, place: self.place, title: &self.title, time: Some(now.saturating_sub(self.begun)) }
    }

    fn seen(&self, now: Duration) -> Styled {
        match &self.doing {
            Doing::Working => Styled::default(),
            // Two pieces: of both something is seen where the line is short.
            Doing::Waiting { what, seen: Some(seen) } => {
                Styled::from(format!("for {what}: ")).then(Role::Plain, seen.as_str())
            }
            Doing::Waiting { what, seen: None } => format!("for {what}").into(),
            Doing::Counting(meter) => meter.in_words(now).into(),
        }
    }
}

impl StepLine<'_> {
    fn head(&self) -> Styled {
        let sign = self.sign.clone().padded(SIGN);
        match self.place {
            Some((number, of)) => {
                let digits = of.to_string().len();
                sign.then(Role::Faint, format!("{number:>digits$}/{of} "))
            }
            None => sign,
        }
    }

    fn title(&self) -> Styled {
        Styled::from(self.title).one_line()
    }

    fn time(&self) -> Styled {
        self.time.map(|time| Styled::new(Role::Faint, elapsed(time))).unwrap_or_default()
    }

    /// The columns of the title: those of the longest one, as long as two thirds of the line are left.
    fn title_columns(&self, width: usize, titles: usize) -> usize {
        if self.place.is_none() { self.title().width() } else { titles.min(width / 3).max(self.title().width()) }
    }

    fn room_for_seen(&self, width: usize, titles: usize) -> usize {
        let title = self.title_columns(width, titles);
        let taken = self.head().width() + title + if title > 0 { 2 } else { 0 } + self.time().width() + 2;
        // The last column stays free: some terminals begin a new line as soon as it is written.
        width.saturating_sub(taken + 1)
    }

    /// One line of `width` columns at most, the time at its end; and whether all of `seen` is in it.
    fn fitted(&self, seen: Styled, width: usize, titles: usize) -> (Styled, bool) {
        let (head, time) = (self.head(), self.time());
        let end = width.saturating_sub(1);
        let room = self.room_for_seen(width, titles);
        let is_whole = seen.width() <= room;
        let title = match self.title_columns(width, titles) {
            0 => Styled::default(),
            columns => self.title().padded(columns).then(Role::Plain, "  "),
        };
        let text = head.join(title).join(seen.one_line().fitted(room));
        let text = text.fitted(end.saturating_sub(time.width() + 1));
        let line = if time.is_empty() { text } else { text.padded(end.saturating_sub(time.width())).join(time) };
        (line, is_whole)
    }

    /// The line for a pipe or a file: nothing shortened, nothing aligned.
    fn in_full(&self, seen: Styled) -> Styled {
        let parts = [self.title(), seen, self.time()].into_iter().filter(|part| !part.is_empty());
        parts.enumerate().fold(self.head(), |line, (index, part)| match index {
            0 => line.join(part),
            _ => line.then(Role::Plain, "  ").join(part),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is seen of recorded events: the lines that stay, and after each event, behind `~`, the line that moves.
    fn replay(recording: &str, width: Option<usize>) -> String {
        let (mut board, mut seen) = (Board::default(), String::new());
        let mut begun = None;
        for line in recording.lines() {
            let stamped: Stamped = serde_json::from_str(line).unwrap();
            let now = stamped.at.duration_since(*begun.get_or_insert(stamped.at)).unsigned_abs();
            let mut page = Page::new(width);
            board.event(&stamped, now, &mut page);
            seen.push_str(&page.plain());
            if let Some(moving) = width.and_then(|width| board.moving(now, width)) {
                seen.push_str(&format!("~{}\n", moving.plain()));
            }
        }
        seen
    }

    /// What is seen of recorded events on two terminals and in a pipe.
    fn screens(recording: &str) -> String {
        let titled = |width: Option<usize>| {
            let title = width.map_or("piped".into(), |width| format!("{width} columns"));
            format!("--- {title}\n{}", replay(recording, width))
        };
        [Some(80), Some(120), None].into_iter().map(titled).collect()
    }

    #[test]
    fn a_bundle_being_made() {
        let seen = screens(include_str!("../../../fixtures/events/create.jsonl"));
        insta::assert_snapshot!(seen);
    }

    #[test]
    fn a_restore_that_fails_and_is_resumed() {
        let seen = screens(include_str!("../../../fixtures/events/restore.jsonl"));
        insta::assert_snapshot!(seen);
    }

    fn say(board: &mut Board, event: Event, seconds: u64, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        let stamped = Stamped { at: jiff::Timestamp::UNIX_EPOCH, run: Some("create-1".into()), event };
        board.event(&stamped, Duration::from_secs(seconds), &mut page);
        page.plain()
    }

    fn started(title: &str, number: usize) -> Event {
        Event::StepStarted { step: title.into(), number, of: 14 }
    }

    fn waiting(what: &str, seen: &str) -> Event {
        Event::Waiting { what: what.into(), seen: Some(seen.into()) }
    }

    fn remind(board: &mut Board, seconds: u64) -> String {
        let mut page = Page::new(None);
        board.remind(Duration::from_secs(seconds), &mut page);
        page.plain()
    }

    #[test]
    fn without_a_terminal_a_wait_is_said_at_once_and_every_ten_seconds_though_nothing_changes() {
        let mut board = Board::default();
        assert_eq!(say(&mut board, started("start-helper", 3), 100, None), "");
        let said = say(&mut board, waiting("pod dr-1 to be ready", "Pending"), 101, None);
        assert_eq!(said, "wait  3/14 start-helper  for pod dr-1 to be ready: Pending  1.0 s\n");
        assert_eq!(say(&mut board, waiting("pod dr-1 to be ready", "ContainerCreating"), 105, None), "");
        assert_eq!(remind(&mut board, 110), "");
        let again = "wait  3/14 start-helper  for pod dr-1 to be ready: ContainerCreating  11 s\n";
        assert_eq!(remind(&mut board, 111), again);
        assert_eq!([remind(&mut board, 120), remind(&mut board, 121)], ["".into(), again.replace("11 s", "21 s")]);
        let other = say(&mut board, waiting("the agent", "no answer"), 123, None);
        assert_eq!(other, "wait  3/14 start-helper  for the agent: no answer  23 s\n");
    }

    #[test]
    fn a_step_that_says_nothing_is_named_every_ten_seconds_too() {
        let mut board = Board::default();
        say(&mut board, started("start", 9), 0, None);
        assert_eq!([remind(&mut board, 9), remind(&mut board, 10)], ["", "run   9/14 start  10 s\n"]);
    }

    #[test]
    fn a_wait_outside_of_steps_ends_when_something_else_is_shown() {
        let mut board = Board::default();
        let event = Event::Waiting { what: "the cluster's answers".into(), seen: None };
        assert_eq!(say(&mut board, event, 1, None), "wait for the cluster's answers\n");
        assert_eq!(remind(&mut board, 11), "wait for the cluster's answers  10 s\n");
        board.settle();
        assert_eq!((board.is_active(), remind(&mut board, 31)), (false, String::new()));
    }

    #[test]
    fn a_step_that_is_a_run_of_its_own_has_its_line_when_that_is_over() {
        let mut board = Board::default();
        let run = Event::RunStarted { verb: "bundle create".into(), steps: vec!["verify".into()], resumed: false };
        let done = |seen: &str| Event::StepDone { step: "x".into(), summary: seen.into(), milliseconds: 5 };
        say(&mut board, started("make-safety-bundle", 6), 0, None);
        say(&mut board, run, 1, None);
        say(&mut board, started("verify", 1), 2, None);
        let inner = say(&mut board, done("valid"), 3, None);
        let outer = say(&mut board, done("/bundles/b"), 4, None);
        assert!(inner.contains("verify") && inner.contains("valid"), "{inner}");
        assert!(outer.contains("make-safety-bundle") && outer.contains("/bundles/b"), "{outer}");
    }

    #[test]
    fn a_shortened_account_is_whole_with_v() {
        let done = Event::StepDone { step: "x".into(), summary: "word ".repeat(20), milliseconds: 5 };
        let mut board = Board::default();
        say(&mut board, started("copy-base", 4), 0, Some(80));
        let short = say(&mut board, done.clone(), 1, Some(80));
        assert!(short.lines().count() == 1 && short.contains('…'), "{short}");
        say(&mut board, started("copy-base", 4), 0, Some(80));
        let mut page = Page::new(Some(80)).verbose(true);
        board.event(&Stamped { at: jiff::Timestamp::UNIX_EPOCH, run: None, event: done }, Duration::ZERO, &mut page);
        assert_eq!(page.plain().matches("word").count(), short.matches("word").count() + 20);
    }

    /// Events with any texts.
    fn any_event() -> impl Strategy<Value = Event> {
        let text = "\\PC{0,60}|[a\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}\u{2066}-\u{2069}東e\u{301} ]{0,60}";
        (0usize..11, text, text, any::<u32>(), 1usize..30).prop_map(|(kind, a, b, n, number)| {
            let (step, milliseconds, of) = (String::new(), u64::from(n), 30);
            match kind {
                0 => Event::RunStarted { verb: a, steps: vec![b], resumed: n % 2 == 0 },
                1 => Event::StepStarted { step: a, number, of },
                2 => Event::Waiting { what: a, seen: Some(b) },
                3 => Event::Progress { what: a, done: u64::from(n), total: Some(1 << 31), unit: b },
                4 => Event::Progress { what: a, done: u64::from(n), total: None, unit: "bytes".into() },
                5 => Event::StepDone { step, summary: a, milliseconds },
                6 => Event::StepSkipped { step: a, number, of },
                7 => Event::StepFailed { step, error: a, milliseconds },
                8 => Event::Undoing { step, title: a, number, of },
                9 => Event::StepUndone { step, summary: a, milliseconds },
                _ => Event::Warning { message: a, hint: Some(b) },
            }
        })
    }

    proptest! {
        #[test]
        fn no_event_steers_the_terminal_and_no_step_takes_two_lines(
            events in proptest::collection::vec(any_event(), 1..40), width in 30usize..200, piped in any::<bool>(),
        ) {
            let width = (!piped).then_some(width);
            let mut board = Board::default();
            for (second, event) in events.into_iter().enumerate() {
                let is_step = !matches!(event, Event::Warning { .. } | Event::RunStarted { .. });
                let said = say(&mut board, event, second as u64 * 7, width);
                prop_assert!(said.chars().all(|c| c == '\n' || crate::text::is_safe(c)), "{said:?}");
                // The reminder of what is under way may stand behind the line of the event.
                prop_assert!(!is_step || said.lines().count() <= 2, "{said}");
                if let Some(width) = width {
                    prop_assert!(!is_step || said.lines().all(|line| line.width() < width), "{width}: {said}");
                    let moving = board.moving(Duration::from_secs(second as u64 * 7 + 1), width);
                    let moving = moving.unwrap_or_default();
                    prop_assert!(moving.width() < width, "{width}: {moving:?}");
                    prop_assert!(moving.plain().chars().all(crate::text::is_safe), "{moving:?}");
                }
            }
        }
    }
}
