//! What goes and what stays, decided from plain data.

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::facts::{JudgedBundle, PruneFacts};
use crate::bundle::retention::{BundleFate, Candidate, KeepReason, KeepRules, decide};
use crate::error::{CommandError, Exit, Result};
use crate::text::elapsed;

/// How far a clock may be from another one.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(60);
/// So many of a hundred bytes may go at once without a name typed.
const SHARE: u64 = 30;

/// What a prune does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrunePlan {
    pub store: String,
    /// The rules, in words.
    pub rules: String,
    /// How long after it was marked a bundle is removed, in hours.
    pub grace_hours: i64,
    /// Those that are marked as gone.
    pub marks: Vec<PruneLine>,
    /// Those that were marked long enough ago, and are removed.
    pub removes: Vec<PruneLine>,
    /// Those that are marked and still wait.
    pub waits: Vec<PruneLine>,
    /// Those that stay.
    pub stays: Vec<PruneLine>,
    /// Those that cannot be read, with the reason: they stay.
    pub unreadable: Vec<(String, String)>,
    /// Those that nobody trusted here has signed, with how that was seen: they stay, and no other goes for their sake.
    pub strangers: Vec<(String, String)>,
    /// How many are of other installs, and not judged.
    pub of_others: usize,
    /// How many files somebody has put there by hand, which are not judged.
    pub loose: usize,
    /// Bytes of all that were judged.
    pub bytes: u64,
    /// Whether so much goes at once that the store's name has to be typed.
    pub needs_name: bool,
}

/// One bundle of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PruneLine {
    pub bundle: String,
    pub created: Option<Timestamp>,
    pub bytes: u64,
    /// Why.
    pub why: String,
}

impl PrunePlan {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.removes.is_empty()
    }

    /// What of it the plan `now` does as well.
    pub(super) fn still_in(&self, now: &Self) -> Self {
        let both = |confirmed: &[PruneLine], now: &[PruneLine]| -> Vec<PruneLine> {
            let names: BTreeSet<&str> = now.iter().map(|line| line.bundle.as_str()).collect();
            confirmed.iter().filter(|line| names.contains(line.bundle.as_str())).cloned().collect()
        };
        Self { marks: both(&self.marks, &now.marks), removes: both(&self.removes, &now.removes), ..self.clone() }
    }
}

/// Decides.
///
/// # Errors
/// [`Exit::Usage`] without rules, [`Exit::Clock`] when a clock is odd: then nobody knows how old anything is.
pub(super) fn plan(facts: PruneFacts, rules: KeepRules, grace: SignedDuration) -> Result<PrunePlan> {
    if rules.is_empty() {
        return Err(CommandError::new(Exit::Usage, "no rule says which bundles are kept")
            .hint("Give some, such as `dr bundle prune --keep-daily 7 --keep-weekly 4 --dry-run`, or set them under [retention] in dr.toml."));
    }
    refuse_odd_clock(&facts)?;
    let decisions = fates(&facts.bundles, &rules, grace, facts.now);
    let mut plan = PrunePlan {
        store: facts.store,
        rules: words(&rules),
        grace_hours: grace.as_hours(),
        marks: Vec::new(),
        removes: facts.half_removed.into_iter().map(half_removed).collect(),
        waits: Vec::new(),
        stays: Vec::new(),
        unreadable: facts.unreadable,
        strangers: facts.strangers,
        of_others: facts.of_others,
        loose: facts.loose,
        bytes: facts.bundles.iter().map(|bundle| bundle.bytes).sum(),
        needs_name: false,
    };
    for (JudgedBundle { candidate, bytes, .. }, decision) in facts.bundles.into_iter().zip(decisions) {
        let (list, why) = match decision {
            BundleFate::Keep(reasons) => (&mut plan.stays, kept(candidate.gone.is_some(), &reasons)),
            BundleFate::Mark => (&mut plan.marks, "no rule keeps it".to_owned()),
            BundleFate::Wait(until) => (&mut plan.waits, waits(until)),
            BundleFate::Remove => (&mut plan.removes, marked(candidate.gone.flatten())),
        };
        list.push(PruneLine { bundle: candidate.name, created: Some(candidate.created), bytes, why });
    }
    let is_much = |lines: &[PruneLine]| {
        let bytes: u64 = lines.iter().map(|line| line.bytes).sum();
        u128::from(bytes) * 100 > u128::from(plan.bytes) * u128::from(SHARE)
    };
    plan.needs_name = is_much(&plan.marks) || is_much(&plan.removes);
    Ok(plan)
}

