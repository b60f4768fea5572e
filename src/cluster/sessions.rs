//! Who is connected to the database and may write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::podstate::PodState;
use super::psql::odd_answer;
use super::wait::Wait;
use super::workloads::workload_of;
use crate::event::Events;
use crate::postgres::Lsn;

/// The sessions that may write, as one JSON object: clients, workers that write by themselves (of logical replication, of
/// extensions), and transactions that were prepared and may be committed at any time. Left out are this session and those
/// that stream WAL: a walsender that is connected to a database takes SQL until it streams. Left out, too, are the
/// operator's, its probes' and `dr`'s on the socket inside the database's own pod, as long as what they do only reads, on
/// the server's own database; only the operator's metrics are asked of others as well: a client says itself what it is
/// called (`cnpg-instance-manager`: CloudNativePG 1.27, `pkg/management/postgres`). One is
/// busy when it does something, or has since the time that stands for `SINCE`.
const WRITING: &str = "SELECT coalesce(jsonb_object_agg(key, session), '{}') FROM (
    SELECT pid || coalesce(state, '') AS key, jsonb_build_object(
        'role', coalesce(usename, 'a worker'), 'database', datname, 'address', host(client_addr),
        'application', CASE backend_type WHEN 'client backend' THEN application_name
            WHEN 'walsender' THEN application_name || ' (walsender)' ELSE backend_type END,
        'busy', state IS DISTINCT FROM 'idle' OR coalesce(state_change > SINCE, false)) AS session
    FROM pg_stat_activity AS seen WHERE pid <> pg_backend_pid() AND datname IS NOT NULL
        AND backend_type NOT IN ('autovacuum worker', 'parallel worker')
        AND NOT (backend_type = 'walsender' AND EXISTS (SELECT FROM pg_stat_replication AS streams
            WHERE streams.pid = seen.pid AND streams.state IN ('catchup', 'streaming', 'backup')))
        AND usename IS DISTINCT FROM 'streaming_replica'
        AND NOT (client_addr IS NULL AND usename IS NOT DISTINCT FROM 'postgres' AND backend_type = 'client backend'
            AND (application_name = 'cnpg_metrics_exporter'
                OR (datname = 'postgres' AND application_name IN ('dr', 'pg_isready', 'cnpg-instance-manager')))
            AND backend_xid IS NULL AND query !~* '^[[:space:];(]*(insert|update|delete|merge|copy|call|do|execute|truncate|create|alter|drop|grant|revoke|reassign|import|refresh|vacuum|lock|nextval)\\M'
            AND query !~* '^[[:space:];(]*with\\M.*\\m(insert|update|delete|merge)\\M')
    UNION ALL
    SELECT 'prepared ' || gid, jsonb_build_object('role', owner, 'database', database, 'address', NULL,
        'application', 'prepared transaction ' || gid, 'busy', true) FROM pg_prepared_xacts) AS may_write";

/// [`WRITING`], with what is busy only while it is seen to be.
const AT_THIS_MOMENT: &str = "'infinity'::timestamptz";

/// How long sessions are collected before, and again after, a WAL segment is ended.
const AROUND_SWITCH: Duration = Duration::from_millis(250);

/// A session that may write, as the database names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Session {
    /// Where it comes from; absent on the socket inside the database's own pod.
    pub address: Option<String>,
    pub role: String,
    pub database: String,
    pub application: String,
    /// It was doing something, or has done since the application was stopped.
    pub busy: bool,
}

/// Per database how many sessions there ever were, and how many transactions have written; a session is counted when it
/// ends. The server's own database is left out: its operator comes and goes there.
const COUNTS: &str =
    "SELECT jsonb_build_object('at', clock_timestamp()::text, 'sessions', (SELECT jsonb_object_agg(datname, to_jsonb(d) -> 'sessions')
        FROM pg_stat_database d WHERE datname IS NOT NULL AND datname <> 'postgres'),
    'written', pg_snapshot_xmax(pg_current_snapshot())::text::bigint)";

/// The end of a WAL segment, and who was there around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedSwitch {
    pub lsn: Lsn,
    pub sessions: Vec<Session>,
    /// Databases in which sessions came and went unseen around the end, while something was written.
    pub unseen: Vec<String>,
    /// Afterwards.
    pub counts: SessionCounts,
}

/// How many sessions each database ever had, and how many transactions have written, at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCounts {
    /// The time of the database, in its own words.
    at: String,
    sessions: BTreeMap<String, Option<u64>>,
    written: u64,
}

