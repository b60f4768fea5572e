//! One deployment with its sealed files, taken from the config vault to where there is none: into a pod that makes bundles.
//!
//! Nothing in it opens without a key, and no key goes with it. Whether it is what is live is told by what helm has stored, as
//! with a vault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Ctx;
use crate::crypt::Hashed;
use crate::error::{CommandError, Exit, Result};
use crate::values::overlay::LayerKind;
use crate::vault::{Deployment, RecordedInstall, SealedFile, Vault};
use crate::{names, read};

/// The file that says what the others are.
const INDEX: &str = "deployment.json";
const FORMAT: u32 = 1;
const CHART: &str = "chart.tgz.age";

/// A deployment with all that a bundle takes on of it.
#[derive(Debug, Clone)]
pub(super) struct CarriedDeployment {
    pub deployment: Deployment,
    chart: Option<SealedFile>,
    layers: Vec<(LayerKind, SealedFile)>,
}

#[derive(Serialize, Deserialize)]
struct CarriedIndex {
    format: u32,
    deployment: Deployment,
    chart: Option<CarriedFile>,
    layers: Vec<CarriedLayer>,
}

#[derive(Serialize, Deserialize)]
struct CarriedLayer {
    kind: LayerKind,
    sealed: CarriedFile,
}

#[derive(Serialize, Deserialize)]
struct CarriedFile {
    file: String,
    sha256: String,
    recipients: Vec<String>,
}

impl CarriedDeployment {
    /// Takes a deployment out of the vault. No key is needed.
    ///
    /// # Errors
    /// A sealed file is missing or damaged.
    pub fn take(vault: &Vault, deployment: Deployment) -> Result<Self> {
        Ok(Self { chart: vault.sealed_chart(&deployment)?, layers: vault.sealed_layers(&deployment)?, deployment })
    }

    /// The name of the file that tells this from any other, sealed otherwise ones included.
    pub const INDEX: &str = INDEX;

    /// Whom all of its files are sealed to; `None` where they differ.
    pub fn sealed_to(&self) -> Option<Vec<String>> {
        let sorted = |sealed: &SealedFile| sealed.recipients.iter().cloned().collect::<BTreeSet<String>>();
        let mut all = self.layers.iter().map(|(_, sealed)| sealed).chain(&self.chart).map(sorted);
        let first = all.next()?;
        all.all(|other| other == first).then(|| first.into_iter().collect())
    }

    /// As files, by their names.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        let mut file = |name: String, sealed: &SealedFile| {
            files.insert(name.clone(), sealed.bytes.bytes().to_vec());
            let sha256 = hex::encode(sealed.bytes.sha256());
            CarriedFile { file: name, sha256, recipients: sealed.recipients.clone() }
        };
        let chart = self.chart.as_ref().map(|sealed| file(CHART.to_owned(), sealed));
        let layers = self.layers.iter().enumerate();
        let layers = layers
            .map(|(at, (kind, sealed))| CarriedLayer { kind: *kind, sealed: file(format!("layer-{at}.age"), sealed) })
            .collect();
        let index = CarriedIndex { format: FORMAT, deployment: self.deployment.clone(), chart, layers };
        let index = serde_json::to_vec(&index).map_err(|error| {
            CommandError::new(Exit::Failure, "write what is carried of the deployment").because(error)
        })?;
        files.insert(INDEX.to_owned(), index);
        Ok(files)
    }

    /// Reads what [`Self::files`] wrote.
    ///
    /// # Errors
    /// A file is missing, damaged, or of a newer format.
    pub fn read(folder: &Path) -> Result<Self> {
        let bad = |exit, name: &str, reason: String| {
            CommandError::new(exit, format!("the carried deployment cannot be used: {name}: {reason}"))
                .hint("On the host with the config vault, `dr schedule install --cronjob` takes it there anew.")
        };
        let bytes = |name: &str| {
            if !names::is_path_step(name) {
                return Err(bad(Exit::Damaged, INDEX, "it names a file elsewhere".into()));
            }
            read::file(&folder.join(name), read::PROGRAM).map_err(|error| bad(Exit::Vault, name, error.to_string()))
        };
        let index: serde_json::Value =
            serde_json::from_slice(&bytes(INDEX)?).map_err(|error| bad(Exit::Damaged, INDEX, error.to_string()))?;
        if index["format"].as_u64().is_some_and(|format| format > u64::from(FORMAT)) {
            return Err(bad(Exit::Format, INDEX, "its format is newer than this program".into()));
        }
        let index: CarriedIndex =
            serde_json::from_value(index).map_err(|error| bad(Exit::Damaged, INDEX, error.to_string()))?;
        let sealed = |carried: CarriedFile| {
            let CarriedFile { file, sha256, recipients } = carried;
            let found = Hashed::of(bytes(&file)?);
            match hex::encode(found.sha256()) == sha256 {
                true => Ok(SealedFile { bytes: found, recipients }),
                false => Err(bad(Exit::Damaged, &file, "it is not what was taken from the vault".into())),
            }
        };
        Ok(Self {
            chart: index.chart.map(sealed).transpose()?,
            layers: index
                .layers
                .into_iter()
                .map(|layer| Ok((layer.kind, sealed(layer.sealed)?)))
                .collect::<Result<_>>()?,
            deployment: index.deployment,
        })
    }
}

