//! What is written down by hand, listed, shown and taken out again: `dr config record`, `log`, `show`, `cat`, `extract`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home with a vault.
pub struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    /// Everything that `dr init` makes.
    pub fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        host.ok(&["init"]);
        host
    }

    /// With a home that is there already.
    pub fn at(folder: tempfile::TempDir) -> Self {
        Self { folder }
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the home, written.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A program of the home, written.
    pub fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.file(name, script);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The vault.
    pub fn vault(&self) -> PathBuf {
        self.home().join(".local/share/dr/vault")
    }

    /// `dr`, ready to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home())
            .env("DR_WHO", "operator")
            .env("PATH", format!("{}/bin:/usr/bin:/bin", self.home().display()))
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .current_dir(self.home())
            .stdin(Stdio::null());
        command
    }

    /// Runs `dr`.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs `dr`, which must end well, and gives its stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `dr`, which must end with this code, and gives all that it said.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        said(&output)
    }

    /// Runs `dr` for JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(&[args, &["--output", "json"]].concat())).unwrap()
    }

    /// How many commits the vault has.
    pub fn commits(&self) -> usize {
        let output = Command::new("git").arg("-C").arg(self.vault()).args(["rev-list", "--count", "HEAD"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().parse().unwrap()
    }
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const OLD: &str =
    "# the old host\nenv:\n  OPSCHAIN_VERSION: \"2025-04-25\"\n  PGPASSWORD: 'hunter22-old'\napi: {replicas: 1}\n";
const NEW: &str =
    "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  PGPASSWORD: 'hunter22-old'\n  TZ: UTC\napi: {replicas: 2}\n";

#[test]
fn an_old_file_is_kept_byte_for_byte_under_its_date_and_only_once() {
    let host = Host::new();
    host.file("old.yaml", OLD);
    let why = "from the old host, password hunter22-old";
    let args = [
        "config",
        "record",
        "old.yaml",
        "--at",
        "2025-04-25T10:00",
        "--message",
        why,
        "--by",
        "alice",
        "--revision",
        "3",
    ];
    let report = host.ok(&args);
    assert!(report.contains("old.yaml is recorded as 20250425T100000Z-"), "{report}");
    assert_eq!(host.ok(&["config", "cat", "live"]), OLD);
    let shown = host.json(&["config", "show"]);
    let record = &shown["record"];
    assert_eq!((record["how"].as_str(), record["by"].as_str()), (Some("import"), Some("alice")));
    assert_eq!(
        (record["opschain_version"].as_str(), record["chart"]["version"].as_str()),
        (Some("2025-04-25"), Some("0.1.0+2025-04-25"))
    );
    assert_eq!(shown["outcome"]["helm_revision"], 3);
    assert!(!record["why"].as_str().unwrap().contains("hunter22"), "a secret in the message is masked: {record}");
    let commits = host.commits();
    let again = host.ok(&args);
    assert!(again.contains("is there already") && host.commits() == commits, "{again}");
}

#[test]
fn a_file_without_a_date_or_a_version_and_one_of_tomorrow_are_refused() {
    let host = Host::new();
    host.file("old.yaml", OLD);
    host.file("bare.yaml", "a: 1\n");
    host.file("bad.yaml", "a: [\n");
    let commits = host.commits();
    assert!(host.fails(64, &["config", "record", "old.yaml"]).contains("--at 2025-04-25"));
    assert!(host.fails(64, &["config", "record", "old.yaml", "--at", "soon"]).contains("`soon` is not a time"));
    assert!(host.fails(64, &["config", "record", "old.yaml", "--at", "2190-01-01"]).contains("still to come"));
    assert!(host.fails(64, &["config", "record", "bare.yaml", "--at", "2025-04-25"]).contains("add --version"));
    assert!(host.fails(64, &["config", "record", "bad.yaml", "--at", "2025-04-25"]).contains("it is not read: "));
    assert_eq!(host.commits(), commits);
    host.ok(&["config", "record", "bare.yaml", "--at", "2025-04-25", "--version", "2025-04-25"]);
}

#[test]
fn a_version_that_is_not_the_one_of_the_values_is_refused_and_an_unknown_cluster_is_said() {
    let host = Host::new();
    host.file("old.yaml", OLD);
    let args = ["config", "record", "old.yaml", "--at", "2025-04-25", "--version", "2026-08-20"];
    let refused = host.fails(19, &args);
    assert!(refused.contains("the values name version 2025-04-25") && refused.contains("--allow version"), "{refused}");
    let report = host.ok(&[&args[..], &["--allow", "version"]].concat());
    assert!(report.contains("The cluster is not in the record: it cannot be asked"), "{report}");
    let args = ["config", "record", "old.yaml", "--at", "2025-04-26", "--no-cluster"];
    assert!(host.ok(&args).contains("--no-cluster"));
    assert!(host.json(&["config", "show"])["record"]["install"]["cluster"].is_null());
}

#[test]
fn what_lint_finds_is_shown_and_keeps_no_old_file_out() {
    let host = Host::new();
    host.file("old.yaml", "env: {OPSCHAIN_VERSION: \"2025-04-25\", PGPASSWORD: 12345678}\n");
    let report = host.ok(&["config", "record", "old.yaml", "--at", "2025-04-25"]);
    assert!(report.contains("env.PGPASSWORD") && !report.contains("12345678"), "{report}");
}

#[test]
fn a_folder_is_recorded_by_the_dates_in_its_names_after_a_question() {
    let host = Host::new();
    host.file("old/values-2025-04-25.yaml", OLD);
    host.file("old/copy-2025-04-25.yaml", OLD);
    host.file("old/values-2026-08-20T10-30.yml", NEW);
    host.file("old/undated.yaml", NEW);
    host.file("old/notes.txt", "x");
    let commits = host.commits();
    let plan = host.run(&["config", "record", "--dir", "old", "--dry-run"]);
    assert_eq!(plan.status.code(), Some(1), "one is refused: {}", said(&plan));
    assert!(said(&plan).contains("holds no one date") && host.commits() == commits, "{}", said(&plan));
    assert!(host.fails(27, &["config", "record", "--dir", "old"]).contains("Write 2 deployments"));
    assert_eq!(host.commits(), commits);
    let report = host.fails(1, &["config", "record", "--dir", "old", "--yes"]);
    assert!(report.contains("2 deployments recorded") && report.contains("undated.yaml"), "{report}");
    std::fs::remove_file(host.home().join("old/undated.yaml")).unwrap();
    let commits = host.commits();
    let again = host.json(&["config", "record", "--dir", "old", "--yes"]);
    assert_eq!((again["recorded"].as_array().unwrap().len(), again["present"].as_array().unwrap().len()), (0, 3));
    assert_eq!(host.commits(), commits);
    assert_eq!(host.ok(&["config", "cat", "--at", "2026-08-20T10:00"]), OLD);
    assert_eq!(host.ok(&["config", "cat", "--at", "2026-08-20"]), NEW);
    assert!(host.fails(14, &["config", "cat", "--at", "2025-04-24"]).contains("2025-04-24"));
}

#[test]
fn an_import_is_one_commit_with_its_outcome_so_that_a_kill_leaves_all_of_it_or_nothing() {
    let host = Host::new();
    host.file("old.yaml", OLD);
    let args = ["config", "record", "old.yaml", "--at", "2025-04-25", "--revision", "7"];
    let before = host.commits();
    host.ok(&args);
    assert_eq!(host.commits(), before + 1);
    let shown = host.json(&["config", "show"]);
    assert_eq!(shown["outcome"]["status"], "deployed");
    assert_eq!(shown["outcome"]["helm_revision"], 7);
    assert_eq!(shown["outcome"]["at"], shown["record"]["at"]);
    // As after a kill before the branch moved.
    let git =
        |args: &[&str]| assert!(Command::new("git").arg("-C").arg(host.vault()).args(args).status().unwrap().success());
    git(&["update-ref", "refs/heads/main", "HEAD~1"]);
    std::fs::remove_dir_all(host.vault().join("../../../state/dr/vaults")).unwrap();
    assert_eq!(host.json(&["config", "log"])["total"], 0);
    host.ok(&args);
    let log = host.json(&["config", "log"]);
    assert_eq!((log["total"].as_u64(), log["deployments"][0]["state"].as_str()), (Some(1), Some("deployed")));
}

/// A stand-in for helm with two revisions of a release; the second was made by `dr`'s deployment `made`.
pub fn fake_helm(host: &Host, made: &str) {
    let script = format!(
        r#"#!/bin/sh
case "$*" in
version*) echo v4.1.4 ;;
history*) cat <<'END'
[{{"revision":1,"updated":"2025-04-25T10:00:00.5Z","status":"superseded","chart":"opschain-0.1.0+2025-04-25","description":"Install complete"}},
 {{"revision":2,"updated":"2026-08-20T10:00:00Z","status":"deployed","chart":"opschain-2026.8.20","description":"dr {made}"}},
 {{"revision":3,"updated":"2026-08-21T10:00:00Z","status":"failed","chart":"opschain-2026.8.20","description":"boom"}},
 {{"revision":4,"updated":"2026-08-22T10:00:00Z","status":"pending-upgrade","chart":"opschain-2026.8.20","description":"Preparing"}}]
END
;;
get*revision\ 1*) echo '{{"env":{{"PGPASSWORD":"hunter22-one"}}}}' ;;
get*revision\ 3*) echo null ;;
get*) echo '{{"env":{{"PGPASSWORD":"hunter22-two","OPSCHAIN_VERSION":"2026-08-20"}}}}' ;;
*) exit 1 ;;
esac
"#
    );
    host.program("bin/helm", &script);
}

