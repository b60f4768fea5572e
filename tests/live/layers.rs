//! Values in several layers, through a bundle and back.

use std::path::Path;

use serde_json::{Value, json};

use crate::host::{Host, VERSION, command, lab};

/// What the second file lays over the first, written as a person writes it.
const OVER: &str = "\
# this site only
apiWorker:
  replicas: 1     # one is enough here
env:
  TZ: Europe/Berlin
  OPSCHAIN_LDAP_ORGANISATION:
";

/// What helm has stored.
fn helm_values(host: &Host) -> Value {
    let ran = command("helm").args(["get", "values", "opschain", "-n", &host.namespace, "-o", "json"]).run();
    serde_json::from_str(&ran.ok()).unwrap()
}

fn live(host: &Host) -> Value {
    serde_json::from_str(&host.dr(["-o", "json", "config", "show", "live"]).ok()).unwrap()
}

/// Kind and name of each layer of a record.
fn layers(shown: &Value) -> Vec<(String, Value)> {
    let layers = shown["record"]["layers"].as_array().unwrap().iter();
    layers.map(|layer| (layer["kind"].as_str().unwrap().to_owned(), layer["name"].clone())).collect()
}

fn layer(host: &Host, number: &str) -> String {
    host.dr(["config", "cat", "live", "--layer", number]).ok()
}

fn opened(bundle: &Path, identity: &str, member: &str) -> Vec<u8> {
    let sealed = command("tar").args(["-xOf", bundle.to_str().unwrap(), member]);
    sealed.pipe_to(&["age", "-d", "-i", identity])
}

/// Everything that this host knows is gone, and the namespace; a new host has the bundle and what a safe would hold.
fn burn(host: &Host, safe: &Path) {
    host.delete_namespace();
    host.forget();
    let escrow = command("age-keygen").arg("-y").arg(safe.join("identity.txt")).run().ok();
    host.dr(["init", "--recipient", escrow.trim()]).ok();
}

fn restore(host: &Host, safe: &Path, more: &[&str]) {
    let file = |name: &str| safe.join(name).to_str().unwrap().to_owned();
    let [bundle, identity, signers] = ["bundle.tar", "identity.txt", "signers"].map(file);
    let keys = ["bundle", "restore", &bundle, "--identity", &identity, "--trusted-signers", &signers, "--yes"];
    host.dr([&keys, more].concat()).ok();
}

