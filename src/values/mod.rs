//! values.yaml, read exactly as Helm reads it.
//!
//! The bytes are the record: nothing here writes YAML. [`tree`] reads, [`redact`] knows what is secret and masks it
//! wherever it might show, [`diff`] compares, [`lint`] finds the traps, [`overlay`] merges layers,
//! [`upgrade`] carries edits into a new release's file.

mod build;
pub mod diff;
mod documents;
pub mod excerpt;
mod forms;
mod inner;
mod known;
pub mod lint;
pub mod locate;
mod map;
mod name;
pub mod overlay;
pub mod path;
mod pattern;
mod quirks;
pub mod redact;
mod redact_json;
mod resolve;
pub mod secret;
pub mod tree;
pub mod upgrade;

pub use known::Secrets;
pub use path::{Path, Segment};
pub use redact::{FingerprintKey, Scrubber};
pub use resolve::Value;
pub use tree::{Tree, YamlError};
