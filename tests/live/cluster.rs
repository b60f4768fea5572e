//! The calls on the cluster, against real parts.

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dr::internals::cluster::{
    Cluster, ClusterError, KeptObject, NamespaceState, ObjectRef, Permission, PutBackResult, Wait, WorkloadKind,
};
use dr::internals::event::{Event, Events};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::MutexGuard;

use super::install::{Install, PATIENCE};
use super::turn::Turn;

const NAMESPACE: &str = "live-cluster";
const DATABASE: &str = "opschain-db";

/// The tests of this file look at one install, each alone: one of them stops it.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Site {
    install: Install,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for Site {
    type Target = Install;

    fn deref(&self) -> &Install {
        &self.install
    }
}

async fn install() -> Site {
    let alone = ALONE.lock().await;
    Site { install: Install::raise(NAMESPACE, "2026-08-20").await, _alone: alone }
}

fn pod(name: &str, image: &str, command: &[&str]) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "dr", "dr.opschain/run": "live"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command}],
        },
    }))
    .unwrap()
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn the_operator_is_found_and_its_webhook_answers() {
    let _turn = Turn::begin();
    let cluster = Cluster::connect(None, "no-such-namespace").await.unwrap();
    assert!(cluster.server_version().starts_with("v1."));
    assert!(cluster.knows_databases().await.unwrap());
    let operator = cluster.operator().await.unwrap().unwrap();
    assert!(operator.is_ready() && operator.version.is_some(), "{operator:?}");
    cluster.check_operator_webhook().await.unwrap();
    assert_eq!(cluster.namespace_state(&[]).await.unwrap(), NamespaceState::Absent);
    assert_eq!(cluster.namespace_uid().await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn a_wrong_context_names_the_right_ones() {
    let error = Cluster::connect(Some("prod"), NAMESPACE).await.unwrap_err();
    let ClusterError::NoContext { known, .. } = error else { panic!("{error}") };
    assert!(!known.is_empty());
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn everything_is_allowed_to_the_administrator_and_nothing_to_a_verb_that_does_not_exist() {
    let cluster = Cluster::connect(None, NAMESPACE).await.unwrap();
    let wanted =
        [Permission::here("create", "", "pods").of_part("exec"), Permission::wide("list", "apps", "deployments")];
    assert_eq!(cluster.denied(&wanted).await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn an_occupied_namespace_says_what_stands_in_it() {
    let install = install().await;
    let kept = [ObjectRef::new("Secret", "opschain-vault-config")];
    let NamespaceState::Occupied { objects, kept: found } = install.cluster.namespace_state(&kept).await.unwrap()
    else {
        panic!("it is not empty");
    };
    assert_eq!(found, kept);
    for (kind, name) in
        [("Cluster", DATABASE), ("Deployment", "opschain-api"), ("PersistentVolumeClaim", "opschain-ldap-claim")]
    {
        assert!(objects.contains(&ObjectRef::new(kind, name)), "{kind} {name} is missing in {objects:?}");
    }
    // What the cluster puts there by itself, and what is owned by something else in the list, is not named.
    let quiet =
        |object: &ObjectRef| object.name != "kube-root-ca.crt" && object.kind != "ReplicaSet" && object.kind != "Pod";
    assert!(objects.iter().all(quiet), "{objects:?}");
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn a_new_namespace_is_empty_until_something_is_put_into_it() {
    let cluster = Cluster::connect(None, "live-cluster-new").await.unwrap();
    assert!(cluster.create_namespace(&[("app.kubernetes.io/managed-by", "dr")]).await.unwrap());
    assert!(!cluster.create_namespace(&[]).await.unwrap());
    assert_eq!(cluster.namespace_state(&[]).await.unwrap(), NamespaceState::Empty { kept: vec![] });
    let secret: KeptObject = serde_json::from_value(serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "b25l"},
    }))
    .unwrap();
    assert_eq!(cluster.put_back(&secret, false).await.unwrap(), PutBackResult::Created);
    assert_eq!(cluster.put_back(&secret, false).await.unwrap(), PutBackResult::Same);
    let other: KeptObject = serde_json::from_value(serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "dHdv"},
    }))
    .unwrap();
    assert_eq!(cluster.put_back(&other, false).await.unwrap(), PutBackResult::Differs);
    assert_eq!(cluster.put_back(&other, true).await.unwrap(), PutBackResult::Replaced);
    assert_eq!(cluster.secret("s").await.unwrap().unwrap().value("a").unwrap(), b"two");
    assert!(matches!(cluster.namespace_state(&[]).await.unwrap(), NamespaceState::Occupied { .. }));
    super::install::run("kubectl", &["delete", "namespace", "live-cluster-new"], b"");
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn the_database_says_who_it_is_and_answers_whole() {
    let install = install().await;
    let cluster = &install.cluster;
    let database = cluster.database(DATABASE).await.unwrap().unwrap();
    assert!(database.is_healthy() && !database.is_replica_cluster());
    let primary = cluster.primary_pod(DATABASE).await.unwrap().metadata.name.unwrap();
    let facts = cluster.database_facts(&primary).await.unwrap();
    assert_eq!(Some(&facts.system_identifier), database.status.system_id.as_ref());
    assert!(!facts.in_recovery && facts.lsn >= facts.checkpoint && facts.major() >= 15, "{facts:?}");
    let ended = cluster.switch_wal(&primary).await.unwrap();
    assert!(ended >= facts.lsn && cluster.database_facts(&primary).await.unwrap().lsn >= ended);
    assert!(cluster.databases_size(&primary).await.unwrap() > 1 << 20);

    let odd = "SELECT E'a\\nb', '|', NULL UNION ALL SELECT 'c', '''', '' ORDER BY 1";
    assert_eq!(cluster.psql(&primary, "postgres", "read", odd).await.unwrap(), [["a\nb", "|", ""], ["c", "'", ""]]);
    assert!(cluster.psql(&primary, "postgres", "read", "SELECT 1 WHERE false").await.unwrap().is_empty());
    let long = cluster.psql(&primary, "postgres", "read", "SELECT repeat('x', 8000000)").await.unwrap();
    assert_eq!(long[0][0].len(), 8_000_000);
    let error = cluster.psql(&primary, "postgres", "read a table", "SELECT * FROM nowhere").await.unwrap_err();
    assert_eq!(error.to_string(), "the database cannot read a table: relation \"nowhere\" does not exist");
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn a_volume_claim_says_who_mounts_it() {
    let install = install().await;
    let claim = install.cluster.database(DATABASE).await.unwrap().unwrap().primary_claim();
    assert_eq!(install.cluster.mounters(&claim).await.unwrap(), [claim]);
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn what_an_install_cannot_make_again_is_read_and_what_runs_is_listed() {
    let install = install().await;
    let names = [ObjectRef::new("Secret", "opschain-vault-config"), ObjectRef::new("Secret", "no-such")];
    let kept = install.cluster.kept(&names).await.unwrap();
    assert_eq!(kept.len(), 1);
    let value = serde_json::to_value(&kept[0]).unwrap();
    for gone in ["uid", "resourceVersion", "managedFields", "creationTimestamp", "namespace"] {
        assert!(value["metadata"].get(gone).is_none(), "{gone} is still there");
    }
    let images = install.cluster.running_images().await.unwrap();
    assert!(
        images.iter().any(|image| image.workload == "Deployment opschain-api" && image.digest.is_some()),
        "{images:?}"
    );
    assert!(images.iter().any(|image| image.workload == "Cluster opschain-db"), "{images:?}");
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn a_command_in_a_pod_has_a_verdict_and_its_whole_output() {
    let install = install().await;
    let cluster = &install.cluster;
    let pod = cluster.primary_pod(DATABASE).await.unwrap().metadata.name.unwrap();
    let container = "postgres";
    let limit = Duration::from_secs(30);
    let said =
        cluster.exec(&pod, container, &["sh", "-c", "echo out; echo err >&2; exit 7"], None, limit).await.unwrap();
    assert_eq!((said.exit, said.stdout.as_slice(), said.stderr.as_str()), (7, b"out\n".as_slice(), "err\n"));
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let counted = cluster.exec_ok(&pod, container, &["wc", "-c"], Some(&input), limit).await.unwrap();
    assert_eq!(String::from_utf8(counted).unwrap().trim(), "3000000");
    let error = cluster.exec(&pod, container, &["no-such-program"], None, limit).await.unwrap_err();
    assert!(matches!(error, ClusterError::Session { .. }), "{error}");
    let error = cluster.exec(&pod, container, &["sleep", "600"], None, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.to_string().contains("no verdict in 1 s"), "{error}");
    let error = cluster.exec("no-such-pod", container, &["true"], None, limit).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn a_pod_comes_up_or_says_why_not_and_is_swept() {
    let install = install().await;
    let cluster = &install.cluster;
    let events = Events::none();
    let image = cluster.database(DATABASE).await.unwrap().unwrap().image().unwrap().to_owned();
    cluster.sweep_pods(Some("live"), PATIENCE, &events).await.unwrap();

    cluster.create_pod(&pod("live-good", &image, &["sleep", "600"])).await.unwrap();
    cluster.wait_pod_ready("live-good", PATIENCE, &events).await.unwrap();
    assert!(cluster.create_pod(&pod("live-good", &image, &["true"])).await.unwrap_err().is_conflict());

    cluster.create_pod(&pod("live-bad", "limepoint/no-such-image:1", &["true"])).await.unwrap();
    let error = cluster.wait_pod_ready("live-bad", PATIENCE, &events).await.unwrap_err();
    assert!(error.to_string().contains("ImagePullBackOff"), "{error}");

    let mut dead = pod("live-dead", &image, &["sh", "-c", "echo my last words; exit 4"]);
    // Without a probe it counts as ready for the moment in which it runs.
    let probe = serde_json::from_value(serde_json::json!({"exec": {"command": ["false"]}})).unwrap();
    dead.spec.as_mut().unwrap().containers[0].readiness_probe = Some(probe);
    cluster.create_pod(&dead).await.unwrap();
    let error = cluster.wait_pod_ready("live-dead", PATIENCE, &events).await.unwrap_err();
    assert!(error.to_string().contains("exit code 4"), "{error}");
    assert_eq!(error.log(), ["my last words"]);

    let mut swept = cluster.sweep_pods(Some("live"), PATIENCE, &events).await.unwrap();
    swept.sort();
    assert_eq!(swept, ["live-bad", "live-dead", "live-good"]);
    assert!(cluster.pods(Some("dr.opschain/run=live")).await.unwrap().is_empty());
    cluster.delete_pod("live-good", Duration::ZERO, PATIENCE, &events).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn work_in_progress_is_seen_and_the_install_is_not_taken_for_it() {
    let install = install().await;
    let cluster = &install.cluster;
    let events = Events::none();
    let image = cluster.database(DATABASE).await.unwrap().unwrap().image().unwrap().to_owned();
    let prefixes = dr::internals::opschain::workloads::WORKING_PODS;
    cluster.delete_pod("change-live", Duration::ZERO, PATIENCE, &events).await.unwrap();
    assert_eq!(cluster.working_pods(prefixes).await.unwrap(), []);
    cluster.create_pod(&pod("change-live", &image, &["sleep", "600"])).await.unwrap();
    let working = cluster.working_pods(prefixes).await.unwrap();
    assert_eq!(working.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["change-live"]);
    cluster.delete_pod("change-live", Duration::ZERO, PATIENCE, &events).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn a_lease_keeps_a_second_run_off_and_is_taken_over_when_it_runs_out() {
    let cluster = Cluster::connect(None, "default").await.unwrap();
    let ttl = Duration::from_secs(3);
    let name = format!("dr-live-{}", std::process::id());
    let first = cluster.acquire_lease(&name, "run-1", "host-a", ttl).await.unwrap();
    let error = cluster.acquire_lease(&name, "run-2", "host-b", ttl).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("run-1 on host-a holds lease {name} since ")), "{error}");
    // Renewed in the background, it outlives its own time.
    let (begun, events) = (Instant::now(), Events::none());
    let mut outlived = Wait::new("the lease to outlive its time", PATIENCE, &events);
    while begun.elapsed() < ttl * 2 {
        outlived.not_yet(None).await.unwrap();
    }
    assert!(matches!(cluster.acquire_lease(&name, "run-2", "host-b", ttl).await, Err(ClusterError::Held { .. })));
    assert_eq!(first.lost(), None);
    // The same run, resumed by another process, goes on at once.
    let resumed = cluster.acquire_lease(&name, "run-1", "host-a", ttl).await.unwrap();
    // Both die: nobody renews, so it runs out.
    drop((first, resumed));
    let begun = Instant::now();
    let second = cluster.await_lease(&name, "run-2", "host-b", ttl, &events).await.unwrap();
    assert!(begun.elapsed() >= ttl, "a holder is watched for as long as its lease lasts");
    // One that renews is not waited for.
    let renewing = cluster.await_lease(&name, "run-4", "host-d", ttl, &events).await.unwrap_err();
    assert!(matches!(renewing, ClusterError::Held { .. }), "{renewing}");
    second.release().await.unwrap();
    assert!(cluster.lease_holder(&name).await.unwrap().is_none());
    cluster.acquire_lease(&name, "run-3", "host-c", ttl).await.unwrap().release().await.unwrap();
}

/// Scaling, annotation and hibernation change the install, so they are one test, in order. The tests of the lab run one
/// at a time, so it may use the install of the others, and gives it up at the end: the node has room for few.
#[tokio::test]
#[ignore = "needs the lab: run by make test"]
async fn workloads_stop_and_start_and_the_database_sleeps_and_wakes() {
    let install = install().await;
    let cluster = &install.cluster;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let events = Events::to(move |event| {
        if let Event::Waiting { seen: Some(seen), .. } = event {
            ears.lock().unwrap().push(seen);
        }
    });
    let known = cluster.database(DATABASE).await.unwrap().unwrap().status.system_id;
    assert!(known.is_some());
    let worker = "opschain-api-worker";
    let kind = WorkloadKind::Deployment;
    let before = cluster.deployment(worker).await.unwrap().unwrap();
    assert!(before.replicas > 0 && before.is_settled() && before.gitops().is_none());
    let noted = cluster
        .adjust(kind, worker, None, &[("dr.opschain/replicas", Some(before.replicas.to_string()))])
        .await
        .unwrap();
    assert_eq!(noted.annotations["dr.opschain/replicas"], before.replicas.to_string());
    cluster.scale(kind, worker, 0).await.unwrap();
    cluster.wait_pods_gone(&before.selector, PATIENCE, &events).await.unwrap();
    assert!(cluster.pod_states(Some(&before.selector)).await.unwrap().iter().all(|pod| pod.ended()));

    cluster.hibernate(DATABASE, true).await.unwrap();
    let asleep = cluster.wait_hibernated(DATABASE, PATIENCE, &events).await.unwrap();
    assert!(asleep.is_hibernated() && !asleep.is_healthy());
    assert!(cluster.mounters(&asleep.primary_claim()).await.unwrap().is_empty());
    let error = cluster.primary_pod(DATABASE).await.unwrap_err();
    assert_eq!(error.to_string(), "database opschain-db has no running primary: hibernated");
    let error = cluster.wait_database_healthy(DATABASE, PATIENCE, &events).await.unwrap_err();
    assert!(matches!(error, ClusterError::Permanent { .. }), "{error}");

    cluster.hibernate(DATABASE, false).await.unwrap();
    let awake = cluster.wait_database_healthy(DATABASE, PATIENCE, &events).await.unwrap();
    assert_eq!(awake.status.system_id, known);
    cluster.scale(kind, worker, before.replicas).await.unwrap();
    cluster.wait_settled(&[(kind, worker)], PATIENCE, &events).await.unwrap();
    let cleared = cluster.adjust(kind, worker, None, &[("dr.opschain/replicas", None)]).await.unwrap();
    assert!(!cleared.annotations.contains_key("dr.opschain/replicas"));
    assert!(!heard.lock().unwrap().is_empty(), "the waits said nothing");
    install.install.raze();
}
