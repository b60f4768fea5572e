//! Volumes beside the database's: how a test fills some, and looks at them. In the lab they are folders of this machine.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::host::Host;

/// What is known of a file: its kind, content, owner, group and mode, and when it was written.
type Seen = BTreeMap<String, String>;

pub const GIT: &str = "opschain-project-git-repos-claim";
pub const REGISTRY: &str = "data-vol-opschain-image-registry-0";

fn folder(host: &Host, claim: &str) -> PathBuf {
    let volume = host.kubectl(&["get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}"]).ok();
    let path = "jsonpath={.spec.local.path}{.spec.hostPath.path}";
    PathBuf::from(host.kubectl(&["get", "pv", volume.trim(), "-o", path]).ok().trim())
}

/// A file of every kind and shape that a bundle takes along, with owners of their own.
pub fn fill(host: &Host, claim: &str) {
    let root = folder(host, claim);
    let repo = root.join("J\u{f6}rg's repo.git");
    std::fs::create_dir_all(repo.join("objects")).unwrap();
    let noise: Vec<u8> = (0..3u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(repo.join("objects/a pack"), noise).unwrap();
    std::fs::write(repo.join("empty"), "").unwrap();
    std::fs::write(repo.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::hard_link(repo.join("HEAD"), repo.join("another name")).unwrap();
    symlink("../J\u{f6}rg's repo.git/HEAD", repo.join("link")).unwrap();
    for (path, owner, mode) in [("objects/a pack", 1000, 0o440), ("HEAD", 1001, 0o600), ("objects", 1000, 0o2770)] {
        chown(repo.join(path), Some(owner), Some(2000)).unwrap();
        std::fs::set_permissions(repo.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// All that is in the volume.
pub fn seen(host: &Host, claim: &str) -> Seen {
    fn walk(root: &Path, folder: &Path, seen: &mut Seen) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let facts = std::fs::symlink_metadata(&path).unwrap();
            let content = if facts.is_dir() {
                walk(root, &path, seen);
                "folder".to_owned()
            } else if facts.is_symlink() {
                std::fs::read_link(&path).unwrap().display().to_string()
            } else {
                hex::encode(Sha256::digest(std::fs::read(&path).unwrap()))
            };
            let (mode, uid, gid) = (facts.mode(), facts.uid(), facts.gid());
            let said = format!("{content} {mode:o} {uid}:{gid} {} links, {}", facts.nlink(), facts.mtime());
            seen.insert(path.strip_prefix(root).unwrap().display().to_string(), said);
        }
    }
    let (root, mut seen) = (folder(host, claim), Seen::new());
    walk(&root, &root, &mut seen);
    assert!(seen.len() >= 7, "{seen:?}");
    seen
}

/// What the bundle says of its volumes: their names, and what the scope has of the rest.
pub fn said_of(host: &Host, bundle: &Path) -> (Vec<String>, Vec<String>) {
    let shown = host.dr(["--output", "json", "bundle", "show", bundle.to_str().unwrap()]).ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names = shown["volumes"].as_array().into_iter().flatten().map(|volume| text(&volume["volume"])).collect();
    let scope = shown["scope"].as_array().unwrap().iter().map(|item| text(&item["what"])).collect();
    (names, scope)
}
