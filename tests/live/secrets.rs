//! No secret in the open, with a real cluster, helm, git and database: two hundred canaries of every shape in the values,
//! as many in Secrets, more in what somebody has edited by hand; then the verbs that `tests/cli/canaries` can only see
//! fail do their work here, and fail half way. None of the canaries, and no key of the install, may be seen anywhere.

#[path = "../canaries/find.rs"]
mod find;
#[path = "../canaries/plant.rs"]
mod plant;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::{Host, Ran, VERSION, command, lab};
use find::{Finder, Watcher, processes};
use plant::{Canary, block, canaries};

/// Others than those of `tests/cli`, which may run at the same time on this machine: of the first values, the second,
/// the Secrets, and what is edited by hand.
const ROUNDS: [usize; 4] = [10, 11, 12, 13];
/// What lets odd values through, and goes over what was edited by hand.
const ALLOW: [&str; 8] =
    ["--allow", "secret-not-text", "--allow", "secret-blank", "--allow", "credentials", "--allow", "drift"];

struct Site {
    host: Host,
    /// Where `dr` and its children put temporary files.
    tmp: TempDir,
    finder: Arc<Finder>,
    found: BTreeSet<String>,
    /// What did not end as it should, so that it proves nothing.
    odd: Vec<String>,
    chart: String,
}

impl Site {
    /// Runs `dr` with all that it can say, and notes what is seen in it.
    fn ran(&mut self, fault: &str, args: &[&str]) -> Ran {
        let all = [&["-vv"], args].concat();
        let log = self.host.home.path().join("dr.log");
        let command =
            self.host.dr_command(all).env("TMPDIR", self.tmp.path()).env("DR_LOG_FILE", log.to_str().unwrap());
        let ran = command.env("DR_FAULT", fault).run();
        for (name, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
            self.finder.note(text.as_bytes(), &format!("{name} of `dr {}`", args.join(" ")), &mut self.found);
        }
        assert!(!ran.stderr.contains("panicked"), "`dr {}` panicked", args.join(" "));
        ran
    }

    /// Runs it, and looks at the exit code.
    fn dr(&mut self, code: i32, args: &[&str]) {
        let ran = self.ran("", args);
        if ran.code != code {
            self.odd.push(format!("dr {}: not {code} but {}", args.join(" "), complaint(&ran)));
        }
    }

    /// The same for people and for programs.
    fn both(&mut self, code: i32, args: &[&str]) {
        self.dr(code, args);
        self.dr(code, &[&["--output", "json"], args].concat());
    }

    /// Runs it, and it fails at this point.
    fn fails_at(&mut self, point: &str, args: &[&str]) {
        let ran = self.ran(&format!("{point}:before=fail"), args);
        if ran.code != 1 || !ran.stderr.contains("fault asked for") {
            self.odd.push(format!("dr {}: not the fault but {}", args.join(" "), complaint(&ran)));
        }
    }

    fn deploy(&mut self, code: i32, file: &Path, more: &[&str]) {
        let chart = self.chart.clone();
        let args = ["deploy", "-f", file.to_str().unwrap(), "--version", VERSION, "--chart", &chart];
        self.dr(code, &[&args[..], &ALLOW, more].concat());
    }

