//! A release in the middle of something: who began it, whether that still lives, and what came of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cluster::lease::lease_name;
use crate::cluster::{ClusterError, since_when};
use crate::error::Result;
use crate::helm::Revision;
use crate::ops::Ctx;
use crate::ops::history::{History, names};
use crate::vault::{Deployment, DeploymentId, DeploymentOutcome, DeploymentStatus, FORMAT, How};

/// Whether what began the revision is still at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Process {
    Alive,
    Dead,
    /// That cannot be seen from here.
    Unknown,
}

/// A revision that is pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stuck {
    pub revision: u32,
    /// `pending-install`, `pending-upgrade` or `pending-rollback`.
    pub status: String,
    /// Since when, in helm's words.
    pub since: String,
    /// The deployment that began it, as far as the vault knows.
    pub deployment: Option<DeploymentId>,
    /// Who began that.
    pub by: Option<String>,
    /// Whether it is still at work.
    pub process: Process,
    /// By what that is known.
    pub evidence: String,
    /// The revision that is live meanwhile; none when nothing was installed before.
    pub live: Option<u32>,
}

/// What is seen of a release that is in the middle of something.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PendingFacts {
    /// Who holds the lease, and since when.
    pub lease: Option<String>,
    /// The processes of this host that are helm at work on the release.
    pub helm_processes: Vec<u32>,
}

/// Looks for who works on the release, where its newest revision is pending.
///
/// # Errors
/// The cluster cannot be asked for the lease.
pub(super) async fn inspect(ctx: &Ctx, history: &History) -> Result<Option<PendingFacts>> {
    if !history.newest().is_some_and(|newest| newest.status.is_pending()) {
        return Ok(None);
    }
    let release = &ctx.install().release;
    let lease = match ctx.cluster().await?.lease_holder(&lease_name(release)).await? {
        Some(ClusterError::Held { holder, host, since, .. }) => {
            Some(format!("{holder} of {host} since {}", since_when(since)))
        }
        _ => None,
    };
    Ok(Some(PendingFacts { lease, helm_processes: ctx.helm().await?.at_work(release) }))
}

/// Explains the newest revision, where it is pending. `me` is who asks.
pub(super) fn explain(seen: &PendingFacts, history: &History, me: &str) -> Option<Stuck> {
    let newest = history.newest().filter(|newest| newest.status.is_pending())?;
    let begun = begun_by(newest, &history.deployments);
    let (process, evidence) = judge(begun, me, &seen.helm_processes, seen.lease.as_deref());
    Some(Stuck {
        revision: newest.revision,
        status: newest.status.word().to_owned(),
        since: newest.updated.clone(),
        deployment: begun.map(|deployment| deployment.id().clone()),
        by: begun.map(|deployment| deployment.record.by.clone()),
        process,
        evidence,
        live: history.deployed().map(|revision| revision.revision),
    })
}

/// How long after its record the revision of a deployment begins, at most: the chart is read, and the cluster asked.
const BEGINS_WITHIN: f64 = 600.0;

/// The deployment that was the last to begin before the revision did, with its chart, and whose outcome is open, or names
/// the revision: `dr` has seen its helm end. helm gives a revision that is pending or failed a description of its own, so
/// nothing else tells.
fn begun_by<'d>(revision: &Revision, deployments: &'d [Deployment]) -> Option<&'d Deployment> {
    let at: Timestamp = revision.updated.parse().ok()?;
    let own = deployments.iter().filter(|deployment| is_own(deployment));
    let last = own.filter(|deployment| deployment.record.at <= at).max_by_key(|deployment| deployment.record.at)?;
    let chart = format!("{}-{}", last.record.chart.name, last.record.chart.version);
    let soon = at.duration_since(last.record.at).as_secs_f64() <= BEGINS_WITHIN;
    let ended_as = |outcome: &DeploymentOutcome| {
        outcome.status != DeploymentStatus::Deployed && outcome.helm_revision == Some(revision.revision)
    };
    (last.outcome.as_ref().is_none_or(ended_as) && soon && revision.chart == chart).then_some(last)
}

/// Whether it is this verb that makes such records, and settles them.
fn is_own(deployment: &Deployment) -> bool {
    matches!(deployment.record.how, How::Deploy | How::Rollback)
}

