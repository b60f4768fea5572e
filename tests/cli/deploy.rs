//! What `dr deploy` says and refuses before it touches a cluster. helm is a stand-in that answers from files; the vault
//! is real, and what is live stands in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use dr::internals::crypt::{Identities, Signer};
use dr::internals::values::overlay::{Layer, LayerKind};
use dr::internals::vault::{
    CommitSigner, DeploymentId, DeploymentOutcome, DeploymentStatus, FORMAT, How, Intent, RecordedChart,
    RecordedInstall, Vault,
};

/// Answers from the files of its folder, and writes down what it is asked.
const HELM: &str = r#"#!/bin/sh
at='FOLDER'
echo "$*" >> "$at/asked"
case "$1" in
    version) echo v4.1.4 ;;
    history) [ -f "$at/history.json" ] && cat "$at/history.json" || { echo 'Error: release: not found' >&2; exit 1; } ;;
    get) case "$*" in *manifest*) echo ;; *) cat "$at/values.json" ;; esac ;;
    show) cat "$at/chart-$4.yaml" ;;
    pull)
        [ -f "$at/pulled.tgz" ] || { echo 'Error: no registry here' >&2; exit 1; }
        while [ "$1" != --destination ]; do shift; done
        cp "$at/pulled.tgz" "$2/opschain-2026.8.20.tgz"
        echo "Digest: sha256:$(cat "$at/pulled.digest")" ;;
    upgrade)
        case "$*" in *--dry-run*) ;; *) echo 'Error: only rendered in this test' >&2; exit 1 ;; esac
        cat > /dev/null
        echo '{"name":"opschain","manifest":"","hooks":[]}' ;;
    *) echo "Error: $1 is not for this test" >&2; exit 1 ;;
esac
"#;

const LIVE: &str = "\
# as it was first written
api: {replicas: 1}
env:
  OPSCHAIN_VERSION: \"2026-08-20\"
  OPSCHAIN_PRIMARY_KEY: 'k7Qz0vJ3mX9bT5wR2nY8cL4pH6sD1fGa'
  PGPASSWORD: 'pw-Zt4mQ9xW2rV7'
  OPSCHAIN_DOCKER_USER: pull-user
  OPSCHAIN_DOCKER_PASSWORD: 'dckr_pat_u8Nf3Lq1'
";
const SECRETS: [&str; 4] =
    ["k7Qz0vJ3mX9bT5wR2nY8cL4pH6sD1fGa", "pw-Zt4mQ9xW2rV7", "dckr_pat_u8Nf3Lq1", "other-Hb5kP8yE3uJ6"];

/// A home with settings, keys, a vault and the stand-in.
struct Site {
    home: tempfile::TempDir,
}

struct Ran {
    code: i32,
    said: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}\n--- stderr\n{}", text(&output.stdout), text(&output.stderr));
        for secret in SECRETS {
            assert!(!said.contains(secret), "{secret} in the open: {said}");
        }
        Self { code: output.status.code().unwrap(), said }
    }

    #[track_caller]
    fn ends(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.said);
        // Lines are broken to fit; a break is no difference.
        let flat = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "does not say `{word}`: {}", self.said);
        }
    }
}

impl Site {
    fn new() -> Self {
        let site = Self { home: tempfile::tempdir().unwrap() };
        site.dr(&["init"]).ends(0, &[]);
        let helm = site.path("helm");
        std::fs::write(&helm, HELM.replace("FOLDER", site.home.path().to_str().unwrap())).unwrap();
        std::fs::set_permissions(&helm, std::fs::Permissions::from_mode(0o755)).unwrap();
        site.settings("[helm]", &format!("[helm]\nbinary = {:?}", helm.to_str().unwrap()));
        let live = dr::internals::values::Tree::parse(LIVE.as_bytes()).unwrap();
        site.write("values.json", &live.to_json().to_string());
        site.write("chart.tgz", "the stand-in never unpacks it");
        site.chart("2026.8.20");
        site.write("chart-values.yaml", "db: {cnpg: {clusterName: opschain-db}}\n");
        site
    }

