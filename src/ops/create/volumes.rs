//! Volumes beside the database's that a bundle takes along: which, and what is said of them. Nothing here asks anybody.
//!
//! They are read before the database, so what is in the database was written later than what is in them. Where the application
//! runs meanwhile, files may change while they are read: the scope says so, by who used the volume.

use serde::{Deserialize, Serialize};

use super::asked_volumes::placed;
use super::facts::CreateFacts;
use crate::bundle::OutOfScope;
use crate::cluster::{ClaimUse, ClaimUser, PodPlacement};
use crate::error::{CommandError, Exit, Result};
use crate::filetree::TreeTotals;
use crate::ops::helper;
use crate::ops::quiesce::WRITERS;
use crate::opschain::volumes::{self, VOLUMES};
use crate::settings::Quiesce;
use crate::text::plural;

/// A volume that is taken along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedVolume {
    /// `git`.
    pub name: String,
    pub claim: ClaimUse,
    /// Where the pod goes that reads it.
    pub placement: PodPlacement,
    /// The pods that use it while it is read, as far as that is known before.
    pub used_by: Vec<String>,
}

impl PlannedVolume {
    /// What people read of it.
    pub fn line(&self) -> String {
        let Self { name, claim, .. } = self;
        let while_read = match self.used_by.as_slice() {
            [] => "nothing writes to it meanwhile".to_owned(),
            used_by => format!("read while {} may write to it", used_by.join(", ")),
        };
        format!("{name} ({}, {} asked for): {while_read}", claim.claim, claim.size)
    }
}

/// What was seen of a volume when it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct VolumeSeen {
    pub name: String,
    pub used_by: Vec<String>,
    pub totals: TreeTotals,
}

/// The volumes to be taken along, and what is to be warned of.
///
/// # Errors
/// [`Exit::NotFound`] for a name that this install has no volume of, [`Exit::Cluster`] for one that cannot be read.
pub(super) fn planned(
    facts: &CreateFacts,
    quiesce: Quiesce,
    database: &PodPlacement,
) -> Result<(Vec<PlannedVolume>, Vec<String>)> {
    let (mut planned, mut warnings) = (Vec::new(), Vec::new());
    for name in &facts.volumes.wanted {
        let known = volumes::known(name).map(|known| known.claim);
        let claim = facts.volumes.claims.iter().find(|claim| Some(claim.claim.as_str()) == known);
        let claim = claim.ok_or_else(|| no_volume(name, known, facts))?;
        readable(name, claim)?;
        let refusal = facts.volumes.refusals.iter().find(|(of, _)| of == name).map(|(_, refusal)| refusal);
        warnings.extend(helper::admitted(&format!("the pod that volume {name} is read in"), refusal)?);
        let stopped = |user: &&ClaimUser| quiesce == Quiesce::Full && is_of_writer(user);
        let running = claim.users.iter().filter(|user| !stopped(user));
        planned.push(PlannedVolume {
            name: name.clone(),
            placement: placed(claim, database),
            used_by: running.map(|user| user.pod.clone()).collect(),
            claim: claim.clone(),
        });
    }
    Ok((planned, warnings))
}

/// Whether the pod is of a Deployment that is stopped.
fn is_of_writer(user: &ClaimUser) -> bool {
    user.workload.strip_prefix("Deployment ").is_some_and(|name| WRITERS.contains(&name))
}

fn no_volume(name: &str, claim: Option<&str>, facts: &CreateFacts) -> CommandError {
    let what = match claim {
        Some(claim) => {
            format!("there is no claim {claim} in namespace {}: volume {name} cannot be taken along", facts.namespace)
        }
        None => format!("no volume of OpsChain is called {name:?}"),
    };
    let there = |claim: &str| facts.volumes.claims.iter().any(|found| found.claim == claim);
    let names: Vec<&str> = VOLUMES.iter().filter(|known| there(known.claim)).map(|known| known.name).collect();
    let hint = match names.as_slice() {
        [] => "This install has none that could be: leave out --with, and `bundle.with` in dr.toml.".to_owned(),
        names => format!("This install has {}: `--with {}`.", names.join(", "), names.join(",")),
    };
    CommandError::new(Exit::NotFound, what).hint(hint)
}

