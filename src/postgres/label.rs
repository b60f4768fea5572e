//! `backup_label`: where a base backup begins. The first file of a backup's tar.

use super::lsn::Lsn;

/// The name of the file below the data directory.
pub const NAME: &str = "backup_label";

/// What a `backup_label` says. PostgreSQL itself starts from one that names no timeline and no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// Where recovery begins to read.
    pub start: Lsn,
    /// The timeline that it began on, if it says so.
    pub timeline: Option<u32>,
    /// Whether it says that the server was a standby.
    pub from_standby: bool,
}

/// The text is no `backup_label`.
#[derive(Debug, thiserror::Error)]
#[error("backup_label has no usable line `{0}`")]
pub struct BadLabel(&'static str);

impl BackupLabel {
    /// Reads the text of a `backup_label`.
    ///
    /// # Errors
    /// Names the line that is missing or odd.
    pub fn parse(text: &str) -> Result<Self, BadLabel> {
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        // `START WAL LOCATION: 0/6000028 (file 000000010000000000000006)`
        let key = "START WAL LOCATION";
        let start = line(key).and_then(|text| text.split(' ').next()?.parse().ok()).ok_or(BadLabel(key))?;
        let key = "START TIMELINE";
        let timeline = line(key).map(|text| text.parse().map_err(|_| BadLabel(key))).transpose()?;
        Ok(Self { start, timeline, from_standby: line("BACKUP FROM") == Some("standby") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = include_str!("../../fixtures/pg/backup_label-15.txt");

    #[test]
    fn reads_what_postgresql_15_wrote() {
        let label = BackupLabel::parse(REAL).unwrap();
        assert_eq!((label.start, label.timeline, label.from_standby), (Lsn(0x600_0028), Some(1), false));
        assert!(BackupLabel::parse(&REAL.replace("FROM: primary", "FROM: standby")).unwrap().from_standby);
    }

    #[test]
    fn a_line_that_is_missing_or_odd_is_named_where_postgresql_needs_it() {
        let error =
            |change: (&str, &str)| BackupLabel::parse(&REAL.replace(change.0, change.1)).unwrap_err().to_string();
        assert!(error(("START WAL LOCATION", "X")).contains("START WAL LOCATION"));
        assert!(error(("START TIMELINE: 1", "START TIMELINE: x")).contains("START TIMELINE"));
        assert_eq!(BackupLabel::parse(&REAL.replace("START TIMELINE", "X")).unwrap().timeline, None);
    }
}