#[test]
fn what_helm_remembers_is_recorded_as_such_and_what_dr_deployed_is_not_recorded_twice() {
    let host = Host::new();
    host.file("new.yaml", NEW);
    host.ok(&["config", "record", "new.yaml", "--at", "2026-08-20T09:59", "--revision", "2"]);
    let known = host.json(&["config", "show"])["record"]["id"].as_str().unwrap().to_owned();
    fake_helm(&host, &known);
    let report = host.fails(1, &["config", "record", "--from-helm", "--all-revisions", "--yes"]);
    assert!(report.contains("revision 4: helm has it as pending-upgrade"), "{report}");
    assert!(report.contains(&format!("revision 2 is there already, as {known}")), "{report}");
    let log = host.json(&["config", "log"]);
    let lines = log["deployments"].as_array().unwrap();
    let seen: Vec<(&str, u64, &str)> = lines
        .iter()
        .map(|line| {
            (line["state"].as_str().unwrap(), line["revision"].as_u64().unwrap(), line["version"].as_str().unwrap())
        })
        .collect();
    assert_eq!(seen, [("failed", 3, "2026-08-20"), ("deployed", 2, "2026-08-20"), ("deployed", 1, "2025-04-25")]);
    assert!(lines[0]["why"].as_str().unwrap().contains("without the comments"), "{log}");
    assert_eq!(host.ok(&["config", "cat", "rev:1"]), "{\n  \"env\": {\n    \"PGPASSWORD\": \"hunter22-one\"\n  }\n}\n");
    assert_eq!(host.ok(&["config", "cat", "rev:3"]), "{}\n");
    let again = host.ok(&["config", "record", "--from-helm"]);
    assert!(again.contains("revision 2 is there already"), "{again}");
}

