//! Identity files with a passphrase, on a terminal and from a file.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dr;

const PHRASE: &str = "correct horse battery";
const CTRL_C: &str = "\u{3}";
const CTRL_BACKSLASH: &str = "\u{1c}";

fn home() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dr-").rand_bytes(6).tempdir_in("/tmp").unwrap()
}

fn phrase_file(home: &Path, text: &str, mode: u32) -> PathBuf {
    let path = home.join("phrase");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// Runs `dr` on a terminal of its own (`script` makes one), with these lines typed; gives what the terminal showed.
fn on_a_terminal(home: &Path, args: &str, typed: &[&str]) -> (i32, String) {
    // In the shell's place: what a key ends is `dr`, and not the shell beside it.
    let line = format!("exec {} {args}", env!("CARGO_BIN_EXE_dr"));
    let mut child = Command::new("timeout")
        .args(["60", "script", "--quiet", "--return", "--echo", "always", "--command", &line, "/dev/null"])
        .env_clear()
        .env("HOME", home)
        .env("DR_WHO", "operator")
        .env("PATH", "/usr/bin:/bin")
        .env("NO_COLOR", "1")
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = String::new();
    let mut typed = typed.iter();
    // Each line is typed once it is asked for: what is typed ahead is thrown away.
    let mut asked = 0;
    let mut chunk = [0; 4096];
    loop {
        let count = std::io::Read::read(&mut output, &mut chunk).unwrap_or(0);
        if count == 0 {
            break;
        }
        shown.push_str(&String::from_utf8_lossy(&chunk[..count]));
        let questions: usize = [".txt: ", "again: ", "[y/N] "].iter().map(|end| shown.matches(end).count()).sum();
        if questions > asked {
            asked = questions;
            if let Some(line) = typed.next() {
                // Ctrl-C is a key of its own: a line end behind it would be an answer.
                let end = if [CTRL_C, CTRL_BACKSLASH].contains(line) { "" } else { "\n" };
                write!(input, "{line}{end}").unwrap();
            }
        }
    }
    drop(input);
    (child.wait().unwrap().code().unwrap(), shown)
}

/// Writes a deployment into the vault, for which public keys are enough; to read it takes the identity.
fn record(home: &Path) {
    std::fs::write(home.join("a.yaml"), "a: 1\n").unwrap();
    let recorded = dr(home, &["config", "record", "a.yaml", "--at", "2026-08-20", "--version", "2026-08-20", "--yes"]);
    assert!(recorded.ends_with("exit 0"), "{recorded}");
}

#[test]
fn an_identity_is_made_with_a_passphrase_and_opened_by_it_in_other_verbs() {
    let home = home();
    let phrase = phrase_file(home.path(), &format!("{PHRASE}\n"), 0o600);
    let with = ["--passphrase-file", phrase.to_str().unwrap()];
    let made = dr(home.path(), &[&with[..], &["init", "--passphrase"]].concat());
    assert!(made.ends_with("exit 0") && made.contains("public key"), "{made}");
    let identity = std::fs::read(home.path().join(".config/dr/identity.txt")).unwrap();
    let head = String::from_utf8_lossy(&identity[..120]).into_owned();
    assert!(head.starts_with("age-encryption.org/v1\n-> scrypt ") && head.contains(" 18\n"), "{head}");
    record(home.path());
    let cat = ["config", "cat", "latest"];
    let printed = dr(home.path(), &[&with[..], &cat].concat());
    assert!(printed.starts_with("a: 1\n") && printed.ends_with("exit 0"), "{printed}");
    // Nobody to ask, and the way out is named.
    let refused = dr(home.path(), &[&["--no-input"][..], &cat].concat());
    assert!(refused.ends_with("exit 15") && refused.contains("--passphrase-file"), "{refused}");
    // A wrong one out of a file is not tried again.
    phrase_file(home.path(), "wrong\n", 0o600);
    let wrong = dr(home.path(), &[&with[..], &cat].concat());
    assert!(wrong.ends_with("exit 15") && wrong.contains("is wrong"), "{wrong}");
    // One that others can read is no secret.
    phrase_file(home.path(), PHRASE, 0o644);
    let open = dr(home.path(), &[&with[..], &cat].concat());
    assert!(open.ends_with("exit 15") && open.contains("chmod 600"), "{open}");
}

#[test]
fn a_pipe_can_bring_the_passphrase() {
    let home = home();
    let line = format!(
        "printf '%s\\n' '{PHRASE}' | {0} --passphrase-file /dev/fd/0 init --passphrase && \
         {0} --passphrase-file /dev/fd/3 --no-input init --dry-run 3<<'END'\n{PHRASE}\nEND\n",
        env!("CARGO_BIN_EXE_dr")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
    let output = shell.current_dir(home.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn on_a_terminal_it_is_asked_for_unseen_and_a_wrong_one_is_asked_again() {
    let home = home();
    let (code, shown) = on_a_terminal(home.path(), "init --passphrase", &[PHRASE, PHRASE]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("New passphrase for") && !shown.contains("horse"), "{shown}");
    record(home.path());
    let (code, shown) = on_a_terminal(home.path(), "config cat latest", &["wrong", PHRASE]);
    assert_eq!(code, 0, "{shown}");
    assert_eq!(shown.matches("Passphrase of").count(), 2, "{shown}");
    assert!(shown.contains("That does not open it") && !shown.contains("horse"), "{shown}");
    let (code, shown) = on_a_terminal(home.path(), "config cat latest", &["1", "2", "3"]);
    assert_eq!(code, 15, "{shown}");
    assert_eq!(shown.matches("Passphrase of").count(), 3, "{shown}");
}

#[test]
fn two_new_passphrases_that_differ_make_no_identity() {
    let home = home();
    let (code, shown) = on_a_terminal(home.path(), "init --passphrase", &[PHRASE, "another"]);
    assert_eq!(code, 15, "{shown}");
    assert!(!home.path().join(".config/dr/identity.txt").exists());
}

#[test]
fn ctrl_c_at_a_question_ends_it_at_once() {
    let home = home();
    for key in [CTRL_BACKSLASH, CTRL_C] {
        let (code, shown) = on_a_terminal(home.path(), "init --passphrase", &[key]);
        assert_eq!(code, 130, "{shown}");
    }
    assert!(dr(home.path(), &["init"]).ends_with("exit 0"));
    std::fs::create_dir(home.path().join("old")).unwrap();
    std::fs::write(home.path().join("old/2026-08-20.yaml"), "a: 1\n").unwrap();
    let (code, shown) = on_a_terminal(home.path(), "config record --dir old --version 2026-08-20", &[CTRL_C]);
    assert!(shown.contains("into the vault? [y/N] "), "{shown}");
    assert_eq!(code, 130, "{shown}");
}
