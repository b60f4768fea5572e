//! What bundles a store holds, as their clear headers say it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::crypt::TrustedSigners;
use crate::parallel;
use crate::store::{self, PublishedObject, Store};
use crate::text;

use super::error::{BundleError, BundleFault};
use super::header::Header;
use super::id::BundleId;
use super::marks::{BundleMark, MarkKind};
use super::proof::Proof;
use super::published::PublishedRecord;
use super::reader::{Reader, Trust};
use super::reference::BundleReference;
use super::standing::{BundleStanding, ListedManifests, is_of_a_stranger, is_revoked};

/// How many proofs are read, and bundles opened, side by side: where the store is far away, each costs a round trip.
const AT_ONCE: usize = 32;

/// One bundle of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The bundle's name; the file's, where a file cannot be read.
    pub name: String,
    /// What names it in plans and journals.
    pub reference: BundleReference,
    /// Where a person finds it.
    pub address: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its header, which is not proved, or why it has none that can be read.
    pub header: Result<Header, String>,
    /// SHA-256 of its manifest, as its record says: not proved either. None of what has no record that can be read.
    pub manifest_sha256: Option<String>,
    /// The deepest good verification that somebody trusted has signed, of those the newest; else the deepest of the others.
    pub proof: Option<Proof>,
    /// That it stays, where somebody has said so.
    pub pin: Option<BundleMark>,
    /// That a later `prune` removes it.
    pub gone: Option<BundleMark>,
    /// The names of the notes beside it.
    pub notes: Vec<String>,
    /// Whether only its record is left: its bytes are gone.
    pub is_hollow: bool,
}

/// All bundles of a store, newest first; those that cannot be read stand among the rest with the reason. Files that were
/// put into the store by hand are among them: as files, without a record and without proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    pub store: String,
    pub entries: Vec<CatalogEntry>,
}

impl Catalog {
    /// Reads the record of every bundle in `store`, its deepest proof by one of `signers`, and the header of every loose
    /// file.
    ///
    /// # Errors
    /// `Store` when the store cannot be listed. A bad bundle is an entry, not an error.
    pub fn read(store: &dyn Store, signers: &TrustedSigners) -> Result<Self, BundleError> {
        let failed = |error| BundleFault::from(error).of("list");
        let published = store.list().map_err(failed)?;
        let mut entries: Vec<CatalogEntry> = parallel::in_order(
            published.iter(),
            AT_ONCE.min(published.len()),
            |object| published_entry(store, object, signers),
            Iterator::collect,
        );
        entries.extend(store.loose_files().map_err(failed)?.iter().map(|path| loose_entry(path)));
        // A stable sort: of one name, the published one stays before the file.
        entries.sort_by(|a, b| b.created().cmp(&a.created()).then_with(|| b.name.cmp(&a.name)));
        Ok(Self { store: store.place(), entries })
    }

