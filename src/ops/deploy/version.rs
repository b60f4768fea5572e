//! Which version is to run, and whether values and chart are of it.

use super::values::ReadValues;
use crate::error::{CommandError, Exit, Result};
use crate::helm::ChartFacts;
use crate::opschain::Version;
use crate::opschain::values::VERSION;

/// The version that is to run: the one asked for, which the values must name too, or the one that the values name.
///
/// # Errors
/// [`Exit::Usage`] for what is no version, [`Exit::Version`] where the two differ and that is not allowed.
pub(super) fn wanted_version(asked: Option<&str>, allow: &[String], values: &ReadValues) -> Result<Option<Version>> {
    let bad = |text: &str| {
        CommandError::new(Exit::Usage, format!("`{text}` is not an OpsChain version"))
            .hint("Give it as a date, such as 2026-08-20.")
    };
    let asked = asked.map(|text| text.parse::<Version>().map_err(|_| bad(text))).transpose()?;
    let Some(named) = values.tree.text(VERSION) else { return Ok(asked) };
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
        .hint(format!("Set {}: \"{}\" in {}.", VERSION.join("."), asked.tag(), values.name))
        .hint("Or add --allow version to deploy this chart with the images of the other version.")),
        asked => Ok(asked.or(Some(named))),
    }
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
        .hint("Or add --allow version if this chart is meant."))
}

fn is_allowed(allow: &[String], id: &str) -> bool {
    allow.iter().any(|allowed| allowed == id)
}
