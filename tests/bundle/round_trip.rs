//! What was written is read back, and what does not fit is not written.

use std::sync::{Arc, Mutex};

use dr::internals::bundle::{
    BundleFault, BundleReference, Catalog, Depth, Proof, Reader, SignatureState, Stream, Trust, Writer,
};
use dr::internals::crypt::{Hashed, Signer};
use dr::internals::event::{Event, Events};
use dr::{DraftToken, Store};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::bucket::Bucket;
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
    let (mut stored, mut frame) = Default::default();
    for (stream, raw) in [(Stream::Base, &content.base), (Stream::Wal, &content.wal)] {
        let mut joined = Vec::new();
        for chunk in reader.chunks(stream) {
            reader.open_chunk(&chunk, &bench.identities, &mut stored, &mut frame).unwrap();
            let piece = zstd::bulk::decompress(&frame, chunk.raw_bytes as usize).unwrap();
            assert_eq!((piece.len() as u64, hex::encode(Sha256::digest(&piece))), (chunk.raw_bytes, chunk.raw_sha256));
            joined.extend_from_slice(&piece);
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
    let (mut stored, mut frame) = Default::default();
    reader.open_chunk(&rest[0], &bench.identities, &mut stored, &mut frame).unwrap();
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
    assert_eq!(proof.bytes, std::fs::metadata(bench.store.address(&name)).unwrap().len());
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
    assert!(matches!(*stored.fault, BundleFault::Cancelled) && matches!(*plain.fault, BundleFault::Cancelled));
}

#[test]
fn nothing_is_a_bundle_before_it_is_published() {
    let bench = Bench::new();
    let unpublished = write(&bench.store, header(), bench.recipients(), &bench.signer);
    assert!(bench.store.list().unwrap().is_empty());
    let verified = unpublished.verify(&Events::none(), &CancellationToken::new()).unwrap();
    assert!(bench.store.list().unwrap().is_empty());
    drop(verified);
    assert!(bench.store.list().unwrap().is_empty());
}

#[test]
fn what_the_disk_changed_is_seen_before_publishing() {
    let bench = Bench::new();
    let unpublished = write(&bench.store, header(), bench.recipients(), &bench.signer);
    let folder = std::fs::read_dir(bench.folder.path().join("store")).unwrap().next().unwrap().unwrap().path();
    let draft = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&draft).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&draft, bytes).unwrap();
    let error = unpublished.verify(&Events::none(), &CancellationToken::new()).err().unwrap();
    assert!(matches!(*error.fault, BundleFault::Damaged { .. } | BundleFault::Layout { .. }), "{error}");
    assert!(bench.store.list().unwrap().is_empty());
}

#[test]
fn the_writer_refuses_what_is_out_of_order_damaged_or_in_the_clear() {
    let bench = Bench::new();
    let mut writer = Writer::create(&bench.store, header(), bench.recipients()).unwrap();
    let refused = |result: Result<(), dr::internals::bundle::BundleError>| text(&result.unwrap_err());
    let sealed = Hashed::of(bench.recipients().seal(b"x").unwrap());
    assert!(refused(writer.add_sealed("config/values.yaml.age", &Hashed::of("plain"))).contains("not an age file"));
    assert!(refused(writer.add_sealed("config/../x.age", &sealed)).contains("leads out"));
    assert!(refused(writer.add_sealed("manifest.json", &sealed)).contains("the writer makes it itself"));
    assert!(
        refused(writer.add_sealed("db/base/000000.tar.zst.age", &sealed)).contains("a chunk comes with its digests")
    );
    let digest = [0; 32];
    assert!(
        refused(writer.add_sealed("db/backup_manifest.age", &sealed)).contains("config/values.yaml.age is missing")
    );
    writer.seal_config("values.yaml", VALUES).unwrap();
    assert!(refused(writer.seal_config("values.yaml", VALUES)).contains("there twice"));
    assert!(refused(writer.add_chunk(Stream::Base, 1, &sealed, 1, &digest)).contains("chunk 000000 of base"));
    assert!(refused(writer.add_chunk(Stream::Base, 0, &sealed, 1 << 40, &digest)).contains("too large"));
    writer.add_chunk(Stream::Base, 0, &sealed, 1, &digest).unwrap();
    assert!(refused(writer.seal_config("late.yaml", b"x")).contains("wrong place"));
}

