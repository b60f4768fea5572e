//! `dr config drift` without a cluster: vault against helm, with a helm that says what a test wants it to.

use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

const PASSWORD: &str = "Vaulted-password-0001";
const OTHER: &str = "Foreign-password-0002";

struct Site {
    home: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { home: tempfile::tempdir().unwrap() };
        assert_eq!(site.dr(&["init"]).2, 0);
        let settings = site.home.path().join(".config/dr/dr.toml");
        let text = std::fs::read_to_string(&settings).unwrap();
        let helm = site.home.path().join("helm");
        std::fs::write(settings, text.replace("[helm]", &format!("[helm]\nbinary = {:?}", helm.to_str().unwrap())))
            .unwrap();
        let script = format!(
            "#!/bin/sh\ncd {:?}\ncase \"$1\" in\n  version) echo v4.1.4;;\n  history) cat history.json;;\n  get) \
             case \"$*\" in *manifest*) cat manifest.yaml;; *) cat values.json;; esac;;\n  *) echo \"Error: no $1 here\" >&2; exit 1;;\nesac\n",
            site.home.path().to_str().unwrap()
        );
        std::fs::write(&helm, script).unwrap();
        std::fs::set_permissions(&helm, std::fs::Permissions::from_mode(0o755)).unwrap();
        site.says(&json!([]), &Json::Null);
        site
    }

    /// What helm says of its history and of the values of any revision.
    fn says(&self, history: &Json, values: &Json) {
        let write = |name: &str, text: String| std::fs::write(self.home.path().join(name), text).unwrap();
        write("history.json", history.to_string());
        write("values.json", values.to_string());
        write("manifest.yaml", "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n".into());
    }

    fn dr(&self, args: &[&str]) -> (String, String, i32) {
        crate::recorded::dr(self.home.path(), "/usr/bin:/bin", args, &[PASSWORD, OTHER])
    }

    fn drift(&self) -> (Json, i32) {
        let (out, err, exit) = self.dr(&["--output", "json", "config", "drift"]);
        (serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}")), exit)
    }

    /// Puts a deployment into the vault as `dr deploy` does, and returns its id.
    fn record(&self, values: &str) -> String {
        crate::recorded::record(self.home.path(), "opschain", Timestamp::now(), values)
    }
}

fn revision(number: u32, status: &str, description: &str) -> Json {
    json!({"revision": number, "updated": "2026-08-20T10:00:00Z", "status": status, "chart": "opschain-2026.8.20",
        "app_version": "2026-08-20", "description": description})
}

fn values(replicas: u32, password: &str) -> (String, Json) {
    let text = format!("# mine\napi:\n  replicas: {replicas}\nenv:\n  PGPASSWORD: \"{password}\"\n  TZ: ~\n");
    (text, json!({"api": {"replicas": replicas}, "env": {"PGPASSWORD": password, "TZ": null}}))
}

#[test]
fn where_there_is_nothing_to_compare_that_is_said() {
    let site = Site::new();
    let (report, exit) = site.drift();
    assert_eq!(exit, 0, "{report:#}");
    assert_eq!(report["values"]["because"], "neither the vault nor helm has anything of this release", "{report:#}");
}

#[test]
fn what_dr_deployed_is_the_same_and_an_unreachable_cluster_is_said() {
    let site = Site::new();
    let (text, stored) = values(1, PASSWORD);
    let id = site.record(&text);
    site.says(&json!([revision(1, "deployed", &format!("dr {id}"))]), &stored);
    let (report, exit) = site.drift();
    assert_eq!((exit, &report["values"]["state"]), (0, &"whole".into()), "{report:#}");
    assert_eq!(report["objects"]["state"], "not", "{report:#}");
    let (out, _, _) = site.dr(&["config", "drift"]);
    assert!(out.contains("all 3 values the same") && out.contains("objects not compared"), "{out}");
}

