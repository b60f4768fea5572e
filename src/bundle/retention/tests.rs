use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;
const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn bundle(name: &str, created: &str) -> Candidate {
    Candidate {
        name: name.into(),
        group: DatabaseGroup { namespace: "ops".into(), release: "opschain".into(), system_identifier: "7".into() },
        version: "2026-08-20".into(),
        created: created.parse().unwrap(),
        proof: None,
        pinned: None,
        leased_until: None,
        locked_until: None,
        gone: None,
    }
}

fn words(decision: &BundleFate) -> String {
    match decision {
        BundleFate::Keep(reasons) => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        BundleFate::Mark => "mark".into(),
        BundleFate::Wait(until) => format!("wait {until:?}"),
        BundleFate::Remove => "remove".into(),
    }
}

fn decided(bundles: &[Candidate], rules: KeepRules) -> Vec<String> {
    decide(bundles, &rules, GRACE, now()).iter().map(words).collect()
}

#[test]
fn each_rule_keeps_the_newest_of_its_periods_and_says_which() {
    let made = [
        "2026-11-23T10:30:00Z",
        "2026-11-23T10:00:00Z",
        "2026-11-22T10:00:00Z",
        "2026-11-16T10:00:00Z",
        "2026-10-31T10:00:00Z",
        "2025-12-31T10:00:00Z",
    ];
    let bundles: Vec<Candidate> = made.iter().enumerate().map(|(n, at)| bundle(&format!("b{n}"), at)).collect();
    let kept = |rules: KeepRules| -> Vec<usize> {
        let all = decided(&bundles, rules);
        let by_rule = |text: &String| text != "mark" && !text.starts_with("always");
        (0..all.len()).filter(|at| by_rule(&all[*at])).collect()
    };
    let none = KeepRules::default();
    assert_eq!(kept(none), Vec::<usize>::new());
    assert_eq!(kept(KeepRules { last: 2, ..none }), [0, 1]);
    assert_eq!(kept(KeepRules { hourly: 2, ..none }), [0, 2]);
    assert_eq!(kept(KeepRules { daily: 3, ..none }), [0, 2, 3]);
    // 2026-11-22 and 2026-11-16 are Sunday and Monday of one week.
    assert_eq!(kept(KeepRules { weekly: 3, ..none }), [0, 2, 4]);
    assert_eq!(kept(KeepRules { monthly: 2, ..none }), [0, 4]);
    assert_eq!(kept(KeepRules { yearly: 9, ..none }), [0, 5]);
    let within = Some(SignedDuration::from_hours(25));
    assert_eq!(kept(KeepRules { within, ..none }), [0, 1, 2]);
    let all = decided(&bundles, KeepRules { weekly: 1, monthly: 1, ..none });
    assert_eq!(all[0], "weekly 2026-W48; monthly 2026-11; always: the newest of 2026-08-20");
}

#[test]
fn what_must_stay_stays_without_any_rule() {
    let mut bundles = ["b0", "b1", "b2", "b3", "b4", "b5", "b6"].map(|name| bundle(name, "2026-11-20T10:00:00Z"));
    bundles.iter_mut().enumerate().for_each(|(n, b)| b.created -= SignedDuration::from_hours(n as i64));
    bundles[1].version = "2026-07-01".into();
    bundles[2].proof = Some(Depth::Restored);
    bundles[3].pinned = Some("audit".into());
    bundles[4].leased_until = Some(now() + SignedDuration::from_secs(1));
    bundles[5].locked_until = Some(now() + SignedDuration::from_secs(1));
    let all = decided(&bundles, KeepRules::default());
    assert_eq!(all[0], "always: the newest of 2026-08-20");
    assert_eq!(all[1], "always: the newest of 2026-07-01");
    assert!(all[2].ends_with("always: the newest proved (restored)"), "{}", all[2]);
    assert_eq!(all[3], "always: pinned (audit)");
    assert!(all[4].contains("being read") && all[5].contains("locked by the store"), "{all:?}");
    assert_eq!(all[6], "mark");
    (bundles[4].leased_until, bundles[5].locked_until) = (Some(now()), Some(now()));
    assert_eq!(decided(&bundles, KeepRules::default())[4..], ["mark"; 3], "both have ended");
}