    /// Writes an operator's values file with these canaries in it.
    fn values(&self, name: &str, canaries: &[Canary]) -> PathBuf {
        let made = self.host.values(VERSION);
        let text = std::fs::read_to_string(&made).unwrap() + &block(canaries);
        std::fs::remove_file(made).unwrap();
        let path = self.host.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Which canaries of a round are in there.
    fn seen(&self, text: &[u8], round: usize) -> usize {
        let of = format!(" of {round} (");
        let labels = self.finder.find(text);
        labels
            .iter()
            .filter(|label| label.contains(&of))
            .filter_map(|label| label.split(' ').nth(1))
            .collect::<BTreeSet<_>>()
            .len()
    }
}

/// What it complained of.
fn complaint(ran: &Ran) -> String {
    let lines: Vec<&str> =
        ran.stderr.lines().filter(|line| !line.contains("TRACE") && !line.contains("DEBUG")).collect();
    format!("exit {}\n{}", ran.code, lines[lines.len().saturating_sub(30)..].join("\n"))
}

#[test]
#[ignore = "needs the lab: make live"]
fn two_hundred_canaries_on_a_cluster_are_seen_nowhere_whatever_is_done() {
    let (host, tmp) = (Host::new("secrets"), tempfile::tempdir().unwrap());
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    let mut own = secrets_of(&std::fs::read_to_string(host.values(VERSION)).unwrap());
    // The chart makes keys of its own, such as that of its certificate authority: any of them, as a Secret has it.
    let made = STANDARD.encode("-----BEGIN EC PRIVATE KEY")[..32].to_owned();
    own.push(Canary { label: "a key that the chart has made".into(), needles: vec![made], yaml: String::new() });
    let [first, second, kept, edited] = ROUNDS.map(canaries);
    let all = [&first, &second, &kept, &edited].into_iter().flatten().chain(&own);
    let finder = Arc::new(Finder::new(&all.cloned().collect::<Vec<_>>()));
    let mut site = Site { host, tmp, finder, found: BTreeSet::new(), odd: Vec::new(), chart };
    let files = [site.values("first.yaml", &first), site.values("second.yaml", &second)];
    let watcher = Watcher::start(Arc::clone(&site.finder), processes().collect(), is_ours);

    let refused = site.host.home.path().join("refused.yaml");
    std::fs::write(&refused, quoted_in_a_refusal(&second)).unwrap();
    deployments(&mut site, &files, &refused, [&kept, &edited]);
    assert_eq!(deployed(&site, ROUNDS[0]), plant::COUNT, "each canary was deployed");
    // The operator's own files are the only place where they may stand.
    files.iter().chain([&refused]).for_each(|file| std::fs::remove_file(file).unwrap());
    server(&mut site);
    bundles(&mut site);
    assert_eq!(deployed(&site, ROUNDS[0]), plant::COUNT, "each canary was restored");
    let secrets = unpacked(&site.host);
    assert_eq!(site.seen(&secrets, ROUNDS[2]), plant::COUNT, "each canary is in a restored Secret");

    logs(&site.host);
    site.found.extend(watcher.stop());
    for folder in [site.host.home.path(), site.tmp.path(), Path::new("/dev/shm")] {
        site.finder.scan(folder, &[], &mut site.found);
    }
    let leaks: Vec<&str> = site.found.iter().take(60).map(String::as_str).collect();
    assert!(site.found.is_empty(), "{} leaks:\n{}", site.found.len(), leaks.join("\n"));
    assert!(site.odd.is_empty(), "not what was expected, so it proves nothing:\n{}", site.odd.join("\n"));
}

/// Deployed, compared, edited by hand, refused, failed, deployed over it, taken back.
fn deployments(site: &mut Site, files: &[PathBuf; 2], refused: &Path, [kept, edited]: [&[Canary]; 2]) {
    let [first, second] = files;
    site.deploy(0, first, &["--yes", "--debug"]);
    site.host.wait_rows(20);
    fill_secrets(&site.host, kept);
    edit_by_hand(&site.host, edited);
    site.both(33, &["config", "drift"]);
    site.both(0, &["doctor"]);
    site.deploy(0, second, &["--dry-run"]);
    site.deploy(0, second, &["--dry-run", "--output", "json"]);
    site.deploy(11, second, &["--yes", "--debug", "-f", refused.to_str().unwrap()]);
    site.dr(33, &["config", "drift"]);
    site.deploy(0, second, &["--yes", "--no-wait"]);
    site.both(2, &["config", "diff", "release", "rev:1"]);
    edit_by_hand(&site.host, edited);
    site.dr(0, &[&["deploy", "rollback", "rev:1", "--dry-run"], &ALLOW[..]].concat());
    site.dr(0, &[&["deploy", "rollback", "rev:1", "--yes", "--debug"], &ALLOW[..]].concat());
    site.host.wait_rows(25);
}

fn server(site: &mut Site) {
    site.both(0, &["server", "status"]);
    site.dr(0, &["server", "stop", "--dry-run"]);
    site.dr(0, &["server", "stop", "--yes"]);
    site.dr(0, &["server", "status"]);
    site.dr(3, &["doctor"]); // a stopped application is something to be done
    site.both(0, &["server", "start"]);
}

/// Made, and failed half way; looked at; everything burnt, and brought back after a failure half way.
fn bundles(site: &mut Site) {
    let before = site.host.ledger();
    site.fails_at("stop-writers", &["bundle", "create", "--yes"]);
    site.dr(0, &["--output", "json", "--yes", "bundle", "create"]);
    for verb in ["list", "show"] {
        site.both(0, &["bundle", verb]);
    }
    site.both(0, &["bundle", "verify", "--decrypt"]);
    let damaged = damaged(&site.host);
    site.dr(17, &["bundle", "verify", damaged.to_str().unwrap(), "--decrypt"]);
    site.both(0, &["run", "list"]);
    site.both(0, &["config", "log"]);
    site.host.delete_namespace();
    site.dr(14, &["bundle", "create", "--yes"]);
    site.dr(17, &["bundle", "restore", damaged.to_str().unwrap(), "--yes"]);
    let restore = ["bundle", "restore", "--version", VERSION, "--yes"];
    site.dr(0, &[&restore[..], &["--dry-run"]].concat());
    site.fails_at("start", &restore);
    let (run, _) = site.host.runs().swap_remove(0);
    site.both(0, &["run", "show", &run]);
    site.dr(0, &["run", "resume"]);
    site.both(0, &["run", "show", &run, "--timing"]);
    site.host.assert_ledger_holds(&before);
    site.both(0, &["config", "show", "live"]);
    site.dr(0, &["config", "verify", "--decrypt"]);
}

/// There is a log of it all, and one of each run, and they tell of helm, the database, the cluster and the libraries: else
/// it would prove nothing that no canary is in them.
fn logs(host: &Host) {
    let runs = std::fs::read_dir(host.home.path().join(".local/state/dr/runs")).unwrap().flatten();
    let mut logs: Vec<PathBuf> = runs.map(|run| run.path().join("run.log")).collect();
    assert!(logs.len() > 2, "{logs:?}");
    logs.push(host.home.path().join("dr.log"));
    for log in logs {
        let text = std::fs::read_to_string(&log).unwrap();
        for part in ["kind=\"cluster\"", "kube_client"] {
            assert!(text.contains(part), "{part} is not in {}", log.display());
        }
    }
    let whole = std::fs::read_to_string(host.home.path().join("dr.log")).unwrap();
    for kind in ["helm", "psql", "exec", "vault", "chunk", "store"] {
        assert!(whole.contains(&format!("kind=\"{kind}\"")), "{kind} is not in the log");
    }
}

/// A copy of the bundle with one byte of its middle changed.
fn damaged(host: &Host) -> PathBuf {
    let name = host.listed().pop_first().unwrap();
    let mut bytes = std::fs::read(host.setting("store", "path").join(&name).join(format!("{name}.tar"))).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let path = host.home.path().join("damaged.tar");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// How many canaries helm and the vault have as deployed.
fn deployed(site: &Site, round: usize) -> usize {
    let helm = command("helm").args(["get", "values", "opschain", "-n", &site.host.namespace, "-o", "json"]).run().ok();
    // Some are escaped in YAML, and others rounded by Helm.
    let file = site.host.dr(["config", "cat", "live"]).ok();
    site.seen(&[helm.as_bytes(), b"\n", file.as_bytes()].concat(), round)
}

/// Values that the API server refuses, and quotes as it does so: a password that is no label.
fn quoted_in_a_refusal(canaries: &[Canary]) -> String {
    let canary = canaries.iter().find(|canary| canary.label.contains("(with quotes)")).unwrap();
    format!("nodeSelector:\n  {}", canary.yaml)
}

/// Fills the two Secrets that users fill, which no install makes again: a bundle must carry them.
fn fill_secrets(host: &Host, canaries: &[Canary]) {
    for (name, half) in ["opschain-build-env", "opschain-runner-env"].iter().zip(canaries.chunks(plant::COUNT / 2)) {
        let mut data = serde_json::Map::new();
        for (number, canary) in half.iter().enumerate() {
            data.insert(format!("FILE_{number}"), canary.yaml.as_str().into());
            data.insert(format!("VALUE_{number}"), canary.needles[0].as_str().into());
        }
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}).to_string();
        let apply = ["-n", &host.namespace, "apply", "--server-side", "--force-conflicts", "-f", "-"];
        crate::install::run("kubectl", &apply, secret.as_bytes());
    }
}

