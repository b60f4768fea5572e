//! Short commands in a pod, with a verdict that was really given. Long streams go through `transport`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::error::{ClusterError, Result};
use super::kube::Cluster;
use crate::trace::{self, CallKind};

/// The library's own buffers are 1 KiB, which makes every kilobyte a wake-up.
const BUFFER: usize = 256 * 1024;
/// A short command that writes more than this is not a short command.
const MOST_OUTPUT: u64 = 32 * 1024 * 1024;

/// How a command in a pod ended, and what it wrote.
#[derive(Clone, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit: i32,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr; bytes that are no text are replaced.
    pub stderr: String,
}

impl std::fmt::Debug for ExecOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}, {} bytes of stdout, stderr {:?}", self.exit, self.stdout.len(), self.stderr)
    }
}

/// When the command's stdin is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdin {
    /// After the last byte. Needs a server of 1.30 or later: on an older one this ends the whole session.
    CloseAfter,
    /// When the command has ended by itself: for programs that are told to end in their input.
    KeepOpen,
}

impl Cluster {
    /// Runs a command in a pod's container and waits for it to end. Any exit code is an answer, not an error.
    ///
    /// The container has to be named: what a site puts beside it may stand first, and a pod of several whose default is not
    /// among them is refused. `stdin` goes to the command, never to its argument list. Exec can lose the end of a long output and still say
    /// 0, so what matters must carry a mark of its own end (as [`Cluster::psql`] does).
    ///
    /// # Errors
    /// The session cannot be opened, breaks off before the verdict, lasts longer than `limit`, or the command writes
    /// more than 32 MiB.
    pub async fn exec(
        &self,
        pod: &str,
        container: &str,
        command: &[&str],
        stdin: Option<&[u8]>,
        limit: Duration,
    ) -> Result<ExecOutput> {
        let what = format!("{} in pod {pod}", program(command));
        let run = self.exec_with(pod, container, command, stdin, Stdin::CloseAfter, limit);
        let judge = |output: &ExecOutput| (output.exit != 0).then(|| format!("exit code {}", output.exit));
        trace::call_judged(CallKind::Exec, what, run, judge).await
    }

    /// Runs a command and returns its stdout, taking any exit code but 0 for a failure.
    ///
    /// # Errors
    /// As [`Cluster::exec`], and [`ClusterError::Command`] with the end of stderr.
    pub async fn exec_ok(
        &self,
        pod: &str,
        container: &str,
        command: &[&str],
        stdin: Option<&[u8]>,
        limit: Duration,
    ) -> Result<Vec<u8>> {
        let output = self.exec(pod, container, command, stdin, limit).await?;
        match output.exit {
            0 => Ok(output.stdout),
            exit => Err(ClusterError::Command {
                pod: pod.into(),
                command: program(command),
                exit,
                stderr: last_words(&output.stderr),
            }),
        }
    }

    pub(super) async fn exec_with(
        &self,
        pod: &str,
        container: &str,
        command: &[&str],
        stdin: Option<&[u8]>,
        close: Stdin,
        limit: Duration,
    ) -> Result<ExecOutput> {
        let params = AttachParams::default()
            .container(container)
            .stdin(stdin.is_some())
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        let pods = self.here::<Pod>();
        // A WebSocket begins with a GET, so this is the verb that the rules see; from Kubernetes 1.35 on also `create`.
        let ask = pods.ask("get", Some(pod)).of_part("exec");
        let process = self.ask(ask, pods.api.exec(pod, command.iter().copied(), &params)).await?;
        let broken = |cause: String| ClusterError::Session { pod: pod.into(), command: program(command), cause };
        match tokio::time::timeout(limit, attend(process, stdin, close)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(cause)) => Err(broken(cause)),
            Err(_) => Err(broken(format!("no verdict in {}", super::error::show_duration(limit)))),
        }
    }
}

/// Feeds and drains all streams at once: one task of the library serves them all, so a stream left full stalls the rest.
async fn attend(mut process: AttachedProcess, input: Option<&[u8]>, close: Stdin) -> Result<ExecOutput, String> {
    let gone = || "the session has no such stream".to_owned();
    let verdict = process.take_status().ok_or_else(gone)?;
    let stdout = process.stdout().ok_or_else(gone)?;
    let stderr = process.stderr().ok_or_else(gone)?;
    let stdin = process.stdin();
    let feed = async {
        let mut open = None;
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command may end without reading all of its input; what counts is its exit code.
            let _ = stdin.write_all(input).await;
            match close {
                Stdin::CloseAfter => drop(stdin.shutdown().await),
                Stdin::KeepOpen => open = Some(stdin),
            }
        }
        Ok(open)
    };
    // The open end is held until everything has been read.
    let (open, out, err) = tokio::try_join!(feed, drain(stdout), drain(stderr))?;
    let status = verdict.await;
    drop(open);
    let exit = match status {
        Some(status) => exit_code(&status)?,
        None => return Err("it ended without saying how the command went".into()),
    };
    Ok(ExecOutput { exit, stdout: out, stderr: String::from_utf8_lossy(&err).into_owned() })
}

async fn drain(stream: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = stream.take(MOST_OUTPUT + 1).read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
    if read as u64 > MOST_OUTPUT {
        return Err(format!("the command wrote more than {} MiB", MOST_OUTPUT >> 20));
    }
    Ok(bytes)
}

/// Reads the verdict. `NonZeroExitCode` carries the code as the cause `ExitCode`; any other failure means that the
/// command did not run to its end. After the remote command protocol v4 and later of Kubernetes.
fn exit_code(status: &Status) -> Result<i32, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().filter_map(|details| details.causes.as_ref()).flatten();
    let code = causes
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_deref()?.parse().ok());
    match code {
        Some(code) if status.reason.as_deref() == Some("NonZeroExitCode") => Ok(code),
        _ => Err(status.message.clone().unwrap_or_else(|| "the node gives no reason".into())),
    }
}

pub(super) fn program(command: &[&str]) -> String {
    command.first().map_or_else(String::new, |program| (*program).to_owned())
}

/// The end of what a program wrote to stderr, on one line.
pub(super) fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_verdict_holds_the_exit_code() {
        assert_eq!(exit_code(&status(serde_json::json!({"status": "Success", "metadata": {}}))), Ok(0));
        let failure = serde_json::json!({
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": "command terminated with non-zero exit code: exit status 3",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        });
        assert_eq!(exit_code(&status(failure)), Ok(3));
    }

    #[test]
    fn a_command_that_never_ran_has_no_exit_code() {
        let failure =
            serde_json::json!({"status": "Failure", "reason": "InternalError", "message": "container not found"});
        assert_eq!(exit_code(&status(failure)), Err("container not found".into()));
    }

    #[test]
    fn the_last_words_are_the_last_lines_on_one() {
        assert_eq!(last_words("a\n\nb\nc\nd\n"), "b / c / d");
        assert_eq!(last_words(""), "");
    }
}
