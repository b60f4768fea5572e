//! Which bundle is restored, and with what it is opened.

use std::path::PathBuf;

use jiff::Timestamp;

use super::strategy::RestoreStrategy;
use crate::bundle::catalog::{PassedFault, PassedOver};
use crate::bundle::{Header, SourceInstall};
use crate::error::{CommandError, Exit, Result};
use crate::names::ObjectName;
use crate::ops::GivenInstall;
use crate::ops::bundles::BundleRequest;
use crate::ops::published::MissingBundle;
use crate::opschain::version::{BadVersion, Version};
use crate::settings::Install;
use crate::text;

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// Which bundle, the newest good one of `version` where it names none, and the files that open and check it.
    pub bundle: BundleRequest,
    /// The OpsChain version that is to run; the bundle's own when absent.
    pub version: Option<String>,
    /// The chart to install a newer version from, if not the settings'.
    pub chart: Option<String>,
    /// Restore under the bundle's own version, and upgrade to `version` from there.
    pub then_upgrade: bool,
    /// A values file that is deployed in the place of the bundle's.
    pub config: Option<PathBuf>,
    /// Whether the workers stay off until `dr server start`; by whether the original may live when absent.
    pub held: Option<bool>,
    /// Take a bundle that says that it was made later than now.
    pub allow_future: bool,
    /// Restore under an older version, or under one that cannot be compared, all the same.
    pub allow_version: bool,
    /// How the data is to come to its place; what is best here when absent.
    pub strategy: Option<RestoreStrategy>,
    /// That it goes over the install that lives.
    pub existing: Option<ExistingRequest>,
    /// How the database is to be called, if not as the values say.
    pub database: Option<ObjectName>,
    /// The deleted namespace whose leftovers in the cluster may be taken over.
    pub take_over: Option<String>,
}

/// That a bundle is to be restored over the install that lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExistingRequest {
    /// Keep values, chart and Secrets of the install, and replace its data only.
    pub data_only: bool,
    /// Make no bundle of what is there first.
    pub no_safety_bundle: bool,
}

impl RestoreRequest {
    /// Whether values, chart and Secrets of the install stay.
    pub(super) fn keeps_config(&self) -> bool {
        self.existing.as_ref().is_some_and(|existing| existing.data_only)
    }
}

/// The version whose newest good bundle is taken, where none is named.
///
/// # Errors
/// [`Exit::Usage`] when neither is named, or it is no version.
pub(super) fn version_to_look_for(request: &RestoreRequest) -> Result<String> {
    let version = request.version.as_deref().ok_or_else(|| {
        CommandError::new(Exit::Usage, "neither a bundle nor a version is named").hint(
            "`dr bundle list` shows what there is; `dr bundle restore --version V` takes the newest good one that V made.",
        )
    })?;
    Ok(parse_version(version)?.tag())
}

/// The error of a store without a good bundle of the version `tag`; `untrusted` is the refusal of its newest one, where
/// nobody trusted here has signed any.
pub(super) fn none_good(
    store: &str,
    tag: &str,
    passed: &[PassedOver],
    versions: &[&str],
    untrusted: Option<&CommandError>,
) -> CommandError {
    // What may be of that version, and is no good, is another thing than nothing.
    let exit = match passed.iter().filter_map(|other| other.fault).collect::<Vec<_>>().as_slice() {
        [] => Exit::NotFound,
        faults if faults.contains(&PassedFault::Broken) => Exit::Damaged,
        _ => Exit::Untrusted,
    };
    let mut error = CommandError::new(exit, format!("store {store} has no good bundle made by OpsChain {tag}"));
    for other in passed {
        error = error.hint(format!("{} was passed over: {}.", other.name, other.reason));
    }
    if let Some(refused) = untrusted {
        error = error.hint(format!(
            "It has bundles of {}, and nobody trusted here has signed any: {}.",
            versions.join(", "),
            refused.message()
        ));
        return refused.hints().iter().fold(error, |error, hint| error.hint(hint.clone()));
    }
    match versions {
        [] if !passed.is_empty() => error,
        [] => error.hint("The store has no bundle at all: name a file, or set `store.path`."),
        versions => error.hint(format!("It has bundles of {}: name one to restore it.", versions.join(", "))),
    }
}

/// What stands between the bundle that is taken and the newest of its install: those that are no good, and the one that the
/// store has not.
pub(super) fn instead_of(newest: &Header, passed: &[PassedOver], missing: Option<&MissingBundle>) -> Vec<String> {
    let newer = passed.iter().filter(|other| other.created.is_none_or(|created| created > newest.created));
    let how = |other: &PassedOver| if other.created.is_some() { "is" } else { "may be" };
    let passed = newer.map(|o| format!("{}, which {} newer, was passed over: {}", o.name, how(o), o.reason));
    let missing = missing.filter(|missing| missing.created > newest.created).map(|missing| {
        format!("bundle {} of {:.0}, which is newer, {}", missing.bundle, missing.created, missing.why())
    });
    passed.chain(missing).collect()
}

