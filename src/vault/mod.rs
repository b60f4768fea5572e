//! The config vault: the git repository with every deployed values.yaml, encrypted.
//!
//! ```text
//! vault.json  README.md  .gitattributes  fingerprint.key.age
//! recipients/<time>-<salt>.json                       who was added and removed
//! deployments/<namespace>.<release>/<time>-<salt>/    record.json (before helm)  outcome.json (after)
//!                                                     values.yaml.age  chart.tgz.age
//! ```
//!
//! Nothing in it is ever rewritten, so two histories always merge. A deployment whose values (or chart) are those of an
//! earlier one points at the same sealed bytes: git stores them once, and identical bytes make no new ciphertext. To
//! record needs public keys only; to read needs an identity. `docs/reference/vault-format.md` is the contract.

mod error;
mod git;
mod record;
mod select;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rand::TryRngCore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use error::VaultError;
pub use record::{
    Chart, Deployment, DeploymentId, FORMAT, How, Image, Install, Intent, Layer, Outcome, Previous, Record, Sealed,
    Status,
};

use crate::crypt::{Identities, Recipients};
use crate::values::FingerprintKey;
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

/// A config vault. It holds no open file: each call opens the repository anew and sees what others have written.
#[derive(Clone)]
pub struct Vault {
    path: PathBuf,
    signer: CommitSigner,
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
        let vault = Self { path: path.to_owned(), signer };
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
        };
        let files = vec![
            ("vault.json".to_owned(), Content::Bytes(json(&head)?)),
            ("README.md".to_owned(), Content::Bytes(README.into())),
            (".gitattributes".to_owned(), Content::Bytes(ATTRIBUTES.into())),
            (FINGERPRINT_FILE.to_owned(), Content::Bytes(sealed)),
            (format!("recipients/{}.json", new_id(at)?), Content::Bytes(json(&change)?)),
        ];
        let lock = git.lock()?;
        git.add(&lock, files, "Begin the config vault", by, at, &vault.signer)?;
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
        Ok(Self { path: path.to_owned(), signer })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public keys that new files are sealed to.
    ///
    /// # Errors
    /// When the list cannot be read, or is empty.
    pub fn recipients(&self) -> Result<Recipients, VaultError> {
        let git = Git::open(&self.path)?;
        let mut keys: Vec<String> = Vec::new();
        // The names begin with the time, so they are in order.
        for name in git.names("recipients")? {
            let path = format!("recipients/{name}");
            let bytes = git.read(&path)?.unwrap_or_default();
            let change: RecipientsChange = parse(&path, &bytes)?;
            keys.retain(|key| !change.remove.contains(key));
            keys.extend(change.add);
        }
        Recipients::parse(keys).map_err(VaultError::seal("read the vault's recipients"))
    }

    /// The key of the fingerprints.
    ///
    /// # Errors
    /// `Seal` when no identity opens it, `Damaged` when it is none.
    pub fn fingerprint_key(&self, identities: &Identities) -> Result<FingerprintKey, VaultError> {
        let sealed = self.sealed(&Git::open(&self.path)?, FINGERPRINT_FILE)?;
        let key = identities.open(&sealed).map_err(VaultError::seal("open the vault's fingerprint key"))?;
        FingerprintKey::from_bytes(&key)
            .ok_or_else(|| VaultError::Damaged { what: FINGERPRINT_FILE.into(), reason: "it holds no 32 bytes".into() })
    }

    /// Writes down what is about to be deployed, before helm runs: the values, the chart's archive, and the record, in
    /// one signed commit that is on the disk when this returns. Needs no identity.
    ///
    /// # Errors
    /// `Locked` when another process writes for half a minute; whatever sealing, signing or writing fails with. Nothing
    /// is recorded then.
    pub fn record_intent(
        &self,
        intent: Intent,
        values: &[u8],
        chart: Option<&[u8]>,
    ) -> Result<DeploymentId, VaultError> {
        let git = Git::open(&self.path)?;
        let lock = git.lock()?;
        let recipients = self.recipients()?;
        let known = self.all(&git)?;
        let id = new_id(intent.at)?;
        let folder = format!("deployments/{}/{id}", intent.install.folder());
        let mut files = Vec::new();
        let mut seal = |name: &str, plaintext: &[u8]| -> Result<Sealed, VaultError> {
            let (sealed, content) = self.seal_or_reuse(&git, &known, &recipients, name, plaintext)?;
            files.push((format!("{folder}/{name}"), content));
            Ok(sealed)
        };
        let layers = vec![Layer { kind: "values".into(), sealed: seal(VALUES_FILE, values)? }];
        let chart_archive = chart.map(|chart| seal(CHART_FILE, chart)).transpose()?;
        let last = select::last_written(&known, &intent.install);
        let previous = last.map(|deployment| Previous {
            id: deployment.id().clone(),
            record_sha256: deployment.record_sha256.clone(),
        });
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
            recipients: recipients.to_strings(),
            previous,
            dr: env!("CARGO_PKG_VERSION").into(),
            helm: intent.helm,
            operator: intent.operator,
        };
        files.push((format!("{folder}/record.json"), Content::Bytes(json(&record)?)));
        let Install { namespace, release, .. } = &record.install;
        let message = format!(
            "Record {} {id}\n\n{} {} for release {release} in namespace {namespace}\n",
            record.how.word(),
            record.chart.name,
            record.chart.version
        );
        git.add(&lock, files, &message, &record.by, Timestamp::now(), &self.signer)?;
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
        let word = self.outcome_word(&outcome);
        let message = format!("Outcome of {}: {word}\n", outcome.id);
        let files = vec![(format!("{folder}/outcome.json"), Content::Bytes(json(&outcome)?))];
        git.add(&lock, files, &message, by, Timestamp::now(), &self.signer)
    }

    fn outcome_word(&self, outcome: &Outcome) -> &'static str {
        match outcome.status {
            Status::Deployed => "deployed",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
        }
    }

    /// The deployments of an install, newest first.
    ///
    /// # Errors
    /// `Damaged` or `Format` when a record cannot be read.
    pub fn deployments(&self, install: &Install) -> Result<Vec<Deployment>, VaultError> {
        let mut all = self.all(&Git::open(&self.path)?)?;
        all.retain(|deployment| same_install(&deployment.record.install, install));
        Ok(all)
    }

    /// The deployment of the install that `selector` names: `latest`, `live`, `rev:7`, a name or its beginning or its
    /// last six characters, an OpsChain version, or a time (what was live then).
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, or what reading fails with.
    pub fn resolve(&self, install: &Install, selector: &str) -> Result<Deployment, VaultError> {
        select::resolve(&self.deployments(install)?, selector).cloned()
    }

    /// The exact bytes of the values, checked against the record's digest.
    ///
    /// # Errors
    /// `Seal` when no identity opens them, `Damaged` when they are not what was recorded.
    pub fn values(&self, deployment: &Deployment, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        match deployment.record.layers.as_slice() {
            [layer] => self.plaintext(deployment, &layer.sealed, identities),
            layers => Err(VaultError::Damaged {
                what: format!("record of {}", deployment.id()),
                reason: format!("it has {} layers of values, and this dr reads one", layers.len()),
            }),
        }
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

    fn plaintext(
        &self,
        of: &Deployment,
        sealed: &Sealed,
        identities: &Identities,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let path = format!("deployments/{}/{}/{}", of.record.install.folder(), of.id(), sealed.file);
        let stored = self.sealed(&Git::open(&self.path)?, &path)?;
        let plaintext = identities.open(&stored).map_err(VaultError::seal(format!("open {path} in the vault")))?;
        if digest(&plaintext) != sealed.sha256 {
            return Err(VaultError::Damaged { what: path, reason: "it is not the plaintext that was recorded".into() });
        }
        Ok(plaintext)
    }

    /// A sealed file: the newest rekeyed one that stands for it, else the file itself.
    fn sealed(&self, git: &Git, path: &str) -> Result<Vec<u8>, VaultError> {
        for rekeyed in git.names(REKEYED)?.into_iter().rev() {
            if let Some(bytes) = git.read(&format!("{REKEYED}/{rekeyed}/{path}"))? {
                return Ok(bytes);
            }
        }
        git.read(path)?
            .ok_or_else(|| VaultError::Damaged { what: path.to_owned(), reason: "the file is missing".into() })
    }

    /// Seals a file, or takes the sealed bytes of an earlier deployment with the same plaintext and recipients.
    fn seal_or_reuse(
        &self,
        git: &Git,
        known: &[Deployment],
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

    /// Every deployment of every install, newest first.
    fn all(&self, git: &Git) -> Result<Vec<Deployment>, VaultError> {
        let mut all = Vec::new();
        for install in git.names("deployments")? {
            for name in git.names(&format!("deployments/{install}"))? {
                let folder = format!("deployments/{install}/{name}");
                if DeploymentId::parse(&name).is_none() {
                    return Err(VaultError::Damaged { what: folder, reason: "no deployment has such a name".into() });
                }
                all.push(self.deployment(git, &folder)?);
            }
        }
        all.sort_by(|a, b| (b.record.at, b.id()).cmp(&(a.record.at, a.id())));
        Ok(all)
    }

    fn deployment(&self, git: &Git, folder: &str) -> Result<Deployment, VaultError> {
        let path = format!("{folder}/record.json");
        let bytes = git
            .read(&path)?
            .ok_or_else(|| VaultError::Damaged { what: path.clone(), reason: "the file is missing".into() })?;
        let record: Record = parse(&path, &bytes)?;
        if folder != format!("deployments/{}/{}", record.install.folder(), record.id) {
            return Err(VaultError::Damaged { what: path, reason: "it belongs to another folder".into() });
        }
        let path = format!("{folder}/outcome.json");
        let outcome = git.read(&path)?.map(|bytes| parse::<Outcome>(&path, &bytes)).transpose()?;
        Ok(Deployment { record, outcome, record_sha256: digest(&bytes) })
    }

    fn folder_of(&self, git: &Git, id: &DeploymentId) -> Result<String, VaultError> {
        for install in git.names("deployments")? {
            let folder = format!("deployments/{install}/{id}");
            if git.blob_id(&format!("{folder}/record.json"))?.is_some() {
                return Ok(folder);
            }
        }
        Err(VaultError::NotFound { selector: id.to_string() })
    }
}

fn same_install(a: &Install, b: &Install) -> bool {
    a.folder() == b.folder()
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn random(bytes: &mut [u8]) -> Result<(), VaultError> {
    rand::rngs::OsRng.try_fill_bytes(bytes).map_err(|e| VaultError::Io {
        act: "ask the machine for random bytes".into(),
        source: std::io::Error::other(e),
    })
}

fn new_id(at: Timestamp) -> Result<DeploymentId, VaultError> {
    let mut salt = [0; 3];
    random(&mut salt)?;
    Ok(DeploymentId::new(at, salt))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, VaultError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| damaged("a new record", &e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a file of the vault. The format is looked at first, so that a newer file is told from a damaged one.
fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, VaultError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        format: u32,
    }
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| damaged(what, &e))?;
    if versioned.format > FORMAT {
        return Err(VaultError::Format { what: what.to_owned(), found: versioned.format, known: FORMAT });
    }
    serde_json::from_slice(bytes).map_err(|e| damaged(what, &e))
}

fn damaged(what: &str, error: &serde_json::Error) -> VaultError {
    VaultError::Damaged { what: what.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
