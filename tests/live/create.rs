//! Making a bundle: killed, failed and disturbed at every step.

use std::time::Duration;

use serde_json::Value;

use crate::directory;
use crate::host::{Host, VERSION, command, lab, wait};

fn steps() -> Vec<&'static str> {
    dr::internals::ops::create::step_names(dr::internals::settings::Quiesce::Brief, false)
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_create_that_is_killed_anywhere_is_put_back_by_the_next_dr() {
    let host = Host::new("create-kill");
    host.deploy(VERSION);
    let before = host.replicas();
    let publish = steps().iter().position(|step| *step == "publish").unwrap();
    let after = steps().into_iter().enumerate().map(|(at, step)| (format!("{step}:after"), at >= publish));
    let inside = ["chunk", "stop-writers:before", "resume-writers:before"].map(|point| (point.to_owned(), false));
    let mut published = 0;
    for (point, publishes) in after.chain(inside) {
        let killed = host.dr_with_fault(&format!("{point}=kill"), ["bundle", "create", "--yes"]);
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
        host.dr(["run", "resume"]).ok();
        assert_eq!(host.replicas(), before, "killed at {point}");
        let left = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
        assert_eq!(left, "", "killed at {point}: a helper pod is left");
        let (run, state) = host.runs().swap_remove(0);
        assert_eq!(state, "put back", "killed at {point}: {run}");
        published += usize::from(publishes);
        assert_eq!(host.listed().len(), published, "killed at {point}: what was not published is listed");
        assert_eq!(host.stored(), host.listed(), "killed at {point}: something half is left in the store");
    }
    // Aborting puts back the same, and says so first.
    let killed = host.dr_with_fault("stop-writers:after=kill", ["bundle", "create", "--yes"]);
    assert_eq!(killed.code, 137, "{killed}");
    let planned = host.dr(["run", "abort", "--dry-run"]).ok();
    assert!(planned.contains("bring API and workers back"), "{planned}");
    assert_eq!(host.replicas(), ["0", "0"], "a plan changes nothing");
    host.dr(["run", "abort", "--yes"]).ok();
    assert_eq!((host.replicas(), host.runs()[0].1.as_str()), (before, "aborted"));
    host.bundle(&[]);
    host.dr(["bundle", "verify", "--decrypt"]).ok();
}

