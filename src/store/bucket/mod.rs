//! The store that is a bucket of an object store: S3 and what speaks like it.
//!
//! ```text
//! <prefix>/v1/<name>/<name>.<draft>.tar   the bytes; every draft has a key of its own, so that no writer changes another's
//! <prefix>/v1/<name>/published.json       the record, and which bytes it publishes; made last, and only where there is none
//! <prefix>/v1/<name>/<note>               a note
//! ```
//!
//! The bytes go up as parts of one multipart upload, a few at a time, each signed with its own SHA-256, which the server
//! checks. A draft's token has the upload's id and its parts, so that another process can go on. Nothing is renamed, copied
//! or rewritten.

mod address;
mod client;
mod connect;
mod credentials;
mod draft;
mod io;
mod kept;
mod object;
mod paced;
mod probe;
mod rate;
mod record_file;
mod refusal;
mod service;
mod store;
mod uploads;

pub use address::is_bucket;
pub use connect::{BucketOptions, Checksum, USUAL_WAIT, of_environment};
pub use refusal::{Refusal, RefusalKind};
pub use store::BucketStore;
