//! What a deployment looks at before anything is changed: what is to be deployed, and what is there.
//!
//! Values, keys and charts are material and travel beside the facts: nothing that decides holds a secret.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::chart::{self, FetchedChart};
use super::report::LiveSource;
use super::request::{GivenRelease, RollbackRequest};
use super::stuck::PendingFacts;
use super::values::{LayerFinding, ReadValues};
use super::{order, previous, stuck, workers};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFacts, ChartFile, ChartSource, Object, UpgradeRequest};
use crate::ops::drift::{self, DriftReport};
use crate::ops::guard::{self, Effective, Guarded};
use crate::ops::history::{History, LiveValues, scrubber_of};
use crate::ops::neighbours::{self, NeighbourFacts};
use crate::ops::{Ctx, objects, recording};
use crate::opschain::values::{IMMUTABLE, VERSION};
use crate::opschain::{Version, keys};
use crate::settings::{Caution, Install, OnDrift};
use crate::values::diff::{Diff, diff};
use crate::values::lint::Context;
use crate::values::overlay::{self, Layer};
use crate::values::{Scrubber, Tree};
use crate::vault::{DeploymentId, How};

/// How long a deployment looks at the objects before it goes on without.
const OBJECTS_LIMIT: Duration = Duration::from_secs(20);

/// What is to be deployed, and what there is. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeployFacts {
    pub namespace: String,
    pub release: String,
    /// Who asks.
    pub who: String,
    /// What the settings say of releases that are left out, and of drift.
    pub skipped_releases: Caution,
    pub on_drift: OnDrift,
    pub how: How,
    /// What the values are called.
    pub values: String,
    pub values_sha256: String,
    /// The version that is to run.
    pub version: Option<Version>,
    pub chart: ChartFacts,
    /// Where the chart comes from.
    pub chart_reference: String,
    /// The registry's digest of it.
    pub chart_digest: Option<String>,
    pub history: History,
    /// The values that are live: as the vault has them, as helm has them, or both.
    pub live: Vec<LiveFacts>,
    /// What is seen of a release that is in the middle of something.
    pub pending: Option<PendingFacts>,
    /// What is not as the vault says, where that was looked for.
    pub drift: Option<DriftReport>,
    /// What stands of the chart's objects that live in no namespace. Looked at before a first installation only: an
    /// install that runs has them.
    #[serde(default)]
    pub neighbours: NeighbourFacts,
    /// The bundle with the data as it was when what is gone back to was replaced.
    #[serde(default)]
    pub data_bundle: Option<String>,
    /// helm has the API server apply the release, which refuses to go over what others have set. Asked only where there
    /// is such a thing.
    pub applied_by_server: bool,
}

/// Values that are live, held against those that are to be deployed. None of them is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LiveFacts {
    pub source: LiveSource,
    /// The OpsChain version that they name.
    pub version: Option<String>,
    /// The keys that stored data depends on, and that would change.
    pub guarded: Vec<Guarded>,
    /// The first key of the registry's credentials that would change.
    pub credentials: Option<String>,
}

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
    /// The deployment that is gone back to.
    pub target: Option<DeploymentId>,
}

impl Subject {
    /// What helm is given, whether it renders or deploys.
    pub fn upgrade<'s>(
        &'s self,
        release: &'s str,
        chart: &'s std::path::Path,
        timeout: Duration,
    ) -> UpgradeRequest<'s> {
        UpgradeRequest {
            release,
            chart,
            values: &self.values,
            sets: &[],
            timeout,
            // `dr` waits itself, and says for what.
            wait: false,
            create_namespace: true,
            description: None,
            debug: false,
        }
    }
}

/// What is made of the values that are live, for what is shown and compared.
pub(super) struct LiveMaterial {
    /// Knows the secrets of what is live and of what is to be deployed.
    pub scrubber: Scrubber,
    /// What would change in the values.
    pub diff: Option<Diff>,
    /// The objects of helm's deployed revision, where they were read.
    pub stored: Option<Vec<Object>>,
}

