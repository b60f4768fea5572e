//! That somebody is reading a bundle: a note with an end in its name, so that a list tells it without reading anything.
//! It is never renewed or taken back: another one is added, and the end comes by itself.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::store::{Store, StoreError};

use super::error::{BundleError, BundleFault};

const PREFIX: &str = "lease.";
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Keeps beside `bundle` that `holder`, a word, reads it until so long after now. One that says the same is there already
/// when two of one second do.
///
/// # Errors
/// `Store`.
pub fn hold(store: &dyn Store, bundle: &str, holder: &str, time: SignedDuration) -> Result<(), BundleError> {
    let until = (clock::now() + time).to_zoned(TimeZone::UTC);
    match store.add_note(bundle, &format!("{PREFIX}{}.{holder}", until.strftime(STAMP)), b"") {
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(BundleFault::from(error).of(bundle)),
    }
}

/// Until when a bundle with these notes is read, if that is still to come. A lease whose end cannot be read has none yet.
pub fn held_until(notes: &[String], now: Timestamp) -> Option<Timestamp> {
    let ends = notes.iter().filter_map(|note| note.strip_prefix(PREFIX)).map(|rest| {
        let stamp = rest.split('.').next().unwrap_or_default();
        let end = DateTime::strptime(STAMP, stamp).and_then(|end| end.to_zoned(TimeZone::UTC));
        end.map_or(Timestamp::MAX, |end| end.timestamp())
    });
    ends.max().filter(|end| *end > now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DirectoryStore;

    #[test]
    fn a_lease_holds_until_its_end_and_one_that_cannot_be_read_for_good() {
        let now: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        let held = |notes: &[&str]| held_until(&notes.iter().map(|note| (*note).to_owned()).collect::<Vec<_>>(), now);
        assert_eq!(held(&["proof.20261124T080000Z.restored.json", "pin.000001.json"]), None);
        assert_eq!(held(&["lease.20261123T075959Z.restore-1"]), None);
        let end = held(&["lease.20261123T080001Z.restore-1", "lease.20261122T080001Z.restore-2"]).unwrap();
        assert_eq!(end.to_string(), "2026-11-23T08:00:01Z");
        assert_eq!(held(&["lease.soon.x"]), Some(Timestamp::MAX));
    }

    #[test]
    fn what_was_held_is_read_back_and_can_be_held_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(folder.path()).unwrap();
        store.begin("b", 0).unwrap().complete().unwrap().publish(b"{}").unwrap();
        for hours in [1, 1, 2] {
            hold(&store, "b", "restore-1", SignedDuration::from_hours(hours)).unwrap();
        }
        let notes = store.list().unwrap().remove(0).notes;
        let left = held_until(&notes, clock::now()).unwrap().duration_since(clock::now());
        assert!(left > SignedDuration::from_mins(119), "{left:?}");
    }
}
