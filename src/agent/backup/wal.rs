//! The WAL beside a base backup: `pg_receivewal` into the spool, whole segments out of it, in order, without a gap.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::sync::watch;

use super::Tell;
use super::seal::Cutter;
use crate::agent::host;
use crate::agent::protocol::{BackupRequest, Failure, FailureKind, StreamTotals};
use crate::agent::tarball;
use crate::postgres::{Lsn, Segment, argv, wal};

/// How long the server may take to begin to stream.
const START: Duration = Duration::from_secs(60);
/// How often the spool is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// `pg_receivewal` at work.
struct Receiver {
    child: Child,
    words: watch::Receiver<Vec<String>>,
    spool: PathBuf,
}

/// What is known so far of the WAL that is needed. Grows as the backup goes on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need {
    /// Where it begins, with its timeline: known once `backup_label` has passed.
    pub start: Option<(Lsn, u32)>,
    /// Where the base backup ends.
    pub base_end: Option<Lsn>,
    /// The position that was asked for, and whether there was an answer.
    pub asked: Option<Option<Lsn>>,
}

impl Need {
    /// The position that must be reached, once it is known.
    fn until(self) -> Option<Lsn> {
        let (end, asked) = (self.base_end?, self.asked?);
        Some(asked.map_or(end, |asked| asked.max(end)))
    }
}

/// What was sent.
pub struct Shipped {
    /// The tar.
    pub totals: StreamTotals,
    /// The position that it reaches.
    pub until: Lsn,
    /// The first segment.
    pub first: Segment,
    /// The last one.
    pub last: Segment,
}

fn wrong(error: wal::WalError) -> Failure {
    Failure::new(FailureKind::Wal, error.to_string())
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
    tell: &Tell,
    request: &BackupRequest,
    spool: &Path,
    cutter: Cutter,
    mut need: watch::Receiver<Need>,
    segment_bytes: u64,
) -> Result<Shipped, Failure> {
    let begun = need.wait_for(|need| need.start.is_some()).await.map(|need| need.start);
    let Ok(Some((start, timeline))) = begun else {
        return Err(Failure::new(FailureKind::System, "the backup was given up"));
    };
    let first = Segment::holding(start, timeline, segment_bytes).map_err(wrong)?;
    let receiver = Receiver::start(request, spool, first, tell.clone()).await?;
    receiver.ship(cutter, need, first, Duration::from_secs(request.wal_wait_seconds)).await
}

impl Receiver {
    /// Starts `pg_receivewal` at segment `first` into a fresh folder below `spool` (removing older ones) and waits
    /// until it streams.
    ///
    /// # Errors
    /// With its last words when it ends, or does not begin in time.
    async fn start(request: &BackupRequest, spool: &Path, first: Segment, tell: Tell) -> Result<Self, Failure> {
        // A folder of its own: what an earlier attempt has left may still be in the hands of its last threads.
        let folder = spool.join(format!("wal-{:016x}", rand::random::<u64>()));
        for old in fs::read_dir(spool).into_iter().flatten().flatten() {
            // Whatever stays is found again by the next attempt.
            let _ = fs::remove_dir_all(old.path());
        }
        fs::create_dir_all(&folder).map_err(Failure::io(format!("make {}", host::shown(&folder))))?;
        // It goes on with the segment that it finds unfinished; without one it would begin wherever the server is by
        // now, which may be too late.
        let unfinished = folder.join(format!("{first}.partial"));
        fs::write(&unfinished, b"").map_err(Failure::io(format!("make {}", host::shown(&unfinished))))?;
        let arguments = argv::receivewal(&request.connection, &folder.to_string_lossy());
        let mut child = host::command("pg_receivewal", &arguments, Some(&request.connection))?
            .spawn()
            .map_err(Failure::io("start pg_receivewal"))?;
        let (sender, words) = watch::channel(Vec::new());
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(host::lines(stderr, move |line| {
                tell.log("pg_receivewal", &line);
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
        host::died("pg_receivewal", status, lines.iter().map(String::as_str))
    }

    /// Puts segments into the tar as they get whole, from `first` until the needed position is reached. The spool holds
    /// no more than what has not been handed over.
    async fn ship(
        mut self,
        mut cutter: Cutter,
        need: watch::Receiver<Need>,
        first: Segment,
        wait: Duration,
    ) -> Result<Shipped, Failure> {
        let mut next = first;
        let mut deadline: Option<Instant> = None;
        loop {
            let until = need.borrow().until();
            let ended = self.child.try_wait().map_err(Failure::io("look after pg_receivewal"))?;
            let before = next;
            (cutter, next) = self.hand_over(cutter, next).await?;
            if next != before {
                deadline = None;
            }
            if let Some(until) = until {
                let target = Segment::needed_to_reach(until, first.timeline, first.bytes).map_err(wrong)?;
                if next.number > target.number {
                    let last = Segment { number: next.number - 1, ..next };
                    let totals = host::blocking(move || {
                        cutter.write(&tarball::END)?;
                        cutter.finish()
                    });
                    return Ok(Shipped { totals: totals.await?, until, first, last });
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

    /// Puts every whole segment from `next` on into the tar, and histories, and removes them from the spool. Returns
    /// the segment that is due now.
    async fn hand_over(&self, mut cutter: Cutter, mut next: Segment) -> Result<(Cutter, Segment), Failure> {
        let spool = self.spool.clone();
        host::blocking(move || {
            let mut names = Vec::new();
            let act = || Failure::io(format!("look into {}", spool.display()));
            for entry in fs::read_dir(&spool).map_err(act())? {
                names.push(entry.map_err(act())?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            for name in &names {
                let path = spool.join(name);
                if wal::is_history(name) {
                    append(&mut cutter, &path, name)?;
                    continue;
                }
                let Some(segment) = Segment::from_name(name, next.bytes) else { continue };
                if segment.timeline != next.timeline {
                    let message = format!("WAL went on as {segment} where {next} was due: the server was promoted");
                    return Err(Failure::new(FailureKind::Standby, message));
                }
                if segment != next {
                    let message = format!("WAL segment {next} is missing: {segment} came in its place");
                    return Err(Failure::new(FailureKind::Wal, message));
                }
                let bytes = fs::metadata(&path).map_err(Failure::io(format!("look at {}", path.display())))?.len();
                if bytes != segment.bytes {
                    let message = format!("WAL segment {segment} has {bytes} bytes, not {}", segment.bytes);
                    return Err(Failure::new(FailureKind::Wal, message));
                }
                append(&mut cutter, &path, name)?;
                next = next.next();
            }
            Ok((cutter, next))
        })
        .await
    }
}

/// Puts one file into the tar and removes it from the spool.
fn append(cutter: &mut Cutter, path: &Path, name: &str) -> Result<(), Failure> {
    let bytes = fs::read(path).map_err(Failure::io(format!("read {}", path.display())))?;
    let modified = fs::metadata(path)
        .and_then(|data| data.modified())
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_secs());
    cutter.write(&tarball::file_header(name, bytes.len() as u64, modified)?)?;
    cutter.write(&bytes)?;
    cutter.write(&vec![0; tarball::padding(bytes.len() as u64)])?;
    fs::remove_file(path).map_err(Failure::io(format!("remove {}", path.display())))
}
