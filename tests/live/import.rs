//! Backups that people made without `dr`.

use std::fs;

use crate::host::{Host, VERSION};

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
    let name = host.listed().pop_first().unwrap();

    host.delete_namespace();
    host.dr(["bundle", "restore", &name, "--not-held", "--yes"]).ok();
    host.assert_ledger_holds(&before);
    host.wait_rows(host.ledger().rows + 5);
    assert_eq!(host.replicas(), replicas, "as the values say");
}
