//! Finding and opening what an operand names. Vault, keys and store are opened when something needs them: two files
//! are compared on a host that has none of these.

use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::super::chance::warn_of_chance;
use super::super::tried_since;
use super::operand::{FORMS, Operand, Selector};
use crate::bundle::{BundleId, Reader};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::ops::{Ctx, bundles};
use crate::values::Tree;
use crate::vault::{Deployment, RecordedInstall};

/// The member of a bundle that holds the values.
const BUNDLED: &str = "config/values.yaml.age";
/// How an age file begins.
const SEALED: &[u8] = b"age-encryption.org/";

/// Values that were found.
pub(super) struct FoundValues {
    /// What they are, in words.
    pub(super) name: String,
    /// Their exact bytes.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// What Helm reads.
    pub(super) tree: Tree,
}

/// Whose bundles are believed, and which key opens.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The identity file, if not the settings'.
    pub identity: Option<PathBuf>,
    /// The trusted signers, if not the settings'.
    pub trusted_signers: Option<PathBuf>,
    /// The fingerprint of one key more, for which a person vouches.
    pub trust_key: Option<String>,
    /// Take anybody's bundle.
    pub any_signer: bool,
}

/// Opens operands, as `access` allows.
pub(super) struct Operands<'c> {
    pub(super) ctx: &'c Ctx,
    pub(super) access: &'c Access,
}

