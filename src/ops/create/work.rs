//! What the steps of a bundle work with.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::config::{BundleConfig, PreservedObjects};
use super::directory::{self, BundledDirectory};
use super::plan::CreatePlan;
use crate::agent::protocol::BackupDone;
use crate::bundle::{OutOfScope, VerifiedBundle, Writer};
use crate::cluster::transport::Agent;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::lease::LeaseHolder;
use crate::ops::pump::Pump;
use crate::settings::Quiesce;
use crate::store::Store;

/// One bundle in the making.
pub(super) struct CreateWork {
    pub ctx: Ctx,
    pub plan: CreatePlan,
    /// The run's id.
    pub run: String,
    /// Where the draft is, whatever the settings say by now.
    pub store: Arc<dyn Store>,
    pub handles: Mutex<LiveHandles>,
    /// What became of the bundled LDAP server's entries: how many are in the bundle, or why none is.
    pub directory: OnceLock<std::result::Result<u64, OutOfScope>>,
}

/// What the process holds from step to step. It is lost with the process: an interrupted bundle run is not resumed but put back.
#[derive(Default)]
pub(super) struct LiveHandles {
    pub lease: LeaseHolder,
    pub bundle: BundleState,
    /// What holds the chart, until that is in the draft.
    pub config: Option<BundleConfig>,
    /// The Secrets and ConfigMaps that are in the draft.
    pub preserved: PreservedObjects,
    /// Sees when the application serves again.
    pub serving: Option<AbortOnDropHandle<Option<Timestamp>>>,
}

/// How far the bundle is, with what is needed to continue.
#[derive(Default)]
pub(super) enum BundleState {
    /// Nothing is held: not yet, or not any more.
    #[default]
    Nothing,
    /// The helper pod waits for work.
    Helper(Agent),
    /// The draft holds the config.
    Sealed { agent: Agent, draft: Writer },
    /// Base backup and log are on their way into the draft.
    Copying(Pump),
    /// The draft holds everything but manifest and signature.
    Filled { agent: Agent, draft: Writer, done: BackupDone },
    /// The bundle is whole and was read back.
    Verified { agent: Agent, bundle: VerifiedBundle },
    /// The bundle is published.
    Published(Agent),
}

impl BundleState {
    /// Takes what is held; the next state is the caller's to set.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl CreateWork {
    /// The work of a plan.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn new(ctx: &Ctx, plan: CreatePlan, run: String) -> Result<Self> {
        let store = ctx.store_at(&plan.store)?;
        Ok(Self { ctx: ctx.clone(), plan, run, store, handles: Mutex::default(), directory: OnceLock::new() })
    }

    /// Reads users and groups of the bundled LDAP server, where the plan asks for it.
    ///
    /// # Errors
    /// The cluster cannot be asked at all.
    pub async fn read_directory(&self) -> Result<Option<BundledDirectory>> {
        if !self.plan.directory {
            return Ok(None);
        }
        let read = BundledDirectory::read(&self.ctx).await?;
        let _ = self.directory.set(read.as_ref().map(|directory| directory.entries).map_err(Clone::clone));
        Ok(read.ok())
    }

    /// What the bundle does not hold, as it was planned, and the directory where it could not be read.
    pub fn planned_scope(&self) -> Vec<OutOfScope> {
        let unread = self.directory.get().and_then(|read| read.as_ref().err());
        unread.into_iter().chain(&self.plan.scope).cloned().map(OutOfScope::into_text).collect()
    }

    /// How many of what is in the bundle.
    pub fn counts(&self, database_files: u64) -> BTreeMap<String, u64> {
        let entries = self.directory.get().and_then(|read| read.as_ref().ok());
        let entries = entries.map(|entries| (directory::COUNT.to_owned(), *entries));
        entries.into_iter().chain([("database_files".to_owned(), database_files)]).collect()
    }

    /// Takes the lease, or makes sure that it was not lost: asked again before every act that another run must not see
    /// half done.
    pub async fn hold_lease(&self) -> Result<()> {
        self.handles.lock().await.lease.take(&self.ctx, &self.run).await
    }

    /// A step's work while the application is stopped: given up when the lease goes, so that who can start it does.
    pub async fn while_held<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let guarded = self.handles.lock().await.lease.guarded(&self.ctx.install().release, work);
        guarded.await
    }

    /// A copy's work: as [`Self::while_held`] where the application is stopped meanwhile. Where it runs, a copy that comes
    /// straight from the pod outlives an API server that is away for a while.
    pub async fn while_held_if_stopped<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.plan.quiesce == Quiesce::Full { self.while_held(work).await } else { work.await }
    }

    /// Lets go of the bundle, and stops what is still on its way.
    pub async fn let_go(&self) {
        if let BundleState::Copying(pump) = self.handles.lock().await.bundle.take() {
            pump.abandon().await;
        }
    }
}

/// A step found another state than the one before it leaves.
pub(super) fn handles_lost() -> CommandError {
    CommandError::new(Exit::Resume, "what an earlier step held is gone with its process")
        .hint("A bundle run cannot be resumed: make a new one with `dr bundle create`.")
}
