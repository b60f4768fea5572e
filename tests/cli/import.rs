//! `dr bundle import` without a cluster: what it takes for a backup, and what it says of what is none.

use std::fs;
use std::path::Path;

use crate::bundles::{bundle, fixture, home};
use crate::dr;

/// The three files of a backup, out of the fixture.
fn backup(home: &Path, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let identity = fixture("keys/identity.txt");
    for (item, name) in
        [("base.tar", "base.tar"), ("pg_wal.tar", "pg_wal.tar"), ("db/backup_manifest", "backup_manifest")]
    {
        let (bundle, out) = (bundle(), folder.join(name));
        let said = dr(
            home,
            &[
                "bundle",
                "extract",
                bundle.to_str().unwrap(),
                item,
                "--out",
                out.to_str().unwrap(),
                "--identity",
                identity.to_str().unwrap(),
            ],
        );
        assert!(said.contains("--- exit 0"), "{said}");
    }
}

#[test]
fn a_folder_without_a_backup_is_told_what_is_missing_and_where_one_is() {
    let (home, _) = home();
    let parent = home.path().join("backups");
    backup(home.path(), &parent.join("20261123_075443"));
    let import = |folder: &Path| dr(home.path(), &["bundle", "import", folder.to_str().unwrap(), "--dry-run"]);
    let said = import(&parent);
    assert!(said.contains("has no base.tar.gz, no pg_wal.tar.gz, no backup_manifest"), "{said}");
    assert!(said.contains("20261123_075443") && said.contains("--- exit 14"), "{said}");
    fs::remove_file(parent.join("20261123_075443/pg_wal.tar")).unwrap();
    let said = import(&parent.join("20261123_075443"));
    assert!(said.contains("has no pg_wal.tar.gz\n"), "{said}");
    let logical = home.path().join("logical");
    fs::create_dir(&logical).unwrap();
    fs::write(logical.join("opschain.dump"), "").unwrap();
    assert!(import(&logical).contains("holds a logical backup"));
    assert!(import(&home.path().join("nowhere")).contains("--- exit 14"));
}

#[test]
fn a_manifest_that_was_changed_is_refused_before_anything_else() {
    let (home, store) = home();
    let folder = home.path().join("backup");
    backup(home.path(), &folder);
    let manifest = folder.join("backup_manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("9000", "9001", 1)).unwrap();
    let said = dr(home.path(), &["bundle", "import", folder.to_str().unwrap()]);
    assert!(said.contains("its own checksum does not fit it") && said.contains("--- exit 17"), "{said}");
    assert!(fs::read_dir(store).unwrap().next().is_none());
}
