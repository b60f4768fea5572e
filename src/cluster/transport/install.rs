//! Copies this program into a helper pod, where it becomes the agent.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::agent::{Agent, Patience};
use super::dial::AgentSession;
use super::error::{Result, TransportError};
use super::exec;
use super::pod::ExecDial;
use crate::cluster::error::innermost;
use crate::cluster::pod::AGENT;
use crate::event::Events;
use crate::trace::{self, CallKind};
use crate::wire::Limits;

/// How often the copy is tried.
const ATTEMPTS: u32 = 4;
/// How long one copy may take.
const COPY: Duration = Duration::from_secs(180);

/// How much of a program is looked at and sent at once: all of it would be most of the memory that `dr` ever has.
const PIECE: usize = 256 << 10;

/// The running program's own file.
///
/// # Errors
/// When the system does not say.
pub fn own_binary() -> Result<PathBuf> {
    std::env::current_exe()
        .map_err(|error| TransportError::Binary { path: "the running program".into(), reason: error.to_string() })
}

/// A static program for this machine's architecture: a helper pod has no libraries of ours.
struct Program {
    file: File,
    length: u64,
    /// Its SHA-256, as hex.
    digest: String,
}

impl Program {
    /// # Errors
    /// `Binary` with the reason.
    fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: String| TransportError::Binary { path: path.display().to_string(), reason };
        let unreadable = |error: std::io::Error| wrong(error.to_string());
        let mut file = File::open(path).map_err(unreadable)?;
        let mut head = Vec::new();
        (&file).take(PIECE as u64).read_to_end(&mut head).map_err(unreadable)?;
        is_static_elf(&head).map_err(|reason| wrong(reason.into()))?;
        let mut digest = Sha256::new();
        file.rewind().map_err(unreadable)?;
        let length = std::io::copy(&mut file, &mut digest).map_err(unreadable)?;
        Ok(Self { file, length, digest: hex::encode(digest.finalize()) })
    }

    async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let mut file = tokio::fs::File::from_std(self.file.try_clone()?);
        file.rewind().await?;
        tokio::io::copy_buf(&mut BufReader::with_capacity(PIECE, file), to).await?;
        to.flush().await
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
        let program = Program::open(binary)?;
        let mut cause = String::new();
        for attempt in 1..=ATTEMPTS {
            let copying = copy(&pods, pod, &program);
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

async fn copy(pods: &Api<Pod>, pod: &str, program: &Program) -> std::result::Result<(), String> {
    let Program { length, digest, .. } = program;
    // Length and sum are ours; nothing of the operator's enters the script.
    let script = format!(
        "set -e; if [ ! -x {AGENT} ]; then echo {SEND}; head -c {length} > {AGENT}.tmp; \
         echo '{digest}  {AGENT}.tmp' | sha256sum -c - >/dev/null; chmod 0755 {AGENT}.tmp; mv {AGENT}.tmp {AGENT}; fi; \
         echo '{digest}  {AGENT}' | sha256sum -c - >/dev/null; echo {PLACED}"
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
            let _ = program.send(&mut stdin).await;
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

    fn refused(path: &str) -> String {
        Program::open(Path::new(path)).err().unwrap().to_string()
    }

    #[tokio::test]
    async fn this_very_program_is_static_and_sent_whole_and_the_systems_shell_is_not() {
        let own = std::env::current_exe().unwrap();
        let program = Program::open(&own).unwrap();
        for _ in 0..2 {
            let mut sent = Vec::new();
            program.send(&mut sent).await.unwrap();
            assert_eq!(
                (sent.len() as u64, hex::encode(Sha256::digest(&sent))),
                (program.length, program.digest.clone())
            );
        }
        let error = refused("/bin/sh");
        assert!(error.contains("not static"), "{error}");
        let error = refused("/etc/passwd");
        assert!(error.contains("no 64-bit ELF"), "{error}");
        assert!(refused("/etc").contains("directory"));
    }

    #[test]
    fn a_cut_header_is_refused() {
        let bytes = std::fs::read("/bin/sh").unwrap();
        assert!(is_static_elf(&bytes[..60]).is_err());
        assert!(is_static_elf(&bytes[..80]).is_err());
    }
}