/// The host is gone while the application is stopped, and nobody calls any `dr`.
#[test]
#[ignore = "needs the lab: make live"]
fn a_watchdog_brings_the_application_back_when_its_host_is_gone() {
    let host = Host::new("create-watchdog");
    host.deploy(VERSION);
    let before = host.replicas();
    let killed = host.dr_with_fault("stop-writers:after=kill", ["bundle", "create", "--yes"]);
    assert_eq!(killed.code, 137, "{killed}");
    let died = std::time::Instant::now();
    assert_eq!(host.replicas(), ["0", "0"], "nobody has put it back yet");
    while host.replicas() != before {
        assert!(died.elapsed() < std::time::Duration::from_secs(60), "the application is not back after a minute");
    }
    // What is left is swept by the next one, the watchdog's rights too.
    host.dr(["run", "resume"]).ok();
    let left = host.kubectl(&[
        "get",
        "role,rolebinding,serviceaccount,pod",
        "-l",
        "app.kubernetes.io/managed-by=dr",
        "-o",
        "name",
    ]);
    assert_eq!(left.ok(), "");
    assert_eq!(host.replicas(), before);
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_create_whose_step_fails_puts_everything_back_at_once() {
    let host = Host::new("create-fail");
    host.deploy(VERSION);
    let before = host.replicas();
    let publish = steps().iter().position(|step| *step == "publish").unwrap();
    let points = steps().into_iter().enumerate().map(|(at, step)| (format!("{step}:before"), at > publish));
    for (point, is_complete) in points.chain([("chunk".to_owned(), false)]) {
        let failed = host.dr_with_fault(&format!("{point}=fail"), ["bundle", "create", "--yes"]);
        let bundle = host.listed().last().cloned().filter(|_| is_complete).unwrap_or_default();
        assert_eq!(failed.stderr.contains("is complete, but"), is_complete, "failed at {point}: {failed}");
        let complete = format!("bundle {bundle} is complete, but");
        failed.fails(1, &["fault asked for", &point, if is_complete { &complete } else { &point }]);
        assert_eq!(host.replicas(), before, "failed at {point}");
        assert_eq!(host.runs()[0].1, "put back", "failed at {point}");
    }
    a_terminal_that_goes_away_brings_the_application_back(&host, &before);
    what_is_changed_while_a_bundle_is_made_makes_it_none(&host, &before);
    what_is_deployed_while_a_bundle_is_made_makes_it_none(&host, &before);
}

/// A broken ssh: nobody is left to see what is said, and the terminal cannot be written to.
fn a_terminal_that_goes_away_brings_the_application_back(host: &Host, before: &[String]) {
    let listed = host.listed();
    let mut terminal = host.in_a_terminal("bundle create --yes --quiesce full --max-rate 1M");
    wait(Duration::from_secs(120), "the application to be stopped", || host.replicas() == ["0", "0"]);
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    wait(Duration::from_secs(120), "the application to be back", || host.replicas() == before);
    wait(Duration::from_secs(60), "the run to be over", || host.runs()[0].1 == "put back");
    assert_eq!(host.listed(), listed, "what was not whole is not listed");
}

/// A Secret in it is not the one that the data is written with any more.
fn what_is_changed_while_a_bundle_is_made_makes_it_none(host: &Host, before: &[String]) {
    let listed = host.listed();
    let change = r#"-p '{"stringData": {"by-hand": "x"}}'"#;
    let patch = format!("exec kubectl -n {} patch secret opschain-secret-vault-seal-key {change}", host.namespace);
    host.hook_before("record-replicas", &patch);
    let words = ["Secret opschain-secret-vault-seal-key was changed while the bundle was made", "dr bundle create"];
    host.dr(["bundle", "create", "--yes"]).fails(33, &words);
    assert_eq!((host.listed(), host.stored()), (listed.clone(), listed), "there is no bundle, and nothing half");
    assert_eq!(host.replicas(), before);
}

/// The config in it is not the one that is live any more.
fn what_is_deployed_while_a_bundle_is_made_makes_it_none(host: &Host, before: &[String]) {
    let listed = host.listed();
    let chart = VERSION.parse::<dr::internals::opschain::Version>().unwrap().chart().unwrap();
    let upgrade = format!(
        "SSL_CERT_FILE={} exec helm upgrade opschain oci://{}/limepoint/opschain --version {chart} -n {} --reuse-values",
        lab("SSL_CERT_FILE"),
        lab("LAB_REGISTRY"),
        host.namespace
    );
    host.hook_before("verify", &upgrade);
    let words = ["release opschain went from revision 1 to 2 while the bundle was made", "dr bundle create"];
    host.dr(["bundle", "create", "--yes", "--quiesce", "none"]).fails(33, &words);
    assert_eq!((host.listed(), host.stored()), (listed.clone(), listed), "there is no bundle, and nothing half");
    assert_eq!(host.replicas(), before);
}

/// What a schedule in the cluster would hold: public keys and a signing key.
#[test]
#[ignore = "needs the lab: make live"]
fn a_host_without_a_private_key_makes_a_bundle_that_opens_elsewhere() {
    let host = Host::new("no-key");
    let values = std::fs::read(host.deploy(VERSION)).unwrap();
    let elsewhere = host.home.path().join("elsewhere.txt");
    std::fs::rename(host.setting("keys", "identity"), &elsewhere).unwrap();
    let settings = host.home.path().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("identity")).collect();
    assert!(without.len() < text.lines().count(), "{text}");
    std::fs::write(&settings, without.join("\n")).unwrap();

    let bundle = host.bundle(&[]);
    host.dr(["bundle", "verify"]).ok();
    host.dr(["bundle", "verify", "--decrypt"]).fails(15, &["an age identity"]);
    let (bundle, identity) = (bundle.to_str().unwrap(), elsewhere.to_str().unwrap());
    host.dr(["bundle", "verify", bundle, "--decrypt", "--identity", identity]).ok();
    let sealed = command("tar").args(["-xOf", bundle, "config/values.yaml.age"]);
    assert_eq!(sealed.pipe_to(&["age", "-d", "-i", identity]), values, "the exact bytes");
}

