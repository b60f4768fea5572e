//! The tar of the data directory, with PostgreSQL's manifest at its end as a bundle has it: `pg_basebackup` puts that into a
//! file beside the tar when it writes to a folder.

use crate::agent::ChunkCutter;
use crate::agent::protocol::Failure;
use crate::postgres::basebackup::{BaseBackup, BaseCheck};
use crate::postgres::manifest;
use crate::ustar::{self, BLOCK, TarEntry, TarSink};

const ZEROS: [u8; 8192] = [0; 8192];

/// Passes a tar on into chunks while it is checked. Zeros between files are held back until something follows them: after
/// the last one they are the end mark, before which the manifest goes.
pub struct BaseTar {
    cutter: ChunkCutter,
    check: BaseCheck,
    written: u64,
    held: u64,
    /// The manifest is in the tar already.
    has_manifest: bool,
    /// Why nothing more can be passed on.
    failed: Option<Failure>,
}

impl BaseTar {
    pub fn new(cutter: ChunkCutter) -> Self {
        Self { cutter, check: BaseCheck::default(), written: 0, held: 0, has_manifest: false, failed: None }
    }

    /// Adds the manifest, dated `mtime`, and ends the tar. Returns the backup and the length of the tar.
    ///
    /// # Errors
    /// A file is not as the manifest says, or nobody takes the chunks any more.
    pub fn finish(mut self, manifest: &[u8], mtime: u64, owner: u64) -> Result<(BaseBackup, u64), Failure> {
        self.go_on()?;
        let base = self.check.finish(Some(manifest))?;
        let mut add = |bytes: &[u8]| self.cutter.write(bytes);
        add(&ustar::END[..(BLOCK - self.written % BLOCK) as usize % BLOCK as usize])?;
        if !self.has_manifest {
            let bytes = manifest.len() as u64;
            let header = ustar::file_header(manifest::NAME, bytes, mtime, owner);
            add(&header.map_err(Failure::io("write backup_manifest into a tar"))?)?;
            add(manifest)?;
            add(&ustar::END[..ustar::padding(bytes) as usize])?;
        }
        add(&ustar::END)?;
        Ok((base, self.cutter.finish()?))
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        while self.held > 0 {
            let zeros = self.held.min(ZEROS.len() as u64);
            self.cutter.write(&ZEROS[..zeros as usize])?;
            self.held -= zeros;
            self.written += zeros;
        }
        self.cutter.write(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl TarSink for BaseTar {
    type Error = Failure;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), Failure> {
        self.go_on()?;
        self.has_manifest |= entry.path == manifest::NAME;
        Ok(self.check.begin(entry)?)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.go_on()?;
        self.pass(bytes)?;
        Ok(self.check.data(bytes)?)
    }

    fn around(&mut self, bytes: &[u8]) {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if end > 0 && self.failed.is_none() {
            self.failed = self.pass(&bytes[..end]).err();
        }
        self.held += (bytes.len() - end) as u64;
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(self.check.end()?)
    }
}
