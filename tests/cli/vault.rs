//! The vault's guards, with the real program: verify, recipients, rekey, sync, check.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dr::internals::crypt::Signer;
use dr::internals::ops::init::commit_signer;
use dr::internals::vault::Vault;
use serde_json::Value;

/// A host with a home of its own, and a vault.
pub struct Host {
    home: tempfile::TempDir,
}

/// What the program said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {} {}", self.out, self.err))
    }
}

impl Host {
    pub fn bare() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub fn new() -> Self {
        let host = Self::bare();
        assert_eq!(host.run(&["init"]).code, 0);
        host
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    pub fn vault_path(&self) -> PathBuf {
        self.path(".local/share/dr/vault")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("DR_WHO", "operator")
            .env("PATH", std::env::var_os("PATH").unwrap())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        said(self.command(args))
    }

    /// This host's own public age key.
    pub fn age_key(&self) -> String {
        let identities = dr::internals::crypt::Identities::load(&self.path(".config/dr/identity.txt"), || None);
        identities.unwrap().recipients().remove(0)
    }

    fn vault(&self) -> Vault {
        let signer = Signer::load(&self.path(".config/dr/signing_key")).unwrap();
        Vault::open(&self.vault_path(), commit_signer(signer)).unwrap()
    }

    /// Records a deployment that went live.
    pub fn record(&self, at: &str, values: &str) -> String {
        crate::recorded::record(&self.path(""), "opschain", at.parse().unwrap(), values)
    }

    pub fn git(&self, args: &[&str]) -> Said {
        git(&self.vault_path(), args)
    }
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-9), out: text(&output.stdout), err: text(&output.stderr) }
}

