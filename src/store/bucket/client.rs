//! Requests to a bucket, each waited for by its caller.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio_util::sync::CancellationToken;

use super::address::{BucketAddress, claim_of};
use super::connect::{BucketOptions, connect};
use super::io::{Io, NoAnswer, Task};
use super::kept::KeptFiles;
use super::record_file::RecordFile;
use super::refusal::{Refusal, RefusalKind};
use super::uploads::Uploads;
use crate::read;
use crate::redact::Secrets;
use crate::store::error::StoreError;
use crate::store::notice::Notice;

/// How many small objects are read at the same time.
const AT_ONCE: usize = 32;
/// How often a write that came into another's way is tried again, and the pause before it.
const CONFLICTS: u32 = 8;
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);

type Answer<T> = Result<T, Error>;

/// A bucket, and what it takes to ask it.
pub(super) struct BucketClient {
    pub address: BucketAddress,
    io: Io,
    s3: Arc<AmazonS3>,
    uploads: Arc<Uploads>,
    kept: KeptFiles,
    /// The least bytes of a part, where that is asked for.
    pub part_bytes: Option<u64>,
    /// The most that may go up a second: then one part at a time does.
    pub bytes_a_second: Option<u64>,
}

/// What came of a small file that must not be there yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PutNew {
    Done,
    /// Another one is there.
    Exists,
}

/// A file of the bucket.
#[derive(Debug)]
pub(super) struct Listed {
    pub key: Key,
    pub bytes: u64,
    pub tag: Option<String>,
}

/// A small file, and what the server calls this version of it.
struct SmallFile {
    bytes: Vec<u8>,
    tag: Option<String>,
}

impl BucketClient {
    /// Prepares to ask; nothing is sent yet. `stop` ends every wait, unless it is cancelled already.
    ///
    /// # Errors
    /// `Unusable`, `Failed`.
    pub fn new(
        place: &str,
        options: &BucketOptions,
        secrets: &Secrets,
        stop: &CancellationToken,
        notice: &Notice,
    ) -> Result<Self, StoreError> {
        let unusable = |refusal: Refusal| StoreError::Unusable {
            place: place.to_owned(),
            transient: false,
            source: refusal.into(),
        };
        let address = BucketAddress::parse(place).map_err(|text| unusable(Refusal::new(RefusalKind::Address, text)))?;
        let connection = connect(&address, options, secrets, notice).map_err(unusable)?;
        let io = Io::start(stop).map_err(|error| unusable(Refusal::new(RefusalKind::Other, error.to_string())))?;
        let s3 = Arc::new(connection.s3);
        let kept = KeptFiles::of(format!("{} {}", connection.url, address.place()), options.kept.as_deref());
        let uploads =
            Uploads { s3: Arc::clone(&s3), http: connection.http, region: connection.region, url: connection.url };
        let (part_bytes, bytes_a_second) = (options.part_bytes, options.bytes_a_second);
        Ok(Self { address, io, s3, uploads: Arc::new(uploads), kept, part_bytes, bytes_a_second })
    }

    pub fn place(&self) -> String {
        self.address.place()
    }

    /// What `act` on `object` failed with. Where the server says `not found`, it may be the bucket that is.
    pub fn failed(&self, act: &'static str, object: &str, error: &Error) -> StoreError {
        Refusal::of(error).of_store(&self.place(), act, object)
    }

    /// The same where the bytes of a whole request are at fault, and not the request.
    pub fn broken(&self, act: &'static str, object: &str, text: impl Into<String>) -> StoreError {
        Refusal::new(RefusalKind::Other, text).of_store(&self.place(), act, object)
    }

    pub fn not_found(&self, object: &str) -> StoreError {
        StoreError::NotFound { object: object.to_owned(), place: self.place() }
    }

    pub fn exists(&self, object: &str) -> StoreError {
        StoreError::Exists { object: object.to_owned(), place: self.place() }
    }

