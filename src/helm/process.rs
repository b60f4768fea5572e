//! Running helm: how it is started, fed, listened to and stopped.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::dump::Dump;
use super::error::HelmError;
use super::parse;
use crate::event::{Event, Events};
use crate::read;
use crate::text;
use crate::trace::{self, CallKind};
use crate::values::Secrets;

/// How many of its last lines are kept to explain a failure.
const KEPT_LINES: usize = 200;
/// The most that helm may answer: a release is smaller than its Secret, packed, may be.
const LONGEST_ANSWER: u64 = 256 << 20;
/// The longest line of prose that is read. What follows is left out: a secret cut in two would not be known.
const READ_LINE: u64 = 1 << 20;
/// The longest line of prose that is passed on.
const LONGEST_LINE: usize = 16 * 1024;

/// Who hears what helm says, and when it is to stop.
pub(super) struct Listener<'a> {
    pub secrets: &'a Secrets,
    /// Is told helm's process as soon as it runs.
    pub begun: Option<&'a (dyn Fn(u32) + Sync)>,
    /// Lines go here; without it stdout is data, and kept whole.
    pub events: Option<&'a Events>,
    pub cancel: Option<&'a CancellationToken>,
    pub limit: Duration,
}

impl<'a> Listener<'a> {
    /// For a short question.
    pub(super) fn deaf(secrets: &'a Secrets) -> Self {
        Self { secrets, begun: None, events: None, cancel: None, limit: Duration::from_secs(120) }
    }
}

/// What helm said.
pub(super) struct Said {
    /// Whole where it is data; scrubbed last lines where it is prose.
    pub stdout: String,
    /// Scrubbed last lines.
    pub stderr: String,
}

/// The absolute path of a program, so that what was found is what is run.
pub(super) fn absolute(binary: &Path) -> Result<PathBuf, HelmError> {
    let missing = || HelmError::Missing { binary: binary.display().to_string() };
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let found = if binary.components().count() > 1 {
        Some(binary.to_owned()).filter(is_program)
    } else {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).map(|folder| folder.join(binary)).find(is_program)
    };
    std::path::absolute(found.ok_or_else(missing)?).map_err(|_| missing())
}

/// The one place where helm is started.
pub(super) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // HELM_DEBUG prints every secret; the others would overrule the flags that name the install. Ours are none of
        // helm's business. All else stays: credential plugins of a kubeconfig need it.
        let overrules = text == "HELM_DEBUG" || text == "HELM_NAMESPACE" || text.starts_with("HELM_KUBE");
        if overrules || text.starts_with("DR_") {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A process group of its own: Ctrl-C reaches helm through us, once.
    command.process_group(0);
    command
}

/// The processes of this host that have all of these words among their arguments, and change something. A dead one has
/// no arguments any more.
pub(super) fn running(words: &[&str]) -> Vec<u32> {
    let Ok(folders) = std::fs::read_dir("/proc") else { return Vec::new() };
    let processes = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    let has_all = |process: &u32| {
        let Ok(line) = read::file(&PathBuf::from(format!("/proc/{process}/cmdline")), read::VALUES) else {
            return false;
        };
        let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let renders = arguments.iter().any(|argument| argument.starts_with(b"--dry-run"));
        !renders && words.iter().all(|word| arguments.contains(&word.as_bytes()))
    };
    processes.filter(has_all).collect()
}

/// Runs helm to its end: gives it its stdin, hears both outputs at once, stops it when asked.
pub(super) async fn run(
    command: Command,
    verb: &str,
    stdin: Option<&[u8]>,
    listener: &Listener<'_>,
) -> Result<Said, HelmError> {
    let what = format!("helm {}", words(&command, verb));
    trace::call(CallKind::Helm, what, run_to_end(command, verb, stdin, listener)).await
}

/// What tells one call from the next: of `get` and `show` the second word, and whether it only renders.
fn words(command: &Command, verb: &str) -> String {
    let mut arguments = command.as_std().get_args().filter_map(|argument| argument.to_str());
    match verb {
        "get" | "show" => {
            let what = ["values", "manifest", "hooks", "metadata", "chart"];
            arguments.find(|argument| what.contains(argument)).map_or(verb.to_owned(), |what| format!("{verb} {what}"))
        }
        _ if arguments.any(|argument| argument.starts_with("--dry-run")) => format!("{verb} (dry run)"),
        _ => verb.to_owned(),
    }
}

