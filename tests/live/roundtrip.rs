//! From nothing to a bundle to nothing to the same install again.

use crate::directory;
use crate::host::{Host, VERSION};
use crate::volumes::{self, GIT, REGISTRY};

/// The demo's path: everything is burnt but the bundle, the identity and the list of trusted signers. The release is
/// called otherwise than by default, and only the bundle says so afterwards.
#[test]
#[ignore = "needs the lab: make live"]
fn a_bundle_and_a_key_bring_back_every_row_and_every_byte_of_config() {
    let mut host = Host::new("roundtrip");
    host.release = Some("chain-b");
    let values = host.deploy(VERSION);
    let original = std::fs::read(&values).unwrap();
    directory::fill(&host);
    let (before, replicas, people) = (host.ledger(), host.replicas(), directory::entries(&host));
    for claim in [GIT, REGISTRY] {
        volumes::fill(&host, claim);
    }
    let files = [GIT, REGISTRY].map(|claim| volumes::seen(&host, claim));
    host.dr(["bundle", "create", "--with", "git,gti", "--dry-run"]).fails(14, &["\"gti\"", "git, steps, registry"]);
    let failed = host.dr_with_fault("volume-chunk=fail", ["bundle", "create", "--with", "git", "--yes"]);
    assert_ne!(failed.code, 0, "{failed}");
    let left = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
    assert_eq!((left.as_str(), host.listed().len()), ("", 0), "what a failed reading has left");
    let bundle = host.bundle(&["--with", "git,registry"]);
    let (names, scope) = volumes::said_of(&host, &bundle);
    assert_eq!(names, ["git", "registry"]);
    let has = |what: &str| scope.iter().any(|item| item == what);
    assert!(has("a still copy of volume git") && has("step data and build caches"), "{scope:?}");
    assert!(!has("mirrors of project Git repositories") && !has("agent images in the image registry"), "{scope:?}");
    assert_eq!(directory::said_of(&host, &bundle), (Some(6), None));
    // The writer wrote while the bundle was made.
    host.wait_rows(before.rows + 5);
    let verified = host.dr(["bundle", "verify", "--decrypt"]).ok();
    assert!(verified.contains("volume registry: "), "{verified}");
    let listed = host.dr(["bundle", "list"]).ok();
    assert!(listed.contains(bundle.file_stem().unwrap().to_str().unwrap()), "{listed}");

    // What a safe would hold.
    let safe = host.home.path().join("safe");
    std::fs::create_dir(&safe).unwrap();
    let keep = |path: std::path::PathBuf, name: &str| {
        std::fs::copy(&path, safe.join(name)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        safe.join(name).to_str().unwrap().to_owned()
    };
    let file = keep(bundle.clone(), "bundle.tar");
    let identity = keep(host.setting("keys", "identity"), "identity.txt");
    let signers = keep(host.setting("keys", "trusted_signers"), "signers");
    host.delete_namespace();
    host.forget();
    host.release = None;
    std::fs::remove_file(&values).unwrap();

    host.dr([
        "bundle",
        "restore",
        &file,
        "--version",
        VERSION,
        "--identity",
        &identity,
        "--trusted-signers",
        &signers,
        "--yes",
    ])
    .ok();
    host.assert_ledger_holds(&before);
    assert_eq!(
        host.kubectl(&["get", "secret", "sh.helm.release.v1.chain-b.v1", "-o", "jsonpath={.type}"]).ok(),
        "helm.sh/release.v1"
    );
    let after = host.ledger();
    host.wait_rows(after.rows + 5);
    assert_eq!(host.replicas(), replicas, "as the values say");
    directory::assert_back(&host, &people);
    assert_eq!([GIT, REGISTRY].map(|claim| volumes::seen(&host, claim)), files, "every file, owner, mode and time");
    assert_eq!(
        host.kubectl(&["get", "pod", "opschain-image-registry-0", "-o", "jsonpath={.status.phase}"]).ok(),
        "Running"
    );
    let plan = host.dr(["--output", "json", "bundle", "show", &file, "--trusted-signers", &signers]).ok();
    let shown: serde_json::Value = serde_json::from_str(&plan).unwrap();
    use sha2::Digest;
    assert_eq!(shown["values_sha256"], hex::encode(sha2::Sha256::digest(&original)), "the exact bytes");
    let sealed = crate::host::command("tar").args(["-xOf", &file, "config/values.yaml.age"]);
    let opened = sealed.pipe_to(&["age", "-d", "-i", &identity]);
    assert_eq!(opened, original, "tar and age alone give the exact bytes");
}
