//! The streams of the process, as far as they are a terminal.

use std::io::{IsTerminal, Write};

/// Talk that cannot be heard is lost without harm.
pub(super) fn say(text: &str) {
    if !text.is_empty() {
        let mut err = anstream::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

/// The columns of a terminal; nothing where the stream is none.
pub(super) fn columns(stream: impl IsTerminal + std::os::fd::AsFd) -> Option<usize> {
    /// What a terminal has that does not say (a serial line, some containers).
    const UNSAID: usize = 80;
    let said = |stream| terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0));
    stream.is_terminal().then(|| said(stream).unwrap_or(UNSAID).max(20))
}
