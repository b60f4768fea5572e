//! What was written is read back, and what does not fit is not written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dr::bundle::{Catalog, Depth, Fault, Proof, Reader, SignatureState, Stream, Trust, Writer};
use dr::crypt::Signer;
use dr::event::{Event, Events};
use dr::store::{Draft, Store, StoreError, Stored};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::sample::*;

#[test]
fn every_byte_that_was_put_in_comes_out() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let reader = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
    let values = reader.open_member("config/values.yaml.age", &bench.identities).unwrap();
    assert_eq!(values.as_slice(), VALUES);
    assert_eq!(reader.manifest().values_sha256, hex::encode(Sha256::digest(VALUES)));
    assert_eq!(reader.chart(), Some("chart/opschain-2026.8.20.tgz.age"));
    let content = Content::good();
    for (stream, raw) in [(Stream::Base, &content.base), (Stream::Wal, &content.wal)] {
        let mut joined = Vec::new();
        for chunk in reader.chunks(stream) {
            let frame = reader.open_chunk(&chunk, &bench.identities).unwrap();
            assert_eq!(zstd::bulk::decompress(&frame, chunk.raw_bytes as usize).unwrap().len() as u64, chunk.raw_bytes);
            joined.extend_from_slice(&reader.unpack_chunk(&chunk, &bench.identities).unwrap());
        }
        assert!(&joined == raw, "{stream:?}");
    }
}

#[test]
fn a_stream_can_be_taken_up_at_any_chunk() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let reader = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
    let all: Vec<_> = reader.chunks(Stream::Base).collect();
    assert!(all.len() > 2);
    let rest: Vec<_> = reader.chunks(Stream::Base).skip(2).collect();
    assert_eq!(rest, all[2..]);
    assert_eq!(rest[0].index, 2);
    reader.read_chunk(&rest[0]).unwrap();
}

#[test]
fn verifying_tells_how_far_it_is_and_what_it_saw() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let reader = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
    let last = Arc::new(Mutex::new(Vec::new()));
    let seen = last.clone();
    let events = Events::to(move |event| {
        if let Event::Progress { done, total, .. } = event {
            seen.lock().unwrap().push((done, total.unwrap()));
        }
    });
    let proof = reader.verify_stored(&events, &CancellationToken::new()).unwrap();
    assert_eq!(proof.bytes, std::fs::metadata(bench.store.path_of(&name)).unwrap().len());
    assert!(matches!(&proof.signature, SignatureState::Trusted { signer } if signer.principal == "backup@test"));
    let seen = last.lock().unwrap().clone();
    assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0) && seen.last() == Some(&(proof.bytes, proof.bytes)));
    let plain = reader.verify_plain(&bench.identities, &Events::none(), &CancellationToken::new()).unwrap();
    assert_eq!((plain.base.files, plain.wal.segments), (5, 2));
    assert_eq!(plain.base.system_identifier, SYSTEM.to_string());
}

#[test]
fn a_cancelled_verification_proves_nothing() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let reader = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let stored = reader.verify_stored(&Events::none(), &cancel).unwrap_err();
    let plain = reader.verify_plain(&bench.identities, &Events::none(), &cancel).unwrap_err();
    assert!(matches!(*stored.fault, Fault::Cancelled) && matches!(*plain.fault, Fault::Cancelled));
}

#[test]
fn nothing_is_a_bundle_before_it_is_published() {
    let bench = Bench::new();
    let unpublished = write(&bench.store, header(), bench.recipients(), &bench.signer);
    assert!(bench.store.list().unwrap().is_empty());
    let verified = unpublished.verify(&Events::none(), &CancellationToken::new()).unwrap();
    assert!(bench.store.list().unwrap().is_empty());
    drop(verified);
    assert_eq!(
        std::fs::read_dir(bench.folder.path().join("store")).unwrap().count(),
        0,
        "a dropped draft stays behind"
    );
}

#[test]
fn what_the_disk_changed_is_seen_before_publishing() {
    let bench = Bench::new();
    let unpublished = write(&bench.store, header(), bench.recipients(), &bench.signer);
    let draft = std::fs::read_dir(bench.folder.path().join("store")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&draft).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&draft, bytes).unwrap();
    let error = unpublished.verify(&Events::none(), &CancellationToken::new()).err().unwrap();
    assert!(matches!(*error.fault, Fault::Damaged { .. } | Fault::Layout { .. }), "{error}");
    assert!(bench.store.list().unwrap().is_empty());
}

