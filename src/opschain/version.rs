//! Versions of OpsChain, and the gate between a bundle's version and the one that is to run.
//!
//! A release is named by its date: images carry the tag `2026-08-20`, charts the version `2026.8.20`, and charts up to
//! 2025-04-25 `0.1.0+2025-04-25`. `local` and `edge` name builds that move.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::releases::{self, KnownRelease};

/// A version of OpsChain, however it was written.
///
/// Two are equal when they name the same build: the tag and the chart version of one release are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Version {
    /// A release by date, with what follows a hyphen in the chart's version (`rc.1`), or nothing.
    Dated(Date, String),
    /// A semantic version.
    Semantic(semver::Version),
    /// A build that moves: `local` or `edge`.
    Moving(String),
}

/// The text is not a version of OpsChain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an OpsChain version")]
pub struct BadVersion(pub String);

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let text = text.trim();
        if matches!(text, "local" | "edge") {
            return Ok(Self::Moving(text.to_owned()));
        }
        if let Some(version) = by_tag(text) {
            return Ok(version);
        }
        let version = semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).map_err(|_| bad())?;
        if let Some(date) = date_of(version.major, version.minor, version.patch) {
            return Ok(Self::Dated(date, version.pre.to_string()));
        }
        // Charts of the first years: the date stood in what semver ignores.
        if (version.major, version.minor, version.patch) == (0, 1, 0)
            && let Some(dated) = by_tag(&version.build)
        {
            return Ok(dated);
        }
        Ok(Self::Semantic(version))
    }
}

impl Version {
    /// As the images' tag and `env.OPSCHAIN_VERSION` have it: `2026-08-20`.
    pub fn tag(&self) -> String {
        match self {
            Self::Dated(date, pre) if pre.is_empty() => date.to_string(),
            Self::Dated(date, pre) => format!("{date}-{pre}"),
            Self::Semantic(version) => version.to_string(),
            Self::Moving(name) => name.clone(),
        }
    }

    /// The date of a release, as the facts of [`super::keys`] name it; `None` for what is no release's date.
    pub fn dated_tag(&self) -> Option<String> {
        match self {
            Self::Dated(date, _) => Some(date.to_string()),
            _ => None,
        }
    }

    /// As the chart's version has it: `2026.8.20`. A build that moves has no chart of its own.
    pub fn chart(&self) -> Option<String> {
        /// The last release whose chart was `0.1.0+<date>`.
        const LAST_OLD_CHART: Date = jiff::civil::date(2025, 4, 25);
        match self {
            Self::Dated(date, pre) if pre.is_empty() && *date <= LAST_OLD_CHART => Some(format!("0.1.0+{date}")),
            Self::Dated(date, pre) => {
                let chart = format!("{}.{}.{}", date.year(), date.month(), date.day());
                Some(if pre.is_empty() { chart } else { format!("{chart}-{pre}") })
            }
            Self::Semantic(version) => Some(version.to_string()),
            Self::Moving(_) => None,
        }
    }

    /// Which of the two came out later. `None`: that cannot be known, for one is not a date, or both move.
    pub fn release_order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Dated(a, a_pre), Self::Dated(b, b_pre)) => Some(a.cmp(b).then_with(|| pre_order(a_pre, b_pre))),
            (Self::Semantic(a), Self::Semantic(b)) => Some(a.cmp_precedence(b)),
            _ => None,
        }
    }

    /// The major version of PostgreSQL that the release ships, where it is known: 14 to 2024-06-17, then 17.
    pub fn postgres_major(&self) -> Option<u32> {
        match self {
            Self::Dated(date, _) if *date < jiff::civil::date(2025, 1, 15) => Some(14),
            Self::Dated(..) => Some(17),
            _ => None,
        }
    }

    /// What is known of this release, where it is one.
    pub fn release(&self) -> Option<&'static KnownRelease> {
        match self {
            Self::Dated(date, pre) if pre.is_empty() => releases::ALL.iter().find(|release| release.date == *date),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag())
    }
}

impl TryFrom<String> for Version {
    type Error = BadVersion;

