//! Hooks of a prune, which needs no cluster: what they are told, and what their failure does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bundles::{NAME, home, publish};
use crate::dr;
use crate::prune::made;

/// Writes an executable and adds its table to the settings.
fn hook(home: &Path, name: &str, script: &str, table: &str) {
    let path = home.join(name);
    fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let settings = home.join(".config/dr/dr.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(settings, format!("{text}[[hooks]]\nrun = \"~/{name}\"\nverb = \"prune\"\n{table}\n")).unwrap();
}

fn prune(home: &Path) -> String {
    let place = format!("--confirm={}", home.join("store").display());
    dr(home, &["-v", "--yes", "bundle", "prune", "--all-installs", "--keep-last", "1", &place])
}

fn is_marked(store: &Path, bundle: &str) -> bool {
    store.join(bundle).join("gone.000001.json").exists()
}

/// A store with one bundle that a rule lets go.
fn with_one_to_go() -> (tempfile::TempDir, std::path::PathBuf, String) {
    let (home, store) = home();
    publish(&store);
    let old = made(&store, 900);
    (home, store, old)
}

#[test]
fn a_hook_that_fails_before_stops_what_it_comes_before_and_those_after_are_told_nothing() {
    let (home, store, old) = with_one_to_go();
    hook(home.path(), "before", "cat > told; echo not now >&2; exit 3", "when = \"before\"");
    hook(home.path(), "after", "cat > outcome", "when = \"after\"");
    let said = prune(home.path());
    assert!(said.ends_with("--- exit 1") && said.contains("hook ~/before failed"), "{said}");
    assert!(said.contains("not now") && !is_marked(&store, &old) && !home.path().join("outcome").exists(), "{said}");
    let told: Value = serde_json::from_slice(&fs::read(home.path().join("told")).unwrap()).unwrap();
    assert_eq!((&told["when"], &told["verb"], &told["format"]), (&"before".into(), &"prune".into(), &1.into()));
    assert_eq!((&told["namespace"], &told["step"]), (&"opschain".into(), &Value::Null));
}

#[test]
fn a_hook_that_is_to_warn_and_one_after_change_no_result_and_the_outcome_is_told() {
    let (home, store, old) = with_one_to_go();
    hook(home.path(), "before", "exit 3", "when = \"before\"\non_failure = \"warn\"");
    hook(home.path(), "after", "cat > told; exit 4", "when = \"after\"");
    let said = prune(home.path());
    assert!(said.ends_with("--- exit 0") && is_marked(&store, &old), "{said}");
    assert!(said.contains("hook ~/before failed") && said.contains("hook ~/after failed"), "{said}");
    let told: Value = serde_json::from_slice(&fs::read(home.path().join("told")).unwrap()).unwrap();
    assert_eq!((&told["succeeded"], &told["when"]), (&true.into(), &"after".into()));
    assert!(store.join(NAME).exists());
}

#[test]
fn a_hook_that_does_not_end_is_killed_with_what_it_has_begun() {
    let (home, store, old) = with_one_to_go();
    hook(home.path(), "before", "sleep 300 & echo $! > child; wait", "when = \"before\"\ntimeout = \"1s\"");
    let begun = Instant::now();
    let said = prune(home.path());
    assert!(said.contains("did not end within 1s") && said.ends_with("--- exit 1"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(60) && !is_marked(&store, &old));
    let child = fs::read_to_string(home.path().join("child")).unwrap();
    assert!(ends_within(child.trim().parse().unwrap(), 10), "what it has begun lives");
}

/// Whether the process ends within so many seconds, or has ended: it was killed, and on a busy machine that takes a moment.
fn ends_within(process: i32, seconds: i64) -> bool {
    let process = rustix::process::Pid::from_raw(process).unwrap();
    match rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()) {
        Ok(open) => {
            let mut ended = [rustix::event::PollFd::new(&open, rustix::event::PollFlags::IN)];
            let limit = rustix::event::Timespec { tv_sec: seconds, tv_nsec: 0 };
            rustix::event::poll(&mut ended, Some(&limit)).unwrap() == 1
        }
        Err(error) => error == rustix::io::Errno::SRCH,
    }
}

