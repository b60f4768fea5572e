//! `dr bundle diff`: what differs between two bundles. Of the database only PostgreSQL's lists of its files are opened.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{BundleRequest, FoundBundle, find};
use crate::bundle::Reader;
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{Access, Compared, compare_opened};
use crate::postgres::Lsn;
use crate::postgres::backup_diff::{BackupDiff, FileChange};

const VALUES: &str = "config/values.yaml.age";
const RELEASE: &str = "config/release.json.age";
const FILES: &str = "db/backup_manifest.age";

/// The differences between two bundles.
#[derive(Debug, Serialize)]
pub struct BundleDiffReport {
    pub from: BundleSide,
    pub to: BundleSide,
    /// Whether anything differs but when and by what the bundles were made, and how far the log had gone.
    pub differs: bool,
    /// The values, by path, secrets masked.
    pub values: Compared,
    /// The other members that are sealed and no part of the database, where they are not the same.
    pub members: Vec<MemberDiff>,
    /// Whether both are of one database: only then do numbers of files mean the same relations.
    pub same_database: bool,
    /// How much log was written between them, where both are of one database and timeline and the second is later.
    pub wal_bytes_between: Option<u64>,
    /// The files of the database.
    pub database: BackupDiff,
}

/// What one of the two says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleSide {
    pub name: String,
    pub created: Timestamp,
    pub bytes: u64,
    pub quiesce: String,
    pub versions: BundleVersions,
    pub system_identifier: String,
    pub timeline: u32,
    pub start_lsn: Lsn,
    pub last_lsn: Lsn,
}

/// With what a bundle was made; what `release.json` does not say is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleVersions {
    pub opschain: String,
    pub chart: String,
    pub postgresql: String,
    pub operator: Option<String>,
    pub kubernetes: Option<String>,
    pub helm: Option<String>,
    pub dr: String,
}

/// A member that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberDiff {
    /// Its name without `.age`; of the chart, which has its version in its name, `chart`.
    pub name: String,
    pub what: FileChange,
}

impl BundleDiffReport {
    /// 2 when anything differs, as `dr config diff` has it.
    pub fn exit(&self) -> Exit {
        if self.differs { Exit::Changed } else { Exit::Success }
    }
}

/// Compares two bundles; the second is the newest of the store when it is not named.
///
/// # Errors
/// One of them is not there, not to be believed, not opened by an identity, or damaged.
pub fn diff(ctx: &Ctx, request: &BundleRequest, to: Option<String>) -> Result<BundleDiffReport> {
    let old = find(ctx, request, true)?;
    let new = find(ctx, &BundleRequest { bundle: to, ..request.clone() }, true)?;
    let identities = ctx.identities_of(request.identity.as_deref())?;
    let values = |found: &FoundBundle| -> Result<(String, Zeroizing<Vec<u8>>)> {
        let reader = &found.reader;
        Ok((format!("bundle {}", reader.header().id), reader.open_member(VALUES, &identities)?))
    };
    let access = Access { identity: request.identity.clone(), ..Access::default() };
    let values = compare_opened(ctx, &access, values(&old)?, values(&new)?)?;
    ctx.check_cancelled()?;
    let members = members(&other_members(&old.reader, &identities)?, &other_members(&new.reader, &identities)?);
    ctx.check_cancelled()?;
    let database =
        BackupDiff::between(&old.reader.backup_manifest(&identities)?, &new.reader.backup_manifest(&identities)?);
    let (from, to) = (side(&old.reader, &identities)?, side(&new.reader, &identities)?);
    Ok(report(from, to, values, members, database))
}

fn report(
    from: BundleSide,
    to: BundleSide,
    values: Compared,
    members: Vec<MemberDiff>,
    database: BackupDiff,
) -> BundleDiffReport {
    let same_database = from.system_identifier == to.system_identifier;
    let one_history = same_database && from.timeline == to.timeline;
    let what_ran = |side: &BundleSide| BundleVersions { dr: String::new(), ..side.versions.clone() };
    let differs = !one_history
        || what_ran(&from) != what_ran(&to)
        || values.exit() != Exit::Success
        || !members.is_empty()
        || !database.is_same();
    let wal_bytes_between = to.last_lsn.0.checked_sub(from.last_lsn.0).filter(|_| one_history);
    BundleDiffReport { from, to, differs, values, members, same_database, wal_bytes_between, database }
}

fn side(reader: &Reader, identities: &Identities) -> Result<BundleSide> {
    let (header, database) = (reader.header(), &reader.manifest().database);
    let release: serde_json::Value =
        serde_json::from_slice(&reader.open_member(RELEASE, identities)?).map_err(|e| {
            CommandError::new(Exit::Damaged, format!("config/release.json of bundle {}", header.id)).because(e)
        })?;
    let said = |key: &str| release[key].as_str().map(str::to_owned);
    Ok(BundleSide {
        name: header.id.to_string(),
        created: header.created,
        bytes: reader.bytes(),
        quiesce: header.quiesce.to_string(),
        versions: BundleVersions {
            opschain: header.opschain.version.clone(),
            chart: header.opschain.chart_version.clone(),
            postgresql: header.postgresql.version.clone(),
            operator: said("operator"),
            kubernetes: said("kubernetes"),
            helm: said("helm"),
            dr: header.dr_version.clone(),
        },
        system_identifier: database.system_identifier.clone(),
        timeline: database.timeline,
        start_lsn: database.start_lsn,
        last_lsn: database.last_lsn(),
    })
}

