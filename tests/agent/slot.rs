//! WAL that the server keeps for a backup, and how long.

use dr::internals::cluster::transport::BackupItem;
use dr::internals::crypt::Identities;

use crate::backups::request;
use crate::pod::{AgentProcess, Pod};
use crate::server::Server;

const FORGETFUL: &str = "wal_keep_size = 0\nmin_wal_size = 32MB\nmax_wal_size = 64MB";
/// Whether the segment that the slot holds on to is there.
const HELD: &str = "count(*) = 1 from pg_ls_waldir() w, pg_replication_slots s \
                    where s.temporary and w.name = pg_walfile_name(s.restart_lsn + 1)";
const NONE_LEFT: &str = "count(*) = 0 from pg_replication_slots";

/// More WAL than the server keeps by itself.
fn write_much(server: &Server) {
    for _ in 0..6 {
        server
            .sql("create table t as select g, repeat(md5(g::text), 20) from generate_series(1, 20000) g; drop table t");
        server.switch();
    }
    server.sql("checkpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_what_was_not_fetched_and_removes_what_was_and_no_slot_stays() {
    let server = Server::fresh(FORGETFUL);
    server.fill(1);
    let (keys, pod) = (Identities::generate(), Pod::start("run-1"));
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.keep_wal = true;
    let mut stream = agent.backup(asked).await.unwrap();
    let done = loop {
        match stream.next().await.unwrap().unwrap() {
            BackupItem::Chunk(chunk) => stream.durable(chunk.ticket),
            BackupItem::BaseDone(base) => {
                tokio::task::block_in_place(|| {
                    server.switch();
                    server.wait(&format!("bool_and(restart_lsn > '{}') from pg_replication_slots", base.start));
                });
                stream.handle().hold_wal().await.unwrap();
                let until = tokio::task::block_in_place(|| {
                    write_much(&server);
                    server.wait(HELD);
                    server.switch()
                });
                stream.handle().stop_wal(until).await.unwrap();
            }
            BackupItem::Done(done) => break done,
        }
    };
    assert!(done.wal_until > done.base.end);
    tokio::task::block_in_place(|| server.wait(NONE_LEFT));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_leaves_no_slot_behind() {
    let server = Server::fresh("");
    server.fill(1);
    let (keys, pod) = (Identities::generate(), Pod::empty());
    let process = AgentProcess::start(&pod);
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.keep_wal = true;
    let mut stream = agent.backup(asked).await.unwrap();
    stream.next().await.unwrap();
    tokio::task::block_in_place(|| {
        server.wait(HELD);
        drop(process);
        server.wait(NONE_LEFT);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_slot_to_give_is_backed_up_without_one() {
    let server = Server::fresh("max_replication_slots = 0");
    let (keys, pod) = (Identities::generate(), Pod::start("run-1"));
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.keep_wal = true;
    crate::backups::take(&mut agent, asked, keys, |_| None).await.unwrap();
    let logs = pod.logs.lock().unwrap();
    assert!(logs.iter().any(|line| line.contains("no replication slot keeps the WAL")), "{logs:?}");
}
