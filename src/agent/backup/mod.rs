//! A base backup out of the pod, with the WAL that belongs to it.
//!
//! ```text
//! pg_basebackup -> tar reader: CRC of each file -> chunks -+-> compress + seal, side by side -> sender -> link
//! pg_receivewal -> spool -> whole segments -> tar -> chunks -+
//! ```
//! WAL is received from the segment that the base backup begins in, as soon as that is known: see [`wal::follow`].

mod check;
mod seal;
mod wal;

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;

use tokio::process::{Child, ChildStdout};
use tokio::sync::{mpsc, watch};

pub use super::protocol::BackupRequest as Request;
pub use check::compare;

use self::check::BaseCheck;
use self::seal::{Cutter, Outgoing, SealedChunk, Sealer};
use self::wal::Need;
use super::host;
use super::protocol::{
    BackupDone, BackupRequest, BaseDone, CHUNK_BOUNDS, Failure, FailureKind, Reply, Stream, StreamTotals,
};
use super::tarball;
use super::worker::Tell;
use crate::crypt::Recipients;
use crate::postgres::Lsn;
use crate::postgres::argv::{self, ServerFacts};

/// How much is read from a pipe at once.
const READ: usize = 256 << 10;
/// The most that are compressed and sealed side by side: each holds a chunk twice in memory.
const MOST_SEALERS: usize = 4;

/// Whether the client has said where WAL may end, and what it said.
pub type Asked = Option<Option<Lsn>>;

/// Makes the backup that `request` asks for and sends it all. `asked` changes when the client says where WAL may end.
///
/// # Errors
/// Whatever is not exactly as it should be: a backup that did not fail is whole.
pub async fn run(
    tell: &Tell,
    request: BackupRequest,
    spool: &Path,
    asked: watch::Receiver<Asked>,
) -> Result<(), Failure> {
    let sealer = Arc::new(check_request(&request)?);
    let server = ask_server(&request).await?;

    let sealers = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST_SEALERS);
    let chunk_bytes = request.chunk_bytes as usize;
    // Base and WAL share the queue: chunks of both go out as they come.
    let (out, queue) = mpsc::channel(sealers);
    let (need, needed) = watch::channel(Need::default());
    let base = base(
        tell,
        &request,
        Cutter::new(Stream::Base, chunk_bytes, sealer.clone(), out.clone()),
        sealer.clone(),
        out.clone(),
        &need,
    );
    let cutter = Cutter::new(Stream::Wal, chunk_bytes, sealer.clone(), out);
    let wal = wal::follow(tell, &request, spool, cutter, needed, server.wal_segment_bytes);
    let listen = listen(&request, asked, &need);
    let work = async {
        let ((base, mut base_totals, mut manifest_totals), mut wal, mut sent) =
            tokio::try_join!(base, wal, send(tell, queue))?;
        check_identity(&server, &base)?;
        for totals in [&mut base_totals, &mut wal.totals, &mut manifest_totals] {
            let (chunks, bytes) = sent.remove(0);
            if totals.chunks != chunks {
                let message = format!("{chunks} chunks of {} were sent", totals.chunks);
                return Err(Failure::new(FailureKind::Damaged, message));
            }
            totals.stored_bytes = bytes;
        }
        Ok(BackupDone {
            base,
            wal_until: wal.until,
            first_segment: wal.first.to_string(),
            last_segment: wal.last.to_string(),
            wal_segment_bytes: server.wal_segment_bytes,
            server_version: server.version,
            base_totals,
            wal_totals: wal.totals,
            manifest_totals,
        })
    };
    let done = tokio::select! {
        done = work => done?,
        () = listen => return Err(Failure::new(FailureKind::System, "the backup was given up")),
    };
    tell.reply(Reply::BackupDone(Box::new(done))).await?;
    tell.trailer()
}

