//! `dr status`, from a folder of bundles alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use serde_json::Value;

use crate::bundles::{NAME, home, publish};
use crate::dr;
use crate::prune::{made, made_of};

fn json(said: &str) -> Value {
    serde_json::from_str(said.split_once("--- stderr").unwrap().0).unwrap()
}

#[test]
fn a_fresh_bundle_is_safe_and_an_old_one_is_not_and_monitoring_sees_it() {
    let (home, store) = home();
    publish(&store);
    let settings = home.path().join(".config/dr/dr.toml");
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let record = fs::read_to_string(store.join(NAME).join("published.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let (install, keys) = (&record["bundle"]["install"], &record["bundle"]["recipients"]);
    let text = fs::read_to_string(&settings).unwrap();
    let named = format!(
        "{text}recipients = [\"{key}\", {}]\n[install]\nnamespace = {}\nrelease = {}\n",
        keys[0], install["namespace"], install["release"]
    );
    fs::write(&settings, named).unwrap();
    let old = dr(home.path(), &["status"]);
    assert!(old.contains("not within") && old.contains("dr bundle create") && old.ends_with("--- exit 4"), "{old}");
    let name = made(&store, 0);
    let said = dr(home.path(), &["--output", "json", "status"]);
    let report = json(&said);
    assert!(report["safe"] == true && said.ends_with("--- exit 0"), "{said}");
    assert_eq!((&report["bundles"]["made"]["bundle"], &report["bundles"]["count"]), (&name.into(), &2.into()));
    assert_eq!(report["recipients"][0], keys[0]);
    let file = home.path().join("dr.prom");
    for _again in 0..2 {
        let said = dr(home.path(), &["--quiet", "status", "--metrics", "dr.prom"]);
        assert!(said.ends_with("--- exit 0"), "{said}");
    }
    let metrics = fs::read_to_string(&file).unwrap();
    assert!(metrics.contains("dr_safe{") && metrics.ends_with("} 1\n"), "{metrics}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    std::os::unix::fs::symlink("dr.prom", home.path().join("link")).unwrap();
    for other in [".config/dr/dr.toml", "link", "/dev/null", "."] {
        let kept = fs::symlink_metadata(home.path().join(other)).unwrap();
        let refused = dr(home.path(), &["status", "--metrics", other]);
        assert!(refused.contains("is no file of metrics") && refused.ends_with("--- exit 64"), "{refused}");
        let now = fs::symlink_metadata(home.path().join(other)).unwrap();
        assert_eq!((now.file_type(), now.len()), (kept.file_type(), kept.len()), "{other}");
    }
    let failed = dr(home.path(), &["status", "--metrics", "nowhere/dr.prom"]);
    assert!(failed.contains("write the metrics to") && failed.ends_with("--- exit 1"), "{failed}");
}

#[test]
fn a_store_that_is_gone_is_a_finding_and_no_safety() {
    let (home, store) = home();
    fs::remove_dir(&store).unwrap();
    let said = dr(home.path(), &["status", "--metrics", "dr.prom"]);
    assert!(said.contains("its bundles are not known") && said.ends_with("--- exit 4"), "{said}");
    assert!(fs::read_to_string(home.path().join("dr.prom")).unwrap().contains("dr_store_up{"));
}

/// Fifty installs with twenty bundles each, all of which are opened, in at most five seconds, on this machine as busy as it is.
#[test]
fn fifty_installs_are_judged_in_five_seconds_the_worst_off_first() {
    let (home, store) = home();
    publish(&store);
    for site in 0..50 {
        let old = if site == 7 { 3 } else { 0 };
        (0..20).for_each(|days| drop(made_of(&store, days + old, Some(site))));
    }
    fs::remove_dir_all(store.join(NAME)).unwrap();
    let begun = Instant::now();
    let said = dr(home.path(), &["--output", "json", "status", "--all"]);
    let took = begun.elapsed();
    let all = json(&said);
    let installs = all["installs"].as_array().unwrap();
    assert_eq!((installs.len(), &installs[0]["level"], &installs[1]["level"]), (50, &"bad".into(), &"warn".into()));
    assert!(installs[0]["install"].as_str().unwrap().starts_with("site-7/") && said.ends_with("--- exit 4"), "{said}");
    assert!(took.as_secs_f64() < 5.0, "{took:?}");
}
