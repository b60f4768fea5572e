//! `dr bundle restore`: an empty namespace becomes the install that the bundle was made from.
//!
//! The strategy is the manual guide's: install stopped and with the database asleep, put the data in place beside
//! nothing that runs, wake the database, prove who it is, start the application. Nothing is needed but the bundle, a
//! key that opens it, a cluster with the operator, and helm. A restore that stops is gone on with by `dr run resume`:
//! until the last step nothing can take the target for a healthy install, because nothing of it serves.

mod deploy;
mod layers;
mod plan;
mod send;
mod steps;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

pub use plan::{Asked, Gate, plan};

use super::helper::Hold;
use super::{Ctx, bundles};
use crate::bundle::{BundleReference, OutOfScope, Reader, Trust};
use crate::cluster::Cluster;
use crate::cluster::transport::Agent;
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::helm::Helm;
use crate::journal::{self, Journal, Outputs, Policy, Step};
use crate::postgres::Lsn;
use crate::settings::{Install, Settings};

/// The verb's word in journals.
pub const VERB: &str = "restore";
const LABEL: &str = "bundle restore";

/// What will be done, and all that was seen before. Holds no secret: it stands in the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The bundle's name.
    pub bundle: String,
    /// What names it.
    pub source: BundleReference,
    /// SHA-256 of its manifest: a resume takes no other bundle.
    pub manifest_sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who signed it, if somebody trusted did.
    pub signer: Option<String>,
    /// The OpsChain version that made it.
    pub made_by: String,
    /// The OpsChain version that is to run.
    pub version: String,
    /// How the two stand to each other.
    pub gate: Gate,
    /// The chart: the bundle's own, or one to be pulled.
    pub chart: ChartSource,
    /// The target namespace.
    pub namespace: String,
    /// The target release.
    pub release: String,
    /// The kubeconfig context, as its name.
    pub context: String,
    /// The database cluster's name.
    pub database: String,
    /// Bytes of the data directory.
    pub database_bytes: u64,
    /// The database's identity.
    pub system_identifier: String,
    /// The position that the restored database must have passed.
    pub lsn: Lsn,
    /// Settings to open things with.
    pub keys: KeyFiles,
    /// The version of helm.
    pub helm: String,
    /// The version of the operator.
    pub operator: String,
    /// What does not come back.
    pub scope: Vec<OutOfScope>,
    /// Things that may hurt later.
    pub warnings: Vec<String>,
}

/// Where the chart is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum ChartSource {
    /// The bundle's own: the same version.
    Bundle,
    /// Another version, pulled.
    Pulled {
        /// An `oci://` reference, a folder or a `.tgz`.
        reference: String,
        /// The chart's version.
        version: String,
    },
}

/// The files that open and check the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFiles {
    /// The age identity file.
    pub identity: PathBuf,
    /// The trusted signers; absent when anybody's bundle was to be taken.
    pub trusted_signers: Option<PathBuf>,
}

/// A restored install.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// From which bundle.
    pub bundle: String,
    /// To where: `namespace/release`.
    pub install: String,
    /// The OpsChain version that runs.
    pub version: String,
    /// The database's identity, as the running database gave it.
    pub system_identifier: String,
    /// Where the running database was when it was asked.
    pub lsn: Lsn,
    /// Files that were compared with PostgreSQL's manifest.
    pub files: u64,
    /// The deployment's id in the config vault, if there is one.
    pub deployment: Option<String>,
    /// How long it took, over all its processes.
    pub milliseconds: u64,
    /// What did not come back, and what to do about it.
    pub scope: Vec<OutOfScope>,
}

/// What the steps work with.
struct Work {
    ctx: Ctx,
    settings: Settings,
    plan: Plan,
    run: String,
    cluster: Cluster,
    helm: Helm,
    reader: Arc<Reader>,
    identities: Arc<Identities>,
    hands: Mutex<Hands>,
}

/// What the process holds between steps; a resumed process takes it up anew.
#[derive(Default)]
struct Hands {
    lease: Hold,
    agent: Option<Agent>,
}

/// The names of a restore's steps, in order: what the runbook explains and the tests interrupt.
pub fn step_names() -> Vec<&'static str> {
    steps::steps().iter().map(Step::name).collect()
}

