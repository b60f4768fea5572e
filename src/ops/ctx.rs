//! Everything that a verb works with for one install: opened once, when first asked for, and then kept.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::given::{CommandLine, GivenInstall};
use super::keyring::Keyring;
use crate::bundle::{SIGNATURE_NAMESPACE, Trust};
use crate::cluster::Cluster;
use crate::crypt::{COMMIT_NAMESPACE, Identities, Recipients, Signer, TrustedSigners};
use crate::error::{CommandError, Exit, Result, trust_form};
use crate::event::Events;
use crate::helm::Helm;
use crate::journal::{FolderRuns, RunStore};
use crate::read;
use crate::settings::{Install, Settings, SettingsError};
use crate::store::Store;
use crate::values::Secrets;
use crate::vault::{CommitSigner, Deployment, DeploymentId, Vault, VaultTrust};

/// Values that were opened, kept for whoever needs them next.
pub(super) type OpenedValues = Arc<Zeroizing<Vec<u8>>>;

/// How many deployments, counted from the newest, other programs may still quote: what is live, what was tried last,
/// and what was live before.
const QUOTED: usize = 3;

/// What every verb works with: one install, its settings, and what they name. Made once, in `main`; a second install is
/// a second context, made of the first by [`Ctx::for_install`]. Clones are cheap and share what was opened.
#[derive(Clone)]
pub struct Ctx {
    /// The settings file's path, whether or not it exists.
    pub settings_path: PathBuf,
    /// The folder of what this host keeps between commands.
    pub state: PathBuf,
    /// Where runs are kept.
    pub runs: Arc<dyn RunStore>,
    /// The user's home folder, if there is one.
    pub home: Option<PathBuf>,
    /// Who asks, as records name it: `user@host`.
    pub who: String,
    /// The command line, for hints that name it again.
    pub given: CommandLine,
    /// What it, or the environment, says of the install.
    pub given_install: GivenInstall,
    /// Who listens.
    pub events: Events,
    /// Cancelled by the first Ctrl-C or TERM: finish or put back, then end.
    pub cancel: CancellationToken,
    /// The settings with the flags laid over them; the defaults where the file could not be read.
    settings: Arc<Settings>,
    unread: Option<Unread>,
    keyring: Keyring,
    /// Identity files that were given for this time, beside that of the settings.
    more_identities: Arc<[PathBuf]>,
    pub(super) opened: Arc<OpenedOnce>,
}

/// Why there are no settings but the defaults.
#[derive(Clone)]
struct Unread {
    /// There is no file at all.
    missing: bool,
    /// The defaults do in its place.
    by_defaults: bool,
    error: Arc<CommandError>,
}

/// What was opened for this install. Lost with the last clone.
#[derive(Default)]
pub(super) struct OpenedOnce {
    pub(super) cluster_uid: OnceLock<Option<String>>,
    signers: OnceLock<TrustedSigners>,
    vault: OnceLock<Vault>,
    store: OnceLock<Arc<dyn Store>>,
    pub(super) helm: OnceCell<Helm>,
    pub(super) cluster: OnceCell<Cluster>,
    values: Mutex<HashMap<DeploymentId, OpenedValues>>,
    pub(super) stored: tokio::sync::Mutex<HashMap<u32, Arc<serde_json::Value>>>,
    registered: AtomicBool,
}

/// Shows which install it is for, and nothing of what it holds.
impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx").field("install", self.install()).finish_non_exhaustive()
    }
}

