//! `dr bundle diff`: values by path and masked, database by files, versions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dr::DirectoryStore;
use dr::internals::bundle::SIGNATURE_NAMESPACE;
use dr::internals::crypt::{Hashed, Identities, Recipients, Signer};
use dr::internals::event::Events;
use dr::internals::values::overlay;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::dr;
use crate::sample::{Content, SYSTEM, backup_manifest, files, header_of, tar_of, write_content};

const OLD: &str = "opschain-20260820T101500Z-0a1b2c";
const NEW: &str = "opschain-20260914T101500Z-5d6e7f";

/// A home with keys, and a store that bundles are put into.
struct Home {
    folder: tempfile::TempDir,
    identities: Identities,
    signer: Signer,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (identities, signer) = (Identities::generate(), Signer::generate("backup@test").unwrap());
        let settings = folder.path().join(".config/dr");
        fs::create_dir_all(&settings).unwrap();
        let home = Self { folder, identities, signer };
        let (identity, signers) = (settings.join("identity.txt"), settings.join("allowed_signers"));
        fs::write(&identity, home.identities.to_file_text().as_bytes()).unwrap();
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&signers, home.signer.trust_line("backup@test", &[SIGNATURE_NAMESPACE])).unwrap();
        let store = home.store();
        DirectoryStore::create(&store).unwrap();
        let text =
            format!("[store]\npath = {store:?}\n[keys]\nidentity = {identity:?}\ntrusted_signers = {signers:?}\n");
        fs::write(settings.join("dr.toml"), text).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn store(&self) -> std::path::PathBuf {
        self.path().join("store")
    }

    fn recipients(&self) -> Recipients {
        Recipients::parse(self.identities.recipients()).unwrap()
    }

    /// Publishes a bundle of that name, made by that version, with that content.
    fn publish(&self, name: &str, version: &str, content: &Content) {
        let created = name.split('-').nth(1).unwrap();
        let created = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", created).unwrap();
        let created = created.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().to_string();
        let mut header = header_of(version, &created);
        header.id = name.parse().unwrap();
        header.postgresql.system_identifier.clone_from(&content.database.system_identifier);
        let store = DirectoryStore::open_folder(&self.store()).unwrap();
        let made = write_content(&store, header, self.recipients(), &self.signer, content).unwrap();
        made.verify(&Events::none(), &CancellationToken::new()).unwrap().publish(&store).unwrap();
    }

    fn with_values(&self, values: &str, mut content: Content) -> Content {
        let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let sealed = Hashed::of(self.recipients().seal(values.as_bytes()).unwrap());
        let document = overlay::document_of_file(values.as_bytes()).unwrap();
        content.values = Some((sealed, digest(values.as_bytes()), digest(&document)));
        content
    }

    fn diff(&self, flags: &[&str]) -> String {
        dr(self.path(), &[&["bundle", "diff"], flags].concat())
    }
}

fn of_files(files: &[(&str, Vec<u8>)]) -> Content {
    Content { base: tar_of(files), backup_manifest: backup_manifest(files), ..Content::good() }
}

/// What differs in any two bundles: where the backup begins.
fn later_files() -> Vec<(&'static str, Vec<u8>)> {
    let mut later = files();
    later[0].1.extend_from_slice(b"LABEL: later\n");
    later.last_mut().unwrap().1[100] = 1;
    later
}

/// Two bundles in which everything differs.
fn two(home: &Home) {
    let mut old = files();
    old.push(("base/5/16390", vec![1; 9_000]));
    old.push(("base/5/16391", vec![1; 5_000]));
    old.push(("pg_xact/0000", vec![1; 8192]));
    let mut new = later_files();
    new.push(("base/5/16390", vec![1; 50_000]));
    new.push(("base/5/16390_vm", vec![1; 8192]));
    new.push(("base/6/16400", vec![2; 3_000]));
    new.push(("pg_xact/0000", vec![2; 8192]));
    let (mut old, mut new) = (of_files(&old), of_files(&new));
    old.release = br#"{"revision": 3, "operator": "1.27.0", "helm": "4.1.4", "kubernetes": "v1.34.1"}"#;
    new.release = br#"{"revision": 4, "operator": "1.28.0", "helm": "4.1.4", "kubernetes": "v1.34.1"}"#;
    let values = "env: {PGPASSWORD: hunter22hunter22, TZ: UTC}\napi: {replicas: 1}\n";
    home.publish(OLD, "2026-08-20", &home.with_values(values, old));
    let values = "env: {PGPASSWORD: hunter33hunter33, TZ: UTC}\napi: {replicas: 2}\n";
    home.publish(NEW, "2026-09-14", &home.with_values(values, new));
}