/// Restores.
///
/// # Errors
/// The step that failed. The run stays open: `dr run resume` goes on with it.
pub async fn restore(ctx: &Ctx, plan: Plan) -> Result<Restored> {
    let ctx = &target_of(ctx, &plan);
    let cluster = ctx.cluster().await?;
    let begun = ctx.begun(VERB, (&plan.namespace, &plan.release), cluster.identity().await?, &plan, &steps::steps())?;
    let work = work(ctx, plan, begun.run.clone()).await?;
    let mut journal = Journal::begin(&*ctx.runs, begun)?;
    go(&work, &mut journal).await
}

/// Goes on with a restore that stopped or whose process died.
///
/// # Errors
/// [`Exit::Resume`] with the reason when cluster, namespace, bundle or program are not the same; else the step that
/// failed.
pub async fn resume(ctx: &Ctx, id: &str) -> Result<Restored> {
    let mut journal = Journal::open(&*ctx.runs, id)?;
    let begun = journal.replay().begun.clone();
    let refused = |reason: String| CommandError::new(Exit::Resume, format!("run {id} cannot be resumed: {reason}"));
    if begun.steps_sha256 != Some(journal::digest(&steps::steps())) {
        return Err(refused(format!("dr {} began it, whose steps are others than this one's", begun.dr_version))
            .hint("Resume it with the version that began it."));
    }
    let plan: Plan = serde_json::from_value(begun.plan.clone())
        .map_err(|e| refused("its plan is not understood".into()).because(e))?;
    let ctx = &target_of(ctx, &plan);
    let cluster = ctx.cluster().await?;
    if cluster.identity().await? != begun.cluster_uid {
        return Err(refused(format!("context {} is another cluster than the one it was begun on", cluster.context()))
            .hint("Name the kubeconfig context of that cluster with --context."));
    }
    if let Some(uid) = journal.outputs().maybe(steps::CREATE_NAMESPACE)
        && cluster.namespace_uid().await? != Some(uid)
    {
        return Err(refused(format!("namespace {} is not the one that it made: it was deleted since", plan.namespace))
            .hint("Begin again: `dr bundle restore`."));
    }
    let work = work(ctx, plan, id.to_owned()).await?;
    if work.reader.manifest_sha256() != work.plan.manifest_sha256 {
        return Err(refused(format!("{} is not the bundle that it was begun with", work.plan.source)));
    }
    journal.append(journal::Record::Resumed { at: Timestamp::now(), who: ctx.who.clone() })?;
    go(&work, &mut journal).await
}

async fn go(work: &Work, journal: &mut Journal) -> Result<Restored> {
    let outputs = journal::execute(&work.ctx.run_context(LABEL), journal, &steps::steps(), work, Policy::Stop).await?;
    restored(work, &outputs, journal)
}

fn restored(work: &Work, outputs: &Outputs, journal: &Journal) -> Result<Restored> {
    let identity = outputs.get(steps::PROVE_IDENTITY)?;
    let staged = outputs.get(steps::STAGE)?;
    let replay = journal.replay();
    Ok(Restored {
        bundle: work.plan.bundle.clone(),
        install: format!("{}/{}", work.plan.namespace, work.plan.release),
        version: work.plan.version.clone(),
        system_identifier: identity.system_identifier,
        lsn: identity.lsn,
        files: staged.files,
        deployment: outputs.get(steps::RECORD)?,
        milliseconds: replay.last.duration_since(replay.begun.at).as_millis().try_into().unwrap_or(0),
        scope: work.plan.scope.clone(),
    })
}

async fn work(ctx: &Ctx, plan: Plan, run: String) -> Result<Work> {
    let reader = bundles::open(&plan.source, &trust_of(ctx, &plan.keys)?)?;
    let identities = ctx.identities_of(Some(&plan.keys.identity))?;
    Ok(Work {
        settings: ctx.settings_or_defaults()?.clone(),
        cluster: ctx.cluster().await?.clone(),
        helm: ctx.helm().await?.clone(),
        ctx: ctx.clone(),
        plan,
        run,
        reader: Arc::new(reader),
        identities: Arc::new(identities),
        hands: Mutex::default(),
    })
}

/// The context of the install that is being restored.
fn target_of(ctx: &Ctx, plan: &Plan) -> Ctx {
    let (namespace, release) = (plan.namespace.clone(), plan.release.clone());
    ctx.for_install(Install { namespace, release, ..ctx.install().clone() })
}

fn trust_of(ctx: &Ctx, keys: &KeyFiles) -> Result<Trust> {
    ctx.trust(keys.trusted_signers.as_deref(), keys.trusted_signers.is_none())
}
