//! What a restore looks at before it touches anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::source::{self, RestoreRequest, Which};
use crate::bundle::{BundleReference, Catalog, Header, OutOfScope, Reader, SourceInstall, Trust};
use crate::clock;
use crate::cluster::{Cluster, NamespaceState, ObjectRef, Operator};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, OpenRun, Result};
use crate::names::{NamespaceName, ReleaseName};
use crate::ops::bundles::{self, KeyFiles};
use crate::ops::published::missing;
use crate::ops::release::Release;
use crate::ops::{Ctx, essentials, recording, runs};
use crate::opschain::secrets::LEFT_BY_UNINSTALL;
use crate::postgres::Lsn;
use crate::store::Store;
use crate::vault::RecordedInstall;

/// A bundle that is open: its layout, signature and manifest are checked.
pub(super) struct OpenBundle {
    pub reader: Reader,
    pub identities: Identities,
}

impl OpenBundle {
    /// A member of the config, in the clear.
    ///
    /// # Errors
    /// The bundle has no such member, or no identity opens it.
    pub fn member(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        Ok(self.reader.open_member(name, &self.identities)?)
    }
}

/// What a bundle says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SourceFacts {
    pub bundle: String,
    /// What names it in plans and journals.
    pub reference: BundleReference,
    /// SHA-256 of its manifest.
    pub manifest_sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who signed it, if somebody trusted did.
    pub signer: Option<String>,
    /// The OpsChain version that made it.
    pub version: String,
    pub chart_version: String,
    /// Where it was made.
    pub install: SourceInstall,
    /// The version of the operator that its database ran under.
    pub operator: Option<String>,
    /// The major version of PostgreSQL whose files it holds.
    pub postgres_major: u32,
    /// Bytes of the data directory.
    pub database_bytes: u64,
    /// The database's identity.
    pub system_identifier: String,
    /// The last position of its log.
    pub lsn: Lsn,
    /// The labels of its namespace that decide which pods it admits.
    #[serde(default)]
    pub pod_security: BTreeMap<String, String>,
    /// What it does not hold.
    pub scope: Vec<OutOfScope>,
    /// The public halves of the keys that were given to open it.
    #[serde(default)]
    pub opened_by: Vec<String>,
    /// What is newer and was not taken, and why, where the newest was asked for.
    #[serde(default)]
    pub instead_of: Vec<String>,
    /// What it lacks of what opens its data.
    #[serde(default)]
    pub lost: Vec<String>,
}

/// What there is where it is to be restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TargetFacts {
    /// The kubeconfig context.
    pub context: String,
    /// The namespace's name.
    pub namespace_name: NamespaceName,
    pub release: ReleaseName,
    /// The chart of the settings.
    pub chart: String,
    /// The version of helm.
    pub helm: String,
    /// The version that helm should be, where the one that is there has known holes.
    pub helm_should_be: Option<String>,
    /// Whether the cluster knows databases at all.
    pub knows_databases: bool,
    pub operator: Option<Operator>,
    pub namespace: NamespaceState,
    /// Whether this host has nowhere to record the restore.
    #[serde(default)]
    pub no_vault: bool,
    /// The run that has it half done.
    #[serde(default)]
    pub open_run: Option<OpenRun>,
}

/// A bundle, open, and what is newer and was not taken.
type FoundBundle = (BundleReference, Reader, Vec<String>);

