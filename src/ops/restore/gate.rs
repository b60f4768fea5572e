//! The version gate: which OpsChain, chart, PostgreSQL and operator may run on the data of which. Nothing here asks
//! anybody.

use serde::{Deserialize, Serialize};

use super::facts::{SourceFacts, TargetFacts};
use super::source::{RestoreRequest, parse_version};
use crate::error::{CommandError, Exit, Result};
use crate::opschain::version::{self, Version};
use crate::postgres::image;

/// How the bundle's version and the target's stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionFit {
    /// The same build.
    Exact,
    /// The target is newer: the application migrates the data when it starts.
    Newer,
    /// The target is older or cannot be compared, and --allow-version was given.
    Overridden,
}

/// The version that is to run, and what is to be said of it.
#[derive(Debug, Clone)]
pub(super) struct TargetVersion {
    pub version: Version,
    pub fit: VersionFit,
    pub warnings: Vec<String>,
}

/// The version gate.
///
/// # Errors
/// [`Exit::Version`] when the target is older, of another PostgreSQL, or cannot be compared; [`Exit::Usage`] when it is no
/// version.
pub(super) fn version_gate(request: &RestoreRequest, source: &SourceFacts) -> Result<TargetVersion> {
    let made_by = parse_version(&source.version)?;
    let Some(text) = &request.version else {
        return Ok(TargetVersion { version: made_by, fit: VersionFit::Exact, warnings: Vec::new() });
    };
    let version = parse_version(text)?;
    let refused = |why: String| {
        let what = format!("a bundle of OpsChain {made_by} is not restored to run under {version}: {why}");
        CommandError::new(Exit::Version, what)
            .hint(format!(
                "Restore it to run under {made_by}: `dr bundle restore {} --version {made_by}`.",
                source.bundle
            ))
            .hint("If you know better: --allow-version.")
    };
    let mut warnings = Vec::new();
    let fit = match version::gate(&made_by, &version) {
        version::VersionGate::Exact => VersionFit::Exact,
        version::VersionGate::Newer { between, warnings: more } => {
            // The files of one major version do not open under another, whatever flag is given.
            if let (Some(from), Some(to)) = (made_by.postgres_major(), version.postgres_major())
                && from != to
            {
                return Err(refused(format!("PostgreSQL {from} became {to} between them")));
            }
            if between.len() > 1 {
                let names: Vec<String> = between.iter().map(|release| release.date.to_string()).collect();
                warnings.push(format!("{version} is {} releases after {made_by}: {}", names.len(), names.join(", ")));
            }
            warnings.extend(more);
            VersionFit::Newer
        }
        version::VersionGate::Older { .. } if !request.allow_version => {
            return Err(refused("its database schema is older, and OpsChain does not go back".into()));
        }
        version::VersionGate::Unknown { why } if !request.allow_version => return Err(refused(why)),
        version::VersionGate::Older { .. } | version::VersionGate::Unknown { .. } => {
            warnings.push(format!("--allow-version: data of {made_by} will run under {version}"));
            VersionFit::Overridden
        }
    };
    Ok(TargetVersion { version, fit, warnings })
}

/// Refuses a chart of another version than the one that is to run: its templates and its images would not belong
/// together. `chart` is the version that the chart itself says.
///
/// # Errors
/// [`Exit::Version`].
pub(super) fn refuse_other_chart(chart: &str, to_run: &Version, allow_version: bool) -> Result<()> {
    if allow_version || chart.parse::<Version>().is_ok_and(|chart| chart == *to_run) {
        return Ok(());
    }
    let wanted = to_run.chart().unwrap_or_else(|| to_run.tag());
    Err(CommandError::new(Exit::Version, format!("the chart is version {chart}, and OpsChain {to_run} is to run"))
        .hint(format!("Give the chart of that version with --chart: {wanted}."))
        .hint("If you know better: --allow-version."))
}

/// Refuses an image of another PostgreSQL than the one whose files the bundle holds, whatever flag is given: they do not
/// open under it. An image whose tag does not tell is looked into before a byte is sent.
///
/// # Errors
/// [`Exit::Version`].
pub(super) fn refuse_other_image(bundle: u32, image: &str) -> Result<()> {
    image::major_of(image).map_or(Ok(()), |major| refuse_other_postgres(bundle, major, &format!("image {image}")))
}

