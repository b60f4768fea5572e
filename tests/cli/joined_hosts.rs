//! Hosts that come to a vault and leave it: what each is told works as it stands there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::vault::{Host, git, two_hosts};

/// Runs the command of a hint as a shell does, and gives what it said.
fn shell(host: &Host, command: &str) -> String {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", command]).current_dir(host.path("")).env("HOME", host.path(""));
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {said}");
    said
}

/// The commands between backticks.
fn commands(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A hint that was broken over lines, as one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn remote(host: &Host) -> tempfile::TempDir {
    let remote = tempfile::tempdir().unwrap();
    assert_eq!(git(remote.path(), &["init", "-q", "--bare"]).code, 0);
    host.git(&["remote", "add", "origin", remote.path().to_str().unwrap()]);
    assert_eq!(host.run(&["config", "sync"]).code, 0);
    remote
}

/// An escrow key: its file and its public half.
fn escrow(host: &Host) -> (PathBuf, String) {
    let identities = dr::internals::crypt::Identities::generate();
    let path = host.path("escrow.txt");
    fs::write(&path, identities.to_file_text().as_bytes()).unwrap();
    (path, identities.recipients().remove(0))
}

#[test]
fn of_what_a_removed_key_has_read_only_what_may_change_is_to_be_changed() {
    let host = Host::new();
    let (_, key) = escrow(&host);
    assert_eq!(host.run(&["config", "recipients", "add", &key]).code, 0);
    host.record(
        "2026-08-20T10:00:00Z",
        "env:\n  OPSCHAIN_PRIMARY_KEY: correct-horse-1\n  OPSCHAIN_LDAP_PASSWORD: battery-staple-2\n  PGPASSWORD: correct-horse-3\nsecretVault:\n  unsealKey: battery-staple-4\n",
    );
    assert_eq!(host.run(&["config", "recipients", "rm", &key, "--yes", "--allow-single"]).code, 0);
    let json = host.run(&["config", "rekey", "--dry-run", "-o", "json"]).json();
    let guarded: Vec<(&str, bool)> = json["rotate"]
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| (secret["path"].as_str().unwrap(), secret["guarded"].is_string()))
        .collect();
    assert_eq!(
        guarded,
        [
            ("env.OPSCHAIN_PRIMARY_KEY", true),
            ("env.OPSCHAIN_LDAP_PASSWORD", false),
            ("env.PGPASSWORD", true),
            ("secretVault.unsealKey", true)
        ]
    );
    let said = host.run(&["config", "rekey", "--yes"]).out;
    let (change, keep) = said.split_once("never to be changed while their data lives").unwrap();
    assert!(change.contains("change these where they are used") && change.contains("OPSCHAIN_LDAP_PASSWORD"), "{said}");
    for path in ["OPSCHAIN_PRIMARY_KEY", "PGPASSWORD", "unsealKey"] {
        assert!(!change.contains(path) && keep.contains(path), "{path}: {said}");
    }
    assert!(!keep.contains("OPSCHAIN_LDAP_PASSWORD"), "{said}");

    // Values that hold nothing else are no list of things to do.
    let host = Host::new();
    assert_eq!(host.run(&["config", "recipients", "add", &key]).code, 0);
    host.record("2026-08-20T10:00:00Z", "env:\n  PGPASSWORD: correct-horse-3\n");
    assert_eq!(host.run(&["config", "recipients", "rm", &key, "--yes", "--allow-single"]).code, 0);
    let said = host.run(&["config", "rekey", "--yes"]).out;
    assert!(said.contains("never to be changed") && !said.contains("change these"), "{said}");
}

