//! What a person sees with `-v` and `-vv`: lines that go the way of all events, so that they are masked, are one JSON value
//! a line where that was asked for, and do not break the line that moves.

use std::io::{self, Write};
use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use super::marks::is_failure;
use super::visit::Fields;
use crate::event::{Event, Events};

/// Masks what must not be shown.
pub type Scrub = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// An event as it stands in a file: masked, and on one line. What others said, such as the body of an answer, may hold line
/// ends, behind which it could say whatever it likes of the work.
pub(super) fn one_line(scrub: &Scrub, event: &[u8]) -> Vec<u8> {
    let masked = scrub(event);
    let text = masked.strip_suffix(b"\n").unwrap_or(&masked);
    let mut line = Vec::with_capacity(masked.len() + 16);
    for byte in text {
        match byte {
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            _ => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

/// Says each call in a line.
pub(super) struct CallLines(pub(super) Events);

impl<S: Subscriber> Layer<S> for CallLines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let Fields { kind, what, outcome, ms, .. } = Fields::of(event);
        let outcome = if is_failure(&outcome) { format!("failed: {outcome}") } else { outcome };
        self.0.emit(Event::Log { source: kind, line: format!("{what}: {outcome} ({})", duration(ms)) });
    }
}

fn duration(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 10_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

type Sink = dyn Fn(&[u8]) + Send + Sync;

/// Where lines go that the subscriber has formatted.
#[derive(Clone)]
pub(super) struct LineTo(pub(super) Arc<Sink>);

impl LineTo {
    /// As lines of the trace among the events.
    pub(super) fn events(events: Events) -> Self {
        Self(Arc::new(move |line| {
            let line = String::from_utf8_lossy(line).trim_end().to_owned();
            events.emit(Event::Log { source: "trace".into(), line });
        }))
    }

    /// To both.
    pub(super) fn and(self, other: Self) -> Self {
        Self(Arc::new(move |line| {
            (self.0)(line);
            (other.0)(line);
        }))
    }
}

/// One line under way. The subscriber hands over a whole line at once; should it not, the line is gathered first, since
/// a secret cut in two would not be known.
pub(super) struct Line<'a> {
    to: &'a LineTo,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for LineTo {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { to: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        (self.to.0)(&self.bytes);
    }
}
