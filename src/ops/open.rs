//! Opening what the settings name: keys, store, cluster. Each names the setting that is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Ctx;
use crate::bundle::{BundleReference, Reader, Trust};
use crate::cluster::Cluster;
use crate::crypt::{Identities, Recipients, Signer, TrustedSigners};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Helm;
use crate::settings::{Install, Settings};
use crate::store::{self, Store};
use crate::values::{Scrubber, Tree};
use crate::vault::{self, CommitSigner, Vault};

/// The cluster of the install, looking at its namespace.
///
/// # Errors
/// It cannot be reached.
pub async fn cluster(settings: &Settings) -> Result<Cluster> {
    cluster_at(settings, &settings.install.namespace).await
}

/// The same cluster, looking at another namespace. The Secrets that are read of it are learned.
///
/// # Errors
/// It cannot be reached.
pub async fn cluster_at(settings: &Settings, namespace: &str) -> Result<Cluster> {
    know_the_deployed(settings);
    let cluster = Cluster::connect(settings.install.context.as_deref(), namespace).await?;
    Ok(cluster.hushed(settings.keyring.secrets()))
}

/// What helm and the cluster say may quote what was deployed: a refusal, a stored description, a pod's log. So whoever
/// speaks to them knows the secrets of the newest deployments, as far as the vault opens without asking anybody. They
/// are read when the first line is to be said. A vault that does not open is another verb's failure.
pub fn know_the_deployed(settings: &Settings) {
    /// What is live, what was tried last, and what was live before.
    const NEWEST: usize = 3;
    if !settings.keyring.first_time() {
        return;
    }
    let later = settings.clone();
    settings.keyring.secrets().learn_later(move || {
        let read = || -> Option<Vec<Zeroizing<Vec<u8>>>> {
            let identities = later.keyring.at_hand(later.keys.identity.as_deref()?)?.unwitnessed();
            let vault = vault(&later).ok()?;
            let newest = vault.deployments(&vault_install(&later)).ok()?;
            let mut known = std::collections::HashSet::new();
            let fresh = newest.iter().filter(|deployment| known.insert(deployment.values_sha256().map(str::to_owned)));
            Some(fresh.take(NEWEST).filter_map(|deployment| vault.values(deployment, &identities).ok()).collect())
        };
        read().unwrap_or_default()
    });
}

/// Whom everything is sealed to.
///
/// # Errors
/// None is set, or one is no age recipient.
pub fn recipients(settings: &Settings) -> Result<Recipients> {
    if settings.keys.recipients.is_empty() {
        return Err(CommandError::new(Exit::Keys, "setting `keys.recipients` is empty: there is nobody to seal to")
            .hint("`dr init` makes a key of this host; add an escrow key of somebody else beside it."));
    }
    Ok(Recipients::parse(&settings.keys.recipients)?)
}

/// The private keys of this host, or those of the file given on the command line. A passphrase is asked for where the
/// file has one; what the keys open is learned and no longer shown.
///
/// # Errors
/// No file is set, it cannot be read, or the passphrase is wrong or nowhere to be had.
pub fn identities(settings: &Settings, given: Option<&Path>) -> Result<Identities> {
    let path = match given {
        Some(path) => path,
        None => settings.required(&settings.keys.identity, "keys.identity")?,
    };
    settings.keyring.open(path)
}

/// The key that signs.
///
/// # Errors
/// No file is set, or it cannot be read.
pub fn signer(settings: &Settings) -> Result<Signer> {
    Ok(Signer::load(settings.required(&settings.keys.signing_key, "keys.signing_key")?)?)
}

/// Whose bundles are believed: those of the file given on the command line, else of the settings.
///
/// # Errors
/// No file is set, or it cannot be read.
pub fn trust(settings: &Settings, given: Option<&Path>, anyone: bool) -> Result<Trust> {
    if anyone {
        return Ok(Trust::Anyone);
    }
    let path = match given {
        Some(path) => path,
        None => settings.required(&settings.keys.trusted_signers, "keys.trusted_signers")?,
    };
    Ok(Trust::Signers(TrustedSigners::load(path)?))
}

/// The store of the settings.
///
/// # Errors
/// No folder is set, or it cannot be used.
pub fn store(settings: &Settings) -> Result<Arc<dyn Store>> {
    let path = settings.required(&settings.store.path, "store.path")?;
    Ok(store::open_at(&path.display().to_string())?)
}

/// The bundle that a plan or a journal names.
///
/// # Errors
/// It is not there, or not to be believed.
pub fn bundle(reference: &BundleReference, trust: &Trust) -> Result<Reader> {
    match reference {
        BundleReference::Stored { store, id } => Ok(Reader::open_in(&*store::open_at(store)?, id, trust)?),
        BundleReference::File { path } => Ok(Reader::open(store::open_file(path)?, trust)?),
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

/// The settings, or the defaults where there is no settings file at all: a restore needs nothing but the bundle, a key,
/// a cluster and helm. A file that is there and wrong is still refused.
///
/// # Errors
/// The file is there and cannot be read.
pub fn settings_or_defaults(ctx: &Ctx) -> Result<Settings> {
    match ctx.settings() {
        Ok(settings) => Ok(settings.clone()),
        Err(_) if !ctx.settings_path.exists() => Ok(ctx.defaults()),
        Err(error) => Err(error),
    }
}

/// Helm, for the install of the settings.
///
/// # Errors
/// It is not there, or not helm 3 or 4.
pub async fn helm(settings: &Settings, namespace: &str) -> Result<Helm> {
    know_the_deployed(settings);
    let install = &settings.install;
    Ok(Helm::find(&settings.helm.binary)
        .await?
        .for_install(install.context.as_deref(), namespace)
        .for_registry(settings.helm.plain_http, settings.helm.insecure_skip_tls_verify)
        .hushed(settings.keyring.secrets()))
}

/// The config vault of the settings.
///
/// # Errors
/// None is set, it is none, or there is no key to sign its commits with.
pub fn vault(settings: &Settings) -> Result<Vault> {
    let path = settings.required(&settings.vault.path, "vault.path")?;
    let signer = signer(settings)?;
    let sign: CommitSigner = Arc::new(move |bytes| signer.sign("git", bytes).map_err(|e| e.to_string()));
    Ok(Vault::open(path, sign)?)
}

/// The install of the settings, as the vault knows it.
pub fn vault_install(settings: &Settings) -> vault::Install {
    let Install { namespace, release, context, .. } = &settings.install;
    vault::Install { namespace: namespace.clone(), release: release.clone(), context: context.clone() }
}

/// What must never be shown: the secrets of these values, found again in whatever another program says.
pub fn scrubber(values: &Tree) -> Scrubber {
    let mut scrubber = Scrubber::new(None);
    scrubber.learn_tree(values);
    scrubber
}