#[test]
fn a_vault_whose_folder_is_gone_is_brought_back_and_never_begun_again_without_a_word() {
    let host = Host::new();
    let id = host.record("2026-08-20T10:00:00Z", "a: 1\n");
    let remote = remote(&host);
    assert_eq!(host.run(&["config", "log"]).code, 0);
    fs::remove_dir_all(host.vault_path()).unwrap();
    for verb in [&["config", "log"][..], &["doctor"]] {
        let said = host.run(verb);
        let text = flat(&(said.out + &said.err));
        assert!(text.contains(&format!("git clone -b main REMOTE {}", host.vault_path().display())), "{text}");
    }
    for args in [&["init"][..], &["init", "--dry-run"]] {
        let said = host.run(args);
        assert!(said.code == 28 && said.err.contains("is gone: commit "), "{} {}", said.code, said.err);
        assert!(!host.vault_path().exists());
    }
    let hints = flat(&host.run(&["init"]).err);
    let clone = commands(&hints)[0].replace("REMOTE", remote.path().to_str().unwrap());
    shell(&host, &clone);
    assert_eq!(host.run(&["init"]).code, 0);
    assert!(host.run(&["config", "log"]).out.contains(id.rsplit('-').next().unwrap()));
    // Where no copy is left.
    fs::remove_dir_all(host.vault_path()).unwrap();
    let hints = flat(&host.run(&["init"]).err);
    shell(&host, &commands(&hints)[1]);
    assert_eq!(host.run(&["init"]).code, 0);
    assert_eq!(host.run(&["config", "log"]).code, 0);
}

#[test]
fn a_vault_that_began_by_itself_is_replaced_by_the_one_of_the_remote_as_the_refusal_says() {
    for recorded in [false, true] {
        let (one, two) = (Host::new(), Host::new());
        one.record("2026-08-20T10:00:00Z", "a: 1\n");
        let remote = remote(&one);
        // What was verified of it is no reason against another.
        assert_eq!(two.run(&["config", "log"]).code, 0);
        if recorded {
            two.record("2026-08-19T10:00:00Z", "a: 2\n");
        }
        two.git(&["remote", "add", "origin", remote.path().to_str().unwrap()]);
        let said = two.run(&["config", "sync"]);
        let text = flat(&said.err);
        assert!(said.code == 28 && text.contains("began apart") && !text.contains("damaged"), "{text}");
        assert_eq!(text.contains("dr config record FILE --at TIME"), recorded, "{text}");
        let signers = fs::read_to_string(one.path(".config/dr/allowed_signers")).unwrap();
        let own = fs::read_to_string(two.path(".config/dr/allowed_signers")).unwrap();
        fs::write(two.path(".config/dr/allowed_signers"), own + &signers).unwrap();
        let replace = commands(&text).into_iter().find(|command| command.starts_with("mv ")).unwrap();
        let (clone, verify) = replace.split_once(" && dr config ").unwrap();
        shell(&two, clone);
        assert_eq!(two.run(&["config", verify]).code, 0);
        assert_eq!(two.run(&["config", "sync"]).code, 0);
        assert!(two.path(".local/share/dr/vault.own").is_dir());
    }
}

#[test]
fn another_host_is_trusted_by_the_line_that_is_named_and_a_bare_key_is_told_what_it_lacks() {
    let (one, two, _remote) = two_hosts();
    let trust = one.path(".config/dr/allowed_signers");
    let both = fs::read_to_string(&trust).unwrap();
    let own: String = both.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&trust, &own).unwrap();
    for minute in 0..3 {
        two.record(&format!("2026-08-20T10:0{minute}:00Z"), &format!("a: {minute}\n"));
    }
    assert_eq!(two.run(&["config", "sync"]).code, 0);
    let key = fs::read_to_string(two.path(".config/dr/signing_key.pub")).unwrap();

    // The key alone, as it lies in its file.
    fs::write(&trust, own.clone() + &key).unwrap();
    let said = flat(&one.run(&["config", "sync"]).err);
    assert!(said.contains("whose it is stands before the key") && !said.contains("unknown option"), "{said}");
    assert!(said.contains("NAME namespaces=\"dr-bundle@v1,dr-proof@v1,git\" ssh-ed25519 AAAA..."), "{said}");

    fs::write(&trust, &own).unwrap();
    let said = one.run(&["config", "sync"]);
    let hint = flat(&said.err);
    assert_eq!(said.code, 16, "{hint}");
    let command = commands(&hint).into_iter().find(|command| command.starts_with("echo ")).unwrap();

    // Of a clone, each key is told once.
    let clone = one.path("clone");
    assert_eq!(git(&one.path(""), &["clone", "-q", two.vault_path().to_str().unwrap(), "clone"]).code, 0);
    let said = one.run(&["config", "verify", "--vault", clone.to_str().unwrap()]);
    let text = flat(&said.out);
    assert!(said.code == 16 && text.matches("untrusted-signer").count() == 1, "{text}");
    assert!(text.contains("each of 6 commits, ") && text.contains(&command), "{text}");
    assert!(text.contains(&format!("git -C {} log --show-signature", clone.display())), "{text}");

    shell(&one, &command.replace("NAME", "two@b").replace("KEY", key.trim()));
    assert_eq!(one.run(&["config", "sync"]).code, 0);
    let said = one.run(&["config", "log", "-o", "json"]);
    assert_eq!(said.json()["deployments"][0]["signed_by"]["principal"], "two@b", "{}", said.out);
}

