//! What a restored database must prove before anything is started on it. Nothing here asks anybody.

use serde::{Deserialize, Serialize};

use crate::agent::protocol::VolumeFacts;
use crate::bundle::BackupIdentity;
use crate::cluster::{Database, DatabaseFacts};
use crate::error::{CommandError, Exit, Result};
use crate::postgres::Lsn;
use crate::text;

/// What pg_controldata says of a database that was copied while it ran.
pub(super) const IN_PRODUCTION: &str = "in production";

/// Who the running database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunningIdentity {
    pub system_identifier: String,
    pub timeline: u32,
    pub lsn: Lsn,
}

/// The volume has room for the database beside what is on it. Returns what is free.
///
/// # Errors
/// [`Exit::Space`]; [`Exit::Cluster`] when the pod sees no volume.
pub(super) fn room(volume: Option<&VolumeFacts>, needed: u64) -> Result<u64> {
    let volume = volume.ok_or_else(|| CommandError::new(Exit::Cluster, "the recovery pod sees no data volume"))?;
    if volume.free_bytes >= needed {
        return Ok(volume.free_bytes);
    }
    let (free, needed) = (text::bytes(volume.free_bytes), text::bytes(needed));
    let what = format!("the database's volume has {free} free, and the bundle's database takes {needed}");
    Err(CommandError::new(Exit::Space, what)
        .hint("Give db.cnpg.storage.size more room in the values, or enlarge the volume, and begin again."))
}

/// Its WAL lies beside its data: a volume of the WAL's own holds that of the empty database, which would be replayed.
///
/// # Errors
/// [`Exit::Cluster`].
pub(super) fn one_volume(database: &Database) -> Result<()> {
    let Some(what) = database.own_wal_volume() else { return Ok(()) };
    Err(CommandError::new(Exit::Cluster, what)
        .hint("Give the restore up (`dr run abort`), and restore by hand as the bundle's README says, with values without walStorage."))
}

/// Nothing but `own` mounts the volume.
///
/// # Errors
/// [`Exit::NotEmpty`] naming what does.
pub(super) fn alone_on_volume(mounters: &[String], own: &str, claim: &str) -> Result<()> {
    let Some(other) = mounters.iter().find(|name| *name != own) else { return Ok(()) };
    Err(CommandError::new(Exit::NotEmpty, format!("pod {other} uses volume {claim}"))
        .hint("Nothing else may run on the volume while the database is swapped in: remove that pod."))
}

/// The files in place are the bundle's, copied from a primary. Returns what was seen.
///
/// # Errors
/// [`Exit::Identity`].
pub(super) fn files(volume: Option<&VolumeFacts>, wanted: &str) -> Result<String> {
    let control = volume.and_then(|volume| volume.control.as_ref()).ok_or_else(|| {
        CommandError::new(Exit::Identity, "pg_controldata cannot read the database that was swapped in")
    })?;
    if control.system_identifier.to_string() != wanted {
        let what = format!("the database in place is {}, and the bundle's is {wanted}", control.system_identifier);
        return Err(CommandError::new(Exit::Identity, what));
    }
    if control.state != IN_PRODUCTION {
        let what = format!("the database's state is `{}`, not `{IN_PRODUCTION}`", control.state);
        return Err(
            CommandError::new(Exit::Identity, what).hint("The bundle was not made from a primary: take another one.")
        );
    }
    Ok(format!("{} ({})", control.system_identifier, control.state))
}

