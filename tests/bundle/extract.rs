//! One thing out of a bundle: it is what went in, or it is refused.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use dr::internals::bundle::{BundleError, BundleFault, Extraction, HeldAgainst, Reader};
use dr::internals::crypt::Identities;
use dr::internals::event::Events;
use dr::{Store, StoreError, Stored};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::repack::*;
use crate::sample::*;

fn extract_with(
    reader: &Reader,
    words: &str,
    identities: Option<&Identities>,
    cancel: &CancellationToken,
) -> Result<(Vec<u8>, HeldAgainst), BundleError> {
    let mut bytes = Vec::new();
    let item = reader.item(words)?;
    let to = Extraction { identities, output: &mut bytes, events: &Events::none(), cancel };
    let extracted = reader.extract(&item, to)?;
    assert_eq!(extracted.bytes, bytes.len() as u64);
    Ok((bytes, extracted.held_against))
}

fn extract(reader: &Reader, words: &str, key: &Identities) -> Result<(Vec<u8>, HeldAgainst), BundleError> {
    extract_with(reader, words, Some(key), &CancellationToken::new())
}

fn opened(bench: &Bench, bytes: Vec<u8>) -> Reader {
    Reader::open(Arc::new(Memory(bytes)), &bench.trust()).unwrap()
}

#[test]
fn everything_that_is_listed_comes_out_as_it_went_in() {
    let bench = Bench::new();
    let reader = opened(&bench, bench.bytes());
    let key = &bench.identities;
    for item in reader.items() {
        let (bytes, held_against) = extract(&reader, &item.name, key).unwrap();
        assert_eq!(held_against, HeldAgainst::Manifest);
        match item.name.as_str() {
            "values" => assert_eq!(bytes, VALUES),
            "chart" => assert_eq!(bytes, b"not really a chart"),
            "base.tar" => assert_eq!(bytes, tar_of(&files())),
            "pg_wal.tar" => assert_eq!(bytes, tar_of(&segments())),
            "db/backup_manifest" => assert_eq!(bytes, backup_manifest(&files())),
            _ => assert!(!bytes.is_empty(), "{}", item.name),
        }
        // What anybody may read needs no identity, and all else does.
        let without = extract_with(&reader, &item.name, None, &CancellationToken::new());
        assert_eq!(without.is_err(), item.sealed, "{}", item.name);
    }
    for (path, content) in files() {
        assert_eq!(extract(&reader, path, key).unwrap(), (content, HeldAgainst::BackupManifest), "{path}");
    }
    for (segment, content) in segments() {
        let found = extract(&reader, &format!("pg_wal/{segment}"), key).unwrap();
        assert_eq!(found, (content, HeldAgainst::Manifest), "{segment}");
    }
    let listed: Vec<String> =
        reader.database_files("base/1/", key).unwrap().into_iter().map(|item| item.name).collect();
    assert_eq!(listed, ["base/1/1259", "base/1/empty"]);
}

#[test]
fn each_member_comes_out_as_it_is_stored_by_its_own_name() {
    let bench = Bench::new();
    let bytes = bench.bytes();
    let reader = opened(&bench, bytes.clone());
    for piece in take_apart(&bytes) {
        let found = extract_with(&reader, &piece.name(), None, &CancellationToken::new()).unwrap();
        assert_eq!(found.0, piece.content, "{}", piece.name());
    }
}

#[test]
fn what_is_not_there_is_no_damage() {
    let bench = Bench::new();
    let reader = opened(&bench, bench.bytes());
    for words in [
        "base/1/9999",
        "pg_wal/000000010000000000000099",
        "config/other.yaml",
        "config/other.yaml.age",
        "chart/x.tgz",
        "db/base/000099.tar.zst",
        "db/wal/000099.tar.zst.age",
        "../values",
        "backup_manifest",
        "base/1",
    ] {
        let error = extract(&reader, words, &bench.identities).unwrap_err();
        assert!(matches!(*error.fault, BundleFault::NoItem(_)), "{words}: {error}");
    }
    assert!(matches!(*reader.database_files("nowhere/", &bench.identities).unwrap_err().fault, BundleFault::NoItem(_)));
}

#[test]
fn a_damaged_member_is_named_and_nothing_of_it_comes_out() {
    let bench = Bench::new();
    let good = bench.bytes();
    for (member, words) in [
        ("config/values.yaml.age", "values"),
        ("config/values.yaml.age", "config/values.yaml.age"),
        ("chart/opschain-2026.8.20.tgz.age", "chart"),
        ("db/base/000000.tar.zst.age", "base.tar"),
        ("db/base/000000.tar.zst.age", "PG_VERSION"),
        ("db/wal/000000.tar.zst.age", "pg_wal.tar"),
        ("db/backup_manifest.age", "PG_VERSION"),
    ] {
        let mut pieces = take_apart(&good);
        let at = find(&pieces, member);
        let middle = pieces[at].content.len() / 2;
        pieces[at].content[middle] ^= 1;
        let reader = opened(&bench, put_together(&pieces));
        let mut written = Vec::new();
        let to = Extraction {
            identities: Some(&bench.identities),
            output: &mut written,
            events: &Events::none(),
            cancel: &CancellationToken::new(),
        };
        let error = reader.extract(&reader.item(words).unwrap(), to).unwrap_err();
        assert!(error.to_string().contains(&format!("{member} is damaged")), "{words}: {error}");
        assert!(written.is_empty(), "{words}");
    }
}