#[test]
fn a_foreign_revision_is_drift_with_masked_values_and_helm_words_are_scrubbed() {
    let site = Site::new();
    let (text, _) = values(1, PASSWORD);
    let id = site.record(&text);
    let (_, foreign) = values(3, OTHER);
    let failed = format!("cannot patch: Invalid value: {{\"PGPASSWORD\":\"{OTHER}\"}}");
    let history = json!([
        revision(1, "superseded", &format!("dr {id}")),
        revision(2, "deployed", "Upgrade complete"),
        revision(3, "failed", &failed),
    ]);
    site.says(&history, &foreign);
    let (report, exit) = site.drift();
    assert_eq!(exit, 33, "{report:#}");
    let kinds: Vec<&str> =
        report["drift"].as_array().unwrap().iter().map(|finding| finding["cause"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["deployed-outside", "failed-outside"], "{report:#}");
    let fields = report["drift"][0]["fields"].as_array().unwrap();
    let changed: Vec<&str> = fields.iter().map(|field| field["path"].as_str().unwrap()).collect();
    assert_eq!(changed, ["api.replicas", "env.PGPASSWORD"], "{report:#}");
    assert_ne!(fields[1]["old"], fields[1]["new"], "the fingerprints tell that it changed");
    let (out, _, exit) = site.dr(&["config", "drift"]);
    assert_eq!(exit, 33);
    assert!(out.contains("deployed outside dr") && out.contains("api.replicas  1 -> 3"), "{out}");
}

#[test]
fn a_number_that_helm_rounds_is_told_as_a_loss() {
    let site = Site::new();
    let id = site.record("env:\n  BUILD: 9007199254740993\n");
    let history = json!([revision(1, "deployed", &format!("dr {id}"))]);
    site.says(&history, &json!({"env": {"BUILD": 9_007_199_254_740_992_f64}}));
    let (report, exit) = site.drift();
    assert_eq!((exit, &report["drift"][0]["cause"]["kind"]), (33, &"resolver-loss".into()), "{report:#}");
    assert_eq!(report["drift"][0]["fields"][0]["old"], "9007199254740993", "{report:#}");
}

#[test]
fn a_deployment_over_drift_is_refused_when_the_settings_say_so() {
    let site = Site::new();
    let (text, _) = values(1, PASSWORD);
    let id = site.record(&text);
    let (_, foreign) = values(3, PASSWORD);
    site.says(
        &json!([revision(1, "superseded", &format!("dr {id}")), revision(2, "deployed", "Rollback to 1")]),
        &foreign,
    );
    let settings = site.home.path().join(".config/dr/dr.toml");
    let with = std::fs::read_to_string(&settings).unwrap().replace("[drift]", "[drift]\non_deploy = \"refuse\"");
    std::fs::write(&settings, with).unwrap();
    let chart = site.home.path().join("chart.tgz");
    std::fs::write(&chart, b"x").unwrap();
    std::fs::write(site.home.path().join("values.yaml"), text).unwrap();
    let show = "*) echo \"Error: no $1 here\"";
    let helm = site.home.path().join("helm");
    let script = std::fs::read_to_string(&helm).unwrap();
    let facts = "show) printf 'name: opschain\\nversion: 2026.8.20\\n';;\n  ";
    std::fs::write(&helm, script.replace(show, &format!("{facts}{show}"))).unwrap();
    let deploy = ["--no-input", "deploy", "-f", "values.yaml", "--chart", chart.to_str().unwrap()];
    let (_, err, exit) = site.dr(&deploy);
    assert_eq!(exit, 33, "{err}");
    assert!(err.contains("rolled back to revision 1 outside dr") && err.contains("--allow drift"), "{err}");
    // Let through, it is a warning; then nobody can be asked.
    let (_, err, exit) = site.dr(&[&deploy[..], &["--allow", "drift"]].concat());
    assert_eq!(exit, 27, "{err}");
    assert!(err.contains("rolled back to revision 1 outside dr"), "{err}");
}
