//! Sites with rules of their own: quotas, limit ranges, pod security, nodes that are not for everybody.

use std::path::Path;
use std::time::{Duration, Instant};

use dr::internals::cluster::{Cluster, ClusterError};
use dr::internals::event::Events;
use serde_json::Value;

use crate::host::{Host, VERSION, command, lab, wait};

/// A quota of this much memory, and a limit range that lets no container have more than 1 GiB.
fn rules(memory: &str) -> String {
    format!(
        "apiVersion: v1\nkind: List\nitems:\n\
         - {{apiVersion: v1, kind: ResourceQuota, metadata: {{name: compute}}, \
            spec: {{hard: {{limits.cpu: '40', limits.memory: {memory}, requests.cpu: '20', requests.memory: 40Gi}}}}}}\n\
         - {{apiVersion: v1, kind: LimitRange, metadata: {{name: sizes}}, spec: {{limits: [{{type: Container, \
            max: {{memory: 1Gi}}, default: {{cpu: '1', memory: 1Gi}}, defaultRequest: {{cpu: 20m, memory: 64Mi}}}}]}}}}\n"
    )
}

fn apply(host: &Host, objects: &str) {
    let file = host.home.path().join("objects.yaml");
    std::fs::write(&file, objects).unwrap();
    host.kubectl(&["apply", "-f", file.to_str().unwrap()]).ok();
}

fn label(host: &Host, label: &str) {
    command("kubectl").args(["label", "--overwrite", "namespace", &host.namespace, label]).run().ok();
}