#[test]
#[ignore = "needs the lab: make live"]
fn bundles_of_every_way_of_holding_still_verify() {
    let host = Host::new("quiesce");
    let values = host.deploy(VERSION);
    let replicas = host.replicas();
    for quiesce in ["brief", "full", "none"] {
        host.bundle(&["--quiesce", quiesce]);
        host.dr(["bundle", "verify", "--decrypt"]).ok();
        assert_eq!(host.replicas(), replicas, "after {quiesce}");
    }
    // What somebody has stopped before stays stopped.
    host.dr(["server", "stop", "--yes"]).ok();
    // An LDAP server that cannot be read costs no bundle.
    directory::scale(&host, "0");
    let newest = host.bundle(&[]);
    let (entries, why) = directory::said_of(&host, &newest);
    assert_eq!((entries, why.as_deref()), (None, Some("no pod of Deployment opschain-ldap is ready")));
    directory::scale(&host, "1");
    assert_eq!(host.replicas(), ["0", "0"]);
    host.dr(["server", "start"]).ok();
    // The vault knows of it; whoever takes it out of the store is noticed.
    host.dr(["config", "verify"]).ok();
    assert!(!host.dr(["bundle", "list"]).stderr.contains("is not in the store"));
    let name = newest.file_stem().unwrap().to_str().unwrap().to_owned();
    for file in std::fs::read_dir(newest.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with(&name) {
            std::fs::remove_file(file).unwrap();
        }
    }
    let listed = host.dr(["bundle", "list"]);
    assert!(
        listed.stderr.contains(&format!("bundle {name} of ")) && listed.stderr.contains("is not in the store"),
        "{listed}"
    );
    assert!(!listed.ok().contains("is not in the store"), "the rows are bundles only");
    // What was scaled back is helm's to change again.
    let text = std::fs::read_to_string(&values).unwrap();
    assert!(text.contains("\n  replicas: 2 "), "{text}");
    std::fs::write(&values, text.replace("\n  replicas: 2 ", "\n  replicas: 3 ")).unwrap();
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    let deploy = ["deploy", "-f", values.to_str().unwrap(), "--version", VERSION, "--chart", &chart, "--yes"];
    host.dr(deploy).ok();
    assert_eq!(host.replicas(), [replicas[0].as_str(), "3"]);
}

#[test]
#[ignore = "needs the lab: make live"]
fn running_changes_hold_a_bundle_back_and_what_only_waits_may_stay() {
    let host = Host::new("busy");
    host.deploy(VERSION);
    let replicas = host.replicas();
    let image = format!("limepoint/opschain-api:{VERSION}");
    let work = |name: &str, labels: &str| {
        let run = ["run", name, "--image", &image, "--restart=Never", "--labels", labels, "--command", "--"];
        host.kubectl(&[&run[..], &["/standin", "sleep", "600"]].concat()).ok();
    };
    work("change-42", "app=change");
    host.dr(["bundle", "create", "--yes"]).fails(22, &["change-42", "hint:"]);
    assert_eq!(host.replicas(), replicas);
    host.kubectl(&["delete", "pod", "change-42", "--now"]).ok();
    // Neither a pod of the executor pool nor an agent has to be at work.
    work("executor-7d9f", "executor-pool=true");
    work("opschain-agent-node-1", "app=agent");
    host.dr(["bundle", "create", "--yes"]).fails(22, &["executor-7d9f", "opschain-agent-node-1", "--allow agents"]);
    host.dr(["bundle", "create", "--yes", "--allow", "agents"]).fails(22, &["executor-7d9f"]);
    let bundle = host.bundle(&["--allow", "agents", "--allow", "pool"]);
    let scope = host.dr(["bundle", "show", bundle.to_str().unwrap(), "--scope"]).ok();
    assert!(scope.contains("agents") && scope.contains("running changes and steps"), "{scope}");
    assert_eq!(host.replicas(), replicas);
}

