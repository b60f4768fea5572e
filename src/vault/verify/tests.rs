use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::verification::OpenedBy;
use super::*;
use crate::clock;
use crate::vault::CommitSigner;
use crate::vault::git::Content;
use crate::vault::record::{DeploymentRecord, DeploymentStatus};
use crate::vault::tests::{Fixture, fixture, git, install, intent, new_key, outcome, signer};

pub(in crate::vault) fn trusting(f: &Fixture) -> TrustedSigners {
    let line = format!("ops@host namespaces=\"git\" {}", f.key.public_key().to_openssh().unwrap());
    TrustedSigners::parse(&line, "test")
}

/// A vault with three deployments, each with its outcome.
pub(in crate::vault) fn three() -> Fixture {
    let f = fixture();
    for day in 1..=3 {
        let values = format!("day: {day}\n");
        let at = format!("2026-08-0{day}T10:00:00Z");
        let id = f.vault.record_intent(intent(&at, "2026-08-01"), values.as_bytes(), Some(b"tgz")).unwrap();
        let end = format!("2026-08-0{day}T10:05:00Z");
        f.vault.record_outcome(outcome(&id, &end, DeploymentStatus::Deployed, day), "ops@host").unwrap();
    }
    f
}

pub(super) fn flaws(f: &Fixture) -> Vec<Flaw> {
    let found = f.vault.verify(&trusting(f), None).unwrap();
    let kinds: BTreeSet<Flaw> = found.findings.iter().map(|finding| finding.flaw).collect();
    kinds.into_iter().collect()
}

/// The files that a commit adds.
type Files = Vec<(String, Vec<u8>)>;

/// What each commit added, oldest first.
fn additions(f: &Fixture) -> Vec<Files> {
    let repo = Git::open(f.vault.path()).unwrap();
    let objects = repo.objects().unwrap();
    let tip = repo.head_id().unwrap().unwrap();
    let commits = commits::commits(&objects, tip, &HashSet::new(), &mut Vec::new());
    let steps = history::steps(&repo, &commits).unwrap();
    let files = |step: &history::HistoryStep| {
        step.added.iter().map(|file| (file.path.clone(), objects.blob(file.blob).unwrap())).collect()
    };
    steps.iter().map(files).collect()
}

/// Writes a history of its own in the place of the one that is there, as somebody would who may write to the folder.
fn rewrite(f: &Fixture, commits: Vec<Files>, signer: &CommitSigner) {
    let repo = Git::open(f.vault.path()).unwrap();
    for name in [BRANCH, NEWEST] {
        repo.repo().find_reference(name).unwrap().delete().unwrap();
    }
    for files in commits {
        let files = files.into_iter().map(|(path, bytes)| (path, Content::Bytes(bytes))).collect();
        let lock = repo.lock().unwrap();
        repo.add(&lock, files, "Record", "ops@host", signer).unwrap();
    }
}

/// Puts one more commit on the branch, whatever it does to the files.
pub(super) fn commit(f: &Fixture, parents: &[Oid], signer: &CommitSigner, change: impl Fn(&mut git2::Index)) -> Oid {
    let repo = git2::Repository::open(f.vault.path()).unwrap();
    let mut index = git2::Index::new().unwrap();
    index.read_tree(&repo.find_commit(parents[0]).unwrap().tree().unwrap()).unwrap();
    change(&mut index);
    let tree = index.write_tree_to(&repo).unwrap();
    let git = Git::open(f.vault.path()).unwrap();
    let made = git.commit(tree, parents, "Change", "ops@host", signer).unwrap();
    repo.reference(BRANCH, made, true, "test").unwrap();
    made
}

pub(super) fn put(f: &Fixture, index: &mut git2::Index, path: &str, mode: u32, bytes: &[u8]) {
    let repo = git2::Repository::open(f.vault.path()).unwrap();
    let time = git2::IndexTime::new(0, 0);
    index
        .add(&git2::IndexEntry {
            ctime: time,
            mtime: time,
            dev: 0,
            ino: 0,
            mode,
            uid: 0,
            gid: 0,
            file_size: 0,
            id: repo.blob(bytes).unwrap(),
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        })
        .unwrap();
}

pub(super) fn tip(f: &Fixture) -> Oid {
    Git::open(f.vault.path()).unwrap().head_id().unwrap().unwrap()
}