    fn try_from(text: String) -> Result<Self, BadVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.tag()
    }
}

/// Reads `2026-08-20` and `2026-08-20-rc1`.
fn by_tag(text: &str) -> Option<Version> {
    let (date, rest) = text.split_at_checked(10)?;
    let pre = if rest.is_empty() { "" } else { rest.strip_prefix('-').filter(|pre| !pre.is_empty())? };
    semver::Prerelease::new(pre).ok()?;
    let date: Date = date.parse().ok()?;
    (date.year() >= 2000).then(|| Version::Dated(date, pre.to_owned()))
}

fn date_of(year: u64, month: u64, day: u64) -> Option<Date> {
    let year = i16::try_from(year).ok().filter(|year| (2000..=9999).contains(year))?;
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// A pre-release comes before its release.
fn pre_order(a: &str, b: &str) -> Ordering {
    let parse = |text: &str| semver::Prerelease::new(text).unwrap_or(semver::Prerelease::EMPTY);
    parse(a).cmp(&parse(b))
}

/// What restoring a bundle of one version to run under another means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionGate {
    /// The same build.
    Exact,
    /// The target is newer.
    Newer {
        /// The releases after the bundle's, up to and with the target, oldest first, as far as they are known.
        between: Vec<&'static KnownRelease>,
        /// What may go wrong, each a sentence.
        warnings: Vec<String>,
    },
    /// The target is older: its schema is too, and OpsChain does not go back.
    Older {
        /// The releases after the target's, up to and with the bundle's, oldest first, as far as they are known.
        between: Vec<&'static KnownRelease>,
    },
    /// Which is newer cannot be known.
    Unknown {
        /// Why, as a sentence.
        why: String,
    },
}

/// Compares a bundle's version with the one that is to run after the restore.
pub fn gate(bundle: &Version, target: &Version) -> VersionGate {
    if let (Version::Moving(a), Version::Moving(b)) = (bundle, target)
        && a == b
    {
        return VersionGate::Unknown {
            why: format!("`{a}` names a build that moves: it may not be the one that the bundle was made by"),
        };
    }
    match bundle.release_order(target) {
        Some(Ordering::Equal) => VersionGate::Exact,
        Some(Ordering::Less) => newer(bundle, target),
        Some(Ordering::Greater) => VersionGate::Older { between: known_between(target, bundle) },
        None => VersionGate::Unknown { why: format!("{bundle} and {target} are not of one order of releases") },
    }
}

fn newer(bundle: &Version, target: &Version) -> VersionGate {
    let between = known_between(bundle, target);
    let mut warnings = vec![format!(
        "Restore to {bundle} first, and upgrade from there one release at a time (--then-upgrade): OpsChain supports no skipping."
    )];
    if let (Some(from), Some(to)) = (bundle.postgres_major(), target.postgres_major())
        && from != to
    {
        warnings.push(format!("PostgreSQL changes from {from} to {to}: the database's files do not open under {to}."));
    }
    warnings.extend(between.iter().filter_map(|release| Some(format!("{}: {}", release.date, release.restore_note?))));
    if !matches!(target, Version::Dated(..)) || target.release().is_none() {
        warnings.push(format!("This dr does not know release {target}: read its release notes."));
    }
    VersionGate::Newer { between, warnings }
}

