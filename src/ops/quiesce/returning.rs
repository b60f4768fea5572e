//! Bringing stopped writers back: what is found of them, what is done about it, and the trace that it leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{RecordedReplicas, WRITERS, WriterFacts};
use crate::cluster::{BROUGHT_BACK_BY, Cluster, ClusterError, HELD, REPLICAS, STOPPED_BY, Wait, WorkloadKind};
use crate::error::Result;
use crate::ops::{Ctx, lease};
use crate::text::plural;

/// What becomes of a writer when the run that stopped it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterReturn {
    /// The Deployment.
    pub name: String,
    /// What was found, and is done about it.
    pub fate: WriterFate,
    /// Whether it wears the marks of the run, which are taken off.
    #[serde(skip)]
    marked: bool,
}

/// What a writer is found as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriterFate {
    /// It is off, by this run or by somebody who has left no mark: it gets as many replicas.
    Started(i32),
    /// It has as many replicas: somebody has taken care of it since.
    Runs(i32),
    /// It is off, and the mark of another says by whom: that one has to start it.
    StoppedBy(String),
    /// It is off without a mark, though whoever is named here had brought it back: somebody has stopped it since.
    StoppedSince(String),
    /// It is off, and nothing says how many replicas it had.
    CountUnknown,
    /// There is no such Deployment any more.
    Missing,
}

impl WriterReturn {
    /// Whether the application has this writer, or has it again.
    pub fn is_back(&self) -> bool {
        matches!(self.fate, WriterFate::Started(_) | WriterFate::Runs(_))
    }
}

impl fmt::Display for WriterReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.fate {
            WriterFate::Started(replicas) => write!(f, "{name} 0 -> {}", replicas_line(*replicas)),
            WriterFate::Runs(replicas) => write!(f, "{name} has {} already", replicas_line(*replicas)),
            WriterFate::StoppedBy(who) => write!(f, "{name} is still stopped, by {}", lease::called(who)),
            WriterFate::StoppedSince(who) => {
                let who = lease::called(who);
                write!(f, "{name} stays stopped: somebody has stopped it since {who} brought it back")
            }
            WriterFate::CountUnknown => {
                write!(f, "{name} is still stopped, and nothing says how many replicas it had")
            }
            WriterFate::Missing => write!(f, "there is no Deployment {name} any more"),
        }
    }
}

/// What becomes of the writers of the run `by`. Those that are not in `recorded`, and do not wear its mark, are none of
/// its business.
///
/// The annotations may be gone: somebody has replaced the Deployment, or a GitOps tool has put back what its repository
/// says. Then the run's own record is what is left to go by, unless there is a trace that the writer was brought back:
/// every stop takes that away, so it is somebody else's that came after. The trace of a run before this one is none: it was
/// put there again, with the rest of an older manifest.
fn returns(writers: &[WriterFacts], recorded: Option<&RecordedReplicas>, by: &str) -> Vec<WriterReturn> {
    let one = |name: &&str| {
        let count = recorded.and_then(|recorded| recorded.of_writer(name));
        let writer = writers.iter().find(|writer| writer.name == **name);
        let marked = writer.is_some_and(|writer| writer.stopped_by.as_deref() == Some(by));
        if count.is_none() && !marked {
            return None;
        }
        let fate = match writer {
            None => WriterFate::Missing,
            Some(writer) if writer.now > 0 => WriterFate::Runs(writer.now),
            Some(WriterFacts { stopped_by: Some(other), .. }) if !marked => WriterFate::StoppedBy(other.clone()),
            Some(WriterFacts { brought_back_by: Some(who), .. }) if !marked && !is_before(who, by) => {
                WriterFate::StoppedSince(who.clone())
            }
            Some(writer) => match count.unwrap_or(writer.replicas) {
                0 => WriterFate::CountUnknown,
                replicas => WriterFate::Started(replicas),
            },
        };
        Some(WriterReturn { name: (*name).to_owned(), fate, marked })
    };
    WRITERS.iter().filter_map(one).collect()
}

/// Whether a run was begun before another, as their ids tell.
fn is_before(early: &str, late: &str) -> bool {
    let moment = |run: &str| run.split('-').find(|part| part.len() == 16 && part.ends_with('Z')).map(str::to_owned);
    moment(early).zip(moment(late)).is_some_and(|(early, late)| early < late)
}

/// What becomes of the writers that the run `by` has stopped. Where its record of them is lost, those that are off and
/// bear nobody's mark may be its, too.
///
/// # Errors
/// The Deployments may not be read.
pub async fn plan_return(
    cluster: &Cluster,
    recorded: Option<&RecordedReplicas>,
    by: &str,
    lost: bool,
) -> Result<Vec<WriterReturn>> {
    Ok(planned(cluster, recorded, by, lost).await?)
}

