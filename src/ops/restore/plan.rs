//! Everything that a restore looks at before it touches anything.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ChartSource, KeyFiles, Plan};
use crate::bundle::catalog::GoodBundle;
use crate::bundle::{BundleReference, Catalog, Header, OutOfScope, Reader, Trust};
use crate::cluster::{Cluster, NamespaceState, ObjectRef};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::ops::release::Release;
use crate::ops::{Ctx, bundles, look, runs};
use crate::opschain::secrets::LEFT_BY_UNINSTALL;
use crate::opschain::version::{self, Version};
use crate::settings::{Install, Settings};

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A bundle's name or its beginning, or a file; the newest good one of `version` when absent.
    pub bundle: Option<String>,
    /// The OpsChain version that is to run; the bundle's own when absent.
    pub version: Option<String>,
    /// The age identity file, if not the settings'.
    pub identity: Option<PathBuf>,
    /// The trusted signers, if not the settings'.
    pub trusted_signers: Option<PathBuf>,
    /// Take anybody's bundle, signed or not.
    pub any_signer: bool,
    /// The chart to install a newer version from, if not the settings'.
    pub chart: Option<String>,
    /// Restore under an older version, or under one that cannot be compared, all the same.
    pub allow_version: bool,
}

/// How the bundle's version and the target's stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The same build.
    Exact,
    /// The target is newer: the application migrates the data when it starts.
    Newer,
    /// The target is older or cannot be compared, and the user insisted.
    Overridden,
}

/// Looks at everything, and touches nothing.
///
/// # Errors
/// The first thing that would make the restore fail half way or bring back something else, with its own exit code.
pub async fn plan(ctx: &Ctx, asked: &Asked) -> Result<Plan> {
    let file = asked.bundle.as_deref().map(bundles::bundle_file).transpose()?.flatten();
    // A file needs no settings; the store is known by them.
    let settings = if file.is_some() { ctx.settings_or_defaults()? } else { ctx.settings()? };
    let keys = key_files(settings, asked)?;
    let trust = super::trust_of(ctx, &keys)?;
    let (source, reader) = match file {
        Some(path) => {
            let source = BundleReference::File { path };
            let reader = bundles::open(&source, &trust)?;
            (source, reader)
        }
        None => find(ctx, asked, &trust)?,
    };
    let identities = ctx.identities_of(Some(&keys.identity))?;
    let release = Release::parse(&reader.open_member("config/release.json.age", &identities)?)?;
    let header = reader.header();
    let mut warnings = Vec::new();
    let (version, gate) = version_gate(header, asked, &mut warnings)?;
    let chart = chart(settings, asked, header, &version, gate)?;

    let (namespace, release_name) = target(ctx, settings, header, &mut warnings);
    let target = ctx.for_install(Install {
        namespace: namespace.clone(),
        release: release_name.clone(),
        ..ctx.install().clone()
    });
    let helm = target.helm().await?;
    if let Some(safe) = helm.should_be() {
        warnings.push(format!("helm {} has known holes: {safe} has them closed", helm.version()));
    }
    let cluster = target.cluster().await?;
    let operator = look::operator(cluster).await?;
    if let Some(theirs) = &release.operator
        && *theirs != operator
    {
        warnings.push(format!("the source ran operator {theirs}, and the target runs {operator}"));
    }
    if let Err(error) = refuse_occupied(cluster).await {
        let uid = cluster.identity().await?;
        return Err(runs::open_behind(ctx, error, |begun| begun.namespace == namespace && begun.cluster_uid == uid));
    }
    whole(ctx, &reader, &identities)?;
    if reader.signature().signer().is_none() {
        warnings.push("nobody trusted has signed this bundle: restoring it runs whatever its maker put into it".into());
    }
    let manifest = reader.manifest();
    Ok(Plan {
        bundle: header.id.to_string(),
        manifest_sha256: reader.manifest_sha256().to_owned(),
        bytes: reader.bytes(),
        signer: reader.signature().signer().map(str::to_owned),
        made_by: header.opschain.version.clone(),
        version: version.tag(),
        gate,
        chart,
        release: release_name,
        context: cluster.context().to_owned(),
        database: header.install.database_cluster.clone(),
        database_bytes: manifest.base.raw.bytes,
        system_identifier: manifest.database.system_identifier.clone(),
        lsn: manifest.database.last_lsn(),
        keys,
        helm: helm.version().to_string(),
        operator,
        scope: scope(&reader),
        warnings,
        namespace,
        source,
    })
}