/// The known releases after `from`, up to and with `to`.
fn known_between(from: &Version, to: &Version) -> Vec<&'static KnownRelease> {
    let after = |release: &KnownRelease| {
        let version = Version::Dated(release.date, String::new());
        version.release_order(from) == Some(Ordering::Greater)
            && matches!(version.release_order(to), Some(Ordering::Less | Ordering::Equal))
    };
    releases::ALL.iter().filter(|release| after(release)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_tag_and_the_chart_of_a_release_are_one_version() {
        for (tag, chart) in
            [("2026-08-20", "2026.8.20"), ("2025-12-10", "2025.12.10"), ("2025-04-25", "0.1.0+2025-04-25")]
        {
            assert_eq!(v(tag), v(chart));
            assert_eq!((v(chart).tag().as_str(), v(tag).chart().as_deref()), (tag, Some(chart)));
        }
    }

    #[test]
    fn moving_builds_and_semantic_versions_are_versions() {
        assert_eq!(v("edge").chart(), None);
        assert_eq!(v("1.4.2").chart().as_deref(), Some("1.4.2"));
        assert_eq!(v("v3.0.0-rc.1").tag(), "3.0.0-rc.1");
        assert_eq!(v("2026.8.20-rc.1").tag(), "2026-08-20-rc.1");
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "latest", "2026-13-01", "2026-02-30", "2026-8-20", "2026-08-20-", "2026", "2026.08", "17.5"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_that_semver_would_misplace_is_in_release_order() {
        assert_eq!(v("2026-02-20").release_order(&v("2025-12-11")), Some(Ordering::Greater));
        assert_eq!(v("0.1.0+2025-03-28").release_order(&v("0.1.0+2025-04-25")), Some(Ordering::Less));
        assert_eq!(v("2026.8.20-rc.1").release_order(&v("2026.8.20")), Some(Ordering::Less));
        assert_eq!(v("2026-08-20").release_order(&v("1.0.0")), None);
    }

    #[test]
    fn the_same_release_passes_however_it_is_written() {
        assert_eq!(gate(&v("2026-08-20"), &v("2026.8.20")), VersionGate::Exact);
    }

    #[test]
    fn a_newer_target_names_the_releases_between_and_what_they_bring() {
        let VersionGate::Newer { between, warnings } = gate(&v("2026-08-14"), &v("2026-09-14")) else { panic!() };
        let dates: Vec<String> = between.iter().map(|release| release.date.to_string()).collect();
        assert_eq!(dates, ["2026-08-20", "2026-09-10", "2026-09-14"]);
        assert!(warnings.iter().any(|text| text.starts_with("2026-09-10: the LDAP")), "{warnings:?}");
        assert!(warnings[0].contains("one release at a time"));
    }

    #[test]
    fn a_target_that_is_not_known_says_so() {
        let VersionGate::Newer { warnings, .. } = gate(&v("2026-10-08"), &v("2031-01-01")) else { panic!() };
        assert!(warnings.iter().any(|text| text.contains("does not know release 2031-01-01")));
    }

    #[test]
    fn another_postgresql_is_said() {
        let VersionGate::Newer { warnings, .. } = gate(&v("2024-06-17"), &v("2025-01-15")) else { panic!() };
        assert!(warnings.iter().any(|text| text.contains("from 14 to 17")));
    }

    #[test]
    fn an_older_target_is_older_by_named_releases() {
        let VersionGate::Older { between } = gate(&v("2026-08-20"), &v("2026-08-10")) else { panic!() };
        assert_eq!(between.len(), 2);
    }

    #[test]
    fn what_cannot_be_ordered_is_unknown_with_the_reason() {
        assert!(matches!(gate(&v("edge"), &v("edge")), VersionGate::Unknown { why } if why.contains("moves")));
        assert!(matches!(gate(&v("2026-08-20"), &v("local")), VersionGate::Unknown { .. }));
    }

    proptest! {
        #[test]
        fn every_date_survives_both_ways_of_writing_it(days in 0_i32..36_500) {
            let date = jiff::civil::date(2000, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            let version = Version::Dated(date, String::new());
            prop_assert_eq!(&v(&version.tag()), &version);
            prop_assert_eq!(&v(&version.chart().unwrap()), &version);
        }

        #[test]
        fn the_gate_opens_one_way_only(a in 0_i32..9_000, b in 0_i32..9_000) {
            let version = |days| {
                let date = jiff::civil::date(2020, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
                Version::Dated(date, String::new())
            };
            let gates = (gate(&version(a), &version(b)), gate(&version(b), &version(a)));
            let fits = matches!(gates, (VersionGate::Exact, VersionGate::Exact) | (VersionGate::Newer { .. }, VersionGate::Older { .. }) | (VersionGate::Older { .. }, VersionGate::Newer { .. }));
            prop_assert!(fits, "{:?}", gates);
        }
    }
}