#[test]
fn what_is_marked_waits_takes_no_place_and_stays_where_nothing_else_would_do() {
    let mut bundles = ["b0", "b1", "b2"].map(|name| bundle(name, "2026-11-20T10:00:00Z"));
    bundles.iter_mut().enumerate().for_each(|(n, b)| b.created -= SignedDuration::from_hours(n as i64));
    bundles[0].gone = Some(Some(now() - GRACE));
    let one = KeepRules { last: 1, ..KeepRules::default() };
    let all = decided(&bundles, one);
    assert_eq!((all[0].as_str(), all[2].as_str()), ("remove", "mark"));
    assert!(all[1].starts_with("last"), "the marked one takes its place: {all:?}");
    bundles[0].gone = Some(Some(now() - GRACE + SignedDuration::from_secs(1)));
    assert_eq!(decided(&bundles, one)[0], "wait Some(2026-11-23T12:00:01Z)");
    bundles[0].gone = Some(None);
    assert_eq!(decided(&bundles, one)[0], "wait None", "what cannot be read is never old enough");
    bundles.iter_mut().for_each(|bundle| bundle.gone = Some(Some(now() - GRACE)));
    assert_eq!(decided(&bundles, one), ["always: the newest of 2026-08-20", "remove", "remove"]);
}

#[test]
fn groups_are_judged_apart() {
    let mut bundles = ["b0", "b1"].map(|name| bundle(name, "2026-11-20T10:00:00Z"));
    bundles[1].group.system_identifier = "8".into();
    let all = decided(&bundles, KeepRules { last: 1, ..KeepRules::default() });
    assert!(all.iter().all(|text| text.starts_with("last")), "{all:?}");
}

/// The same in other words: of each bundle on its own it is asked how many better ones there are.
mod model {
    use super::*;

    pub fn stays(all: &[Candidate], it: &Candidate, rules: &KeepRules) -> bool {
        is_forced(all, it) || (it.gone.is_none() && is_by_rule(all, it, rules))
    }

    fn is_newer(a: &Candidate, b: &Candidate) -> bool {
        (a.created, &a.name) > (b.created, &b.name)
    }

    fn is_forced(all: &[Candidate], it: &Candidate) -> bool {
        let after = |end: Option<Timestamp>| end.is_some_and(|end| end > now());
        // Nobody is better who counts for the same: one that is not marked is better than any that is.
        let best = |counts: &dyn Fn(&Candidate) -> bool| {
            let better = |other: &Candidate| match (other.gone.is_some(), it.gone.is_some()) {
                (false, true) => true,
                (true, false) => false,
                _ => is_newer(other, it),
            };
            counts(it) && !all.iter().any(|other| other.group == it.group && counts(other) && better(other))
        };
        it.pinned.is_some()
            || after(it.leased_until)
            || after(it.locked_until)
            || best(&|other| other.version == it.version)
            || best(&|other| other.proof.is_some())
            || best(&|other| matches!(other.proof, Some(Depth::Plain | Depth::Restored)))
            || best(&|other| other.proof == Some(Depth::Restored))
    }

    fn is_by_rule(all: &[Candidate], it: &Candidate, rules: &KeepRules) -> bool {
        let peers: Vec<&Candidate> = all.iter().filter(|o| o.group == it.group && o.gone.is_none()).collect();
        let newer = |counts: &dyn Fn(&Candidate) -> bool| {
            peers.iter().filter(|other| counts(other) && is_newer(other, it)).count() as u32
        };
        // The newest of its period, with fewer later periods that have one than are wanted.
        let period = |of: &dyn Fn(i64) -> i64, wanted: u32| {
            let own = of(it.created.as_second());
            let mut later: Vec<i64> = peers.iter().map(|o| of(o.created.as_second())).filter(|p| *p > own).collect();
            later.sort_unstable();
            later.dedup();
            newer(&|other| of(other.created.as_second()) == own) == 0 && (later.len() as u32) < wanted
        };
        let civil = |second: i64| Timestamp::from_second(second).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let newest = peers.iter().map(|other| other.created).max().unwrap();
        newer(&|_| true) < rules.last
            || period(&|second| second.div_euclid(HOUR), rules.hourly)
            || period(&|second| second.div_euclid(24 * HOUR), rules.daily)
            // 1970-01-05 was a Monday.
            || period(&|second| (second - 4 * 24 * HOUR).div_euclid(7 * 24 * HOUR), rules.weekly)
            || period(&|s| i64::from(civil(s).year()) * 12 + i64::from(civil(s).month()), rules.monthly)
            || period(&|second| i64::from(civil(second).year()), rules.yearly)
            || rules.within.is_some_and(|within| newest.duration_since(it.created) <= within)
            || newer(&|other| other.version == it.version) < rules.version
            || (it.proof.is_some() && newer(&|other| other.proof.is_some()) < rules.proved)
    }
}

