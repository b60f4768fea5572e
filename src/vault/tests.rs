use std::process::Command;
use std::sync::Arc;

use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

use super::files::{digest, parse, random};
use super::git::{Content, Git};
use super::record::{Previous, VaultHeader};
use super::*;
use crate::crypt::{Identities, Recipients};
use crate::values::overlay::{Layer, LayerKind};

pub(super) struct Fixture {
    pub(super) folder: tempfile::TempDir,
    pub(super) vault: Vault,
    pub(super) identities: Identities,
    pub(super) key: PrivateKey,
}

pub(super) fn signer(key: &PrivateKey) -> CommitSigner {
    let key = key.clone();
    Arc::new(move |bytes| {
        let signature = key.sign("git", HashAlg::Sha512, bytes).map_err(|e| e.to_string())?;
        signature.to_pem(LineEnding::LF).map_err(|e| e.to_string())
    })
}

pub(super) fn new_key() -> PrivateKey {
    let mut seed = [0; 32];
    random(&mut seed).unwrap();
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let key = PrivateKey::from(pair);
    assert_eq!(key.algorithm(), Algorithm::Ed25519);
    key
}

pub(super) fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let identities = Identities::generate();
    let recipients = Recipients::parse(identities.recipients()).unwrap();
    let key = new_key();
    let vault = Vault::init(&folder.path().join("vault"), &recipients, "ops@host", signer(&key)).unwrap();
    Fixture { folder, vault, identities, key }
}

impl Vault {
    /// Records one values file.
    pub(super) fn record_intent(
        &self,
        intent: Intent,
        values: &[u8],
        chart: Option<&[u8]>,
    ) -> Result<DeploymentId, VaultError> {
        self.record_layers(intent, &[Layer::new(LayerKind::Values, values)], chart)
    }
}

pub(super) fn install() -> RecordedInstall {
    RecordedInstall { namespace: "opschain".into(), release: "opschain".into(), context: None, cluster: None }
}

pub(super) fn intent(at: &str, version: &str) -> Intent {
    Intent {
        install: install(),
        at: at.parse().unwrap(),
        by: "ops@host".into(),
        why: Some("because".into()),
        how: How::Deploy,
        opschain_version: Some(version.into()),
        chart: RecordedChart {
            name: "opschain".into(),
            version: version.replace("-0", ".").replace('-', "."),
            app_version: None,
            reference: "oci://r/opschain".into(),
            digest: None,
        },
        helm: Some("v4.1.4".into()),
        operator: None,
        bundle_before: None,
    }
}

pub(super) fn outcome(id: &DeploymentId, at: &str, status: DeploymentStatus, revision: u32) -> DeploymentOutcome {
    DeploymentOutcome {
        format: FORMAT,
        id: id.clone(),
        at: at.parse().unwrap(),
        status,
        helm_revision: Some(revision),
        images: Vec::new(),
        seconds: 1.5,
        error: None,
    }
}

pub(super) fn git(fixture: &Fixture, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(fixture.vault.path()).args(args).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "git {args:?}: {text}");
    text
}

#[test]
fn what_was_recorded_comes_back_byte_for_byte_and_the_state_follows_the_outcome() {
    let f = fixture();
    let values = b"a: 1\r\n# no end";
    let id = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), values, Some(b"tgz")).unwrap();
    let found = f.vault.resolve(&install(), "latest").unwrap();
    assert_eq!((found.id(), found.state()), (&id, "unknown"));
    assert_eq!(f.vault.values(&found, &f.identities).unwrap().as_slice(), values);
    assert_eq!(f.vault.chart(&found, &f.identities).unwrap().unwrap().as_slice(), b"tgz");
    f.vault.record_outcome(outcome(&id, "2026-08-20T10:01:00Z", DeploymentStatus::Deployed, 1), "ops@host").unwrap();
    assert_eq!(f.vault.resolve(&install(), "live").unwrap().state(), "deployed");
    let again = f.vault.record_outcome(outcome(&id, "2026-08-20T10:02:00Z", DeploymentStatus::Failed, 1), "ops@host");
    assert!(matches!(again, Err(VaultError::Rewrite { .. })));
}

