//! The values that a chart ships: from a values file, a chart, or the chart of a version.

use std::path::Path;

use crate::error::{CommandError, Exit, Result};
use crate::helm::ChartSource;
use crate::ops::Ctx;
use crate::opschain::Version;
use crate::opschain::values::VERSION;
use crate::read;
use crate::values::Tree;

/// A chart's own values.
pub struct Shipped {
    /// What they were called.
    pub name: String,
    /// What Helm reads from it.
    pub tree: Tree,
    /// The release that it belongs to, where it or its chart names one.
    pub version: Option<Version>,
}

/// Reads the values that `text` names: a values file, a chart's folder, a packed chart (`.tgz`), a chart in a registry
/// (`oci://...`, of the version given), or a version, whose chart is the one of the settings. The first two need nothing
/// else; the others need helm.
///
/// # Errors
/// Nothing is there, helm cannot fetch it, or it is not YAML that Helm reads.
pub async fn read(ctx: &Ctx, text: &str, version: Option<&Version>) -> Result<Shipped> {
    let path = Path::new(text);
    let file = if path.is_dir() { path.join("values.yaml") } else { path.to_owned() };
    let is_values = file.is_file() && file.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let (found, version) = if is_values {
        let bytes = read::file(&file, read::VALUES)
            .map_err(|e| CommandError::new(Exit::NotFound, format!("read {}", file.display())).because(e))?;
        // What is not UTF-8 is refused below, with its place.
        let tree = Tree::parse_or_explain(&bytes).map_err(|error| CommandError::from(error).context(text))?;
        let version = tree.text(VERSION).and_then(|text| text.parse().ok());
        (String::from_utf8_lossy(&bytes).into_owned(), version)
    } else if text.starts_with("oci://") || path.exists() {
        from_helm(ctx, ChartSource::parse(text), version).await?
    } else if let Some(version) = named_version(text) {
        from_helm(ctx, ChartSource::parse(&ctx.settings_or_defaults()?.install.chart), Some(&version)).await?
    } else {
        return Err(CommandError::new(Exit::NotFound, format!("there is no values file, chart or version `{text}`"))
            .hint("Give a values file, a chart's folder or archive, `oci://...`, or a version such as 2026-08-20."));
    };
    let tree = Tree::parse_or_explain(found.as_bytes()).map_err(|error| CommandError::from(error).context(text))?;
    Ok(Shipped { name: text.to_owned(), tree, version })
}

/// A version that a release may have: a date or three numbers.
fn named_version(text: &str) -> Option<Version> {
    text.parse::<Version>().ok().filter(|version| version.chart().is_some())
}

async fn from_helm(ctx: &Ctx, source: ChartSource, version: Option<&Version>) -> Result<(String, Option<Version>)> {
    let helm = ctx.helm().await?;
    let named = |error: CommandError| error.context(format!("fetch chart {}", source.text()));
    let number = version.and_then(Version::chart);
    let chart = helm.fetch(&source, number.as_deref()).await.map_err(|error| named(error.into()))?;
    let values = helm.show_values(&chart.path()).await.map_err(|error| named(error.into()))?;
    let facts = helm.chart_facts(&chart.path()).await.map_err(|error| named(error.into()))?;
    Ok((values, facts.version.parse().ok()))
}
