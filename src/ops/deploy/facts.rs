//! What a deployment looks at before anything is changed: what is to be deployed, and what is there.

use zeroize::Zeroizing;

use super::chart::{self, FetchedChart};
use super::request::RollbackRequest;
use super::stuck::PendingFacts;
use super::values::{LayerFinding, ReadValues};
use super::{previous, stuck};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFile, ChartSource};
use crate::ops::Ctx;
use crate::ops::history::{History, LiveValues, scrubber_of};
use crate::opschain::values::{IMMUTABLE, VERSION};
use crate::opschain::{Version, keys};
use crate::settings::OnDrift;
use crate::values::lint::Context;
use crate::values::overlay::Layer;
use crate::values::{Scrubber, Tree};
use crate::vault::How;

/// What is to be deployed: values and chart, from a file and a registry or out of the vault.
pub(super) struct Subject {
    pub how: How,
    /// What the values are called.
    pub name: String,
    pub layers: Vec<Layer>,
    /// What helm reads: the layers, merged.
    pub values: Zeroizing<Vec<u8>>,
    pub tree: Tree,
    pub findings: Vec<LayerFinding>,
    pub version: Option<Version>,
    pub chart: FetchedChart,
    /// What is recorded as the reason before the operator's own words.
    pub reason: Option<String>,
}

/// What there is.
pub(super) struct DeployFacts {
    pub history: History,
    /// The values that are live.
    pub live: LiveValues,
    /// Knows the secrets of what is live and of what is to be deployed.
    pub scrubber: Scrubber,
    /// What is seen of a release that is in the middle of something.
    pub pending: Option<PendingFacts>,
    /// The own values of the chart that is live, where a guarded key was left to them and the vault has it.
    pub live_defaults: Option<Tree>,
    pub who: String,
}

/// What the vault and helm know, before the subject is known.
pub(super) struct DeploymentHistory {
    pub history: History,
    identities: Option<Identities>,
}

/// Reads helm's history and the vault's deployments, and opens the keys.
///
/// # Errors
/// Vault or helm cannot be read; no identity can be had where one is set.
pub(super) async fn known(ctx: &Ctx) -> Result<DeploymentHistory> {
    let helm = ctx.helm().await?;
    if let Some(safe) = helm.should_be() {
        ctx.events.warn(
            format!("helm {} has known security holes", helm.version()),
            Some(format!("Upgrade it to {safe} or later.")),
        );
    }
    Ok(DeploymentHistory { history: History::read(ctx).await?, identities: ctx.identities_if_set()? })
}

/// What the operator brings.
///
/// # Errors
/// The chart cannot be had.
pub(super) async fn of_files(
    ctx: &Ctx,
    source: &ChartSource,
    values: ReadValues,
    version: Option<Version>,
) -> Result<Subject> {
    let number = version.as_ref().and_then(Version::chart);
    let chart = chart::fetch(ctx, source, number.as_deref()).await?;
    let release = version.as_ref().and_then(Version::dated_tag);
    // A chart whose own values cannot be read says nothing of keys; what it is good for, helm will say.
    let context = Context { defaults: chart.defaults.as_ref().ok(), version: release.as_deref(), facts: &keys::FACTS };
    let findings = values.lint_with_chart(&context);
    let ReadValues { name, layers, bytes, tree, .. } = values;
    Ok(Subject { how: How::Deploy, name, layers, values: bytes, tree, findings, version, chart, reason: None })
}

/// What the vault has of an earlier deployment. Its values are what ran, so nothing is said of them again.
///
/// # Errors
/// There is none, no identity opens it, or its chart is nowhere to be had as it was.
pub(super) async fn of_vault(ctx: &Ctx, known: &DeploymentHistory, request: &RollbackRequest) -> Result<Subject> {
    let identities = known.identities.as_ref().ok_or_else(|| {
        CommandError::new(Exit::Keys, "a rollback needs an identity that opens the vault, and this host has none").hint(
            "Set `[keys] identity` in dr.toml to the identity file of a recipient, or roll back on a host that has it.",
        )
    })?;
    let vault = ctx.vault()?;
    let target = match &request.deployment {
        Some(selector) => vault.resolve(&ctx.vault_install(), selector)?,
        None => previous::live_before(&known.history)?.clone(),
    };
    let id = target.id();
    let values = ctx.values_of(&target, identities)?;
    let tree = Tree::parse(&values).map_err(|error| CommandError::from(error).context(id))?;
    let layers = vault.layers(&target, identities)?;
    let helm = ctx.helm().await?;
    let file = match vault.chart(&target, identities)? {
        Some(bytes) => ChartFile::from_bytes(&bytes)?,
        None => {
            ctx.events
                .note(format!("{id} was recorded without its chart: {} is fetched", target.record.chart.reference));
            chart::fetch_again(helm, &target.record.chart, request.chart.as_deref())
                .await
                .map_err(|error| error.context(id))?
        }
    };
    let recorded = &target.record.chart;
    let chart = FetchedChart::read(helm, file, recorded.reference.clone(), recorded.digest.clone()).await?;
    let named = tree.text(VERSION);
    let version = target.record.opschain_version.as_deref().or(named).and_then(|text| text.parse().ok());
    Ok(Subject {
        how: How::Rollback,
        name: format!("the values of {id}"),
        layers,
        findings: Vec::new(),
        values: Zeroizing::clone(&values),
        tree,
        version,
        chart,
        reason: Some(format!("back to {id}")),
    })
}

/// Looks at what is live.
///
/// # Errors
/// The vault's values are damaged or no identity opens them; helm or the cluster cannot be asked.
pub(super) async fn gather(ctx: &Ctx, known: DeploymentHistory, subject: &Subject) -> Result<DeployFacts> {
    let DeploymentHistory { history, identities } = known;
    let looks_for_drift = ctx.settings()?.drift.on_deploy != OnDrift::Ignore;
    let foreign = history.deployed().is_some() && history.own().is_none();
    let ask_helm = looks_for_drift || foreign || identities.is_none();
    let live = LiveValues::read(ctx, &history, identities.as_ref(), ask_helm).await?;
    let trees = live.trees().chain(std::iter::once(&subject.tree));
    let scrubber = scrubber_of(ctx, identities.as_ref(), trees)?;
    let pending = stuck::inspect(ctx, &history).await?;
    let mut facts = DeployFacts { history, live, scrubber, pending, live_defaults: None, who: ctx.who.clone() };
    facts.live_defaults = live_defaults(ctx, &facts, identities.as_ref()).await?;
    Ok(facts)
}

/// The own values of the chart that is live, where the vault has it and some guarded key was left to it.
async fn live_defaults(ctx: &Ctx, facts: &DeployFacts, identities: Option<&Identities>) -> Result<Option<Tree>> {
    let before = previous::live_before_values(&facts.history, &facts.live);
    let left_out = before.iter().any(|(_, tree)| IMMUTABLE.iter().any(|known| tree.get(known.path).is_none()));
    let (true, Some(live), Some(identities)) = (left_out, facts.history.live(), identities) else { return Ok(None) };
    let Some(archive) = ctx.vault()?.chart(live, identities)? else { return Ok(None) };
    Ok(Some(chart::defaults_of(ctx.helm().await?, &ChartFile::from_bytes(&archive)?).await?))
}