/// The newest bundle of the same database that its record calls newer than `named`, in words.
pub(super) fn newer_of<'h>(named: &Header, others: impl Iterator<Item = &'h Header>) -> Option<String> {
    let newer = others.filter(|other| {
        other.created > named.created && other.replaced_by.is_none() && other.is_of_same_database(named)
    });
    let newest = newer.max_by_key(|other| other.created)?;
    let version = &newest.opschain.version;
    let of = if *version == named.opschain.version { String::new() } else { format!(", of {version}") };
    Some(format!("the store has a newer one of the same database: {}{of}, made at {:.0}", newest.id, newest.created))
}

/// Asks a person which of several bundles, one line each, is meant; `None` where nobody can be asked.
pub type Which<'a> = &'a dyn Fn(&[String]) -> Result<Option<usize>>;

/// Which of the newest bundles, one of each database, is meant: the place of the only one of this install; else of the one
/// that a person chooses.
///
/// # Errors
/// [`Exit::Unconfirmed`] where that cannot be told and nobody says it; the candidates are named.
pub(super) fn choose(newest: &[&Header], install: &Install, which: Which<'_>) -> Result<usize> {
    let is_ours = |header: &&Header| {
        (&header.install.namespace, &header.install.release) == (&install.namespace, &install.release)
    };
    let known = newest.iter().any(is_ours);
    let left: Vec<usize> = (0..newest.len()).filter(|place| !known || is_ours(&newest[*place])).collect();
    if let [only] = left[..]
        && known
    {
        return Ok(only);
    }
    let from = |header: &Header| {
        format!("{}, system identifier {}", origin(&header.install), header.postgresql.system_identifier)
    };
    let lines: Vec<String> = left.iter().map(|at| format!("{}: {}", newest[*at].id, from(newest[*at]))).collect();
    if let Some(chosen) = which(&lines)?.and_then(|answer| left.get(answer)) {
        return Ok(*chosen);
    }
    let what = match left.len() {
        1 => format!("the store has a good bundle, and not of {}/{}", install.namespace, install.release),
        _ => "the store has good bundles of several databases, and nothing here says which is meant".to_owned(),
    };
    Err(left.iter().fold(CommandError::new(Exit::Unconfirmed, what), |error, at| {
        error.hint(format!("`dr bundle restore {}` takes the newest of {}.", newest[*at].id, from(newest[*at])))
    }))
}

/// Where to restore to: what flags or settings say; each half of it that neither says, as the bundle's source has it.
pub(super) fn target(install: &Install, has_settings: bool, given: &GivenInstall, source: &SourceInstall) -> Install {
    if has_settings {
        return install.clone();
    }
    let namespace = given.namespace.as_ref().unwrap_or(&source.namespace).clone();
    let release = given.release.as_ref().unwrap_or(&source.release).clone();
    Install { namespace, release, ..install.clone() }
}

/// Where a bundle is from, in words; of the uid of its database's Cluster, where the bundle has one, as much as tells two apart.
pub(super) fn origin(install: &SourceInstall) -> String {
    let uid = install.database_cluster_uid.split('-').next().filter(|uid| !uid.is_empty());
    let cluster = uid.map(|uid| format!(", database {uid}")).unwrap_or_default();
    format!("{}/{}{cluster}", install.namespace, install.release)
}

/// How old a bundle is, in words. A few seconds are the difference of two clocks.
pub(super) fn age(created: Timestamp, now: Timestamp) -> String {
    let ahead = created.duration_since(now);
    if ahead.as_secs() >= 60 {
        return format!("{} from now, by the clock of this host", text::elapsed(ahead.unsigned_abs()));
    }
    match now.duration_since(created).as_hours() / 24 {
        days @ 2.. => format!("{days} days ago"),
        _ => format!("{} ago", text::elapsed(now.duration_since(created).unsigned_abs())),
    }
}

/// Refuses a bundle that nobody has named, and that is not of the database that lives where it would go.
///
/// # Errors
/// [`Exit::Unconfirmed`].
pub(super) fn refuse_another_line(header: &Header, living: Option<&str>) -> Result<()> {
    let (id, made) = (&header.id, &header.postgresql.system_identifier);
    let Some(living) = living.filter(|living| *living != made) else { return Ok(()) };
    let what = format!("bundle {id} is of database {made}, and another one lives there: {living}");
    Err(CommandError::new(Exit::Unconfirmed, what)
        .hint(format!("`dr bundle restore {id} --into-existing` puts it in that one's place all the same."))
        .hint("`dr bundle list` shows what else there is."))
}

