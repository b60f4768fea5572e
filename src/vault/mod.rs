//! The config vault: the git repository with every deployed values.yaml, encrypted.
//!
//! ```text
//! vault.json  README.md  .gitattributes  fingerprint.key.age
//! recipients/<time>-<salt>.json                       who was added and removed
//! deployments/<namespace>.<release>/<time>-<salt>/    record.json (before helm)  outcome.json (after)
//!                                                     values.yaml.age  values-1.yaml.age ...  chart.tgz.age
//! ```
//!
//! Nothing in it is ever rewritten, so two histories always merge. A deployment whose values (or chart) are those of an
//! earlier one points at the same sealed bytes: git stores them once, and identical bytes make no new ciphertext. To
//! record needs public keys only; to read needs an identity. `docs/reference/vault-format.md` is the contract.

mod chain;
pub mod check;
mod error;
mod files;
mod fresh;
mod git;
mod kept;
mod layers;
mod merge;
mod note;
mod objects;
mod read;
mod recipients;
mod record;
mod rekey;
mod remote;
mod sealed;
mod select;
mod setup;
pub mod verify;
mod worktree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

pub use error::VaultError;
pub use layers::{GivenLayer, OpenLayer, given_content};
pub use merge::{Joined, Manner, TakenIn};
pub use recipients::{Holder, Holders, Past};
pub use record::{
    Chart, Deployment, DeploymentId, Ended, FORMAT, How, Image, Install, Intent, Layer, Outcome, Previous, Record,
    Sealed, Status,
};
pub use rekey::{RekeyPlan, Rekeyed};
pub use remote::{Fetched, Pushed, Remote};
pub use sealed::SealedFile;
pub use setup::GitSetting;

use crate::crypt::{Identities, Recipients};
use crate::values::overlay::LayerKind;
use files::{digest, json, new_id, parse, random};
use git::{Content, Git};
use record::{Head, RecipientsChange};

/// Signs a commit: takes its bytes, gives an armoured SSH signature made for the namespace `git`.
pub type CommitSigner = Arc<dyn Fn(&[u8]) -> Result<String, String> + Send + Sync>;

const README: &str = include_str!("../../templates/vault-readme.md");
const ATTRIBUTES: &str = include_str!("../../templates/vault-gitattributes");
const VALUES_FILE: &str = "values.yaml.age";
const CHART_FILE: &str = "chart.tgz.age";
const FINGERPRINT_FILE: &str = "fingerprint.key.age";
const REKEYED: &str = "rekeyed";

/// A config vault. It holds no open file: each call opens the repository anew and sees what others have written. Only
/// a [`Vault::snapshot`] keeps to one moment.
#[derive(Clone)]
pub struct Vault {
    path: PathBuf,
    signer: CommitSigner,
    seen: Option<Arc<read::Seen>>,
    kept: Arc<kept::Kept>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault at {}", self.path.display())
    }
}

impl Vault {
    /// Makes a new vault in a folder that is empty or not there, with its first signed commit.
    ///
    /// # Errors
    /// `Occupied` when there is something already; whatever sealing, signing or writing fails with. A crash leaves a
    /// folder without `vault.json` in its history, which `open` refuses and `init` finds occupied.
    pub fn init(path: &Path, recipients: &Recipients, by: &str, signer: CommitSigner) -> Result<Self, VaultError> {
        let git = Git::init(path)?;
        let vault = Self { path: path.to_owned(), signer, seen: None, kept: Arc::default() };
        let at = Timestamp::now();
        let mut key = Zeroizing::new([0u8; 32]);
        random(key.as_mut())?;
        let sealed = recipients.seal(key.as_slice()).map_err(VaultError::seal("seal the fingerprint key"))?;
        let head = Head { format: FORMAT, created: at, dr: env!("CARGO_PKG_VERSION").into() };
        let change = RecipientsChange {
            format: FORMAT,
            at,
            by: by.to_owned(),
            add: recipients.to_strings(),
            remove: Vec::new(),
            why: None,
        };
        let files = vec![
            ("vault.json".to_owned(), Content::Bytes(json(&head)?)),
            ("README.md".to_owned(), Content::Bytes(README.into())),
            (".gitattributes".to_owned(), Content::Bytes(ATTRIBUTES.into())),
            (FINGERPRINT_FILE.to_owned(), Content::Bytes(sealed)),
            (format!("recipients/{}.json", new_id(at)?), Content::Bytes(json(&change)?)),
        ];
        let lock = git.lock()?;
        git.add(&lock, files, "Begin the config vault", by, &vault.signer)?;
        Ok(vault)
    }

