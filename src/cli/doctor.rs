//! `dr doctor`.

use clap::Args;

use crate::error::{Exit, Result};
use crate::ops::{Ctx, doctor};
use crate::ui::{Mark, Page, Report, Ui};

/// Say what is missing, with the command that mends it
#[derive(Debug, Args)]
#[command(after_help = "Ends with exit code 3 when something must be mended first.\n\nExample:\n  dr doctor")]
pub struct DoctorArgs {}

/// Runs the verb.
pub async fn run(ctx: &Ctx, ui: &Ui, _args: DoctorArgs) -> Result<Exit> {
    let findings = doctor::doctor(ctx).await;
    ui.report(&findings)?;
    Ok(if findings.ready { Exit::Success } else { Exit::Unready })
}

impl Report for doctor::Findings {
    fn human(&self, page: &mut Page) {
        let mut area = "";
        for finding in &self.findings {
            if finding.area != area {
                if !area.is_empty() {
                    page.gap();
                }
                area = finding.area;
                page.heading(area);
            }
            let mark = match finding.level {
                doctor::Level::Ok => Mark::Ok,
                doctor::Level::Warn => Mark::Warn,
                doctor::Level::Bad => Mark::Bad,
            };
            page.finding(mark, &finding.text, finding.fix.as_deref());
        }
        page.gap();
        page.next(&self.next);
    }
}
