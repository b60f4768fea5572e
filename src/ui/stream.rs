//! stdout for more bytes than anybody wants in memory.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

/// What a pipe that has room at all takes without waiting (PIPE_BUF).
const AT_ONCE: usize = 4096;
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Bytes to stdout as they are. A reader that does not read keeps nobody from stopping: the writing then fails.
pub struct DataStream {
    pub(super) cancel: CancellationToken,
}

impl Write for DataStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let out = io::stdout();
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("stopped"));
            }
            let mut ready = [PollFd::new(&out, PollFlags::OUT)];
            match poll(&mut ready, Some(&PATIENCE)) {
                // Nobody has taken what was written before; or a signal came.
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => return Ok(rustix::io::write(&out, &bytes[..bytes.len().min(AT_ONCE)])?),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
