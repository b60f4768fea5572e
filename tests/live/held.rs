//! A copy beside its original: other values, another namespace, held until somebody answers for its start.

use crate::host::{Host, VERSION, command};

/// The stand-in's chart of the release, as the tree has it.
fn chart(host: &Host) -> String {
    let (out, root) = (host.home.path().join("charts"), env!("CARGO_MANIFEST_DIR"));
    command(format!("{root}/fixtures/charts/package")).arg(&out).run().ok();
    out.join("opschain-2026.8.20.tgz").to_str().unwrap().to_owned()
}

/// Two instances, a backup before each upgrade, and a token that a failover has left.
const SITE: &str = "db:\n  cnpg:\n    instances: 2\n    replica: {promotionToken: kHollyhockMarmalade}\n  backup: {preDeploy: {enabled: true}}\n";

#[test]
#[ignore = "needs the lab: make live"]
fn a_copy_beside_its_original_is_held_and_has_its_instances_and_values() {
    let mut host = Host::new("held");
    let original = host.namespace.clone();
    let (values, site, chart) = (host.values(VERSION), host.home.path().join("site.yaml"), chart(&host));
    std::fs::write(&site, SITE).unwrap();
    let files = ["deploy", "-f", values.to_str().unwrap(), "-f", site.to_str().unwrap()];
    host.dr(files.into_iter().chain(["--version", VERSION, "--chart", &chart, "--yes"])).ok();
    host.wait_rows(20);
    let before = host.ledger();
    let identifier = host.sql("SELECT system_identifier FROM pg_control_system()");
    let bundle = host.bundle(&[]);
    let bundle = bundle.to_str().unwrap();

    host.namespace = format!("{original}-copy");
    host.delete_namespace();
    // Other keys than the data is written with are refused before anything is made.
    let text = std::fs::read_to_string(&values).unwrap();
    let key = text.lines().find(|line| line.trim_start().starts_with("OPSCHAIN_PRIMARY_KEY:")).unwrap();
    let wrong = host.home.path().join("wrong.yaml");
    std::fs::write(&wrong, text.replace(key, "  OPSCHAIN_PRIMARY_KEY: \"kWrongWrongWrongWrongWrongWrong1\"")).unwrap();
    let restore = ["bundle", "restore", bundle, "--any-signer", "--strategy", "hibernate", "--yes"];
    let with = |config: &std::path::Path| {
        restore.iter().map(|word| (*word).to_owned()).chain(["--config".into(), config.to_str().unwrap().into()])
    };
    host.dr(with(&wrong)).fails(26, &["env.OPSCHAIN_PRIMARY_KEY", "does not fit the data"]);
    assert_ne!(command("kubectl").args(["get", "namespace", &host.namespace]).run().code, 0, "nothing was made");

    let plan = host.dr(restore.iter().copied().chain(["--dry-run"])).ok();
    let said = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["held, with no workers", "promotionToken is left out", "env.OPSCHAIN_KUBERNETES_NAMESPACE will be"] {
        assert!(said.contains(words), "does not say `{words}`: {plan}");
    }
    let report = host.dr(restore).ok();
    assert!(report.contains("held: nothing scheduled runs") && report.contains("server start"), "{report}");
    host.assert_ledger_holds(&before);
    assert_eq!(host.replicas(), ["1", "0"], "the API serves, and there are no workers");
    let label = "cnpg.io/cluster=opschain-db,cnpg.io/podRole=instance";
    let pods = host.kubectl(&["get", "pods", "-l", label, "-o", "jsonpath={.items[*].metadata.name}"]).ok();
    assert_eq!(pods.split_whitespace().count(), 2, "{pods}");
    for pod in pods.split_whitespace() {
        let system = "SELECT system_identifier FROM pg_control_system()";
        let psql = ["exec", pod, "-c", "postgres", "--", "psql", "-XAtq", "-U", "postgres", "-c", system];
        assert_eq!(host.kubectl(&psql).ok().trim(), identifier, "{pod}");
    }
    assert_eq!(host.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"), "1");
    let config = host.kubectl(&["get", "configmap", "opschain-config", "-o", "jsonpath={.data}"]).ok();
    assert!(config.contains(&format!("\"OPSCHAIN_KUBERNETES_NAMESPACE\":\"{}\"", host.namespace)), "it follows");

    // The original lives: nobody starts the copy by accident.
    host.dr(["server", "start"]).fails(27, &["Start the workers"]);
    assert_eq!(host.replicas(), ["1", "0"]);
    let plan = host.dr(["server", "start", "--dry-run"]).ok();
    assert!(plan.split_whitespace().collect::<Vec<_>>().join(" ").contains("its original lives"), "{plan}");
    host.dr(["server", "start", "--yes"]).ok();
    assert!(host.replicas().iter().all(|count| count != "0"), "{:?}", host.replicas());
    let drift = host.dr(["config", "drift"]).ok();
    assert!(drift.contains("1 difference that is ignored") && drift.contains("started by dr"), "no drift: {drift}");

    // With values of its own, over the original's bundle, and nobody held.
    host.delete_namespace();
    let text = text.replace(&format!("OPSCHAIN_KUBERNETES_NAMESPACE: {original}"), "OPSCHAIN_KUBERNETES_NAMESPACE: NS");
    let own = host.home.path().join("own.yaml");
    std::fs::write(&own, text.replace("NAMESPACE: NS", &format!("NAMESPACE: {}", host.namespace))).unwrap();
    // And under another name: volumes, services and the vault's address follow.
    let renamed = with(&own).chain(["--not-held", "--database", "copy-db"].map(str::to_owned));
    host.dr(renamed).ok();
    host.database = "copy-db".into();
    host.assert_ledger_holds(&before);
    assert!(host.replicas().iter().all(|count| count != "0"), "{:?}", host.replicas());
    assert_eq!(host.sql("SELECT count(*) FROM pg_stat_replication"), "0", "these values ask for one instance");
    host.wait_rows(host.ledger().rows + 3);
    let claims = host.kubectl(&["get", "pvc", "-l", "cnpg.io/cluster", "-o", "name"]).ok();
    assert_eq!(claims.trim(), "persistentvolumeclaim/copy-db-1");

    host.delete_namespace();
    host.namespace = original;
}
