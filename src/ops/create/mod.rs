//! `dr bundle create`: one restorable file of database and exact config, while the application runs.
//!
//! Whatever fails or dies, the writers get their replicas back: at once, or by the next `dr` that meets the open run.

mod config;
mod recognise;
mod steps;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

pub(super) use config::{VaultedConfig, preserved};
pub(super) use recognise::{Named, live_deployment, stored_digest};

use super::Ctx;
use super::helper::Hold;
use super::look::{self, Live};
use super::pump::Pump;
use crate::agent::protocol::BackupDone;
use crate::bundle::{OutOfScope, VerifiedBundle, Writer};
use crate::cluster::Cluster;
use crate::cluster::transport::Agent;
use crate::crypt::{Recipients, Signer};
use crate::error::{CommandError, Exit, Result};
use crate::journal::{self, Journal, Outcome, Outputs, Policy, Step};
use crate::postgres::Lsn;
use crate::settings::{Install, Quiesce, Settings};
use crate::store::{self, Store};
use crate::text::bytes;

/// The verb's word in journals.
pub const VERB: &str = "create";
const LABEL: &str = "bundle create";

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// How the application is held still, if not as the settings say.
    pub quiesce: Option<Quiesce>,
    /// The most that PostgreSQL may read a second, if not as the settings say.
    pub max_rate: Option<String>,
}

/// What will be done, and all that was seen before. Holds no secret: it stands in the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// How the application is held still.
    pub quiesce: Quiesce,
    /// The most that PostgreSQL may read a second.
    pub max_rate: Option<String>,
    /// The install as it was found.
    pub live: Live,
    /// Where the bundle goes.
    pub store: String,
    /// Room in the store in bytes, where it is known.
    pub store_free: Option<u64>,
    /// Whom it is sealed to.
    pub recipients: Vec<String>,
    /// What it will not hold.
    pub scope: Vec<OutOfScope>,
    /// Things that may hurt later.
    pub warnings: Vec<String>,
}

/// A bundle that was made.
#[derive(Debug, Serialize)]
pub struct Created {
    /// Its name.
    pub bundle: String,
    /// Where it is.
    pub address: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The OpsChain version that made the data.
    pub opschain_version: String,
    /// Bytes of the data directory and the log before compression.
    pub raw_bytes: u64,
    /// The database's identity.
    pub system_identifier: String,
    /// Up to where the log reaches.
    pub lsn: Lsn,
    /// How long the writers were stopped; absent when they were not.
    pub stopped_milliseconds: Option<u64>,
    /// How long all took.
    pub milliseconds: u64,
    /// What it does not hold.
    pub scope: Vec<OutOfScope>,
}

/// Looks at everything, and touches nothing.
///
/// # Errors
/// The first thing that would make the bundle worthless or stop half way, with its own exit code.
pub async fn plan(ctx: &Ctx, asked: &Asked) -> Result<Plan> {
    let settings = ctx.settings()?;
    let recipients = ctx.recipients()?;
    let store = ctx.store()?;
    ctx.signer()?;
    let quiesce = asked.quiesce.unwrap_or(settings.bundle.quiesce);

    let live = look::look(ctx).await?;
    let mut warnings = live.warnings.clone();
    look::refuse_running_work(&live, quiesce, &mut warnings)?;
    if recipients.count() < 2 {
        warnings.push("sealed to one recipient only: if that key is lost, nobody can open the bundle".into());
    }
    let store_free = enough_room(&*store, live.databases_bytes)?;
    Ok(Plan {
        quiesce,
        max_rate: asked.max_rate.clone().or_else(|| settings.bundle.max_rate.clone()),
        store: store.place(),
        store_free,
        recipients: recipients.to_strings(),
        scope: look::scope(quiesce, &live),
        live,
        warnings,
    })
}

/// Noise does not compress: a database may take as much room sealed as it takes now, and a little more.
fn enough_room(store: &dyn Store, database: u64) -> Result<Option<u64>> {
    let free = store.free_bytes()?;
    match free {
        Some(free) if free < database + database / 10 => Err(CommandError::new(
            Exit::Space,
            format!("store {} has {} free, and the database alone has {}", store.place(), bytes(free), bytes(database)),
        )
        .hint("Free room there, or set `store.path` to another disk.")),
        free => Ok(free),
    }
}

/// What the steps work with.
struct Work {
    ctx: Ctx,
    settings: Settings,
    plan: Plan,
    run: String,
    cluster: Cluster,
    store: Arc<dyn Store>,
    /// Absent where a dead run is put back: undoing needs no key.
    keys: Option<Keys>,
    hands: Mutex<Hands>,
}