impl SessionCounts {
    /// Its time as SQL has it. What no database says is no time.
    fn literal(&self) -> String {
        let is_time = self.at.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | ':' | '.' | ' '));
        if is_time { format!("'{}'::timestamptz", self.at) } else { AT_THIS_MOMENT.to_owned() }
    }

    /// The databases in which sessions have ended since, if something was written meanwhile.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        if self.written <= before.written {
            return Vec::new();
        }
        let more =
            |(database, now): &(&String, &Option<u64>)| **now > before.sessions.get(*database).copied().flatten();
        self.sessions.iter().filter(more).map(|(database, _)| database.clone()).collect()
    }
}

/// A statement without an answer.
fn perform(statement: &str) -> String {
    format!("DO $dr$ BEGIN {}; END $dr$;", statement.replacen("SELECT", "PERFORM", 1))
}

/// Keeps what a query returns in a setting of the session.
fn quiet_set(setting: &str, query: &str) -> String {
    perform(&format!("SELECT set_config('{setting}', ({query})::text, false)"))
}

/// Collects the sessions of a while.
fn watch(time: Duration, since: &str) -> String {
    let writing = WRITING.replace("SINCE", since);
    format!(
        "DO $dr$ DECLARE seen jsonb := '{{}}'; ends timestamptz := clock_timestamp() + interval '{} ms';
         BEGIN LOOP
             PERFORM pg_stat_clear_snapshot();
             seen := seen || ({writing});
             EXIT WHEN clock_timestamp() > ends;
             PERFORM pg_sleep(0.003);
         END LOOP;
         PERFORM set_config('dr.seen', (coalesce(current_setting('dr.seen', true), '{{}}')::jsonb || seen)::text, false);
         END $dr$;",
        time.as_millis()
    )
}

fn watched(rows: &[Vec<String>]) -> Option<WatchedSwitch> {
    let [row] = rows else { return None };
    let [lsn, seen, before, after] = row.as_slice() else { return None };
    let (before, counts): (SessionCounts, SessionCounts) =
        (serde_json::from_str(before).ok()?, serde_json::from_str(after).ok()?);
    let unseen = counts.since(&before);
    Some(WatchedSwitch { lsn: lsn.parse().ok()?, sessions: sessions(seen)?, unseen, counts })
}

/// A pod by which a session's address can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodAddress {
    pub name: String,
    pub address: String,
    /// The name of the Deployment, or of what else made it; `None` of a pod that was made by hand.
    pub workload: Option<String>,
    /// It keeps sessions for clients that come and go.
    pub pooler: bool,
}