pub fn git(place: &Path, args: &[&str]) -> Said {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(place)
        .args(["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    said(command)
}

fn generate_key() -> String {
    dr::internals::crypt::Identities::generate().recipients().remove(0)
}

#[test]
fn verify_needs_no_key_and_names_what_was_done_to_the_vault() {
    let host = Host::new();
    host.record("2026-08-20T10:00:00Z", "env: {PGPASSWORD: hunter22-hunter}\n");
    host.record("2026-08-21T10:00:00Z", "env: {PGPASSWORD: hunter33-hunter}\n");
    let said = host.run(&["config", "verify", "--decrypt", "-o", "json"]);
    assert_eq!((said.code, said.json()["opened"]["proved"].as_u64()), (0, Some(3)), "{} {}", said.out, said.err);
    std::fs::remove_file(host.path(".config/dr/identity.txt")).unwrap();
    std::fs::remove_file(host.path(".config/dr/signing_key")).unwrap();
    let said = host.run(&["config", "verify", "-o", "json"]);
    let json = said.json();
    assert_eq!((said.code, json["well"].as_bool(), json["commits"].as_u64()), (0, Some(true), Some(5)), "{}", said.err);
    assert_eq!(host.run(&["config", "verify", "--decrypt"]).code, 15);
    // A branch that is moved back.
    let tip = host.git(&["rev-parse", "HEAD"]).out;
    host.git(&["update-ref", "refs/heads/main", "HEAD~1"]);
    let said = host.run(&["config", "verify"]);
    assert!(said.code == 17 && said.out.contains("rolled-back"), "{}", said.out);
    host.git(&["update-ref", "refs/heads/main", tip.trim()]);
    // A commit by plain git.
    std::fs::write(host.vault_path().join("README.md"), "forged").unwrap();
    host.git(&["commit", "-qam", "forged"]);
    let said = host.run(&["config", "verify"]);
    assert!(said.code == 16 && said.out.contains("unsigned") && said.out.contains("rewritten"), "{}", said.out);
    let said = host.run(&["config", "verify", "--signers", "/nonexistent"]);
    assert_eq!(said.code, 15, "{}", said.err);
}

#[test]
fn recipients_are_added_removed_and_compared_with_the_settings() {
    let host = Host::new();
    host.record("2026-08-20T10:00:00Z", "a: 1\n");
    let (one, two) = (generate_key(), generate_key());
    let said = host.run(&["config", "recipients", "list"]);
    assert!(said.code == 0 && said.out.contains("only one key opens"), "{}", said.out);
    assert_eq!(host.run(&["config", "recipients", "add", "age1nonsense"]).code, 15);
    assert_eq!(host.run(&["config", "recipients", "add", &one, "--dry-run"]).code, 0);
    assert!(!host.run(&["config", "recipients", "list"]).out.contains(&one));
    let said = host.run(&["config", "recipients", "add", &one, "-m", "escrow, in the safe"]);
    assert!(said.code == 0 && said.out.contains("escrow, in the safe") && said.out.contains("dr config rekey"));
    assert!(said.out.contains("bundles of this host are not sealed to"), "{}", said.out);
    assert_eq!(host.run(&["config", "recipients", "add", &one]).code, 15, "it is there already");
    let said = host.run(&["config", "recipients", "rm", &one, "--yes"]);
    assert!(said.code == 15 && said.err.contains("--allow-single"), "{}", said.err);
    assert_eq!(host.run(&["config", "recipients", "add", &two]).code, 0);
    assert_eq!(host.run(&["config", "recipients", "rm", &one]).code, 27, "nobody to ask");
    let said = host.run(&["config", "recipients", "rm", &one, "--yes", "-m", "left", "-o", "json"]);
    let json = said.json();
    assert_eq!((said.code, json["now"].as_array().unwrap().len()), (0, 2), "{}", said.err);
    assert_eq!((json["past"][0]["key"].as_str(), json["past"][0]["why"].as_str()), (Some(one.as_str()), Some("left")));
    assert_eq!(host.run(&["config", "verify"]).code, 0);
}

#[test]
fn rekey_survives_every_kill_and_lists_what_must_be_changed() {
    let host = Host::new();
    for number in 0..70 {
        let at = format!("2026-08-{:02}T10:{:02}:00Z", 1 + number / 24, number % 24);
        host.record(&at, &format!("env:\n  PGPASSWORD: correct-horse-7\n  TZ: zone-{number}\n"));
    }
    let (one, two) = (generate_key(), generate_key());
    for key in [&one, &two] {
        assert_eq!(host.run(&["config", "recipients", "add", key]).code, 0);
    }
    host.record("2026-09-01T10:00:00Z", "env:\n  PGPASSWORD: correct-horse-7\n  OTHER_PASSWORD: battery-staple-8\n");
    assert_eq!(host.run(&["config", "recipients", "rm", &one, "--yes"]).code, 0);
    let said = host.run(&["config", "rekey", "--dry-run", "-o", "json"]);
    assert_eq!((said.code, said.json()["files"].as_u64()), (0, Some(72)), "{} {}", said.out, said.err);
    for (point, left) in [("rekey.before", 72), ("rekey.batch", 8)] {
        let mut command = host.command(&["config", "rekey", "--yes"]);
        command.env("DR_FAULT", format!("{point}=kill"));
        assert_eq!(crate::vault::said(command).code, -9, "{point}");
        let said = host.run(&["config", "rekey", "--dry-run", "-o", "json"]);
        assert_eq!(said.json()["files"].as_u64(), Some(left), "{point}");
        assert_eq!(host.run(&["config", "verify", "--decrypt"]).code, 0, "{point}");
    }
    let said = host.run(&["config", "rekey", "--yes", "-o", "json"]);
    let json = said.json();
    assert_eq!((said.code, json["files"].as_u64()), (0, Some(8)), "{}", said.err);
    let rotate: Vec<&str> = json["rotate"].as_array().unwrap().iter().map(|r| r["path"].as_str().unwrap()).collect();
    assert_eq!(rotate, ["env.PGPASSWORD", "env.OTHER_PASSWORD"]);
    assert!(!said.out.contains("horse") && !said.out.contains("staple"));
    let said = host.run(&["config", "rekey"]);
    assert!(said.code == 0 && said.out.contains("Nothing to do"), "{} {}", said.out, said.err);
    let said = host.run(&["config", "verify", "--decrypt", "-o", "json"]);
    assert_eq!((said.code, said.json()["rekeyed"].as_u64()), (0, Some(72)), "{}", said.out);
}

#[test]
fn rekey_killed_at_any_moment_leaves_a_vault_that_is_well() {
    let host = Host::new();
    for number in 0..10 {
        host.record(&format!("2026-08-01T10:{number:02}:00Z"), &format!("n: {number}\n"));
    }
    let mut killed = 0;
    for round in 0..12 {
        let _ = host.run(&["config", "recipients", "add", &generate_key()]);
        let mut child =
            host.command(&["config", "rekey", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Not a wait for something to be done: the moment of the blow is what is varied.
        std::thread::park_timeout(std::time::Duration::from_millis(7 * round));
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
        let said = host.run(&["config", "verify", "--decrypt"]);
        assert_eq!(said.code, 0, "round {round}: {}{}", said.out, said.err);
    }
    assert!(killed > 0);
    assert_eq!(host.run(&["config", "rekey", "--yes"]).code, 0);
    assert!(host.run(&["config", "rekey", "--yes"]).out.contains("Nothing to do"));
    assert_eq!(host.git(&["fsck", "--strict"]).code, 0);
}

/// Two hosts with one vault, which trust each other, and the bare repository between them.
pub fn two_hosts() -> (Host, Host, tempfile::TempDir) {
    let (one, two) = (Host::new(), Host::bare());
    let remote = tempfile::tempdir().unwrap();
    let address = remote.path().to_str().unwrap();
    assert_eq!(git(remote.path(), &["init", "-q", "--bare"]).code, 0);
    one.git(&["remote", "add", "origin", address]);
    let first = one.run(&["config", "sync", "-o", "json"]);
    assert_eq!((first.code, first.json()["pushed"].as_u64()), (0, Some(1)), "{}", first.err);
    std::fs::create_dir_all(two.path(".local/share/dr")).unwrap();
    let clone = git(remote.path(), &["clone", "-q", "-b", "main", address, two.vault_path().to_str().unwrap()]);
    assert_eq!(clone.code, 0, "{}", clone.err);
    let init = two.run(&["init"]);
    assert!(init.code == 0 && init.out.contains("kept"), "{} {}", init.out, init.err);
    let lines = [&one, &two].map(|host| std::fs::read_to_string(host.path(".config/dr/allowed_signers")).unwrap());
    for host in [&one, &two] {
        std::fs::write(host.path(".config/dr/allowed_signers"), lines.concat()).unwrap();
    }
    (one, two, remote)
}

#[test]
fn two_hosts_recording_and_syncing_at_once_never_lose_a_record() {
    let (one, two, remote) = two_hosts();
    std::thread::scope(|scope| {
        for (host, hour) in [(&one, 10), (&two, 11)] {
            scope.spawn(move || {
                for minute in 0..6 {
                    host.record(&format!("2026-08-20T{hour}:{minute:02}:00Z"), &format!("n: {hour}{minute}\n"));
                    let said = host.run(&["--no-input", "config", "sync"]);
                    assert_eq!(said.code, 0, "{}", said.err);
                }
            });
        }
    });
    for host in [&one, &two, &one] {
        assert_eq!(host.run(&["config", "sync"]).code, 0);
    }
    for host in [&one, &two] {
        let said = host.run(&["config", "verify", "-o", "json"]);
        let json = said.json();
        assert_eq!((said.code, json["deployments"].as_u64(), json["outcomes"].as_u64()), (0, Some(12), Some(12)));
        assert_eq!(host.git(&["status", "--porcelain"]).out, "");
        assert!(host.run(&["config", "sync"]).out.contains("have the same records"));
    }
    let tips = [git(remote.path(), &["rev-parse", "main"]).out, one.git(&["rev-parse", "main"]).out];
    assert_eq!(tips[0], tips[1]);
}

#[test]
fn sync_refuses_what_a_stranger_pushed_and_puts_back_what_the_remote_lost() {
    let (one, two, remote) = two_hosts();
    let trust = one.path(".config/dr/allowed_signers");
    let both = std::fs::read_to_string(&trust).unwrap();
    two.record("2026-08-20T10:00:00Z", "a: 1\n");
    assert_eq!(two.run(&["config", "sync"]).code, 0);
    let own: String = both.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(&trust, own).unwrap();
    let said = one.run(&["config", "sync", "-o", "json"]);
    assert!(said.code == 16 && said.err.contains("was not signed by somebody trusted"), "{}", said.err);
    assert_eq!(one.vault().survey().unwrap().whole().unwrap().len(), 0);
    std::fs::write(&trust, both).unwrap();
    let said = one.run(&["config", "sync", "--dry-run", "-o", "json"]);
    assert_eq!((said.code, said.json()["deployments"].as_u64()), (0, Some(1)), "{}", said.err);
    assert_eq!(one.vault().survey().unwrap().whole().unwrap().len(), 0);
    assert_eq!(one.run(&["config", "sync"]).code, 0);
    assert_eq!(one.vault().survey().unwrap().whole().unwrap().len(), 1);
    git(remote.path(), &["update-ref", "refs/heads/main", "main~1"]);
    let said = one.run(&["config", "sync"]);
    assert!(said.code == 0 && said.err.contains("does not have any more"), "{}", said.err);
    assert_eq!(git(remote.path(), &["rev-parse", "main"]).out, one.git(&["rev-parse", "main"]).out);
    let said = one.run(&["--no-input", "config", "sync", "https://me:hunter22@127.0.0.1:1/vault.git"]);
    assert!(said.code == 28 && !said.err.contains("hunter22") && !said.out.contains("hunter22"), "{}", said.err);
    let alone = Host::new();
    assert!(alone.run(&["config", "sync"]).err.contains("remote add origin"));
}

#[test]
fn check_finds_plaintext_in_the_vault_and_a_hook_keeps_it_out_of_a_repository() {
    let host = Host::new();
    host.record("2026-08-20T10:00:00Z", "env:\n  PGPASSWORD: correct-horse-7\n");
    let said = host.run(&["config", "check"]);
    assert_eq!(said.code, 0, "{}", said.out);
    std::fs::write(host.vault_path().join("values.yaml"), "env:\n  PGPASSWORD: correct-horse-7\n").unwrap();
    let said = host.run(&["config", "check", "-o", "json"]);
    let kinds: Vec<String> =
        said.json()["exposures"].as_array().unwrap().iter().map(|e| e["exposed"].as_str().unwrap().into()).collect();
    assert_eq!((said.code, kinds.join(" ")), (5, "stray live-secret values".into()), "{}", said.out);
    assert!(!said.out.contains("horse"));
    std::fs::remove_file(host.vault_path().join("values.yaml")).unwrap();
    // A repository of the operator's own.
    let repo = host.path("gitops");
    std::fs::create_dir(&repo).unwrap();
    assert_eq!(git(&repo, &["init", "-q"]).code, 0);
    let place = repo.to_str().unwrap().to_owned();
    assert_eq!(host.run(&["config", "check", "--install-hook", &place]).code, 0);
    assert_eq!(host.run(&["config", "check", "--install-hook", &place]).code, 0, "its own is written anew");
    let hook = repo.join(".git/hooks/pre-commit");
    let own = std::fs::read_to_string(&hook).unwrap();
    std::fs::write(&hook, format!("{own}make lint\n")).unwrap();
    let said = host.run(&["config", "check", "--install-hook", &place]);
    assert!(said.code == 28 && said.err.contains("there is a hook already"), "{}", said.err);
    std::fs::write(&hook, own).unwrap();
    std::fs::write(repo.join("notes.md"), "the password is correct-horse-7\n").unwrap();
    git(&repo, &["add", "."]);
    let said = git(&repo, &["commit", "-qm", "notes"]);
    assert!(said.code != 0 && (said.out + &said.err).contains("notes.md:1 holds a secret of the live values"));
    std::fs::write(repo.join("notes.md"), "the password is in the vault\n").unwrap();
    assert_ne!(git(&repo, &["commit", "-qm", "notes"]).code, 0, "what is staged counts, not what stands there");
    git(&repo, &["add", "."]);
    let said = git(&repo, &["commit", "-qm", "notes"]);
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    std::fs::write(repo.join("values.yaml"), "a: Y29ycmVjdC1ob3JzZS03\n").unwrap();
    assert_eq!(host.run(&["config", "check", &place]).code, 0, "it is not tracked");
    let named = repo.join("values.yaml");
    assert_eq!(host.run(&["config", "check", named.to_str().unwrap()]).code, 5, "what is named is looked at");
    for (path, why) in
        [("nope", "No such file"), ("/dev/zero", "not a regular file"), ("/dev/null", "not a regular file")]
    {
        let said = host.run(&["config", "check", path]);
        assert!(said.code == 14 && said.err.contains(path) && said.err.contains(why), "{} {}", said.code, said.err);
    }
    assert_ne!(git(&repo, &["commit", "-q", "values.yaml", "-m", "x"]).code, 0);
    git(&repo, &["add", "."]);
    assert_eq!(host.run(&["config", "check", &place]).code, 5, "base64 hides nothing");
}

/// Puts a recipient on the list as somebody does who may write to the vault's branch, and has no key that is trusted.
fn smuggle_recipient(host: &Host, key: &str) {
    let change = serde_json::json!({"format": 1, "at": "2099-01-01T00:00:00Z", "by": "operator@host", "add": [key]});
    let path = host.vault_path().join("recipients/20990101T000000Z-0a0b0c.json");
    std::fs::write(path, change.to_string()).unwrap();
    host.git(&["add", "."]);
    assert_eq!(host.git(&["commit", "-qm", "Add recipient"]).code, 0);
}

/// A cluster in memory, and a helm that knows of no release: as far as a verb comes before it needs more of them.
fn with_cluster(host: &Host) {
    let api = crate::api::Api::serve(Box::new(|_, _| None));
    std::fs::create_dir(host.path(".kube")).unwrap();
    std::fs::write(host.path(".kube/config"), api.kubeconfig()).unwrap();
    let helm = host.path("helm");
    std::fs::write(&helm, "#!/bin/sh\ncase \"$1\" in version) echo v4.1.4;; *) echo '[]';; esac\n").unwrap();
    std::fs::set_permissions(&helm, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let settings = host.path(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replacen("[helm]", &format!("[helm]\nbinary = {helm:?}"), 1)).unwrap();
}

#[test]
fn an_unsigned_commit_is_used_by_no_verb_until_it_is_left_out_or_a_person_lets_it_in() {
    let host = Host::new();
    host.record("2026-08-20T10:00:00Z", "env: {PGPASSWORD: hunter22-hunter}\n");
    assert_eq!(host.run(&["config", "log"]).code, 0);
    let good = host.git(&["rev-parse", "HEAD"]).out;
    let stranger = generate_key();
    smuggle_recipient(&host, &stranger);
    std::fs::write(host.path("values.yaml"), "a: 1\n").unwrap();
    with_cluster(&host);
    let verbs: &[&[&str]] = &[
        &["config", "record", "values.yaml", "--at", "2026-08-21", "--version", "2026-08-20"],
        &["config", "rekey", "--yes"],
        &["config", "recipients", "list"],
        &["config", "recipients", "add", &stranger],
        &["config", "recipients", "accept", &stranger],
        &["config", "log"],
        &["config", "show", "live"],
        &["config", "cat", "live"],
        &["config", "diff", "live", "values.yaml"],
        &["config", "edit"],
        &["config", "sync", "/nonexistent"],
        &["deploy", "-f", "values.yaml", "--yes"],
        &["deploy", "rollback", "--yes"],
        &["config", "drift"],
        &["bundle", "create", "--yes"],
        &["bundle", "restore", "--config-only", "--yes"],
    ];
    for verb in verbs {
        let said = host.run(verb);
        assert_eq!(said.code, 16, "{verb:?}: {}{}", said.out, said.err);
        assert!(said.err.contains("is not used") && said.err.contains(&good[..12]), "{verb:?}: {}", said.err);
    }
    assert!(host.run(&["doctor"]).out.contains("is not used"));
    assert_eq!(host.run(&["config", "verify"]).code, 16);
    // The way out that the refusal names.
    assert_eq!(host.git(&["branch", "refused"]).code, 0);
    assert_eq!(host.git(&["reset", "-q", "--keep", good.trim()]).code, 0);
    assert_eq!(host.run(&["config", "log"]).code, 0);
    // The other one: a person knows that it is right.
    smuggle_recipient(&host, &stranger);
    let said = host.run(&["config", "verify", "--allow-untrusted"]);
    assert_eq!(said.code, 27, "{}", said.err);
    assert_eq!(host.run(&["config", "verify", "--allow-untrusted", "--yes"]).code, 0);
    assert_eq!(host.run(&["config", "log"]).code, 0);
    let said = host.run(&["config", "record", "values.yaml", "--at", "2026-08-21", "--version", "2026-08-20"]);
    assert!(
        said.code == 16 && said.err.contains("recipients accept"),
        "a new key is a question of its own: {}",
        said.err
    );
}

#[test]
fn a_branch_that_was_moved_back_is_not_used_and_another_trust_file_verifies_everything_again() {
    let host = Host::new();
    for day in 1..4 {
        host.record(&format!("2026-08-0{day}T10:00:00Z"), &format!("n: {day}\n"));
    }
    assert_eq!(host.run(&["config", "log"]).code, 0);
    let tip = host.git(&["rev-parse", "HEAD"]).out;
    host.git(&["update-ref", "refs/heads/main", "HEAD~2"]);
    let said = host.run(&["config", "log"]);
    assert!(said.code == 17 && said.err.contains("was moved back"), "{}", said.err);
    assert_eq!(host.git(&["update-ref", "refs/heads/main", tip.trim()]).code, 0);
    assert_eq!(host.run(&["config", "log"]).code, 0);
    let trust = host.path(".config/dr/allowed_signers");
    std::fs::write(&trust, "# nobody\n").unwrap();
    assert_eq!(host.run(&["config", "log"]).code, 16, "what was verified is bound to whom was trusted");
}

#[test]
fn a_recipient_that_another_host_let_in_is_a_question_with_the_name_of_who_signed() {
    let (one, two, _remote) = two_hosts();
    let trust = one.path(".config/dr/allowed_signers");
    let lines = std::fs::read_to_string(&trust).unwrap();
    let (own, other) = lines.split_at(lines[10..].find("# Whose").unwrap() + 10);
    let (_, rest) = other.split_once(' ').unwrap().1.split_once('\n').unwrap();
    let renamed = format!("{own}two@b {}", rest.split_once(' ').unwrap().1);
    std::fs::write(&trust, renamed).unwrap();
    let escrow = generate_key();
    let said = two.run(&["config", "recipients", "add", &escrow, "-m", "escrow"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(two.run(&["config", "sync"]).code, 0);
    assert_eq!(one.run(&["config", "sync"]).code, 0);
    std::fs::write(one.path("values.yaml"), "a: 1\n").unwrap();
    let record: &[&str] =
        &["--yes", "config", "record", "values.yaml", "--at", "2026-08-21", "--version", "2026-08-20"];
    let said = one.run(record);
    assert!(said.code == 16 && said.err.contains("two@b") && said.err.contains(&escrow), "{}", said.err);
    assert_eq!(one.vault().survey().unwrap().whole().unwrap().len(), 0);
    let said = one.run(&["config", "recipients", "list", "-o", "json"]);
    assert!(said.json()["now"][1]["signed_by"]["principal"] == "two@b", "{}", said.out);
    assert!(one.run(&["config", "recipients", "list"]).out.contains("recipients accept"));
    assert_eq!(one.run(&["config", "recipients", "accept", &escrow]).code, 0);
    let said = one.run(record);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(one.vault().survey().unwrap().whole().unwrap()[0].record.recipients.len(), 2);
}