#[test]
fn identical_bytes_make_no_new_ciphertext_and_records_are_chained() {
    let f = fixture();
    let first = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", Some(b"tgz")).unwrap();
    f.vault.record_intent(intent("2026-08-21T10:00:00Z", "2026-08-20"), b"a: 1\n", Some(b"tgz")).unwrap();
    f.vault.record_intent(intent("2026-08-22T10:00:00Z", "2026-08-20"), b"a: 2\n", Some(b"tgz")).unwrap();
    let all = f.vault.deployments(&install()).unwrap();
    assert_eq!(all[0].record.layers[0].sealed.sha256, digest(b"a: 2\n"));
    assert_eq!(all[1].record.layers, all[2].record.layers);
    assert_eq!(all[0].record.chart_archive, all[2].record.chart_archive);
    assert_eq!(all[1].record.previous, Some(Previous { id: first, record_sha256: all[2].record_sha256.clone() }));
    let blobs = git(&f, &["ls-tree", "-r", "HEAD", "--", "deployments"]);
    let mut sealed: Vec<&str> =
        blobs.lines().filter(|l| l.ends_with(".age")).filter_map(|l| l.split_whitespace().nth(2)).collect();
    assert_eq!(sealed.len(), 6);
    sealed.sort_unstable();
    sealed.dedup();
    assert_eq!(sealed.len(), 3, "two values and one chart");
}

#[test]
fn an_import_of_an_old_date_continues_the_chain_and_leaves_live_as_it_is() {
    let f = fixture();
    let record = |at: &str, how: How, revision: u32| {
        let values = format!("at: {at}\n");
        let intent = Intent { how, ..intent(at, "2026-08-20") };
        let id = f.vault.record_intent(intent, values.as_bytes(), None).unwrap();
        f.vault.record_outcome(outcome(&id, at, DeploymentStatus::Deployed, revision), "ops@host").unwrap();
        id
    };
    let now = record("2026-08-20T10:00:00Z", How::Deploy, 7);
    let old = record("2025-04-25T00:00:00Z", How::Import, 1);
    let middle = record("2025-06-01T00:00:00Z", How::Import, 2);
    let next = record("2026-08-21T10:00:00Z", How::Deploy, 8);
    let all = f.vault.deployments(&install()).unwrap();
    let ids: Vec<&DeploymentId> = all.iter().map(Deployment::id).collect();
    assert_eq!(ids, [&next, &now, &middle, &old], "listed by their time");
    let before = |id: &DeploymentId| {
        let found = all.iter().find(|deployment| deployment.id() == id).unwrap();
        found.record.previous.as_ref().map(|previous| previous.id.clone())
    };
    assert_eq!(
        [before(&now), before(&old), before(&middle), before(&next)],
        [None, Some(now), Some(old.clone()), Some(middle)]
    );
    assert_eq!(f.vault.live_at(&install(), "2025-05-01").unwrap().id(), &old);
    assert_eq!(f.vault.live_at(&install(), "2026-08-20T09:00").unwrap().state(), "deployed");
    assert!(matches!(f.vault.live_at(&install(), "2025-04-24"), Err(VaultError::NotFound { .. })));
    let times = git(&f, &["log", "--format=%ct", "HEAD"]);
    let times: Vec<i64> = times.lines().map(|time| time.parse().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "commits say when they were written: {times:?}");
}

#[test]
fn selectors_find_by_revision_name_version_and_time() {
    let f = fixture();
    let mut ids = Vec::new();
    for (day, version, status) in [
        ("2026-08-20", "2026-08-20", DeploymentStatus::Deployed),
        ("2026-09-15", "2026-09-14", DeploymentStatus::Failed),
        ("2026-09-16", "2026-09-14", DeploymentStatus::Deployed),
    ] {
        let id = f.vault.record_intent(intent(&format!("{day}T10:00:00Z"), version), day.as_bytes(), None).unwrap();
        let revision = ids.len() as u32 + 1;
        f.vault.record_outcome(outcome(&id, &format!("{day}T10:05:00Z"), status, revision), "ops@host").unwrap();
        ids.push(id);
    }
    let find = |selector: &str| f.vault.resolve(&install(), selector).map(|found| found.id().clone());
    assert_eq!(find("latest").unwrap(), ids[2]);
    assert_eq!(find("live").unwrap(), ids[2]);
    assert_eq!(find("rev:2").unwrap(), ids[1]);
    assert_eq!(find(ids[1].short()).unwrap(), ids[1]);
    assert_eq!(find("20260820").unwrap(), ids[0]);
    assert_eq!(find("2026-09-14").unwrap(), ids[2], "the newest of that version");
    assert_eq!(find("2026.8.20").unwrap(), ids[0]);
    assert_eq!(find("2026-09-15").unwrap(), ids[0], "what was live at the end of that day");
    assert_eq!(find("2026-08-20T10:05").unwrap(), ids[0]);
    assert!(matches!(find("2026-08-20T10:04"), Err(VaultError::NotFound { .. })));
    assert!(matches!(find("202609"), Err(VaultError::Ambiguous { .. })));
    assert!(matches!(find("2026"), Err(VaultError::Ambiguous { .. })));
    assert!(matches!(find("nonsense"), Err(VaultError::NotFound { .. })));
}

