//! values.yaml, read exactly as Helm reads it.
//!
//! The bytes are the record: nothing here writes YAML. [`tree`] reads, [`redact`] knows what is secret and masks it
//! wherever it might show, [`diff`] compares, [`lint`] finds the traps, [`overlay`] merges layers.

mod build;
pub mod diff;
pub mod excerpt;
mod forms;
mod inner;
mod known;
pub mod lint;
pub mod locate;
pub mod overlay;
pub mod path;
pub mod redact;
mod redact_json;
mod resolve;
pub mod secret;
pub mod tree;

pub use known::Secrets;
pub use path::{Path, Segment};
pub use redact::{FingerprintKey, Scrubber};
pub use resolve::Value;
pub use tree::{Tree, YamlError};
