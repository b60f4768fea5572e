//! The command line without a cluster: what is said, where, and with which exit code.

#![allow(clippy::unwrap_used)]

mod api;
mod bounds;
mod browser;
mod bundle_diff;
mod bundles;
mod canaries;
mod copy;
mod deploy;
mod diff;
mod doctor;
mod drift;
mod edits;
mod extract;
mod half_restored;
mod hints;
mod hooks;
mod hostile;
mod image;
mod import;
mod joined_hosts;
mod kept;
mod lint;
mod mail;
mod man;
mod many_hosts;
mod missing;
mod notify;
mod panics;
mod parity;
mod passphrase;
mod pins;
mod plain_git;
mod prometheus;
mod proxy;
mod prune;
mod recorded;
mod records;
mod reference;
mod refusals;
mod renewal;
#[allow(dead_code)]
#[path = "../bundle/repack.rs"]
mod repack;
mod report;
mod runs;
#[allow(dead_code)]
#[path = "../bundle/sample.rs"]
mod sample;
mod schedule;
mod signals;
mod status;
mod terminal;
mod trace;
mod trusted;
mod unread;
mod upgrade;
mod vault;
mod writers;

use std::path::Path;
use std::process::{Command, Stdio};

/// Says past the harness, which keeps the words of what passes to itself, that a test has looked at nothing.
fn not_looked_at(what: &str, why: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("NOT LOOKED AT: {what}: {why}\n").as_bytes()).unwrap();
}

/// Runs `dr` in an empty home and returns the exit code and what it said, stdout first.
fn dr(home: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dr"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("DR_WHO", "operator")
        .env("PATH", "/nonexistent")
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(home.to_str().unwrap(), "~");
    format!("{}--- stderr\n{}--- exit {}", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}
