//! Pins and the filters of the list, on a folder.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bundles::{NAME, home, publish, with_signing_key};
use crate::dr;

fn listed(home: &Path, filter: &[&str]) -> Vec<Value> {
    let said = dr(home, &[&["--output", "json", "bundle", "list"], filter].concat());
    let (json, rest) = said.split_once("--- stderr").unwrap();
    assert!(rest.ends_with("--- exit 0"), "{said}");
    let list: Value = serde_json::from_str(json).unwrap();
    list["bundles"].as_array().unwrap().clone()
}

#[test]
fn a_pin_is_a_new_note_that_list_and_show_say_and_an_unpin_a_newer_one() {
    let (home, store) = home();
    publish(&store);
    let run = |words: &[&str]| dr(home.path(), words);
    assert!(listed(home.path(), &["--pinned"]).is_empty());
    let pinned = run(&["bundle", "pin", "opschain-2026", "--reason", "audit, ticket 7"]);
    assert!(pinned.contains("is pinned: audit, ticket 7") && pinned.ends_with("--- exit 0"), "{pinned}");
    let rows = listed(home.path(), &["--pinned"]);
    assert_eq!((&rows[0]["name"], &rows[0]["pinned"]["reason"]), (&NAME.into(), &"audit, ticket 7".into()));
    assert!(run(&["bundle", "list"]).contains("pinned: audit, ticket 7"));
    assert!(run(&["bundle", "show", NAME]).contains("pinned: audit, ticket 7, since "));
    let again = run(&["bundle", "pin", NAME, "--reason", "audit, ticket 7"]);
    assert!(again.contains("was pinned before") && again.ends_with("--- exit 0"), "{again}");
    assert_eq!(fs::read_dir(store.join(NAME)).unwrap().count(), 3, "bytes, record and one pin");
    assert!(run(&["bundle", "unpin", NAME]).contains("is pinned no longer"));
    assert!(run(&["bundle", "unpin", NAME]).contains("was not pinned"));
    assert!(listed(home.path(), &["--pinned"]).is_empty());
    assert_eq!(fs::read_dir(store.join(NAME)).unwrap().count(), 4, "what was said is still there");
}

#[test]
fn a_pin_without_a_reason_or_a_bundle_is_refused() {
    let (home, store) = home();
    publish(&store);
    let run = |words: &[&str]| dr(home.path(), words);
    assert!(run(&["bundle", "pin", NAME]).ends_with("--- exit 64"));
    assert!(run(&["bundle", "pin", NAME, "--reason", " "]).ends_with("--- exit 64"));
    assert!(run(&["bundle", "pin", "other", "--reason", "x"]).ends_with("--- exit 14"));
    fs::rename(store.join(NAME).join(format!("{NAME}.tar")), store.join("brought.tar")).unwrap();
    fs::remove_dir_all(store.join(NAME)).unwrap();
    let loose = run(&["bundle", "pin", NAME, "--reason", "x"]);
    assert!(loose.contains("put into the store by hand") && loose.ends_with("--- exit 64"), "{loose}");
}

#[test]
fn the_list_is_filtered_by_what_the_bundles_say() {
    let (home, store) = home();
    with_signing_key(home.path());
    publish(&store);
    let count = |filter: &[&str]| listed(home.path(), filter).len();
    assert_eq!(count(&["--since", "2026-11-23", "--until", "2026-11-23"]), 1);
    assert_eq!(count(&["--until", "2026-11-22"]), 0);
    assert_eq!(count(&["--version", "2020-01-01"]), 0);
    assert_eq!(count(&["--install", "nowhere"]), 0);
    assert_eq!(count(&["--proved"]), 0);
    assert!(dr(home.path(), &["bundle", "verify", NAME]).ends_with("--- exit 0"));
    assert_eq!((count(&["--proved"]), count(&["--proved", "restored"])), (1, 0));
    let none = dr(home.path(), &["bundle", "list", "--install", "nowhere"]);
    assert!(none.contains("None of the 1 bundles"), "{none}");
    assert!(dr(home.path(), &["bundle", "list", "--since", "soon"]).ends_with("--- exit 64"));
}
