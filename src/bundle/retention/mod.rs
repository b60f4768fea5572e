//! Which bundles stay: rules over what a catalog says, and nothing else. It reads no store and no clock.
//!
//! Bundles are judged in groups, each of one database of one install. Within a group:
//! - the rules are those that most backup programs have: `daily = 7` keeps the newest bundle of each of the last seven
//!   days *that have one*, so a week without bundles takes none away. Days and weeks are those of UTC, weeks as ISO has them;
//! - some bundles stay whatever the rules say (see [`KeepReason`]);
//! - one that nothing keeps is marked as gone, and removed by a later run once its time of grace is over. What is marked
//!   takes no place in a rule.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::proof::Depth;

/// How many bundles are kept. 0 keeps none by that rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KeepRules {
    /// The newest so many.
    pub last: u32,
    pub hourly: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
    pub yearly: u32,
    /// Those made so long before the newest of their group, or later.
    pub within: Option<SignedDuration>,
    /// Of each OpsChain version the newest so many.
    pub version: u32,
    /// The newest so many that were verified.
    pub proved: u32,
}

impl KeepRules {
    /// Whether nothing is kept by any rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the rules look at of a bundle whose header can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub name: String,
    /// Which database of which install.
    pub group: DatabaseGroup,
    /// The OpsChain version that made it.
    pub version: String,
    pub created: Timestamp,
    /// How deeply it was verified.
    pub proof: Option<Depth>,
    /// Why it is pinned.
    pub pinned: Option<String>,
    /// Until when somebody reads it.
    pub leased_until: Option<Timestamp>,
    /// Until when the store lets nobody remove it.
    pub locked_until: Option<Timestamp>,
    /// Since when it is marked as gone; inner `None` when that is not known.
    pub gone: Option<Option<Timestamp>>,
}

/// One database of one install.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatabaseGroup {
    pub namespace: String,
    pub release: String,
    pub system_identifier: String,
}

/// Why a bundle stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// One of the newest.
    Last,
    /// The newest of its hour, day, week, month or year.
    Period(&'static str, String),
    /// Made within the time.
    Within,
    /// One of the newest of its version.
    Version(String),
    /// One of the newest that were verified.
    Proved,
    /// Always: the newest of its version.
    NewestOfVersion(String),
    /// Always: the newest that was verified so deeply.
    NewestProved(Depth),
    /// Always: pinned.
    Pinned(String),
    /// Always: somebody reads it.
    Leased(Timestamp),
    /// Always: the store does not let it go.
    Locked(Timestamp),
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Period(rule, period) => write!(f, "{rule} {period}"),
            Self::Within => f.write_str("within"),
            Self::Version(version) => write!(f, "version {version}"),
            Self::Proved => f.write_str("proved"),
            Self::NewestOfVersion(version) => write!(f, "always: the newest of {version}"),
            Self::NewestProved(depth) => write!(f, "always: the newest proved ({depth})"),
            Self::Pinned(reason) => write!(f, "always: pinned ({reason})"),
            Self::Leased(until) => write!(f, "always: being read, or was lately: kept until {}", minute(*until)),
            Self::Locked(until) if *until == Timestamp::MAX => {
                f.write_str("always: locked by the store without an end")
            }
            Self::Locked(until) => write!(f, "always: locked by the store until {}", minute(*until)),
        }
    }
}

fn minute(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%d %H:%MZ")
}

/// What becomes of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleFate {
    /// It stays.
    Keep(Vec<KeepReason>),
    /// It is marked as gone.
    Mark,
    /// It was marked, and is removed from then on; when that is not known, never.
    Wait(Option<Timestamp>),
    /// It was marked long enough ago: it is removed.
    Remove,
}

/// Decides about each of `bundles`, in their order, as of `now`. What is marked is removed `grace` later.
pub fn decide(bundles: &[Candidate], rules: &KeepRules, grace: SignedDuration, now: Timestamp) -> Vec<BundleFate> {
    let mut reasons: Vec<Vec<KeepReason>> = bundles.iter().map(|bundle| own_reasons(bundle, now)).collect();
    for members in groups(bundles) {
        let mut keep = |at: usize, reason| reasons[at].push(reason);
        by_rules(bundles, &members, rules, &mut keep);
        always(bundles, &members, &mut keep);
    }
    let decision = |(bundle, reasons): (&Candidate, Vec<KeepReason>)| match bundle.gone {
        _ if !reasons.is_empty() => BundleFate::Keep(reasons),
        None => BundleFate::Mark,
        Some(Some(since)) if since.checked_add(grace).is_ok_and(|end| end <= now) => BundleFate::Remove,
        Some(since) => BundleFate::Wait(since.and_then(|since| since.checked_add(grace).ok())),
    };
    bundles.iter().zip(reasons).map(decision).collect()
}