/// Age in hours, database, version, proof, pinned, and the hours until a lease and a lock end and since it was marked.
type Drawn = (i64, u8, u8, Option<Depth>, bool, Option<i64>, Option<i64>, Option<Option<i64>>);

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let hours = prop_oneof![0i64..48, 0i64..2000, 0i64..40_000];
    let ends = || proptest::option::weighted(0.1, -2i64..2);
    let gone = proptest::option::weighted(0.3, proptest::option::weighted(0.9, 0i64..400));
    let depth = proptest::option::of(prop_oneof![Just(Depth::Stored), Just(Depth::Plain), Just(Depth::Restored)]);
    let one = (hours, 0u8..2, 0u8..3, depth, proptest::bool::weighted(0.1), ends(), ends(), gone);
    proptest::collection::vec(one, 0..40).prop_map(|all| {
        let made = |(at, drawn): (usize, Drawn)| {
            let (hours, database, version, proof, pinned, leased, locked, gone) = drawn;
            let ago = |hours: i64| now() - SignedDuration::from_hours(hours);
            let mut made = bundle(&format!("b{at:02}"), "2026-11-20T10:00:00Z");
            made.created = ago(hours);
            made.group.system_identifier = database.to_string();
            made.version = format!("v{version}");
            (made.proof, made.pinned) = (proof, pinned.then(|| "x".to_owned()));
            (made.leased_until, made.locked_until) = (leased.map(|h| ago(-h)), locked.map(|h| ago(-h)));
            made.gone = gone.map(|since| since.map(ago));
            made
        };
        all.into_iter().enumerate().map(made).collect()
    })
}

fn rules() -> impl Strategy<Value = KeepRules> {
    let count = || prop_oneof![2 => Just(0u32), 1 => 1u32..6];
    let within = proptest::option::weighted(0.3, (1i64..3000).prop_map(SignedDuration::from_hours));
    (count(), count(), count(), count(), count(), count(), within, count(), count()).prop_map(
        |(last, hourly, daily, weekly, monthly, yearly, within, version, proved)| KeepRules {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within,
            version,
            proved,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_there_is_and_is_ruled_the_same_stays_as_in_other_words(bundles in candidates(), rules in rules()) {
        let decisions = decide(&bundles, &rules, GRACE, now());
        for (bundle, decision) in bundles.iter().zip(&decisions) {
            let stays = matches!(decision, BundleFate::Keep(_));
            prop_assert_eq!(stays, model::stays(&bundles, bundle, &rules), "{:?}: {}", bundle, words(decision));
            let old_enough = bundle.gone.is_some_and(|since| since.is_some_and(|since| since <= now() - GRACE));
            prop_assert_eq!(*decision == BundleFate::Remove, !stays && old_enough);
            prop_assert_eq!(*decision == BundleFate::Mark, !stays && bundle.gone.is_none());
        }
        // Whatever is removed now, each version and each depth of proof that was there still is.
        let left = || bundles.iter().zip(&decisions).filter(|(_, decision)| **decision != BundleFate::Remove);
        for bundle in &bundles {
            prop_assert!(left().any(|(other, _)| other.group == bundle.group && other.version == bundle.version));
            prop_assert!(left().any(|(other, _)| other.group == bundle.group && other.proof >= bundle.proof));
        }
    }
}