#[test]
fn git_and_age_alone_read_it_and_ssh_keygen_verifies_it() {
    let f = fixture();
    let id = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"secret: x\n", Some(b"tgz")).unwrap();
    assert_eq!(git(&f, &["status", "--porcelain"]), "");
    git(&f, &["fsck", "--strict"]);
    let allowed = f.folder.path().join("allowed");
    std::fs::write(&allowed, format!("ops@host {}\n", f.key.public_key().to_openssh().unwrap())).unwrap();
    let option = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    let commits = git(&f, &["rev-list", "HEAD"]);
    assert_eq!(commits.lines().count(), 2);
    for commit in commits.lines() {
        let said = git(&f, &["-c", &option, "verify-commit", "-v", commit]);
        assert!(said.contains("Good \"git\" signature for ops@host"), "{said}");
    }
    let key = f.folder.path().join("key");
    std::fs::write(&key, f.identities.to_file_text().as_bytes()).unwrap();
    let file = f.vault.path().join(format!("deployments/opschain.opschain/{id}/values.yaml.age"));
    let opened = Command::new("age").args(["-d", "-i"]).arg(&key).arg(&file).output().unwrap();
    assert_eq!(opened.stdout, b"secret: x\n", "{}", String::from_utf8_lossy(&opened.stderr));
}

#[test]
fn nothing_in_the_repository_holds_the_plaintext() {
    let f = fixture();
    let canary = "canary-7d1f0c-canary";
    f.vault
        .record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), format!("k: {canary}\n").as_bytes(), None)
        .unwrap();
    let found = Command::new("grep").args(["-rF", canary]).arg(f.vault.path()).output().unwrap();
    assert!(found.stdout.is_empty());
    let objects = git(&f, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    assert!(objects.lines().count() > 8);
    for object in objects.lines() {
        assert!(!git(&f, &["cat-file", "-p", object]).contains(canary));
    }
}

#[test]
fn writers_side_by_side_all_get_in() {
    let f = fixture();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let vault = f.vault.clone();
            scope.spawn(move || {
                let values = format!("n: {number}\n");
                vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), values.as_bytes(), None).unwrap();
            });
        }
    });
    assert_eq!(f.vault.deployments(&install()).unwrap().len(), 6);
    assert_eq!(git(&f, &["rev-list", "--count", "HEAD"]).trim(), "7");
}

#[test]
fn strangers_cannot_open_and_a_rekeyed_file_stands_for_the_old_one() {
    let f = fixture();
    f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
    let found = f.vault.resolve(&install(), "latest").unwrap();
    let other = Identities::generate();
    assert!(matches!(f.vault.values(&found, &other), Err(VaultError::Seal { .. })));
    assert!(f.vault.fingerprint_key(&other).is_err());
    let repo = Git::open(f.vault.path()).unwrap();
    let lock = repo.lock().unwrap();
    let resealed = Recipients::parse(other.recipients()).unwrap().seal(b"a: 1\n").unwrap();
    let path = format!("rekeyed/20261001T000000Z-000000/deployments/opschain.opschain/{}/values.yaml.age", found.id());
    repo.add(&lock, vec![(path, Content::Bytes(resealed))], "Rekey", "ops@host", &f.vault.signer).unwrap();
    assert_eq!(f.vault.values(&found, &other).unwrap().as_slice(), b"a: 1\n");
}

