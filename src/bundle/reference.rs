//! Which bundle is meant, wherever it lies: for plans and journals, which outlive the process.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Names one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BundleReference {
    /// A bundle of a store.
    Stored {
        /// The store, as [`open_at`](crate::store::open_at) takes it.
        store: String,
        id: String,
    },
    File {
        /// Where it is, absolute.
        path: PathBuf,
    },
}

impl fmt::Display for BundleReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { store, id } => write!(f, "bundle {id} of store {store}"),
            Self::File { path } => write!(f, "bundle file {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_in_a_journal_is_read_back() {
        let stored = BundleReference::Stored { store: "/var/lib/dr/bundles".into(), id: "b-1".into() };
        let file = BundleReference::File { path: "/mnt/usb/b.tar".into() };
        for reference in [stored, file] {
            let text = serde_json::to_string(&reference).unwrap();
            assert_eq!(serde_json::from_str::<BundleReference>(&text).unwrap(), reference);
        }
    }
}
