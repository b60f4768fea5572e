//! What `dr report` says of a store: what `dr status` and `dr bundle list` say, at one moment.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Ctx;
use super::bundles::{self, BundleList, ListRequest};
use super::schedule::ScheduleLine;
use super::status::{self, AllStatus, StatusReport};
use crate::clock;
use crate::error::Result;

/// A store, as it is seen now.
#[derive(Debug)]
pub struct StoreOverview {
    pub at: Timestamp,
    /// How this install stands; nothing of another store than the settings'.
    pub status: Option<StatusReport>,
    /// All installs, where the store has bundles of several.
    pub installs: Option<AllStatus>,
    /// The bundles, or why they are not known.
    pub bundles: std::result::Result<BundleList, String>,
}

/// Looks at the settings' store, with what is scheduled on this host; or at the one that is called `place`.
///
/// # Errors
/// There are no settings; or a store that is named cannot be listed. That the settings' own cannot is a part of what is said.
pub fn store_overview(ctx: &Ctx, place: Option<String>, schedules: Vec<ScheduleLine>) -> Result<StoreOverview> {
    let request = ListRequest { store: place, ..ListRequest::default() };
    if request.store.is_some() {
        let bundles = Ok(bundles::list(ctx, &request)?);
        return Ok(StoreOverview { at: clock::now(), status: None, installs: None, bundles });
    }
    let status = status::status(ctx, schedules)?;
    let bundles = bundles::list(ctx, &request).map_err(|error| error.to_string());
    // What was not answered because of the signal is no finding.
    ctx.check_cancelled()?;
    let installs = match bundles.as_ref().is_ok_and(has_several_installs) {
        true => Some(status::all(ctx)?),
        false => None,
    };
    Ok(StoreOverview { at: status.at, status: Some(status), installs, bundles })
}

fn has_several_installs(list: &BundleList) -> bool {
    let installs = list.found.bundles.iter().filter_map(|row| Some((row.namespace.as_ref()?, row.release.as_ref()?)));
    installs.collect::<BTreeSet<_>>().len() > 1
}
