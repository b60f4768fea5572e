//! `dr config diff` on files: what is said in each form, and with which exit code.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home with a vault beside which rules may stand, made by `dr init`.
struct Home(tempfile::TempDir);

struct Said {
    out: String,
    err: String,
    exit: i32,
}

impl Home {
    /// Without settings: two files need none.
    fn bare() -> Self {
        Self(tempfile::Builder::new().prefix("dr-").tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.path())
            .env("DR_WHO", "operator")
            .env("PATH", self.path().join("bin"))
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    fn dr(&self, args: &[&str]) -> Said {
        said(self.command(args).output().unwrap())
    }

    fn diff(&self, args: &[&str]) -> Said {
        self.dr(&[&["config", "diff"], args].concat())
    }

    fn with_input(&self, args: &[&str], input: &str) -> Said {
        let mut child = self
            .command(&[&["config", "diff"], args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // What is refused may be refused before it is read.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        said(child.wait_with_output().unwrap())
    }

    /// A helm that answers as the scripts of the test say.
    fn helm(&self, values: &str) {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*version*) echo v4.1.4;;\n*get*values*--revision*7*) echo '{{\"a\": 7}}';;\n\
             *get*values*) echo '{values}';;\n*) exit 1;;\nesac\n"
        );
        let path = self.file("bin/helm", &script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn said(output: std::process::Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&output.stdout), err: text(&output.stderr), exit: output.status.code().unwrap() }
}

const OLD: &str = "env: {TZ: UTC, PGPASSWORD: hunter22}\napi: {replicas: 1}\n";
const NEW: &str = "env: {TZ: CET, PGPASSWORD: hunter33}\napi: {replicas: 1, debug: true}\n";

fn pair() -> Home {
    let home = Home::bare();
    home.file("old.yaml", OLD);
    home.file("new.yaml", NEW);
    home.file("layout.yaml", "# c\napi: {replicas: 0x1}\nenv: {PGPASSWORD: hunter22, TZ: UTC}\n");
    home
}

#[test]
fn two_files_need_no_settings_and_the_exit_code_tells_same_from_changed() {
    let home = pair();
    let same = home.diff(&["old.yaml", "./old.yaml"]);
    assert_eq!((same.exit, same.err.as_str()), (0, ""), "{}", same.out);
    assert!(same.out.contains("the same, byte for byte"), "{}", same.out);
    let layout = home.diff(&["old.yaml", "layout.yaml"]);
    assert_eq!(layout.exit, 0, "{}", layout.err);
    assert!(
        layout.out.contains("1 comment added, 2 maps in another order, 1 value in another notation"),
        "{}",
        layout.out
    );
    let changed = home.diff(&["old.yaml", "new.yaml"]);
    assert_eq!(changed.exit, 2, "{}", changed.err);
    assert!(changed.out.contains("~ env.TZ  \"UTC\" -> \"CET\""), "{}", changed.out);
    assert!(!changed.out.contains("hunter"), "{}", changed.out);
    let missing = home.diff(&["old.yaml", "missing.yaml"]);
    assert_eq!(missing.exit, 14);
    assert!(
        missing.err.contains("there is no file missing.yaml") && missing.err.contains("git:REV:PATH"),
        "{}",
        missing.err
    );
    home.file("bad.yaml", "a: [\n");
    let bad = home.diff(&["old.yaml", "bad.yaml"]);
    assert_eq!(bad.exit, 2);
    assert!(bad.err.contains("bad.yaml: line 1, column 4") && bad.err.contains("compared as text"), "{}", bad.err);
}

#[test]
fn a_key_that_helm_takes_by_chance_is_said_before_anything_is_concluded() {
    let home = Home::bare();
    home.file("a.yaml", "m:\n  1: a\n  \"1\": b\n");
    home.file("b.yaml", "m:\n  \"1\": b\n");
    let said = home.diff(&["a.yaml", "b.yaml"]);
    assert!(said.exit == 0 && said.err.contains("a.yaml: which value of m.1 Helm keeps is chance"), "{}", said.err);
    assert!(!said.err.contains("b.yaml:"), "{}", said.err);
    let said = home.dr(&["config", "upgrade", "b.yaml", "b.yaml", "-f", "a.yaml"]);
    assert!(said.err.contains("is chance"), "{}", said.err);
}

#[test]
fn a_last_line_without_its_end_is_layout_and_not_the_same() {
    let home = pair();
    home.file("cut.yaml", OLD.trim_end());
    let said = home.diff(&["old.yaml", "cut.yaml"]);
    assert_eq!(said.exit, 0);
    assert!(said.out.contains("only comments or layout differ"), "{}", said.out);
}

