//! `published.json`: the small file beside a bundle in a store that makes it one of the store's bundles, made last.
//!
//! It lets a list say what there is without opening anything, and a reader begin with the manifest. It is not signed and
//! nothing is believed for its sake: what it says of the bundle is held against the bundle's own signed manifest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::BundleFault;
use super::header::Header;
use super::json;

const NAME: &str = "published.json";
/// Raised when an older reader would misunderstand it.
const RECORD_FORMAT: u32 = 1;

/// What is known of a bundle without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRecord {
    /// The bundle's clear header.
    pub header: Header,
    /// The bundle's length.
    pub bytes: u64,
    /// Where the tar header of its manifest begins.
    pub manifest_at: u64,
    /// SHA-256 of its manifest: which bundle this is, to the byte.
    pub manifest_sha256: String,
    pub published_at: Timestamp,
}

/// Its JSON. The header is read by its own rules, which tell a newer one from a broken one.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    published_at: Timestamp,
    bytes: u64,
    manifest_at: u64,
    manifest_sha256: String,
    bundle: serde_json::Value,
}

impl PublishedRecord {
    /// The bytes of the record.
    ///
    /// # Errors
    /// `Json`, which no record that the type can hold gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleFault> {
        let bundle = json::parse(&self.header.to_bytes()?, NAME)?;
        let written = Written {
            format: RECORD_FORMAT,
            published_at: self.published_at,
            bytes: self.bytes,
            manifest_at: self.manifest_at,
            manifest_sha256: self.manifest_sha256.clone(),
            bundle,
        };
        json::to_lines(&written, NAME)
    }

    /// Reads the record of the bundle `name`.
    ///
    /// # Errors
    /// `Json`, `TooNew`, or `Damaged` when it is the record of another bundle.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, BundleFault> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let probe: Probe = json::parse(bytes, NAME)?;
        if probe.format != RECORD_FORMAT {
            return Err(BundleFault::damaged(NAME, format!("its format {} is not known to this dr", probe.format)));
        }
        let written: Written = json::parse(bytes, NAME)?;
        let header = serde_json::to_vec(&written.bundle)
            .map_err(|source| BundleFault::Json { member: NAME.to_owned(), source })
            .and_then(|bytes| Header::parse(&bytes))?;
        if header.id.as_str() != name {
            return Err(BundleFault::damaged(NAME, format!("it is the record of bundle {}", header.id)));
        }
        let Written { published_at, bytes, manifest_at, manifest_sha256, .. } = written;
        Ok(Self { header, bytes, manifest_at, manifest_sha256, published_at })
    }

    /// What says that the record and the bundle do not fit.
    pub(super) fn misfit(reason: impl Into<String>) -> BundleFault {
        BundleFault::damaged(NAME, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::testing;

    fn record() -> PublishedRecord {
        PublishedRecord {
            header: testing::header(),
            bytes: 9000,
            manifest_at: 6144,
            manifest_sha256: "0".repeat(64),
            published_at: "2026-11-23T07:56:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_record_is_read_back_by_the_name_that_it_is_for() {
        let record = record();
        let bytes = record.to_bytes().unwrap();
        assert_eq!(PublishedRecord::parse(&bytes, record.header.id.as_str()).unwrap(), record);
        let error = PublishedRecord::parse(&bytes, "opschain-20261123T075443Z-ffffff").unwrap_err();
        assert!(error.to_string().contains("it is the record of bundle opschain-20261123T075443Z-0a1b2c"), "{error}");
    }

    #[test]
    fn a_newer_record_and_a_newer_bundle_are_called_newer() {
        let record = record();
        let name = record.header.id.to_string();
        let changed = |from: &str, to: &str| {
            let text = String::from_utf8(record.to_bytes().unwrap()).unwrap();
            assert!(text.contains(from), "{text}");
            PublishedRecord::parse(text.replacen(from, to, 1).as_bytes(), &name).unwrap_err()
        };
        assert!(changed("\"format\": 1", "\"format\": 2").to_string().contains("format 2"));
        assert!(matches!(changed("\"major\":1", "\"major\":2"), BundleFault::TooNew { .. }));
    }
}
