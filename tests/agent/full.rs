//! A real small volume that fills while a data directory comes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use dr::internals::agent::protocol::FailureKind;
use dr::internals::cluster::transport::TransportError;
use dr::internals::crypt::Identities;

use crate::backups::{request, take};
use crate::pod::Pod;
use crate::server::Server;
use crate::stages::{ALONE, stage};

/// An ext4 file system in a file, mounted for as long as this lives.
struct SmallVolume {
    at: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallVolume {
    fn mount(at: &Path, mib: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(mib << 20).unwrap();
        let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at));
        Self { at: at.to_owned(), _folder: folder }
    }

    /// Takes all the room but so many bytes, as far as whole blocks go.
    fn fill(&self, but: u64) {
        let mut ballast = File::create(self.at.join(".ballast")).unwrap();
        while ballast.write_all(&[7; 4096]).is_ok() {}
        let size = ballast.metadata().unwrap().len();
        ballast.set_len(size.saturating_sub(but)).unwrap();
        ballast.sync_all().unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.at.join(".ballast")).unwrap();
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.at).status().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_fills_at_any_byte_is_called_full_and_keeps_what_was_there() {
    // Only root mounts; whoever builds as somebody else has the other tests.
    if !is_root() {
        return;
    }
    let server = Server::fresh("");
    server.fill(1);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let volume = SmallVolume::mount(pod.pgdata().parent().unwrap(), 256);
    let mut agent = pod.attach("run-1");
    let asked = request(&server, &keys);
    let kept = take(&mut agent, asked, keys, |_| None).await.unwrap();
    let control = pod.pgdata().join("global/pg_control");
    std::fs::create_dir_all(control.parent().unwrap()).unwrap();
    std::fs::write(&control, "old").unwrap();
    let needed: u64 = kept.chunks.iter().map(|chunk| chunk.raw_bytes).sum();
    for round in 0..8 {
        let room = rand::random_range(0..needed / 2);
        volume.fill(room);
        let error = stage(&mut agent, &kept).await.err().unwrap_or_else(|| panic!("{room} of {needed} bytes did"));
        let TransportError::Agent { failure, .. } = error else { panic!("round {round}, {room} bytes: {error}") };
        assert_eq!(failure.kind, FailureKind::Space, "{room} bytes: {failure}");
        assert!(agent.swap(ALONE).await.is_err(), "{room} bytes: what is half was swapped in");
        assert_eq!(std::fs::read_to_string(&control).unwrap(), "old");
        volume.empty();
        // What is half stays until the next try takes its room back; here it would be room for it.
        for left in std::fs::read_dir(&volume.at).unwrap().map(|entry| entry.unwrap().path()) {
            if left.file_name().unwrap().to_str().unwrap().starts_with("dr-") {
                if left.is_dir() { std::fs::remove_dir_all(left).unwrap() } else { std::fs::remove_file(left).unwrap() }
            }
        }
    }
    stage(&mut agent, &kept).await.unwrap();
    agent.swap(ALONE).await.unwrap();
    Server::on(&pod.pgdata());
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}
