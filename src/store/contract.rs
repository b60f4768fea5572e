//! What every store must do, run against each of them.

use super::{Store, StoreError};

/// Panics at the first promise of [`Store`] that `store`, which must be empty, does not keep.
pub(crate) fn check(store: &dyn Store) {
    assert_eq!(store.list().unwrap(), Vec::<String>::new());
    whole_or_absent(store);
    never_overwritten(store);
    read_back(store);
    sorted(store);
    records(store);
    removed(store);
    refusals(store);
}

fn put(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let mut draft = store.begin(name, "run-1")?;
    draft.append(bytes)?;
    draft.publish()
}

fn whole_or_absent(store: &dyn Store) {
    let mut draft = store.begin("draft", "run-1").unwrap();
    draft.append(b"half").unwrap();
    assert_eq!(draft.sync().unwrap(), 4);
    assert!(store.list().unwrap().is_empty(), "a draft is listed");
    assert!(matches!(store.open("draft"), Err(StoreError::NotFound { .. })), "a draft is opened");
    let mut seen = [0; 4];
    draft.reopen().unwrap().read_at(0, &mut seen).unwrap();
    assert_eq!(&seen, b"half", "synced bytes are not what was written");
    drop(draft);
    assert!(store.sweep_drafts(None).unwrap().is_empty(), "a dropped draft stays behind");
}

fn never_overwritten(store: &dyn Store) {
    put(store, "a", b"first").unwrap();
    assert!(matches!(put(store, "a", b"second"), Err(StoreError::Exists { .. })));
    let mut seen = [0; 5];
    store.open("a").unwrap().read_at(0, &mut seen).unwrap();
    assert_eq!(&seen, b"first");
}

fn read_back(store: &dyn Store) {
    let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let mut draft = store.begin("big", "run-1").unwrap();
    for part in bytes.chunks(777) {
        draft.append(part).unwrap();
    }
    assert_eq!(draft.written(), bytes.len() as u64);
    draft.publish().unwrap();
    let object = store.open("big").unwrap();
    assert_eq!((object.len(), object.is_empty(), object.name()), (bytes.len() as u64, false, "big"));
    let mut seen = vec![0; 50_000];
    object.read_at(50_000, &mut seen).unwrap();
    assert_eq!(seen, bytes[50_000..]);
    assert!(object.read_at(50_001, &mut seen).is_err(), "reading past the end succeeds");
}

fn sorted(store: &dyn Store) {
    for name in ["c", "a-b", "B", "a.b", "a0"] {
        put(store, name, b"x").unwrap();
    }
    let names = store.list().unwrap();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(names.len(), 7);
}

fn records(store: &dyn Store) {
    assert_eq!(store.read_record("a").unwrap(), None);
    store.write_record("a", b"one").unwrap();
    store.write_record("a", b"two").unwrap();
    assert_eq!(store.read_record("a").unwrap().unwrap(), b"two");
    assert_eq!(store.list().unwrap().len(), 7, "a record is listed");
    assert!(matches!(store.write_record("none", b"x"), Err(StoreError::NotFound { .. })));
}

fn removed(store: &dyn Store) {
    store.remove("a").unwrap();
    assert!(matches!(store.open("a"), Err(StoreError::NotFound { .. })));
    assert_eq!(store.read_record("a").unwrap(), None);
    assert!(matches!(store.remove("a"), Err(StoreError::NotFound { .. })));
    put(store, "a", b"again").unwrap();
}

fn refusals(store: &dyn Store) {
    for bad in ["", "..", "a/b", ".a"] {
        assert!(matches!(store.begin(bad, "run-1"), Err(StoreError::BadName(_))), "begin {bad}");
        assert!(matches!(store.open(bad), Err(StoreError::BadName(_))), "open {bad}");
        assert!(matches!(store.remove(bad), Err(StoreError::BadName(_))), "remove {bad}");
    }
    assert!(matches!(store.begin("z", "../r"), Err(StoreError::BadName(_))));
    assert!(store.free_bytes().unwrap().is_none_or(|free| free > 0));
}
