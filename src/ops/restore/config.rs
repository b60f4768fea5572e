//! The values that a restore deploys: the bundle's own, or a file in their place. Either must hold the keys that the data
//! is written with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::facts::OpenBundle;
use crate::error::{CommandError, Exit, Result};
use crate::ops::pairing::{self, KeyFingerprints};
use crate::ops::quiesce::WRITERS;
use crate::ops::release::{Release, secrets_from_bytes};
use crate::ops::{Ctx, essentials, guard};
use crate::read;
use crate::redact::FingerprintKey;
use crate::values::Tree;
use crate::values::lint::lint;

/// A values file that is deployed in the place of the bundle's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenConfig {
    pub path: PathBuf,
    /// Of its bytes: a resume takes no other.
    pub sha256: String,
}

impl GivenConfig {
    /// The exact bytes.
    ///
    /// # Errors
    /// [`Exit::Resume`]: the file is gone, or was changed since the restore was planned.
    pub fn bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let changed = |what: String| {
            CommandError::new(Exit::Resume, what)
                .hint("Put the values that the restore was planned with back there, or `dr run abort` and begin anew.")
        };
        let name = self.path.display();
        let bytes = read::file(&self.path, read::VALUES).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| changed(format!("{name} cannot be read any more: {error}")))?;
        match sha256(&bytes) == self.sha256 {
            true => Ok(bytes),
            false => Err(changed(format!("{name} was changed since the restore was planned"))),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The values that will be deployed, once their keys were found to fit.
pub(super) struct PairedConfig {
    /// The file that they are from, where they are not the bundle's own.
    pub given: Option<GivenConfig>,
    pub values: Tree,
    /// The release that the bundle was made from.
    pub release: Release,
}

impl PairedConfig {
    /// How many workers ran when the bundle was made; where nobody had looked, as many as the values ask for.
    pub(super) fn workers(&self) -> Option<i32> {
        let asked = || i32::try_from(self.values.to_json()["apiWorker"]["replicas"].as_i64()?).ok();
        self.release.replicas.of_writer(WRITERS[1]).or_else(|| asked().filter(|workers| *workers > 0))
    }
}

/// The keys that the data of a bundle is written with, as fingerprints.
struct DataKeys {
    bundle: String,
    system_identifier: String,
    key: FingerprintKey,
    fingerprints: KeyFingerprints,
}

impl DataKeys {
    fn of(bundle: &OpenBundle, release: &Release, own: &Tree) -> Result<Self> {
        let (manifest, id) = (bundle.reader.manifest(), bundle.reader.header().id.to_string());
        let system_identifier = manifest.database.system_identifier.clone();
        let (key, fingerprints) = match release.pairing_key() {
            Some(key) => (key, manifest.key_fingerprints.clone()),
            // An older bundle tells by its own values only.
            None => {
                let key = pairing::new_key()?;
                let fingerprints = pairing::fingerprints(&key, &system_identifier, &own.to_json());
                (key, fingerprints)
            }
        };
        Ok(Self { bundle: id, system_identifier, key, fingerprints })
    }

    /// Refuses values, called `name`, with other keys.
    fn require(&self, name: &str, values: &Value) -> Result<()> {
        let given = pairing::fingerprints(&self.key, &self.system_identifier, values);
        pairing::refuse_unfit(name, &self.bundle, &pairing::unfit(&self.fingerprints, &given))
    }
}

/// Holds the keys of the bundle's own values, and of the file that is `given` in their place, against those that the data
/// is written with.
///
/// # Errors
/// [`Exit::Guard`] naming the keys that do not fit; the file cannot be read, or a finding in it is grave.
pub(super) fn pair(ctx: &Ctx, bundle: &OpenBundle, given: Option<&Path>) -> Result<PairedConfig> {
    let release = Release::parse(&bundle.member("config/release.json.age")?)?;
    let own = read_values("the values of the bundle", &bundle.member("config/values.yaml.age")?)?;
    let keys = DataKeys::of(bundle, &release, &own)?;
    let Some(path) = given else {
        keys.require("the config in the bundle", &own.to_json())?;
        return Ok(PairedConfig { given: None, values: own, release });
    };
    let (name, bytes) = (path.display().to_string(), read_file(path)?);
    ctx.secrets().register_document(&bytes);
    let tree = read_values(&name, &bytes)?;
    ctx.secrets().register_tree(&tree);
    guard::refuse_findings(&name, &lint(&tree, &bytes), &[])?;
    keys.require(&name, &tree.to_json())?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(PairedConfig { given: Some(GivenConfig { path, sha256: sha256(&bytes) }), values: tree, release })
}

/// Holds the keys of the install of `ctx` against those that the data of the bundle is written with: those in `values`,
/// and those that only Secrets hold.
///
/// # Errors
/// [`Exit::Guard`] naming what does not fit; the cluster cannot be asked.
pub(super) async fn require_live_fits(
    ctx: &Ctx,
    bundle: &OpenBundle,
    paired: &PairedConfig,
    values: &Value,
) -> Result<()> {
    DataKeys::of(bundle, &paired.release, &paired.values)?.require("the config of the install", values)?;
    let kept = secrets_from_bytes(&bundle.member("config/secrets.yaml.age")?)?;
    let others = essentials::others(ctx.cluster().await?, &kept).await?;
    if others.is_empty() {
        return Ok(());
    }
    let (id, named) = (&bundle.reader.header().id, others.join("; "));
    let what =
        format!("the Secrets of the install do not fit the data of bundle {id}: it is written with another {named}");
    Err(CommandError::new(Exit::Guard, what)
        .hint("Without --data-only values, chart and Secrets become the bundle's, too."))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    read::file(path, read::VALUES).map(Zeroizing::new).map_err(|error| {
        CommandError::new(Exit::NotFound, format!("{} cannot be read: {error}", path.display()))
            .hint("--config takes a values file; without it the bundle's own values are deployed.")
    })
}

/// Values as Helm reads them.
///
/// # Errors
/// It would not read them.
pub(super) fn read_values(name: &str, bytes: &[u8]) -> Result<Tree> {
    Tree::parse_or_explain(bytes).map_err(|error| {
        CommandError::new(Exit::Failure, format!("Helm would not read {name}"))
            .because(error)
            .hint("`dr config lint FILE` shows what is wrong with a file.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_values_file_that_was_changed_or_is_gone_since_the_plan_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.yaml");
        std::fs::write(&path, "a: 1\n").unwrap();
        let given = GivenConfig { path: path.clone(), sha256: sha256(b"a: 1\n") };
        assert_eq!(given.bytes().unwrap().as_slice(), b"a: 1\n");
        std::fs::write(&path, "a: 2\n").unwrap();
        let refused = || given.bytes().unwrap_err();
        assert!(refused().message().ends_with("was changed since the restore was planned"), "{}", refused());
        std::fs::remove_file(&path).unwrap();
        assert_eq!((refused().exit(), refused().hints().len()), (Exit::Resume, 1));
    }
}
