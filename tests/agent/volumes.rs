//! The volume of a claim out of one pod and into another, over sessions that are cut and damaged.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use dr::internals::agent::protocol::{BackupPart, FailureKind, VolumeDone, VolumeRequest};
use dr::internals::cluster::transport::{Agent, ReceivedChunk, StageChunk, TransportError, VolumeItem};
use dr::internals::crypt::Identities;
use dr::internals::filetree::{hold_against, list};

use crate::pod::Pod;

fn fill(root: &Path) {
    let noise: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    std::fs::create_dir(root.join("a folder")).unwrap();
    std::fs::write(root.join("a folder/J\u{f6}rg"), noise).unwrap();
    std::fs::write(root.join("empty"), "").unwrap();
    std::fs::set_permissions(root.join("empty"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("a folder/J\u{f6}rg", root.join("link")).unwrap();
    std::fs::hard_link(root.join("empty"), root.join("also empty")).unwrap();
}

fn claimed(pod: &Pod) -> std::path::PathBuf {
    pod.folder.path().join("claimed")
}

async fn read(agent: &mut Agent, keys: &Identities) -> Result<(Vec<ReceivedChunk>, VolumeDone), TransportError> {
    let recipients = keys.recipients().iter().map(ToString::to_string).collect();
    let request = VolumeRequest { recipients, chunk_bytes: 128 << 10, held_back_bytes: 0, zstd_level: Some(1) };
    let mut stream = agent.read_volume(request).await?;
    let (handle, mut chunks) = (stream.handle(), Vec::new());
    loop {
        match stream.next().await?.unwrap() {
            VolumeItem::Chunk(chunk) => {
                handle.durable(chunk.ticket);
                chunks.push(chunk);
            }
            VolumeItem::Done(done) => return Ok((chunks, done)),
        }
    }
}

fn opened(chunk: &ReceivedChunk, keys: &Identities) -> StageChunk {
    StageChunk {
        part: BackupPart::Volume,
        index: chunk.index,
        frame: Bytes::from(keys.open(chunk.stored.bytes()).unwrap().to_vec()),
        raw_bytes: chunk.raw_bytes,
        raw_sha256: chunk.raw_sha256,
    }
}

async fn send(agent: &mut Agent, chunks: impl Iterator<Item = StageChunk>) -> Result<u64, TransportError> {
    let mut sink = agent.fill_volume().await?;
    for chunk in chunks {
        sink.send(chunk).await?;
    }
    Ok(sink.finish_volume().await?.totals.files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_comes_back_whole_over_bad_sessions_and_a_second_filling_comes_to_the_same_end() {
    let (from, to, keys) = (Pod::start("run-1"), Pod::start("run-2"), Identities::generate());
    fill(&claimed(&from));
    let (chunks, done) = read(&mut from.attach_badly("run-1", 4, 700_000, 7), &keys).await.unwrap();
    assert!(chunks.len() > 20);
    assert_eq!((done.totals.files, done.totals.hard_links, done.totals.symlinks), (2, 1, 1));
    let mut agent = to.attach_badly("run-2", 4, 700_000, 8);
    for _ in 0..2 {
        std::fs::write(claimed(&to).join("of before"), "x").unwrap();
        assert_eq!(send(&mut agent, chunks.iter().map(|chunk| opened(chunk, &keys))).await.unwrap(), 2);
        let (seen, listed) = (list(&claimed(&to)).unwrap(), list(&claimed(&from)).unwrap());
        assert_eq!(seen, listed, "with owners, modes and times");
        hold_against(&seen, &listed).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_without_its_end_and_a_volume_that_is_not_there_are_refused_and_the_agent_goes_on() {
    let (pod, keys) = (Pod::start("run-1"), Identities::generate());
    fill(&claimed(&pod));
    let mut agent = pod.attach("run-1");
    let (chunks, _) = read(&mut agent, &keys).await.unwrap();
    let short = chunks[..chunks.len() - 1].iter().map(|chunk| opened(chunk, &keys));
    let error = send(&mut agent, short).await.unwrap_err();
    let TransportError::Agent { failure, .. } = &error else { panic!("{error}") };
    assert!(matches!(failure.kind, FailureKind::Damaged | FailureKind::System), "{failure}");
    let all = chunks.iter().map(|chunk| opened(chunk, &keys));
    assert_eq!(send(&mut agent, all).await.unwrap(), 2, "begun anew it comes to its end");
    std::fs::remove_dir_all(claimed(&pod)).unwrap();
    let error = read(&mut agent, &keys).await.err().unwrap().to_string();
    assert!(error.contains("no volume is mounted at"), "{error}");
    assert!(agent.facts().await.is_ok());
}
