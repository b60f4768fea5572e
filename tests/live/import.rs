//! Backups that people made without `dr`.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::host::{Host, VERSION, wait};

/// What the manual guide has a person type, in the database's own pod, with the certificate that the operator keeps there.
const BY_HAND: &str = "rm -rf /run/backup && pg_basebackup -D /run/backup -Ft -z --wal-method=stream --checkpoint=fast \
     -d 'host=localhost user=streaming_replica sslmode=require sslcert=/controller/certificates/streaming_replica.crt \
     sslkey=/controller/certificates/streaming_replica.key'";

#[test]
#[ignore = "needs the lab: make live"]
fn a_backup_by_the_manual_guide_is_a_bundle_that_brings_back_every_row() {
    let host = Host::new("import");
    host.deploy(VERSION);
    let (before, replicas) = (host.ledger(), host.replicas());
    // While the application writes.
    let pod = ["exec", "opschain-db-1", "-c", "postgres", "--"];
    host.kubectl(&[&pod[..], &["bash", "-c", BY_HAND]].concat()).ok();
    let folder = host.home.path().join("20260820_101500");
    let to = folder.to_str().unwrap();
    host.kubectl(&["cp", "-c", "postgres", "opschain-db-1:/run/backup", to]).ok();
    let kept = host.home.path().join("kept.yaml");
    fs::write(&kept, host.kubectl(&["get", "secret,configmap", "-o", "yaml"]).ok()).unwrap();
    let import = ["bundle", "import", to, "--secrets", kept.to_str().unwrap()];

    let (stored, planned) = (host.stored(), host.dr([&import[..], &["--dry-run"]].concat()).ok());
    assert!(planned.contains("with Secret opschain-vault-config") && host.stored() == stored, "{planned}");
    host.dr(import).ok();
    host.dr(["bundle", "verify", "--decrypt"]).ok();
    host.dr(import).fails(64, &["this backup was imported before, as bundle"]);

    let name = opschain_s_own_is_imported(&host, kept.to_str().unwrap());
    host.delete_namespace();
    host.dr(["bundle", "restore", &name, "--not-held", "--yes"]).ok();
    host.assert_ledger_holds(&before);
    host.wait_rows(host.ledger().rows + 5);
    assert_eq!(host.replicas(), replicas, "as the values say");
}

/// What OpsChain's CronJob leaves: the stand-in has none, so a pod plays it, with a real backup of the live database, and a
/// logical one of a single line.
const OWN: &str = r#"
set -e
cd /opt/backup
mkdir -p periodic/20260820_020000 periodic/.20260822_020000 pre-deploy/20260821_090000
pg_basebackup -D periodic/20260820_020000 -Ft -z --wal-method=stream --checkpoint=fast \
  -d 'host=opschain-db-rw user=streaming_replica sslmode=verify-full sslrootcert=/ca/ca.crt sslcert=/certs/tls.crt sslkey=/certs/tls.key'
echo half > periodic/.20260822_020000/base.tar.gz
echo 'CREATE ROLE opschain;' > pre-deploy/20260821_090000/globals.sql
echo none > pre-deploy/20260821_090000/opschain.dump
for one in periodic/20260820_020000 pre-deploy/20260821_090000; do echo '{}' > $one/opschain-backup.json; done
"#;

/// OpsChain's own backups are listed and imported out of their volume. Returns the bundle's name.
fn opschain_s_own_is_imported(host: &Host, kept: &str) -> String {
    let image = ["get", "cluster.postgresql.cnpg.io", "opschain-db", "-o", "jsonpath={.status.image}"];
    let image = host.kubectl(&image).ok();
    let secret = |name: &str| json!({"secretName": name, "defaultMode": 0o640});
    let name = "opschain-db-backup";
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 26, "runAsGroup": 26, "fsGroup": 26},
            "containers": [{"name": "backup", "image": image.trim(), "command": ["bash", "-c", OWN], "volumeMounts": [
                {"name": "backup", "mountPath": "/opt/backup"},
                {"name": "certs", "mountPath": "/certs"},
                {"name": "ca", "mountPath": "/ca"}]}],
            "volumes": [
                {"name": "backup", "persistentVolumeClaim": {"claimName": name}},
                {"name": "certs", "secret": secret("opschain-db-replication")},
                {"name": "ca", "secret": secret("opschain-db-ca")}]}},
    ]});
    let file = host.home.path().join("own.json");
    fs::write(&file, objects.to_string()).unwrap();
    let before = host.listed();
    host.dr(["bundle", "list", "--built-in"]).fails(14, &["has no volume opschain-db-backup"]);
    host.kubectl(&["apply", "-f", file.to_str().unwrap()]).ok();
    wait(Duration::from_secs(120), "the backup to be made", || {
        let phase = host.kubectl(&["get", "pod", name, "-o", "jsonpath={.status.phase}"]).stdout;
        assert_ne!(phase, "Failed", "{}", host.kubectl(&["logs", name]).stdout);
        phase == "Succeeded"
    });
    let listed = host.dr(["bundle", "list", "--built-in"]).ok();
    for line in [
        "periodic/20260820_020000\tphysical\tcomplete\t",
        "pre-deploy/20260821_090000\tlogical\tcomplete\t",
        "periodic/.20260822_020000\tunknown\tnot finished\t",
        "dr bundle import --built-in periodic/20260820_020000",
    ] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    let import = |which: &str| host.dr(["bundle", "import", "--built-in", which, "--secrets", kept]);
    import("pre-deploy/20260821_090000").fails(64, &["is a logical one"]);
    import("periodic/20260820_020000").ok();
    let readers = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
    assert_eq!(readers, "", "no pod that reads is left");
    host.listed().difference(&before).next().unwrap().clone()
}
