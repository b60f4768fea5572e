//! A deployment in a host's vault, as `dr deploy` writes it, without a cluster; and `dr` on that host.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dr::internals::crypt::Signer;
use dr::internals::settings::Settings;
use dr::internals::values::overlay::{Layer, LayerKind};
use dr::internals::vault::{
    DeploymentOutcome, DeploymentStatus, FORMAT, How, Intent, RecordedChart, RecordedInstall, Vault,
};
use jiff::Timestamp;

/// Puts a deployment that went live as revision 1 into the vault that this home's settings name, and returns its id.
pub fn record(home: &Path, namespace: &str, at: Timestamp, values: &str) -> String {
    let settings = Settings::read(&home.join(".config/dr/dr.toml"), Some(home)).unwrap();
    let signer = Signer::load(settings.keys.signing_key.as_ref().unwrap()).unwrap();
    let sign = Arc::new(move |bytes: &[u8]| signer.sign("git", bytes).map_err(|e| e.to_string()));
    let vault = Vault::open(settings.vault.path.as_ref().unwrap(), sign).unwrap();
    let intent = Intent {
        install: RecordedInstall {
            namespace: namespace.parse().unwrap(),
            release: "opschain".parse().unwrap(),
            context: None,
            cluster: None,
        },
        at,
        by: "operator@host".into(),
        why: None,
        how: How::Deploy,
        opschain_version: Some("2026-08-20".into()),
        chart: RecordedChart {
            name: "opschain".into(),
            version: "2026.8.20".into(),
            app_version: None,
            reference: "oci://r/opschain".into(),
            digest: None,
        },
        helm: None,
        operator: None,
        bundle_before: None,
    };
    let id = vault.record_layers(intent, &[Layer::new(LayerKind::Values, values.as_bytes())], None).unwrap();
    let outcome = DeploymentOutcome {
        format: FORMAT,
        id: id.clone(),
        at,
        status: DeploymentStatus::Deployed,
        helm_revision: Some(1),
        images: Vec::new(),
        seconds: 1.0,
        error: None,
    };
    vault.record_outcome(outcome, "operator@host").unwrap();
    id.to_string()
}

/// Runs `dr` in that home without a cluster, and gives what it said and its exit code. None of `secrets` may be said.
pub fn dr(home: &Path, path: &str, args: &[&str], secrets: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_dr"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("DR_WHO", "operator")
        .env("PATH", path)
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    for secret in secrets {
        assert!(!out.contains(secret) && !err.contains(secret), "{args:?}: a secret is shown: {out}{err}");
    }
    (out, err, output.status.code().unwrap())
}
