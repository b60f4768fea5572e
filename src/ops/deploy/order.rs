//! In which order OpsChain may be changed: one release at a time, never back, registry credentials first.

use serde::Serialize;

use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::opschain::Version;
use crate::opschain::values::VERSION;
use crate::opschain::version::{VersionGate, gate};
use crate::settings::Caution;
use crate::values::Tree;
use crate::vault::{Deployment, Image};
use crate::yaml::Node;

/// What LimePoint says of the order of releases.
const RELEASE_RULES: &str = "OpsChain is upgraded one release at a time";

/// The keys with which images are pulled.
const CREDENTIALS: [&[&str]; 2] = [&["env", "OPSCHAIN_DOCKER_USER"], &["env", "OPSCHAIN_DOCKER_PASSWORD"]];

/// What a change of version means.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    /// The version that is live.
    pub from: Option<String>,
    /// The known releases that would be left out, oldest first.
    pub skipped: Vec<String>,
    /// What one must know of the releases on the way, each `2026-08-10: what`.
    pub notes: Vec<String>,
}

/// The version that is live: what the vault recorded and what the live values have `named` (the newest of them, where somebody
/// else has deployed since), else helm's chart.
pub(super) fn live_version(
    live: Option<&Deployment>,
    named: &[Option<&str>],
    newest: Option<&Revision>,
) -> Option<Version> {
    let recorded = live.and_then(|live| live.record.opschain_version.as_deref());
    let named = match recorded {
        // A restore may lay another version over the values that it records.
        Some(_) => named.get(1..).unwrap_or_default(),
        None => named,
    };
    let known = recorded.into_iter().chain(named.iter().copied().flatten());
    let known = known.filter_map(|text| text.parse().ok()).reduce(later);
    let chart = newest.and_then(|revision| revision.chart.rsplit_once('-')).map(|(_, version)| version);
    known.or_else(|| chart?.parse().ok())
}

/// The one that came out later; the first, where that cannot be known.
fn later(a: Version, b: Version) -> Version {
    if a.release_order(&b) == Some(std::cmp::Ordering::Less) { b } else { a }
}

/// A newer version than the live one that was tried and whose containers ran: it may have moved the schema on, whatever
/// came of the deployment.
pub(super) fn tried_since<'d>(
    deployments: &'d [Deployment],
    live: Option<&Deployment>,
) -> Option<(Version, &'d Deployment)> {
    let live = live?;
    // Newest first: what stands before the live one came after it.
    let since = deployments.iter().take_while(|deployment| deployment.id() != live.id());
    let ran = since.filter_map(|deployment| {
        let version: Version = deployment.record.opschain_version.as_deref()?.parse().ok()?;
        has_run(&version, &deployment.outcome.as_ref()?.images).then_some((version, deployment))
    });
    ran.reduce(|best, next| if later(best.0.clone(), next.0.clone()) == best.0 { best } else { next })
}

/// Whether an image of this version is among those that ran.
pub(super) fn has_run(version: &Version, images: &[Image]) -> bool {
    let tag = format!(":{}", version.tag());
    images.iter().any(|image| image.reference.ends_with(&tag))
}

/// Refuses to go back, and to leave releases out where the settings say so; tells what is on the way.
///
/// # Errors
/// [`Exit::Version`], with the names and the override.
pub(super) fn check(
    live: Option<&Version>,
    tried: Option<(Version, &Deployment)>,
    wanted: Option<&Version>,
    caution: Caution,
    allow: &[String],
) -> Result<VersionChange> {
    let is_allowed = |id: &str| allow.iter().any(|allowed| allowed == id);
    let (Some(live), Some(wanted)) = (live, wanted) else { return Ok(VersionChange::default()) };
    if let Some((newer, deployment)) = tried
        && matches!(gate(&newer, wanted), VersionGate::Older { .. })
        && !is_allowed("version")
    {
        let text = format!(
            "version {newer} was tried by deployment {} and its containers ran, and {wanted} is older",
            deployment.id()
        );
        return Err(back(text, wanted).hint(format!("Or fix the upgrade: deploy {newer} again.")));
    }
    match gate(live, wanted) {
        VersionGate::Exact => Ok(VersionChange { from: Some(live.tag()), ..VersionChange::default() }),
        VersionGate::Older { .. } if !is_allowed("version") => {
            Err(back(format!("version {live} is live, and {wanted} is older"), wanted))
        }
        VersionGate::Older { between } => {
            let skipped = between.iter().rev().skip(1).map(|release| release.date.to_string()).collect();
            Ok(VersionChange { from: Some(live.tag()), skipped, notes: Vec::new() })
        }
        VersionGate::Newer { between, .. } => {
            let target = wanted.tag();
            let names = between.iter().map(|release| release.date.to_string());
            let skipped: Vec<String> = names.filter(|name| *name != target).collect();
            let notes =
                between.iter().filter_map(|release| Some(format!("{}: {}", release.date, release.restore_note?)));
            let notes: Vec<String> = notes.collect();
            if !skipped.is_empty() && caution == Caution::Refuse && !is_allowed("skipped-releases") {
                return Err(leaves_out(live, wanted, &skipped, &notes));
            }
            Ok(VersionChange { from: Some(live.tag()), skipped, notes })
        }
        VersionGate::Unknown { .. } => Ok(VersionChange { from: Some(live.tag()), ..VersionChange::default() }),
    }
}

