//! Restoring: killed at every step, aborted before and after the swap, and the wrong config.

use std::path::Path;
use std::time::Duration;

use dr::internals::ops::restore::{RestoreStrategy, step_names};

use crate::directory;
use crate::host::{Host, VERSION, command, lab, wait};

const HIBERNATE: [&str; 7] = ["bundle", "restore", "--version", VERSION, "--strategy", "hibernate", "--yes"];

#[test]
#[ignore = "needs the lab: make live"]
fn a_restore_that_is_killed_before_and_after_every_step_is_resumed_to_the_end() {
    let host = Host::new("restore-kill");
    let values = host.deploy(VERSION);
    directory::fill(&host);
    let (before, people) = (host.ledger(), directory::entries(&host));
    host.bundle(&[]);
    host.delete_namespace();
    let mut points: Vec<String> = step_names(RestoreStrategy::Hibernate)
        .iter()
        .flat_map(|step| [format!("{step}:before"), format!("{step}:after")])
        .collect();
    points.insert(15, "staged-chunk".to_owned());
    let changed = points.iter().position(|point| point == "restore-directory:after").unwrap();
    points.insert(changed, "directory-changed".to_owned());
    for (index, point) in points.iter().enumerate() {
        let fault = format!("{point}=kill");
        let killed = match index {
            0 => host.dr_with_fault(&fault, HIBERNATE),
            _ => host.dr_with_fault(&fault, ["run", "resume"]),
        };
        assert_eq!(killed.code, 137, "killed at {point}: {killed}");
        if point == "stage:after" {
            half_done_is_kept_out_of_service(&host, values.to_str().unwrap());
        }
    }
    host.dr(["run", "resume"]).ok();
    assert_eq!(host.runs()[0].1, "done");
    host.assert_ledger_holds(&before);
    directory::assert_back(&host, &people);
    let rows = host.ledger().rows;
    host.wait_rows(rows + 3);
    let left = host.kubectl(&["exec", "opschain-db-1", "-c", "postgres", "--", "ls", "/var/lib/postgresql/data"]).ok();
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["pgdata"], "nothing is left beside the data folder");
}

/// A restore by `adopt`: the claim that was filled is the one that the database runs on, and no initdb was near it.
#[test]
#[ignore = "needs the lab: make live"]
fn an_adopted_volume_is_the_database_and_was_never_initialised() {
    let host = Host::new("adopt");
    // Its users are elsewhere: what answers there is the database's own Service.
    host.deploy_with(VERSION, |text| {
        let env = "\nenv:\n  OPSCHAIN_LDAP_HOST: opschain-db-rw\n  OPSCHAIN_LDAP_PORT: \"5432\"";
        text.replace("\nenv:", env).replace("\nldap:\n  enabled: true\n", "\nldap:\n  enabled: false\n")
    });
    let before = host.ledger();
    let bundle = host.bundle(&[]);
    assert_eq!(directory::said_of(&host, &bundle), (None, None));
    host.delete_namespace();
    let restore = ["bundle", "restore", "--version", VERSION, "--strategy", "adopt"];
    let plan = host.dr([&restore[..], &["--dry-run"]].concat()).ok();
    assert!(plan.contains("strategy adopt"), "{plan}");
    host.dr([&restore[..], &["--yes"]].concat()).ok();
    host.assert_ledger_holds(&before);
    host.wait_rows(host.ledger().rows + 3);
    let analyzed = "SELECT count(*) FROM pg_stat_user_tables WHERE relname = 'ledger' AND last_analyze IS NOT NULL";
    assert_eq!(host.sql(analyzed), "1");
    let (run, _) = host.runs().swap_remove(0);
    let label =
        host.kubectl(&["get", "pvc", "opschain-db-1", "-o", "jsonpath={.metadata.labels.dr\\.opschain/run}"]).ok();
    assert_eq!(label.trim(), run, "the claim is the one that the restore has made");
    let jobs = host.kubectl(&["get", "events", "--field-selector", "involvedObject.kind=Job", "-o", "name"]).ok();
    assert!(!jobs.contains("initdb"), "{jobs}");
    what_was_proved_is_kept(&host, &run, &bundle);
    // And it can be bundled and restored again.
    host.bundle(&[]);
}

