//! One difference, and what differs within its text.

use serde::Serialize;

use super::text::Hunk;
use crate::yaml::Path;

/// What happened at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
    /// Another value of the same type.
    Changed,
    /// Another type, such as a string that became a number.
    Retyped,
    /// The items of the list are the same, in another order.
    Reordered,
}

/// A value as it may be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownValue {
    /// `string`, `number`, `boolean`, `null`, `map` or `list`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The value, where it is a scalar or empty, and no secret (or secrets are to be shown).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// The mask, where it is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<String>,
    /// The fingerprint, where it is a secret that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whether parts of the text are masked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scrubbed: bool,
    /// The line that it stands on.
    pub line: usize,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub path: Path,
    pub what: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<ShownValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<ShownValue>,
    /// Whether it is masked.
    pub secret: bool,
    /// What differs within the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
    /// Where the same value stood before, where this is its new place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<Path>,
    /// Where the same value stands now, where this is its old place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<Path>,
}

impl Change {
    /// Whether it is one half of a renaming, which is told as one.
    pub fn is_renamed(&self) -> bool {
        self.renamed_from.is_some() || self.renamed_to.is_some()
    }
}

/// A key or an item that came with the very value that went away elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Renamed {
    /// Where it stood.
    pub from: Path,
    /// Where it stands.
    pub to: Path,
    /// How many values stand below it, itself counted where it is one.
    pub values: usize,
}

/// What differs within a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Inside {
    Lines {
        /// Stretches of them, with context.
        hunks: Vec<Hunk>,
    },
    /// Fields of certificates.
    Certificates {
        /// Those that differ.
        fields: Vec<CertificateField>,
    },
    /// Values of a document that the text is.
    Document {
        /// `json` or `yaml`.
        format: &'static str,
        /// Those that differ; paths begin in the document.
        changes: Vec<Change>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        renamed: Vec<Renamed>,
    },
}

/// A field of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateField {
    /// The certificate's subject; empty for what else the text holds.
    pub of: String,
    /// The field's name.
    pub name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}