fn readable(name: &str, claim: &ClaimUse) -> Result<()> {
    if !claim.is_bound {
        let what = format!("volume {name} was never used: its claim {} is not bound", claim.claim);
        return Err(CommandError::new(Exit::Cluster, what)
            .hint("There is nothing in it: leave its name out of --with, or of `bundle.with` in dr.toml."));
    }
    let for_one_pod = claim.access_modes.iter().any(|mode| mode == "ReadWriteOncePod");
    match claim.users.first().filter(|_| for_one_pod) {
        None => Ok(()),
        Some(ClaimUser { pod, .. }) => {
            let what = format!("volume {name} is for one pod at a time (ReadWriteOncePod), and pod {pod} has it");
            Err(CommandError::new(Exit::Cluster, what)
                .hint("Leave it out, or make the bundle while that pod is stopped."))
        }
    }
}

/// What a bundle with these volumes does not hold, as is known before.
pub(super) fn scope(volumes: &[PlannedVolume]) -> impl Iterator<Item = OutOfScope> {
    volumes
        .iter()
        .filter(|volume| !volume.used_by.is_empty())
        .map(|volume| still_copy(&volume.name, &volume.used_by, 0))
}

/// The scope with what was seen of the volumes in the place of what was known before.
pub(super) fn scope_as_seen(
    planned: Vec<OutOfScope>,
    volumes: &[PlannedVolume],
    seen: &[VolumeSeen],
) -> Vec<OutOfScope> {
    let expected: Vec<OutOfScope> = scope(volumes).map(OutOfScope::into_text).collect();
    let used = seen.iter().filter(|volume| !volume.used_by.is_empty() || volume.totals.moving > 0);
    let used = used.map(|volume| still_copy(&volume.name, &volume.used_by, volume.totals.moving));
    let special = seen.iter().filter(|volume| volume.totals.left_out > 0).map(|volume| OutOfScope {
        what: format!("pipes, sockets and devices on volume {}", volume.name),
        why: format!("{} of them are on it, and only files, folders and links are taken along", volume.totals.left_out),
        whereabouts: "Whatever has made them makes them again.".into(),
    });
    let rest = planned.into_iter().filter(|item| !expected.contains(item));
    used.chain(special).chain(rest).collect()
}

