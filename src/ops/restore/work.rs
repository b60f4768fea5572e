//! What the steps of a restore work with.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Mutex, OnceCell};

use super::chart;
use super::facts::{self, OpenBundle};
use super::plan::RestorePlan;
use super::strategy::VolumePlan;
use crate::cluster::transport::Agent;
use crate::cluster::{Database, PodPlacement};
use crate::error::{CommandError, Exit, Result, chain};
use crate::helm::ChartFile;
use crate::journal::{Journal, JournalNotes, StartedProgram};
use crate::ops::helper::RecoveryVolume;
use crate::ops::lease::LeaseHolder;
use crate::ops::{Ctx, helper};

pub(super) struct RestoreWork {
    /// The context of the target.
    pub ctx: Ctx,
    pub plan: RestorePlan,
    /// The run's id.
    pub run: String,
    /// The helms that earlier processes of the run have started, as its journal tells.
    pub helms: Vec<StartedProgram>,
    notes: Option<JournalNotes>,
    bundle: OnceLock<Arc<OpenBundle>>,
    chart: Arc<OnceCell<ChartFile>>,
    handles: Mutex<LiveHandles>,
}

/// What the process holds from step to step; a resumed process takes it up anew.
#[derive(Default)]
struct LiveHandles {
    lease: LeaseHolder,
    agent: Option<Agent>,
}

impl RestoreWork {
    pub fn new(ctx: &Ctx, plan: RestorePlan, run: String) -> Self {
        Self {
            ctx: ctx.clone(),
            plan,
            run,
            helms: Vec::new(),
            notes: None,
            bundle: OnceLock::new(),
            chart: Arc::default(),
            handles: Mutex::default(),
        }
    }

    /// The same with what the run's journal tells, and for what it is to be told.
    #[must_use]
    pub fn with(self, journal: &Journal) -> Self {
        Self { helms: journal.replay().programs.clone(), notes: Some(journal.notes()), ..self }
    }

    /// Writes down that helm runs as process `pid`, for whoever takes the run up while it does.
    pub fn note_helm(&self, pid: u32) {
        // One that has ended already is nobody's to wait for.
        let (Some(notes), Some(helm)) = (&self.notes, StartedProgram::of("helm", pid)) else { return };
        if let Err(error) = notes.program(helm) {
            self.ctx.events.warn(format!("process {pid} of helm is not in the journal: {}", chain(&error)), None);
        }
    }

    /// The bundle of the plan; opened when first asked for, so that what needs none can do without it.
    ///
    /// # Errors
    /// It is not there, not to be believed, another one, or no identity opens it.
    pub fn bundle(&self) -> Result<&Arc<OpenBundle>> {
        if let Some(bundle) = self.bundle.get() {
            return Ok(bundle);
        }
        let bundle = facts::open_again(&self.ctx, &self.plan.source, &self.plan.keys)?;
        self.require_its_bundle(bundle.reader.manifest_sha256())?;
        Ok(self.bundle.get_or_init(|| Arc::new(bundle)))
    }

