//! Deployments that were killed, taken back, or made on a host that holds no key. A chart of a few lines does: what
//! matters is helm's and the vault's side.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::host::{Host, Ran, VERSION, command, wait};

/// A site with a small chart: a ConfigMap, a Secret, and hooks that never end while `hold` is set.
pub struct Site {
    pub host: Host,
    pub chart: PathBuf,
}

const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: tiny}
data: {note: {{ .Values.note | quote }}, all: {{ toJson .Values | quote }}}
---
apiVersion: v1
kind: Secret
metadata: {name: tiny}
stringData:
  env: |
    {{- toYaml .Values.env | nindent 4 }}
";
/// Asks for a node that is not there, so it is pending for ever.
const HOLD: &str = "\
{{- if .Values.hold }}
apiVersion: batch/v1
kind: Job
metadata:
  name: hold
  annotations: {helm.sh/hook: \"pre-install,pre-upgrade\", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {nowhere: \"true\"}
      containers: [{name: hold, image: \"busybox:lab\", command: [\"true\"]}]
{{- end }}
";
pub const SECRETS: [&str; 3] = ["pw-Zt4mQ9xW2rV7", "k7Qz0vJ3mX9bT5wR2nY8cL4pH6sD1fGa", "horse battery"];

impl Site {
    pub fn new(name: &str) -> Self {
        let host = Host::new(name);
        let chart = host.home.path().join("chart");
        let site = Self { host, chart };
        site.chart(VERSION);
        site
    }

    fn chart(&self, version: &str) {
        let write = |name: &str, text: &str| {
            let path = self.chart.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let version = version.parse::<dr::internals::opschain::Version>().unwrap().chart().unwrap();
        write("Chart.yaml", &format!("apiVersion: v2\nname: tiny\nversion: {version}\n"));
        write("values.yaml", "note: from the chart\nhold: false\nenv: {}\n");
        write("templates/config.yaml", CONFIG);
        write("templates/hold.yaml", HOLD);
    }

    pub fn values(&self, note: &str, more: &str) -> String {
        let sentence = "correct horse battery staple ".repeat(8);
        let text = format!(
            "# kept as it is\nnote: {note}\nenv:\n  OPSCHAIN_VERSION: \"{VERSION}\"\n  PGPASSWORD: '{}'\n  \
             OPSCHAIN_PRIMARY_KEY: {}\n  SENTENCE_PASSPHRASE: {sentence}\n{more}",
            SECRETS[0], SECRETS[1]
        );
        let path = self.host.home.path().join(format!("{note}.yaml"));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn args<'a>(&'a self, file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["deploy", "-f", file, "--chart", self.chart.to_str().unwrap()];
        args.extend(more);
        args
    }

    pub fn deploy(&self, file: &str, more: &[&str]) -> Ran {
        let ran = self.host.dr(self.args(file, more));
        for secret in SECRETS {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} said by {ran}");
        }
        ran
    }

    /// Begins a deployment that its hook holds, and returns when helm has marked the release pending.
    fn begin(&self, file: &str, pending: &str) -> Child {
        // Who starts the tests with nohup has them, and dr, ignore a terminal that goes away.
        let child = Command::new("env")
            .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_dr")])
            .args(["--no-input", "-n", &self.host.namespace, "--yes"])
            .args(self.args(file, &[]))
            .env("HOME", self.host.home.path())
            .env("DR_WHO", "operator")
            .current_dir(self.host.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait(Duration::from_secs(60), pending, || self.history().last().is_some_and(|(_, status)| status == pending));
        child
    }

    pub fn history(&self) -> Vec<(u64, String)> {
        let ran = command("helm").args(["history", "opschain", "-n", &self.host.namespace, "--output", "json"]).run();
        let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let status = |row: &Value| row["status"].as_str().unwrap().to_owned();
        rows.iter().map(|row| (row["revision"].as_u64().unwrap(), status(row))).collect()
    }

    pub fn note(&self) -> String {
        self.host.kubectl(&["get", "configmap", "tiny", "-o", "jsonpath={.data.note}"]).ok()
    }

    /// Of each deployment, newest first: state and what made it.
    pub fn log(&self) -> Vec<(String, String)> {
        let log: Value = serde_json::from_str(&self.host.dr(["-o", "json", "config", "log"]).ok()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        log["deployments"].as_array().unwrap().iter().map(|row| (text(&row["state"]), text(&row["how"]))).collect()
    }

    /// The helm that works in the namespace.
    fn helm_process(&self) -> Option<u32> {
        let folders = std::fs::read_dir("/proc").unwrap().flatten();
        let mut processes = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
        processes.find(|process| {
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            arguments.contains(&self.host.namespace.as_bytes()) && arguments.contains(&b"--description".as_slice())
        })
    }

    fn kill_helm(&self) {
        let process = self.helm_process().unwrap();
        command("kill").args(["-9", &process.to_string()]).run().ok();
        wait(Duration::from_secs(10), "helm to be gone", || !Path::new(&format!("/proc/{process}/exe")).exists());
    }
}

/// A kind that only this test's cluster knows, while it does.
const OWN_KIND: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: oddities.dr-lab.example.org}
spec:
  group: dr-lab.example.org
  scope: Namespaced
  names: {kind: Oddity, plural: oddities, singular: oddity}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

#[test]
#[ignore = "needs the lab: make live"]
fn a_chart_or_a_stored_revision_of_kinds_that_the_cluster_does_not_serve_is_refused_before_anything_is_changed() {
    let site = Site::new("deploy-unserved");
    let values = site.values("first", "");
    let old =
        "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: tiny}\nspec: {maxUnavailable: 1}\n";
    std::fs::write(site.chart.join("templates/more.yaml"), old).unwrap();
    let words = ["does not serve", "PodDisruptionBudget of policy/v1beta1 (tiny; served is policy/v1)", "--chart"];
    site.deploy(&values, &["--dry-run"]).fails(12, &words);
    site.deploy(&values, &["--yes"]).fails(12, &words);
    assert_eq!(site.history(), [], "nothing was changed");
    assert!(
        command("kubectl").args(["get", "namespace", &site.host.namespace]).run().code != 0,
        "no namespace was made"
    );

    // What the chart brings itself is there by the time that helm needs it.
    let odd = "apiVersion: dr-lab.example.org/v1\nkind: Oddity\nmetadata: {name: tiny}\n";
    std::fs::write(site.chart.join("templates/more.yaml"), odd).unwrap();
    site.deploy(&values, &["--dry-run"]).fails(12, &["Oddity of dr-lab.example.org/v1 (tiny)"]);
    std::fs::create_dir_all(site.chart.join("crds")).unwrap();
    std::fs::write(site.chart.join("crds/oddities.yaml"), OWN_KIND).unwrap();
    site.deploy(&values, &["--yes"]).ok();

    // helm reads what it has stored before it does anything, and cannot any more.
    command("kubectl").args(["delete", "crd", "oddities.dr-lab.example.org"]).run().ok();
    std::fs::remove_dir_all(site.chart.join("crds")).unwrap();
    std::fs::remove_file(site.chart.join("templates/more.yaml")).unwrap();
    let second = site.values("second", "");
    let words =
        ["revision 1 of opschain, as helm has stored it", "Oddity of dr-lab.example.org/v1", "helm mapkubeapis"];
    site.deploy(&second, &["--dry-run"]).fails(12, &words);
    site.deploy(&second, &["--yes"]).fails(12, &words);
    let chart = site.chart.to_str().unwrap();
    let helm = command("helm").args(["upgrade", "opschain", chart, "-n", &site.host.namespace, "-f", &second]).run();
    assert!(helm.code != 0, "helm would have refused it, too: {helm}");
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_killed_upgrade_is_explained_and_repaired_and_taken_back() {
    let site = Site::new("deploy-killed");
    let (first, held) = (site.values("first", ""), site.values("held", "hold: true\n"));
    site.deploy(&first, &["--yes"]).ok();
    let mut dr = site.begin(&held, "pending-upgrade");
    dr.kill().unwrap();
    dr.wait().unwrap();
    // helm outlived its dr, and is seen.
    let second = site.values("second", "");
    let process = site.helm_process().unwrap().to_string();
    let alive = site.deploy(&second, &["--dry-run"]);
    assert!(alive.stdout.contains("pending-upgrade") && alive.stdout.contains(&process), "{alive}");
    site.kill_helm();
    let lease = format!("lease/dr-{}", "opschain");
    let stuck = site.deploy(&second, &["--dry-run"]);
    assert!(stuck.stdout.contains("the lease is held by deploy-"), "{stuck}");
    // As if a minute had passed; the other test lets it pass.
    site.host.kubectl(&["delete", &lease]).ok();
    site.deploy(&second, &["--yes"])
        .fails(27, &["Revision 2 is pending-upgrade", "of operator@", "It is dead", "--confirm=opschain"]);
    assert_eq!(site.note(), "first", "nothing was changed");
    site.deploy(&second, &["--yes", "--confirm", "opschain", "-m", "after the crash"]).ok();
    assert_eq!(site.note(), "second");
    assert_eq!(site.history(), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
    let row = |state: &str, how: &str| (state.to_owned(), how.to_owned());
    assert_eq!(site.log(), [row("deployed", "deploy"), row("interrupted", "deploy"), row("deployed", "deploy")]);

    // helm's memory is somebody else's; the chart is gone from where it was. The vault has both.
    let by_hand =
        ["upgrade", "opschain", site.chart.to_str().unwrap(), "-n", &site.host.namespace, "--set", "note=hand"];
    command("helm").args(by_hand).run().ok();
    std::fs::remove_dir_all(&site.chart).unwrap();
    let rollback = site.host.dr(["deploy", "rollback", "rev:1", "--yes", "-m", "the second was wrong", "--debug"]);
    for secret in SECRETS {
        assert!(!rollback.stdout.contains(secret) && !rollback.stderr.contains(secret), "{secret} said by {rollback}");
    }
    assert!(rollback.stderr.contains("helm | ") && rollback.stderr.contains("MANIFEST:"), "{rollback}");
    rollback.ok();
    assert_eq!(site.note(), "first");
    let shown: Value = serde_json::from_str(&site.host.dr(["-o", "json", "config", "show", "live"]).ok()).unwrap();
    let why = shown["record"]["why"].as_str().unwrap();
    assert!(why.starts_with("back to ") && why.ends_with(": the second was wrong"), "{why}");
    assert_eq!((&shown["record"]["how"], &shown["outcome"]["helm_revision"]), (&"rollback".into(), &4.into()));
    let bytes = site.host.dr(["config", "cat", "live"]).ok();
    assert_eq!(bytes, std::fs::read_to_string(&first).unwrap(), "byte for byte");
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_killed_first_install_on_a_host_without_a_key_is_repaired() {
    let site = Site::new("deploy-first");
    let identity = site.host.setting("keys", "identity");
    let settings = site.host.home.path().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let text = text.replace("\nidentity = ", "\n# identity = ");
    // The other test has helm 4 of it.
    assert!(text.contains("\n[helm]\n"), "{text}");
    std::fs::write(&settings, text.replace("\n[helm]\n", "\n[helm]\nbinary = \"helm3\"\n")).unwrap();
    let kept = site.host.home.path().join("kept-elsewhere");
    std::fs::rename(&identity, &kept).unwrap();

    let held = site.values("held", "hold: true\n");
    let mut dr = site.begin(&held, "pending-install");
    dr.kill().unwrap();
    dr.wait().unwrap();
    site.kill_helm();
    // The lease of the dead process is waited for.
    let first = site.values("first", "");
    site.deploy(&first, &["--yes", "--confirm", "opschain"]).ok();
    assert_eq!(site.note(), "first");
    assert_eq!(site.history(), [(1, "deployed".to_owned())]);
    let row = |state: &str| (state.to_owned(), "deploy".to_owned());
    assert_eq!(site.log(), [row("deployed"), row("interrupted")]);

    // Without a key, what helm has is what a guarded key must not differ from.
    let file = site.values("changed", "");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(SECRETS[0], "other-Hb5kP8yE3uJ6")).unwrap();
    site.deploy(&file, &["--yes"]).fails(26, &["env.PGPASSWORD differs from the live value"]);
    // Layers, and all of helm's words.
    let over = site.host.home.path().join("over.yaml");
    std::fs::write(&over, "note: layered\n").unwrap();
    let more = ["-f", over.to_str().unwrap(), "--set", "extra=1", "--yes", "-v"];
    let layered = site.deploy(&first, &more);
    assert!(layered.stderr.contains("MANIFEST:") && layered.stderr.contains("left out"), "{layered}");
    layered.ok();
    assert_eq!(site.note(), "layered");
    // Elsewhere the key opens all of it.
    std::fs::rename(&kept, &identity).unwrap();
    std::fs::write(&settings, text_with_identity(&settings)).unwrap();
    let merged = site.host.dr(["config", "cat", "live"]).ok();
    let merged: Value = serde_json::from_str(&merged).unwrap();
    assert_eq!((&merged["note"], &merged["extra"]), (&"layered".into(), &1.into()));
    let all = site.host.kubectl(&["get", "configmap", "tiny", "-o", "jsonpath={.data.all}"]).ok();
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!((&all["note"], &all["env"]), (&merged["note"], &merged["env"]), "helm read what the vault proves");
}

fn text_with_identity(settings: &Path) -> String {
    std::fs::read_to_string(settings).unwrap().replace("\n# identity = ", "\nidentity = ")
}

impl Site {
    /// Puts the chart into the lab's registry, as each of these releases.
    ///
    /// The registry outlives a run of the tests: each has a place of its own there.
    fn publish(&self, versions: &[&str]) -> String {
        let home = self.host.home.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let place = format!("{}{}", self.host.namespace, home.replace('.', "-"));
        let registry = format!("oci://{}/{place}", crate::host::lab("LAB_REGISTRY"));
        let folder = self.host.home.path().join("packed");
        for version in versions {
            self.chart(version);
            let pack = ["package", self.chart.to_str().unwrap(), "-d", folder.to_str().unwrap()];
            command("helm").args(pack).run().ok();
            let number = version.parse::<dr::internals::opschain::Version>().unwrap().chart().unwrap();
            let packed = folder.join(format!("tiny-{number}.tgz"));
            command("helm").args(["push", packed.to_str().unwrap(), &registry]).run().ok();
        }
        format!("{registry}/tiny")
    }
}

#[test]
#[ignore = "needs the lab: make live"]
fn an_upgrade_deploys_each_release_on_the_way_and_goes_on_after_one_that_failed() {
    let site = Site::new("deploy-through");
    let first = site.values("first", "");
    site.deploy(&first, &["--yes"]).ok();
    // Refused by its chart until somebody has done what the release asks for.
    let asks =
        "{{- if not (lookup \"v1\" \"ConfigMap\" .Release.Namespace \"done\") }}{{ fail \"not done yet\" }}{{ end }}\n";
    let chart = site.publish(&["2026-09-10", "2026-10-08"]);
    let upgrade = |more: &[&str]| {
        let fixed = ["-o", "json", "deploy", "upgrade", "--version", "2026-10-08", "--chart", &chart];
        site.host.dr(fixed.iter().chain(more).copied())
    };
    upgrade(&["--yes"]).fails(11, &["the chart of 2026-09-14", "--leave-out 2026-09-14"]);
    assert_eq!(site.history().len(), 1, "nothing was changed");
    std::fs::write(site.chart.join("templates/asks.yaml"), asks).unwrap();
    site.publish(&["2026-09-14"]);

    let path: Value = serde_json::from_str(&upgrade(&["--dry-run"]).ok()).unwrap();
    let versions: Vec<&str> =
        path["releases"].as_array().unwrap().iter().map(|release| release["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["2026-09-10", "2026-09-14", "2026-10-08"]);
    assert!(path["releases"][0]["note"].as_str().unwrap().contains("LDAP"), "{path}");
    assert_eq!(site.history().len(), 1, "a dry run changes nothing");

    upgrade(&["--yes"]).fails(
        11,
        &[
            "the upgrade to 2026-10-08 ended at 2026-09-14; 2026-09-10 was live before",
            "not done yet",
            "dr deploy upgrade --version 2026-10-08",
        ],
    );
    site.host.kubectl(&["create", "configmap", "done"]).ok();
    let report: Value = serde_json::from_str(&upgrade(&["--yes"]).ok()).unwrap();
    assert_eq!((&report["from"], report["deployments"].as_array().unwrap().len()), (&"2026-09-10".into(), 2));
    let live = site.host.kubectl(&["get", "configmap", "tiny", "-o", "jsonpath={.data.all}"]).ok();
    let live: Value = serde_json::from_str(&live).unwrap();
    assert_eq!((&live["note"], &live["env"]["OPSCHAIN_VERSION"]), (&"first".into(), &"2026-10-08".into()));
    assert_eq!(live["env"]["PGPASSWORD"], SECRETS[0], "the values are those that were live");
    let states: Vec<String> = site.log().into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, ["deployed", "deployed", "failed", "deployed", "deployed"]);
    let again: Value = serde_json::from_str(&upgrade(&["--yes"]).ok()).unwrap();
    assert!(again["deployments"].as_array().unwrap().is_empty(), "it is live: {again}");
}

/// A broken ssh: the HUP reaches dr, which tells helm to stop and writes down what came of it, though nobody can be told.
#[test]
#[ignore = "needs the lab: make live"]
fn a_deployment_whose_terminal_goes_away_is_stopped_and_noted() {
    let site = Site::new("deploy-hup");
    let (first, held) = (site.values("first", ""), site.values("held", "hold: true\n"));
    site.deploy(&first, &["--yes"]).ok();
    let mut dr = site.begin(&held, "pending-upgrade");
    command("kill").args(["-HUP", &dr.id().to_string()]).run().ok();
    wait(Duration::from_secs(60), "dr to end", || dr.try_wait().unwrap().is_some());
    assert_eq!(dr.wait().unwrap().code(), Some(129));
    let is_noted = |site: &Site| {
        assert_eq!(site.helm_process(), None, "helm has ended before its dr");
        assert_eq!(site.history().last().unwrap().1, "failed");
        assert_eq!(site.log()[0], ("interrupted".to_owned(), "deploy".to_owned()));
    };
    is_noted(&site);
    let words = format!("deploy -f {held} --chart {} --yes", site.chart.display());
    let mut terminal = site.host.in_a_terminal(&words);
    wait(Duration::from_secs(60), "pending-upgrade", || site.history().last().unwrap().1 == "pending-upgrade");
    let entries = site.log().len();
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    wait(Duration::from_secs(60), "the deployment to be noted", || {
        site.log()[0].0 == "interrupted" && site.helm_process().is_none()
    });
    assert_eq!(site.log().len(), entries);
    is_noted(&site);
    site.deploy(&first, &["--yes"]).ok();
}
