//! Plain git in the vault, with the settings that `dr config git-setup` makes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::records::{Host, said};

const VALUES: &str = "# mine\nenv:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  PGPASSWORD: 'hunter22-canary'\n  TZ: UTC\n";

fn host() -> Host {
    let host = Host::new();
    host.file("a.yaml", VALUES);
    host.file("b.yaml", &VALUES.replace("hunter22-canary", "hunter33-canary").replace("# mine", "# ours"));
    host.ok(&["config", "record", "a.yaml", "--at", "2026-08-20", "--chart-version", "2026.8.20"]);
    host.ok(&["config", "record", "b.yaml", "--at", "2026-08-21"]);
    host
}

fn git(host: &Host, folder: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "protocol.file.allow=always"])
        .args(args)
        .env_clear()
        .env("HOME", host.home())
        .env("PATH", "/usr/bin:/bin")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap()
}

fn ok(host: &Host, folder: &Path, args: &[&str]) -> String {
    let output = git(host, folder, args);
    assert!(output.status.success(), "git {args:?}: {}", said(&output));
    said(&output)
}

/// The sealed values, oldest deployment first.
fn sealed(host: &Host) -> Vec<PathBuf> {
    let folder = host.vault().join("deployments/opschain.opschain");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("values.yaml.age")).collect();
    files.sort();
    files
}

#[test]
fn git_shows_masked_values_that_tell_same_from_changed() {
    let host = host();
    let vault = host.vault();
    let planned = host.ok(&["config", "git-setup", "--dry-run"]);
    assert!(planned.contains("would be") && !vault.join(".git/info/attributes").exists(), "{planned}");
    host.ok(&["config", "git-setup"]);
    let again = host.ok(&["config", "git-setup"]);
    assert!(!again.contains("is now"), "{again}");
    let files = sealed(&host);
    let relative = |file: &Path| format!("HEAD:{}", file.strip_prefix(&vault).unwrap().display());
    let text = ok(&host, &vault, &["diff", &relative(&files[0]), &relative(&files[1])]);
    assert!(text.contains("-# mine\n") && text.contains("+# ours\n"), "{text}");
    assert!(text.contains("-  PGPASSWORD: ••••••••#") && text.contains("+  PGPASSWORD: ••••••••#"), "{text}");
    assert!(text.contains("   TZ: UTC\n"), "the rest is context: {text}");
    let log = ok(&host, &vault, &["log", "-p", "--show-signature"]);
    assert!(log.contains("+  TZ: UTC") && log.contains("Good \"git\" signature"), "{log}");
    assert!(!format!("{text}{log}").contains("hunter"), "{text}{log}");
    assert!(!ok(&host, &vault, &["for-each-ref"]).contains("notes"), "no text is kept");
    assert_eq!(ok(&host, &vault, &["status", "--porcelain"]), "");
}

#[test]
fn secrets_are_shown_only_when_it_is_meant_and_a_stranger_gets_a_line() {
    let host = host();
    let file = sealed(&host)[0].display().to_string();
    let masked = host.ok(&["config", "textconv", &file]);
    assert!(masked.starts_with("# mine\n") && !masked.contains("hunter22"), "{masked}");
    assert!(!host.fails(27, &["config", "textconv", &file, "--show-secrets"]).contains("hunter22"));
    assert_eq!(host.ok(&["config", "textconv", &file, "--show-secrets", "--show-secrets"]), VALUES);
    let key = host.vault().join("fingerprint.key.age").display().to_string();
    assert!(host.ok(&["config", "textconv", &key]).starts_with("sealed, not a values file, 32 B"));
    let settings = host.home().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("\nidentity =", "\n# identity =")).unwrap();
    let line = host.ok(&["config", "textconv", &file]);
    assert!(line.starts_with("sealed, ") && line.contains("keys.identity") && line.lines().count() == 1, "{line}");
}

#[test]
fn git_merges_what_two_hosts_have_added_and_refuses_what_was_altered() {
    let host = host();
    let (vault, clone) = (host.vault(), host.home().join("clone"));
    host.ok(&["config", "git-setup"]);
    ok(&host, host.home(), &["clone", "--quiet", vault.to_str().unwrap(), "clone"]);
    // The other host: the same settings, another vault.
    let settings = std::fs::read_to_string(host.home().join(".config/dr/dr.toml")).unwrap();
    let other =
        settings.replace(".local/share/dr/vault", "clone").replace(vault.to_str().unwrap(), clone.to_str().unwrap());
    host.file(".config/dr/other.toml", &other);
    let there = ["--settings", ".config/dr/other.toml"];
    let record =
        |file: &str, at: &str, more: &[&str]| host.ok(&[more, &["config", "record", file, "--at", at]].concat());
    record("a.yaml", "2026-09-01", &[]);
    record("b.yaml", "2026-09-02", &there);
    ok(&host, &clone, &["checkout", "--quiet", "main"]);
    ok(&host, &vault, &["fetch", "--quiet", clone.to_str().unwrap(), "main:theirs"]);
    ok(&host, &vault, &["merge", "--quiet", "-m", "Merge", "theirs"]);
    assert_eq!(host.json(&["config", "log"])["total"], 4);
    assert!(ok(&host, &vault, &["verify-commit", "HEAD"]).contains("Good"), "merges are signed, too");

    // The same plaintext under the same path, sealed twice: as two rekeys of one file.
    let twice = |folder: &Path, name: &str, text: &str, branch: &str| {
        ok(&host, folder, &["checkout", "--quiet", "-B", branch, "main"]);
        let public = host.ok(&["config", "show", "--output", "json"]);
        let public: serde_json::Value = serde_json::from_str(&public).unwrap();
        let plain = host.file("plain", text);
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let done = Command::new("age")
            .args(["-r", public["record"]["recipients"][0].as_str().unwrap(), "-o"])
            .args([&path, &plain])
            .status()
            .unwrap();
        assert!(done.success());
        ok(&host, folder, &["add", "-A"]);
        ok(&host, folder, &["commit", "--quiet", "-m", "x"]);
    };
    twice(&vault, "rekeyed/x/values.yaml.age", VALUES, "one");
    let ours = std::fs::read(vault.join("rekeyed/x/values.yaml.age")).unwrap();
    twice(&vault, "rekeyed/x/values.yaml.age", VALUES, "two");
    ok(&host, &vault, &["checkout", "--quiet", "one"]);
    ok(&host, &vault, &["merge", "--quiet", "-m", "Merge", "two"]);
    assert_eq!(std::fs::read(vault.join("rekeyed/x/values.yaml.age")).unwrap(), ours, "ours is taken");

    twice(&vault, "rekeyed/y/values.yaml.age", VALUES, "three");
    twice(&vault, "rekeyed/y/values.yaml.age", "other: 1\n", "four");
    let refused = git(&host, &vault, &["merge", "-m", "Merge", "three"]);
    let text = said(&refused);
    assert!(!refused.status.success() && text.contains("CONFLICT"), "{text}");
    assert!(text.contains("rekeyed/y/values.yaml.age holds something else on the two sides"), "{text}");
}
