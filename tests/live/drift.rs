//! `dr config drift` and `dr deploy --dry-run`, on a real install: each story is named with its cause.

use serde_json::Value as Json;

use super::host::{Host, VERSION, lab};

/// A host with a deployed install, and what belongs to it.
struct Told {
    host: Host,
    values: String,
}

impl Told {
    fn new(namespace: &str) -> Self {
        let host = Host::new(namespace);
        let path = host.values(VERSION);
        let values = path.to_str().unwrap().to_owned();
        let told = Self { host, values };
        told.deploy(&[]).ok();
        told
    }

    fn deploy(&self, more: &[&str]) -> super::host::Ran {
        let chart = chart();
        let args = ["deploy", "-f", &self.values, "--version", VERSION, "--chart", &chart, "--yes", "--no-wait"];
        self.host.dr(args.iter().chain(more))
    }

    /// Drift as JSON: the texts with their objects, in order.
    fn drift(&self) -> (Json, i32) {
        let ran = self.host.dr(["--output", "json", "config", "drift"]);
        let json = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"));
        (json, ran.code)
    }

    fn finding(&self, object: &str) -> Json {
        let (report, exit) = self.drift();
        assert_eq!(exit, 33, "{report:#}");
        let found = report["drift"].as_array().unwrap().iter().find(|finding| finding["object"] == object).cloned();
        found.unwrap_or_else(|| panic!("no drift of {object}: {report:#}"))
    }

    fn helm(&self, args: &[&str], stdin: &str) {
        let mut all = vec!["-n", &self.host.namespace];
        all.extend(args);
        super::install::run("helm", &all, stdin.as_bytes());
    }

    fn secrets_stay_unseen(&self, text: &str) {
        let values = std::fs::read_to_string(&self.values).unwrap();
        for line in values.lines().filter(|line| line.contains("_KEY:") || line.contains("PGPASSWORD:")) {
            let secret = line.split(':').nth(1).unwrap().trim().trim_matches('"');
            assert!(secret.len() < 8 || !text.contains(secret), "{line} is shown: {text}");
        }
    }
}

fn chart() -> String {
    format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"))
}

#[test]
#[ignore = "needs the lab: run by make test"]
fn drift_is_told_with_its_cause() {
    let told = Told::new("drift");
    let host = &told.host;
    let (clean, exit) = told.drift();
    assert_eq!(exit, 0, "{clean:#}");
    assert!(clean["objects"]["count"].as_u64().unwrap() > 20, "{clean:#}");
    let text = host.dr(["config", "drift"]).ok();
    assert!(text.contains("objects the same"), "{text}");

    // By hand: scaled, edited, deleted, a ConfigMap with a secret in it.
    host.kubectl(&["scale", "deployment", "opschain-log-aggregator", "--replicas=2"]).ok();
    host.kubectl(&["set", "image", "deployment/opschain-build-service", "opschain-build-service=limepoint/other:1"])
        .ok();
    host.kubectl(&["set", "env", "deployment/opschain-build-service", "BY_HAND=1"]).ok();
    host.kubectl(&["delete", "service", "opschain-ldap"]).ok();
    let planted = "planted-by-hand-0123456789";
    host.kubectl(&[
        "patch",
        "configmap",
        "opschain-config",
        "-p",
        &format!("{{\"data\":{{\"PGPASSWORD\":\"{planted}\",\"TZ\":\"Mars\"}}}}"),
    ])
    .ok();
    let scaled = told.finding("Deployment opschain-log-aggregator");
    assert_eq!((&scaled["cause"]["kind"], &scaled["fields"][0]["new"]), (&"scaled".into(), &2.into()), "{scaled:#}");
    let edited = told.finding("Deployment opschain-build-service");
    assert_eq!(edited["cause"]["kind"], "hand-edited", "{edited:#}");
    let paths: Vec<&str> = edited["fields"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert!(
        paths.iter().any(|path| path.ends_with(".image")) && paths.iter().any(|path| path.contains("BY_HAND")),
        "{paths:?}"
    );
    assert_eq!(told.finding("Service opschain-ldap")["cause"]["kind"], "missing");
    let map = told.finding("ConfigMap opschain-config");
    assert_eq!(map["cause"]["kind"], "hand-edited", "{map:#}");
    let text = host.dr(["config", "drift"]);
    assert!(text.stdout.contains("\"Mars\"") && !text.stdout.contains(planted), "{text}");
    told.secrets_stay_unseen(&text.stdout);

    // A deployment refuses it when the settings say so, and goes over it when told.
    let settings = host.home.path().join(".config/dr/dr.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, before.replace("[drift]", "[drift]\non_deploy = \"refuse\"")).unwrap();
    told.deploy(&[]).fails(33, &["not what the vault says", "--allow drift"]);
    std::fs::write(
        &settings,
        format!(
            "{}\n[[drift.ignore]]\nobject = \"*\"\npath = \"*\"\nreason = \"the test's\"\n",
            before.replace("[drift]", "[drift]\non_deploy = \"refuse\"")
        ),
    )
    .unwrap();
    let (meant, exit) = told.drift();
    assert_eq!((exit, meant["drift"].as_array().unwrap().len()), (0, 0), "{meant:#}");
    std::fs::write(&settings, &before).unwrap();
    host.delete_namespace();
}

