//! Base backups out of the agent.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use dr::internals::agent::protocol::{BackupDone, BackupPart, BackupRequest, BaseDone, FailureKind};
use dr::internals::cluster::transport::{Agent, BackupItem, ReceivedChunk, TransportError};
use dr::internals::crypt::{Identities, Recipients};
use dr::internals::postgres::basebackup::{WalCheck, WalEnd};
use dr::internals::postgres::{BackupManifest, Lsn};
use dr::internals::ustar::TarReader;
use sha2::{Digest, Sha256};

use crate::pod::Pod;
use crate::server::Server;

/// A backup as a bundle would hold it.
pub struct Kept {
    pub chunks: Vec<ReceivedChunk>,
    pub done: BackupDone,
    pub keys: Identities,
}

impl Kept {
    /// The zstd frame of a chunk, as a restore opens it.
    pub fn frame(&self, chunk: &ReceivedChunk) -> Vec<u8> {
        self.keys.open(chunk.stored.bytes()).unwrap().to_vec()
    }

    /// A whole part in clear.
    pub fn raw(&self, part: BackupPart) -> Vec<u8> {
        let chunks = self.chunks.iter().filter(|chunk| chunk.part == part);
        let mut raw = Vec::new();
        for (index, chunk) in chunks.enumerate() {
            assert_eq!(chunk.index as usize, index);
            let frame = self.frame(chunk);
            let bytes =
                if part == BackupPart::Manifest { frame } else { zstd::stream::decode_all(&frame[..]).unwrap() };
            assert_eq!(<[u8; 32]>::from(Sha256::digest(&bytes)), chunk.raw_sha256);
            raw.extend(bytes);
        }
        raw
    }
}

pub fn request(server: &Server, keys: &Identities) -> BackupRequest {
    BackupRequest {
        connection: server.connection(),
        recipients: Recipients::parse(keys.recipients()).unwrap().to_strings(),
        chunk_bytes: 1 << 20,
        held_back_bytes: 0,
        zstd_level: Some(1),
        max_rate: None,
        label: "dr test".into(),
        wal_wait_seconds: 30,
        keep_wal: false,
        wal_room: Default::default(),
    }
}

