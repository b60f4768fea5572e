//! What a bundle will be, or why there can be none. Nothing here asks anybody.

use serde::{Deserialize, Serialize};

use super::facts::{CreateFacts, PrimaryFacts, StoredFacts};
use super::request::CreateRequest;
use super::volumes::PlannedVolume;
use super::wal_rate::WalRate;
use super::{facts, left_out, lost_wal, quiet, recognise, room, stopping, volumes};
use crate::bundle::{BundleId, OpsChain, OutOfScope, PostgreSql};
use crate::cluster::{Database, PodPlacement};
use crate::error::{CommandError, Exit, Result};
use crate::ops::forecast::Forecast;
use crate::ops::helper;
use crate::ops::quiesce::{self, RecordedReplicas};
use crate::opschain::maintenance::WorkSight;
use crate::opschain::workloads::may_wait;
use crate::settings::{Allow, Quiesce};
use crate::vault::Deployment;

/// What will be done, and what was seen of the install. Holds no secret: it stands in the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreatePlan {
    /// How the application is quiesced.
    pub quiesce: Quiesce,
    /// What may be there all the same.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// The most that PostgreSQL may read a second.
    pub max_rate: Option<String>,
    /// The bundle's name, where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<BundleId>,
    /// The restore that replaces what is bundled, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// What is known of work without pods, and so whether maintenance mode is turned on.
    #[serde(default)]
    pub sight: WorkSight,
    /// The install as it was found.
    pub live: LiveInstall,
    /// Whether the helper pod is to put the application back when this host dies.
    #[serde(default)]
    pub watchdog: bool,
    /// Whether users and groups of the bundled LDAP server are to be read.
    #[serde(default)]
    pub directory: bool,
    /// The volumes that are taken along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<PlannedVolume>,
    /// Whether the server is to keep WAL for the run.
    #[serde(default)]
    pub keep_wal: bool,
    /// Where the bundle goes.
    pub store: String,
    /// Room in the store in bytes, where it is known.
    pub store_free: Option<u64>,
    /// Whom it is sealed to.
    pub recipients: Vec<String>,
    /// How long it will take, by earlier bundles of this host.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// What it will not hold.
    pub scope: Vec<OutOfScope>,
    /// The writers that somebody has stopped before, and by whom: they are not started again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays_stopped: Vec<String>,
    /// The writers that have not all their pods ready before they are stopped: they are not waited for afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unready: Vec<String>,
    /// Things that may hurt later.
    pub warnings: Vec<String>,
}

/// A live install as it was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LiveInstall {
    pub primary: String,
    /// The image that the database runs, which the helper pod runs too.
    pub database_image: String,
    /// Where the database runs, and the helper pod is to.
    #[serde(default)]
    pub placement: PodPlacement,
    /// The uid of the database's Cluster object.
    pub database_uid: String,
    pub databases_bytes: u64,
    /// How much log it writes, where that is known.
    #[serde(default)]
    pub wal_rate: Option<WalRate>,
    /// Whether its pages carry checksums, which PostgreSQL checks while it is copied.
    #[serde(default)]
    pub page_checksums: bool,
    /// PostgreSQL's system identifier.
    pub system_identifier: String,
    /// Such as 150020.
    pub server_version: u32,
    /// The OpsChain version, such as `2026-08-20`.
    pub opschain_version: String,
    /// The chart with its version, such as `opschain-2026.8.20`.
    pub chart: String,
    pub chart_version: String,
    /// The Helm release's revision.
    pub revision: u32,
    /// The deployment's id in the config vault.
    pub deployment: String,
    pub operator: Option<String>,
    /// The writers and their replicas.
    pub replicas: RecordedReplicas,
}

impl CreatePlan {
    /// Whether the application is stopped for it, if only for a moment.
    pub fn stops(&self) -> bool {
        self.quiesce != Quiesce::None && !self.live.replicas.writers.is_empty()
    }