#[test]
fn every_form_of_output_tells_the_same_and_no_secret() {
    let home = pair();
    for form in [
        &["--brief"][..],
        &["--format", "brief"],
        &["--format", "json"],
        &["--format", "markdown"],
        &["--format", "raw"],
        &["--raw"],
        &["--output", "json"],
        &["-v"],
    ] {
        let said = home.diff(&[&["old.yaml", "new.yaml"], form].concat());
        assert_eq!(said.exit, 2, "{form:?}: {}", said.err);
        assert!(said.out.contains("TZ") && said.out.contains("debug"), "{form:?}: {}", said.out);
        assert!(!format!("{}{}", said.out, said.err).contains("hunter"), "{form:?}: {}", said.out);
    }
    let brief = home.diff(&["old.yaml", "new.yaml", "--brief"]);
    assert_eq!(brief.out, "old.yaml -> new.yaml: 2 changed, 1 added: ~env.TZ, ~env.PGPASSWORD, +api.debug\n");
    let json: serde_json::Value =
        serde_json::from_str(&home.diff(&["old.yaml", "new.yaml", "--format", "json"]).out).unwrap();
    let global: serde_json::Value =
        serde_json::from_str(&home.diff(&["old.yaml", "new.yaml", "--output", "json"]).out).unwrap();
    let paths = |json: &serde_json::Value| {
        json["changes"].as_array().unwrap().iter().map(|c| c["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&json), paths(&global));
    assert_eq!(json["class"], "changed");
    assert_eq!(json["changes"][1]["secret"], true);
    let raw = home.diff(&["old.yaml", "layout.yaml", "--raw"]);
    assert_eq!(raw.exit, 2, "as text, layout is a change");
    assert!(raw.out.starts_with("--- old.yaml\n+++ layout.yaml\n@@ "), "{}", raw.out);
    let raw = home.diff(&["old.yaml", "old.yaml", "--raw"]);
    assert_eq!((raw.exit, raw.out.as_str()), (0, ""));
}

#[test]
fn secrets_are_shown_where_nobody_else_reads_and_otherwise_only_when_asked_twice() {
    let home = pair();
    let once = home.diff(&["old.yaml", "new.yaml", "--show-secrets"]);
    assert_eq!(once.exit, 27);
    assert!(once.err.contains("stdout is not a terminal") && once.err.contains("twice"), "{}", once.err);
    assert!(!format!("{}{}", once.out, once.err).contains("hunter"));
    let twice = ["old.yaml", "new.yaml", "--show-secrets", "--show-secrets"];
    for form in [&["-v"][..], &["--output", "json"], &["--raw"], &["--format", "markdown"]] {
        let said = home.diff(&[&twice[..], form].concat());
        assert_eq!(said.exit, 2);
        assert!(said.out.contains("hunter22") && said.out.contains("hunter33"), "{form:?}: {}", said.out);
        assert!(!said.out.contains('\u{1b}'), "{form:?}: {}", said.out);
    }
    let ci = home.command(&["config", "diff", "old.yaml", "new.yaml", "--show-secrets"]).env("CI", "true").output();
    let ci = said(ci.unwrap());
    assert_eq!(ci.exit, 27);
    assert!(ci.err.contains("CI is set"), "{}", ci.err);
}

#[test]
fn the_ignore_file_needs_reasons_expires_and_is_told_of() {
    let home = pair();
    home.file(
        "rules.toml",
        "[[ignore]]\npath = \"env.TZ\"\nreason = \"sites differ\"\n\
         [[ignore]]\npath = \"/api/debug\"\nreason = \"until the migration\"\nexpires = 2020-01-01\n",
    );
    let said = home.diff(&["old.yaml", "new.yaml", "--ignore-file", "rules.toml"]);
    assert_eq!(said.exit, 2);
    assert!(!said.out.contains("env.TZ") && said.out.contains("+ api.debug"), "{}", said.out);
    assert!(said.out.contains("1 difference ignored (-v shows them)"), "{}", said.out);
    assert!(said.err.contains("rules.toml:4: the rule for /api/debug has expired on 2020-01-01"), "{}", said.err);
    let said = home.diff(&["old.yaml", "new.yaml", "--ignore-file", "rules.toml", "-v"]);
    assert!(said.out.contains("env.TZ  by env.TZ: sites differ"), "{}", said.out);
    home.file("all.toml", "[[ignore]]\npath = \"**\"\nreason = \"none of it matters\"\n");
    let said = home.diff(&["old.yaml", "new.yaml", "--ignore-file", "all.toml"]);
    assert_eq!(said.exit, 0);
    assert!(said.out.contains("nothing but what was left out"), "{}", said.out);
    home.file("wrong.toml", "[[ignore]]\npath = \"env.TZ\"\n  reasons = \"x\"\n");
    let said = home.diff(&["old.yaml", "new.yaml", "--ignore-file", "wrong.toml"]);
    assert_eq!(said.exit, 10);
    assert!(said.err.contains("wrong.toml:3:3: unknown field `reasons`"), "{}", said.err);
}

#[test]
fn paths_and_kinds_pick_what_is_told() {
    let home = pair();
    let paths = |args: &[&str]| {
        let said = home.diff(&[&["old.yaml", "new.yaml", "--brief"], args].concat());
        (said.exit, said.out.trim_end().to_owned())
    };
    assert_eq!(paths(&["--only", "added"]).1, "old.yaml -> new.yaml: 1 added: +api.debug");
    assert_eq!(paths(&["--filter", "env"]).1, "old.yaml -> new.yaml: 2 changed: ~env.TZ, ~env.PGPASSWORD");
    assert_eq!(paths(&["--exclude", "/^env\\./", "--exclude", "api.*"]).0, 0);
    let said = home.diff(&["old.yaml", "new.yaml", "--exclude", "a[x]"]);
    assert_eq!(said.exit, 64);
    assert!(said.err.contains("`a[x]` names no path"), "{}", said.err);
}

#[test]
fn stdin_and_helms_releases_are_compared() {
    let home = pair();
    let said = home.with_input(&["old.yaml", "-"], NEW);
    assert_eq!(said.exit, 2, "{}", said.err);
    assert!(said.out.contains("old.yaml -> stdin"), "{}", said.out);
    let said = home.with_input(&["-", "-"], NEW);
    assert_eq!(said.exit, 64);
    home.helm("{\"a\": 1, \"password\": \"hunter22\"}");
    home.file("values.yaml", "a: 1\npassword: hunter22\n");
    home.file(".config/dr/dr.toml", "[install]\nnamespace = \"x\"\n");
    let said = home.diff(&["release", "values.yaml"]);
    assert_eq!((said.exit, said.err.as_str()), (0, ""), "{}", said.out);
    let said = home.diff(&["release:7", "values.yaml"]);
    assert_eq!(said.exit, 2, "{}", said.err);
    assert!(
        said.out.contains("release opschain revision 7 -> values.yaml") && said.out.contains("~ a  7 -> 1"),
        "{}",
        said.out
    );
    home.file("release", "a: 1\n");
    let said = home.diff(&["release", "values.yaml"]);
    assert_eq!(said.exit, 64);
    assert!(said.err.contains("./release"), "{}", said.err);
}

#[test]
fn a_file_of_the_users_own_repository_is_read_at_any_revision() {
    let home = pair();
    let repository = git2::Repository::init(home.path()).unwrap();
    let commit = |text: &str| {
        home.file("ops/values.yaml", text);
        let mut index = repository.index().unwrap();
        index.add_path(Path::new("ops/values.yaml")).unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let who = git2::Signature::now("operator", "operator@example.test").unwrap();
        let parent = repository.head().ok().map(|head| head.peel_to_commit().unwrap());
        repository.commit(Some("HEAD"), &who, &who, "x", &tree, &parent.iter().collect::<Vec<_>>()).unwrap();
    };
    commit(OLD);
    commit(NEW);
    let said = home.diff(&["git:HEAD~1:ops/values.yaml", "git:HEAD:./ops/values.yaml", "--brief"]);
    assert_eq!(said.exit, 2, "{}", said.err);
    assert!(said.out.starts_with("ops/values.yaml at HEAD~1 -> ./ops/values.yaml at HEAD: 2 changed"), "{}", said.out);
    for (operand, words) in [
        ("git:nothing:ops/values.yaml", "there is no such revision"),
        ("git:HEAD:nothing.yaml", "there is no such file"),
        ("git:HEAD:ops", "it is no file"),
    ] {
        let said = home.diff(&[operand, "old.yaml"]);
        assert_eq!(said.exit, 14, "{operand}");
        assert!(said.err.contains(words), "{operand}: {}", said.err);
    }
}

#[test]
fn the_values_in_a_bundle_are_opened_with_the_identity() {
    let home = pair();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let bundle = std::fs::read_dir(fixtures.join("bundles/v1")).unwrap().next().unwrap().unwrap().path();
    let copy = home.path().join("kept.tar");
    std::fs::copy(&bundle, &copy).unwrap();
    let keys = |name: &str| fixtures.join("keys").join(name).to_str().unwrap().to_owned();
    let (identity, signers) = (keys("identity.txt"), keys("allowed_signers"));
    let said = home.diff(&["kept.tar", "old.yaml", "--identity", &identity, "--trusted-signers", &signers, "--brief"]);
    assert_eq!(said.exit, 2, "{}", said.err);
    let name = bundle.file_stem().unwrap().to_str().unwrap();
    assert!(said.out.starts_with(&format!("bundle {name} -> old.yaml: ")), "{}", said.out);
    let stranger = keys("stranger-identity.txt");
    let said = home.diff(&["kept.tar", "old.yaml", "--identity", &stranger, "--any-signer"]);
    assert_eq!(said.exit, 15, "{}", said.err);
}

#[test]
fn deployments_are_named_in_every_way_and_doubt_is_refused() {
    let home = Home::bare();
    let made = home.dr(&["init", "--yes"]);
    assert_eq!(made.exit, 0, "{}{}", made.out, made.err);
    home.file("values.yaml", OLD);
    let said = home.diff(&["live", "values.yaml"]);
    assert_eq!(said.exit, 14, "{}", said.err);
    assert!(said.err.contains("What can be compared: a deployment (live, latest"), "{}", said.err);
    let said = home.diff(&["prod.opschain:live", "values.yaml"]);
    assert_eq!(said.exit, 14);
    assert!(said.err.contains("release opschain in namespace prod"), "{}", said.err);
    // A word that is only a file is that file.
    home.file("live", NEW);
    let said = home.diff(&["live", "values.yaml", "--brief"]);
    assert_eq!(said.exit, 2, "{}", said.err);
    assert!(said.out.starts_with("live -> values.yaml"), "{}", said.out);
    let said = home.diff(&["git:main", "values.yaml"]);
    assert_eq!(said.exit, 14);
    assert!(said.err.contains("nothing was live when the config vault stood at main"), "{}", said.err);
    let said = home.diff(&["release:x", "values.yaml"]);
    assert_eq!(said.exit, 64);
}

#[test]
fn recorded_deployments_of_any_install_and_past_states_of_the_vault_are_compared() {
    let home = Home::bare();
    let made = home.dr(&["init", "--yes"]);
    assert_eq!(made.exit, 0, "{}{}", made.out, made.err);
    home.file("old.yaml", OLD);
    home.file("new.yaml", NEW);
    let record = |file: &str, at: &str, more: &[&str]| {
        let args = ["config", "record", file, "--at", at, "--version", "2025-04-25", "--yes"];
        let said = home.dr(&[&args[..], more].concat());
        assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
    };
    record("old.yaml", "2025-04-25T10:00", &["--revision", "1"]);
    record("new.yaml", "2025-05-25T10:00", &["--revision", "2"]);
    record("old.yaml", "2025-06-25T10:00", &["--revision", "1", "--namespace", "other"]);
    for (from, to) in [
        ("rev:1", "rev:2"),
        ("2025-04-30T00:00", "live"),
        ("other.opschain:live", "latest"),
        ("deployment:rev:1", "new.yaml"),
        ("rev:1", "git:main"),
    ] {
        let said = home.diff(&[from, to, "--brief"]);
        assert_eq!(said.exit, 2, "{from} {to}: {}", said.err);
        assert!(said.out.ends_with(": 2 changed, 1 added: ~env.TZ, ~env.PGPASSWORD, +api.debug\n"), "{}", said.out);
    }
    // One operand: against what is live.
    assert_eq!(home.diff(&["new.yaml"]).exit, 0);
    let json: serde_json::Value = serde_json::from_str(&home.diff(&["old.yaml", "--output", "json"]).out).unwrap();
    assert_eq!(json["lasting_fingerprints"], true);
    // The vault when its newest commits were not there yet.
    let vault = git2::Repository::discover(vault_of(&home)).unwrap();
    let mut walk = vault.revwalk().unwrap();
    walk.push_head().unwrap();
    let live = walk.map(|id| home.diff(&[&format!("git:{}", id.unwrap()), "old.yaml"]).exit);
    let live: Vec<i32> = live.collect();
    assert!(live.contains(&0) && live.contains(&2) && live.last() == Some(&14), "{live:?}");
    // A word that is a file and a deployment, too.
    home.file("latest", OLD);
    let said = home.diff(&["latest", "old.yaml"]);
    assert_eq!(said.exit, 64);
    assert!(said.err.contains("./latest") && said.err.contains("deployment:latest"), "{}", said.err);
}

/// Where `dr init` has made the vault.
fn vault_of(home: &Home) -> PathBuf {
    let settings = std::fs::read_to_string(home.path().join(".config/dr/dr.toml")).unwrap();
    let settings: toml::Table = settings.parse().unwrap();
    let path = settings["vault"]["path"].as_str().unwrap().to_owned();
    match path.strip_prefix("~/") {
        Some(rest) => home.path().join(rest),
        None => home.path().join(".config/dr").join(path),
    }
}
