//! What the facts mean: pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::facts::{KnownBundle, KnownBundles, MirrorFacts, StatusFacts, Targets};
use super::report::{AllStatus, BundleMoment, BundleStatus, InstallStatus, StatusReport, StoreStatus};
use crate::bundle::{Depth, Proof};
use crate::ops::doctor::{Finding, Level};
use crate::ops::schedule::{ScheduleLine, ScheduleManager};
use crate::text::{bytes, elapsed, plural};

/// What makes mirrors hold what the first store holds.
const MAKE_UP: &str = "dr bundle copy --mirrors";
/// By so many of the newest restores the next one is predicted: the slowest of them counts.
const RESTORES: usize = 3;
/// How far the clock of the host that made a bundle may be ahead of this one's.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn judge(facts: StatusFacts) -> StatusReport {
    let known = facts.bundles.as_ref().map(|known| &*known.ours).unwrap_or_default();
    let own: Vec<&KnownBundle> = known.iter().filter(|bundle| bundle.install == facts.install).collect();
    let bundles = summary(&own);
    let newest = own.first();
    let recipients: Vec<String> = newest.map_or_else(Vec::new, |newest| {
        facts.recipients.iter().filter(|key| newest.recipients.contains(key)).cloned().collect()
    });
    let since = |at: &Timestamp| bundles.made.as_ref().is_none_or(|made| *at > made.at);
    let deployments = facts.deployments.as_ref().and_then(|known| known.as_ref().ok());
    let deployments_since = deployments.filter(|_| facts.bundles.is_ok());
    let mut report = StatusReport {
        at: facts.now,
        install: facts.install.clone(),
        store: StoreStatus {
            place: facts.store.clone(),
            error: facts.bundles.as_ref().err().cloned(),
            free_bytes: facts.free_bytes,
        },
        rpo_seconds: bundles.made.as_ref().map(|made| facts.now.duration_since(made.at).as_secs().max(0)),
        rto_predicted_seconds: bundles.made.as_ref().and_then(|made| predicted(&facts.restores, made.bytes)),
        deployments_since: deployments_since.map(|known| known.iter().filter(|at| since(at)).count()),
        open_runs: facts.open_runs.clone(),
        schedules: facts.schedules.clone(),
        recipients,
        bundles,
        findings: Vec::new(),
        next: None,
        safe: true,
    };
    report.findings = findings(&facts, &report, newest.copied());
    report.next = next(&report.findings);
    report.safe = report.findings.iter().all(|finding| finding.level != Level::Bad);
    report
}

/// The install that is worst off comes first; of equals, the one with the oldest newest bundle.
pub(super) fn all(bundles: KnownBundles, store: String, targets: &Targets, now: Timestamp) -> AllStatus {
    let mut of: BTreeMap<&str, Vec<&KnownBundle>> = BTreeMap::new();
    for bundle in &bundles.ours {
        of.entry(&bundle.install).or_default().push(bundle);
    }
    let judged = |(install, bundles): (&str, Vec<&KnownBundle>)| {
        let bundles = summary(&bundles);
        let level = [made(&bundles, targets, now), verified(&bundles, targets, now), restored(&bundles, targets, now)]
            .into_iter()
            .map(|(level, _)| level)
            .max();
        InstallStatus { install: install.to_owned(), level: level.unwrap_or(Level::Bad), bundles }
    };
    let mut installs: Vec<InstallStatus> = of.into_iter().map(judged).collect();
    installs.sort_by_key(|one| (std::cmp::Reverse(one.level), one.bundles.made.as_ref().map(|made| made.at)));
    AllStatus {
        at: now,
        store,
        safe: installs.iter().all(|install| install.level != Level::Bad),
        unreadable: bundles.broken.len(),
        strangers: bundles.strangers.len(),
        installs,
    }
}

