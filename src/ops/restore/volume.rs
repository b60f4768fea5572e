//! The volume that a restore makes before there is a database, and gives to the operator once its files are proved.

use super::plan::RestorePlan;
use super::strategy::VolumePlan;
use super::work::RestoreWork;
use crate::cluster::{Cluster, Database, StandingClaim, WantedClaim};
use crate::error::{CommandError, Exit, Result};
use crate::ops::helper::POD_LIMIT;

/// Makes the claim, or takes up the one that an earlier process of this run has made. Returns its UID: no other of the
/// name is given to the operator.
///
/// # Errors
/// [`Exit::NotEmpty`] when one of the name is there that this run has not made.
pub(super) async fn make(work: &RestoreWork, volume: &VolumePlan) -> Result<String> {
    work.hold_lease().await?;
    let cluster = work.ctx.cluster().await?;
    let wanted = WantedClaim {
        database: &work.plan.database,
        size: &volume.size,
        storage_class: volume.storage_class.as_deref(),
        run: &work.run,
    };
    cluster.create_claim(&wanted).await?;
    let claim = cluster.claim(&volume.claim).await?.ok_or_else(|| gone(&work.plan, &work.run, &volume.claim))?;
    if claim.run() != Some(&work.run) {
        let (name, namespace) = (&claim.name, &work.plan.namespace);
        return Err(CommandError::new(Exit::NotEmpty, format!("there is a volume {name} that this restore has not made"))
            .hint(format!(
                "A restore never overwrites one. When nothing in it is needed: `kubectl -n {namespace} delete pvc {name}`, then `dr run resume {}`.",
                work.run
            )));
    }
    Ok(claim.uid)
}

/// Nothing has changed about the claim `uid` since this run has made it: the operator will take up this one, and make no
/// database in it. Looked at before its files are proved, and again right before helm makes the database.
///
/// # Errors
/// [`Exit::Identity`] with what has changed.
pub(super) async fn check(work: &RestoreWork, uid: &str) -> Result<()> {
    let Some(volume) = &work.plan.volume else { return Ok(()) };
    let cluster = work.ctx.cluster().await?;
    let (claim, database) = (cluster.claim(&volume.claim).await?, cluster.database(&work.plan.database).await?);
    let claim = claim.ok_or_else(|| gone(&work.plan, &work.run, &volume.claim))?;
    let Some(what) = unfit(&claim, uid, &work.plan.database, database.as_ref()) else { return Ok(()) };
    Err(CommandError::new(Exit::Identity, format!("volume {} is not as this restore has made it: {what}", claim.name))
        .hint(begin_again(&work.plan, &work.run)))
}

/// Why the operator must not be given the claim; `None` where it may be. A `database` that is there is of this run's own
/// helm, and has taken the claim up already or will.
fn unfit(claim: &StandingClaim, uid: &str, name: &str, database: Option<&Database>) -> Option<String> {
    if claim.uid != uid {
        return Some("somebody has made it anew".to_owned());
    }
    if claim.deleting || database.is_some_and(|database| database.deleting) {
        return Some("somebody is deleting it".to_owned());
    }
    if claim.owners.iter().any(|owner| database.is_none_or(|database| database.uid != *owner)) {
        return Some("it belongs to something else".to_owned());
    }
    claim.lacks(name)
}

fn gone(plan: &RestorePlan, run: &str, claim: &str) -> CommandError {
    let what = format!("volume {claim} is gone from namespace {}", plan.namespace);
    CommandError::new(Exit::Cluster, what).hint(begin_again(plan, run))
}

fn begin_again(plan: &RestorePlan, run: &str) -> String {
    format!("Give the restore up (`dr run abort {run}`), and begin again: `dr bundle restore {}`.", plan.arguments())
}

/// Removes the claim, if this run has made it.
///
/// # Errors
/// [`Exit::NotEmpty`] when somebody's database has taken it up; or it is not gone in time.
pub(super) async fn remove(work: &RestoreWork) -> Result<()> {
    let Some(volume) = &work.plan.volume else { return Ok(()) };
    work.hold_lease().await?;
    let cluster = work.ctx.cluster().await?;
    let Some(claim) = cluster.claim(&volume.claim).await?.filter(|claim| claim.run() == Some(&work.run)) else {
        return Ok(());
    };
    refuse_taken_up(cluster, work, &claim).await?;
    Ok(cluster.delete_claim(&claim, POD_LIMIT, &work.ctx.events).await?)
}

/// Helm's own database is gone by now: one that is there is somebody else's.
async fn refuse_taken_up(cluster: &Cluster, work: &RestoreWork, claim: &StandingClaim) -> Result<()> {
    let Some(database) = cluster.database(&work.plan.database).await? else { return Ok(()) };
    if !claim.owners.contains(&database.uid) {
        return Ok(());
    }
    let (name, namespace) = (&database.name, &work.plan.namespace);
    Err(CommandError::new(Exit::NotEmpty, format!("database {name}, which somebody has made since, uses volume {}", claim.name))
        .hint(format!(
            "When nothing in it is needed: `kubectl -n {namespace} delete clusters.postgresql.cnpg.io {name}`, then `dr run abort {}`.",
            work.run
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> StandingClaim {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        StandingClaim {
            name: "opschain-db-1".into(),
            uid: "c1".into(),
            labels: map(&[
                ("cnpg.io/cluster", "opschain-db"),
                ("cnpg.io/instanceName", "opschain-db-1"),
                ("cnpg.io/instanceRole", "primary"),
                ("cnpg.io/pvcRole", "PG_DATA"),
            ]),
            annotations: map(&[("cnpg.io/nodeSerial", "1"), ("cnpg.io/pvcStatus", "ready")]),
            ..StandingClaim::default()
        }
    }

    fn database(uid: &str) -> Database {
        Database { name: "opschain-db".into(), uid: uid.into(), ..Database::default() }
    }

    #[test]
    fn only_the_very_claim_with_its_marks_and_of_nobody_else_is_given_to_the_operator() {
        let fits = |claim: &StandingClaim, database: Option<&Database>| unfit(claim, "c1", "opschain-db", database);
        assert_eq!(fits(&claim(), None), None);
        assert_eq!(fits(&claim(), Some(&database("d1"))), None, "helm was killed before the operator came to it");
        let taken = StandingClaim { owners: vec!["d1".into()], ..claim() };
        assert_eq!(fits(&taken, Some(&database("d1"))), None, "helm was killed after the operator has taken it up");
        let unmarked = StandingClaim { labels: Default::default(), ..claim() };
        let leaving = Database { deleting: true, ..database("d1") };
        for (other, database, why) in [
            (StandingClaim { uid: "c2".into(), ..claim() }, None, "somebody has made it anew"),
            (StandingClaim { deleting: true, ..claim() }, None, "somebody is deleting it"),
            (taken.clone(), Some(&leaving), "somebody is deleting it"),
            (taken.clone(), None, "it belongs to something else"),
            (taken, Some(&database("d2")), "it belongs to something else"),
            (unmarked, None, "`cnpg.io/cluster` is not `opschain-db`"),
        ] {
            assert_eq!(fits(&other, database).as_deref(), Some(why));
        }
    }
}