/// Takes a whole backup; `at_base_done` says where WAL ends, once it is asked.
pub async fn take(
    agent: &mut Agent,
    request: BackupRequest,
    keys: Identities,
    mut at_base_done: impl FnMut(&BaseDone) -> Option<Lsn>,
) -> Result<Kept, TransportError> {
    let mut stream = agent.backup(request).await?;
    let mut chunks = Vec::new();
    while let Some(item) = stream.next().await? {
        match item {
            BackupItem::Chunk(chunk) => {
                assert_eq!(<[u8; 32]>::from(Sha256::digest(chunk.stored.bytes())), *chunk.stored.sha256());
                stream.durable(chunk.ticket);
                chunks.push(chunk);
            }
            BackupItem::BaseDone(base) => {
                stream.handle().hold_wal().await?;
                let until = tokio::task::block_in_place(|| at_base_done(&base));
                stream.handle().stop_wal(until.unwrap_or(base.end)).await?;
            }
            BackupItem::Done(done) => return Ok(Kept { chunks, done: *done, keys }),
        }
    }
    panic!("the backup ended without its last item");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_over_a_bad_stream_restores_to_the_quiesced_state() {
    let server = Server::fresh("");
    server.fill(4);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach_badly("run-1", 40, 300_000, 7);
    let load = server.bench(8);
    server.wait("count(*) > 20 from pgbench_history");

    let mut load = Some(load);
    let mut before = String::new();
    let asked = request(&server, &keys);
    let kept = take(&mut agent, asked, keys, |base| {
        assert_eq!(base.system_identifier, server.system_identifier());
        // Quiesce: the last writer ends, the position is noted, writers go on.
        load.take().unwrap().join().unwrap();
        before = server.fingerprint();
        let until = server.switch();
        server.sql("insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, 1, 1000000, now())");
        Some(until)
    })
    .await
    .unwrap();
    assert!(pod.warnings.lock().unwrap().len() >= 10, "the stream was not as bad as it should be");
    assert!(kept.done.wal_until > kept.done.base.end);

    // Opened by hand: the streams are what the totals say, the manifest is PostgreSQL's own.
    let base = kept.raw(BackupPart::Base);
    assert_eq!(base.len() as u64, kept.done.base_totals.raw_bytes);
    let manifest = BackupManifest::parse(&kept.raw(BackupPart::Manifest)).unwrap();
    assert_eq!(manifest.start, kept.done.base.start);

    let mut agent = pod.attach_badly("run-1", 15, 500_000, 8);
    let report = crate::stages::stage(&mut agent, &kept).await.unwrap();
    assert_eq!(report.files, kept.done.base.files);
    let swapped = agent.swap(crate::stages::ALONE).await.unwrap();
    assert_eq!(swapped.control.state, "in production");
    assert_eq!(swapped.control.system_identifier, server.system_identifier());
    agent.finish().await.unwrap();

    let restored = Server::on(&pod.pgdata());
    assert_eq!(restored.fingerprint(), before);
    assert_ne!(server.fingerprint(), before, "rows after the quiesce point are in the source only");
    assert_eq!(restored.system_identifier(), server.system_identifier());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_slow_to_make_durable_gets_every_chunk() {
    let server = Server::fresh("");
    server.fill(2);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.chunk_bytes = 4 << 20;
    let mut stream = agent.backup(asked).await.unwrap();
    let mut count = 0;
    let mut taken_every = tokio::time::interval(Duration::from_millis(500));
    taken_every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let done = loop {
        match stream.next().await.unwrap().unwrap() {
            BackupItem::Chunk(chunk) => {
                // In all much longer than the deadline of the link.
                taken_every.tick().await;
                stream.durable(chunk.ticket);
                count += 1;
            }
            BackupItem::BaseDone(base) => stream.handle().stop_wal(base.end).await.unwrap(),
            BackupItem::Done(done) => break done,
        }
    };
    let sent = done.base_totals.chunks + done.wal_totals.chunks + done.manifest_totals.chunks;
    assert_eq!(count, sent);
    assert_eq!(done.wal_until, done.base.end);
    assert!(pod.warnings.lock().unwrap().is_empty(), "{:?}", pod.warnings.lock().unwrap());
    assert!(stream.next().await.unwrap().is_none());
    // The same link serves the next request.
    assert!(agent.facts().await.unwrap().volume.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_is_an_error_in_its_own_words() {
    let server = Server::fresh("");
    server.fill(3);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.max_rate = Some("10M".into());
    let mut stream = agent.backup(asked).await.unwrap();
    let mut chunks = 0;
    let error = loop {
        match stream.next().await {
            Ok(Some(BackupItem::Chunk(chunk))) => {
                stream.durable(chunk.ticket);
                chunks += 1;
                if chunks == 5 {
                    tokio::task::block_in_place(|| server.stop("immediate"));
                }
            }
            Ok(Some(BackupItem::Done(_) | BackupItem::BaseDone(_)) | None) => panic!("a short backup counts as whole"),
            Err(error) => break error,
        }
    };
    let TransportError::Agent { failure, .. } = error else { panic!("{error}") };
    assert_eq!(failure.kind, FailureKind::Postgres, "{failure}");
    assert!(failure.message.contains("failed: "), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_whose_segment_nobody_switched_is_not_waited_for_for_ever() {
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let mut asked = request(&server, &keys);
    asked.wal_wait_seconds = 1;
    let error = take(&mut agent, asked, keys, |_| {
        server.sql("create table later as select 1");
        Some(server.sql("select pg_current_wal_insert_lsn()").parse().unwrap())
    });
    let TransportError::Agent { failure, .. } = error.await.err().unwrap() else { panic!("another error") };
    assert_eq!(failure.kind, FailureKind::Wal);
    assert!(failure.message.contains("was not finished in 1 s"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backed_up_whole_is_refused_by_name() {
    let server = Server::fresh("allow_in_place_tablespaces = on");
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    server.sql("create tablespace archive_2019 location ''");
    let failure = |error: Option<TransportError>| match error {
        Some(TransportError::Agent { failure, .. }) => failure,
        other => panic!("{other:?}"),
    };
    let asked = request(&server, &keys);
    let refused = failure(take(&mut agent, asked.clone(), Identities::generate(), |_| None).await.err());
    assert_eq!(refused.kind, FailureKind::Tablespaces);
    assert!(refused.message.contains("archive_2019"), "{refused}");
    server.sql("drop tablespace archive_2019");

    for (change, words) in [
        ((|r: &mut BackupRequest| r.recipients = vec!["age1nobody".into()]) as fn(&mut BackupRequest), "age1nobody"),
        (|r| r.recipients.clear(), "no recipient"),
        (|r| r.chunk_bytes = 1, "chunks of 1 bytes"),
        (|r| r.connection.host = "/nowhere".into(), "/nowhere"),
    ] {
        let mut bad = asked.clone();
        change(&mut bad);
        let refused = failure(take(&mut agent, bad, Identities::generate(), |_| None).await.err());
        assert!(refused.message.contains(words), "{refused}");
    }
    // After all these refusals the same agent still makes a good backup.
    take(&mut agent, asked, keys, |_| None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_backup_whose_agent_was_let_go_is_told_at_once() {
    let server = Server::fresh("");
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let mut stream = agent.backup(request(&server, &keys)).await.unwrap();
    while !matches!(stream.next().await.unwrap(), Some(BackupItem::BaseDone(_))) {}
    let handle = stream.handle();
    drop(stream);
    drop(agent);
    let held = tokio::time::timeout(Duration::from_secs(20), handle.hold_wal()).await;
    assert!(held.expect("an answer").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_named_with_its_file_and_block_and_no_backup_is_made() {
    let server = Server::fresh("");
    server.sql("create table ledger as select n, md5(n::text) from generate_series(1, 5000) n");
    server.sql("checkpoint");
    let file = server.sql("select pg_relation_filepath('ledger')");
    let table = std::fs::OpenOptions::new().write(true).open(server.data.join(&file)).unwrap();
    table.write_all_at(b"flip", 3 * 8192 + 4000).unwrap();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let keys = Identities::generate();
    let error = take(&mut agent, request(&server, &keys), keys, |_| None).await.err();
    let Some(TransportError::Agent { failure, .. }) = error else { panic!("{error:?}") };
    assert_eq!(failure.kind, FailureKind::Pages, "{failure}");
    assert!(failure.message.contains(&format!("{file}\", block 3")), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_that_has_nothing_to_switch_is_not_waited_for() {
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let asked = request(&server, &keys);
    // The base backup's end has switched the segment, and nothing has been written since.
    let kept = take(&mut agent, asked, keys, |_| {
        server.sql("select pg_switch_wal()");
        Some(server.switch())
    })
    .await
    .unwrap();
    crate::stages::stage(&mut agent, &kept).await.unwrap();
}

/// What `dr bundle create` does: note the position, bring the writers back, and copy the rest while they write on.
#[tokio::test(flavor = "multi_thread")]
async fn rows_after_the_quiesce_point_do_not_come_back() {
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let mut before = String::new();
    let asked = request(&server, &keys);
    let kept = take(&mut agent, asked, keys, |_| {
        server.bench(2).join().unwrap();
        before = server.fingerprint();
        let until = server.switch();
        // The writers are back before the agent hears of the position, and fill more than a segment.
        server.sql("insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, 1, 1000000, now())");
        server.sql("create table busy as select g, repeat(md5(g::text), 40) t from generate_series(1, 20000) g");
        server.switch();
        Some(until)
    })
    .await
    .unwrap();
    crate::stages::stage(&mut agent, &kept).await.unwrap();
    agent.swap(crate::stages::ALONE).await.unwrap();
    agent.finish().await.unwrap();
    let restored = Server::on(&pod.pgdata());
    assert_eq!(restored.fingerprint(), before);
    assert_eq!(restored.sql("select coalesce(to_regclass('busy')::text, 'absent')"), "absent");
    let timeline = "select timeline_id from pg_control_checkpoint()";
    assert_eq!(restored.sql(timeline), server.sql(timeline), "a primary as before, on its own timeline");
}

/// `pg_waldump` is the oracle: whatever it finds wrong with the WAL that recovery reads, the check finds too.
#[tokio::test(flavor = "multi_thread")]
async fn what_pg_waldump_finds_wrong_with_wal_is_found() {
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let asked = request(&server, &keys);
    let kept = take(&mut agent, asked, keys, |_| {
        server.bench(1).join().unwrap();
        server.sql("create table wide as select repeat(md5(g::text), 900) t from generate_series(1, 2000) g");
        Some(server.switch())
    })
    .await
    .unwrap();
    let (done, wal) = (&kept.done, kept.raw(BackupPart::Wal));
    let manifest = BackupManifest::parse(&kept.raw(BackupPart::Manifest)).unwrap();
    let check = |wal: &[u8]| {
        let mut check = WalCheck::new(done.base.system_identifier, done.wal_segment_bytes);
        let mut tar = TarReader::new("pg_wal.tar");
        wal.chunks(4099).try_for_each(|piece| tar.push(piece, &mut check))?;
        check.finish(&manifest, WalEnd::At(done.wal_until))
    };
    let folder = tempfile::tempdir().unwrap();
    let waldump = |wal: &[u8]| {
        tar::Archive::new(wal).unpack(folder.path()).unwrap();
        let (start, end) = (format!("-s{}", done.base.start), format!("-e{}", done.wal_until));
        let path = folder.path().to_string_lossy().into_owned();
        let output = std::process::Command::new("/usr/lib/postgresql/15/bin/pg_waldump")
            .args(["-q", "-p", &path, &start, &end])
            .output();
        output.unwrap().status.success()
    };
    check(&wal).unwrap();
    assert!(waldump(&wal));
    // In the last segment, which is the one that is written to.
    let used = wal.iter().rposition(|byte| *byte != 0).unwrap();
    let begin = used - used % (512 + done.wal_segment_bytes as usize) + 512;
    let mut found = 0;
    for n in 0..40 {
        let mut bad = wal.clone();
        let at = begin + n * (used - begin) / 40;
        bad[at] ^= 1 << (n % 8);
        if !waldump(&bad) {
            found += 1;
            assert!(check(&bad).is_err(), "byte {at}");
        }
    }
    assert!(found > 30, "{found}");
}