fn summary(bundles: &[&KnownBundle]) -> BundleStatus {
    let moment = |bundle: &KnownBundle, at, by: Option<&String>| BundleMoment {
        bundle: bundle.name.clone(),
        at,
        bytes: bundle.bytes,
        by: by.cloned(),
    };
    let proof = |depth: Depth| {
        let is_so = |proof: &&Proof| proof.counts() && proof.depth >= depth;
        let proved = bundles.iter().filter_map(|bundle| Some((bundle, bundle.proof.as_ref().filter(is_so)?)));
        let newest = proved.max_by_key(|(_, proof)| proof.verified_at);
        newest.map(|(bundle, proof)| moment(bundle, proof.verified_at, proof.proved_by.as_ref()))
    };
    let is_unsigned = |bundle: &&&KnownBundle| bundle.proof.as_ref().is_some_and(|proof| !proof.counts());
    BundleStatus {
        count: bundles.len(),
        bytes: bundles.iter().map(|bundle| bundle.bytes).sum(),
        made: bundles.iter().map(|bundle| moment(bundle, bundle.created, None)).max_by_key(|made| made.at),
        verified: proof(Depth::Stored),
        restored: proof(Depth::Restored),
        unsigned_proofs: bundles.iter().filter(is_unsigned).count(),
    }
}

/// By the slowest of the newest restores; a bundle that is larger takes as much longer.
fn predicted(restores: &[(SignedDuration, u64)], of: u64) -> Option<u64> {
    let scaled = |(took, size): &(SignedDuration, u64)| {
        let larger = if *size == 0 { 1.0 } else { (of as f64 / *size as f64).max(1.0) };
        (took.as_secs_f64() * larger).ceil().max(0.0) as u64
    };
    restores.iter().take(RESTORES).map(scaled).max()
}

/// When the next bundle comes by itself, and what would look into it where none does.
fn scheduled(line: &ScheduleLine) -> ((Level, String), String) {
    let timer = &line.timer;
    let (log, look) = match line.manager {
        ScheduleManager::CronJob => {
            let namespace = line.install.split('/').next().unwrap_or_default();
            let log = format!("kubectl -n {namespace} get jobs,pods -l app.kubernetes.io/component=schedule");
            (log, format!("kubectl -n {namespace} describe cronjob {timer}"))
        }
        manager => {
            let user = if manager == ScheduleManager::User { " --user" } else { "" };
            let log = format!("journalctl{user} -u {} -n 50", timer.replace(".timer", ".service"));
            (log, format!("systemctl{user} status {timer}"))
        }
    };
    let code = line.code.filter(|code| *code != 0).map(|code| format!(" {code}")).unwrap_or_default();
    let warn = |text: String, fix: String| ((Level::Warn, text), fix);
    match (&line.error, line.waiting, &line.result, line.next) {
        (Some(error), ..) if line.manager == ScheduleManager::CronJob => warn(error.clone(), "dr schedule list".into()),
        (Some(error), ..) => warn(format!("{timer} is there, and {error}"), look),
        (None, ..) if line.held_up.is_some() => {
            let why = line.held_up.as_deref().unwrap_or_default();
            warn(format!("the bundle that is due does not begin: {why}"), log)
        }
        (None, Some(true), Some(result), _) if result != "success" => {
            warn(format!("the last scheduled bundle was not made: {result}{code}"), log)
        }
        (None, Some(true), _, Some(next)) => {
            ((Level::Ok, format!("a bundle at {} by {timer}", next.strftime("%Y-%m-%d %H:%MZ"))), log)
        }
        (None, Some(true), _, None) if line.manager == ScheduleManager::CronJob => {
            ((Level::Ok, format!("a bundle at {} by CronJob {timer}", line.at)), log)
        }
        (None, Some(true), _, None) => {
            warn(format!("{timer} waits for a time that never comes"), line.manager.command("remove"))
        }
        (None, ..) => warn(format!("{timer} is paused"), line.manager.command("resume")),
    }
}

