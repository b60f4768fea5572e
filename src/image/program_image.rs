//! The image of a program, in the bytes of the OCI image format.

use std::io;
use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::error::ImageError;
use crate::program::{Architecture, StaticProgram};
use crate::ustar;

/// Where the program is in the image.
const PROGRAM: &str = "dr";
/// Nobody of any system, as a number: a cluster that wants no root has to see that it is none.
const USER: &str = "65532:65532";

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image of one layer with one file. It has no date and no name of a host: the same program is the same image.
#[derive(Debug)]
pub struct ProgramImage {
    program: StaticProgram,
    architecture: Architecture,
    /// The layer before and after the program's own bytes.
    before: Vec<u8>,
    after: Vec<u8>,
    layer_digest: String,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl ProgramImage {
    /// The image of the program in this file.
    ///
    /// # Errors
    /// It would not run in an image, or cannot be read.
    pub fn of(path: &Path) -> Result<Self, ImageError> {
        let refuse = |reason: String| ImageError::Program { path: path.display().to_string(), reason };
        let program = StaticProgram::open(path).map_err(refuse)?;
        let architecture =
            program.architecture().ok_or_else(|| refuse("it is for a machine that is not known".into()))?;
        let before = header(program.length()).map_err(ImageError::Io)?;
        let padding = usize::try_from(ustar::padding(program.length())).unwrap_or_default();
        let after = [vec![0; padding], ustar::END.to_vec()].concat();
        let mut image = Self {
            program,
            architecture,
            before,
            after,
            layer_digest: String::new(),
            config: Vec::new(),
            manifest: Vec::new(),
        };
        let mut digest = Sha256::new();
        for piece in image.layer() {
            digest.update(piece.map_err(ImageError::Io)?);
        }
        image.layer_digest = format!("sha256:{}", hex::encode(digest.finalize()));
        image.config = json!({
            "architecture": architecture.word(),
            "os": "linux",
            "config": {
                "User": USER,
                "Entrypoint": [format!("/{PROGRAM}")],
                "WorkingDir": "/",
                "Labels": {"org.opencontainers.image.title": "dr", "org.opencontainers.image.version": env!("CARGO_PKG_VERSION")},
            },
            "rootfs": {"type": "layers", "diff_ids": [image.layer_digest]},
            "history": [{"created_by": "dr image"}],
        })
        .to_string()
        .into_bytes();
        image.manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": image.config_digest(), "size": image.config.len()},
            "layers": [{"mediaType": LAYER, "digest": image.layer_digest, "size": image.layer_length()}],
        })
        .to_string()
        .into_bytes();
        Ok(image)
    }

    /// What it is known by: the digest of its manifest.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// SHA-256 of the program in it, as hex.
    pub fn program_digest(&self) -> &str {
        self.program.digest()
    }

    /// The layer's bytes.
    pub(super) fn layer(&self) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send + use<> {
        let edge = |bytes: &[u8]| std::iter::once(Ok(bytes.to_vec()));
        edge(&self.before).chain(self.program.pieces()).chain(edge(&self.after))
    }

    pub(super) fn layer_length(&self) -> u64 {
        (self.before.len() + self.after.len()) as u64 + self.program.length()
    }

    pub(super) fn layer_digest(&self) -> &str {
        &self.layer_digest
    }

    pub(super) fn config(&self) -> &[u8] {
        &self.config
    }

    pub(super) fn config_digest(&self) -> String {
        digest(&self.config)
    }

    pub(super) fn manifest(&self) -> &[u8] {
        &self.manifest
    }
}

/// `sha256:...`
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A file of root's that everybody may run.
fn header(bytes: u64) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::from_byte_slice(&ustar::file_header(PROGRAM, bytes, 0, 0)?).clone();
    header.set_mode(0o755);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_is_the_same_image_and_its_layer_holds_it_whole() {
        let own = std::env::current_exe().unwrap();
        let (image, again) = (ProgramImage::of(&own).unwrap(), ProgramImage::of(&own).unwrap());
        assert_eq!(image.digest(), again.digest());
        let layer: Vec<u8> = image.layer().flat_map(|piece| piece.unwrap()).collect();
        assert_eq!((layer.len() as u64, digest(&layer)), (image.layer_length(), image.layer_digest().to_owned()));
        let mut archive = tar::Archive::new(layer.as_slice());
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("dr"));
        assert_eq!(entry.header().mode().unwrap(), 0o755);
        let mut held = Sha256::new();
        std::io::copy(&mut entry, &mut held).unwrap();
        assert_eq!(hex::encode(held.finalize()), image.program_digest());
        assert!(entries.next().is_none());
        let config: serde_json::Value = serde_json::from_slice(image.config()).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], image.layer_digest());
    }

    #[test]
    fn a_program_that_needs_a_system_is_no_image() {
        let error = ProgramImage::of(Path::new("/bin/sh")).unwrap_err().to_string();
        assert!(error.starts_with("/bin/sh cannot be an image: it is not static"), "{error}");
    }
}