/// An install that was removed and made again by hand counts its revisions from 1 again.
#[test]
fn another_installs_revision_of_the_same_number_is_recorded() {
    let host = Host::new();
    host.file("other.yaml", "env: {PGPASSWORD: hunter22-other, OPSCHAIN_VERSION: 2026-08-20}\n");
    host.ok(&["config", "record", "other.yaml", "--at", "2026-08-20T09:59", "--revision", "2"]);
    fake_helm(&host, "by hand");
    let said = host.ok(&["config", "record", "--from-helm", "--yes"]);
    assert!(!said.contains("is there already"), "{said}");
    assert!(host.ok(&["config", "cat", "latest"]).contains("hunter22-two"));
}

#[test]
fn the_log_says_what_changed_without_a_value_and_finds_by_date_version_outcome_and_words() {
    let host = Host::new();
    host.file("old.yaml", OLD);
    host.file("new.yaml", NEW);
    let record =
        |file: &str, at: &str, more: &[&str]| host.ok(&[&["config", "record", file, "--at", at], more].concat());
    record("old.yaml", "2025-04-25", &["--by", "alice"]);
    record("new.yaml", "2026-08-20T10:00", &["-m", "Ticket-7"]);
    record("new.yaml", "2026-08-21", &["--outcome", "failed"]);
    record("old.yaml", "2025-06-01", &["-n", "other"]);
    let text = host.ok(&["config", "log"]);
    assert!(text.contains("2 changed, 1 added: env.OPSCHAIN_VERSION") && text.contains("same values"), "{text}");
    assert!(!text.contains("hunter22"), "{text}");
    let found = |args: &[&str]| -> Vec<String> {
        let log = host.json(&[&["config", "log"], args].concat());
        let lines = log["deployments"].as_array().unwrap();
        lines.iter().map(|line| line["at"].as_str().unwrap()[..10].to_owned()).collect()
    };
    assert_eq!(found(&[]), ["2026-08-21", "2026-08-20", "2025-04-25"]);
    assert_eq!(found(&["--since", "2026-08-20", "--until", "2026-08-20"]), ["2026-08-20"]);
    assert_eq!(found(&["--version", "2026.8.20"]), ["2026-08-21", "2026-08-20"]);
    assert_eq!(found(&["--outcome", "failed"]), ["2026-08-21"]);
    assert_eq!(found(&["--grep", "ticket-7"]), ["2026-08-20"]);
    assert_eq!(found(&["--grep", "ALICE"]), ["2025-04-25"]);
    assert_eq!(found(&["--install", "other.opschain"]), ["2025-06-01"]);
    assert_eq!(found(&["--all-installs", "--limit", "0"]), ["2026-08-21", "2026-08-20", "2025-06-01", "2025-04-25"]);
    assert!(
        host.fails(14, &["config", "log", "--install", "nowhere.x"])
            .contains("It knows opschain.opschain, other.opschain")
    );
    assert!(host.fails(64, &["config", "log", "--since", "spring"]).contains("`spring` is not a time"));
    let log = host.json(&["config", "log", "--limit", "2"]);
    assert_eq!(
        (
            log["total"].as_u64(),
            log["deployments"][0]["deployed_last"].as_bool(),
            log["deployments"][1]["deployed_last"].as_bool()
        ),
        (Some(3), Some(false), Some(true))
    );
    let changes = &log["deployments"][1]["changes"];
    assert_eq!(changes["paths"], serde_json::json!(["env.OPSCHAIN_VERSION", "env.TZ", "api.replicas"]));
    // Without an identity the counts are not known, but that nothing changed is.
    let settings = host.home().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("\nidentity =", "\n# identity =")).unwrap();
    let log = host.json(&["config", "log"]);
    assert_eq!(log["deployments"][0]["changes"]["summary"], "same values");
    assert!(log["deployments"][1]["changes"].is_null(), "{log}");
}

