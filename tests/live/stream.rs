//! The stream over real exec sessions and straight to pods: a database of its own in namespace `dr-stream`, backed up and
//! staged.

use std::time::{Duration, Instant};

use dr::internals::agent::protocol::{BackupDone, BackupPart, BackupRequest, StageRequest, SwapRequest};
use dr::internals::cluster::pod::{self, BackupPod, HelperPod, HelperSite, RecoveryPod};
use dr::internals::cluster::transport::{Agent, BackupItem, ReceivedChunk, StageChunk, Way};
use dr::internals::cluster::{Cluster, Wait};
use dr::internals::crypt::Identities;
use dr::internals::event::{Event, Events};
use dr::internals::postgres::argv::Connection;
use dr::internals::wire::Limits;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::sync::{Arc, Mutex};

use crate::turn::Turn;

const NAMESPACE: &str = "dr-stream";
const PATIENCE: Duration = Duration::from_secs(300);

/// The program that is copied into pods.
fn binary() -> std::path::PathBuf {
    std::env::var_os("DR_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_dr").into(), Into::into)
}

fn kubectl(args: &[&str], stdin: &[u8]) -> String {
    crate::install::run("kubectl", args, stdin)
}

/// The tests of this file share a database, and make it one after the other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Bench {
    _alone: tokio::sync::MutexGuard<'static, ()>,
    _turn: Turn,
    cluster: Cluster,
    image: String,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    /// A database with some 200 MB, half of which does not compress; kept until the namespace goes.
    async fn raise() -> Self {
        let alone = ALONE.lock().await;
        let turn = Turn::begin();
        let image = format!("limepoint/opschain-db:{}", std::env::var("LAB_PG_VERSION").expect("run inside the lab"));
        let objects = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}\n---\n\
             {{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: wire-db, namespace: {NAMESPACE}}}, \
             spec: {{instances: 1, imageName: '{image}', imagePullPolicy: IfNotPresent, storage: {{size: 4Gi}}, \
             bootstrap: {{initdb: {{database: app, owner: app}}}}, \
             postgresql: {{parameters: {{wal_keep_size: 256MB, max_wal_size: 500MB}}}}}}}}\n"
        );
        kubectl(&["apply", "-f", "-"], objects.as_bytes());
        let cluster = Cluster::connect(None, NAMESPACE).await.unwrap();
        let events = Events::none();
        cluster.wait_database_healthy("wire-db", PATIENCE, &events).await.unwrap();
        let bench = Self { _alone: alone, _turn: turn, cluster, image, warnings: Arc::default() };
        bench.sql(
            "create table if not exists load (id int primary key, half bytea, text text); \
             insert into load select g, decode(string_agg(md5(random()::text), ''), 'hex'), repeat(md5(g::text), 32) \
             from generate_series(1, 90000) g, generate_series(1, 64) \
             where not exists (select from load) group by g",
        );
        bench
    }

    fn sql(&self, sql: &str) -> String {
        kubectl(
            &["exec", "-n", NAMESPACE, "wire-db-1", "-c", "postgres", "--", "psql", "-XAtq", "-d", "app", "-c", sql],
            b"",
        )
        .trim()
        .to_owned()
    }

    fn helper(&self, name: &str) -> HelperPod {
        HelperPod {
            name: name.into(),
            namespace: NAMESPACE.into(),
            run: name.into(),
            image: self.image.clone(),
            site: HelperSite::default(),
            deadline: Duration::from_secs(1800),
            idle: Duration::from_secs(120),
        }
    }

    async fn agent(&self, name: &str, manifest: &Pod) -> Agent {
        let events = Events::none();
        self.cluster.delete_pod(name, Duration::ZERO, PATIENCE, &events).await.unwrap();
        self.cluster.create_pod(manifest).await.unwrap();
        self.cluster.wait_pod_ready(name, PATIENCE, &events).await.unwrap();
        let warnings = self.warnings.clone();
        let events = Events::to(move |event| {
            if let Event::Warning { message, .. } = event {
                eprintln!("warning: {message}");
                warnings.lock().unwrap().push(message);
            }
        });
        let pods = Api::namespaced(self.cluster.client().clone(), NAMESPACE);
        let began = Instant::now();
        let mut agent = Agent::install(pods, name, &binary(), name, Limits::default(), events).await.unwrap();
        let facts = agent.facts().await.unwrap();
        eprintln!("{name}: copied in and attached in {:.1} s", began.elapsed().as_secs_f64());
        assert_eq!((facts.uid, facts.gid, facts.postgres_major), (26, 26, Some(15)));
        agent
    }

    async fn backup_agent(&self, name: &str) -> Agent {
        let pod = BackupPod {
            pod: self.helper(name),
            replication_secret: "wire-db-replication".into(),
            ca_secret: "wire-db-ca".into(),
            spool_mib: 256,
            backlog_mib: 256,
            watchdog: None,
        };
        self.agent(name, &pod.manifest().unwrap()).await
    }

    fn request(&self, keys: &Identities) -> BackupRequest {
        BackupRequest {
            connection: Connection {
                host: "wire-db-rw".into(),
                port: 5432,
                user: "streaming_replica".into(),
                dbname: "postgres".into(),
                sslmode: "verify-full".into(),
                sslcert: Some(pod::CLIENT_CERTIFICATE.into()),
                sslkey: Some(pod::CLIENT_KEY.into()),
                sslrootcert: Some(pod::SERVER_CA.into()),
            },
            recipients: keys.recipients(),
            chunk_bytes: 32 << 20,
            held_back_bytes: 0,
            zstd_level: Some(1),
            max_rate: None,
            label: "dr live test".into(),
            wal_wait_seconds: 120,
            keep_wal: false,
            wal_room: Default::default(),
        }
    }

    /// Kills the program that carries the current exec session, inside the pod: the stream ends in mid-frame.
    fn kill_session(&self, name: &str) {
        let script = "for p in /proc/[0-9]*; do case \"$(tr '\\0' ' ' <$p/cmdline)\" in \
                      '/dr/agent agent attach'*) kill -9 ${p#/proc/};; esac; done 2>/dev/null; true";
        kubectl(&["exec", "-n", NAMESPACE, name, "--", "bash", "-c", script], b"");
    }

    /// A whole backup. `each` is called with every chunk before it counts as durable.
    async fn take(
        &self,
        agent: &mut Agent,
        keys: &Identities,
        mut each: impl FnMut(&ReceivedChunk),
    ) -> (Vec<ReceivedChunk>, BackupDone) {
        let began = Instant::now();
        let mut stream = agent.backup(self.request(keys)).await.unwrap();
        let mut chunks = Vec::new();
        while let Some(item) = stream.next().await.unwrap() {
            match item {
                BackupItem::Chunk(chunk) => {
                    tokio::task::block_in_place(|| each(&chunk));
                    stream.durable(chunk.ticket);
                    chunks.push(chunk);
                }
                BackupItem::BaseDone(_) => {
                    stream.handle().hold_wal().await.unwrap();
                    let lsn = tokio::task::block_in_place(|| self.sql("select pg_switch_wal()").parse().unwrap());
                    stream.handle().stop_wal(lsn).await.unwrap();
                }
                BackupItem::Done(done) => {
                    let seconds = began.elapsed().as_secs_f64();
                    let (raw, stored) =
                        (done.base_totals.raw_bytes as f64 / 1e6, done.base_totals.stored_bytes as f64 / 1e6);
                    eprintln!(
                        "{raw:.0} MB in {seconds:.1} s: {:.0} MB/s raw, {:.0} MB/s on the wire",
                        raw / seconds,
                        stored / seconds
                    );
                    return (chunks, *done);
                }
            }
        }
        panic!("the backup ended without its last item");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make live"]
async fn a_container_that_somebody_puts_first_into_a_helper_pod_is_never_spoken_to() {
    let bench = Bench::raise().await;
    let recovery =
        RecoveryPod { pod: bench.helper("dr-wire-first"), claim: "unused".into(), cpu: None, memory_bytes: 0 };
    let mut pod = recovery.manifest().unwrap();
    let spec = pod.spec.as_mut().unwrap();
    spec.volumes.as_mut().unwrap().retain(|volume| volume.name == "dr");
    spec.containers[0].volume_mounts.as_mut().unwrap().retain(|mount| mount.name == "dr");
    let mut first = spec.containers[0].clone();
    (first.name, first.volume_mounts) = ("proxy".into(), None);
    first.command = Some(["/bin/bash", "-c", "trap 'exit 0' TERM; sleep infinity & wait"].map(str::to_owned).into());
    spec.containers.insert(0, first);
    let agent = bench.agent("dr-wire-first", &pod).await;
    drop(agent.finish().await);
    bench.cluster.delete_pod("dr-wire-first", Duration::ZERO, PATIENCE, &Events::none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make live"]
async fn a_backup_over_exec_survives_killed_sessions_and_a_slow_consumer_and_is_staged() {
    let bench = Bench::raise().await;
    let keys = Identities::generate();
    let mut agent = bench.backup_agent("dr-wire-1").await;

    // As fast as it goes.
    bench.take(&mut agent, &keys, |_| {}).await;
    assert!(bench.warnings.lock().unwrap().is_empty());

    // The session is killed again and again, and the consumer is slow: 8 MB/s and less.
    let (chunks, done) = bench
        .take(&mut agent, &keys, |chunk| {
            if chunk.part == BackupPart::Base && chunk.index < 4 {
                bench.kill_session("dr-wire-1");
            }
            std::thread::park_timeout(Duration::from_secs(4));
        })
        .await;
    assert!(bench.warnings.lock().unwrap().len() >= 2, "sessions were killed and nobody noticed");
    bench.warnings.lock().unwrap().clear();
    agent.finish().await.unwrap();
    let nobody = Events::none();
    let mut wait = Wait::new("the backup pod to end", Duration::from_secs(60), &nobody);
    loop {
        let states = bench.cluster.pod_states(Some("app.kubernetes.io/component=backup")).await.unwrap();
        if states.iter().all(|state| state.ended()) {
            break;
        }
        wait.not_yet(None).await.unwrap();
    }

    // Into a fresh volume, over sessions that are killed too.
    let claim = format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: stage, namespace: {NAMESPACE}}}, \
         spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 4Gi}}}}}}}}"
    );
    kubectl(&["apply", "-f", "-"], claim.as_bytes());
    let recovery = RecoveryPod { pod: bench.helper("dr-wire-2"), claim: "stage".into(), cpu: None, memory_bytes: 0 };
    let mut agent = bench.agent("dr-wire-2", &recovery.manifest().unwrap()).await;
    agent.put_back().await.unwrap();
    let began = Instant::now();
    let wanted = StageRequest {
        system_identifier: done.base.system_identifier,
        wal_end: dr::internals::postgres::basebackup::WalEnd::At(done.wal_until),
        wal_segment_bytes: done.wal_segment_bytes,
        fresh: true,
    };
    let mut sink = agent.stage(wanted, |_| false).await.unwrap();
    for chunk in chunks.iter().filter(|chunk| chunk.part != BackupPart::Manifest) {
        if chunk.index == 2 {
            tokio::task::block_in_place(|| bench.kill_session("dr-wire-2"));
        }
        let frame = keys.open(chunk.stored.bytes()).unwrap().to_vec().into();
        let (raw_bytes, raw_sha256) = (chunk.raw_bytes, chunk.raw_sha256);
        sink.send(StageChunk { part: chunk.part, index: chunk.index, frame, raw_bytes, raw_sha256 }).await.unwrap();
    }
    let report = sink.finish().await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "staged {:.0} MB in {seconds:.1} s: {:.0} MB/s",
        report.bytes as f64 / 1e6,
        report.bytes as f64 / 1e6 / seconds
    );
    assert!(!bench.warnings.lock().unwrap().is_empty());
    let swapped = agent.swap(SwapRequest { nothing_else_mounts: true }).await.unwrap();
    assert_eq!(swapped.control.state, "in production");
    assert_eq!(
        swapped.control.system_identifier.to_string(),
        bench.sql("select system_identifier from pg_control_system()")
    );
    assert!(agent.put_back().await.unwrap(), "the stage is taken out again");
    agent.finish().await.unwrap();
}

