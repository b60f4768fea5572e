//! `dr bundle list | show | verify | extract | diff | pin`: looking at bundles, and saying which stay.

mod diff;
mod extract;
mod list;
mod mirrors;
mod newest;
mod pin;

use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

pub use diff::{BundleDiffReport, BundleSide, diff};
pub use extract::{ExtractReport, ItemList, item, items};
pub use list::{BundleList, ListRequest, list};
use newest::{newest_by_records, newest_of};
pub(super) use pin::keep;
pub use pin::{PinReport, pin, unpin};

use super::given::quoted;
use super::{CommandLine, Ctx, essentials};
use crate::bundle::report::{Beside, SampleReport, ShowReport, VerifyReport};
use crate::bundle::{BundleReference, Catalog, CatalogEntry, Depth, Proof, Reader, SampleShare, Trust, lease};
use crate::clock;
use crate::error::{CommandError, Exit, Result};
use crate::store;

/// How long a verification may read a bundle that is marked as gone.
const VERIFY_LEASE: SignedDuration = SignedDuration::from_hours(24);

/// Which bundle, what opens it, and whose are believed.
#[derive(Debug, Clone, Default)]
pub struct BundleRequest {
    /// A name or its beginning, or a file; the newest of the store when absent.
    pub bundle: Option<String>,
    /// The store that has it, if not the settings'.
    pub store: Option<String>,
    /// The age identity file, if not the settings'.
    pub identity: Option<PathBuf>,
    /// The trusted signers, if not the settings'.
    pub trusted_signers: Option<PathBuf>,
    /// The fingerprint of one key more, for which a person vouches.
    pub trust_key: Option<String>,
    /// Take anybody's.
    pub any_signer: bool,
}

impl BundleRequest {
    /// The same of the store that is called `place`, where one is named.
    #[must_use]
    pub fn in_store(self, place: Option<String>) -> Self {
        Self { store: place, ..self }
    }

    /// The file that the bundle is named by, where it is not a name of the store.
    ///
    /// # Errors
    /// [`Exit::NotFound`] for a path with nothing there.
    pub(super) fn file(&self) -> Result<Option<PathBuf>> {
        Ok(self.bundle.as_deref().map(bundle_file).transpose()?.flatten())
    }
}

/// The files that open and check a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFiles {
    /// The age identity file, where one is known.
    pub identity: Option<PathBuf>,
    /// The trusted signers; absent when anybody's bundle is to be taken.
    pub trusted_signers: Option<PathBuf>,
    /// The fingerprint of one key more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_key: Option<String>,
}

impl KeyFiles {
    pub(super) fn trust(&self, ctx: &Ctx) -> Result<Trust> {
        ctx.trust(self.trusted_signers.as_deref(), self.trust_key.clone(), self.trusted_signers.is_none())
    }
}

/// The files that open and check the bundle: those that were given, else those of the settings. `opens` says that an
/// identity is needed.
///
/// # Errors
/// All that is missing in one refusal, with the whole command that has it: on the worst day nobody should find out one
/// thing at a time.
pub(super) fn key_files(ctx: &Ctx, request: &BundleRequest, opens: bool) -> Result<KeyFiles> {
    let known = &ctx.settings_or_defaults()?.keys;
    let keys = KeyFiles {
        identity: request.identity.clone().or_else(|| known.identity.clone()),
        trusted_signers: match request.any_signer {
            true => None,
            false => request.trusted_signers.clone().or_else(|| known.trusted_signers.clone()),
        },
        trust_key: request.trust_key.clone(),
    };
    let mut missing = Vec::new();
    if request.file()?.is_none() && request.store.is_none() && ctx.settings().is_err() {
        missing.push(if request.bundle.is_some() { &BUNDLE } else { &UNNAMED_BUNDLE });
    }
    if opens && keys.identity.is_none() {
        missing.push(&IDENTITY);
    }
    if keys.trusted_signers.is_none() && !request.any_signer {
        missing.push(&SIGNERS);
    }
    if missing.is_empty() { Ok(keys) } else { Err(incomplete(&ctx.given, request, &missing)) }
}