#[test]
fn a_stream_that_lost_its_tail_is_not_finished() {
    let bench = Bench::new();
    let mut content = Content::good();
    content.base.truncate(8_000);
    let mut writer = Writer::create(&bench.store, header(), bench.recipients()).unwrap();
    for name in ["values.yaml", "release.json", "secrets.yaml"] {
        writer.seal_config(name, b"x").unwrap();
    }
    add_chunk(&mut writer, &bench.recipients(), Stream::Base, 0, &content.base).unwrap();
    add_chunk(&mut writer, &bench.recipients(), Stream::Wal, 0, b"wal").unwrap();
    let listing = Hashed::of(bench.recipients().seal(b"{}").unwrap());
    writer.add_sealed("db/backup_manifest.age", &listing).unwrap();
    let facts = dr::internals::bundle::BackupFacts {
        database: database_facts(),
        base: whole(&Content::good().base),
        wal: whole(b"wal"),
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
    let renamed = "opschain-20261121T000000Z-aaaaaa";
    let folder = |name: &str| bench.folder.path().join("store").join(name);
    std::fs::create_dir(folder(renamed)).unwrap();
    std::fs::copy(bench.store.address(&old), bench.store.address(renamed)).unwrap();
    std::fs::copy(folder(&old).join("published.json"), folder(renamed).join("published.json")).unwrap();
    std::fs::create_dir(folder("junk")).unwrap();
    std::fs::write(folder("junk").join("published.json"), b"{").unwrap();
    std::fs::write(bench.store.address("junk"), b"not a tar").unwrap();
    let catalog = Catalog::read(&bench.store, &Default::default()).unwrap();
    let names: Vec<&str> = catalog.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, [new.as_str(), renamed, &old, "junk"]);
    assert!(catalog.entries[1].header.as_ref().unwrap_err().contains(&format!("the record of bundle {old}")));
    assert!(catalog.entries[3].header.as_ref().unwrap_err().contains("published.json cannot be read"));
    assert_eq!(catalog.entries[0].proof.as_ref().unwrap().depth, Depth::Stored);
    assert_eq!(catalog.entries[0].address, bench.store.address(&new));
    assert_eq!(catalog.versions(), ["2026-10-08", "2026-08-20"]);
    assert_eq!(catalog.find("opschain-20261122").unwrap().name, new);
    assert!(catalog.find("opschain-").unwrap_err().to_string().contains("beginning of 3 bundles"));
    assert!(catalog.find("nope").unwrap_err().to_string().contains("no bundle `nope`"));
    let report = serde_json::to_value(dr::internals::bundle::report::ListReport::new(&catalog, |_| true)).unwrap();
    assert_eq!(report["bundles"][0]["opschain_version"], "2026-10-08");
    assert!(report["bundles"][3]["unreadable"].as_str().unwrap().contains("cannot be read"));
}

/// As `dr` 1.0 of the format had them, or as somebody copied them from elsewhere.
#[test]
fn a_file_that_was_put_into_the_folder_by_hand_is_listed_and_opened_as_a_file() {
    let (bench, elsewhere) = (Bench::new(), Bench::new());
    let own = bench.publish(header_of("2026-08-20", "2026-11-22T00:00:00Z"));
    let other = elsewhere.publish(header_of("2026-08-20", "2026-11-20T00:00:00Z"));
    let file = bench.folder.path().join("store/brought.tar");
    std::fs::copy(elsewhere.store.address(&other), &file).unwrap();
    std::fs::write(bench.folder.path().join("store/junk.tar"), b"not a tar").unwrap();
    let catalog = Catalog::read(&bench.store, &Default::default()).unwrap();
    let names: Vec<&str> = catalog.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, [own.as_str(), &other, "junk"]);
    let entry = catalog.find(&other).unwrap();
    assert_eq!(entry.reference, BundleReference::File { path: file });
    assert_eq!(entry.proof, None, "a file has no proofs");
    let reader = entry.open(&bench.store, &elsewhere.trust()).unwrap();
    reader.verify_plain(&elsewhere.identities, &Events::none(), &CancellationToken::new()).unwrap();
    assert!(catalog.entries[2].header.as_ref().unwrap_err().contains("not a bundle"));
}