#[test]
fn a_hook_that_others_may_write_is_not_run_and_it_finds_no_key_in_its_environment() {
    let (home, store, _) = with_one_to_go();
    hook(home.path(), "before", "env > environment", "when = \"before\"");
    let said = prune(home.path());
    assert!(said.ends_with("--- exit 0"), "{said}");
    let environment = fs::read_to_string(home.path().join("environment")).unwrap();
    assert!(
        environment.contains("HOME=") && !environment.contains("DR_") && !environment.contains("AWS_"),
        "{environment}"
    );
    fs::remove_file(home.path().join("environment")).unwrap();
    fs::set_permissions(home.path().join("before"), fs::Permissions::from_mode(0o722)).unwrap();
    // Where nothing is left to go, nothing is run.
    let other = made(&store, 901);
    let said = prune(home.path());
    assert!(said.contains("can be written by others") && said.contains("chmod go-w"), "{said}");
    assert!(!is_marked(&store, &other));
    assert!(!home.path().join("environment").exists());
}

#[test]
fn a_hook_that_makes_no_sense_is_refused_with_the_settings() {
    let (home, _store, _) = with_one_to_go();
    hook(home.path(), "after", "true", "when = \"after\"\non_failure = \"stop\"");
    let said = prune(home.path());
    assert!(said.contains("changes no result") && said.ends_with("--- exit 10"), "{said}");
}

#[test]
fn a_hook_that_cannot_be_run_is_said_before_anything_is_done_and_by_doctor() {
    let (home, store, old) = with_one_to_go();
    hook(home.path(), "before", "true", "when = \"before\"");
    let path = home.path().join("before");
    let said_by_both = |what: &str, hint: &str| {
        let dry = dr(home.path(), &["bundle", "prune", "--all-installs", "--keep-last", "1", "--dry-run"]);
        assert!(dry.contains(what) && dry.contains(hint) && dry.ends_with("--- exit 1"), "{dry}");
        let doctor = dr(home.path(), &["doctor"]);
        assert!(doctor.contains(what) && doctor.contains(hint), "{doctor}");
    };
    let doctor = dr(home.path(), &["doctor"]);
    assert!(doctor.contains("1 hook can be run"), "{doctor}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    said_by_both("hook ~/before is not executable", "chmod u+x ~/before");
    fs::remove_file(&path).unwrap();
    said_by_both("hook ~/before cannot be run", "`run` of the hook in dr.toml");
    assert!(prune(home.path()).contains("on_failure = \"warn\""), "the way on without it");
    fs::create_dir(&path).unwrap();
    said_by_both("hook ~/before is no file", "`run` of the hook in dr.toml");
    assert!(!is_marked(&store, &old));
    // One that only warns stops nothing.
    let settings = home.path().join(".config/dr/dr.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}on_failure = \"warn\"\n")).unwrap();
    let said = prune(home.path());
    assert!(said.contains("hook ~/before is no file") && said.ends_with("--- exit 0"), "{said}");
    assert!(is_marked(&store, &old));
}

#[test]
fn a_hook_of_a_step_that_no_run_has_is_said_with_those_that_there_are() {
    let (home, _store, _) = with_one_to_go();
    hook(home.path(), "before", "true", "when = \"before\"\nstep = \"stop-writerz\"");
    let settings = home.path().join(".config/dr/dr.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("verb = \"prune\"", "verb = \"create\"")).unwrap();
    for args in [&["doctor"][..], &["bundle", "create", "--dry-run"]] {
        let said = dr(home.path(), args);
        assert!(said.contains("no bundle create has a step `stop-writerz`") && said.contains("stop-writers"), "{said}");
    }
}
