//! `dr doctor`.

use clap::Args;

use super::status::schedules;
use crate::error::{Exit, Result};
use crate::ops::{Ctx, doctor};
use crate::ui::{Mark, Page, Report, Ui};

/// Say what is missing, with the command that fixes it
#[derive(Debug, Args)]
#[command(after_help = "Ends with exit code 3 when something must be fixed first.\n\nExample:\n  dr doctor")]
pub struct DoctorArgs {}

pub async fn run(ctx: &Ctx, ui: &Ui, _args: DoctorArgs) -> Result<Exit> {
    let ctx = &ctx.without_waits();
    let schedules = schedules(ctx).await?;
    let findings = doctor::doctor(ctx, &schedules).await;
    // What was not answered because of the signal is no finding.
    ctx.check_cancelled()?;
    ui.report(&findings)?;
    Ok(if findings.ready { Exit::Success } else { Exit::Unready })
}

impl Report for doctor::Findings {
    fn human(&self, page: &mut Page) {
        for finding in &self.findings {
            let mark = match finding.level {
                doctor::Level::Ok => Mark::Ok,
                doctor::Level::Warn => Mark::Warn,
                doctor::Level::Bad => Mark::Bad,
            };
            // The part stands before the text, so the text need not begin with it.
            let text = finding.text.strip_prefix(finding.area).and_then(|text| text.strip_prefix(' '));
            page.finding_of(finding.area, mark, text.unwrap_or(&finding.text), finding.fix.as_deref());
        }
        page.next(&self.next);
    }
}
