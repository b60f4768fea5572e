//! The streams of the process, as far as they are a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a pipe that has room at all takes without waiting (PIPE_BUF).
const AT_ONCE: usize = 4096;
/// How long whoever reads stderr may not read it. Work is more than how it looks, and the application may be stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// Talk that cannot be heard is lost without harm.
pub(super) fn say(text: &str) {
    say_within(text, PATIENCE);
}

/// The same, waiting no longer than `patience` for a reader. Returns whether all of it was written, or can never be.
pub(super) fn say_within(text: &str, patience: Duration) -> bool {
    let begun = Instant::now();
    let mut err = anstream::stderr().lock();
    for piece in text.as_bytes().chunks(AT_ONCE) {
        if !is_read(patience.saturating_sub(begun.elapsed())) {
            return false;
        }
        if err.write_all(piece).and_then(|()| err.flush()).is_err() {
            return true;
        }
    }
    true
}

/// Whether stderr takes something within `patience`: a full pipe that nobody reads and a terminal that is held (Ctrl-S) do
/// not.
pub(super) fn is_read(patience: Duration) -> bool {
    let (begun, err) = (Instant::now(), io::stderr());
    loop {
        let left = Timespec::try_from(patience.saturating_sub(begun.elapsed())).ok();
        match poll(&mut [PollFd::new(&err, PollFlags::OUT)], left.as_ref()) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

/// The columns of a terminal; nothing where the stream is none.
pub(super) fn columns(stream: impl IsTerminal + std::os::fd::AsFd) -> Option<usize> {
    /// What a terminal has that does not say (a serial line, some containers).
    const UNSAID: usize = 80;
    let said = |stream| terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0));
    stream.is_terminal().then(|| said(stream).unwrap_or(UNSAID).max(20))
}
