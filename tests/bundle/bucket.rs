//! A double of an object store: what a bucket does as far as [`Store`] sees it, in memory, and misbehaving on request.
//! Objects are uploaded in parts, several writers of one name do not see each other, and the record is made create-only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use dr::{Draft, DraftToken, Pending, PublishedObject, ResumedDraft, Store, StoreError, Stored};

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Nothing is done, and the store says so.
    Refuse,
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// Nothing is done, and the store says that it was.
    Lie,
}

/// The bucket; every clone is another process that works on it.
#[derive(Clone)]
pub struct Bucket {
    state: Arc<Mutex<State>>,
    part: usize,
    behind: usize,
}

#[derive(Default)]
struct State {
    published: BTreeMap<String, Published>,
    uploads: BTreeMap<u64, Upload>,
    last_upload: u64,
    room: Option<u64>,
    requests: Vec<&'static str>,
    fault: Option<(usize, Misbehaviour)>,
}

struct Published {
    record: Vec<u8>,
    bytes: Arc<Vec<u8>>,
    notes: BTreeMap<String, Vec<u8>>,
}

#[derive(Default, Clone)]
struct Upload {
    name: String,
    parts: Vec<Vec<u8>>,
    whole: Option<Arc<Vec<u8>>>,
}

impl Bucket {
    /// An empty bucket whose uploads are in parts of `part` bytes, each stored only once `behind` more were handed over.
    pub fn new(part: usize, behind: usize) -> Self {
        Self { state: Arc::default(), part, behind }
    }

    /// The same, full after so many bytes.
    pub fn with_room(self, room: u64) -> Self {
        self.state().room = Some(room);
        self
    }

    /// Lets the request number `at` (from 0, counted from now) go wrong.
    pub fn misbehave(&self, at: usize, how: Misbehaviour) {
        let mut state = self.state();
        state.requests.clear();
        state.fault = Some((at, how));
    }

    /// What was asked since then.
    pub fn requests(&self) -> Vec<&'static str> {
        self.state().requests.clone()
    }

    /// How many uploads were neither published nor thrown away.
    pub fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One request to the server.
    fn ask<T: Default>(
        &self,
        act: &'static str,
        object: &str,
        work: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.state();
        let number = state.requests.len();
        state.requests.push(act);
        let lost =
            || StoreError::Failed { act, object: object.to_owned(), transient: true, source: "no answer".into() };
        match state.fault.filter(|(at, _)| *at == number).map(|(_, how)| how) {
            None => work(&mut state),
            Some(Misbehaviour::Refuse) => Err(lost()),
            Some(Misbehaviour::LoseAnswer) => work(&mut state).and_then(|_| Err(lost())),
            Some(Misbehaviour::Lie) => Ok(T::default()),
        }
    }

    fn not_found(object: &str) -> StoreError {
        StoreError::NotFound { object: object.to_owned(), place: "the bucket".into() }
    }

    fn exists(object: &str) -> StoreError {
        StoreError::Exists { object: object.to_owned(), place: "the bucket".into() }
    }
}

fn check(name: &str) -> Result<(), StoreError> {
    let good = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && !name.contains('/');
    if good { Ok(()) } else { Err(StoreError::BadName(name.to_owned())) }
}

impl Store for Bucket {
    fn place(&self) -> String {
        "the bucket".into()
    }

    fn address(&self, name: &str) -> String {
        format!("bucket:{name}")
    }

    fn begin(&self, name: &str, _expected: u64) -> Result<Box<dyn Draft>, StoreError> {
        check(name)?;
        let upload = self.ask("begin", name, |state| {
            if state.published.contains_key(name) {
                return Err(Self::exists(name));
            }
            state.last_upload += 1;
            state.uploads.insert(state.last_upload, Upload { name: name.to_owned(), ..Upload::default() });
            Ok(state.last_upload)
        })?;
        Ok(Box::new(BucketDraft::new(self.clone(), name, upload, 0)))
    }

