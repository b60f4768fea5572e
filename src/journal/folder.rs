//! Runs in a folder of this host: a folder a run, so that one damaged run harms no other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::error::JournalError;
use super::store::{RunLog, RunStore, StoredRun};

use crate::ownership::others_wrote;
use crate::read;

const JOURNAL: &str = "journal.jsonl";
/// Locked by the process that executes the run: the kernel lets go of it with the process, however that ends.
const LOCK: &str = "lock";
/// How every journal begins.
const FIRST_RECORD: &[u8] = b"{\"record\":\"begun\"";
/// Room that a run that is held keeps for its last records, and the file that takes it: it is let go of when the disk is
/// full.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: u64 = 64 << 10;
/// How often a lock is tried again that somebody only looks at, and the pause before: who looks may lose the processor
/// while doing it.
const LOOKERS: usize = 1000;
const LOOK: Duration = Duration::from_millis(1);

/// The runs of this host.
#[derive(Debug, Clone)]
pub struct FolderRuns {
    root: PathBuf,
}

impl FolderRuns {
    /// The runs below `root`, which is made with the first of them.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }
}

/// What a journal says is put back or deleted: nobody else may have written it.
fn require_own(path: &Path) -> Result<(), JournalError> {
    match others_wrote(path).map_err(failed("look at", path))? {
        Some((at, others)) => Err(JournalError::Open { place: at.display().to_string(), others }),
        None => Ok(()),
    }
}

impl RunStore for FolderRuns {
    fn begin(&self, id: &str, first: &[u8]) -> Result<Box<dyn RunLog>, JournalError> {
        let folder = self.path(id);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed("create", &folder))?;
        let lock = hold(&folder, id)?;
        let path = folder.join(JOURNAL);
        // Not opened to append: a line that failed half way is cut off, and the next one is written in its place.
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed("create", &path))?;
        // What could not be put back later is not begun.
        require_own(&path)?;
        let mut log = FolderLog { folder, path, file, whole: 0, _lock: lock };
        log.reserve().map_err(failed("reserve room for", &log.path))?;
        log.append(first)?;
        for folder in [&log.folder, &self.root] {
            File::open(folder).and_then(|f| f.sync_all()).map_err(failed("sync", folder))?;
        }
        Ok(Box::new(log))
    }

    fn open(&self, id: &str) -> Result<Box<dyn RunLog>, JournalError> {
        let folder = self.path(id);
        let lock = hold(&folder, id)?;
        let path = folder.join(JOURNAL);
        require_own(&path)?;
        let whole = whole_lines(&path, id)?.len() as u64;
        let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
        // One that had no whole line gets its end, so that the next one is a line of its own.
        let cut = file.set_len(whole).and_then(|()| file.write_all_at(b"\n", whole - 1));
        cut.map_err(failed("cut", &path))?;
        let log = FolderLog { folder, path, file, whole, _lock: lock };
        // A run that is taken up on a full disk is put back all the same.
        drop(log.reserve());
        Ok(Box::new(log))
    }

    fn ids(&self) -> Result<Vec<String>, JournalError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !has_a_broken_link(&self.root) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(failed("list", &self.root)(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", &self.root))?;
            if is_there(&entry.path().join(JOURNAL))
                && let Ok(id) = entry.file_name().into_string()
            {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn read(&self, id: &str) -> Result<StoredRun, JournalError> {
        let folder = self.path(id);
        let path = folder.join(JOURNAL);
        // Asked before the lines are read: a run that ends in between is then one that goes on, never an interrupted one.
        let held = is_held(&folder)?;
        let lines = whole_lines(&path, id)?;
        require_own(&path)?;
        Ok(StoredRun { id: id.to_owned(), lines, place: path.display().to_string(), held })
    }

    fn folder(&self, id: &str) -> Option<PathBuf> {
        Some(self.path(id))
    }
}

#[derive(Debug)]
struct FolderLog {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// How many bytes are whole lines.
    whole: u64,
    _lock: File,
}

impl FolderLog {
    /// Takes room that the last records can have.
    fn reserve(&self) -> io::Result<()> {
        let path = self.folder.join(RESERVE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES) {
            // Not every file system can; on one that cannot, the room is only likely.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        // Whatever a write that failed has left goes first.
        self.file.set_len(self.whole)?;
        self.file.seek(io::SeekFrom::Start(self.whole))?;
        self.file.write_all(line)?;
        self.file.sync_data()
    }
}

impl RunLog for FolderLog {
    fn append(&mut self, line: &[u8]) -> Result<(), JournalError> {
        let mut written = self.write(line);
        let is_full =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let full = written.as_ref().is_err_and(is_full);
        if full && fs::remove_file(self.folder.join(RESERVE)).is_ok() {
            written = self.write(line);
        }
        if let Err(error) = written {
            // A line that is there in part is no record; one that is there, and not durable, must not become one.
            drop(self.file.set_len(self.whole));
            return Err(failed("write", &self.path)(error));
        }
        self.whole += line.len() as u64;
        Ok(())
    }
}

/// What is over, or waits to be taken up, needs no room.
impl Drop for FolderLog {
    fn drop(&mut self) {
        drop(fs::remove_file(self.folder.join(RESERVE)));
    }
}

/// Only a line that ends is a record: a crash in the middle of an append leaves one that does not. Its act was either
/// not begun (the line was to announce it) or is done again (the line was to report it).
///
/// A journal that is nothing but the beginning of a first line is of a run that did nothing before it died, and counts as
/// none. Anything else without a whole line (NULs of a disk that lost its blocks) was a journal, and is given out as it is:
/// a line that nobody understands.
fn whole_lines(path: &Path, id: &str) -> Result<Vec<u8>, JournalError> {
    let none = || JournalError::NotFound(id.to_owned());
    let mut bytes = read::file(path, read::RECORDS).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !is_there(path) => none(),
        _ => failed("read", path)(error),
    })?;
    match bytes.iter().rposition(|b| *b == b'\n') {
        Some(whole) => bytes.truncate(whole + 1),
        None if is_beginning(&bytes) => return Err(none()),
        None => bytes.push(b'\n'),
    }
    Ok(bytes)
}

/// Whether something is there, readable or not: a link that leads nowhere, or a folder that may not be entered, too.
fn is_there(path: &Path) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    path.symlink_metadata().map_or_else(|error| !matches!(error.kind(), NotFound | NotADirectory), |_| true)
}

