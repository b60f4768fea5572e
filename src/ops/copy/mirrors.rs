//! The stores that are to hold what the first one holds.

use serde::Serialize;

use super::facts::facts;
use super::plan::plan;
use super::request::{CopyRequest, CopySelection, stopped};
use super::steps::{CopyReport, carry_out};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::bundles::BundleRequest;

/// What was carried into each of them.
#[derive(Debug, Default, Serialize)]
pub struct MirrorsReport {
    pub mirrors: Vec<MirrorReport>,
    /// What the first failure is, as an exit code says it.
    #[serde(skip)]
    pub failure: Option<Exit>,
}

/// What was carried into one, or why nothing could be.
#[derive(Debug, Serialize)]
pub struct MirrorReport {
    pub store: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<CopyReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What can be done about that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// Carries into each mirror of the settings what it has not.
///
/// # Errors
/// There are no mirrors, or the user has asked to stop. What fails of one mirror is in the report.
pub fn make_up(ctx: &Ctx, trust: &BundleRequest, bytes_a_second: Option<u64>) -> Result<MirrorsReport> {
    let places = ctx.settings()?.store.mirror_places();
    if places.is_empty() {
        return Err(CommandError::new(Exit::Settings, "no mirrors are set")
            .hint("Each is a table [[store.mirrors]] with a `path` or `url` in dr.toml; or name a store with --to."));
    }
    let mut report = MirrorsReport::default();
    for place in places {
        let carried = carry(ctx, CopySelection::All, &place, trust, bytes_a_second);
        if ctx.cancel.is_cancelled() {
            return Err(stopped());
        }
        let failed = carried.as_ref().map_or_else(|error| Some(error.exit()), |carried| carried.failure);
        report.failure = report.failure.or(failed);
        let (error, hints) = match &carried {
            Ok(_) => (None, Vec::new()),
            Err(error) => (Some(error.to_string()), error.hints().to_vec()),
        };
        report.mirrors.push(MirrorReport { store: place, report: carried.ok(), error, hints });
    }
    Ok(report)
}

/// Carries a bundle that was just published into each mirror, then what else is behind there. Returns where it is beside
/// the first store.
///
/// # Errors
/// It is in fewer stores than `store.policy` asks for, or the user has asked to stop.
pub fn after_create(ctx: &Ctx, bundle: &str) -> Result<Vec<String>> {
    let settings = &ctx.settings()?.store;
    let (places, trust) = (settings.mirror_places(), BundleRequest::default());
    let (mut copies, stores) = (Vec::new(), places.len() + 1);
    let mut failures = Vec::new();
    for place in places {
        let carried = carry(ctx, CopySelection::One(bundle.to_owned()), &place, &trust, None);
        if ctx.cancel.is_cancelled() {
            return Err(stopped().hint(published(bundle)));
        }
        match carried {
            Ok(carried) if carried.marked.is_empty() => copies.push(place.clone()),
            Ok(_) => failures.push(format!("{place}: it is marked as gone there")),
            Err(error) => failures.push(format!("{place}: {error}")),
        }
        // What is behind there and stays so is said by status.
        if let Ok(Some(error)) =
            carry(ctx, CopySelection::All, &place, &trust, None).map(|all| all.failed.into_iter().next())
        {
            ctx.events.note(format!("store {place}: bundle {} is not there yet: {}", error.0, error.1));
        }
    }
    let needed = settings.policy.needed(stores);
    if copies.len() + 1 < needed {
        let what = format!(
            "bundle {bundle} is in {} of {stores} stores, and `store.policy` asks for {needed} ({})",
            copies.len() + 1,
            failures.join("; ")
        );
        return Err(CommandError::new(Exit::Store, what).hint(published(bundle)));
    }
    for failure in failures {
        ctx.events.warn(format!("bundle {bundle} is not in store {failure}"), Some(published(bundle)));
    }
    Ok(copies)
}

fn published(bundle: &str) -> String {
    format!("Bundle {bundle} is whole in the first store; `dr bundle copy --mirrors` makes up what is missing.")
}

fn carry(
    ctx: &Ctx,
    selection: CopySelection,
    place: &str,
    trust: &BundleRequest,
    bytes_a_second: Option<u64>,
) -> Result<CopyReport> {
    let request = CopyRequest { selection, from: None, to: place.to_owned(), bytes_a_second, trust: trust.clone() };
    let plan = plan(facts(ctx, &request)?)?;
    tokio::task::block_in_place(|| carry_out(ctx, &request, &plan))
}
