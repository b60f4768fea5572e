//! Streams that go straight to the agent's address, through things that stand between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dr::internals::agent::protocol::BackupPart;
use dr::internals::cluster::transport::{Agent, Way};
use dr::internals::crypt::Identities;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::backups::{Kept, request, take};
use crate::pod::Pod;
use crate::server::Server;
use crate::stages::stage;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What stands between does with each connection.
#[derive(Clone, Copy)]
enum Between {
    /// Lets all through.
    Open,
    /// Takes connections, and lets nothing through: a sidecar that has the port.
    Mute,
    /// Resets each after so many bytes at most, a random number.
    Cut(u64),
    /// Lets nothing more through after so many bytes, and tells nobody: a firewall that forgets.
    Drop(u64),
    /// Lets only short pieces through, as where packets of full size are lost.
    Narrow,
}

struct Proxy {
    address: SocketAddr,
    moved: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    fn start(between: Between, seed: u64) -> Door {
        let listener = std::net::TcpListener::bind((HERE, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Door { listener, between, seed }
    }
}

/// A proxy that does not know yet where it leads.
struct Door {
    listener: std::net::TcpListener,
    between: Between,
    seed: u64,
}

impl Door {
    fn to(self, target: SocketAddr) -> Proxy {
        let address = self.listener.local_addr().unwrap();
        let listener = TcpListener::from_std(self.listener).unwrap();
        let (moved, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, met) = (moved.clone(), connections.clone());
        let mut random = StdRng::seed_from_u64(self.seed);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                met.fetch_add(1, Ordering::Relaxed);
                let far = TcpStream::connect(target).await.unwrap();
                let most = match self.between {
                    Between::Cut(most) => random.random_range(200_000..most),
                    Between::Drop(most) => most,
                    Between::Open => u64::MAX,
                    Between::Mute => 0,
                    Between::Narrow => 8 << 10,
                };
                tokio::spawn(carry(near, far, most, matches!(self.between, Between::Cut(_)), counted.clone()));
            }
        });
        Proxy { address, moved, connections, task: task.abort_handle() }
    }
}

async fn carry(near: TcpStream, far: TcpStream, most: u64, cut: bool, counted: Arc<AtomicU64>) {
    let left = Arc::new(AtomicU64::new(most));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        () = one_way(near_read, far_write, left.clone(), cut, &counted) => {}
        () = one_way(far_read, near_write, left, cut, &counted) => {}
    }
}

async fn one_way(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    left: Arc<AtomicU64>,
    cut: bool,
    counted: &AtomicU64,
) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut piece).await else { return };
        let room = left.load(Ordering::Relaxed);
        let through = (count as u64).min(room);
        left.fetch_sub(through, Ordering::Relaxed);
        counted.fetch_add(through, Ordering::Relaxed);
        if to.write_all(&piece[..through as usize]).await.is_err() {
            return;
        }
        if through < count as u64 {
            if cut {
                return;
            }
            std::future::pending::<()>().await;
        }
    }
}

async fn straight(pod: &Pod, between: Between, seed: u64) -> (Agent, Proxy) {
    let mut agent = pod.attach("run-1");
    let (door, mut proxy) = (Proxy::start(between, seed), None);
    agent.go_straight_by(HERE, |target| proxy.insert(door.to(target)).address).await.unwrap();
    (agent, proxy.unwrap())
}

async fn backup(agent: &mut Agent, server: &Server) -> Kept {
    let keys = Identities::generate();
    take(agent, request(server, &keys), keys, |_| Some(server.switch())).await.unwrap()
}

/// What a backup says, and that a restore of it is accepted over the same link.
async fn round(agent: &mut Agent, server: &Server) -> u64 {
    let kept = backup(agent, server).await;
    assert_eq!(kept.raw(BackupPart::Base).len() as u64, kept.done.base_totals.raw_bytes);
    let report = stage(agent, &kept).await.unwrap();
    assert_eq!(report.files, kept.done.base.files);
    kept.done.base_totals.stored_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_address_can_be_reached_every_byte_goes_straight() {
    let server = Server::fresh("");
    server.fill(2);
    let pod = Pod::start("run-1");
    let (mut agent, proxy) = straight(&pod, Between::Open, 0).await;
    assert_eq!(agent.way(), Way::Address(proxy.address));
    let stored = round(&mut agent, &server).await;
    assert!(proxy.moved.load(Ordering::Relaxed) > 2 * stored, "out and in");
    assert_eq!(proxy.connections.load(Ordering::Relaxed), 1);
    assert!(pod.warnings.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straight_stream_that_is_cut_at_random_goes_on_by_the_other_way_and_comes_back() {
    let server = Server::fresh("");
    server.fill(2);
    let pod = Pod::start("run-1");
    let (mut agent, proxy) = straight(&pod, Between::Cut(2_000_000), 11).await;
    for _ in 0..4 {
        round(&mut agent, &server).await;
    }
    let connections = proxy.connections.load(Ordering::Relaxed);
    assert!(connections >= 4, "it was taken {connections} times");
    let warnings = pod.warnings.lock().unwrap();
    assert!(warnings.iter().all(|said| said.contains("broke and is taken up again")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_forgets_the_stream_in_its_middle_costs_one_silence() {
    let server = Server::fresh("");
    server.fill(2);
    let pod = Pod::start("run-1");
    let (mut agent, proxy) = straight(&pod, Between::Drop(3_000_000), 0).await;
    assert_eq!(agent.way(), Way::Address(proxy.address));
    round(&mut agent, &server).await;
    let warnings = pod.warnings.lock().unwrap();
    assert!(warnings.iter().any(|said| said.contains("nothing heard for 3 s")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_known_within_seconds_and_said() {
    let server = Server::fresh("");
    server.fill(1);
    for (between, why) in [(Between::Mute, "silent for 2 s"), (Between::Narrow, "silent for 2 s")] {
        let pod = Pod::start("run-1");
        let began = Instant::now();
        let (mut agent, proxy) = straight(&pod, between, 0).await;
        assert!(began.elapsed() < Duration::from_secs(6));
        let said = format!("by exec, since {} does not answer ({why})", proxy.address);
        assert_eq!(agent.way().to_string(), said);
        round(&mut agent, &server).await;
        // Trying again in between broke nothing.
        assert!(pod.warnings.lock().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_has_or_an_address_that_is_not_the_pods_is_said_and_the_link_goes_on() {
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let nobody = std::net::TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap();
    agent.go_straight_by(HERE, |_| nobody).await.unwrap();
    let way = agent.way().to_string();
    assert!(way.starts_with("by exec, since") && way.contains("Connection refused"), "{way}");
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    agent.go_straight(other).await.unwrap();
    let way = agent.way().to_string();
    assert!(way.starts_with("by exec, since listen on 192.0.2.1: "), "{way}");
    assert!(agent.facts().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_is_shut_to_strangers_and_closes_with_the_run() {
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let mut door = None;
    agent.go_straight_by(HERE, |target| *door.insert(target)).await.unwrap();
    let door = door.unwrap();
    assert_eq!(agent.way(), Way::Address(door));
    // A stranger who speaks the frames in clear hears nothing of the agent.
    let mut stranger = TcpStream::connect(door).await.unwrap();
    stranger.write_all(b"drf1 hello").await.unwrap();
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stranger.read_to_end(&mut heard)).await;
    assert!(!String::from_utf8_lossy(&heard).contains("run-1"), "{heard:?}");
    assert!(agent.facts().await.is_ok());
    agent.finish().await.unwrap();
    let began = Instant::now();
    while TcpStream::connect(door).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "the door is still open");
        tokio::task::yield_now().await;
    }
}
