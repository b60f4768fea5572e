//! Makes the bundle of a backup.

use std::time::Instant;

use serde::Serialize;

use super::backup::BackupFiles;
use super::facts;
use super::plan::ImportPlan;
use super::request::ImportRequest;
use super::seal::Sealing;
use crate::bundle::{self, BackupFacts, Header, OutOfScope, RawTotal, VerifiedBundle, Writer};
use crate::crypt::Recipients;
use crate::error::{CommandError, Exit, Result};
use crate::ops::carried::ConfigSource;
use crate::ops::create::VaultConfig;
use crate::ops::quiesce::RecordedReplicas;
use crate::ops::release::{Release, secrets_to_bytes};
use crate::ops::{Ctx, bundles, copy, published};
use crate::postgres::BackupManifest;
use crate::store::{DraftToken, Store};

/// A backup that is a bundle now.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    pub bundle: String,
    pub address: String,
    /// The command that checks all of it.
    pub verify: String,
    /// Its size in bytes.
    pub bytes: u64,
    pub opschain_version: String,
    /// The deployment whose config it holds.
    pub deployment: String,
    /// Files of the database that were compared with PostgreSQL's manifest.
    pub files: u64,
    /// The mirrors that it is in as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
    pub milliseconds: u64,
    /// What it does not hold.
    pub scope: Vec<OutOfScope>,
}

pub(super) fn carry_out(ctx: &Ctx, request: &ImportRequest, plan: &ImportPlan) -> Result<ImportReport> {
    let (began, store) = (Instant::now(), ctx.store_at(&plan.store)?);
    let mut token = DraftToken::named(plan.bundle.as_str());
    let (verified, files) = match made(ctx, request, plan, &*store, &mut token) {
        Ok(made) => made,
        Err(error) => {
            // What cannot be removed now is replaced by the next import of this backup.
            drop(store.abort(&token));
            return Err(error);
        }
    };
    let listed = published::entry(ctx, verified.record(), store.place());
    let proof = verified.proved_by(ctx.signer().ok()).publish(&*store)?;
    let bundle = plan.bundle.to_string();
    if let Err(error) = ctx.vault().and_then(|vault| Ok(vault.list_bundle(&listed)?)) {
        ctx.events
            .warn(format!("the config vault does not list bundle {bundle}: {error}"), error.hints().first().cloned());
    }
    Ok(ImportReport {
        address: store.address(&bundle),
        verify: bundles::verify_command(ctx, &format!("./{bundle}.tar"), None),
        bytes: proof.bytes,
        opschain_version: plan.opschain_version.clone(),
        deployment: plan.deployment.clone(),
        files,
        copies: copy::after_create(ctx, &bundle)?,
        milliseconds: began.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        scope: plan.scope.clone(),
        bundle,
    })
}

/// The bundle, read back, and how many files of the database are in it. `token` finds what is left of it.
fn made(
    ctx: &Ctx,
    request: &ImportRequest,
    plan: &ImportPlan,
    store: &dyn Store,
    token: &mut DraftToken,
) -> Result<(VerifiedBundle, u64)> {
    let (files, settings, signer) = (BackupFiles::find(&request.place)?, ctx.settings()?, ctx.bundle_signer()?);
    let manifest_bytes = files.manifest_bytes()?;
    let manifest = BackupManifest::parse(&manifest_bytes)
        .map_err(|error| CommandError::new(Exit::Damaged, "read backup_manifest").because(error))?;
    let recipients = Recipients::parse(&plan.recipients)?;
    let mut draft = Writer::create(store, header(ctx, plan)?, recipients.clone())?;
    *token = draft.token();
    add_config(ctx, request, plan, &recipients, &mut draft)?;
    let origin = files.wal_origin()?;
    let sealing = Sealing {
        files: &files,
        manifest: &manifest,
        manifest_bytes: &manifest_bytes,
        origin,
        mtime: u64::try_from(plan.created.as_second()).unwrap_or_default(),
        recipients,
        chunk_bytes: (settings.bundle.chunk_mib as usize) << 20,
        level: settings.bundle.zstd_level.0,
        cancel: &ctx.cancel,
    };
    let sealed = sealing.seal_into(&mut draft)?;
    let found = sealed.base.manifest.files.len() as u64;
    let facts = BackupFacts {
        database: bundle::BackupIdentity {
            system_identifier: plan.system_identifier.clone(),
            timeline: manifest.timeline,
            start_lsn: manifest.start,
            end_lsn: manifest.end,
            quiesce_lsn: None,
            wal_end_lsn: Some(sealed.until),
            wal_segment_bytes: origin.segment_bytes,
        },
        base: RawTotal { bytes: sealed.base_bytes },
        wal: RawTotal { bytes: sealed.wal_bytes },
        counts: [("database_files".to_owned(), found)].into(),
        scope: plan.scope.clone(),
    };
    let verified = draft.finish(facts, &signer)?.verify(&ctx.events, &ctx.cancel)?;
    Ok((verified, found))
}

