//! `dr bundle copy` between two folders: what it says, and what it leaves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bundles::{NAME, home, publish};
use crate::dr;
use crate::prune::made;

fn copy(home: &Path, words: &[&str]) -> (Value, String) {
    let said = dr(home, &[&["--output", "json", "bundle", "copy", "--to", "other"], words].concat());
    let (json, rest) = said.split_once("--- stderr").unwrap();
    (serde_json::from_str(json).unwrap_or_default(), rest.to_owned())
}

#[test]
fn a_bundle_is_copied_once_and_a_dry_run_copies_nothing() {
    let (home, store) = home();
    publish(&store);
    let (_, rest) = copy(home.path(), &[NAME, "--any-signer"]);
    assert!(rest.contains("mkdir -p") && rest.ends_with("--- exit 29"), "a folder that is not there: {rest}");
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    let (plan, rest) = copy(home.path(), &[NAME, "--any-signer", "--dry-run"]);
    assert!(rest.ends_with("--- exit 0"), "{rest}");
    assert_eq!(plan["copies"][0]["bundle"], NAME);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);

    let evidence = ["evidence.restore-1.json", "evidence.restore-1.json.sig"];
    fs::write(store.join(NAME).join(evidence[0]), "{}").unwrap();
    fs::write(store.join(NAME).join("kept-back"), "no note of a proof").unwrap();
    let (report, rest) = copy(home.path(), &["opschain-2026", "--any-signer"]);
    assert!(rest.ends_with("--- exit 0"), "{rest}");
    assert!(other.join(NAME).join(evidence[0]).exists() && !other.join(NAME).join("kept-back").exists());
    assert_eq!((&report["copied"][0]["bundle"], &report["copied"][0]["resumed_bytes"]), (&NAME.into(), &0.into()));
    let bytes = |folder: &std::path::Path| fs::read(folder.join(NAME).join(format!("{NAME}.tar"))).unwrap();
    assert!(bytes(&store) == bytes(&other));
    assert!(
        fs::read_dir(other.join(NAME))
            .unwrap()
            .any(|file| { file.unwrap().file_name().to_string_lossy().starts_with("proof.") })
    );
    assert_eq!(fs::read_dir(home.path().join(".local/state/dr/copies")).unwrap().count(), 0, "its state is forgotten");
    // What was proved since goes after the copy.
    fs::write(store.join(NAME).join(evidence[1]), "signature").unwrap();
    let (report, rest) = copy(home.path(), &["--all", "--any-signer"]);
    assert!(rest.ends_with("--- exit 0") && report["there"][0] == NAME, "{report} {rest}");
    assert_eq!((report["notes"].as_u64(), other.join(NAME).join(evidence[1]).exists()), (Some(1), true));

    let file = store.join(NAME).join(format!("{NAME}.tar"));
    fs::remove_dir_all(other.join(NAME)).unwrap();
    let (report, rest) = copy(home.path(), &[file.to_str().unwrap(), "--any-signer"]);
    assert!(rest.ends_with("--- exit 0") && report["copied"][0]["bundle"] == NAME, "{report} {rest}");
}

#[test]
fn what_is_not_whole_is_named_and_another_bundle_of_the_name_is_refused() {
    let (home, store) = home();
    publish(&store);
    let broken = made(&store, 1);
    fs::write(store.join(&broken).join(format!("{broken}.tar")), b"junk").unwrap();
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    let (report, rest) = copy(home.path(), &["--all", "--any-signer"]);
    assert_eq!(report["copied"][0]["bundle"], NAME, "{report}");
    assert_eq!(report["failed"][0][0], broken.as_str(), "{report}");
    assert!(!rest.ends_with("--- exit 0"), "{rest}");
    assert!(!other.join(&broken).join("published.json").exists());

    let record = other.join(NAME).join("published.json");
    let text = fs::read_to_string(&record).unwrap();
    let digest = serde_json::from_str::<Value>(&text).unwrap()["manifest_sha256"].as_str().unwrap().to_owned();
    fs::write(&record, text.replace(&digest, &"0".repeat(64))).unwrap();
    let (_, rest) = copy(home.path(), &[NAME, "--any-signer"]);
    assert!(rest.contains("another bundle under the name") && rest.ends_with("--- exit 29"), "{rest}");
    let said = dr(home.path(), &["bundle", "copy", NAME, "--to", store.to_str().unwrap(), "--any-signer"]);
    assert!(said.contains("to itself") && said.ends_with("--- exit 64"), "{said}");
}

