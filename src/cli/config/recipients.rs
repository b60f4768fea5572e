//! `dr config recipients`.

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::recipients::{
    RecipientsReport, RecipientsRequest, accept, add, list, refuse_unknown, removal, remove, unknown,
};
use crate::ops::schedule;
use crate::text::plural;
use crate::ui::{Mark, Page, Report, Ui, short_time};

/// Who can open what is recorded: list, add and remove public keys
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  dr config recipients list\n  dr config recipients add age1... -m 'escrow key, in the safe'"
)]
pub struct RecipientsArgs {
    #[command(subcommand)]
    verb: RecipientsVerb,
}

#[derive(Debug, Subcommand)]
enum RecipientsVerb {
    /// List who can open what is recorded from now on, and who could once
    #[command(after_help = "Example:\n  dr config recipients list -o json")]
    List,
    /// Let a key open what is recorded from now on; `dr config rekey` opens what was recorded before
    #[command(after_help = "Example:\n  dr config recipients add age1... -m 'escrow key, in the safe'")]
    Add(ChangeArgs),
    /// Let this host seal to a key that another host has put on the list, and that its settings do not name
    #[command(after_help = "Example:\n  dr config recipients accept age1...")]
    Accept {
        /// The public keys
        #[arg(value_name = "age1...", required = true)]
        keys: Vec<String>,
    },
    /// Seal to a key no more; what its holder has read stays read
    #[command(after_help = "Example:\n  dr config recipients rm age1... -m 'left the company'\n  dr config rekey")]
    Rm {
        #[command(flatten)]
        change: ChangeArgs,
        /// Leave a single recipient
        #[arg(long)]
        allow_single: bool,
    },
}

#[derive(Debug, Args)]
struct ChangeArgs {
    /// The public key
    #[arg(value_name = "age1...")]
    key: String,
    /// Whose it is, or why it goes
    #[arg(short, long, value_name = "WHY")]
    message: Option<String>,
    /// Say what the list would be, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(ctx: &Ctx, ui: &Ui, args: &RecipientsArgs) -> Result<Exit> {
    let (report, dry_run) = match &args.verb {
        RecipientsVerb::List => (list(ctx)?, false),
        RecipientsVerb::Add(change) => (add(ctx, &request(change, false))?, change.dry_run),
        RecipientsVerb::Accept { keys } => (accept(ctx, keys)?, false),
        RecipientsVerb::Rm { change, allow_single } => {
            if !change.dry_run {
                ui.talk(&removal(ctx, &request(change, *allow_single))?);
                ui.confirm(&format!("Take {} from the list?", change.key))?;
            }
            (remove(ctx, &request(change, *allow_single))?, change.dry_run)
        }
    };
    if dry_run {
        ui.dry_run(&report)?
    } else {
        ui.report(&report)?;
        if !matches!(args.verb, RecipientsVerb::List) {
            schedule::renew_all(ctx).await;
        }
    }
    Ok(Exit::Success)
}

/// Asks about the recipients that this host does not know, before anything is sealed to them.
///
/// # Errors
/// The answer is no, or nobody can be asked.
pub fn ask(ctx: &Ctx, ui: &Ui) -> Result<()> {
    if !ui.can_ask() {
        return refuse_unknown(ctx);
    }
    for new in unknown(ctx)? {
        let why = new.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        ui.talk(&format!(
            "{} has put {}{why} on the vault's list of recipients, and this host does not know that key.",
            new.signer(),
            new.key
        ));
        ui.confirm_always(&format!("Let {} open what is recorded from now on?", new.key))?;
        accept(ctx, std::slice::from_ref(&new.key))?;
    }
    Ok(())
}

fn request(args: &ChangeArgs, allow_single: bool) -> RecipientsRequest<'_> {
    RecipientsRequest { key: &args.key, why: args.message.as_deref(), allow_single, dry_run: args.dry_run }
}

impl Report for RecipientsReport {
    fn human(&self, page: &mut Page) {
        let own = |key: &String| if self.own.contains(key) { "this host" } else { "" };
        let rows: Vec<Vec<String>> = self
            .holders
            .now
            .iter()
            .map(|holder| {
                let why = holder.why.clone().unwrap_or_default();
                vec![
                    holder.key.clone(),
                    short_time(holder.since),
                    holder.signer().to_owned(),
                    own(&holder.key).into(),
                    why,
                ]
            })
            .collect();
        page.table(&["recipient", "since", "added by", "", "why"], &rows);
        if !self.holders.past.is_empty() {
            page.gap();
            let past = self.holders.past.iter().map(|past| {
                let signer = past.signed_by.as_ref().map(|by| by.principal.clone()).unwrap_or_default();
                vec![past.key.clone(), short_time(past.until), signer, past.why.clone().unwrap_or_default()]
            });
            page.table(&["no recipient any more", "until", "removed by", "why"], &past.collect::<Vec<_>>());
        }
        page.gap();
        for warning in &self.warnings {
            page.finding(Mark::Warn, warning, None);
        }
        if self.due > 0 {
            let due = plural(self.due as u64, "sealed file");
            page.finding(Mark::Warn, &format!("{due} are sealed to other keys than these"), Some("dr config rekey"));
        } else {
            page.finding(Mark::Ok, "every version is sealed to these keys", None);
        }
    }
}