impl Ctx {
    /// Puts a context together. `flags` lays what the command line says over the install, whether the settings file
    /// could be read or not. What the host keeps between commands goes below the folder `state`.
    pub fn new(
        settings_path: PathBuf,
        settings: std::result::Result<Settings, SettingsError>,
        flags: impl FnOnce(&mut Install),
        state: PathBuf,
        home: Option<PathBuf>,
        who: String,
    ) -> Self {
        let (mut settings, unread) = match settings {
            Ok(settings) => (settings, None),
            Err(error) => {
                let missing = matches!(error, SettingsError::Missing { .. });
                (Settings::default(), Some(Unread { missing, by_defaults: missing, error: Arc::new(error.into()) }))
            }
        };
        flags(&mut settings.install);
        Self {
            settings_path,
            settings: Arc::new(settings),
            unread,
            runs: Arc::new(FolderRuns::new(state.join("runs"))),
            state,
            home,
            who,
            given: CommandLine::default(),
            given_install: GivenInstall::default(),
            events: Events::none(),
            keyring: Keyring::default(),
            more_identities: Arc::default(),
            cancel: CancellationToken::new(),
            opened: Arc::default(),
        }
    }

    /// A settings file that was named must be there: nothing goes by defaults in its place.
    pub fn refuse_defaults(&mut self) {
        if let Some(unread) = &mut self.unread {
            unread.by_defaults = false;
        }
    }

    /// What is wrong with a settings file that is there. A file that was named and is missing may be of another install
    /// than any that is known here.
    pub(super) fn broken_settings(&self) -> Option<&CommandError> {
        self.unread.as_ref().filter(|unread| !unread.missing && !unread.by_defaults).map(|unread| &*unread.error)
    }

    /// The same for what needs nothing but the cluster: the defaults do where the settings file cannot be read.
    #[must_use]
    pub(super) fn by_defaults(&self) -> Self {
        let unread = self.unread.clone().map(|unread| Unread { by_defaults: true, ..unread });
        Self { unread, opened: Arc::default(), ..self.clone() }
    }