impl Operands<'_> {
    /// The private keys.
    pub(super) fn identities(&self) -> Result<Identities> {
        self.ctx.identities_of(self.access.identity.as_deref())
    }

    /// Finds what `text` names and reads it.
    pub(super) async fn find(&self, text: &str) -> Result<FoundValues> {
        let operand = Operand::parse(text).ok_or_else(|| {
            CommandError::new(Exit::Usage, format!("`{text}` names nothing with values in it"))
                .hint(format!("Name {FORMS}."))
        })?;
        let (name, bytes) = match operand {
            Operand::Stdin => self.ctx.named_values(Path::new("-"))?,
            Operand::Release(revision) => self.release(text, revision).await?,
            Operand::File(path) => self.file(&path)?,
            Operand::Deployment(selector) => self.deployment(text, &selector)?,
            Operand::Bundle(name) => self.bundle(Some(&name).filter(|name| *name != "latest").cloned())?,
            Operand::Git { revision, path } => self.committed(&revision, &path)?,
            Operand::VaultAt(revision) => self.vault_at(&revision)?,
            Operand::Word(word) => self.word(&word)?,
        };
        self.read(name, bytes)
    }

    /// Reads values that were opened: whatever of them is secret is shown by nobody from then on.
    pub(super) fn read(&self, name: String, bytes: Zeroizing<Vec<u8>>) -> Result<FoundValues> {
        self.ctx.secrets().register_document(&bytes);
        let tree = Tree::parse_or_keep(&bytes);
        if let Some(error) = tree.unread() {
            let text = format!("{name}: {error}: compared as text");
            self.ctx.events.warn(text, None);
        }
        warn_of_chance(self.ctx, &name, &tree);
        self.ctx.secrets().register_tree(&tree);
        Ok(FoundValues { name, bytes, tree })
    }

    /// A bare word: a file of the working folder, a deployment, a bundle of the store; but only one of them.
    fn word(&self, word: &str) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let is_file = Path::new(word).is_file();
        let own = Selector { install: None, which: word.to_owned() };
        if word.parse::<BundleId>().is_ok() && !is_file {
            return self.bundle(Some(word.to_owned()));
        }
        let looks_like_file = [".yaml", ".yml", ".age", ".tar", ".json"].iter().any(|end| word.ends_with(end));
        let deployment = if looks_like_file { None } else { Some(self.resolve(&own)) };
        match (is_file, deployment) {
            (true, Some(Ok(deployment))) => Err(CommandError::new(
                Exit::Usage,
                format!("`{word}` names a file of this folder and deployment {}", deployment.id()),
            )
            .hint(format!("Say ./{word} for the file, or deployment:{word} for the deployment."))),
            (true, _) => self.file(word),
            (false, Some(Ok(deployment))) => self.opened(word, &deployment),
            (false, Some(Err(error))) if error.exit() == Exit::NotFound => {
                Err(error.hint(format!("What can be compared: {FORMS}.")))
            }
            (false, Some(Err(error))) => Err(error),
            (false, None) => Err(CommandError::new(Exit::NotFound, format!("there is no file {word}"))
                .hint(format!("What can be compared: {FORMS}."))),
        }
    }

    fn install(&self, selector: &Selector) -> RecordedInstall {
        match &selector.install {
            Some((namespace, release)) => {
                RecordedInstall { namespace: namespace.clone(), release: release.clone(), context: None, cluster: None }
            }
            None => self.ctx.vault_install(),
        }
    }

    fn resolve(&self, selector: &Selector) -> Result<Deployment> {
        let found = self.ctx.vault()?.resolve(&self.install(selector), &selector.which)?;
        if selector.install.is_none() {
            tried_since(self.ctx, &selector.which, &found);
        }
        Ok(found)
    }

    fn deployment(&self, text: &str, selector: &Selector) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let deployment = self.resolve(selector).map_err(|error| match &selector.install {
            Some((namespace, release)) => error.context(format!("release {release} in namespace {namespace}")),
            None => error,
        })?;
        let (name, bytes) = self.opened(text, &deployment)?;
        let name = match &selector.install {
            Some((namespace, release)) => format!("{namespace}.{release}:{name}"),
            None => name,
        };
        Ok((name, bytes))
    }

    fn opened(&self, text: &str, deployment: &Deployment) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let name = deployment.id().to_string();
        let bytes = self.ctx.vault()?.values(deployment, &self.identities()?)?;
        if text != name {
            self.ctx.events.note(format!("{text} is {name}, {}", deployment.state()));
        }
        Ok((name, bytes))
    }

    async fn release(&self, text: &str, revision: Option<u32>) -> Result<(String, Zeroizing<Vec<u8>>)> {
        if Path::new(text).is_file() {
            return Err(CommandError::new(Exit::Usage, format!("`{text}` is what helm has stored, and a file here"))
                .hint(format!("Say ./{text} for the file, or run this in another folder.")));
        }
        let install = &self.ctx.settings()?.install;
        let helm = self.ctx.helm().await?;
        let name = match revision {
            Some(revision) => format!("release {} revision {revision}", install.release),
            None => format!("release {}", install.release),
        };
        let values = helm.get_values(&install.release, revision).await?.ok_or_else(|| {
            CommandError::new(Exit::NotFound, format!("there is no {name} in namespace {}", install.namespace))
                .hint("`helm history` shows the revisions; `dr deploy -f values.yaml` makes the first.")
        })?;
        // Helm says `null` of a release without values of its own.
        let text = if values.is_null() { "{}".to_owned() } else { values.to_string() };
        Ok((name, Zeroizing::new(text.into_bytes())))
    }

    fn file(&self, path: &str) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let path = Path::new(path);
        if is_tar(path) {
            return self.bundle_file(path);
        }
        let (name, bytes) = self.ctx.named_values(path)?;
        self.unsealed(name, bytes)
    }

    /// Opens bytes that age has sealed; leaves others as they are.
    fn unsealed(&self, name: String, bytes: Zeroizing<Vec<u8>>) -> Result<(String, Zeroizing<Vec<u8>>)> {
        if !bytes.starts_with(SEALED) {
            return Ok((name, bytes));
        }
        let plain = self
            .identities()?
            .open(&bytes)
            .map_err(|error| CommandError::from(error).context(format!("open {name}")))?;
        Ok((name, plain))
    }

    fn bundle(&self, name: Option<String>) -> Result<(String, Zeroizing<Vec<u8>>)> {
        self.ctx.settings()?;
        let reader = bundles::reader(self.ctx, &self.which(name))?;
        self.bundled(&reader)
    }

    fn bundle_file(&self, path: &Path) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let absolute = std::path::absolute(path)
            .map_err(|e| CommandError::new(Exit::NotFound, format!("bundle file {}", path.display())).because(e))?;
        let reader = bundles::reader(self.ctx, &self.which(Some(absolute.display().to_string())))?;
        self.bundled(&reader)
    }

    fn which(&self, bundle: Option<String>) -> bundles::BundleRequest {
        let Access { identity, trusted_signers, trust_key, any_signer } = self.access.clone();
        bundles::BundleRequest { bundle, store: None, identity, trusted_signers, trust_key, any_signer }
    }

    fn bundled(&self, reader: &Reader) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let values = reader.open_member(BUNDLED, &self.identities()?)?;
        Ok((format!("bundle {}", reader.header().id), values))
    }

    /// A file of the git repository that the working folder is in, as it was at a revision.
    fn committed(&self, revision: &str, path: &str) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let name = format!("{path} at {revision}");
        let failed = |act: &str, e: git2::Error| git_error(format!("{name}: {act}"), &e);
        let repository = git2::Repository::discover(".").map_err(|_| {
            CommandError::new(Exit::NotFound, format!("{name}: this folder is in no git repository"))
                .hint("Run it in the repository that has the file: `cd REPOSITORY`, then the same again.")
        })?;
        let tree = commit(&repository, revision).and_then(|commit| commit.tree());
        let tree = tree.map_err(|e| failed("there is no such revision", e))?;
        let entry = match path.strip_prefix("./") {
            // As git does: from the working folder, not from the top.
            Some(below) => tree.get_path(&prefix(&repository).join(below)),
            None => tree.get_path(Path::new(path)),
        };
        let object = entry.and_then(|entry| entry.to_object(&repository));
        let object = object.map_err(|e| failed("there is no such file at that revision", e))?;
        let blob = object.as_blob().ok_or_else(|| {
            CommandError::new(Exit::NotFound, format!("{name}: it is no file")).hint("Name a file, not a folder.")
        })?;
        self.unsealed(name, Zeroizing::new(blob.content().to_vec()))
    }

    /// What was live when the vault stood at a commit: of the deployments whose outcome that commit holds, the one that
    /// went live last.
    fn vault_at(&self, revision: &str) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let vault = self.ctx.vault()?;
        let install = self.ctx.vault_install();
        let failed = |e: git2::Error| git_error(format!("the config vault at {revision}"), &e);
        let repository = git2::Repository::open(vault.path()).map_err(failed)?;
        let tree = commit(&repository, revision).and_then(|commit| commit.tree()).map_err(failed)?;
        let folder = PathBuf::from("deployments").join(format!("{}.{}", install.namespace, install.release));
        let known = |deployment: &Deployment| {
            tree.get_path(&folder.join(deployment.id().as_str()).join("outcome.json")).is_ok()
        };
        let when = |deployment: &Deployment| deployment.outcome.as_ref().map(|outcome| outcome.at);
        let all = vault.deployments(&install)?;
        let live =
            all.iter().filter(|deployment| deployment.is_deployed() && known(deployment)).max_by_key(|d| when(d));
        let live = live.ok_or_else(|| {
            CommandError::new(Exit::NotFound, format!("nothing was live when the config vault stood at {revision}"))
                .hint(format!(
                    "`git -C {} log` shows its commits; for a file of your own repository say git:REV:PATH.",
                    vault.path().display()
                ))
        })?;
        self.opened(&format!("git:{revision}"), live)
    }
}

fn commit<'r>(repository: &'r git2::Repository, revision: &str) -> std::result::Result<git2::Commit<'r>, git2::Error> {
    repository.revparse_single(revision)?.peel_to_commit()
}

/// The working folder, from the top of the repository.
fn prefix(repository: &git2::Repository) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let top = repository.workdir().and_then(|top| top.canonicalize().ok()).unwrap_or_default();
    here.strip_prefix(&top).map(Path::to_owned).unwrap_or_default()
}

fn git_error(what: String, error: &git2::Error) -> CommandError {
    CommandError::new(Exit::NotFound, what)
        .context_after(error.message())
        .hint("`git log --oneline -- PATH` shows the revisions; the form is git:REV:PATH.")
}

/// Whether the file begins as a tar archive does. A pipe is none: what is read of it here would be lost.
fn is_tar(path: &Path) -> bool {
    let mut head = [0; 262];
    let is_read = path.is_file() && std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok());
    is_read && head.ends_with(b"ustar")
}