/// The bundle is whole: every byte as signed, and every member of the config opens.
fn whole(ctx: &Ctx, reader: &Reader, identities: &Identities) -> Result<()> {
    tokio::task::block_in_place(|| {
        reader.verify_stored(&ctx.events, &ctx.cancel)?;
        for member in reader.sealed_members().filter(|name| !name.starts_with("db/")) {
            reader.open_member(member, identities)?;
        }
        Ok(())
    })
}

fn key_files(settings: &Settings, asked: &Asked) -> Result<KeyFiles> {
    let identity = match &asked.identity {
        Some(path) => path.clone(),
        None => settings.keys.identity.clone().ok_or_else(|| {
            CommandError::new(Exit::Keys, "no age identity is known that could open the bundle")
                .hint("Name the identity file with --identity, or set `keys.identity`.")
        })?,
    };
    let trusted_signers = match (&asked.trusted_signers, asked.any_signer) {
        (_, true) => None,
        (Some(path), false) => Some(path.clone()),
        (None, false) => Some(settings.keys.trusted_signers.clone().ok_or_else(|| {
            CommandError::new(Exit::Untrusted, "no trusted signers are known to check the bundle against")
                .hint("Name a file of allowed signers with --trusted-signers, or take the risk with --any-signer.")
        })?),
    };
    Ok(KeyFiles { identity, trusted_signers })
}

/// Looks a name up in the store, or the newest good one of a version.
fn find(ctx: &Ctx, asked: &Asked, trust: &Trust) -> Result<GoodBundle> {
    let Some(text) = &asked.bundle else {
        let version = asked.version.as_deref().ok_or_else(|| {
            CommandError::new(Exit::Usage, "neither a bundle nor a version is named")
                .hint("`dr bundle list` shows what there is; `dr bundle restore --version V` takes the newest good one that V made.")
        })?;
        return newest(ctx, version, trust);
    };
    let store = ctx.store()?;
    let catalog = Catalog::read(&*store)?;
    let entry = catalog.find(text)?;
    Ok((entry.reference.clone(), entry.open(&*store, trust)?))
}

fn newest(ctx: &Ctx, version: &str, trust: &Trust) -> Result<GoodBundle> {
    let store = ctx.store()?;
    let catalog = Catalog::read(&*store)?;
    let tag = parse_version(version)?.tag();
    let (good, passed) = catalog.newest_good(&*store, trust, &tag);
    good.ok_or_else(|| {
        let mut error = CommandError::new(
            Exit::NotFound,
            format!("store {} has no good bundle made by OpsChain {tag}", catalog.store),
        );
        for other in &passed {
            error = error.hint(format!("{} was passed over: {}.", other.name, other.reason));
        }
        match catalog.versions().as_slice() {
            [] => error.hint("The store has no bundle at all: name a file, or set `store.path`."),
            versions => error.hint(format!("It has bundles of {}: name one to restore it.", versions.join(", "))),
        }
    })
}

fn parse_version(text: &str) -> Result<Version> {
    text.parse().map_err(|e: version::BadVersion| {
        CommandError::new(Exit::Usage, e.to_string()).hint("OpsChain versions look like 2026-08-20 or 2026.8.20.")
    })
}

