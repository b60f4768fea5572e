//! A random part of a bundle: what is read is found damaged, whatever lies elsewhere is known not to be known.

use dr::internals::bundle::{BundleError, BundleFault, Reader, SampleShare};
use dr::internals::crypt::Identities;
use dr::internals::event::Events;
use tokio_util::sync::CancellationToken;

use crate::repack::*;
use crate::sample::*;

fn share(text: &str) -> SampleShare {
    text.parse().unwrap()
}

/// Opens by walking, and verifies a sample.
fn sample(bench: &Bench, bytes: &[u8], text: &str, key: Option<&Identities>) -> Result<(usize, u64), BundleError> {
    let reader = Reader::open(std::sync::Arc::new(Memory(bytes.to_vec())), &bench.trust())?;
    let proof = reader.verify_sample(share(text), key, &Events::none(), &CancellationToken::new())?;
    assert_eq!(proof.bytes + proof.bytes_not_read, bytes.len() as u64);
    assert!(proof.base.read >= 1 && proof.wal.read >= 1, "{proof:?}");
    Ok((proof.members_not_read, proof.bytes_not_read))
}

#[test]
fn all_but_chunks_is_read_whatever_the_share_and_each_tar_header_is_looked_at() {
    let bench = Bench::new();
    let good = bench.bytes();
    assert!(sample(&bench, &good, "0.01%", None).unwrap().0 > 0, "nothing was left out");
    assert_eq!(sample(&bench, &good, "99.99%", None).unwrap(), (0, 0));
    let mut at = 0;
    for piece in take_apart(&good) {
        let content = at + 512..at + 512 + piece.content.len();
        let is_chunk = piece.name().ends_with(".tar.zst.age");
        let looked_at = (at..at + 512).step_by(31).chain(content.clone().step_by(97).filter(|_| !is_chunk));
        for flipped in looked_at {
            let mut bad = good.clone();
            bad[flipped] ^= 1;
            assert!(sample(&bench, &bad, "0.01%", None).is_err(), "byte {flipped} of {}", piece.name());
        }
        at = content.start + piece.content.len().div_ceil(512) * 512;
    }
}

#[test]
fn a_damaged_chunk_is_found_by_the_samples_that_it_is_in() {
    let bench = Bench::new();
    let good = bench.bytes();
    let mut pieces = take_apart(&good);
    let at = find(&pieces, "db/base/000001.tar.zst.age");
    pieces[at].content[300] ^= 1;
    let bad = put_together(&pieces);
    let found = |text: &str| {
        sample(&bench, &bad, text, None).is_err_and(|error| {
            assert!(error.to_string().contains("db/base/000001.tar.zst.age is damaged"), "{error}");
            true
        })
    };
    assert!(found("99.99%"));
    let times = (0..100).filter(|_| found("0.01%")).count();
    assert!((1..100).contains(&times), "found {times} times of 100");
}

#[test]
fn what_is_opened_is_checked_as_plaintext() {
    let bench = Bench::new();
    let mut pieces = take_apart(&bench.bytes());
    let at = find(&pieces, "db/wal/000000.tar.zst.age");
    let other = zstd::bulk::compress(b"another log", 1).unwrap();
    pieces[at].set_content(bench.recipients().seal(&other).unwrap());
    sign_anew(&mut pieces, &bench.signer, |_| {});
    let bad = put_together(&pieces);
    sample(&bench, &bad, "99.99%", None).unwrap();
    let error = sample(&bench, &bad, "99.99%", Some(&bench.identities)).unwrap_err();
    assert!(error.to_string().contains("db/wal/000000.tar.zst.age is damaged: it does not unpack"), "{error}");
    let stranger = Identities::generate();
    let error = sample(&bench, &bad, "5%", Some(&stranger)).unwrap_err();
    assert!(matches!(*error.fault, BundleFault::Sealed { .. }), "{error}");
}

#[test]
fn a_sample_that_is_stopped_proves_nothing() {
    let bench = Bench::new();
    let reader = Reader::open(std::sync::Arc::new(Memory(bench.bytes())), &bench.trust()).unwrap();
    let stopped = CancellationToken::new();
    stopped.cancel();
    for key in [None, Some(&bench.identities)] {
        let error = reader.verify_sample(share("5%"), key, &Events::none(), &stopped).unwrap_err();
        assert!(matches!(*error.fault, BundleFault::Cancelled), "{error}");
    }
}