fn findings(facts: &StatusFacts, report: &StatusReport, newest: Option<&KnownBundle>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |area, (level, text): (Level, String), fix: Option<&str>| {
        findings.push(Finding { area, level, text, fix: fix.filter(|_| level != Level::Ok).map(str::to_owned) });
    };
    if let Some(error) = &report.store.error {
        add("store", (Level::Bad, format!("its bundles are not known: {error}")), Some("dr doctor"));
    } else {
        let free = report.store.free_bytes.map_or(String::new(), |free| format!(", {} free", bytes(free)));
        let count = plural(report.bundles.count as u64, "bundle");
        let text = format!("{}: {count} of this install, {}{free}", report.store.place, bytes(report.bundles.bytes));
        add("store", (Level::Ok, text), None);
        add("made", made(&report.bundles, &facts.targets, facts.now), Some("dr bundle create"));
        if report.bundles.made.is_some() {
            add("verified", verified(&report.bundles, &facts.targets, facts.now), Some("dr bundle verify --decrypt"));
            let drill = "dr bundle restore BUNDLE --context SPARE";
            add("restored", restored(&report.bundles, &facts.targets, facts.now), Some(drill));
        }
    }
    if let Ok(KnownBundles { ours, strangers, broken, missing }) = &facts.bundles {
        if let Some(newest) = missing.last() {
            let others = missing.len() - 1;
            let more = if others == 0 { String::new() } else { format!("; so are {others} more") };
            let text = format!("bundle {} of {:.0} {}{more}", newest.bundle, newest.created, newest.why());
            add("missing", (Level::Bad, text), Some("dr bundle list"));
        }
        if let Some(newest) = strangers.first() {
            let count = plural(strangers.len() as u64, "bundle");
            let text = format!("{count} of the store count for nothing: nobody trusted here has signed {newest}");
            add("trust", (Level::Warn, text), Some(&format!("dr bundle show {newest} --any-signer")));
        }
        if let Some((newest, reason)) = broken.first() {
            let text = format!("{} cannot be opened: {newest}: {reason}", plural(broken.len() as u64, "bundle"));
            add("damaged", (Level::Warn, text), Some(&format!("dr bundle verify {newest}")));
        }
        facts.mirrors.iter().for_each(|mirror| add("copies", copies(mirror, &facts.install, ours), Some(MAKE_UP)));
    }
    if let Some(newest) = newest.filter(|newest| newest.is_stored && stores_of(facts, newest) < facts.stores_needed) {
        let (stores, needed) = (stores_of(facts, newest), facts.stores_needed);
        let text = format!("{} is in {stores} of {} stores", newest.name, facts.mirrors.len() + 1);
        add("copies", (Level::Bad, format!("{text}, and `store.policy` asks for {needed}")), Some(MAKE_UP));
    }
    if let Some(newest) = newest {
        add("opens", opens(newest, &report.recipients), Some("dr doctor"));
    }
    if let Some((found, fix)) = changed(facts, report) {
        add("changed", found, Some(fix));
    }
    if report.bundles.made.is_some() {
        add("rto", rto(report), None);
    }
    for schedule in &report.schedules {
        let (found, fix) = scheduled(schedule);
        add("next", found, Some(&fix));
    }
    for open in &report.open_runs {
        let text = format!("run {} stands open", open.run);
        add("runs", (Level::Bad, text), Some(&format!("dr run resume {}", open.run)));
    }
    findings
}

/// What a mirror has of the bundles of this install.
fn copies(mirror: &MirrorFacts, install: &str, bundles: &[KnownBundle]) -> (Level, String) {
    let place = &mirror.place;
    let there = match &mirror.bundles {
        Ok(there) => there,
        Err(error) => return (Level::Warn, format!("what mirror {place} has is not known: {error}")),
    };
    let own: Vec<&KnownBundle> = bundles.iter().filter(|b| b.is_stored && b.install == install).collect();
    let behind: Vec<&str> =
        own.iter().map(|bundle| bundle.name.as_str()).filter(|name| !there.contains(*name)).collect();
    match behind.first() {
        None => (Level::Ok, format!("mirror {place} has all {} of this install", plural(own.len() as u64, "bundle"))),
        Some(newest) => {
            let count = plural(behind.len() as u64, "bundle");
            (Level::Warn, format!("mirror {place} is {count} behind, the newest {newest}"))
        }
    }
}

/// How many stores a bundle is known to be in.
fn stores_of(facts: &StatusFacts, bundle: &KnownBundle) -> usize {
    let has = |mirror: &&MirrorFacts| mirror.bundles.as_ref().is_ok_and(|there| there.contains(&bundle.name));
    1 + facts.mirrors.iter().filter(has).count()
}

fn made(bundles: &BundleStatus, targets: &Targets, now: Timestamp) -> (Level, String) {
    let Some(made) = &bundles.made else { return (Level::Bad, "there is no bundle of this install".into()) };
    aged(made, targets.rpo, now, Level::Bad)
}