    /// The chart, fetched when first asked for.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn chart(&self) -> Result<&ChartFile> {
        let bundle = self.bundle()?;
        self.chart.get_or_try_init(|| chart::chart(&self.ctx, bundle, &self.plan)).await
    }

    /// Begins to fetch the chart, for whoever asks next. What fails is tried again then.
    pub fn fetch_chart(&self) -> Result<()> {
        let (chart, ctx, bundle, plan) =
            (self.chart.clone(), self.ctx.clone(), self.bundle()?.clone(), self.plan.clone());
        tokio::spawn(async move {
            let _ = chart.get_or_try_init(|| chart::chart(&ctx, &bundle, &plan)).await;
        });
        Ok(())
    }

    fn require_its_bundle(&self, manifest_sha256: &str) -> Result<()> {
        if manifest_sha256 == self.plan.manifest_sha256 {
            return Ok(());
        }
        let what = format!("{} is not the bundle any more that the restore was planned with", self.plan.source);
        Err(CommandError::new(Exit::Resume, what)
            .hint("Put that bundle back there, or begin anew with the one that is there."))
    }

    /// Takes the lease, or makes sure that it was not lost. Every step that changes the cluster asks first, because a
    /// resumed process begins in the middle of the list.
    pub async fn hold_lease(&self) -> Result<()> {
        self.handles.lock().await.lease.take(&self.ctx, &self.run).await
    }

    /// Gives the lease back.
    pub async fn release_lease(&self) -> Result<()> {
        self.handles.lock().await.lease.release(&self.ctx, &self.run).await
    }

    /// The database that is being restored.
    pub async fn database(&self) -> Result<Database> {
        let database = self.ctx.cluster().await?.database(&self.plan.database).await?;
        database.ok_or_else(|| self.no_database())
    }

    /// The volume that the plan has made before the database.
    pub fn volume(&self) -> Result<&VolumePlan> {
        let what = || CommandError::new(Exit::Resume, format!("the plan of run {} names no volume", self.run));
        self.plan.volume.as_ref().ok_or_else(what)
    }

    /// The database's primary pod.
    pub async fn primary(&self) -> Result<String> {
        let pod = self.ctx.cluster().await?.primary_pod(&self.plan.database).await?;
        pod.metadata.name.ok_or_else(|| self.no_database())
    }

    fn no_database(&self) -> CommandError {
        let what = format!("database {} is gone from namespace {}", self.plan.database, self.plan.namespace);
        CommandError::new(Exit::Cluster, what)
            .hint("Somebody has deleted it while it was being restored: begin again in an empty namespace.")
    }

    /// Starts the recovery pod, or takes up the one that an earlier process of this run has left.
    pub async fn start_agent(&self) -> Result<Agent> {
        self.hold_lease().await?;
        helper::start(&self.ctx, &self.recovery_pod().await?, &self.run).await
    }

    /// The pod on the database's volume: as the database says, or as the plan does where there is none yet.
    async fn recovery_pod(&self) -> Result<Pod> {
        if let Some(volume) = &self.plan.volume {
            return volume.pod(&self.ctx, &self.run).await;
        }
        let database = self.database().await?;
        let (image, placement) = (database.image().unwrap_or_default(), PodPlacement::of_database(&database.spec));
        let on = RecoveryVolume { claim: &database.primary_claim(), cpu: None, memory_bytes: 0 };
        helper::recovery_pod(&self.ctx, &self.run, image, &placement, on).await
    }

    /// The claim of the volume that the data is put on.
    pub async fn claim(&self) -> Result<String> {
        match &self.plan.volume {
            Some(volume) => Ok(volume.claim.clone()),
            None => Ok(self.database().await?.primary_claim()),
        }
    }

    /// The agent of the recovery pod: the one that an earlier step has kept, or one attached to anew where this process
    /// has not met it yet.
    pub async fn agent(&self) -> Result<Agent> {
        match self.kept_agent().await {
            Some(agent) => Ok(agent),
            None => self.start_agent().await,
        }
    }

    /// The agent that an earlier step has kept.
    pub async fn kept_agent(&self) -> Option<Agent> {
        self.handles.lock().await.agent.take()
    }

    /// Keeps the agent for later steps.
    pub async fn keep_agent(&self, agent: Agent) {
        self.handles.lock().await.agent = Some(agent);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::journal::testing::MemoryRuns;

    #[test]
    fn another_bundle_in_the_place_of_the_one_that_the_run_was_begun_with_is_refused() {
        let ctx = crate::ops::testing::ctx(&MemoryRuns::default());
        let work = RestoreWork::new(&ctx, testing::plan(), "restore-1".into());
        assert!(work.require_its_bundle(&testing::plan().manifest_sha256).is_ok());
        let error = work.require_its_bundle(&"1".repeat(64)).unwrap_err();
        assert_eq!(error.exit(), Exit::Resume);
        let what = "bundle file bundle.tar is not the bundle any more that the restore was planned with";
        assert_eq!(error.message(), what);
        assert!(error.hints()[0].starts_with("Put that bundle back there"), "{:?}", error.hints());
    }
}
