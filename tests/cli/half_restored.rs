//! An install that a restore has half done: its journal tells of it or, where that is on another host or lost, its lease.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::writers::{AT, Site, begun};

/// A restore that was killed in the middle; somebody else's deployment may have woken its empty database since.
fn half_restored(site: &Site, change: Value) {
    let mut begun = begun(json!({"verb": "restore", "run": RESTORE, "plan": {}, "steps_sha256": "0"}));
    begun.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let path = site.home.path().join(".local/state/dr/runs").join(RESTORE).join("journal.jsonl");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let started = json!({"record": "started", "step": "stage", "at": "2026-11-28T01:00:00Z"});
    std::fs::write(path, format!("{begun}\n{started}\n")).unwrap();
}

const RESTORE: &str = "restore-20261128T020000Z-abc123";

#[test]
fn an_install_that_a_restore_has_half_done_is_not_put_into_service() {
    let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    half_restored(&site, json!({}));
    let whole = format!("install opschain/opschain is not whole: run {RESTORE} stands open, stopped in step stage");
    let abort = format!("dr run abort {RESTORE}");
    for start in [&["server", "start"][..], &["server", "start", "--dry-run"]] {
        site.says(start, 24, &[&whole, &abort]);
    }
    site.says(&["server", "status"], 0, &["is not whole", &format!("next: {abort}")]);
    let doctor = site.dr(&["doctor"], 3);
    assert!(doctor.contains("the install is not whole") && !doctor.contains("dr server start"), "{doctor}");
    assert_eq!((site.replicas(), site.api.changes().len()), ([0, 0], 0));

    // Neither a run of another cluster nor one that is over keeps anybody off.
    half_restored(&site, json!({"cluster_uid": "another"}));
    site.says(&["server", "start"], 0, &["running"]);
    assert_eq!(site.replicas(), [2, 2]);
}

#[test]
fn a_restore_of_another_host_is_told_by_its_lease() {
    let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    let at = "2026-11-28T01:00:00.000000Z";
    lease(&site, "op@there", RESTORE, at);
    for verb in ["start", "stop"] {
        site.says(&["server", verb, "--yes"], 24, &[RESTORE, "op@there", "If that host is gone"]);
    }
    site.says(&["server", "status"], 0, &["is not whole", "on the host of op@there"]);
    assert_eq!((site.replicas(), site.api.changes().len()), ([0, 0], 0));

    // A time that is none does not make it free.
    lease(&site, "op@there", RESTORE, "9999-12-31T23:59:59.000000Z");
    site.says(&["server", "start"], 24, &["is not whole"]);
    lease(&site, "op@there", "stop-1", "9999-12-31T23:59:59.000000Z");
    site.says(&["doctor"], 3, &["since a time that cannot be read", "dr run list on that host"]);
}

#[test]
fn a_restore_that_renews_its_lease_is_at_work_and_nobody_is_led_to_remove_what_it_makes() {
    let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for who in ["op@there".to_owned(), format!("operator@{}", host.trim())] {
        let (over, renewed) = (AtomicBool::new(false), AtomicU32::new(0));
        let said = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let second = renewed.fetch_add(1, Ordering::Relaxed) % 60;
                    lease(&site, &who, RESTORE, &format!("2026-11-28T01:00:{second:02}.000000Z"));
                    std::thread::park_timeout(Duration::from_millis(200));
                }
            });
            let said = site.dr(&["server", "start", "--yes"], 24);
            over.store(true, Ordering::Relaxed);
            said
        });
        assert!(said.contains(&format!("run {RESTORE} of {who} is at work on it")), "{said}");
        assert!(!said.contains("delete"), "{said}");
    }
    assert_eq!(site.replicas(), [0, 0]);
}

