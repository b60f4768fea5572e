//! An object on its way into a bucket: one multipart upload, a few parts of it at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as Key;
use serde::{Deserialize, Serialize};

use super::client::{BucketClient, PutNew};
use super::io::{NoAnswer, Task};
use super::object::BucketObject;
use super::record_file::RecordFile;
use crate::store::draft::{Draft, DraftToken, Pending};
use crate::store::error::StoreError;
use crate::store::stored::Stored;

/// The least bytes of a part that all servers take, but for the last one.
const LEAST_PART: u64 = 5 << 20;
/// The bytes of a part where nothing else is asked for.
const USUAL_PART: u64 = 16 << 20;
/// Parts grow by so much where there would be too many.
const PART_STEP: u64 = 8 << 20;
/// How many parts an object is planned to have at the most; a server takes 10,000.
const PLANNED_PARTS: u64 = 9_000;
const MOST_PARTS: usize = 9_990;
/// About how many bytes may be handed over and unanswered.
const IN_FLIGHT: u64 = 32 << 20;

/// How many bytes a part has of an object of about `expected` bytes: the same for all but the last, as some servers want
/// it, and never so few that a tenth more than expected would not fit.
pub(super) fn part_bytes(chosen: Option<u64>, expected: u64) -> u64 {
    let least = chosen.unwrap_or(USUAL_PART).max(LEAST_PART);
    let needed = expected.saturating_add(expected / 6).div_ceil(PLANNED_PARTS);
    if needed > least { needed.next_multiple_of(PART_STEP) } else { least }
}

/// The least bytes of a part where so many may go up a second: one takes some ten seconds, so that little is sent again
/// after a failure, and none takes longer than an attempt may.
pub(super) fn thin_part(chosen: Option<u64>, bytes_a_second: Option<u64>) -> Option<u64> {
    let usual = chosen.unwrap_or(USUAL_PART).max(LEAST_PART);
    bytes_a_second.map(|rate| rate.saturating_mul(10).clamp(LEAST_PART, usual)).or(chosen)
}

/// What finds an upload again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    pub id: String,
    /// The file of the bytes.
    pub file: String,
    pub part_bytes: u64,
    /// What the server calls the parts that it has, from the first on.
    pub parts: Vec<String>,
}

impl Upload {
    /// What a token holds; `None` where nothing but the name is known.
    ///
    /// # Errors
    /// It is not of a bucket.
    pub fn of(token: &DraftToken) -> Result<Option<Self>, serde_json::Error> {
        if token.upload.is_null() { Ok(None) } else { serde_json::from_value(token.upload.clone()).map(Some) }
    }

    /// How many bytes its parts have.
    pub fn durable(&self) -> u64 {
        self.parts.len() as u64 * self.part_bytes
    }

    fn token(&self, name: &str, durable: u64, complete: bool) -> DraftToken {
        let upload = serde_json::to_value(self).unwrap_or_default();
        DraftToken { durable, complete, upload, ..DraftToken::named(name) }
    }
}

pub(super) struct BucketDraft {
    client: Arc<BucketClient>,
    name: String,
    key: Key,
    upload: Upload,
    /// Parts that are under way, the oldest first.
    sent: VecDeque<Task<Result<String, object_store::Error>>>,
    filling: Vec<u8>,
    poisoned: bool,
}

impl BucketDraft {
    /// A draft that has the parts of `upload`.
    pub fn new(client: &Arc<BucketClient>, name: &str, upload: Upload) -> Self {
        let key = client.address.file(name, &upload.file);
        let client = Arc::clone(client);
        Self { client, name: name.to_owned(), key, upload, sent: VecDeque::new(), filling: Vec::new(), poisoned: false }
    }

    /// How many parts may be under way.
    fn at_once(&self) -> usize {
        match self.client.bytes_a_second {
            Some(_) => 1,
            None => usize::try_from(IN_FLIGHT / self.upload.part_bytes).unwrap_or(1).max(1),
        }
    }

