//! Looking at bundles without a cluster: those of a store, and files that were put there by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dr::internals::bundle::{PublishedRecord, Reader, Trust};
use serde_json::Value;

use crate::dr;

pub const NAME: &str = "opschain-20261123T075443Z-0a1b2c";

pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

pub fn bundle() -> PathBuf {
    fixture("bundles/v1").join(NAME).with_extension("tar")
}

/// A home whose settings name a store that is there, and the signers of the fixtures.
pub fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let (settings, store) = (home.path().join(".config/dr"), home.path().join("store"));
    fs::create_dir_all(&settings).unwrap();
    fs::create_dir(&store).unwrap();
    let signers = fixture("keys/allowed_signers");
    let text = format!("[store]\npath = {store:?}\n[keys]\ntrusted_signers = {signers:?}\n");
    fs::write(settings.join("dr.toml"), text).unwrap();
    (home, store)
}

/// Gives the home the key that its signers trust.
pub fn with_signing_key(home: &Path) {
    let (key, settings) = (home.join("key"), home.join(".config/dr/dr.toml"));
    fs::copy(fixture("keys/signing"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}signing_key = {key:?}\n")).unwrap();
}

/// Puts the fixture into the store as `bundle create` would.
pub fn publish(store: &Path) {
    let file = dr::open_file(&bundle()).unwrap();
    let bytes = fs::read(bundle()).unwrap();
    let reader = Reader::open(Arc::clone(&file), &Trust::Anyone(Default::default())).unwrap();
    let manifest_at = bytes.chunks(512).position(|block| block.starts_with(b"manifest.json\0")).unwrap() * 512;
    let record = PublishedRecord {
        header: reader.header().clone(),
        bytes: file.len(),
        manifest_at: manifest_at as u64,
        manifest_sha256: reader.manifest_sha256().to_owned(),
        published_at: reader.header().created,
    };
    let folder = store.join(NAME);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{NAME}.tar")), bytes).unwrap();
    fs::write(folder.join("published.json"), record.to_bytes().unwrap()).unwrap();
}

fn listed(home: &Path) -> Value {
    let said = dr(home, &["--output", "json", "bundle", "list"]);
    let (json, rest) = said.split_once("--- stderr").unwrap();
    assert!(rest.ends_with("--- exit 0"), "{said}");
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_verification_of_a_bundle_of_the_store_is_what_the_list_then_says() {
    let (home, store) = home();
    publish(&store);
    let row = |list: &Value| list["bundles"][0].clone();
    let before = row(&listed(home.path()));
    assert_eq!((before["name"].as_str(), before["loose"].as_bool()), (Some(NAME), Some(false)));
    assert!(before["address"].as_str().unwrap().ends_with(&format!("store/{NAME}/{NAME}.tar")));
    assert_eq!(before["proof"], Value::Null);
    let verified = dr(home.path(), &["bundle", "verify", NAME]);
    assert!(verified.contains("as signed") && verified.ends_with("--- exit 0"), "{verified}");
    let after = row(&listed(home.path()));
    assert_eq!((&after["proof"]["depth"], &after["proof"]["signer"]), (&"checksums".into(), &"test-only".into()));
    let notes = fs::read_dir(store.join(NAME)).unwrap().count();
    assert_eq!(notes, 3, "bytes, record and one proof");
}

/// What is said, without the time that it took.
fn timeless(said: &str) -> String {
    regex::Regex::new(r"\(\d+\.\d s\)").unwrap().replace_all(said, "(TIME)").into_owned()
}

#[test]
fn a_sample_says_what_it_has_not_read_and_is_kept_as_no_proof() {
    let (home, store) = home();
    publish(&store);
    let identity = fixture("keys/identity.txt").display().to_string();
    let whole =
        dr(home.path(), &["bundle", "verify", NAME, "--sample", "99.99%", "--decrypt", "--identity", &identity]);
    assert!(whole.contains("read and opened") && !whole.contains("not read"), "{whole}");
    let said = dr(home.path(), &["bundle", "verify", NAME, "--sample", "0.5%"]);
    let sizes = regex::Regex::new(r"[\d.]+ KiB").unwrap();
    insta::assert_snapshot!(sizes.replace_all(&timeless(&said), "SIZE"));
    let json = dr(home.path(), &["bundle", "verify", NAME, "--sample", "0.5%", "--output", "json"]);
    let json: Value = serde_json::from_str(json.split_once("--- stderr").unwrap().0).unwrap();
    assert_eq!((&json["depth"], &json["sample"], &json["opened"]), (&"sampled".into(), &"0.5%".into(), &false.into()));
    assert_eq!(json["base_chunks"], serde_json::json!({"read": 1, "of": 3}));
    let read = json["bytes"].as_u64().unwrap() + json["bytes_not_read"].as_u64().unwrap();
    assert_eq!(read, fs::metadata(bundle()).unwrap().len());
    assert_eq!(fs::read_dir(store.join(NAME)).unwrap().count(), 2, "a sample is kept as a proof");
    // All of it is no sample.
    assert!(dr(home.path(), &["bundle", "verify", NAME, "--sample", "100%"]).contains("as signed"));
    assert_eq!(listed(home.path())["bundles"][0]["proof"]["depth"], "checksums");
}

#[test]
fn a_sample_is_asked_for_as_a_percentage() {
    let home = tempfile::tempdir().unwrap();
    let said = dr(home.path(), &["bundle", "verify", "--sample", "5"]);
    assert!(said.contains("a sample is a percentage from 0.01% to 100%, such as 5% or 0.5%"), "{said}");
    assert!(said.ends_with("--- exit 64"), "{said}");
}

#[test]
fn a_proof_that_the_store_does_not_take_is_missed_aloud_and_the_bundle_is_verified_all_the_same() {
    let (home, store) = home();
    publish(&store);
    // No file may grow: what a full disk is to whoever writes.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_dr"), "bundle", "verify", NAME])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    let [said, warned] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success() && said.contains("as signed"), "{said}{warned}");
    assert!(warned.contains("did not keep this proof"), "{warned}");
    assert_eq!(listed(home.path())["bundles"][0]["proof"], Value::Null);
    assert_eq!(fs::read_dir(store.join(NAME)).unwrap().count(), 2, "something is left of it");
}

#[test]
fn a_bundle_without_its_record_is_not_listed() {
    let (home, store) = home();
    publish(&store);
    fs::remove_file(store.join(NAME).join("published.json")).unwrap();
    assert_eq!(listed(home.path())["bundles"], serde_json::json!([]));
    let said = dr(home.path(), &["bundle", "verify", NAME]);
    assert!(said.ends_with("--- exit 14"), "{said}");
}

#[test]
fn a_file_in_the_stores_folder_is_listed_and_verified_as_a_file() {
    let (home, store) = home();
    let file = store.join("brought.tar");
    fs::copy(bundle(), &file).unwrap();
    let list = listed(home.path());
    assert_eq!((&list["bundles"][0]["name"], &list["bundles"][0]["loose"]), (&NAME.into(), &true.into()));
    for name in [NAME, "store/brought.tar", file.to_str().unwrap()] {
        let said = dr(home.path(), &["bundle", "verify", name]);
        assert!(said.contains("as signed") && said.ends_with("--- exit 0"), "{said}");
        let shown = dr(home.path(), &["bundle", "show", name]);
        assert!(shown.contains("never") && shown.contains("~/store/brought.tar"), "{shown}");
    }
    assert_eq!(fs::read_dir(&store).unwrap().count(), 1, "nothing is written beside a file");
}

/// The command between the first two backticks of the first hint, as a shell would part it, without `dr`.
fn whole_command(said: &str) -> Vec<String> {
    let hint = said.lines().find(|line| line.starts_with("hint: ")).unwrap_or_else(|| panic!("{said}"));
    hint.split('`').nth(1).unwrap().split(' ').skip(1).map(str::to_owned).collect()
}

/// Runs `arguments` on a host that has nothing, and then what its refusal says with the files of the fixtures.
fn led_on(arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let refused = dr(home.path(), arguments);
    let command = whole_command(&refused).into_iter().map(|word| match word.as_str() {
        "BUNDLE.tar" => bundle().display().to_string(),
        "KEYFILE" => fixture("keys/identity.txt").display().to_string(),
        "SIGNERS" => fixture("keys/allowed_signers").display().to_string(),
        _ => word,
    });
    let command: Vec<String> = command.collect();
    dr(home.path(), &command.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn one_refusal_leads_from_a_bare_host_into_the_bundle() {
    let file = bundle().display().to_string();
    for arguments in [
        &["bundle", "show"][..],
        &["bundle", "show", NAME, "--scope"],
        &["bundle", "show", &file],
        &["bundle", "verify", &file, "--decrypt"],
    ] {
        let said = led_on(arguments);
        assert!(said.ends_with("--- exit 0"), "{arguments:?}: {said}");
    }
    // A restore is led to what the bundle says of its release, where this one is too small.
    for arguments in
        [&["bundle", "restore"][..], &["bundle", "restore", NAME, "--dry-run"], &["bundle", "restore", &file]]
    {
        let said = led_on(arguments);
        assert!(said.contains("config/release.json") && said.ends_with("--- exit 17"), "{arguments:?}: {said}");
    }
}

#[test]
fn what_a_bundle_of_a_file_says_next_works_on_the_same_host() {
    let home = tempfile::tempdir().unwrap();
    let (file, signers) = (bundle().display().to_string(), fixture("keys/allowed_signers").display().to_string());
    let shown = dr(home.path(), &["bundle", "show", &file, "--trusted-signers", &signers]);
    let next = shown.lines().find_map(|line| line.strip_prefix("next: dr ")).unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(next, format!("bundle verify {file} --trusted-signers {signers} --decrypt --identity KEYFILE"));
    // With the identity, which the host does not know, in its place.
    let identity = fixture("keys/identity.txt").display().to_string();
    let next: Vec<&str> = next.split(' ').map(|word| if word == "KEYFILE" { &identity } else { word }).collect();
    let checked = dr(home.path(), &next);
    assert!(checked.ends_with("--- exit 0"), "{checked}");
    let scope = shown.split('`').nth(1).unwrap().split(' ').skip(1).collect::<Vec<_>>();
    assert!(dr(home.path(), &scope).ends_with("--- exit 0"), "{scope:?}");
}

/// The newest of the store may be of another site: whoever names none means one of his own.
#[test]
fn without_a_name_the_newest_of_this_install_is_taken_or_several_others_are_named() {
    let (home, store) = home();
    publish(&store);
    let own = crate::prune::made(&store, 1);
    let of_seven = crate::prune::made_of(&store, 0, Some(7));
    let record = fs::read_to_string(store.join(&own).join("published.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let namespace = record["bundle"]["install"]["namespace"].as_str().unwrap();
    let of = |namespace: &str| dr(home.path(), &["-n", namespace, "bundle", "show"]);
    assert!(of(namespace).contains(&own), "{}", of(namespace));
    assert!(of("site-7").contains(&of_seven), "{}", of("site-7"));
    let neither = of("site-8");
    assert!(neither.contains("no bundle of site-8/opschain") && neither.ends_with("--- exit 27"), "{neither}");
    assert!(neither.contains(&own) && neither.contains(&of_seven), "{neither}");
}