#[test]
fn the_writer_refuses_what_is_out_of_order_damaged_or_in_the_clear() {
    let bench = Bench::new();
    let mut writer = Writer::create(&bench.store, "run-1", header(), bench.recipients()).unwrap();
    let refused = |result: Result<(), dr::bundle::BundleError>| text(&result.unwrap_err());
    let sealed = bench.recipients().seal(b"x").unwrap();
    assert!(refused(writer.add_sealed("config/values.yaml.age", b"plain")).contains("not an age file"));
    assert!(refused(writer.add_sealed("config/../x.age", &sealed)).contains("leads out"));
    assert!(refused(writer.add_sealed("manifest.json", &sealed)).contains("the writer makes it itself"));
    assert!(
        refused(writer.add_sealed("db/base/000000.tar.zst.age", &sealed)).contains("a chunk comes with its digests")
    );
    let digest = Sha256::digest(&sealed).into();
    assert!(
        refused(writer.add_sealed("db/backup_manifest.age", &sealed)).contains("config/values.yaml.age is missing")
    );
    writer.seal_config("values.yaml", VALUES).unwrap();
    assert!(refused(writer.seal_config("values.yaml", VALUES)).contains("there twice"));
    assert!(refused(writer.add_chunk(Stream::Base, 1, &sealed, &digest, 1, &digest)).contains("chunk 000000 of base"));
    assert!(
        refused(writer.add_chunk(Stream::Base, 0, &sealed, &[0; 32], 1, &digest)).contains("not those that were sent")
    );
    assert!(refused(writer.add_chunk(Stream::Base, 0, &sealed, &digest, 1 << 40, &digest)).contains("too large"));
    writer.add_chunk(Stream::Base, 0, &sealed, &digest, 1, &digest).unwrap();
    assert!(refused(writer.seal_config("late.yaml", b"x")).contains("wrong place"));
}

#[test]
fn a_stream_that_lost_its_tail_is_not_finished() {
    let bench = Bench::new();
    let mut content = Content::good();
    content.base.truncate(8_000);
    let mut writer = Writer::create(&bench.store, "run-1", header(), bench.recipients()).unwrap();
    for name in ["values.yaml", "release.json", "secrets.yaml"] {
        writer.seal_config(name, b"x").unwrap();
    }
    add_chunk(&mut writer, &bench.recipients(), Stream::Base, 0, &content.base).unwrap();
    add_chunk(&mut writer, &bench.recipients(), Stream::Wal, 0, b"wal").unwrap();
    let listing = bench.recipients().seal(b"{}").unwrap();
    writer.add_sealed("db/backup_manifest.age", &listing).unwrap();
    let facts = dr::bundle::Facts {
        database: database_facts(),
        base: whole(&Content::good().base),
        wal: whole(b"wal"),
        key_fingerprints: Default::default(),
        counts: Default::default(),
        scope: Vec::new(),
    };
    let error = writer.finish(facts, &bench.signer).err().unwrap();
    assert!(text(&error).contains("bytes were sent and 8000 came"), "{error}");
    assert!(bench.store.list().unwrap().is_empty());
}

#[test]
fn the_catalog_lists_newest_first_and_bad_ones_with_the_reason() {
    let bench = Bench::new();
    let old = bench.publish(header_of("2026-08-20", "2026-11-20T00:00:00Z"));
    let new = bench.publish(header_of("2026-10-08", "2026-11-22T00:00:00Z"));
    std::fs::write(bench.store.path_of("junk"), b"not a tar").unwrap();
    std::fs::copy(bench.store.path_of(&old), bench.store.path_of("opschain-20261121T000000Z-aaaaaa")).unwrap();
    let catalog = Catalog::read(&bench.store).unwrap();
    let names: Vec<&str> = catalog.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, [new.as_str(), "opschain-20261121T000000Z-aaaaaa", &old, "junk"]);
    assert!(catalog.entries[1].header.as_ref().unwrap_err().contains(&format!("it is bundle {old}")));
    assert!(catalog.entries[3].header.as_ref().unwrap_err().contains("not a bundle"));
    assert_eq!(catalog.entries[0].proof.as_ref().unwrap().depth, Depth::Stored);
    assert_eq!(catalog.versions(), ["2026-10-08", "2026-08-20"]);
    assert_eq!(catalog.find("opschain-20261122").unwrap().name, new);
    assert!(catalog.find("opschain-").unwrap_err().to_string().contains("beginning of 3 bundles"));
    assert!(catalog.find("nope").unwrap_err().to_string().contains("no bundle `nope`"));
    let report = serde_json::to_value(dr::bundle::report::ListReport::new(&catalog)).unwrap();
    assert_eq!(report["bundles"][0]["opschain_version"], "2026-10-08");
    assert!(report["bundles"][3]["unreadable"].as_str().unwrap().contains("not a bundle"));
}

