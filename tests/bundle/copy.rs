//! A bundle carried from one store into another, whole or from where a killed process was.

use dr::internals::bundle::{BundleError, Reader, UnpublishedBundle};
use dr::internals::event::Events;
use dr::{DirectoryStore, Pending, ResumedDraft, Store};
use tokio_util::sync::CancellationToken;

use crate::bucket::Bucket;
use crate::faults::is_whole;
use crate::gateway::{self, server::Gateway};
use crate::sample::*;

const PART: usize = 5_000;

fn all_of(store: &dyn Store, name: &str) -> Vec<u8> {
    let stored = store.open(name).unwrap();
    let mut bytes = vec![0; stored.len() as usize];
    stored.read_at(0, &mut bytes).unwrap();
    bytes
}

/// What is left to do of a copy whose first process was killed after so many bytes.
fn gone_on(source: &Reader, store: &dyn Store, name: &str, killed_at: &[u8]) -> Box<dyn Pending> {
    let mut draft = store.begin(name, source.bytes()).unwrap();
    draft.append(killed_at).unwrap();
    draft.durable().unwrap();
    let token = draft.token();
    drop(draft);
    let Ok(ResumedDraft::Draft(mut draft)) = store.resume(&token) else { panic!("{token:?}") };
    let mut last = token.durable;
    source
        .copy_to(&mut *draft, token.durable, 4 << 20, &CancellationToken::new(), &mut |_, at| {
            assert!(at >= last, "{at} after {last}");
            last = at;
        })
        .unwrap();
    assert_eq!(last, source.bytes());
    draft.complete().unwrap()
}

#[test]
fn a_copy_is_the_same_to_the_byte_wherever_its_first_process_was_killed() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let whole = all_of(&bench.store, &name);
    let source = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
    for killed_at in (0..whole.len()).step_by(3_333).chain([511, 512, 513, whole.len()]) {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::new(PART, 1);
        let stores: [&dyn Store; 2] = [&bucket, &DirectoryStore::create(folder.path()).unwrap()];
        for store in stores {
            let pending = gone_on(&source, store, &name, &whole[..killed_at]);
            assert!(store.list().unwrap().is_empty(), "{killed_at}: it is listed before it was read back");
            let copy = UnpublishedBundle::of_copy(pending, &source, &bench.trust());
            copy.verify(&Events::none(), &CancellationToken::new()).unwrap().publish(store).unwrap();
            assert!(all_of(store, &name) == whole, "{killed_at}");
            is_whole(&bench, store, &name);
        }
        assert_eq!(bucket.uploads(), 0);
    }
}

fn copied(source: &Reader, store: &dyn Store, name: &str) -> Result<(), BundleError> {
    let mut draft = store.begin(name, source.bytes()).unwrap();
    source.copy_to(&mut *draft, 0, 4 << 20, &CancellationToken::new(), &mut |_, _| {})
}

#[test]
fn a_damaged_source_is_named_as_it_is_read_and_a_draft_of_other_bytes_when_it_is_read_back() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let whole = all_of(&bench.store, &name);
    let source = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
    let bucket = Bucket::new(PART, 0);
    let mut other = whole[..PART * 2].to_vec();
    other[700] ^= 1;
    let pending = gone_on(&source, &bucket, &name, &other);
    let copy = UnpublishedBundle::of_copy(pending, &source, &bench.trust());
    assert!(copy.verify(&Events::none(), &CancellationToken::new()).is_err());
    assert!(bucket.list().unwrap().is_empty());

    let chunk = source.chunks(dr::internals::bundle::Stream::Base).next().unwrap();
    let mut damaged = whole;
    damaged[chunk.offset as usize + 300] ^= 1;
    std::fs::write(bench.store.address(&name), damaged).unwrap();
    let source = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let refused = copied(&source, &DirectoryStore::create(folder.path()).unwrap(), &name).unwrap_err().to_string();
    assert!(refused.contains("db/base/000000.tar.zst.age"), "{refused}");
}

/// From folder to bucket, to the bucket of another server, and into a folder again; each time the first process dies.
#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_a_bundle_goes_through_two_servers_and_back_and_is_the_same_to_the_byte() {
    let (bench, servers, folder) = (Bench::new(), [Gateway::start(), Gateway::start()], tempfile::tempdir().unwrap());
    let name = bench.publish(header());
    let whole = all_of(&bench.store, &name);
    let (here, there) = (gateway::open(&servers[0], "here"), gateway::open(&servers[1], "there"));
    let back = DirectoryStore::create(folder.path()).unwrap();
    let hops: [(&dyn Store, &dyn Store); 3] = [(&bench.store, &here), (&here, &there), (&there, &back)];
    for (hop, (from, to)) in hops.into_iter().enumerate() {
        let source = Reader::open_in(from, &name, &bench.trust()).unwrap();
        let pending = gone_on(&source, to, &name, &whole[..whole.len() / (hop + 2)]);
        assert!(to.list().unwrap().is_empty(), "hop {hop}: it is listed before it was read back");
        let copy = UnpublishedBundle::of_copy(pending, &source, &bench.trust());
        copy.verify(&Events::none(), &CancellationToken::new()).unwrap().publish(to).unwrap();
        assert!(all_of(to, &name) == whole, "hop {hop}");
        is_whole(&bench, to, &name);
    }
    for server in servers {
        assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    }
}