#[test]
fn a_lease_that_cannot_be_read_is_not_free() {
    let refuses = |request: &crate::api::Request, _: &mut crate::api::Objects| {
        let of_lease = request.path.contains("/leases/");
        of_lease.then(|| (403, crate::api::status(403, "Forbidden", "leases are not for you")))
    };
    let site =
        Site::stopped_with(Box::new(refuses), json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    for verb in ["start", "stop"] {
        site.says(&["server", verb, "--dry-run"], 12, &["leases are not for you"]);
    }
    site.says(&["server", "status"], 0, &["whether the install is whole is not known", "opschain-api"]);
}

#[test]
fn a_restore_of_this_host_whose_journal_is_missing_is_not_looked_for_on_another() {
    let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    lease(&site, &format!("operator@{}", host.trim()), RESTORE, AT);
    let missing = "of this host has not ended, is not at work, and its journal here is missing or damaged";
    let way = "kubectl delete namespace opschain";
    site.says(&["server", "start"], 24, &[missing, way, "delete lease dr-opschain"]);
    let status = site.dr(&["server", "status"], 0);
    assert!(status.contains(missing) && status.contains(way) && !status.contains("on the host of"), "{status}");
    lease(&site, &format!("operator@{}", host.trim()), "stop-1", AT);
    site.says(&["doctor"], 3, &["dr run list on this host"]);
}

/// The lease on the install, as it was written once.
fn lease(site: &Site, host: &str, holder: &str, at: &str) {
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 4, "acquireTime": at, "renewTime": at});
    let metadata = json!({"name": "dr-opschain", "annotations": {"dr.opschain/host": host}});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
    site.api.set("/apis/coordination.k8s.io/v1/namespaces/opschain/leases/dr-opschain", lease);
}

#[test]
fn a_restore_that_is_aborted_without_its_steps_leaves_word_on_its_database() {
    const DATABASE: &str = "/apis/postgresql.cnpg.io/v1/namespaces/opschain/clusters/opschain-db";
    let here = format!("operator@{}", std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
    let half = |holder: &str| {
        let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": RESTORE}));
        half_restored(&site, json!({}));
        lease(&site, &here, holder, AT);
        let metadata = json!({"name": "opschain-db", "namespace": "opschain", "uid": "d"});
        let api = "postgresql.cnpg.io/v1";
        site.api.set(
            DATABASE,
            json!({"apiVersion": api, "kind": "Cluster", "metadata": metadata, "spec": {"instances": 1}}),
        );
        site
    };
    let site = half(RESTORE);
    let mark = "database opschain-db, with a mark that nothing proves what is in it";
    site.says(&["run", "abort", RESTORE, "--dry-run"], 0, &[mark]);
    assert_eq!(site.api.changes().len(), 0);
    site.says(&["run", "abort", RESTORE, "--yes"], 0, &[mark, "kubectl delete namespace opschain"]);
    assert_eq!(site.replicas(), [0, 0], "nothing is started on a database that nothing proves");
    let why = format!("run {RESTORE} was aborted, and nothing proves what is in database opschain-db since");
    site.says(&["server", "start"], 24, &[&why, "annotate cluster.postgresql.cnpg.io/opschain-db"]);
    assert_eq!(site.api.get(DATABASE)["metadata"]["annotations"], json!({"dr.opschain/unproved-by": RESTORE}));

    // Closed without asking the cluster: its lease is still there.
    let site = half(RESTORE);
    site.says(&["run", "abort", RESTORE, "--close-only", "--yes"], 0, &[]);
    let why = format!("run {RESTORE} was closed in the middle, and nothing of it put back");
    for verb in ["start", "stop"] {
        site.says(&["server", verb], 24, &[&why, "kubectl delete namespace opschain", "delete lease dr-opschain"]);
    }
    assert_eq!(site.replicas(), [0, 0]);

    // Somebody else's namespace by now.
    let site = half("stop-1");
    site.says(&["run", "abort", RESTORE, "--yes"], 0, &[]);
    assert_eq!(site.api.get(DATABASE)["metadata"]["annotations"], Value::Null);
}

#[test]
fn what_a_run_has_left_of_which_no_journal_tells_is_named_with_the_command_that_removes_it() {
    let site = Site::stopped(json!({}));
    let left = |run: &str| {
        let labels = json!({"app.kubernetes.io/managed-by": "dr", "dr.opschain/run": run});
        let metadata = json!({"name": format!("dr-{run}"), "namespace": "opschain", "labels": labels});
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata});
        site.api.set(&format!("/apis/rbac.authorization.k8s.io/v1/namespaces/opschain/roles/dr-{run}"), role);
    };
    left("create-lost");
    left(RESTORE);
    half_restored(&site, json!({}));
    let doctor = site.dr(&["doctor"], 3);
    let way = "kubectl -n opschain delete pod,rolebinding,role,serviceaccount -l dr.opschain/run=create-lost";
    assert!(
        doctor.contains("run create-lost is no open run of this host, and has left Role dr-create-lost"),
        "{doctor}"
    );
    assert!(doctor.contains(way) && !doctor.contains(&format!("has left Role dr-{RESTORE}")), "{doctor}");
}
