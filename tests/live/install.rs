//! An install of the stand-in for one subject's tests.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use dr::internals::cluster::{Cluster, NamespaceState, Wait, WorkloadKind};
use dr::internals::event::Events;
use tokio::sync::Mutex;

use super::turn::Turn;

/// How long an install may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Tests of one subject may ask for the same install at the same time: one raises it, the others find it.
static RAISING: Mutex<()> = Mutex::const_new(());

/// One install, raised once and kept until the lab goes or a test razes it.
pub struct Install {
    pub cluster: Cluster,
    _turn: Turn,
}

/// Where the stand-in's charts and values lie.
pub fn fixtures() -> PathBuf {
    match std::env::var_os("DR_LAB_FIXTURES") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures"),
    }
}

/// Runs a program and returns its stdout; a failure shows what it said.
pub fn run(program: &str, args: &[&str], stdin: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {}: {}\n{err}", args.join(" "), output.status);
    out.into_owned()
}

/// An operator's values file for `version` in `namespace`, with secrets that only the namespace decides.
pub fn values(version: &str, namespace: &str) -> String {
    let postgres = std::env::var("LAB_PG_VERSION").expect("LAB_PG_VERSION: run inside the lab");
    let make = fixtures().join("values/make");
    let text = run(make.to_str().unwrap(), &[version, &postgres, namespace], b"");
    let key = "OPSCHAIN_KUBERNETES_NAMESPACE: opschain";
    assert!(text.contains(key), "the values file has no {key}");
    text.replace(key, &format!("OPSCHAIN_KUBERNETES_NAMESPACE: {namespace}"))
}

impl Install {
    /// Installs the stand-in unless it is there, and waits until it serves.
    pub async fn raise(namespace: &str, version: &str) -> Self {
        let registry = std::env::var("LAB_REGISTRY").expect("LAB_REGISTRY: run inside the lab");
        let turn = Turn::begin();
        let cluster = Cluster::connect(None, namespace).await.unwrap();
        let raising = RAISING.lock().await;
        let events = Events::none();
        let mut gone = Wait::new("the namespace of the last run to be gone", PATIENCE, &events);
        while cluster.namespace_state(&[]).await.unwrap() == NamespaceState::Terminating {
            gone.not_yet(None).await.unwrap();
        }
        if cluster.deployment("opschain-api").await.unwrap().is_none() {
            let chart = format!("oci://{registry}/limepoint/opschain");
            let version_of_chart = version.parse::<dr::internals::opschain::Version>().unwrap().chart().unwrap();
            let args = [
                "upgrade",
                "--install",
                "opschain",
                &chart,
                "--version",
                &version_of_chart,
                "--create-namespace",
                "-n",
                namespace,
                "-f",
                "-",
            ];
            run("helm", &args, values(version, namespace).as_bytes());
        }
        drop(raising);
        let install = Self { cluster, _turn: turn };
        install.serve().await;
        install
    }

    /// Gives the namespace up; it is gone some seconds later.
    pub fn raze(self) {
        run("kubectl", &["delete", "namespace", self.cluster.namespace(), "--wait=false"], b"");
    }

    /// Waits until the database is healthy and the application ready.
    pub async fn serve(&self) {
        let events = Events::none();
        self.cluster.wait_database_healthy("opschain-db", PATIENCE, &events).await.unwrap();
        let all = [
            (WorkloadKind::StatefulSet, "opschain-secret-vault"),
            (WorkloadKind::Deployment, "opschain-api-worker"),
            (WorkloadKind::Deployment, "opschain-api"),
        ];
        self.cluster.wait_settled(&all, PATIENCE, &events).await.unwrap();
    }
}
