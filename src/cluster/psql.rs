//! SQL in the database's own pod: `psql` over the local socket, as the superuser, with proof that the answer is whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::database::POSTGRES_CONTAINER;
use super::error::{ClusterError, Result};
use super::exec::{Stdin, last_words};
use super::kube::Cluster;
use crate::postgres::lsn::Lsn;
use crate::trace::{self, CallKind};

/// How long one statement may take. None of ours reads much.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);
/// Between columns and between rows: characters that stand in no value, so that a value may hold anything else.
const COLUMN: char = '\u{1f}';
const ROW: char = '\u{1e}';
/// Ends every whole answer. Exec can lose the end of an output and still report success.
const END: &str = "dr: end of answer";
/// How `dr`'s own sessions are named in `pg_stat_activity`.
const APPLICATION: &str = "dr";

/// Rows of columns, as text. NULL is the empty text.
pub type Rows = Vec<Vec<String>>;

/// Who a running database is, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// PostgreSQL's system identifier: made by initdb, the same in every copy. A number too large for JSON readers.
    pub system_identifier: String,
    /// The timeline of the last checkpoint.
    pub timeline: u32,
    /// Whether it replays another's log.
    pub in_recovery: bool,
    /// The last position written; the last replayed where it is in recovery.
    pub lsn: Lsn,
    /// The position where the last checkpoint began.
    pub checkpoint: Lsn,
    /// Such as 150020.
    pub version_number: u32,
    /// Bytes of one segment of the log.
    pub segment_size: u64,
    /// Whether its pages carry checksums.
    pub page_checksums: bool,
}

/// How much write-ahead log a primary writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalWritten {
    pub bytes: u64,
    /// In how many seconds: since its counters began.
    pub seconds: u64,
    /// What it keeps for those who are behind (`wal_keep_size`).
    pub keep_bytes: u64,
}

impl DatabaseFacts {
    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.version_number / 10_000
    }
}

/// What a role or a database may have been given otherwise, and would change what is seen: whose tables a name means, how
/// long a statement may take, whether anything may be written.
const OWN_SETTINGS: &str = "SET search_path = pg_catalog, public; SET statement_timeout = 0; SET lock_timeout = 0; \
    SET default_transaction_read_only = off; SET datestyle = ISO;";

/// How psql is led to a database, whatever its name: a bare name that holds `=` or begins as an address would be read as
/// a connection string.
fn connection_to(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl Cluster {
    /// Runs one statement (or several of which one answers) in `database`, in pod `pod`, and returns its rows.
    ///
    /// The statement goes in by stdin. An error ends it at once, and nothing after it runs; what ran before stays unless
    /// the statement says `BEGIN`.
    ///
    /// # Errors
    /// [`ClusterError::Sql`] with PostgreSQL's words; [`ClusterError::Session`] when the answer is not whole: then
    /// nothing is known of whether the statement took effect.
    pub async fn psql(&self, pod: &str, database: &str, act: &str, statement: &str) -> Result<Rows> {
        let column = COLUMN.to_string();
        let row = ROW.to_string();
        let database = connection_to(database);
        let command =
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", &column, "-R", &row, "-U", "postgres", "-d", &database];
        // Told to quit in its input, psql ends by itself, and stdin need not be closed (see `Stdin`).
        let input = format!(
            "SET application_name = '{APPLICATION}';\n{OWN_SETTINGS}\n{}\n;\n\\echo\n\\echo '{END}'\n\\q\n",
            statement.trim().trim_end_matches(';')
        );
        let answer = async {
            let input = Some(input.as_bytes());
            let run = self.exec_with(pod, POSTGRES_CONTAINER, &command, input, Stdin::KeepOpen, STATEMENT_LIMIT);
            let output = run.await?;
            if output.exit != 0 {
                return Err(ClusterError::Sql { act: act.to_owned(), message: complaint(&output.stderr, output.exit) });
            }
            rows(&output.stdout).ok_or_else(|| ClusterError::Session {
                pod: pod.to_owned(),
                command: "psql".into(),
                cause: "the end of the answer is missing".into(),
            })
        };
        trace::call(CallKind::Psql, format!("{act} in pod {pod}"), answer).await
    }

    /// Asks a running instance who it is and where it stands.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn database_facts(&self, pod: &str) -> Result<DatabaseFacts> {
        const ASK: &str = "SELECT s.system_identifier, c.timeline_id, pg_is_in_recovery(),
            CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
            c.redo_lsn, current_setting('server_version_num'), i.bytes_per_wal_segment, i.data_page_checksum_version
            FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_init() i";
        let act = "say who it is";
        let rows = self.psql(pod, "postgres", act, ASK).await?;
        facts(&rows).ok_or_else(|| odd_answer(act))
    }

    /// Names the standbys that follow a primary, by the names of their pods.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn streaming_standbys(&self, primary: &str) -> Result<Vec<String>> {
        const ASK: &str = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'";
        Ok(self.psql(primary, "postgres", "name its standbys", ASK).await?.into_iter().flatten().collect())
    }

    /// Ends the current segment of the log, so that everything up to the returned position is in whole segments.
    ///
    /// Returns the position just after the last record of the ended segment. Without anything new since the last
    /// switch PostgreSQL switches nothing and returns the start of the current segment.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn switch_wal(&self, pod: &str) -> Result<Lsn> {
        self.one(pod, "switch the WAL segment", "SELECT pg_switch_wal()").await
    }

    /// Bytes of all databases of the instance together. The volume also holds the log and what is temporary.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn databases_size(&self, pod: &str) -> Result<u64> {
        self.one(pod, "tell its size", "SELECT sum(pg_database_size(oid)) FROM pg_database").await
    }

    /// How much log the primary has written since its counters began, and how much it keeps for those who are behind.
    ///
    /// # Errors
    /// As [`Cluster::psql`].
    pub async fn wal_written(&self, pod: &str) -> Result<WalWritten> {
        // `pg_stat_wal` is there from PostgreSQL 14 on; `wal_keep_size` is counted in MB.
        const ASK: &str = "SELECT jsonb_build_object('bytes', wal_bytes::bigint,
            'seconds', greatest(0, extract(epoch FROM now() - stats_reset))::bigint, 'keep_bytes',
            (SELECT setting::bigint * 1048576 FROM pg_settings WHERE name = 'wal_keep_size')) FROM pg_stat_wal";
        let act = "tell how much log it writes";
        match self.psql(pod, "postgres", act, ASK).await?.concat().as_slice() {
            [text] => serde_json::from_str(text).map_err(|_| odd_answer(act)),
            _ => Err(odd_answer(act)),
        }
    }

    async fn one<T: std::str::FromStr>(&self, pod: &str, act: &str, statement: &str) -> Result<T> {
        let rows = self.psql(pod, "postgres", act, statement).await?;
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].parse().map_err(|_| odd_answer(act)),
            _ => Err(odd_answer(act)),
        }
    }
}