/// Something without which a bundle cannot be opened or checked.
struct Needed {
    exit: Exit,
    what: &'static str,
    flag: Option<&'static str>,
    placeholder: &'static str,
    explained: &'static str,
}

const BUNDLE: Needed = Needed {
    exit: Exit::Settings,
    what: "its file (it is not here, and no settings name a store)",
    flag: None,
    placeholder: "BUNDLE.tar",
    explained: "BUNDLE.tar: the file itself. Or name the settings of a store with --settings; `dr init` makes new ones.",
};
const UNNAMED_BUNDLE: Needed = Needed { what: "its file (none is named, and no settings name a store)", ..BUNDLE };
const IDENTITY: Needed = Needed {
    exit: Exit::Keys,
    what: "an age identity",
    flag: Some("--identity"),
    placeholder: "KEYFILE",
    explained: "KEYFILE: the escrow key, or `identity.txt` of the host that made the bundle.",
};
const SIGNERS: Needed = Needed {
    exit: Exit::Untrusted,
    what: "the trusted signers",
    flag: Some("--trusted-signers"),
    placeholder: "SIGNERS",
    explained: "SIGNERS: `allowed_signers` of the host that made the bundle, or a file with the line `NAME namespaces=\"dr-bundle@v1\" KEY` with the KEY of its `signing_key.pub`; --any-signer instead takes whatever anybody made.",
};

fn incomplete(given: &CommandLine, request: &BundleRequest, missing: &[&Needed]) -> CommandError {
    let whole = missing.iter().fold(given.clone(), |line, needed| match (needed.flag, &request.bundle) {
        (Some(flag), _) => line.with(&[flag, needed.placeholder]),
        (None, Some(name)) => line.replaced(name, needed.placeholder),
        (None, None) => line.with(&[needed.placeholder]),
    });
    let what: Vec<&str> = missing.iter().map(|needed| needed.what).collect();
    let subject = request.bundle.as_ref().map_or("the bundle".to_owned(), |name| format!("bundle {name}"));
    let exit = missing.first().map_or(Exit::Usage, |needed| needed.exit);
    let error = CommandError::new(exit, format!("{subject} cannot be opened without {}", what.join(" and ")))
        .hint(format!("The whole command: `{whole}`."));
    missing.iter().fold(error, |error, needed| error.hint(needed.explained))
}

/// The words by which a command names a bundle and its signers again: `name` in the store, or the file.
pub(super) fn arguments(
    reference: &BundleReference,
    name: &str,
    signers: Option<&Path>,
    key: Option<&str>,
    any_signer: bool,
) -> String {
    let mut words = match reference {
        BundleReference::File { path } => quoted(&path.display().to_string()),
        BundleReference::Stored { .. } => name.to_owned(),
    };
    match signers {
        _ if any_signer => words.push_str(" --any-signer"),
        Some(signers) => words = format!("{words} --trusted-signers {}", quoted(&signers.display().to_string())),
        None => {}
    }
    key.map_or(words.clone(), |key| format!("{words} --trust-key {key}"))
}

/// The command that checks all of the bundle that the arguments name, with the identity that was given or has to be.
pub(super) fn verify_command(ctx: &Ctx, arguments: &str, identity: Option<&Path>) -> String {
    format!("dr bundle verify {arguments} --decrypt") + &identity_words(ctx, identity)
}

/// The words for the identity that was given, or, since not every host has one of its own, has to be.
fn identity_words(ctx: &Ctx, identity: Option<&Path>) -> String {
    let has_own = ctx.settings_or_defaults().is_ok_and(|settings| settings.keys.identity.is_some());
    match identity {
        Some(path) => format!(" --identity {}", quoted(&path.display().to_string())),
        None if has_own => String::new(),
        None => format!(" --identity {}", IDENTITY.placeholder),
    }
}