/// Refuses a bundle that says that it was made later than now, unless that is allowed.
///
/// # Errors
/// [`Exit::Untrusted`].
pub(super) fn refuse_future(header: &Header, now: Timestamp, allowed: bool) -> Result<()> {
    if allowed || !header.is_from_the_future(now) {
        return Ok(());
    }
    let what = format!("bundle {} says that it was made at {}, and it is {now:.0} now", header.id, header.created);
    Err(CommandError::new(Exit::Untrusted, what)
        .hint("Look at the clock of this host, and of the host that made it (`date -u`).")
        .hint("If you know why: --allow-future."))
}

pub(super) fn parse_version(text: &str) -> Result<Version> {
    text.parse().map_err(|e: BadVersion| {
        CommandError::new(Exit::Usage, e.to_string()).hint("OpsChain versions look like 2026-08-20 or 2026.8.20.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(exit: Exit, error: CommandError) -> String {
        assert_eq!(error.exit(), exit, "{error}");
        assert!(!error.hints().is_empty(), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn without_a_name_the_version_says_which_bundle() {
        let version = |text: Option<&str>| RestoreRequest { version: text.map(str::to_owned), ..Default::default() };
        assert_eq!(version_to_look_for(&version(Some("2026.8.20"))).unwrap(), "2026-08-20");
        let text = refusal(Exit::Usage, version_to_look_for(&version(None)).unwrap_err());
        assert_eq!(text, "neither a bundle nor a version is named");
        refusal(Exit::Usage, version_to_look_for(&version(Some("?"))).unwrap_err());
    }

    fn header(namespace: &str, system_identifier: &str) -> Header {
        let mut header = crate::bundle::testing::header();
        header.install.namespace = namespace.into();
        header.postgresql.system_identifier = system_identifier.into();
        header
    }

    #[test]
    fn each_half_of_the_target_that_nobody_says_is_as_the_bundles_source_has_it() {
        let from = |namespace: &str| {
            let install = header(namespace, "1").install;
            SourceInstall { release: "theirs".into(), ..install }
        };
        let into = |has_settings, given: &GivenInstall| {
            let defaults = Install::default();
            let install = Install {
                namespace: given.namespace.clone().unwrap_or(defaults.namespace),
                release: given.release.clone().unwrap_or(defaults.release),
                ..Install::default()
            };
            let target = target(&install, has_settings, given, &from("source"));
            format!("{}/{}", target.namespace, target.release)
        };
        let given = |namespace: Option<&str>, release: Option<&str>| GivenInstall {
            namespace: namespace.map(Into::into),
            release: release.map(Into::into),
        };
        assert_eq!(into(false, &given(None, None)), "source/theirs");
        assert_eq!(into(false, &given(Some("mine"), None)), "mine/theirs");
        assert_eq!(into(false, &given(None, Some("ours"))), "source/ours");
        assert_eq!(
            into(false, &given(Some("opschain"), Some("opschain"))),
            "opschain/opschain",
            "also if it is the default"
        );
        assert_eq!(into(true, &given(None, None)), "opschain/opschain", "the settings are somebody's word, too");
    }

    #[test]
    fn of_several_databases_that_of_this_install_is_taken_or_a_person_has_to_say() {
        let (ours, other, third) = (header("opschain", "1"), header("staging", "2"), header("opschain", "3"));
        let install = Install::default();
        let nobody = |_: &[String]| Ok(None);
        let choose = |newest: &[&Header], install: &Install| choose(newest, install, &nobody);
        let error = choose(&[&other], &install).unwrap_err();
        assert!(error.hints().len() == 1 && error.hints()[0].contains("staging"), "{:?}", error.hints());
        refusal(Exit::Unconfirmed, error);
        assert_eq!(choose(&[&ours], &install).unwrap(), 0);
        assert_eq!(choose(&[&other, &ours], &install).unwrap(), 1);
        let error = choose(&[&ours, &other, &third], &install).unwrap_err();
        assert_eq!(error.hints().len(), 2, "those of this install: {:?}", error.hints());
        assert!(error.hints()[1].contains("system identifier 3"), "{:?}", error.hints());
        refusal(Exit::Unconfirmed, error);
        let elsewhere = Install { namespace: "new".into(), ..install };
        refusal(Exit::Unconfirmed, choose(&[&ours, &other], &elsewhere).unwrap_err());
    }

    #[test]
    fn over_another_database_than_its_own_a_bundle_has_to_be_named() {
        let bundle = header("opschain", "1");
        assert!([None, Some("1")].into_iter().all(|living| refuse_another_line(&bundle, living).is_ok()));
        let text = refusal(Exit::Unconfirmed, refuse_another_line(&bundle, Some("2")).unwrap_err());
        assert!(text.ends_with("is of database 1, and another one lives there: 2"), "{text}");
    }

    #[test]
    fn a_person_says_which_of_several_databases_is_meant() {
        let (ours, other, third) = (header("opschain", "1"), header("staging", "2"), header("opschain", "3"));
        let second = |lines: &[String]| {
            assert!(lines.len() == 2 && lines[1].ends_with("system identifier 3"), "{lines:?}");
            Ok(Some(1))
        };
        assert_eq!(choose(&[&other, &ours, &third], &Install::default(), &second).unwrap(), 2);
    }

    #[test]
    fn a_bundle_from_the_future_is_refused_by_name_and_its_age_is_told_in_days() {
        let header = header("opschain", "1");
        let at = |minutes: i64| header.created.checked_sub(jiff::SignedDuration::from_mins(minutes)).unwrap();
        assert!(refuse_future(&header, at(4), false).is_ok() && refuse_future(&header, at(-9), false).is_ok());
        assert!(refuse_future(&header, at(6), true).is_ok());
        let text = refusal(Exit::Untrusted, refuse_future(&header, at(6), false).unwrap_err());
        assert!(text.contains(header.id.as_str()), "{text}");
        assert_eq!(age(at(37 * 24 * 60), header.created), "37 days ago");
        assert_eq!(age(at(3), header.created), "3 min 0 s ago");
        assert_eq!(age(header.created, at(3)), "3 min 0 s from now, by the clock of this host");
    }

    #[test]
    fn what_is_newer_than_the_bundle_that_is_taken_is_said() {
        let header = header("opschain", "1");
        let at = |hours: i64| header.created.checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
        let passed = |name: &str, created| PassedOver {
            name: name.into(),
            created,
            reason: "it is cut short".into(),
            fault: Some(PassedFault::Broken),
        };
        let missing = |created| {
            let (bundle, opschain_version, store) = ("b-3".into(), "2026-08-20".into(), "/old".into());
            MissingBundle { bundle, created, opschain_version, store, has_other: false }
        };
        let all = [passed("b-2", Some(at(1))), passed("odd.tar", None), passed("b-0", Some(at(-1)))];
        let said = instead_of(&header, &all, Some(&missing(at(2))));
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0], "b-2, which is newer, was passed over: it is cut short");
        assert!(said[1].starts_with("odd.tar") && said[2].contains("b-3") && said[2].ends_with("published in /old"));
        assert!(instead_of(&header, &all[2..], Some(&missing(at(-2)))).is_empty());
    }

    #[test]
    fn a_bundle_that_is_named_is_called_old_where_the_store_has_a_newer_one() {
        let (named, mut newer, other) = (header("opschain", "1"), header("opschain", "1"), header("opschain", "2"));
        newer.created = named.created.checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
        assert_eq!(newer_of(&named, [&named, &other].into_iter()), None);
        let said = newer_of(&named, [&named, &newer].into_iter()).unwrap();
        assert!(said.contains(newer.id.as_str()) && said.contains("newer"), "{said}");
        newer.replaced_by = Some("b-1".into());
        assert_eq!(newer_of(&named, [&newer].into_iter()), None, "what a restore has replaced is nobody's wish");
    }

    #[test]
    fn a_store_without_a_good_bundle_says_why_and_what_else_it_has() {
        let passed = [PassedOver {
            name: "opschain-1".into(),
            created: None,
            reason: "it is cut short".into(),
            fault: Some(PassedFault::Broken),
        }];
        let error = none_good("/bundles", "2026-08-20", &passed, &["2026-07-28"], None);
        assert_eq!(error.exit(), Exit::Damaged);
        let said =
            ["opschain-1 was passed over: it is cut short.", "It has bundles of 2026-07-28: name one to restore it."];
        assert_eq!(error.hints(), said);
        let error = none_good("/bundles", "2026-08-20", &passed, &[], None);
        assert_eq!(error.hints(), &said[..1], "a store of bad bundles is not one without any");
        let stranger = PassedOver { fault: Some(PassedFault::Untrusted), ..passed[0].clone() };
        refusal(Exit::Untrusted, none_good("/bundles", "2026-08-20", std::slice::from_ref(&stranger), &[], None));
        refusal(Exit::Damaged, none_good("/bundles", "2026-08-20", &[stranger, passed[0].clone()], &[], None));
        let text = refusal(Exit::NotFound, none_good("/bundles", "2026-08-20", &[], &[], None));
        assert_eq!(text, "store /bundles has no good bundle made by OpsChain 2026-08-20");
        let refused = CommandError::new(Exit::Untrusted, "bundle b: a stranger's").hint("Trust it.");
        let error = none_good("/bundles", "2026-09-14", &[], &["2026-08-20"], Some(&refused));
        let said = "It has bundles of 2026-08-20, and nobody trusted here has signed any: bundle b: a stranger's.";
        assert_eq!(error.hints(), [said, "Trust it."]);
    }
}
