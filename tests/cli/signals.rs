//! A signal ends what waits for somebody to write.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

/// A whole one, signed by a key that nobody here trusts.
pub const BUNDLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/bundles/v1/opschain-20261123T075443Z-0a1b2c.tar");
/// A test fails rather than waits for longer.
const BOUND: Duration = Duration::from_secs(20);

/// What `find` finds before the bound.
fn awaited<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begun.elapsed() < BOUND, "{what} did not come about");
        std::thread::yield_now();
    }
}

/// Whether a thread of the process is at a reading that others may keep waiting.
fn is_reading(child: &Child) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    threads.flatten().any(|thread| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim_end() == "reading")
    })
}

/// A `dr` that ends by signals. Whoever runs the tests, under nohup for example, may ignore one, and dr would keep to that.
fn dr(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_dr")]);
    command.args(args).env_clear().env("HOME", home).env("DR_WHO", "operator").current_dir(home);
    command
}

/// Starts `dr` with an open stdin, sends it the signal once it reads, and gives its exit code and what it said.
fn stopped(home: &Path, args: &[&str], signal: Signal) -> (i32, String) {
    stopped_at(dr(home, args), signal, |child| {
        awaited(&format!("the reading of {args:?}"), || is_reading(child).then_some(()));
    })
}

/// Starts `dr`, sends it the signal once `is_at_it` says that it waits, and gives its exit code and what it said.
fn stopped_at(mut command: Command, signal: Signal, is_at_it: impl FnOnce(&Child)) -> (i32, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let _stays_open = child.stdin.take();
    is_at_it(&child);
    kill_process(Pid::from_child(&child), signal).unwrap();
    let begun = Instant::now();
    let ended = awaited("the end", || child.try_wait().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    (ended.code().unwrap_or_else(|| panic!("{ended}: {said}")), said)
}

#[test]
fn a_signal_ends_what_waits_for_a_bucket_that_does_not_answer() {
    let home = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("[store]\nurl = \"s3://b\"\nendpoint = \"http://{}\"\n", server.local_addr().unwrap());
    std::fs::write(home.path().join("dr.toml"), store).unwrap();
    for args in [
        &["bundle", "list"][..],
        &["bundle", "show", "--any-signer"],
        &["bundle", "verify", "--any-signer"],
        &["bundle", "pin", "b-1", "--reason", "audit"],
        &["bundle", "prune", "--keep-last", "1"],
        &["status"],
        &["status", "--all"],
        &["doctor"],
    ] {
        let mut command = dr(home.path(), args);
        command.args(["--settings", "dr.toml"]).env("PATH", "/nonexistent").env("KUBECONFIG", "/nonexistent");
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "sesquipedalian");
        let mut asked = None;
        let (ended, said) = stopped_at(command, Signal::INT, |_| {
            // It is accepted and left without an answer.
            let (mut request, _) = server.accept().unwrap();
            request.read_exact(&mut [0; 4]).unwrap();
            asked = Some(request);
        });
        assert_eq!(ended, 130, "{args:?}: {said}");
        assert!(!said.contains("sesquipedalian"), "{said}");
    }
}

#[test]
fn a_blocked_read_of_a_pipe_ends_with_the_exit_code_of_the_signal() {
    let home = tempfile::tempdir().unwrap();
    mknodat(CWD, home.path().join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (int, term, hup) = ((Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129));
    for (args, (signal, code), what) in [
        (&["config", "lint", "-"][..], int, "read the values from stdin"),
        (&["config", "lint", "./fifo"], term, "read the values from ./fifo"),
        (&["config", "record", "./fifo", "--at", "2026-08-20"], hup, "read the values from ./fifo"),
        (&["config", "diff", "./fifo", "-"], int, "read the values from ./fifo"),
        (
            &["bundle", "verify", BUNDLE, "--any-signer", "--decrypt", "--identity", "./fifo"],
            hup,
            "identity file ./fifo",
        ),
        (&["--passphrase-file", "/dev/stdin", "init", "--passphrase"], term, "read passphrase file /dev/stdin"),
        (&["--passphrase-file", "./fifo", "init", "--passphrase"], int, "read passphrase file ./fifo"),
    ] {
        let (ended, said) = stopped(home.path(), args, signal);
        assert_eq!(ended, code, "{args:?}: {said}");
        assert!(said.contains(what), "{args:?}: {said}");
    }
}

/// The plugin keeps stderr open, so what was said has an end only where the plugin has ended.
#[test]
fn one_signal_ends_a_login_plugin_that_hangs() {
    let home = tempfile::tempdir().unwrap();
    let (kubeconfig, begun) = (home.path().join("kubeconfig"), home.path().join("begun"));
    let text = format!(
        "current-context: c\n\
         clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: ['-c', 'echo > {}; exec /bin/sleep 1000']}}}}}}]\n",
        begun.display()
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let mut command = dr(home.path(), &["server", "status"]);
    command.env("KUBECONFIG", kubeconfig);
    let (ended, said) = stopped_at(command, Signal::TERM, |_| {
        awaited("the login plugin", || begun.exists().then_some(()));
    });
    assert_eq!(ended, 143, "{said}");
}

#[test]
fn signals_that_nobody_listens_to_elsewhere_end_the_work_in_order_and_a_file_at_its_limit_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let others =
        [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::XCPU, Signal::VTALARM, Signal::PROF, Signal::POWER];
    for signal in others {
        let (ended, said) = stopped(home.path(), &["config", "lint", "-"], signal);
        assert_eq!(ended, 143, "{signal:?}: {said}");
        assert!(said.contains("Stopping:"), "{signal:?}: {said}");
    }
    let limited = Command::new("bash")
        .args(["-c", "ulimit -f 1; exec \"$0\" man man", env!("CARGO_BIN_EXE_dr")])
        .env_clear()
        .env("HOME", home.path())
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&limited.stderr);
    assert_eq!(limited.status.code(), Some(1), "{said}");
    assert!(said.contains("error: ") && said.contains("File too large"), "{said}");
}

#[test]
fn two_signals_at_once_as_timeout_sends_them_are_one_request() {
    let home = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let (ended, said) = stopped_at(dr(home.path(), &["config", "lint", "-"]), Signal::TERM, |child| {
            awaited("the reading", || is_reading(child).then_some(()));
            kill_process(Pid::from_child(child), Signal::TERM).unwrap();
            // Taken, and not waiting together with the next one.
            awaited("the first signal to be taken", || {
                let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
                status.lines().any(|line| line == "ShdPnd:\t0000000000000000").then_some(())
            });
        });
        assert_eq!(ended, 143, "{said}");
    }
}
