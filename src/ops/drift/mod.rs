//! `dr config drift`: what the vault says, what helm has stored, what the cluster has.
//!
//! Three columns, compared in pairs: the live deployment's values with the values of helm's deployed revision, and the
//! objects of that revision with those of the cluster. Each difference is told with its cause, as far as helm's history
//! and the objects' managed fields know it. No secret is shown: both sides are masked before they are compared.

mod before;
mod cause;
mod ignore;
mod live;
mod loss;
mod release;

use std::time::Duration;

use serde::Serialize;

pub use before::{Known, before_deploy};
pub use cause::Cause;
pub use ignore::Ignored;

use super::Ctx;
use super::objects::{self, Field, compare, veil_values};
use crate::cluster::Cluster;
use crate::crypt::Identities;
use crate::error::Result;
use crate::helm::{Helm, Revision};
use crate::settings::Settings;
use crate::values::{Path, Scrubber, Segment, Tree};
use crate::vault::{Deployment, Vault};

/// Between which two columns something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Between {
    /// The vault and helm's stored release.
    VaultHelm,
    /// helm's stored release and the cluster.
    HelmCluster,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Between which columns.
    pub between: Between,
    /// What: `release`, `values`, or an object such as `Deployment opschain-api`.
    pub object: String,
    /// Why.
    pub cause: Cause,
    /// The cause in words.
    pub text: String,
    /// What differs, the left column as the old one; none where the whole is meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

impl Finding {
    fn new(between: Between, object: String, cause: Cause, fields: Vec<Field>) -> Self {
        Self { between, object, text: cause.text(), cause, fields }
    }
}

/// The vault's column.
#[derive(Debug, Clone, Serialize)]
pub struct VaultSide {
    /// The deployment that it holds to be live.
    pub deployment: String,
    /// When it was recorded.
    pub at: jiff::Timestamp,
    /// The OpsChain version.
    pub version: Option<String>,
    /// helm's revision, where it was recorded.
    pub revision: Option<u32>,
}

/// helm's column.
#[derive(Debug, Clone, Serialize)]
pub struct HelmSide {
    /// The revision that is deployed.
    pub revision: u32,
    /// Since when.
    pub at: String,
    /// `name-version` of its chart.
    pub chart: String,
}

/// How far a column was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Compared {
    /// It was.
    Whole {
        /// How many values or objects were looked at.
        count: usize,
    },
    /// It was not.
    Not {
        /// Why.
        because: String,
    },
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct DriftReport {
    /// The namespace.
    pub namespace: String,
    /// The Helm release.
    pub release: String,
    /// The vault's column; none when it has no deployment that went live.
    pub vault: Option<VaultSide>,
    /// helm's column; none when nothing is deployed.
    pub helm: Option<HelmSide>,
    /// How far the values were compared.
    pub values: Compared,
    /// How far the objects were compared.
    pub objects: Compared,
    /// What differs.
    pub drift: Vec<Finding>,
    /// What differs and is meant to.
    pub ignored: Vec<Ignored>,
    /// What is worth saying beside.
    pub notes: Vec<String>,
}

impl DriftReport {
    /// 0 when nothing differs that is not meant to, else [`crate::error::Exit::Drift`].
    pub fn exit(&self) -> crate::error::Exit {
        if self.drift.is_empty() { crate::error::Exit::Success } else { crate::error::Exit::Drift }
    }
}

/// What is known before the comparison: read by the caller, who may need it for more.
struct Sources<'a> {
    settings: &'a Settings,
    helm: &'a Helm,
    vault: &'a Vault,
    identities: Option<&'a Identities>,
    deployments: &'a [Deployment],
    history: &'a [Revision],
    /// How long the objects may take.
    limit: Option<Duration>,
}

/// Compares vault, release and objects. Nothing is changed.
///
/// # Errors
/// Vault or helm cannot be read. A cluster that does not answer for its objects is said in the report.
pub async fn drift(ctx: &Ctx) -> Result<DriftReport> {
    let settings = ctx.settings()?;
    let vault = ctx.vault()?;
    let identities = ctx.identities_if_set()?;
    let helm = ctx.helm().await?;
    let history = helm.history(&settings.install.release).await?;
    let deployments = vault.deployments(&ctx.vault_install())?;
    let sources = Sources {
        settings,
        helm,
        vault,
        identities: identities.as_ref(),
        deployments: &deployments,
        history: &history,
        limit: None,
    };
    look(ctx, &sources).await
}

