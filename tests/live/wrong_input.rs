//! Wrong input: each refused before anything is touched, with cause, hint and its own exit code.
//!
//! Tests begin in the order of their names. This one waits for the others to end before it takes the operator away, so
//! that it must be among the last.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{Cmd, Host, Ran, VERSION, command, wait};

#[test]
#[ignore = "needs the lab: make live"]
fn what_cannot_work_is_refused_before_anything_is_touched() {
    let mut host = Host::new("wrong-input");
    host.deploy(VERSION);
    let replicas = host.replicas();
    let bundle = host.bundle(&[]);
    let name = bundle.file_stem().unwrap().to_str().unwrap().to_owned();
    let file = bundle.to_str().unwrap().to_owned();
    let restore = |args: &[&str]| {
        let mut all = vec!["bundle", "restore", "--yes"];
        all.extend(args);
        host.dr(all)
    };
    // The namespace is not empty.
    restore(&[&name]).fails(20, &["is not empty", "hint:"]);
    // Versions.
    restore(&[&name, "--version", "2026-07-28"]).fails(19, &["does not go back", "--allow-version"]);
    restore(&["--version", "2026-10-08"]).fails(14, &["2026-08-20"]);
    restore(&["no-such-bundle"]).fails(14, &["no-such-bundle", "hint:"]);
    // Keys and signers.
    let stranger = host.home.path().join("stranger.txt");
    command("age-keygen").arg("-o").arg(&stranger).run().ok();
    restore(&[&name, "--identity", stranger.to_str().unwrap()]).fails(15, &["hint:"]);
    let nobody = host.home.path().join("nobody");
    std::fs::write(&nobody, foreign_signer(host.home.path())).unwrap();
    restore(&[&name, "--trusted-signers", nobody.to_str().unwrap()]).fails(16, &["hint:"]);
    // Damage.
    let damaged = flip(&bundle, host.home.path());
    let elsewhere = format!("{}-elsewhere", host.namespace);
    let bad = ["bundle", "restore", "--yes", damaged.to_str().unwrap()];
    host.dr_command_in(&elsewhere, bad).run().fails(17, &["hint:"]);
    assert_ne!(command("kubectl").args(["get", "namespace", &elsewhere]).run().code, 0, "nothing was made");
    // No helm, no cluster.
    host.dr_command(["bundle", "restore", &file, "--yes"])
        .env("PATH", "/nonexistent")
        .run()
        .fails(11, &["helm", "hint:"]);
    host.dr_command(["bundle", "create", "--yes"]).env("KUBECONFIG", "/nonexistent").run().fails(12, &["hint:"]);
    let dead = host.home.path().join("dead.conf");
    let kubeconfig = std::fs::read_to_string(crate::host::lab("KUBECONFIG")).unwrap();
    std::fs::write(&dead, kubeconfig.replace(":6443", ":6444")).unwrap();
    host.dr_command(["bundle", "create", "--yes"]).env("KUBECONFIG", &dead).run().fails(12, &["hint:"]);
    // No room.
    let small = host.home.path().join("small");
    std::fs::create_dir(&small).unwrap();
    command("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&small).run().ok();
    let settings = host.home.path().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let store = host.setting("store", "path");
    std::fs::write(&settings, text.replace(store.to_str().unwrap(), small.to_str().unwrap())).unwrap();
    let full = host.dr(["bundle", "create", "--yes"]);
    command("umount").arg(&small).run().ok();
    full.fails(23, &["free", "hint:"]);
    could_not_come_back(&host);
    replica_cluster(&host);
    let elsewhere = host.dr_command_in(&elsewhere, ["bundle", "restore", &file, "--yes"]);
    host.turn.alone(|| missing_operator(elsewhere));
    // None of this has touched the install.
    assert_eq!(host.replicas(), replicas);
    let (open, _): (Vec<_>, Vec<_>) = host.runs().into_iter().partition(|(_, state)| state == "open");
    assert!(open.is_empty(), "{open:?}");
}

/// An install that runs and could not start again, or whose data could not be opened, is not stopped and not bundled.
fn could_not_come_back(host: &Host) {
    let create = || host.dr(["bundle", "create", "--yes"]);
    let json = |kind: &str, name: &str| host.kubectl(&["get", kind, name, "-o", "json"]).ok();
    let put = |text: &str| {
        let file = host.home.path().join("object.json");
        std::fs::write(&file, text).unwrap();
        host.kubectl(&["replace", "--force", "-f", file.to_str().unwrap()]).ok();
    };
    for name in ["opschain-vault-config", "mintpress-transportable-key"] {
        let kept = json("secret", name);
        host.kubectl(&["delete", "secret", name]).ok();
        create().fails(15, &[name, "hint:"]);
        let doctor = host.dr(["doctor"]);
        assert!(doctor.code == 3 && doctor.stdout.contains(name), "{doctor}");
        put(&kept);
    }
    let config = json("configmap", "opschain-config");
    host.kubectl(&[
        "patch",
        "configmap",
        "opschain-config",
        "-p",
        r#"{"data":{"OPSCHAIN_PRIMARY_KEY":"nobody-wrote-with-this"}}"#,
    ])
    .ok();
    create().fails(33, &["another OPSCHAIN_PRIMARY_KEY", "hint:"]);
    put(&config);
    // Pods that have a limit of time, as helper pods have, do not count.
    host.kubectl(&["create", "quota", "less-than-runs", "--hard=pods=1", "--scopes=NotTerminating"]).ok();
    wait(Duration::from_secs(60), "the quota to be counted", || {
        host.kubectl(&["get", "quota", "less-than-runs", "-o", "jsonpath={.status.used.pods}"])
            .ok()
            .parse()
            .is_ok_and(|used: u32| used > 1)
    });
    create().fails(12, &["quota less-than-runs allows 1 of pods", "hint:"]);
    host.kubectl(&["delete", "quota", "less-than-runs"]).ok();
    let image = ["set", "image", "deployment/opschain-api-worker", "*=limepoint/opschain-api:nope"];
    host.kubectl(&image).ok();
    wait(Duration::from_secs(60), "the new template's pod to be refused its image", || {
        let pods = host.kubectl(&["get", "pods"]).ok();
        pods.contains("ErrImage") || pods.contains("ImagePull")
    });
    create().fails(12, &["opschain-api-worker is being rolled out", "hint:"]);
    host.kubectl(&["rollout", "undo", "deployment/opschain-api-worker"]).ok();
    host.kubectl(&["rollout", "status", "deployment/opschain-api-worker", "--timeout=120s"]).ok();
    host.dr(["bundle", "create", "--dry-run"]).ok();
}

/// A database that follows another one is not bundled.
fn replica_cluster(host: &Host) {
    let namespace = format!("{}-replica", host.namespace);
    let manifest = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
         "metadata": {"name": "opschain-db", "namespace": namespace},
         "spec": {
            "instances": 1, "storage": {"size": "1Gi"},
            "imageName": format!("limepoint/opschain-db:{}", crate::host::lab("LAB_PG_VERSION")),
            "bootstrap": {"pg_basebackup": {"source": "other"}},
            "replica": {"enabled": true, "source": "other"},
            "externalClusters": [{"name": "other", "connectionParameters": {"host": "nowhere", "user": "streaming_replica"}}],
         }},
    ]});
    let file = host.home.path().join("replica.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    command("kubectl").args(["apply", "-f"]).arg(&file).run().ok();
    let refused = host.dr_command_in(&namespace, ["bundle", "create", "--yes"]).run();
    command("kubectl").args(["delete", "namespace", &namespace, "--wait=false"]).run().ok();
    refused.fails(21, &["replica", "hint:"]);
}

