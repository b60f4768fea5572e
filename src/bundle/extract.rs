//! Taking one thing out of a bundle. Nothing is handed on before its digest was found right.

use std::io::Write;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::crypt::seal::{Identities, SealError};
use crate::event::Events;
use crate::postgres::BackupManifest;
use crate::postgres::basebackup::BaseBackupError;
use crate::postgres::manifest::ManifestFile;

use super::database_file::RawStream;
use super::error::{BundleError, BundleFault};
use super::item::{BundleItem, ListedItem};
use super::layout::{Member, Stream};
use super::places;
use super::plain::check_span;
use super::reader::{Reader, StoredChunk, is_chunk};
use super::volume;

/// Where the log lies in the data directory.
const WAL_FOLDER: &str = "pg_wal/";

/// What the bytes of an item were held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldAgainst {
    /// The digests in the signed manifest.
    Manifest,
    /// These, and size and CRC32C in PostgreSQL's own manifest.
    BackupManifest,
}

/// What was written of an item: all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    pub bytes: u64,
    pub held_against: HeldAgainst,
}

/// How an item is opened, and where it goes.
pub struct Extraction<'a> {
    /// What opens it; needed for everything but members as they are stored.
    pub identities: Option<&'a Identities>,
    pub output: &'a mut dyn Write,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

impl Reader {
    /// The item that the words ask for, if the bundle can hold such a thing.
    ///
    /// # Errors
    /// `NoItem`.
    pub fn item(&self, text: &str) -> Result<BundleItem, BundleError> {
        BundleItem::parse(text, self.chart()).ok_or_else(|| self.fault(BundleFault::NoItem(text.to_owned())))
    }

    /// Writes `item` to the output. What fails may have written a part of it: of a tar, the chunks before the one that is
    /// wrong; of a file of the database, up to all of its bytes, since they are held against PostgreSQL's manifest last.
    ///
    /// # Errors
    /// `NoItem`, `Damaged`, `Database`, `Sealed`, `Output`, `Cancelled`, `Store`.
    pub fn extract(&self, item: &BundleItem, mut to: Extraction<'_>) -> Result<Extracted, BundleError> {
        let mut written = || {
            let extracted = match item {
                BundleItem::Stored(member) => self.write_stored(member, &mut to),
                BundleItem::Opened(member) => self.write_opened(member, &mut to),
                BundleItem::Tar(stream) => {
                    self.write_tar(stream.tar(), &self.chunks(*stream).collect::<Vec<_>>(), &mut to)
                }
                BundleItem::Volume(volume) => self.write_volume(volume, &mut to),
                BundleItem::DatabaseFile(path) => self.write_database_file(path, &mut to),
            }?;
            to.output.flush().map_err(BundleFault::Output)?;
            Ok(extracted)
        };
        written().map_err(|fault| self.fault(fault))
    }

    /// What can be taken out, but for single chunks and files of the database.
    pub fn items(&self) -> Vec<ListedItem> {
        let mut places: Vec<_> = self.places.iter().filter(|place| !is_chunk(&place.member)).collect();
        places.push(&self.tail.manifest);
        places.extend(&self.tail.signature);
        let tars = [(Stream::Base, &self.manifest.base), (Stream::Wal, &self.manifest.wal)];
        let members = places.into_iter().map(|place| ListedItem::member(&place.member, place.bytes));
        let volumes = self.volumes().iter().map(|volume| ListedItem::volume(&volume.volume, volume.raw_bytes));
        members.chain(tars.map(|(stream, total)| ListedItem::tar(stream, total.raw.bytes))).chain(volumes).collect()
    }

    /// The files of the database whose path begins with `below`, as PostgreSQL's manifest lists them.
    ///
    /// # Errors
    /// `NoItem` when there is none, `Damaged`, `Database`, `Sealed`, `Store`.
    pub fn database_files(&self, below: &str, identities: &Identities) -> Result<Vec<ListedItem>, BundleError> {
        let listed = self.backup_manifest(identities)?;
        let files = listed.files.iter().filter(|(path, _)| path.starts_with(below));
        let files: Vec<ListedItem> = files.map(|(path, file)| ListedItem::database_file(path, file.size)).collect();
        match files.is_empty() {
            true => Err(self.fault(BundleFault::NoItem(below.to_owned()))),
            false => Ok(files),
        }
    }

    /// PostgreSQL's manifest, which is of the backup that the signed one names.
    ///
    /// # Errors
    /// `Damaged`, `Database`, `Sealed`, `Store`.
    pub fn backup_manifest(&self, identities: &Identities) -> Result<BackupManifest, BundleError> {
        self.listed_files(identities).map_err(|fault| self.fault(fault))
    }