async fn look(ctx: &Ctx, from: &Sources<'_>) -> Result<DriftReport> {
    let release = &from.settings.install.release;
    let key = from.identities.map(|identities| from.vault.fingerprint_key(identities)).transpose()?;
    let mut scrubber = objects::masker(key)?;
    let stored = match from.history.iter().rfind(|revision| revision.status.is_deployed()) {
        Some(revision) => from.helm.get_values(release, Some(revision.revision)).await?,
        None => None,
    };
    if let Some(stored) = &stored {
        teach(&mut scrubber, stored);
    }
    // helm's error in a failed revision may quote the secrets that it was to bring.
    if let Some(failed) = from.history.last().filter(|revision| revision.status.is_failed())
        && let Some(meant) = from.helm.get_values(release, Some(failed.revision)).await?
    {
        teach(&mut scrubber, &meant);
    }
    let mut judged = release::judge(from.deployments, from.history, &scrubber);
    let recorded = match (judged.deployment, from.identities) {
        (Some(deployment), Some(identities)) => {
            let bytes = from.vault.values(deployment, identities)?;
            let tree = Tree::parse(&bytes)?;
            scrubber.learn_tree(&tree);
            // A second time, now that the scrubber knows what helm's words might quote.
            judged = release::judge(from.deployments, from.history, &scrubber);
            Some(tree)
        }
        _ => None,
    };
    let mut report = DriftReport {
        namespace: from.settings.install.namespace.clone(),
        release: release.clone(),
        vault: judged.deployment.map(|deployment| VaultSide {
            deployment: deployment.id().to_string(),
            at: deployment.record.at,
            version: deployment.record.opschain_version.clone(),
            revision: deployment.revision(),
        }),
        helm: judged.revision.map(|revision| HelmSide {
            revision: revision.revision,
            at: revision.updated.clone(),
            chart: revision.chart.clone(),
        }),
        values: Compared::Not { because: String::new() },
        objects: Compared::Not { because: String::new() },
        drift: Vec::new(),
        ignored: Vec::new(),
        notes: judged.notes.clone(),
    };
    report.values = values(from, &judged, recorded.as_ref(), stored.as_ref(), &scrubber, &mut report.drift);
    report.objects = live_objects(ctx, from, judged.revision, &scrubber, &mut report).await?;
    let (left, ignored) = ignore::apply(std::mem::take(&mut report.drift), &from.settings.drift.ignore);
    report.drift = left;
    report.ignored.extend(ignored);
    name_writers(ctx, from, &mut report).await;
    Ok(report)
}

/// The vault's values against helm's, with the cause that helm's history gives.
fn values(
    from: &Sources<'_>,
    judged: &release::Judged<'_>,
    recorded: Option<&Tree>,
    stored: Option<&serde_json::Value>,
    scrubber: &Scrubber,
    drift: &mut Vec<Finding>,
) -> Compared {
    let empty = serde_json::json!({});
    let fields = match (recorded, stored) {
        (Some(tree), Some(stored)) => {
            let stored = if stored.is_null() { &empty } else { stored };
            Some(compare(&veil_values(&tree.to_json(), scrubber), &veil_values(stored, scrubber)))
        }
        _ => None,
    };
    let mut fields_left = fields.clone().unwrap_or_default();
    // The chart is part of what was recorded.
    if let (Some(deployment), Some(revision)) = (judged.deployment, judged.revision) {
        let chart = &deployment.record.chart;
        let recorded = format!("{}-{}", chart.name, chart.version);
        if recorded != revision.chart {
            let path = Path(vec![Segment::Key("(chart)".into())]);
            let (old, new) = (Some(recorded.into()), Some(revision.chart.as_str().into()));
            fields_left.insert(0, Field { path, what: objects::Act::Changed, old, new });
        }
    }
    for cause in &judged.causes {
        let takes_fields = matches!(cause, Cause::DeployedOutside { .. } | Cause::RolledBack { .. });
        let fields = if takes_fields { std::mem::take(&mut fields_left) } else { Vec::new() };
        let object = if fields.is_empty() { "release" } else { "values" };
        drift.push(Finding::new(Between::VaultHelm, object.into(), cause.clone(), fields));
    }
    if !fields_left.is_empty() {
        let how = match (judged.own, recorded) {
            (true, Some(tree)) => Cause::ResolverLoss { how: loss::read_otherwise(tree, from.helm) },
            _ => Cause::Unknown,
        };
        drift.push(Finding::new(Between::VaultHelm, "values".into(), how, fields_left));
    }
    if let Some(tree) = recorded.filter(|_| stored.is_some()) {
        let rounded = loss::rounded(tree, scrubber);
        if !rounded.is_empty() {
            let cause =
                Cause::ResolverLoss { how: "helm computes with 64-bit floats, which cannot hold the number".into() };
            drift.push(Finding::new(Between::VaultHelm, "values".into(), cause, rounded));
        }
    }
    match (recorded, stored, judged.deployment) {
        (Some(tree), Some(_), _) => Compared::Whole { count: tree.leaves().len() },
        (_, None, None) => Compared::Not { because: "neither the vault nor helm has anything of this release".into() },
        (_, None, _) => Compared::Not { because: "helm has no deployed revision".into() },
        (_, _, None) => Compared::Not { because: "the vault has no deployment that went live".into() },
        (None, _, Some(_)) => {
            Compared::Not { because: "no identity on this host opens the vault's values (`[keys] identity`)".into() }
        }
    }
}

