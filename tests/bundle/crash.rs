//! kill -9 of the writer, at many moments.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dr::{DirectoryStore, DraftToken, Store};

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
        unpublished
            .verify(&dr::internals::event::Events::none(), &Default::default())
            .unwrap()
            .publish(&store)
            .unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_whole_bundles_and_drafts_that_the_next_throws_away() {
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
        let names = || std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let published: Vec<String> = store.list().unwrap().into_iter().map(|object| object.name).collect();
        for name in &published {
            dr::internals::bundle::Reader::open_in(
                &store,
                name,
                &dr::internals::bundle::Trust::Anyone(Default::default()),
            )
            .and_then(|reader| reader.verify_stored(&dr::internals::event::Events::none(), &Default::default()))
            .unwrap_or_else(|error| panic!("{error}"));
        }
        // The next process has its name in the journal, and throws away what is left.
        for name in names().filter(|name| !published.contains(name)) {
            assert!(store.abort(&DraftToken::named(&name)).unwrap(), "{name}");
        }
        assert_eq!(names().count(), published.len(), "something is left of a draft");
    }
    assert!(!store.list().unwrap().is_empty(), "no round lived long enough to publish a bundle");
}
