//! The bundle's chart with the bundle's values: as helm is given them, and what it would make of them.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::facts::OpenBundle;
use super::plan::{RestoreChart, RestorePlan};
use super::strategy::{self, VolumePlan};
use crate::cluster::KeptObject;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{self, ChartFile, Rendered, UpgradeRequest};
use crate::ops::{Ctx, objects, served};

/// Helm only applies: what is waited for is waited for, and shown, by the steps. Its hooks may take this long.
pub(super) const HELM_LIMIT: Duration = Duration::from_secs(600);
/// Nothing of the application writes yet, the database is one instance, and no hook of an upgrade waits for one that
/// sleeps.
pub(super) const ALONE: [(&str, &str); 3] =
    [("stopped", "true"), ("db.backup.preDeploy.enabled", "false"), ("db.cnpg.instances", "1")];

/// The exact bytes of the values: the bundle's, or those that were given in their place.
pub(super) fn values(bundle: &OpenBundle, plan: &RestorePlan) -> Result<Zeroizing<Vec<u8>>> {
    match &plan.config {
        Some(given) => given.bytes(),
        None => bundle.member("config/values.yaml.age"),
    }
}

/// The chart, as a file that helm can read; it goes when dropped.
pub(super) async fn chart(ctx: &Ctx, bundle: &OpenBundle, plan: &RestorePlan) -> Result<ChartFile> {
    match &plan.chart {
        RestoreChart::Bundle | RestoreChart::Kept => {
            let name = bundle.reader.chart().ok_or_else(|| {
                CommandError::new(Exit::Damaged, format!("bundle {} holds no chart", plan.bundle))
                    .hint("Name the chart's file with --chart.")
            })?;
            Ok(ChartFile::from_bytes(&bundle.member(name)?)?)
        }
        RestoreChart::Pulled { reference, version } => {
            let source = helm::ChartSource::parse(reference);
            Ok(ctx.helm().await?.fetch(&source, Some(version)).await?)
        }
    }
}

/// What helm is asked for: the chart with the bundle's values, and `sets` over them.
pub(super) fn request<'a>(
    plan: &'a RestorePlan,
    chart: &'a Path,
    values: &'a [u8],
    sets: &'a [(&'a str, &'a str)],
    description: Option<&'a str>,
) -> UpgradeRequest<'a> {
    UpgradeRequest {
        release: &plan.release,
        chart,
        values,
        sets,
        timeout: HELM_LIMIT,
        wait: false,
        create_namespace: false,
        description,
        debug: false,
    }
}

pub(super) fn sets<'a>(plan: &'a RestorePlan, sets: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    plan.lasting().into_iter().chain(sets.iter().copied()).collect()
}

/// The objects that helm would make of the stopped release. Nothing is changed, and what is secret in them is masked from
/// now on.
///
/// # Errors
/// The chart cannot be had, or does not render.
pub(super) async fn rendered(ctx: &Ctx, bundle: &OpenBundle, plan: &RestorePlan) -> Result<Rendered> {
    let (values, chart) = (values(bundle, plan)?, chart(ctx, bundle, plan).await?);
    let (path, sets) = (chart.path(), sets(plan, &ALONE));
    let rendered = ctx.helm().await?.render(&request(plan, &path, &values, &sets, None)).await;
    let rendered = rendered.map_err(|error| CommandError::from(error).context("render"))?;
    for object in rendered.objects.iter().chain(&rendered.hooks) {
        objects::register_secrets(ctx.secrets(), &object.fields);
    }
    Ok(rendered)
}

/// Refuses a chart of which the cluster serves not all kinds.
///
/// # Errors
/// [`Exit::Cluster`] naming them.
pub(super) async fn require_served(
    ctx: &Ctx,
    bundle: &OpenBundle,
    plan: &RestorePlan,
    rendered: &Rendered,
) -> Result<()> {
    let chart = chart(ctx, bundle, plan).await?;
    served::require(ctx, rendered.objects.iter().chain(&rendered.hooks), &chart.path()).await
}

/// The volume that a database with this `spec` has, or why it cannot be made before the database.
///
/// # Errors
/// The cluster cannot be asked.
pub(super) async fn volume(
    ctx: &Ctx,
    spec: &std::result::Result<Value, String>,
    plan: &RestorePlan,
) -> Result<std::result::Result<VolumePlan, String>> {
    let volume = match spec.clone().and_then(|spec| strategy::volume_of(&spec, &plan.database)) {
        Ok(volume) => volume,
        Err(why) => return Ok(Err(why)),
    };
    let class = volume.storage_class.as_deref();
    let facts = ctx.cluster().await?.storage().await?;
    Ok(match (&facts.classes, facts.class(class)) {
        (Some(_), Some(_)) => Ok(volume),
        // One that is only a name: its volumes were made beforehand, by whatever rules.
        (Some(_), None) => Err("its storage class makes no volumes".to_owned()),
        (None, _) => Err("nobody here may list storage classes".to_owned()),
    })
}

/// The Secrets that the chart makes for pulling images, and that are not among `kept`: the pod on a volume that is made
/// before helm runs needs them. They bear helm's marks, so that helm takes them over.
///
/// # Errors
/// The chart does not render, or such a Secret of it is none.
pub(super) async fn pull_secrets(
    ctx: &Ctx,
    bundle: &OpenBundle,
    plan: &RestorePlan,
    kept: &[KeptObject],
) -> Result<Vec<KeptObject>> {
    let known = |name: &str| kept.iter().any(|object| object.object().name == name);
    let named = plan.volume.iter().flat_map(|volume| &volume.placement.pull_secrets);
    let wanted: Vec<&String> = named.filter(|name| !known(name.as_str())).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rendered = rendered(ctx, bundle, plan).await?.objects;
    let made = rendered.into_iter().filter(|object| object.id.kind == "Secret" && wanted.contains(&&object.id.name));
    made.map(|object| {
        let name = object.id.to_string();
        // The cause is left out on purpose: it could quote a value.
        let secret = serde_json::from_value::<KeptObject>(object.fields)
            .map_err(|_| CommandError::new(Exit::Helm, format!("{name} of the chart is not understood")))?;
        Ok(secret.owned_by(&plan.namespace, &plan.release))
    })
    .collect()
}
