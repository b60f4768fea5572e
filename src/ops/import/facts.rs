//! What is known of the backup, and of the deployment whose config belonged to it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::backup::BackupFiles;
use super::place;
use super::request::ImportRequest;
use crate::cluster::KeptObject;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::create::VaultConfig;
use crate::ops::release::{kept_objects, secrets_to_bytes};
use crate::opschain::secrets::PRESERVED;
use crate::postgres::wal::WalOrigin;
use crate::postgres::{BackupManifest, manifest};
use crate::read;
use crate::vault::{Deployment, VaultError};

/// Everything that the plan is made of.
pub(super) struct ImportFacts {
    pub folder: PathBuf,
    /// The length of its files.
    pub bytes: u64,
    pub manifest: BackupManifest,
    /// SHA-256 of PostgreSQL's manifest.
    pub manifest_sha256: [u8; 32],
    /// When the backup began.
    pub begun: Option<Timestamp>,
    pub origin: WalOrigin,
    pub deployment: Deployment,
    /// Whether it was named, and not found by the time.
    pub named: bool,
    /// What was given of the Secrets and ConfigMaps that travel.
    pub kept: Vec<String>,
    pub release: String,
    pub store: String,
    /// The names of the bundles that the store has.
    pub listed: Vec<String>,
    pub recipients: Vec<String>,
}

pub(super) fn facts(ctx: &Ctx, request: &ImportRequest) -> Result<ImportFacts> {
    let files = BackupFiles::find(&request.place)?;
    let bytes = files.manifest_bytes()?;
    let parsed = BackupManifest::parse(&bytes).map_err(|error| place::damaged(&files.manifest_path(), error))?;
    let begun = manifest::begun(&bytes);
    let deployment = deployment(ctx, request, begun)?;
    let (recipients, store) = (ctx.recipients()?, ctx.store()?);
    VaultConfig::refuse_other_recipients(&ctx.config_source()?, &deployment, &recipients)?;
    // A key that does not sign is no reason to read the backup first.
    ctx.bundle_signer()?;
    let listed = store.list()?.into_iter().map(|object| object.name).collect();
    Ok(ImportFacts {
        folder: request.place.path(),
        bytes: files.bytes()?,
        manifest: parsed,
        manifest_sha256: {
            use sha2::Digest as _;
            sha2::Sha256::digest(&bytes).into()
        },
        begun,
        origin: files.wal_origin()?,
        deployment,
        named: request.deployment.is_some(),
        kept: kept(ctx, request)?.iter().map(|object| object.object().to_string()).collect(),
        release: ctx.install().release.to_string(),
        store: store.place(),
        listed,
        recipients: recipients.to_strings(),
    })
}

/// The one that was named, else what was live when the backup began.
pub(super) fn deployment(ctx: &Ctx, request: &ImportRequest, begun: Option<Timestamp>) -> Result<Deployment> {
    let (vault, install) = (ctx.vault()?, ctx.vault_install());
    let Some(selector) = request.deployment.clone().or_else(|| begun.map(|at| at.to_string())) else {
        return Err(CommandError::new(Exit::Usage, "the backup does not say when it was made")
            .hint("Name the deployment whose config belonged to it, as `dr config log` shows it: --deployment ID."));
    };
    match vault.resolve(&install, &selector) {
        Err(VaultError::NotFound { .. }) if request.deployment.is_none() => {
            let what =
                format!("the config vault knows of no deployment that was live at {selector}, when the backup began");
            Err(CommandError::new(Exit::NotFound, what)
                .hint("Record the values.yaml that belonged to it first, with its chart: `dr config record values.yaml --at TIME --chart REF`.")
                .hint("Or name another deployment, as `dr config log` shows it: --deployment ID."))
        }
        found => Ok(found?),
    }
}

/// Those of the given objects that travel with a bundle.
///
/// # Errors
/// The file cannot be read, is no list of objects, or holds none of them. Nothing of it is quoted.
pub(super) fn kept(ctx: &Ctx, request: &ImportRequest) -> Result<Vec<KeptObject>> {
    let Some(path) = &request.secrets else { return Ok(Vec::new()) };
    let shown = path.display();
    let bytes: Zeroizing<Vec<u8>> =
        read::file_or_stdin(path, read::VALUES, &ctx.cancel).map_err(place::unreadable(path))?;
    let wrong = |what: String| {
        CommandError::new(Exit::Usage, what)
            .hint("Give what kubectl shows: `kubectl get secret,configmap -n NAMESPACE -o yaml`.")
    };
    let objects = kept_objects(&bytes).ok_or_else(|| wrong(format!("{shown} holds no Secrets and ConfigMaps")))?;
    let travels = |object: &KeptObject| {
        let name = object.object();
        PRESERVED.iter().any(|kept| (kept.kind.name(), kept.name) == (name.kind.as_str(), name.name.as_str()))
    };
    // An empty one is made again as it was.
    let holds = |object: &KeptObject| !object.keys().is_empty();
    let kept: Vec<KeptObject> = objects.into_iter().filter(travels).filter(holds).map(KeptObject::strip).collect();
    if kept.is_empty() {
        let what = format!("{shown} holds nothing that an install cannot make again");
        return Err(CommandError::new(Exit::Usage, what)
            .hint("Such as Secret opschain-vault-config, and opschain-secret-vault-seal-key."));
    }
    let names: BTreeSet<String> = kept.iter().map(|object| object.object().to_string()).collect();
    if names.len() < kept.len() {
        return Err(wrong(format!("{shown} holds an object twice: those of one namespace are needed")));
    }
    // What is looked for in every output; the names stay.
    ctx.secrets().register_document(&secrets_to_bytes(&kept)?);
    Ok(kept)
}
