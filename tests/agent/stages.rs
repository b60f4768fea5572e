//! Data directories into the agent.

use bytes::Bytes;
use dr::internals::agent::protocol::{BackupPart, FailureKind, StageReport, StageRequest, SwapRequest};
use dr::internals::cluster::transport::{Agent, StageChunk, TransportError};
use dr::internals::crypt::Identities;
use dr::internals::postgres::Lsn;
use dr::internals::postgres::basebackup::WalEnd;
use sha2::{Digest, Sha256};

use crate::backups::{Kept, request, take};
use crate::pod::Pod;
use crate::server::Server;

pub const ALONE: SwapRequest = SwapRequest { nothing_else_mounts: true };

pub fn wanted(kept: &Kept) -> StageRequest {
    StageRequest {
        system_identifier: kept.done.base.system_identifier,
        wal_end: WalEnd::At(kept.done.wal_until),
        wal_segment_bytes: kept.done.wal_segment_bytes,
        fresh: true,
    }
}

/// The chunks as a restore sends them: opened, still compressed.
pub fn opened(kept: &Kept) -> Vec<StageChunk> {
    let open = |chunk: &dr::internals::cluster::transport::ReceivedChunk| StageChunk {
        part: chunk.part,
        index: chunk.index,
        frame: Bytes::from(kept.frame(chunk)),
        raw_bytes: chunk.raw_bytes,
        raw_sha256: chunk.raw_sha256,
    };
    let tars = kept.chunks.iter().filter(|chunk| chunk.part != BackupPart::Manifest);
    let mut chunks: Vec<StageChunk> = tars.map(open).collect();
    chunks.sort_by_key(|chunk| (chunk.part, chunk.index));
    chunks
}

pub async fn send(
    agent: &mut Agent,
    wanted: StageRequest,
    chunks: Vec<StageChunk>,
) -> Result<StageReport, TransportError> {
    let mut sink = agent.stage(wanted, |_| false).await?;
    for chunk in chunks {
        sink.send(chunk).await?;
    }
    sink.finish().await
}

pub async fn stage(agent: &mut Agent, kept: &Kept) -> Result<StageReport, TransportError> {
    send(agent, wanted(kept), opened(kept)).await
}