#[test]
#[ignore = "needs the lab: run by make test"]
fn what_helm_did_by_hand_is_told_and_a_dry_run_says_what_changes() {
    let told = Told::new("drift-helm");
    let host = &told.host;
    let values = std::fs::read_to_string(&told.values).unwrap();

    // What would change: values and objects, hooks, what restarts, what is refused. Nothing is touched.
    let other = values.replace("api:\n", "api:\n  env: [{name: NEW, value: \"1\"}]\n");
    let other = other.replace("  shared_buffers: 256MB", "  shared_buffers: 128MB");
    assert_ne!(other, values);
    let path = host.home.path().join("other.yaml");
    std::fs::write(&path, &other).unwrap();
    let chart = chart();
    let dry = ["deploy", "-f", path.to_str().unwrap(), "--version", VERSION, "--chart", &chart, "--dry-run"];
    let plan: Json = serde_json::from_str(&host.dr(["--output", "json"].iter().chain(&dry)).ok()).unwrap();
    assert_eq!(plan["objects"]["rendered"]["mode"], "server", "{plan:#}");
    let objects = plan["objects"]["objects"].as_array().unwrap();
    let api = objects.iter().find(|object| object["kind"] == "Deployment" && object["name"] == "opschain-api").unwrap();
    assert!(api["fields"].to_string().contains("env[name=NEW]"), "{api:#}");
    assert!(plan["objects"]["effects"].to_string().contains("restarts"), "{plan:#}");
    let kept = objects.iter().filter(|object| object["change"] == "kept").count();
    assert!(
        kept > 0 && objects.iter().all(|object| object["change"] != "removed"),
        "look-ups see the cluster: {plan:#}"
    );
    let text = host.dr(dry).ok();
    assert!(text.contains("Objects against revision 1") && text.contains("Nothing was changed."), "{text}");
    told.secrets_stay_unseen(&text);
    told.secrets_stay_unseen(&plan.to_string());

    // The second revision: what helm's look-ups found is in the first one only, and helm cannot go back to that.
    told.deploy(&[]).ok();
    assert_eq!(told.drift().1, 0);
    let upgrade = ["upgrade", "opschain", &chart, "--version", "2026.8.20", "--reset-values", "-f", "-"];
    told.helm(&upgrade, &other);
    let found = told.finding("values");
    let cause = &found["cause"];
    assert_eq!((&cause["kind"], &cause["revision"]), (&"deployed-outside".into(), &3.into()), "{found:#}");
    assert!(found["fields"].to_string().contains("api.env"), "{found:#}");
    assert!(found["text"].as_str().unwrap().contains("outside dr with "), "{found:#}");

    // The old values again, and still nobody's deployment.
    told.helm(&["rollback", "opschain", "2"], "");
    let found = told.finding("release");
    assert_eq!((&found["cause"]["kind"], &found["cause"]["to"]), (&"rolled-back".into(), &2.into()), "{found:#}");

    // dr deploys again, warns, and all is well.
    let ran = told.deploy(&[]);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.stderr.contains("rolled back to revision 2 outside dr"), "{ran}");
    let (clean, exit) = told.drift();
    assert_eq!(exit, 0, "{clean:#}");
    host.delete_namespace();
}
