//! Bundles that Kubernetes makes: by a CronJob, of dr's own image from the lab's registry, into a bucket.

use std::time::Duration;

use serde_json::Value;

use crate::bucket::server::Gateway;
use crate::bucket::use_bucket;
use crate::host::{Host, VERSION, lab, wait};

/// Pushes the image of the program under test, and returns its name. The nodes pull every name from the lab's registry.
fn pushed(host: &Host) -> String {
    // A tag of its own for each run: what a node has of a name, it does not pull again.
    let name = format!("{}/tools/{}:t{}", lab("LAB_REGISTRY"), host.namespace, std::process::id());
    let ca = std::env::var("SSL_CERT_FILE").unwrap();
    let said = host.dr(["--output", "json", "image", "push", &name, "--ca-file", &ca]).ok();
    let report: Value = serde_json::from_str(&said).unwrap();
    assert!(report["digest"].as_str().unwrap().starts_with("sha256:"), "{said}");
    name
}

/// A public key whose private half nobody has.
const OTHER: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

/// Gives the next pods of the CronJob this fault, or none.
fn set_fault(host: &Host, fault: &str) {
    host.kubectl(&["set", "env", "cronjob/dr-bundle-opschain", "-c", "dr", &format!("DR_FAULT={fault}")]).ok();
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_cron_job_makes_a_bundle_without_a_key_that_opens_it_and_what_a_killed_one_has_left_is_put_back() {
    let node = lab("LAB_REGISTRY").split(':').next().unwrap().to_owned();
    let gateway = Gateway::start_at(&node);
    let host = Host::new("cronjob");
    use_bucket(&host, &gateway);
    host.deploy(VERSION);
    let image = pushed(&host);
    let credentials = format!("--from-file=credentials={}", gateway.credentials().display());
    host.kubectl(&["create", "secret", "generic", "bucket-key", &credentials]).ok();
    let install =
        ["schedule", "install", "--cronjob", "--image", &image, "--credentials", "bucket-key", "--at", "0 2 * * *"];
    let planned = host.dr([&install[..], &["--dry-run"]].concat());
    assert!(planned.stdout.contains("kind: CronJob") && !planned.stdout.contains("PRIVATE KEY"), "{planned}");
    host.kubectl(&["get", "cronjob", "dr-bundle-opschain"]).fails(1, &["not found"]);
    let made: Value =
        serde_json::from_str(&host.dr([&["--yes", "--output", "json"], &install[..]].concat()).ok()).unwrap();
    assert_eq!(made["trusted_here"], false);
    let signers = host.setting("keys", "trusted_signers");
    let text = std::fs::read_to_string(&signers).unwrap();
    std::fs::write(&signers, format!("{text}{}\n", made["trust_line"].as_str().unwrap())).unwrap();
    let secrets = host.kubectl(&["get", "secret", "dr-bundle-opschain-config", "-o", "json"]).ok();
    let identity = std::fs::read_to_string(host.setting("keys", "identity")).unwrap();
    let private = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap();
    assert!(!secrets.contains(private) && secrets.contains("chart.tgz.age"));

    // It stands still with the application stopped, until its pod is taken away without a word.
    set_fault(&host, "mark-wal:before=kill");
    let killed = std::thread::scope(|scope| {
        let run = scope.spawn(|| host.dr(["schedule", "run", "--cronjob"]));
        wait(Duration::from_secs(120), "the application to be stopped", || host.replicas() == ["0", "0"]);
        host.kubectl(&["delete", "pods", "-l", "job-name", "--force", "--grace-period=0"]).ok();
        run.join().unwrap()
    });
    killed.fails(1, &["was not made"]);
    wait(Duration::from_secs(90), "the watchdog to start the application", || {
        !host.replicas().contains(&"0".to_owned())
    });
    assert!(host.listed().is_empty());

    set_fault(&host, "");
    let before = host.ledger();
    let ran = host.dr(["schedule", "run", "--cronjob"]);
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(host.listed().len(), 1);
    assert!(gateway.uploads().is_empty(), "the killed one's upload is left: {:?}", gateway.uploads());
    let left = host.kubectl(&["get", "pods,roles,rolebindings,serviceaccounts", "-l", "dr.opschain/run", "-o", "name"]);
    assert_eq!(left.ok().trim(), "", "something of a run is left");
    let list: Value = serde_json::from_str(&host.dr(["--output", "json", "schedule", "list"]).ok()).unwrap();
    let line = &list["schedules"][0];
    assert_eq!(
        (&line["manager"], &line["result"], &line["waiting"]),
        (&"cron-job".into(), &"success".into(), &true.into())
    );
    let status = host.dr(["status"]);
    assert!(status.stdout.contains("by CronJob dr-bundle-opschain"), "{status}");

    // A key that is added and taken away again goes along by itself, as does the next deployment.
    let pods = || host.kubectl(&["get", "configmap", "dr-bundle-opschain", "-o", "jsonpath={.data.dr\\.toml}"]).ok();
    let added = host.dr(["config", "recipients", "add", OTHER, "-m", "escrow"]);
    assert!(added.stderr.contains("until `dr config rekey`") && !pods().contains(OTHER), "{added}");
    host.dr(["config", "rekey", "--yes"]).ok();
    assert!(pods().contains(OTHER), "{}", pods());
    host.dr(["schedule", "run", "--cronjob"]).ok();
    let newest = host.listed().pop_last().unwrap();
    let shown = host.dr(["--output", "json", "bundle", "show", &newest]).ok();
    assert!(shown.contains(OTHER), "{shown}");
    host.dr(["config", "recipients", "rm", OTHER, "-m", "gone", "--allow-single", "--yes"]).ok();
    assert!(!pods().contains(OTHER), "{}", pods());
    host.dr(["schedule", "run", "--cronjob"]).fails(1, &["other recipients"]);
    host.dr(["config", "rekey", "--yes"]).ok();
    let again = host.dr(["schedule", "install", "--cronjob", "--yes"]);
    assert!(again.code == 0 && again.to_string().contains("the schedule that is there becomes this"), "{again}");
    let values = host.home.path().join(format!("values-{VERSION}.yaml"));
    let text = std::fs::read_to_string(&values).unwrap();
    std::fs::write(&values, format!("{text}# once more\n")).unwrap();
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    host.dr(["deploy", "-f", values.to_str().unwrap(), "--version", VERSION, "--chart", &chart, "--yes"]).ok();
    host.dr(["schedule", "pause", "--cronjob"]).ok();
    host.dr(["schedule", "run", "--cronjob"]).ok();
    assert_eq!(host.listed().len(), 3);

    host.delete_namespace();
    host.dr(["bundle", "restore", "--version", VERSION, "--yes"]).ok();
    host.assert_ledger_holds(&before);
    let after = host.ledger();
    host.wait_rows(after.rows + 5);
    host.dr(["schedule", "run", "--cronjob"]).fails(14, &["no schedule of"]);
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_schedule_in_the_cluster_is_taken_away_without_a_trace() {
    let node = lab("LAB_REGISTRY").split(':').next().unwrap().to_owned();
    let gateway = Gateway::start_at(&node);
    let host = Host::new("cronless");
    host.deploy(VERSION);
    let install = ["--yes", "schedule", "install", "--cronjob", "--image", "r.example/dr:1"];
    host.dr(install).fails(10, &["needs a bucket"]);
    use_bucket(&host, &gateway);
    host.dr([&install[..], &["--credentials", "bucket-key"]].concat()).fails(14, &["no Secret bucket-key", "kubectl"]);
    host.dr([&install[..], &["--at", "every day"]].concat()).fails(12, &["every day"]);
    host.dr(install).ok();
    let ours = [
        "get",
        "all,secrets,configmaps,pvc,sa,roles,rolebindings",
        "-l",
        "app.kubernetes.io/component=schedule",
        "-o",
        "name",
    ];
    assert_eq!(host.kubectl(&ours).ok().lines().count(), 8);
    // Its pods are admitted under the strictest rules that Kubernetes has of itself.
    let strict = "pod-security.kubernetes.io/enforce=restricted";
    host.kubectl(&["label", "namespace", &host.namespace, strict]).ok();
    host.kubectl(&["create", "job", "by-hand", "--from=cronjob/dr-bundle-opschain"]).ok();
    wait(Duration::from_secs(30), "a pod of it", || {
        !host.kubectl(&["get", "pods", "-l", "job-name=by-hand", "-o", "name"]).ok().trim().is_empty()
    });
    host.dr(["--yes", "schedule", "remove", "--cronjob"]).fails(24, &["Job by-hand"]);
    // Nobody has the image: that is said, and not that a bundle is on its way.
    wait(Duration::from_secs(60), "the pod's own words", || {
        host.dr(["schedule", "list"]).to_string().contains("the bundle that is due does not begin: pod by-hand-")
    });
    host.kubectl(&["delete", "job", "by-hand"]).ok();
    let run = host.dr(["schedule", "run", "--cronjob"]);
    assert!(run.code != 0 && run.stderr.contains("ImagePull") && run.stderr.contains("delete job"), "{run}");
    host.kubectl(&["delete", "jobs", "-l", "app.kubernetes.io/component=schedule"]).ok();
    host.dr(["--yes", "schedule", "remove", "--cronjob"]).ok();
    wait(Duration::from_secs(60), "all of it to be gone", || host.kubectl(&ours).ok().trim().is_empty());
    let wide = format!("dr-bundle-opschain:{}", host.namespace);
    host.kubectl(&["get", "clusterrole,clusterrolebinding", &wide]).fails(1, &["not found"]);
}