/// The same of the programs that are found inside `place`.
///
/// # Errors
/// [`Exit::Version`].
pub(super) fn refuse_other_postgres(bundle: u32, major: u32, place: &str) -> Result<()> {
    if major == bundle {
        return Ok(());
    }
    let what = format!("{place} is of PostgreSQL {major}, and the bundle holds files of PostgreSQL {bundle}");
    Err(CommandError::new(Exit::Version, what)
        .hint(format!("Restore under a chart whose database image is of PostgreSQL {bundle}: the bundle's own is."))
        .hint("Another major version takes a dump of the restored database, or pg_upgrade, afterwards."))
}

/// Refuses an operator that is older than the one that the database ran under: it may not know all that it was told. What
/// cannot be compared passes.
///
/// # Errors
/// [`Exit::Operator`].
pub(super) fn refuse_older_operator(theirs: &str, here: &str) -> Result<()> {
    let parse = |text: &str| semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    match (parse(theirs), parse(here)) {
        (Some(source), Some(target)) if target.cmp_precedence(&source).is_lt() => {
            let what = format!("the target runs operator {here}, which is older than the source's {theirs}");
            Err(CommandError::new(Exit::Operator, what).hint(format!(
                "Upgrade the operator first: `kubectl apply --server-side -f` its manifest of {theirs} or newer."
            )))
        }
        _ => Ok(()),
    }
}