fn judge(begun: Option<&Deployment>, me: &str, at_work: &[u32], lease: Option<&str>) -> (Process, String) {
    if let Some(process) = at_work.first() {
        return (Process::Alive, format!("helm is process {process} of this host"));
    }
    if let Some(lease) = lease {
        let text = format!("the lease is held by {lease}: it is at work, or died within the last minute");
        return (Process::Unknown, text);
    }
    match begun {
        Some(begun) if same_host(&begun.record.by, me) => {
            (Process::Dead, "no helm works on it on this host, and the lease is free".into())
        }
        Some(begun) => {
            let text = format!(
                "the lease is free; whether a helm of {} still works on it is not seen from here",
                begun.record.by
            );
            (Process::Unknown, text)
        }
        None => (Process::Unknown, "the lease is free; something else than dr began it".into()),
    }
}

/// Whether two `user@host` are of one host.
fn same_host(a: &str, b: &str) -> bool {
    let host = |who: &str| who.rsplit_once('@').map(|(_, host)| host.to_owned());
    host(a).is_some() && host(a) == host(b)
}

impl Stuck {
    /// What was found, in sentences for people.
    pub fn lines(&self) -> Vec<String> {
        let began = match (&self.deployment, &self.by) {
            (Some(deployment), Some(by)) => format!("Deployment {deployment} of {by} began it."),
            _ => "The vault knows of no deployment that began it.".into(),
        };
        let state = match self.process {
            Process::Alive => "It is at work",
            Process::Dead => "It is dead",
            Process::Unknown => "Whether it is at work is not certain",
        };
        let kept = match self.live {
            Some(live) => format!("revision {live} is what helm has deployed, and goes on from there"),
            None => "helm then installs anew, and takes over the objects that were made".into(),
        };
        vec![
            format!("Revision {} is {} since {}: helm refuses to begin.", self.revision, self.status, self.since),
            began,
            format!("{state}: {}.", self.evidence),
            format!("To continue, the record of revision {} is removed; {kept}.", self.revision),
        ]
    }
}

/// What came of earlier deployments that have no outcome, as far as helm knows: a revision's description names its
/// deployment once it is deployed. `me` is who asks.
pub(super) fn outcomes_of_interrupted(
    deployments: &[Deployment],
    revisions: &[Revision],
    me: &str,
) -> Vec<DeploymentOutcome> {
    let open = deployments.iter().filter(|deployment| is_own(deployment) && deployment.outcome.is_none());
    let outcomes = open.filter_map(|deployment| {
        let end = end_of(deployment, deployments, revisions, me)?;
        let at = end.at.unwrap_or(deployment.record.at);
        Some(DeploymentOutcome {
            format: FORMAT,
            id: deployment.id().clone(),
            at,
            status: end.status,
            helm_revision: end.revision,
            images: Vec::new(),
            seconds: at.duration_since(deployment.record.at).as_secs_f64().max(0.0),
            error: end.error,
        })
    });
    outcomes.collect()
}

/// How an interrupted deployment ended.
#[derive(Debug, PartialEq)]
struct End {
    status: DeploymentStatus,
    revision: Option<u32>,
    at: Option<Timestamp>,
    error: Option<String>,
}

