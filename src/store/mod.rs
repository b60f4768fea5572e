//! Where bundles live: what a store promises, and the stores that keep the promise.
//!
//! A store knows objects, not bundles: names and bytes. What the bytes mean is `bundle`'s business.
//!
//! ```text
//! begin -> Draft: append, durable -> complete -> Pending: open (read back), publish(record) -> listed
//!            |                                      |
//!            +--- token, in the journal ------------+--- a later process: resume or abort
//! ```

mod bucket;
mod conditions;
mod directory;
mod draft;
mod error;
mod notice;
mod open;
mod promise;
mod stored;
mod traced;

pub use bucket::{BucketOptions, BucketStore, Checksum, Refusal, RefusalKind, USUAL_WAIT, is_bucket, of_environment};
pub use conditions::{BucketProtection, StoreConditions};
pub use directory::DirectoryStore;
pub use draft::{Draft, DraftToken, Pending, ResumedDraft};
#[cfg(test)]
pub use error::Cause;
pub use error::StoreError;
pub use notice::Notice;
pub use open::{StoreAccess, open_at, open_file};
pub use promise::{PublishedObject, Store};
pub use stored::Stored;
