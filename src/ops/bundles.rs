//! `dr bundle list | show | verify`: looking at bundles.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Ctx;
use crate::bundle::report::{ListReport, ShowReport, VerifyReport};
use crate::bundle::{BundleReference, Catalog, CatalogEntry, Depth, Proof, Reader, Trust};
use crate::error::{CommandError, Exit, Result};
use crate::store;

/// Which bundle, and whose are believed.
#[derive(Debug, Clone, Default)]
pub struct BundleRequest {
    /// A name or its beginning, or a file; the newest of the store when absent.
    pub bundle: Option<String>,
    /// The trusted signers, if not the settings'.
    pub trusted_signers: Option<PathBuf>,
    /// Take anybody's.
    pub any_signer: bool,
}

/// A bundle that was found.
struct FoundBundle {
    reference: BundleReference,
    address: String,
    reader: Reader,
    proof: Option<Proof>,
}

/// Lists the store's bundles from their clear headers, newest first.
///
/// # Errors
/// The store cannot be listed. A bundle that cannot be read is a row with the reason.
pub fn list(ctx: &Ctx) -> Result<ListReport> {
    let store = ctx.store()?;
    Ok(ListReport::new(&Catalog::read(&*store)?))
}

/// Shows what a bundle says of itself, after checking its signature.
///
/// # Errors
/// There is no such bundle, or it is not to be believed.
pub fn show(ctx: &Ctx, request: &BundleRequest) -> Result<ShowReport> {
    let found = find(ctx, request)?;
    Ok(ShowReport::new(&found.reader, found.address, found.proof))
}

/// Checks the signature and every stored byte; with `decrypt` also every plaintext and every database file.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(ctx: &Ctx, request: &BundleRequest, decrypt: bool, identity: Option<&Path>) -> Result<VerifyReport> {
    let found = find(ctx, request)?;
    let begun = Instant::now();
    let name = found.reader.header().id.to_string();
    let took = || begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    let (report, depth) = if decrypt {
        let identities = ctx.identities_of(identity)?;
        let proof = found.reader.verify_plain(&identities, &ctx.events, &ctx.cancel)?;
        (VerifyReport::plain(&name, proof, took()), Depth::Plain)
    } else {
        let proof = found.reader.verify_stored(&ctx.events, &ctx.cancel)?;
        (VerifyReport::stored(&name, proof, took()), Depth::Stored)
    };
    keep_proof(ctx, &found.reference, &found.reader, depth);
    Ok(report)
}

/// Keeps a good verification beside its bundle, for `list`; a file has no place for it. Nothing relies on it, so where it
/// cannot be kept, that is said, and the verification is as good as it was.
pub fn keep_proof(ctx: &Ctx, reference: &BundleReference, reader: &Reader, depth: Depth) {
    let BundleReference::Stored { store, id } = reference else { return };
    let proof = Proof::new(depth, reader.signature().signer(), reader.manifest_sha256());
    let kept = store::open_at(store).map_err(CommandError::from).and_then(|store| Ok(proof.keep(&*store, id)?));
    if let Err(error) = kept {
        ctx.events.warn(format!("the store did not keep this proof: {error}"), error.hints().first().cloned());
    }
}

/// Opens a bundle to read from it: layout, signature and manifest are checked.
///
/// # Errors
/// There is no such bundle, or it is not to be believed.
pub fn reader(ctx: &Ctx, request: &BundleRequest) -> Result<Reader> {
    Ok(find(ctx, request)?.reader)
}

fn find(ctx: &Ctx, request: &BundleRequest) -> Result<FoundBundle> {
    let file = request.bundle.as_deref().map(bundle_file).transpose()?.flatten();
    let trust = ctx.trust(request.trusted_signers.as_deref(), request.any_signer)?;
    if let Some(path) = file {
        let address = path.display().to_string();
        let reference = BundleReference::File { path };
        return Ok(FoundBundle { reader: open(&reference, &trust)?, reference, address, proof: None });
    }
    let store = ctx.store()?;
    let catalog = Catalog::read(&*store)?;
    let entry = pick(&catalog, request.bundle.as_deref())?;
    let reader = entry.open(&*store, &trust)?;
    let CatalogEntry { reference, address, proof, .. } = entry.clone();
    Ok(FoundBundle { reference, address, reader, proof })
}

fn pick<'c>(catalog: &'c Catalog, text: Option<&str>) -> Result<&'c CatalogEntry> {
    match text {
        Some(text) => Ok(catalog.find(text)?),
        None => catalog.entries.first().ok_or_else(|| {
            CommandError::new(Exit::NotFound, format!("store {} has no bundle", catalog.store))
                .hint("`dr bundle create` makes one.")
        }),
    }
}

/// The bundle of a file, if the words name one: a path, or a file of the working folder.
///
/// # Errors
/// [`Exit::NotFound`] for a path with nothing there.
pub fn bundle_file(text: &str) -> Result<Option<PathBuf>> {
    let path = Path::new(text);
    if !text.contains('/') && !path.is_file() {
        return Ok(None);
    }
    let absolute = std::path::absolute(path)
        .map_err(|e| CommandError::new(Exit::NotFound, format!("bundle file {text}")).because(e))?;
    if !absolute.is_file() {
        return Err(CommandError::new(Exit::NotFound, format!("there is no bundle file {}", absolute.display()))
            .hint("A name without a slash is looked up in the store: `dr bundle list` shows them."));
    }
    Ok(Some(absolute))
}

/// The bundle that a plan or a journal names.
///
/// # Errors
/// It is not there, or not to be believed.
pub fn open(reference: &BundleReference, trust: &Trust) -> Result<Reader> {
    match reference {
        BundleReference::Stored { store, id } => Ok(Reader::open_in(&*store::open_at(store)?, id, trust)?),
        BundleReference::File { path } => Ok(Reader::open(store::open_file(path)?, trust)?),
    }
}