pub(super) fn odd_answer(act: &str) -> ClusterError {
    ClusterError::Sql { act: act.to_owned(), message: "its answer is not understood".into() }
}

/// PostgreSQL's own line, without the place in a script that the user never sees: `ERROR:  ...`, `FATAL:  ...`.
fn complaint(stderr: &str, exit: i32) -> String {
    let line = stderr.lines().find_map(|line| {
        ["ERROR:", "FATAL:", "error:"].iter().find_map(|mark| line.find(mark).map(|at| line[at + mark.len()..].trim()))
    });
    match line {
        Some(line) => line.to_owned(),
        None if stderr.trim().is_empty() => format!("psql ended with exit code {exit}"),
        None => last_words(stderr),
    }
}

/// Splits a whole answer; `None` when its end is missing.
fn rows(stdout: &[u8]) -> Option<Rows> {
    let text = std::str::from_utf8(stdout).ok()?;
    let answer = text.strip_suffix(&format!("{END}\n"))?.strip_suffix('\n')?;
    let answer = answer.strip_suffix('\n').unwrap_or(answer);
    if answer.is_empty() {
        return Some(Vec::new());
    }
    Some(answer.split(ROW).map(|row| row.split(COLUMN).map(str::to_owned).collect()).collect())
}

fn facts(rows: &Rows) -> Option<DatabaseFacts> {
    let [row] = rows.as_slice() else { return None };
    let [system, timeline, recovery, lsn, checkpoint, version, segment, checksums] = row.as_slice() else {
        return None;
    };
    system.parse::<u64>().ok()?;
    Some(DatabaseFacts {
        system_identifier: system.clone(),
        timeline: timeline.parse().ok()?,
        in_recovery: recovery == "t",
        lsn: lsn.parse().ok()?,
        checkpoint: checkpoint.parse().ok()?,
        version_number: version.parse().ok()?,
        segment_size: segment.parse().ok()?,
        page_checksums: checksums != "0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Option<Rows> {
        rows(format!("{body}\n{END}\n").as_bytes())
    }

    #[test]
    fn an_answer_is_split_into_rows_and_columns_whatever_they_hold() {
        let rows = answer("1\u{1f}two\nlines|and;more\u{1e}2\u{1f}\n").unwrap();
        assert_eq!(rows, [["1", "two\nlines|and;more"], ["2", ""]]);
    }

    #[test]
    fn an_answer_without_its_end_is_none() {
        assert!(rows(b"1\n\ndr: end of ans").is_none());
        assert!(rows(b"1\n").is_none());
        assert!(rows(b"").is_none());
    }

    #[test]
    fn no_row_and_one_empty_value_are_told_apart_only_by_what_was_asked() {
        assert_eq!(answer("").unwrap(), Rows::new());
    }

    #[test]
    fn the_facts_of_a_database_are_read() {
        let row = "7575757575757575757\u{1f}1\u{1f}f\u{1f}0/5000148\u{1f}0/5000060\u{1f}150020\u{1f}16777216\u{1f}1\n";
        let facts = facts(&answer(row).unwrap()).unwrap();
        assert_eq!((facts.major(), facts.timeline, facts.in_recovery), (15, 1, false));
        assert_eq!(facts.lsn.to_string(), "0/5000148");
        assert!(facts.page_checksums);
    }

    #[test]
    fn postgresqls_own_words_are_told_without_the_place_in_the_script() {
        let stderr = "psql:<stdin>:2: ERROR:  relation \"x\" does not exist\nLINE 1: SELECT * FROM x\n";
        assert_eq!(complaint(stderr, 3), "relation \"x\" does not exist");
        let stderr =
            "psql: error: connection to server on socket \"/controller/run/.s.PGSQL.5432\" failed: No such file";
        assert_eq!(
            complaint(stderr, 2),
            "connection to server on socket \"/controller/run/.s.PGSQL.5432\" failed: No such file"
        );
        assert_eq!(complaint("", 137), "psql ended with exit code 137");
    }
}