/// A mirror that has the bundle, in the settings of `home`.
fn with_mirror(home: &Path) -> PathBuf {
    let (settings, mirror) = (home.join(".config/dr/dr.toml"), home.join("mirror"));
    fs::create_dir(&mirror).unwrap();
    publish(&mirror);
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}[[store.mirrors]]\npath = {mirror:?}\n")).unwrap();
    mirror
}

#[test]
fn mirrors_are_made_up_and_status_says_what_is_behind() {
    let (home, store) = home();
    publish(&store);
    let settings = home.path().join(".config/dr/dr.toml");
    let mirrors = ["mirror", "absent"].map(|name| home.path().join(name));
    fs::create_dir(&mirrors[0]).unwrap();
    let text = fs::read_to_string(&settings).unwrap();
    let tables: String = mirrors.iter().map(|path| format!("[[store.mirrors]]\npath = {path:?}\n")).collect();
    fs::write(&settings, text.replacen("[store]\n", "[store]\npolicy = \"quorum\"\n", 1) + &tables).unwrap();
    let said = dr(home.path(), &["-n", "opschain", "status"]);
    assert!(said.contains("1 bundle behind") && said.contains("is not known"), "{said}");
    let said = dr(home.path(), &["bundle", "copy", "--mirrors"]);
    assert!(said.contains(&format!("{NAME}: ")) && said.ends_with("--- exit 29"), "{said}");
    assert!(mirrors[0].join(NAME).join("published.json").exists() && !mirrors[1].exists());
    let said = dr(home.path(), &["-n", "opschain", "status"]);
    assert!(said.contains("mirror ~/mirror has all 1 bundle"), "{said}");
    assert!(!said.contains("`store.policy` asks"), "two of three are a quorum: {said}");
    let said = dr(home.path(), &["bundle", "copy", "--mirrors", "--to", "x"]);
    assert!(said.ends_with("--- exit 64"), "{said}");
}

#[test]
fn a_copy_that_is_marked_as_gone_in_a_mirror_is_no_copy_and_is_taken_back_there() {
    let (home, store) = home();
    publish(&store);
    let (settings, mirror) = (home.path().join(".config/dr/dr.toml"), with_mirror(home.path()));
    crate::prune::marked(&mirror, NAME, 1);
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replacen("[store]\n", "[store]\npolicy = \"all\"\n", 1)).unwrap();
    let status = || dr(home.path(), &["-n", "opschain", "status"]);
    let said = status();
    assert!(said.contains("1 bundle behind") && said.contains("`store.policy` asks"), "{said}");
    let said = dr(home.path(), &["bundle", "copy", "--mirrors"]);
    assert!(said.contains("marked as gone") && said.contains(&format!("unprune {NAME} --store")), "{said}");
    let said = dr(home.path(), &["bundle", "unprune", NAME, "--store", mirror.to_str().unwrap()]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    assert!(status().contains("has all 1 bundle"));
}

#[test]
fn where_the_first_store_is_lost_each_verb_names_the_mirror_and_reads_it() {
    let (home, store) = home();
    let mirror = with_mirror(home.path());
    let verbs: [&[&str]; 4] = [
        &["bundle", "list"],
        &["bundle", "show", NAME],
        &["bundle", "verify", NAME],
        &["bundle", "extract", NAME, "--list"],
    ];
    for is_lost in [false, true] {
        if is_lost {
            fs::remove_dir(&store).unwrap();
        }
        // A store that is there and empty can be listed.
        for verb in &verbs[usize::from(!is_lost)..] {
            let said = dr(home.path(), verb);
            let way = format!("`dr {} --store", verb.join(" "));
            assert!(said.contains("Mirror ~/mirror has") && said.contains(&way), "{said}");
        }
    }
    for verb in verbs {
        let said = dr(home.path(), &[verb, &["--store", mirror.to_str().unwrap()]].concat());
        assert!(said.contains(NAME) && said.ends_with("--- exit 0"), "{said}");
    }
}

#[test]
fn a_restore_takes_what_the_first_store_has_not_from_a_mirror() {
    let (home, store) = home();
    with_mirror(home.path());
    let identity = crate::bundles::fixture("keys/identity.txt");
    let restore = || {
        dr(
            home.path(),
            &["bundle", "restore", NAME, "--any-signer", "--identity", identity.to_str().unwrap(), "--dry-run"],
        )
    };
    let (taken, broken) = (restore(), {
        publish(&store);
        fs::write(store.join(NAME).join(format!("{NAME}.tar")), b"half").unwrap();
        restore()
    });
    for said in [taken, broken] {
        assert!(said.contains("taken from mirror ~/mirror"), "{said}");
    }
}