/// A bundle that was found.
struct FoundBundle {
    reference: BundleReference,
    address: String,
    /// What a command takes to name it again.
    arguments: String,
    reader: Reader,
    beside: Beside,
}

/// Shows what a bundle says of itself, after checking its signature.
///
/// # Errors
/// There is no such bundle, or it is not to be believed.
pub fn show(ctx: &Ctx, request: &BundleRequest) -> Result<ShowReport> {
    let found = find(ctx, request, false)?;
    let verify = verify_command(ctx, &found.arguments, request.identity.as_deref());
    Ok(ShowReport::new(&found.reader, found.address, found.arguments, verify, found.beside))
}

/// Checks the signature and every stored byte; with `decrypt` also every plaintext and every database file.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(ctx: &Ctx, request: &BundleRequest, decrypt: bool) -> Result<VerifyReport> {
    let found = find(ctx, request, decrypt)?;
    let begun = Instant::now();
    if found.beside.gone.is_some() {
        hold(ctx, &found.reference, "verify", VERIFY_LEASE);
    }
    let header = found.reader.header();
    let whole = verify_command(ctx, &found.arguments, request.identity.as_deref());
    let took = || milliseconds_since(begun);
    let (report, depth) = if decrypt {
        let identities = ctx.identities_of(request.identity.as_deref())?;
        let proof = found.reader.verify_plain(&identities, &ctx.events, &ctx.cancel)?;
        match essentials::lost_in_bundle(&found.reader, &identities) {
            Ok(lost) if lost.is_empty() => {}
            Ok(lost) => {
                let (text, way) = essentials::lost_words(&lost);
                ctx.events.warn(text, Some(way));
            }
            Err(error) => {
                ctx.events.warn(format!("whether it holds what opens its data is not known: {error}"), None);
            }
        }
        (VerifyReport::plain(header, whole, proof, took()), Depth::Plain)
    } else {
        let proof = found.reader.verify_stored(&ctx.events, &ctx.cancel)?;
        (VerifyReport::stored(header, whole, proof, took()), Depth::Stored)
    };
    keep_proof(ctx, &found.reference, &found.reader, depth);
    Ok(report)
}

/// Checks the signature and a random part of the stored bytes; with `decrypt` also opens that part. Nothing is kept beside
/// the bundle: it would be taken for a proof of all of it.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_sample(ctx: &Ctx, request: &BundleRequest, decrypt: bool, share: SampleShare) -> Result<SampleReport> {
    let found = find(ctx, request, decrypt)?;
    let begun = Instant::now();
    let identities = decrypt.then(|| ctx.identities_of(request.identity.as_deref())).transpose()?;
    let proof = found.reader.verify_sample(share, identities.as_ref(), &ctx.events, &ctx.cancel)?;
    let header = found.reader.header();
    let whole = verify_command(ctx, &found.arguments, request.identity.as_deref());
    Ok(SampleReport::new(header, whole, share, proof, milliseconds_since(begun)))
}