/// Reads helm's history and the vault's deployments.
///
/// # Errors
/// Vault or helm cannot be read.
pub(super) async fn history(ctx: &Ctx) -> Result<History> {
    let helm = ctx.helm().await?;
    if let Some(safe) = helm.should_be() {
        ctx.events.warn(
            format!("helm {} has known security holes", helm.version()),
            Some(format!("Upgrade it to {safe} or later.")),
        );
    }
    History::read(ctx).await
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
    Ok(Subject {
        how: How::Deploy,
        name,
        layers,
        values: bytes,
        tree,
        findings,
        version,
        chart,
        reason: None,
        target: None,
    })
}

/// What somebody else has opened and checked. Its values are what ran, so nothing is said of them again.
///
/// # Errors
/// The chart is none.
pub(super) async fn of_given(ctx: &Ctx, given: GivenRelease) -> Result<Subject> {
    let GivenRelease { name, layers, values, tree, chart, reference, version, reason } = given;
    let chart = FetchedChart::read(ctx.helm().await?, chart, reference, None).await?;
    let (how, findings, version, reason) = (How::Deploy, Vec::new(), Some(version), Some(reason));
    Ok(Subject { how, name, layers, values, tree, findings, version, chart, reason, target: None })
}

/// What the vault has of an earlier deployment. Its values are what ran, so nothing is said of them again.
///
/// # Errors
/// There is none, no identity opens it, or its chart is nowhere to be had as it was.
pub(super) async fn of_vault(ctx: &Ctx, history: &History, request: &RollbackRequest) -> Result<Subject> {
    let identities = ctx.identities_if_set()?.ok_or_else(|| {
        CommandError::new(Exit::Keys, "a rollback needs an identity that opens the vault, and this host has none").hint(
            "Set `[keys] identity` in dr.toml to the identity file of a recipient, or roll back on a host that has it.",
        )
    })?;
    let vault = ctx.vault()?;
    let target = match &request.deployment {
        Some(selector) => vault.resolve(&ctx.vault_install(), selector)?,
        None => previous::live_before(history)?.clone(),
    };
    let id = target.id();
    if !target.is_deployed() {
        ctx.events.warn(
            format!("{id} never went live: the vault says {}", target.state()),
            Some("`dr config log` shows what did.".into()),
        );
    }
    let recorded = vault.layers(&target, &identities)?;
    let layers = match target.record.how {
        How::Restore => workers::with_workers(recorded.clone(), workers::running_workers(ctx).await?),
        _ => recorded.clone(),
    };
    let is_as_recorded = layers.iter().zip(&recorded).all(|(layer, recorded)| layer.bytes == recorded.bytes);
    let values = match is_as_recorded {
        true => Zeroizing::new(ctx.values_of(&target, &identities)?.to_vec()),
        false => overlay::merge(&layers).map_err(|error| {
            CommandError::new(Exit::Damaged, format!("Helm would not read the values of {id}")).because(error)
        })?,
    };
    let tree = Tree::parse_or_keep(&values);
    let helm = ctx.helm().await?;
    let file = match vault.chart(&target, &identities)? {
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
        values,
        tree,
        version,
        chart,
        reason: Some(format!("back to {id}")),
        target: Some(id.clone()),
    })
}