/// Whether the folder, or one above it, is a link that leads nowhere: the runs are away, and not none.
fn has_a_broken_link(folder: &Path) -> bool {
    folder.ancestors().any(|path| path.is_symlink() && !path.exists())
}

/// Whether these bytes, without a line's end, are what a crash leaves of a first record.
fn is_beginning(bytes: &[u8]) -> bool {
    let begun = FIRST_RECORD.iter().zip(bytes).all(|(wanted, found)| wanted == found);
    begun && !bytes.contains(&0)
}

fn hold(folder: &Path, id: &str) -> Result<File, JournalError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(read::AT_ONCE)
        .open(&path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::NotFound(id.to_owned()),
            _ => failed("open", &path)(error),
        })?;
    for _ in 0..LOOKERS {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        // Somebody who only looks whether it is held is in the way for a moment.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => flock(&file, FlockOperation::Unlock).map_err(|error| failed("unlock", &path)(error.into()))?,
            Err(rustix::io::Errno::WOULDBLOCK) => break,
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        std::thread::sleep(LOOK);
    }
    Err(JournalError::Held(id.to_owned()))
}

fn is_held(folder: &Path) -> Result<bool, JournalError> {
    let path = folder.join(LOCK);
    let file = match OpenOptions::new().read(true).custom_flags(read::AT_ONCE).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("open", &path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(failed("lock", &path)(error.into())),
    }
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError + use<> {
    let place = path.display().to_string();
    move |source| JournalError::Io { act, place, source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const FIRST: &[u8] = b"first\n";

    #[test]
    fn a_line_cut_off_by_a_crash_is_left_out_at_every_length_and_the_next_one_takes_its_place() {
        let root = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(root.path());
        drop(runs.begin("r", FIRST).unwrap());
        let path = root.path().join("r").join(JOURNAL);
        for cut in ["s", "second", "much longer than the one that follows it"] {
            fs::write(&path, [FIRST, cut.as_bytes()].concat()).unwrap();
            assert_eq!(runs.read("r").unwrap().lines, FIRST);
            let mut log = runs.open("r").unwrap();
            log.append(b"third\n").unwrap();
            assert_eq!(runs.read("r").unwrap().lines, b"first\nthird\n");
        }
    }

    #[test]
    fn what_an_append_that_failed_has_left_is_cut_off_by_the_next_one() {
        let root = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(root.path());
        let mut log = runs.begin("r", FIRST).unwrap();
        let path = root.path().join("r").join(JOURNAL);
        // As a full disk leaves it.
        fs::write(&path, [FIRST, b"half of a li"].concat()).unwrap();
        log.append(b"x\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first\nx\n");
    }

    #[test]
    fn a_run_that_others_may_have_written_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(root.path().join("runs"));
        drop(runs.begin("r", FIRST).unwrap());
        let folder = root.path().join("runs/r");
        for (path, mode) in [(folder.clone(), 0o777), (folder.join(JOURNAL), 0o666)] {
            let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            set(mode);
            assert!(matches!(runs.read("r"), Err(JournalError::Open { .. })), "{}", path.display());
            assert!(matches!(runs.open("r"), Err(JournalError::Open { .. })), "{}", path.display());
            set(if path == folder { 0o700 } else { 0o600 });
            assert_eq!(runs.read("r").unwrap().lines, FIRST);
        }
    }

    #[test]
    fn runs_that_a_broken_link_hides_are_not_none() {
        let root = tempfile::tempdir().unwrap();
        let (state, away) = (root.path().join("state"), root.path().join("away"));
        assert!(FolderRuns::new(state.join("runs")).ids().unwrap().is_empty(), "there were none yet");
        std::os::unix::fs::symlink(&away, &state).unwrap();
        assert!(matches!(FolderRuns::new(state.join("runs")).ids(), Err(JournalError::Io { .. })));
        fs::create_dir(&away).unwrap();
        assert!(FolderRuns::new(state.join("runs")).ids().unwrap().is_empty());
    }

    #[test]
    fn who_looks_at_a_run_keeps_nobody_from_taking_it() {
        let root = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(root.path());
        drop(runs.begin("r", FIRST).unwrap());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    runs.read("r").unwrap();
                }
            });
            let taken: Vec<bool> = (0..500).map(|_| runs.open("r").is_ok()).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(taken.into_iter().all(|taken| taken));
        });
    }

    #[test]
    fn a_run_that_died_before_its_first_line_was_whole_is_none() {
        let root = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(root.path());
        drop(runs.begin("r", FIRST).unwrap());
        let path = root.path().join("r").join(JOURNAL);
        for left in [&b""[..], b"{\"rec", b"{\"record\":\"begun\",\"format\":{\"ma"] {
            fs::write(&path, left).unwrap();
            assert!(matches!(runs.read("r"), Err(JournalError::NotFound(_))));
            assert!(matches!(runs.open("r"), Err(JournalError::NotFound(_))));
        }
    }

    #[test]
    fn what_is_no_beginning_of_a_journal_is_one_that_cannot_be_read_and_can_be_closed() {
        let root = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(root.path());
        drop(runs.begin("r", FIRST).unwrap());
        let path = root.path().join("r").join(JOURNAL);
        for left in [&[0; 4000][..], b"something else", b"{\"record\":\"begun\"\0\0"] {
            fs::write(&path, left).unwrap();
            let lines = [left, b"\n"].concat();
            assert_eq!(runs.read("r").unwrap().lines, lines);
            runs.open("r").unwrap().append(b"last\n").unwrap();
            assert_eq!(runs.read("r").unwrap().lines, [&lines[..], b"last\n"].concat());
        }
        // A link to itself or to nowhere is there, and cannot be read.
        for target in [path.as_path(), Path::new("/nonexistent/journal")] {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(target, &path).unwrap();
            assert_eq!(runs.ids().unwrap(), ["r"]);
            assert!(matches!(runs.read("r"), Err(JournalError::Io { .. })));
        }
    }

    /// Runs the named test of this binary once more, where `$TINY_DISK` is a file system of 256 KiB.
    fn on_a_tiny_disk(test: &str) {
        let disk = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=256k tmpfs \"$TINY_DISK\" && exec \"$0\" --exact \"$1\"";
        let ran = std::process::Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg(format!("journal::folder::tests::{test}"))
            .env("TINY_DISK", disk.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    }

    fn fill(disk: &Path) {
        let mut file = File::create(disk.join("fill")).unwrap();
        for size in [4096, 512, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    #[test]
    fn the_last_records_have_room_on_a_full_disk_at_every_length() {
        let Some(disk) = std::env::var_os("TINY_DISK").map(PathBuf::from) else {
            return on_a_tiny_disk("the_last_records_have_room_on_a_full_disk_at_every_length");
        };
        let runs = FolderRuns::new(disk.join("runs"));
        let (record, last) = ([b'r'; 700], b"last\n");
        let record = [&record[..], b"\n"].concat();
        for pad in (0..4096).step_by(64) {
            let first = [vec![b'f'; pad], b"\n".to_vec()].concat();
            let mut log = runs.begin("r", &first).unwrap();
            fill(&disk);
            log.append(&record).unwrap();
            log.append(last).unwrap();
            drop(log);
            assert_eq!(runs.read("r").unwrap().lines, [&first[..], &record, last].concat(), "after {pad} bytes");
            // Taken up where nothing is left to reserve: a line is there whole or not at all.
            fill(&disk);
            let mut log = runs.open("r").unwrap();
            let mut whole = runs.read("r").unwrap().lines;
            while log.append(&record).is_ok() {
                whole.extend_from_slice(&record);
            }
            assert_eq!(fs::read(disk.join("runs/r").join(JOURNAL)).unwrap(), whole, "after {pad} bytes");
            drop(log);
            fs::remove_file(disk.join("fill")).unwrap();
            fs::remove_dir_all(disk.join("runs")).unwrap();
        }
    }
}