    /// Whether work is drained in maintenance mode before the application is stopped.
    pub fn drains(&self) -> bool {
        facts::drains(self.quiesce, self.sight)
    }
}

impl LiveInstall {
    /// As a bundle's header has it.
    pub fn opschain(&self) -> OpsChain {
        OpsChain { version: self.opschain_version.clone(), chart_version: self.chart_version.clone() }
    }

    /// As a bundle's header has it.
    pub fn postgresql(&self) -> PostgreSql {
        let (major, minor) = (self.server_version / 10_000, self.server_version % 10_000);
        PostgreSql { major, version: format!("{major}.{minor}"), system_identifier: self.system_identifier.clone() }
    }
}

/// Decides.
///
/// # Errors
/// The first thing that would make the bundle worthless or stop it half way, with its own exit code.
pub(super) fn decide(request: &CreateRequest, facts: CreateFacts) -> Result<CreatePlan> {
    if let Some(open) = &facts.half_done {
        return Err(open.half_done(&format!("{}/{}", facts.namespace, facts.release)));
    }
    let quiesce = request.quiesce.unwrap_or(facts.quiesce);
    stopping::require_rights(&facts, quiesce)?;
    let (database, primary) = serving_database(&facts)?;
    let (deployment, revision, stored) = live_deployment(&facts)?;
    quiesce::require_all(&facts.writers, &facts.namespace)?;
    let chart = &deployment.record.chart;
    facts.essentials.require_keys(&facts.namespace)?;
    let (writers, stays_stopped, noted) = stopping::stopped_before(&facts)?;
    let live = LiveInstall {
        primary: primary.pod.clone(),
        database_image: database.image().unwrap_or_default().to_owned(),
        placement: primary.placement.clone(),
        database_uid: database.uid.clone(),
        databases_bytes: primary.databases_bytes,
        wal_rate: primary.wal.as_ref().and_then(WalRate::of),
        page_checksums: primary.facts.page_checksums,
        system_identifier: primary.facts.system_identifier.clone(),
        server_version: primary.facts.version_number,
        opschain_version: recognise::opschain_version(deployment)?,
        chart: format!("{}-{}", chart.name, chart.version),
        chart_version: chart.version.clone(),
        revision,
        deployment: deployment.id().to_string(),
        operator: facts.operator.clone(),
        replicas: RecordedReplicas::of_running(&writers),
    };
    let mut warnings = stopping::scaled_by_others(&facts);
    if !database.is_healthy() {
        warnings.push(format!("the database is bundled from its primary though it is {}", database.line()));
    }
    warnings.extend(noted);
    warnings.extend(live.wal_rate.and_then(|rate| rate.warning()));
    warnings.extend(facts.lost_wal.then(|| lost_wal::NOTE.to_owned()));
    warnings.extend(helper::admitted("the pod that the backup is made in", facts.helper_refusal.as_ref())?);
    let watchdog = quiesce != Quiesce::None && facts.no_watchdog.is_empty();
    if quiesce != Quiesce::None {
        warnings.extend(stopping::would_come_back(&facts)?);
        if !watchdog {
            let denied = facts.no_watchdog.join(", ");
            let dies = "if this host dies while the application is stopped, nobody starts it";
            warnings.push(format!("no watchdog: the access rules do not allow {denied}; {dies}"));
        }
    }
    let allow = [request.allow.clone(), facts.allow.clone()].concat();
    warnings.extend(stopping::strangers(&facts, quiesce, &allow)?);
    let drains = facts::drains(quiesce, facts.sight);
    let working: Vec<String> = match drains {
        true => facts.working.iter().filter(|pod| !may_wait(pod)).cloned().collect(),
        false => facts.working.clone(),
    };
    warnings.extend(quiet::running_work(&working, &facts.foreign, quiesce, &allow, drains)?);
    if facts.recipients.len() < 2 {
        warnings.push("sealed to one recipient only: if that key is lost, nobody can open the bundle".into());
    }
    let (volumes, noted) = volumes::planned(&facts, quiesce, &live.placement)?;
    warnings.extend(noted);
    room::enough(&facts, primary.databases_bytes)?;
    let unready = stopping::unready(&facts);
    Ok(CreatePlan {
        quiesce,
        allow,
        max_rate: request.max_rate.clone().or_else(|| facts.max_rate.clone()),
        named: request.named.clone(),
        replaced_by: request.replaced_by.clone(),
        forecast: None,
        scope: volumes::scope(&volumes).chain(left_out::scope(&facts, stored, quiesce)).collect(),
        volumes,
        sight: facts.sight,
        live,
        watchdog,
        directory: stored.own_ldap && facts.unread_directory.is_none(),
        keep_wal: facts.lost_wal,
        store: facts.store,
        store_free: facts.store_free,
        recipients: facts.recipients,
        unready,
        stays_stopped,
        warnings,
    })
}

