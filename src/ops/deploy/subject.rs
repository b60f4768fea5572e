//! What is to be deployed: values and chart, from a file and a registry or out of the vault.

use zeroize::Zeroizing;

use super::layers::{self, Found, GivenLayer};
use super::{DeployAsk, RollbackAsk, Site, check};
use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFacts, ChartFile, ChartSource, Helm};
use crate::ops::Ctx;
use crate::opschain::{Version, keys};
use crate::values::Tree;
use crate::values::lint::Context;
use crate::vault::{self, Deployment, How};

/// Values and chart.
pub(super) struct Subject {
    pub how: How,
    /// What the values are called.
    pub name: String,
    pub layers: Vec<GivenLayer>,
    /// What helm reads: the layers, merged.
    pub values: Zeroizing<Vec<u8>>,
    pub tree: Tree,
    pub findings: Vec<Found>,
    pub version: Option<Version>,
    pub chart: ChartFile,
    pub facts: ChartFacts,
    /// Where the chart comes from.
    pub reference: String,
    /// The registry's digest of it.
    pub digest: Option<String>,
    /// What is recorded as the reason before the operator's own words.
    pub reason: Option<String>,
}

/// Values that were read and found fit, before anything else is looked at.
pub(super) struct Read {
    name: String,
    values: Zeroizing<Vec<u8>>,
    tree: Tree,
    version: Option<Version>,
}

/// Reads the values as Helm does.
///
/// # Errors
/// Helm would not read them, a lint forbids them, or they name another version than is asked for.
pub(super) fn read(ask: &DeployAsk) -> Result<Read> {
    let name = layers::title(&ask.layers);
    layers::refuse(&ask.layers, &ask.manner.allow)?;
    let values = layers::merge(&ask.layers)?;
    let tree = Tree::parse(&values).map_err(|error| CommandError::from(error).context(&name))?;
    let version = check::wanted_version(ask, &name, &tree)?;
    Ok(Read { name, values, tree, version })
}

/// What the operator brings.
///
/// # Errors
/// The chart cannot be had, or is of another version.
pub(super) async fn of_files(site: &Site, ask: DeployAsk, read: Read) -> Result<Subject> {
    let Read { name, values, tree, version } = read;
    let (chart, facts, source) = check::bring_chart(&site.settings, &ask, version.as_ref(), &site.helm).await?;
    check::refuse_other_version(&ask, version.as_ref(), &facts)?;
    // A chart whose own values cannot be read says nothing of keys; what it is good for, helm will say.
    let defaults = site.helm.show_values(&chart.path()).await.ok().and_then(|text| Tree::parse(text.as_bytes()).ok());
    let release = version.as_ref().and_then(Version::dated_tag);
    let context = Context { defaults: defaults.as_ref(), version: release.as_deref(), facts: &keys::FACTS };
    let findings = layers::look_closer(&ask.layers, &context)?;
    Ok(Subject {
        how: How::Deploy,
        name,
        layers: ask.layers,
        values,
        tree,
        findings,
        version,
        digest: chart.digest().map(str::to_owned),
        chart,
        facts,
        reference: source.text(),
        reason: None,
    })
}

/// What the vault has of an earlier deployment. Its values are what ran, so nothing is said of them again.
///
/// # Errors
/// There is none, no identity opens it, or its chart is nowhere to be had as it was.
pub(super) async fn of_vault(ctx: &Ctx, site: &Site, ask: &RollbackAsk) -> Result<Subject> {
    let identities = site.identities.as_ref().ok_or_else(|| {
        CommandError::new(Exit::Keys, "a rollback needs an identity that opens the vault, and this host has none").hint(
            "Set `[keys] identity` in dr.toml to the identity file of a recipient, or roll back on a host that has it.",
        )
    })?;
    let target = target(ctx, site, ask)?;
    let id = target.id();
    let values = site.vault.values(&target, identities)?;
    let tree = Tree::parse(&values).map_err(|error| CommandError::from(error).context(id))?;
    let layers = GivenLayer::recorded(&site.vault, &target, identities)?;
    let recorded = site.vault.chart(&target, identities)?;
    let chart = match recorded {
        Some(bytes) => ChartFile::from_bytes(&bytes)?,
        None => {
            ctx.events
                .note(format!("{id} was recorded without its chart: {} is brought", target.record.chart.reference));
            bring_again(&site.helm, &target.record.chart, ask.chart.as_deref())
                .await
                .map_err(|error| error.context(id))?
        }
    };
    let facts = site.helm.chart_facts(&chart.path()).await?;
    let named = tree.text(crate::opschain::values::VERSION);
    let version = target.record.opschain_version.as_deref().or(named).and_then(|text| text.parse().ok());
    Ok(Subject {
        how: How::Rollback,
        name: format!("the values of {id}"),
        layers,
        findings: Vec::new(),
        values,
        tree,
        version,
        chart,
        facts,
        reference: target.record.chart.reference.clone(),
        digest: target.record.chart.digest.clone(),
        reason: Some(format!("back to {id}")),
    })
}

/// The deployment that is named, or the one that was live before.
fn target(ctx: &Ctx, site: &Site, ask: &RollbackAsk) -> Result<Deployment> {
    if let Some(selector) = &ask.deployment {
        let found = site.vault.resolve(&ctx.vault_install(), selector)?;
        return Ok(found);
    }
    let live = site.live().map(Deployment::id);
    let mut went_live = site.deployments.iter().filter(|deployment| deployment.is_deployed());
    went_live.find(|deployment| Some(deployment.id()) != live).cloned().ok_or_else(|| {
        CommandError::new(Exit::NotFound, "nothing that the vault knows of was live before")
            .hint("`dr config log` shows the deployments; name one: `dr deploy rollback DEPLOYMENT`.")
    })
}

/// The chart of a record that does not hold it, from where it came, proved by its digest where one was noted.
///
/// # Errors
/// It is not there any more, or is not the one that was deployed.
pub(super) async fn bring_again(helm: &Helm, chart: &vault::Chart, given: Option<&str>) -> Result<ChartFile> {
    let text = given.unwrap_or(&chart.reference);
    let source = ChartSource::parse(text);
    let gone = |error: crate::helm::HelmError| {
        CommandError::from(error)
            .context(format!("bring chart {text}"))
            .hint(format!("Name where {} {} is to be had with --chart.", chart.name, chart.version))
    };
    let brought = helm.bring(&source, Some(&chart.version)).await.map_err(gone)?;
    let other = |what: &str, found: &str, recorded: &str| {
        CommandError::new(Exit::Damaged, format!("the {what} of {text} is {found}, and {recorded} was deployed"))
            .hint("It was replaced where it came from: name the chart that was deployed with --chart.")
    };
    if let (Some(found), Some(recorded)) = (brought.digest(), chart.digest.as_deref())
        && found != recorded
    {
        return Err(other("digest", found, recorded));
    }
    let facts = helm.chart_facts(&brought.path()).await?;
    if (facts.name.as_str(), facts.version.as_str()) != (chart.name.as_str(), chart.version.as_str()) {
        let found = format!("{} {}", facts.name, facts.version);
        return Err(other("chart", &found, &format!("{} {}", chart.name, chart.version)));
    }
    Ok(brought)
}
