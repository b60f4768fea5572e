use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::crypt::Identities;
use crate::vault::git::Content;
use crate::vault::tests::{Fixture, fixture, git, install, intent, new_key, signer};
use crate::vault::verify::Flaw;

/// A second host's clone of the vault, with a key of its own.
fn second(f: &Fixture) -> (Vault, TrustedSigners) {
    let path = f.folder.path().join("second");
    git(f, &["clone", "-q", f.vault.path().to_str().unwrap(), path.to_str().unwrap()]);
    let key = new_key();
    let both = [&f.key, &key].map(|key| format!("host {}\n", key.public_key().to_openssh().unwrap())).concat();
    (Vault::open(&path, signer(&key)).unwrap(), TrustedSigners::parse(&both, "test"))
}

fn record(vault: &Vault, at: &str, values: &str) {
    vault.record_intent(intent(at, "2026-08-01"), values.as_bytes(), None).unwrap();
}

/// Brings what `from` has into `to`, by a plain fetch.
fn fetch(f: &Fixture, from: &Vault, to: &Vault, trusted: &TrustedSigners) -> Result<TakenIn, VaultError> {
    let (from, to_path) = (from.path().to_str().unwrap(), to.path().to_str().unwrap());
    git(f, &["-C", to_path, "fetch", "-q", from, "+refs/heads/main:refs/dr/remotes/test"]);
    to.take_in("refs/dr/remotes/test", &TakeInRequest { trusted, anyone: false, by: "ops@host", dry_run: false })
}

#[test]
fn two_hosts_that_recorded_at_once_have_both_and_the_next_record_ties_them_up() {
    let f = fixture();
    record(&f.vault, "2026-08-01T10:00:00Z", "a: 1\n");
    let (other, trusted) = second(&f);
    record(&f.vault, "2026-08-02T10:00:00Z", "a: 2\n");
    record(&other, "2026-08-03T10:00:00Z", "a: 3\n");
    let taken = fetch(&f, &other, &f.vault, &trusted).unwrap();
    assert_eq!((taken.joined, taken.commits, taken.deployments), (Joined::Merged, 1, 1));
    let taken = fetch(&f, &f.vault, &other, &trusted).unwrap();
    assert_eq!((taken.joined, taken.commits), (Joined::Forward, 2));
    assert_eq!(f.vault.deployments(&install()).unwrap().len(), 3);
    assert_eq!(f.vault.deployments(&install()).unwrap(), other.deployments(&install()).unwrap());
    record(&other, "2026-08-04T10:00:00Z", "a: 4\n");
    let last = other.resolve(&install(), "latest").unwrap();
    assert_eq!((last.record.previous.is_some(), last.record.joins.len()), (true, 1));
    let found = other.verify(&trusted, Some(&f.identities)).unwrap();
    assert_eq!((found.findings.len(), found.forks.len(), found.deployments), (0, 1, 4), "{:?}", found.findings);
    assert_eq!(fetch(&f, &f.vault, &other, &trusted).unwrap().joined, Joined::Nothing);
    assert_eq!(git(&f, &["status", "--porcelain"]), "", "the work tree follows");
    git(&f, &["-C", other.path().to_str().unwrap(), "fsck", "--strict"]);
}

#[test]
fn a_file_written_on_both_sides_is_a_conflict_by_name_and_changes_nothing() {
    let f = fixture();
    let (other, trusted) = second(&f);
    for (vault, note) in [(&f.vault, "one"), (&other, "two")] {
        let repo = Git::open(vault.path()).unwrap();
        let files = vec![("notes.txt".to_owned(), Content::Bytes(note.into()))];
        repo.add(&repo.lock().unwrap(), files, "Note", "ops@host", &vault.signer).unwrap();
    }
    let before = Git::open(f.vault.path()).unwrap().head_id().unwrap();
    let refused = fetch(&f, &other, &f.vault, &trusted);
    assert!(matches!(refused, Err(VaultError::Conflict { paths }) if paths == ["notes.txt"]));
    assert_eq!(Git::open(f.vault.path()).unwrap().head_id().unwrap(), before);
}