/// Edits what helm has made: two Secrets, and a ConfigMap where all of `env` lies in the clear.
fn edit_by_hand(host: &Host, canaries: &[Canary]) {
    let login = canaries.iter().find(|canary| canary.label.contains("(login of a registry)")).unwrap();
    let json = login.yaml.trim_start_matches("pullSecret: ").trim().trim_matches('\'');
    let packed = |text: &str| STANDARD.encode(text);
    let edits = [
        ("secret", "opschain-image-secret", ".dockerconfigjson", packed(json)),
        ("secret", "mintpress-licence", "mintpress.license", packed(&block(canaries))),
        ("configmap", "opschain-config", "OPSCHAIN_LDAP_PASSWORD", canaries[0].needles[0].clone()),
        ("configmap", "opschain-config", "OPSCHAIN_LDAP_ORGANISATION", block(canaries)),
    ];
    for (kind, name, key, text) in edits {
        let patch = json!({"data": {key: text}}).to_string();
        let args = ["-n", &host.namespace, "patch", kind, name, "--patch-file", "/dev/stdin"];
        crate::install::run("kubectl", &args, patch.as_bytes());
    }
}

/// The two Secrets that users fill, unpacked.
fn unpacked(host: &Host) -> Vec<u8> {
    let list = host.kubectl(&["get", "secret", "opschain-build-env", "opschain-runner-env", "-o", "json"]).ok();
    let list: Value = serde_json::from_str(&list).unwrap();
    let maps = list["items"].as_array().unwrap().iter().filter_map(|item| item["data"].as_object());
    let texts = maps.flat_map(|map| map.values()).map(|text| STANDARD.decode(text.as_str().unwrap()).unwrap());
    texts.flat_map(|text| [text, b"\n".to_vec()].concat()).collect()
}