    /// A site where a deployment of [`LIVE`] is live.
    fn with_live() -> (Self, DeploymentId) {
        let site = Self::new();
        let id = site.record("2026-08-20T10:00:00Z", LIVE, "2026-08-20", Some(b"the archive"));
        site.history(&[(1, "deployed", &format!("dr {id}"))]);
        (site, id)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn chart(&self, version: &str) {
        self.write("chart-chart.yaml", &format!("apiVersion: v2\nname: opschain\nversion: {version}\n"));
    }

    fn settings(&self, from: &str, to: &str) {
        let path = self.path(".config/dr/dr.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn setting(&self, section: &str, key: &str) -> PathBuf {
        let text = std::fs::read_to_string(self.path(".config/dr/dr.toml")).unwrap();
        let settings: toml::Value = toml::from_str(&text).unwrap();
        self.path(".config/dr").join(settings[section][key].as_str().unwrap())
    }

    fn history(&self, rows: &[(u32, &str, &str)]) {
        let row = |(revision, status, description): &(u32, &str, &str)| {
            serde_json::json!({"revision": revision, "updated": "2026-08-20T10:00:30Z", "status": status,
                "chart": "opschain-2026.8.20", "app_version": "", "description": description})
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        self.write("history.json", &serde_json::to_string(&rows).unwrap());
    }

    fn vault(&self) -> Vault {
        let signer = Signer::load(&self.setting("keys", "signing_key")).unwrap();
        let sign: CommitSigner = Arc::new(move |bytes| signer.sign("git", bytes).map_err(|e| e.to_string()));
        Vault::open(&self.setting("vault", "path"), sign).unwrap()
    }

    /// Writes a deployment into the vault, as one that went live.
    fn record(&self, at: &str, values: &str, version: &str, chart: Option<&[u8]>) -> DeploymentId {
        let at = at.parse().unwrap();
        let chart_version = version.parse::<dr::internals::opschain::Version>().unwrap().chart().unwrap();
        let intent = Intent {
            install: RecordedInstall {
                namespace: "opschain".parse().unwrap(),
                release: "opschain".parse().unwrap(),
                context: None,
                cluster: None,
            },
            at,
            by: "operator@there".into(),
            why: None,
            how: How::Deploy,
            opschain_version: Some(version.into()),
            chart: RecordedChart {
                name: "opschain".into(),
                version: chart_version,
                app_version: None,
                reference: "oci://registry.example.test/opschain".into(),
                digest: Some("sha256:0123".into()),
            },
            helm: None,
            operator: None,
            bundle_before: None,
        };
        let id =
            self.vault().record_layers(intent, &[Layer::new(LayerKind::Values, values.as_bytes())], chart).unwrap();
        let outcome = DeploymentOutcome {
            format: FORMAT,
            id: id.clone(),
            at,
            status: DeploymentStatus::Deployed,
            helm_revision: None,
            images: Vec::new(),
            seconds: 1.0,
            error: None,
        };
        self.vault().record_outcome(outcome, "operator@there").unwrap();
        id
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr"));
        command.args(args);
        self.settle(&mut command);
        command
    }

    fn settle(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.home.path()).env("DR_WHO", "operator").env("PATH", "/usr/bin:/bin");
        command.env("KUBECONFIG", "/nonexistent/kubeconfig").current_dir(self.home.path()).stdin(Stdio::null());
    }

    fn dr(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    /// Plans a deployment of values, and no more.
    fn plan(&self, values: &str, more: &[&str]) -> Ran {
        let file = self.write("values.yaml", values);
        let mut args = vec!["deploy", "-f", &file, "--chart", "chart.tgz", "--dry-run"];
        args.extend(more);
        self.dr(&args)
    }

    /// The plan as JSON; it must be one that nothing stands against.
    fn plan_json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.command(&[&["--output", "json", "deploy"], args].concat()).output().unwrap();
        Ran::of(&output).ends(0, &[]);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_guarded_key_that_changes_is_refused_until_its_path_is_given() {
    let (site, _) = Site::with_live();
    assert_eq!(site.plan(LIVE, &[]).code, 0);
    for (from, to, act) in [
        ("'pw-Zt4mQ9xW2rV7'", "'other-Hb5kP8yE3uJ6'", "env.PGPASSWORD differs from the live value"),
        ("'pw-Zt4mQ9xW2rV7'", "''", "env.PGPASSWORD is blank"),
        ("  PGPASSWORD: 'pw-Zt4mQ9xW2rV7'\n", "", "env.PGPASSWORD is gone"),
        ("api:", "db: {cnpg: {clusterName: site-b}}\napi:", "db.cnpg.clusterName differs"),
    ] {
        let changed = LIVE.replace(from, to);
        let allow = act.split(' ').next().unwrap();
        site.plan(&changed, &[]).ends(26, &[act, "never change", "dr config cat live", &format!("--allow {allow}")]);
        site.plan(&changed, &["--allow", allow]).ends(0, &[]);
        site.plan(&changed, &["--allow", "env.OPSCHAIN_PRIMARY_KEY"]).ends(26, &[act]);
    }
    // --yes answers plain questions, not this one.
    let file = site.write("values.yaml", &LIVE.replace("pw-Zt4mQ9xW2rV7", "other-Hb5kP8yE3uJ6"));
    site.dr(&["deploy", "-f", &file, "--chart", "chart.tgz", "--yes"]).ends(26, &["env.PGPASSWORD"]);
}

#[test]
fn helm_is_asked_each_thing_once() {
    let (site, _) = Site::with_live();
    std::fs::remove_file(site.path("asked")).unwrap_or_default();
    site.plan(LIVE, &[]).ends(0, &[]);
    let asked = std::fs::read_to_string(site.path("asked")).unwrap();
    let of = |words: &[&str]| asked.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    let verbs: [&[&str]; 7] = [
        &["version"],
        &["history"],
        &["get", "values"],
        &["get", "manifest"],
        &["show", " chart "],
        &["show", " values "],
        &["upgrade"],
    ];
    // Two charts are asked for their values: the new one, and the live one, which a guarded key was left to.
    assert_eq!(verbs.map(of), [1, 1, 1, 1, 1, 2, 1], "{asked}");
}

#[test]
fn on_a_terminal_the_path_of_the_key_is_typed() {
    let (site, _) = Site::with_live();
    site.write("values.yaml", &LIVE.replace("pw-Zt4mQ9xW2rV7", "other-Hb5kP8yE3uJ6"));
    let typed = |answers: &str| {
        let line = format!("{} deploy -f values.yaml --chart chart.tgz", env!("CARGO_BIN_EXE_dr"));
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]);
        site.settle(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answers.as_bytes()).unwrap();
        Ran::of(&child.wait_with_output().unwrap())
    };
    typed("y\n").ends(26, &["Type env.PGPASSWORD", "must never change"]);
    typed("env.PGPASSWORD\nn\n").ends(27, &["Deploy to release opschain", "nothing was changed"]);
}

#[test]
fn without_an_identity_the_live_values_are_those_that_helm_has() {
    let (site, id) = Site::with_live();
    let key = site.setting("keys", "identity");
    std::fs::remove_file(&key).unwrap();
    site.settings("\nidentity = ", "\n# identity = ");
    let same = site.plan(LIVE, &[]);
    same.ends(0, &["compared with what helm has stored", id.as_str()]);
    let changed = LIVE.replace("pw-Zt4mQ9xW2rV7", "other-Hb5kP8yE3uJ6");
    site.plan(&changed, &[]).ends(26, &["env.PGPASSWORD differs"]);
    site.dr(&["deploy", "rollback", "--dry-run"]).ends(15, &["needs an identity"]);
}

#[test]
fn after_a_stranger_the_guard_minds_what_helm_has_too() {
    let (site, id) = Site::with_live();
    site.history(&[(1, "superseded", &format!("dr {id}")), (2, "deployed", "Upgrade complete")]);
    site.write("values.json", r#"{"env":{"PGPASSWORD":"other-Hb5kP8yE3uJ6"}}"#);
    site.plan(LIVE, &[]).ends(26, &["env.PGPASSWORD differs"]);
}

#[test]
fn versions_go_forward_one_release_at_a_time() {
    let (site, _) = Site::with_live();
    let version = |version: &str, more: &[&str]| {
        site.chart(&version.parse::<dr::internals::opschain::Version>().unwrap().chart().unwrap());
        site.plan(&LIVE.replace("2026-08-20", version), more)
    };
    version("2026-09-10", &[]).ends(0, &["2026-09-10, from 2026-08-20", "2026-09-10: the LDAP server"]);
    version("2026-10-08", &[]).ends(0, &["leaves out 2026-09-10, 2026-09-14"]);
    version("2026-08-14", &[])
        .ends(19, &["2026-08-20 is live", "dr bundle restore --version 2026-08-14", "--allow version"]);
    version("2026-08-14", &["--allow", "version"]).ends(0, &[]);
    site.settings("[deploy]", "[deploy]\nskipped_releases = \"refuse\"");
    version("2026-10-08", &[])
        .ends(19, &["leaves out 2026-09-10, 2026-09-14", "2026-10-08: a changed", "--allow skipped-releases"]);
    version("2026-10-08", &["--allow", "skipped-releases"]).ends(0, &[]);
}

#[test]
fn new_registry_credentials_and_a_new_version_are_two_deployments() {
    let (site, _) = Site::with_live();
    let credentials = LIVE.replace("dckr_pat_u8Nf3Lq1", "other-Hb5kP8yE3uJ6");
    site.plan(&credentials, &[]).ends(0, &[]);
    site.chart("2026.9.10");
    let both = credentials.replace("2026-08-20", "2026-09-10");
    site.plan(&both, &[]).ends(19, &["env.OPSCHAIN_DOCKER_PASSWORD and env.OPSCHAIN_VERSION", "--allow credentials"]);
    site.plan(&both, &["--allow", "credentials"]).ends(0, &[]);
}

#[test]
fn layers_are_compared_as_helm_merges_them() {
    let (site, _) = Site::with_live();
    site.write("base.yaml", LIVE);
    site.write("site.yaml", "api: {replicas: 3}\n");
    site.write("password", "pw-Zt4mQ9xW2rV7");
    let args = ["-f", "base.yaml", "-f", "site.yaml", "--set", "apiWorker.replicas=2", "--set-file"];
    let args = [&args[..], &["env.PGPASSWORD=password", "--chart", "chart.tgz", "--dry-run"]].concat();
    let plan = site.plan_json(&args);
    assert_eq!(plan["values"], "base.yaml + site.yaml + --set + --set-file env.PGPASSWORD");
    let paths: Vec<String> =
        plan["diff"]["changes"].as_array().unwrap().iter().map(|change| change["path"].to_string()).collect();
    assert!(paths.iter().all(|path| path.contains("replicas") || path.contains("apiWorker")), "{paths:?}");
    assert_eq!(paths.len(), 2, "{paths:?}");
}

#[test]
fn what_is_not_read_is_deployed_as_it_is_once_that_is_allowed() {
    let (site, _) = Site::with_live();
    let text = format!("{LIVE}deep: {}{}\n", "[".repeat(1_600), "]".repeat(1_600));
    site.plan(&text, &[]).ends(1, &["does not read this file", "--allow not-read"]);
    let read = site.plan(&text, &["--allow", "not-read", "--version", "2026-08-20"]);
    read.ends(0, &["+deep: ••••••••#"]);
    let lost = text.replace("PGPASSWORD: 'pw-Zt4mQ9xW2rV7'", "PGPASSWORD: 'other-Hb5kP8yE3uJ6'");
    site.plan(&lost, &["--allow", "not-read", "--version", "2026-08-20"]).ends(26, &["env.PGPASSWORD is not found"]);
}

#[test]
fn what_helm_would_take_and_no_record_could_hold_is_refused() {
    let (site, _) = Site::with_live();
    let set = ["--set", "env.PGPASSWORD=other-Hb5kP8yE3uJ6"];
    site.plan(LIVE, &set).ends(64, &["env.PGPASSWORD is a secret", "--set-file env.PGPASSWORD=FILE"]);
    site.plan(LIVE, &["--reuse-values"]).ends(64, &["those that helm remembers", "dr config cat live"]);
    site.plan(LIVE, &["--reset-then-reuse-values"]).ends(64, &["those that helm remembers"]);
}

#[test]
fn a_rollback_takes_values_and_chart_out_of_the_vault() {
    let (site, first) = Site::with_live();
    let second =
        site.record("2026-08-21T10:00:00Z", &LIVE.replace("replicas: 1", "replicas: 4"), "2026-08-20", Some(b"x"));
    site.history(&[(1, "superseded", &format!("dr {first}")), (2, "deployed", &format!("dr {second}"))]);
    let plan = site.plan_json(&["rollback", "--dry-run"]);
    assert_eq!(plan["how"], "rollback");
    assert_eq!(plan["values"], format!("the values of {first}"));
    assert_eq!(plan["live"], second.as_str());
    let change = &plan["diff"]["changes"][0];
    assert_eq!((&change["old"]["value"], &change["new"]["value"]), (&4.into(), &1.into()), "{plan}");
    let asked = std::fs::read_to_string(site.path("asked")).unwrap();
    assert!(!asked.contains("pull"), "no registry: {asked}");
    assert_eq!(plan["compared_with"], "vault", "not helm's memory: {plan}");
    site.dr(&["deploy", "rollback", "nonsense", "--dry-run"]).ends(14, &["nonsense"]);
}

#[test]
fn a_rollback_never_brings_an_older_version_back() {
    let (site, first) = Site::with_live();
    let second =
        site.record("2026-09-10T10:00:00Z", &LIVE.replace("2026-08-20", "2026-09-10"), "2026-09-10", Some(b"x"));
    site.history(&[(1, "superseded", &format!("dr {first}")), (2, "deployed", &format!("dr {second}"))]);
    site.dr(&["deploy", "rollback", "--dry-run"])
        .ends(19, &["2026-09-10 is live, and 2026-08-20 is older", "dr bundle restore --version 2026-08-20"]);
    site.dr(&["deploy", "rollback", "--dry-run", "--allow", "version"]).ends(0, &[]);
}

#[test]
fn a_chart_that_was_not_recorded_is_pulled_and_proved() {
    let site = Site::new();
    let first = site.record("2026-08-20T10:00:00Z", LIVE, "2026-08-20", None);
    let second = site.record("2026-08-21T10:00:00Z", &format!("{LIVE}# more\n"), "2026-08-20", Some(b"x"));
    site.history(&[(1, "superseded", &format!("dr {first}")), (2, "deployed", &format!("dr {second}"))]);
    let rollback = ["deploy", "rollback", "--dry-run"];
    site.dr(&rollback).ends(11, &["fetch chart oci://registry.example.test/opschain", "no registry here", "--chart"]);
    site.write("pulled.tgz", "a chart");
    site.write("pulled.digest", "0123");
    site.dr(&rollback).ends(0, &[]);
    site.write("pulled.digest", "4567");
    site.dr(&rollback).ends(17, &["sha256:4567, and sha256:0123 was deployed"]);
    site.write("pulled.digest", "0123");
    site.chart("2026.9.10");
    site.dr(&rollback).ends(17, &["opschain 2026.9.10, and opschain 2026.8.20 was deployed"]);
}

#[test]
fn layers_are_kept_apart_in_the_vault_and_proved_together() {
    use sha2::{Digest, Sha256};

    let site = Site::new();
    let first = site.record("2026-08-20T10:00:00Z", LIVE, "2026-08-20", None);
    let vault = site.vault();
    let install = RecordedInstall {
        namespace: "opschain".parse().unwrap(),
        release: "opschain".parse().unwrap(),
        context: None,
        cluster: None,
    };
    let intent = |at: &str| Intent {
        install: install.clone(),
        at: at.parse().unwrap(),
        by: "operator@there".into(),
        why: None,
        how: How::Deploy,
        opschain_version: None,
        chart: RecordedChart {
            name: "c".into(),
            version: "1".into(),
            app_version: None,
            reference: "c".into(),
            digest: None,
        },
        helm: None,
        operator: None,
        bundle_before: None,
    };
    let layer = |kind, name: Option<&str>, text: &'static str| Layer {
        name: name.map(str::to_owned),
        ..Layer::new(kind, text)
    };
    let layers = [
        layer(LayerKind::Values, Some("base.yaml"), LIVE),
        layer(LayerKind::Values, Some("site.yaml"), "api: {replicas: 3}"),
        layer(LayerKind::SetFile, Some("env.PGPASSWORD"), "env.PGPASSWORD=line one\nline two\n"),
    ];
    let id = vault.record_layers(intent("2026-08-22T10:00:00Z"), &layers, None).unwrap();
    let again = vault.record_layers(intent("2026-08-23T10:00:00Z"), &layers, None).unwrap();
    let identities = Identities::load(&site.setting("keys", "identity"), || None).unwrap();
    let found = vault.resolve(&install, id.as_str()).unwrap();
    let files: Vec<&str> = found.record.layers.iter().map(|layer| layer.sealed.file.as_str()).collect();
    assert_eq!(files, ["values.yaml.age", "values-1.yaml.age", "values-2.txt.age"]);
    let opened = vault.layers(&found, &identities).unwrap();
    for (given, found) in layers.iter().zip(&opened) {
        assert_eq!((given.kind, &given.name, &given.bytes), (found.kind, &found.name, &found.bytes));
    }
    let merged = vault.values(&found, &identities).unwrap();
    let tree = dr::internals::values::Tree::parse(&merged).unwrap();
    assert_eq!(tree.text(&["env", "PGPASSWORD"]), Some("line one\nline two\n"));
    assert_eq!(tree.get(&["api", "replicas"]).unwrap().to_json(), 3);
    // What is the same is stored once; what a short layer holds cannot be guessed from its digest.
    let (one, two) =
        (vault.resolve(&install, first.as_str()).unwrap(), vault.resolve(&install, again.as_str()).unwrap());
    assert_eq!(found.record.layers[0].sealed.sealed_sha256, one.record.layers[0].sealed.sealed_sha256);
    for (layer, again) in found.record.layers.iter().zip(&two.record.layers) {
        assert_eq!(layer.sealed.sealed_sha256, again.sealed.sealed_sha256);
    }
    for (layer, given) in found.record.layers.iter().zip(&layers).skip(1) {
        assert_ne!(layer.sealed.sha256, hex::encode(Sha256::digest(&given.bytes)));
    }
    let other = [
        layers[0].clone(),
        layers[1].clone(),
        layer(LayerKind::SetFile, Some("env.PGPASSWORD"), "env.PGPASSWORD=other"),
    ];
    let other = vault.record_layers(intent("2026-08-24T10:00:00Z"), &other, None).unwrap();
    let other = vault.resolve(&install, other.as_str()).unwrap();
    assert_ne!(found.record.layers[1].sealed.sha256, other.record.layers[1].sealed.sha256, "it hangs on them all");
    assert_eq!(found.values_sha256(), two.values_sha256());
    let cat = |more: &[&str]| {
        let output = site.command(&[&["config", "cat", id.as_str()], more].concat()).output().unwrap();
        (output.status.code().unwrap(), output.stdout)
    };
    assert_eq!(cat(&["--layer", "1"]), (0, layers[1].bytes.to_vec()), "no newline is added");
    assert_eq!(cat(&["--layer", "2"]), (0, layers[2].bytes.to_vec()));
    assert_eq!(cat(&[]), (0, merged.to_vec()));
    assert_eq!(cat(&["--layer", "3"]).0, 14);
    let whole = found.record.merged_sha256.clone().unwrap();
    let shown = ["set-file env.PGPASSWORD, 33 B", "values site.yaml, 18 B", &whole];
    site.dr(&["config", "show", id.as_str()]).ends(0, &shown);
    // A record that says otherwise of the whole is not believed.
    let mut forged = found.clone();
    forged.record.layers.swap(0, 1);
    let error = vault.values(&forged, &identities).unwrap_err();
    assert!(error.to_string().contains("do not make the values that were deployed"), "{error}");
}

#[test]
fn the_stand_in_is_asked_nothing_that_tells_a_secret() {
    let (site, _) = Site::with_live();
    site.plan(LIVE, &[]).ends(0, &[]);
    let asked = std::fs::read_to_string(site.path("asked")).unwrap();
    for secret in SECRETS {
        assert!(!asked.contains(secret), "{asked}");
    }
    assert!(Path::new(&site.path("asked")).exists());
}
