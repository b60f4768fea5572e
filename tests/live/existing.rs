//! Restoring over an install that lives: given up, and killed at every step.

use std::time::Duration;

use dr::internals::ops::restore::{RestoreStrategy, step_names};

use crate::host::{Host, VERSION, command, wait};

/// What is in the database since the bundle was made.
const SINCE: &str = "SELECT to_regclass('made_since') IS NOT NULL";

fn over(host: &Host, args: &[&'static str]) -> Vec<String> {
    let all = ["bundle", "restore", "--version", VERSION, "--into-existing", "--confirm", &host.namespace, "--yes"];
    all.iter().map(|word| (*word).to_owned()).chain(args.iter().map(|word| (*word).to_owned())).collect()
}

fn killed_at(host: &Host, point: &str, args: &[&'static str]) {
    let killed = host.dr_with_fault(&format!("{point}=kill"), over(host, args));
    assert_eq!(killed.code, 137, "killed at {point}: {killed}");
}

fn said(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Nothing is left of a run that is over, on the volume or in the namespace.
fn nothing_is_left(host: &Host) {
    let folders =
        host.kubectl(&["exec", "opschain-db-1", "-c", "postgres", "--", "ls", "/var/lib/postgresql/data"]).ok();
    assert_eq!(folders.split_whitespace().collect::<Vec<_>>(), ["pgdata"], "beside the data folder");
    let kinds = "pod,secret,role,rolebinding,serviceaccount";
    assert_eq!(host.kubectl(&["get", kinds, "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok(), "");
    let stopped = "jsonpath={.items[*].metadata.annotations.dr\\.opschain/stopped-by}";
    assert_eq!(host.kubectl(&["get", "deployment", "-o", stopped]).ok().trim(), "");
}

/// What lived before lives again, as it was.
fn lives_as_before(host: &Host, replicas: &[String], told: &str) {
    wait(Duration::from_secs(120), "the previous database to serve", || {
        host.kubectl(&["exec", "opschain-db-1", "-c", "postgres", "--", "pg_isready"]).code == 0
    });
    assert_eq!(host.sql(SINCE), "t", "{told}: the data that was there");
    assert_eq!(host.replicas(), replicas, "{told}");
    assert_eq!(host.sql("SELECT count(*) FROM ledger_faults"), "0", "{told}");
    host.wait_rows(host.ledger().rows + 2);
    nothing_is_left(host);
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_restore_over_what_lives_brings_either_all_of_it_back_or_the_bundle() {
    let host = Host::new("existing");
    host.deploy(VERSION);
    let before = host.ledger();
    let bundle = host.bundle(&[]);
    let replicas = host.replicas();
    host.sql("CREATE TABLE made_since AS SELECT 1");

    // It is asked for, it is shown, and the name has to be typed.
    host.dr(["bundle", "restore", "--version", VERSION, "--yes"]).fails(20, &["is not empty", "--into-existing"]);
    let restore = ["bundle", "restore", bundle.to_str().unwrap(), "--into-existing"];
    let plan = said(&host.dr([&restore[..], &["--any-signer", "--dry-run"]].concat()).ok());
    for words in ["the bundle's own database", "safety bundle made first", "strategy into-existing"] {
        assert!(plan.contains(words), "does not say `{words}`: {plan}");
    }
    host.dr([&restore[..], &["--any-signer", "--yes"]].concat()).fails(27, &["--confirm"]);
    assert_eq!(host.sql(SINCE), "t", "nothing was changed");

    // Killed after every step until it serves, then given up, each undoing killed once.
    killed_through(&host);
    assert_eq!(host.sql(SINCE), "f", "the bundle's data");
    host.assert_ledger_holds(&before);
    let install = format!("{}/opschain", host.namespace);
    host.dr(["run", "abort", "--yes"]).fails(27, &["--confirm"]);
    let undone = ["start", "wake", "restore-secrets", "swap", "hibernate", "stop-writers"];
    given_up(&host, &undone, &["--confirm", &install]);
    lives_as_before(&host, &replicas, "given up after the start");

    // To the end, beneath the config that is there. What helm has is known to the vault as what it was: else there would be
    // no safety bundle.
    let revision = revision(&host);
    killed_at(&host, "wake:after", &["--data-only"]);
    for point in ["start:after", "clean-up:after"] {
        let killed = host.dr_with_fault(&format!("{point}=kill"), ["run", "resume"]);
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
    }
    let report = host.dr(["run", "resume"]).ok();
    assert!(said(&report).contains("what was there before is in bundle"), "{report}");
    assert_eq!(host.sql(SINCE), "f", "the bundle's data");
    host.assert_ledger_holds(&before);
    assert_eq!((host.replicas(), self::revision(&host)), (replicas, revision), "as it was");
    host.wait_rows(host.ledger().rows + 2);
    nothing_is_left(&host);
    let made = |selector: &str| {
        let times = "jsonpath={.items[*].metadata.creationTimestamp}";
        host.kubectl(&["get", "pods", "-l", selector, "-o", times]).ok()
    };
    let (aggregator, database) = (made("app=opschain-log-aggregator"), made("cnpg.io/cluster=opschain-db"));
    assert!(aggregator > database, "connected to the database that was there before: {aggregator} {database}");

    // The safety bundles have what was there when the writers stopped.
    let listed = host.listed();
    assert_eq!(listed.len(), 3, "the bundle, and one of what was there each time: {listed:?}");
    for safety in listed.iter().filter(|name| !bundle.to_str().unwrap().contains(name.as_str())) {
        host.dr(["bundle", "verify", safety, "--decrypt"]).ok();
        let shown = host.dr(["--output", "json", "bundle", "show", safety]).ok();
        assert!(shown.contains("\"full\""), "{shown}");
    }
}

/// The number of helm's newest revision.
fn revision(host: &Host) -> String {
    let history = command("helm").args(["-n", &host.namespace, "history", "opschain", "--max", "1"]).run().ok();
    history.lines().last().unwrap().split_whitespace().next().unwrap().to_owned()
}

fn given_up(host: &Host, undone: &[&str], args: &[&str]) {
    let abort = || ["run", "abort", "--yes"].into_iter().chain(args.iter().copied());
    for step in undone {
        let killed = host.dr_with_fault(&format!("{step}:undo=kill"), abort());
        assert_eq!(killed.code, 137, "killed at the undoing of {step}: {killed}");
    }
    host.dr(abort()).ok();
    let state = host.runs().into_iter().find(|(run, _)| run.starts_with("restore-")).unwrap().1;
    assert_eq!(state, "aborted");
}

/// Killed after every step until it serves, and in the middle of the safety bundle; left there.
fn killed_through(host: &Host) {
    let steps = step_names(RestoreStrategy::IntoExisting);
    let last = steps.iter().position(|step| *step == "analyze").unwrap();
    let mut points: Vec<String> = steps[..=last].iter().map(|step| format!("{step}:after")).collect();
    let made = points.iter().position(|point| point == "make-safety-bundle:after").unwrap();
    points.insert(made, "copy-base:after".to_owned());
    let run = || host.runs().into_iter().find(|(run, _)| run.starts_with("restore-")).unwrap().0;
    for (index, point) in points.iter().enumerate() {
        let fault = format!("{point}=kill");
        let killed = match index {
            0 => host.dr_with_fault(&fault, over(host, &[])),
            _ => host.dr_with_fault(&fault, ["run", "resume", &run()]),
        };
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
        if point == "stage:after" {
            let abort = said(&host.dr(["run", "abort", &run(), "--dry-run"]).ok());
            assert!(abort.contains("of what was there"), "the safety bundle is named: {abort}");
        }
    }
    host.dr(["server", "start"]).fails(24, &["dr run resume"]);
}
