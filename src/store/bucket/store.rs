//! The bucket as a store.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::address::{FileKind, bytes_file};
use super::client::{BucketClient, PutNew, is_denied, is_unsupported};
use super::connect::BucketOptions;
use super::draft::{BucketDraft, BucketPending, Upload, part_bytes, thin_part};
use super::object::BucketObject;
use super::probe;
use super::record_file::RecordFile;
use crate::redact::Secrets;
use crate::store::conditions::{BucketProtection, StoreConditions};
use crate::store::draft::{Draft, DraftToken, ResumedDraft};
use crate::store::error::StoreError;
use crate::store::notice::Notice;
use crate::store::promise::{PublishedObject, Store, check_name};
use crate::store::stored::Stored;

/// Bundles in a bucket of an object store.
#[derive(Clone)]
pub struct BucketStore {
    client: Arc<BucketClient>,
    /// What the bucket was seen to keep; `None` where this key may not see it.
    protection: Arc<OnceLock<Option<BucketProtection>>>,
}

/// The files of an object, as a list has them.
#[derive(Default)]
struct Files {
    is_published: bool,
    bytes: BTreeMap<String, u64>,
    notes: Vec<String>,
}

impl BucketStore {
    /// Opens the bucket at `place` (`s3://BUCKET/PREFIX`). Nothing is asked of it yet. Once `stop` is cancelled, what waits
    /// for the server ends with `Stopped`; a store that is opened later is one to put back with, and waits a few seconds.
    /// `notice` hears that a server which is away is waited for.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn open(
        place: &str,
        options: &BucketOptions,
        secrets: &Secrets,
        stop: &CancellationToken,
        notice: &Notice,
    ) -> Result<Self, StoreError> {
        let client = Arc::new(BucketClient::new(place, options, secrets, stop, notice)?);
        Ok(Self { client, protection: Arc::default() })
    }

    /// What the bucket keeps; it is asked once.
    fn protection(&self) -> Result<Option<&BucketProtection>, StoreError> {
        if self.protection.get().is_none() {
            let seen = match self.client.with_uploads("read", "its settings", probe::protection) {
                Ok(seen) => Some(seen),
                Err(error) if is_denied(&error) || is_unsupported(&error) => None,
                Err(error) => return Err(error),
            };
            // Another thread may have asked, too.
            let _same = self.protection.set(seen);
        }
        Ok(self.protection.get().and_then(Option::as_ref))
    }

    /// Where the upload of a draft stands that is not published.
    fn resumed(&self, token: &DraftToken, mut upload: Upload) -> Result<ResumedDraft, StoreError> {
        let (client, name) = (&self.client, token.object.as_str());
        let short = || StoreError::Short { object: name.to_owned(), wanted: token.durable };
        let key = client.address.file(name, &upload.file);
        if let Some(bytes) = client.length(&key, name)? {
            if bytes < token.durable || token.complete && bytes != token.durable {
                return Err(short());
            }
            let pending = BucketPending { client: Arc::clone(client), name: name.to_owned(), upload, bytes };
            return Ok(ResumedDraft::Pending(Box::new(pending)));
        }
        let there = client.upload_parts(&key, &upload.id, name)?.ok_or_else(|| client.not_found(name))?;
        if token.complete || there < upload.parts.len() || upload.durable() < token.durable {
            return Err(short());
        }
        // What the token calls durable, and no more: who goes on begins to write there.
        upload.parts.truncate(usize::try_from(token.durable / upload.part_bytes.max(1)).unwrap_or(usize::MAX));
        Ok(ResumedDraft::Draft(Box::new(BucketDraft::new(client, name, upload))))
    }

    /// Throws away the uploads of an object: the one of the token, or all of its name: whoever else is at one of them has an
    /// error, and no bundle less. One that may not be listed is known by its token only.
    fn abort_uploads(&self, name: &str, upload: Option<&Upload>) -> Result<bool, StoreError> {
        let (client, mut removed) = (&self.client, false);
        let uploads = match client.uploads(&client.address.of(name), name) {
            Err(error) if is_denied(&error) => upload
                .map(|upload| (client.address.file(name, &upload.file).to_string(), upload.id.clone()))
                .into_iter()
                .collect(),
            listed => listed?,
        };
        for (key, id) in uploads {
            let Some((_, file)) = client.address.parts(&key) else { continue };
            if upload.is_none_or(|upload| upload.file == file) {
                removed |= client.abort_upload(&client.address.file(name, file), &id, name)?;
            }
        }
        Ok(removed)
    }

    /// All objects with their files, published or not.
    fn objects(&self) -> Result<BTreeMap<String, Files>, StoreError> {
        let mut objects: BTreeMap<String, Files> = BTreeMap::new();
        let mut small = Vec::new();
        for listed in self.client.list(&self.client.address.all())? {
            let Some((name, file)) = self.client.address.parts(listed.key.as_ref()) else { continue };
            if check_name(name).is_err() {
                continue;
            }
            let files = objects.entry(name.to_owned()).or_default();
            match FileKind::of(file) {
                FileKind::Record => files.is_published = true,
                FileKind::Bytes => drop(files.bytes.insert(file.to_owned(), listed.bytes)),
                FileKind::Note => files.notes.push(file.to_owned()),
                FileKind::Claim => {}
            }
            if matches!(FileKind::of(file), FileKind::Record | FileKind::Note) {
                small.push(listed);
            }
        }
        self.client.know(&small);
        Ok(objects)
    }

    fn note_key(&self, name: &str, note: &str) -> Result<object_store::path::Path, StoreError> {
        check_name(name)?;
        check_name(note)?;
        match FileKind::of(note) {
            FileKind::Note => Ok(self.client.address.file(name, note)),
            _ => Err(StoreError::BadName(note.to_owned())),
        }
    }

    fn record_file(&self, name: &str) -> Result<RecordFile, StoreError> {
        check_name(name)?;
        self.client.record_file(name)?.ok_or_else(|| self.client.not_found(name))
    }
}

