//! A store that refuses, lies, loses answers, is slow, or has two writers: what it lists is whole, and nothing stays
//! behind.

use dr::internals::bundle::{Catalog, Depth, Reader, StoredProof, Writer};
use dr::internals::crypt::Signer;
use dr::internals::error::{CommandError, Exit};
use dr::internals::event::Events;
use dr::{DraftToken, Store};
use tokio_util::sync::CancellationToken;

use crate::bucket::{Bucket, Misbehaviour};
use crate::sample::*;

/// A bucket of parts that several members share, and none of which is a whole chunk.
const PART: usize = 5_000;

/// Makes a whole bundle, as a run does, and throws away what is left when that fails, as its undoing does.
pub fn make(bench: &Bench, store: &dyn Store, name: &str) -> Result<StoredProof, CommandError> {
    let mut header = header();
    header.id = name.parse().unwrap();
    let mut token = DraftToken::named(name);
    let made = Writer::create(store, header, bench.recipients())
        .and_then(|writer| {
            token = writer.token();
            fill(writer, bench.recipients(), &bench.signer, &Content::good())
        })
        .and_then(|unpublished| unpublished.verify(&Events::none(), &CancellationToken::new()))
        .and_then(|verified| verified.publish(store))
        .map_err(CommandError::from);
    if made.is_err() {
        store.abort(&token).unwrap();
    }
    made
}

pub fn is_whole(bench: &Bench, store: &dyn Store, name: &str) {
    let reader = Reader::open_in(store, name, &bench.trust()).unwrap();
    reader.verify_plain(&bench.identities, &Events::none(), &CancellationToken::new()).unwrap();
}

pub const NAME: &str = "opschain-20261123T075443Z-0a1b2c";

/// Lets each request of making a bundle go wrong once, and has `judge` look at what came of it.
fn at_every_request(how: Misbehaviour, judge: impl Fn(&str, &Bench, &Bucket, Result<StoredProof, CommandError>)) {
    let bench = Bench::new();
    let clean = Bucket::new(PART, 1);
    clean.misbehave(usize::MAX, how);
    make(&bench, &clean, NAME).unwrap();
    let requests = clean.requests();
    assert!(requests.len() > 20, "{requests:?}");
    for (at, request) in requests.iter().enumerate() {
        let bucket = Bucket::new(PART, 1);
        bucket.misbehave(at, how);
        let made = make(&bench, &bucket, NAME);
        bucket.misbehave(usize::MAX, how);
        assert_eq!(bucket.uploads(), 0, "{how:?} {request} ({at}): an upload is left behind");
        for listed in bucket.list().unwrap() {
            is_whole(&bench, &bucket, &listed.name);
        }
        judge(request, &bench, &bucket, made);
        // Whatever happened, the next one is made.
        make(&bench, &bucket, "opschain-20261123T075443Z-0a1b2d").unwrap();
    }
}

#[test]
fn a_request_that_is_refused_fails_the_bundle_and_leaves_nothing() {
    at_every_request(Misbehaviour::Refuse, |request, _, bucket, made| match made {
        // A proof that cannot be kept is no failure.
        Ok(_) => assert_eq!(request, "add note"),
        Err(error) => {
            assert_eq!(error.exit(), Exit::Store, "{request}: {error}");
            assert!(error.hints()[0].contains("try again"), "{request}: {error:?}");
            // After publishing, the look at what the store holds may fail: the bundle is whole, and it is said that
            // nobody knows.
            assert_eq!(bucket.list().unwrap().len(), usize::from(request == "record"), "{request}");
        }
    });
}

#[test]
fn a_lost_answer_is_no_lost_bundle() {
    at_every_request(Misbehaviour::LoseAnswer, |request, _, bucket, made| match request {
        "publish" | "add note" => assert!(made.is_ok() && bucket.list().unwrap().len() == 1, "{request}"),
        _ => assert_eq!(made.unwrap_err().exit(), Exit::Store, "{request}"),
    });
}

#[test]
fn a_store_that_lies_about_success_is_found_out_before_the_bundle_counts() {
    at_every_request(Misbehaviour::Lie, |request, _, bucket, made| match request {
        "add note" => assert!(made.is_ok()),
        // Zeros in the place of what is read back, bytes that are not there, a record that is not there.
        _ => {
            assert!(made.is_err(), "{request}");
            // One that published and then shows another record is whole, but does not count as made.
            assert_eq!(bucket.list().unwrap().len(), usize::from(request == "record"), "{request}");
        }
    });
}

#[test]
fn a_slow_store_acknowledges_less_than_was_written_and_comes_to_the_same_bundle() {
    let bench = Bench::new();
    let (quick, slow) = (Bucket::new(1, 0), Bucket::new(PART, 3));
    let mut writers = [&quick, &slow]
        .map(|bucket| dr::internals::bundle::Writer::create(bucket, header(), bench.recipients()).unwrap());
    for writer in &mut writers {
        writer.seal_config("values.yaml", &[7; 2 * PART]).unwrap();
    }
    let [quick_durable, slow_durable] = [0, 1].map(|which| writers[which].durable().unwrap());
    assert_eq!(quick_durable, writers[0].written());
    assert!(slow_durable + PART as u64 <= writers[1].written() && slow_durable % PART as u64 == 0);
    assert!(writers[1].written() - slow_durable <= writers[1].backlog());
    drop(writers);
    make(&bench, &slow, NAME).unwrap();
    is_whole(&bench, &slow, NAME);
}

#[test]
fn of_two_that_make_the_same_bundle_one_wins_and_the_other_is_told() {
    let bench = Bench::new();
    let bucket = Bucket::new(PART, 0);
    let pending = |signer: &Signer| {
        let mut header = header();
        header.id = NAME.parse().unwrap();
        write(&bucket, header, bench.recipients(), signer).verify(&Events::none(), &CancellationToken::new()).unwrap()
    };
    let (first, second) = (pending(&bench.signer), pending(&Signer::generate("other").unwrap()));
    first.publish(&bucket).unwrap();
    let error = CommandError::from(second.publish(&bucket).unwrap_err());
    assert!(error.to_string().contains("already in store"), "{error}");
    is_whole(&bench, &bucket, NAME);
    let catalog = Catalog::read(&bucket, &Default::default()).unwrap();
    assert_eq!(catalog.entries[0].proof.as_ref().unwrap().depth, Depth::Stored);
}

#[test]
fn a_bundle_is_opened_from_its_end_in_as_many_requests_whatever_its_size() {
    let bench = Bench::new();
    let bucket = Bucket::new(PART, 0);
    make(&bench, &bucket, NAME).unwrap();
    bucket.misbehave(usize::MAX, Misbehaviour::Refuse);
    let reader = Reader::open_in(&bucket, NAME, &bench.trust()).unwrap();
    let requests = bucket.requests();
    assert!(reader.manifest().members.len() > 8);
    assert_eq!(requests, ["record", "open", "read", "read", "read", "read"], "head twice, end, header's proof");
}
