//! WAL that cannot be sent as fast as it is written.

use std::fs;
use std::path::Path;

use dr::internals::agent::protocol::{BackupPart, WalRoom};
use dr::internals::cluster::transport::BackupItem;
use dr::internals::crypt::Identities;

use crate::backups::{Kept, request};
use crate::pod::Pod;
use crate::server::Server;

/// The files below a folder, whatever it is in.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(files(&entry.path())),
            // Gone by now: it was sent.
            false => found.extend(fs::read(entry.path())),
        }
    }
    found
}

fn backlog(pod: &Pod) -> Vec<Vec<u8>> {
    files(&pod.folder.path().join("backlog"))
}

/// Segments that wait in the clear; the one that is being written to is none.
fn whole_segments(pod: &Pod) -> usize {
    let folder = pod.folder.path().join("spool");
    let inside = fs::read_dir(folder).into_iter().flatten().flatten().flat_map(|entry| fs::read_dir(entry.path()));
    inside.flatten().flatten().filter(|entry| entry.file_name().len() == 24).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_can_be_sent_the_server_gets_rid_of_its_wal_and_it_lies_sealed_on_the_disk() {
    let server = Server::fresh("wal_keep_size = 0\nmax_wal_size = 64MB");
    server.fill(1);
    let (keys, pod) = (Identities::generate(), Pod::start("run-1"));
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.wal_room = WalRoom { memory_bytes: 1 << 20, disk_bytes: 256 << 20 };
    let mut stream = agent.backup(asked).await.unwrap();
    let (mut chunks, mut tickets) = (Vec::new(), Vec::new());
    let done = loop {
        match stream.next().await.unwrap().unwrap() {
            BackupItem::Chunk(chunk) => {
                tickets.push(chunk.ticket);
                chunks.push(chunk);
                if tickets.len() > 2 {
                    tickets.drain(..).for_each(|ticket| stream.durable(ticket));
                }
            }
            BackupItem::BaseDone(_) => {
                // From here on nothing is taken: what fits into the window goes out, and no more.
                let until = tokio::task::block_in_place(|| {
                    for _ in 0..8 {
                        server.sql("create table t as select md5(g::text) || md5((-g)::text) from generate_series(1, 120000) g");
                        server.sql("drop table t");
                        server.switch();
                    }
                    server.sql("checkpoint");
                    pod.wait(|| whole_segments(&pod) == 0 && backlog(&pod).iter().all(|file| keys.open(file).is_ok()));
                    server.switch()
                });
                assert!(backlog(&pod).len() > 3, "{} files", backlog(&pod).len());
                stream.handle().hold_wal().await.unwrap();
                stream.handle().stop_wal(until).await.unwrap();
                tickets.drain(..).for_each(|ticket| stream.durable(ticket));
            }
            BackupItem::Done(done) => break *done,
        }
    };
    assert!(done.wal_totals.chunks > 10);
    assert!(backlog(&pod).is_empty());
    let kept = Kept { chunks, done, keys };
    assert_eq!(kept.raw(BackupPart::Wal).len() as u64, kept.done.wal_totals.raw_bytes);
    crate::stages::stage(&mut agent, &kept).await.unwrap();
}
