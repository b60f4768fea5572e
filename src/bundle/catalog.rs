//! What bundles a store holds, as their clear headers say it.

use serde::Serialize;

use crate::store::Store;

use super::error::{BundleError, Fault};
use super::header::Header;
use super::id::BundleId;
use super::proof::Proof;
use super::reader::{Reader, Trust};

/// One bundle of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name that the store knows it by.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its header, which is not proved, or why it has none that can be read.
    pub header: Result<Header, String>,
    /// The last good verification.
    pub proof: Option<Proof>,
}

/// All bundles of a store, newest first; those that cannot be read stand among the rest with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Where they are.
    pub store: String,
    /// They.
    pub entries: Vec<Entry>,
}

impl Catalog {
    /// Reads the header of every bundle in `store`: a few KiB each.
    ///
    /// # Errors
    /// `Store` when the store cannot be listed. A bad bundle is an entry, not an error.
    pub fn read(store: &dyn Store) -> Result<Self, BundleError> {
        let names = store.list().map_err(|error| Fault::from(error).of("list"))?;
        let mut entries: Vec<Entry> = names.iter().map(|name| read_entry(store, name)).collect();
        // The name of a bundle that cannot be read may still tell when it was made.
        let created = |entry: &Entry| match &entry.header {
            Ok(header) => Some(header.created),
            Err(_) => entry.name.parse::<BundleId>().ok().and_then(|id| id.created()),
        };
        entries.sort_by(|a, b| created(b).cmp(&created(a)).then_with(|| b.name.cmp(&a.name)));
        Ok(Self { store: store.place(), entries })
    }

    /// The entry whose name is `text` or is the only one that begins with it.
    ///
    /// # Errors
    /// `NoBundle` with what is there instead, `Ambiguous` with the names.
    pub fn find(&self, text: &str) -> Result<&Entry, FindError> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.name == text) {
            return Ok(entry);
        }
        let close: Vec<&Entry> = self.entries.iter().filter(|entry| entry.name.starts_with(text)).collect();
        match close.as_slice() {
            [one] => Ok(one),
            [] => Err(FindError::NoBundle {
                text: text.to_owned(),
                store: self.store.clone(),
                newest: self.entries.first().map(|entry| entry.name.clone()),
            }),
            several => Err(FindError::Ambiguous {
                text: text.to_owned(),
                names: several.iter().map(|entry| entry.name.clone()).collect(),
            }),
        }
    }

    /// The newest bundle that OpsChain `version` has made and that opens under `trust`: signature, manifest and
    /// layout are good, the members' bytes are not read. Those that were passed over come with the reason.
    pub fn newest_good(&self, store: &dyn Store, trust: &Trust, version: &str) -> (Option<Reader>, Vec<Passed>) {
        let mut passed = Vec::new();
        for entry in &self.entries {
            let reason = match &entry.header {
                Ok(header) if header.opschain.version != version => continue,
                Ok(_) => match Reader::open_in(store, &entry.name, trust) {
                    Ok(reader) => return (Some(reader), passed),
                    Err(error) => error.fault.in_words(),
                },
                Err(reason) => reason.clone(),
            };
            passed.push(Passed { name: entry.name.clone(), reason });
        }
        (None, passed)
    }

    /// The OpsChain versions that have made bundles here, newest bundle first, each once.
    pub fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<&str> = Vec::new();
        for version in
            self.entries.iter().filter_map(|entry| entry.header.as_ref().ok()).map(|h| h.opschain.version.as_str())
        {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions
    }
}

/// A bundle that was passed over in the search for a good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// The words of the operator name no bundle, or several.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// None.
    #[error("there is no bundle `{text}` in store {store}")]
    NoBundle {
        /// What was asked for.
        text: String,
        /// Where.
        store: String,
        /// The newest one that is there.
        newest: Option<String>,
    },
    /// Several.
    #[error("`{text}` is the beginning of {} bundles: {}", names.len(), names.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The names that begin so.
        names: Vec<String>,
    },
}

fn read_entry(store: &dyn Store, name: &str) -> Entry {
    let (bytes, header) = match store.open(name) {
        Err(error) => (0, Err(Fault::from(error).in_words())),
        Ok(stored) => {
            let header = match Reader::peek(&*stored) {
                Ok(found) if found.id.as_str() == name => Ok(found),
                Ok(found) => Err(format!("it was renamed: it is bundle {}", found.id)),
                Err(error) => Err(error.fault.in_words()),
            };
            (stored.len(), header)
        }
    };
    Entry { name: name.to_owned(), bytes, header, proof: Proof::read(store, name) }
}