/// Opens the bundle that was asked for, and says which install it is from.
///
/// # Errors
/// There is none, it is not to be believed, or no identity opens it.
pub(super) fn open(
    ctx: &Ctx,
    request: &RestoreRequest,
    keys: &KeyFiles,
    which: Which<'_>,
) -> Result<(OpenBundle, SourceFacts)> {
    let trust = keys.trust(ctx)?;
    let (reference, reader, instead_of) = match request.bundle.file()? {
        Some(path) => {
            let reference = BundleReference::File { path };
            let reader = bundles::open(ctx, &reference, &trust)?;
            (reference, reader, Vec::new())
        }
        None => find(ctx, request, &trust, which)?,
    };
    source::refuse_future(reader.header(), clock::now(), request.allow_future)?;
    let identities = ctx.identities_of(keys.identity.as_deref())?;
    let release = Release::parse(&reader.open_member("config/release.json.age", &identities)?)?;
    let mut facts = source_facts(&reader, reference, release.operator);
    facts.pod_security = release.pod_security;
    facts.opened_by = identities.recipients();
    facts.instead_of = instead_of;
    facts.lost = essentials::lost_in_bundle(&reader, &identities)?;
    recording::record("restore-source", &facts)?;
    Ok((OpenBundle { reader, identities }, facts))
}

/// Opens the bundle of a plan again.
///
/// # Errors
/// It is not there any more, is not to be believed, or no identity opens it.
pub(super) fn open_again(ctx: &Ctx, reference: &BundleReference, keys: &KeyFiles) -> Result<OpenBundle> {
    let reader = bundles::open(ctx, reference, &keys.trust(ctx)?)?;
    Ok(OpenBundle { reader, identities: ctx.identities_of(keys.identity.as_deref())? })
}

fn source_facts(reader: &Reader, reference: BundleReference, operator: Option<String>) -> SourceFacts {
    let (header, manifest): (&Header, _) = (reader.header(), reader.manifest());
    SourceFacts {
        bundle: header.id.to_string(),
        reference,
        manifest_sha256: reader.manifest_sha256().to_owned(),
        bytes: reader.bytes(),
        signer: reader.signature().signer().map(str::to_owned),
        version: header.opschain.version.clone(),
        chart_version: header.opschain.chart_version.clone(),
        install: header.install.clone(),
        operator,
        postgres_major: header.postgresql.major,
        database_bytes: manifest.base.raw.bytes,
        system_identifier: manifest.database.system_identifier.clone(),
        lsn: manifest.database.last_lsn(),
        pod_security: BTreeMap::new(),
        opened_by: Vec::new(),
        instead_of: Vec::new(),
        lost: Vec::new(),
        scope: manifest.scope.clone(),
    }
}

/// Looks a name up in the store, or the newest good one of a version.
fn find(ctx: &Ctx, request: &RestoreRequest, trust: &Trust, which: Which<'_>) -> Result<FoundBundle> {
    let named = request.bundle.store.as_deref();
    let first = ctx.store_or(named).and_then(|store| find_in(ctx, store, request, trust, which));
    let Err(error) = first else { return first };
    if named.is_some() {
        return Err(error);
    }
    // The mirrors, in the order of the settings, for what the first store has not, or not whole.
    for place in ctx.settings()?.store.mirror_places() {
        let is_elsewhere = matches!(error.exit(), Exit::NotFound | Exit::Store | Exit::Damaged | Exit::Untrusted);
        if !is_elsewhere {
            break;
        }
        if let Ok(found) = ctx.store_at(&place).and_then(|store| find_in(ctx, store, request, trust, which)) {
            ctx.events.warn(format!("{error}: taken from mirror {place}"), error.hints().first().cloned());
            return Ok(found);
        }
    }
    Err(error)
}