async fn planned(
    cluster: &Cluster,
    recorded: Option<&RecordedReplicas>,
    by: &str,
    lost: bool,
) -> Result<Vec<WriterReturn>, ClusterError> {
    let found = futures::future::try_join_all(WRITERS.map(|name| cluster.deployment(name))).await?;
    let writers: Vec<WriterFacts> = found.iter().flatten().map(WriterFacts::from).collect();
    let mut returns = returns(&writers, recorded, by);
    let off = writers.into_iter().filter(|writer| lost && writer.may_be_of_any_run());
    let fate = WriterFate::CountUnknown;
    returns.extend(off.map(|writer| WriterReturn { name: writer.name, fate: fate.clone(), marked: false }));
    Ok(returns)
}

/// How long an API server is asked to bring the application back that is away or busy: one that restarts, or whose load
/// balancer moves, is back within that.
const PATIENCE: Duration = Duration::from_secs(180);

/// Brings the writers of the run `by` back, as [`plan_return`] and [`bring_back`] do, and asks again while the API server
/// does not answer. Says what was found of them.
///
/// # Errors
/// They may not be read or changed; or the API server has not answered for three minutes.
pub async fn put_back(
    ctx: &Ctx,
    recorded: Option<&RecordedReplicas>,
    by: &str,
    lost: bool,
) -> Result<Vec<WriterReturn>> {
    let cluster = ctx.cluster().await?;
    let mut wait =
        Wait::new("the API server to bring API and workers back", PATIENCE, &ctx.events).within(cluster.namespace());
    // What an earlier try has started runs at the next.
    let mut started = BTreeMap::new();
    loop {
        if let Some(mut writers) = wait.patient(planned(cluster, recorded, by, lost).await)? {
            let brought_back = wait.patient(bring_back(cluster, &writers, by).await)?;
            for writer in &mut writers {
                match writer.fate {
                    WriterFate::Started(replicas) => _ = started.insert(writer.name.clone(), replicas),
                    WriterFate::Runs(now) if started.get(&writer.name) == Some(&now) => {
                        writer.fate = WriterFate::Started(now);
                    }
                    _ => {}
                }
            }
            if brought_back.is_some() {
                return Ok(writers);
            }
        }
        wait.not_yet(None).await?;
    }
}

/// Brings these writers back for the run `by`, takes its marks off and leaves the trace that it did. Returns before the
/// pods are ready. Safe to repeat.
///
/// # Errors
/// A Deployment may not be changed: the first of them.
pub async fn bring_back(cluster: &Cluster, returns: &[WriterReturn], by: &str) -> Result<(), ClusterError> {
    let back = returns.iter().filter_map(|writer| match writer.fate {
        WriterFate::Started(replicas) => Some((writer.name.clone(), Some(replicas))),
        WriterFate::Runs(_) if writer.marked => Some((writer.name.clone(), None)),
        _ => None,
    });
    start_each(cluster, &back.collect::<Vec<_>>(), by).await
}

/// Gives each of these its replicas where some are named, takes all marks off, and leaves the trace that `by` did. One
/// that may not be started keeps no other off.
///
/// # Errors
/// A Deployment may not be changed: the first of them.
pub async fn start_each(cluster: &Cluster, writers: &[(String, Option<i32>)], by: &str) -> Result<(), ClusterError> {
    let mut first = Ok(());
    for (name, replicas) in writers {
        let started = cluster.adjust(WorkloadKind::Deployment, name, *replicas, &brought_back(by)).await;
        first = first.and(started.map(drop));
    }
    first
}

/// The annotations of a writer that `by` has brought back: no mark of a stop, and the trace of it.
fn brought_back(by: &str) -> [(&'static str, Option<String>); 4] {
    [(REPLICAS, None), (STOPPED_BY, None), (HELD, None), (BROUGHT_BACK_BY, Some(by.to_owned()))]
}

/// What was seen of the writers, in a line.
pub fn returned(writers: &[WriterReturn]) -> String {
    let lines: Vec<String> = writers.iter().map(ToString::to_string).collect();
    if lines.is_empty() { "nothing to do: none is off by this run".to_owned() } else { lines.join(", ") }
}

/// `1 replica`, `2 replicas`.
pub fn replicas_line(count: i32) -> String {
    plural(count.unsigned_abs().into(), "replica")
}

/// An interrupted run that is put back before another begins, and what then becomes of the writers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPutBackFirst {
    pub run: String,
    pub writers: Vec<WriterReturn>,
}

