//! `dr doctor`.

use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;

use super::status::schedules;
use crate::error::{Exit, Result};
use crate::ops::{Ctx, doctor};
use crate::ui::{Mark, Page, Report, Ui};

/// Say what is missing, with the command that fixes it
#[derive(Debug, Args)]
#[command(
    after_help = "Ends with exit code 3 when something must be fixed first.\n\nExamples:\n  dr doctor\n  dr doctor --probe   # before the day on which it counts"
)]
pub struct DoctorArgs {
    /// Also start the pods of a backup and of a restore, and remove them again
    ///
    /// 1 MiB goes there and back each way. Nothing else is touched.
    #[arg(long)]
    probe: bool,
}

/// `named` says that the namespace was given.
pub async fn run(ctx: &Ctx, ui: &Ui, args: DoctorArgs, named: bool) -> Result<Exit> {
    let ctx = &ctx.without_waits();
    // Where settings or cluster are broken, that is a finding, and is not said here, too.
    let unsaid = Arc::new(Mutex::new(Vec::new()));
    let mut aside = ctx.clone();
    let kept = Arc::clone(&unsaid);
    aside.events =
        ctx.events.heard_by(move |stamped| kept.lock().unwrap_or_else(PoisonError::into_inner).push(stamped.event));
    let schedules = schedules(&aside).await?;
    let findings = doctor::doctor(ctx, &schedules, named, args.probe).await;
    let explains = |finding: &doctor::Finding| {
        finding.level == doctor::Level::Bad && ["settings", "cluster"].contains(&finding.area)
    };
    if !findings.findings.iter().any(explains) {
        unsaid.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|event| ctx.events.emit(event));
    }
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