struct Keys {
    recipients: Recipients,
    signer: Signer,
}

/// What the process holds between steps. Lost with it: a dead run is not gone on with but put back.
#[derive(Default)]
struct Hands {
    lease: Hold,
    agent: Option<Agent>,
    writer: Option<Writer>,
    pump: Option<Pump>,
    finished: Option<(Writer, BackupDone)>,
    verified: Option<VerifiedBundle>,
}

/// The names of a bundle's steps, in order: what the tests interrupt.
pub fn step_names(quiesce: Quiesce) -> Vec<&'static str> {
    steps::steps(quiesce).iter().map(Step::name).collect()
}

/// Makes the bundle.
///
/// # Errors
/// The step that failed; everything it had changed has then been put back, or the error says what could not be.
pub async fn create(ctx: &Ctx, plan: Plan) -> Result<Created> {
    let begun_at = Instant::now();
    let settings = ctx.settings()?.clone();
    let cluster = ctx.cluster().await?.clone();
    let install = (settings.install.namespace.as_str(), settings.install.release.as_str());
    let steps = steps::steps(plan.quiesce);
    let begun = ctx.begun(VERB, install, cluster.identity().await?, &plan, &steps)?;
    let keys = Keys { recipients: ctx.recipients()?, signer: ctx.signer()? };
    let work = Work {
        store: ctx.store()?,
        ctx: ctx.clone(),
        keys: Some(keys),
        hands: Mutex::default(),
        settings,
        plan,
        run: begun.run.clone(),
        cluster,
    };
    let mut journal = Journal::begin(&*ctx.runs, begun)?;
    let outputs = journal::execute(&ctx.run_context(LABEL), &mut journal, &steps, &work, Policy::PutBack).await?;
    created(&work, &outputs, begun_at.elapsed())
}

/// Puts back what a dead run had changed.
///
/// # Errors
/// Something could not be put back; the run stays open and the next `dr` tries again.
pub async fn put_back(ctx: &Ctx, cluster: &Cluster, id: &str) -> Result<()> {
    let mut journal = Journal::open(&*ctx.runs, id)?;
    let begun = journal.replay().begun.clone();
    let plan: Plan = serde_json::from_value(begun.plan)
        .map_err(|e| CommandError::new(Exit::Resume, format!("the plan of run {id} is not understood")).because(e))?;
    let install = Install { namespace: begun.namespace.clone(), release: begun.release, ..ctx.install().clone() };
    let ctx = &ctx.for_install(install);
    let work = Work {
        // Where the draft is, whatever the settings say by now.
        store: store::open_at(&plan.store)?,
        settings: ctx.settings()?.clone(),
        ctx: ctx.clone(),
        run: id.to_owned(),
        cluster: cluster.in_namespace(&begun.namespace),
        keys: None,
        hands: Mutex::default(),
        plan,
    };
    journal.append(journal::Record::Resumed { at: Timestamp::now(), who: ctx.who.clone() })?;
    let steps = steps::steps(work.plan.quiesce);
    journal::put_back(&ctx.run_context(LABEL), &mut journal, &steps, &work, Outcome::PutBack).await?;
    Ok(())
}

fn created(work: &Work, outputs: &Outputs, took: Duration) -> Result<Created> {
    let id = outputs.get(steps::NAME_BUNDLE)?;
    let done = outputs.get(steps::COPY_WAL)?;
    let stopped = match (outputs.maybe(steps::STOP_WRITERS), outputs.maybe(steps::RESUME_WRITERS)) {
        (Some(from), Some(to)) => u64::try_from(to.duration_since(from).as_millis()).ok(),
        _ => None,
    };
    Ok(Created {
        bundle: id.to_string(),
        address: work.store.address(id.as_str()),
        bytes: outputs.get(steps::PUBLISH)?,
        opschain_version: work.plan.live.opschain_version.clone(),
        raw_bytes: done.base_totals.raw_bytes + done.wal_totals.raw_bytes,
        system_identifier: done.base.system_identifier.to_string(),
        lsn: done.wal_until,
        stopped_milliseconds: stopped,
        milliseconds: took.as_millis().try_into().unwrap_or(u64::MAX),
        scope: work.plan.scope.clone(),
    })
}

fn lost_hands() -> CommandError {
    CommandError::new(Exit::Resume, "what an earlier step held is gone with its process")
        .hint("A bundle cannot be gone on with: make a new one with `dr bundle create`.")
}

impl Work {
    fn keys(&self) -> Result<&Keys> {
        self.keys.as_ref().ok_or_else(lost_hands)
    }
}