#[test]
fn what_a_stranger_recorded_is_not_let_in_unless_told_and_damage_never() {
    let f = fixture();
    let (other, _) = second(&f);
    let line = format!("ops {}", f.key.public_key().to_openssh().unwrap());
    let trusted = TrustedSigners::parse(&line, "test");
    record(&other, "2026-08-03T10:00:00Z", "a: 3\n");
    let refused = fetch(&f, &other, &f.vault, &trusted);
    assert!(matches!(refused, Err(VaultError::Incoming { untrusted: true, count: 1, .. })));
    let anyone = TakeInRequest { trusted: &trusted, anyone: true, by: "ops@host", dry_run: true };
    assert_eq!(f.vault.take_in("refs/dr/remotes/test", &anyone).unwrap().untrusted, 1);
    assert_eq!(f.vault.deployments(&install()).unwrap().len(), 0, "a dry run brings nothing in");
    let path: PathBuf = other.path().into();
    git(&f, &["-C", path.to_str().unwrap(), "rm", "-q", "README.md"]);
    let person = ["-c", "user.name=x", "-c", "user.email=x@y"];
    git(&f, &[&["-C", path.to_str().unwrap()], &person[..], &["commit", "-q", "-m", "x"]].concat());
    git(&f, &["fetch", "-q", path.to_str().unwrap(), "+refs/heads/main:refs/dr/remotes/test"]);
    let refused = f.vault.take_in("refs/dr/remotes/test", &TakeInRequest { dry_run: false, ..anyone });
    assert!(matches!(refused, Err(VaultError::Incoming { .. })), "{refused:?}");
}

#[test]
fn another_vault_is_no_remote_of_this_one() {
    let (f, other) = (fixture(), fixture());
    let both = [&f.key, &other.key].map(|key| format!("h {}\n", key.public_key().to_openssh().unwrap())).concat();
    let trusted = TrustedSigners::parse(&both, "test");
    let refused = fetch(&f, &other.vault, &f.vault, &trusted);
    assert!(matches!(refused, Err(VaultError::Unrelated { has_deployments: false, .. })), "{refused:?}");
    record(&f.vault, "2026-08-01T10:00:00Z", "a: 1\n");
    // Whoever signed it: a stranger's is another vault all the same.
    let refused = fetch(&f, &other.vault, &f.vault, &TrustedSigners::default());
    assert!(matches!(refused, Err(VaultError::Unrelated { has_deployments: true, .. })), "{refused:?}");
}

#[test]
fn recipients_come_and_go_in_order_and_rekey_gives_each_what_is_due() {
    let f = fixture();
    record(&f.vault, "2026-08-01T10:00:00Z", "a: 1\n");
    let new = Identities::generate();
    let (old_key, key) = (f.identities.recipients().remove(0), new.recipients().remove(0));
    f.vault.add_recipient(&key, "ops@host", Some("escrow")).unwrap();
    assert!(matches!(f.vault.add_recipient(&key, "x", None), Err(VaultError::Recipient { .. })));
    assert!(matches!(f.vault.add_recipient("age1x", "x", None), Err(VaultError::Recipient { .. })));
    record(&f.vault, "2026-08-02T10:00:00Z", "a: 1\n");
    let all = f.vault.deployments(&install()).unwrap();
    assert!(f.vault.values(&all[0], &new).is_ok() && f.vault.values(&all[1], &new).is_err());
    let mut plan = f.vault.rekey_plan().unwrap();
    assert_eq!((plan.files(), plan.current()), (2, 1), "the fingerprint key and the first values");
    let made = f.vault.rekey_batch(&mut plan, &f.identities, "ops@host").unwrap();
    assert_eq!((made.files, made.contents, made.reopened), (2, 2, 2));
    assert_eq!(f.vault.rekey_plan().unwrap().files(), 0);
    assert!(f.vault.values(&all[1], &new).is_ok() && f.vault.fingerprint_key(&new).is_ok());
    assert!(f.vault.snapshot().unwrap().values(&all[1], &new).is_ok());
    f.vault.remove_recipient(&old_key, "ops@host", Some("gone")).unwrap();
    let holders = f.vault.holders().unwrap();
    assert_eq!((holders.keys(), holders.past[0].key.clone()), (vec![key.clone()], old_key));
    assert!(matches!(f.vault.remove_recipient(&key, "x", None), Err(VaultError::Recipient { .. })), "the last stays");
    let mut plan = f.vault.rekey_plan().unwrap();
    let made = f.vault.rekey_batch(&mut plan, &f.identities, "ops@host").unwrap();
    assert_eq!((made.files, made.reopened), (3, 0), "this host is no recipient any more");
    assert!(f.vault.values(&all[0], &f.identities).is_err() && f.vault.values(&all[0], &new).is_ok());
    let trusted = TrustedSigners::parse(&format!("o {}", f.key.public_key().to_openssh().unwrap()), "t");
    let found = f.vault.verify(&trusted, Some(&new)).unwrap();
    assert_eq!((found.findings.len(), found.rekeyed), (0, 5), "{:?}", found.findings);
}

