//! What the agent finds around it: folders of the pod, and PostgreSQL's programs.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::task::JoinError;

use super::protocol::{Failure, FailureKind};
use crate::postgres::argv::{self, Connection};

/// Where things are in the pod.
#[derive(Debug, Clone)]
pub struct PodFiles {
    /// Where WAL waits until it is sealed: memory, so that it never lies on a disk in clear.
    pub spool: PathBuf,
    /// Where sealed WAL waits until it is sent: the pod's disk, where it has such a folder.
    pub backlog: PathBuf,
    /// Where the data volume is mounted, in a recovery pod.
    pub volume: PathBuf,
    /// The name of the data directory below it.
    pub pgdata: String,
    /// Where the volume of another claim is mounted, in a volume pod.
    pub claimed: PathBuf,
    /// Why the pod's watchdog cannot act, where it is one and cannot.
    pub watchdog_fails: Option<String>,
}

impl Default for PodFiles {
    fn default() -> Self {
        let volume = "/var/lib/postgresql/data".into();
        Self {
            spool: "/spool".into(),
            backlog: "/backlog".into(),
            volume,
            pgdata: "pgdata".into(),
            claimed: "/volume".into(),
            watchdog_fails: None,
        }
    }
}

/// Finds a program of PostgreSQL: on `PATH`, or where Debian's packages put it (the newest).
///
/// # Errors
/// Names the program.
pub fn program(name: &str) -> Result<PathBuf, Failure> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&on_path).map(|folder| folder.join(name)).find(|file| file.is_file()) {
        return Ok(found);
    }
    let version = |entry: &PathBuf| entry.file_name()?.to_str()?.parse::<u32>().ok();
    std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("bin").join(name).is_file())
        .max_by_key(version)
        .map(|folder| folder.join("bin").join(name))
        .ok_or_else(|| Failure::new(FailureKind::Postgres, format!("{name} is not in the pod's image")))
}

/// A program ready to be started: no stdin, stable words, killed when dropped.
///
/// # Errors
/// When it is not there.
pub fn command(name: &str, arguments: &[String], connection: Option<&Connection>) -> Result<Command, Failure> {
    let mut command = Command::new(program(name)?);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.envs(connection.map(Connection::environment).unwrap_or_default());
    Ok(command)
}

/// What a short program prints.
///
/// # Errors
/// With its last words, when it fails.
pub async fn output(name: &str, arguments: &[String], connection: Option<&Connection>) -> Result<String, Failure> {
    let output = command(name, arguments, connection)?.output().await.map_err(Failure::io(format!("start {name}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(died(name, output.status, words.lines()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How the server's warning of a damaged page begins.
const PAGE: &str = "checksum verification failed in file ";
/// How many of a program's lines are quoted.
const QUOTED: usize = 4;

/// The failure of a program, with its last words; what the server has found of damaged pages comes before them.
pub fn died<'a>(name: &str, status: std::process::ExitStatus, words: impl Iterator<Item = &'a str>) -> Failure {
    let all: Vec<&str> = words.map(str::trim).filter(|line| !line.is_empty()).collect();
    let pages: Vec<&str> = all.iter().filter_map(|line| line.find(PAGE).map(|begin| &line[begin..])).collect();
    if !pages.is_empty() {
        let more = if pages.len() > QUOTED { "; and more" } else { "" };
        let quoted = pages[..pages.len().min(QUOTED)].join("; ");
        return Failure::new(FailureKind::Pages, format!("{name} found damaged pages: {quoted}{more}"));
    }
    // `pg_basebackup: error: could not send ...`, `FATAL:  terminating connection ...`
    let complaint = |line: &&str| ["error", "ERROR", "FATAL", "PANIC"].iter().any(|word| line.contains(word));
    let mut last: Vec<&str> = all.iter().copied().filter(complaint).collect();
    if last.is_empty() {
        last = all;
    }
    last.drain(..last.len().saturating_sub(QUOTED));
    let prefix = format!("{name}: ");
    let last: Vec<&str> = last.iter().map(|line| line.strip_prefix(&prefix).unwrap_or(line)).collect();
    let how = if last.is_empty() { status.to_string() } else { last.join("; ") };
    let full = how.contains("No space left on device");
    Failure::new(if full { FailureKind::Space } else { FailureKind::Postgres }, format!("{name} failed: {how}"))
}

/// Passes each line of a program's stderr to `each`, until its end.
pub async fn lines(stream: impl AsyncRead + Unpin, mut each: impl FnMut(String)) {
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.is_empty() {
            each(line);
        }
    }
}

/// The major version of the PostgreSQL programs at hand.
pub async fn postgres_major() -> Option<u32> {
    argv::major_version(&output("pg_controldata", &["--version".to_owned()], None).await.ok()?)
}

/// Runs `work` on a thread that may block.
///
/// # Errors
/// Those of `work`.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(stopped(&error)),
    }
}

/// The failure of a thread that has panicked.
pub fn stopped(error: &JoinError) -> Failure {
    Failure::new(FailureKind::System, format!("the agent stopped in the middle: {error}"))
}
