//! The command lines of PostgreSQL's own programs. No shell is ever between.

use serde::{Deserialize, Serialize};

/// How to reach a server as a replication user. Holds names of files, never their contents, and no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The server's name, or the folder of its socket.
    pub host: String,
    pub port: u16,
    /// The role, such as `streaming_replica`.
    pub user: String,
    /// The database to ask questions in; any will do.
    pub dbname: String,
    /// `verify-full`, or `disable` for a socket.
    pub sslmode: String,
    /// The client certificate.
    pub sslcert: Option<String>,
    pub sslkey: Option<String>,
    /// The authority that the server's certificate is checked against.
    pub sslrootcert: Option<String>,
}

impl Connection {
    /// The environment that libpq reads: everything but what the arguments say. `LC_ALL=C` keeps the programs' words
    /// stable, since a few of them are read. The operator has its servers throw a receiver out that was silent for 5 s,
    /// which a busy node is: our own sessions may be silent for longer (`wal_sender_timeout`, which each may set).
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("LC_ALL", "C".to_owned()),
            ("PGAPPNAME", "dr".to_owned()),
            ("PGCONNECT_TIMEOUT", "20".to_owned()),
            ("PGOPTIONS", "-c wal_sender_timeout=5min".to_owned()),
            ("PGSSLMODE", self.sslmode.clone()),
        ];
        let files = [("PGSSLCERT", &self.sslcert), ("PGSSLKEY", &self.sslkey), ("PGSSLROOTCERT", &self.sslrootcert)];
        pairs.extend(files.into_iter().filter_map(|(name, file)| Some((name, file.clone()?))));
        pairs
    }

    fn arguments(&self) -> Vec<String> {
        [format!("--host={}", self.host), format!("--port={}", self.port), format!("--username={}", self.user)]
            .into_iter()
            .chain(["--no-password".to_owned()])
            .collect()
    }
}

/// `pg_basebackup` that writes one tar to stdout, its manifest (CRC32C) at the end, without WAL: WAL cannot be
/// streamed into a tar on stdout, and `fetch` fails once a busy server has recycled a segment.
pub fn basebackup(connection: &Connection, label: &str, max_rate: Option<&str>) -> Vec<String> {
    let mut arguments = connection.arguments();
    arguments.extend(
        [
            "--format=tar",
            "--pgdata=-",
            "--wal-method=none",
            "--checkpoint=fast",
            "--manifest-checksums=CRC32C",
            "--verbose",
        ]
        .map(str::to_owned),
    );
    arguments.push(format!("--label={label}"));
    arguments.extend(max_rate.map(|rate| format!("--max-rate={rate}")));
    arguments
}

/// `pg_receivewal` into `folder`. It ends, rather than tries again, when the server goes: a gap would otherwise open
/// silently behind it.
pub fn receivewal(connection: &Connection, folder: &str) -> Vec<String> {
    let mut arguments = connection.arguments();
    arguments.extend(["--no-loop", "--verbose", "--status-interval=5"].map(str::to_owned));
    arguments.push(format!("--directory={folder}"));
    arguments
}

/// `psql` that answers one query with its bare value.
pub fn query(connection: &Connection, sql: &str) -> Vec<String> {
    let mut arguments = connection.arguments();
    arguments.extend(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet"].map(str::to_owned));
    arguments.push(format!("--dbname={}", connection.dbname));
    arguments.push(format!("--command={sql}"));
    arguments
}

/// `psql` that answers what comes on its stdin, and ends with the first error.
pub fn session(connection: &Connection) -> Vec<String> {
    let mut arguments = connection.arguments();
    arguments
        .extend(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1"].map(str::to_owned));
    arguments.push(format!("--dbname={}", connection.dbname));
    arguments
}

/// The question that is asked of a server before it is backed up; the answer is JSON for [`PostgresFacts`]. Any role
/// that may connect may ask it.
pub const SERVER_FACTS: &str = "select json_build_object(\
    'version', current_setting('server_version_num')::int, \
    'in_recovery', pg_is_in_recovery(), \
    'system_identifier', (select system_identifier::text from pg_control_system()), \
    'wal_segment_bytes', pg_size_bytes(current_setting('wal_segment_size')), \
    'tablespaces', (select coalesce(json_agg(spcname), '[]') from pg_tablespace \
        where spcname not in ('pg_default', 'pg_global')))";

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresFacts {
    /// `server_version_num`, such as 150018.
    pub version: u32,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// The database's identity, as digits: JSON numbers are too narrow for it.
    pub system_identifier: String,
    /// The size of a WAL segment.
    pub wal_segment_bytes: u64,
    /// Tablespaces besides PostgreSQL's own two.
    pub tablespaces: Vec<String>,
}

/// The major version in what a PostgreSQL program answers to `--version`: `pg_basebackup (PostgreSQL) 15.18 (Debian
/// 15.18-0+deb12u1)`.
pub fn major_version(answer: &str) -> Option<u32> {
    let digits = answer.split("(PostgreSQL) ").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            host: "opschain-db-rw".into(),
            port: 5432,
            user: "streaming_replica".into(),
            dbname: "postgres".into(),
            sslmode: "verify-full".into(),
            sslcert: Some("/certs/tls.crt".into()),
            sslkey: Some("/certs/tls.key".into()),
            sslrootcert: None,
        }
    }

    #[test]
    fn the_base_backup_goes_to_stdout_as_one_tar_with_its_manifest() {
        let arguments = basebackup(&connection(), "dr opschain-1", Some("100M"));
        insta::assert_snapshot!(arguments.join("\n"), @r"
        --host=opschain-db-rw
        --port=5432
        --username=streaming_replica
        --no-password
        --format=tar
        --pgdata=-
        --wal-method=none
        --checkpoint=fast
        --manifest-checksums=CRC32C
        --verbose
        --label=dr opschain-1
        --max-rate=100M
        ");
    }

    #[test]
    fn only_files_that_are_given_reach_the_environment() {
        let names: Vec<_> = connection().environment().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["LC_ALL", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGOPTIONS", "PGSSLMODE", "PGSSLCERT", "PGSSLKEY"]
        );
    }

    #[test]
    fn versions_are_read_from_what_the_programs_say() {
        assert_eq!(major_version("pg_basebackup (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major_version("bash 5"), None);
    }
}
