//! What comes from outside has bounds: endless files, requests that hang, texts that quote secrets or steer a terminal,
//! streams that take nothing.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use crate::api::{Api, Instead, status};

/// `dr` in a home of its own, with the memory of a small host.
fn bounded(home: &Path, words: &str) -> Command {
    shell(home, &format!("ulimit -v 3000000; exec timeout 60 {} {words}", env!("CARGO_BIN_EXE_dr")))
}

fn shell(home: &Path, line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).env_clear().env("HOME", home).env("DR_WHO", "operator").env("PATH", "/usr/bin:/bin");
    command.env("KUBECONFIG", home.join("kubeconfig")).current_dir(home).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn run(home: &Path, words: &str) -> (Option<i32>, String) {
    let output = bounded(home, words).output().unwrap();
    (output.status.code(), said(&output))
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join(".config/dr")).unwrap();
    home
}

#[test]
fn files_without_an_end_are_refused_by_name_with_the_limit() {
    let home = home();
    for (words, code) in [
        ("config lint /dev/zero", 14),
        ("config diff /dev/zero /dev/null", 14),
        ("--settings /dev/zero bundle list", 10),
    ] {
        let (exit, said) = run(home.path(), words);
        assert_eq!(exit, Some(code), "{words}: {said}");
        let limit = said.contains("larger than the 8.0 MiB") || said.contains("not a regular file");
        assert!(limit && said.contains("/dev/zero"), "{words}: {said}");
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_of_ours_is_not_waited_for() {
    let home = home();
    let pipe = home.path().join("pipe");
    assert!(Command::new("/usr/bin/mkfifo").arg(&pipe).status().unwrap().success());
    let (exit, said) = run(home.path(), "--log-file pipe run list");
    assert!(exit != Some(124) && said.contains("open the log file pipe"), "{exit:?} {said}");
    let folder = home.path().join(".local/state/dr/runs/backup-1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(&pipe, folder.join("journal.jsonl")).unwrap();
    let (exit, said) = run(home.path(), "run show backup-1");
    assert!(exit != Some(124) && said.contains("not a regular file"), "{exit:?} {said}");
}

#[test]
fn what_cannot_be_written_is_said() {
    let home = home();
    for words in ["--help", "--version", "run list", "completions bash"] {
        let (exit, said) = run(home.path(), &format!("{words} > /dev/full"));
        assert!(exit == Some(23) && said.contains("write to stdout"), "{words}: {exit:?} {said}");
    }
    let (exit, said) = run(home.path(), "--log-file /dev/full --output human doctor");
    assert_eq!(exit, Some(3), "{said}");
    assert_eq!(said.matches("the log file /dev/full cannot be written").count(), 1, "{said}");
}

#[test]
fn without_a_home_nothing_is_kept_in_the_current_folder() {
    let home = home();
    // A user of whom nobody knows a home.
    let output =
        bounded(home.path(), "run list").env_remove("HOME").env("XDG_CONFIG_HOME", home.path()).output().unwrap();
    assert!(!home.path().join("dr").exists(), "{}", said(&output));
    // A relative one counts as unset: it would be another folder wherever dr is run.
    let output = bounded(home.path(), "run list").env("XDG_STATE_HOME", "here").output().unwrap();
    assert!(output.status.success() && !home.path().join("here").exists(), "{}", said(&output));
}

#[test]
fn arguments_that_steer_a_terminal_are_spelt_out() {
    let home = home();
    let (exit, said) = run(home.path(), "\"$(printf 'a\\033[2J\\342\\200\\256\\342\\200\\213')\"");
    assert_eq!(exit, Some(64));
    assert!(!said.contains('\u{1b}') && said.contains("\\u{202e}\\u{200b}"), "{said:?}");
}

fn with_api(instead: Instead) -> tempfile::TempDir {
    let home = home();
    std::fs::write(home.path().join("kubeconfig"), Api::serve(instead).kubeconfig()).unwrap();
    home
}

#[test]
fn what_the_api_server_quotes_is_masked_on_every_sink_and_steers_nothing() {
    const MESSAGE: &str = "bearer-of-the-kubeconfig-7Yq2 https://me:hunter22@proxy AGE-SECRET-KEY-1QQQQQQQQQQQQ \u{202e}\u{1b}[2J\n\nnext: rm";
    let home =
        with_api(Box::new(|request, _| (request.path != "/version").then(|| (403, status(403, "Forbidden", MESSAGE)))));
    for words in ["server status", "--output json server status", "-vv --log-file log server status"] {
        let (exit, said) = run(home.path(), words);
        assert_eq!(exit, Some(12), "{words}: {said}");
        let log = std::fs::read_to_string(home.path().join("log")).unwrap_or_default();
        for text in [&said, &log] {
            for secret in ["7Yq2", "hunter22", "1QQQQ", "\u{202e}", "\u{1b}[2J", "\nnext: rm"] {
                assert!(!text.contains(secret), "{words} shows {secret:?}: {text}");
            }
        }
        assert!(said.contains("https://me:••••••••@proxy"), "{said}");
    }
}

#[test]
fn a_signal_ends_a_request_that_hangs_and_names_itself() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (asked, hangs) = mpsc::channel();
        let home = with_api(Box::new(move |request, _| {
            if request.path != "/version" {
                asked.send(()).unwrap();
                std::thread::park();
            }
            None
        }));
        let program = format!("exec env --default-signal=INT,TERM {} server status", env!("CARGO_BIN_EXE_dr"));
        let child = shell(home.path(), &program).spawn().unwrap();
        hangs.recv().unwrap();
        let begun = std::time::Instant::now();
        assert!(Command::new("/bin/kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(begun.elapsed().as_secs() < 20, "the answer was waited for");
    }
}
