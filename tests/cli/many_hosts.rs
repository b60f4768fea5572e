//! One vault on several hosts: what one of them cannot open or read is said, and hides nothing else.

use std::path::PathBuf;

use serde_json::Value;

use crate::vault::{Host, Said, git, two_hosts};

const FIRST: &str = "2026-08-20T10:00:00Z";
const SECOND: &str = "2026-08-21T10:00:00Z";
const THIRD: &str = "2026-08-22T10:00:00Z";

/// The file of the object that a path of the newest commit is.
fn object(host: &Host, path: &str) -> PathBuf {
    let id = host.git(&["rev-parse", &format!("HEAD:{path}")]).out;
    let id = id.trim();
    assert_eq!(id.len(), 40, "{id}");
    host.vault_path().join(".git/objects").join(&id[..2]).join(&id[2..])
}

fn damage(host: &Host, path: &str) {
    let object = object(host, path);
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "no object").unwrap();
    let _ = std::fs::remove_file(host.vault_path().join(".git/dr/records"));
}

/// Each row's state, and the name of the exit code of what is wrong with it.
fn rows(said: &Said) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let rows = said.json()["deployments"].as_array().unwrap().clone();
    rows.iter().map(|row| (text(&row["state"]).unwrap(), text(&row["unread"]["code"]))).collect()
}

fn codes(said: &Said) -> Vec<Option<String>> {
    rows(said).into_iter().map(|(_, code)| code).collect()
}

fn keys() -> Option<String> {
    Some("keys".into())
}

/// What the tests of hosts whose clocks are off stand on.
#[test]
fn a_clock_that_is_off_is_the_one_that_records_go_by() {
    let now = jiff::Timestamp::now().as_second();
    for (off, hours) in [("48h", 48), ("-3h", -3)] {
        let host = Host::bare();
        let mut init = host.command(&["init"]);
        assert!(init.env("DR_CLOCK", off).output().unwrap().status.success());
        let at: i64 = host.git(&["log", "-1", "--format=%ct"]).out.trim().parse().unwrap();
        assert!((at - now - hours * 3600).abs() < 600, "{off}: {at} and {now}");
    }
}

#[test]
fn the_log_of_a_second_host_lists_what_it_cannot_open_and_leads_to_the_rekey() {
    let (one, two, _remote) = two_hosts();
    one.record(FIRST, "env: {TZ: UTC}\n");
    // The same values again: a row that says why all the same.
    one.record(SECOND, "env: {TZ: UTC}\n");
    for host in [&one, &two] {
        assert_eq!(host.run(&["config", "sync"]).code, 0);
    }
    let said = two.run(&["config", "log"]);
    assert_eq!(said.code, 15, "{}{}", said.out, said.err);
    assert!(said.out.contains("no recipient") && said.out.contains("dr config recipients add age1"), "{}", said.out);
    assert_eq!(codes(&two.run(&["config", "log", "-o", "json"])), [keys(), keys()]);

    let key = dr::internals::crypt::Identities::load(&two.path(".config/dr/identity.txt"), || None).unwrap();
    let key = key.recipients().remove(0);
    assert_eq!(one.run(&["config", "recipients", "add", &key, "--yes"]).code, 0);
    one.record(THIRD, "env: {TZ: EST}\n");
    for host in [&one, &two] {
        assert_eq!(host.run(&["config", "sync"]).code, 0);
    }
    let said = two.run(&["config", "log", "-o", "json"]);
    assert_eq!((said.code, codes(&said)), (15, vec![None, keys(), keys()]), "the newest opens: {}", said.out);
    assert!(said.out.contains("sealed before this host's key was a recipient"), "{}", said.out);
    let said = two.run(&["config", "log", "--limit", "1"]);
    assert!(said.code == 0 && said.out.contains("cannot be compared"), "{}", said.out);
    // A rekey where nothing of it opens says so of each file, and writes nothing.
    let first = dr::internals::crypt::Identities::load(&one.path(".config/dr/identity.txt"), || None).unwrap();
    assert_eq!(two.run(&["config", "recipients", "accept", &first.recipients()[0]]).code, 0);
    let said = two.run(&["config", "rekey", "--yes"]);
    assert!(said.code == 15 && said.out.contains("values.yaml.age stays as it is"), "{}{}", said.out, said.err);
    let said = two.run(&["config", "rekey", "--dry-run", "-o", "json"]);
    assert_eq!((said.code, said.json()["files"].as_u64()), (0, Some(3)), "{}{}", said.out, said.err);
    assert_eq!(one.run(&["config", "rekey", "--yes"]).code, 0);
    for host in [&one, &two] {
        assert_eq!(host.run(&["config", "sync"]).code, 0);
    }
    assert_eq!(two.run(&["config", "log"]).code, 0);
}

