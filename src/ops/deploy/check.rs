//! What a deployment is looked at for before anything is changed: versions and chart.

use super::DeployAsk;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFacts, ChartFile, ChartSource, Helm};
use crate::opschain::Version;
use crate::settings::Settings;
use crate::values::Tree;

/// The version that is to run: the one asked for, which the values must name too, or the one that the values name.
pub(super) fn wanted_version(ask: &DeployAsk, name: &str, tree: &Tree) -> Result<Option<Version>> {
    let bad = |text: &str| {
        CommandError::new(Exit::Usage, format!("`{text}` is not an OpsChain version"))
            .hint("Give it as a date, such as 2026-08-20.")
    };
    let asked = ask.version.as_deref().map(|text| text.parse::<Version>().map_err(|_| bad(text))).transpose()?;
    let key = crate::opschain::values::VERSION;
    let Some(named) = tree.text(key) else { return Ok(asked) };
    let Ok(named) = named.parse::<Version>() else { return Ok(asked) };
    match &asked {
        Some(asked) if *asked != named && !ask.manner.allow.iter().any(|id| id == "version") => Err(CommandError::new(
            Exit::Version,
            format!("the values name version {} in {}, and {} is asked for", named.tag(), key.join("."), asked.tag()),
        )
        .hint(format!("Set {}: \"{}\" in {}.", key.join("."), asked.tag(), name))
        .hint("Or add --allow version to deploy this chart with the images of the other version.")),
        Some(asked) => Ok(Some(asked.clone())),
        None => Ok(Some(named)),
    }
}

pub(super) async fn bring_chart(
    settings: &Settings,
    ask: &DeployAsk,
    version: Option<&Version>,
    helm: &Helm,
) -> Result<(ChartFile, ChartFacts, ChartSource)> {
    let source = ChartSource::parse(ask.chart.as_deref().unwrap_or(&settings.install.chart));
    let number = version.and_then(Version::chart);
    if matches!(source, ChartSource::Registry(_)) && number.is_none() {
        return Err(CommandError::new(Exit::Usage, "which version of the chart is to be deployed is not said")
            .hint("Add --version, such as --version 2026-08-20, or set env.OPSCHAIN_VERSION in the values."));
    }
    let brought = helm.bring(&source, number.as_deref()).await;
    let chart = brought.map_err(|error| CommandError::from(error).context(format!("bring chart {}", source.text())))?;
    let facts = helm.chart_facts(&chart.path()).await?;
    Ok((chart, facts, source))
}

pub(super) fn refuse_other_version(ask: &DeployAsk, version: Option<&Version>, facts: &ChartFacts) -> Result<()> {
    let Some(version) = version else { return Ok(()) };
    let fits = facts.version.parse::<Version>().is_ok_and(|chart| chart == *version);
    if fits || ask.manner.allow.iter().any(|id| id == "version") {
        return Ok(());
    }
    let text = format!("the chart is version {}, and {} is to run", facts.version, version.tag());
    Err(CommandError::new(Exit::Version, text)
        .hint(format!("Give the chart of that version: {}.", version.chart().unwrap_or_else(|| version.tag())))
        .hint("Or add --allow version if this chart is meant."))
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::deploy::{GivenLayer, Manner};
    use zeroize::Zeroizing;

    fn ask(values: &str, version: Option<&str>, allow: &[&str]) -> DeployAsk {
        DeployAsk {
            layers: vec![GivenLayer::file("values.yaml", Zeroizing::new(values.into()))],
            version: version.map(str::to_owned),
            chart: None,
            manner: Manner { allow: allow.iter().map(|id| (*id).to_owned()).collect(), ..Manner::default() },
        }
    }

    fn version(values: &str, asked: Option<&str>, allow: &[&str]) -> Result<Option<String>> {
        let tree = Tree::parse(values.as_bytes()).unwrap();
        wanted_version(&ask(values, asked, allow), "values.yaml", &tree).map(|found| found.map(|version| version.tag()))
    }

    #[test]
    fn the_version_asked_for_and_the_one_in_the_values_must_agree() {
        let values = "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n";
        assert_eq!(version(values, None, &[]).unwrap().as_deref(), Some("2026-08-20"));
        assert_eq!(version(values, Some("2026.8.20"), &[]).unwrap().as_deref(), Some("2026-08-20"));
        assert_eq!(version(values, Some("2026-09-14"), &[]).unwrap_err().exit(), Exit::Version);
        assert_eq!(version(values, Some("2026-09-14"), &["version"]).unwrap().as_deref(), Some("2026-09-14"));
        assert_eq!(version("a: 1\n", Some("newest"), &[]).unwrap_err().exit(), Exit::Usage);
        assert_eq!(version("a: 1\n", None, &[]).unwrap(), None);
    }

    #[test]
    fn a_chart_of_another_version_is_refused_unless_allowed() {
        let facts = ChartFacts { name: "opschain".into(), version: "2026.8.20".into(), app_version: None };
        let fits: Version = "2026-08-20".parse().unwrap();
        let other: Version = "2026-09-14".parse().unwrap();
        assert!(refuse_other_version(&ask("", None, &[]), Some(&fits), &facts).is_ok());
        assert!(refuse_other_version(&ask("", None, &[]), Some(&other), &facts).is_err());
        assert!(refuse_other_version(&ask("", None, &["version"]), Some(&other), &facts).is_ok());
    }
}