/// What keeps a bundle whatever else there is.
fn own_reasons(bundle: &Candidate, now: Timestamp) -> Vec<KeepReason> {
    let until = |end: Option<Timestamp>| end.filter(|end| *end > now);
    let pinned = bundle.pinned.clone().map(KeepReason::Pinned);
    let (leased, locked) = (until(bundle.leased_until), until(bundle.locked_until));
    [pinned, leased.map(KeepReason::Leased), locked.map(KeepReason::Locked)].into_iter().flatten().collect()
}

/// The places of the bundles of each group, newest first.
fn groups(bundles: &[Candidate]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&DatabaseGroup, Vec<usize>> = BTreeMap::new();
    for (at, bundle) in bundles.iter().enumerate() {
        groups.entry(&bundle.group).or_default().push(at);
    }
    let newest_first = |mut members: Vec<usize>| {
        members.sort_by_key(|at| std::cmp::Reverse((bundles[*at].created, &bundles[*at].name)));
        members
    };
    groups.into_values().map(newest_first).collect()
}

/// What the rules keep of one group.
fn by_rules(bundles: &[Candidate], members: &[usize], rules: &KeepRules, keep: &mut impl FnMut(usize, KeepReason)) {
    let here: Vec<usize> = members.iter().copied().filter(|at| bundles[*at].gone.is_none()).collect();
    let Some(newest) = here.first().map(|at| bundles[*at].created) else { return };
    here.iter().take(rules.last as usize).for_each(|at| keep(*at, KeepReason::Last));
    let periods = [
        ("hourly", rules.hourly, "%Y-%m-%dT%H"),
        ("daily", rules.daily, "%Y-%m-%d"),
        ("weekly", rules.weekly, "%G-W%V"),
        ("monthly", rules.monthly, "%Y-%m"),
        ("yearly", rules.yearly, "%Y"),
    ];
    for (rule, count, form) in periods {
        let mut last = None;
        let firsts = here.iter().filter_map(|at| {
            let period = bundles[*at].created.strftime(form).to_string();
            let is_new = last.as_ref() != Some(&period);
            last = Some(period.clone());
            is_new.then_some((*at, period))
        });
        firsts.take(count as usize).for_each(|(at, period)| keep(at, KeepReason::Period(rule, period)));
    }
    if let Some(earliest) = rules.within.and_then(|within| newest.checked_sub(within).ok()) {
        here.iter().filter(|at| bundles[**at].created >= earliest).for_each(|at| keep(*at, KeepReason::Within));
    }
    let mut of_version: BTreeMap<&str, u32> = BTreeMap::new();
    for at in &here {
        let version = &bundles[*at].version;
        let seen = of_version.entry(version).or_default();
        *seen += 1;
        if *seen <= rules.version {
            keep(*at, KeepReason::Version(version.clone()));
        }
    }
    let proved = here.iter().filter(|at| bundles[**at].proof.is_some());
    proved.take(rules.proved as usize).for_each(|at| keep(*at, KeepReason::Proved));
}

/// What stays of one group whatever the rules say: of each version the newest, and of each depth the newest that was
/// verified so deeply. One that is marked counts only where no other would do.
fn always(bundles: &[Candidate], members: &[usize], keep: &mut impl FnMut(usize, KeepReason)) {
    let (mut order, marked): (Vec<usize>, Vec<usize>) = members.iter().partition(|at| bundles[**at].gone.is_none());
    order.extend(marked);
    let mut versions: Vec<&str> = Vec::new();
    for at in &order {
        let version = bundles[*at].version.as_str();
        if !versions.contains(&version) {
            versions.push(version);
            keep(*at, KeepReason::NewestOfVersion(version.to_owned()));
        }
    }
    for depth in [Depth::Stored, Depth::Plain, Depth::Restored] {
        if let Some(at) = order.iter().find(|at| bundles[**at].proof >= Some(depth)) {
            keep(*at, KeepReason::NewestProved(depth));
        }
    }
}
