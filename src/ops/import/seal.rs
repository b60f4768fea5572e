//! The tars of a backup into the chunks of a bundle: checked, compressed and sealed as they are read.

use std::io::Read;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backup::BackupFiles;
use super::base::BaseTar;
use super::place;
use super::wal::WalTrim;
use crate::agent::protocol::{BackupPart, Failure, FailureKind};
use crate::agent::{ChunkCutter, ChunkSealer, Cut, Outgoing, ZstdLevel};
use crate::bundle::{Stream, Writer};
use crate::crypt::{Hashed, Recipients};
use crate::error::{CommandError, Exit, Result};
use crate::ops::ctx::interrupted;
use crate::parallel;
use crate::postgres::basebackup::{BaseBackup, BaseBackupError, WalEnd};
use crate::postgres::wal::WalOrigin;
use crate::postgres::{BackupManifest, Lsn};
use crate::ustar::{TarReader, TarSink};

/// Who the files that are added belong to: `postgres` in the operator's images.
const POSTGRES: u64 = 26;
/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// What a backup is sealed with.
pub struct Sealing<'a> {
    pub files: &'a BackupFiles<'a>,
    pub manifest: &'a BackupManifest,
    pub manifest_bytes: &'a [u8],
    pub origin: WalOrigin,
    /// Of the files that are written anew: seconds since 1970.
    pub mtime: u64,
    pub recipients: Recipients,
    pub chunk_bytes: usize,
    /// zstd's level; `None` for as much as there is time for.
    pub level: Option<i32>,
    pub cancel: &'a CancellationToken,
}

/// A backup that is in a bundle's draft, every file of it as PostgreSQL's manifest says.
pub struct SealedBackup {
    pub base: BaseBackup,
    /// The length of the tar of the data directory.
    pub base_bytes: u64,
    /// The length of the tar of the log, and where that ends.
    pub wal_bytes: u64,
    pub until: Lsn,
}

impl Sealing<'_> {
    /// Puts all of it into `draft`.
    ///
    /// # Errors
    /// [`Exit::Damaged`] naming the first thing that is not as it must be, the draft's, or [`Exit::Interrupted`].
    pub fn seal_into(&self, draft: &mut Writer) -> Result<SealedBackup> {
        let threads = parallel::threads();
        let level = self.level.map_or_else(|| ZstdLevel::auto(threads), ZstdLevel::fixed);
        let sealer = ChunkSealer::new(self.recipients.clone(), level);
        let (queue, mut cuts) = mpsc::channel(1);
        let cutter = |part| ChunkCutter::new(part, self.chunk_bytes, queue.clone(), sealer.memory());
        let (base, wal) = (cutter(BackupPart::Base), cutter(BackupPart::Wal));
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || self.read(base, wal, queue));
            // With these the last that takes chunks ends, and the reader with its next one.
            let jobs = std::iter::from_fn(move || cuts.blocking_recv());
            let seal = |cut| sealer.seal(cut);
            parallel::in_order(jobs, threads, seal, |sealed| {
                sealed.into_iter().try_for_each(|sealed| add(draft, sealed.map_err(of_backup)?))
            })?;
            reading
                .join()
                .unwrap_or_else(|_| Err(CommandError::new(Exit::Failure, "the reading of the backup broke off")))
        })
    }

    fn read(&self, base: ChunkCutter, wal: ChunkCutter, queue: mpsc::Sender<Cut>) -> Result<SealedBackup> {
        let mut tar = BaseTar::new(base);
        self.pass("the base backup", &self.files.base, &mut tar)?;
        let (base, base_bytes) = tar.finish(self.manifest_bytes, self.mtime, POSTGRES).map_err(of_backup)?;
        base.check_database(self.origin.system_identifier).map_err(of_base)?;

        let mut trim = WalTrim::new(self.manifest, self.origin, (self.mtime, POSTGRES), wal).map_err(of_base)?;
        self.pass("the log", &self.files.wal, &mut trim)?;
        let wal = trim.finish().map_err(of_backup)?;
        wal.check.finish(self.manifest, WalEnd::At(wal.until)).map_err(of_base)?;

        let given_up = |_| of_backup(Failure::given_up("the backup"));
        queue.blocking_send(Cut::manifest(self.manifest_bytes)).map_err(given_up)?;
        Ok(SealedBackup { base, base_bytes, wal_bytes: wal.bytes, until: wal.until })
    }

    /// Reads a tar to its end.
    fn pass(&self, name: &'static str, file: &str, sink: &mut impl TarSink<Error = Failure>) -> Result<()> {
        let (mut tar, mut reader, mut piece) = (self.files.open(file)?, TarReader::new(name), vec![0; PIECE]);
        let path = self.files.path(file);
        loop {
            if self.cancel.is_cancelled() {
                return Err(interrupted());
            }
            let count = tar.read(&mut piece).map_err(place::unreadable(&path))?;
            if count == 0 {
                return reader.finish().map_err(|error| of_backup(error.into()));
            }
            reader.push(&piece[..count], sink).map_err(of_backup)?;
        }
    }
}

fn add(draft: &mut Writer, sealed: Outgoing) -> Result<()> {
    let Outgoing::Chunk { head, stored } = sealed else { return Ok(()) };
    let stored = Hashed::of(stored);
    let stream = match head.part {
        BackupPart::Base => Stream::Base,
        BackupPart::Wal => Stream::Wal,
        BackupPart::Volume => return Err(CommandError::new(Exit::Failure, "a backup has no part of that kind")),
        BackupPart::Manifest => return Ok(draft.add_sealed("db/backup_manifest.age", &stored)?),
    };
    Ok(draft.add_chunk(stream, head.index, &stored, head.raw_bytes, &head.raw_sha256.0)?)
}

fn of_base(error: BaseBackupError) -> CommandError {
    of_backup(error.into())
}

/// The error of a backup that is not whole, or cannot be read.
fn of_backup(failure: Failure) -> CommandError {
    let (exit, hint) = match failure.kind {
        FailureKind::System => (Exit::Failure, "Nothing was kept of it: try again."),
        FailureKind::Tablespaces => (Exit::Damaged, "A bundle holds a database of one volume."),
        FailureKind::Standby => (Exit::Damaged, "A backup of a standby cannot be restored: take one of the primary."),
        _ => (
            Exit::Damaged,
            "Take another copy of it, from where it was first put; without one it cannot be restored by hand either.",
        ),
    };
    CommandError::new(exit, failure.message).hint(hint)
}