type Members = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The sealed members that are compared as a whole, opened.
fn other_members(reader: &Reader, identities: &Identities) -> Result<Members> {
    let others = reader.sealed_members().filter(|name| ![VALUES, RELEASE, FILES].contains(name));
    let opened = |name: &str| -> Result<(String, Zeroizing<Vec<u8>>)> {
        let shown = match Some(name) == reader.chart() {
            true => "chart",
            false => name.trim_end_matches(".age"),
        };
        Ok((shown.to_owned(), reader.open_member(name, identities)?))
    };
    others.map(opened).collect()
}

fn members(old: &Members, new: &Members) -> Vec<MemberDiff> {
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name, FileChange::Removed));
    let there = new.iter().filter_map(|(name, bytes)| match old.get(name) {
        None => Some((name, FileChange::Added)),
        Some(was) => (was != bytes).then_some((name, FileChange::Changed)),
    });
    gone.chain(there).map(|(name, what)| MemberDiff { name: name.clone(), what }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::diff::diff as values_diff;
    use crate::values::{Scrubber, Tree};

    fn side(system: &str, timeline: u32, last_lsn: u64, dr: &str) -> BundleSide {
        BundleSide {
            name: "b".into(),
            created: "2026-08-20T10:15:00Z".parse().unwrap(),
            bytes: 1,
            quiesce: "brief".into(),
            versions: BundleVersions {
                opschain: "2026-08-20".into(),
                chart: "2026.8.20".into(),
                postgresql: "17.5".into(),
                operator: Some("1.27.0".into()),
                kubernetes: None,
                helm: None,
                dr: dr.into(),
            },
            system_identifier: system.into(),
            timeline,
            start_lsn: Lsn(1),
            last_lsn: Lsn(last_lsn),
        }
    }

    fn same_values() -> Compared {
        let tree = Tree::parse(b"a: 1\n").unwrap();
        Compared {
            from: String::new(),
            to: String::new(),
            diff: values_diff(&tree, &tree, &Scrubber::new(None)),
            text: None,
            lasting_fingerprints: false,
        }
    }

    #[test]
    fn bundles_of_one_database_that_nobody_wrote_to_do_not_differ_and_what_ran_and_where_does() {
        let from = side("7", 1, 100, "0.1.0");
        let of = |to: BundleSide, members| report(from.clone(), to, same_values(), members, BackupDiff::default());
        let idle = of(side("7", 1, 160, "0.2.0"), Vec::new());
        assert_eq!((idle.differs, idle.wal_bytes_between, idle.exit()), (false, Some(60), Exit::Success));
        let other = of(side("8", 1, 160, "0.1.0"), Vec::new());
        assert_eq!((other.differs, other.same_database, other.wal_bytes_between), (true, false, None));
        let promoted = of(side("7", 2, 160, "0.1.0"), Vec::new());
        assert_eq!((promoted.differs, promoted.same_database, promoted.wal_bytes_between), (true, true, None));
        let earlier = of(side("7", 1, 50, "0.1.0"), Vec::new());
        assert_eq!((earlier.differs, earlier.wal_bytes_between), (false, None));
        let mut upgraded = side("7", 1, 160, "0.1.0");
        upgraded.versions.operator = Some("1.28.0".into());
        assert_eq!(of(upgraded, Vec::new()).exit(), Exit::Changed);
        let secrets = MemberDiff { name: "config/secrets.yaml".into(), what: FileChange::Changed };
        assert!(of(side("7", 1, 160, "0.1.0"), vec![secrets]).differs);
    }

    #[test]
    fn members_come_go_and_change() {
        let members_of = |all: &[(&str, &[u8])]| -> Members {
            all.iter().map(|(name, bytes)| ((*name).to_owned(), Zeroizing::new(bytes.to_vec()))).collect()
        };
        let old = members_of(&[("chart", b"1"), ("config/layer-0.yaml", b"1"), ("config/secrets.yaml", b"1")]);
        let new = members_of(&[("chart", b"2"), ("config/layer-1.txt", b"1"), ("config/secrets.yaml", b"1")]);
        let found: Vec<_> = members(&old, &new).into_iter().map(|member| (member.name, member.what)).collect();
        let expected = [
            ("config/layer-0.yaml", FileChange::Removed),
            ("chart", FileChange::Changed),
            ("config/layer-1.txt", FileChange::Added),
        ];
        assert_eq!(found, expected.map(|(name, what)| (name.to_owned(), what)));
    }
}