impl Store for BucketStore {
    fn place(&self) -> String {
        self.client.place()
    }

    fn address(&self, name: &str) -> String {
        format!("s3://{}/{}/", self.client.address.bucket, self.client.address.of(name))
    }

    fn begin(&self, name: &str, expected: u64) -> Result<Box<dyn Draft>, StoreError> {
        check_name(name)?;
        let client = &self.client;
        if client.is_published(name)? {
            return Err(client.exists(name));
        }
        let file = bytes_file(name, &hex::encode(rand::random::<[u8; 8]>()));
        let id = client.begin_upload(&client.address.file(name, &file), name)?;
        let part_bytes = part_bytes(thin_part(client.part_bytes, client.bytes_a_second), expected);
        let upload = Upload { id, file, part_bytes, parts: Vec::new() };
        Ok(Box::new(BucketDraft::new(client, name, upload)))
    }

    fn resume(&self, token: &DraftToken) -> Result<ResumedDraft, StoreError> {
        check_name(&token.object)?;
        if self.client.is_published(&token.object)? {
            return Ok(ResumedDraft::Published);
        }
        match Upload::of(token) {
            Ok(Some(upload)) => self.resumed(token, upload),
            Ok(None) => Err(self.client.not_found(&token.object)),
            Err(error) => Err(self.client.broken("read", &token.object, format!("its token is none: {error}"))),
        }
    }

