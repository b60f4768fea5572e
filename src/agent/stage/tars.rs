//! The two tars of a stage: checked while they are written.

use std::path::Path;

use super::files::StageFiles;
use super::outline::Outline;
use crate::agent::protocol::{BackupPart, Failure, FailureKind, StageReport, StageRequest};
use crate::agent::sync::FolderSize;
use crate::postgres::basebackup::{BaseCheck, WalCheck};
use crate::ustar::{Both, TarReader, TarSink};

/// One of the two tars on its way onto the volume.
struct Tar<C> {
    reader: TarReader,
    check: C,
    files: StageFiles,
}

impl<C: TarSink> Tar<C>
where
    Failure: From<C::Error>,
{
    fn push(&mut self, raw: &[u8], keep: bool) -> Result<Outline, Failure> {
        self.files.keep(keep);
        self.reader.push(raw, &mut Both(&mut self.check, &mut self.files))?;
        Ok(self.files.take_outline())
    }
}

/// Both tars.
pub struct Tars {
    base: Tar<BaseCheck>,
    wal: Tar<WalCheck>,
}

impl Tars {
    /// Nothing has come of either.
    pub fn new(stage: &Path, request: &StageRequest) -> Self {
        let StageRequest { system_identifier, wal_segment_bytes, .. } = *request;
        let tar = TarReader::new;
        Self {
            base: Tar { reader: tar("base.tar"), check: BaseCheck::default(), files: StageFiles::new(stage, "") },
            wal: Tar {
                reader: tar("pg_wal.tar"),
                check: WalCheck::new(system_identifier, wal_segment_bytes),
                files: StageFiles::new(stage, "pg_wal/"),
            },
        }
    }

    /// The next bytes of a tar. Those to `keep` were read off the volume, and are only checked. Returns where they are.
    ///
    /// # Errors
    /// What is wrong with them, or the volume refuses.
    pub fn push(&mut self, part: BackupPart, raw: &[u8], keep: bool) -> Result<Outline, Failure> {
        match part {
            BackupPart::Base => self.base.push(raw, keep),
            BackupPart::Wal => self.wal.push(raw, keep),
            BackupPart::Manifest => {
                Err(Failure::new(FailureKind::Request, "a manifest by itself: the one in base.tar is used"))
            }
            BackupPart::Volume => Err(Failure::new(FailureKind::Request, "a volume's tar is no part of a database")),
        }
    }

    /// Checks the whole: both tars complete, every file as PostgreSQL's manifest says, WAL record after record to its
    /// end. Returns what must be on the volume now.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn finish(self, request: &StageRequest) -> Result<(StageReport, FolderSize), Failure> {
        let Self { base, wal } = self;
        base.reader.finish()?;
        wal.reader.finish()?;
        let (in_base, in_wal) = (base.files.size(), wal.files.size());
        let size = FolderSize { files: in_base.files + in_wal.files, bytes: in_base.bytes + in_wal.bytes };
        let base = base.check.finish(None)?;
        base.check_database(request.system_identifier)?;
        let span = wal.check.finish(&base.manifest, request.wal_end)?;
        let report = StageReport {
            files: base.manifest.files.len() as u64,
            bytes: size.bytes,
            kept_bytes: 0,
            system_identifier: base.system_identifier,
            timeline: base.manifest.timeline,
            start: base.manifest.start,
            last_segment: span.last.to_string(),
        };
        Ok((report, size))
    }
}