fn still_copy(name: &str, used_by: &[String], moving: u64) -> OutOfScope {
    let who = if used_by.is_empty() { "something".to_owned() } else { used_by.join(", ") };
    let changed = match moving {
        0 => String::new(),
        _ => format!("; {} changed or went while being read", plural(moving, "file")),
    };
    OutOfScope {
        what: format!("a still copy of volume {name}"),
        why: format!("{who} used it while it was read, so it is a copy of files that may have moved{changed}"),
        whereabouts: "What OpsChain finds broken there it fetches or makes again. With --quiesce full API and workers write nothing meanwhile."
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked_volumes::AskedVolumes;
    use super::*;
    use crate::cluster::PodRefusal;

    const GOOD: &str = include_str!("../../../fixtures/facts/create-good.json");

    fn claim(claim: &str, users: &[(&str, &str)]) -> ClaimUse {
        ClaimUse {
            claim: claim.into(),
            size: "5Gi".into(),
            is_bound: true,
            access_modes: vec!["ReadWriteMany".into()],
            users: users.iter().map(|&(pod, by)| ClaimUser { pod: pod.into(), workload: by.into() }).collect(),
            ..ClaimUse::default()
        }
    }

    fn facts(wanted: &[&str]) -> CreateFacts {
        let mut facts: CreateFacts = serde_json::from_str(GOOD).unwrap();
        facts.volumes = AskedVolumes {
            wanted: wanted.iter().map(|&name| name.to_owned()).collect(),
            claims: vec![
                claim(
                    "opschain-project-git-repos-claim",
                    &[
                        ("opschain-api-6d4-abcde", "Deployment opschain-api"),
                        ("opschain-api-worker-7f-vwxyz", "Deployment opschain-api-worker"),
                    ],
                ),
                claim(
                    "data-vol-opschain-image-registry-0",
                    &[
                        ("opschain-image-registry-0", "StatefulSet opschain-image-registry"),
                        ("opschain-api-6d4-own", "Pod opschain-api-6d4-own"),
                    ],
                ),
            ],
            refusals: Vec::new(),
        };
        facts
    }

    fn plan(facts: &CreateFacts, quiesce: Quiesce) -> Result<(Vec<PlannedVolume>, Vec<String>)> {
        planned(facts, quiesce, &PodPlacement::default())
    }

    #[test]
    fn who_writes_meanwhile_is_said_by_how_it_is_quiesced() {
        let facts = facts(&["git", "registry"]);
        let (brief, _) = plan(&facts, Quiesce::Brief).unwrap();
        assert_eq!((brief[0].used_by.len(), brief[1].used_by.len()), (2, 2));
        assert!(brief[0].line().contains("read while opschain-api-6d4-abcde, opschain-api-worker-7f-vwxyz may write"));
        let (full, _) = plan(&facts, Quiesce::Full).unwrap();
        assert_eq!(
            (full[0].used_by.len(), full[1].used_by.len()),
            (0, 2),
            "the registry, and a pod of somebody's own, run on"
        );
        assert_eq!(
            full[0].line(),
            "git (opschain-project-git-repos-claim, 5Gi asked for): nothing writes to it meanwhile"
        );
        let said: Vec<String> = scope(&full).map(|item| item.what).collect();
        assert_eq!(said, ["a still copy of volume registry"]);
    }

    #[test]
    fn a_name_that_is_none_or_is_not_there_is_refused_with_those_that_are() {
        for (name, words) in [
            ("gti", "no volume of OpsChain is called \"gti\""),
            ("steps", "there is no claim opschain-step-data-claim"),
        ] {
            let error = plan(&facts(&["git", name]), Quiesce::Brief).unwrap_err();
            assert_eq!(error.exit(), Exit::NotFound);
            assert!(error.message().starts_with(words), "{error}");
            assert_eq!(error.hints()[0], "This install has git, registry: `--with git,registry`.");
        }
        let mut none = facts(&["git"]);
        none.volumes.claims.clear();
        assert!(plan(&none, Quiesce::Brief).unwrap_err().hints()[0].contains("has none"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_reason() {
        let refused = |change: fn(&mut CreateFacts)| {
            let mut facts = facts(&["git"]);
            change(&mut facts);
            let error = plan(&facts, Quiesce::Brief).unwrap_err();
            assert_eq!(error.exit(), Exit::Cluster);
            error.message().to_owned()
        };
        assert!(refused(|facts| facts.volumes.claims[0].is_bound = false).contains("never used"));
        let for_one = |facts: &mut CreateFacts| facts.volumes.claims[0].access_modes = vec!["ReadWriteOncePod".into()];
        assert!(refused(for_one).contains("for one pod at a time"));
        let root = |facts: &mut CreateFacts| {
            let refusal = PodRefusal { why: "violates PodSecurity \"restricted\"".into(), certain: true };
            facts.volumes.refusals = vec![("git".into(), refusal)];
        };
        assert!(refused(root).contains("the pod that volume git is read in would not be admitted: violates"));
    }

    #[test]
    fn the_scope_says_what_was_seen_in_the_place_of_what_was_expected() {
        let (volumes, _) = plan(&facts(&["git"]), Quiesce::Brief).unwrap();
        let other = OutOfScope { what: "running agents".into(), why: String::new(), whereabouts: String::new() };
        let planned: Vec<OutOfScope> = scope(&volumes).chain([other]).map(OutOfScope::into_text).collect();
        assert_eq!(planned.len(), 2);
        let seen = |name: &str, used_by: &[&str], totals| VolumeSeen {
            name: name.into(),
            used_by: used_by.iter().map(|&pod| pod.to_owned()).collect(),
            totals,
        };
        let quiet = [seen("git", &[], TreeTotals::default())];
        let what = |seen: &[VolumeSeen]| {
            scope_as_seen(planned.clone(), &volumes, seen).into_iter().map(|item| item.what).collect::<Vec<_>>()
        };
        assert_eq!(what(&quiet), ["running agents"]);
        let moving = TreeTotals { moving: 2, left_out: 1, ..TreeTotals::default() };
        let busy = [seen("git", &["api-1"], moving)];
        assert_eq!(
            what(&busy),
            ["a still copy of volume git", "pipes, sockets and devices on volume git", "running agents"]
        );
        assert!(
            scope_as_seen(Vec::new(), &volumes, &busy)[0].why.ends_with("; 2 files changed or went while being read")
        );
    }
}