/// The path of a file of the deployment of that day.
fn path(f: &Fixture, day: usize, name: &str) -> String {
    let all = f.vault.deployments(&install()).unwrap();
    format!("deployments/opschain.opschain/{}/{name}", all[3 - day].id())
}

/// The same record with something changed.
fn edited(bytes: &[u8], edit: impl Fn(&mut DeploymentRecord)) -> Vec<u8> {
    let mut record: DeploymentRecord = serde_json::from_slice(bytes).unwrap();
    edit(&mut record);
    serde_json::to_vec_pretty(&record).unwrap()
}

#[test]
fn a_vault_as_it_was_written_is_well_and_every_version_opens() {
    let f = three();
    let found = f.vault.verify(&trusting(&f), Some(&f.identities)).unwrap();
    assert_eq!(found.findings, []);
    assert_eq!(found.notes, Vec::<String>::new());
    assert_eq!((found.commits, found.deployments, found.installs, found.outcomes), (7, 3, 1, 3));
    assert_eq!(found.signed_by, BTreeMap::from([("ops@host".to_owned(), 7)]));
    let opened = found.opened.unwrap();
    assert_eq!((opened.files, opened.proved, opened.contents), (7, 7, 5), "three values, one chart, one key");
    assert_eq!(opened.by, [OpenedBy { key: f.identities.recipients().remove(0), files: 7 }]);
}

#[test]
fn a_key_that_opens_nothing_is_found_and_is_no_damage() {
    let f = three();
    let found = f.vault.verify(&trusting(&f), Some(&Identities::generate())).unwrap();
    assert!(found.findings.iter().all(|finding| finding.flaw == Flaw::NotOpened));
    assert_eq!((found.findings.len(), found.severity()), (7, Some(FlawSeverity::Closed)));
}

/// An alteration on top of an honest history, and the flaws that it must be found by.
type Alteration = (&'static str, fn(&Fixture, &CommitSigner), &'static [Flaw]);

