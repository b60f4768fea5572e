//! What every store must do, run against each of them.

use std::sync::Barrier;
use std::thread;

use dr::{Draft, DraftToken, Pending, ResumedDraft, Store, StoreError};

use crate::bucket::Bucket;

#[test]
fn the_directory_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    check(&|| Box::new(dr::DirectoryStore::create(folder.path()).unwrap()));
    let unpublished = std::fs::read_dir(folder.path().join("a")).unwrap().count();
    assert_eq!(unpublished, 4, "bytes, record and two notes");
}

#[test]
fn the_double_of_a_bucket_keeps_the_contract_at_any_speed() {
    for behind in [0, 1, 3] {
        let bucket = Bucket::new(64, behind);
        check(&|| Box::new(bucket.clone()));
        assert_eq!(bucket.uploads(), 0, "an upload is left behind");
    }
}

/// Panics at the first promise of [`Store`] that is not kept. Each call of `open` is another process at the same store,
/// which must be empty.
pub fn check(open: &dyn Fn() -> Box<dyn Store>) {
    let store = open();
    assert!(store.list().unwrap().is_empty());
    whole_or_absent(open);
    never_overwritten(open);
    thrown_away_by_the_next(open);
    by_name_nothing_of_others_is_thrown_away(open);
    finished_by_the_next(open);
    two_writers(open);
    of_many_at_once_one_wins(open);
    read_back(&*store);
    notes(open);
    sorted(open);
    removed(open);
    refusals(&*store);
    assert!(store.free_bytes().unwrap().is_none_or(|free| free > 0));
}

fn names(store: &dyn Store) -> Vec<String> {
    store.list().unwrap().into_iter().map(|object| object.name).collect()
}

fn bytes(store: &dyn Store, name: &str) -> Vec<u8> {
    let stored = store.open(name).unwrap();
    let mut bytes = vec![0; stored.len() as usize];
    stored.read_at(0, &mut bytes).unwrap();
    bytes
}

fn begun(store: &dyn Store, name: &str, bytes: &[u8]) -> Box<dyn Draft> {
    let mut draft = store.begin(name, bytes.len() as u64).unwrap();
    draft.append(bytes).unwrap();
    draft
}

fn put(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let mut draft = store.begin(name, bytes.len() as u64)?;
    draft.append(bytes)?;
    draft.complete()?.publish(format!("record of {name}").as_bytes())
}

fn is_absent(store: &dyn Store, name: &str) {
    assert!(!names(store).contains(&name.to_owned()), "what is not published is listed");
    assert!(matches!(store.open(name), Err(StoreError::NotFound { .. })), "what is not published is opened");
    assert!(matches!(store.record(name), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.add_note(name, "note", b"x"), Err(StoreError::NotFound { .. })));
}

fn whole_or_absent(open: &dyn Fn() -> Box<dyn Store>) {
    let store = open();
    let mut draft = begun(&*store, "a", b"first");
    let durable = draft.durable().unwrap();
    assert!(durable + draft.backlog() >= 5, "the store is further behind than it says");
    is_absent(&*open(), "a");
    let pending = draft.complete().unwrap();
    is_absent(&*open(), "a");
    let mut seen = [0; 5];
    pending.open().unwrap().read_at(0, &mut seen).unwrap();
    assert_eq!(&seen, b"first", "what is read back is not what was written");
    pending.publish(b"the record").unwrap();
    let listed = open().list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].bytes), ("a", Some(5)));
    assert_eq!(listed[0].record.as_ref().unwrap(), b"the record");
    assert_eq!(open().record("a").unwrap(), b"the record");
}

fn never_overwritten(open: &dyn Fn() -> Box<dyn Store>) {
    assert!(matches!(put(&*open(), "a", b"second"), Err(StoreError::Exists { .. })));
    assert!(!open().abort(&DraftToken::named("a")).unwrap(), "aborting takes what is published");
    assert_eq!((bytes(&*open(), "a"), open().record("a").unwrap()), (b"first".to_vec(), b"the record".to_vec()));
}

fn thrown_away_by_the_next(open: &dyn Fn() -> Box<dyn Store>) {
    let mut draft = begun(&*open(), "b", b"half of it, long enough to fill more than one part of an upload");
    draft.durable().unwrap();
    let token = draft.token();
    drop(draft);
    assert!(open().abort(&token).unwrap());
    assert!(!open().abort(&token).unwrap(), "what is gone is thrown away again");
    assert!(matches!(open().resume(&token), Err(StoreError::NotFound { .. })));
    // Of one whose writer died as it began, nothing but the name is known.
    drop(begun(&*open(), "b", b"x"));
    open().abort(&DraftToken::named("b")).unwrap();
    let pending = begun(&*open(), "b", b"whole").complete().unwrap();
    let token = pending.token();
    drop(pending);
    assert!(open().abort(&token).unwrap(), "what is complete and not published stays behind");
    is_absent(&*open(), "b");
    put(&*open(), "b", b"new").unwrap();
    assert_eq!(bytes(&*open(), "b"), b"new", "what was thrown away is a part of the new one");
}

