//! `backup_label`: where a base backup begins. The first file of a backup's tar.

use super::lsn::Lsn;

/// The name of the file below the data directory.
pub const NAME: &str = "backup_label";

/// What a `backup_label` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// Where recovery begins to read.
    pub start: Lsn,
    /// The timeline that it began on.
    pub timeline: u32,
    /// The label that was given to the backup.
    pub label: String,
    /// Whether the server was a primary.
    pub from_primary: bool,
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
        let line = |key: &'static str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).ok_or(BadLabel(key))
        };
        // `START WAL LOCATION: 0/6000028 (file 000000010000000000000006)`
        let key = "START WAL LOCATION";
        let start = line(key)?.split(' ').next().and_then(|text| text.parse().ok()).ok_or(BadLabel(key))?;
        let key = "START TIMELINE";
        let timeline = line(key)?.parse().map_err(|_| BadLabel(key))?;
        let from_primary = line("BACKUP FROM")? == "primary";
        Ok(Self { start, timeline, label: line("LABEL")?.to_owned(), from_primary })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = include_str!("../../fixtures/pg/backup_label-15.txt");

    #[test]
    fn reads_what_postgresql_15_wrote() {
        let label = BackupLabel::parse(REAL).unwrap();
        assert_eq!((label.start, label.timeline, label.from_primary), (Lsn(0x600_0028), 1, true));
        assert_eq!(label.label, "dr x");
    }

    #[test]
    fn a_missing_line_is_named() {
        let error = BackupLabel::parse(&REAL.replace("START TIMELINE", "X")).unwrap_err();
        assert!(error.to_string().contains("START TIMELINE"));
    }
}
