//! What the steps of a restore have seen, as evidence. Nothing here asks anybody.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::directory::DirectoryOutcome;
use super::plan::RestorePlan;
use super::proof::{IN_PRODUCTION, RunningIdentity};
use super::restored_volume::VolumeOutcome;
use crate::agent::protocol::{StageReport, SwapReport};
use crate::bundle::BackupIdentity;
use crate::journal::Begun;
use crate::ops::evidence::{Evidence, FORMAT, ProvedFact};
use crate::ops::maintenance::ApiAnswer;
use crate::opschain::Version;
use crate::opschain::directory::entries;
use crate::text::{bytes, plural};

/// An instance beside the primary, which proved to follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProvedStandby {
    pub pod: String,
    pub system_identifier: String,
}

/// The application once it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServingFacts {
    /// Workloads that are ready.
    pub workloads: Vec<String>,
    /// What the API said.
    pub api: Option<ApiAnswer>,
    /// Why it was not heard, where it was not.
    pub unheard: Option<String>,
}

impl ServingFacts {
    /// What can be said of `install`, which is to be OpsChain `version`, and whether that is all that was wanted. Without
    /// facts an earlier `dr` has not noted them.
    pub fn said(facts: Option<&Self>, install: &str, version: &str) -> (bool, String) {
        let ready = format!("{install} is back, with OpsChain {version} in its values, and its workloads are ready");
        let Some(facts) = facts else {
            return (false, format!("{install} is back; whether it serves, an earlier dr did not note"));
        };
        match (&facts.api, &facts.unheard) {
            (Some(api), _) if api.status == 200 => match &api.version {
                Some(said) if is_version(said, version) => (true, format!("{install} serves OpsChain {version} again")),
                Some(other) => {
                    (false, format!("{install} serves, and says that it is OpsChain {other}, not {version}"))
                }
                None => {
                    (true, format!("{install} serves again; it does not say which OpsChain it is, to be {version}"))
                }
            },
            (Some(api), _) => (false, format!("{ready}; the API answers {}", api.line())),
            (None, why) => {
                let why = why.as_deref().unwrap_or("it was not asked");
                (false, format!("{ready}; what the API answers is not known: {why}"))
            }
        }
    }
}

/// What a step has left, and when.
pub(super) struct StepSeen<T> {
    pub step: &'static str,
    pub at: Option<Timestamp>,
    pub output: T,
}

/// What the steps of a restore have left. Those of a run that another `dr` has begun may have left less.
pub(super) struct RestoreSeen {
    pub staged: StepSeen<StageReport>,
    pub swapped: StepSeen<SwapReport>,
    pub identity: StepSeen<RunningIdentity>,
    pub directory: StepSeen<Option<DirectoryOutcome>>,
    pub volumes: StepSeen<Option<Vec<VolumeOutcome>>>,
    pub serving: StepSeen<Option<ServingFacts>>,
    pub standbys: StepSeen<Option<Vec<ProvedStandby>>>,
}

/// What the bundle says that the database is.
pub(super) struct WantedDatabase<'a> {
    pub identity: &'a BackupIdentity,
    /// How many files PostgreSQL's manifest listed when it was made, where the bundle says that.
    pub files: Option<u64>,
}

impl<T> StepSeen<T> {
    fn fact(&self, what: &str, wanted: Option<String>, seen: String) -> ProvedFact {
        ProvedFact { what: what.to_owned(), wanted, seen, step: self.step.to_owned(), at: self.at }
    }
}

