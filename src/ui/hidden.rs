//! Asking for what must not be seen: on the terminal itself, without echo, given up when the work is stopped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// The longest line that is taken.
const LONGEST: usize = 4096;
/// How often to check whether the work was stopped.
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What came of asking.
pub enum Typed {
    /// A line, its end left out.
    Line(Zeroizing<String>),
    /// The work was stopped meanwhile.
    Stopped,
    /// There is no terminal, or the person typed its end.
    NoTerminal,
}

/// Asks on `/dev/tty`.
pub(super) fn ask(question: &str, stop: &CancellationToken) -> io::Result<Typed> {
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return Ok(Typed::NoTerminal);
    };
    // First the silence, then the question: what is typed in answer is neither seen nor thrown away.
    let echo_off = EchoOff::begin(&terminal)?;
    (&terminal).write_all(question.as_bytes())?;
    let typed = read_line(&terminal, stop);
    drop(echo_off);
    // The line end that was typed was not echoed either.
    (&terminal).write_all(b"\n")?;
    typed
}

fn read_line(mut terminal: &File, stop: &CancellationToken) -> io::Result<Typed> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0u8; 1]);
    loop {
        if stop.is_cancelled() {
            return Ok(Typed::Stopped);
        }
        let mut waiting = [PollFd::new(&terminal, PollFlags::IN)];
        match poll(&mut waiting, Some(&POLL)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        if terminal.read(&mut byte[..])? == 0 {
            return Ok(Typed::NoTerminal);
        }
        match byte[0] {
            b'\n' | b'\r' => break,
            _ if line.len() == LONGEST => return Err(io::Error::other("the line is too long")),
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::other("what was typed is not UTF-8"))?;
    Ok(Typed::Line(Zeroizing::new(text.to_owned())))
}

/// A terminal that does not echo; it does again when this is dropped.
struct EchoOff<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> EchoOff<'t> {
    fn begin(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // What was typed ahead was meant for something else.
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
