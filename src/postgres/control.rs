//! The control file (`global/pg_control`) and what `pg_controldata` says of it.

use serde::{Deserialize, Serialize};

use super::lsn::Lsn;

/// The name of the control file below the data directory.
pub const NAME: &str = "global/pg_control";

/// What `pg_controldata` printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlData {
    /// The database's identity, made once by initdb.
    pub system_identifier: u64,
    /// PostgreSQL's words, such as `in production` or `shut down`.
    pub state: String,
    /// The timeline of the latest checkpoint.
    pub timeline: u32,
    /// Where the latest checkpoint record is.
    pub checkpoint: Lsn,
    /// Where recovery from it begins.
    pub redo: Lsn,
    /// How far recovery must go before the database is consistent; 0/0 when it need not.
    pub minimum_recovery_end: Lsn,
    /// The size of a WAL segment in bytes.
    pub wal_segment_bytes: u64,
    /// The version of the control file, such as 1300 (PostgreSQL 13 to 16).
    pub control_version: u32,
    /// The version of the system catalogs, such as 202209061 (PostgreSQL 15).
    pub catalog_version: u32,
}

/// The text is not what `pg_controldata` prints (in the C locale).
#[derive(Debug, thiserror::Error)]
#[error("pg_controldata says nothing usable of `{0}`")]
pub struct BadControlData(&'static str);

impl ControlData {
    /// Reads the output of `LC_ALL=C pg_controldata`.
    ///
    /// # Errors
    /// Names the line that is missing or odd.
    pub fn parse(text: &str) -> Result<Self, BadControlData> {
        // Lines look like `Database system identifier:           7711272386700096654`.
        let line = |key: &'static str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
                .map(str::trim)
                .filter(|value| !value.is_empty())
                .ok_or(BadControlData(key))
        };
        let number = |key: &'static str| line(key)?.parse::<u64>().map_err(|_| BadControlData(key));
        let small = |key: &'static str| line(key)?.parse::<u32>().map_err(|_| BadControlData(key));
        let position = |key: &'static str| line(key)?.parse::<Lsn>().map_err(|_| BadControlData(key));
        Ok(Self {
            system_identifier: number("Database system identifier")?,
            state: line("Database cluster state")?.to_owned(),
            timeline: small("Latest checkpoint's TimeLineID")?,
            checkpoint: position("Latest checkpoint location")?,
            redo: position("Latest checkpoint's REDO location")?,
            minimum_recovery_end: position("Minimum recovery ending location")?,
            wal_segment_bytes: number("Bytes per WAL segment")?,
            control_version: small("pg_control version number")?,
            catalog_version: small("Catalog version number")?,
        })
    }
}

/// The system identifier in the bytes of a control file: its first eight, in the server's byte order. Known to be so
/// for every version since 8.3 (`ControlFileData` in PostgreSQL's `pg_control.h`).
pub fn system_identifier(control_file: &[u8]) -> Option<u64> {
    control_file.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = include_str!("../../fixtures/pg/pg_controldata-15.txt");

    #[test]
    fn reads_what_pg_controldata_15_printed() {
        let data = ControlData::parse(REAL).unwrap();
        assert_eq!(data.system_identifier, 7_711_272_386_700_096_654);
        assert_eq!((data.state.as_str(), data.timeline), ("in production", 1));
        assert_eq!((data.checkpoint.to_string(), data.redo.to_string()), ("0/7041A90".into(), "0/7041A58".into()));
        assert_eq!((data.wal_segment_bytes, data.control_version), (16 << 20, 1300));
    }

    #[test]
    fn a_missing_line_is_named() {
        let cut = REAL.replace("Database cluster state", "Status");
        assert!(ControlData::parse(&cut).unwrap_err().to_string().contains("Database cluster state"));
    }
}
