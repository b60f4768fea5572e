//! A bucket of a real S3 server as the store.

#[allow(dead_code)]
#[path = "../gateway/server.rs"]
pub mod server;

use server::{BUCKET, Gateway, SECRET};

use crate::host::{Host, VERSION};

/// Makes the bucket the host's store.
pub fn use_bucket(host: &Host, gateway: &Gateway) {
    let path = host.home.path().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let old = text.lines().skip_while(|line| *line != "[store]").nth(1).unwrap().to_owned();
    let new = format!(
        "url = \"s3://{BUCKET}/site\"\nendpoint = \"{}\"\ncredentials_file = \"{}\"",
        gateway.endpoint(),
        gateway.credentials().display()
    );
    std::fs::write(&path, text.replacen(&old, &new, 1)).unwrap();
}

/// How many objects with a bundle's bytes there are, listed or not.
fn tars(gateway: &Gateway) -> usize {
    gateway.files(|path| path.extension().is_some_and(|extension| extension == "tar")).len()
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_bundle_in_a_bucket_outlives_a_kill_its_server_and_the_namespace() {
    let mut gateway = Gateway::start();
    let host = Host::new("bucket");
    use_bucket(&host, &gateway);
    host.deploy(VERSION);
    let doctor = host.dr(["doctor"]);
    assert!(doctor.stdout.contains("s3://bundles/site: 0 bundles"), "{doctor}");
    // A run that is killed before the record is made leaves the bytes; the next one removes them.
    let killed = host.dr_with_fault("publish:before=kill", ["bundle", "create", "--yes"]);
    assert_ne!(killed.code, 0, "{killed}");
    assert_eq!((tars(&gateway), host.listed().len()), (1, 0), "{killed}");
    let before = host.ledger();
    let made = host.dr(["-vv", "bundle", "create", "--yes"]);
    assert_eq!(made.code, 0, "{made}");
    assert!(!made.stderr.contains(SECRET) && !made.stdout.contains(SECRET), "the key is shown");
    assert!(gateway.uploads().is_empty(), "an upload is left behind: {:?}", gateway.uploads());
    assert_eq!((tars(&gateway), host.listed().len()), (1, 1), "what the killed run left is still there");
    host.dr(["bundle", "show"]).ok();
    host.dr(["bundle", "verify", "--decrypt"]).ok();
    host.delete_namespace();
    gateway.kill();
    gateway.run();
    host.dr(["bundle", "restore", "--version", VERSION, "--yes"]).ok();
    host.assert_ledger_holds(&before);
    let after = host.ledger();
    host.wait_rows(after.rows + 5);
}