    /// The entry whose name is `text` or is the only one that begins with it.
    ///
    /// # Errors
    /// `NoBundle` with what is there instead, `Ambiguous` with the names.
    pub fn find(&self, text: &str) -> Result<&CatalogEntry, FindError> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.name == text) {
            return Ok(entry);
        }
        let close: Vec<&CatalogEntry> = self.entries.iter().filter(|entry| entry.name.starts_with(text)).collect();
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

    /// Of each database the newest bundle that OpsChain `version` has made and that opens under `trust`: signature,
    /// manifest and layout are good, the members' bytes are not read. Newest first; those that were passed over come with
    /// the reason, one that is not made yet by `now` among them, and one of what a restore has replaced. None is passed
    /// over for what its record says before that was held against the bundle.
    pub fn newest_good(
        &self,
        store: &dyn Store,
        trust: &Trust,
        version: &str,
        now: Timestamp,
    ) -> (Vec<GoodBundle>, Vec<PassedOver>) {
        let mut good: Vec<GoodBundle> = Vec::new();
        let mut passed: Vec<(usize, PassedOver)> = Vec::new();
        let mut claims: Claims = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let (reason, fault) = match &entry.header {
                Err(reason) => (reason.clone(), Some(PassedFault::Broken)),
                Ok(header) => match claim(header, version, now, &good) {
                    Some(claimed) => {
                        claims.push((at, claimed));
                        continue;
                    }
                    None if entry.gone.is_some() => {
                        ("it is marked as gone, and `dr bundle unprune` takes that back".to_owned(), None)
                    }
                    None => match entry.open(store, trust) {
                        Ok(reader) => {
                            passed.extend(self.held(store, trust, std::mem::take(&mut claims)));
                            good.push((entry.reference.clone(), reader));
                            continue;
                        }
                        Err(error) => (error.fault.in_words(), Some(PassedFault::of(&error.fault))),
                    },
                },
            };
            passed.push((at, entry.passed_over(reason, fault)));
        }
        // What is older than all that is good stands in nobody's place.
        if good.is_empty() {
            passed.extend(self.held(store, trust, claims));
        }
        passed.sort_by_key(|(at, _)| *at);
        (good, passed.into_iter().map(|(_, passed)| passed).collect())
    }

    /// What those entries are worth that `wanted` picks, each with its place, newest first.
    pub fn standings(
        &self,
        store: &dyn Store,
        trust: &Trust,
        listed: &ListedManifests,
        wanted: impl Fn(usize, &CatalogEntry) -> bool,
    ) -> Vec<(usize, BundleStanding)> {
        let picked: Vec<_> = self.entries.iter().enumerate().filter(|(at, entry)| wanted(*at, entry)).collect();
        let open = |(at, entry): &(usize, &CatalogEntry)| (*at, entry.standing(store, trust, listed));
        parallel::in_order(picked.iter(), AT_ONCE.min(picked.len()), open, Iterator::collect)
    }

    /// Those of `claims` that have to be named.
    fn held(&self, store: &dyn Store, trust: &Trust, claims: Claims) -> Vec<(usize, PassedOver)> {
        let claimed: BTreeMap<usize, Option<String>> = claims.into_iter().collect();
        let standings = self.standings(store, trust, &ListedManifests::new(), |at, _| claimed.contains_key(&at));
        let named = standings.into_iter().filter_map(|(at, standing)| {
            let reason = claimed.get(&at).cloned().flatten();
            let (reason, fault) = match (standing, reason) {
                (BundleStanding::Broken(reason), _) => (reason, Some(PassedFault::Broken)),
                (BundleStanding::Stranger(reason), Some(_)) => (reason, Some(PassedFault::Untrusted)),
                (BundleStanding::Ours { .. }, Some(reason)) => (reason, None),
                (BundleStanding::Stranger(_) | BundleStanding::Ours { .. }, None) => return None,
            };
            Some((at, self.entries.get(at)?.passed_over(reason, fault)))
        });
        named.collect()
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

/// The places of bundles that what their records say keeps from being the newest good one; with the reason where that has
/// to be told.
type Claims = Vec<(usize, Option<String>)>;

/// What a record says that keeps its bundle from being the newest good one of `version`, with the reason where that has to
/// be told.
fn claim(header: &Header, version: &str, now: Timestamp, good: &[GoodBundle]) -> Option<Option<String>> {
    match &header.replaced_by {
        _ if header.opschain.version != version => Some(None),
        _ if header.is_from_the_future(now) => {
            Some(Some(format!("it says that it was made at {}, which is still to come", header.created)))
        }
        Some(run) => Some(Some(format!("it is of what {run} has replaced"))),
        None => good.iter().any(|(_, known)| known.header().is_of_same_database(header)).then_some(None),
    }
}

/// A bundle that opens, and what names it.
pub type GoodBundle = (BundleReference, Reader);

/// A bundle that was passed over in the search for a good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    pub name: String,
    /// When it was made, as far as it tells.
    pub created: Option<Timestamp>,
    pub reason: String,
    /// What is wrong with it; nothing where what it says of itself was reason enough.
    pub fault: Option<PassedFault>,
}

/// Why a bundle that may be the wanted one cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassedFault {
    /// It does not open, or its record is not its own.
    Broken,
    /// Nobody trusted has signed it.
    Untrusted,
}

impl PassedFault {
    fn of(fault: &BundleFault) -> Self {
        if is_of_a_stranger(fault) { Self::Untrusted } else { Self::Broken }
    }
}

