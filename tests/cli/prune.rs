//! What prune does to a folder of bundles: marked first, removed later, taken back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dr::internals::crypt::Signer;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bundles::{NAME, bundle, fixture, home, publish};
use crate::dr;
use crate::repack::{find, put_together, sign_anew, take_apart};

/// Publishes the fixture as if it had been made so many days ago; returns its name.
pub fn made(store: &Path, days: i64) -> String {
    made_of(store, days, None)
}

/// The same of another site.
pub fn made_of(store: &Path, days: i64, site: Option<u8>) -> String {
    signed_by("signing", store, days, |header| {
        if let Some(site) = site {
            header["install"]["namespace"] = format!("site-{site}").into();
        }
    })
}

/// Publishes the fixture as somebody else would: whole, as if it had been made so many days ago, signed with the key of this
/// name, and changed.
pub fn signed_by(key: &str, store: &Path, days: i64, change: impl FnOnce(&mut Value)) -> String {
    let created = Timestamp::from_second(Timestamp::now().as_second()).unwrap() - SignedDuration::from_hours(24 * days);
    let mut pieces = take_apart(&fs::read(bundle()).unwrap());
    let mut header: Value = serde_json::from_slice(&pieces[0].content).unwrap();
    header["created"] = created.to_string().into();
    change(&mut header);
    let site = header["install"]["namespace"].as_str().unwrap().strip_prefix("site-").unwrap_or("0").to_owned();
    let maker = if key == "signing" { 'a' } else { 'b' };
    let name = format!("opschain-{}-{maker}{site:0>2}{:03}", created.strftime("%Y%m%dT%H%M%SZ"), days.unsigned_abs());
    header["id"] = name.as_str().into();
    pieces[0].set_content(header.to_string().into_bytes());
    for piece in &mut pieces {
        piece.header.set_mtime(created.as_second() as u64);
        piece.header.set_cksum();
    }
    sign_anew(&mut pieces, &fixture_key(key), |manifest| manifest["id"] = name.as_str().into());
    let (bytes, folder) = (put_together(&pieces), store.join(&name));
    let manifest_at = bytes.chunks(512).position(|block| block.starts_with(b"manifest.json\0")).unwrap() * 512;
    let record = json!({
        "format": 1,
        "published_at": created,
        "bytes": bytes.len(),
        "manifest_at": manifest_at,
        "manifest_sha256": hex::encode(Sha256::digest(&pieces[find(&pieces, "manifest.json")].content)),
        "bundle": header,
    });
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{name}.tar")), bytes).unwrap();
    fs::write(folder.join("published.json"), record.to_string()).unwrap();
    name
}

/// A signing key of the fixtures. A checkout gives it to everybody to read, and such a key is refused.
fn fixture_key(name: &str) -> Signer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::copy(fixture("keys").join(name), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Signer::load(&path).unwrap()
}

/// Changes the record beside a bundle, which nobody has signed.
pub fn change_record(store: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = store.join(name).join("published.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    fs::write(path, record.to_string()).unwrap();
}

/// A store with ten bundles, one a day, newest first.
fn ten(store: &Path) -> Vec<String> {
    publish(store);
    let names = (0..10).map(|days| made(store, days)).collect();
    fs::remove_dir_all(store.join(NAME)).unwrap();
    names
}

fn prune(home: &Path, words: &[&str]) -> (Value, String) {
    let said = dr(home, &[&["--output", "json", "--yes", "bundle", "prune", "--all-installs"], words].concat());
    let (json, rest) = said.split_once("--- stderr").unwrap();
    (serde_json::from_str(json).unwrap_or_default(), rest.to_owned())
}

/// The bundles of a list of lines or of names.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().filter_map(|line| line["bundle"].as_str().or(line.as_str())).collect()
}

/// Marks as of so many days ago.
pub fn marked(store: &Path, name: &str, days: i64) {
    let at = Timestamp::now() - SignedDuration::from_hours(24 * days);
    let note = json!({"set": true, "at": at, "by": "op@host", "reason": "x", "dr_version": "1"});
    fs::write(store.join(name).join("gone.000001.json"), note.to_string()).unwrap();
}

#[test]
fn what_no_rule_keeps_is_marked_then_removed_and_can_be_taken_back() {
    let (home, store) = home();
    let all = ten(&store);
    let (plan, _) = prune(home.path(), &["--keep-last", "8", "--dry-run"]);
    assert_eq!(names(&plan["marks"]), [&all[8], &all[9]]);
    assert!(!store.join(&all[9]).join("gone.000001.json").exists(), "a dry run marks");
    let (report, rest) = prune(home.path(), &["--keep-last", "8"]);
    assert!(rest.ends_with("--- exit 0"), "{rest}");
    assert_eq!(names(&report["marked"]), [&all[8], &all[9]]);
    assert!(store.join(&all[9]).join(format!("{}.tar", all[9])).exists(), "what is marked is still there");
    let listed = dr(home.path(), &["bundle", "list"]);
    assert_eq!(listed.matches("\tgone").count(), 2, "{listed}");
    let (plan, _) = prune(home.path(), &["--keep-last", "8", "--dry-run"]);
    assert_eq!((plan["marks"].as_array().unwrap().len(), names(&plan["waits"])), (0, vec![all[8].as_str(), &all[9]]));
    let back = dr(home.path(), &["bundle", "unprune", &all[8]]);
    assert!(back.contains("no longer marked") && back.ends_with("--- exit 0"), "{back}");
    marked(&store, &all[9], 8);
    let (report, rest) = prune(home.path(), &["--keep-last", "9"]);
    assert!(rest.ends_with("--- exit 0"), "{rest}");
    assert_eq!((names(&report["removed"]), report["marked"].as_array().unwrap().len()), (vec![all[9].as_str()], 0));
    assert!(!store.join(&all[9]).exists() && store.join(&all[8]).exists());
}

