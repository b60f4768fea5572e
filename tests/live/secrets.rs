//! No secret in the open: not on disk, not in an argument list, not in what is said.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::host::{Host, VERSION};

#[test]
#[ignore = "needs the lab: make live"]
fn deploy_create_and_restore_leave_no_secret_on_disk_in_arguments_or_in_talk() {
    let host = Host::new("secrets");
    let begun = SystemTime::now();
    let watcher = Watcher::start();
    let values = host.deploy(VERSION);
    let mut secrets = secrets_of(&std::fs::read_to_string(&values).unwrap());
    assert!(secrets.len() >= 8, "{}", secrets.len());
    secrets.extend(plant_canaries(&host));
    let file = values.to_str().unwrap();
    let chart = format!("oci://{}/limepoint/opschain", crate::host::lab("LAB_REGISTRY"));
    let again = ["-vvv", "deploy", "-f", file, "--version", VERSION, "--chart", &chart, "--allow", "drift"];
    let drift = host.dr(["-vvv", "config", "drift"]);
    assert_eq!(drift.code, 33, "{drift}");
    assert!(drift.stdout.contains("OPSCHAIN_LDAP_PASSWORD"), "{drift}");
    let told = [
        drift,
        host.dr(["-vvv", "--output", "json", "config", "drift"]),
        host.dr([&again[..], &["--dry-run"]].concat()),
        host.dr([&again[..], &["--yes", "--set-string", "api.replicas=many"]].concat()),
        host.dr(["-vvv", "config", "drift"]),
        host.dr(["-vvv", "config", "diff", "release", "live"]),
        host.dr(["-vvv", "doctor"]),
        host.dr(["-vvv", "server", "status"]),
    ];
    assert_ne!(told[3].code, 0, "{}", told[3]);
    let deployed = host.dr([&again[..], &["--yes"]].concat());
    // The operator's own file is the only place where they may stand.
    std::fs::remove_file(&values).unwrap();
    let said = [
        deployed,
        host.dr(["-vv", "bundle", "create"]),
        host.dr(["-vv", "bundle", "verify", "--decrypt"]),
        host.dr(["config", "log"]),
        host.dr(["config", "show"]),
        host.dr(["config", "verify", "--decrypt"]),
    ];
    host.delete_namespace();
    let restored = host.dr(["-vv", "bundle", "restore", "--version", VERSION, "--yes"]);
    let arguments = watcher.stop();
    for ran in said.iter().chain([&restored]) {
        assert_eq!(ran.code, 0, "{ran}");
    }
    for ran in said.iter().chain(&told).chain([&restored]) {
        for secret in &secrets {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} is said by {ran}");
        }
    }
    for secret in &secrets {
        let seen: Vec<&String> = arguments.iter().filter(|line| line.contains(secret.as_str())).collect();
        assert!(seen.is_empty(), "in the process table: {seen:?}");
    }
    scan(host.home.path(), begun, &secrets);
    scan(&std::env::temp_dir(), begun, &secrets);
}

/// Puts secrets of every shape into the cluster, where `dr` meets them: in Secrets that a bundle carries, and in a
/// ConfigMap that somebody has edited by hand. Returns what must not be seen of them.
fn plant_canaries(host: &Host) -> Vec<String> {
    let word = |name: &str| format!("cnry{name}7Qx2Zr9Lk4Vw");
    let line = |name: &str| format!("{}0Tt{}", word(name), "mB5".repeat(12));
    let login = STANDARD.encode(format!("robot:{}", word("Login")));
    let texts = [
        ("PLAIN_TOKEN", word("Plain")),
        (
            "LINES_KEY",
            format!("-----BEGIN PRIVATE KEY-----\n{}\n{}\n-----END PRIVATE KEY-----\n", line("One"), line("Two")),
        ),
        ("DATABASE_URL", format!("postgres://app:{}@db.example.com:5432/app?sslmode=require", word("Url"))),
        (".dockerconfigjson", format!("{{\"auths\":{{\"r.example.com\":{{\"auth\":\"{login}\"}}}}}}")),
        ("PACKED_SECRET", STANDARD.encode(word("Packed"))),
        ("QUOTED_PASSWORD", format!("{}\"'\\$(x)", word("Quoted"))),
    ];
    let data: serde_json::Map<String, serde_json::Value> =
        texts.iter().map(|(key, text)| ((*key).to_owned(), text.clone().into())).collect();
    for name in ["opschain-build-env", "opschain-runner-env"] {
        let secret = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": data});
        let apply = ["-n", &host.namespace, "apply", "--server-side", "--force-conflicts", "-f", "-"];
        crate::install::run("kubectl", &apply, secret.to_string().as_bytes());
    }
    let edit = serde_json::json!({"data": {"OPSCHAIN_LDAP_PASSWORD": word("Edited")}}).to_string();
    let patch = ["-n", &host.namespace, "patch", "configmap", "opschain-config", "--patch-file", "/dev/stdin"];
    crate::install::run("kubectl", &patch, edit.as_bytes());
    let words = ["Plain", "One", "Two", "Url", "Packed", "Quoted", "Login", "Edited"];
    let mut seen: Vec<String> = words.iter().map(|name| word(name)).collect();
    seen.extend(texts.iter().map(|(_, text)| STANDARD.encode(text)));
    seen.push(login);
    seen
}

/// The texts of the keys that open data, and other secrets of the values file.
fn secrets_of(values: &str) -> Vec<String> {
    let words = ["KEY", "SALT", "PASSWORD", "unsealKey", "Key:", "password"];
    values
        .lines()
        .filter(|line| !line.trim_start().starts_with('#') && words.iter().any(|word| line.contains(word)))
        .filter_map(|line| line.split_once(':'))
        .map(|(_, value)| value.split(" #").next().unwrap_or("").trim().trim_matches(['"', '\'']).to_owned())
        .filter(|value| value.len() >= 12)
        .collect()
}

/// Looks for the secrets in every file that was written since.
fn scan(folder: &Path, since: SystemTime, secrets: &[String]) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            scan(&path, since, secrets);
        } else if meta.is_file() && meta.len() < 64 << 20 && meta.modified().is_ok_and(|at| at >= since) {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let found = secrets.iter().any(|secret| text.contains(secret.as_str()));
            assert!(!found, "{} holds a secret in the clear", path.display());
        }
    }
}

/// Samples the argument lists of all processes.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Watcher {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                    for file in ["cmdline", "environ"] {
                        let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        // Only programs of ours: the pods' own environments are the application's business.
                        let ours = text.contains("helm") || text.contains("CARGO_BIN_EXE") || text.contains("/dr\0");
                        if ours && !text.is_empty() {
                            seen.insert(text);
                        }
                    }
                }
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            }
            seen
        });
        Self { stop, thread }
    }

    fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