/// Signed, beside the run and beside the bundle, and as the database and the API themselves say it.
fn what_was_proved_is_kept(host: &Host, run: &str, bundle: &Path) {
    let shown: serde_json::Value =
        serde_json::from_str(&host.dr(["--output", "json", "run", "show", run]).ok()).unwrap();
    let evidence = &shown["evidence"];
    let seen = |what: &str| {
        let proofs = evidence["proofs"].as_array().unwrap();
        let fact = proofs.iter().find(|fact| fact["what"] == what).unwrap_or_else(|| panic!("{what}: {evidence}"));
        fact["seen"].as_str().unwrap().to_owned()
    };
    assert_eq!(seen("system identifier"), host.sql("SELECT system_identifier FROM pg_control_system()"));
    assert_eq!(seen("version that the API says"), VERSION);
    assert_eq!(evidence["not_proved"], serde_json::json!([]));
    assert_eq!(seen("LDAP server outside"), "opschain-db-rw:5432 accepts connections");
    let (file, beside) =
        (evidence["file"].as_str().unwrap(), bundle.parent().unwrap().join(format!("evidence.{run}.json")));
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(std::fs::read(&beside).unwrap(), bytes);
    let (signers, signature) = (host.setting("keys", "trusted_signers"), format!("{}.sig", beside.display()));
    let verify = ["ssh-keygen", "-Y", "verify", "-n", "dr-proof@v1", "-f", signers.to_str().unwrap()];
    let signer = evidence["signed_by"].as_str().unwrap_or_else(|| panic!("{evidence}"));
    let said = command("cat").args([file]).pipe_to(&[&verify[..], &["-I", signer, "-s", &signature]].concat());
    assert!(String::from_utf8_lossy(&said).contains("Good \"dr-proof@v1\" signature"), "{said:?}");
    assert!(
        host.dr(["bundle", "list", "--proved", "restored"])
            .ok()
            .contains(bundle.file_stem().unwrap().to_str().unwrap())
    );
}

/// Nothing puts the empty database into service, and a resume goes on beneath nothing that somebody has started.
fn half_done_is_kept_out_of_service(host: &Host, values: &str) {
    let (run, _) = host.runs().swap_remove(0);
    let (resume, abort) = (format!("dr run resume {run}"), format!("dr run abort {run}"));
    let ways = [run.as_str(), &resume, &abort];
    host.dr(["server", "start"]).fails(24, &ways);
    host.dr(["deploy", "-f", values, "--version", VERSION, "--yes"]).fails(24, &ways);
    host.dr(["bundle", "create", "--yes"]).fails(24, &ways);
    let said = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (status, doctor) = (host.dr(["server", "status"]).ok(), host.dr(["doctor"]));
    assert_eq!(doctor.code, 3, "{doctor}");
    for text in [said(&status), said(&doctor.stdout)] {
        assert!(text.contains("is not whole") && text.contains(ways[1]), "{text}");
        assert!(!text.contains("server start") && !text.contains("stopDatabase"), "{text}");
    }
    let scale = |replicas: &str| host.kubectl(&["scale", "deployment/opschain-api", replicas]).ok();
    scale("--replicas=1");
    host.dr(["run", "resume"]).fails(25, &["dr server stop"]);
    let abort = said(&host.dr(["run", "abort", "--dry-run"]).ok());
    assert!(abort.contains("opschain-api runs with 1 replica"), "{abort}");
    scale("--replicas=0");
}

/// What an aborted restore has left is an install without data: nothing may take it for the real one.
fn left_empty_is_said(host: &Host, values: &str) {
    let delete = format!("kubectl delete namespace {}", host.namespace);
    let words = ["is not whole", "was aborted", delete.as_str()];
    host.dr(["server", "start"]).fails(24, &words);
    host.dr(["deploy", "-f", values, "--version", VERSION, "--allow", "drift", "--yes"]).fails(24, &words);
    host.dr(["bundle", "create", "--yes"]).fails(24, &words);
    host.dr(["config", "record", "--from-helm", "--yes"]).fails(24, &words);
    let said = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [host.dr(["server", "status"]).stdout, host.dr(["doctor"]).stdout, host.dr(["config", "drift"]).stdout]
    {
        let text = said(&text);
        assert!(text.contains(&delete) && !text.contains("server start"), "{text}");
    }
}

/// Kills a restore at a point and returns the id of the run.
fn killed_at(host: &Host, point: &str) -> String {
    let killed = host.dr_with_fault(&format!("{point}=kill"), HIBERNATE);
    assert_eq!(killed.code, 137, "killed at {point}: {killed}");
    let (run, state) = host.runs().swap_remove(0);
    assert_eq!(state, "open");
    run
}