/// The database of the settings: there, healthy, and the primary of its own cluster.
fn serving_database(facts: &CreateFacts) -> Result<(&Database, &PrimaryFacts)> {
    let (name, namespace) = (&facts.database_name, &facts.namespace);
    let database = facts.database.as_ref().ok_or_else(|| {
        CommandError::new(Exit::NotFound, format!("there is no database {name} in namespace {namespace}"))
            .hint("Is this the namespace of the install? Name another with -n, or set `database.cluster`.")
            .hint("`dr doctor` looks at what is there. `dr deploy` installs it, `dr bundle restore` brings it back.")
    })?;
    let replica = || {
        let what = format!("database {name} is a replica of another cluster: its backup could not be restored");
        CommandError::new(Exit::Replica, what)
            .hint("Make the bundle on the primary cluster: name its kubeconfig context with --context.")
    };
    if database.is_replica_cluster() {
        return Err(replica());
    }
    left_out::refuse_odd_volumes(database)?;
    let Some(primary) = &facts.primary else {
        return Err(CommandError::new(Exit::Cluster, format!("database {name} is not healthy: {}", database.line()))
            .hint(format!("Fix it first: `kubectl describe cluster {name} -n {namespace}`.")));
    };
    left_out::refuse_tablespaces(&database.name, &primary.tablespaces)?;
    if primary.facts.in_recovery { Err(replica()) } else { Ok((database, primary)) }
}

