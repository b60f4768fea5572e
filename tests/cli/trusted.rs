//! What stands in a store is believed when it opens under the trusted signers, whatever lies beside it.

use std::fs;
use std::path::{Path, PathBuf};

use dr::internals::crypt::Signer;
use dr::internals::ops::init::commit_signer;
use dr::internals::vault::{FORMAT, ListedBundle, RecordedInstall, Vault};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::bundles::{fixture, home, with_signing_key};
use crate::dr;
use crate::prune::{change_record, made, signed_by};
use crate::records::Host;

fn status(home: &Path) -> (Value, String) {
    let said = dr(home, &["--output", "json", "status"]);
    (serde_json::from_str(said.split_once("--- stderr").unwrap().0).unwrap(), said)
}

fn finding(report: &Value, area: &str) -> String {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["area"] == area);
    found.map_or(String::new(), |found| {
        format!("{}: {}", found["level"].as_str().unwrap(), found["text"].as_str().unwrap())
    })
}

#[test]
fn status_counts_no_bundle_that_nobody_trusted_has_signed() {
    let (home, store) = home();
    let old = made(&store, 9);
    let forged = signed_by("stranger-signing", &store, 0, |_| ());
    let loose = signed_by("stranger-signing", &store, 1, |_| ());
    fs::rename(store.join(&loose).join(format!("{loose}.tar")), store.join("e0.tar")).unwrap();
    fs::remove_dir_all(store.join(&loose)).unwrap();
    let (report, said) = status(home.path());
    assert!(said.ends_with("--- exit 4"), "{said}");
    assert_eq!((&report["bundles"]["made"]["bundle"], &report["bundles"]["count"]), (&old.into(), &1.into()), "{said}");
    assert!(finding(&report, "made").starts_with("bad: 9 d 0 h ago"), "{said}");
    let trust = finding(&report, "trust");
    assert!(trust.starts_with("warn: 2 bundles") && trust.contains(&forged), "{said}");
    let all = dr(home.path(), &["status", "--all"]);
    assert!(all.contains("2 bundles of the store count for nothing") && all.ends_with("--- exit 4"), "{all}");
    let doctor = dr(home.path(), &["doctor"]);
    assert!(doctor.contains(&format!("bundle {forged}: nobody trusted here has signed it")), "{doctor}");
}