fn check_request(request: &BackupRequest) -> Result<Sealer, Failure> {
    let bad = |message: String| Failure::new(FailureKind::Request, message);
    let (least, most) = CHUNK_BOUNDS;
    if !(least..=most).contains(&request.chunk_bytes) {
        return Err(bad(format!("chunks of {} bytes, where {least} to {most} are allowed", request.chunk_bytes)));
    }
    if !(1..=19).contains(&request.zstd_level) {
        return Err(bad(format!("zstd level {}, where 1 to 19 are allowed", request.zstd_level)));
    }
    let recipients = Recipients::parse(&request.recipients).map_err(|error| bad(error.to_string()))?;
    Ok(Sealer::new(recipients, request.zstd_level))
}

/// Asks the server what it is, and refuses what cannot be backed up whole.
async fn ask_server(request: &BackupRequest) -> Result<ServerFacts, Failure> {
    let arguments = argv::query(&request.connection, argv::SERVER_FACTS);
    let answer = host::output("psql", &arguments, Some(&request.connection)).await?;
    let facts: ServerFacts = serde_json::from_str(answer.trim())
        .map_err(|error| Failure::new(FailureKind::Postgres, format!("psql answered oddly: {error}")))?;
    if facts.in_recovery {
        let message = format!("the server at {} is a standby", request.connection.host);
        return Err(Failure::new(FailureKind::Standby, message));
    }
    if !facts.tablespaces.is_empty() {
        let message = format!("the database has tablespaces of its own: {}", facts.tablespaces.join(", "));
        return Err(Failure::new(FailureKind::Tablespaces, message));
    }
    let (server, image) = (facts.version / 10_000, host::postgres_major().await);
    if image.is_some_and(|image| image != server) {
        let image = image.unwrap_or_default();
        let message = format!("the server is PostgreSQL {server}, the programs in the pod are of {image}");
        return Err(Failure::new(FailureKind::Postgres, message));
    }
    Ok(facts)
}

fn check_identity(server: &ServerFacts, base: &BaseDone) -> Result<(), Failure> {
    if server.system_identifier == base.system_identifier.to_string() {
        return Ok(());
    }
    let message = format!(
        "the server is database {}, the base backup is of {}",
        server.system_identifier, base.system_identifier
    );
    Err(Failure::new(FailureKind::Identity, message))
}

/// Passes on what the client says of the WAL's end. Ends only when the client is gone.
async fn listen(request: &BackupRequest, mut asked: watch::Receiver<Asked>, need: &watch::Sender<Need>) {
    if !request.wal_until_asked {
        need.send_modify(|need| need.asked = Some(None));
    }
    loop {
        let answer = *asked.borrow_and_update();
        if answer.is_some() {
            need.send_modify(|need| need.asked = answer);
        }
        if asked.changed().await.is_err() {
            return;
        }
    }
}

/// Runs `pg_basebackup`, checks and cuts its tar, and queues PostgreSQL's manifest as a chunk of its own.
async fn base(
    tell: &Tell,
    request: &BackupRequest,
    cutter: Cutter,
    sealer: Arc<Sealer>,
    out: mpsc::Sender<Outgoing>,
    need: &watch::Sender<Need>,
) -> Result<(BaseDone, StreamTotals, StreamTotals), Failure> {
    let name = "pg_basebackup";
    let arguments = argv::basebackup(&request.connection, &request.label, request.max_rate.as_deref());
    let mut child = host::command(name, &arguments, Some(&request.connection))?
        .spawn()
        .map_err(Failure::io(format!("start {name}")))?;
    let (stdout, words) = (child.stdout.take(), listen_to(&mut child, name, tell));
    let stdout = stdout.ok_or_else(|| Failure::new(FailureKind::System, format!("{name} has no output")))?;
    let starts = need.clone();
    let read = host::blocking(move || read_base(stdout, cutter, &starts)).await;
    let status = child.wait().await.map_err(Failure::io(format!("wait for {name}")))?;
    let words = words.await.unwrap_or_default();
    // Its own words say more than the broken tar that it left. But when it was this side that stopped reading, its
    // complaint about the pipe is only the echo.
    let echo = words.iter().any(|line| line.contains("Broken pipe")) || status.signal() == Some(13);
    let in_its_words = match &read {
        Ok(_) => !status.success(),
        Err(failure) => failure.kind == FailureKind::Damaged && !status.success() && !echo,
    };
    if in_its_words {
        return Err(host::died(name, status, words.iter().map(String::as_str)));
    }
    let (base, manifest, totals) = read?;
    need.send_modify(|need| need.base_end = Some(base.end));
    let gone = |_| Failure::new(FailureKind::System, "the backup was given up");
    let manifest_totals =
        StreamTotals { chunks: 1, raw_bytes: manifest.len() as u64, raw_sha256: digest(&manifest), stored_bytes: 0 };
    let sealing = tokio::task::spawn_blocking(move || sealer.seal(Stream::Manifest, 0, &manifest));
    out.send(Outgoing::Chunk(sealing)).await.map_err(gone)?;
    out.send(Outgoing::BaseDone(base.clone())).await.map_err(gone)?;
    Ok((base, totals, manifest_totals))
}

