//! What both stores hold.

use std::collections::BTreeMap;

use super::progress;
use super::request::{CopyRequest, CopySelection};
use crate::bundle::{BundleMark, BundleReference, CatalogEntry, MarkKind, PublishedRecord, Reader};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::bundles::{bundle_file, open};
use crate::opschain::version::Version;
use crate::store::Store;
use crate::text;

/// Plain data for the plan.
#[derive(Debug, Clone)]
pub(super) struct CopyFacts {
    pub(super) from: String,
    pub(super) to: String,
    /// Those that were asked for, newest first.
    pub(super) asked: Vec<AskedBundle>,
    /// What the other store holds of each of their names.
    pub(super) there: BTreeMap<String, BundleThere>,
    /// Room in the other store, where it is known.
    pub(super) free_bytes: Option<u64>,
    /// Whether both are one folder, however they are called.
    pub(super) is_itself: bool,
}

/// A bundle that was asked for.
#[derive(Debug, Clone)]
pub(super) struct AskedBundle {
    pub(super) name: String,
    pub(super) reference: BundleReference,
    pub(super) bytes: u64,
    /// How many of its bytes an earlier command has carried over.
    pub(super) carried: u64,
    /// SHA-256 of its manifest, or why it cannot be told.
    pub(super) manifest_sha256: std::result::Result<String, String>,
}

/// What a store holds under a name.
#[derive(Debug, Clone)]
pub(super) enum BundleThere {
    /// A bundle with this manifest.
    Whole(String),
    /// The same, marked as gone there: a later prune removes it.
    Marked(String),
    /// A record whose bytes are gone.
    Hollow,
    /// Something that cannot be read, and why.
    Unreadable(String),
}

pub(super) fn facts(ctx: &Ctx, request: &CopyRequest) -> Result<CopyFacts> {
    let to = ctx.store_at(&request.to)?;
    let (from, asked) = match &request.selection {
        CopySelection::One(text) => match bundle_file(text)? {
            Some(path) => (path.display().to_string(), vec![of_file(ctx, request, path)?]),
            None => of_store(ctx, request)?,
        },
        _ => of_store(ctx, request)?,
    };
    let mut there = BTreeMap::new();
    for object in to.list()? {
        if asked.iter().any(|asked| asked.name == object.name) {
            let is_gone = BundleMark::read(&*to, &object.name, &object.notes, MarkKind::Gone).is_some();
            let record = object
                .record
                .map_err(|error| text::chain(&error))
                .and_then(|record| PublishedRecord::parse(&record, &object.name).map_err(|fault| fault.in_words()));
            let known = match (record, object.bytes) {
                (Err(why), _) => BundleThere::Unreadable(why),
                (Ok(_), None) => BundleThere::Hollow,
                (Ok(record), Some(bytes)) if bytes != record.bytes => {
                    BundleThere::Unreadable(format!("it has {bytes} of its {} bytes", record.bytes))
                }
                (Ok(record), Some(_)) if is_gone => BundleThere::Marked(record.manifest_sha256),
                (Ok(record), Some(_)) => BundleThere::Whole(record.manifest_sha256),
            };
            there.insert(object.name, known);
        }
    }
    let to_place = to.place();
    let mut asked = asked;
    for bundle in &mut asked {
        bundle.carried = progress::carried(&ctx.state, &to_place, &bundle.name);
    }
    let real = |place: &str| std::fs::canonicalize(place).ok();
    let is_itself = from == to_place || real(&from).is_some_and(|from| real(&to_place) == Some(from));
    Ok(CopyFacts { from, to: to_place, asked, there, free_bytes: to.free_bytes()?, is_itself })
}

fn of_file(ctx: &Ctx, request: &CopyRequest, path: std::path::PathBuf) -> Result<AskedBundle> {
    let reference = BundleReference::File { path };
    let reader: Reader = open(ctx, &reference, &request.keys(ctx)?.trust(ctx)?)?;
    let name = reader.header().id.to_string();
    let manifest_sha256 = Ok(reader.manifest_sha256().to_owned());
    Ok(AskedBundle { name, reference, bytes: reader.bytes(), carried: 0, manifest_sha256 })
}

fn of_store(ctx: &Ctx, request: &CopyRequest) -> Result<(String, Vec<AskedBundle>)> {
    let store = match &request.from {
        Some(place) => ctx.store_at(place)?,
        None => ctx.store()?,
    };
    let catalog = ctx.catalog(&*store)?;
    let entries: Vec<&CatalogEntry> = match &request.selection {
        CopySelection::One(text) => vec![catalog.find(text)?],
        CopySelection::All => {
            catalog.entries.iter().filter(|entry| entry.gone.is_none() && entry.is_stored()).collect()
        }
        CopySelection::Version(version) => {
            let bad = |_| CommandError::new(Exit::Usage, "the version is none of OpsChain").hint("Such as 2026-08-20.");
            let tag = version.parse::<Version>().map_err(bad)?.tag();
            let is_of = |entry: &&CatalogEntry| {
                entry.gone.is_none()
                    && entry.is_stored()
                    && entry.header.as_ref().is_ok_and(|header| header.opschain.version == tag)
            };
            let found: Vec<_> = catalog.entries.iter().filter(is_of).collect();
            if found.is_empty() {
                let what = format!("store {} has no bundle of OpsChain {tag}", catalog.store);
                return Err(CommandError::new(Exit::NotFound, what).hint("`dr bundle list` shows what it holds."));
            }
            found
        }
    };
    let asked = entries.into_iter().map(|entry| AskedBundle {
        name: entry.name.clone(),
        reference: entry.reference.clone(),
        bytes: entry.bytes,
        carried: 0,
        manifest_sha256: manifest_of(&*store, entry),
    });
    Ok((store.place(), asked.collect()))
}

/// Which bundle an entry is, to the byte.
fn manifest_of(store: &dyn Store, entry: &CatalogEntry) -> std::result::Result<String, String> {
    entry.header.as_ref().map_err(Clone::clone)?;
    if let BundleReference::File { path } = &entry.reference {
        return Err(format!("it is a file without a record: copy it as {}", path.display()));
    }
    let record = store.record(&entry.name).map_err(|error| text::chain(&error))?;
    PublishedRecord::parse(&record, &entry.name).map(|record| record.manifest_sha256).map_err(|fault| fault.in_words())
}
