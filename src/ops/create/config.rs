//! What goes into a bundle beside the database.

use serde_json::Value;
use zeroize::Zeroizing;

use super::directory::BundledDirectory;
use super::plan::LiveInstall;
use super::vault_config::VaultConfig;
use crate::bundle::Writer;
use crate::cluster::ObjectRef;
use crate::crypt::Recipients;
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::pairing::{self, KeyFingerprints};
use crate::ops::release::{self, Release};
use crate::opschain::secrets::PRESERVED;
use crate::opschain::values::{CONFIG_MAP_NAMES, SECRET_NAMES};

/// The config of a bundle, in memory only.
pub(super) struct BundleConfig {
    vault: VaultConfig,
    release: Release,
    /// `config/secrets.yaml`.
    secrets: Zeroizing<Vec<u8>>,
    /// How many Secrets and ConfigMaps are in it.
    preserved: usize,
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
        let objects = cluster.kept(&preserved(&stored)).await?;
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
        let (secrets, preserved) = (release::secrets_to_bytes(&objects)?, objects.len());
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
        format!("{}, {} Secrets and ConfigMaps", self.release.chart, self.preserved)
    }
}

/// The Secrets and ConfigMaps that travel: those that every install has, and those that its values name.
fn preserved(values: &Value) -> Vec<ObjectRef> {
    let mut objects: Vec<ObjectRef> =
        PRESERVED.iter().map(|object| ObjectRef::new(object.kind.name(), object.name)).collect();
    for (kind, paths) in [("Secret", SECRET_NAMES), ("ConfigMap", CONFIG_MAP_NAMES)] {
        for name in paths.iter().flat_map(|path| names_at(values, path)) {
            let object = ObjectRef::new(kind, name);
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
    }
    objects
}

/// The texts at a path; `*` stands for every item of a list or map.
fn names_at(value: &Value, path: &[&str]) -> Vec<String> {
    match (path, value) {
        ([], Value::String(name)) if !name.is_empty() => vec![name.clone()],
        (["*", rest @ ..], Value::Array(items)) => items.iter().flat_map(|item| names_at(item, rest)).collect(),
        (["*", rest @ ..], Value::Object(items)) => items.values().flat_map(|item| names_at(item, rest)).collect(),
        ([key, rest @ ..], Value::Object(items)) => {
            items.get(*key).map(|item| names_at(item, rest)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_the_values_name_travel_too() {
        let values = serde_json::json!({
            "api": {"certificateSecretName": "own-cert"},
            "trow": {"imagePullSecrets": [{"name": "pull-a"}, {"name": "pull-b"}]},
            "db": {"cnpg": {"database": {"secretName": "opschain-db-credentials"}}},
            "buildService": {"certificateSecretName": ""},
        });
        let objects = preserved(&values);
        for name in ["own-cert", "pull-a", "pull-b"] {
            assert!(objects.contains(&ObjectRef::new("Secret", name)), "{name}");
        }
        assert_eq!(objects.iter().filter(|object| object.name == "opschain-db-credentials").count(), 1);
        assert!(objects.iter().all(|object| !object.name.is_empty()));
    }
}
