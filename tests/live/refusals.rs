//! Wrong input: each refused before anything is touched, with cause, hint and its own exit code.

use std::path::{Path, PathBuf};

use crate::host::{Host, VERSION, command};

#[test]
#[ignore = "needs the lab: make live"]
fn what_cannot_work_is_refused_before_anything_is_touched() {
    let host = Host::new("refusals");
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
    restore(&["-n", &elsewhere, damaged.to_str().unwrap()]).fails(17, &["hint:"]);
    assert_ne!(command("kubectl").args(["get", "namespace", &elsewhere]).run().code, 0, "nothing was made");
    // No helm, no cluster.
    host.dr_command(["bundle", "restore", &file, "--yes"])
        .env("PATH", "/nonexistent")
        .run()
        .fails(11, &["helm", "hint:"]);
    host.dr_command(["bundle", "create"]).env("KUBECONFIG", "/nonexistent").run().fails(12, &["hint:"]);
    let dead = host.home.path().join("dead.conf");
    let kubeconfig = std::fs::read_to_string(crate::host::lab("KUBECONFIG")).unwrap();
    std::fs::write(&dead, kubeconfig.replace(":6443", ":6444")).unwrap();
    host.dr_command(["bundle", "create"]).env("KUBECONFIG", &dead).run().fails(12, &["hint:"]);
    // No room.
    let small = host.home.path().join("small");
    std::fs::create_dir(&small).unwrap();
    command("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&small).run().ok();
    let settings = host.home.path().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let store = host.setting("store", "path");
    std::fs::write(&settings, text.replace(store.to_str().unwrap(), small.to_str().unwrap())).unwrap();
    let full = host.dr(["bundle", "create"]);
    command("umount").arg(&small).run().ok();
    full.fails(23, &["free", "hint:"]);
    // None of this has touched the install.
    assert_eq!(host.replicas(), replicas);
    let (open, _): (Vec<_>, Vec<_>) = host.runs().into_iter().partition(|(_, state)| state == "open");
    assert!(open.is_empty(), "{open:?}");
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
