//! The bundle: one restorable file of database and exact config.
//!
//! It is a plain tar whose order, names and headers are fixed to the byte (`layout`, `tarball`), so that `tar`, `age`
//! and `zstd` open it without `dr`, and so that nothing can hide in it. What identifies it comes first, what proves it
//! last. `docs/reference/bundle-format.md` is the description for people; `format` holds the version and its changelog.
//!
//! ```text
//! Writer: header + README -> config, chart -> chunks of base and WAL -> backup_manifest -> manifest + signature
//!         -> UnpublishedBundle -> verify (every stored byte, read anew) -> VerifiedBundle -> publish
//! Reader: by the record of a store: end of the file -> signature -> manifest -> where each member must be
//!         a file without one: walk the tar headers -> layout -> signature -> manifest fits the members
//!         -> verify_stored (every stored byte) -> verify_plain (every plaintext, every database file)
//!         or verify_sample (some of the chunks)
//! ```

pub mod catalog;
mod copy;
mod database_file;
pub mod error;
mod extract;
pub mod format;
pub mod header;
pub mod id;
mod item;
mod json;
pub mod layout;
pub mod lease;
pub mod manifest;
pub mod marks;
mod places;
pub mod plain;
pub mod proof;
pub mod published;
pub mod reader;
mod readme;
pub mod reference;
pub mod report;
pub mod retention;
mod sample;
pub mod standing;
pub mod stored;
mod tarball;
#[cfg(test)]
pub(crate) mod testing;
mod unpack;
pub mod volume;
mod volume_check;
pub mod writer;

pub use catalog::{Catalog, CatalogEntry};
pub use error::{BundleError, BundleFault};
pub use extract::{Extracted, Extraction, HeldAgainst};
#[cfg(test)]
pub use format::FormatVersion;
pub use format::{FORMAT, FORMAT_WITHOUT_VOLUMES, HOST_NAMESPACES, PROOF_NAMESPACE, SIGNATURE_NAMESPACE};
pub use header::{Estimated, Header, OpsChain, OutOfScope, PostgreSql, QuiesceMode, SourceInstall};
pub use id::BundleId;
pub use item::{BundleItem, ListedItem};
pub use layout::Stream;
pub use manifest::{BackupIdentity, RawTotal};
pub use marks::{BundleMark, MarkKind};
pub use proof::{Depth, Proof, proved_by};
pub use published::PublishedRecord;
pub use reader::{Reader, SignatureState, StoredChunk, Trust};
pub use reference::BundleReference;
pub use sample::SampleShare;
pub use standing::{BundleStanding, ListedManifests};
pub use stored::StoredProof;
pub use volume::BundledVolume;
pub use writer::{BackupFacts, UnpublishedBundle, VerifiedBundle, Writer};