#[test]
fn what_a_person_lets_in_is_shown_once() {
    let (one, two, remote) = two_hosts();
    two.record("2026-08-20T10:00:00Z", "a: 1\n");
    assert_eq!(two.run(&["config", "sync"]).code, 0);
    let three = Host::bare();
    fs::create_dir_all(three.path(".local/share/dr")).unwrap();
    let place = three.vault_path();
    let clone = ["clone", "-q", "-b", "main", remote.path().to_str().unwrap(), place.to_str().unwrap()];
    assert_eq!(git(&one.path(""), &clone).code, 0);
    assert_eq!(three.run(&["init"]).code, 0);
    let said = three.run(&["config", "verify", "--allow-untrusted", "--yes"]);
    let all = said.out + &said.err;
    assert!(said.code == 0 && all.contains("it is used from now on"), "{all}");
    assert_eq!(all.matches("untrusted-signer").count(), 2, "one line a key: {all}");
}

#[test]
fn when_the_only_host_is_lost_the_escrow_key_opens_the_vault_and_lets_the_next_host_in() {
    let first = Host::bare();
    let (file, key) = escrow(&first);
    assert_eq!(first.run(&["init", "--recipient", &key]).code, 0);
    for minute in 0..2 {
        first.record(&format!("2026-08-20T10:0{minute}:00Z"), &format!("env: {{TZ: zone-{minute}}}\n"));
    }
    let remote = remote(&first);
    let (lost, signer) = (first.age_key(), fs::read_to_string(first.path(".config/dr/allowed_signers")).unwrap());

    let new = Host::bare();
    let escrow = new.path("escrow.txt");
    fs::copy(&file, &escrow).unwrap();
    let escrow = escrow.to_str().unwrap();
    shell(&new, &format!("git clone -q -b main {} .local/share/dr/vault", remote.path().display()));
    assert_eq!(new.run(&["init", "--recipient", &key]).code, 0);
    let own = fs::read_to_string(new.path(".config/dr/allowed_signers")).unwrap();
    fs::write(new.path(".config/dr/allowed_signers"), own + &signer).unwrap();
    for verb in [&["config", "log"][..], &["doctor"]] {
        let said = new.run(verb);
        let text = flat(&(said.out + &said.err));
        assert!(text.contains(&format!("dr config recipients add {}", new.age_key())), "{text}");
        assert!(text.contains("dr config rekey --identity ESCROW.txt"), "{text}");
    }
    // Everything opens for this time, also where this host has no key of its own at all.
    let with = |args: &[&str]| new.run(&[args, &["--identity", escrow]].concat());
    fs::write(new.path("other.yaml"), "env: {TZ: UTC}\n").unwrap();
    let identity = new.path(".config/dr/identity.txt");
    let kept = new.path("identity.kept");
    for has_own in [true, false] {
        if !has_own {
            fs::rename(&identity, &kept).unwrap();
        }
        assert_eq!(with(&["config", "log"]).code, 0, "{has_own}");
        assert_eq!(with(&["config", "cat", "live"]).out, "env: {TZ: zone-1}\n");
        assert_eq!(with(&["config", "extract", "env.TZ"]).out.trim(), "zone-1");
        assert_eq!(with(&["config", "rekey", "--dry-run"]).code, 0);
        for args in [
            &["config", "parity", "live", "other.yaml"][..],
            &["config", "upgrade", "other.yaml", "other.yaml"],
            &["config", "edit"],
        ] {
            let said = with(args);
            assert!(said.code != 64 && said.code != 15, "{args:?}: {} {}", said.code, said.err);
        }
    }
    let said = new.run(&["config", "log"]);
    assert!(said.code == 15 && said.out.matches("No such file").count() == 1, "said once: {}", said.out);
    assert!(said.out.contains("not read: no identity") && said.out.contains("--identity"), "{}", said.out);
    fs::rename(&kept, &identity).unwrap();

    let said = new.run(&["config", "recipients", "add", &new.age_key(), "-m", "the new host"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = new.run(&["config", "recipients", "rm", &lost, "--yes", "-m", "lost"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = with(&["config", "rekey", "--yes"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(new.run(&["config", "sync"]).code, 0);
    assert_eq!(new.run(&["config", "log"]).code, 0, "with its own key");
    let doctor = new.run(&["doctor"]).out;
    let vault: Vec<&str> = doctor.lines().filter(|line| line.contains("vault")).collect();
    assert!(vault.iter().any(|line| line.contains("sealed to 2 recipients")), "{doctor}");
    assert!(!doctor.contains("no bundle can be made"), "{doctor}");
}

#[test]
fn keys_that_other_hosts_have_let_in_are_named_and_accepted_at_once() {
    let (one, two, _remote) = two_hosts();
    let (_, first) = escrow(&two);
    let second = dr::internals::crypt::Identities::generate().recipients().remove(0);
    for key in [&first, &second] {
        assert_eq!(two.run(&["config", "recipients", "add", key]).code, 0);
    }
    for host in [&two, &one] {
        assert_eq!(host.run(&["config", "sync"]).code, 0);
    }
    fs::write(one.path("values.yaml"), "a: 1\n").unwrap();
    let record = ["config", "record", "values.yaml", "--at", "2026-08-21", "--version", "2026-08-20"];
    let said = one.run(&record);
    let accept = commands(&flat(&said.err)).into_iter().find(|command| command.contains("accept")).unwrap();
    assert!(said.code == 16 && accept.contains(&first) && accept.contains(&second), "{}", said.err);
    let words: Vec<&str> = accept.split(' ').skip(1).collect();
    assert_eq!(one.run(&words).code, 0);
    assert_eq!(one.run(&record).code, 0);
}

#[test]
fn a_dry_run_of_a_removal_says_what_the_removal_does() {
    let host = Host::new();
    let (_, one) = escrow(&host);
    let two = dr::internals::crypt::Identities::generate().recipients().remove(0);
    for key in [&one, &two] {
        assert_eq!(host.run(&["config", "recipients", "add", key]).code, 0);
    }
    host.record("2026-08-20T10:00:00Z", "a: 1\n");
    assert_eq!(host.run(&["config", "rekey", "--yes"]).code, 0);
    for args in [&["rm", &one, "-m", "B retired"][..], &["add", &one, "-m", "B again"]] {
        let args = [&["config", "recipients"], args, &["--yes", "-o", "json"]].concat();
        let (dry, done) = (host.run(&[&args[..], &["--dry-run"]].concat()).json(), host.run(&args).json());
        let dry = dry.get("plan").unwrap_or(&dry);
        assert_eq!(dry["due"], done["due"], "{dry} {done}");
        let why = |report: &serde_json::Value| {
            let holders = [&report["now"], &report["past"]].map(|list| list.as_array().unwrap().clone()).concat();
            holders.iter().map(|holder| holder["why"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(why(dry), why(&done));
        assert_eq!(done["due"].as_u64() > Some(0), args.contains(&"rm"), "{done}");
    }
}

#[test]
fn a_folder_is_synced_with_by_the_path_that_it_has_from_here() {
    let (one, two, _remote) = two_hosts();
    two.record("2026-08-20T10:00:00Z", "a: 1\n");
    assert_eq!(git(&one.path(""), &["clone", "-q", two.vault_path().to_str().unwrap(), "fresh-clone"]).code, 0);
    let elsewhere = one.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let sync = |from: &Path, name: &str| {
        let mut command = one.command(&["config", "sync", name, "--dry-run", "-o", "json"]);
        command.current_dir(from).output().unwrap()
    };
    for (from, name) in [(one.path(""), "./fresh-clone"), (one.path(""), "fresh-clone"), (elsewhere, "../fresh-clone")]
    {
        let said = sync(&from, name);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{name}: {text}");
    }
    let said = one.run(&["config", "sync", "./nowhere"]);
    let hint = format!("git -C {} fetch ./nowhere main", one.vault_path().display());
    assert!(said.code == 28 && flat(&said.err).contains(&hint), "{}", said.err);
}

#[test]
fn an_empty_list_says_whether_anything_is_recorded() {
    let host = Host::bare();
    let said = host.run(&["config", "log"]);
    assert!(said.code == 10 && said.err.contains("there is no settings file"), "{}", said.err);
    let host = Host::new();
    let said = host.run(&["config", "log", "--version", "2026-08-20"]).out;
    assert!(said.contains("is recorded yet") && said.contains("dr config record"), "{said}");
    for minute in 0..2 {
        host.record(&format!("2026-08-20T10:0{minute}:00Z"), "a: 1\n");
    }
    let said = host.run(&["config", "log", "--grep", "nobody-said-so"]).out;
    assert!(said.contains("fits; 2 are recorded") && said.contains("dr config log"), "{said}");
    assert!(!said.contains("dr deploy"), "{said}");
}

#[test]
fn a_folder_of_which_git_tracks_nothing_is_not_called_clean() {
    let host = Host::new();
    let repo = host.path("gitops");
    fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q"]);
    fs::write(repo.join("values.yaml"), "db:\n  password: correct-horse-7\n").unwrap();
    let said = host.run(&["config", "check", "gitops"]);
    assert!(said.code == 0 && said.out.contains("git tracks nothing there"), "{}", said.out);
    assert!(!said.out.contains("nothing in the clear"), "{}", said.out);
    git(&repo, &["add", "."]);
    let said = host.run(&["config", "check", "gitops"]);
    assert!(said.code == 5 && said.out.contains("git rm --cached"), "{}", said.out);
}

#[test]
fn a_draft_that_would_go_over_a_file_is_refused_before_the_editor_opens() {
    let host = Host::new();
    host.record("2026-08-20T10:00:00Z", "a: 1\n");
    fs::write(host.path("draft.age"), "mine").unwrap();
    let mut edit = host.command(&["config", "edit", "--save", "draft.age"]);
    let said = edit.env("EDITOR", "sh -c 'touch opened'").output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(20) && text.contains("draft.age is there already"), "{text}");
    assert!(text.contains("another name with --save") && !host.path("opened").exists(), "{text}");
}

#[test]
fn a_bare_repository_is_looked_at_by_its_newest_commit() {
    let host = Host::new();
    let repo = host.path("work");
    fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q"]);
    fs::write(repo.join("values.yaml"), "db:\n  password: correct-horse-7\n").unwrap();
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-qm", "x"]);
    for args in [&["clone", "-q", "--bare", "work", "bare.git"][..], &["init", "-q", "--bare", "empty.git"]] {
        assert_eq!(git(&host.path(""), args).code, 0);
    }
    let said = host.run(&["config", "check", "bare.git"]);
    assert!(
        said.code == 5 && said.out.contains("values.yaml:2") && said.out.contains("1 file: 1 finding"),
        "{}",
        said.out
    );
    let said = host.run(&["config", "check", "empty.git"]);
    assert!(said.code == 0 && said.out.contains("git tracks nothing there"), "{}", said.out);
    // The remote of a vault, whose HEAD may name another branch.
    host.record("2026-08-20T10:00:00Z", "env: {PGPASSWORD: correct-horse-7}\n");
    let remote = remote(&host);
    let said = host.run(&["config", "check", remote.path().to_str().unwrap()]);
    assert!(said.code == 0 && said.out.contains("nothing in the clear"), "{}{}", said.out, said.err);
}