    /// The same with these keys.
    #[must_use]
    pub fn with_keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = keyring;
        self
    }

    /// The same keys and redactor with other settings.
    #[must_use]
    pub fn with_settings(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        Self { settings: Arc::new(settings), opened: Arc::default(), ..self.clone() }
    }

    /// The same, opening with these identity files, too: for this time alone.
    #[must_use]
    pub fn opening_with(&self, files: &[PathBuf]) -> Self {
        Self { more_identities: files.into(), ..self.clone() }
    }

    /// The install that flags, settings and defaults name, in that order: known without a settings file, too.
    pub fn install(&self) -> &Install {
        &self.settings.install
    }

    /// The settings, for verbs that need a settings file.
    ///
    /// # Errors
    /// What was wrong when the file was read; said by each verb that needs settings, so that `init` and `doctor` can
    /// work without them.
    pub fn settings(&self) -> Result<&Settings> {
        self.unread.as_ref().map_or(Ok(&self.settings), |unread| Err(unread.error.copy()))
    }

    /// The settings, or the defaults where there is no settings file at all: a restore needs nothing but the bundle, a
    /// key, a cluster and helm.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn settings_or_defaults(&self) -> Result<&Settings> {
        if self.unread.as_ref().is_some_and(|unread| unread.by_defaults) { Ok(&self.settings) } else { self.settings() }
    }

    /// What is not to be shown: register whatever is read in the clear.
    pub fn secrets(&self) -> &Secrets {
        self.keyring.secrets()
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whom everything is sealed to.
    ///
    /// # Errors
    /// None is set, or one is no age recipient.
    pub fn recipients(&self) -> Result<Recipients> {
        let recipients = &self.settings()?.keys.recipients;
        if recipients.is_empty() {
            return Err(CommandError::new(
                Exit::Keys,
                "setting `keys.recipients` is empty: there is nobody to seal to",
            )
            .hint("`dr init` makes a key of this host; add an escrow key of somebody else beside it."));
        }
        Ok(Recipients::parse(recipients)?)
    }

    /// The private keys of this host, and those that were given beside them. A passphrase is asked for where a file has
    /// one; what the keys open is registered and no longer shown.
    ///
    /// # Errors
    /// No file is set or given, one cannot be read, or the passphrase is wrong or nowhere to be had.
    pub fn identities(&self) -> Result<Identities> {
        // A host that has lost its own does with what it is given.
        let has_own = self.settings_or_defaults()?.keys.identity.as_deref().is_some_and(Path::exists);
        let mut all = if self.more_identities.is_empty() || has_own { Some(self.own_identities()?) } else { None };
        for path in self.more_identities.iter() {
            let given = self.keyring.open(path)?;
            all = Some(match all {
                Some(known) => known.and(given),
                None => given,
            });
        }
        all.map_or_else(|| self.own_identities(), Ok)
    }

    fn own_identities(&self) -> Result<Identities> {
        let path = self.required(&self.settings_or_defaults()?.keys.identity, "keys.identity")?;
        // One that is given for this time alone may be on a medium that knows no owners.
        Identities::require_private(path)?;
        let opened = self.keyring.open(path)?;
        // What needed a passphrase may be opened later than helm and the cluster.
        if self.opened.helm.initialized() || self.opened.cluster.initialized() {
            self.register_newest_deployments();
        }
        Ok(opened)
    }

    /// The private keys of the file that was given, else of this host.
    ///
    /// # Errors
    /// As [`Ctx::identities`].
    pub fn identities_of(&self, given: Option<&Path>) -> Result<Identities> {
        // What a plan or a journal took from the settings is no other file than theirs.
        let own = self.settings.keys.identity.as_deref();
        given.filter(|path| Some(*path) != own).map_or_else(|| self.identities(), |path| self.keyring.open(path))
    }

    /// The private keys of this host, where it has some.
    ///
    /// # Errors
    /// They are set, and cannot be had.
    pub fn identities_if_set(&self) -> Result<Option<Identities>> {
        let is_set = self.settings()?.keys.identity.is_some() || !self.more_identities.is_empty();
        is_set.then(|| self.identities()).transpose()
    }

    /// The path of a setting that must be set; `key` is its name.
    fn required<'a>(&self, value: &'a Option<PathBuf>, key: &str) -> Result<&'a Path> {
        // Where there is no settings file at all, that is what is missing.
        let missing = || self.unread.as_ref().filter(|unread| unread.missing).map(|unread| unread.error.copy());
        value.as_deref().ok_or_else(|| missing().unwrap_or_else(|| unset(key)))
    }

    /// The key that signs.
    ///
    /// # Errors
    /// No file is set, or it cannot be read.
    pub fn signer(&self) -> Result<Signer> {
        Ok(Signer::load(self.required(&self.settings()?.keys.signing_key, "keys.signing_key")?)?)
    }

    /// The key that signs bundles, which this host itself believes: what it signs, everybody else would refuse, too. Where
    /// no trusted signers are set, as in a schedule's pod, nobody is asked.
    ///
    /// # Errors
    /// As [`Ctx::signer`] and [`Ctx::trusted_signers`]; [`Exit::Untrusted`] where the key has ended, is revoked or is not
    /// among those that are trusted with bundles.
    pub fn bundle_signer(&self) -> Result<Signer> {
        const PROBE: &[u8] = b"whether this host believes itself";
        let signer = self.signer()?;
        if self.settings()?.keys.trusted_signers.is_none() {
            return Ok(signer);
        }
        let believed = signer.sign(SIGNATURE_NAMESPACE, PROBE);
        let trusted = self.trusted_signers(None)?;
        match believed.and_then(|mark| trusted.verify(SIGNATURE_NAMESPACE, PROBE, mark.as_bytes())) {
            Ok(_) => Ok(signer),
            Err(error) => {
                let what = format!("nobody would believe a bundle that this host signs: {error}");
                Err(CommandError::new(Exit::Untrusted, what)
                    .hint("`dr doctor` shows the line by which its key is trusted, which the other hosts need, too.")
                    .hint("One that has ended or is revoked gets a successor: name the new file as `signing_key` under [keys]."))
            }
        }
    }

    /// Whose signatures are believed: those of the file that was given, else of the settings; never those of revoked
    /// keys.
    ///
    /// # Errors
    /// No file is set, it cannot be read, or others may write to it.
    pub fn trusted_signers(&self, given: Option<&Path>) -> Result<TrustedSigners> {
        let keys = &self.settings_or_defaults()?.keys;
        let read = |path: &Path| -> Result<TrustedSigners> {
            let signers = TrustedSigners::load(path)?;
            for line in signers.skipped() {
                self.events.warn(line.clone(), Some(format!("A line looks like this: `{}`.", trust_form())));
            }
            self.without_revoked(signers)
        };
        match given {
            Some(path) => read(path),
            None => kept(&self.opened.signers, || read(self.required(&keys.trusted_signers, "keys.trusted_signers")?))
                .cloned(),
        }
    }

    fn without_revoked(&self, signers: TrustedSigners) -> Result<TrustedSigners> {
        Ok(match &self.settings_or_defaults()?.keys.revoked_signers {
            Some(revoked) => signers.without_revoked(revoked)?,
            None => signers,
        })
    }

    /// Whose bundles are believed: as [`Ctx::trusted_signers`], with the key that a person vouches for, or anybody's
    /// but those of revoked keys. The list of the config vault tells when bundles were made whose keys have ended since.
    ///
    /// # Errors
    /// As [`Ctx::trusted_signers`].
    pub fn trust(&self, given: Option<&Path>, key: Option<String>, anyone: bool) -> Result<Trust> {
        if anyone {
            return Ok(Trust::Anyone(self.without_revoked(TrustedSigners::default())?));
        }
        let signers = self.trusted_signers(given)?.vouching(key);
        if !signers.has_ended() {
            return Ok(Trust::Signers(signers));
        }
        // Without a vault that is believed, no date is known.
        let listed = self.vault_to_read().and_then(|vault| Ok(vault.listed_bundles()?)).unwrap_or_default();
        let dates = listed.into_iter().map(|listed| (listed.manifest_sha256, listed.at)).collect();
        Ok(Trust::Signers(signers.dated(dates)))
    }

    /// The store.
    ///
    /// # Errors
    /// None is set, or it cannot be used.
    pub fn store(&self) -> Result<Arc<dyn Store>> {
        let place = || self.settings()?.store.place().ok_or_else(|| unset("store.path"));
        kept(&self.opened.store, || self.store_at(&place()?)).cloned()
    }

    /// The config vault.
    ///
    /// # Errors
    /// None is set, it is none, or there is no key to sign its commits with.
    pub fn vault(&self) -> Result<&Vault> {
        kept(&self.opened.vault, || {
            let path = self.required(&self.settings()?.vault.path, "vault.path")?;
            let (signer, trusted) = (self.signer()?, self.trusted_signers(None)?);
            let sign: CommitSigner = Arc::new(move |bytes| {
                let signature = signer.sign(COMMIT_NAMESPACE, bytes).map_err(|e| e.to_string())?;
                // What this host itself would not believe is not written at all.
                trusted.verify(COMMIT_NAMESPACE, bytes, signature.as_bytes()).map_err(|e| e.to_string())?;
                Ok(signature)
            });
            Ok(Vault::open(path, sign)?
                .trusting(self.vault_trust(path)?)
                .telling(self.events.warner())
                .stopping(self.cancel.clone()))
        })
    }

    /// The vault for who only reads: no signing key has to be there.
    ///
    /// # Errors
    /// None is set, or it is none.
    pub fn vault_to_read(&self) -> Result<Vault> {
        let path = self.required(&self.settings_or_defaults()?.vault.path, "vault.path")?;
        Ok(self.vault_unverified(Some(path))?.trusting(self.vault_trust(path)?))
    }

    /// The vault that was given, else that of the settings, for who believes nothing of what is in it.
    ///
    /// # Errors
    /// None is set, or it is none.
    pub fn vault_unverified(&self, given: Option<&Path>) -> Result<Vault> {
        let path = match given {
            Some(path) => path,
            None => self.required(&self.settings_or_defaults()?.vault.path, "vault.path")?,
        };
        Ok(Vault::open(path, Arc::new(|_| Err("it was opened to be read only".into())))?)
    }

    /// What the vault at `path` has to show before it is used.
    ///
    /// # Errors
    /// It is not known whom to trust.
    pub fn vault_trust(&self, path: &Path) -> Result<VaultTrust> {
        let own = self.settings_or_defaults()?.keys.recipients.clone();
        Ok(VaultTrust::new(self.trusted_signers(None)?, own, path, &self.state))
    }

    /// Registers the secrets of the newest deployments, which helm and the cluster may quote: in a refusal, a stored
    /// description, a pod's log. As far as the vault opens without asking anybody; a vault that does not open is the
    /// failure of a verb that needs it.
    pub fn register_newest_deployments(&self) {
        if self.opened.registered.load(Ordering::Relaxed) {
            return;
        }
        if let Some(newest) = self.newest_values() {
            newest.iter().for_each(|values| self.secrets().register_document(values));
            self.opened.registered.store(true, Ordering::Relaxed);
        }
    }

    /// The values of the newest deployment, where they open without asking anybody.
    pub(super) fn newest_values_at_hand(&self) -> Option<OpenedValues> {
        self.newest_values()?.into_iter().next()
    }

    fn newest_values(&self) -> Option<Vec<OpenedValues>> {
        let identities = self.keyring.at_hand(self.settings.keys.identity.as_deref()?)?.unwitnessed();
        let newest = self.vault().ok()?.deployments(&self.install_in(None)).ok()?;
        let mut seen = HashSet::new();
        let distinct = newest.iter().filter(|deployment| seen.insert(deployment.values_sha256().map(str::to_owned)));
        Some(distinct.take(QUOTED).filter_map(|deployment| self.values_of(deployment, &identities).ok()).collect())
    }

    /// The values of a deployment of this install, opened once.
    ///
    /// # Errors
    /// No identity opens them, or they are damaged.
    pub(super) fn values_of(&self, deployment: &Deployment, identities: &Identities) -> Result<OpenedValues> {
        let mut opened = self.opened.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = opened.get(deployment.id()) {
            return Ok(Arc::clone(values));
        }
        let values = Arc::new(self.vault()?.values(deployment, identities)?);
        opened.insert(deployment.id().clone(), Arc::clone(&values));
        Ok(values)
    }

    /// Values that a person named, a file or a pipe, or stdin for `-`: what to call them, and their bytes.
    ///
    /// # Errors
    /// They cannot be read, or the work was stopped before they were there.
    pub fn named_values(&self, path: &Path) -> Result<(String, Zeroizing<Vec<u8>>)> {
        let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
        let failed = |e| CommandError::new(Exit::NotFound, format!("read the values from {name}")).unread(path, e);
        let bytes = read::file_or_stdin(path, read::VALUES, &self.cancel).map_err(failed)?;
        Ok((name, bytes))
    }

    /// An error if the user has asked to stop.
    ///
    /// # Errors
    /// [`Exit::Interrupted`].
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(interrupted()) } else { Ok(()) }
    }
}

/// The error of work that was stopped by the user.
pub fn interrupted() -> CommandError {
    CommandError::new(Exit::Interrupted, "interrupted")
}

/// What the cell holds, opened first where it is empty. Two threads may both open; one result is kept.
fn kept<T>(cell: &OnceLock<T>, open: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(opened) = cell.get() {
        return Ok(opened);
    }
    let opened = open()?;
    Ok(cell.get_or_init(|| opened))
}

fn unset(key: &str) -> CommandError {
    CommandError::new(Exit::Settings, format!("setting `{key}` is not set"))
        .hint("Write it into dr.toml; where there is none, `dr init` makes one with all of them. `dr doctor` shows what else is missing.")
}
