//! Restoring: killed at every step, and the wrong config.

use std::time::Duration;

use crate::host::{Host, VERSION, command, lab, wait};

#[test]
#[ignore = "needs the lab: make live"]
fn a_restore_that_is_killed_before_and_after_every_step_is_resumed_to_the_end() {
    let host = Host::new("restore-kill");
    host.deploy(VERSION);
    let before = host.ledger();
    host.bundle(&[]);
    host.delete_namespace();
    let mut points: Vec<String> = dr::internals::ops::restore::step_names()
        .iter()
        .flat_map(|step| [format!("{step}:before"), format!("{step}:after")])
        .collect();
    points.insert(15, "staged-chunk".to_owned());
    for (index, point) in points.iter().enumerate() {
        let fault = format!("{point}=kill");
        let killed = match index {
            0 => host.dr_with_fault(&fault, ["bundle", "restore", "--version", VERSION, "--yes"]),
            _ => host.dr_with_fault(&fault, ["run", "resume"]),
        };
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
    }
    host.dr(["run", "resume"]).ok();
    assert_eq!(host.runs()[0].1, "done");
    host.assert_ledger_holds(&before);
    let rows = host.ledger().rows;
    host.wait_rows(rows + 3);
    let left = host.kubectl(&["exec", "opschain-db-1", "-c", "postgres", "--", "ls", "/var/lib/postgresql/data"]).ok();
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["pgdata"], "nothing is left beside the data folder");
}

#[test]
#[ignore = "needs the lab: make live"]
fn wrong_config_does_not_open_the_data() {
    let host = Host::new("wrong-config");
    let values = host.deploy(VERSION);
    let text = std::fs::read_to_string(&values).unwrap();
    let key = text.lines().find(|line| line.trim_start().starts_with("OPSCHAIN_PRIMARY_KEY:")).unwrap();
    let wrong = host.home.path().join("wrong.yaml");
    std::fs::write(&wrong, text.replace(key, "  OPSCHAIN_PRIMARY_KEY: \"kWrongWrongWrongWrongWrongWrong1\"")).unwrap();
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    command("helm")
        .args(["upgrade", "opschain", &chart, "--version", "2026.8.20", "-n", &host.namespace, "-f"])
        .arg(&wrong)
        .run()
        .ok();
    wait(Duration::from_secs(180), "the API to refuse the data", || {
        let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
        let ran = host.kubectl(&["get", "pods", "-l", "app=opschain-api", "-o", path]);
        ran.stdout.split_whitespace().any(|count| count != "0")
    });
    // The data is whole all the same; only the right config opens it.
    assert_eq!(host.sql("SELECT count(*) FROM ledger_faults"), "0");
    // And dr does not bundle data with a config that does not open it.
    host.dr(["bundle", "create"]).fails(33, &["hint:"]);
}