#[test]
fn a_record_that_does_not_fit_its_bundle_is_found_when_the_bundle_is_opened() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let path = bench.folder.path().join("store").join(&name).join("published.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let record: serde_json::Value = serde_json::from_str(&good).unwrap();
    let refused = |field: &str, value: serde_json::Value| {
        let mut record = record.clone();
        *record.pointer_mut(field).unwrap() = value;
        std::fs::write(&path, record.to_string()).unwrap();
        text(&Reader::open_in(&bench.store, &name, &bench.trust()).err().unwrap())
    };
    let number = |field: &str| record[field].as_u64().unwrap();
    assert!(refused("/manifest_at", (number("manifest_at") + 512).into()).contains("damaged"));
    assert!(refused("/manifest_at", u64::MAX.into()).contains("cannot be where it says"));
    assert!(refused("/manifest_at", 0.into()).contains("not where it says"));
    assert!(refused("/bytes", (number("bytes") + 1).into()).contains("cut off"));
    assert!(refused("/manifest_sha256", "0".repeat(64).into()).contains("another manifest"));
    assert!(refused("/bundle/opschain/version", "2030-01-01".into()).contains("another header"));
    std::fs::write(&path, good).unwrap();
    Reader::open_in(&bench.store, &name, &bench.trust()).unwrap();
}

#[test]
fn the_newest_good_one_of_a_version_is_found_and_the_others_are_named() {
    let bench = Bench::new();
    let good = bench.publish(header_of("2026-08-20", "2026-11-20T00:00:00Z"));
    let cut = bench.publish(header_of("2026-08-20", "2026-11-21T00:00:00Z"));
    let path = bench.store.address(&cut);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 600]).unwrap();
    bench.publish(header_of("2026-10-08", "2026-11-22T00:00:00Z"));
    let mut replaced = header_of("2026-08-20", "2026-11-22T12:00:00Z");
    replaced.replaced_by = Some("restore-1".into());
    let replaced = bench.publish(replaced);
    let future = bench.publish(header_of("2026-08-20", "2026-12-24T00:00:00Z"));
    let now = "2026-11-23T00:00:00Z".parse().unwrap();
    let catalog = Catalog::read(&bench.store, &Default::default()).unwrap();
    let (found, passed) = catalog.newest_good(&bench.store, &bench.trust(), "2026-08-20", now);
    let [(reference, reader)] = &found[..] else { panic!("{} of one database", found.len()) };
    assert_eq!(reader.header().id.to_string(), good);
    assert_eq!(*reference, BundleReference::Stored { store: bench.store.place(), id: good });
    assert_eq!(passed.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), [&future, &replaced, &cut]);
    assert!(passed[0].reason.contains("still to come"), "{}", passed[0].reason);
    assert_eq!(passed[1].reason, "it is of what restore-1 has replaced");
    assert!(passed[2].reason.contains("cut off"), "{}", passed[2].reason);
    let stranger = trust(&Signer::generate("x").unwrap());
    let (found, passed) = catalog.newest_good(&bench.store, &stranger, "2026-08-20", now);
    assert!(found.is_empty() && passed.len() == 4);
    assert!(catalog.newest_good(&bench.store, &Trust::Anyone(Default::default()), "2020-01-01", now).0.is_empty());
}

#[test]
fn every_verification_is_a_note_of_its_own_and_the_newest_of_the_deepest_of_this_very_bundle_counts() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let manifest = Reader::open_in(&bench.store, &name, &bench.trust()).unwrap().manifest_sha256().to_owned();
    let shown = || Catalog::read(&bench.store, &Default::default()).unwrap().entries[0].proof.clone();
    let made = shown().unwrap();
    assert_eq!((made.depth, made.signer), (Depth::Stored, Some(bench.signer.name())));
    let at = |time: &str, depth, manifest: &str| {
        let proof = Proof { verified_at: time.parse().unwrap(), ..Proof::new(depth, Some("me"), manifest) };
        proof.keep(&bench.store, &name, None).unwrap();
        proof
    };
    let later = at("2098-01-01T00:00:00Z", Depth::Plain, &manifest);
    at("2090-01-01T00:00:00Z", Depth::Plain, &manifest);
    assert_eq!(shown(), Some(later.clone()), "not the last one that was written");
    at("2099-01-01T00:00:00Z", Depth::Stored, &manifest);
    assert_eq!(shown(), Some(later.clone()), "one that looked at less takes nothing away");
    at("2099-01-01T00:00:00Z", Depth::Restored, &"0".repeat(64));
    bench.store.add_note(&name, "proof.20990102T000000Z.restored.json", b"{").unwrap();
    assert_eq!(shown(), Some(later.clone()), "neither another bundle's nor nonsense");
    // As the first ones were written.
    let old = serde_json::to_string(&Proof { dr_version: "0".into(), ..later.clone() }).unwrap();
    let old = old.replace("decrypted", "plain").replace("2098", "2099");
    bench.store.add_note(&name, "proof.20990101T000000Z.plain.json", old.as_bytes()).unwrap();
    assert_eq!(shown().map(|proof| (proof.depth, proof.dr_version)), Some((Depth::Plain, "0".into())));
    at("2097-01-01T00:00:00Z", Depth::Restored, &manifest);
    assert_eq!(shown().unwrap().depth, Depth::Restored);
    later.keep(&bench.store, &name, None).unwrap();
    let notes = bench.store.list().unwrap().remove(0).notes;
    assert_eq!(notes.len(), 8, "{notes:?}");
}

