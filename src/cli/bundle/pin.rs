//! `dr bundle pin | unpin`.

use clap::Args;

use crate::ops::bundles::PinReport;
use crate::ui::{Mark, Page, Report};

/// Keep a bundle whatever the rules say, with the reason
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr bundle pin opschain-20260820T101500Z-0a1b2c --reason audit")]
pub struct PinArgs {
    /// Its name or the beginning of it
    pub bundle: String,
    /// Why it has to stay; everybody who can read the store can read it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Let the rules decide about a bundle again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr bundle unpin opschain-20260820T101500Z-0a1b2c")]
pub struct UnpinArgs {
    /// Its name or the beginning of it
    pub bundle: String,
}

impl Report for PinReport {
    fn human(&self, page: &mut Page) {
        let bundle = &self.bundle;
        let text = match (&self.pinned, self.changed) {
            (Some(pin), true) => format!("{bundle} is pinned: {}", pin.reason),
            (Some(pin), false) => format!("{bundle} was pinned before: {pin}"),
            (None, true) => format!("{bundle} is pinned no longer"),
            (None, false) => format!("{bundle} was not pinned"),
        };
        page.finding(Mark::Ok, &text, None);
    }
}
