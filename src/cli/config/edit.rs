//! `dr config edit`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;

use super::deployment::{DeploymentArgs, HOW_TO_NAME, IdentityArgs};
use super::recipients;
use crate::cli::changes::change_lines;
use crate::cli::deploy::{DeployOptionArgs, agreed, bundled, carry_out, listening};
use crate::error::{CommandError, Exit, Result};
use crate::ops::config::edit::{self, EditSource, Edited, Editing, EditorRequest, Review, Round};
use crate::ops::deploy::{self, DeployRequest, Prepared};
use crate::ops::{Ctx, runs};
use crate::ui::{Mark, Page, Report, Ui};
use crate::values::diff::Class;
use crate::values::lint::Severity;
use crate::values::overlay::Layer;

/// Edit the values of a deployment, and deploy what comes out
///
/// The editor is $VISUAL or $EDITOR; one that draws on a screen needs a terminal. It works in memory: nothing is written to
/// a disk in the clear. When it is closed,
/// the edited values are deployed as `dr deploy` does it: looked through, compared, guarded, and asked for. What is not
/// deployed is kept as a sealed draft.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  dr config edit
  dr config edit live --message 'more workers' --version 2026-08-20
  dr config edit --save draft.yaml.age
  dr config edit --draft draft.yaml.age

{}", HOW_TO_NAME))]
pub struct EditArgs {
    #[command(flatten)]
    which: DeploymentArgs,
    /// Go on with a draft that was kept
    #[arg(long, value_name = "FILE.age", conflicts_with_all = ["deployment", "at"])]
    draft: Option<PathBuf>,
    /// Do not deploy: keep the edited values, sealed to the vault's recipients, in this new file
    #[arg(long, value_name = "FILE.age")]
    save: Option<PathBuf>,
    /// The OpsChain version, such as 2026-08-20; without it the one that the values name
    #[arg(long)]
    version: Option<String>,
    /// The chart, if not the settings': an oci:// reference, a .tgz or a folder
    #[arg(long, value_name = "REF")]
    chart: Option<String>,
    #[command(flatten)]
    options: DeployOptionArgs,
    #[command(flatten)]
    pub(super) keys: IdentityArgs,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: EditArgs) -> Result<Exit> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let subject = match &args.draft {
        Some(path) => EditSource::Draft(path.clone()),
        None => EditSource::Deployment(args.which.or("live")),
    };
    let runtime = env("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places: Vec<PathBuf> = runtime.into_iter().chain([PathBuf::from("/dev/shm")]).collect();
    let words = env("VISUAL").or_else(|| env("EDITOR"));
    args.save.iter().try_for_each(|path| edit::refuse_taken(path))?;
    recipients::ask(ctx, ui)?;
    // What was typed is kept as a draft first.
    let _unfinished = ctx.events.unfinished();
    let request = EditorRequest {
        words: words.as_deref(),
        places: &places,
        at_terminal: io::stdin().is_terminal() && io::stdout().is_terminal(),
        no_input: ui.options().no_input,
    };
    let editing = edit::begin(ctx, &subject, &request)?;
    loop {
        let refused = match editing.round(ctx).await {
            Ok(Round::Unchanged) => {
                ui.report(&Unchanged { from: editing.name.clone(), changed: false })?;
                return Ok(Exit::Success);
            }
            Ok(Round::Unreadable(error)) => error,
            Ok(Round::Edited(edited)) => match decided(ctx, ui, &args, &editing, edited).await {
                Ok(Decided::Done(exit)) => return Ok(exit),
                Ok(Decided::Deploy(prepared)) => {
                    // From here on the values are in the vault.
                    let ctx = listening(ctx, ui, args.options.debug);
                    let prepared = bundled(&ctx, *prepared).await?;
                    ui.report(&deploy::execute(&ctx, prepared).await?)?;
                    return Ok(Exit::Success);
                }
                Err(error) => error,
            },
            Err(error) => return Err(kept(ctx, &editing, error)),
        };
        if ctx.check_cancelled().is_err() || !again(ui, &refused) {
            return Err(kept(ctx, &editing, refused));
        }
    }
}

enum Decided {
    Done(Exit),
    Deploy(Box<Prepared>),
}

/// Saves the edited values, or asks whether they are to be deployed.
async fn decided(ctx: &Ctx, ui: &Ui, args: &EditArgs, editing: &Editing, edited: Edited) -> Result<Decided> {
    let Edited { bytes, mut review } = edited;
    if let Some(path) = &args.save {
        if args.options.dry_run {
            ui.dry_run(&review)?;
        } else {
            editing.save(path)?;
            review.saved = Some(path.clone());
            ui.report(&review)?;
        }
        return Ok(Decided::Done(Exit::Success));
    }
    runs::put_back_interrupted(ctx, runs::InterruptedRuns::before(args.options.dry_run)).await?;
    let request = DeployRequest {
        layers: vec![Layer::file(format!("the edited values of {}", editing.name), bytes)],
        version: args.version.clone(),
        chart: args.chart.clone(),
        options: args.options.options(ui),
    };
    let prepared = deploy::plan(&listening(ctx, ui, args.options.debug), request).await?;
    if args.options.dry_run {
        carry_out(ctx, ui, prepared, true, None).await?;
        return Ok(Decided::Done(Exit::Success));
    }
    ui.plan(&prepared.plan);
    agreed(ui, prepared, args.options.confirm.as_deref()).map(|prepared| Decided::Deploy(Box::new(prepared)))
}

/// Whether to open the editor once more on what was refused.
fn again(ui: &Ui, refused: &CommandError) -> bool {
    if !ui.can_ask() || ui.options().yes {
        return false;
    }
    ui.error(refused);
    ui.confirm("Edit again?").is_ok()
}

/// The error, with where the work is kept.
fn kept(ctx: &Ctx, editing: &Editing, error: CommandError) -> CommandError {
    match editing.keep(ctx) {
        Ok(None) => error,
        Ok(Some(path)) => error
            .hint(format!("What you wrote is kept, sealed: `dr config edit --draft {}` continues it.", path.display())),
        Err(lost) => error.hint(format!("What you wrote could not be kept: {lost}.")),
    }
}

/// The editor was closed and nothing had changed.
#[derive(Debug, serde::Serialize)]
struct Unchanged {
    from: String,
    changed: bool,
}

impl Report for Unchanged {
    fn human(&self, page: &mut Page) {
        page.line(format!("Nothing was changed in the values of {}: nothing is recorded.", self.from));
    }
}

impl Report for Review {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("Edited values of {}: {}", self.from, self.diff.summary()));
        if self.diff.class == Class::Changed {
            change_lines(page, &self.diff);
        }
        for finding in &self.findings {
            let mark = match finding.severity {
                Severity::Error => Mark::Bad,
                Severity::Warning => Mark::Warn,
                Severity::Note => Mark::Ok,
            };
            let path = finding.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
            let text = format!("{}:{} {path}{}", finding.line, finding.column, finding.reason);
            page.finding(mark, &text, Some(&finding.fix));
        }
        for key in &self.guarded {
            page.finding(Mark::Bad, &format!("{} {}: {}", key.path, key.act, key.why), Some("give the old value back"));
        }
        if let Some(path) = &self.saved {
            page.line(format!("Kept, sealed, in {}.", path.display()));
            page.next(&format!("dr config edit --draft {}", path.display()));
        }
    }
}
