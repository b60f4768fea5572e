//! YAML exactly as Helm reads it: the tree of a values file, with where and how each value was written.
//!
//! The bytes are the record: nothing here writes YAML. Kubernetes' own objects need none of this exactness; they are read
//! and written by `serde_yaml`.

mod aliases;
mod anchors;
mod build;
mod cursor;
mod documents;
mod faults;
mod lexemes;
mod map;
mod overlay;
mod parser;
mod path;
mod quotes;
mod resolve;
mod scanner;
mod token;
mod tree;

pub use anchors::{AliasPlace, alias_places};
pub use documents::odd_line_end;
pub use path::{Path, Segment};
pub use resolve::{Value, go_text};
pub use tree::{Entry, Node, NodeKind, OverriddenEntry, Scalar, Span, Style, Trap, Tree, YamlError};
