//! `pg_basebackup`: its tar is checked while it is cut into chunks.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;

use tokio::process::{Child, ChildStdout};
use tokio::sync::watch;

use super::chunks::{ChunkCutter, Cut};
use super::wal::WalNeed;
use crate::agent::host;
use crate::agent::protocol::{BackupRequest, BaseDone, Failure, FailureKind};
use crate::agent::replies::ReplySender;
use crate::postgres::argv;
use crate::postgres::basebackup::{BaseBackup, BaseCheck};
use crate::ustar::TarReader;

const PROGRAM: &str = "pg_basebackup";

/// What the client is told of a base backup.
pub fn done(base: &BaseBackup) -> BaseDone {
    BaseDone {
        start: base.manifest.start,
        end: base.manifest.end,
        timeline: base.manifest.timeline,
        system_identifier: base.system_identifier,
        files: base.manifest.files.len() as u64,
    }
}

/// Runs `pg_basebackup`, checks and cuts its tar, and queues PostgreSQL's manifest as a chunk of its own. Returns the
/// backup and the length of its tar.
///
/// # Errors
/// In the program's own words where it has failed; else what is wrong with what it wrote.
pub async fn read(
    replies: &ReplySender,
    request: &BackupRequest,
    cutter: ChunkCutter,
    need: &watch::Sender<WalNeed>,
) -> Result<(BaseBackup, u64), Failure> {
    let queue = cutter.queue();
    let arguments = argv::basebackup(&request.connection, &request.label, request.max_rate.as_deref());
    let mut child = host::command(PROGRAM, &arguments, Some(&request.connection))?
        .spawn()
        .map_err(Failure::io(format!("start {PROGRAM}")))?;
    let (stdout, words) = (child.stdout.take(), listen_to(&mut child, replies));
    let stdout = stdout.ok_or_else(|| Failure::new(FailureKind::System, format!("{PROGRAM} has no output")))?;
    let starts = need.clone();
    let read = host::blocking(move || read_tar(stdout, cutter, &starts)).await;
    let status = child.wait().await.map_err(Failure::io(format!("wait for {PROGRAM}")))?;
    let words = words.await.unwrap_or_default();
    // Its own words say more than the broken tar that it left. But when it was this side that stopped reading, its
    // complaint about the pipe is only the echo.
    let echo = words.iter().any(|line| line.contains("Broken pipe")) || status.signal() == Some(13);
    let in_its_words = match &read {
        Ok(_) => !status.success(),
        Err(failure) => failure.kind == FailureKind::Damaged && !status.success() && !echo,
    };
    if in_its_words {
        return Err(host::died(PROGRAM, status, words.iter().map(String::as_str)));
    }
    let (base, bytes) = read?;
    need.send_modify(|need| need.base_end = Some(base.manifest.end));
    for job in [Cut::manifest(&base.manifest_bytes), Cut::BaseDone(done(&base))] {
        queue.send(job).await.map_err(|_| Failure::given_up("the backup"))?;
    }
    Ok((base, bytes))
}

/// Collects the program's words, and passes them on as they come.
fn listen_to(child: &mut Child, replies: &ReplySender) -> tokio::task::JoinHandle<Vec<String>> {
    let (stderr, replies) = (child.stderr.take(), replies.clone());
    tokio::spawn(async move {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            host::lines(stderr, |line| {
                replies.log(PROGRAM, &line);
                words.push(line);
            })
            .await;
        }
        words
    })
}

/// Reads the tar to its end. To be used on a thread that may block.
fn read_tar(
    stdout: ChildStdout,
    mut cutter: ChunkCutter,
    need: &watch::Sender<WalNeed>,
) -> Result<(BaseBackup, u64), Failure> {
    let mut pipe = File::from(stdout.into_owned_fd().map_err(Failure::io(format!("read from {PROGRAM}")))?);
    let (mut reader, mut check) = (TarReader::new("the base backup"), BaseCheck::default());
    let mut label_seen = false;
    while let Some(piece) = cutter.read(&mut pipe, PROGRAM)? {
        reader.push(piece, &mut check)?;
        if !label_seen && let Some(label) = check.label()? {
            label_seen = true;
            let timeline = label.timeline.ok_or_else(|| {
                Failure::new(FailureKind::Damaged, "the base backup's label does not say its timeline")
            })?;
            need.send_modify(|need| need.start = Some((label.start, timeline)));
        }
    }
    reader.finish()?;
    Ok((check.finish(None)?, cutter.finish()?))
}