/// The quota is counted a moment after it is made.
fn wait_counted(host: &Host) {
    wait(Duration::from_secs(60), "the quota to be counted", || {
        let used = host.kubectl(&["get", "resourcequota", "compute", "-o", "jsonpath={.status.used.limits\\.memory}"]);
        used.code == 0 && !used.stdout.is_empty()
    });
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_site_with_quota_limit_range_node_selector_and_pod_security_is_backed_up_and_restored() {
    let host = Host::new("site-rules");
    host.deploy(VERSION);
    let before = host.ledger();
    // The operator replaces the pod, which waits for as long for its clients to leave.
    let on_nodes = r#"{"spec": {"smartShutdownTimeout": 1, "affinity": {"nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "database-only", "operator": "Exists"}]}}}"#;
    host.kubectl(&["patch", "clusters.postgresql.cnpg.io", "opschain-db", "--type=merge", "-p", on_nodes]).ok();
    wait(Duration::from_secs(300), "the database's pod to be where it belongs", || {
        let selector = "jsonpath={.spec.nodeSelector} {.status.conditions[?(@.type=='Ready')].status}";
        host.kubectl(&["get", "pod", "opschain-db-1", "-o", selector]).stdout.trim().ends_with("\"linux\"} True")
    });
    apply(&host, &rules("40Gi"));
    label(&host, "pod-security.kubernetes.io/enforce=restricted");
    wait_counted(&host);
    let seen = host.dr(["doctor"]).stdout;
    assert!(seen.contains("admit the pods of a backup and of a restore"), "{seen}");
    let tried = host.dr(["doctor", "--probe"]).stdout;
    for pod in ["the pod of a backup serves after", "the pod of a restore serves after"] {
        let line = tried.lines().find(|line| line.contains(pod)).unwrap_or_else(|| panic!("{tried}"));
        assert!(line.contains("1.0 MiB there and back take"), "{tried}");
    }
    let helpers = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
    assert_eq!(helpers.trim(), "", "they are removed");
    // The application's own pods would not come back: it is not stopped.
    let (runs, replicas) = (host.runs(), host.replicas());
    let words = ["would not be admitted", "opschain-api", "PodSecurity"];
    host.dr(["bundle", "create", "--yes"]).fails(12, &words);
    assert_eq!((host.runs(), host.replicas()), (runs, replicas), "nothing was begun");

    let killed = host.dr_with_fault("start-helper:after=kill", ["bundle", "create", "--yes", "--quiesce", "none"]);
    assert_eq!(killed.code, 137, "{killed}");
    let pods = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/component=backup", "-o", "json"]).ok();
    let pods: Value = serde_json::from_str(&pods).unwrap();
    let spec = &pods["items"][0]["spec"];
    assert_eq!(spec["nodeSelector"]["kubernetes.io/os"], "linux", "{spec}");
    assert!(spec["tolerations"].to_string().contains("database-only"), "{spec}");
    assert_eq!(spec["containers"][0]["resources"]["limits"], serde_json::json!({"cpu": "2", "memory": "1Gi"}));
    host.dr(["run", "resume"]).ok();

    apply(&host, &rules("1Mi"));
    let runs = host.runs();
    let words = ["exceeded quota: compute", "[pods]"];
    host.dr(["bundle", "create", "--yes", "--quiesce", "none"]).fails(12, &words);
    assert_eq!(host.runs(), runs, "nothing was begun");
    apply(&host, &rules("40Gi"));
    wait(Duration::from_secs(60), "the larger quota", || {
        let hard = host.kubectl(&["get", "resourcequota", "compute", "-o", "jsonpath={.status.hard.limits\\.memory}"]);
        hard.stdout == "40Gi"
    });
    let bundle = host.bundle(&["--quiesce", "none"]);
    the_pod_of_the_way_by_hand_is_admitted(&host, &bundle);

    host.delete_namespace();
    command("kubectl").args(["create", "namespace", &host.namespace]).run().ok();
    apply(&host, &rules("100Mi"));
    wait_counted(&host);
    let restore = ["bundle", "restore", "--version", VERSION, "--yes"];
    host.dr(restore).fails(12, &["the pod that the restore works in would not be admitted: ", "exceeded quota"]);
    assert_eq!(host.runs()[0].0.split('-').next(), Some("create"), "no restore was begun");
    apply(&host, &rules("40Gi"));
    wait_counted(&host);
    host.dr(restore).ok();
    host.assert_ledger_holds(&before);
}

/// The one that the bundle's README makes, judged by the API server: by quota and pod security, as the namespace has them.
fn the_pod_of_the_way_by_hand_is_admitted(host: &Host, bundle: &Path) {
    let readme = command("tar").args(["-xOf", bundle.to_str().unwrap(), "README.md"]).run().ok();
    let manifest = readme.split("-f - <<END\n").nth(1).unwrap().split("\nEND\n").next().unwrap();
    let image = host.kubectl(&["get", "cluster", "opschain-db", "-o", "jsonpath={.status.image}"]).ok();
    let judged = |manifest: &str| {
        let file = host.home.path().join("by-hand.yaml");
        std::fs::write(&file, manifest).unwrap();
        host.kubectl(&["create", "--dry-run=server", "-f", file.to_str().unwrap()])
    };
    let pod = manifest.replace("$IMAGE", &image);
    let made = judged(&pod).ok();
    assert!(made.contains("pod/restore-by-hand created (server dry run)"), "{made}");
    judged(&pod.replace("runAsNonRoot: true, ", "")).fails(1, &["violates PodSecurity"]);
}

/// The database `name` in the namespace, on this storage class and image, with this statement at its making.
fn database(name: &str, class: &str, image: &str, statement: &str) -> String {
    format!(
        "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {{name: {name}}}\n\
         spec: {{instances: 1, imageName: '{image}', imagePullPolicy: IfNotPresent, storage: {{size: 1Gi, storageClass: {class}}}, \
         bootstrap: {{initdb: {{database: app, owner: app, postInitSQL: ['{statement}']}}}}}}\n---\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make live"]
async fn a_database_that_cannot_come_up_says_why_within_a_minute() {
    let host = Host::new("obstacles");
    command("kubectl").args(["create", "namespace", &host.namespace]).run().ok();
    let (image, nobody) = (format!("limepoint/opschain-db:{}", lab("LAB_PG_VERSION")), "dr-obstacles-nobody");
    let class = format!(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: {nobody}}}\n\
         provisioner: nobody.example\nvolumeBindingMode: Immediate\n---\n"
    );
    let objects = [
        class,
        database("no-volume", nobody, &image, "SELECT 1"),
        database("no-image", "folder", "limepoint/opschain-db:15.0-none", "SELECT 1"),
        database("no-initdb", "folder", &image, "SELECT nothing"),
    ];
    apply(&host, &objects.concat());
    let cluster = Cluster::connect(None, &host.namespace).await.unwrap();
    let events = Events::none();
    let waits = ["no-volume", "no-image", "no-initdb"].map(|name| {
        let (cluster, events) = (&cluster, &events);
        async move {
            let begun = Instant::now();
            // A provisioner that has not begun may be slow: that is said, and waited for.
            let limit = Duration::from_secs(if name == "no-volume" { 50 } else { 300 });
            let error = cluster.wait_database_healthy(name, limit, events).await.unwrap_err();
            (error, begun.elapsed())
        }
    });
    let ended = futures::future::join_all(waits).await;
    command("kubectl").args(["delete", "storageclass", nobody]).run().ok();
    let words =
        ["volume no-volume-1 is not made: ExternalProvisioning: ", "15.0-none", "Job no-initdb-1-initdb has failed"];
    for ((error, took), words) in ended.into_iter().zip(words) {
        println!("{} s: {error}", took.as_secs());
        let ended = matches!(error, ClusterError::Permanent { .. } | ClusterError::Timeout { .. });
        assert!(ended && error.to_string().contains(words), "{error}");
        assert!(took < Duration::from_secs(90), "{took:?}: {error}");
    }
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_second_opschain_is_refused_and_the_leftovers_of_a_deleted_one_are_taken_over_on_its_name() {
    let host = Host::new("neighbour");
    // The stand-in's names outside of the namespace opschain end with the namespace's. What a run of this test that failed
    // has left belongs to whomever it was given to.
    let role = format!("opschain-api-cluster-role-{}", host.namespace);
    command("kubectl").args(["delete", "clusterrole", &role, "--ignore-not-found"]).run().ok();
    let values = host.deploy(VERSION);
    let before = host.ledger();
    let privileged = "pod-security.kubernetes.io/enforce=privileged";
    label(&host, privileged);
    label(&host, "site.example.org/zone=dmz");
    let zone = ["annotate", "namespace", &host.namespace, "site.example.org/contact=us"];
    command("kubectl").args(zone).run().ok();
    host.kubectl(&["create", "configmap", "own-settings", "--from-literal=key=in-it-9Zq4"]).ok();
    host.kubectl(&["create", "secret", "generic", "own-token", "--from-literal=key=in-it-9Zq4"]).ok();
    host.kubectl(&["create", "ingress", "own-portal", "--rule=portal.example.org/*=own:80"]).ok();
    host.bundle(&[]);
    let scope = host.dr(["bundle", "show", "--scope", "--any-signer"]).ok();
    // In the namespace of the stand-in, all that is not named is its own, or carried.
    for words in [
        "namespace label site.example.org/zone, namespace annotation site.example.org/contact",
        "neither the Helm release nor the bundle has it: Ingress own-portal, Secret own-token, ConfigMap own-settings",
    ] {
        assert!(scope.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{words}: {scope}");
    }
    assert!(!scope.contains("in-it-9Zq4") && !scope.contains("a look at all that stands"), "{scope}");
    host.delete_namespace();
    let belongs_to = |namespace: &str| {
        let change = format!("meta.helm.sh/release-namespace={namespace}");
        command("kubectl").args(["annotate", "--overwrite", "clusterrole", &role, &change]).run().ok();
    };
    let restore = ["bundle", "restore", "--version", VERSION, "--yes"];
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    let deploy = ["deploy", "-f", values.to_str().unwrap(), "--version", VERSION, "--chart", &chart, "--yes"];
    belongs_to("default");
    let two = ["a cluster holds one OpsChain", "in namespace default has ClusterRole", &host.namespace, "--context"];
    host.dr(restore).fails(20, &two);
    host.dr(deploy).fails(20, &two);
    belongs_to("dr-neighbour-gone");
    host.dr(restore).fails(20, &["of namespace dr-neighbour-gone, which is deleted, has left", "--take-over"]);
    host.dr(deploy).fails(20, &["of namespace dr-neighbour-gone, which is deleted, has left", "--take-over"]);
    assert!(command("kubectl").args(["get", "namespace", &host.namespace]).run().code != 0, "nothing was made");

    let taking = [&restore[..], &["--take-over", "dr-neighbour-gone"]].concat();
    let planned = host.dr([&taking[..], &["--dry-run"]].concat()).ok();
    for words in ["--take-over: ClusterRole", "class folder (dr-lab/folder, default, at first use)"] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    let told = host.dr(taking).ok();
    for words in ["Tell the users", "is gone.", "Rotate", "The secret vault's root token"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("\nTrust\n"), "the bundle has the authority, and the cluster knows it: {told}");
    host.assert_ledger_holds(&before);
    let labelled = command("kubectl").args(["get", "namespace", "-l", privileged, "-o", "name"]).run().ok();
    assert!(labelled.contains(&host.namespace), "the new namespace admits what the old one did: {labelled}");
    let owner = "jsonpath={.metadata.annotations.meta\\.helm\\.sh/release-namespace}";
    assert_eq!(command("kubectl").args(["get", "clusterrole", &role, "-o", owner]).run().ok(), host.namespace);
}

/// A kubeconfig of an account that may do what `dr rbac` says, and nothing else.
fn kubeconfig_of_account(host: &Host, account: &str) -> std::path::PathBuf {
    let token = host.kubectl(&["create", "token", account, "--duration=2h", "-n", "dr-rights-who"]).ok();
    let text = std::fs::read_to_string(lab("KUBECONFIG")).unwrap();
    let (before, _) = text.split_once("users:").unwrap();
    let path = host.home.path().join("kubeconfig");
    let user = format!("users: [{{name: \"admin\", user: {{token: \"{}\"}}}}]\n", token.trim());
    std::fs::write(&path, format!("{before}{user}")).unwrap();
    path
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_bundle_is_made_and_restored_with_the_rights_that_dr_rbac_prints_and_no_others() {
    let host = Host::new("rights");
    command("kubectl").args(["create", "namespace", "dr-rights-who"]).run();
    command("kubectl").args(["-n", "dr-rights-who", "create", "serviceaccount", "operator"]).run();
    host.deploy(VERSION);
    let before = host.ledger();
    let subject = "serviceaccount:dr-rights-who/operator";
    let rights = |verb: &str| host.dr(["rbac", "--for", verb, "--subject", subject]).ok();
    let (create, restore) = (rights("create"), rights("restore"));
    let kubeconfig = kubeconfig_of_account(&host, "operator");
    let limited = |args: &[&str]| host.dr_command(args).env("KUBECONFIG", &kubeconfig).run();

    limited(&["server", "status"]).fails(12, &["not allowed to"]);
    apply(&host, &create);
    limited(&["bundle", "create", "--yes"]).ok();
    let scope = host.dr(["bundle", "show", "--scope", "--any-signer"]).ok();
    assert!(!scope.contains("a look at all that stands in the namespace"), "{scope}");
    let left = "role,rolebinding,serviceaccount,pod";
    let left = host.kubectl(&["get", left, "-l", "dr.opschain/run", "-o", "name"]).ok();
    assert_eq!(left, "", "nothing of the run is left");

    host.delete_namespace();
    command("kubectl").args(["create", "namespace", &host.namespace]).run().ok();
    apply(&host, &restore);
    limited(&["bundle", "restore", "--version", VERSION, "--yes"]).ok();
    host.assert_ledger_holds(&before);
    command("kubectl").args(["delete", "namespace", "dr-rights-who", "--wait=false"]).run().ok();
    for purpose in ["create", "restore"] {
        let wide = format!("dr-{purpose}:{}", host.namespace);
        let binding = format!("{wide}:serviceaccount:dr-rights-who:operator");
        command("kubectl").args(["delete", "clusterrole", &wide]).run().ok();
        command("kubectl").args(["delete", "clusterrolebinding", &binding]).run().ok();
    }
}