    fn listed_files(&self, identities: &Identities) -> Result<BackupManifest, BundleFault> {
        let bytes = self.open_plain(&Member::BackupManifest.to_string(), identities)?;
        let listed = BackupManifest::parse(&bytes).map_err(BaseBackupError::from)?;
        check_span(&listed, &self.manifest.database)?;
        Ok(listed)
    }

    fn write_stored(&self, member: &Member, to: &mut Extraction<'_>) -> Result<Extracted, BundleFault> {
        let tail = [Some(&self.tail.manifest), self.tail.signature.as_ref()];
        if let Some(place) = tail.into_iter().flatten().find(|place| place.member == *member) {
            return to.write_all(&places::read(&*self.stored, place)?);
        }
        let (place, entry) = self.find_item(member)?;
        to.write_all(&self.stored_member(place, &entry.sha256)?)
    }

    fn write_opened(&self, member: &Member, to: &mut Extraction<'_>) -> Result<Extracted, BundleFault> {
        self.find_item(member)?;
        let name = member.to_string();
        let identities = to.identities(&name)?;
        match member {
            Member::Chunk(of, index) => {
                let chunk = self.chunks(*of).find(|chunk| chunk.index == *index);
                let chunk = chunk.ok_or_else(|| BundleFault::NoItem(name))?;
                to.write_all(&self.chunk_frame(&chunk, identities)?)
            }
            _ => to.write_all(&self.open_plain(&name, identities)?),
        }
    }

    fn write_volume(&self, volume: &str, to: &mut Extraction<'_>) -> Result<Extracted, BundleFault> {
        let (name, chunks) = (volume::tar_name(volume), self.volume_chunks(volume));
        if chunks.is_empty() {
            return Err(BundleFault::NoItem(name));
        }
        self.write_tar(&name, &chunks, to)
    }

    fn write_tar(&self, tar: &str, chunks: &[StoredChunk], to: &mut Extraction<'_>) -> Result<Extracted, BundleFault> {
        let total = chunks.iter().map(|chunk| chunk.raw_bytes).sum();
        let identities = to.identities(tar)?;
        let mut bytes = 0;
        self.unpack_each(chunks, identities, to.cancel, |chunk, raw| {
            to.output.write_all(raw).map_err(BundleFault::Output)?;
            bytes += chunk.raw_bytes;
            to.events.bytes("extracted", bytes, Some(total));
            Ok(())
        })?;
        Ok(Extracted { bytes, held_against: HeldAgainst::Manifest })
    }

    fn write_database_file(&self, path: &str, to: &mut Extraction<'_>) -> Result<Extracted, BundleFault> {
        let identities = to.identities(path)?;
        if let Some(segment) = path.strip_prefix(WAL_FOLDER) {
            let mut log = RawStream::new(self, Stream::Wal, identities, to.cancel);
            let (offset, bytes) = log.find(segment)?.ok_or_else(|| BundleFault::NoItem(path.to_owned()))?;
            log.pass(offset, bytes, &mut |part| to.output.write_all(part).map_err(BundleFault::Output))?;
            return Ok(Extracted { bytes, held_against: HeldAgainst::Manifest });
        }
        let listed = self.listed_files(identities)?;
        let listed = *listed.files.get(path).ok_or_else(|| BundleFault::NoItem(path.to_owned()))?;
        let wrong = |what: &str| BundleFault::Database(format!("{path} {what}"));
        let mut base = RawStream::new(self, Stream::Base, identities, to.cancel);
        let found = base.find(path)?;
        let (offset, size) = found.ok_or_else(|| wrong("is listed in backup_manifest and missing from the backup"))?;
        let mut crc32c = 0;
        base.pass(offset, size, &mut |part| {
            crc32c = crc32c::crc32c_append(crc32c, part);
            to.output.write_all(part).map_err(BundleFault::Output)
        })?;
        match (ManifestFile { size, crc32c }) == listed {
            true => Ok(Extracted { bytes: size, held_against: HeldAgainst::BackupManifest }),
            false => Err(wrong("is damaged: size or checksum is not that of backup_manifest")),
        }
    }

    fn find_item(&self, member: &Member) -> Result<(&places::Place, &super::manifest::MemberEntry), BundleFault> {
        self.listed().find(|(place, _)| place.member == *member).ok_or_else(|| BundleFault::NoItem(member.to_string()))
    }
}

impl<'a> Extraction<'a> {
    fn identities(&self, member: &str) -> Result<&'a Identities, BundleFault> {
        self.identities.ok_or_else(|| BundleFault::Sealed { member: member.to_owned(), source: SealError::NoMatch })
    }

    /// Writes what was held against the signed manifest.
    fn write_all(&mut self, bytes: &[u8]) -> Result<Extracted, BundleFault> {
        self.output.write_all(bytes).map_err(BundleFault::Output)?;
        Ok(Extracted { bytes: bytes.len() as u64, held_against: HeldAgainst::Manifest })
    }
}