impl Cluster {
    /// The sessions that may write, at this moment.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn writing_sessions(&self, pod: &str) -> Result<Vec<Session>> {
        let act = "name its sessions";
        let rows = self.psql(pod, "postgres", act, &WRITING.replace("SINCE", AT_THIS_MOMENT)).await?;
        rows.first().and_then(|row| sessions(row.first()?)).ok_or_else(|| odd_answer(act))
    }

    /// The subscriptions of logical replication, each with its database: a copy would take them up as well.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn subscriptions(&self, pod: &str) -> Result<Vec<String>> {
        let statement = "SELECT subname || ' in database ' || datname FROM pg_subscription
            JOIN pg_database ON pg_database.oid = subdbid ORDER BY 1";
        let rows = self.psql(pod, "postgres", "list its subscriptions", statement).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The tablespaces beside the server's own two.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn tablespaces(&self, pod: &str) -> Result<Vec<String>> {
        let statement = "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1";
        let rows = self.psql(pod, "postgres", "list its tablespaces", statement).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The tables and sequences that no log is kept of, each with its database: no base backup has their rows.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn unlogged_tables(&self, pod: &str) -> Result<Vec<String>> {
        let act = "list its databases";
        let databases = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate
            AND datconnlimit <> -2 ORDER BY 1"; // -2: what a DROP DATABASE that was interrupted leaves.
        let mut found = Vec::new();
        for database in self.psql(pod, "postgres", act, databases).await?.into_iter().flatten() {
            let statement = "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
                WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY 1";
            match self.psql(pod, &database, "list its unlogged tables", statement).await {
                Ok(tables) => {
                    let tables = tables.into_iter().flatten();
                    found.extend(tables.map(|table| format!("{table} in database {database}")));
                }
                // Its own settings may keep everybody out: that costs no bundle.
                Err(ClusterError::Sql { message, .. }) => {
                    found.push(format!("any in database {database}, which cannot be asked ({message})"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The counts of this moment, against which later ones are held.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn session_counts(&self, pod: &str) -> Result<SessionCounts> {
        let act = "count its sessions";
        let rows = self.psql(pod, "postgres", act, COUNTS).await?;
        rows.first().and_then(|row| serde_json::from_str(row.first()?).ok()).ok_or_else(|| odd_answer(act))
    }

    /// [`Cluster::switch_wal`], watched for a while before and a while after it: one who comes, writes and goes within
    /// milliseconds is counted, if not seen. Before all that the sessions of another `while_before` are collected. Whoever
    /// has done something `since` these counts is busy.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn switch_wal_watched(
        &self,
        pod: &str,
        while_before: Duration,
        since: &SessionCounts,
    ) -> Result<WatchedSwitch> {
        let act = "switch the WAL segment";
        let switch = perform("SELECT set_config('dr.lsn', pg_switch_wal()::text, false)");
        let (before, after) = (quiet_set("dr.before", COUNTS), quiet_set("dr.after", COUNTS));
        let since = since.literal();
        let around = watch(AROUND_SWITCH, &since);
        let statements = [watch(while_before, &since), before, around.clone(), switch, around, after].join("\n");
        let answer = "SELECT current_setting('dr.lsn'), current_setting('dr.seen'), current_setting('dr.before'), current_setting('dr.after')";
        let rows = self.psql(pod, "postgres", act, &format!("{statements}\n{answer}")).await?;
        watched(&rows).ok_or_else(|| odd_answer(act))
    }

    /// The addresses of the namespace's pods. A pod is connected before its kubelet says what its address is, so while
    /// a session has none of theirs and a pod has none yet, they are looked at again, for at most `limit`.
    ///
    /// # Errors
    /// The pods may not be listed.
    pub async fn pods_of(&self, sessions: &[Session], limit: Duration, events: &Events) -> Result<Vec<PodAddress>> {
        let mut wait = Wait::new("the addresses of new pods", limit, events).within(self.namespace());
        loop {
            let pods = self.pods(None).await?;
            let addresses: Vec<PodAddress> = pods.iter().filter_map(PodAddress::of).collect();
            let is_known = |address: &String| addresses.iter().any(|pod| pod.address == *address);
            let new = pods.iter().map(PodState::of).filter(|pod| !pod.ended()).count() > addresses.len();
            if !new || sessions.iter().filter_map(|session| session.address.as_ref()).all(is_known) {
                return Ok(addresses);
            }
            match wait.not_yet(None).await {
                Err(ClusterError::Timeout { .. }) => return Ok(addresses),
                waited => waited?,
            }
        }
    }
}

impl PodAddress {
    /// `None` of a pod that has no address yet, or has ended and has none any more.
    fn of(pod: &Pod) -> Option<Self> {
        let pooler = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("cnpg.io/poolerName"));
        let address = pod.status.as_ref()?.pod_ip.clone()?;
        let workload = workload_of(&pod.metadata);
        let workload = workload.split_once(' ').filter(|(kind, _)| *kind != "Pod").map(|(_, name)| name.to_owned());
        (!PodState::of(pod).ended()).then_some(Self { name: pod.metadata.name.clone()?, address, workload, pooler })
    }
}

/// Each once, however often it was seen.
fn sessions(json: &str) -> Option<Vec<Session>> {
    let seen: BTreeMap<String, Session> = serde_json::from_str(json).ok()?;
    Some(seen.into_values().collect::<BTreeSet<_>>().into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_and_each_is_named_once() {
        let one = r#"{"role": "opschain", "database": "opschain", "address": "10.0.0.7", "application": "psql", "busy": true}"#;
        let local =
            r#"{"role": "postgres", "database": "postgres", "address": null, "application": "", "busy": false}"#;
        let read = sessions(&format!(r#"{{"7active": {one}, "8active": {one}, "9idle": {local}}}"#)).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].address.as_deref(), read[1].address.as_deref()), (None, Some("10.0.0.7")));
        assert!(sessions("{}").unwrap().is_empty() && sessions("").is_none());
    }

    #[test]
    fn who_came_wrote_and_went_between_two_looks_is_counted() {
        let counts = |sessions: u64, written: u64| {
            format!(
                r#"{{"at": "2026-11-29 10:00:00.5+00", "sessions": {{"opschain": {sessions}, "x": null}}, "written": {written}}}"#
            )
        };
        let unseen = |sessions, written| {
            let row = vec!["0/5".to_owned(), "{}".to_owned(), counts(7, 100), counts(sessions, written)];
            watched(&[row]).unwrap().unseen
        };
        assert_eq!(unseen(8, 101), ["opschain"]);
        assert!(unseen(7, 101).is_empty(), "a session that stays");
        assert!(unseen(8, 100).is_empty(), "one that only read");
        assert!(watched(&[]).is_none());
        let at = |text: &str| SessionCounts { at: text.into(), sessions: BTreeMap::new(), written: 0 }.literal();
        assert_eq!(at("2026-11-29 10:00:00.5+00"), "'2026-11-29 10:00:00.5+00'::timestamptz");
        assert_eq!(at("'; DROP TABLE x; --"), AT_THIS_MOMENT);
    }
}