    fn resume(&self, token: &DraftToken) -> Result<ResumedDraft, StoreError> {
        check(&token.object)?;
        let found = self.ask("resume", &token.object, |state| {
            if state.published.contains_key(&token.object) {
                return Ok((true, None));
            }
            let upload = token.upload.as_u64().and_then(|upload| state.uploads.get(&upload));
            upload.cloned().map(|upload| (false, Some(upload))).ok_or_else(|| Self::not_found(&token.object))
        })?;
        let upload = token.upload.as_u64().unwrap_or_default();
        Ok(match found {
            (true, _) => ResumedDraft::Published,
            (_, Some(Upload { whole: Some(whole), .. })) => ResumedDraft::Pending(Box::new(BucketPending {
                bucket: self.clone(),
                name: token.object.clone(),
                upload,
                bytes: whole.len() as u64,
            })),
            _ => ResumedDraft::Draft(Box::new(BucketDraft::new(
                self.clone(),
                &token.object,
                upload,
                token.durable as usize / self.part,
            ))),
        })
    }

    fn abort(&self, token: &DraftToken) -> Result<bool, StoreError> {
        check(&token.object)?;
        self.ask("abort", &token.object, |state| {
            let before = state.uploads.len();
            let is_its = |id: &u64, upload: &Upload| match token.upload.as_u64() {
                Some(wanted) => wanted == *id,
                None => upload.whole.is_none(),
            };
            state.uploads.retain(|id, upload| upload.name != token.object || !is_its(id, upload));
            Ok(state.uploads.len() < before)
        })
    }

    fn list(&self) -> Result<Vec<PublishedObject>, StoreError> {
        self.ask("list", "", |state| {
            let listed = state.published.iter().map(|(name, published)| PublishedObject {
                name: name.clone(),
                bytes: Some(published.bytes.len() as u64),
                record: Ok(published.record.clone()),
                notes: published.notes.keys().cloned().collect(),
            });
            Ok(listed.collect())
        })
    }

