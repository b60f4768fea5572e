//! The operations: each a visible list of steps over the ports below.
//!
//! Nothing here prints, asks the terminal, or knows JSON: an operation takes a [`Ctx`] and typed arguments, emits
//! events, and returns a report value.

pub mod bundles;
pub mod config;
pub mod create;
pub mod deploy;
pub mod doctor;
pub mod drift;
pub mod guard;
pub mod helper;
pub mod init;
pub mod look;
pub mod objects;
pub mod open;
pub mod pump;
pub mod quiesce;
pub mod recover;
pub mod release;
pub mod restore;
pub mod runs;
pub mod server;
pub mod settle;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::error::{CommandError, Exit, Result};
use crate::event::Events;
use crate::journal::{self, Begun};
use crate::settings::{Install, Keyring, Settings};
use crate::values::Secrets;

/// What every operation works with: settings, where to keep state, who is asking, who listens.
///
/// It deliberately holds no connection: an operation opens what it needs and drops it. Keys that were opened stay in the
/// keyring, so that a passphrase is asked for once.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// The settings file's path, whether or not it exists.
    pub settings_path: PathBuf,
    /// The settings, if the file could be read; flags are already laid over them.
    settings: std::result::Result<Settings, std::sync::Arc<CommandError>>,
    /// The install that flags, settings and defaults name, in that order: known without a settings file, too.
    pub install: Install,
    /// Where runs are journalled: one folder a run.
    pub runs: PathBuf,
    /// The user's home folder, if there is one.
    pub home: Option<PathBuf>,
    /// Who asks, as records name it: `user@host`.
    pub who: String,
    /// Who listens.
    pub events: Events,
    /// The keys that were opened, and what is not to be shown.
    keyring: Keyring,
    /// Cancelled by the first Ctrl-C or TERM: finish or put back, then end.
    pub cancel: CancellationToken,
}

impl Ctx {
    /// Puts a context together.
    pub fn new(
        settings_path: PathBuf,
        settings: Result<Settings>,
        runs: PathBuf,
        home: Option<PathBuf>,
        who: String,
    ) -> Self {
        Self {
            settings_path,
            install: settings.as_ref().map_or_else(|_| Install::default(), |settings| settings.install.clone()),
            settings: settings.map_err(std::sync::Arc::new),
            runs,
            home,
            who,
            events: Events::none(),
            keyring: Keyring::default(),
            cancel: CancellationToken::new(),
        }
    }

    /// The same with a keyring, which goes with the settings wherever they go.
    #[must_use]
    pub fn with_keyring(mut self, keyring: Keyring) -> Self {
        if let Ok(settings) = &mut self.settings {
            settings.keyring = keyring.clone();
        }
        self.keyring = keyring;
        self
    }

    /// What is not to be shown: teach it whatever is read in the clear.
    pub fn secrets(&self) -> &Secrets {
        self.keyring.secrets()
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The settings.
    ///
    /// # Errors
    /// What was wrong when the file was read; said by each verb that needs settings, so that `init` and `doctor` can
    /// work without them.
    pub fn settings(&self) -> Result<&Settings> {
        self.settings.as_ref().map_err(|error| {
            let mut copy = CommandError::new(error.exit(), error.message());
            for cause in error.causes() {
                copy = copy.context_after(&cause);
            }
            error.hints().iter().fold(copy, |copy, hint| copy.hint(hint))
        })
    }

    /// The defaults, for the install that the flags name: for what works without a settings file.
    pub fn defaults(&self) -> Settings {
        Settings { install: self.install.clone(), keyring: self.keyring.clone(), ..Settings::default() }
    }

    /// The first record of a run's journal.
    ///
    /// # Errors
    /// The plan cannot be written.
    pub fn begun(
        &self,
        verb: &str,
        (namespace, release): (&str, &str),
        cluster_uid: String,
        plan: &impl serde::Serialize,
    ) -> Result<Begun> {
        let at = jiff::Timestamp::now();
        Ok(Begun {
            format: journal::FORMAT,
            run: journal::new_run_id(verb, at),
            verb: verb.to_owned(),
            namespace: namespace.to_owned(),
            release: release.to_owned(),
            cluster_uid,
            plan: serde_json::to_value(plan)
                .map_err(|e| CommandError::new(Exit::Failure, "write the plan").because(e))?,
            settings: self.settings_path.display().to_string(),
            dr_version: env!("CARGO_PKG_VERSION").to_owned(),
            who: self.who.clone(),
            at,
        })
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