#[test]
fn a_proof_counts_by_a_signature_that_is_trusted_and_over_all_that_it_says() {
    let bench = Bench::new();
    let (name, other) = (bench.publish(header()), bench.publish(header_of("2026-08-20", "2026-11-20T00:00:00Z")));
    let manifest =
        |name: &str| Reader::open_in(&bench.store, name, &bench.trust()).unwrap().manifest_sha256().to_owned();
    let Trust::Signers(signers) = bench.trust() else { panic!() };
    let shown = || {
        let catalog = Catalog::read(&bench.store, &signers).unwrap();
        let proof = catalog.find(&name).unwrap().proof.clone().unwrap();
        (proof.depth, proof.proved_by)
    };
    assert_eq!(shown(), (Depth::Stored, None), "of a host without a key");
    let at = |time: &str, depth| Proof {
        verified_at: time.parse().unwrap(),
        ..Proof::new(depth, Some("me"), &manifest(&name))
    };
    at("2026-11-24T00:00:00Z", Depth::Stored).keep(&bench.store, &name, Some(&bench.signer)).unwrap();
    let by_me = Some(bench.signer.name());
    assert_eq!(shown(), (Depth::Stored, by_me.clone()));
    at("2026-11-25T00:00:00Z", Depth::Restored).keep(&bench.store, &name, None).unwrap();
    let stranger = Signer::generate("x").unwrap();
    at("2026-11-26T00:00:00Z", Depth::Restored).keep(&bench.store, &name, Some(&stranger)).unwrap();
    assert_eq!(shown(), (Depth::Stored, by_me.clone()), "what anybody could have written");
    let note = "proof.20261124T000000Z.checksums.json";
    let signed = String::from_utf8(bench.store.read_note(&name, note).unwrap()).unwrap();
    for (number, (from, to)) in [
        ("checksums", "restored"),
        ("2026-11-24T", "2026-11-30T"),
        ("\"me\"", "\"you\""),
        (&*manifest(&name), &*manifest(&other)),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(signed.contains(from), "{signed}");
        let (on, forged) = (if from.len() == 64 { &other } else { &name }, signed.replace(from, to));
        bench.store.add_note(on, &format!("proof.2027010{number}T000000Z.restored.json"), forged.as_bytes()).unwrap();
    }
    assert_eq!(shown(), (Depth::Stored, by_me));
    let of_other = Catalog::read(&bench.store, &signers).unwrap().find(&other).unwrap().proof.clone().unwrap();
    assert_eq!(of_other.proved_by, None, "it is of another bundle");
}

#[test]
fn a_disk_that_fills_at_any_point_leaves_nothing() {
    let bench = Bench::new();
    let whole = bench.bytes().len() as u64;
    // No two bundles have quite the same length: age puts a stanza of random length into each file now and then.
    for room in (0..whole - 4096).step_by(1500) {
        let bucket = Bucket::new(512, 0).with_room(room);
        let mut header = header();
        header.id = "opschain-20261123T075443Z-0a1b2c".parse().unwrap();
        let result = write_content(&bucket, header, bench.recipients(), &bench.signer, &Content::good());
        let error = dr::internals::error::CommandError::from(result.err().unwrap());
        assert_eq!(error.exit(), dr::internals::error::Exit::Space, "{error}");
        bucket.abort(&DraftToken::named("opschain-20261123T075443Z-0a1b2c")).unwrap();
        assert!(bucket.uploads() == 0 && bucket.list().unwrap().is_empty());
    }
}