/// What becomes of each. What the vault lists is judged among what it lists: nothing else takes its place, though it is
/// signed by a key that is trusted.
fn fates(bundles: &[JudgedBundle], rules: &KeepRules, grace: SignedDuration, now: Timestamp) -> Vec<BundleFate> {
    let among = |of: &dyn Fn(&&JudgedBundle) -> bool| {
        let candidates: Vec<Candidate> = bundles.iter().filter(of).map(|bundle| bundle.candidate.clone()).collect();
        decide(&candidates, rules, grace, now)
    };
    let mut of_listed = among(&|bundle| bundle.is_listed).into_iter();
    let of_all = among(&|_| true);
    let fate = |(bundle, fate): (&JudgedBundle, BundleFate)| match bundle.is_listed {
        true => of_listed.next().unwrap_or(fate),
        false => fate,
    };
    bundles.iter().zip(of_all).map(fate).collect()
}

/// Nothing may be judged by a clock that others contradict.
fn refuse_odd_clock(facts: &PruneFacts) -> Result<()> {
    let odd = |what: String| {
        CommandError::new(Exit::Clock, what)
            .hint("`timedatectl` shows this host's clock; nothing is pruned until all agree.")
    };
    if let Some(ahead) = facts.ahead.filter(|ahead| ahead.abs() > CLOCK_SLACK) {
        let (by, word) = (elapsed(ahead.unsigned_abs()), if ahead.is_negative() { "behind" } else { "ahead of" });
        return Err(odd(format!("this host's clock is {by} {word} the API server's")));
    }
    let is_later = |at: Timestamp| at.duration_since(facts.now) > CLOCK_SLACK;
    if let Some((name, created)) = facts.newest.as_ref().filter(|(_, created)| is_later(*created)) {
        return Err(odd(format!("bundle {name} says that it was made at {created}, which is still to come")));
    }
    let of_later = |bundle: &Candidate| bundle.gone.flatten().filter(|at| is_later(*at));
    let mut judged = facts.bundles.iter().map(|bundle| &bundle.candidate);
    let Some((name, at)) = judged.find_map(|bundle| Some((&bundle.name, of_later(bundle)?))) else { return Ok(()) };
    let what = format!("bundle {name} was marked as gone at {at:.0}, which is still to come");
    Err(odd(what).hint(format!("Where this host's clock is right, `dr bundle unprune {name}` takes that mark away.")))
}

fn half_removed(bundle: String) -> PruneLine {
    PruneLine { bundle, created: None, bytes: 0, why: "its removal was begun and not finished".into() }
}

fn kept(is_marked: bool, reasons: &[KeepReason]) -> String {
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let marked = if is_marked { "marked as gone, and stays all the same: " } else { "" };
    format!("{marked}{}", reasons.join("; "))
}

fn waits(until: Option<Timestamp>) -> String {
    match until {
        Some(until) => format!("marked as gone: removed from {} on", until.strftime("%Y-%m-%d %H:%MZ")),
        None => "marked as gone by a note that cannot be read: never removed".to_owned(),
    }
}

fn marked(since: Option<Timestamp>) -> String {
    since.map_or_else(String::new, |since| format!("marked as gone {}", since.strftime("%Y-%m-%d")))
}

