//! Which version is to run, and whether values and chart are of it.

use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFacts, ChartSource};
use crate::opschain::Version;
use crate::opschain::values::VERSION;
use crate::values::Tree;

/// The version that is to run: the one asked for, which the values must name too, or the one that the values name.
/// `file` is what the values are called.
///
/// # Errors
/// [`Exit::Usage`] for what is no version, [`Exit::Version`] where the two differ and that is not allowed.
pub(super) fn wanted_version(
    asked: Option<&str>,
    allow: &[String],
    values: &Tree,
    file: &str,
) -> Result<Option<Version>> {
    let bad = |text: &str| {
        CommandError::new(Exit::Usage, format!("`{text}` is not an OpsChain version"))
            .hint("Give it as a date, such as 2026-08-20.")
    };
    let asked = asked.map(|text| text.parse::<Version>().map_err(|_| bad(text))).transpose()?;
    let Some(named) = values.text(VERSION) else { return Ok(asked) };
    let Ok(named) = named.parse::<Version>() else { return Ok(asked) };
    match asked {
        Some(asked) if asked != named && !is_allowed(allow, "version") => Err(CommandError::new(
            Exit::Version,
            format!(
                "the values name version {} in {}, and {} is asked for",
                named.tag(),
                VERSION.join("."),
                asked.tag()
            ),
        )
        .hint(format!("Set {}: \"{}\" in {}.", VERSION.join("."), asked.tag(), file))
        .hint("Or add --allow version to deploy this chart with the images of the other version.")),
        asked => Ok(asked.or(Some(named))),
    }
}

/// Refuses to take from a registry whatever is newest there.
///
/// # Errors
/// [`Exit::Usage`].
pub(super) fn refuse_unsaid(source: &ChartSource, version: Option<&Version>) -> Result<()> {
    if matches!(source, ChartSource::Path(_)) || version.and_then(Version::chart).is_some() {
        return Ok(());
    }
    Err(CommandError::new(Exit::Usage, "which version of the chart is to be deployed is not said")
        .hint("Add --version, such as --version 2026-08-20, or set env.OPSCHAIN_VERSION in the values."))
}

/// Refuses a chart of another version than the one that is to run.
///
/// # Errors
/// [`Exit::Version`].
pub(super) fn refuse_other_chart(allow: &[String], version: Option<&Version>, facts: &ChartFacts) -> Result<()> {
    let Some(version) = version else { return Ok(()) };
    let fits = facts.version.parse::<Version>().is_ok_and(|chart| chart == *version);
    if fits || is_allowed(allow, "version") {
        return Ok(());
    }
    let text = format!("the chart is version {}, and {} is to run", facts.version, version.tag());
    Err(CommandError::new(Exit::Version, text)
        .hint(format!("Give the chart of that version: {}.", version.chart().unwrap_or_else(|| version.tag())))
        .hint("Or add --allow version if this chart is intended."))
}

fn is_allowed(allow: &[String], id: &str) -> bool {
    allow.iter().any(|allowed| allowed == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = "env: {OPSCHAIN_VERSION: \"2026-08-20\"}\n";

    fn allow(what: &str) -> Vec<String> {
        vec![what.to_owned()]
    }

    #[test]
    fn the_version_is_the_one_asked_for_or_the_one_that_the_values_name() {
        let wanted = |asked: Option<&str>, values: &str, allow: &[String]| {
            let values = Tree::parse(values.as_bytes()).unwrap();
            wanted_version(asked, allow, &values, "v.yaml").map(|version| version.map(|version| version.tag()))
        };
        for (asked, values, version) in [
            (None, "a: 1\n", None),
            (None, NAMED, Some("2026-08-20")),
            (Some("2026-08-20"), NAMED, Some("2026-08-20")),
            (Some("2026-09-10"), "a: 1\n", Some("2026-09-10")),
            // What names no release says nothing against the one asked for.
            (Some("2026-09-10"), "env: {OPSCHAIN_VERSION: \"\"}\n", Some("2026-09-10")),
        ] {
            assert_eq!(wanted(asked, values, &[]).unwrap().as_deref(), version, "{asked:?} {values}");
        }
        for (asked, exit, said) in [
            ("", Exit::Usage, "`` is not an OpsChain version"),
            ("a word", Exit::Usage, "`a word` is not an OpsChain version"),
            (
                "2026-09-10",
                Exit::Version,
                "the values name version 2026-08-20 in env.OPSCHAIN_VERSION, and 2026-09-10 is",
            ),
        ] {
            let error = wanted(Some(asked), NAMED, &allow("drift")).unwrap_err();
            assert!(error.exit() == exit && error.message().starts_with(said), "{error}");
        }
        let let_through = wanted(Some("2026-09-10"), NAMED, &allow("version")).unwrap();
        assert_eq!(let_through.as_deref(), Some("2026-09-10"));
        assert!(wanted(Some("a word"), NAMED, &allow("version")).is_err(), "nothing allows what is no version");
    }

    #[test]
    fn a_registry_must_be_told_which_version() {
        let refused = |chart: &str, version: Option<&str>| {
            let version = version.map(|text| text.parse::<Version>().unwrap());
            refuse_unsaid(&ChartSource::parse(chart), version.as_ref())
        };
        // A moving tag has no chart of its own.
        for version in [None, Some("edge")] {
            let error = refused("oci://registry.example.test/opschain", version).unwrap_err();
            let said = "which version of the chart is to be deployed is not said";
            assert!(error.exit() == Exit::Usage && error.message().starts_with(said), "{error}");
            assert!(refused("chart.tgz", version).is_ok());
        }
        assert!(refused("oci://registry.example.test/opschain", Some("2026-08-20")).is_ok());
    }

    #[test]
    fn a_chart_of_another_version_is_refused() {
        let refused = |version: Option<&str>, chart: &str, allow: &[String]| {
            let version = version.map(|text| text.parse::<Version>().unwrap());
            let facts = ChartFacts { name: "opschain".into(), version: chart.into(), app_version: None };
            refuse_other_chart(allow, version.as_ref(), &facts)
        };
        for (chart, said) in [
            ("2026.9.10", "the chart is version 2026.9.10, and 2026-08-20 is to run"),
            ("0.1.0", "the chart is version 0.1.0, and 2026-08-20 is to run"),
        ] {
            let error = refused(Some("2026-08-20"), chart, &allow("drift")).unwrap_err();
            assert!(error.exit() == Exit::Version && error.message().starts_with(said), "{error}");
            assert!(error.hints()[0].contains("2026.8.20"), "{error:?}");
            assert!(refused(Some("2026-08-20"), chart, &allow("version")).is_ok());
            assert!(refused(None, chart, &[]).is_ok(), "no version is asked for");
        }
        assert!(refused(Some("2026-08-20"), "2026.8.20", &[]).is_ok());
    }
}