    /// Does one thing with the upload; after a failure nobody knows what is there, and nothing more is taken.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned(self.name.clone()));
        }
        work(self).map_err(|error| {
            self.poisoned = true;
            match error {
                StoreError::Full { object, place, .. } => {
                    StoreError::Full { object, place, written: self.upload.durable() }
                }
                error => error,
            }
        })
    }

    /// Sends what was gathered as the next part, once there is room for it.
    fn send(&mut self) -> Result<(), StoreError> {
        self.settle(self.at_once() - 1)?;
        let index = self.upload.parts.len() + self.sent.len();
        if index >= MOST_PARTS {
            let text = format!("it has more than {MOST_PARTS} parts of {} bytes", self.upload.part_bytes);
            return Err(self.client.broken("write", &self.name, text));
        }
        let bytes = Bytes::from(std::mem::take(&mut self.filling));
        let task = self.client.send_part(&self.key, &self.upload.id, index, bytes);
        self.sent.push_back(task);
        Ok(())
    }

    /// Waits until no more than `most` parts are under way.
    fn settle(&mut self, most: usize) -> Result<(), StoreError> {
        while self.sent.len() > most {
            let Some(oldest) = self.sent.pop_front() else { break };
            let outcome = oldest.wait();
            self.keep(outcome)?;
        }
        Ok(())
    }

    /// Takes note of the parts that have arrived, without waiting for the others.
    fn gather(&mut self) -> Result<(), StoreError> {
        while let Some(oldest) = self.sent.front() {
            let Some(outcome) = oldest.try_wait() else { break };
            self.sent.pop_front();
            self.keep(outcome)?;
        }
        Ok(())
    }

    fn keep(&mut self, outcome: Result<Result<String, object_store::Error>, NoAnswer>) -> Result<(), StoreError> {
        let answer = outcome.map_err(|why| self.client.unanswered("write", &self.name, why))?;
        self.upload.parts.push(answer.map_err(|error| self.client.failed("write", &self.name, &error))?);
        Ok(())
    }

    fn fill(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        let part = usize::try_from(self.upload.part_bytes).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling.reserve_exact(part);
            }
            let (now, later) = bytes.split_at(bytes.len().min(part - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() == part {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Sends the last part, waits for all, and makes the object's bytes of them. Returns how many there are.
    fn finish(&mut self) -> Result<u64, StoreError> {
        let last = self.filling.len() as u64;
        let full = (self.upload.parts.len() + self.sent.len()) as u64;
        let bytes = full * self.upload.part_bytes + last;
        // An object without bytes has one part, without bytes.
        if last > 0 || full == 0 {
            self.send()?;
        }
        self.settle(0)?;
        self.client.complete_upload(&self.key, &self.name, &self.upload.id, &self.upload.parts, bytes)?;
        Ok(bytes)
    }
}

impl Draft for BucketDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.attempt(|draft| draft.fill(bytes))
    }

    fn durable(&mut self) -> Result<u64, StoreError> {
        self.attempt(|draft| draft.gather().map(|()| draft.upload.durable()))
    }

    fn backlog(&self) -> u64 {
        (self.at_once() as u64 + 1) * self.upload.part_bytes
    }

    fn token(&self) -> DraftToken {
        self.upload.token(&self.name, self.upload.durable(), false)
    }

    fn complete(mut self: Box<Self>) -> Result<Box<dyn Pending>, StoreError> {
        let bytes = self.attempt(Self::finish)?;
        let pending = BucketPending { client: self.client, name: self.name, upload: self.upload, bytes };
        pending.sweep();
        Ok(Box::new(pending))
    }
}

pub(super) struct BucketPending {
    pub client: Arc<BucketClient>,
    pub name: String,
    pub upload: Upload,
    pub bytes: u64,
}

impl BucketPending {
    /// Throws away what a lost answer has left: an upload to the same key that was begun and never heard of. It is of no
    /// harm where that cannot be done.
    fn sweep(&self) {
        let key = self.client.address.file(&self.name, &self.upload.file);
        let under = self.client.address.of(&self.name);
        let left = self.client.uploads(&under, &self.name).unwrap_or_default();
        for (_, id) in left.iter().filter(|(of, id)| of == key.as_ref() && *id != self.upload.id) {
            drop(self.client.abort_upload(&key, id, &self.name));
        }
    }
}

impl Pending for BucketPending {
    fn open(&self) -> Result<Arc<dyn Stored>, StoreError> {
        Ok(Arc::new(BucketObject::open(&self.client, &self.name, &self.upload.file)?))
    }

    fn token(&self) -> DraftToken {
        self.upload.token(&self.name, self.bytes, true)
    }

    fn publish(self: Box<Self>, record: &[u8]) -> Result<(), StoreError> {
        let broken = |text| self.client.broken("publish", &self.name, text);
        let record_file = RecordFile::new(&self.upload.file, self.bytes, record).map_err(broken)?;
        let bytes = record_file.to_bytes().map_err(broken)?;
        match self.client.put_new(&self.client.address.record(&self.name), &self.name, &bytes)? {
            PutNew::Done => Ok(()),
            PutNew::Exists => Err(self.client.exists(&self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_what_is_expected_and_no_object_has_too_many() {
        const GIB: u64 = 1 << 30;
        assert_eq!(part_bytes(None, 0), USUAL_PART);
        assert_eq!(part_bytes(Some(1), GIB), LEAST_PART);
        assert_eq!(part_bytes(Some(64 << 20), GIB), 64 << 20);
        assert_eq!(part_bytes(Some(5 << 20), 100 * GIB), 16 << 20);
        for gib in [1, 100, 140, 500, 4000] {
            let part = part_bytes(None, gib * GIB);
            assert!(part.is_multiple_of(PART_STEP) && (gib * GIB * 115 / 100).div_ceil(part) <= PLANNED_PARTS, "{gib}");
        }
    }

    #[test]
    fn on_a_thin_line_parts_are_small() {
        assert_eq!([None, Some(8 << 20)].map(|chosen| thin_part(chosen, None)), [None, Some(8 << 20)]);
        assert_eq!(thin_part(None, Some(32 << 10)), Some(LEAST_PART));
        assert_eq!(thin_part(None, Some(1 << 20)), Some(10 << 20));
        assert_eq!(thin_part(Some(8 << 20), Some(1 << 30)), Some(8 << 20));
    }

    #[test]
    fn a_token_of_another_store_is_none_of_a_bucket() {
        assert_eq!(Upload::of(&DraftToken::named("a")).unwrap(), None);
        let other = DraftToken { upload: 7.into(), ..DraftToken::named("a") };
        assert!(Upload::of(&other).is_err());
        let upload = Upload { id: "u".into(), file: "a.0.tar".into(), part_bytes: 5, parts: vec!["e".into()] };
        assert_eq!(Upload::of(&upload.token("a", upload.durable(), false)).unwrap(), Some(upload));
    }
}
