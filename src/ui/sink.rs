//! The ways out that do not go through a [`Ui`](super::Ui): the trace and the last words of a panic. Both are masked.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use super::{Output, escape, say};
use crate::error::{CommandError, Exit, Result};
use crate::values::Secrets;

/// Begins to trace to stderr: `dr` itself at 2, the Kubernetes client too at 3 and more. Nothing below 2.
///
/// # Errors
/// Somebody traces already.
pub fn trace_to_stderr(verbose: u8, secrets: Secrets) -> Result<()> {
    let level = match verbose {
        0 | 1 => return Ok(()),
        2 => "dr=debug",
        _ => "dr=trace,kube=debug",
    };
    tracing_subscriber::fmt()
        // Colour between a key and its value would hide the one from the other.
        .with_ansi(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(Masked(secrets))
        .try_init()
        .map_err(|e| CommandError::new(Exit::Failure, format!("start tracing: {e}")))
}

/// Writes each line of the trace masked.
struct Masked(Secrets);

/// One line under way. The subscriber hands over a whole line at once; should it not, the line is gathered first, since
/// a secret cut in two would not be known.
struct Line<'s> {
    secrets: &'s Secrets,
    bytes: Vec<u8>,
}

impl<'s> MakeWriter<'s> for Masked {
    type Writer = Line<'s>;

    fn make_writer(&'s self) -> Line<'s> {
        Line { secrets: &self.0, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // A trace that cannot be heard is lost without harm.
        let masked = self.secrets.scrub_bytes(&self.bytes);
        let _ = io::stderr().lock().write_all(escape::lines(&String::from_utf8_lossy(&masked)).as_bytes());
    }
}

/// From now on a panic says where it happened, masked, and how to report it: never its payload as it is.
pub fn catch_panics(output: Output, secrets: Secrets) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let payload = panic.payload();
        let said =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let (message, hint) = last_words(&place, said.unwrap_or("no message"), &secrets);
        match output {
            Output::Human => say(&escape::lines(&format!("error: {message}\nhint: {hint}\n"))),
            Output::Json => {
                let error = serde_json::json!({"error": {
                    "code": Exit::Panic.code(), "kind": Exit::Panic.name(), "message": message, "causes": [], "hints": [hint],
                }});
                say(&(escape::json(&error.to_string()).into_owned() + "\n"));
            }
        }
    }));
}

fn last_words(place: &str, said: &str, secrets: &Secrets) -> (String, String) {
    // A payload of one line is a sentence of ours; what follows may quote whole values.
    let first = said.lines().next().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let message = format!("internal error (bug) in dr {version}: {} (at {place})", secrets.scrub(first));
    let hint = "Please report these two lines and the verb that was run. What was begun is put back or resumed by the \
                next `dr` command; `dr run list` shows it."
        .to_owned();
    (message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_name_the_place_and_no_secret() {
        let secrets = Secrets::default();
        secrets.learn(b"hunter2hunter2");
        let (message, hint) = last_words("src/x.rs:1:2", "unwrap on hunter2hunter2\nhunter3hunter3", &secrets);
        assert!(message.contains("src/x.rs:1:2") && message.contains(env!("CARGO_PKG_VERSION")));
        assert!(!message.contains("hunter") && hint.contains("report"), "{message}");
    }
}
