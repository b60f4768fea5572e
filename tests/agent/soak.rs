//! A long way that is slow, stalls and breaks, all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use dr::internals::cluster::transport::{AgentSession, Dial, DialError, Words};
use dr::internals::crypt::Identities;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backups::{request, take};
use crate::pod::{Pod, SocketDial};
use crate::server::Server;
use crate::stages::{ALONE, stage};

/// How often the stream breaks each way.
const BREAKS: u32 = 200;
const BYTES_A_SECOND: u64 = 8_000_000;

/// How a session ends.
#[derive(Clone, Copy)]
enum Break {
    /// Both directions at once.
    Cut,
    /// As if all had been said, while the other direction goes on.
    EarlyEnd,
    /// Nothing moves any more, and nobody is told.
    Stall,
}

/// The agent's socket behind a slow wire that breaks again and again.
struct RoughDial {
    inner: SocketDial,
    breaks: Arc<AtomicU32>,
    /// About how many bytes a session carries.
    bytes: i64,
    random: Mutex<StdRng>,
}

/// What the two directions of a session share.
#[derive(Clone)]
struct Wire {
    left: Arc<AtomicI64>,
    how: Break,
    cut: CancellationToken,
}

impl RoughDial {
    fn to(pod: &Pod, bytes: u64) -> (Self, Arc<AtomicU32>) {
        let breaks = Arc::new(AtomicU32::new(0));
        let bytes = i64::try_from(bytes / u64::from(BREAKS)).unwrap();
        let random = Mutex::new(StdRng::seed_from_u64(5));
        (Self { inner: SocketDial(pod.socket()), breaks: breaks.clone(), bytes, random }, breaks)
    }

    fn wire(&self) -> Wire {
        let mut random = self.random.lock().unwrap();
        let last = self.breaks.fetch_add(1, Ordering::Relaxed) >= BREAKS;
        let left = if last { i64::MAX } else { random.random_range(0..self.bytes * 9 / 5) };
        // A stall costs the deadline of the link each time.
        let how = [Break::Cut, Break::EarlyEnd, Break::Cut, Break::EarlyEnd, Break::Stall][random.random_range(0..5)];
        Wire { left: Arc::new(left.into()), how, cut: CancellationToken::new() }
    }
}

impl Dial for RoughDial {
    fn dial(&self) -> BoxFuture<'_, Result<AgentSession, DialError>> {
        Box::pin(async {
            let AgentSession { reader, writer, .. } = self.inner.dial().await?;
            let (near, far) = tokio::io::duplex(64 << 10);
            let ((near_reader, near_writer), (far_reader, far_writer)) =
                (tokio::io::split(near), tokio::io::split(far));
            let wire = self.wire();
            tokio::spawn(wire.clone().carry(reader, far_writer));
            tokio::spawn(wire.carry(far_reader, writer));
            Ok(AgentSession { reader: Box::new(near_reader), writer: Box::new(near_writer), words: Words::default() })
        })
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

impl Wire {
    async fn carry(self, from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) {
        tokio::select! {
            () = self.one_way(from, to) => {}
            () = self.cut.cancelled() => {}
        }
    }

    async fn one_way(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (mut piece, mut due) = (vec![0; 64 << 10], Instant::now());
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            due = due.max(Instant::now()) + Duration::from_nanos(count as u64 * 1_000_000_000 / BYTES_A_SECOND);
            tokio::time::sleep_until(due).await;
            let left = self.left.fetch_sub(count as i64, Ordering::Relaxed);
            let through = usize::try_from(left).unwrap_or(0).min(count);
            if to.write_all(&piece[..through]).await.is_err() {
                break;
            }
            match self.how {
                _ if through == count => {}
                Break::Cut => self.cut.cancel(),
                Break::EarlyEnd => break,
                Break::Stall => std::future::pending().await,
            }
        }
        let _ = to.shutdown().await;
    }
}

/// Out of the pod and in again over a wire that breaks 200 times each way: what comes back is the same, to the byte.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn a_gigabyte_over_a_wire_that_is_slow_and_breaks_two_hundred_times_is_the_same() {
    let mib: u64 = std::env::var("DR_SOAK_MIB").map_or(1024, |text| text.parse().unwrap());
    let server = Server::fresh("max_wal_size = 4GB\nwal_level = replica");
    server.sql(&format!(
        "create table noise as select g id, string_agg(sha512(int8send(g * 128 + part)), '') data \
         from generate_series(1, {}) g, generate_series(0, 127) part group by g",
        mib * 1024 / 8
    ));
    let sum = "select count(*) || ' ' || md5(string_agg(md5(data), '' order by id)) from noise";
    let before = server.sql(sum);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");

    let (dial, breaks) = RoughDial::to(&pod, mib << 20);
    let mut agent = pod.attach_by(dial, "run-1");
    let kept = take(&mut agent, request(&server, &keys), keys, |_| Some(server.switch())).await.unwrap();
    let stored = kept.done.base_totals.stored_bytes + kept.done.wal_totals.stored_bytes;
    assert!(breaks.load(Ordering::Relaxed) >= BREAKS, "{} breaks", breaks.load(Ordering::Relaxed));
    agent.finish().await.unwrap();

    let pod = Pod::start("run-1");
    let (dial, breaks) = RoughDial::to(&pod, stored);
    let mut agent = pod.attach_by(dial, "run-1");
    let report = stage(&mut agent, &kept).await.unwrap();
    assert_eq!(report.files, kept.done.base.files);
    assert!(breaks.load(Ordering::Relaxed) >= BREAKS, "{} breaks", breaks.load(Ordering::Relaxed));
    agent.swap(ALONE).await.unwrap();
    assert_eq!(Server::on(&pod.pgdata()).sql(sum), before);
}