fn verified(bundles: &BundleStatus, targets: &Targets, now: Timestamp) -> (Level, String) {
    let Some(verified) = &bundles.verified else { return (Level::Warn, never(bundles, "verified")) };
    aged(verified, targets.verified, now, Level::Warn)
}

fn restored(bundles: &BundleStatus, targets: &Targets, now: Timestamp) -> (Level, String) {
    let Some(restored) = &bundles.restored else { return (Level::Warn, never(bundles, "restored")) };
    aged(restored, targets.restored, now, Level::Warn)
}

fn never(bundles: &BundleStatus, what: &str) -> String {
    match bundles.unsigned_proofs {
        0 => format!("no bundle was ever {what}"),
        _ => format!("nobody trusted here has signed that a bundle was ever {what}"),
    }
}

/// How old something is; `worse` when that is too old, or still to come: whoever noted it had another clock.
fn aged(moment: &BundleMoment, limit: SignedDuration, now: Timestamp, worse: Level) -> (Level, String) {
    let by = moment.by.as_ref().map_or(String::new(), |by| format!(", by {by}"));
    let (age, bundle) = (now.duration_since(moment.at), format!("{}{by}", moment.bundle));
    match age {
        _ if age < -CLOCK_SLACK => {
            (worse, format!("at {:.0}, which is still to come: {bundle}; a clock is wrong", moment.at))
        }
        _ if age > limit => (worse, format!("{} ago: {bundle} (not within {})", span(age), span(limit))),
        _ => (Level::Ok, format!("{} ago: {bundle}", span(age))),
    }
}

/// A length of time in its two largest units.
fn span(time: SignedDuration) -> String {
    match time.as_hours() {
        hours @ 48.. => format!("{} d {} h", hours / 24, hours % 24),
        _ => elapsed(time.unsigned_abs()),
    }
}

fn opens(newest: &KnownBundle, recipients: &[String]) -> (Level, String) {
    match recipients.len() {
        0 => (Level::Bad, format!("none of the recipients of the settings opens {}", newest.name)),
        1 => (Level::Warn, format!("one recipient only opens {}: {}", newest.name, recipients.concat())),
        _ => (Level::Ok, format!("for {}", recipients.join(", "))),
    }
}

/// What was deployed since the newest bundle, with what puts it right; nothing where there is none that is known.
fn changed(facts: &StatusFacts, report: &StatusReport) -> Option<((Level, String), &'static str)> {
    let warn = |text, fix| Some(((Level::Warn, text), fix));
    if let (Some(anew), Some(made)) = (facts.made_anew, &report.bundles.made)
        && anew > made.at
    {
        let text = format!("the install was made anew at {anew:.0}: no bundle is of the database that it has since");
        return Some(((Level::Bad, text), "dr bundle create"));
    }
    match (facts.deployments.as_ref()?, report.deployments_since) {
        (Err(error), _) => warn(format!("what was deployed is not known: {error}"), "dr doctor"),
        (Ok(_), _) if report.bundles.made.is_none() => None,
        (Ok(_), None) => None,
        (Ok(_), Some(0)) => Some(((Level::Ok, "nothing was deployed since the newest bundle".into()), "")),
        (Ok(_), Some(count)) => {
            warn(format!("{} since the newest bundle", plural(count as u64, "deployment")), "dr bundle create")
        }
    }
}

/// The command that is next: nothing else is done while a run stands open.
fn next(findings: &[Finding]) -> Option<String> {
    let bad = || findings.iter().filter(|finding| finding.level == Level::Bad);
    bad().filter(|finding| finding.area == "runs").chain(bad()).find_map(|finding| finding.fix.clone())
}