    /// Opens a vault.
    ///
    /// # Errors
    /// `Missing`, `Foreign` or `Format`; `Git` when the repository cannot be read, for example because it belongs to
    /// another user.
    pub fn open(path: &Path, signer: CommitSigner) -> Result<Self, VaultError> {
        let git = Git::open(path)?;
        let head = git.read("vault.json")?.ok_or_else(|| VaultError::Foreign { path: path.display().to_string() })?;
        parse::<Head>("vault.json", &head)?;
        Ok(Self { path: path.to_owned(), signer, seen: None, kept: Arc::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down what is about to be deployed, before helm runs: the values, the chart's archive, and the record, in
    /// one signed commit that is on the disk when this returns. Needs no identity.
    ///
    /// # Errors
    /// As [`Vault::record_layers`].
    pub fn record_intent(
        &self,
        intent: Intent,
        values: &[u8],
        chart: Option<&[u8]>,
    ) -> Result<DeploymentId, VaultError> {
        self.record_layers(intent, &[GivenLayer { kind: LayerKind::Values, name: None, bytes: values }], chart)
    }

    /// The same for values in several layers, all of which are kept, in their order.
    ///
    /// # Errors
    /// `Locked` when another process writes for half a minute, `Layers` when Helm would not read them; whatever sealing,
    /// signing or writing fails with. Nothing is recorded then.
    pub fn record_layers(
        &self,
        intent: Intent,
        given: &[GivenLayer<'_>],
        chart: Option<&[u8]>,
    ) -> Result<DeploymentId, VaultError> {
        self.write_record(intent, given, chart, None)
    }

    /// Writes down a deployment of the past, of which is known what came of it: record and outcome in one signed commit.
    /// A crash leaves both or neither.
    ///
    /// # Errors
    /// As [`Vault::record_layers`].
    pub fn record_past(
        &self,
        intent: Intent,
        values: &[u8],
        chart: Option<&[u8]>,
        ended: Ended,
    ) -> Result<DeploymentId, VaultError> {
        let given = [GivenLayer { kind: LayerKind::Values, name: None, bytes: values }];
        self.write_record(intent, &given, chart, Some(ended))
    }

    fn write_record(
        &self,
        intent: Intent,
        given: &[GivenLayer<'_>],
        chart: Option<&[u8]>,
        ended: Option<Ended>,
    ) -> Result<DeploymentId, VaultError> {
        let (merged_sha256, document_sha256) = (layers::merged_sha256(given)?, layers::document_sha256(given));
        let git = Git::open(&self.path)?;
        let lock = git.lock()?;
        let recipients = self.recipients()?;
        let known = self.records(&git)?;
        let id = new_id(intent.at)?;
        let folder = format!("deployments/{}/{id}", intent.install.folder());
        let mut files = Vec::new();
        let mut seal = |name: &str, plaintext: &[u8]| -> Result<Sealed, VaultError> {
            let (sealed, content) = self.seal_or_reuse(&git, &known, &recipients, name, plaintext)?;
            files.push((format!("{folder}/{name}"), content));
            Ok(sealed)
        };
        let salt = layers::salt(given);
        let mut layers = Vec::new();
        for (place, layer) in given.iter().enumerate() {
            layers.push(Layer {
                kind: layer.kind.word().to_owned(),
                name: layer.name.map(str::to_owned),
                sealed: seal(&layer.file(place), &layer.plaintext(place, &salt))?,
            });
        }
        let chart_archive = chart.map(|chart| seal(CHART_FILE, chart)).transpose()?;
        let (previous, joins) = chain::ends(&known, &intent.install);
        let record = Record {
            format: FORMAT,
            id: id.clone(),
            install: intent.install,
            at: intent.at,
            by: intent.by,
            why: intent.why,
            how: intent.how,
            opschain_version: intent.opschain_version,
            chart: intent.chart,
            chart_archive,
            layers,
            merged_sha256,
            document_sha256,
            recipients: recipients.to_strings(),
            previous,
            joins,
            dr: env!("CARGO_PKG_VERSION").into(),
            helm: intent.helm,
            operator: intent.operator,
        };
        files.push((format!("{folder}/record.json"), Content::Bytes(json(&record)?)));
        if let Some(ended) = ended {
            let outcome = ended.outcome(&record);
            files.push((format!("{folder}/outcome.json"), Content::Bytes(json(&outcome)?)));
        }
        let Install { namespace, release, .. } = &record.install;
        let message = format!(
            "Record {} {id}\n\n{} {} for release {release} in namespace {namespace}\n",
            record.how.word(),
            record.chart.name,
            record.chart.version
        );
        git.add(&lock, files, &message, &record.by, &self.signer)?;
        Ok(id)
    }

    /// Writes down what came of a deployment. The error in it must be scrubbed.
    ///
    /// # Errors
    /// `NotFound` when there is no such deployment, `Rewrite` when it has an outcome already.
    pub fn record_outcome(&self, outcome: Outcome, by: &str) -> Result<(), VaultError> {
        let git = Git::open(&self.path)?;
        let lock = git.lock()?;
        let folder = self.folder_of(&git, &outcome.id)?;
        let message = format!("Outcome of {}: {}\n", outcome.id, outcome.status.word());
        let files = vec![(format!("{folder}/outcome.json"), Content::Bytes(json(&outcome)?))];
        git.add(&lock, files, &message, by, &self.signer)
    }

    /// The chart's archive, checked likewise; `None` when the deployment was recorded without it.
    ///
    /// # Errors
    /// As [`Vault::values`].
    pub fn chart(
        &self,
        deployment: &Deployment,
        identities: &Identities,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let archive = deployment.record.chart_archive.as_ref();
        archive.map(|sealed| self.plaintext(deployment, sealed, identities)).transpose()
    }

    /// Seals a file, or takes the sealed bytes of an earlier deployment with the same plaintext and recipients.
    fn seal_or_reuse(
        &self,
        git: &Git,
        known: &[Arc<Deployment>],
        recipients: &Recipients,
        name: &str,
        plaintext: &[u8],
    ) -> Result<(Sealed, Content), VaultError> {
        let sha256 = digest(plaintext);
        let wanted = recipients.to_strings();
        for deployment in known.iter().filter(|deployment| deployment.record.recipients == wanted) {
            let layers = deployment.record.layers.iter().map(|layer| &layer.sealed);
            let Some(earlier) = layers.chain(&deployment.record.chart_archive).find(|sealed| sealed.sha256 == sha256)
            else {
                continue;
            };
            let path =
                format!("deployments/{}/{}/{}", deployment.record.install.folder(), deployment.id(), earlier.file);
            let Some(blob) = git.blob_id(&path)? else { continue };
            // Only bytes that are still what was recorded are worth pointing at.
            if digest(&git.blob(blob, &path)?) == earlier.sealed_sha256 {
                return Ok((Sealed { file: name.to_owned(), ..earlier.clone() }, Content::Blob(blob)));
            }
        }
        let bytes = recipients.seal(plaintext).map_err(VaultError::seal(format!("seal {name}")))?;
        let sealed =
            Sealed { file: name.to_owned(), sha256, bytes: plaintext.len() as u64, sealed_sha256: digest(&bytes) };
        Ok((sealed, Content::Bytes(bytes)))
    }
}

#[cfg(test)]
mod tests;
