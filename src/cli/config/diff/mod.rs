//! `dr config diff`.

mod human;
mod markdown;

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Serialize, Serializer};

use crate::cli::reveal;
use crate::cli::trust::TrustArgs;
use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{Access, CompareRequest, Compared, compare};
use crate::ui::{Page, Report, Ui};
use crate::values::diff::{Only, Options, Pattern};

const AFTER: &str = "\
Examples:
  dr config diff values.yaml
  dr config diff rev:3 rev:4 --raw
  dr config diff release live
  dr config diff git:HEAD~1:ops/values.yaml values.yaml --brief
  dr config diff bundle:latest live --exclude env.TZ --format markdown

What can be compared:
  live, latest       what is live; what was deployed last, whatever came of it
  1aab0b             a deployment: its id, its beginning, or its last six digits
  rev:7              the deployment that is helm's revision 7
  2026-08-20         the newest deployment of an OpsChain version
  2026-08-20T10:00   what was live then (UTC)
  prod.opschain:live a deployment of another install: NAMESPACE.RELEASE:WHICH
  ./values.yaml, -   a file, sealed with age or not; stdin
  release, release:7 what helm has stored: now, or as revision 7
  bundle:NAME        a bundle of the store (bundle:latest), or its file
  git:REV:PATH       a file in your own git repository
  git:REV            what was live when the vault stood at REV
A word that fits two of these is refused; deployment:WORD, bundle:WORD and
./WORD leave no doubt.

Paths (--exclude, --filter, the ignore file) name a place and all below it:
  env.OPSCHAIN_*     as diffs print them; in lists hosts[name=a].port,
                     hosts[*].port or hosts.port
  /env/TZ            a JSON pointer
  /_HOST$/           a regular expression";

/// Compare two values files, from wherever they are; exit code 2 when they differ
///
/// By path, as Helm reads the values: the order of keys does not count, and items of lists are matched by name, key or
/// id where that is unique. Texts are shown by line, certificates by field, JSON and YAML in texts by path. Secrets are
/// masked: the fingerprint after the mask tells same from changed.
///
/// Differences that `.drignore` beside the vault's folder names, with a reason, are ignored and counted.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct DiffArgs {
    /// The first; what is live when only one is given
    #[arg(value_name = "FROM")]
    first: String,
    /// The second
    #[arg(value_name = "TO")]
    second: Option<String>,
    /// How to write the differences
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// One line: how many, and where
    #[arg(long, conflicts_with_all = ["format", "raw"])]
    brief: bool,
    /// Line by line, as text, comments and layout too
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// A key that identifies the items of lists, before name, key and id (can be repeated)
    #[arg(long = "identifier", value_name = "KEY")]
    identifiers: Vec<String>,
    /// Lists are the same when they hold the same items, in whatever order
    #[arg(long)]
    ignore_order: bool,
    /// Do not compare this path (can be repeated)
    #[arg(long, value_name = "PATH|/REGEX/")]
    exclude: Vec<Pattern>,
    /// Tell only what differs at this path (can be repeated)
    #[arg(long, value_name = "PATH|/REGEX/")]
    filter: Vec<Pattern>,
    /// Tell only these kinds (can be repeated)
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<OnlyKind>,
    /// The accepted differences, if not .drignore beside the vault
    #[arg(long, value_name = "FILE")]
    ignore_file: Option<PathBuf>,
    /// Read no .drignore
    #[arg(long, conflicts_with = "ignore_file")]
    no_ignore_file: bool,
    /// Show secrets in the clear; give it twice where stdout is no terminal, or CI is set
    #[arg(long, action = ArgAction::Count)]
    show_secrets: u8,
    /// The age identity file, if not the settings'
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// How differences are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Human,
    /// One line
    Brief,
    /// As --output json
    Json,
    /// For a merge request
    Markdown,
    /// A unified text diff
    Raw,
}

/// Which kinds of changes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnlyKind {
    /// What was not there before
    Added,
    /// What is no longer there
    Removed,
    /// What is on both sides and not the same, or in another place
    Changed,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: DiffArgs) -> Result<Exit> {
    let reveal = reveal::show_secrets(args.show_secrets)?;
    let (from, to) = match args.second {
        Some(second) => (Some(args.first), second),
        None => (None, args.first),
    };
    let format = match (args.brief, args.raw) {
        (true, _) => Format::Brief,
        (_, true) => Format::Raw,
        _ => args.format,
    };
    let only = args.only.iter().map(|kind| match kind {
        OnlyKind::Added => Only::Added,
        OnlyKind::Removed => Only::Removed,
        OnlyKind::Changed => Only::Changed,
    });
    let request = CompareRequest {
        from,
        to,
        options: Options {
            identifiers: args.identifiers,
            ignore_order: args.ignore_order,
            exclude: args.exclude,
            filter: args.filter,
            only: only.collect(),
            rules: Vec::new(),
            reveal,
            layout: true,
        },
        ignore_file: args.ignore_file,
        no_ignore_file: args.no_ignore_file,
        access: Access {
            identity: args.identity,
            trusted_signers: args.trust.trusted_signers,
            trust_key: args.trust.trust_key,
            any_signer: args.trust.any_signer,
        },
        raw: format == Format::Raw,
    };
    let compared = compare(ctx, request).await?;
    let exit = compared.exit();
    let written = Written { compared, format };
    if reveal {
        ui.report_in_the_clear(&written)?
    } else {
        ui.report(&written)?
    }
    Ok(exit)
}

/// Differences, and how they are to be written.
struct Written {
    compared: Compared,
    format: Format,
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.compared.serialize(serializer)
    }
}

impl Report for Written {
    fn human(&self, page: &mut Page) {
        match self.format {
            Format::Human => human::page(page, &self.compared),
            Format::Brief => human::brief(page, &self.compared),
            Format::Markdown => page.line(markdown::page(&self.compared).trim_end()),
            Format::Raw => human::raw(page, &self.compared),
            Format::Json => page.line(serde_json::to_string_pretty(&self.compared).unwrap_or_default()),
        }
    }
}
