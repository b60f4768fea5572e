//! Maintenance mode: work that no pod shows is waited for, and the setting goes back to what it was.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::host::{Host, wait};

/// The first release that has the mode.
const RELEASE: &str = "2026-10-08";

/// A host with a token of OpsChain, and the settings file that names it.
fn host_with_token(name: &str) -> Host {
    let host = Host::new(name);
    host.deploy(RELEASE);
    let tokens = ["--from-literal=admin=hunter22-admin", "--from-literal=reader=hunter22-reader"];
    host.kubectl(&[&["create", "secret", "generic", "opschain-standin-tokens"], &tokens[..]].concat()).ok();
    let settings = host.home.path().join(".config/dr/dr.toml");
    let file = host.home.path().join("opschain-token");
    let text = std::fs::read_to_string(&settings).unwrap();
    let named = format!("[maintenance]\ntoken_file = {:?}\n", file.to_str().unwrap());
    assert!(text.contains("[maintenance]\n"), "{text}");
    std::fs::write(&settings, text.replace("[maintenance]\n", &named)).unwrap();
    give(&host, "hunter22-admin");
    host
}

fn give(host: &Host, token: &str) {
    let file = host.home.path().join("opschain-token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn mode(host: &Host) -> String {
    host.sql("SELECT data->>'maintenance_mode' FROM global_settings")
}

#[test]
#[ignore = "needs the lab: make live"]
fn work_that_no_pod_shows_is_waited_for_and_the_mode_goes_back_to_what_it_was() {
    let host = host_with_token("maintenance");
    let (replicas, others) = (host.replicas(), "SELECT data::jsonb - 'maintenance_mode' FROM global_settings");
    let before = host.sql(others);
    // One at work, which counts a step with each row of the ledger, and one behind it, which must be held.
    host.sql("INSERT INTO change (of) VALUES (40), (3)");
    wait(Duration::from_secs(60), "the change to run", || {
        host.sql("SELECT state FROM change ORDER BY id LIMIT 1") == "running"
    });
    let planned = host.dr(["bundle", "create", "--dry-run"]).ok();
    assert!(planned.contains("maintenance mode is turned on"), "{planned}");
    assert_eq!(mode(&host), "", "a plan changes nothing");
    let bundle = host.bundle(&[]);
    assert_eq!((mode(&host), host.replicas()), (String::new(), replicas.clone()));
    assert_eq!(host.sql(others), before, "nothing else of the settings is changed");
    assert_eq!(host.sql("SELECT count(*) FROM change WHERE state = 'interrupted'"), "0", "nothing was cut off");
    let scope = host.dr(["bundle", "show", bundle.to_str().unwrap(), "--scope"]).ok();
    assert!(scope.contains("work was drained at") && scope.contains("`disabled`"), "{scope}");
    wait(Duration::from_secs(60), "the held change to be done", || {
        host.sql("SELECT count(*) FROM change WHERE state = 'done'") == "2"
    });

    // Killed while it is on: the next dr puts it back, whatever it was.
    host.sql(
        "UPDATE global_settings SET version = version + 1, \
         data = (data::jsonb || '{\"maintenance_mode\": \"superuser_override\"}')::json",
    );
    for point in ["enter-maintenance:after", "stop-writers:after", "resume-writers:after", "leave-maintenance:after"] {
        let killed = host.dr_with_fault(&format!("{point}=kill"), ["bundle", "create", "--yes"]);
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
        host.dr(["run", "resume"]).ok();
        assert_eq!((mode(&host).as_str(), host.replicas()), ("superuser_override", replicas.clone()), "{point}");
        assert_eq!(host.runs()[0].1, "put back", "{point}");
    }
    // What somebody has set meanwhile is theirs.
    let killed = host.dr_with_fault("wait-drained:after=kill", ["bundle", "create", "--yes"]);
    assert_eq!((killed.code, mode(&host).as_str()), (137, "enabled"), "{killed}");
    host.sql("UPDATE global_settings SET data = (data::jsonb - 'maintenance_mode')::json, version = version + 1");
    host.dr(["run", "resume"]).ok();
    assert_eq!(mode(&host), "");

    // The host is lost with its journal, and its lease has run out: any other host leads back.
    let killed = host.dr_with_fault("wait-drained:after=kill", ["bundle", "create", "--yes"]);
    assert_eq!((killed.code, mode(&host).as_str()), (137, "enabled"), "{killed}");
    std::fs::remove_dir_all(host.home.path().join(".local/state/dr/runs")).unwrap();
    host.kubectl(&["delete", "lease", "--all"]).ok();
    let status = host.dr(["server", "status"]).ok();
    assert!(
        status.contains("no work begins; before, it was disabled") && status.contains("dr server start"),
        "{status}"
    );
    host.dr(["server", "start", "--yes"]).ok();
    assert_eq!((mode(&host), host.replicas()), (String::new(), replicas.clone()));
    assert!(!host.dr(["server", "status"]).ok().contains("maintenance mode"));

    // A token that does not do is named before anything is changed.
    for (token, said) in [("hunter22-reader", "is not allowed to"), ("hunter22-other", "does not accept the token")] {
        give(&host, token);
        host.dr(["bundle", "create", "--yes"]).fails(12, &[said, "hint:"]);
        let doctor = host.dr(["doctor"]);
        assert!(doctor.code == 3 && !doctor.stdout.contains(token), "{doctor}");
    }
    assert_eq!((mode(&host), host.replicas()), (String::new(), replicas));
}