#[test]
fn the_newest_good_one_of_a_version_is_found_and_the_others_are_named() {
    let bench = Bench::new();
    let good = bench.publish(header_of("2026-08-20", "2026-11-20T00:00:00Z"));
    let cut = bench.publish(header_of("2026-08-20", "2026-11-21T00:00:00Z"));
    let path = bench.store.path_of(&cut);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 600]).unwrap();
    bench.publish(header_of("2026-10-08", "2026-11-22T00:00:00Z"));
    let catalog = Catalog::read(&bench.store).unwrap();
    let (found, passed) = catalog.newest_good(&bench.store, &bench.trust(), "2026-08-20");
    assert_eq!(found.unwrap().header().id.to_string(), good);
    assert_eq!((passed.len(), passed[0].name.as_str()), (1, cut.as_str()));
    assert!(passed[0].reason.contains("cut off"), "{}", passed[0].reason);
    let stranger = trust(&Signer::generate("x").unwrap());
    let (found, passed) = catalog.newest_good(&bench.store, &stranger, "2026-08-20");
    assert!(found.is_none() && passed.len() == 2);
    assert!(catalog.newest_good(&bench.store, &Trust::Anyone, "2020-01-01").0.is_none());
}

#[test]
fn the_record_of_a_verification_is_kept_and_nonsense_counts_as_none() {
    let bench = Bench::new();
    let name = bench.publish(header());
    Proof::new(Depth::Plain, Some("me")).write(&bench.store, &name).unwrap();
    let proof = Proof::read(&bench.store, &name).unwrap();
    assert_eq!((proof.depth, proof.signer.as_deref()), (Depth::Plain, Some("me")));
    bench.store.write_record(&name, b"{").unwrap();
    assert_eq!(Proof::read(&bench.store, &name), None);
}

/// A store whose disk is full after `room` bytes.
struct Small<'a> {
    inner: &'a dyn Store,
    room: Arc<AtomicU64>,
}

struct SmallDraft {
    inner: Box<dyn Draft>,
    room: Arc<AtomicU64>,
}

impl Store for Small<'_> {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn begin(&self, name: &str, run: &str) -> Result<Box<dyn Draft>, StoreError> {
        Ok(Box::new(SmallDraft { inner: self.inner.begin(name, run)?, room: self.room.clone() }))
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError> {
        self.inner.open(name)
    }
    fn list(&self) -> Result<Vec<String>, StoreError> {
        self.inner.list()
    }
    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.inner.remove(name)
    }
    fn sweep_drafts(&self, run: Option<&str>) -> Result<Vec<String>, StoreError> {
        self.inner.sweep_drafts(run)
    }
    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.inner.free_bytes()
    }
    fn write_record(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.write_record(name, bytes)
    }
    fn read_record(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read_record(name)
    }
}

impl Draft for SmallDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let left = self.room.load(Ordering::Relaxed);
        if bytes.len() as u64 > left {
            return Err(StoreError::Full { object: "x".into(), place: "/small".into(), written: self.inner.written() });
        }
        self.room.store(left - bytes.len() as u64, Ordering::Relaxed);
        self.inner.append(bytes)
    }
    fn written(&self) -> u64 {
        self.inner.written()
    }
    fn sync(&mut self) -> Result<u64, StoreError> {
        self.inner.sync()
    }
    fn reopen(&self) -> Result<Arc<dyn Stored>, StoreError> {
        self.inner.reopen()
    }
    fn publish(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.publish()
    }
}

#[test]
fn a_disk_that_fills_at_any_point_leaves_nothing() {
    let bench = Bench::new();
    let whole = bench.bytes().len() as u64;
    let before = bench.store.list().unwrap();
    // No two bundles have quite the same length: age puts a stanza of random length into each file now and then.
    for room in (0..whole - 4096).step_by(1500) {
        let small = Small { inner: &bench.store, room: Arc::new(AtomicU64::new(room)) };
        let result = write_content(&small, header(), bench.recipients(), &bench.signer, &Content::good());
        let error = dr::error::CommandError::from(result.err().unwrap());
        assert_eq!(error.exit(), dr::error::Exit::Space, "{error}");
    }
    assert_eq!(bench.store.list().unwrap(), before);
    assert!(bench.store.sweep_drafts(None).unwrap().is_empty());
}
