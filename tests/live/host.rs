//! A host of an operator, with its namespace on the lab.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::turn::Turn;

/// The release that most tests deploy.
pub const VERSION: &str = "2026-08-20";

/// A home folder with everything that `dr` keeps, and a namespace.
pub struct Host {
    /// The home folder.
    pub home: TempDir,
    /// The namespace, also the seed of its secrets.
    pub namespace: String,
    /// The Helm release that every command names, where it is not the settings' or the bundle's to say.
    pub release: Option<&'static str>,
    /// How its database is called.
    pub database: String,
    pub turn: Turn,
}

/// How a command ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

impl Ran {
    /// Its stdout, when it ended well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// Asserts the exit code and that the error says all of these.
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self}");
        for word in words {
            assert!(self.stderr.contains(word), "does not say `{word}`: {self}");
        }
        assert!(!self.stderr.contains("panicked"), "{self}");
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nexit {}\n--- stdout\n{}\n--- stderr\n{}", self.line, self.code, self.stdout, self.stderr)
    }
}

/// What the ledger holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub rows: u64,
    pub head: String,
}

impl Host {
    /// A host whose `dr init` was run, with an escrow key beside its own.
    pub fn new(namespace: &str) -> Self {
        lab("KUBECONFIG");
        let (home, turn) = (tempfile::tempdir().unwrap(), Turn::begin());
        let (namespace, database) = (format!("dr-{namespace}"), "opschain-db".into());
        let host = Self { home, namespace, release: None, database, turn };
        host.delete_namespace();
        let escrow = host.home.path().join("escrow.txt");
        command("age-keygen").arg("-o").arg(&escrow).run().ok();
        let public = command("age-keygen").arg("-y").arg(&escrow).run().ok();
        host.dr(["init", "--recipient", public.trim()]).ok();
        host
    }

