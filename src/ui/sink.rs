//! The way out that does not go through a [`Ui`](super::Ui): the last words of a panic, masked.

use std::io::{self, Read, Write as _};

use super::escape;
use super::options::Output;
use super::terminal::say;
use super::written;
use crate::error::Exit;
use crate::values::Secrets;

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

/// Says how an argument was wrong, without colours: it quotes the argument, which may hold some of its own.
pub fn usage(error: &clap::Error, examples: Option<String>, output: Output) -> Exit {
    let rendered = error.render().to_string();
    match output {
        Output::Human => {
            let examples = examples.map_or_else(String::new, |examples| format!("\n{examples}\n"));
            say(&escape::lines(&(rendered + &examples)));
        }
        Output::Json => say(&(escape::json(&usage_json(&rendered, examples).to_string()).into_owned() + "\n")),
    }
    Exit::Usage
}

/// The first paragraph is what is wrong; each further one is a way out.
fn usage_json(rendered: &str, examples: Option<String>) -> serde_json::Value {
    let joined = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = rendered.trim().split("\n\n").map(joined);
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let hints: Vec<String> = paragraphs.chain(examples.as_deref().map(joined)).collect();
    serde_json::json!({"error": {
        "code": Exit::Usage.code(), "kind": Exit::Usage.name(), "message": message, "causes": [], "hints": hints,
    }})
}

/// Writes the help or the version that was asked for.
pub fn help(error: &clap::Error) -> Exit {
    match written(error.print().and_then(|()| io::stdout().flush())) {
        Ok(()) => Exit::Success,
        Err(error) => {
            say(&format!("error: {}\n", crate::text::chain(&error)));
            error.exit()
        }
    }
}

/// What another program says to the person, at once and as it is but for what would steer the terminal: a question may
/// end without a line end.
///
/// # Errors
/// It cannot be read.
pub fn pass_on(mut from: impl Read) -> io::Result<()> {
    let (mut buffer, mut kept) = ([0; 4096], 0);
    loop {
        let read = match from.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let end = kept + read;
        let whole = if read == 0 { end } else { end - unfinished(&buffer[..end]) };
        say(&escape::lines(&String::from_utf8_lossy(&buffer[..whole])));
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(whole..end, 0);
        kept = end - whole;
    }
}

/// How many bytes at the end begin a character that does not end there.
fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

/// Lines of a file that a person will look at in a terminal, JSON or not: nothing in them steers it.
pub fn plain_bytes(bytes: &[u8]) -> Vec<u8> {
    escape::json(&String::from_utf8_lossy(bytes)).into_owned().into_bytes()
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
    fn a_wrong_use_is_an_error_with_ways_out_in_json_too() {
        let rendered = "error: unexpected argument '--x' found\n\n  tip: a similar one\n\nUsage: dr [OPTIONS]\n";
        let error = &usage_json(rendered, Some("Examples:\n  dr status".into()))["error"];
        assert_eq!((&error["code"], &error["message"]), (&64.into(), &"unexpected argument '--x' found".into()));
        let hints = ["tip: a similar one", "Usage: dr [OPTIONS]", "Examples: dr status"];
        assert_eq!(error["hints"], serde_json::json!(hints));
    }

    #[test]
    fn a_character_that_comes_in_two_pieces_is_waited_for() {
        let text = "a→".as_bytes();
        assert_eq!([1, 2, 3, 4].map(|end| unfinished(&text[..end])), [0, 1, 2, 0]);
        assert_eq!(unfinished(b"\xff\xe2"), 0, "what is no text anyway is not");
    }

    #[test]
    fn the_last_words_name_the_place_and_no_secret() {
        let secrets = Secrets::default();
        secrets.register(b"hunter2hunter2");
        let (message, hint) = last_words("src/x.rs:1:2", "unwrap on hunter2hunter2\nhunter3hunter3", &secrets);
        assert!(message.contains("src/x.rs:1:2") && message.contains(env!("CARGO_PKG_VERSION")));
        assert!(!message.contains("hunter") && hint.contains("report"), "{message}");
    }
}
