//! `dr bundle extract`: what comes out, where it goes, and that nothing half is left of what fails.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::bundles::{NAME, bundle, fixture};
use crate::dr;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Of the fixture, with these flags.
    fn extract(&self, file: &Path, flags: &[&str]) -> String {
        let (identity, signers) = (fixture("keys/identity.txt"), fixture("keys/allowed_signers"));
        let fixed = ["bundle", "extract", file.to_str().unwrap(), "--identity", identity.to_str().unwrap()];
        dr(self.path(), &[&fixed[..], &["--trusted-signers", signers.to_str().unwrap()], flags].concat())
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A command with the fixture's keys, for what needs more than an answer.
fn command(home: &Path, through: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", through, env!("CARGO_BIN_EXE_dr"), "bundle", "extract"])
        .arg(bundle())
        .args(arguments)
        .arg("--identity")
        .arg(fixture("keys/identity.txt"))
        .arg("--trusted-signers")
        .arg(fixture("keys/allowed_signers"))
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

#[test]
fn the_values_come_into_a_new_file_of_their_owner_and_over_none_that_is_there() {
    let home = Home::new();
    let said = home.extract(&bundle(), &["values", "--out", "mine.yaml"]);
    insta::assert_snapshot!(said);
    let path = home.path().join("mine.yaml");
    assert!(fs::read_to_string(&path).unwrap().contains("OPSCHAIN_PRIMARY_KEY"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&path, "own").unwrap();
    let refused = home.extract(&bundle(), &["values", "--out", "mine.yaml"]);
    assert!(refused.contains("mine.yaml is there already") && refused.ends_with("--- exit 20"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "own");
    // In a folder it is called what it is.
    let json = home.extract(&bundle(), &["chart", "--out", ".", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.split_once("--- stderr").unwrap().0).unwrap();
    assert_eq!((&json["item"], &json["held_against"]), (&"chart".into(), &"manifest".into()));
    assert_eq!(home.files(), ["mine.yaml", "opschain-2026.8.20.tgz"]);
}

#[test]
fn a_file_of_the_database_is_held_against_postgresqls_manifest() {
    let home = Home::new();
    let said = home.extract(&bundle(), &["PG_VERSION", "--out", "."]);
    assert!(said.contains("as PostgreSQL's own manifest lists it") && said.ends_with("--- exit 0"), "{said}");
    assert_eq!(fs::read(home.path().join("PG_VERSION")).unwrap(), b"15\n");
}

#[test]
fn what_can_be_had_is_listed() {
    let home = Home::new();
    let said = home.extract(&bundle(), &["--list"]);
    insta::assert_snapshot!(said.replace(fixture("").to_str().unwrap(), "FIXTURES/"));
    let files = home.extract(&bundle(), &["base/", "--list", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(files.split_once("--- stderr").unwrap().0).unwrap();
    assert_eq!(json["items"][0]["name"], "base/1/1259");
    // No key is needed for the list, and one for what is sealed.
    let file = bundle().display().to_string();
    let listed = dr(home.path(), &["bundle", "extract", &file, "--list", "--any-signer"]);
    assert!(listed.contains("values") && listed.ends_with("--- exit 0"), "{listed}");
    let refused = dr(home.path(), &["bundle", "extract", &file, "values", "--out", "v", "--any-signer"]);
    assert!(refused.contains("without an age identity") && refused.ends_with("--- exit 15"), "{refused}");
    let stored = dr(home.path(), &["bundle", "extract", &file, "config/values.yaml.age", "--out", "v", "--any-signer"]);
    assert!(stored.contains("signer not checked") && stored.ends_with("--- exit 0"), "{stored}");
    assert!(fs::read(home.path().join("v")).unwrap().starts_with(b"age-encryption.org/"));
}

#[test]
fn a_word_for_nothing_leads_to_the_list() {
    let home = Home::new();
    let said = home.extract(&bundle(), &["base/1/9999", "--out", "x"]);
    insta::assert_snapshot!(said.replace(fixture("").to_str().unwrap(), "FIXTURES/"));
    let list = said.split('`').nth(1).unwrap().split(' ').skip(1).collect::<Vec<_>>();
    assert!(dr(home.path(), &list).ends_with("--- exit 0"), "{list:?}");
    assert!(home.files().is_empty());
}

#[test]
fn a_damaged_or_foreign_bundle_gives_nothing() {
    let home = Home::new();
    let broken = |name: &str| fixture("bundles/broken").join(name);
    for (file, what, exit) in [
        ("flipped-bit.tar", "base.tar", "17"),
        ("flipped-bit.tar", "global/pg_control", "17"),
        ("bomb.tar", "pg_wal.tar", "17"),
        ("wrong-key.tar", "values", "15"),
        ("foreign-signed.tar", "values", "16"),
        ("unsigned.tar", "manifest.json", "16"),
        ("truncated.tar", "values", "17"),
    ] {
        let said = home.extract(&broken(file), &[what, "--out", "x"]);
        assert!(said.ends_with(&format!("--- exit {exit}")), "{file} {what}: {said}");
        assert!(home.files().is_empty(), "{file} {what}: {:?}", home.files());
    }
    let said = home.extract(&broken("flipped-bit.tar"), &["base.tar", "--out", "x"]);
    assert!(said.contains("db/base/000001.tar.zst.age is damaged"), "{said}");
}

#[test]
fn a_disk_that_is_full_leaves_nothing() {
    let home = Home::new();
    // No file may grow: what a full disk is to whoever writes.
    let through = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let output = command(home.path(), through, &["pg_wal.tar", "--out", "x"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot be written"), "{said}");
    assert!(home.files().is_empty(), "{:?}", home.files());
}

#[test]
fn a_pipe_gets_the_whole_and_a_terminal_nothing() {
    let home = Home::new();
    let piped = command(home.path(), "exec \"$0\" \"$@\"", &["pg_wal.tar", "--out", "-"]).output().unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    assert!(home.extract(&bundle(), &["pg_wal.tar", "--out", "wal"]).ends_with("--- exit 0"));
    assert_eq!(fs::read(home.path().join("wal")).unwrap(), piped.stdout);
    // A reader that has had enough is no failure.
    let closed = command(home.path(), "\"$0\" \"$@\" | head -c 10", &["pg_wal.tar", "--out", "-"]).output().unwrap();
    assert_eq!((closed.stdout.len(), closed.stderr.len()), (10, 0), "{}", String::from_utf8_lossy(&closed.stderr));
    let arguments = ["values", "--out", "-"];
    let seen =
        command(home.path(), "script --quiet --return --command \"$0 $*\" /dev/null", &arguments).output().unwrap();
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.contains("stdout is a terminal") && !seen.contains("OPSCHAIN"), "{seen}");
}

#[test]
fn what_goes_into_a_pipe_that_nobody_reads_can_be_stopped() {
    let home = Home::new();
    let mut child = command(home.path(), "exec \"$0\" \"$@\"", &["pg_wal.tar", "--out", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // Once the first bytes are there, it writes, and fills the pipe.
    out.read_exact(&mut [0; 10]).unwrap();
    let id = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let (done, ended) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(30)) == Err(mpsc::RecvTimeoutError::Timeout) {
            rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        }
    });
    let ended = child.wait().unwrap();
    drop(done);
    watchdog.join().unwrap();
    assert_eq!(ended.code(), Some(143));
    drop(out);
}

#[test]
fn the_newest_bundle_of_the_store_is_meant_when_only_the_thing_is_named() {
    let (home, store) = crate::bundles::home();
    crate::bundles::publish(&store);
    let out: PathBuf = home.path().join("v.yaml");
    let identity = fixture("keys/identity.txt").display().to_string();
    let said = dr(home.path(), &["bundle", "extract", "values", "--out", "v.yaml", "--identity", &identity]);
    assert!(said.contains(NAME) && said.ends_with("--- exit 0"), "{said}");
    assert!(out.is_file());
}