#[test]
fn what_differs_is_told_by_path_by_file_and_by_version_and_no_secret_is() {
    let home = Home::new();
    two(&home);
    let said = home.diff(&[OLD, NEW, "--top", "3"]);
    assert!(!said.contains("hunter") && said.ends_with("--- exit 2"), "{said}");
    let fingerprints = regex::Regex::new("#[0-9a-f]{8}").unwrap();
    let sizes = regex::Regex::new("size\t.*").unwrap();
    insta::assert_snapshot!(sizes.replace(&fingerprints.replace_all(&said, "#FINGERPRINT"), "size\tSIZES"));
    // The newest is meant when one is named.
    assert_eq!(fingerprints.replace_all(&home.diff(&[OLD, "--top", "3"]), ""), fingerprints.replace_all(&said, ""));
}

#[test]
fn json_has_all_of_it() {
    let home = Home::new();
    two(&home);
    let said = home.diff(&[OLD, NEW, "--output", "json", "--top", "1"]);
    let json: serde_json::Value = serde_json::from_str(said.split_once("--- stderr").unwrap().0).unwrap();
    assert_eq!((&json["differs"], &json["same_database"]), (&true.into(), &true.into()));
    assert_eq!(json["from"]["versions"]["operator"], "1.27.0");
    assert_eq!(json["values"]["changes"].as_array().unwrap().len(), 2);
    let relations: Vec<&str> = json["database"]["relations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|relation| relation["path"].as_str().unwrap())
        .collect();
    assert_eq!(relations, ["base/5/16390", "base/5/16391", "base/6/16400", "pg_xact/0000"]);
    assert_eq!(json["database"]["removed"], serde_json::json!({"files": 1, "bytes": 5000}));
}

#[test]
fn nothing_written_between_two_bundles_is_no_difference_and_nothing_of_the_data_is_read() {
    let home = Home::new();
    home.publish(OLD, "2026-08-20", &of_files(&files()));
    home.publish(NEW, "2026-08-20", &of_files(&later_files()));
    // All chunks of the second are damaged.
    let path = home.store().join(NEW).join(format!("{NEW}.tar"));
    let mut bytes = fs::read(&path).unwrap();
    let chunks: Vec<usize> = (0..bytes.len())
        .step_by(512)
        .filter(|at| {
            let block = &bytes[*at..];
            block.starts_with(b"db/base/0") || block.starts_with(b"db/wal/0")
        })
        .collect();
    assert!(chunks.len() > 4);
    chunks.iter().for_each(|at| bytes[at + 600] ^= 1);
    fs::write(&path, bytes).unwrap();
    assert!(dr(home.path(), &["bundle", "verify", NEW]).ends_with("--- exit 17"));
    let said = home.diff(&[OLD, NEW]);
    assert!(said.contains("Values: the same, byte for byte") && said.contains("Every file is the same"), "{said}");
    assert!(said.ends_with("--- exit 0"), "{said}");
}

#[test]
fn bundles_of_two_databases_are_called_that() {
    let home = Home::new();
    home.publish(OLD, "2026-08-20", &Content::good());
    let mut other = Content::good();
    other.database.system_identifier = (SYSTEM + 1).to_string();
    home.publish(NEW, "2026-08-20", &other);
    let said = home.diff(&[OLD, NEW]);
    assert!(said.contains("not bundles of one database") && said.ends_with("--- exit 2"), "{said}");
}

#[test]
fn what_cannot_be_opened_is_not_compared() {
    let home = Home::new();
    home.publish(OLD, "2026-08-20", &Content::good());
    assert!(home.diff(&[OLD, "opschain-2030"]).ends_with("--- exit 14"));
    let stranger = crate::bundles::fixture("keys/stranger-identity.txt").display().to_string();
    assert!(home.diff(&[OLD, OLD, "--identity", &stranger]).ends_with("--- exit 15"));
    let file = crate::bundles::bundle().display().to_string();
    assert!(home.diff(&[OLD, &file]).ends_with("--- exit 16"));
}