/// The keys that open data, and other secrets of the values file as it was before anything was planted.
fn secrets_of(values: &str) -> Vec<Canary> {
    let words = ["KEY", "SALT", "PASSWORD", "unsealKey", "password"];
    let lines = values.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs =
        lines.filter(|line| words.iter().any(|word| line.contains(word))).filter_map(|line| line.split_once(':'));
    let own: Vec<Canary> = pairs
        .map(|(key, value)| {
            let text = value.split(" #").next().unwrap_or("").trim().trim_matches(['"', '\'']).to_owned();
            Canary { label: format!("the install's own {}", key.trim()), needles: vec![text], yaml: String::new() }
        })
        .filter(|canary| canary.needles[0].len() >= 12)
        .collect();
    assert!(own.len() >= 8, "{}", own.len());
    own
}

/// Arguments are for us to mind whoever has them; the environment of a process that lives outside of all containers, or
/// is `dr` in a helper pod. That of the application's own pods is given to them by its chart.
fn is_ours(process: &Path, file: &str) -> bool {
    let space = |folder: &Path| std::fs::read_link(folder.join("ns/pid")).ok();
    let is_dr =
        || std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe.file_name().is_some_and(|name| name == "dr"));
    file == "cmdline" || is_dr() || space(process) == space(Path::new("/proc/self"))
}