async fn run_to_end(
    mut command: Command,
    verb: &str,
    stdin: Option<&[u8]>,
    listener: &Listener<'_>,
) -> Result<Said, HelmError> {
    let io = |source| HelmError::Io { act: format!("talk to helm {verb}"), source };
    if let Some(bytes) = stdin {
        command.stdin(whole(bytes).map_err(io)?);
    }
    let binary = command.as_std().get_program().to_string_lossy().into_owned();
    // What only asks may die with whoever asked; what changes something is never killed.
    command.kill_on_drop(listener.cancel.is_none());
    let mut child = command.spawn().map_err(|source| HelmError::Start { binary, source })?;
    if let (Some(begun), Some(process)) = (listener.begun, child.id()) {
        begun(process);
    }
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let prose = listener.events.is_some();
    let hear_out = async {
        match out {
            Some(out) if prose => hear(out, listener).await,
            Some(mut out) => {
                let mut whole = Vec::new();
                (&mut out).take(LONGEST_ANSWER + 1).read_to_end(&mut whole).await?;
                if whole.len() as u64 > LONGEST_ANSWER {
                    return Err(std::io::Error::other(format!("it said more than {}", text::bytes(LONGEST_ANSWER))));
                }
                Ok(String::from_utf8_lossy(&whole).into_owned())
            }
            None => Ok(String::new()),
        }
    };
    let hear_err = async {
        match err {
            Some(err) => hear(err, listener).await,
            None => Ok(String::new()),
        }
    };
    let ended = wait(&mut child, listener);
    let (stdout, stderr, (status, stopped)) = tokio::try_join!(hear_out, hear_err, ended).map_err(io)?;
    if status.success() {
        return Ok(Said { stdout, stderr });
    }
    Err(match stopped {
        Some(Stop::Asked) => HelmError::Stopped { verb: verb.to_owned() },
        Some(Stop::Late) => HelmError::TimedOut { verb: verb.to_owned(), seconds: listener.limit.as_secs() },
        None => {
            let said = match status.signal() {
                Some(signal) => format!("it was killed by signal {signal}"),
                None => listener.secrets.scrub(&error_of(&stderr)).into_owned(),
            };
            let verb = verb.to_owned();
            match parse::refused_right(&said) {
                Some(right) => HelmError::Forbidden { verb, right },
                None => HelmError::Failed { verb, said },
            }
        }
    })
}

/// A stdin that holds all of `bytes`, in memory. Of a pipe, helm would take what it has got by then for the whole when the
/// process that writes dies: half of some values are values, too.
fn whole(bytes: &[u8]) -> std::io::Result<Stdio> {
    let mut file = File::from(rustix::fs::memfd_create("values", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

enum Stop {
    Asked,
    Late,
}

/// Waits for the end; asks for it with TERM when the operator does, or when the limit is over. Never kills.
async fn wait(child: &mut Child, listener: &Listener<'_>) -> std::io::Result<(std::process::ExitStatus, Option<Stop>)> {
    let asked = async {
        match listener.cancel {
            Some(cancel) => cancel.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let stop = tokio::select! {
        status = child.wait() => return status.map(|status| (status, None)),
        () = asked => Stop::Asked,
        () = tokio::time::sleep(listener.limit) => Stop::Late,
    };
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) {
        // Gone already is well.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if let Some(events) = listener.events {
        events.waiting("helm to stop and mark the release", None);
    }
    child.wait().await.map(|status| (status, Some(stop)))
}

/// Reads lines, scrubs each before anything else sees it, passes it on, and keeps the last ones.
async fn hear(from: impl AsyncRead + Unpin, listener: &Listener<'_>) -> std::io::Result<String> {
    let mut reader = BufReader::new(from);
    let mut kept: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    let mut line = Vec::new();
    let mut dump = Dump::default();
    loop {
        line.clear();
        let ended = (&mut reader).take(READ_LINE).read_until(b'\n', &mut line).await? == 0;
        let mut rest = line.len() as u64 == READ_LINE && line.last() != Some(&b'\n');
        while rest {
            let more = reader.fill_buf().await?;
            let end = more.iter().position(|byte| *byte == b'\n');
            rest = end.is_none() && !more.is_empty();
            let skipped = end.map_or(more.len(), |end| end + 1);
            reader.consume(skipped);
        }
        let passed = if ended { dump.end() } else { dump.pass(line.trim_ascii_end()) };
        for line in passed {
            let mut text = listener.secrets.scrub(&line).into_owned();
            if let Some((cut, _)) = text.char_indices().nth(LONGEST_LINE) {
                text.truncate(cut);
            }
            if let Some(events) = listener.events
                && !text.is_empty()
            {
                events.emit(Event::Log { source: "helm".into(), line: text.clone() });
            }
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(text);
        }
        if ended {
            break;
        }
    }
    Ok(Vec::from(kept).join("\n"))
}

/// helm's own error: what stands from the line `Error: ...` on; all that it said where there is none.
pub(super) fn error_of(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.iter().position(|line| line.starts_with("Error: "));
    let text = match from {
        Some(from) => lines[from..].join("\n"),
        None => lines.join("\n"),
    };
    let text = text.strip_prefix("Error: ").unwrap_or(&text).trim().to_owned();
    if text.is_empty() { "it said nothing".into() } else { text }
}