    fn abort(&self, token: &DraftToken) -> Result<bool, StoreError> {
        let name = token.object.as_str();
        check_name(name)?;
        // A token that cannot be read still has the name.
        let upload = Upload::of(token).unwrap_or_default();
        // Where another draft was published, this one is no part of it.
        if let Some(published) = self.client.record_file(name)? {
            let is_another = upload.as_ref().is_some_and(|upload| upload.file != published.bytes_file);
            if !is_another {
                return Ok(false);
            }
        }
        let mut removed = self.abort_uploads(name, upload.as_ref())?;
        // By name alone it died as it began, and has no bytes: those that are there are of another, who may be about to
        // publish them.
        let Some(upload) = upload else { return Ok(removed) };
        for listed in self.client.list(&self.client.address.of(name))? {
            let Some((_, file)) = self.client.address.parts(listed.key.as_ref()) else { continue };
            if upload.file == file && FileKind::of(file) == FileKind::Bytes {
                removed |= self.client.remove(&listed.key, name)?;
            }
        }
        Ok(removed)
    }

    fn list(&self) -> Result<Vec<PublishedObject>, StoreError> {
        let published: Vec<_> = self.objects()?.into_iter().filter(|(_, files)| files.is_published).collect();
        let keys: Vec<_> = published.iter().map(|(name, _)| self.client.address.record(name)).collect();
        let records = self.client.many_small(&keys)?;
        let listed = published.into_iter().zip(records).map(|((name, files), record)| {
            let record_file = record
                .and_then(|bytes| RecordFile::parse(&bytes).map_err(|text| self.client.broken("read", &name, text)));
            let bytes =
                record_file.as_ref().ok().and_then(|record_file| files.bytes.get(&record_file.bytes_file).copied());
            let record = record_file.map(|record_file| record_file.record.into_bytes());
            PublishedObject { name, bytes, record, notes: files.notes }
        });
        Ok(listed.collect())
    }

    fn record(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        Ok(self.record_file(name)?.record.into_bytes())
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError> {
        let record_file = self.record_file(name)?;
        Ok(Arc::new(BucketObject::open(&self.client, name, &record_file.bytes_file)?))
    }

    fn add_note(&self, name: &str, note: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let key = self.note_key(name, note)?;
        if !self.client.is_published(name)? {
            return Err(self.client.not_found(name));
        }
        let called = format!("{name}/{note}");
        match self.client.put_new(&key, &called, bytes)? {
            PutNew::Done => Ok(()),
            PutNew::Exists => Err(self.client.exists(&called)),
        }
    }

    fn read_note(&self, name: &str, note: &str) -> Result<Vec<u8>, StoreError> {
        let called = format!("{name}/{note}");
        self.client.small_or_kept(&self.note_key(name, note)?, &called)?.ok_or_else(|| self.client.not_found(&called))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        if !self.client.is_published(name)? {
            return Err(self.client.not_found(name));
        }
        let files = self.client.list(&self.client.address.of(name))?;
        for kind in [FileKind::Bytes, FileKind::Record, FileKind::Note, FileKind::Claim] {
            for listed in &files {
                let is_it =
                    self.client.address.parts(listed.key.as_ref()).is_some_and(|(_, file)| FileKind::of(file) == kind);
                if is_it && !self.client.remove(&listed.key, name)? {
                    return Err(self.client.broken("remove", name, "this key may not, or a lock forbids it"));
                }
            }
        }
        Ok(())
    }

    fn locked_until(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        check_name(name)?;
        let usual = match self.protection()? {
            Some(BucketProtection { lock: None, .. }) => return Ok(None),
            Some(seen) => seen.usual_retention(),
            None => SignedDuration::ZERO,
        };
        let Some(record_file) = self.client.record_file(name)? else { return Ok(None) };
        let files = [self.client.address.record(name), self.client.address.file(name, &record_file.bytes_file)];
        let locks = files.iter().map(|key| self.client.locked_until(key, name, usual));
        Ok(locks.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().max())
    }

    fn keeps_removed(&self) -> Result<bool, StoreError> {
        Ok(self.protection()?.is_some_and(|seen| seen.versions))
    }

    fn conditions(&self) -> Result<Option<StoreConditions>, StoreError> {
        probe::conditions(&self.client).map(Some)
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}