/// Each field of the record that keeps a bundle from being the newest of this install and version.
#[test]
fn a_record_that_is_not_its_bundles_own_hides_nothing() {
    type Change = (&'static str, fn(&mut Value));
    let changes: [Change; 5] = [
        ("version", |record| record["bundle"]["opschain"]["version"] = "2020-01-01".into()),
        ("namespace", |record| record["bundle"]["install"]["namespace"] = "other".into()),
        ("release", |record| record["bundle"]["install"]["release"] = "other".into()),
        ("database", |record| record["bundle"]["postgresql"]["system_identifier"] = "42".into()),
        ("replaced", |record| record["bundle"]["replaced_by"] = "restore-x".into()),
    ];
    let identity = fixture("keys/identity.txt").display().to_string();
    for (what, change) in changes {
        let (home, store) = home();
        let (older, newest) = (made(&store, 10), made(&store, 5));
        change_record(&store, &newest, change);
        for verb in ["show", "verify"] {
            let said = dr(home.path(), &["bundle", verb]);
            assert!(said.contains("another header than the bundle") && said.ends_with("--- exit 17"), "{what}: {said}");
            assert!(said.contains(&newest), "{what}: {said}");
        }
        let (report, said) = status(home.path());
        assert_eq!(report["bundles"]["made"]["bundle"].as_str(), Some(older.as_str()), "{what}: {said}");
        assert!(finding(&report, "damaged").contains(&newest), "{what}: {said}");
        // Where nothing good is left, it is no matter of a version that nobody has.
        fs::remove_dir_all(store.join(&older)).unwrap();
        let restore = ["bundle", "restore", "--version", "2026-08-20", "--identity", &identity, "--dry-run"];
        let said = dr(home.path(), &restore);
        assert!(
            said.contains(&format!("{newest} was passed over: ")) && said.ends_with("--- exit 17"),
            "{what}: {said}"
        );
    }
}

#[test]
fn a_newer_one_that_is_marked_as_gone_is_named() {
    let (home, store) = home();
    let (older, newest) = (made(&store, 10), made(&store, 5));
    crate::prune::marked(&store, &newest, 1);
    let said = dr(home.path(), &["bundle", "show"]);
    assert!(said.contains(&format!("bundle {newest}, which is newer, is marked as gone")), "{said}");
    assert!(said.contains(&older) && said.ends_with("--- exit 0"), "{said}");
}

#[test]
fn a_proof_counts_when_somebody_trusted_has_signed_it_and_says_who() {
    let (home, store) = home();
    let name = made(&store, 0);
    let record: Value = serde_json::from_slice(&fs::read(store.join(&name).join("published.json")).unwrap()).unwrap();
    for depth in ["checksums", "restored"] {
        let proof = json!({"verified_at": Timestamp::now(), "depth": depth, "dr_version": "1", "signer": "test-only",
            "manifest_sha256": record["manifest_sha256"]});
        fs::write(store.join(&name).join(format!("proof.20261124T000000Z.{depth}.json")), proof.to_string()).unwrap();
    }
    let (report, said) = status(home.path());
    for area in ["verified", "restored"] {
        assert!(finding(&report, area).starts_with("warn: nobody trusted here has signed that"), "{said}");
    }
    let listed = dr(home.path(), &["bundle", "list"]);
    assert!(listed.contains("restored (by nobody trusted here)"), "{listed}");
    assert!(!dr(home.path(), &["bundle", "list", "--proved"]).contains(&name));
    let plan = dr(home.path(), &["bundle", "prune", "--keep-proved", "1", "--dry-run"]);
    assert!(!plan.contains("proved (") && plan.contains("always: the newest of"), "{plan}");

    with_signing_key(home.path());
    let verified = dr(home.path(), &["bundle", "verify"]);
    assert!(verified.ends_with("--- exit 0"), "{verified}");
    let (report, said) = status(home.path());
    assert!(finding(&report, "verified").ends_with(&format!("{name}, by test-only")), "{said}");
    assert_eq!(finding(&report, "restored"), "warn: no bundle was ever restored", "{said}");
    let shown = dr(home.path(), &["bundle", "show"]);
    assert!(shown.contains("checksums, ") && shown.contains(", by test-only"), "{shown}");
}

/// Lets this host's trust in the fixtures' key end so many days ago. Returns its store and the key's fingerprint.
fn trusting_until(host: &Host, days: i64) -> (PathBuf, String) {
    let until = Timestamp::now() - SignedDuration::from_hours(24 * days);
    let options = format!("namespaces=\"dr-bundle@v1\",valid-before=\"{}\"", until.strftime("%Y%m%d%H%M%SZ"));
    let key = fs::read_to_string(fixture("keys/signing.pub")).unwrap();
    let trust = host.home().join(".config/dr/allowed_signers");
    let own = fs::read_to_string(&trust).unwrap();
    fs::write(&trust, format!("{own}old@host {options} {key}")).unwrap();
    let fingerprint = ssh_key::PublicKey::from_openssh(&key).unwrap().fingerprint(ssh_key::HashAlg::Sha256);
    (host.home().join(".local/share/dr/bundles"), fingerprint.to_string())
}

/// Writes into the vault that this bundle of the store was published then.
fn list(host: &Host, store: &Path, name: &str, at: Timestamp) {
    let record: Value = serde_json::from_slice(&fs::read(store.join(name).join("published.json")).unwrap()).unwrap();
    let said = |pointer: &str| record.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let signer = Signer::load(&host.home().join(".config/dr/signing_key")).unwrap();
    let vault = Vault::open(&host.vault(), commit_signer(signer)).unwrap();
    let install = RecordedInstall {
        namespace: "opschain".parse().unwrap(),
        release: "opschain".parse().unwrap(),
        context: None,
        cluster: None,
    };
    let listed = ListedBundle {
        format: FORMAT,
        bundle: name.to_owned(),
        install,
        at,
        by: "operator@host".to_owned(),
        opschain_version: said("/bundle/opschain/version"),
        system_identifier: said("/bundle/postgresql/system_identifier"),
        manifest_sha256: said("/manifest_sha256"),
        store: store.display().to_string(),
        dr: "1".to_owned(),
    };
    vault.list_bundle(&listed).unwrap();
}

#[test]
fn a_key_that_has_ended_is_believed_for_a_bundle_that_the_vault_lists_of_before_or_that_a_person_vouches_for() {
    let host = Host::new();
    let (store, fingerprint) = trusting_until(&host, 5);
    let (listed, unlisted, late) = (made(&store, 10), made(&store, 9), made(&store, 2));
    let day = |days: i64| Timestamp::now() - SignedDuration::from_hours(24 * days);
    list(&host, &store, &listed, day(10));
    // Listed after the end: whoever has the key since may have made it, whatever date it gives itself.
    list(&host, &store, &late, day(2));
    let vouch = ["--trust-key", &fingerprint];
    for verb in ["show", "verify"] {
        for name in [&unlisted, &late] {
            let said = host.fails(16, &["bundle", verb, name]);
            assert!(said.contains("trusted until") && said.contains(&format!("--trust-key {fingerprint}")), "{said}");
            host.ok(&[&["bundle", verb, name][..], &vouch].concat());
        }
        let said = host.ok(&["bundle", verb, &listed]);
        assert!(said.contains("old@host"), "{said}");
    }
    let other = fingerprint.replacen(|c: char| c.is_ascii_lowercase(), "A", 2);
    host.fails(16, &["bundle", "verify", &late, "--trust-key", &other]);

    // A list that is not believed gives no dates.
    let trust = host.home().join(".config/dr/allowed_signers");
    let lines = fs::read_to_string(&trust).unwrap();
    let ended = lines.lines().find(|line| line.starts_with("old@host")).unwrap();
    fs::write(&trust, format!("{ended}\n")).unwrap();
    host.fails(16, &["bundle", "verify", &listed]);
    fs::write(&trust, lines).unwrap();
    host.ok(&["bundle", "verify", &listed]);

    // Nobody vouches for a revoked key, and no date makes it good.
    let (revoked, settings) = (host.home().join("revoked"), host.home().join(".config/dr/dr.toml"));
    fs::copy(fixture("keys/signing.pub"), &revoked).unwrap();
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replacen("[keys]\n", &format!("[keys]\nrevoked_signers = {revoked:?}\n"), 1)).unwrap();
    for name in [&listed, &unlisted] {
        for believed in [&[][..], &vouch, &["--any-signer"]] {
            let said = host.fails(16, &[&["bundle", "verify", name][..], believed].concat());
            assert!(said.contains("revoked"), "{said}");
        }
    }
}
