//! Copies this program into a helper pod, where it becomes the agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::agent::{Agent, Patience};
use super::dial::AgentSession;
use super::error::{Result, TransportError};
use super::exec;
use super::pod::ExecDial;
use crate::cluster::error::innermost;
use crate::cluster::pod::AGENT;
use crate::event::Events;
use crate::read;
use crate::trace::{self, CallKind};
use crate::wire::Limits;

/// How often the copy is tried.
const ATTEMPTS: u32 = 4;
/// How long one copy may take.
const COPY: Duration = Duration::from_secs(180);

/// The running program's own file.
///
/// # Errors
/// When the system does not say, or the file cannot run in a pod.
pub fn own_binary() -> Result<PathBuf> {
    let path = std::env::current_exe()
        .map_err(|error| TransportError::Binary { path: "the running program".into(), reason: error.to_string() })?;
    check_binary(&path)?;
    Ok(path)
}

/// Checks that a file is a static program for this machine's architecture: a helper pod has no libraries of ours.
///
/// # Errors
/// `Binary` with the reason.
pub fn check_binary(path: &Path) -> Result<()> {
    let wrong = |reason: String| TransportError::Binary { path: path.display().to_string(), reason };
    let bytes = read::file(path, read::PROGRAM).map_err(|error| wrong(error.to_string()))?;
    match is_static_elf(&bytes) {
        Ok(()) => Ok(()),
        Err(reason) => Err(wrong(reason.into())),
    }
}

/// Reads an ELF header (64 bit, little-endian) and its program headers, as `elf.h` describes them.
fn is_static_elf(bytes: &[u8]) -> std::result::Result<(), &'static str> {
    const PT_INTERP: u64 = 3;
    let cut = "it is cut off";
    let number = |at: usize, len: usize| {
        let field = bytes.get(at..at + len).ok_or(cut)?;
        Ok::<u64, &str>(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Err("it is no 64-bit ELF program");
    }
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for place in 0..count {
        let at = usize::try_from(table + place * entry).map_err(|_| cut)?;
        if number(at, 4)? == PT_INTERP {
            return Err("it is not static: it needs the libraries of the system that it was built for");
        }
    }
    Ok(())
}

impl Agent {
    /// Copies `binary` into a pod that waits for it, verifies it there, and attaches to the agent that it becomes.
    /// Safe to repeat: a pod that has it already is only attached to.
    ///
    /// # Errors
    /// When the file cannot run in a pod, or the copy does not arrive whole.
    pub async fn install(
        pods: Api<Pod>,
        pod: &str,
        binary: &Path,
        run: &str,
        limits: Limits,
        events: Events,
    ) -> Result<Self> {
        check_binary(binary)?;
        let bytes = read::file(binary, read::PROGRAM).map_err(|error| TransportError::Binary {
            path: binary.display().to_string(),
            reason: error.to_string(),
        })?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let mut cause = String::new();
        for attempt in 1..=ATTEMPTS {
            let copying = copy(&pods, pod, &bytes, &digest);
            match trace::call(CallKind::Exec, format!("copy dr into pod {pod}"), copying).await {
                Ok(()) => {
                    let dial = ExecDial::new(pods, pod);
                    return Ok(Self::over(dial, run, limits, Patience::default(), events));
                }
                Err(error) => cause = error,
            }
            if attempt < ATTEMPTS {
                events.warn(format!("copying dr into pod {pod} failed and is tried again: {cause}"), None);
                tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
            }
        }
        Err(TransportError::Install { pod: pod.to_owned(), cause })
    }
}

/// What the pod says when the program is in place. An exit code is no proof, and the end of stdin may never arrive:
/// the length is given, and the sum is made in the pod from what lies there.
const PLACED: &str = "dr-is-in-place";
/// What it says when it has to be sent.
const SEND: &str = "dr-is-wanted";

async fn copy(pods: &Api<Pod>, pod: &str, bytes: &[u8], digest: &str) -> std::result::Result<(), String> {
    // Length and sum are ours; nothing of the operator's enters the script.
    let script = format!(
        "set -e; if [ ! -x {AGENT} ]; then echo {SEND}; head -c {length} > {AGENT}.tmp; \
         echo '{digest}  {AGENT}.tmp' | sha256sum -c - >/dev/null; chmod 0755 {AGENT}.tmp; mv {AGENT}.tmp {AGENT}; fi; \
         echo '{digest}  {AGENT}' | sha256sum -c - >/dev/null; echo {PLACED}",
        length = bytes.len()
    );
    let work = async {
        let opened = exec::open(pods, pod, &["/bin/sh", "-c", &script]).await;
        let AgentSession { reader: mut stdout, writer: mut stdin, words } =
            opened.map_err(|error| innermost(&error))?;
        let (ask, asked) = tokio::sync::oneshot::channel();
        let mut ask = Some(ask);
        let listen = async {
            let mut said = String::new();
            let mut piece = [0; 256];
            while !said.contains(PLACED) {
                match stdout.read(&mut piece).await {
                    Ok(0) => return Err("the session ended before the copy was whole".to_owned()),
                    Ok(count) => said.push_str(&String::from_utf8_lossy(&piece[..count])),
                    Err(error) => return Err(error.to_string()),
                }
                if said.contains(SEND)
                    && let Some(ask) = ask.take()
                {
                    let _ = ask.send(());
                }
            }
            Ok(())
        };
        let feed = async {
            // Bytes that nobody reads would fill the session until it carries nothing any more, its answer included.
            let _ = asked.await;
            let _ = stdin.write_all(bytes).await;
            let _ = stdin.flush().await;
            // Held open: closing it may end the session before the answer comes.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            heard = listen => heard.map_err(|said: String| words.last().unwrap_or(said)),
            () = feed => Err("the session ended".to_owned()),
        }
    };
    tokio::time::timeout(COPY, work).await.unwrap_or_else(|_| Err(format!("it took longer than {} s", COPY.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_static_and_the_systems_shell_is_not() {
        check_binary(&std::env::current_exe().unwrap()).unwrap();
        let error = check_binary(Path::new("/bin/sh")).unwrap_err().to_string();
        assert!(error.contains("not static"), "{error}");
        let error = check_binary(Path::new("/etc/passwd")).unwrap_err().to_string();
        assert!(error.contains("no 64-bit ELF"), "{error}");
    }

    #[test]
    fn a_cut_header_is_refused() {
        let bytes = std::fs::read("/bin/sh").unwrap();
        assert!(is_static_elf(&bytes[..60]).is_err());
        assert!(is_static_elf(&bytes[..80]).is_err());
    }
}
