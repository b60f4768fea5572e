//! The WAL beside a base backup: `pg_receivewal` into the spool, whole segments out of it, in order, without a gap.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::sync::watch;

use super::chunks::ChunkCutter;
use super::slot::WalSlot;
use crate::agent::host;
use crate::agent::protocol::{BackupRequest, Failure, FailureKind, WAL_REMOVED};
use crate::agent::replies::ReplySender;
use crate::postgres::basebackup::{BaseBackupError, WalCheck};
use crate::postgres::{Lsn, WalSegment, argv, wal};
use crate::ustar::{self, TarEntry, TarSink};

/// How long the server may take to begin to stream.
const START: Duration = Duration::from_secs(60);
/// How often the spool is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// User and group `postgres` in the operator's images: whom the files of the tar belong to.
const POSTGRES: u64 = 26;

/// Whose WAL it is, and where it waits until it is sealed.
pub struct WalSource<'a> {
    /// The database's identity.
    pub system_identifier: u64,
    /// The size of a segment.
    pub segment_bytes: u64,
    pub spool: &'a Path,
    /// What keeps the server from removing any, where there is such a thing.
    pub slot: Option<WalSlot>,
}

/// `pg_receivewal` at work.
struct Receiver {
    child: Child,
    words: watch::Receiver<Vec<String>>,
    spool: PathBuf,
}

/// Where whole segments go.
struct WalTar {
    cutter: ChunkCutter,
    check: WalCheck,
    /// The segment that is due.
    next: WalSegment,
    need: watch::Receiver<WalNeed>,
    bound: watch::Receiver<WalBound>,
}

/// What is known so far of the WAL that is needed. Grows as the backup goes on.
#[derive(Debug, Clone, Copy, Default)]
pub struct WalNeed {
    /// Where it begins, with its timeline: known once `backup_label` has passed.
    pub start: Option<(Lsn, u32)>,
    /// Where the base backup ends.
    pub base_end: Option<Lsn>,
}

/// What the client has said of the end of the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalBound {
    /// Nothing: whatever is whole may be sent.
    Open,
    /// It is being noted: nothing more may be sent, since it could be past it.
    Held,
    /// Nothing past this may be sent.
    At(Lsn),
}

/// What was put into the tar.
pub struct SentWal {
    /// How many bytes the tar has.
    pub bytes: u64,
    /// What was seen of the segments.
    pub check: WalCheck,
    /// The position that it reaches.
    pub until: Lsn,
    /// The first segment.
    pub first: WalSegment,
    pub last: WalSegment,
}

/// Receives the WAL of a backup that has begun, and ships it into `cutter` until the needed position is reached.
///
/// It begins with the segment that the backup begins in, as soon as `backup_label` tells which: the server keeps what
/// comes after a checkpoint until the next one is complete. To begin earlier would be in vain: the backup's own
/// checkpoint may remove those segments while they are being sent.
///
/// # Errors
/// When `pg_receivewal` ends, a segment is missing, the timeline changes, or the last segment does not get whole in time.
pub async fn follow(
    replies: &ReplySender,
    request: &BackupRequest,
    source: WalSource<'_>,
    cutter: ChunkCutter,
    mut need: watch::Receiver<WalNeed>,
    bound: watch::Receiver<WalBound>,
) -> Result<SentWal, Failure> {
    let begun = need.wait_for(|need| need.start.is_some()).await.map(|need| need.start);
    let Ok(Some((start, timeline))) = begun else {
        return Err(Failure::given_up("the backup"));
    };
    let first = WalSegment::holding(start, timeline, source.segment_bytes).map_err(BaseBackupError::from)?;
    let receiver = Receiver::start(request, source.spool, first, replies.clone()).await?;
    let check = WalCheck::new(source.system_identifier, source.segment_bytes);
    let tar = WalTar { cutter, check, next: first, need, bound };
    receiver.ship(tar, source.slot, Duration::from_secs(request.wal_wait_seconds)).await
}