/// The evidence of a restore that came to its end.
pub(super) fn of_restore(
    begun: &Begun,
    plan: &RestorePlan,
    wanted: &WantedDatabase<'_>,
    seen: &RestoreSeen,
) -> Evidence {
    let mut proofs = of_files(plan, wanted, seen);
    proofs.extend(of_database(plan, wanted.identity, seen));
    let mut not_proved = Vec::new();
    of_directory(&seen.directory, &mut proofs, &mut not_proved);
    of_volumes(plan, &seen.volumes, &mut proofs, &mut not_proved);
    match &seen.standbys.output {
        Some(standbys) if standbys.is_empty() => {
            proofs.push(seen.standbys.fact("other instances", None, "none, as the values say".to_owned()));
        }
        Some(standbys) => proofs.extend(standbys.iter().map(|standby| {
            let (what, wanted) = (format!("instance {}", standby.pod), &plan.system_identifier);
            let seen_of = format!("{}, streaming", standby.system_identifier);
            seen.standbys.fact(&what, Some(format!("{wanted}, streaming")), seen_of)
        })),
        None => not_proved.push("what the other instances are: an earlier dr did not note it".to_owned()),
    }
    match &seen.serving.output {
        Some(serving) => {
            let ready = format!("{}: {}", serving.workloads.len(), serving.workloads.join(", "));
            proofs.push(seen.serving.fact("workloads ready", None, ready));
            match (&serving.api, &serving.unheard) {
                (Some(api), _) if api.status == 200 => {
                    proofs.push(seen.serving.fact("API", Some("200".to_owned()), api.line()));
                    match &api.version {
                        Some(version) if is_version(version, &plan.version) => {
                            let wanted = Some(plan.version.clone());
                            proofs.push(seen.serving.fact("version that the API says", wanted, version.clone()));
                        }
                        Some(other) => {
                            not_proved.push(format!("that OpsChain {} runs: the API says {other}", plan.version))
                        }
                        None => {}
                    }
                }
                (Some(api), _) => not_proved.push(format!("that the API serves: it answered {}", api.line())),
                (None, why) => {
                    not_proved.push(format!("that the API answers: {}", why.as_deref().unwrap_or("it was not asked")))
                }
            }
        }
        None => not_proved.push("which workloads serve: an earlier dr did not note it".to_owned()),
    }
    if plan.hold.is_some() {
        not_proved.push("the workers: they are off until `dr server start`".to_owned());
    }
    Evidence {
        format: FORMAT.to_owned(),
        run: begun.run.clone(),
        verb: begun.verb.clone(),
        bundle: plan.bundle.clone(),
        manifest_sha256: plan.manifest_sha256.clone(),
        bundle_signer: plan.signer.clone(),
        opschain_version: plan.version.clone(),
        cluster_uid: begun.cluster_uid.clone(),
        namespace: plan.namespace.to_string(),
        release: plan.release.to_string(),
        strategy: plan.strategy.word().to_owned(),
        by: begun.who.clone(),
        dr_version: begun.dr_version.clone(),
        begun: begun.at,
        proofs,
        not_proved,
        not_in_bundle: plan.scope.iter().map(|item| item.what.clone()).collect(),
    }
}

/// Of the LDAP server. What is not in the bundle stands there.
fn of_directory(seen: &StepSeen<Option<DirectoryOutcome>>, proofs: &mut Vec<ProvedFact>, not_proved: &mut Vec<String>) {
    match &seen.output {
        Some(DirectoryOutcome::Restored { entries: count, differing }) => {
            let count = entries(*count);
            if differing.is_empty() {
                proofs.push(seen.fact("entries of the LDAP server", Some(count.clone()), count));
            } else {
                not_proved.push(format!("that LDAP entries are as in the bundle: {}", differing.join("; ")));
            }
        }
        Some(DirectoryOutcome::NoServer { entries: count }) => {
            not_proved.push(format!("the bundle's {}: there was no LDAP server", entries(*count)));
        }
        Some(DirectoryOutcome::Outside { server, fails: None }) => {
            proofs.push(seen.fact("LDAP server outside", None, format!("{server} accepts connections")));
        }
        Some(DirectoryOutcome::Outside { server, fails: Some(why) }) => {
            not_proved.push(format!("that the LDAP server {server} is reached: {why}"));
        }
        Some(DirectoryOutcome::NotInBundle) | None => {}
    }
}

/// Of other volumes.
fn of_volumes(
    plan: &RestorePlan,
    seen: &StepSeen<Option<Vec<VolumeOutcome>>>,
    proofs: &mut Vec<ProvedFact>,
    not_proved: &mut Vec<String>,
) {
    for found in seen.output.iter().flatten() {
        let count = |files: u64, size: u64| format!("{}, {}", plural(files, "file"), bytes(size));
        let wanted = plan.volumes.iter().find(|volume| volume.volume == found.volume);
        let wanted = wanted.map(|volume| count(volume.totals.files, volume.totals.bytes));
        proofs.push(seen.fact(&format!("files of volume {}", found.volume), wanted, count(found.files, found.bytes)));
        if found.other_owners > 0 {
            let others = found.other_owners;
            not_proved.push(format!("owner and mode of {others} files and folders of volume {}", found.volume));
        }
    }
}

