//! Reading what others have written: with a bound, and never a file that does not end or does not begin.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::fs::OFlags;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::text;

/// The most bytes of a key, a list of signers, settings, and what `dr` keeps for itself.
pub const SMALL: u64 = 1 << 20;
/// The most bytes of a values file. What is larger fits no release of helm, and is looked through for secrets by nobody.
pub const VALUES: u64 = 8 << 20;
/// The most bytes of a journal or its timing, and of a cache that can be made again.
pub const RECORDS: u64 = 256 << 20;
/// The most bytes of a packed chart or a program.
pub const PROGRAM: u64 = 1 << 30;

/// For the opening of a file that may have become a pipe: without it, the opening waits for the other end.
pub const AT_ONCE: i32 = OFlags::NONBLOCK.bits() as i32;

/// A whole regular file, or what a link to one leads to.
///
/// # Errors
/// It cannot be read, is no regular file (a pipe would be waited for), or holds more than `limit` bytes.
pub fn file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(AT_ONCE).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    stream(file, limit)
}

/// A whole file as [`file`], as text.
///
/// # Errors
/// As [`file`], and where it is not UTF-8.
pub fn text_file(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(file(path, limit)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// What a person names on the command line: a file, or a pipe such as `/dev/stdin` or `<(...)`.
///
/// # Errors
/// It cannot be read, holds more than `limit` bytes, or was not there when the work was [stopped](until_stopped).
pub fn file_or_pipe(path: &Path, limit: u64, stop: &CancellationToken) -> io::Result<Zeroizing<Vec<u8>>> {
    let path = PathBuf::from(path);
    until_stopped(stop, move || stream(File::open(path)?, limit).map(Zeroizing::new))
}

/// As [`file_or_pipe`]; `-` is stdin.
///
/// # Errors
/// As [`file_or_pipe`].
pub fn file_or_stdin(path: &Path, limit: u64, stop: &CancellationToken) -> io::Result<Zeroizing<Vec<u8>>> {
    match path.as_os_str() == "-" {
        true => until_stopped(stop, move || stream(io::stdin().lock(), limit).map(Zeroizing::new)),
        false => file_or_pipe(path, limit, stop),
    }
}

/// Reads what others may keep waiting, such as a pipe or a terminal: on a thread of its own, which is left to itself once
/// the work is stopped. Whatever it would still read is lost, so nothing else is read from there afterwards.
///
/// # Errors
/// What reading fails with; `Interrupted`, which no reading of the standard library ends with, when the work was stopped.
pub fn until_stopped<T: Send + 'static>(
    stop: &CancellationToken,
    reading: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    const POLL: Duration = Duration::from_millis(100);
    let (done, answer) = mpsc::channel();
    // Nobody hears the answer that comes too late.
    std::thread::Builder::new().name("reading".into()).spawn(move || drop(done.send(reading())))?;
    loop {
        match answer.recv_timeout(POLL) {
            Ok(read) => return read,
            Err(RecvTimeoutError::Timeout) if stop.is_cancelled() => return Err(io::ErrorKind::Interrupted.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the thread that reads has died")),
        }
    }
}

/// All of a stream.
///
/// # Errors
/// It cannot be read, or holds more than `limit` bytes.
pub fn stream(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than the {} that are read of it", text::bytes(limit)),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FileType, Mode};

    use super::*;

    #[test]
    fn what_has_no_end_is_refused_at_its_limit_and_what_has_no_writer_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(file(&pipe, SMALL).unwrap_err().to_string(), "it is not a regular file");
        let zero = Path::new("/dev/zero");
        assert_eq!(file(zero, SMALL).unwrap_err().to_string(), "it is not a regular file");
        let endless = file_or_pipe(zero, SMALL, &CancellationToken::new()).unwrap_err().to_string();
        assert_eq!(endless, "it is larger than the 1.0 MiB that are read of it");
        assert_eq!(file(folder.path(), SMALL).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_file_of_just_the_limit_is_read_and_one_byte_more_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(file(&path, 4).unwrap(), b"four");
        assert_eq!(file(&path, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(file_or_pipe(Path::new("/dev/null"), 3, &CancellationToken::new()).unwrap().as_slice(), b"");
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(text_file(&path, 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