    /// Does a request and waits for its answer; `None` for `not found`, unless that means the bucket.
    fn ask<T: Send + 'static>(
        &self,
        act: &'static str,
        object: &str,
        request: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        match self.io.wait(request) {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error @ Error::NotFound { .. })) if Refusal::of(&error).kind != RefusalKind::NoBucket => Ok(None),
            Ok(Err(error)) => Err(self.failed(act, object, &error)),
            Err(no_answer) => Err(self.unanswered(act, object, no_answer)),
        }
    }

    /// What `act` on `object` failed with when there was no answer.
    pub fn unanswered(&self, act: &'static str, object: &str, why: NoAnswer) -> StoreError {
        match why {
            NoAnswer::Stopped => StoreError::Stopped { place: self.place() },
            NoAnswer::Late => {
                let text = "the server did not answer in the time that is left after a signal to stop";
                Refusal::new(RefusalKind::Passing, text).of_store(&self.place(), act, object)
            }
            NoAnswer::Lost => self.broken(act, object, "the request ended without an answer"),
        }
    }

    /// Asks what has no function of its own here.
    pub fn with_s3<T: Send + 'static, R: Future<Output = Answer<T>> + Send + 'static>(
        &self,
        act: &'static str,
        object: &str,
        request: impl FnOnce(Arc<AmazonS3>) -> R,
    ) -> Result<T, StoreError> {
        self.ask(act, object, request(Arc::clone(&self.s3)))?.ok_or_else(|| self.not_found(object))
    }

    /// The same of what the library does not ask.
    pub fn with_uploads<T: Send + 'static, R: Future<Output = Answer<T>> + Send + 'static>(
        &self,
        act: &'static str,
        object: &str,
        request: impl FnOnce(Arc<Uploads>) -> R,
    ) -> Result<T, StoreError> {
        self.ask(act, object, request(Arc::clone(&self.uploads)))?.ok_or_else(|| self.not_found(object))
    }

    /// The length of a file; `None` when it is not there.
    pub fn length(&self, key: &Key, object: &str) -> Result<Option<u64>, StoreError> {
        let (s3, key) = (Arc::clone(&self.s3), key.clone());
        self.ask("read", object, async move { Ok(s3.head(&key).await?.size) })
    }

    /// A small file; `None` when it is not there.
    pub fn small(&self, key: &Key, object: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (s3, key) = (Arc::clone(&self.s3), key.clone());
        Ok(self.ask("read", object, async move { small(&s3, &key).await })?.map(|file| file.bytes))
    }

    /// The same of one that may have been read before as the newest list has it.
    pub fn small_or_kept(&self, key: &Key, object: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(kept) = self.kept.get(key.as_ref()) {
            return Ok(Some(kept));
        }
        let (s3, owned) = (Arc::clone(&self.s3), key.clone());
        let file = self.ask("read", object, async move { small(&s3, &owned).await })?;
        Ok(file.map(|file| {
            self.kept.keep(key.as_ref(), file.tag.as_deref(), &file.bytes);
            file.bytes
        }))
    }

    /// Says which small files there are, as a list of all has them.
    pub fn know(&self, small: &[Listed]) {
        let tagged = small.iter().filter_map(|file| Some((file.key.to_string(), file.tag.clone()?)));
        self.kept.list(tagged);
    }

    /// The record of an object with what is around it; `None` for one that is not published.
    pub fn record_file(&self, name: &str) -> Result<Option<RecordFile>, StoreError> {
        let bytes = self.small(&self.address.record(name), name)?;
        bytes.map(|bytes| RecordFile::parse(&bytes).map_err(|text| self.broken("read", name, text))).transpose()
    }

    /// Whether the object is published.
    pub fn is_published(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.length(&self.address.record(name), name)?.is_some())
    }

    /// Many small files at once, in the order of their keys; what one fails with is its own. Those that were read before,
    /// as the newest list has them, are not asked for.
    pub fn many_small(&self, keys: &[Key]) -> Result<Vec<Result<Vec<u8>, StoreError>>, StoreError> {
        let mut files: Vec<Option<_>> = keys.iter().map(|key| self.kept.get(key.as_ref()).map(Ok)).collect();
        let unread: Vec<usize> = (0..keys.len()).filter(|place| files[*place].is_none()).collect();
        let (s3, wanted) = (Arc::clone(&self.s3), unread.iter().map(|place| keys[*place].clone()).collect::<Vec<_>>());
        let read = async move {
            let each = wanted.into_iter().map(|key| {
                let s3 = Arc::clone(&s3);
                async move { small(&s3, &key).await }
            });
            Ok(futures::stream::iter(each).buffered(AT_ONCE).collect::<Vec<_>>().await)
        };
        let answers = if unread.is_empty() { None } else { self.ask("read", "records", read)? };
        for (place, answer) in unread.into_iter().zip(answers.unwrap_or_default()) {
            let key = keys[place].as_ref();
            if let Ok(file) = &answer {
                self.kept.keep(key, file.tag.as_deref(), &file.bytes);
            }
            let answer = answer.map(|file| file.bytes).map_err(|error| self.failed("read", key, &error));
            files[place] = Some(answer);
        }
        Ok(files.into_iter().flatten().collect())
    }

    /// The bytes of a range, which must lie within the file.
    pub fn range(&self, key: &Key, object: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (s3, key) = (Arc::clone(&self.s3), key.clone());
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let read = async move { s3.get_opts(&key, options).await?.bytes().await };
        self.ask("read", object, read)?.ok_or_else(|| self.not_found(object))
    }

    /// Makes a small file where there is none. One that is there and has these very bytes is this one: the answer to an
    /// earlier attempt was lost.
    pub fn put_new(&self, key: &Key, object: &str, bytes: &[u8]) -> Result<PutNew, StoreError> {
        let (s3, key, bytes) = (Arc::clone(&self.s3), key.clone(), Bytes::copy_from_slice(bytes));
        let uploads = Arc::clone(&self.uploads);
        let put = async move {
            let mut conflicts = 0;
            loop {
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                let error = match s3.put_opts(&key, bytes.clone().into(), options).await {
                    Ok(_) => return Ok(PutNew::Done),
                    Err(error) => error,
                };
                // Also when the answer was lost; and when a server only says that another write is under way.
                match small(&s3, &key).await {
                    Ok(there) if there.bytes == bytes => return Ok(PutNew::Done),
                    Ok(_) => return Ok(PutNew::Exists),
                    Err(Error::NotFound { .. }) if matches!(error, Error::AlreadyExists { .. }) => {
                        if let Some(removal) = uploads.removal(&key).await? {
                            return take_back(&s3, &key, &removal, &bytes).await;
                        }
                    }
                    Err(_) => return Err(error),
                }
                conflicts += 1;
                if conflicts > CONFLICTS {
                    return Err(error);
                }
                tokio::time::sleep(CONFLICT_PAUSE * conflicts).await;
            }
        };
        self.ask("publish", object, put)?.ok_or_else(|| self.not_found(object))
    }

    /// All files whose keys begin with `under`, ascending.
    pub fn list(&self, under: &Key) -> Result<Vec<Listed>, StoreError> {
        let (s3, under) = (Arc::clone(&self.s3), under.clone());
        let list = async move {
            let files = s3.list(Some(&under)).map_ok(|found| Listed {
                key: found.location,
                bytes: found.size,
                tag: found.e_tag,
            });
            files.try_collect::<Vec<_>>().await
        };
        let answer = self.io.wait(list).map_err(|why| self.unanswered("list", "its bundles", why))?;
        let mut files = answer.map_err(|error| {
            let refusal = Refusal::of(&error);
            let transient = refusal.kind == RefusalKind::Passing;
            StoreError::Unusable { place: self.place(), transient, source: refusal.into() }
        })?;
        files.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(files)
    }

    /// Removes a file. Returns whether this process may: what it may not remove stays.
    pub fn remove(&self, key: &Key, object: &str) -> Result<bool, StoreError> {
        let (s3, owned) = (Arc::clone(&self.s3), key.clone());
        match self.ask("remove", object, async move { s3.delete(&owned).await }) {
            Ok(done) => Ok(done.is_some()),
            Err(error) if is_denied(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins an upload to `key`; returns its id.
    pub fn begin_upload(&self, key: &Key, object: &str) -> Result<String, StoreError> {
        let (s3, key) = (Arc::clone(&self.s3), key.clone());
        let id = self.ask("write", object, async move { s3.create_multipart(&key).await })?;
        id.ok_or_else(|| self.not_found(object))
    }

    /// Sends part number `index` (from 0) of an upload; the task ends with what the server calls it.
    pub fn send_part(&self, key: &Key, upload: &str, index: usize, bytes: Bytes) -> Task<Answer<String>> {
        let (s3, key, upload) = (Arc::clone(&self.s3), key.clone(), upload.to_owned());
        self.io.spawn(async move { Ok(s3.put_part(&key, &upload, index, bytes.into()).await?.content_id) })
    }

    /// Makes the file of an upload's parts, `bytes` in all. Where the answer is lost, what is there decides.
    pub fn complete_upload(
        &self,
        key: &Key,
        object: &str,
        upload: &str,
        parts: &[String],
        bytes: u64,
    ) -> Result<(), StoreError> {
        let (s3, owned, upload) = (Arc::clone(&self.s3), key.clone(), upload.to_owned());
        let parts = parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
        let done = self.ask("write", object, async move { s3.complete_multipart(&owned, &upload, parts).await });
        if matches!(done, Ok(Some(_))) {
            return Ok(());
        }
        match self.length(key, object) {
            Ok(Some(there)) if there == bytes => Ok(()),
            _ => Err(done.err().unwrap_or_else(|| self.not_found(object))),
        }
    }

    /// The uploads that are under way to keys which begin with `under`: key and id.
    pub fn uploads(&self, under: &Key, object: &str) -> Result<Vec<(String, String)>, StoreError> {
        let (uploads, under) = (Arc::clone(&self.uploads), format!("{under}/"));
        Ok(self.ask("read", object, async move { uploads.list(&under).await })?.unwrap_or_default())
    }

    /// How many parts an upload has from its first on without a gap; `None` when there is no such upload.
    pub fn upload_parts(&self, key: &Key, upload: &str, object: &str) -> Result<Option<usize>, StoreError> {
        let (uploads, key, upload) = (Arc::clone(&self.uploads), key.clone(), upload.to_owned());
        self.ask("read", object, async move { uploads.parts(&key, &upload).await })
    }

    /// Until when nobody may remove a file; `None` also where it is not there.
    pub fn locked_until(
        &self,
        key: &Key,
        object: &str,
        usual: SignedDuration,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (uploads, key) = (Arc::clone(&self.uploads), key.clone());
        Ok(self.ask("read", object, async move { uploads.locked_until(&key, usual).await })?.flatten())
    }

    /// Throws an upload away. Returns whether it was there, and this process may.
    pub fn abort_upload(&self, key: &Key, upload: &str, object: &str) -> Result<bool, StoreError> {
        let (s3, key, upload) = (Arc::clone(&self.s3), key.clone(), upload.to_owned());
        match self.ask("remove", object, async move { s3.abort_multipart(&key, &upload).await }) {
            Ok(done) => Ok(done.is_some()),
            Err(error) if is_denied(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Makes a file again that was removed from a bucket which keeps versions, where the server takes the mark of the removal for
/// the file and refuses a condition that should hold. In its place stands a claim, create-only, under a key that only this
/// removal has: of several, one makes the file. Who is killed in between makes it with the same bytes when it goes on.
async fn take_back(s3: &AmazonS3, key: &Key, removal: &str, bytes: &Bytes) -> Answer<PutNew> {
    let claim = claim_of(key, removal);
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    if let Err(error) = s3.put_opts(&claim, bytes.clone().into(), create).await {
        match small(s3, &claim).await {
            Ok(there) if there.bytes == *bytes => {}
            Ok(_) => return Ok(PutNew::Exists),
            Err(_) => return Err(error),
        }
    }
    s3.put(key, bytes.clone().into()).await.map(|_| PutNew::Done)
}

async fn small(s3: &AmazonS3, key: &Key) -> Answer<SmallFile> {
    let found = s3.get(key).await?;
    if found.meta.size > read::SMALL {
        let source = format!("it has {} bytes, and should be small", found.meta.size).into();
        return Err(Error::Generic { store: "S3", source });
    }
    let tag = found.meta.e_tag.clone();
    Ok(SmallFile { bytes: found.bytes().await?.into(), tag })
}

/// Whether the key may not do what was asked.
pub(super) fn is_denied(error: &StoreError) -> bool {
    is_refused_as(error, RefusalKind::Denied)
}

/// Whether the server knows no such request.
pub(super) fn is_unsupported(error: &StoreError) -> bool {
    is_refused_as(error, RefusalKind::Unsupported)
}

fn is_refused_as(error: &StoreError, kind: RefusalKind) -> bool {
    let (StoreError::Failed { source, .. } | StoreError::Unusable { source, .. }) = error else { return false };
    source.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.kind == kind)
}