/// `None`: that is not known here, and `me` is on another host than the one that would know.
fn end_of(of: &Deployment, all: &[Deployment], history: &[Revision], me: &str) -> Option<End> {
    let end = |status, revision: &Revision, error| End {
        status,
        revision: Some(revision.revision),
        at: revision.updated.parse().ok(),
        error,
    };
    if let Some(named) = history.iter().find(|revision| names(revision, of.id()) && !revision.status.is_pending()) {
        return Some(end(DeploymentStatus::Deployed, named, None));
    }
    let is_its = |revision: &&Revision| begun_by(revision, all).is_some_and(|begun| begun.id() == of.id());
    if let Some(its) = history.iter().find(is_its) {
        // helm's own words may quote a secret of values that are not known here.
        return match its.status.is_pending() {
            true => {
                let text = format!(
                    "helm was killed: revision {} was left {}, and {me} had its record removed",
                    its.revision,
                    its.status.word()
                );
                Some(end(DeploymentStatus::Interrupted, its, Some(text)))
            }
            false => {
                let text = format!("dr was killed, and helm marked revision {} as {}", its.revision, its.status.word());
                Some(end(DeploymentStatus::Failed, its, Some(text)))
            }
        };
    }
    let text = "dr was killed before helm began: helm knows of no revision of it".to_owned();
    let nothing = End { status: DeploymentStatus::Interrupted, revision: None, at: None, error: Some(text) };
    same_host(&of.record.by, me).then_some(nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(id: &str, at: &str, by: &str, done: bool) -> Deployment {
        let record = serde_json::json!({"format": 1, "id": id, "install": {"namespace": "n", "release": "r"}, "at": at,
            "by": by, "how": "deploy", "chart": {"name": "c", "version": "1", "reference": "r"}, "layers": [],
            "recipients": [], "dr": "0"});
        let outcome = serde_json::json!({"format": 1, "id": id, "at": at, "status": "deployed", "seconds": 1.0});
        Deployment {
            record: serde_json::from_value(record).unwrap(),
            outcome: done.then(|| serde_json::from_value(outcome).unwrap()),
            record_sha256: String::new(),
        }
    }

    fn pending(at: &str) -> Revision {
        revision(at, "pending-upgrade", "Preparing upgrade")
    }

    fn revision(at: &str, status: &str, description: &str) -> Revision {
        serde_json::from_value(serde_json::json!({"revision": 3, "updated": at, "status": status,
            "chart": "c-1", "description": description}))
        .unwrap()
    }

    #[test]
    fn an_interrupted_deployment_ends_as_helm_knows_it() {
        let open = deployment("20260821T100000Z-000002", "2026-08-21T10:00:00Z", "op@a", false);
        let all = [open.clone()];
        let ends =
            |history: &[Revision], me: &str| end_of(&open, &all, history, me).map(|end| (end.status, end.revision));
        let at = "2026-08-21T10:00:03Z";
        assert_eq!(
            ends(&[revision(at, "deployed", "dr 20260821T100000Z-000002")], "x@b"),
            Some((DeploymentStatus::Deployed, Some(3)))
        );
        assert_eq!(
            ends(&[revision(at, "superseded", "dr 20260821T100000Z-000002")], "x@b"),
            Some((DeploymentStatus::Deployed, Some(3)))
        );
        assert_eq!(ends(&[pending(at)], "x@b"), Some((DeploymentStatus::Interrupted, Some(3))));
        assert_eq!(
            ends(&[revision(at, "failed", "Upgrade failed: context canceled")], "x@b"),
            Some((DeploymentStatus::Failed, Some(3)))
        );
        assert_eq!(ends(&[], "x@b"), None, "another host may know better");
        assert_eq!(ends(&[], "x@a"), Some((DeploymentStatus::Interrupted, None)));
        assert_eq!(
            ends(&[revision("2026-08-22T10:00:00Z", "failed", "boom")], "x@b"),
            None,
            "a day later: not its own"
        );
    }

    #[test]
    fn a_pending_revision_is_of_the_deployment_that_began_last_before_it() {
        let done = deployment("20260820T100000Z-000001", "2026-08-20T10:00:00Z", "op@a", true);
        let open = deployment("20260821T100000Z-000002", "2026-08-21T10:00:00Z", "op@a", false);
        let later = deployment("20260822T100000Z-000003", "2026-08-22T10:00:00Z", "op@b", false);
        let all = [later, open, done];
        let of = |at: &str| begun_by(&pending(at), &all).map(|found| found.id().short().to_owned());
        assert_eq!(of("2026-08-21T10:00:03.5Z").as_deref(), Some("000002"));
        assert_eq!(of("2026-08-22T10:00:03Z").as_deref(), Some("000003"));
        assert_eq!(of("2026-08-20T12:00:00Z"), None, "what began last before it has ended: a stranger began this");
        // Its helm was killed, and its outcome names the revision that was left.
        let killed = |revision: u32| {
            let mut killed = deployment("20260823T100000Z-000004", "2026-08-23T10:00:00Z", "op@a", false);
            let outcome = serde_json::json!({"format": 1, "id": "20260823T100000Z-000004", "at": "2026-08-23T10:00:09Z",
                "status": "failed", "helm_revision": revision, "seconds": 9.0});
            killed.outcome = Some(serde_json::from_value(outcome).unwrap());
            killed
        };
        let at = pending("2026-08-23T10:00:03Z");
        assert!(begun_by(&at, &[killed(3)]).is_some() && begun_by(&at, &[killed(2)]).is_none());
    }

    #[test]
    fn only_a_host_that_would_see_its_helm_calls_it_dead() {
        let open = deployment("20260821T100000Z-000002", "2026-08-21T10:00:00Z", "op@a", false);
        let judged = |me: &str, at_work: &[u32], lease: Option<&str>| judge(Some(&open), me, at_work, lease);
        assert_eq!(judged("root@a", &[], None).0, Process::Dead);
        assert_eq!(judged("root@b", &[], None).0, Process::Unknown);
        assert_eq!(judged("root@a", &[], Some("deploy-x of op@a")).0, Process::Unknown);
        let (process, evidence) = judged("root@a", &[77], Some("deploy-x of op@a"));
        assert_eq!(process, Process::Alive);
        assert!(evidence.contains("77"));
        assert_eq!(judge(None, "root@a", &[], None).0, Process::Unknown);
    }
}
