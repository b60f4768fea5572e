//! Restoring by `adopt`: a claim whose files are not proved is never given to the operator.

use dr::internals::ops::restore::{RestoreStrategy, step_names};

use crate::host::{Host, VERSION, command};
use crate::volumes::{self, REGISTRY};

const RESTORE: [&str; 7] = ["bundle", "restore", "--version", VERSION, "--strategy", "adopt", "--yes"];

/// A host with a bundle, and nothing left of what it was made from.
fn burnt(name: &str) -> Host {
    let host = Host::new(name);
    host.deploy(VERSION);
    host.bundle(&[]);
    host.delete_namespace();
    host
}

fn databases(host: &Host) -> String {
    host.kubectl(&["get", "clusters.postgresql.cnpg.io", "-o", "name"]).ok()
}

fn has_namespace(host: &Host) -> bool {
    command("kubectl").args(["get", "namespace", &host.namespace]).run().code == 0
}

fn place(step: &str) -> usize {
    step_names(RestoreStrategy::Adopt).iter().position(|name| *name == step).unwrap()
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_restore_by_adopt_that_is_killed_before_and_after_every_step_is_resumed_to_the_end() {
    let host = Host::new("adopt-kill");
    let values = host.deploy(VERSION);
    volumes::fill(&host, REGISTRY);
    let (before, files) = (host.ledger(), volumes::seen(&host, REGISTRY));
    host.bundle(&["--with", "registry"]);
    host.delete_namespace();
    for (number, step) in step_names(RestoreStrategy::Adopt).into_iter().enumerate() {
        let mut points = vec![format!("{step}:before"), format!("{step}:after")];
        if let Some((_, chunk)) =
            [("stage", "staged-chunk"), ("restore-volumes", "filled-chunk")].iter().find(|(of, _)| *of == step)
        {
            points.insert(1, (*chunk).to_owned());
        }
        for point in points {
            let fault = format!("{point}=kill");
            let killed = match host.runs().is_empty() || !host.runs().iter().any(|(_, state)| state == "open") {
                true => host.dr_with_fault(&fault, RESTORE),
                false => host.dr_with_fault(&fault, ["run", "resume"]),
            };
            assert_eq!(killed.code, 137, "killed at {point}: {killed}");
            if number < place("install") {
                assert_eq!(databases(&host), "", "killed at {point}: no database is made yet");
            }
            match point.as_str() {
                "restore-secrets:after" => a_claim_of_somebody_else_is_left_alone(&host),
                "prove-files:after" => half_done_is_kept_out_of_service(&host, values.to_str().unwrap()),
                "release-volume:after" => a_claim_that_was_changed_is_not_given_away(&host),
                _ => {}
            }
        }
    }
    host.dr(["run", "resume"]).ok();
    assert_eq!(host.runs()[0].1, "done");
    host.assert_ledger_holds(&before);
    assert_eq!(volumes::seen(&host, REGISTRY), files, "every file, owner, mode and time");
    host.wait_rows(host.ledger().rows + 3);
    let left = host.kubectl(&["exec", "opschain-db-1", "-c", "postgres", "--", "ls", "/var/lib/postgresql/data"]).ok();
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["pgdata"], "nothing is left beside the data folder");
}

fn a_claim_of_somebody_else_is_left_alone(host: &Host) {
    let claim = serde_json::json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "opschain-db-1"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let file = host.home.path().join("claim.json");
    std::fs::write(&file, claim.to_string()).unwrap();
    host.kubectl(&["apply", "-f", file.to_str().unwrap()]).ok();
    host.dr(["run", "resume"]).fails(20, &["opschain-db-1", "has not made", "delete pvc opschain-db-1"]);
    host.kubectl(&["delete", "pvc", "opschain-db-1"]).ok();
}

fn half_done_is_kept_out_of_service(host: &Host, values: &str) {
    let (run, _) = host.runs().swap_remove(0);
    let (resume, abort) = (format!("dr run resume {run}"), format!("dr run abort {run}"));
    let ways = [run.as_str(), &resume, &abort];
    host.dr(["deploy", "-f", values, "--version", VERSION, "--yes"]).fails(24, &ways);
    host.dr(["bundle", "create", "--yes"]).fails(24, &ways);
}

/// Without the operator's marks an initdb would be let loose on it.
fn a_claim_that_was_changed_is_not_given_away(host: &Host) {
    let mark = |mark: &str| host.kubectl(&["annotate", "--overwrite", "pvc", "opschain-db-1", mark]).ok();
    mark("cnpg.io/nodeSerial-");
    host.dr(["run", "resume"]).fails(31, &["opschain-db-1", "cnpg.io/nodeSerial", "dr run abort"]);
    assert_eq!(databases(host), "", "helm was not run");
    mark("cnpg.io/nodeSerial=1");
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_restore_by_adopt_that_is_aborted_leaves_the_target_as_it_was_found() {
    let host = burnt("adopt-abort");
    let install = format!("{}/opschain", host.namespace);
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("make-volume:after", &["make-volume"], &[]),
        ("release-volume:after", &["start-pod", "make-volume"], &[]),
        ("install:after", &["install", "make-volume"], &[]),
        ("wait-serving:after", &["start", "install", "restore-secrets", "create-namespace"], &["--confirm", &install]),
    ];
    for (point, undone, args) in cases {
        let killed = host.dr_with_fault(&format!("{point}=kill"), RESTORE);
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
        if !args.is_empty() {
            host.dr(["run", "abort", "--yes"]).fails(27, &["--confirm"]);
        }
        let abort = || ["run", "abort", "--yes"].into_iter().chain(args.iter().copied());
        for step in undone {
            let killed = host.dr_with_fault(&format!("{step}:undo=kill"), abort());
            assert_eq!(killed.code, 137, "killed at the undoing of {step}: {killed}");
        }
        host.dr(abort()).ok();
        assert_eq!(host.runs()[0].1, "aborted");
        assert!(!has_namespace(&host), "aborted after {point}: the namespace was not there before");
    }
}