#[test]
fn what_must_stay_stays_and_says_why() {
    let (home, store) = home();
    let all = ten(&store);
    assert!(dr(home.path(), &["bundle", "pin", &all[7], "--reason", "audit"]).ends_with("--- exit 0"));
    fs::write(store.join(&all[8]).join("lease.99991231T000000Z.restore-1"), b"").unwrap();
    fs::write(store.join(&all[9]).join("published.json"), b"{").unwrap();
    marked(&store, &all[7], 30);
    marked(&store, &all[8], 30);
    let (plan, _) = prune(home.path(), &["--keep-last", "6", "--dry-run"]);
    assert_eq!((names(&plan["marks"]), plan["removes"].as_array().unwrap().len()), (vec![all[6].as_str()], 0));
    assert_eq!(plan["unreadable"][0][0].as_str(), Some(all[9].as_str()));
    let why = |name: &str| -> String {
        let stays = plan["stays"].as_array().unwrap();
        stays.iter().find(|line| line["bundle"] == name).unwrap()["why"].as_str().unwrap().to_owned()
    };
    assert!(why(&all[7]).ends_with("always: pinned (audit)") && why(&all[8]).contains("being read"), "{plan}");
}

#[test]
fn much_at_once_needs_the_stores_name_and_no_rule_is_refused() {
    let (home, store) = home();
    let all = ten(&store);
    let (_, rest) = prune(home.path(), &["--keep-last", "6"]);
    assert!(rest.ends_with("--- exit 27"), "{rest}");
    assert!(!store.join(&all[9]).join("gone.000001.json").exists());
    let place = format!("--confirm={}", store.display());
    let (report, rest) = prune(home.path(), &["--keep-last", "6", &place]);
    assert!(report["marked"].as_array().unwrap().len() == 4 && rest.ends_with("--- exit 0"), "{rest}");
    let (_, rest) = prune(home.path(), &[]);
    assert!(rest.ends_with("--- exit 64"), "{rest}");
}

#[test]
fn a_bundle_that_is_still_to_come_stops_all_of_it() {
    let (home, store) = home();
    ten(&store);
    publish(&store);
    let later = made(&store, -1);
    let (_, rest) = prune(home.path(), &["--keep-last", "9"]);
    assert!(rest.contains(&later) && rest.ends_with("--- exit 34"), "{rest}");
}

#[test]
fn a_removal_that_was_cut_short_is_finished() {
    let (home, store) = home();
    let all = ten(&store);
    marked(&store, &all[9], 8);
    fs::remove_file(store.join(&all[9]).join(format!("{}.tar", all[9]))).unwrap();
    let (report, rest) = prune(home.path(), &["--keep-last", "9"]);
    assert!(names(&report["removed"]) == [&all[9]] && rest.ends_with("--- exit 0"), "{report}{rest}");
    assert!(!store.join(&all[9]).exists());
}

#[test]
fn what_nobody_trusted_has_signed_stays_and_nothing_goes_for_its_sake() {
    let (home, store) = home();
    let ours = [made(&store, 20), made(&store, 25)];
    let forged: Vec<String> = (0..3).map(|days| signed_by("stranger-signing", &store, days, |_| ())).collect();
    for name in &forged {
        let digest = hex::encode([0; 32]);
        let proof = json!({"verified_at": Timestamp::now(), "depth": "restored", "dr_version": "1", "signer": "test-only",
            "manifest_sha256": digest});
        fs::write(store.join(name).join("proof.20990101T000000Z.restored.json"), proof.to_string()).unwrap();
    }
    marked(&store, &forged[2], 30);
    // Ours by its record, and cut short; and a record of another bundle under a name of its own.
    let cut = made(&store, 3);
    fs::write(store.join(&cut).join(format!("{cut}.tar")), b"junk").unwrap();
    let place = format!("--confirm={}", store.display());
    let (plan, rest) = prune(home.path(), &["--keep-last", "1", &place, "--dry-run"]);
    assert_eq!(
        (names(&plan["stays"]), names(&plan["marks"])),
        (vec![ours[0].as_str()], vec![ours[1].as_str()]),
        "{rest}"
    );
    let named = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((named(&plan["strangers"]), named(&plan["unreadable"])), (forged, vec![cut]));
    assert_eq!(plan["removes"].as_array().unwrap().len(), 0);
    let said = dr(home.path(), &["bundle", "prune", "--all-installs", "--keep-last", "1", "--dry-run"]);
    assert!(said.contains("counts for no rule: nobody trusted here has signed it"), "{said}");
}

#[test]
fn other_installs_are_left_alone() {
    let (home, store) = home();
    ten(&store);
    let said =
        dr(home.path(), &["-n", "elsewhere", "--output", "json", "bundle", "prune", "--keep-last", "1", "--dry-run"]);
    let plan: Value = serde_json::from_str(said.split_once("--- stderr").unwrap().0).unwrap();
    assert_eq!((plan["of_others"].as_u64(), plan["marks"].as_array().unwrap().len()), (Some(10), 0));
}

/// A list of a thousand takes at most two seconds, on this machine as busy as it is.
#[test]
fn a_thousand_bundles_are_listed_in_two_seconds() {
    let (home, store) = home();
    publish(&store);
    (0..1000).for_each(|days| drop(made(&store, days)));
    let begun = std::time::Instant::now();
    let listed = dr(home.path(), &["bundle", "list"]);
    let took = begun.elapsed();
    assert_eq!(listed.lines().filter(|line| line.starts_with("opschain-")).count(), 1001);
    assert!(took.as_secs() < 2, "{took:?}");
}