fn digest(bytes: &[u8]) -> super::protocol::Digest {
    use sha2::Digest as _;
    super::protocol::Digest(sha2::Sha256::digest(bytes).into())
}

/// Collects a program's words, and tells them as they come.
fn listen_to(child: &mut Child, name: &'static str, tell: &Tell) -> tokio::task::JoinHandle<Vec<String>> {
    let (stderr, tell) = (child.stderr.take(), tell.clone());
    tokio::spawn(async move {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            host::lines(stderr, |line| {
                tell.log(name, &line);
                words.push(line);
            })
            .await;
        }
        words
    })
}

/// Reads the tar to its end on a thread of its own.
fn read_base(
    stdout: ChildStdout,
    mut cutter: Cutter,
    need: &watch::Sender<Need>,
) -> Result<(BaseDone, Vec<u8>, StreamTotals), Failure> {
    let mut pipe = File::from(stdout.into_owned_fd().map_err(Failure::io("read from pg_basebackup"))?);
    let (mut reader, mut check) = (tarball::Reader::new("the base backup"), BaseCheck::default());
    let mut label_seen = false;
    loop {
        let count = cutter.fill(|buffer, room| {
            let before = buffer.len();
            let most = room.min(READ) as u64;
            (&mut pipe).take(most).read_to_end(buffer).map_err(Failure::io("read from pg_basebackup"))?;
            reader.push(&buffer[before..], &mut check)
        })?;
        if count == 0 {
            break;
        }
        if !label_seen && let Some(label) = check.label()? {
            label_seen = true;
            need.send_modify(|need| need.start = Some((label.start, label.timeline)));
        }
    }
    reader.finish()?;
    let (base, manifest) = check.finish()?;
    Ok((base, manifest, cutter.finish()?))
}

/// Sends what is queued, in order. Returns chunks and stored bytes of base, WAL and manifest.
async fn send(tell: &Tell, mut queue: mpsc::Receiver<Outgoing>) -> Result<Vec<(u32, u64)>, Failure> {
    let mut sent = vec![(0, 0); 3];
    while let Some(next) = queue.recv().await {
        let chunk: SealedChunk = match next {
            Outgoing::BaseDone(base) => {
                tell.reply(Reply::BaseDone(base)).await?;
                continue;
            }
            Outgoing::Chunk(sealing) => match sealing.await {
                Ok(sealed) => sealed?,
                Err(error) => return Err(Failure::new(FailureKind::System, format!("seal a chunk: {error}"))),
            },
        };
        let place = match chunk.head.stream {
            Stream::Base => 0,
            Stream::Wal => 1,
            Stream::Manifest => 2,
        };
        sent[place].0 += 1;
        sent[place].1 += chunk.head.stored_bytes;
        tell.reply(Reply::Chunk(chunk.head)).await?;
        tell.data(chunk.stored).await?;
    }
    Ok(sent)
}