fn find_in(
    ctx: &Ctx,
    store: Arc<dyn Store>,
    request: &RestoreRequest,
    trust: &Trust,
    which: Which<'_>,
) -> Result<FoundBundle> {
    let catalog = ctx.catalog(&*store)?;
    if let Some(text) = &request.bundle.bundle {
        let entry = catalog.find(text)?;
        let reader = entry.open(&*store, trust)?;
        let others = catalog.entries.iter().filter(|other| other.gone.is_none());
        let newer = source::newer_of(reader.header(), others.filter_map(|other| other.header.as_ref().ok()));
        return Ok((entry.reference.clone(), reader, newer.into_iter().collect()));
    }
    let tag = source::version_to_look_for(request)?;
    let (good, passed) = catalog.newest_good(&*store, trust, &tag, clock::now());
    if good.is_empty() {
        let untrusted = untrusted(&catalog, &*store, trust);
        return Err(source::none_good(&catalog.store, &tag, &passed, &catalog.versions(), untrusted.as_ref()));
    }
    let headers: Vec<&Header> = good.iter().map(|(_, reader)| reader.header()).collect();
    let place = source::choose(&headers, ctx.install(), which)?;
    let none = || source::none_good(&catalog.store, &tag, &passed, &[], None);
    let (reference, reader) = good.into_iter().nth(place).ok_or_else(none)?;
    let SourceInstall { namespace, release, .. } = reader.header().install.clone();
    let missing = missing(ctx, &RecordedInstall { namespace, release, context: None, cluster: None }, &catalog);
    let mut instead_of = source::instead_of(reader.header(), &passed, missing.last());
    // Of the same version, what is newer was passed over, or would have been taken.
    let version = &reader.header().opschain.version;
    let others =
        catalog.entries.iter().filter(|other| other.gone.is_none()).filter_map(|other| other.header.as_ref().ok());
    instead_of.extend(source::newer_of(reader.header(), others.filter(|other| other.opschain.version != *version)));
    Ok((reference, reader, instead_of))
}

/// The refusal of the newest bundle, where nobody trusted here has signed any.
fn untrusted(catalog: &Catalog, store: &dyn Store, trust: &Trust) -> Option<CommandError> {
    let readable = catalog.entries.iter().filter(|entry| entry.header.is_ok());
    let mut refusals = readable.map(|entry| entry.open(store, trust).err().map(CommandError::from));
    let newest = refusals.next()??;
    let is_untrusted = |error: &CommandError| error.exit() == Exit::Untrusted;
    let all = is_untrusted(&newest) && refusals.all(|other| other.is_some_and(|error| is_untrusted(&error)));
    all.then_some(newest)
}

/// Looks at the target, which is the install of `ctx`.
///
/// # Errors
/// The cluster or helm cannot be asked, or the operator's webhook does not answer.
pub(super) async fn gather(ctx: &Ctx) -> Result<TargetFacts> {
    let (helm, cluster, install) = (ctx.helm().await?, ctx.cluster().await?, ctx.install());
    let knows_databases = cluster.knows_databases().await?;
    let operator = if knows_databases { operator(cluster).await? } else { None };
    let may_stay: Vec<ObjectRef> = LEFT_BY_UNINSTALL.iter().map(|(kind, name)| ObjectRef::new(*kind, *name)).collect();
    let facts = TargetFacts {
        context: cluster.context().to_owned(),
        namespace_name: install.namespace.clone(),
        release: install.release.clone(),
        chart: install.chart.clone(),
        helm: helm.version().to_string(),
        helm_should_be: helm.should_be().map(ToString::to_string),
        knows_databases,
        operator,
        namespace: cluster.namespace_state(&may_stay).await?,
        no_vault: ctx.settings_or_defaults()?.vault.path.is_none(),
        open_run: runs::half_done(ctx).await?,
    };
    recording::record("restore-target", &facts)?;
    Ok(facts)
}

/// The operator. Where it is ready, its webhook must answer: nothing could be installed otherwise.
async fn operator(cluster: &Cluster) -> Result<Option<Operator>> {
    let operator = cluster.operator().await?;
    if operator.as_ref().is_some_and(Operator::is_ready) {
        cluster.check_operator_webhook().await?;
    }
    Ok(operator)
}

/// Checks that the bundle is whole: every byte as signed, and every member of the config opens.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check_whole(ctx: &Ctx, bundle: &OpenBundle) -> Result<()> {
    tokio::task::block_in_place(|| {
        bundle.reader.verify_stored(&ctx.events, &ctx.cancel)?;
        for member in bundle.reader.sealed_members().filter(|name| !name.starts_with("db/")) {
            bundle.member(member)?;
        }
        Ok(())
    })
}
