//! Any store, with each request in the trace. Single reads and appends come by the thousand: the chunks that they are of
//! have calls of their own.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::conditions::StoreConditions;
use super::draft::{Draft, DraftToken, Pending, ResumedDraft};
use super::error::StoreError;
use super::promise::{PublishedObject, Store};
use super::stored::Stored;
use crate::trace::{CallKind, call_blocking};

/// A store whose requests are traced.
pub(super) struct TracedStore<S>(pub(super) S);

fn request<T>(what: String, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    call_blocking(CallKind::Store, what, work)
}

impl<S: Store> Store for TracedStore<S> {
    fn place(&self) -> String {
        self.0.place()
    }

    fn address(&self, name: &str) -> String {
        self.0.address(name)
    }

    fn begin(&self, name: &str, expected: u64) -> Result<Box<dyn Draft>, StoreError> {
        request(format!("begin {name}"), || self.0.begin(name, expected)).map(traced_draft)
    }

    fn resume(&self, token: &DraftToken) -> Result<ResumedDraft, StoreError> {
        request(format!("resume {}", token.object), || self.0.resume(token)).map(|resumed| match resumed {
            ResumedDraft::Draft(draft) => ResumedDraft::Draft(traced_draft(draft)),
            ResumedDraft::Pending(pending) => ResumedDraft::Pending(traced_pending(pending)),
            ResumedDraft::Published => ResumedDraft::Published,
        })
    }

    fn abort(&self, token: &DraftToken) -> Result<bool, StoreError> {
        request(format!("abort {}", token.object), || self.0.abort(token))
    }

    fn list(&self) -> Result<Vec<PublishedObject>, StoreError> {
        request("list".into(), || self.0.list())
    }

    fn record(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        request(format!("record of {name}"), || self.0.record(name))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError> {
        request(format!("open {name}"), || self.0.open(name))
    }

    fn add_note(&self, name: &str, note: &str, bytes: &[u8]) -> Result<(), StoreError> {
        request(format!("add note {note} to {name}"), || self.0.add_note(name, note, bytes))
    }

    fn read_note(&self, name: &str, note: &str) -> Result<Vec<u8>, StoreError> {
        request(format!("read note {note} of {name}"), || self.0.read_note(name, note))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        request(format!("remove {name}"), || self.0.remove(name))
    }

    fn locked_until(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        request(format!("lock of {name}"), || self.0.locked_until(name))
    }

    fn keeps_removed(&self) -> Result<bool, StoreError> {
        request("whether it keeps versions".into(), || self.0.keeps_removed())
    }

    fn conditions(&self) -> Result<Option<StoreConditions>, StoreError> {
        request("prove its conditions".into(), || self.0.conditions())
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        request("free space".into(), || self.0.free_bytes())
    }

    fn loose_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        self.0.loose_files()
    }
}

struct TracedDraft(Box<dyn Draft>);

fn traced_draft(draft: Box<dyn Draft>) -> Box<dyn Draft> {
    Box::new(TracedDraft(draft))
}

impl Draft for TracedDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.append(bytes)
    }

    fn durable(&mut self) -> Result<u64, StoreError> {
        request("make durable".into(), || self.0.durable())
    }

    fn backlog(&self) -> u64 {
        self.0.backlog()
    }

    fn token(&self) -> DraftToken {
        self.0.token()
    }

    fn complete(self: Box<Self>) -> Result<Box<dyn Pending>, StoreError> {
        request("complete".into(), || self.0.complete()).map(traced_pending)
    }
}

struct TracedPending(Box<dyn Pending>);

fn traced_pending(pending: Box<dyn Pending>) -> Box<dyn Pending> {
    Box::new(TracedPending(pending))
}

impl Pending for TracedPending {
    fn open(&self) -> Result<Arc<dyn Stored>, StoreError> {
        request("open what was written".into(), || self.0.open())
    }

    fn token(&self) -> DraftToken {
        self.0.token()
    }

    fn publish(self: Box<Self>, record: &[u8]) -> Result<(), StoreError> {
        request("publish".into(), || self.0.publish(record))
    }
}
