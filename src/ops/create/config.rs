//! What goes into a bundle beside the database.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::directory::BundledDirectory;
use super::plan::LiveInstall;
use super::preserved::preserved;
use super::vault_config::VaultConfig;
use crate::bundle::Writer;
use crate::cluster::{Cluster, KeptObject, ObjectRef};
use crate::crypt::Recipients;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::pairing::{self, KeyFingerprints};
use crate::ops::release::{self, Release};

/// The config of a bundle, in memory only.
pub(super) struct BundleConfig {
    vault: VaultConfig,
    release: Release,
    /// `config/secrets.yaml`.
    secrets: Zeroizing<Vec<u8>>,
    /// The Secrets and ConfigMaps in it.
    pub preserved: PreservedObjects,
    /// Of the keys that the data depends on.
    fingerprints: KeyFingerprints,
}

impl BundleConfig {
    /// Gathers the config of a live install. No key is needed.
    ///
    /// # Errors
    /// Something else is live by now; the vault has no chart, or has sealed it to others; Secrets may not be read.
    pub(super) async fn gather(ctx: &Ctx, live: &LiveInstall, recipients: &Recipients) -> Result<Self> {
        let (source, cluster, install) = (ctx.config_source()?, ctx.cluster().await?, ctx.install());
        let deployment = source.resolve(&ctx.vault_install(), &live.deployment)?;
        let stored = ctx.stored_values(live.revision).await?.unwrap_or_default();
        let from_vault = VaultConfig::gather(&source, &deployment, &stored, recipients)?;
        let asked = preserved(&stored);
        let objects = cluster.kept(&asked).await?;
        let archive = deployment.record.chart_archive.as_ref();
        let pairing_key = pairing::new_key()?;
        let fingerprints = pairing::fingerprints(&pairing_key, &live.system_identifier, &stored);
        let release = Release {
            release: install.release.to_string(),
            namespace: install.namespace.to_string(),
            revision: live.revision,
            chart: live.chart.clone(),
            chart_sha256: archive.map(|sealed| sealed.sha256.clone()).unwrap_or_default(),
            deployment: live.deployment.clone(),
            images: cluster.running_images().await?,
            replicas: live.replicas.clone(),
            database_image: live.database_image.clone(),
            operator: live.operator.clone(),
            kubernetes: cluster.server_version().to_owned(),
            helm: ctx.helm().await?.version_line(),
            pod_security: cluster.pod_security().await?,
            // Who may not read it has a bundle all the same; a restore of it takes the source for alive.
            cluster_uid: cluster.identity().await.ok(),
            pairing_key: Some(hex::encode(pairing_key.as_bytes())),
            sealed_layers: from_vault.layers(),
            layers: Vec::new(),
        };
        let secrets = release::secrets_to_bytes(&objects)?;
        let preserved = PreservedObjects { found: digests(&objects), asked };
        Ok(Self { secrets, preserved, vault: from_vault, release, fingerprints })
    }

    /// Adds all of it but the chart, the directory with it, in the order of the format.
    ///
    /// # Errors
    /// The writer's, or `release.json` cannot be written.
    pub(super) fn add_config(&self, writer: &mut Writer, directory: Option<&BundledDirectory>) -> Result<()> {
        let release = self.release.to_bytes()?;
        writer.pair_keys(self.fingerprints.clone());
        self.vault.add_values(writer)?;
        writer.seal_config("release.json", &release)?;
        writer.seal_config("secrets.yaml", &self.secrets)?;
        if let Some(directory) = directory {
            directory.add_to(writer)?;
        }
        Ok(self.vault.add_layers(writer)?)
    }

    /// Adds the chart, which stands behind all config and all volumes.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn add_chart(&self, writer: &mut Writer) -> Result<()> {
        Ok(self.vault.add_chart(writer, &self.release.chart)?)
    }

    /// What was gathered, in a line.
    pub(super) fn line(&self) -> String {
        format!("{}, {} Secrets and ConfigMaps", self.release.chart, self.preserved.found.len())
    }
}

/// Secrets and ConfigMaps as they were read. Holds no secret.
#[derive(Debug, Clone, Default)]
pub(super) struct PreservedObjects {
    asked: Vec<ObjectRef>,
    found: BTreeMap<ObjectRef, [u8; 32]>,
}

impl PreservedObjects {
    /// Reads them again: with another key than the bundle has, what was written since could not be opened.
    ///
    /// # Errors
    /// [`Exit::Drift`] naming one that is another, is gone or has come; they may not be read.
    pub(super) async fn require_same(&self, cluster: &Cluster) -> Result<()> {
        self.require(&digests(&cluster.kept(&self.asked).await?))
    }

    fn require(&self, now: &BTreeMap<ObjectRef, [u8; 32]>) -> Result<()> {
        let Some(other) = self.asked.iter().find(|object| self.found.get(object) != now.get(object)) else {
            return Ok(());
        };
        Err(CommandError::new(Exit::Drift, format!("{other} was changed while the bundle was made"))
            .hint("The bundle would hold it as it was before. Make it again: `dr bundle create`."))
    }
}

/// Of the content alone: what tools write onto an object opens nothing.
fn digests(objects: &[KeptObject]) -> BTreeMap<ObjectRef, [u8; 32]> {
    objects.iter().map(|object| (object.object(), object.content_sha256())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_another_by_now_or_gone_or_new_is_named() {
        let (key, late) = (ObjectRef::new("Secret", "key"), ObjectRef::new("Secret", "late"));
        let before = BTreeMap::from([(key.clone(), [1; 32])]);
        let seen = PreservedObjects { asked: vec![key.clone(), late.clone()], found: before.clone() };
        assert!(seen.require(&before).is_ok());
        let changed = |now: &[(&ObjectRef, u8)]| {
            let now = now.iter().map(|(object, byte)| ((*object).clone(), [*byte; 32])).collect();
            seen.require(&now).unwrap_err()
        };
        for found in [&[(&key, 2)][..], &[]] {
            let error = changed(found);
            assert_eq!(error.exit(), Exit::Drift);
            assert_eq!(error.message(), "Secret key was changed while the bundle was made");
        }
        assert!(changed(&[(&key, 1), (&late, 1)]).message().starts_with("Secret late was changed"));
    }
}
