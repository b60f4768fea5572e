//! kill -9 of the writer, at many moments.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dr::store::{DirectoryStore, Store};

use crate::sample::*;

const FOLDER: &str = "DR_TEST_CRASH_FOLDER";

/// What the killed process does: it publishes bundles, one after the other, until it is killed.
#[test]
#[ignore = "is run and killed by the test below"]
fn write_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { panic!("{FOLDER} is not set") };
    let store = DirectoryStore::create(Path::new(&folder)).unwrap();
    let bench = Bench::new();
    loop {
        let unpublished = write(&store, header(), bench.recipients(), &bench.signer);
        unpublished.verify(&dr::event::Events::none(), &Default::default()).unwrap().publish(&store).unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_whole_bundles_and_drafts_that_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::create(folder.path()).unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    for round in 0..12u64 {
        let before = files();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::write_until_killed"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each round kills a little later after the first file has shown itself.
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut first_seen = None;
        loop {
            let now = Instant::now();
            assert!(now < deadline, "the writer writes nothing");
            assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
            if first_seen.is_none() && files() > before {
                first_seen = Some(now);
            }
            if first_seen.is_some_and(|seen| now - seen >= Duration::from_micros(round * round * 900)) {
                break;
            }
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for name in store.list().unwrap() {
            let bytes = std::fs::read(store.path_of(&name)).unwrap();
            check(bytes, &dr::bundle::Trust::Anyone).unwrap_or_else(|error| panic!("{error}"));
        }
        store.sweep_drafts(None).unwrap();
        let left = |name: &str| name.contains(".partial-");
        let names = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(!names.into_iter().any(|name| left(&name)), "a draft is left after sweeping");
    }
    assert!(!store.list().unwrap().is_empty(), "no round lived long enough to publish a bundle");
}