#[test]
fn a_file_sealed_again_that_is_not_what_it_stands_for_is_found() {
    let f = fixture();
    record(&f.vault, "2026-08-01T10:00:00Z", "a: 1\n");
    record(&f.vault, "2026-08-02T10:00:00Z", "a: 2\n");
    let new = Identities::generate();
    f.vault.add_recipient(&new.recipients()[0], "ops@host", None).unwrap();
    let mut plan = f.vault.rekey_plan().unwrap();
    f.vault.rekey_batch(&mut plan, &f.identities, "ops@host").unwrap();
    // Somebody with the signing key puts another plaintext in the place of a version.
    let all = f.vault.deployments(&install()).unwrap();
    let path = format!("deployments/opschain.opschain/{}/values.yaml.age", all[0].id());
    let sealed = f.vault.recipients().unwrap().seal(b"a: 3\n").unwrap();
    let list = serde_json::json!({
        "format": 1, "at": "2099-01-01T00:00:00Z", "by": "x", "recipients": f.vault.recipients().unwrap().to_strings(),
        "files": [{"path": path, "sealed_sha256": crate::vault::files::digest(&sealed)}], "dr": "1",
    });
    let folder = "rekeyed/20990101T000000Z-000000";
    let files = vec![
        (format!("{folder}/{path}"), Content::Bytes(sealed)),
        (format!("{folder}/rekey.json"), Content::Bytes(list.to_string().into_bytes())),
    ];
    let repo = Git::open(f.vault.path()).unwrap();
    repo.add(&repo.lock().unwrap(), files, "Rekey", "x@y", &f.vault.signer).unwrap();
    let trusted = TrustedSigners::parse(&format!("o {}", f.key.public_key().to_openssh().unwrap()), "t");
    assert_eq!(f.vault.verify(&trusted, None).unwrap().findings, []);
    let found = f.vault.verify(&trusted, Some(&f.identities)).unwrap();
    assert_eq!(found.findings.iter().map(|finding| finding.flaw).collect::<Vec<_>>(), [Flaw::WrongPlaintext]);
    assert!(f.vault.values(&all[0], &f.identities).is_err(), "and no reader takes it");
}

#[test]
fn a_remote_is_found_or_its_lack_is_named() {
    let f = fixture();
    let token = CancellationToken::new();
    let named = |given| f.vault.remote(given, false, &token).map(|remote| remote.shown());
    assert!(matches!(named(None), Err(VaultError::NoRemote { names, .. }) if names.is_empty()));
    assert!(named(Some("--upload-pack=x")).is_err());
    assert_eq!(named(Some("https://u:pw@h/x")).unwrap(), "https://u:••••••••@h/x");
    git(&f, &["remote", "add", "one", "/x"]);
    assert_eq!(named(None).unwrap(), "one");
    git(&f, &["remote", "add", "two", "/y"]);
    assert!(matches!(named(None), Err(VaultError::NoRemote { names, .. }) if names == ["one", "two"]));
    git(&f, &["remote", "add", "origin", "/z"]);
    assert_eq!(named(None).unwrap(), "origin");
}

#[test]
fn what_follows_a_record_that_is_damaged_here_comes_in_all_the_same() {
    for is_broken in [true, false] {
        let f = fixture();
        record(&f.vault, "2026-08-01T10:00:00Z", "a: 1\n");
        let (other, trusted) = second(&f);
        record(&other, "2026-08-02T10:00:00Z", "a: 2\n");
        let first = f.vault.resolve(&install(), "latest").unwrap().id().to_string();
        let place = format!("main:deployments/opschain.opschain/{first}/record.json");
        let id = git(&f, &["rev-parse", &place]);
        let id = id.trim();
        let object = f.vault.path().join(".git/objects").join(&id[..2]).join(&id[2..]);
        std::fs::remove_file(&object).unwrap();
        if is_broken {
            std::fs::write(&object, b"x").unwrap();
        }
        let taken = fetch(&f, &other, &f.vault, &trusted).unwrap();
        assert_eq!((taken.joined, taken.deployments), (Joined::Forward, 1));
    }
}
