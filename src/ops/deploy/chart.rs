//! The chart that is to be deployed: fetched from where it comes, or out of the vault.

use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFacts, ChartFile, ChartSource, Helm, HelmError};
use crate::ops::Ctx;
use crate::values::Tree;
use crate::vault;

/// A chart with what it says of itself.
pub(super) struct FetchedChart {
    pub file: ChartFile,
    pub facts: ChartFacts,
    /// Its own values, or why they cannot be read.
    pub defaults: Result<Tree>,
    /// Where it comes from.
    pub reference: String,
    /// The registry's digest of it.
    pub digest: Option<String>,
}

impl FetchedChart {
    /// Asks helm what the chart says of itself, each once.
    ///
    /// # Errors
    /// It is no chart.
    pub async fn read(helm: &Helm, file: ChartFile, reference: String, digest: Option<String>) -> Result<Self> {
        let facts = helm.chart_facts(&file.path()).await?;
        let defaults = defaults_of(helm, &file).await;
        Ok(Self { file, facts, defaults, reference, digest })
    }
}

/// The chart's own values.
///
/// # Errors
/// Helm cannot read them.
pub(super) async fn defaults_of(helm: &Helm, chart: &ChartFile) -> Result<Tree> {
    Ok(Tree::parse(helm.show_values(&chart.path()).await?.as_bytes())?)
}

/// Fetches a chart, of the version `number` where a registry has several.
///
/// # Errors
/// The chart cannot be had.
pub(super) async fn fetch(ctx: &Ctx, source: &ChartSource, number: Option<&str>) -> Result<FetchedChart> {
    let helm = ctx.helm().await?;
    let fetched = helm.fetch(source, number).await;
    let file = fetched.map_err(|error| CommandError::from(error).context(format!("fetch chart {}", source.text())))?;
    let digest = file.digest().map(str::to_owned);
    FetchedChart::read(helm, file, source.text(), digest).await
}

/// The chart of a record that does not hold it, from where it came, proved by its digest where one was noted.
///
/// # Errors
/// It is not there any more, or is not the one that was deployed.
pub(super) async fn fetch_again(helm: &Helm, chart: &vault::RecordedChart, given: Option<&str>) -> Result<ChartFile> {
    let text = given.unwrap_or(&chart.reference);
    let source = ChartSource::parse(text);
    let gone = |error: HelmError| {
        CommandError::from(error)
            .context(format!("fetch chart {text}"))
            .hint(format!("Name where {} {} is to be had with --chart.", chart.name, chart.version))
    };
    let fetched = helm.fetch(&source, Some(&chart.version)).await.map_err(gone)?;
    let other = |what: &str, found: &str, recorded: &str| {
        CommandError::new(Exit::Damaged, format!("the {what} of {text} is {found}, and {recorded} was deployed"))
            .hint("It was replaced where it came from: name the chart that was deployed with --chart.")
    };
    if let (Some(found), Some(recorded)) = (fetched.digest(), chart.digest.as_deref())
        && found != recorded
    {
        return Err(other("digest", found, recorded));
    }
    let facts = helm.chart_facts(&fetched.path()).await?;
    if (facts.name.as_str(), facts.version.as_str()) != (chart.name.as_str(), chart.version.as_str()) {
        let found = format!("{} {}", facts.name, facts.version);
        return Err(other("chart", &found, &format!("{} {}", chart.name, chart.version)));
    }
    Ok(fetched)
}