async fn live_objects(
    ctx: &Ctx,
    from: &Sources<'_>,
    revision: Option<&Revision>,
    scrubber: &Scrubber,
    report: &mut DriftReport,
) -> Result<Compared> {
    let Some(revision) = revision else {
        return Ok(Compared::Not { because: "helm has no deployed revision".into() });
    };
    let stored = match from.helm.get_manifest(&from.settings.install.release, revision.revision).await {
        Ok(stored) => stored,
        Err(error) => return Ok(Compared::Not { because: scrubber.scrub(&error.to_string()).into_owned() }),
    };
    ctx.events.waiting(format!("the cluster's {} objects of revision {}", stored.len(), revision.revision), None);
    let newest = from.history.last().filter(|newest| newest.status.is_failed());
    let failed = newest.map(|newest| newest.revision).filter(|number| *number > revision.revision);
    let looking = async {
        let cluster = ctx.cluster().await?;
        live::look(cluster, &stored, failed, scrubber, ctx.secrets()).await
    };
    let looked = match from.limit {
        Some(limit) => tokio::time::timeout(limit, looking).await.unwrap_or_else(|_| {
            let text = format!("the cluster did not answer for all of them in {} s", limit.as_secs());
            Err(crate::error::CommandError::new(crate::error::Exit::Timeout, text))
        }),
        None => looking.await,
    };
    match looked {
        Ok(looked) => {
            report.drift.extend(looked.findings);
            report.notes.extend(looked.notes);
            let meant = looked.meant.into_iter().map(|(object, path, reason)| Ignored { object, path, reason });
            report.ignored.extend(meant);
            Ok(Compared::Whole { count: looked.compared })
        }
        Err(error) => Ok(Compared::Not { because: scrubber.scrub(&error.to_string()).into_owned() }),
    }
}

/// Asks the cluster which program wrote helm's foreign revisions. Not to know it is no failure.
async fn name_writers(ctx: &Ctx, from: &Sources<'_>, report: &mut DriftReport) {
    let mut cluster: Option<&Cluster> = None;
    for finding in &mut report.drift {
        let (Cause::DeployedOutside { revision, by, .. } | Cause::RolledBack { revision, by, .. }) = &mut finding.cause
        else {
            continue;
        };
        if cluster.is_none() {
            cluster = ctx.cluster().await.ok();
        }
        let Some(cluster) = cluster else { return };
        let secret = format!("sh.helm.release.v1.{}.v{revision}", from.settings.install.release);
        *by = cluster.writer_of_secret(&secret).await.ok().flatten().map(|manager| manager.name);
        finding.text = finding.cause.text();
    }
}

/// Values that helm stored hold the secrets of whoever deployed them.
fn teach(scrubber: &mut Scrubber, stored: &serde_json::Value) {
    let text = zeroize::Zeroizing::new(stored.to_string());
    if let Ok(tree) = Tree::parse(text.as_bytes()) {
        scrubber.learn_tree(&tree);
    }
}