/// Cuts a tar into chunks whose own sums are right: the damage is in what they hold.
fn forged(part: BackupPart, raw: &[u8]) -> Vec<StageChunk> {
    raw.chunks(1 << 20)
        .enumerate()
        .map(|(index, piece)| StageChunk {
            part,
            index: index as u32,
            frame: Bytes::from(zstd::bulk::compress(piece, 1).unwrap()),
            raw_bytes: piece.len() as u64,
            raw_sha256: Sha256::digest(piece).into(),
        })
        .collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|window| window == needle).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_missing_or_changed_is_named_and_never_put_in_place() {
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let asked = request(&server, &keys);
    let kept = take(&mut agent, asked, keys, |_| {
        server.sql("create table marker as select generate_series(1, 300000)");
        Some(server.switch())
    })
    .await
    .unwrap();
    let (base, wal) = (kept.raw(BackupPart::Base), kept.raw(BackupPart::Wal));
    let whole = |base: &[u8], wal: &[u8]| [forged(BackupPart::Base, base), forged(BackupPart::Wal, wal)].concat();
    let segment = 512 + kept.done.wal_segment_bytes as usize;
    assert!(wal.len() > 2 * segment, "the WAL has more than one segment");

    let mut flipped = base.clone();
    let at = find(&base, b"base/5/1259\0") + 512 + 100;
    flipped[at] ^= 1;
    // The second segment is another's: its name says one place, its pages another.
    let mut swapped = wal.clone();
    swapped.copy_within(0..100, 0);
    let second = wal[segment..2 * segment].to_vec();
    swapped[512..segment].copy_from_slice(&second[512..]);
    let mut torn = wal.clone();
    torn[segment + 512 + 300_000..segment + 512 + 300_064].fill(0xee);
    // A tar entry of one byte.
    let entry = |name: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(1);
        header.set_cksum();
        [&header.as_bytes()[..], b"x", &[0; 511]].concat()
    };
    let smuggled = [entry("pg_wal/000000010000000000000001"), base.clone()].concat();
    let odd = entry("recovery.signal");
    let cases: Vec<(&str, Vec<StageChunk>, FailureKind)> = vec![
        ("base/5/1259 is damaged", whole(&flipped, &wal), FailureKind::Damaged),
        ("cut off", whole(&base[..base.len() - 4096], &wal), FailureKind::Damaged),
        ("is missing from pg_wal.tar", whole(&base, &wal[segment..]), FailureKind::Wal),
        ("its pages begin at", whole(&base, &swapped), FailureKind::Damaged),
        ("a record is damaged", whole(&base, &torn), FailureKind::Damaged),
        ("pg_wal.tar: it is cut off", forged(BackupPart::Base, &base), FailureKind::Damaged),
        ("belongs into pg_wal.tar", whole(&smuggled, &wal), FailureKind::Damaged),
        ("which is no WAL", whole(&base, &[&odd[..], &wal[..]].concat()), FailureKind::Damaged),
        ("base chunk 1 came where 0 was due", whole(&base, &wal)[1..].to_vec(), FailureKind::Damaged),
    ];
    for (words, chunks, kind) in cases {
        let error = send(&mut agent, wanted(&kept), chunks).await.err().unwrap_or_else(|| panic!("{words}: accepted"));
        let TransportError::Agent { failure, .. } = error else { panic!("{words}: {error}") };
        assert!(failure.message.contains(words), "{words}: {failure}");
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(agent.swap(ALONE).await.is_err(), "{words}: swapped in");
    }

    let mut lying = opened(&kept);
    lying[0].raw_sha256[0] ^= 1;
    let error = send(&mut agent, wanted(&kept), lying).await.err().unwrap().to_string();
    assert!(error.contains("does not hold what was said"), "{error}");
    let other = StageRequest { system_identifier: 1, ..wanted(&kept) };
    let error = send(&mut agent, other, opened(&kept)).await.err().unwrap();
    assert!(matches!(error, TransportError::Agent { .. }), "{error}");
    let until = kept.done.wal_until.0;
    for (end, words) in [(until + (1 << 30), "is missing from pg_wal.tar"), (until - 32, "the WAL goes on to")] {
        let other = StageRequest { wal_end: WalEnd::At(Lsn(end)), ..wanted(&kept) };
        let error = send(&mut agent, other, opened(&kept)).await.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }

    // After all that, the good one goes in, twice.
    stage(&mut agent, &kept).await.unwrap();
    stage(&mut agent, &kept).await.unwrap();
    let report = agent.swap(ALONE).await.unwrap();
    assert_eq!((report.kept, report.resumed), (None, false));
    assert!(agent.swap(ALONE).await.unwrap().resumed);
    let facts = agent.facts().await.unwrap().volume.unwrap();
    assert!(facts.pgdata && facts.control.is_some());
    assert!(agent.stage(wanted(&kept), |_| false).await.is_err(), "data that is in use is not staged over");
    // It was the first data directory: to put it back leaves none.
    assert!(agent.put_back().await.unwrap());
    let facts = agent.facts().await.unwrap().volume.unwrap();
    assert!(!facts.pgdata && facts.beside.is_empty(), "{facts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_data_directory_is_kept_and_can_be_put_back() {
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let asked = request(&server, &keys);
    let kept = take(&mut agent, asked, keys, |_| None).await.unwrap();
    std::fs::create_dir_all(pod.pgdata().join("global")).unwrap();
    std::fs::write(pod.pgdata().join("global/pg_control"), "old").unwrap();
    stage(&mut agent, &kept).await.unwrap();
    let report = agent.swap(ALONE).await.unwrap();
    assert!(report.kept.unwrap().ends_with("dr-before-run-1"));
    assert!(agent.put_back().await.unwrap());
    assert_eq!(std::fs::read_to_string(pod.pgdata().join("global/pg_control")).unwrap(), "old");
    assert!(!agent.put_back().await.unwrap());
    stage(&mut agent, &kept).await.unwrap();
    agent.swap(ALONE).await.unwrap();
    Server::on(&pod.pgdata());
}