#[test]
fn one_value_is_taken_out_as_written_raw_or_as_json() {
    let host = Host::new();
    let yaml = "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  PGPASSWORD: 'hunter22' # soon to change\n  nested:\n    # kept\n    a.b: 0x10\nhosts:\n- {name: a, port: 1}\n";
    host.file("v.yaml", yaml);
    host.ok(&["config", "record", "v.yaml", "--at", "2026-08-20"]);
    let extract = |args: &[&str]| host.ok(&[&["config", "extract"], args].concat());
    assert_eq!(extract(&["env.PGPASSWORD"]), "'hunter22'\n");
    assert_eq!(extract(&["env.PGPASSWORD", "--raw"]), "hunter22");
    assert_eq!(extract(&["env.nested"]), "a.b: 0x10\n");
    assert_eq!(extract(&["env.nested.\"a.b\"", "--output", "json"]), "16\n");
    assert_eq!(extract(&["hosts[name=a].port", "latest"]), "1\n");
    assert_eq!(extract(&["/hosts/0", "--at", "2026-08-20"]), "{name: a, port: 1}\n");
    let missing = host.fails(14, &["config", "extract", "env.nope"]);
    assert!(missing.contains("env is there, and holds OPSCHAIN_VERSION, PGPASSWORD, nested"), "{missing}");
    assert!(!missing.contains("hunter22"), "{missing}");
    assert!(host.fails(64, &["config", "extract", "env", "--raw"]).contains("is a map"));
    assert!(host.fails(64, &["config", "extract", "env..x"]).contains("character 5"));
}
