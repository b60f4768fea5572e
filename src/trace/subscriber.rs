//! Who hears what: put together once, when the program begins.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::file::LogFile;
use super::lines::{CallLines, LineTo, Scrub, one_line};
use super::marks::{CALL, EVENT, RUN, STEP};
use super::run_files::{RunClock, RunFiles};
use crate::event::Events;

/// Who is to hear what.
pub struct TraceOptions {
    /// 1: each helm, psql and cluster call; 2: everything, also of the libraries.
    pub verbose: u8,
    /// A file that everything is appended to.
    pub log_file: Option<PathBuf>,
    /// Where the lines of `verbose` go. They must not come back here as [`event`](super::event).
    pub events: Events,
    /// Masks what goes into files.
    pub scrub: Scrub,
}

/// Why tracing cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The log file cannot be written.
    #[error("open the log file {path}")]
    LogFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Somebody traces already.
    #[error("tracing has begun before")]
    Begun(#[source] tracing_subscriber::util::TryInitError),
}

/// Begins to trace, for the whole process.
///
/// # Errors
/// When the log file cannot be written.
pub fn start(options: TraceOptions) -> Result<(), TraceError> {
    subscriber(options)?.try_init().map_err(TraceError::Begun)
}

/// Everything that is worth a line: h2 tells each frame and tower each poll, which is not.
fn everything() -> Targets {
    Targets::new().with_default(LevelFilter::DEBUG).with_targets(["h2", "tower"].map(|name| (name, LevelFilter::INFO)))
}

pub(super) fn subscriber(options: TraceOptions) -> Result<impl Subscriber + Send + Sync, TraceError> {
    let TraceOptions { verbose, log_file, events, scrub } = options;
    let calls = match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let call_lines = CallLines(events.clone()).with_filter(Targets::new().with_target(CALL, calls));
    // No layer colours: between a key and its value that would hide the one from the other.
    // Calls are said by the layer above, and events are on the screen already.
    let others = everything().with_target(CALL, LevelFilter::OFF).with_target(EVENT, LevelFilter::OFF);
    let trace_lines = (verbose > 1).then(|| {
        let lines = fmt::layer().without_time().with_ansi(false).fmt_fields(ScreenFields(DefaultFields::new()));
        lines.with_writer(LineTo::events(events.clone())).with_filter(others)
    });
    let log_file = log_file.map(|path| log_file_lines(path, scrub.clone(), events.clone())).transpose()?;
    let run_files = RunFiles::new(scrub);
    let files = match log_file {
        Some(log_file) => log_file.and(run_files.lines()),
        None => run_files.lines(),
    };
    let marks = Targets::new().with_targets([RUN, STEP, CALL].map(|target| (target, LevelFilter::DEBUG)));
    Ok(Registry::default()
        .with(RunClock(Arc::clone(&run_files)).with_filter(marks))
        .with(call_lines)
        .with(trace_lines)
        .with(fmt::layer().with_ansi(false).with_writer(files).with_filter(everything())))
}

/// The fields on the screen. Layers that format by the same type share what they made of a span's fields, and each of them
/// adds what is said of it later: it would stand there twice.
struct ScreenFields(DefaultFields);

impl<'writer> FormatFields<'writer> for ScreenFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }
}

fn log_file_lines(path: PathBuf, scrub: Scrub, events: Events) -> Result<LineTo, TraceError> {
    let shown = path.display().to_string();
    let file = LogFile::open(&path, None).map_err(|source| TraceError::LogFile { path, source })?;
    let file = Mutex::new(file);
    let warned = Once::new();
    Ok(LineTo(Arc::new(move |line| {
        let line = one_line(&scrub, line);
        let written = file.lock().unwrap_or_else(PoisonError::into_inner).write(&line);
        // A log that cannot be written is no reason to stop the work.
        if let Err(error) = written {
            warned.call_once(|| {
                events.warn(format!("the log file {shown} cannot be written and is not whole: {error}"), None);
            });
        }
    })))
}
