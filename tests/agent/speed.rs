//! How fast a database leaves a pod and enters one on this machine.

use std::time::Instant;

use dr::internals::crypt::Identities;

use crate::backups::{request, take};
use crate::pod::Pod;
use crate::server::Server;
use crate::stages;

/// What this process has computed so far, in seconds: on a busy machine it says more than the clock.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Both ends are in this process: the figures are of the agent and of its client together.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; writes 2 GB below /tmp"]
async fn a_database_out_of_a_pod_and_into_one() {
    let server = Server::fresh("max_wal_size = 4GB");
    server.fill(40);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.chunk_bytes = 32 << 20;
    asked.zstd_level = None;
    let say = |what: &str, bytes: u64, begun: (Instant, f64)| {
        let (seconds, cpu, bytes) = (begun.0.elapsed().as_secs_f64(), cpu() - begun.1, bytes as f64 / 1e6);
        println!("{what}: {:.0} MB/s ({bytes:.0} MB in {seconds:.2} s, {cpu:.2} s of CPU)", bytes / seconds);
    };
    let begun = (Instant::now(), cpu());
    let kept = take(&mut agent, asked, keys, |_| None).await.unwrap();
    say("base backup out, raw", kept.done.base_totals.raw_bytes, begun);
    let opened = stages::opened(&kept);
    let begun = (Instant::now(), cpu());
    let report = stages::send(&mut agent, stages::wanted(&kept), opened).await.unwrap();
    say("stage, fsync included, raw", report.bytes, begun);
}