#[test]
fn every_alteration_that_a_commit_can_make_is_found() {
    let table: &[Alteration] = &[
        (
            "a byte of a record",
            |f, s| {
                let path = path(f, 2, "record.json");
                let bytes = std::fs::read(f.vault.path().join(&path)).unwrap();
                let edited = edited(&bytes, |record| record.by = "somebody@else".into());
                commit(f, &[tip(f)], s, |index| put(f, index, &path, 0o100_644, &edited));
            },
            &[Flaw::Rewritten],
        ),
        (
            "two sealed files swapped",
            |f, s| {
                let (one, two) = (path(f, 1, "values.yaml.age"), path(f, 2, "values.yaml.age"));
                let read = |path: &str| std::fs::read(f.vault.path().join(path)).unwrap();
                let (a, b) = (read(&one), read(&two));
                commit(f, &[tip(f)], s, |index| {
                    put(f, index, &one, 0o100_644, &b);
                    put(f, index, &two, 0o100_644, &a);
                });
            },
            &[Flaw::Rewritten],
        ),
        (
            "an outcome deleted",
            |f, s| {
                let path = path(f, 2, "outcome.json");
                commit(f, &[tip(f)], s, |index| index.remove_path(path.as_ref()).unwrap());
            },
            &[Flaw::Deleted],
        ),
        (
            "a whole deployment deleted",
            |f, s| {
                let path = path(f, 2, "");
                commit(f, &[tip(f)], s, |index| index.remove_dir(path.trim_end_matches('/').as_ref(), 0).unwrap());
            },
            &[Flaw::Deleted],
        ),
        (
            "a link",
            |f, s| {
                let path = path(f, 2, "more.age");
                commit(f, &[tip(f)], s, |index| put(f, index, &path, 0o120_000, b"/etc/passwd"));
            },
            &[Flaw::StrangeFile],
        ),
        (
            "a program",
            |f, s| {
                commit(f, &[tip(f)], s, |index| put(f, index, "recipients/run.json", 0o100_755, b"{}"));
            },
            &[Flaw::StrangeFile],
        ),
        (
            "a file that the record does not name",
            |f, s| {
                let path = path(f, 2, "values.yaml");
                commit(f, &[tip(f)], s, |index| put(f, index, &path, 0o100_644, b"password: hunter22\n"));
            },
            &[Flaw::StrangeFile],
        ),
        (
            "a merge that writes",
            |f, s| {
                let base = tip(f);
                let side = commit(f, &[base], s, |index| put(f, index, ".note", 0o100_644, b"mine"));
                let other = commit(f, &[base], s, |index| put(f, index, ".other", 0o100_644, b"mine"));
                commit(f, &[other, side], s, |index| {
                    put(f, index, ".note", 0o100_644, b"mine");
                    let at = clock::now().strftime("%Y%m%dT%H%M%SZ");
                    let change = br#"{"format":1,"at":"2026-08-20T10:00:00Z","by":"x","add":[],"remove":[]}"#;
                    put(f, index, &format!("recipients/{at}-000000.json"), 0o100_644, change);
                });
            },
            &[Flaw::MergeWrites],
        ),
        (
            "a merge that leaves out what one side had",
            |f, s| {
                let base = tip(f);
                f.vault.record_intent(intent("2026-08-09T10:00:00Z", "2026-08-01"), b"x: 1\n", None).unwrap();
                let side = tip(f);
                commit(f, &[base, side], s, |_| {});
            },
            &[Flaw::Deleted],
        ),
        (
            "a commit without a signature",
            |f, _| {
                git(f, &["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "x"]);
            },
            &[Flaw::Unsigned],
        ),
        (
            "a commit signed by a stranger",
            |f, _| {
                commit(f, &[tip(f)], &signer(&new_key()), |_| {});
            },
            &[Flaw::UntrustedSigner],
        ),
        (
            "a signature taken from another commit",
            |f, s| {
                let old = s(b"another commit").unwrap();
                let stolen: CommitSigner = std::sync::Arc::new(move |_| Ok(old.clone()));
                commit(f, &[tip(f)], &stolen, |_| {});
            },
            &[Flaw::BadSignature],
        ),
        ("a branch moved back", |f, _| drop(git(f, &["update-ref", BRANCH, "HEAD~2"])), &[Flaw::RolledBack]),
        (
            "the objects of a commit lost",
            |f, _| std::fs::remove_file(object(f, "HEAD~2")).unwrap(),
            &[Flaw::MissingObject],
        ),
        (
            "a sealed file lost",
            |f, _| std::fs::remove_file(object(f, &format!("HEAD:{}", path(f, 2, "values.yaml.age")))).unwrap(),
            &[Flaw::MissingObject],
        ),
        (
            "a bit flipped on the disk",
            |f, _| {
                let file = object(f, &format!("HEAD:{}", path(f, 2, "values.yaml.age")));
                let mut bytes = std::fs::read(&file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::remove_file(&file).unwrap();
                std::fs::write(&file, bytes).unwrap();
            },
            &[Flaw::DamagedObject],
        ),
        (
            "the objects of another version in its place",
            |f, _| {
                let two = object(f, &format!("HEAD:{}", path(f, 2, "values.yaml.age")));
                let one = object(f, &format!("HEAD:{}", path(f, 1, "values.yaml.age")));
                std::fs::remove_file(&two).unwrap();
                std::fs::copy(one, two).unwrap();
            },
            &[Flaw::DamagedObject],
        ),
    ];
    for (name, alter, expected) in table {
        let f = three();
        alter(&f, &signer(&f.key));
        let found = f.vault.verify(&trusting(&f), None).unwrap();
        let kinds: BTreeSet<Flaw> = found.findings.iter().map(|finding| finding.flaw).collect();
        let kinds: Vec<Flaw> = kinds.into_iter().collect();
        assert_eq!(kinds, *expected, "{name}: {:?}", found.findings);
    }
}

/// The file of a loose object.
fn object(f: &Fixture, name: &str) -> PathBuf {
    let id = git(f, &["rev-parse", name]);
    let id = id.trim();
    f.vault.path().join(format!(".git/objects/{}/{}", &id[..2], &id[2..]))
}

/// A whole history written anew with a trusted key, and the flaws that it must be found by.
type Rewriting = (&'static str, fn(&Fixture, &mut Vec<Files>), &'static [Flaw]);

/// The place of a file among what a commit added.
fn file<'c>(commit: &'c mut Files, name: &str) -> &'c mut Vec<u8> {
    &mut commit.iter_mut().find(|(path, _)| path.ends_with(name)).unwrap().1
}

#[test]
fn every_history_written_anew_with_a_trusted_key_is_found() {
    // The commits: 0 begins; 1, 3 and 5 record; 2, 4 and 6 are their outcomes.
    let table: &[Rewriting] = &[
        (
            "a record altered",
            |_, c| {
                let record = file(&mut c[3], "record.json");
                *record = edited(record, |record| record.by = "somebody@else".into());
            },
            &[Flaw::AlteredRecord],
        ),
        ("a deployment in the middle dropped", |_, c| drop(c.drain(3..5)), &[Flaw::BrokenChain]),
        (
            "two deployments in another order",
            |_, c| {
                c.swap(3, 5);
                c.swap(4, 6);
            },
            &[Flaw::Reordered],
        ),
        (
            "two sealed files swapped",
            |_, c| {
                let one = file(&mut c[1], "values.yaml.age").clone();
                let two = std::mem::replace(file(&mut c[3], "values.yaml.age"), one);
                *file(&mut c[1], "values.yaml.age") = two;
            },
            &[Flaw::SwappedSealed],
        ),
        (
            "a sealed file left out",
            |_, c| c[3].retain(|(path, _)| !path.ends_with("values.yaml.age")),
            &[Flaw::MissingSealed],
        ),
        ("a record left out", |_, c| c[5].retain(|(path, _)| !path.ends_with("record.json")), &[Flaw::MissingRecord]),
        (
            "an outcome of another",
            |_, c| {
                let other = file(&mut c[2], "outcome.json").clone();
                *file(&mut c[4], "outcome.json") = other;
            },
            &[Flaw::ForeignOutcome],
        ),
        (
            "a record in another folder",
            |_, c| {
                let last = c[5].clone();
                c[5] = last.into_iter().map(|(path, b)| (path.replace("opschain.opschain", "a.b"), b)).collect();
                c.truncate(6);
            },
            &[Flaw::Misplaced],
        ),
        (
            "a record that passes over the one before it",
            |_, c| {
                let first: DeploymentRecord = serde_json::from_slice(file(&mut c[3], "record.json")).unwrap();
                let record = file(&mut c[5], "record.json");
                *record = edited(record, |record| record.previous = first.previous.clone());
            },
            &[Flaw::SkippedRecord],
        ),
        (
            "a record that says it is the first",
            |_, c| {
                let record = file(&mut c[5], "record.json");
                *record = edited(record, |record| record.previous = None);
            },
            &[Flaw::SkippedRecord],
        ),
        (
            "a record sealed to somebody else too",
            |_, c| {
                let other = Identities::generate().recipients().remove(0);
                let record = file(&mut c[5], "record.json");
                *record = edited(record, |record| record.recipients.push(other.clone()));
            },
            &[Flaw::WrongRecipients],
        ),
        (
            "a sealed file in the clear",
            |_, c| {
                let clear = b"password: hunter22\n".to_vec();
                let sha256 = crate::vault::files::digest(&clear);
                *file(&mut c[5], "values.yaml.age") = clear;
                let record = file(&mut c[5], "record.json");
                *record = edited(record, |record| record.layers[0].sealed.sealed_sha256 = sha256.clone());
            },
            &[Flaw::NotSealed],
        ),
        (
            "a sealed file cut off",
            |_, c| {
                let cut = c[5].iter().find(|(path, _)| path.ends_with("values.yaml.age")).unwrap().1[..150].to_vec();
                let sha256 = crate::vault::files::digest(&cut);
                *file(&mut c[5], "values.yaml.age") = cut;
                let record = file(&mut c[5], "record.json");
                *record = edited(record, |record| record.layers[0].sealed.sealed_sha256 = sha256.clone());
            },
            &[Flaw::NotSealed],
        ),
        ("an outcome that is no JSON", |_, c| *file(&mut c[6], "outcome.json") = b"{".to_vec(), &[Flaw::Unreadable]),
        (
            "a record of a newer format",
            |_, c| {
                let record = file(&mut c[5], "record.json");
                *record = edited(record, |record| record.format = 2);
            },
            &[Flaw::Unreadable],
        ),
    ];
    for (name, alter, expected) in table {
        let f = three();
        let mut commits = additions(&f);
        alter(&f, &mut commits);
        rewrite(&f, commits, &signer(&f.key));
        assert_eq!(flaws(&f), *expected, "{name}");
    }
}

#[test]
fn a_history_that_is_written_anew_as_it_was_is_given_away_by_what_was_remembered() {
    let f = three();
    assert_eq!(flaws(&f), []);
    let seen = tip(&f);
    let commits = additions(&f);
    rewrite(&f, commits, &signer(&f.key));
    let repo = git2::Repository::open(f.vault.path()).unwrap();
    repo.reference(NEWEST, seen, true, "test").unwrap();
    assert_eq!(flaws(&f), [Flaw::RolledBack]);
    f.vault.record_intent(intent("2026-08-09T10:00:00Z", "2026-08-01"), b"x: 1\n", None).unwrap();
    assert_eq!(flaws(&f), [Flaw::RolledBack], "recording forgets nothing");
}

#[test]
fn a_shallow_clone_and_a_foreign_history_are_named() {
    let f = three();
    let shallow = f.folder.path().join("shallow");
    let source = format!("file://{}", f.vault.path().display());
    git(&f, &["clone", "-q", "--depth", "2", &source, shallow.to_str().unwrap()]);
    let clone = Vault::open(&shallow, signer(&f.key)).unwrap();
    let found = clone.verify(&trusting(&f), None).unwrap();
    assert!(found.findings.iter().any(|finding| finding.flaw == Flaw::Shallow), "{:?}", found.findings);
    let other = fixture();
    git(&f, &["fetch", "-q", other.vault.path().to_str().unwrap(), "main"]);
    let theirs = Oid::from_str(git(&f, &["rev-parse", "FETCH_HEAD"]).trim()).unwrap();
    commit(&f, &[tip(&f), theirs], &signer(&f.key), |_| {});
    let both =
        format!("a {}\nb {}\n", f.key.public_key().to_openssh().unwrap(), other.key.public_key().to_openssh().unwrap());
    let found = f.vault.verify(&TrustedSigners::parse(&both, "test"), None).unwrap();
    assert!(found.findings.iter().any(|finding| finding.flaw == Flaw::SecondRoot), "{:?}", found.findings);
}

#[test]
fn what_a_person_changes_in_the_work_tree_is_a_note() {
    let f = three();
    std::fs::write(f.vault.path().join("README.md"), "mine").unwrap();
    std::fs::write(f.vault.path().join("values.yaml"), "a: 1\n").unwrap();
    let found = f.vault.verify(&trusting(&f), None).unwrap();
    assert_eq!((found.findings.len(), found.notes.len()), (0, 2), "{:?}", found.notes);
}

#[test]
fn a_key_that_was_retired_is_trusted_for_what_it_signed_before() {
    let f = three();
    let key = f.key.public_key().to_openssh().unwrap();
    let trust = |options: &str| TrustedSigners::parse(&format!("ops {options} {key}"), "test");
    assert!(f.vault.verify(&trust("valid-before=\"20990101Z\""), None).unwrap().findings.is_empty());
    let late = f.vault.verify(&trust("valid-after=\"20990101Z\""), None).unwrap();
    assert!(late.findings.iter().all(|finding| finding.flaw == Flaw::UntrustedSigner) && !late.findings.is_empty());
}

#[test]
fn an_import_of_an_old_date_has_its_place_in_the_chain() {
    let f = three();
    let old = f.vault.record_intent(intent("2020-01-01T10:00:00Z", "2020-01-01"), b"old: 1\n", None).unwrap();
    f.vault.record_intent(intent("2020-01-02T10:00:00Z", "2020-01-01"), b"old: 2\n", None).unwrap();
    f.vault.record_intent(intent("2026-09-01T10:00:00Z", "2026-08-01"), b"new: 1\n", None).unwrap();
    let found = f.vault.verify(&trusting(&f), None).unwrap();
    assert_eq!((found.findings.len(), found.forks.len()), (0, 0), "{:?}", found.findings);
    let all = f.vault.deployments(&install()).unwrap();
    let second =
        all.iter().find(|deployment| deployment.record.previous.as_ref().is_some_and(|p| p.id == old)).unwrap();
    assert_eq!(second.record.at.to_string(), "2020-01-02T10:00:00Z");
}