/// `last 3, daily 7, within 720h`
fn words(rules: &KeepRules) -> String {
    let counts = [
        ("last", rules.last),
        ("hourly", rules.hourly),
        ("daily", rules.daily),
        ("weekly", rules.weekly),
        ("monthly", rules.monthly),
        ("yearly", rules.yearly),
        ("version", rules.version),
        ("proved", rules.proved),
    ];
    let mut words = String::new();
    for (rule, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        let comma = if words.is_empty() { "" } else { ", " };
        // A String takes whatever is written.
        let _always = write!(words, "{comma}{rule} {count}");
    }
    match rules.within {
        Some(within) if words.is_empty() => format!("within {}h", within.as_hours()),
        Some(within) => format!("{words}, within {}h", within.as_hours()),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::retention::DatabaseGroup;

    fn facts(bytes: &[u64]) -> PruneFacts {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let group =
            || DatabaseGroup { namespace: "ops".into(), release: "opschain".into(), system_identifier: "7".into() };
        let bundle = |(at, bytes): (usize, &u64)| {
            let made = Candidate {
                name: format!("b{at}"),
                group: group(),
                version: "2026-08-20".into(),
                created: now - SignedDuration::from_hours(24 * (at as i64 + 1)),
                proof: None,
                pinned: None,
                leased_until: None,
                locked_until: None,
                gone: None,
            };
            JudgedBundle { candidate: made, bytes: *bytes, is_listed: false }
        };
        PruneFacts {
            store: "/bundles".into(),
            now,
            ahead: Some(SignedDuration::ZERO),
            newest: Some(("b0".into(), now)),
            bundles: bytes.iter().enumerate().map(bundle).collect(),
            half_removed: Vec::new(),
            unreadable: Vec::new(),
            strangers: Vec::new(),
            of_others: 0,
            loose: 0,
        }
    }

    const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

    fn planned(facts: PruneFacts, last: u32) -> Result<PrunePlan> {
        plan(facts, KeepRules { last, ..KeepRules::default() }, GRACE)
    }

    fn names(lines: &[PruneLine]) -> Vec<&str> {
        lines.iter().map(|line| line.bundle.as_str()).collect()
    }

    #[test]
    fn without_rules_or_with_an_odd_clock_nothing_is_judged() {
        assert_eq!(planned(facts(&[1]), 0).unwrap_err().exit(), Exit::Usage);
        for seconds in [61, -61] {
            let odd = PruneFacts { ahead: Some(SignedDuration::from_secs(seconds)), ..facts(&[1]) };
            assert_eq!(planned(odd, 1).unwrap_err().exit(), Exit::Clock, "{seconds}");
        }
        let mut odd = facts(&[1]);
        odd.newest = Some(("b9".into(), odd.now + SignedDuration::from_secs(61)));
        let error = planned(odd, 1).unwrap_err();
        assert!(error.exit() == Exit::Clock && error.message().contains("bundle b9"), "{error}");
        let mut odd = facts(&[1]);
        odd.bundles[0].candidate.gone = Some(Some(odd.now + SignedDuration::from_secs(61)));
        let error = planned(odd, 1).unwrap_err();
        assert!(error.exit() == Exit::Clock && error.message().contains("bundle b0 was marked"), "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains("`dr bundle unprune b0`")), "{:?}", error.hints());
        let slack = SignedDuration::from_secs(60);
        let mut fine = PruneFacts { ahead: Some(slack), ..facts(&[1]) };
        fine.newest = Some(("b0".into(), fine.now + slack));
        assert!(planned(fine, 1).is_ok());
    }

    #[test]
    fn more_than_thirty_of_a_hundred_bytes_ask_for_the_name() {
        let plan = planned(facts(&[40, 30, 30]), 2).unwrap();
        assert_eq!((names(&plan.marks), plan.needs_name, plan.bytes), (vec!["b2"], false, 100));
        assert!(planned(facts(&[39, 30, 31]), 2).unwrap().needs_name);
        let mut marked = facts(&[39, 30, 31]);
        marked.bundles[2].candidate.gone = Some(Some(marked.now - GRACE));
        let plan = planned(marked, 2).unwrap();
        assert_eq!((names(&plan.removes), plan.needs_name), (vec!["b2"], true));
    }

    #[test]
    fn what_cannot_be_read_stays_and_is_named_and_a_removal_is_finished() {
        let mut facts = facts(&[1, 1]);
        facts.unreadable = vec![("x".into(), "damaged".into())];
        facts.half_removed = vec!["y".into()];
        let plan = planned(facts, 2).unwrap();
        assert_eq!((names(&plan.removes), names(&plan.stays)), (vec!["y"], vec!["b0", "b1"]));
        assert_eq!(plan.unreadable, [("x".to_owned(), "damaged".to_owned())]);
        assert!(plan.stays[0].why.starts_with("last; always: the newest of 2026-08-20"), "{plan:?}");
    }

    #[test]
    fn what_the_vault_lists_goes_on_account_of_nothing_else() {
        let mut facts = facts(&[1, 1, 1, 1]);
        facts.bundles[2].is_listed = true;
        facts.bundles[3].is_listed = true;
        let plan = planned(facts.clone(), 1).unwrap();
        assert_eq!((names(&plan.stays), names(&plan.marks)), (vec!["b0", "b2"], vec!["b1", "b3"]));
        facts.bundles[0].candidate.proof = Some(crate::bundle::Depth::Restored);
        facts.bundles[1].candidate.proof = facts.bundles[0].candidate.proof;
        facts.bundles[3].candidate.proof = Some(crate::bundle::Depth::Stored);
        let plan = planned(facts, 1).unwrap();
        assert_eq!((names(&plan.stays), names(&plan.marks)), (vec!["b0", "b2", "b3"], vec!["b1"]));
    }

    #[test]
    fn only_what_is_still_so_is_done() {
        let confirmed = planned(facts(&[1, 1, 1]), 1).unwrap();
        let mut pinned = facts(&[1, 1, 1]);
        pinned.bundles[1].candidate.pinned = Some("audit".into());
        let both = confirmed.still_in(&planned(pinned, 1).unwrap());
        assert_eq!((names(&confirmed.marks), names(&both.marks)), (vec!["b1", "b2"], vec!["b2"]));
    }
}