fn version_gate(header: &Header, asked: &Asked, warnings: &mut Vec<String>) -> Result<(Version, Gate)> {
    let made_by = parse_version(&header.opschain.version)?;
    let Some(text) = &asked.version else { return Ok((made_by, Gate::Exact)) };
    let target = parse_version(text)?;
    let refused = |why: String| {
        CommandError::new(
            Exit::Version,
            format!("a bundle of OpsChain {made_by} is not restored to run under {target}: {why}"),
        )
        .hint(format!("Restore it to run under {made_by}: `dr bundle restore {} --version {made_by}`.", header.id))
        .hint("If you know better: --allow-version.")
    };
    match version::gate(&made_by, &target) {
        version::VersionGate::Exact => Ok((target, Gate::Exact)),
        version::VersionGate::Newer { between, warnings: more } => {
            // The files of one major version do not open under another, whatever anybody insists on.
            if let (Some(from), Some(to)) = (made_by.postgres_major(), target.postgres_major())
                && from != to
            {
                return Err(refused(format!("PostgreSQL {from} became {to} between them")));
            }
            if between.len() > 1 {
                let names: Vec<String> = between.iter().map(|release| release.date.to_string()).collect();
                warnings.push(format!("{target} is {} releases after {made_by}: {}", names.len(), names.join(", ")));
            }
            warnings.extend(more);
            Ok((target, Gate::Newer))
        }
        version::VersionGate::Older { .. } if !asked.allow_version => {
            Err(refused("its database schema is older, and OpsChain does not go back".into()))
        }
        version::VersionGate::Unknown { why } if !asked.allow_version => Err(refused(why)),
        version::VersionGate::Older { .. } | version::VersionGate::Unknown { .. } => {
            warnings.push(format!("you insist on running data of {made_by} under {target}"));
            Ok((target, Gate::Overridden))
        }
    }
}

fn chart(settings: &Settings, asked: &Asked, header: &Header, version: &Version, gate: Gate) -> Result<ChartSource> {
    if gate == Gate::Exact && asked.chart.is_none() {
        return Ok(ChartSource::Bundle);
    }
    let number = version.chart().or_else(|| asked.chart.as_ref().map(|_| header.opschain.chart_version.clone()));
    let version = number.ok_or_else(|| {
        CommandError::new(Exit::Version, format!("OpsChain {version} has no chart version of its own"))
            .hint("Name the chart's file with --chart.")
    })?;
    Ok(ChartSource::Pulled {
        reference: asked.chart.clone().unwrap_or_else(|| settings.install.chart.clone()),
        version,
    })
}

/// Where to restore to: what flags or settings say, else where the bundle is from.
fn target(ctx: &Ctx, settings: &Settings, header: &Header, warnings: &mut Vec<String>) -> (String, String) {
    let source = &header.install;
    let default = Install::default();
    let untold = settings.install.namespace == default.namespace && settings.install.release == default.release;
    if untold && !ctx.settings_path.exists() {
        return (source.namespace.clone(), source.release.clone());
    }
    let target = (settings.install.namespace.clone(), settings.install.release.clone());
    if target.0 != source.namespace {
        warnings.push(format!(
            "the bundle is from namespace {}, and its values still name it: check env.OPSCHAIN_KUBERNETES_NAMESPACE after the restore",
            source.namespace
        ));
    }
    target
}

async fn refuse_occupied(cluster: &Cluster) -> Result<()> {
    let may_stay: Vec<ObjectRef> = LEFT_BY_UNINSTALL.iter().map(|(kind, name)| ObjectRef::new(*kind, *name)).collect();
    match cluster.namespace_state(&may_stay).await? {
        NamespaceState::Absent | NamespaceState::Empty { .. } => Ok(()),
        NamespaceState::Terminating => {
            Err(CommandError::new(Exit::NotEmpty, format!("namespace {} is still being deleted", cluster.namespace()))
                .hint("Wait until it is gone, and try again."))
        }
        NamespaceState::Occupied { objects, .. } => {
            let names: Vec<String> = objects.iter().take(5).map(ToString::to_string).collect();
            let more = objects.len().saturating_sub(names.len());
            let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
            Err(CommandError::new(
                Exit::NotEmpty,
                format!("namespace {} is not empty: it has {}{tail}", cluster.namespace(), names.join(", ")),
            )
            .hint("A restore never overwrites an install. Restore to another namespace with -n, or remove this one yourself when nothing in it is needed any more: `kubectl delete namespace`."))
        }
    }
}

fn scope(reader: &Reader) -> Vec<OutOfScope> {
    reader.manifest().scope.clone()
}