fn back(text: String, wanted: &Version) -> CommandError {
    let text = format!("{text}: the newer one has changed the database, and OpsChain does not run older over newer");
    CommandError::new(Exit::Version, text)
        .hint(format!("`dr bundle restore --version {wanted} --into-existing` puts the newest bundle that {wanted} made in the place of what is there."))
        .hint("If the database is as old as that version, add --allow version.")
}

fn leaves_out(live: &Version, wanted: &Version, skipped: &[String], notes: &[String]) -> CommandError {
    let text = format!("from {live} to {wanted} leaves out {}, and {RELEASE_RULES}", skipped.join(", "));
    let mut error = CommandError::new(Exit::Version, text).hint(format!("Deploy {} first.", skipped[0]));
    for note in notes {
        error = error.hint(format!("{note}."));
    }
    error.hint("If LimePoint has told you that it works, add --allow skipped-releases.")
}

/// The first key of the registry's credentials that was set and changes.
pub(super) fn changed_credentials(old: &Tree, new: &Tree) -> Option<String> {
    let is_set = |node: &&Node| node.scalar().is_none_or(|scalar| !scalar.value.text().is_empty());
    let changed = CREDENTIALS.into_iter().find(|keys| {
        let old = old.get(keys).filter(is_set);
        old.is_some_and(|old| !new.get(keys).is_some_and(|new| new.same_as(old)))
    });
    changed.map(|keys| keys.join("."))
}

