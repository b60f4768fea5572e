//! `dr config edit` to a real deployment.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::deploy::{SECRETS, Site};
use crate::host::Ran;

/// Runs `dr config edit` with an editor that does what the lines of shell say to the file `$1`.
fn edit(site: &Site, script: &str, args: &[&str]) -> Ran {
    let editor = site.host.home.path().join("editor");
    std::fs::write(&editor, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    let all = [&["config", "edit", "--chart", site.chart.to_str().unwrap()], args].concat();
    let ran = site.host.dr_command(all).env("VISUAL", "").env("EDITOR", &editor).run();
    for secret in SECRETS {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} said by {ran}");
    }
    ran
}

fn drafts(site: &Site) -> Vec<PathBuf> {
    let folder = site.host.home.path().join(".local/state/dr/drafts");
    std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn desks() -> usize {
    let desk = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("dr-edit-");
    std::fs::read_dir("/dev/shm").unwrap().flatten().filter(desk).count()
}

#[test]
#[ignore = "needs the lab: make live"]
fn what_is_edited_is_deployed_recorded_and_no_drift() {
    let site = Site::new("edit");
    let before = desks();
    let first = std::fs::read_to_string(site.values("first", "")).unwrap();
    let file = site.values("first", "");
    site.deploy(&file, &["--yes"]).ok();
    // The vault is where it is edited from: the operator's own file may be gone.
    std::fs::remove_file(&file).unwrap();

    let same = edit(&site, "true", &["--yes"]).ok();
    assert!(same.contains("Nothing was changed"), "{same}");
    assert_eq!(site.history().len(), 1);

    let more = "sed -i 's/^note: first$/note: edited/' \"$1\"";
    edit(&site, more, &["--dry-run"]).ok();
    assert_eq!((site.note().as_str(), site.history().len()), ("first", 1), "a dry run touches nothing");
    edit(&site, more, &["--yes", "-m", "another note"]).ok();
    assert_eq!(site.note(), "edited", "in the cluster");
    let expected = first.replace("note: first", "note: edited");
    assert_eq!(site.host.dr(["config", "cat", "live"]).ok(), expected, "byte for byte, comments too");
    let shown: Value = serde_json::from_str(&site.host.dr(["-o", "json", "config", "show", "live"]).ok()).unwrap();
    let (record, outcome) = (&shown["record"], &shown["outcome"]);
    assert_eq!((&record["how"], &record["why"]), (&"deploy".into(), &"another note".into()), "{shown:#}");
    assert_eq!((&outcome["status"], &outcome["helm_revision"]), (&"deployed".into(), &2.into()), "{shown:#}");
    site.host.dr(["config", "drift"]).ok();
    site.host.dr(["config", "verify", "--decrypt"]).ok();

    // A key that data depends on: refused, kept sealed, and resumed when the old value is given back.
    let loses = format!("sed -i 's/^note: .*/note: again/; s/{}/other-Hb5kP8yE3uJ6/' \"$1\"", SECRETS[0]);
    edit(&site, &loses, &["--yes"]).fails(26, &["env.PGPASSWORD", "dr config edit --draft"]);
    assert_eq!((site.note().as_str(), site.history().len()), ("edited", 2), "nothing was deployed");
    let draft = drafts(&site).swap_remove(0);
    assert!(std::fs::read(&draft).unwrap().starts_with(b"age-encryption.org/v1\n"));
    let back = format!("sed -i 's/other-Hb5kP8yE3uJ6/{}/' \"$1\"", SECRETS[0]);
    edit(&site, &back, &["--draft", draft.to_str().unwrap(), "--yes"]).ok();
    assert_eq!(site.note(), "again");
    assert_eq!(site.host.dr(["config", "cat", "live"]).ok(), first.replace("note: first", "note: again"));
    site.host.dr(["config", "drift"]).ok();

    // What helm refuses is in the vault, as a deployment that failed: it needs no draft.
    let guard = "{{- if eq .Values.note \"refused\" }}{{ fail \"not this note\" }}{{ end }}\n";
    std::fs::write(site.chart.join("templates/guard.yaml"), guard).unwrap();
    edit(&site, "sed -i 's/^note: .*/note: refused/' \"$1\"", &["--yes"]).fails(11, &["not this note"]);
    assert_eq!((site.note().as_str(), site.log()[0].0.as_str(), drafts(&site).len()), ("again", "failed", 1));
    let tried = site.host.dr(["config", "cat", "latest"]).ok();
    assert_eq!(tried, first.replace("note: first", "note: refused"));
    assert_eq!(desks(), before, "nothing is left in memory");
}
