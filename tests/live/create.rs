//! Making a bundle: killed, failed and disturbed at every step.

use crate::host::{Host, VERSION};

fn steps() -> Vec<&'static str> {
    dr::ops::create::step_names(dr::settings::Quiesce::Brief)
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_create_that_is_killed_anywhere_is_put_back_by_the_next_dr() {
    let host = Host::new("create-kill");
    host.deploy(VERSION);
    let before = host.replicas();
    let mut points: Vec<String> = steps().iter().map(|step| format!("{step}:after")).collect();
    points.extend(["chunk".to_owned(), "stop:before".to_owned(), "resume:before".to_owned()]);
    for point in points {
        let killed = host.dr_with_fault(&format!("{point}=kill"), ["bundle", "create"]);
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
        host.dr(["run", "resume"]).ok();
        assert_eq!(host.replicas(), before, "killed at {point}");
        let left = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
        assert_eq!(left, "", "killed at {point}: a helper pod is left");
        let (run, state) = host.runs().swap_remove(0);
        assert_eq!(state, "put back", "killed at {point}: {run}");
        // Only a bundle that was published before is there; nothing half is listed.
        host.dr(["bundle", "list"]).ok();
    }
    host.bundle(&[]);
    host.dr(["bundle", "verify", "--decrypt"]).ok();
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_create_whose_step_fails_puts_everything_back_at_once() {
    let host = Host::new("create-fail");
    host.deploy(VERSION);
    let before = host.replicas();
    for step in steps() {
        let failed = host.dr_with_fault(&format!("{step}:before=fail"), ["bundle", "create"]);
        failed.fails(1, &["fault asked for", step]);
        assert_eq!(host.replicas(), before, "failed at {step}");
        assert_eq!(host.runs()[0].1, "put back", "failed at {step}");
    }
}

#[test]
#[ignore = "needs the lab: make live"]
fn bundles_of_every_way_of_holding_still_verify() {
    let host = Host::new("quiesce");
    host.deploy(VERSION);
    let replicas = host.replicas();
    for quiesce in ["brief", "full", "none"] {
        host.bundle(&["--quiesce", quiesce]);
        host.dr(["bundle", "verify", "--decrypt"]).ok();
        assert_eq!(host.replicas(), replicas, "after {quiesce}");
    }
    // What somebody has stopped before stays stopped.
    host.dr(["server", "stop", "--yes"]).ok();
    host.bundle(&[]);
    assert_eq!(host.replicas(), ["0", "0"]);
    host.dr(["server", "start"]).ok();
    assert_eq!(host.replicas(), replicas);
}

#[test]
#[ignore = "needs the lab: make live"]
fn running_changes_hold_a_bundle_back() {
    let host = Host::new("busy");
    host.deploy(VERSION);
    let replicas = host.replicas();
    let image = format!("limepoint/opschain-api:{VERSION}");
    host.kubectl(&["run", "change-42", "--image", &image, "--restart=Never", "--command", "--", "/standin", "sleep"]);
    host.dr(["bundle", "create"]).fails(22, &["change-42", "hint:"]);
    assert_eq!(host.replicas(), replicas);
}