impl RunPutBackFirst {
    /// How many replicas it gives the writer of this name, which is off.
    pub fn starts(&self, name: &str) -> Option<i32> {
        match self.writers.iter().find(|writer| writer.name == name)?.fate {
            WriterFate::Started(replicas) => Some(replicas),
            _ => None,
        }
    }

    /// Which of the runs starts the writer of this name, and with how many replicas.
    pub fn starting<'r>(runs: &'r [Self], name: &str) -> Option<(&'r str, i32)> {
        runs.iter().find_map(|first| Some((first.run.as_str(), first.starts(name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::quiesce::WriterReplicas;
    use crate::ops::quiesce::tests::writer;

    #[test]
    fn a_writer_comes_back_by_its_mark_or_by_the_record_and_is_left_to_whoever_has_taken_care() {
        let recorded = RecordedReplicas { writers: vec![WriterReplicas { name: WRITERS[0].into(), replicas: 2 }] };
        let fate = |now, noted, mark: Option<&str>, recorded: Option<&RecordedReplicas>| {
            let replicas = if now == 0 { noted } else { now };
            let found = returns(&[writer(WRITERS[0], replicas, now, mark)], recorded, "create-1");
            found.into_iter().next().map(|writer| (writer.to_string(), writer.is_back(), writer.marked))
        };
        let said = |text: &str, back, marked| Some((format!("opschain-api {text}"), back, marked));
        let known = Some(&recorded);
        assert_eq!(fate(0, 2, Some("create-1"), known), said("0 -> 2 replicas", true, true));
        assert_eq!(fate(0, 3, Some("create-1"), None), said("0 -> 3 replicas", true, true));
        assert_eq!(fate(0, 0, None, known), said("0 -> 2 replicas", true, false), "its marks were taken off");
        assert_eq!(
            fate(0, 2, Some("stop-1"), known),
            said("is still stopped, by dr server stop (stop-1)", false, false)
        );
        assert_eq!(fate(5, 0, None, known), said("has 5 replicas already", true, false));
        assert_eq!(fate(5, 0, Some("create-1"), known), said("has 5 replicas already", true, true));
        let unknown = "is still stopped, and nothing says how many replicas it had";
        assert_eq!(fate(0, 0, Some("create-1"), None), said(unknown, false, true));
        assert_eq!(fate(0, 0, None, None), None, "it is none of the run's business");
        assert_eq!(fate(0, 2, Some("stop-1"), None), None);
        let gone = returns(&[], known, "create-1");
        assert_eq!(gone[0].to_string(), "there is no Deployment opschain-api any more");
        assert!(!gone[0].is_back());
    }

    #[test]
    fn a_writer_that_was_brought_back_and_is_off_without_a_mark_was_stopped_by_somebody_else_since() {
        let recorded = RecordedReplicas { writers: vec![WriterReplicas { name: WRITERS[0].into(), replicas: 2 }] };
        let fate = |mark, by: &str| {
            let traced = WriterFacts { brought_back_by: Some(by.into()), ..writer(WRITERS[0], 0, 0, mark) };
            returns(&[traced], Some(&recorded), "create-1").remove(0)
        };
        let since = fate(None, "create-1");
        let words = "opschain-api stays stopped: somebody has stopped it since create-1 brought it back";
        assert_eq!((since.to_string().as_str(), since.is_back()), (words, false));
        let started = fate(None, "start-1").to_string();
        assert!(started.ends_with("since dr server start (start-1) brought it back"), "{started}");
        assert_eq!(fate(Some("create-1"), "create-0").fate, WriterFate::Started(2), "a mark comes after any trace");
        // Of a run before this one, an older manifest has put it there again.
        let traced = WriterFacts {
            brought_back_by: Some("create-20261130T100000Z-aaaaaa".into()),
            ..writer(WRITERS[0], 0, 0, None)
        };
        let fate_of = |by: &str| returns(std::slice::from_ref(&traced), Some(&recorded), by).remove(0).fate;
        assert_eq!(fate_of("create-20261130T120000Z-bbbbbb"), WriterFate::Started(2));
        assert!(matches!(fate_of("create-20261130T080000Z-cccccc"), WriterFate::StoppedSince(_)));
        let mut traced = writer(WRITERS[0], 0, 0, None);
        assert!(traced.may_be_of_any_run());
        traced.brought_back_by = Some("create-1".into());
        assert!(!traced.may_be_of_any_run());
    }
}
