//! `dr init`.

use std::path::PathBuf;

use clap::Args;

use crate::error::{CommandError, Exit, Result};
use crate::ops::{Ctx, init};
use crate::ui::{Mark, Page, Report, Ui};

/// Make settings, keys, vault and store; what is there is kept
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dr init --recipient age1...\n\nThe recipient is the escrow key, whose private half lies in a safe elsewhere."
)]
pub struct InitArgs {
    /// A public key that can open everything, beside this host's own (can be repeated)
    #[arg(long, value_name = "age1...")]
    recipient: Vec<String>,
    /// Where the config vault is to be
    #[arg(long, value_name = "FOLDER")]
    vault: Option<PathBuf>,
    /// Where bundles are to be kept: a folder, or a bucket (s3://BUCKET/PREFIX)
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Protect this host's new identity with a passphrase, asked for twice or read from --passphrase-file
    #[arg(long)]
    passphrase: bool,
    /// Say what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Write a settings file with every key to stdout, and make nothing
    #[arg(long, conflicts_with = "dry_run")]
    print: bool,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: InitArgs) -> Result<Exit> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let data = data.or_else(|| ctx.home.as_ref().map(|home| home.join(".local/share")));
    let data = data.ok_or_else(|| {
        CommandError::new(Exit::Settings, "there is no home folder, and XDG_DATA_HOME is not set")
            .hint("Set HOME, or XDG_DATA_HOME to an absolute path.")
    })?;
    let data = data.join("dr");
    let absolute = |folder: PathBuf| std::path::absolute(&folder).unwrap_or(folder);
    let request = init::InitRequest {
        recipients: args.recipient,
        vault: args.vault.map(absolute),
        store: args.store.map(|place| match place.contains("://") {
            true => place,
            false => absolute(PathBuf::from(place)).display().to_string(),
        }),
        data,
        passphrase: args.passphrase,
        dry_run: args.dry_run,
    };
    if args.print {
        ui.data(init::settings_text(ctx, &request)?.as_bytes())?;
    } else {
        ui.report(&init::init(ctx, &request)?)?;
    }
    Ok(Exit::Success)
}

impl Report for init::Initialised {
    fn human(&self, page: &mut Page) {
        let word = |outcome: init::InitOutcome| match outcome {
            init::InitOutcome::Made => "made",
            init::InitOutcome::Kept => "kept",
            init::InitOutcome::WouldMake => "would make",
        };
        let row = |item: &init::Item| {
            vec![word(item.outcome).to_owned(), item.what.to_owned(), item.path.display().to_string()]
        };
        page.table(&["", "what", "where"], &self.items.iter().map(row).collect::<Vec<_>>());
        if let Some(key) = &self.public_key {
            page.gap();
            page.fields(&[("this host's age public key", format!("{key}: what is sealed to it, this host can open"))]);
        }
        if !self.warnings.is_empty() {
            page.gap();
        }
        for warning in &self.warnings {
            page.finding(Mark::Warn, warning, None);
        }
        page.gap();
        page.next(&self.next);
    }
}
