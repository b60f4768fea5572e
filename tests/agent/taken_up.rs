//! Stages that were cut off and are taken up again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dr::internals::agent::protocol::{BackupPart, StageRequest};
use dr::internals::cluster::transport::{Agent, StageChunk};
use dr::internals::crypt::Identities;
use sha2::{Digest, Sha256};

use crate::backups::{Kept, request, take};
use crate::pod::{AgentProcess, Pod};
use crate::server::Server;
use crate::stages::{ALONE, opened, wanted};

/// How many records the outline has.
fn records(pod: &Pod) -> usize {
    let bytes = std::fs::read(pod.pgdata().with_file_name("dr-stage-run-1.outline")).unwrap_or_default();
    let (mut rest, mut count) = (bytes.as_slice(), 0);
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        let Some((_, after)) = after.split_at_checked(length) else { break };
        (rest, count) = (after, count + 1);
    }
    count
}

fn resumed(kept: &Kept) -> StageRequest {
    StageRequest { fresh: false, ..wanted(kept) }
}

/// Sends the first `count` chunks and waits until they are written.
async fn send_some(pod: &Pod, agent: &mut Agent, kept: &Kept, count: usize) {
    let mut sink = agent.stage(resumed(kept), |_| panic!("nothing is there yet")).await.unwrap();
    for chunk in opened(kept).into_iter().take(count) {
        sink.send(chunk).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while records(pod) < count {
        assert!(Instant::now() < deadline, "{} of {count} chunks are written", records(pod));
        tokio::task::yield_now().await;
    }
}

/// Sends what is not there, and returns how many chunks were.
async fn send_rest(agent: &mut Agent, kept: &Kept) -> usize {
    let chunks = opened(kept);
    let same = |part: BackupPart, count: u32| {
        let mine = chunks.iter().filter(|chunk| chunk.part == part).take(count as usize);
        <[u8; 32]>::from(Sha256::digest(mine.flat_map(|chunk| chunk.raw_sha256).collect::<Vec<u8>>()))
    };
    let is_kept = |kept: &[dr::internals::agent::protocol::KeptChunks]| {
        kept.iter().for_each(|kept| assert_eq!(kept.sha256.0, same(kept.part, kept.chunks)));
        true
    };
    let mut sink = agent.stage(resumed(kept), is_kept).await.unwrap();
    let (there, missing): (Vec<StageChunk>, Vec<StageChunk>) =
        chunks.iter().cloned().partition(|chunk| chunk.index < sink.kept(chunk.part));
    for chunk in missing {
        sink.send(chunk).await.unwrap();
    }
    let report = sink.finish().await.unwrap();
    assert_eq!(report.kept_bytes, there.iter().map(|chunk| chunk.raw_bytes).sum::<u64>());
    there.len()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { files.extend(files_below(&entry)) } else { files.push(entry) }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_agent_has_written_is_not_sent_again_and_what_was_lost_is() {
    let server = Server::fresh("");
    server.fill(2);
    let keys = Identities::generate();
    let source = Pod::start("run-1");
    let kept =
        take(&mut source.attach("run-1"), request(&server, &keys), keys, |_| Some(server.switch())).await.unwrap();
    let before = server.fingerprint();
    let all = opened(&kept).len();
    let pod = Pod::empty();

    // Killed in the middle: whatever was written stays.
    let process = AgentProcess::start(&pod);
    send_some(&pod, &mut pod.attach("run-1"), &kept, all / 2).await;
    drop(process);
    let process = AgentProcess::start(&pod);
    let mut agent = pod.attach("run-1");
    assert_eq!(send_rest(&mut agent, &kept).await, all / 2);
    agent.swap(ALONE).await.unwrap();
    let restored = Server::on(&pod.pgdata());
    assert_eq!(restored.fingerprint(), before);
    drop(restored);
    assert!(agent.put_back().await.unwrap());
    assert_eq!(std::fs::read_dir(pod.pgdata().parent().unwrap()).unwrap().count(), 0, "nothing is left");

    // The node lost its power: of a file that was written last, the end never reached the disk.
    send_some(&pod, &mut agent, &kept, all / 2).await;
    drop((process, agent));
    let mut files = files_below(&pod.pgdata().with_file_name("dr-stage-run-1"));
    files.sort_by_key(|file| std::fs::metadata(file).unwrap().modified().unwrap());
    let lost = files.last().unwrap();
    let length = std::fs::metadata(lost).unwrap().len();
    std::fs::File::options().write(true).open(lost).unwrap().set_len(length / 2).unwrap();
    let process = AgentProcess::start(&pod);
    let mut agent = pod.attach("run-1");
    let there = send_rest(&mut agent, &kept).await;
    assert!(0 < there && there < all / 2, "{there} of {}", all / 2);
    agent.swap(ALONE).await.unwrap();
    assert_eq!(Server::on(&pod.pgdata()).fingerprint(), before);
    drop((agent, process));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_bundle_has_left_and_what_does_not_belong_there_is_not_kept() {
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    let kept = take(&mut agent, request(&server, &keys), keys, |_| None).await.unwrap();
    send_some(&pod, &mut agent, &kept, 5).await;

    // A new process of the run, as after a kill of `dr`, that has other chunks to send.
    let mut agent = pod.attach("run-1");
    let mut asked = 0;
    let sink = agent.stage(resumed(&kept), |kept| {
        asked = kept[0].chunks;
        false
    });
    assert_eq!(sink.await.unwrap().kept(BackupPart::Base), 0);
    assert_eq!(asked, 5);

    // Something is in the folder that nobody sent.
    let mut agent = pod.attach("run-1");
    send_some(&pod, &mut agent, &kept, 5).await;
    std::fs::write(pod.pgdata().with_file_name("dr-stage-run-1").join("recovery.signal"), "").unwrap();
    let mut agent = pod.attach("run-1");
    let mut sink = agent.stage(resumed(&kept), |_| true).await.unwrap();
    for chunk in opened(&kept).into_iter().skip(5) {
        sink.send(chunk).await.unwrap();
    }
    let error = sink.finish().await.unwrap_err().to_string();
    assert!(error.contains("were put there"), "{error}");
    assert!(agent.swap(ALONE).await.is_err());
    assert_eq!(send_rest(&mut agent, &kept).await, 0, "the next begins afresh");
}