    /// Runs `dr` as this host's user would.
    pub fn dr<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.dr_command(args).run()
    }

    /// The command, for tests that add to it.
    pub fn dr_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.dr_command_in(&self.namespace, args)
    }

    /// The command, for another namespace.
    pub fn dr_command_in<S: AsRef<OsStr>>(&self, namespace: &str, args: impl IntoIterator<Item = S>) -> Cmd {
        let mut cmd = command(env!("CARGO_BIN_EXE_dr"));
        cmd.1 = Some(format!("dr -n {namespace} "));
        cmd.0.args(["--no-input", "-n", namespace]).args(args);
        cmd.0.env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME");
        cmd.0.env_remove("XDG_DATA_HOME").env("DR_WHO", "operator").current_dir(self.home.path());
        if let Some(release) = self.release {
            cmd.0.env("DR_RELEASE", release);
        }
        cmd
    }

    /// Has a shell script run before a step of each create from now on, in the place of the one of before.
    pub fn hook_before(&self, step: &str, script: &str) {
        let (settings, hook) = (self.home.path().join(".config/dr/dr.toml"), self.home.path().join("hook"));
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o700)).unwrap();
        let text = std::fs::read_to_string(&settings).unwrap();
        // The template's own are comments.
        let text = text.split("\n[[hooks]]").next().unwrap();
        let table = format!(
            "\n[[hooks]]\nrun = {hook:?}\nwhen = \"before\"\nverb = \"create\"\nstep = \"{step}\"\ntimeout = \"2m\"\n"
        );
        std::fs::write(&settings, text.to_owned() + &table).unwrap();
    }

    /// Runs `dr` with a fault: `<point>=fail` or `<point>=kill`.
    pub fn dr_with_fault<S: AsRef<OsStr>>(&self, fault: &str, args: impl IntoIterator<Item = S>) -> Ran {
        self.dr_command(args).env("DR_FAULT", fault).run()
    }

    /// Begins `dr` in a terminal, which is gone when the child is killed.
    pub fn in_a_terminal(&self, words: &str) -> Child {
        // Who starts the tests with nohup has them, and dr, ignore a terminal that goes away.
        let dr = format!("exec env --default-signal=HUP {} --no-input -n {}", env!("CARGO_BIN_EXE_dr"), self.namespace);
        command("script")
            .args(["-qec", &format!("{dr} {words}"), "/dev/null"])
            .env("HOME", self.home.path())
            .env("DR_WHO", "operator")
            .0
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_DATA_HOME")
            .current_dir(self.home.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Writes this host's values file of a release; the secrets come of the namespace's name.
    pub fn values(&self, version: &str) -> PathBuf {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/values/make");
        let text = command(script).arg(version).arg(lab("LAB_PG_VERSION")).arg(&self.namespace).run().ok();
        let named = format!("OPSCHAIN_KUBERNETES_NAMESPACE: {}", self.namespace);
        let text = text
            .replace("OPSCHAIN_KUBERNETES_NAMESPACE: opschain", &named)
            .replace("OPSCHAIN_KUBERNETES_NAMESPACE: \"opschain\"", &named);
        assert!(text.contains(&self.namespace), "the values name their namespace");
        let path = self.home.path().join(format!("values-{version}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Deploys a release and waits until the application has written.
    pub fn deploy(&self, version: &str) -> PathBuf {
        self.deploy_with(version, str::to_owned)
    }

    /// The same of values that are changed first.
    pub fn deploy_with(&self, version: &str, change: impl FnOnce(&str) -> String) -> PathBuf {
        let values = self.values(version);
        let text = std::fs::read_to_string(&values).unwrap();
        std::fs::write(&values, change(&text)).unwrap();
        let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
        let values_text = values.to_str().unwrap().to_owned();
        self.dr(["deploy", "-f", &values_text, "--version", version, "--chart", &chart, "--yes"]).ok();
        self.wait_rows(20);
        values
    }

    /// Makes a bundle and returns its file.
    pub fn bundle(&self, args: &[&str]) -> PathBuf {
        let mut all = vec!["--output", "json", "--yes", "bundle", "create"];
        all.extend(args);
        let report: serde_json::Value = serde_json::from_str(&self.dr(all).ok()).unwrap();
        PathBuf::from(report["address"].as_str().unwrap())
    }

    /// The bundles that `dr` lists, by name.
    pub fn listed(&self) -> BTreeSet<String> {
        let list: serde_json::Value =
            serde_json::from_str(&self.dr(["--output", "json", "bundle", "list"]).ok()).unwrap();
        let bundles = list["bundles"].as_array().unwrap().iter();
        bundles.map(|bundle| bundle["name"].as_str().unwrap().to_owned()).collect()
    }

    /// What lies in the store's folder, whole or half.
    pub fn stored(&self) -> BTreeSet<String> {
        let Ok(store) = std::fs::read_dir(self.setting("store", "path")) else { return BTreeSet::new() };
        store.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The journalled runs, newest first: id and state.
    pub fn runs(&self) -> Vec<(String, String)> {
        let list: serde_json::Value = serde_json::from_str(&self.dr(["--output", "json", "run", "list"]).ok()).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        list["runs"].as_array().unwrap().iter().map(|run| (text(&run["run"]), text(&run["state"]))).collect()
    }

    /// Runs kubectl in the namespace.
    pub fn kubectl(&self, args: &[&str]) -> Ran {
        command("kubectl").arg("-n").arg(&self.namespace).args(args).run()
    }

    /// Asks the database.
    pub fn sql(&self, statement: &str) -> String {
        let pod = format!("{}-1", self.database);
        let psql = ["psql", "-XAtq", "-U", "postgres", "-d", "opschain", "-c", statement];
        let mut args = vec!["exec", &pod, "-c", "postgres", "--"];
        args.extend(psql);
        self.kubectl(&args).ok().trim().to_owned()
    }

    /// Rows and head of the ledger.
    pub fn ledger(&self) -> Ledger {
        let row =
            self.sql("SELECT count(*), (SELECT encode(hash, 'hex') FROM ledger ORDER BY id DESC LIMIT 1) FROM ledger");
        let (rows, head) = row.split_once('|').unwrap();
        Ledger { rows: rows.parse().unwrap(), head: head.to_owned() }
    }

    /// Asserts that the chain is whole, and that everything up to `before` is in it.
    pub fn assert_ledger_holds(&self, before: &Ledger) {
        assert_eq!(self.sql("SELECT count(*) FROM ledger_faults"), "0", "the chain is whole");
        let found = self.sql(&format!(
            "SELECT count(*) FROM ledger WHERE id <= (SELECT id FROM ledger WHERE encode(hash, 'hex') = '{}')",
            before.head
        ));
        assert_eq!(found, before.rows.to_string(), "every row up to the noted head is there");
    }

    /// Waits until the ledger has at least so many rows.
    pub fn wait_rows(&self, rows: u64) {
        wait(Duration::from_secs(180), &format!("{rows} rows in the ledger"), || {
            let pod = format!("{}-1", self.database);
            let psql = [
                "exec",
                &pod,
                "-c",
                "postgres",
                "--",
                "psql",
                "-XAtq",
                "-U",
                "postgres",
                "-d",
                "opschain",
                "-c",
                "SELECT count(*) FROM ledger",
            ];
            let ran = self.kubectl(&psql);
            ran.code == 0 && ran.stdout.trim().parse::<u64>().is_ok_and(|found| found >= rows)
        });
    }

    /// How many replicas API and workers are to have.
    pub fn replicas(&self) -> Vec<String> {
        let path = "{.items[*].spec.replicas}";
        let names = ["get", "deployment", "opschain-api", "opschain-api-worker", "-o", &format!("jsonpath={path}")]
            .map(str::to_owned);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.kubectl(&names).ok().split_whitespace().map(str::to_owned).collect()
    }

    /// Burns the namespace with all that is in it, and waits until it is gone. Nothing is given time to end well.
    pub fn delete_namespace(&self) {
        command("kubectl")
            .args(["delete", "namespace", &self.namespace, "--ignore-not-found", "--wait=false"])
            .run()
            .ok();
        wait(Duration::from_secs(300), &format!("namespace {} to be gone", self.namespace), || {
            self.kubectl(&["delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false"]);
            command("kubectl").args(["get", "namespace", &self.namespace]).run().code != 0
        });
    }

    /// Removes what this host knows: settings, keys, vault, store, runs.
    pub fn forget(&self) {
        for folder in [".config/dr", ".local/share/dr", ".local/state/dr"] {
            drop(std::fs::remove_dir_all(self.home.path().join(folder)));
        }
    }

    /// The file that a setting names.
    pub fn setting(&self, section: &str, key: &str) -> PathBuf {
        let path = self.home.path().join(".config/dr/dr.toml");
        let settings: toml::Value = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let value = PathBuf::from(settings[section][key].as_str().unwrap());
        if value.is_absolute() { value } else { path.parent().unwrap().join(value) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A failed test leaves its namespace to be looked at; the next run of it begins by removing it.
        if !std::thread::panicking() {
            self.delete_namespace();
        }
    }
}

/// A variable that `lab/lab run` sets.
pub fn lab(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests run on the lab, by `make live`"))
}

/// A command whose output is kept; how the commands begin that it names, where that is cut to `dr `: they repeat the flag
/// that says which install is meant (`ui::Repeated`), and no test has to spell it.
pub struct Cmd(Command, Option<String>);

/// A command to be run.
pub fn command(program: impl AsRef<OsStr>) -> Cmd {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    Cmd(command, None)
}

impl Cmd {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it into the stdin of another program, and returns what that one wrote.
    pub fn pipe_to(mut self, program: &[&str]) -> Vec<u8> {
        let mut first = self.0.stdout(Stdio::piped()).spawn().unwrap();
        let second = Command::new(program[0]).args(&program[1..]).stdin(first.stdout.take().unwrap()).output().unwrap();
        assert!(
            first.wait().unwrap().success() && second.status.success(),
            "{}",
            String::from_utf8_lossy(&second.stderr)
        );
        second.stdout
    }

    pub fn run(mut self) -> Ran {
        let line = format!("{:?}", self.0);
        let output = self.0.output().unwrap_or_else(|e| panic!("{line}: {e}"));
        ran(line, output, self.1.as_deref())
    }

    /// Runs it, and sends the signal after `delay` unless it has ended by then.
    pub fn run_until(mut self, delay: Duration, signal: Signal) -> Ran {
        let line = format!("{:?}", self.0);
        let mut child = self.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        // It is not waited for before, so that the pid is its own as long as the signal may be sent.
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reads = [read(stdout), read(stderr)];
        let (begun, mut sent) = (Instant::now(), false);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if !sent && begun.elapsed() >= delay {
                rustix::process::kill_process(pid, signal).unwrap();
                sent = true;
            }
            assert!(begun.elapsed() < delay + Duration::from_secs(900), "{line} does not end");
            std::thread::park_timeout(Duration::from_millis(10));
        };
        let [stdout, stderr] = reads.map(|read| read.join().unwrap());
        ran(line, Output { status, stdout, stderr }, self.1.as_deref())
    }
}

fn read(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

fn ran(line: String, Output { status, stdout, stderr }: Output, named: Option<&str>) -> Ran {
    // Killed by a signal counts as a shell counts it.
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        named.map_or_else(|| text.clone().into_owned(), |named| text.replace(named, "dr "))
    };
    let killed = || 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
    Ran { code: status.code().unwrap_or_else(killed), stdout: text(&stdout), stderr: text(&stderr), line }
}

/// Waits until something is so.
pub fn wait(limit: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(500));
    }
}