#[test]
fn a_file_that_is_not_what_postgresqls_manifest_lists_is_refused() {
    let bench = Bench::new();
    let mut changed = files();
    changed[2].1[17] ^= 1;
    let mut missing = files();
    missing.remove(1);
    let of = |files: &[(&str, Vec<u8>)], path: &str| {
        let content = Content { base: tar_of(files), ..Content::good() };
        let made = write_content(&bench.store, header(), bench.recipients(), &bench.signer, &content).unwrap();
        extract(&made.reader().unwrap(), path, &bench.identities).unwrap_err().to_string()
    };
    assert!(of(&changed, "base/1/1259").contains("base/1/1259 is damaged"));
    assert!(of(&missing, "PG_VERSION").contains("PG_VERSION is listed in backup_manifest and missing"));
}

/// An output that takes so many bytes, and then does this.
struct Failing<'a>(usize, &'a dyn Fn() -> io::Result<usize>);

impl Write for Failing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => (self.1)(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_and_a_stop_on_the_way_end_it() {
    let bench = Bench::new();
    let reader = opened(&bench, bench.bytes());
    let stop = CancellationToken::new();
    let fault = |words: &str, at: usize, then: &dyn Fn() -> io::Result<usize>| {
        let output = &mut Failing(at, then);
        let to = Extraction { identities: Some(&bench.identities), output, events: &Events::none(), cancel: &stop };
        reader.extract(&reader.item(words).unwrap(), to).unwrap_err().fault
    };
    for words in ["values", "manifest.json", "base/1/1259", "base.tar"] {
        let fault = fault(words, 1, &|| Err(io::ErrorKind::StorageFull.into()));
        assert!(matches!(*fault, BundleFault::Output(_)), "{words}: {fault}");
    }
    stop.cancel();
    for words in ["base/1/1259", "base.tar", "pg_wal.tar"] {
        let fault = fault(words, usize::MAX, &|| Ok(0));
        assert!(matches!(*fault, BundleFault::Cancelled), "{words}: {fault}");
    }
}

/// A bundle in memory that knows where it was read.
struct Watched(Memory, Mutex<BTreeSet<u64>>);

impl Stored for Watched {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.1.lock().unwrap().insert(offset);
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn chunks_inside_of_other_files_are_not_read() {
    let bench = Bench::new();
    let mut all = files();
    all.insert(2, ("base/1/large", vec![1; 200_000]));
    let content = Content { base: tar_of(&all), backup_manifest: backup_manifest(&all), ..Content::good() };
    let made = write_content(&bench.store, header(), bench.recipients(), &bench.signer, &content).unwrap();
    made.verify(&Events::none(), &CancellationToken::new()).unwrap().publish(&bench.store).unwrap();
    let name = bench.store.list().unwrap().remove(0).name;
    let bytes = std::fs::read(bench.store.address(&name)).unwrap();
    let watched = Arc::new(Watched(Memory(bytes), Mutex::default()));
    let reader = Reader::open(watched.clone(), &bench.trust()).unwrap();
    watched.1.lock().unwrap().clear();
    let (found, _) = extract(&reader, "global/pg_control", &bench.identities).unwrap();
    assert_eq!(Some(&found), files().iter().find(|file| file.0 == "global/pg_control").map(|file| &file.1));
    let chunks = reader.chunks(dr::internals::bundle::Stream::Base).count();
    // PostgreSQL's manifest, and the chunks with a header in them.
    let read = watched.1.lock().unwrap().len();
    assert!(chunks > 25 && read < 10, "{read} reads, {chunks} chunks");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Wherever the chunks are cut, every file is found whole.
    #[test]
    fn every_file_comes_out_whatever_the_chunks(
        sizes in proptest::collection::vec(0usize..3000, 1..8),
        chunk in 100usize..5000,
    ) {
        let bench = Bench::new();
        let names: Vec<String> = (0..sizes.len()).map(|place| format!("base/1/{place}")).collect();
        let mut all = files();
        let noise = |place: usize, size: usize| (0..size).map(|n| (n * 31 + place) as u8).collect::<Vec<u8>>();
        all.extend(names.iter().zip(&sizes).enumerate().map(|(place, (name, size))| (name.as_str(), noise(place, *size))));
        let content =
            Content { base: tar_of(&all), backup_manifest: backup_manifest(&all), base_chunk: chunk, ..Content::good() };
        let made = write_content(&bench.store, header(), bench.recipients(), &bench.signer, &content).unwrap();
        let reader = made.reader().unwrap();
        for (path, content) in &all {
            prop_assert_eq!(&extract(&reader, path, &bench.identities).unwrap().0, content, "{}", path);
        }
    }
}