#[test]
fn a_newer_format_and_a_foreign_repository_and_a_full_folder_are_told_apart() {
    let f = fixture();
    let newer = parse::<VaultHeader>("vault.json", br#"{"format": 2, "new": true}"#);
    assert!(matches!(newer, Err(VaultError::Format { found: 2, known: FORMAT, .. })));
    let recipients = f.vault.recipients().unwrap();
    // What one that was killed had made is no vault yet: the next begins anew.
    let (half, other) = (f.folder.path().join("half"), f.folder.path().join("other"));
    std::fs::create_dir_all(half.join(".dr-new/.git")).unwrap();
    Vault::init(&half, &recipients, "x", signer(&f.key)).unwrap();
    assert!(half.join("vault.json").exists() && !half.join(".dr-new").exists());
    let failing: CommitSigner = Arc::new(|_| Err("no key".into()));
    assert!(Vault::init(&other, &recipients, "x", failing).is_err() && !other.exists(), "what is half goes");
    let again = Vault::init(f.vault.path(), &recipients, "x", signer(&f.key));
    assert!(matches!(again, Err(VaultError::Occupied { .. })));
    let foreign = f.folder.path().join("foreign");
    git2::Repository::init(&foreign).unwrap();
    assert!(matches!(Vault::open(&foreign, signer(&f.key)), Err(VaultError::Foreign { .. })));
    let file = f.folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(Vault::open(&file, signer(&f.key)), Err(VaultError::NoFolder { .. })));
    let missing = Vault::open(&f.folder.path().join("nowhere"), signer(&f.key));
    assert!(matches!(missing, Err(VaultError::Missing { .. })));
}

#[test]
fn a_commit_that_takes_the_header_out_is_named_and_the_way_back_is_one() {
    let f = fixture();
    f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
    let good = git(&f, &["rev-parse", "main"]).trim().to_owned();
    let by = ["-c", "user.name=a", "-c", "user.email=b", "-c", "commit.gpgsign=false"];
    git(&f, &["rm", "-q", "vault.json"]);
    git(&f, &[&by[..], &["commit", "-qm", "tidy"]].concat());
    let bad = git(&f, &["rev-parse", "main"]).trim().to_owned();
    git(&f, &[&by[..], &["commit", "-q", "--allow-empty", "-m", "more"]].concat());
    for remembers in [true, false] {
        if !remembers {
            git(&f, &["update-ref", "-d", "refs/dr/newest"]);
        }
        let Err(VaultError::HeaderGone { commit, back, .. }) = Vault::open(f.vault.path(), signer(&f.key)) else {
            panic!("it is no vault")
        };
        assert_eq!((commit, back), (bad.clone(), good.clone()));
    }
    git(&f, &["reset", "-q", "--keep", &good]);
    let vault = Vault::open(f.vault.path(), signer(&f.key)).unwrap();
    assert_eq!(vault.survey().unwrap().deployments.len(), 1);
}

#[test]
fn the_fingerprint_key_is_sealed_and_the_same_for_all() {
    let f = fixture();
    let one = f.vault.fingerprint_key(&f.identities).unwrap();
    let two = Vault::open(f.vault.path(), signer(&f.key)).unwrap().fingerprint_key(&f.identities).unwrap();
    assert_eq!(one.fingerprint(b"x"), two.fingerprint(b"x"));
}

#[test]
fn lock_files_of_a_killed_writer_go_and_those_of_somebody_at_work_stay() {
    let f = fixture();
    let own = f.vault.path().join(".git");
    let record = |at: &str| f.vault.record_intent(intent(at, "2026-08-20"), b"a: 1\n", None);
    let locks = ["refs/heads/main.lock", "index.lock"].map(|name| own.join(name));
    // As kill -9 leaves it: the mark of a writer, and what libgit2 had locked.
    std::fs::write(own.join("dr.writing"), b"").unwrap();
    locks.iter().for_each(|lock| std::fs::write(lock, b"").unwrap());
    record("2026-08-20T10:00:00Z").unwrap();
    assert!(locks.iter().all(|lock| !lock.exists()));
    assert!(!own.join("dr.writing").exists());
    // Without the mark it is a git of somebody else's.
    std::fs::write(&locks[0], b"").unwrap();
    assert!(record("2026-08-20T11:00:00Z").is_err());
    assert!(locks[0].exists());
}

#[test]
fn of_two_deployments_of_one_second_the_one_that_was_recorded_later_is_newer() {
    let f = fixture();
    for _ in 0..6 {
        let values = format!("a: {}\n", f.vault.deployments(&install()).unwrap().len());
        let id = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), values.as_bytes(), None).unwrap();
        assert_eq!(f.vault.resolve(&install(), "latest").unwrap().id(), &id);
    }
}