fn header(ctx: &Ctx, plan: &ImportPlan) -> Result<Header> {
    let settings = ctx.settings()?;
    Ok(Header {
        format: bundle::FORMAT_WITHOUT_VOLUMES,
        id: plan.bundle.clone(),
        created: plan.created,
        dr_version: env!("CARGO_PKG_VERSION").into(),
        opschain: bundle::OpsChain {
            version: plan.opschain_version.clone(),
            chart_version: plan.chart_version.clone(),
        },
        install: bundle::SourceInstall {
            namespace: settings.install.namespace.clone(),
            release: settings.install.release.clone(),
            database_cluster: settings.database.cluster.clone(),
            // Nothing in a backup tells it.
            database_cluster_uid: String::new(),
        },
        postgresql: bundle::PostgreSql {
            major: plan.postgresql_major,
            version: plan.postgresql_major.to_string(),
            system_identifier: plan.system_identifier.clone(),
        },
        quiesce: bundle::QuiesceMode::None,
        estimated: bundle::Estimated { database_bytes: plan.database_bytes },
        recipients: Vec::new(),
        scope: plan.scope.clone(),
        replaced_by: None,
    })
}

/// The config as the vault has it. What only a look at the install would have told stays empty.
fn add_config(
    ctx: &Ctx,
    request: &ImportRequest,
    plan: &ImportPlan,
    recipients: &Recipients,
    draft: &mut Writer,
) -> Result<()> {
    let (vault, install) = (ctx.vault()?, ctx.install());
    let deployment = vault.resolve(&ctx.vault_install(), &plan.deployment)?;
    let merged = match deployment.record.merged_sha256 {
        Some(_) => Some(vault.values(&deployment, &ctx.identities()?)?),
        None => None,
    };
    let config = VaultConfig::recorded(&ConfigSource::Vault(vault), &deployment, merged, recipients)?;
    let release = Release {
        release: install.release.to_string(),
        namespace: install.namespace.to_string(),
        revision: deployment.revision().unwrap_or_default(),
        chart: plan.chart.clone(),
        chart_sha256: deployment.record.chart_archive.as_ref().map(|chart| chart.sha256.clone()).unwrap_or_default(),
        deployment: plan.deployment.clone(),
        images: Vec::new(),
        replicas: RecordedReplicas::of(&[]),
        database_image: String::new(),
        operator: deployment.record.operator.clone(),
        kubernetes: String::new(),
        helm: deployment.record.helm.clone().unwrap_or_default(),
        pod_security: Default::default(),
        cluster_uid: None,
        pairing_key: None,
        sealed_layers: config.layers(),
        layers: Vec::new(),
    };
    config.add_values(draft)?;
    draft.seal_config("release.json", &release.to_bytes()?)?;
    draft.seal_config("secrets.yaml", &secrets_to_bytes(&facts::kept(ctx, request)?)?)?;
    config.add_layers(draft)?;
    Ok(config.add_chart(draft, &plan.chart)?)
}
