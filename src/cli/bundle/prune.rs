//! `dr bundle prune | unprune`.

use clap::Args;

use crate::bundle::retention::KeepRules;
use crate::cli::trust::StoreArgs;
use crate::error::{Exit, Result};
use crate::ops::{Ctx, prune};
use crate::settings::DaySpan;
use crate::text::{bytes, plural};
use crate::ui::{Column, Mark, Page, Report, Styled, Ui, short_time};

/// Let bundles go that no rule keeps: marked first, removed by a later prune
///
/// The rules are those of [retention] in dr.toml, or those that are given instead. Days and weeks are those of UTC, and
/// only those that have a bundle count. What is marked is removed once its time of grace (7d, `retention.grace`) is over;
/// `dr bundle unprune` takes it back until then. Whatever the rules say, these stay: the newest of each OpsChain version, the
/// newest that was verified, what is pinned, being read, or locked by the store, and what cannot be read. What nobody trusted
/// has signed counts for no rule and stays.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle prune --keep-daily 7 --keep-weekly 4 --dry-run
  dr bundle prune --yes")]
pub struct PruneArgs {
    /// Keep the newest N
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest of each of N hours
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest of each of N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest of each of N weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest of each of N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest of each of N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep all made so long before the newest, or later: 36h, 30d, 12w
    #[arg(long, value_name = "TIME")]
    keep_within: Option<DaySpan>,
    /// Keep the newest N of each OpsChain version
    #[arg(long, value_name = "N")]
    keep_version: Option<u32>,
    /// Keep the newest N that were verified
    #[arg(long, value_name = "N")]
    keep_proved: Option<u32>,
    /// Judge the bundles of all installs of the store, not of this one only
    #[arg(long)]
    all_installs: bool,
    /// Where more than 30 % of the bytes go at once: the store, as it is called in the plan
    #[arg(long, value_name = "STORE")]
    confirm: Option<String>,
    /// Show the plan, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Take back that a bundle is marked as gone
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr bundle unprune opschain-20260820T101500Z-0a1b2c")]
pub struct UnpruneArgs {
    /// Its name or the beginning of it
    pub bundle: String,
    #[command(flatten)]
    pub place: StoreArgs,
}

impl PruneArgs {
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The rules that were given, if any were.
    fn rules(&self) -> Option<KeepRules> {
        let rules = KeepRules {
            last: self.keep_last.unwrap_or_default(),
            hourly: self.keep_hourly.unwrap_or_default(),
            daily: self.keep_daily.unwrap_or_default(),
            weekly: self.keep_weekly.unwrap_or_default(),
            monthly: self.keep_monthly.unwrap_or_default(),
            yearly: self.keep_yearly.unwrap_or_default(),
            within: self.keep_within.map(prune::span),
            version: self.keep_version.unwrap_or_default(),
            proved: self.keep_proved.unwrap_or_default(),
        };
        (!rules.is_empty()).then_some(rules)
    }
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: PruneArgs) -> Result<Exit> {
    let request = prune::PruneRequest { rules: args.rules(), all_installs: args.all_installs };
    let plan = prune::plan(ctx, &request).await?;
    if args.dry_run || plan.is_empty() {
        return ui.dry_run(&plan).map(|()| Exit::Success);
    }
    ui.plan(&plan);
    match plan.needs_name {
        true => ui.confirm_name("the store", &plan.store, args.confirm.as_deref())?,
        false => {
            let (marks, removes) = (plan.marks.len() as u64, plan.removes.len() as u64);
            ui.confirm(&format!(
                "Mark {} as gone, and remove {}?",
                plural(marks, "bundle"),
                plural(removes, "bundle")
            ))?;
        }
    }
    let report = prune::prune(ctx, &request, &plan).await?;
    ui.report(&report)?;
    Ok(report.failure.unwrap_or(Exit::Success))
}

impl Report for prune::PrunePlan {
    fn human(&self, page: &mut Page) {
        page.heading("Plan: prune bundles");
        page.fields(&[
            ("store", format!("{}, {}", self.store, bytes(self.bytes))),
            ("rules", self.rules.clone()),
            ("grace", format!("{} h from the mark to the removal", self.grace_hours)),
        ]);
        let row = |word: &'static str| {
            move |line: &prune::PruneLine| -> Vec<Styled> {
                let created = line.created.map(short_time).unwrap_or_default();
                vec![
                    line.bundle.as_str().into(),
                    word.into(),
                    bytes(line.bytes).into(),
                    line.why.as_str().into(),
                    created.into(),
                ]
            }
        };
        let mut rows: Vec<Vec<Styled>> = self.removes.iter().map(row("remove")).collect();
        rows.extend(self.marks.iter().map(row("mark")));
        rows.extend(self.waits.iter().map(row("wait")));
        rows.extend(self.stays.iter().map(row("keep")));
        if !rows.is_empty() {
            let heads =
                ["bundle".into(), Column::whole("act"), Column::whole("size"), "why".into(), Column::spare("created")];
            page.table(&heads, &rows);
        }
        for (bundle, reason) in &self.unreadable {
            page.finding(Mark::Warn, &format!("{bundle} stays: it cannot be read: {reason}"), None);
        }
        for (bundle, reason) in &self.strangers {
            let text = format!("{bundle} stays, and counts for no rule: nobody trusted here has signed it: {reason}");
            page.finding(Mark::Warn, &text, Some(&format!("dr bundle show {bundle} --any-signer")));
        }
        if self.of_others > 0 {
            let text = format!("{} of other installs are not judged (--all-installs)", self.of_others);
            page.finding(Mark::Ok, &text, None);
        }
        if self.is_empty() {
            page.line("Nothing goes.");
        }
    }
}

impl Report for prune::PruneReport {
    fn human(&self, page: &mut Page) {
        if !self.removed.is_empty() {
            let (count, freed) = (plural(self.removed.len() as u64, "bundle"), bytes(self.removed_bytes));
            let text = match self.keeps_removed {
                true => format!(
                    "{count} removed; the bucket keeps {freed} of them as versions until its own rules let them go"
                ),
                false => format!("{count} removed, {freed}"),
            };
            page.finding(Mark::Ok, &text, None);
        }
        if let Some(first) = self.marked.first() {
            let count = plural(self.marked.len() as u64, "bundle");
            let text = format!("{count} marked as gone: removed by a prune in {} h or later", self.grace_hours);
            page.finding(Mark::Ok, &text, None);
            page.next(&format!("to take one back: dr bundle unprune {first}"));
        }
        if self.removed.is_empty() && self.marked.is_empty() && self.failed.is_empty() {
            page.line("Nothing of the plan was still so: nothing was changed.");
        }
        for (bundle, reason) in &self.failed {
            page.finding(Mark::Bad, &format!("{bundle} is as it was: {reason}"), None);
        }
    }
}

impl Report for prune::UnpruneReport {
    fn human(&self, page: &mut Page) {
        let text = match self.changed {
            true => format!("{} is no longer marked as gone; to keep it whatever the rules say, pin it", self.bundle),
            false => format!("{} was not marked as gone", self.bundle),
        };
        page.finding(Mark::Ok, &text, None);
        if self.changed {
            page.next(&format!("dr bundle pin {} --reason TEXT", self.bundle));
        }
    }
}