#[test]
fn an_identity_that_is_missing_is_a_reason_in_each_row() {
    let host = Host::new();
    host.record(FIRST, "a: 1\n");
    host.record(SECOND, "a: 2\n");
    std::fs::remove_file(host.path(".config/dr/identity.txt")).unwrap();
    let said = host.run(&["config", "log", "-o", "json"]);
    assert_eq!((said.code, codes(&said)), (15, vec![keys(), keys()]), "{}{}", said.out, said.err);
    assert!(said.out.contains("identity.txt"), "{}", said.out);
    assert_eq!(host.run(&["config", "log", "--grep", "nobody-said-so"]).code, 0, "nothing that is listed is unread");
}

#[test]
fn a_damaged_version_hides_none_of_the_others() {
    let host = Host::new();
    let old = host.record(FIRST, "a: 1\n");
    let hurt = host.record(SECOND, "a: 2\n");
    host.record(THIRD, "a: 3\n");
    assert_eq!(host.run(&["config", "log"]).code, 0, "what was verified once is read after it");
    damage(&host, &format!("deployments/opschain.opschain/{hurt}/values.yaml.age"));
    let damaged = || Some("damaged".to_owned());
    let said = host.run(&["config", "log", "-o", "json"]);
    assert_eq!((said.code, codes(&said)), (17, vec![None, damaged(), None]), "{}{}", said.out, said.err);
    assert_eq!(host.run(&["config", "cat", &old]).code, 0);
    let said = host.run(&["config", "cat", &hurt]);
    assert!(said.code == 17 && said.err.contains(&hurt), "{} {}", said.code, said.err);

    // Its record, too: its place is a row, whatever words are looked for.
    damage(&host, &format!("deployments/opschain.opschain/{hurt}/record.json"));
    // A host that has verified nothing yet sees the same.
    std::fs::remove_dir_all(host.path(".local/state/dr/vaults")).unwrap();
    for args in [&["config", "log", "-o", "json"][..], &["config", "log", "--grep", "operator", "-o", "json"]] {
        let said = host.run(args);
        let states: Vec<String> = rows(&said).into_iter().map(|(state, _)| state).collect();
        assert_eq!((said.code, states), (17, vec!["deployed".into(), "unreadable".into(), "deployed".into()]));
    }
    let said = host.run(&["config", "log"]);
    assert!(said.code == 17 && said.out.contains("not read") && said.out.contains("record.json"), "{}", said.out);
    assert_eq!(host.run(&["config", "log", "--until", "2026-08-20"]).code, 0);
    assert_eq!(host.run(&["config", "cat", &old]).code, 0, "a name needs no other record");
    assert_eq!(host.run(&["config", "cat", &hurt]).code, 17);
    assert_eq!(host.run(&["config", "cat", "--at", "2026-08-21T12:00"]).code, 17, "it may be the one that was live");
    let said = host.run(&["config", "rekey", "--dry-run", "-o", "json"]);
    assert_eq!((said.code, said.json()["unsealed"].as_array().unwrap().len()), (17, 1), "{}", said.out);
    assert_eq!(host.run(&["config", "verify", "--decrypt"]).code, 17);
}

#[test]
fn what_the_system_does_not_let_be_read_is_not_called_damaged() {
    let host = Host::new();
    let old = host.record(FIRST, "a: 1\n");
    let shut = host.record(SECOND, "a: 2\n");
    // Root may read any file: a folder in its place is refused to everybody.
    let place = object(&host, &format!("deployments/opschain.opschain/{shut}/values.yaml.age"));
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    let said = host.run(&["config", "cat", &shut]);
    assert!(said.code == 28 && said.err.contains("permissions") && !said.err.contains("damaged"), "{}", said.err);
    let said = host.run(&["config", "log", "-o", "json"]);
    assert_eq!((said.code, codes(&said)), (28, vec![Some("vault".into()), None]), "{}{}", said.out, said.err);
    let said = host.run(&["config", "verify"]);
    assert!(said.code == 28 && !said.out.contains("damaged"), "{} {}", said.code, said.out);
    assert_eq!(host.run(&["config", "cat", &old]).code, 0);
}