/// The database that serves is the bundle's: its identity, its timeline, a position past the quiesce point, and no data
/// folder that somebody moved aside (`aside`) to make an empty one.
///
/// # Errors
/// [`Exit::Identity`].
pub(super) fn identity(wanted: &BackupIdentity, found: &DatabaseFacts, aside: &[String]) -> Result<RunningIdentity> {
    let wrong = |what: String| {
        CommandError::new(Exit::Identity, what)
            .hint("Do not start the application on it. `dr run show` has what was done; the bundle is unharmed.")
    };
    if found.system_identifier != wanted.system_identifier {
        let (found, wanted) = (&found.system_identifier, &wanted.system_identifier);
        return Err(wrong(format!("the running database is {found}, and the bundle's is {wanted}")));
    }
    if found.timeline < wanted.timeline {
        let (found, wanted) = (found.timeline, wanted.timeline);
        return Err(wrong(format!("the running database is on timeline {found}, and the bundle's on {wanted}")));
    }
    if found.in_recovery || found.lsn < wanted.last_lsn() {
        let (found, wanted) = (found.lsn, wanted.last_lsn());
        return Err(wrong(format!("the running database is at {found}, and must have passed {wanted}")));
    }
    if let Some(folder) = aside.first() {
        return Err(wrong(format!("the operator has moved a data folder aside as {folder}: it made a database anew")));
    }
    Ok(RunningIdentity { system_identifier: found.system_identifier.clone(), timeline: found.timeline, lsn: found.lsn })
}

/// A database's instance beside the primary.
pub(super) struct StandbyFacts {
    pub pod: String,
    pub facts: DatabaseFacts,
    /// The primary sends it its log.
    pub streaming: bool,
}

/// Every other instance is a copy of the primary: one that is not would serve another database after a failover.
/// `instances` is how many there are to be in this namespace, the primary included.
///
/// # Errors
/// [`Exit::Identity`] naming the instance.
pub(super) fn standbys(wanted: &str, namespace: &str, instances: i32, standbys: &[StandbyFacts]) -> Result<()> {
    let wrong = |what: String, hint: String| Err(CommandError::new(Exit::Identity, what).hint(hint));
    for StandbyFacts { pod, facts, streaming } in standbys {
        let anew = format!(
            "Have the operator copy it anew: `kubectl delete -n {namespace} pvc/{pod} pod/{pod}`, then `dr run resume`."
        );
        if facts.system_identifier != wanted {
            let found = &facts.system_identifier;
            return wrong(format!("instance {pod} is database {found}, and the bundle's is {wanted}"), anew);
        }
        if !facts.in_recovery || !streaming {
            return wrong(format!("instance {pod} does not follow the primary"), anew);
        }
    }
    let found = standbys.len() + 1;
    if i32::try_from(found).ok() == Some(instances) {
        return Ok(());
    }
    let hint = format!(
        "The operator is still making them, or cannot: `kubectl get pods -n {namespace}`, then `dr run resume`."
    );
    wrong(format!("{found} of the database's {instances} instances are there"), hint)
}

#[cfg(test)]
mod tests {
    use super::super::testing::control;
    use super::*;
    use crate::bundle::testing;

