//! What is kept beside the vault makes it fast, and changes nothing that is said.

use std::path::PathBuf;

use crate::records::Host;

const FILES: usize = 5;

/// A vault of a few deployments, each with another change.
fn filled() -> Host {
    let host = Host::new();
    for day in 1..=FILES {
        let text = format!("env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  MY_SETTING_{day}: on\nreplicas: {day}\n");
        host.file(&format!("old/values-2026-09-0{day}.yaml"), &text);
    }
    host.ok(&["config", "record", "--dir", "old", "--yes"]);
    host
}

fn kept(host: &Host) -> PathBuf {
    host.vault().join(".git/dr")
}

#[test]
fn the_log_says_the_same_with_and_without_what_was_kept_and_forgets_no_new_deployment() {
    let host = filled();
    let log = || host.json(&["config", "log"])["deployments"].clone();
    std::fs::remove_dir_all(kept(&host)).unwrap();
    let first = log();
    assert_eq!(first.as_array().unwrap().len(), FILES);
    assert_eq!(first[0]["changes"]["summary"], "1 changed, 1 added, 1 removed");
    assert_eq!(log(), first, "from what was kept");
    std::fs::write(kept(&host).join("records"), "no such thing").unwrap();
    assert_eq!(log(), first, "damaged");
    host.file("values-2026-10-01.yaml", "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\nreplicas: 9\n");
    host.ok(&["config", "record", "values-2026-10-01.yaml"]);
    let later = log();
    assert_eq!(later[0]["changes"]["summary"], "1 changed, 1 removed");
    assert_eq!(later[1]["changes"], first[0]["changes"]);
}

#[test]
fn what_is_kept_tells_no_path_and_no_value_without_a_key_and_is_in_no_commit() {
    let host = filled();
    host.ok(&["config", "log"]);
    let files: Vec<_> = std::fs::read_dir(kept(&host)).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["records"]);
    let bytes = std::fs::read(kept(&host).join("records")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("MY_SETTING"));
    assert!(host.ok(&["config", "verify"]).contains("5 deployments"), "nothing in the work tree or the history");
    let status = std::process::Command::new("git").arg("-C").arg(host.vault()).args(["status", "--porcelain"]).output();
    assert!(status.unwrap().stdout.is_empty());
}