/// Where a bundle has the config of a deployment from.
pub(super) enum ConfigSource<'c> {
    Vault(&'c Vault),
    Carried(Box<CarriedDeployment>),
}

impl ConfigSource<'_> {
    /// The deployments of the install that are known here, newest first.
    ///
    /// # Errors
    /// The vault cannot be read.
    pub fn deployments(&self, install: &RecordedInstall) -> Result<Vec<Deployment>> {
        match self {
            Self::Vault(vault) => Ok(vault.deployments(install)?),
            Self::Carried(carried) => {
                let of = &carried.deployment.record.install;
                let is_ours = (&of.namespace, &of.release) == (&install.namespace, &install.release)
                    && !of.is_in_another_cluster(install);
                Ok(is_ours.then(|| carried.deployment.clone()).into_iter().collect())
            }
        }
    }

    /// The deployment with this id.
    ///
    /// # Errors
    /// There is none.
    pub fn resolve(&self, install: &RecordedInstall, id: &str) -> Result<Deployment> {
        match self {
            Self::Vault(vault) => Ok(vault.resolve(install, id)?),
            Self::Carried(carried) if carried.deployment.id().as_str() == id => Ok(carried.deployment.clone()),
            Self::Carried(carried) => Err(CommandError::new(
                Exit::NotFound,
                format!("deployment {id} is not here: what was carried is {}", carried.deployment.id()),
            )),
        }
    }

    /// The chart as it is sealed.
    ///
    /// # Errors
    /// It is damaged.
    pub fn chart(&self, deployment: &Deployment) -> Result<Option<SealedFile>> {
        match self {
            Self::Vault(vault) => Ok(vault.sealed_chart(deployment)?),
            Self::Carried(carried) => Ok(carried.chart.clone()),
        }
    }

    /// The layers of the values as they are sealed.
    ///
    /// # Errors
    /// One is damaged.
    pub fn layers(&self, deployment: &Deployment) -> Result<Vec<(LayerKind, SealedFile)>> {
        match self {
            Self::Vault(vault) => Ok(vault.sealed_layers(deployment)?),
            Self::Carried(carried) => Ok(carried.layers.clone()),
        }
    }
}

impl Ctx {
    /// The vault, or what was taken from one.
    ///
    /// # Errors
    /// Neither is there, or it cannot be read.
    pub(super) fn config_source(&self) -> Result<ConfigSource<'_>> {
        match &self.settings()?.vault.carried {
            Some(folder) => Ok(ConfigSource::Carried(Box::new(CarriedDeployment::read(folder)?))),
            None => Ok(ConfigSource::Vault(self.vault()?)),
        }
    }
}
