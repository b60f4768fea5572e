//! What is done with a values.yaml once it is read (see [`crate::yaml`]).
//!
//! The bytes are the record: nothing here writes YAML. [`diff`] compares, [`lint`] finds the traps, [`overlay`] merges layers, [`upgrade`] carries edits into a new release's file.

pub mod diff;
pub mod excerpt;
pub mod lint;
pub mod locate;
pub mod overlay;
#[cfg(test)]
mod shown;
pub mod upgrade;

pub use crate::redact::{FingerprintKey, Scrubber, Secrets};
pub use crate::yaml::{Path, Segment, Tree, Value, YamlError};