/// The operator's version: it must be there and ready.
///
/// # Errors
/// [`Exit::Operator`].
pub(super) fn operator(target: &TargetFacts) -> Result<String> {
    let missing = |what: String| {
        CommandError::new(Exit::Operator, what)
            .hint("OpsChain's database needs the CloudNativePG operator: `kubectl apply --server-side -f` its manifest of the version that OpsChain ships, and try again.")
    };
    if !target.knows_databases {
        return Err(missing("the cluster has no CloudNativePG operator".into()));
    }
    let operator =
        target.operator.as_ref().ok_or_else(|| missing("the CloudNativePG operator is not running".into()))?;
    if !operator.is_ready() {
        return Err(missing(format!("operator {} in namespace {} is not ready", operator.name, operator.namespace)));
    }
    Ok(operator.version.clone().unwrap_or_else(|| operator.image.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit::{Usage, Version as Refused};

    const SOURCE: &str = include_str!("../../../fixtures/facts/restore-source.json");

    /// One cell: the bundle's version and PostgreSQL, what is asked for, the chart that is had, the image it names.
    struct Cell {
        bundle: &'static str,
        holds: u32,
        asked: &'static str,
        chart: &'static str,
        image: &'static str,
    }

    fn judged(cell: &Cell, allow_version: bool) -> std::result::Result<VersionFit, Exit> {
        let mut source: SourceFacts = serde_json::from_str(SOURCE).unwrap();
        source.version = cell.bundle.into();
        let version = (!cell.asked.is_empty()).then(|| cell.asked.to_owned());
        let request = RestoreRequest { version, allow_version, ..RestoreRequest::default() };
        let judge = || {
            let to_run = version_gate(&request, &source)?;
            refuse_other_chart(cell.chart, &to_run.version, allow_version)?;
            refuse_other_image(cell.holds, cell.image)?;
            Ok(to_run.fit)
        };
        judge().map_err(|error: CommandError| {
            assert!(!error.hints().is_empty(), "{error}");
            error.exit()
        })
    }

    #[test]
    fn each_cell_of_bundle_asked_version_chart_and_image() {
        use VersionFit::{Exact, Newer, Overridden};
        const DB: &str = "limepoint/opschain-db:17.10";
        // bundle, PostgreSQL of its files, asked for, chart, image; without and with --allow-version
        let cells = [
            ("2026-08-20", 17, "", "2026.8.20", DB, Ok(Exact), Ok(Exact)),
            ("2026-08-20", 17, "2026.8.20", "2026.8.20", DB, Ok(Exact), Ok(Exact)),
            ("2026.8.20", 17, "2026-08-20", "2026.8.20", "db", Ok(Exact), Ok(Exact)),
            ("2025-04-25", 17, "", "0.1.0+2025-04-25", DB, Ok(Exact), Ok(Exact)),
            ("2026-08-20", 17, "2026-09-14", "2026.9.14", DB, Ok(Newer), Ok(Newer)),
            ("2025-12-11", 17, "2026-02-20", "2026.2.20", DB, Ok(Newer), Ok(Newer)),
            ("2026-08-20", 17, "2031-01-01", "2031.1.1", DB, Ok(Newer), Ok(Newer)),
            ("2026.8.20-rc.1", 17, "2026-08-20", "2026.8.20", DB, Ok(Newer), Ok(Newer)),
            ("2026-08-20", 17, "2026.8.20-rc.1", "2026.8.20-rc.1", DB, Err(Refused), Ok(Overridden)),
            ("2026-08-20", 17, "2026-07-28", "2026.7.28", DB, Err(Refused), Ok(Overridden)),
            ("1.4.2", 17, "1.5.0", "1.5.0", DB, Ok(Newer), Ok(Newer)),
            ("1.5.0", 17, "v1.4.2", "1.4.2", DB, Err(Refused), Ok(Overridden)),
            ("1.5.0", 17, "1.5.0+build.2", "1.5.0", DB, Err(Refused), Ok(Exact)),
            ("2026-08-20", 17, "1.5.0", "1.5.0", DB, Err(Refused), Ok(Overridden)),
            ("2026-08-20", 17, "edge", "2026.8.20", DB, Err(Refused), Ok(Overridden)),
            ("edge", 17, "edge", "2026.8.20", DB, Err(Refused), Ok(Overridden)),
            // Zeros that neither tags nor charts have.
            ("2026-08-20", 17, "2026.08.20", "2026.8.20", DB, Err(Usage), Err(Usage)),
            ("2026-08-20", 17, "2026-8-20", "2026.8.20", DB, Err(Usage), Err(Usage)),
            ("2026-08-20", 17, "latest", "2026.8.20", DB, Err(Usage), Err(Usage)),
            // The chart is of another version than the one that is to run.
            ("2026-08-20", 17, "", "2026.9.14", DB, Err(Refused), Ok(Exact)),
            ("2026-08-20", 17, "2026-09-14", "2026.8.20", DB, Err(Refused), Ok(Newer)),
            ("2026-08-20", 17, "", "0.1.0", DB, Err(Refused), Ok(Exact)),
            // Files of another PostgreSQL do not open, whatever flag is given.
            ("2026-08-20", 15, "", "2026.8.20", DB, Err(Refused), Err(Refused)),
            ("2026-08-20", 17, "", "2026.8.20", "r.example:5000/x/db:18.6@sha256:00", Err(Refused), Err(Refused)),
            ("2026-08-20", 17, "2026-09-14", "2026.9.14", "db:v18", Err(Refused), Err(Refused)),
            ("2024-06-17", 14, "2025-01-23", "0.1.0+2025-01-23", DB, Err(Refused), Err(Refused)),
            ("2024-06-17", 14, "2025-01-23", "0.1.0+2025-01-23", "db:14.11", Err(Refused), Err(Refused)),
            // An image whose tag does not tell is looked into later.
            ("2026-08-20", 15, "", "2026.8.20", "r.example/db:2026-08-20", Ok(Exact), Ok(Exact)),
            ("2026-08-20", 15, "", "2026.8.20", "r.example:5000/db@sha256:00", Ok(Exact), Ok(Exact)),
        ];
        for (bundle, holds, asked, chart, image, refused, allowed) in cells {
            let cell = Cell { bundle, holds, asked, chart, image };
            let name = format!("{bundle} ({holds}) as {asked:?} by {chart} with {image}");
            assert_eq!(judged(&cell, false), refused, "{name}");
            assert_eq!(judged(&cell, true), allowed, "{name}, --allow-version");
        }
    }

    #[test]
    fn an_older_operator_is_refused_and_one_that_cannot_be_compared_is_not() {
        for (theirs, here, refused) in [
            ("1.27.0", "1.27.0", false),
            ("1.27.0", "1.28.1", false),
            ("1.27.0", "1.9.3", true),
            ("1.28.0", "1.28.0-rc1", true),
            ("1.28.0-rc1", "1.28.0", false),
            ("v1.27.0", "1.26.9", true),
            ("1.27.0", "main", false),
            ("limepoint/operator@sha256:00", "1.20.0", false),
        ] {
            let judged = refuse_older_operator(theirs, here);
            assert_eq!(judged.is_err(), refused, "{theirs} then {here}");
            assert!(
                judged.is_ok_and(|()| !refused)
                    || refuse_older_operator(theirs, here).unwrap_err().exit() == Exit::Operator
            );
        }
    }
}
