//! `dr bundle prune | unprune`: rules decide which bundles stay; what goes is marked first and removed by a later prune.
//!
//! facts -> plan -> steps: `facts` reads catalog and clocks, `plan` decides without I/O, `steps` looks again and does what
//! both plans say. There is no journal: each bundle is marked or removed in one act, and whatever ends it, the next prune
//! goes on from what it sees.

mod facts;
mod plan;
mod steps;

use std::collections::BTreeSet;

use jiff::SignedDuration;

pub use plan::{PruneLine, PrunePlan};
pub use steps::{PruneReport, UnpruneReport, unprune};

use super::Ctx;
use crate::bundle::retention::KeepRules;
use crate::error::Result;
use crate::ops::hooks;
use crate::settings::{DaySpan, NotifyVerb, RetentionSettings};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// The rules that were given; those of the settings when absent.
    pub rules: Option<KeepRules>,
    /// Whether the bundles of all installs are judged, and not of this one only.
    pub all_installs: bool,
}

/// Says what would go and what stays, each with the reason. Changes nothing.
///
/// # Errors
/// There are no rules, a clock is odd, the store cannot be listed, or a hook that would stop it cannot be run.
pub async fn plan(ctx: &Ctx, request: &PruneRequest) -> Result<PrunePlan> {
    hooks::require(ctx, NotifyVerb::Prune, &BTreeSet::new())?;
    planned(ctx, request).await
}

async fn planned(ctx: &Ctx, request: &PruneRequest) -> Result<PrunePlan> {
    let retention = &ctx.settings()?.retention;
    let rules = request.rules.unwrap_or_else(|| rules_of(retention));
    plan::plan(facts::facts(ctx, request.all_installs).await?, rules, span(retention.grace))
}

/// Does what the plan says, as far as it is still so when everything is looked at again.
///
/// # Errors
/// As [`plan()`]; a bundle that could not be marked or removed is in the report.
pub async fn prune(ctx: &Ctx, request: &PruneRequest, confirmed: &PrunePlan) -> Result<PruneReport> {
    hooks::around(ctx, NotifyVerb::Prune, async {
        let now = planned(ctx, request).await?;
        steps::carry_out(ctx, &confirmed.still_in(&now))
    })
    .await
}

fn rules_of(settings: &RetentionSettings) -> KeepRules {
    KeepRules {
        last: settings.keep_last,
        hourly: settings.keep_hourly,
        daily: settings.keep_daily,
        weekly: settings.keep_weekly,
        monthly: settings.keep_monthly,
        yearly: settings.keep_yearly,
        within: settings.keep_within.map(span),
        version: settings.keep_version,
        proved: settings.keep_proved,
    }
}

/// The length as the rules have it.
pub fn span(span: DaySpan) -> SignedDuration {
    SignedDuration::try_from(span.0).unwrap_or(SignedDuration::MAX)
}