impl Receiver {
    /// Starts `pg_receivewal` at segment `first` into a fresh folder below `spool` (removing older ones) and waits
    /// until it streams.
    ///
    /// # Errors
    /// With its last words when it ends, or does not begin in time.
    async fn start(
        request: &BackupRequest,
        spool: &Path,
        first: WalSegment,
        replies: ReplySender,
    ) -> Result<Self, Failure> {
        // A folder of its own: what an earlier attempt has left may still be in the hands of its last threads.
        let folder = spool.join(format!("wal-{:016x}", rand::random::<u64>()));
        for old in fs::read_dir(spool).into_iter().flatten().flatten() {
            // Whatever stays is found again by the next attempt.
            let _ = fs::remove_dir_all(old.path());
        }
        fs::create_dir_all(&folder).map_err(Failure::io(format!("make {}", folder.display())))?;
        // It goes on with the segment that it finds unfinished; without one it would begin wherever the server is by
        // now, which may be too late.
        let unfinished = folder.join(format!("{first}.partial"));
        fs::write(&unfinished, b"").map_err(Failure::io(format!("make {}", unfinished.display())))?;
        let arguments = argv::receivewal(&request.connection, &folder.to_string_lossy());
        let mut child = host::command("pg_receivewal", &arguments, Some(&request.connection))?
            .spawn()
            .map_err(Failure::io("start pg_receivewal"))?;
        let (sender, words) = watch::channel(Vec::new());
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(host::lines(stderr, move |line| {
                replies.log("pg_receivewal", &line);
                sender.send_modify(|lines| lines.push(line));
            }));
        }
        let mut receiver = Self { child, words, spool: folder };
        // `pg_receivewal: starting log streaming at 0/7000000 (timeline 1)`
        let begun = |lines: &Vec<String>| lines.iter().any(|line| line.contains("starting log streaming at"));
        let waited = tokio::time::timeout(START, receiver.words.wait_for(begun)).await.map(|seen| seen.is_ok());
        match waited {
            Ok(true) => Ok(receiver),
            Ok(false) => Err(receiver.died().await),
            Err(_) => {
                let message = format!("pg_receivewal did not begin to stream in {} s", START.as_secs());
                Err(Failure::new(FailureKind::Postgres, message))
            }
        }
    }

    async fn died(&mut self) -> Failure {
        let status = match self.child.wait().await {
            Ok(status) => status,
            Err(error) => return Failure::io("wait for pg_receivewal")(error),
        };
        // Its last words may still be on their way.
        let _ =
            tokio::time::timeout(Duration::from_secs(1), async { while self.words.changed().await.is_ok() {} }).await;
        let lines = self.words.borrow().clone();
        if let Some(segment) = lines.iter().find_map(|line| removed(line)) {
            let message =
                format!("{WAL_REMOVED} {segment} before it was fetched: more was written than its wal_keep_size keeps");
            return Failure::new(FailureKind::Wal, message);
        }
        host::died("pg_receivewal", status, lines.iter().map(String::as_str))
    }

    /// Puts segments into the tar as they get whole, until the needed position is reached. The spool holds no more than
    /// what has not been handed over, and the server is told what it need not keep any more.
    async fn ship(mut self, mut tar: WalTar, mut slot: Option<WalSlot>, wait: Duration) -> Result<SentWal, Failure> {
        let first = tar.next;
        let mut deadline: Option<Instant> = None;
        loop {
            let ended = self.child.try_wait().map_err(Failure::io("look after pg_receivewal"))?;
            let (before, spool) = (tar.next, self.spool.clone());
            tar = host::blocking(move || tar.hand_over(&spool)).await?;
            if tar.next != before {
                deadline = None;
                if let Some(kept) = &mut slot
                    && kept.let_go_before(tar.next.start()).await.is_err()
                {
                    // Its session is over, and keeps nothing: what has gone is then missed where it is due.
                    slot = None;
                }
            }
            if let Some((until, target)) = tar.end()? {
                if tar.next.number > target.number {
                    let last = WalSegment { number: tar.next.number - 1, ..first };
                    let WalTar { mut cutter, check, .. } = tar;
                    let bytes = host::blocking(move || {
                        cutter.write(&ustar::END)?;
                        cutter.finish()
                    });
                    return Ok(SentWal { bytes: bytes.await?, check, until, first, last });
                }
                if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + wait) {
                    let message = format!(
                        "WAL segment {target}, which holds position {until}, was not finished in {} s",
                        wait.as_secs()
                    );
                    return Err(Failure::new(FailureKind::Wal, message));
                }
            }
            if ended.is_some() {
                return Err(self.died().await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The segment that the server has no more.
fn removed(line: &str) -> Option<&str> {
    // `... ERROR:  requested WAL segment 000000010000000000000003 has already been removed`
    let (before, _) = line.split_once(" has already been removed")?;
    before.split_whitespace().next_back()
}

impl WalTar {
    /// The position that must be reached and not passed, and the segment that it ends in, once both ends are known.
    fn end(&self) -> Result<Option<(Lsn, WalSegment)>, Failure> {
        let (base_end, bound) = (self.need.borrow().base_end, *self.bound.borrow());
        let (Some(base_end), WalBound::At(end)) = (base_end, bound) else { return Ok(None) };
        let (until, next) = (end.max(base_end), self.next);
        let last = WalSegment::needed_to_reach(until, next.timeline, next.bytes).map_err(BaseBackupError::from)?;
        Ok(Some((until, last)))
    }

    /// Puts every whole segment that is due into the tar, and histories, and removes them from the spool. What is past
    /// the end stays.
    fn hand_over(mut self, spool: &Path) -> Result<Self, Failure> {
        let mut names = Vec::new();
        let act = || Failure::io(format!("look into {}", spool.display()));
        for entry in fs::read_dir(spool).map_err(act())? {
            names.push(entry.map_err(act())?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        // Asked after the names were: where no end is known now, none of these segments is past it.
        let bound = *self.bound.borrow();
        let last = match bound {
            WalBound::Open => None,
            WalBound::Held => return Ok(self),
            WalBound::At(_) => match self.end()? {
                Some((_, last)) => Some(last),
                None => return Ok(self),
            },
        };
        for name in &names {
            if wal::is_history(name) {
                self.append(spool, name)?;
                continue;
            }
            let next = self.next;
            let Some(segment) = WalSegment::from_name(name, next.bytes) else { continue };
            if segment.timeline != next.timeline {
                let message = format!("WAL went on as {segment} where {next} was due: the server was promoted");
                return Err(Failure::new(FailureKind::Standby, message));
            }
            if segment != next {
                let message = format!("WAL segment {next} is missing: {segment} came in its place");
                return Err(Failure::new(FailureKind::Wal, message));
            }
            if last.is_some_and(|last| segment > last) {
                break;
            }
            self.append(spool, name)?;
            self.next = next.next();
        }
        Ok(self)
    }

    /// Puts one file into the tar and removes it from the spool.
    fn append(&mut self, spool: &Path, name: &str) -> Result<(), Failure> {
        let path = spool.join(name);
        let act = || Failure::io(format!("read {}", path.display()));
        let file = File::open(&path).map_err(act())?;
        let facts = file.metadata().map_err(act())?;
        let bytes = facts.len();
        self.check.begin(&TarEntry { path: name.to_owned(), folder: false, bytes })?;
        let modified = facts.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let seconds = modified.map_or(0, |age| age.as_secs());
        let header = ustar::file_header(name, bytes, seconds, POSTGRES);
        self.cutter.write(&header.map_err(Failure::io(format!("write {name} into a tar")))?)?;
        let (mut content, mut copied) = (file.take(bytes), 0);
        while let Some(piece) = self.cutter.read(&mut content, name)? {
            copied += piece.len() as u64;
            self.check.data(piece)?;
        }
        self.check.end()?;
        if copied != bytes {
            return Err(Failure::new(FailureKind::Damaged, format!("{} got shorter", path.display())));
        }
        self.cutter.write(&ustar::END[..ustar::padding(bytes) as usize])?;
        fs::remove_file(&path).map_err(Failure::io(format!("remove {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_was_recycled_is_known_from_the_servers_words() {
        let said = "pg_receivewal: error: could not send replication command \"START_REPLICATION\": ERROR:  requested WAL \
                    segment 000000010000000000000003 has already been removed";
        assert_eq!(removed(said), Some("000000010000000000000003"));
        assert_eq!(removed("pg_receivewal: error: could not connect"), None);
    }
}