/// Refuses new registry credentials together with a new version: the hooks that run before an upgrade still pull with
/// the old ones. `changed` is the first key of them that changes.
///
/// # Errors
/// [`Exit::Version`].
pub(super) fn credentials_first(changed: Option<&str>, versions_differ: bool, allow: &[String]) -> Result<()> {
    let Some(key) = changed.filter(|_| versions_differ && !allow.iter().any(|id| id == "credentials")) else {
        return Ok(());
    };
    let text = format!("{key} and {} change in one deployment", VERSION.join("."));
    Err(CommandError::new(Exit::Version, text)
        .hint("Deploy the new credentials with the version that is live first: what runs before an upgrade still pulls with the old ones.")
        .hint("If the old credentials still work, add --allow credentials."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn order(live: &str, wanted: &str, caution: Caution, allow: &[&str]) -> Result<VersionChange> {
        let allow: Vec<String> = allow.iter().map(|id| (*id).to_owned()).collect();
        check(Some(&v(live)), None, Some(&v(wanted)), caution, &allow)
    }

    #[test]
    fn the_next_release_passes_with_its_notes() {
        let upgrade = order("2026-08-20", "2026-09-10", Caution::Refuse, &[]).unwrap();
        assert!(upgrade.skipped.is_empty());
        assert!(upgrade.notes[0].starts_with("2026-09-10: the LDAP server"), "{:?}", upgrade.notes);
        assert_eq!(order("2026-08-20", "2026.8.20", Caution::Refuse, &[]).unwrap().from.as_deref(), Some("2026-08-20"));
    }

    #[test]
    fn releases_left_out_are_named_and_refused_where_the_settings_say_so() {
        let told = order("2026-08-20", "2026-10-08", Caution::Warn, &[]).unwrap();
        assert_eq!(told.skipped, ["2026-09-10", "2026-09-14"]);
        let error = order("2026-08-20", "2026-10-08", Caution::Refuse, &[]).unwrap_err();
        assert_eq!(error.exit(), Exit::Version);
        assert!(error.message().contains("2026-09-10, 2026-09-14"), "{error}");
        assert!(error.hints().iter().any(|hint| hint.starts_with("2026-10-08: ")), "{error:?}");
        assert!(order("2026-08-20", "2026-10-08", Caution::Refuse, &["skipped-releases"]).is_ok());
    }

    #[test]
    fn going_back_is_refused_and_leads_to_a_restore() {
        let error = order("2026-09-14", "2026-08-20", Caution::Warn, &[]).unwrap_err();
        assert_eq!(error.exit(), Exit::Version);
        assert!(error.hints()[0].contains("`dr bundle restore --version 2026-08-20 --into-existing`"), "{error:?}");
        assert_eq!(order("2026-09-14", "2026-08-20", Caution::Warn, &["version"]).unwrap().skipped, ["2026-09-10"]);
        assert!(order("edge", "2026-08-20", Caution::Refuse, &[]).is_ok(), "nothing is known of builds that move");
    }

    #[test]
    fn the_newest_that_anybody_deployed_is_what_is_live() {
        let (ours, theirs) = (Some("2026-08-20"), Some("2026-09-14"));
        let revision: Revision = serde_json::from_value(serde_json::json!({"revision": 2, "updated": "t",
            "status": "deployed", "chart": "opschain-2026.7.28"}))
        .unwrap();
        let live = |named: &[Option<&str>]| live_version(None, named, Some(&revision)).map(|version| version.tag());
        assert_eq!(live(&[ours, theirs]).as_deref(), Some("2026-09-14"));
        assert_eq!(live(&[theirs, ours]).as_deref(), Some("2026-09-14"));
        assert_eq!(live(&[None]).as_deref(), Some("2026-07-28"));
        assert_eq!(live_version(None, &[], None), None);
    }

    #[test]
    fn what_was_tried_and_ran_counts_as_newer() {
        let deployment = |id: &str, version: &str, status: &str, images: &[&str]| -> Deployment {
            let images: Vec<_> = images.iter().map(|image| serde_json::json!({"reference": image})).collect();
            let record = serde_json::json!({"format": 1, "id": id, "install": {"namespace": "n", "release": "r"},
                "at": "2026-08-20T10:00:00Z", "by": "x", "how": "deploy", "opschain_version": version,
                "chart": {"name": "c", "version": "1", "reference": "r"}, "layers": [], "recipients": [], "dr": "0"});
            let outcome = serde_json::json!({"format": 1, "id": id, "at": "2026-08-20T10:00:00Z", "status": status,
                "seconds": 1.0, "images": images});
            Deployment {
                record: serde_json::from_value(record).unwrap(),
                outcome: serde_json::from_value(outcome).ok(),
                record_sha256: String::new(),
            }
        };
        let live = deployment("20260820T100000Z-000001", "2026-08-20", "deployed", &["x/api:2026-08-20"]);
        let ran = deployment("20260914T100000Z-000002", "2026-09-14", "failed", &["x/api:2026-09-14"]);
        let never = deployment("20261008T100000Z-000003", "2026-10-08", "failed", &["x/api:2026-08-20"]);
        let all = [never, ran, live.clone()];
        let (version, by) = tried_since(&all, Some(&live)).unwrap();
        assert_eq!((version.tag().as_str(), by.id().short()), ("2026-09-14", "000002"));
        let tried = || tried_since(&all, Some(&live));
        let again = |wanted: &str, allow: &[String]| {
            check(Some(&v("2026-08-20")), tried(), Some(&v(wanted)), Caution::Warn, allow)
        };
        assert_eq!(again("2026-08-20", &[]).unwrap_err().exit(), Exit::Version);
        assert!(again("2026-09-14", &[]).is_ok());
        assert!(again("2026-08-20", &["version".to_owned()]).is_ok());
    }

    #[test]
    fn new_credentials_go_before_a_new_version() {
        let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let (old, new) = (
            tree("env: {OPSCHAIN_DOCKER_USER: u, OPSCHAIN_DOCKER_PASSWORD: old-token-1}\n"),
            tree("env: {OPSCHAIN_DOCKER_USER: u, OPSCHAIN_DOCKER_PASSWORD: new-token-2}\n"),
        );
        let refused = |old: &Tree, versions_differ, allow: &[String]| {
            credentials_first(changed_credentials(old, &new).as_deref(), versions_differ, allow)
        };
        let error = refused(&old, true, &[]).unwrap_err();
        assert!(error.message().starts_with("env.OPSCHAIN_DOCKER_PASSWORD and env.OPSCHAIN_VERSION"), "{error}");
        assert!(!format!("{error:?}").contains("token-"), "{error:?}");
        assert!(refused(&old, false, &[]).is_ok());
        assert!(refused(&new, true, &[]).is_ok());
        assert!(refused(&tree("{}"), true, &[]).is_ok(), "there were none before");
        assert!(refused(&old, true, &["credentials".to_owned()]).is_ok());
    }
}