#[test]
#[ignore = "needs the lab: make live"]
fn layers_travel_in_the_bundle_and_are_what_the_restored_install_is_recorded_with() {
    let host = Host::new("layers");
    let first = host.values(VERSION);
    let over = host.home.path().join("over.yaml");
    std::fs::write(&over, OVER).unwrap();
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    let files = ["-f", first.to_str().unwrap(), "-f", over.to_str().unwrap()];
    let sets = ["--set-string", "env.SITE_CODE=007", "--set", "env.SITE_FLOOR=3"];
    let rest = ["--version", VERSION, "--chart", &chart, "--yes"];
    host.dr([&["deploy"], &files[..], &sets, &rest].concat()).ok();
    host.wait_rows(20);
    let (before, values, shown) = (host.ledger(), helm_values(&host), live(&host));
    assert_eq!((&values["env"]["SITE_CODE"], &values["apiWorker"]["replicas"]), (&"007".into(), &1.into()));
    let expected = [
        ("values", json!(first.to_str().unwrap())),
        ("values", json!(over.to_str().unwrap())),
        ("set", Value::Null),
        ("set-string", Value::Null),
    ]
    .map(|(kind, name)| (kind.to_owned(), name));
    assert_eq!(layers(&shown), expected, "{shown:#}");
    let bundle = host.bundle(&[]);
    host.dr(["bundle", "verify", "--decrypt"]).ok();

    let safe = host.home.path().join("safe");
    std::fs::create_dir(&safe).unwrap();
    let identity = safe.join("identity.txt").to_str().unwrap().to_owned();
    std::fs::copy(&bundle, safe.join("bundle.tar")).unwrap();
    std::fs::copy(host.setting("keys", "identity"), &identity).unwrap();
    std::fs::copy(host.setting("keys", "trusted_signers"), safe.join("signers")).unwrap();
    let (bundle, given) = (safe.join("bundle.tar"), std::fs::read_to_string(&first).unwrap());

    // By hand: what helm read, and the layers as they were given, behind the line that the vault puts before all but the
    // first file.
    let open = |name: &str| opened(&bundle, &identity, &format!("config/{name}.age"));
    let merged: Value = serde_json::from_slice(&open("values.yaml")).unwrap();
    assert_eq!(merged, values, "what helm read");
    let release: Value = serde_json::from_slice(&open("release.json")).unwrap();
    let list = release["sealed_layers"].as_array().unwrap();
    let mut texts: Vec<Vec<u8>> = list.iter().map(|layer| open(layer["file"].as_str().unwrap())).collect();
    for text in &mut texts[1..] {
        let line = text.iter().position(|byte| *byte == b'\n').unwrap();
        text.drain(..=line);
    }
    let set: [&[u8]; 2] = [b"env.SITE_FLOOR=3", b"env.SITE_CODE=007"];
    assert_eq!(texts, [given.as_bytes(), OVER.as_bytes(), set[0], set[1]], "byte for byte");

    burn(&host, &safe);
    restore(&host, &safe, &["--version", VERSION]);
    host.assert_ledger_holds(&before);
    assert_eq!(helm_values(&host), values);
    let restored = live(&host);
    assert_eq!((layers(&restored), &restored["record"]["how"]), (expected.to_vec(), &json!("restore")));
    let sha256 = |shown: &Value| shown["record"]["merged_sha256"].as_str().unwrap().to_owned();
    assert_eq!(sha256(&restored), sha256(&shown), "what helm makes of them");
    let kept = ["0", "1", "2", "3"].map(|number| layer(&host, number));
    assert_eq!(kept, [given.as_str(), OVER, "env.SITE_FLOOR=3", "env.SITE_CODE=007"]);
    host.dr(["config", "verify", "--decrypt"]).ok();
    host.dr(["config", "drift"]).ok();

    // The next release goes over what was put back: Helm finds its own marks, whatever they name.
    let next = "2026-09-14";
    let to_next = [
        "--version",
        next,
        "--chart",
        &chart,
        "--yes",
        "--no-wait",
        "--set",
        "env.OPSCHAIN_VERSION=2026-09-14",
        "--allow",
        "skipped-releases",
    ];
    host.dr([&["deploy"], &files[..], &to_next].concat()).ok();

    // Restored to run the next release: its name goes over the layers, and the record says so.
    burn(&host, &safe);
    restore(&host, &safe, &["--version", next, "--chart", &chart]);
    host.assert_ledger_holds(&before);
    let mut newer = values.clone();
    newer["env"]["OPSCHAIN_VERSION"] = next.into();
    assert_eq!(helm_values(&host), newer);
    let restored = live(&host);
    assert_eq!(restored["record"]["opschain_version"], next);
    let kinds: Vec<String> = layers(&restored).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["values", "values", "set", "set", "set-string"]);
    assert_eq!(layer(&host, "3"), format!("env.OPSCHAIN_VERSION={next}"));
    host.dr(["config", "drift"]).ok();
    // What a bundle needs is there: the vault knows what is live. Restored, it is upgraded to the release after it.
    let before = host.ledger();
    std::fs::copy(host.bundle(&[]), &bundle).unwrap();
    std::fs::copy(host.setting("keys", "trusted_signers"), safe.join("signers")).unwrap();
    burn(&host, &safe);
    restore(&host, &safe, &["--version", "2026-10-08", "--then-upgrade", "--chart", &chart]);
    host.assert_ledger_holds(&before);
    let upgraded = live(&host);
    assert_eq!(
        (&upgraded["record"]["opschain_version"], &upgraded["record"]["how"]),
        (&"2026-10-08".into(), &"deploy".into())
    );
    assert_eq!(helm_values(&host)["env"]["OPSCHAIN_VERSION"], "2026-10-08");
    let log: Value = serde_json::from_str(&host.dr(["-o", "json", "config", "log"]).ok()).unwrap();
    let restored = &log["deployments"][1];
    assert_eq!((&restored["how"], &restored["version"]), (&"restore".into(), &next.into()), "{log:#}");
}