#[test]
fn a_second_host_without_an_age_key_is_led_to_one() {
    let (one, two, _remote) = two_hosts();
    one.record(FIRST, "env: {TZ: UTC}\n");
    for host in [&one, &two] {
        assert_eq!(host.run(&["config", "sync"]).code, 0);
    }
    let settings = two.path(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("identity")).collect();
    std::fs::write(&settings, without.join("\n")).unwrap();
    let said = two.run(&["doctor"]);
    assert!(
        said.out.contains("this host has no age key") && said.out.contains("dr init, which makes one"),
        "{}",
        said.out
    );
}

#[test]
fn a_vault_without_its_branch_and_a_lock_that_git_left_are_named_with_the_way_out() {
    let host = Host::new();
    host.record(FIRST, "a: 1\n");
    host.git(&["branch", "-m", "main", "master"]);
    let said = host.run(&["config", "log"]);
    assert!(
        said.code == 28 && said.err.contains("no branch main") && said.err.contains("branch main "),
        "{}",
        said.err
    );
    host.git(&["branch", "-m", "master", "main"]);

    let lock = host.vault_path().join(".git/refs/heads/main.lock");
    std::fs::write(&lock, "").unwrap();
    std::fs::write(host.path("values.yaml"), "a: 2\n").unwrap();
    let record = ["config", "record", "values.yaml", "--at", "2026-08-21", "--version", "2026-08-20", "--yes"];
    let said = host.run(&record);
    assert_eq!(said.code, 24, "{}", said.err);
    assert!(said.err.contains(lock.to_str().unwrap()) && said.err.contains("fuser"), "{}", said.err);
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(host.run(&record).code, 0);

    // The work tree's lock keeps no record out, and is told of.
    let lock = host.vault_path().join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    std::fs::write(host.path("values.yaml"), "a: 3\n").unwrap();
    let said = host.run(&["config", "record", "values.yaml", "--at", "2026-08-22", "--version", "2026-08-20", "--yes"]);
    assert!(said.code == 0 && said.err.contains("could not follow") && said.err.contains("index.lock"), "{}", said.err);
    std::fs::remove_file(&lock).unwrap();
    host.record("2026-08-23T10:00:00Z", "a: 4\n");
    assert_eq!(host.git(&["status", "--porcelain"]).out, "");
}

#[test]
fn an_accepted_finding_is_counted_apart_until_its_day_is_over() {
    let host = Host::new();
    let repo = host.path("gitops");
    std::fs::create_dir(&repo).unwrap();
    let place = repo.to_str().unwrap();
    git(&repo, &["init", "-q"]);
    std::fs::write(repo.join("values.yaml"), "db:\n  password: correct-horse-7\n").unwrap();
    let accept = |expires: &str| {
        let text = format!("[[accept]]\npath = \"values.*\"\nreason = \"made up for tests\"\n{expires}");
        std::fs::write(repo.join(".drcheck"), text).unwrap();
    };
    accept("expires = 2999-12-31\n");
    git(&repo, &["add", "values.yaml"]);
    assert_eq!(host.run(&["config", "check", place]).code, 5, "what git does not track excuses nothing");
    git(&repo, &["add", "."]);
    let said = host.run(&["config", "check", place, "-o", "json"]);
    assert_eq!(
        (said.code, said.json()["accepted"][0]["reason"].as_str()),
        (0, Some("made up for tests")),
        "{}",
        said.out
    );
    accept("expires = 2020-01-01\n");
    git(&repo, &["add", "."]);
    let said = host.run(&["config", "check", place]);
    assert!(said.code == 5 && said.out.contains("accepted until 2020-01-01"), "{}", said.out);
    std::fs::write(repo.join(".drcheck"), "[[accept]]\npath = \"values.yaml\"\n").unwrap();
    git(&repo, &["add", "."]);
    let said = host.run(&["config", "check", place]);
    assert!(said.code == 10 && said.err.contains("reason"), "{}", said.err);
}
