//! `dr image`: the image of this very program, to a file or to a registry.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::Ctx;
use crate::cluster::transport::install::own_binary;
use crate::error::{CommandError, Exit, Result};
use crate::image::{self, ImageReference, ProgramImage, RegistryClient, RegistryOptions};
use crate::write::NewFile;

/// Everybody may read it: there is nothing secret in it.
const MODE: u32 = 0o644;

/// An image that was written to a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SaveImageReport {
    pub image: String,
    pub digest: String,
    pub architecture: &'static str,
    /// SHA-256 of the program in it.
    pub program_sha256: String,
    pub file: String,
    pub bytes: u64,
}

/// An image that a registry has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PushImageReport {
    pub image: String,
    pub digest: String,
    pub architecture: &'static str,
    /// SHA-256 of the program in it.
    pub program_sha256: String,
    /// What was sent of it; the rest was there.
    pub sent_bytes: u64,
}

/// Makes the image of this program.
///
/// # Errors
/// It would not run in an image.
pub fn own() -> Result<ProgramImage> {
    Ok(ProgramImage::of(&own_binary()?)?)
}

/// Writes the image to a file that is not there yet.
///
/// # Errors
/// This program would not run in an image, or the file cannot be written; then nothing is.
pub fn save(name: &ImageReference, file: &Path) -> Result<SaveImageReport> {
    let failed = |error: std::io::Error| {
        CommandError::new(Exit::Failure, format!("write the image to {}", file.display())).unwritten(file, error)
    };
    let image = own()?;
    let mut new = NewFile::create(file, MODE).map_err(failed)?;
    let mut counted = Counted { to: &mut new, bytes: 0 };
    image::write_archive(&image, name, &mut counted).map_err(failed)?;
    let bytes = counted.bytes;
    new.finish().map_err(failed)?;
    Ok(SaveImageReport {
        image: name.to_string(),
        digest: image.digest(),
        architecture: image.architecture().word(),
        program_sha256: image.program_digest().to_owned(),
        file: file.display().to_string(),
        bytes,
    })
}

/// Writes the image to where it is read at once.
///
/// # Errors
/// This program would not run in an image, or nobody reads it.
pub fn write(name: &ImageReference, to: &mut impl Write) -> Result<()> {
    image::write_archive(&own()?, name, to)
        .map_err(|error| CommandError::new(Exit::Failure, "write the image to stdout").because(error))
}

/// Pushes the image to its registry.
///
/// # Errors
/// This program would not run in an image, or the registry has not got it.
pub async fn push(ctx: &Ctx, name: &ImageReference, options: &RegistryOptions) -> Result<PushImageReport> {
    let image = own()?;
    let pushed = RegistryClient::new(name, options, ctx.secrets()).await?.push(&image).await?;
    Ok(PushImageReport {
        image: name.to_string(),
        digest: pushed.digest,
        architecture: image.architecture().word(),
        program_sha256: image.program_digest().to_owned(),
        sent_bytes: pushed.sent,
    })
}

/// How many bytes went through.
struct Counted<W> {
    to: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