/// The deployment that is live, and its revision. Anything else than a deployed revision would not start again, and
/// anything else than what was deployed would not open the data.
fn live_deployment(facts: &CreateFacts) -> Result<(&Deployment, u32, &StoredFacts)> {
    let CreateFacts { release, namespace, .. } = facts;
    let (Some(newest), Some(stored)) = (&facts.newest, &facts.stored) else {
        let what = format!("there is no Helm release {release} in namespace {namespace}");
        return Err(CommandError::new(Exit::NotFound, what)
            .hint("Name another with --release or -n, or deploy first: `dr deploy -f values.yaml --version V`."));
    };
    if !newest.status.is_deployed() {
        let what = format!("Helm release {release} is {}, not deployed", newest.status.word());
        return Err(
            CommandError::new(Exit::Helm, what).hint("Bring the release into order first: `dr deploy -f values.yaml`.")
        );
    }
    let deployment = facts.deployment.as_ref().ok_or_else(|| recognise::not_recorded(newest, release))?;
    recognise::refuse_other_values(deployment, &stored.sha256)?;
    Ok((deployment, newest.revision, stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::PodRefusal;
    use crate::error::OpenRun;
    use crate::opschain::maintenance::RecordedMode;

    const GOOD: &str = include_str!("../../../fixtures/facts/create-good.json");
    const DISTURBED: &str = include_str!("../../../fixtures/facts/create-disturbed.json");
    const REPLICA: &str = include_str!("../../../fixtures/facts/create-replica.json");

    fn recorded(text: &str) -> CreateFacts {
        serde_json::from_str(text).unwrap()
    }

    fn request(quiesce: Option<Quiesce>) -> CreateRequest {
        CreateRequest { quiesce, ..CreateRequest::default() }
    }

    fn refused(exit: Exit, change: impl FnOnce(&mut CreateFacts)) -> String {
        let mut facts = recorded(GOOD);
        change(&mut facts);
        refusal(exit, facts)
    }

    fn refusal(exit: Exit, facts: CreateFacts) -> String {
        let error = decide(&request(None), facts).unwrap_err();
        assert_eq!(error.exit(), exit, "{error}");
        assert!(!error.hints().is_empty(), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn a_good_install_becomes_a_plan_of_what_was_seen() {
        let plan = decide(&request(None), recorded(GOOD)).unwrap();
        assert_eq!(plan.quiesce, Quiesce::Brief);
        assert_eq!(plan.live.opschain().version, "2026-08-20");
        assert_eq!(plan.live.postgresql().version, "15.20");
        assert_eq!(plan.live.replicas.line(), "opschain-api 1, opschain-api-worker 2");
        assert_eq!((plan.live.primary.as_str(), plan.live.revision), ("opschain-db-1", 1));
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
        let read: CreatePlan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
        assert_eq!(read.live.replicas, plan.live.replicas);
    }

    #[test]
    fn a_helper_pod_that_would_not_be_made_is_refused_before_anything_is_touched() {
        let refusal = PodRefusal { why: "exceeded quota: compute".into(), certain: true };
        let message = refused(Exit::Cluster, |facts| facts.helper_refusal = Some(refusal));
        assert_eq!(message, "the pod that the backup is made in would not be admitted: exceeded quota: compute");
    }

    #[test]
    fn without_what_opens_the_data_there_is_no_bundle() {
        let lost = vec!["Secret opschain-vault-config, the token".to_owned()];
        let message = refused(Exit::Keys, |facts| facts.essentials.lost = lost);
        assert!(message.contains("Secret opschain-vault-config"), "{message}");
    }

    #[test]
    fn an_application_that_is_stopped_already_says_by_whom_and_what_an_interrupted_run_has_left_is_not_bundled() {
        let stopped = |by: Option<&str>, open: &[&str]| {
            let mut facts = recorded(GOOD);
            for writer in &mut facts.writers {
                (writer.now, writer.stopped_by) = (0, by.map(str::to_owned));
            }
            let started = [("opschain-api", 1), ("opschain-api-worker", 2)];
            let started = started.map(|(name, count)| serde_json::json!({"name": name, "fate": {"started": count}}));
            let first =
                |run: &&str| serde_json::from_value(serde_json::json!({"run": run, "writers": started})).unwrap();
            facts.open_runs = open.iter().map(first).collect();
            facts
        };
        let message = refusal(Exit::Busy, stopped(Some("create-1"), &[]));
        assert_eq!(
            message,
            "the application is stopped, by run create-1, which was interrupted or is at work on another host"
        );
        let warning = |facts| decide(&request(None), facts).unwrap().warnings.remove(0);
        assert_eq!(
            warning(stopped(Some("create-1"), &["create-1"])),
            "opschain-api is stopped: run create-1, which has stopped it, is put back first"
        );
        assert!(warning(stopped(None, &["create-1"])).ends_with("is put back first"), "its marks are lost");
        let by_stop = "opschain-api is stopped, by dr server stop (stop-1): it stays stopped";
        assert_eq!(warning(stopped(Some("stop-1"), &[])), by_stop);
        let plan = decide(&request(None), stopped(Some("stop-1"), &[])).unwrap();
        assert_eq!((plan.live.replicas.line(), plan.stops()), ("none was running".to_owned(), false));
        assert_eq!(plan.stays_stopped.len(), 2, "{:?}", plan.stays_stopped);
        let plan = decide(&request(None), stopped(Some("create-1"), &["create-1"])).unwrap();
        assert!(plan.stays_stopped.is_empty() && plan.stops());
        assert_eq!(
            warning(stopped(None, &[])),
            "opschain-api is stopped, by somebody who left no note: it stays stopped"
        );
    }

    #[test]
    fn an_install_that_a_restore_has_half_done_is_not_bundled() {
        let open = OpenRun::new("restore-1".into(), Some("swap".into()));
        let facts = CreateFacts { half_done: Some(open.clone()), ..recorded(GOOD) };
        let error = decide(&request(None), facts).unwrap_err();
        assert_eq!((error.exit(), error.open_run()), (Exit::Locked, Some(&open)));
    }

    #[test]
    fn what_was_asked_for_goes_before_the_settings() {
        let mut facts = recorded(GOOD);
        facts.max_rate = Some("10M".into());
        let of_settings = decide(&request(None), facts.clone()).unwrap();
        assert_eq!(of_settings.max_rate.as_deref(), Some("10M"));
        let asked = CreateRequest { quiesce: Some(Quiesce::Full), max_rate: Some("50M".into()), ..Default::default() };
        let plan = decide(&asked, facts).unwrap();
        assert_eq!((plan.quiesce, plan.max_rate.as_deref()), (Quiesce::Full, Some("50M")));
    }

    #[test]
    fn a_database_that_is_missing_unhealthy_or_a_replica_is_refused() {
        let text = refused(Exit::NotFound, |facts| facts.database = None);
        assert_eq!(text, "there is no database opschain-db in namespace opschain");
        let text = refusal(Exit::Replica, recorded(REPLICA));
        assert_eq!(text, "database opschain-db is a replica of another cluster: its backup could not be restored");
        refused(Exit::Replica, |facts| facts.primary.as_mut().unwrap().facts.in_recovery = true);
        let text = refused(Exit::Cluster, |facts| {
            facts.database.as_mut().unwrap().status.phase = Some("Failing over".into());
            facts.primary = None;
        });
        assert!(text.starts_with("database opschain-db is not healthy: "), "{text}");
    }

    #[test]
    fn a_standby_that_is_down_and_one_recipient_are_warned_of_and_a_tablespace_is_refused_by_its_name() {
        let mut facts = recorded(GOOD);
        facts.database.as_mut().unwrap().spec.instances = 3;
        facts.primary.as_mut().unwrap().facts.page_checksums = false;
        facts.recipients.truncate(1);
        let plan = decide(&request(None), facts).unwrap();
        assert!(plan.warnings[1].starts_with("sealed to one recipient only: "), "{:?}", plan.warnings);
        assert!(plan.warnings[0].contains(" is bundled from its primary though it is "), "{:?}", plan.warnings);
        assert!(plan.scope.iter().any(|item| item.what.starts_with("a check of")), "{:?}", plan.scope);
        let text = refused(Exit::Cluster, |facts| {
            facts.database.as_mut().unwrap().spec.tablespaces = vec![serde_json::json!({"name": "archive"})];
        });
        assert_eq!(text, "database opschain-db has a tablespace of its own: archive");
    }

    #[test]
    fn a_release_that_is_missing_or_not_deployed_is_refused() {
        let text = refused(Exit::NotFound, |facts| facts.newest = None);
        assert_eq!(text, "there is no Helm release opschain in namespace opschain");
        let text = refused(Exit::Helm, |facts| {
            facts.newest.as_mut().unwrap().status = serde_json::from_str("\"pending-upgrade\"").unwrap();
        });
        assert_eq!(text, "Helm release opschain is pending-upgrade, not deployed");
        let text = refused(Exit::NotFound, |facts| facts.writers.truncate(1));
        assert_eq!(text, "there is no Deployment opschain-api-worker in namespace opschain");
    }

    #[test]
    fn values_that_dr_has_not_deployed_are_refused() {
        let text = refused(Exit::Drift, |facts| facts.deployment = None);
        assert_eq!(text, "revision 1 of release opschain is not in this host's config vault");
        let text = refused(Exit::Drift, |facts| facts.stored.as_mut().unwrap().sha256 = "0".repeat(64));
        assert!(text.starts_with("the values that Helm has are not those that the vault has of deployment "), "{text}");
        let text = refused(Exit::Version, |facts| {
            facts.deployment.as_mut().unwrap().record.opschain_version = Some("latest and greatest".into());
        });
        assert!(text.ends_with(" has no OpsChain version"), "{text}");
    }

    #[test]
    fn a_store_without_room_for_the_database_and_a_tenth_is_refused() {
        let needed = |facts: &CreateFacts| {
            let database = facts.primary.as_ref().unwrap().databases_bytes;
            database + database / 10
        };
        let text = refused(Exit::Space, |facts| facts.store_free = Some(needed(facts) - 1));
        assert!(text.starts_with("store ") && text.contains(" free, and the database alone has "), "{text}");
        let mut facts = recorded(GOOD);
        facts.store_free = Some(needed(&facts));
        decide(&request(None), facts.clone()).unwrap();
        facts.store_free = None;
        decide(&request(None), facts).unwrap();
    }

    #[test]
    fn running_work_is_waited_for_or_taken_half_done_and_said() {
        let mut facts = recorded(DISTURBED);
        facts.working = vec!["change-42".into()];
        let text = refusal(Exit::Busy, facts.clone());
        assert_eq!(text, "a pod is at work: change-42");
        let plan = decide(&request(Some(Quiesce::None)), facts).unwrap();
        let said = |text: &str| assert!(plan.warnings.iter().any(|warning| warning.starts_with(text)), "{plan:?}");
        said("a pod is at work: change-42; the bundle will hold that work half done");
        said("autoscaler opschain-api-worker keeps the replicas of opschain-api-worker");
        said("Argo CD (opschain-prod) manages opschain-api");
        let left: Vec<&str> = plan.scope.iter().map(|item| item.what.as_str()).collect();
        assert!(left.contains(&"work of the moment") && left.contains(&"running changes and steps"), "{left:?}");
    }

    #[test]
    fn where_opschain_can_be_asked_work_is_waited_for_and_what_may_only_wait_is_no_obstacle() {
        let mut facts = recorded(DISTURBED);
        facts.working = vec!["change-42".into(), "opschain-agent-7".into(), "executor-1".into()];
        facts.sight = WorkSight::Mode(RecordedMode { was: None });
        let plan = decide(&request(None), facts.clone()).unwrap();
        assert!(
            plan.drains()
                && plan.warnings.contains(&"a pod is at work: change-42; it is waited for in maintenance mode".into())
        );
        let left = |plan: &CreatePlan, what: &str| plan.scope.iter().any(|item| item.what == what);
        let unseen = |plan: &CreatePlan| left(plan, "work without a pod of its own");
        assert!(!unseen(&plan) && !left(&plan, "running changes and steps"), "{:?}", plan.scope);
        let plan = decide(&request(Some(Quiesce::None)), facts.clone()).unwrap();
        assert!(!plan.drains() && !unseen(&plan), "nothing is stopped, and the scope says so");
        let half_done =
            "pods are at work: change-42, opschain-agent-7, executor-1; the bundle will hold that work half done";
        assert!(plan.warnings.contains(&half_done.into()) && left(&plan, "running changes and steps"), "{plan:?}");
        facts.working.clear();
        for sight in [WorkSight::NoToken, WorkSight::NoMode] {
            let plan = decide(&request(None), CreateFacts { sight, ..facts.clone() }).unwrap();
            assert!(!plan.drains() && unseen(&plan), "{sight:?}");
        }
    }
}
