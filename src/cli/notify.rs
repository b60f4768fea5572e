//! `dr notify`.

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::notify::{self, NotifyReport};
use crate::ui::{Mark, Page, Report, Ui};

/// Who is told what came of a verb: the [[notify]] of the settings
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr notify test")]
pub struct NotifyArgs {
    #[command(subcommand)]
    verb: NotifySubcommand,
}

#[derive(Debug, Subcommand)]
enum NotifySubcommand {
    /// Send a message that says that it is a test, to all or to one
    ///
    /// A dead-man service takes it for a sign of life.
    #[command(after_help = "Examples:\n  dr notify test\n  dr notify test nightly")]
    Test {
        /// Its name in the settings
        name: Option<String>,
    },
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: NotifyArgs) -> Result<Exit> {
    let NotifySubcommand::Test { name } = args.verb;
    let report = notify::test(ctx, name.as_deref()).await?;
    ui.report(&report)?;
    Ok(if report.sent.iter().all(|line| line.error.is_none()) { Exit::Success } else { Exit::Failure })
}

impl Report for NotifyReport {
    fn human(&self, page: &mut Page) {
        for line in &self.sent {
            match &line.error {
                None => page.finding(Mark::Ok, &format!("{} was told", line.name), None),
                Some(error) => {
                    let text = format!("{} was not told: {error}", line.name);
                    page.finding(Mark::Bad, &text, line.way.as_deref())
                }
            }
        }
    }
}