fn rto(report: &StatusReport) -> (Level, String) {
    match report.rto_predicted_seconds {
        Some(seconds) => {
            let time = elapsed(std::time::Duration::from_secs(seconds));
            (Level::Ok, format!("a restore would take about {time}, by the slowest of this host's last restores"))
        }
        None => (Level::Warn, "how long a restore takes is not known: this host has run none".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::published::MissingBundle;
    use crate::ops::status::report::OpenRunStatus;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    /// By me, so many hours ago.
    fn proof(hours: i32, depth: Depth) -> Proof {
        let verified_at = now() - HOUR * hours;
        Proof { verified_at, proved_by: Some("me".into()), ..Proof::new(depth, Some("me"), "0") }
    }

    fn bundle(name: &str, hours: i32) -> KnownBundle {
        KnownBundle {
            name: name.into(),
            bytes: 1000,
            install: "ops/opschain".into(),
            created: now() - HOUR * hours,
            recipients: vec!["age1host".into(), "age1escrow".into()],
            is_stored: true,
            proof: Some(proof(1, Depth::Restored)),
        }
    }

    #[test]
    fn a_bundle_that_is_still_to_come_is_no_young_one() {
        let report = judge(facts(vec![bundle("b-1", -3), bundle("b-2", 400)]));
        let made = report.findings.iter().find(|finding| finding.area == "made").unwrap();
        assert!(made.level == Level::Bad && made.text.contains("still to come"), "{made:?}");
        assert_eq!((report.safe, report.rpo_seconds), (false, Some(0)));
    }

    fn facts(bundles: Vec<KnownBundle>) -> StatusFacts {
        StatusFacts {
            now: now(),
            install: "ops/opschain".into(),
            store: "/bundles".into(),
            free_bytes: None,
            bundles: Ok(KnownBundles { ours: bundles, ..KnownBundles::default() }),
            deployments: Some(Ok(vec![now() - HOUR * 100])),
            made_anew: None,
            open_runs: Vec::new(),
            schedules: Vec::new(),
            restores: vec![(HOUR, 1000)],
            recipients: vec!["age1host".into(), "age1escrow".into()],
            targets: Targets { rpo: HOUR * 26, verified: HOUR * 192, restored: HOUR * 2160 },
            mirrors: Vec::new(),
            stores_needed: 1,
        }
    }

    #[test]
    fn a_mirror_that_is_behind_is_warned_of_and_is_bad_where_the_policy_asks_for_it() {
        let with = |there: std::result::Result<&[&str], &str>, needed| {
            let mut facts = facts(vec![bundle("b2", 1), bundle("b1", 2)]);
            let bundles = there.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            facts.mirrors = vec![MirrorFacts { place: "s3://b".into(), bundles: bundles.map_err(str::to_owned) }];
            facts.stores_needed = needed;
            unwell(facts)
        };
        assert_eq!(with(Ok(&["b1", "b2", "other"]), 2), "");
        assert_eq!(with(Ok(&["b2"]), 2), "copies");
        assert_eq!(with(Ok(&["b1"]), 1), "copies");
        assert_eq!(with(Ok(&["b1"]), 2), "copies !copies");
        assert_eq!(with(Err("no route"), 1), "copies");
    }

    /// The areas of what is not well, with the level's first letter.
    fn unwell(facts: StatusFacts) -> String {
        let report = judge(facts);
        let is_bad = |finding: &&Finding| finding.level == Level::Bad;
        assert_eq!(report.safe, !report.findings.iter().any(|finding| is_bad(&finding)));
        let unwell = report.findings.iter().filter(|finding| finding.level != Level::Ok);
        unwell.map(|f| format!("{}{}", if is_bad(&f) { "!" } else { "" }, f.area)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_thing_that_is_not_well_is_said_with_what_fixes_it() {
        assert_eq!(unwell(facts(vec![bundle("b", 26)])), "");
        assert_eq!(unwell(facts(vec![bundle("b", 27)])), "!made");
        assert_eq!(unwell(facts(Vec::new())), "!made");
        let unproved = KnownBundle { proof: None, ..bundle("b", 1) };
        assert_eq!(unwell(facts(vec![unproved])), "verified restored");
        let checked = KnownBundle { proof: Some(proof(193, Depth::Plain)), ..bundle("b", 1) };
        assert_eq!(unwell(facts(vec![checked])), "verified restored");
        let unsigned = Proof { proved_by: None, ..proof(1, Depth::Restored) };
        let report = judge(facts(vec![KnownBundle { proof: Some(unsigned), ..bundle("b", 1) }]));
        let verified = report.findings.iter().find(|finding| finding.area == "verified").unwrap();
        assert!(verified.level == Level::Warn && verified.text.starts_with("nobody trusted"), "{verified:?}");
        let with = |change: fn(&mut StatusFacts)| {
            let mut facts = facts(vec![bundle("b", 1)]);
            change(&mut facts);
            unwell(facts)
        };
        assert_eq!(with(|facts| facts.bundles = Err("gone".into())), "!store");
        assert_eq!(with(|facts| facts.recipients = vec!["age1other".into()]), "!opens");
        assert_eq!(with(|facts| drop(facts.recipients.pop())), "opens");
        assert_eq!(with(|facts| facts.deployments = Some(Ok(vec![facts.now]))), "changed");
        assert_eq!(with(|facts| facts.deployments = None), "");
        assert_eq!(with(|facts| facts.restores.clear()), "rto");
        let open = |facts: &mut StatusFacts| {
            facts.open_runs = vec![OpenRunStatus { run: "restore-1".into(), verb: "restore".into() }];
        };
        assert_eq!(with(open), "!runs");
        assert_eq!(with(|facts| facts.deployments = Some(Err("no vault".into()))), "changed");
        let mut stale = facts(vec![bundle("b", 27)]);
        assert_eq!(judge(stale.clone()).next.as_deref(), Some("dr bundle create"));
        open(&mut stale);
        assert_eq!(judge(stale).next.as_deref(), Some("dr run resume restore-1"), "a bundle would be refused");
        let all = judge(facts(vec![bundle("b", 27)]));
        assert!(all.findings.iter().all(|f| f.level == Level::Ok || f.fix.is_some() || f.area == "rto"), "{all:?}");
    }

    #[test]
    fn what_nobody_trusted_has_signed_and_what_does_not_open_are_named() {
        let mut facts = facts(vec![bundle("b", 1)]);
        let known = facts.bundles.as_mut().unwrap();
        known.strangers = vec!["s-2".into(), "s-1".into()];
        known.broken = vec![("x".into(), "it is cut off".into())];
        known.missing = vec![MissingBundle {
            bundle: "m-3".into(),
            created: now(),
            opschain_version: "2026-08-20".into(),
            store: "/bundles".into(),
            has_other: false,
        }];
        let report = judge(facts.clone());
        let text = |area| &report.findings.iter().find(|finding| finding.area == area).unwrap().text;
        assert!(text("trust").starts_with("2 bundles") && text("trust").ends_with("signed s-2"), "{}", text("trust"));
        assert_eq!(text("damaged"), "1 bundle cannot be opened: x: it is cut off");
        assert_eq!(
            text("missing"),
            "bundle m-3 of 2026-11-23T12:00:00Z is not in the store: it was published in /bundles"
        );
        assert_eq!((report.bundles.count, unwell(facts)), (1, "!missing trust damaged".into()));
    }

    #[test]
    fn a_larger_bundle_takes_longer_and_a_smaller_one_no_less() {
        let restores = [(HOUR, 1000), (HOUR * 2, 4000), (HOUR, 2000), (HOUR * 9, 1)];
        assert_eq!(predicted(&restores, 500), Some(7200));
        assert_eq!(predicted(&restores, 4000), Some(4 * 3600));
        assert_eq!(predicted(&[], 1), None);
    }

    #[test]
    fn of_many_installs_the_worst_off_comes_first() {
        let of = |install: &str, hours| KnownBundle { install: install.into(), ..bundle("b", hours) };
        let known = KnownBundles {
            ours: vec![of("a/x", 1), of("b/x", 40), of("c/x", 30), of("a/x", 2)],
            strangers: vec!["s".into()],
            broken: vec![("x".into(), "it is cut off".into())],
            missing: Vec::new(),
        };
        let seen = all(known, "/bundles".into(), &facts(Vec::new()).targets, now());
        let lines: Vec<_> =
            seen.installs.iter().map(|one| (one.install.as_str(), one.level, one.bundles.count)).collect();
        assert_eq!(lines, [("b/x", Level::Bad, 1), ("c/x", Level::Bad, 1), ("a/x", Level::Ok, 2)]);
        assert_eq!((seen.safe, seen.unreadable, seen.strangers), (false, 1, 1));
    }
}