    fn record(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        check(name)?;
        self.ask("record", name, |state| {
            state.published.get(name).map(|found| found.record.clone()).ok_or_else(|| Self::not_found(name))
        })
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError> {
        check(name)?;
        let bytes = self.ask("open", name, |state| {
            state.published.get(name).map(|found| found.bytes.clone()).ok_or_else(|| Self::not_found(name))
        })?;
        Ok(Arc::new(BucketBytes { bucket: self.clone(), name: name.to_owned(), bytes }))
    }

    fn add_note(&self, name: &str, note: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check(note)?;
        if note == "published.json" || note == format!("{name}.tar") {
            return Err(StoreError::BadName(note.to_owned()));
        }
        self.ask("add note", note, |state| {
            let published = state.published.get_mut(name).ok_or_else(|| Self::not_found(name))?;
            if published.notes.contains_key(note) {
                return Err(Self::exists(note));
            }
            published.notes.insert(note.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn read_note(&self, name: &str, note: &str) -> Result<Vec<u8>, StoreError> {
        check(note)?;
        self.ask("read note", note, |state| {
            let found = state.published.get(name).and_then(|published| published.notes.get(note));
            found.cloned().ok_or_else(|| Self::not_found(note))
        })
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        check(name)?;
        self.ask("remove", name, |state| state.published.remove(name).map(drop).ok_or_else(|| Self::not_found(name)))
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

struct BucketDraft {
    bucket: Bucket,
    name: String,
    upload: u64,
    stored: usize,
    handed_over: VecDeque<Vec<u8>>,
    rest: Vec<u8>,
    poisoned: bool,
}

impl BucketDraft {
    fn new(bucket: Bucket, name: &str, upload: u64, stored: usize) -> Self {
        let (handed_over, rest) = (VecDeque::new(), Vec::new());
        Self { bucket, name: name.to_owned(), upload, stored, handed_over, rest, poisoned: false }
    }

    /// Stores what was handed over, but for the `behind` newest parts.
    fn settle(&mut self, behind: usize) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned(self.name.clone()));
        }
        while self.handed_over.len() > behind {
            let Some(part) = self.handed_over.pop_front() else { break };
            let (upload, place) = (self.upload, self.stored);
            let done = self.bucket.ask("part", &self.name, |state| {
                if let Some(room) = &mut state.room {
                    let written = (place * self.bucket.part) as u64;
                    let full = StoreError::Full { object: self.name.clone(), place: "the bucket".into(), written };
                    *room = room.checked_sub(part.len() as u64).ok_or(full)?;
                }
                let upload = state.uploads.get_mut(&upload).ok_or_else(|| Bucket::not_found("the upload"))?;
                upload.parts.resize(place, Vec::new());
                upload.parts.push(part);
                Ok(())
            });
            self.poisoned = done.is_err();
            done?;
            self.stored += 1;
        }
        Ok(())
    }
}

impl Draft for BucketDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.rest.extend_from_slice(bytes);
        while self.rest.len() >= self.bucket.part {
            let rest = self.rest.split_off(self.bucket.part);
            self.handed_over.push_back(std::mem::replace(&mut self.rest, rest));
        }
        self.settle(self.bucket.behind)
    }

    fn durable(&mut self) -> Result<u64, StoreError> {
        self.settle(self.bucket.behind)?;
        Ok((self.stored * self.bucket.part) as u64)
    }

    fn backlog(&self) -> u64 {
        ((self.bucket.behind + 1) * self.bucket.part) as u64
    }

    fn token(&self) -> DraftToken {
        let durable = (self.stored * self.bucket.part) as u64;
        DraftToken { durable, upload: self.upload.into(), ..DraftToken::named(&self.name) }
    }

    fn complete(mut self: Box<Self>) -> Result<Box<dyn Pending>, StoreError> {
        let last = std::mem::take(&mut self.rest);
        self.handed_over.push_back(last);
        self.settle(0)?;
        let upload = self.upload;
        let bytes = self.bucket.ask("complete", &self.name, |state| {
            let upload = state.uploads.get_mut(&upload).ok_or_else(|| Bucket::not_found("the upload"))?;
            let whole = upload.parts.concat();
            let bytes = whole.len() as u64;
            upload.whole = Some(Arc::new(whole));
            Ok(bytes)
        })?;
        Ok(Box::new(BucketPending { bucket: self.bucket, name: self.name, upload, bytes }))
    }
}

struct BucketPending {
    bucket: Bucket,
    name: String,
    upload: u64,
    bytes: u64,
}

impl Pending for BucketPending {
    fn open(&self) -> Result<Arc<dyn Stored>, StoreError> {
        let bytes = self.bucket.ask("open", &self.name, |state| {
            let whole = state.uploads.get(&self.upload).and_then(|upload| upload.whole.clone());
            whole.ok_or_else(|| Bucket::not_found(&self.name))
        })?;
        Ok(Arc::new(BucketBytes { bucket: self.bucket.clone(), name: self.name.clone(), bytes }))
    }

    fn token(&self) -> DraftToken {
        let upload = self.upload.into();
        DraftToken { durable: self.bytes, complete: true, upload, ..DraftToken::named(&self.name) }
    }

    fn publish(self: Box<Self>, record: &[u8]) -> Result<(), StoreError> {
        self.bucket.ask("publish", &self.name, |state| {
            if state.published.contains_key(&self.name) {
                return Err(Bucket::exists(&self.name));
            }
            let upload = state.uploads.remove(&self.upload).ok_or_else(|| Bucket::not_found(&self.name))?;
            let bytes = upload.whole.unwrap_or_default();
            let published = Published { record: record.to_vec(), bytes, notes: BTreeMap::new() };
            state.published.insert(self.name.clone(), published);
            Ok(())
        })
    }
}

struct BucketBytes {
    bucket: Bucket,
    name: String,
    bytes: Arc<Vec<u8>>,
}

impl Stored for BucketBytes {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let wanted = offset + buffer.len() as u64;
        // What a server gives that lies.
        buffer.fill(0xa5);
        self.bucket.ask("read", &self.name, |_| {
            let found = self.bytes.get(offset as usize..wanted as usize);
            buffer.copy_from_slice(found.ok_or_else(|| StoreError::Short { object: self.name.clone(), wanted })?);
            Ok(())
        })
    }
}