fn milliseconds_since(begun: Instant) -> u64 {
    begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Keeps a good verification beside its bundle, signed where this host has a key; a file has no place for it. Nothing
/// relies on it, so where it cannot be kept or signed, that is said, and the verification is as good as it was.
pub fn keep_proof(ctx: &Ctx, reference: &BundleReference, reader: &Reader, depth: Depth) {
    let BundleReference::Stored { store, id } = reference else { return };
    let proof = Proof::new(depth, reader.signature().signer(), reader.manifest_sha256());
    let signer = match ctx.signer() {
        Ok(signer) => Some(signer),
        Err(error) => {
            ctx.events.note(format!("this proof is not signed, so that it counts for nothing: {error}"));
            None
        }
    };
    let kept = ctx.store_at(store).and_then(|store| Ok(proof.keep(&*store, id, signer.as_ref())?));
    if let Err(error) = kept {
        ctx.events.warn(format!("the store did not keep this proof: {error}"), error.hints().first().cloned());
    }
}

/// Keeps beside the bundle that it is read, so that no prune removes it meanwhile. Only what is marked as gone can go before a
/// time of grace is over, so where it cannot be kept, that is said and no more.
pub(super) fn hold(ctx: &Ctx, reference: &BundleReference, holder: &str, time: SignedDuration) {
    let BundleReference::Stored { store, id } = reference else { return };
    let held = ctx.store_at(store).and_then(|store| Ok(lease::hold(&*store, id, holder, time)?));
    if let Err(error) = held {
        ctx.events.note(format!("the store did not keep that bundle {id} is being read: {error}"));
    }
}

/// Opens a bundle to read from it: layout, signature and manifest are checked.
///
/// # Errors
/// There is no such bundle, or it is not to be believed.
pub fn reader(ctx: &Ctx, request: &BundleRequest) -> Result<Reader> {
    Ok(find(ctx, request, true)?.reader)
}

/// Finds the bundle and opens it. One that says that it was made later than now is called that.
fn find(ctx: &Ctx, request: &BundleRequest, opens: bool) -> Result<FoundBundle> {
    let found = find_any(ctx, request, opens)?;
    let (header, now) = (found.reader.header(), clock::now());
    if header.is_from_the_future(now) {
        let what = format!("bundle {} says that it was made at {}, and it is {now:.0} now", header.id, header.created);
        let hint = "Look at the clock of this host, and of the host that made it (`date -u`).";
        ctx.events.warn(what, Some(hint.to_owned()));
    }
    Ok(found)
}

fn find_any(ctx: &Ctx, request: &BundleRequest, opens: bool) -> Result<FoundBundle> {
    let trust = key_files(ctx, request, opens)?.trust(ctx)?;
    let again = |reference: &BundleReference, name: &str| {
        let (signers, key) = (request.trusted_signers.as_deref(), request.trust_key.as_deref());
        let words = arguments(reference, name, signers, key, request.any_signer);
        let place = request.store.as_ref().filter(|_| matches!(reference, BundleReference::Stored { .. }));
        place.map_or(words.clone(), |place| format!("{words} --store {}", quoted(place)))
    };
    if let Some(path) = request.file()? {
        let address = path.display().to_string();
        let reference = BundleReference::File { path };
        let arguments = again(&reference, &address);
        return Ok(FoundBundle {
            reader: open(ctx, &reference, &trust)?,
            reference,
            address,
            arguments,
            beside: Beside::default(),
        });
    }
    let opened = ctx.store_or(request.store.as_deref()).and_then(|store| {
        let mut catalog = ctx.catalog(&*store)?;
        let entry = match &request.bundle {
            Some(text) => catalog.find(text)?,
            None => {
                if request.store.is_none() {
                    mirrors::warn_of_missing(ctx, &catalog);
                }
                newest_of(ctx, &mut catalog, &*store, &trust)?
            }
        };
        Ok((entry.open(&*store, &trust)?, entry.clone()))
    });
    let named = |catalog: &Catalog| match &request.bundle {
        Some(text) => Some(catalog.find(text).ok()?.name.clone()),
        None => Some(newest_by_records(catalog, ctx.install()).ok()?.name.clone()),
    };
    let (reader, entry) = opened.map_err(|error| match request.store {
        Some(_) => error,
        None => mirrors::with_mirrors(ctx, error, named),
    })?;
    let arguments = again(&entry.reference, &entry.name);
    let CatalogEntry { reference, address, proof, pin, gone, .. } = entry;
    Ok(FoundBundle { reference, address, arguments, reader, beside: Beside { proof, pin, gone } })
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
        if absolute.exists() {
            let what = format!("{} is no file that can be read from any place in it", absolute.display());
            return Err(CommandError::new(Exit::Usage, what).hint("Keep the bundle in a file, and name that."));
        }
        return Err(CommandError::new(Exit::NotFound, format!("there is no bundle file {}", absolute.display()))
            .hint("A name without a slash is looked up in the store: `dr bundle list` shows them."));
    }
    Ok(Some(absolute))
}