/// Whether both name one release, in whatever spelling.
fn is_version(said: &str, wanted: &str) -> bool {
    let parse = |text: &str| text.parse::<Version>().ok();
    said == wanted || parse(said).is_some_and(|said| Some(said) == parse(wanted))
}

/// Before the database ran.
fn of_files(plan: &RestorePlan, wanted: &WantedDatabase<'_>, seen: &RestoreSeen) -> Vec<ProvedFact> {
    let (staged, control) = (&seen.staged.output, &seen.swapped.output.control);
    let listed = wanted.files.map(|files| plural(files, "file"));
    vec![
        seen.staged.fact(
            "files against the manifest",
            listed,
            format!("{}; {} with the WAL", plural(staged.files, "file"), bytes(staged.bytes)),
        ),
        seen.staged.fact(
            "WAL on the volume",
            None,
            format!("from {} to the end of {}", staged.start, staged.last_segment),
        ),
        seen.swapped.fact(
            "identifier of the files",
            Some(plan.system_identifier.clone()),
            control.system_identifier.to_string(),
        ),
        seen.swapped.fact("state of the files", Some(IN_PRODUCTION.to_owned()), control.state.clone()),
    ]
}

/// Of the database that runs.
fn of_database(plan: &RestorePlan, wanted: &BackupIdentity, seen: &RestoreSeen) -> Vec<ProvedFact> {
    let running = &seen.identity.output;
    let past = match wanted.quiesce_lsn {
        Some(quiesced) => format!("{} or later, quiesced at {quiesced}", wanted.last_lsn()),
        None => format!("{} or later", wanted.last_lsn()),
    };
    vec![
        seen.identity.fact(
            "system identifier",
            Some(plan.system_identifier.clone()),
            running.system_identifier.clone(),
        ),
        seen.identity.fact("timeline", Some(format!("{} or later", wanted.timeline)), running.timeline.to_string()),
        seen.identity.fact("position", Some(past), running.lsn.to_string()),
        seen.identity.fact("data folders moved aside", Some("0".to_owned()), "0".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::bundle::testing as bundles;
    use crate::postgres::Lsn;

    fn seen() -> RestoreSeen {
        fn of<T>(step: &'static str, output: T) -> StepSeen<T> {
            StepSeen { step, at: Some(Timestamp::UNIX_EPOCH), output }
        }
        let control = testing::control(7, IN_PRODUCTION);
        let staged = StageReport {
            files: 1200,
            bytes: 2048,
            kept_bytes: 0,
            system_identifier: 7,
            timeline: 1,
            start: Lsn(1),
            last_segment: "000000010000000000000003".into(),
        };
        let identity = RunningIdentity { system_identifier: "7".into(), timeline: 1, lsn: Lsn(0x300_0000) };
        let api = ApiAnswer { pod: "opschain-api-1".into(), status: 200, version: Some("2026-08-20".into()) };
        let serving = ServingFacts { workloads: vec!["opschain-api".into()], api: Some(api), unheard: None };
        RestoreSeen {
            staged: of("stage", staged),
            swapped: of("swap", SwapReport { kept: None, resumed: false, control }),
            identity: of("prove-identity", identity),
            volumes: of(
                "restore-volumes",
                Some(vec![VolumeOutcome { volume: "git".into(), files: 2, bytes: 2048, other_owners: 0 }]),
            ),
            directory: of("restore-directory", Some(DirectoryOutcome::Restored { entries: 6, differing: Vec::new() })),
            serving: of("wait-serving", Some(serving)),
            standbys: of("prove-instances", Some(Vec::new())),
        }
    }

    fn evidence(plan: &RestorePlan, seen: &RestoreSeen) -> Evidence {
        let (_, manifest) = bundles::manifest();
        let begun = crate::journal::testing::begun("restore-1");
        let wanted = WantedDatabase { identity: &manifest.database, files: Some(1200) };
        of_restore(&begun, plan, &wanted, seen)
    }

    #[test]
    fn each_proof_says_what_was_wanted_what_was_seen_by_which_step_and_when() {
        let plan = testing::plan();
        let evidence = evidence(&plan, &seen());
        let of = |what: &str| {
            let found: Vec<&ProvedFact> = evidence.proofs.iter().filter(|fact| fact.what == what).collect();
            assert_eq!(found.len(), 1, "{what}: {:?}", evidence.proofs);
            (found[0].wanted.clone().unwrap_or_default(), found[0].seen.clone(), found[0].step.clone())
        };
        let identifier = plan.system_identifier.clone();
        assert_eq!(of("system identifier"), (identifier, "7".into(), "prove-identity".into()));
        let files = of("files against the manifest");
        assert_eq!(files, ("1200 files".into(), "1200 files; 2.0 KiB with the WAL".into(), "stage".into()));
        assert!(of("position").0.contains(" or later"), "{:?}", of("position"));
        let api = of("API");
        assert_eq!(api, ("200".into(), "200 by pod opschain-api-1".into(), "wait-serving".into()));
        assert_eq!(of("version that the API says").1, "2026-08-20");
        let files = of("files of volume git");
        assert_eq!((files.1.as_str(), files.2.as_str()), ("2 files, 2.0 KiB", "restore-volumes"));
        let entries = "6 LDAP entries".to_owned();
        assert_eq!(of("entries of the LDAP server"), (entries.clone(), entries, "restore-directory".into()));
        assert!(evidence.proofs.iter().all(|fact| fact.at.is_some()) && evidence.not_proved.is_empty());
    }

    #[test]
    fn a_restore_says_of_the_application_what_was_seen_and_no_more() {
        type Change = fn(&mut ServingFacts);
        let said = |change: Change| {
            let mut facts = seen().serving.output.unwrap();
            change(&mut facts);
            ServingFacts::said(Some(&facts), "ops/o", "2026-08-20")
        };
        assert_eq!(said(|_| {}), (true, "ops/o serves OpsChain 2026-08-20 again".to_owned()));
        let cases: [(Change, &str); 3] = [
            (|facts| facts.api.as_mut().unwrap().status = 503, "answers 503"),
            (|facts| facts.api.as_mut().unwrap().version = Some("2026-07-28".into()), "2026-07-28, not 2026-08-20"),
            (|facts| (facts.api, facts.unheard) = (None, Some("forbidden".into())), "is not known: forbidden"),
        ];
        for (change, words) in cases {
            let (serves, text) = said(change);
            assert!(!serves && text.contains(words) && !text.contains("serves OpsChain"), "{text}");
        }
        assert!(!ServingFacts::said(None, "ops/o", "2026-08-20").0);
    }

    #[test]
    fn an_api_that_answers_otherwise_than_it_has_to_proves_nothing() {
        let answered = |status: u16, version: &str| {
            let mut seen = seen();
            if let Some(ServingFacts { api: Some(api), .. }) = &mut seen.serving.output {
                (api.status, api.version) = (status, Some(version.to_owned()));
            }
            evidence(&testing::plan(), &seen)
        };
        let proves = |evidence: &Evidence, what: &str| evidence.proofs.iter().any(|fact| fact.what == what);
        let unavailable = answered(503, "2026-08-20");
        assert!(!proves(&unavailable, "API") && unavailable.not_proved[0].contains("503 by pod opschain-api-1"));
        let other = answered(200, "2026-07-28");
        assert!(proves(&other, "API") && !proves(&other, "version that the API says"));
        assert_eq!(other.not_proved, ["that OpsChain 2026-08-20 runs: the API says 2026-07-28"]);
        assert!(answered(200, "2026.8.20").not_proved.is_empty(), "another spelling of the same");
    }

    #[test]
    fn what_nobody_saw_is_said_and_is_no_proof() {
        let held = RestorePlan {
            hold: Some(super::super::held::RestoreHold {
                because: "--held".into(),
                original: crate::cluster::HeldOriginal {
                    cluster: None,
                    namespace: "opschain".into(),
                    database: "opschain-db".into(),
                    uid: "u".into(),
                },
                workers: 1,
            }),
            ..testing::plan()
        };
        let mut seen = seen();
        seen.standbys.output = None;
        seen.directory.output = Some(DirectoryOutcome::NoServer { entries: 12 });
        seen.volumes.output.as_mut().unwrap()[0].other_owners = 4;
        if let Some(serving) = &mut seen.serving.output {
            serving.api = None;
            serving.unheard = Some("pods/portforward is forbidden".into());
        }
        let evidence = evidence(&held, &seen);
        assert!(!evidence.proofs.iter().any(|fact| fact.what == "API" || fact.what.contains("instance")));
        let said = evidence.not_proved.join("\n");
        for words in [
            "instances",
            "12 LDAP entries: there was no LDAP server",
            "owner and mode of 4 files and folders of volume git",
            "the API answers: pods/portforward is forbidden",
            "the workers",
        ] {
            assert!(said.contains(words), "{said}");
        }
    }
}