/// Who knows a name only takes nothing away that somebody else is about to publish.
fn by_name_nothing_of_others_is_thrown_away(open: &dyn Fn() -> Box<dyn Store>) {
    let pending = begun(&*open(), "n", b"whole").complete().unwrap();
    match open().abort(&DraftToken::named("n")) {
        Ok(removed) => assert!(!removed, "another's bytes are thrown away"),
        Err(StoreError::Busy { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    pending.publish(b"{}").unwrap();
    assert_eq!(bytes(&*open(), "n"), b"whole");
    open().remove("n").unwrap();
}

fn finished_by_the_next(open: &dyn Fn() -> Box<dyn Store>) {
    let whole: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    let mut draft = begun(&*open(), "c", &whole[..500]);
    let durable = draft.durable().unwrap();
    let token = draft.token();
    assert_eq!(token.durable, durable);
    // Nobody knows of this.
    draft.append(b"what was appended after the token was taken").unwrap();
    drop(draft);
    let Ok(ResumedDraft::Draft(mut draft)) = open().resume(&token) else { panic!("a draft is not resumed") };
    assert_eq!(draft.token().durable, durable);
    draft.append(&whole[durable as usize..]).unwrap();
    let token = draft.token();
    drop(draft.complete().unwrap());
    // The process died before it could say that it was complete.
    let pending = match open().resume(&token).unwrap() {
        ResumedDraft::Pending(pending) => pending,
        ResumedDraft::Draft(mut draft) => {
            draft.append(&whole[draft.token().durable as usize..]).unwrap();
            draft.complete().unwrap()
        }
        ResumedDraft::Published => panic!("it was never published"),
    };
    let token = pending.token();
    drop(pending);
    let Ok(ResumedDraft::Pending(pending)) = open().resume(&token) else { panic!("what is complete is not resumed") };
    let mut seen = vec![0; 1000];
    pending.open().unwrap().read_at(0, &mut seen).unwrap();
    assert_eq!(seen, whole);
    pending.publish(b"x").unwrap();
    assert!(matches!(open().resume(&token), Ok(ResumedDraft::Published)));
    assert_eq!(bytes(&*open(), "c"), whole);
}

/// A store that can see a living writer refuses the second one; any other lets both write, and takes one.
fn two_writers(open: &dyn Fn() -> Box<dyn Store>) {
    let first = begun(&*open(), "d", b"the first");
    let token = first.token();
    let second = match open().begin("d", 1) {
        Ok(mut second) => {
            second.append(b"the second").unwrap();
            Some(second.complete().unwrap())
        }
        Err(StoreError::Busy { .. }) => None,
        Err(other) => panic!("{other}"),
    };
    let seen_alive = second.is_none();
    if seen_alive {
        assert!(matches!(open().abort(&token), Err(StoreError::Busy { .. })), "a living writer's draft is taken");
        assert!(matches!(open().resume(&token), Err(StoreError::Busy { .. })));
    }
    first.complete().unwrap().publish(b"first").unwrap();
    if let Some(second) = second {
        let token = Pending::token(&*second);
        assert!(matches!(second.publish(b"second"), Err(StoreError::Exists { .. })));
        open().abort(&token).unwrap();
    }
    assert_eq!((bytes(&*open(), "d"), open().record("d").unwrap()), (b"the first".to_vec(), b"first".to_vec()));
}

fn of_many_at_once_one_wins(open: &dyn Fn() -> Box<dyn Store>) {
    let winner = one_of_many(open, |store, own| {
        let mut draft = store.begin("e", 1)?;
        draft.append(own)?;
        let pending = draft.complete()?;
        let token = pending.token();
        pending.publish(own).or_else(|error| store.abort(&token).and(Err(error)))
    });
    assert_eq!((bytes(&*open(), "e"), open().record("e").unwrap()), (winner.clone(), winner));
    let winner = one_of_many(open, |store, own| store.add_note("e", "note", own));
    assert_eq!(open().read_note("e", "note").unwrap(), winner);
}

/// Lets many do `act` at the same moment, each at a store of its own and with bytes of its own; returns those of the one
/// that succeeded.
fn one_of_many(
    open: &dyn Fn() -> Box<dyn Store>,
    act: impl Fn(&dyn Store, &[u8]) -> Result<(), StoreError> + Sync,
) -> Vec<u8> {
    const MANY: u8 = 16;
    let stores: Vec<_> = (0..MANY).map(|own| (open(), [own])).collect();
    let barrier = Barrier::new(stores.len());
    let results: Vec<_> = thread::scope(|scope| {
        let start = |(store, own): (Box<dyn Store>, [u8; 1])| {
            let (barrier, act) = (&barrier, &act);
            scope.spawn(move || {
                barrier.wait();
                (act(&*store, &own), own)
            })
        };
        let racing: Vec<_> = stores.into_iter().map(start).collect();
        racing.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let mut winners = Vec::new();
    for (result, own) in results {
        match result {
            Ok(()) => winners.push(own.to_vec()),
            Err(StoreError::Exists { .. } | StoreError::Busy { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1, "more than one succeeded, or none");
    winners.remove(0)
}

fn read_back(store: &dyn Store) {
    let whole: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let mut draft = store.begin("big", 100_000).unwrap();
    for part in whole.chunks(777) {
        draft.append(part).unwrap();
    }
    draft.complete().unwrap().publish(b"x").unwrap();
    let stored = store.open("big").unwrap();
    assert_eq!((stored.len(), stored.is_empty(), stored.name()), (100_000, false, "big"));
    let mut seen = vec![0; 50_000];
    stored.read_at(50_000, &mut seen).unwrap();
    assert_eq!(seen, whole[50_000..]);
    assert!(matches!(stored.read_at(50_001, &mut seen), Err(StoreError::Short { wanted: 100_001, .. })));
    put(store, "empty", b"").unwrap();
    assert!(store.open("empty").unwrap().is_empty());
}

fn notes(open: &dyn Fn() -> Box<dyn Store>) {
    open().add_note("a", "z", b"one").unwrap();
    open().add_note("a", "b.json", b"two").unwrap();
    assert!(matches!(open().add_note("a", "z", b"other"), Err(StoreError::Exists { .. })), "a note is rewritten");
    assert_eq!(open().read_note("a", "z").unwrap(), b"one");
    assert!(matches!(open().read_note("a", "y"), Err(StoreError::NotFound { .. })));
    let listed = open().list().unwrap();
    let notes = &listed.iter().find(|object| object.name == "a").unwrap().notes;
    assert_eq!(notes, &["b.json", "z"]);
    for bad in ["published.json", "a.tar", "../x", ".x"] {
        assert!(matches!(open().add_note("a", bad, b"x"), Err(StoreError::BadName(_))), "{bad}");
    }
}

fn sorted(open: &dyn Fn() -> Box<dyn Store>) {
    for name in ["z", "a-b", "B", "a.b", "a0"] {
        put(&*open(), name, b"x").unwrap();
    }
    let names = names(&*open());
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(names.len(), 12);
}

fn removed(open: &dyn Fn() -> Box<dyn Store>) {
    let before = names(&*open());
    put(&*open(), "r", b"bytes").unwrap();
    open().add_note("r", "note", b"x").unwrap();
    assert_eq!(open().locked_until("r").unwrap(), None, "a store that locks is tested with its locks");
    open().remove("r").unwrap();
    is_absent(&*open(), "r");
    assert_eq!(names(&*open()), before);
    assert!(matches!(open().remove("r"), Err(StoreError::NotFound { .. })), "what is gone is removed again");
    // A name is free again, and nothing of the old one is a part of the new.
    put(&*open(), "r", b"new").unwrap();
    assert_eq!(bytes(&*open(), "r"), b"new");
    assert!(open().list().unwrap().iter().all(|object| object.name != "r" || object.notes.is_empty()));
    open().remove("r").unwrap();
    // A draft is no object.
    drop(begun(&*open(), "r", b"half"));
    assert!(matches!(open().remove("r"), Err(StoreError::NotFound { .. })));
    open().abort(&DraftToken::named("r")).unwrap();
}

fn refusals(store: &dyn Store) {
    for bad in ["", "..", "a/b", ".a"] {
        let token = DraftToken::named(bad);
        assert!(matches!(store.begin(bad, 1), Err(StoreError::BadName(_))), "begin {bad}");
        assert!(matches!(store.resume(&token), Err(StoreError::BadName(_))), "resume {bad}");
        assert!(matches!(store.abort(&token), Err(StoreError::BadName(_))), "abort {bad}");
        assert!(matches!(store.open(bad), Err(StoreError::BadName(_))), "open {bad}");
        assert!(matches!(store.remove(bad), Err(StoreError::BadName(_))), "remove {bad}");
        assert!(matches!(store.record(bad), Err(StoreError::BadName(_))), "record {bad}");
        assert!(matches!(store.read_note("a", bad), Err(StoreError::BadName(_))), "note {bad}");
    }
}
