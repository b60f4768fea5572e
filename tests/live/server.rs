//! `dr init`, `dr doctor` and `dr server` on a real install, as a user runs them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use dr::internals::cluster::{Cluster, Wait};
use dr::internals::event::Events;

use super::install::{Install, PATIENCE};

const NAMESPACE: &str = "live-server";
const PARTS: [&str; 2] = ["opschain-api", "opschain-api-worker"];

/// A home folder of its own, so that nothing of the machine's user is read or written.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr"));
        command.args(args).args(["-n", NAMESPACE]).stdin(Stdio::null());
        command.env("HOME", self.0.path());
        for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "DR_SETTINGS", "DR_NAMESPACE", "DR_CONTEXT"]
        {
            command.env_remove(name);
        }
        command
    }

    fn dr(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The JSON that the verb gives, and its exit code.
    fn json(&self, args: &[&str]) -> (serde_json::Value, i32) {
        let output = self.dr(&[args, &["-o", "json"]].concat());
        let value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", String::from_utf8_lossy(&output.stderr)));
        (value, output.status.code().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

async fn replicas(cluster: &Cluster) -> Vec<i32> {
    let mut replicas = Vec::new();
    for part in PARTS {
        replicas.push(cluster.deployment(part).await.unwrap().unwrap().replicas);
    }
    replicas
}

async fn notes(cluster: &Cluster) -> Vec<Option<String>> {
    let mut notes = Vec::new();
    for part in PARTS {
        let workload = cluster.deployment(part).await.unwrap().unwrap();
        notes.push(workload.annotations.get("dr.opschain/replicas").cloned());
    }
    notes
}

async fn faults(cluster: &Cluster) -> usize {
    let primary = cluster.primary_pod("opschain-db").await.unwrap().metadata.name.unwrap();
    cluster.psql(&primary, "opschain", "check the chain", "SELECT * FROM ledger_faults").await.unwrap().len()
}

/// What the server itself says of its pages.
async fn page_checksums(cluster: &Cluster) -> bool {
    let primary = cluster.primary_pod("opschain-db").await.unwrap().metadata.name.unwrap();
    cluster.psql(&primary, "opschain", "ask for page checksums", "SHOW data_checksums").await.unwrap()[0][0] == "on"
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn doctor_leads_from_a_bare_machine_to_the_first_bundle_and_the_server_stops_and_starts() {
    let install = Install::raise(NAMESPACE, "2026-08-20").await;
    let cluster = &install.cluster;
    let home = Home::new();

    let (bare, exit) = home.json(&["doctor"]);
    assert_eq!((exit, &bare["next"]), (3, &"dr init".into()), "{bare:#}");
    assert!(home.dr(&["init"]).status.success());
    assert!(home.path().join(".config/dr/dr.toml").exists());
    let (ready, exit) = home.json(&["doctor"]);
    let next = ready["next"].as_str().unwrap();
    assert!(exit == 0 && next.starts_with("dr config record --from-helm --chart "), "{ready:#}");
    let checksums = if page_checksums(cluster).await { "with page checksums" } else { "without page checksums" };
    assert!(ready.to_string().contains(checksums), "not said {checksums}: {ready:#}");
    let chart = format!("oci://{}/limepoint/opschain", crate::host::lab("LAB_REGISTRY"));
    assert_eq!(home.json(&["config", "record", "--from-helm", "--chart", &chart]).1, 0);
    let (recorded, exit) = home.json(&["doctor"]);
    assert_eq!((exit, &recorded["next"]), (0, &"dr bundle create".into()), "{recorded:#}");

    let before = replicas(cluster).await;
    assert!(before.iter().all(|count| *count > 0));
    let (stopped, exit) = home.json(&["server", "stop", "--yes"]);
    assert_eq!((exit, &stopped["state"]), (0, &"stopped".into()), "{stopped:#}");
    assert_eq!(replicas(cluster).await, [0, 0]);
    assert_eq!(notes(cluster).await, before.iter().map(|count| Some(count.to_string())).collect::<Vec<_>>());
    // Again changes nothing, the notes least of all.
    assert_eq!(home.json(&["server", "stop", "--yes"]).1, 0);
    assert_eq!(notes(cluster).await, before.iter().map(|count| Some(count.to_string())).collect::<Vec<_>>());
    assert_eq!(home.json(&["doctor"]).0["next"], "dr server start");

    let (running, exit) = home.json(&["server", "start"]);
    assert_eq!((exit, &running["state"]), (0, &"running".into()), "{running:#}");
    assert_eq!(replicas(cluster).await, before);
    assert_eq!(notes(cluster).await, [None, None]);
    assert_eq!(home.json(&["server", "start"]).1, 0);
    assert_eq!(faults(cluster).await, 0);

    killed_stop(&home, cluster, &before).await;
    install.raze();
}

/// A stop that is killed in the middle is put back by the next start, which waits for the lease of the killed one.
async fn killed_stop(home: &Home, cluster: &Cluster, before: &[i32]) {
    let mut stop = home.command(&["server", "stop", "--yes", "-q"]).stdout(Stdio::null()).spawn().unwrap();
    let events = Events::none();
    let mut written = Wait::new("the stop to write its notes", PATIENCE, &events);
    while notes(cluster).await.iter().any(Option::is_none) {
        written.not_yet(None).await.unwrap();
    }
    stop.kill().unwrap();
    stop.wait().unwrap();
    let start = tokio::time::Instant::now();
    let (running, exit) = home.json(&["server", "start"]);
    assert_eq!((exit, &running["state"]), (0, &"running".into()), "{running:#}");
    assert_eq!(replicas(cluster).await, before);
    assert_eq!(notes(cluster).await, [None, None]);
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(faults(cluster).await, 0);
}
