//! `dr config parity`: two hosts, two vaults, no plaintext between them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// A host with a vault of its own.
struct Site {
    home: tempfile::TempDir,
    namespace: &'static str,
}

const KEYS: &[&str] =
    &["seed-of-both-sites-0123456789abcd", "salt-of-both-sites-0123456789abcd", "Pg-pass-of-both-sites-77"];

fn values(cluster: &str, primary_key: &str, password: &str) -> String {
    format!(
        "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  OPSCHAIN_PRIMARY_KEY: \"{primary_key}\"\n  OPSCHAIN_ENCRYPTION_SEED_KEY: \"{}\"\n  \
         OPSCHAIN_KEY_DERIVATION_SALT: \"{}\"\n  PGPASSWORD: \"{password}\"\ndb:\n  cnpg:\n    clusterName: {cluster}\n",
        KEYS[0], KEYS[1]
    )
}

impl Site {
    fn new(namespace: &'static str) -> Self {
        let site = Self { home: tempfile::tempdir().unwrap(), namespace };
        let (out, err, exit) = site.dr(&["init"]);
        assert_eq!(exit, 0, "{out}{err}");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn dr(&self, args: &[&str]) -> (String, String, i32) {
        let secrets = [KEYS, &["another-primary-key-0123456789ab"]].concat();
        crate::recorded::dr(self.home.path(), "/nonexistent", &[&["-n", self.namespace], args].concat(), &secrets)
    }

    fn json(&self, args: &[&str]) -> (serde_json::Value, i32) {
        let (out, err, exit) = self.dr(&[&["--output", "json"], args].concat());
        (serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}{err}")), exit)
    }

    /// Puts a deployment into this host's vault, as `dr deploy` does.
    fn record(&self, namespace: &str, values: &str) {
        crate::recorded::record(self.home.path(), namespace, Timestamp::now(), values);
    }

    /// The public key of this host.
    fn recipient(&self) -> String {
        let settings =
            dr::internals::settings::Settings::read(&self.path(".config/dr/dr.toml"), Some(self.home.path())).unwrap();
        settings.keys.recipients[0].clone()
    }
}

fn verdict<'j>(report: &'j serde_json::Value, key: &str) -> &'j str {
    let line = report["keys"].as_array().unwrap().iter().find(|line| line["key"] == key).unwrap();
    line["is"].as_str().unwrap()
}

#[test]
fn two_installs_of_one_vault_are_compared_by_name() {
    let site = Site::new("site-a");
    site.record("site-a", &values("site-a", "primary-of-both-sites-0123456789", KEYS[2]));
    site.record("site-b", &values("site-b", "primary-of-both-sites-0123456789", KEYS[2]));
    site.record("site-c", &values("site-a", "another-primary-key-0123456789ab", KEYS[2]));
    let (report, exit) = site.json(&["config", "parity", "live", "site-b.opschain"]);
    assert_eq!((exit, &report["ok"]), (0, &true.into()), "{report:#}");
    let (report, exit) = site.json(&["config", "parity", "live", "site-c.opschain:latest"]);
    assert_eq!(exit, 2, "{report:#}");
    assert_eq!(verdict(&report, "env.OPSCHAIN_PRIMARY_KEY"), "differs");
    assert_eq!(verdict(&report, "db.cnpg.clusterName"), "equal");
    assert_eq!(verdict(&report, "env.PGPASSWORD"), "equal");
    let (out, _, _) = site.dr(&["config", "parity", "live", "site-c.opschain"]);
    assert!(out.contains("equal, and must differ"), "{out}");
    let (_, err, exit) = site.dr(&["config", "parity", "live", "site-d.opschain"]);
    assert_eq!(exit, 14, "{err}");
    assert!(err.contains("NAMESPACE.RELEASE:SELECTOR"), "{err}");
}

#[test]
fn a_parity_file_proves_equality_to_the_host_it_is_for_and_tells_others_nothing() {
    let (a, b, stranger) = (Site::new("site-a"), Site::new("site-b"), Site::new("site-x"));
    a.record("site-a", &values("site-a", "primary-of-both-sites-0123456789", KEYS[2]));
    b.record("site-b", &values("site-b", "primary-of-both-sites-0123456789", KEYS[2]));
    stranger.record("site-x", &values("site-x", "primary-of-both-sites-0123456789", KEYS[2]));
    let file = a.path("site-a.json");
    let path = file.to_str().unwrap();
    let (made, exit) = a.json(&["config", "parity", "--export", path, "--to", &b.recipient()]);
    assert_eq!((exit, made["keys"].as_u64()), (0, Some(6)), "{made:#}");
    // The file gives nothing away: no value, and no digest of one without the sealed key.
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in KEYS.iter().chain(&["primary-of-both", "site-a\""]) {
        assert!(!text.contains(secret), "{text}");
    }
    let (report, exit) = b.json(&["config", "parity", path, "live"]);
    assert_eq!((exit, verdict(&report, "db.cnpg.clusterName")), (0, "differs"), "{report:#}");
    // The other way round, and from a values file.
    let plain = b.path("values.yaml");
    std::fs::write(&plain, values("site-b", "primary-of-both-sites-0123456789", "Pg-pass-of-site-b-only-99")).unwrap();
    let (report, exit) = b.json(&["config", "parity", plain.to_str().unwrap(), path]);
    assert_eq!((exit, verdict(&report, "env.PGPASSWORD")), (2, "differs"), "{report:#}");
    let (_, err, exit) = stranger.dr(&["config", "parity", path, "live"]);
    assert_eq!(exit, 15, "{err}");
    assert!(err.contains("--to") && err.contains(&b.recipient()), "{err}");
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_way_out() {
    let site = Site::new("site-a");
    site.record("site-a", &values("site-a", "primary-of-both-sites-0123456789", KEYS[2]));
    let file = site.path("a.json");
    let path = file.to_str().unwrap();
    assert_eq!(site.dr(&["config", "parity", "live", "--export", path]).2, 0);
    let (_, err, exit) = site.dr(&["config", "parity", "live", "--export", path]);
    assert_eq!(exit, 1, "never over a file: {err}");
    let (_, err, exit) = site.dr(&["config", "parity", path, path]);
    assert_eq!(exit, 64, "{err}");
    let (_, err, exit) = site.dr(&["config", "parity", "live"]);
    assert_eq!(exit, 64, "{err}");
    let changed = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&file).unwrap().replace(from, to);
        let other = site.path("changed.json");
        std::fs::write(&other, text).unwrap();
        site.dr(&["config", "parity", Path::new(&other).to_str().unwrap(), "live"])
    };
    assert_eq!(changed("\"format\": 1", "\"format\": 2").2, 18);
    assert_eq!(changed("\"sealed_key\": \"YWdl", "\"sealed_key\": \"AAAA").2, 17);
}