#[test]
#[ignore = "needs the lab: make live"]
fn what_is_not_in_a_host_s_vault_is_bundled_as_it_is_once_it_is_recorded_with_its_chart() {
    let host = Host::new("create-recorded");
    host.deploy(VERSION);
    let other = tempfile::tempdir().unwrap();
    let dr = |args: &[&str]| host.dr_command(args).env("HOME", other.path()).run();
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    dr(&["init"]).ok();
    dr(&["bundle", "create", "--yes"]).fails(33, &["dr config record --from-helm --chart"]);
    dr(&["config", "record", "--from-helm", "--chart", &chart]).ok();
    dr(&["bundle", "create", "--yes"]).ok();
    dr(&["bundle", "verify", "--decrypt"]).ok();
}

/// The case that a look at the pods misses: a client in another namespace, which connects anew for each row.
#[test]
#[ignore = "needs the lab: make live"]
fn a_writer_from_elsewhere_is_named_and_there_is_no_bundle_unless_it_is_allowed() {
    let host = Host::new("foreign");
    host.deploy(VERSION);
    let replicas = host.replicas();
    host.sql("CREATE TABLE foreign_row (at timestamptz DEFAULT now()); GRANT INSERT ON foreign_row TO opschain");
    let secret = ["get", "secret", "opschain-db-credentials", "-o", "jsonpath={.data.password}"];
    let encoded = host.kubectl(&secret).ok();
    let password = command("sh").args(["-c", &format!("echo {encoded} | base64 -d")]).run().ok();
    let image = host.kubectl(&["get", "cluster", "opschain-db", "-o", "jsonpath={.status.image}"]).ok();
    let pod = ["run", "foreign-writer", "--image", &image, "--restart=Never", "--command", "--", "sleep", "900"];
    let elsewhere = |args: &[&str]| command("kubectl").args(["-n", "default"]).args(args).run();
    elsewhere(&["delete", "pod", "foreign-writer", "--ignore-not-found", "--now"]).ok();
    elsewhere(&pod).ok();
    elsewhere(&["wait", "--for=condition=Ready", "pod/foreign-writer", "--timeout=60s"]).ok();
    let psql = format!(
        "psql -q 'host=opschain-db-rw.{}.svc user=opschain dbname=opschain password={password}'",
        host.namespace
    );
    let row = "INSERT INTO foreign_row DEFAULT VALUES";
    let write = |script: String| elsewhere(&["exec", "foreign-writer", "--", "bash", "-c", &script]).ok();

    // It begins when everything has been looked at and the application is stopped, and connects anew for each row.
    std::thread::scope(|scope| {
        let create = scope.spawn(|| host.dr(["bundle", "create", "--yes", "--quiesce", "full", "--max-rate", "1M"]));
        wait(Duration::from_secs(60), "the application to be stopped", || host.replicas() == ["0", "0"]);
        write(format!(
            "for n in 1 2 3; do (while [ ! -e /tmp/stop ]; do {psql} -c '{row}'; done) >>/tmp/out 2>&1 & done"
        ));
        wait(Duration::from_secs(20), "rows of the writer from elsewhere", || {
            let written = host.sql("SELECT count(*) > 9 FROM foreign_row") == "t";
            if !written {
                println!("the writer said: {}", write("tail -n 3 /tmp/out".into()));
            }
            written
        });
        create.join().unwrap().fails(22, &["others may write", " on opschain", "--allow foreign-writers"]);
    });
    assert_eq!(host.replicas(), replicas);
    assert!(host.listed().is_empty(), "there is no bundle");
    // One that comes once a second is most of the time not there.
    write("touch /tmp/stop; sleep 1; rm /tmp/stop".into());
    write(format!("(while [ ! -e /tmp/stop ]; do {psql} -c '{row}'; sleep 1; done) >>/tmp/out 2>&1 &"));
    let seldom = host.dr(["bundle", "create", "--yes", "--quiesce", "full"]);
    seldom.fails(22, &["opschain on opschain from 10."]);
    assert!(host.listed().is_empty(), "there is no bundle");
    // One that stays is there from the beginning: nothing is stopped for nothing.
    write("touch /tmp/stop".into());
    write(format!("(while echo '{row};'; do sleep 0.1; done) 2>/tmp/out | {psql} >/tmp/out 2>&1 &"));
    wait(Duration::from_secs(30), "the writer to be connected", || {
        host.sql(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'psql' AND client_addr IS NOT NULL",
        ) == "t"
    });
    let runs = host.runs().len();
    host.dr(["bundle", "create", "--yes"]).fails(22, &["opschain on opschain from 10."]);
    assert_eq!(host.runs().len(), runs, "nothing was begun");
    let bundle = host.bundle(&["--allow", "foreign-writers"]);
    let said = host.dr(["bundle", "show", bundle.to_str().unwrap(), "--scope"]).ok();
    assert!(said.contains("opschain on opschain from 10."), "{said}");
    elsewhere(&["delete", "pod", "foreign-writer", "--now"]).ok();
    // What a client calls itself, and a replication connection that takes SQL, say nothing of what it does.
    for (name, connection) in [
        ("cnpg-instance-manager", "user=postgres dbname=opschain application_name=cnpg-instance-manager"),
        ("cnpg_repair", "user=postgres dbname=opschain application_name=cnpg_repair"),
        ("walker", "user=postgres dbname=opschain replication=database application_name=walker"),
    ] {
        let loop_of_rows = format!("(while echo \"{row};\"; do sleep 0.1; done) | psql -q '{connection}' >/dev/null");
        let exec =
            ["-n", &host.namespace, "exec", "opschain-db-1", "-c", "postgres", "--", "bash", "-c", &loop_of_rows];
        let mut writer = std::process::Command::new("kubectl").args(exec).spawn().unwrap();
        let there = format!(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = '{name}' AND query ~ '^INSERT'"
        );
        wait(Duration::from_secs(30), "the writer on the socket", || host.sql(&there) == "t");
        host.dr(["bundle", "create", "--yes"]).fails(22, &["postgres on opschain", name]);
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{name}' AND query ~ '^INSERT'"
        );
        host.sql(&end);
        writer.wait().unwrap();
    }
    assert_eq!(host.runs().len(), runs + 1, "nothing was begun but the bundle that was allowed");
    a_bundle_comes_before_each_deployment(&host);
}

/// Where the settings want it so; its name is in the record of the deployment.
fn a_bundle_comes_before_each_deployment(host: &Host) {
    let settings = host.home.path().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("\n[deploy]\n", "\n[deploy]\nbundle_before = true\n")).unwrap();
    let before = host.listed();
    host.deploy(VERSION);
    let made: Vec<String> = host.listed().difference(&before).cloned().collect();
    let shown: Value = serde_json::from_str(&host.dr(["-o", "json", "config", "show", "live"]).ok()).unwrap();
    assert_eq!((made.len(), &shown["record"]["bundle_before"]), (1, &made[0].as_str().into()), "{shown:#}");
    // Without one there is no deployment, unless it is to be so by name.
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    let deploy = |more: &[&str]| {
        let values = host.values(VERSION);
        let args = ["deploy", "-f", values.to_str().unwrap(), "--version", VERSION, "--chart", &chart, "--yes"];
        host.dr([&args, more].concat())
    };
    let store = host.setting("store", "path");
    std::fs::rename(&store, store.with_extension("away")).unwrap();
    deploy(&[]).fails(29, &["nothing was deployed", "--allow no-bundle"]);
    deploy(&["--allow", "no-bundle"]).ok();
}