/// Looks at what is live. `allow` is what the operator lets through.
///
/// # Errors
/// The vault's values are damaged or no identity opens them; helm or the cluster cannot be asked; the chart's own values
/// cannot be read, where guarded keys hang on them.
pub(super) async fn gather(
    ctx: &Ctx,
    history: History,
    subject: &Subject,
    allow: &[String],
) -> Result<(DeployFacts, LiveMaterial)> {
    let (settings, identities, helm) = (ctx.settings()?, ctx.identities_if_set()?, ctx.helm().await?);
    let Install { namespace, release, .. } = ctx.install();
    let on_drift = settings.drift.on_deploy;
    let foreign = history.deployed().is_some() && history.own().is_none();
    let ask_helm = on_drift != OnDrift::Ignore || foreign || identities.is_none();
    let values = LiveValues::read(ctx, &history, identities.as_ref(), ask_helm).await?;
    let scrubber = scrubber_of(ctx, identities.as_ref(), values.trees().chain(std::iter::once(&subject.tree)))?;
    let history = history.scrubbed(ctx.secrets());
    let pending = stuck::inspect(ctx, &history).await?;
    let (drift, stored) = match on_drift {
        OnDrift::Ignore => (None, None),
        _ => {
            let (report, stored) = drift::inspect(ctx, &history, &values, &scrubber, Some(OBJECTS_LIMIT)).await?;
            (Some(report), stored)
        }
    };
    let matters = drift.as_ref().map_or(allow.iter().any(|id| id == "drift"), drift::touches_fields);
    let before = previous::live_before_values(&history, &values);
    let facts = DeployFacts {
        namespace: namespace.to_string(),
        release: release.to_string(),
        who: ctx.who.clone(),
        skipped_releases: settings.deploy.skipped_releases,
        on_drift,
        how: subject.how,
        values: subject.name.clone(),
        values_sha256: hex::encode(Sha256::digest(&subject.values)),
        version: subject.version.clone(),
        chart: subject.chart.facts.clone(),
        chart_reference: subject.chart.reference.clone(),
        chart_digest: subject.chart.digest.clone(),
        live: live(ctx, &history, &before, subject, identities.as_ref()).await?,
        neighbours: neighbours(ctx, &history, subject).await?,
        data_bundle: subject.target.as_ref().and_then(|target| previous::bundle_of(&history, target)),
        history,
        pending,
        drift,
        applied_by_server: matters && helm.applies_on_server(release).await?,
    };
    recording::record("deploy", &facts)?;
    let diff = before.first().map(|(_, tree)| diff(tree, &subject.tree, &scrubber));
    Ok((facts, LiveMaterial { scrubber, diff, stored }))
}

/// Looks for another OpsChain in the cluster before the first installation. Nothing is changed.
async fn neighbours(ctx: &Ctx, history: &History, subject: &Subject) -> Result<NeighbourFacts> {
    if history.deployed().is_some() {
        return Ok(NeighbourFacts::default());
    }
    let chart = subject.chart.file.path();
    let limit = ctx.settings()?.helm.timeout.0;
    match ctx.helm().await?.render(&subject.upgrade(&ctx.install().release, &chart, limit)).await {
        Ok(rendered) => {
            for object in rendered.objects.iter().chain(&rendered.hooks) {
                objects::register_secrets(ctx.secrets(), &object.fields);
            }
            neighbours::gather(ctx, &rendered.objects).await
        }
        // What is wrong with it, helm says when it is deployed.
        Err(error) => Ok(NeighbourFacts {
            unread: Some(format!("the chart does not render: {}", ctx.secrets().scrub(&error.to_string()))),
            ..NeighbourFacts::default()
        }),
    }
}

/// Holds the live values against those that are to be deployed.
async fn live(
    ctx: &Ctx,
    history: &History,
    before: &[(LiveSource, &Tree)],
    subject: &Subject,
    identities: Option<&Identities>,
) -> Result<Vec<LiveFacts>> {
    if before.is_empty() {
        return Ok(Vec::new());
    }
    let new_defaults = subject.chart.defaults.as_ref().map_err(CommandError::copy)?;
    let recorded = live_defaults(ctx, history, before, identities).await?;
    // A live chart that cannot be opened is taken to have the defaults of the new one.
    let old_defaults = recorded.as_ref().unwrap_or(new_defaults);
    let new = Effective { values: &subject.tree, defaults: Some(new_defaults) };
    let facts = before.iter().map(|(source, tree)| LiveFacts {
        source: *source,
        version: tree.text(VERSION).map(str::to_owned),
        guarded: guard::guarded(Effective { values: tree, defaults: Some(old_defaults) }, new),
        credentials: order::changed_credentials(tree, &subject.tree),
    });
    Ok(facts.collect())
}

/// The own values of the chart that is live, where the vault has it and some guarded key was left to it.
async fn live_defaults(
    ctx: &Ctx,
    history: &History,
    before: &[(LiveSource, &Tree)],
    identities: Option<&Identities>,
) -> Result<Option<Tree>> {
    let left_out = before.iter().any(|(_, tree)| IMMUTABLE.iter().any(|known| tree.get(known.path).is_none()));
    let (true, Some(live), Some(identities)) = (left_out, history.live(), identities) else { return Ok(None) };
    let Some(archive) = ctx.vault()?.chart(live, identities)? else { return Ok(None) };
    Ok(Some(chart::defaults_of(ctx.helm().await?, &ChartFile::from_bytes(&archive)?).await?))
}
