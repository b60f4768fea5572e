//! Open runs that this `dr` cannot resume: each verb names the way out, and `run abort` closes them.

use std::path::Path;

use serde_json::json;

const RUN: &str = "restore-20260820T101500Z-0a1b2c";

/// The journal of a restore whose process died, as another version of `dr` has written it.
fn journal(home: &Path, change: serde_json::Value) {
    let folder = home.join(".local/state/dr/runs").join(RUN);
    std::fs::create_dir_all(&folder).unwrap();
    let mut begun = json!({
        "record": "begun", "format": {"major": 1, "minor": 1}, "run": RUN, "verb": "restore", "namespace": "opschain",
        "release": "opschain", "cluster_uid": "u", "plan": {"of": "another dr"}, "steps_sha256": "0", "settings": "dr.toml",
        "dr_version": "0.0.9", "who": "op@host", "at": "2026-08-20T10:15:00Z",
    });
    begun.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let started = json!({"record": "started", "step": "stage", "at": "2026-08-20T10:15:01Z"});
    std::fs::write(folder.join("journal.jsonl"), format!("{begun}\n{started}\n")).unwrap();
}

/// Runs `dr` and asserts its exit code and that it says all of these.
fn says(home: &Path, args: &[&str], code: i32, words: &[&str]) {
    let said = super::dr(home, args);
    assert!(said.ends_with(&format!("--- exit {code}")), "{args:?}: {said}");
    // Long lines are wrapped.
    let words_said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(words_said.contains(word), "{args:?} does not say `{word}`: {said}");
    }
}

#[test]
fn a_run_that_cannot_be_resumed_is_refused_with_its_reason_and_closed_by_abort() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    says(home, &["run", "show"], 14, &["there are no runs yet"]);
    journal(home, json!({}));
    says(home, &["run", "show"], 0, &[RUN]);
    let reason = "dr 0.0.9 began it, and this one does not understand its plan";
    let way_out = format!("dr run abort {RUN}");
    says(home, &["run", "list"], 0, &[RUN, "open"]);
    says(home, &["--output", "json", "run", "list"], 0, &[&format!("\"ways_on\": {{ \"abort\": \"{way_out}\" }}")]);
    says(home, &["run", "show", "restore-"], 0, &[reason, &way_out]);
    says(home, &["doctor"], 3, &["was not finished", &way_out]);
    says(home, &["run", "resume"], 25, &[reason, &way_out]);
    says(home, &["run", "abort", "--yes"], 12, &[&format!("{way_out} --close-only")]);
    says(home, &["run", "abort", "--dry-run"], 12, &["With --close-only no cluster is asked"]);
    says(home, &["run", "abort", "--close-only"], 27, &["Plan: abort a run", "--yes"]);
    says(home, &["run", "abort", "--close-only", "--dry-run"], 0, &["Stays", "opschain", "Nothing was changed."]);
    says(home, &["run", "list"], 0, &["open"]);
    says(home, &["run", "abort", "--close-only", "--yes"], 0, &["is aborted"]);
    says(home, &["run", "list"], 0, &["aborted"]);
    says(home, &["run", "abort", RUN, "--yes"], 25, &["it is aborted"]);
    says(home, &["run", "resume", RUN], 25, &["it is aborted"]);
    says(home, &["run", "abort"], 14, &["there is no open run"]);
}

#[test]
fn a_verb_that_is_not_known_any_more_can_be_closed_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    journal(home.path(), json!({"verb": "novel"}));
    says(home.path(), &["run", "resume"], 25, &["`novel` is no verb of this dr"]);
    says(home.path(), &["run", "abort", "--close-only", "--yes"], 0, &["is aborted"]);
}