/// Aborts the open run, killed once at the undoing of each of `steps` first.
fn abort_killed_at(host: &Host, steps: &[&str], args: &[&str]) {
    let abort = || ["run", "abort", "--yes"].into_iter().chain(args.iter().copied());
    for step in steps {
        let killed = host.dr_with_fault(&format!("{step}:undo=kill"), abort());
        assert_eq!(killed.code, 137, "killed at the undoing of {step}: {killed}");
    }
    host.dr(abort()).ok();
    assert_eq!(host.runs()[0].1, "aborted");
}

fn has_namespace(host: &Host) -> bool {
    command("kubectl").args(["get", "namespace", &host.namespace]).run().code == 0
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_restore_that_is_aborted_before_the_swap_leaves_the_target_as_it_was_found() {
    let host = Host::new("restore-abort");
    host.deploy(VERSION);
    host.bundle(&[]);
    host.delete_namespace();
    let steps = step_names(RestoreStrategy::Hibernate);
    let before_swap = &steps[..steps.iter().position(|step| *step == "swap").unwrap()];
    for step in before_swap {
        let run = killed_at(&host, &format!("{step}:after"));
        let planned = host.dr(["run", "abort", "--dry-run"]).ok();
        assert!(planned.contains(&run) && has_namespace(&host), "a plan changes nothing: {planned}");
        abort_killed_at(&host, &[], &[]);
        assert!(!has_namespace(&host), "aborted after {step}: the namespace was not there before");
    }
    host.dr(["run", "resume"]).fails(14, &["no open run"]);

    // In another namespace of the same name nothing is the run's to undo.
    let run = killed_at(&host, "install-hibernated:after");
    host.delete_namespace();
    command("kubectl").args(["create", "namespace", &host.namespace]).run().ok();
    host.kubectl(&["create", "secret", "generic", "theirs", "--from-literal=a=b"]).ok();
    host.kubectl(&["annotate", "secret", "theirs", "meta.helm.sh/release-name=opschain"]).ok();
    host.dr(["run", "resume"]).fails(25, &["not the one that it worked in", &format!("dr run abort {run}")]);
    let doctor = host.dr(["doctor"]).stdout;
    assert!(doctor.contains(&format!("dr run abort {run}")), "{doctor}");
    abort_killed_at(&host, &[], &[]);
    host.kubectl(&["get", "secret", "theirs"]).ok();
    host.delete_namespace();

    // Secrets that an uninstall has left are what they were; and abort itself is killed wherever it undoes something.
    command("kubectl").args(["create", "namespace", &host.namespace]).run().ok();
    let secret = ["create", "secret", "generic", "opschain-db-credentials", "--type=kubernetes.io/basic-auth"];
    host.kubectl(&[&secret[..], &["--from-literal=username=opschain", "--from-literal=password=other"]].concat()).ok();
    let objects = || {
        let kinds = "clusters.postgresql.cnpg.io,deployments,statefulsets,jobs,pods,pvc,services,secrets,configmaps,\
                     serviceaccounts,roles,rolebindings,ingresses,leases";
        host.kubectl(&["get", kinds, "-o", "name"]).ok()
    };
    let password = || host.kubectl(&["get", "secret", "opschain-db-credentials", "-o", "jsonpath={.data}"]).ok();
    let before = (objects(), password());
    killed_at(&host, "stage:after");
    assert_ne!(password(), before.1, "the restore has put the bundle's own there");
    let undone = ["start-pod", "install-hibernated", "restore-secrets", "take-lease", "create-namespace"];
    abort_killed_at(&host, &undone, &[]);
    assert_eq!((objects(), password()), before);
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_restore_that_is_aborted_after_the_swap_gets_its_previous_data_back() {
    let host = Host::new("restore-undo");
    let values = host.deploy(VERSION);
    let before = host.ledger();
    let bundle = host.bundle(&[]);
    host.delete_namespace();
    let restored = host.dr(["--output", "json", "bundle", "show", bundle.to_str().unwrap()]).ok();
    let install = format!("{}/opschain", host.namespace);
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("swap:after", &["swap", "take-lease"], &[]),
        ("wait-healthy:after", &["wake", "swap"], &[]),
        ("wait-serving:after", &["start", "wake", "swap", "start-pod"], &["--confirm", &install]),
    ];
    for (point, undone, args) in cases {
        killed_at(&host, point);
        if !args.is_empty() {
            host.dr(["run", "abort", "--yes"]).fails(27, &["--confirm"]);
        }
        abort_killed_at(&host, undone, args);
        let pods = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
        assert_eq!(pods, "", "aborted after {point}: a helper pod is left");
        assert!(host.replicas().iter().all(|replicas| replicas == "0"), "aborted after {point}");
        left_empty_is_said(&host, values.to_str().unwrap());
        // The database that the operator had made wakes again, and is not the bundle's.
        host.kubectl(&["annotate", "--overwrite", "cluster.postgresql.cnpg.io/opschain-db", "cnpg.io/hibernation=off"])
            .ok();
        wait(Duration::from_secs(300), "the previous database to serve", || {
            let ran = host.kubectl(&["exec", "opschain-db-1", "-c", "postgres", "--", "pg_isready"]);
            ran.code == 0
        });
        let identity = host.sql("SELECT system_identifier FROM pg_control_system()");
        assert!(!restored.contains(&identity), "aborted after {point}: {identity} is the bundle's");
        host.delete_namespace();
    }
    // From the last step on the application serves, and what was there before is going.
    killed_at(&host, "clean-up:before");
    host.dr(["run", "abort", "--yes"]).ok();
    assert_eq!(host.runs()[0].1, "aborted");
    host.assert_ledger_holds(&before);
    host.wait_rows(host.ledger().rows + 3);
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
    let bundle = host.bundle(&[]);
    config_only_goes_back(&host, &text, &chart, bundle.to_str().unwrap());
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
    host.dr(["bundle", "create", "--yes"]).fails(33, &["hint:"]);
    // Nor is a config put over another whose keys differ: one of them does not open the data.
    let refused = ["does not fit the data that is there: other keys at env.OPSCHAIN_PRIMARY_KEY", "--allow"];
    let allowing = ["--config-only", "--yes", "--allow", "env.OPSCHAIN_PRIMARY_KEY"];
    host.dr([&["bundle", "restore", bundle.to_str().unwrap()], &allowing[..]].concat()).fails(26, &refused);
}

/// The values of a bundle over an install that lives, whose database nobody touches.
fn config_only_goes_back(host: &Host, text: &str, chart: &str, bundle: &str) {
    let changed = host.home.path().join("changed.yaml");
    assert!(text.contains("\nenv:\n"), "{text}");
    std::fs::write(&changed, text.replace("\nenv:\n", "\nenv:\n  SITE_NOTE: by-mistake\n")).unwrap();
    host.dr(["deploy", "-f", changed.to_str().unwrap(), "--version", VERSION, "--chart", chart, "--yes", "--no-wait"])
        .ok();
    let note = || {
        host.kubectl(&["get", "configmap", "opschain-config", "-o", "jsonpath={.data.SITE_NOTE}"])
            .ok()
            .trim()
            .to_owned()
    };
    let (before, database) =
        (host.ledger(), host.sql("SELECT oid, pg_postmaster_start_time() FROM pg_database LIMIT 1"));
    assert_eq!(note(), "by-mistake");
    let restore = ["bundle", "restore", bundle, "--config-only"];
    let planned = host.dr([&restore[..], &["--dry-run"]].concat()).ok();
    assert!(planned.contains("env.SITE_NOTE") && planned.contains("the values of bundle opschain-"), "{planned}");
    assert_eq!(note(), "by-mistake", "nothing was changed");
    host.dr([&restore[..], &["--yes"]].concat()).ok();
    assert_eq!(note(), "");
    assert!(host.dr(["config", "log"]).ok().contains("the config of bundle opschain-"));
    host.assert_ledger_holds(&before);
    assert_eq!(host.sql("SELECT oid, pg_postmaster_start_time() FROM pg_database LIMIT 1"), database, "it ran through");
}

/// Deploys an install whose database has a standby, and waits until the application has written.
fn deploy_two_instances(host: &Host) {
    let (values, two) = (host.values(VERSION), host.home.path().join("two.yaml"));
    std::fs::write(&two, "db: {cnpg: {instances: 2}}\n").unwrap();
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    let files = ["deploy", "-f", values.to_str().unwrap(), "-f", two.to_str().unwrap()];
    host.dr(files.into_iter().chain(["--version", VERSION, "--chart", &chart, "--yes"])).ok();
    host.wait_rows(20);
}

/// The operator makes every instance empty before the bundle's database is put into one of them.
#[test]
#[ignore = "needs the lab: make live"]
fn every_instance_is_the_bundle_s_database_after_a_restore() {
    let host = Host::new("instances");
    deploy_two_instances(&host);
    let before = host.ledger();
    let identifier = host.sql("SELECT system_identifier FROM pg_control_system()");
    host.bundle(&[]);
    host.delete_namespace();
    host.dr(HIBERNATE).ok();
    host.assert_ledger_holds(&before);
    both_are(&host, &identifier);
    host.delete_namespace();
    host.dr(["bundle", "restore", "--version", VERSION, "--strategy", "adopt", "--yes"]).ok();
    host.assert_ledger_holds(&before);
    both_are(&host, &identifier);
}

/// A switchover leaves the first instance a standby: its volume is then neither what is backed up nor what is filled.
#[test]
#[ignore = "needs the lab: make live"]
fn the_primary_may_be_another_than_the_first_instance() {
    let host = Host::new("switched");
    deploy_two_instances(&host);
    let switch =
        r#"{"status":{"targetPrimary":"opschain-db-2","phase":"Switchover in progress","phaseReason":"by hand"}}"#;
    host.kubectl(&["patch", "cluster", "opschain-db", "--subresource=status", "--type=merge", "-p", switch]).ok();
    let status = |field: &str| {
        let path = format!("jsonpath={{.status.{field}}}");
        host.kubectl(&["get", "cluster.postgresql.cnpg.io", "opschain-db", "-o", &path]).ok().trim().to_owned()
    };
    wait(Duration::from_secs(180), "the second instance to be the primary", || {
        status("currentPrimary") == "opschain-db-2" && status("readyInstances") == "2"
    });
    let asked = |statement: &str| {
        let primary = status("currentPrimary");
        let psql = ["psql", "-XAtq", "-U", "postgres", "-d", "opschain", "-c", statement];
        host.kubectl(&[&["exec", &primary, "-c", "postgres", "--"], &psql[..]].concat()).ok().trim().to_owned()
    };
    let head =
        "SELECT count(*) || ' ' || encode((SELECT hash FROM ledger ORDER BY id DESC LIMIT 1), 'hex') FROM ledger";
    let before = asked(head);
    let identifier = asked("SELECT system_identifier FROM pg_control_system()");
    let bundle = host.bundle(&[]);
    asked("CREATE TABLE made_since AS SELECT 1");
    let restore = ["bundle", "restore", bundle.to_str().unwrap(), "--into-existing", "--any-signer", "--yes"];
    host.dr([&restore[..], &["--confirm", &host.namespace]].concat()).ok();

    let (rows, hash) = before.split_once(' ').unwrap();
    let held =
        format!("SELECT count(*) FROM ledger WHERE id <= (SELECT id FROM ledger WHERE encode(hash, 'hex') = '{hash}')");
    assert_eq!((asked(&held).as_str(), asked("SELECT count(*) FROM ledger_faults").as_str()), (rows, "0"));
    assert_eq!(asked("SELECT to_regclass('made_since') IS NULL"), "t", "the bundle's data");
    assert_eq!(status("currentPrimary"), "opschain-db-2", "its volume was filled, and no other");
    let label = "cnpg.io/cluster=opschain-db,cnpg.io/podRole=instance";
    let pods = host.kubectl(&["get", "pods", "-l", label, "-o", "jsonpath={.items[*].metadata.name}"]).ok();
    assert_eq!(pods.split_whitespace().count(), 2, "{pods}");
    assert_eq!(asked("SELECT system_identifier FROM pg_control_system()"), identifier);
    assert_eq!(asked("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"), "1");
}

/// Both instances are the database, and the second follows the first.
fn both_are(host: &Host, identifier: &str) {
    let system = "SELECT system_identifier FROM pg_control_system()";
    let label = "cnpg.io/cluster=opschain-db,cnpg.io/podRole=instance";
    let pods = host.kubectl(&["get", "pods", "-l", label, "-o", "jsonpath={.items[*].metadata.name}"]).ok();
    let pods: Vec<&str> = pods.split_whitespace().collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    for pod in pods {
        let psql = ["exec", pod, "-c", "postgres", "--", "psql", "-XAtq", "-U", "postgres", "-c", system];
        assert_eq!(host.kubectl(&psql).ok().trim(), identifier, "{pod}");
    }
    assert_eq!(host.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"), "1");
}