    fn refused<T: std::fmt::Debug>(result: Result<T>, exit: Exit) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.exit(), exit);
        error.message().to_owned()
    }

    fn volume(free_bytes: u64, found: Option<(u64, &str)>) -> VolumeFacts {
        let control = found.map(|(system_identifier, state)| control(system_identifier, state));
        let (mount, beside) = ("/v".into(), Vec::new());
        VolumeFacts { mount, size_bytes: 1 << 30, free_bytes, pgdata: true, postmaster_pid: false, control, beside }
    }

    #[test]
    fn a_volume_without_room_or_none_at_all_is_refused() {
        assert_eq!(room(Some(&volume(100, None)), 100).unwrap(), 100);
        let text = refused(room(Some(&volume(99, None)), 100), Exit::Space);
        assert_eq!(text, "the database's volume has 99 B free, and the bundle's database takes 100 B");
        refused(room(None, 0), Exit::Cluster);
    }

    #[test]
    fn a_volume_of_the_wal_s_own_is_refused() {
        let mut database = Database { name: "opschain-db".into(), ..Database::default() };
        assert!(one_volume(&database).is_ok());
        database.spec.wal_storage = Some(Default::default());
        let text = refused(one_volume(&database), Exit::Cluster);
        assert_eq!(text, "database opschain-db keeps its WAL on a volume of its own (walStorage)");
    }

    #[test]
    fn a_volume_that_another_pod_mounts_is_left_alone() {
        let pods = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        alone_on_volume(&pods(&[]), "dr-1", "c").unwrap();
        alone_on_volume(&pods(&["dr-1"]), "dr-1", "c").unwrap();
        let text = refused(alone_on_volume(&pods(&["dr-1", "opschain-db-1"]), "dr-1", "c"), Exit::NotEmpty);
        assert_eq!(text, "pod opschain-db-1 uses volume c");
    }

    #[test]
    fn files_of_another_database_of_none_or_of_a_replica_are_refused() {
        let seen = |control| volume(0, control);
        assert_eq!(files(Some(&seen(Some((7, IN_PRODUCTION)))), "7").unwrap(), "7 (in production)");
        let text = refused(files(Some(&seen(Some((8, IN_PRODUCTION)))), "7"), Exit::Identity);
        assert_eq!(text, "the database in place is 8, and the bundle's is 7");
        let text = refused(files(Some(&seen(Some((7, "in archive recovery")))), "7"), Exit::Identity);
        assert_eq!(text, "the database's state is `in archive recovery`, not `in production`");
        refused(files(Some(&seen(None)), "7"), Exit::Identity);
        refused(files(None, "7"), Exit::Identity);
    }

    #[test]
    fn a_standby_of_another_database_or_one_that_does_not_follow_is_no_restored_database() {
        let facts = |system: &str, in_recovery| DatabaseFacts {
            system_identifier: system.into(),
            timeline: 1,
            in_recovery,
            lsn: Lsn(9),
            checkpoint: Lsn(9),
            version_number: 150_014,
            segment_size: 16 << 20,
            page_checksums: true,
        };
        let standby = |facts, streaming| StandbyFacts { pod: "opschain-db-2".into(), facts, streaming };
        assert!(
            standbys("7", "opschain", 1, &[]).is_ok()
                && standbys("7", "opschain", 2, &[standby(facts("7", true), true)]).is_ok()
        );
        let text = refused(standbys("7", "opschain", 2, &[standby(facts("8", true), true)]), Exit::Identity);
        assert_eq!(text, "instance opschain-db-2 is database 8, and the bundle's is 7");
        for other in [standby(facts("7", false), true), standby(facts("7", true), false)] {
            let text = refused(standbys("7", "opschain", 2, &[other]), Exit::Identity);
            assert_eq!(text, "instance opschain-db-2 does not follow the primary");
        }
        let text = refused(standbys("7", "opschain", 3, &[standby(facts("7", true), true)]), Exit::Identity);
        assert_eq!(text, "2 of the database's 3 instances are there");
    }

    #[test]
    fn only_the_bundle_s_own_database_past_its_last_position_is_it() {
        let (_, manifest) = testing::manifest();
        let wanted = manifest.database;
        let good = DatabaseFacts {
            system_identifier: wanted.system_identifier.clone(),
            timeline: wanted.timeline,
            in_recovery: false,
            lsn: wanted.last_lsn(),
            checkpoint: wanted.last_lsn(),
            version_number: 150_014,
            segment_size: 16 << 20,
            page_checksums: true,
        };
        let seen = identity(&wanted, &good, &[]).unwrap();
        assert_eq!((&seen.system_identifier, seen.lsn), (&wanted.system_identifier, wanted.last_lsn()));
        identity(&wanted, &DatabaseFacts { timeline: wanted.timeline + 1, ..good.clone() }, &[]).unwrap();
        let wrong = |facts: DatabaseFacts, aside: &[String]| refused(identity(&wanted, &facts, aside), Exit::Identity);
        let text = wrong(DatabaseFacts { system_identifier: "8".into(), ..good.clone() }, &[]);
        assert!(text.starts_with("the running database is 8, and the bundle's is "), "{text}");
        let text = wrong(DatabaseFacts { timeline: wanted.timeline - 1, ..good.clone() }, &[]);
        assert!(text.starts_with("the running database is on timeline "), "{text}");
        let text = wrong(DatabaseFacts { lsn: Lsn(0), ..good.clone() }, &[]);
        assert!(text.starts_with("the running database is at 0/0, and must have passed "), "{text}");
        wrong(DatabaseFacts { in_recovery: true, ..good.clone() }, &[]);
        let text = wrong(good, &["pgdata_20260820".into()]);
        assert!(text.starts_with("the operator has moved a data folder aside as pgdata_20260820"), "{text}");
    }
}