/// The words of the operator name no bundle, or several.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// None.
    #[error("there is no bundle `{text}` in store {store}")]
    NoBundle {
        /// What was asked for.
        text: String,
        store: String,
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

impl CatalogEntry {
    /// When it was made, as its header says; the name of one that cannot be read may still tell.
    pub fn created(&self) -> Option<Timestamp> {
        match &self.header {
            Ok(header) => Some(header.created),
            Err(_) => self.name.parse::<BundleId>().ok().and_then(|id| id.created()),
        }
    }

    fn passed_over(&self, reason: String, fault: Option<PassedFault>) -> PassedOver {
        PassedOver { name: self.name.clone(), created: self.created(), reason, fault }
    }

    /// Whether it was published, and is not a file that somebody put into the store.
    pub fn is_stored(&self) -> bool {
        matches!(self.reference, BundleReference::Stored { .. })
    }

    /// Opens it, of the store whose catalog it is of. No member's bytes are read but the header's, which is held against
    /// the signed manifest.
    pub fn standing(&self, store: &dyn Store, trust: &Trust, listed: &ListedManifests) -> BundleStanding {
        if let Err(reason) = &self.header {
            return BundleStanding::Broken(reason.clone());
        }
        let is_listed = |digest: &str| listed.contains(digest);
        let error = match self.open(store, trust) {
            Ok(reader) => return BundleStanding::Ours { is_listed: is_listed(reader.manifest_sha256()) },
            Err(error) => error,
        };
        let reason = error.fault.in_words();
        if !is_of_a_stranger(&error.fault) {
            return BundleStanding::Broken(reason);
        }
        // The key may have been taken off the list of trusted ones since; what the vault lists was ours then.
        match self.open(store, &Trust::Anyone(Default::default())) {
            Ok(reader) if is_listed(reader.manifest_sha256()) && !is_revoked(&error.fault) => {
                BundleStanding::Ours { is_listed: true }
            }
            Ok(_) => BundleStanding::Stranger(reason),
            Err(error) => BundleStanding::Broken(error.fault.in_words()),
        }
    }

    /// Opens it; `store` is the one whose catalog it is of.
    ///
    /// # Errors
    /// As [`Reader::open_in`] and [`Reader::open`].
    pub fn open(&self, store: &dyn Store, trust: &Trust) -> Result<Reader, BundleError> {
        match &self.reference {
            BundleReference::Stored { id, .. } => Reader::open_in(store, id, trust),
            BundleReference::File { path } => {
                Reader::open(store::open_file(path).map_err(|error| BundleFault::from(error).of(&self.name))?, trust)
            }
        }
    }
}

fn published_entry(store: &dyn Store, object: &PublishedObject, signers: &TrustedSigners) -> CatalogEntry {
    let record = match (&object.record, object.bytes) {
        (Err(error), _) => Err(text::chain(error)),
        (Ok(_), None) => Err("its bytes are gone, and only its record is left".to_owned()),
        (Ok(bytes), Some(_)) => PublishedRecord::parse(bytes, &object.name).map_err(|fault| fault.in_words()),
    };
    let mark = |kind| BundleMark::read(store, &object.name, &object.notes, kind);
    CatalogEntry {
        name: object.name.clone(),
        reference: BundleReference::Stored { store: store.place(), id: object.name.clone() },
        address: store.address(&object.name),
        bytes: object.bytes.unwrap_or_default(),
        proof: record.as_ref().ok().and_then(|record| Proof::deepest(store, object, &record.manifest_sha256, signers)),
        manifest_sha256: record.as_ref().ok().map(|record| record.manifest_sha256.clone()),
        header: record.map(|record| record.header),
        pin: mark(MarkKind::Pinned),
        gone: mark(MarkKind::Gone),
        notes: object.notes.clone(),
        is_hollow: object.record.is_ok() && object.bytes.is_none(),
    }
}

fn loose_entry(path: &Path) -> CatalogEntry {
    let (bytes, header) = match store::open_file(path) {
        Err(error) => (0, Err(BundleFault::from(error).in_words())),
        Ok(stored) => (stored.len(), Reader::peek(&*stored).map_err(|error| error.fault.in_words())),
    };
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    CatalogEntry {
        name: header.as_ref().map_or_else(|_| stem(), |header| header.id.to_string()),
        reference: BundleReference::File { path: path.to_owned() },
        address: path.display().to_string(),
        bytes,
        header,
        manifest_sha256: None,
        proof: None,
        pin: None,
        gone: None,
        notes: Vec::new(),
        is_hollow: false,
    }
}