/// The bundle that a plan or a journal names.
///
/// # Errors
/// It is not there, or not to be believed.
pub fn open(ctx: &Ctx, reference: &BundleReference, trust: &Trust) -> Result<Reader> {
    match reference {
        BundleReference::Stored { store, id } => Ok(Reader::open_in(&*ctx.store_at(store)?, id, trust)?),
        BundleReference::File { path } => Ok(Reader::open(store::open_file(path)?, trust)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Install, Keys, Settings, SettingsError};

    fn ctx(settings: std::result::Result<Settings, SettingsError>) -> Ctx {
        let mut ctx = Ctx::new("dr.toml".into(), settings, |_: &mut Install| (), "state".into(), None, "x".into());
        let words = ["bundle", "restore", "old", "--version", "2026-08-20"];
        ctx.given = CommandLine::new("dr", &words.map(Into::into));
        ctx
    }

    #[test]
    fn what_was_given_opens_the_bundle_else_what_the_settings_name() {
        let keys = Keys { identity: Some("own".into()), trusted_signers: Some("ours".into()), ..Keys::default() };
        let ctx = ctx(Ok(Settings { keys, ..Settings::default() }));
        let files = |identity: &str, signers: Option<&str>| KeyFiles {
            identity: Some(identity.into()),
            trusted_signers: signers.map(PathBuf::from),
            trust_key: None,
        };
        let found = |request: &BundleRequest| key_files(&ctx, request, true).unwrap();
        assert_eq!(found(&BundleRequest::default()), files("own", Some("ours")));
        let (identity, trusted_signers) = (Some("escrow".into()), Some("theirs".into()));
        let given = BundleRequest { identity, trusted_signers, ..BundleRequest::default() };
        assert_eq!(found(&given), files("escrow", Some("theirs")));
        assert_eq!(found(&BundleRequest { any_signer: true, ..given }), files("escrow", None));
    }

    #[test]
    fn all_that_is_missing_is_asked_for_at_once_with_the_whole_command() {
        let bare = || ctx(Err(SettingsError::Missing { path: "dr.toml".into() }));
        let set = |keys| ctx(Ok(Settings { keys, ..Settings::default() }));
        let identity = || Keys { identity: Some("own".into()), ..Keys::default() };
        let old = BundleRequest { bundle: Some("old".into()), ..BundleRequest::default() };
        for (ctx, opens, exit, whole) in [
            (
                bare(),
                true,
                Exit::Settings,
                "BUNDLE.tar --version 2026-08-20 --identity KEYFILE --trusted-signers SIGNERS",
            ),
            (bare(), false, Exit::Settings, "BUNDLE.tar --version 2026-08-20 --trusted-signers SIGNERS"),
            (
                set(Keys::default()),
                true,
                Exit::Keys,
                "old --version 2026-08-20 --identity KEYFILE --trusted-signers SIGNERS",
            ),
            (set(identity()), true, Exit::Untrusted, "old --version 2026-08-20 --trusted-signers SIGNERS"),
        ] {
            let refused = key_files(&ctx, &old, opens).unwrap_err();
            assert_eq!(refused.exit(), exit, "{refused}");
            assert_eq!(refused.hints()[0], format!("The whole command: `dr bundle restore {whole}`."));
        }
    }

    #[test]
    fn a_bundle_is_named_again_as_it_was_found() {
        let file = BundleReference::File { path: "/mnt/a b.tar".into() };
        let stored = BundleReference::Stored { store: "/srv".into(), id: "b-1".into() };
        assert_eq!(
            arguments(&file, "b-1", Some(Path::new("s")), Some("SHA256:x"), false),
            "'/mnt/a b.tar' --trusted-signers s --trust-key SHA256:x"
        );
        assert_eq!(arguments(&file, "b-1", None, None, true), "'/mnt/a b.tar' --any-signer");
        assert_eq!(arguments(&stored, "b-1", None, None, false), "b-1");
    }
}
