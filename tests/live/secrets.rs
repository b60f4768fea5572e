//! No secret in the open: not on disk, not in an argument list, not in what is said.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::host::{Host, VERSION};

#[test]
#[ignore = "needs the lab: make live"]
fn deploy_create_and_restore_leave_no_secret_on_disk_in_arguments_or_in_talk() {
    let host = Host::new("secrets");
    let begun = SystemTime::now();
    let watcher = Watcher::start();
    let values = host.deploy(VERSION);
    let secrets = secrets_of(&std::fs::read_to_string(&values).unwrap());
    assert!(secrets.len() >= 8, "{}", secrets.len());
    // The operator's own file is the only place where they may stand.
    std::fs::remove_file(&values).unwrap();
    let said = [
        host.dr(["-vv", "bundle", "create"]),
        host.dr(["-vv", "bundle", "verify", "--decrypt"]),
        host.dr(["config", "log"]),
        host.dr(["config", "show"]),
    ];
    host.delete_namespace();
    let restored = host.dr(["-vv", "bundle", "restore", "--version", VERSION, "--yes"]);
    let arguments = watcher.stop();
    for ran in said.iter().chain([&restored]) {
        assert_eq!(ran.code, 0, "{ran}");
        for secret in &secrets {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "said by {ran}");
        }
    }
    for secret in &secrets {
        let seen: Vec<&String> = arguments.iter().filter(|line| line.contains(secret.as_str())).collect();
        assert!(seen.is_empty(), "in the process table: {seen:?}");
    }
    scan(host.home.path(), begun, &secrets);
    scan(&std::env::temp_dir(), begun, &secrets);
}

/// The texts of the keys that open data, and other secrets of the values file.
fn secrets_of(values: &str) -> Vec<String> {
    let words = ["KEY", "SALT", "PASSWORD", "unsealKey", "Key:", "password"];
    values
        .lines()
        .filter(|line| !line.trim_start().starts_with('#') && words.iter().any(|word| line.contains(word)))
        .filter_map(|line| line.split_once(':'))
        .map(|(_, value)| value.split(" #").next().unwrap_or("").trim().trim_matches(['"', '\'']).to_owned())
        .filter(|value| value.len() >= 12)
        .collect()
}

/// Looks for the secrets in every file that was written since.
fn scan(folder: &Path, since: SystemTime, secrets: &[String]) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            scan(&path, since, secrets);
        } else if meta.is_file() && meta.len() < 64 << 20 && meta.modified().is_ok_and(|at| at >= since) {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let found = secrets.iter().any(|secret| text.contains(secret.as_str()));
            assert!(!found, "{} holds a secret in the clear", path.display());
        }
    }
}

/// Samples the argument lists of all processes.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Watcher {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                    for file in ["cmdline", "environ"] {
                        let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        // Only programs of ours: the pods' own environments are the application's business.
                        let ours = text.contains("helm") || text.contains("CARGO_BIN_EXE") || text.contains("/dr\0");
                        if ours && !text.is_empty() {
                            seen.insert(text);
                        }
                    }
                }
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            }
            seen
        });
        Self { stop, thread }
    }

    fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