/// A firewall on this host: what it does with packets to an address, until it is dropped.
struct Firewall(Vec<String>);

impl Firewall {
    fn between(address: &str, verdict: &str) -> Self {
        let rule = format!("OUTPUT -d {address} -p tcp -j {verdict}").split(' ').map(str::to_owned).collect();
        let firewall = Self(rule);
        firewall.change("-I");
        firewall
    }

    fn change(&self, how: &str) {
        let args: Vec<&str> = ["-w", how].into_iter().chain(self.0.iter().map(String::as_str)).collect();
        crate::install::run("iptables", &args, b"");
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.change("-D");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make live"]
async fn a_stream_goes_straight_to_the_pod_and_by_exec_from_where_a_firewall_drops_it() {
    let bench = Bench::raise().await;
    let keys = Identities::generate();
    let mut agent = bench.backup_agent("dr-wire-4").await;
    let address = bench.cluster.pod_address("dr-wire-4").await.unwrap().expect("the pod has an address");
    agent.go_straight(address).await.unwrap();
    assert!(matches!(agent.way(), Way::Address(_)), "{}", agent.way());
    let (_, whole) = bench.take(&mut agent, &keys, |_| {}).await;
    assert!(bench.warnings.lock().unwrap().is_empty());

    let mut firewall = None;
    let (chunks, done) = bench
        .take(&mut agent, &keys, |chunk| {
            if chunk.part == BackupPart::Base && chunk.index == 1 {
                firewall = Some(Firewall::between(&address.to_string(), "DROP"));
            }
        })
        .await;
    assert!(!bench.warnings.lock().unwrap().is_empty(), "nobody noticed the firewall");
    assert!(matches!(agent.way(), Way::Exec { why: Some(_) }));
    assert_eq!(done.base.system_identifier, whole.base.system_identifier);
    let stored: u64 =
        chunks.iter().filter(|it| it.part == BackupPart::Base).map(|it| it.stored.bytes().len() as u64).sum();
    assert_eq!(stored, done.base_totals.stored_bytes);
    drop(firewall);
    agent.finish().await.unwrap();

    // One that refuses from the beginning is known at once.
    let mut agent = bench.backup_agent("dr-wire-5").await;
    let address = bench.cluster.pod_address("dr-wire-5").await.unwrap().expect("the pod has an address");
    let firewall = Firewall::between(&address.to_string(), "REJECT");
    agent.go_straight(address).await.unwrap();
    let way = agent.way().to_string();
    assert!(way.starts_with(&format!("by exec, since {address}:")) && way.contains("does not answer"), "{way}");
    // What the API server forwards, no firewall on the way to the pod stops.
    let pods = Api::namespaced(bench.cluster.client().clone(), NAMESPACE);
    agent.go_forwarded(pods, "dr-wire-5").await.unwrap();
    assert!(matches!(agent.way(), Way::Forwarded { .. }), "{}", agent.way());
    bench.take(&mut agent, &keys, |_| {}).await;
    assert!(matches!(agent.way(), Way::Forwarded { .. }), "{}", agent.way());
    drop(firewall);
    agent.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make live"]
async fn a_helper_pod_ends_at_once_when_it_is_told_to() {
    let bench = Bench::raise().await;
    let agent = bench.backup_agent("dr-wire-3").await;
    let began = Instant::now();
    bench.cluster.delete_pod("dr-wire-3", Duration::from_secs(30), PATIENCE, &Events::none()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?} of the grace of 30 s", began.elapsed());
    drop(agent);
}