/// Without the operator nothing could be brought back: said before anything is made.
fn missing_operator(restore: Cmd) {
    let without = WithoutOperator::new();
    wait(Duration::from_secs(180), "the operator to be gone", || {
        command("kubectl")
            .args(["-n", "cnpg-system", "get", "pods", "--field-selector=status.phase=Running", "-o", "name"])
            .run()
            .ok()
            .is_empty()
    });
    let refused = restore.run();
    drop(without);
    refused.fails(13, &["operator", "hint:"]);
}

/// The operator is scaled to 0 until this is dropped, also by a failed test: every other one needs it.
struct WithoutOperator;

impl WithoutOperator {
    fn new() -> Self {
        Self::scale("--replicas=0").ok();
        Self
    }

    fn scale(replicas: &str) -> Ran {
        let scale = ["-n", "cnpg-system", "scale", "deployment", "cnpg-controller-manager", replicas];
        command("kubectl").args(scale).run()
    }
}

impl Drop for WithoutOperator {
    fn drop(&mut self) {
        Self::scale("--replicas=1");
        let ready = ["-n", "cnpg-system", "rollout", "status", "deployment/cnpg-controller-manager", "--timeout=180s"];
        command("kubectl").args(ready).run();
    }
}

fn foreign_signer(folder: &Path) -> String {
    let key = folder.join("foreign");
    command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).run().ok();
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    format!("foreign@example.test {public}")
}

/// A copy of the bundle with one bit of the middle of it flipped.
fn flip(bundle: &Path, folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let path = folder.join("damaged.tar");
    std::fs::write(&path, bytes).unwrap();
    path
}
