//! A database of another PostgreSQL than the one that the lab's own images have.

use crate::host::{Host, VERSION, lab};

/// Bundled, refused under the older one, and restored.
#[test]
#[ignore = "needs the lab: make live"]
fn a_database_of_a_newer_postgresql_comes_back_under_its_own_and_under_no_other() {
    let (older, newer) = (lab("LAB_PG_VERSION"), lab("LAB_PG_NEXT_VERSION"));
    let major = |version: &str| version.split('.').next().unwrap().to_owned();
    let host = Host::new("newer-postgres");
    let values = host.deploy_with(VERSION, |text| text.replace(&older, &newer));
    assert!(host.sql("SHOW server_version").starts_with(&major(&newer)));
    let before = host.ledger();
    let bundle = host.bundle(&[]);
    let bundle = bundle.to_str().unwrap();
    host.dr(["bundle", "verify", bundle, "--decrypt"]).ok();
    assert!(host.dr(["bundle", "show", bundle]).ok().contains(&newer));
    host.delete_namespace();

    let of_older = host.home.path().join("older.yaml");
    let text = std::fs::read_to_string(values).unwrap().replace(&newer, &older);
    std::fs::write(&of_older, text).unwrap();
    let refused =
        host.dr(["bundle", "restore", bundle, "--version", VERSION, "--config", of_older.to_str().unwrap(), "--yes"]);
    refused.fails(19, &[&format!("is of PostgreSQL {}", major(&older)), "hint:"]);
    let made = host.kubectl(&["get", "all,pvc", "-o", "name"]).ok();
    assert!(made.trim().is_empty(), "nothing is made first: {made}");

    host.dr(["bundle", "restore", bundle, "--version", VERSION, "--yes"]).ok();
    host.assert_ledger_holds(&before);
    let after = host.ledger();
    host.wait_rows(after.rows + 5);
    assert!(host.sql("SHOW server_version").starts_with(&major(&newer)));
}
