//! `dr bundle create | list | show | import | copy | verify | extract | diff | restore | pin | prune`.

mod copy;
mod diff;
mod extract;
mod import;
mod list;
mod pages;
mod pin;
mod prune;

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) use self::list::row as list_row;
pub(super) use self::pages::{is_to_verify, show_fields};

use self::pages::Scope;
use super::config::recipients;
use super::deploy;
use super::trust::{StoreArgs, TrustArgs};
use crate::bundle::SampleShare;
use crate::error::{Exit, Result};
use crate::names::ObjectName;
use crate::ops::deploy::DeployOptions;
use crate::ops::import as import_ops;
use crate::ops::runs::InterruptedRuns;
use crate::ops::{self, Ctx, bundles, create, restore};
use crate::settings::{Allow, NotifyVerb, Quiesce};
use crate::ui::Ui;

/// One restorable file of database and exact config: make, check, take apart, restore
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle create
  dr bundle list
  dr bundle restore --version 2026-08-20")]
pub struct BundleArgs {
    #[command(subcommand)]
    verb: BundleVerb,
}

#[derive(Debug, Subcommand)]
enum BundleVerb {
    Create(CreateArgs),
    List(list::ListArgs),
    Show(ShowArgs),
    Import(import::ImportArgs),
    Copy(Box<copy::CopyArgs>),
    Verify(VerifyArgs),
    Extract(extract::BundleExtractArgs),
    Diff(diff::BundleDiffArgs),
    Restore(RestoreArgs),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Prune(Box<prune::PruneArgs>),
    Unprune(prune::UnpruneArgs),
}

/// Make a bundle: database, values, chart and the Secrets that an install cannot make again
///
/// The database is copied while the application runs; API and workers stop for the last moment only. The file is read
/// back and verified before it is published. Whatever fails, API and workers get their replicas back.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dr bundle create --dry-run\n  dr bundle create --with git,steps,registry\n  dr bundle create --quiesce full --max-rate 100M"
)]
struct CreateArgs {
    /// How the application is quiesced
    #[arg(long, value_enum)]
    quiesce: Option<Quiesce>,
    /// Make it although these are there, and say so in it (can be repeated)
    #[arg(long, value_enum, value_name = "WHAT")]
    allow: Vec<Allow>,
    /// Take these volumes along: git, steps, registry; in the place of the settings' `bundle.with`
    ///
    /// The files of each go into the bundle, sealed as the database is: with owner, mode, times and links. They are read before
    /// the database. With --quiesce full API and workers are stopped meanwhile; else the application runs, and the bundle
    /// says which pods used the volume. `--with ""` takes none.
    #[arg(long, value_name = "VOLUMES", value_delimiter = ',')]
    with: Option<Vec<String>>,
    /// The most that PostgreSQL may read a second, such as 100M
    #[arg(long, value_name = "RATE", value_parser = crate::settings::max_rate_of)]
    max_rate: Option<String>,
    /// Look at everything, say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Show what a bundle says of itself: versions, sizes, recipients, what is not in it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle show opschain-20260820T101500Z-0a1b2c
  dr bundle show ./BUNDLE.tar --trusted-signers allowed_signers")]
struct ShowArgs {
    /// A bundle's name or its beginning, or a file; the newest of this install when absent
    bundle: Option<String>,
    /// Only what is not in it: why, and where it is to be had instead
    #[arg(long)]
    scope: bool,
    #[command(flatten)]
    place: StoreArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Check a bundle: its signature and checksums; with --decrypt every file of the database too
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle verify
  dr bundle verify --decrypt
  dr bundle verify --sample 5%
  dr bundle verify ./BUNDLE.tar --trusted-signers allowed_signers")]
struct VerifyArgs {
    /// A bundle's name or its beginning, or a file; the newest of this install when absent
    bundle: Option<String>,
    /// Open everything with the identity, and compare every database file with PostgreSQL's own manifest
    #[arg(long)]
    decrypt: bool,
    /// Read only so much of the database's chunks, at random, such as 5% or 0.5%; it counts as no proof of the bundle
    #[arg(long, value_name = "PERCENT")]
    sample: Option<SampleShare>,
    /// The age identity file, if not the settings'
    #[arg(long, value_name = "FILE", requires = "decrypt")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    place: StoreArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Restore a bundle into an empty namespace, or over an install that lives
///
/// Needs nothing but the bundle's file, a key that opens it, the signers to check it by, a cluster with the database
/// operator, and helm. Where `dr init` was run before, it is recorded, too. The plan is shown first. A restore that stops
/// is resumed by `dr run resume`, or given up by `dr run abort`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle restore --version 2026-08-20
  dr bundle restore BUNDLE.tar --identity KEYFILE --trusted-signers SIGNERS
  dr bundle restore --version 2026-08-20 --store ./bundles --identity KEYFILE
  dr bundle restore BUNDLE --version 2026-10-08 --then-upgrade
  dr bundle restore BUNDLE --into-existing --data-only
  dr bundle restore BUNDLE --config-only --dry-run")]
struct RestoreArgs {
    /// A bundle's name or its beginning, or a file; the newest good one that --version made when absent
    bundle: Option<String>,
    /// The OpsChain version that is to run afterwards, such as 2026-08-20; the bundle's own when absent
    #[arg(long = "version", value_name = "V")]
    version: Option<String>,
    /// Restore under the version that made the bundle, then upgrade to --version, one release at a time
    ///
    /// Each release is a deployment that has to serve before the next. Where one does not, the way ends there:
    /// `dr deploy upgrade` goes on.
    #[arg(long, requires_all = ["bundle", "version"], conflicts_with_all = ["config_only", "data_only", "allow_version"])]
    then_upgrade: bool,
    /// The age identity file, if not the settings'
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    place: StoreArgs,
    #[command(flatten)]
    trust: TrustArgs,
    /// The chart of a newer version, if not the settings'
    #[arg(long, value_name = "REF")]
    chart: Option<String>,
    /// A values file to deploy in the place of the bundle's; it must hold the keys that the data is written with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave the workers off until `dr server start`, so that nothing scheduled runs; so it is where the original may live
    #[arg(long, conflicts_with = "not_held")]
    held: bool,
    /// Start the workers although the original may live: both will run what is scheduled
    #[arg(long)]
    not_held: bool,
    /// Take a bundle that says that it was made later than now: a clock is wrong
    #[arg(long)]
    allow_future: bool,
    /// Restore under an older version, or one that cannot be compared, all the same
    #[arg(long)]
    allow_version: bool,
    /// How the data comes to its place in an empty namespace, if not as is best here
    ///
    /// Without it `adopt`, where that is possible, else `hibernate`; the plan says which, and why. Over an install that lives
    /// there is one way, which plans call `into-existing`: the flag of that name asks for it.
    #[arg(long)]
    strategy: Option<restore::RestoreStrategy>,
    /// Put the bundle in the place of the install that lives in the namespace: values, chart and data
    ///
    /// What is there is made a bundle of first, with API and workers stopped, and its data directory is kept until the
    /// restored database is proved: until then `dr run abort` brings all of it back. The namespace's name has to be typed.
    #[arg(long, conflicts_with_all = ["strategy", "take_over"])]
    into_existing: bool,
    /// With --into-existing: keep values, chart and Secrets of the install, and replace its data only
    ///
    /// Refused where its keys are not those that the bundle's data is written with.
    #[arg(long, requires = "into_existing", conflicts_with_all = ["chart", "config"])]
    data_only: bool,
    /// With --into-existing: make no bundle of what is there, which is lost for good then
    #[arg(long, requires = "into_existing")]
    no_safety_bundle: bool,
    /// With --into-existing, for scripts: the namespace whose install is replaced
    #[arg(long, value_name = "NAMESPACE", requires = "into_existing")]
    confirm: Option<String>,
    /// How the database is to be called, if not as the values say: its volumes, services and Secrets follow
    #[arg(long, value_name = "NAME", conflicts_with_all = ["into_existing", "config_only"])]
    database: Option<ObjectName>,
    /// Take over what the deleted namespace of this name has left in the cluster: cluster roles, priority classes, ...
    #[arg(long, value_name = "NAMESPACE")]
    take_over: Option<String>,
    /// Deploy the bundle's values and chart over the install that lives, and leave its database alone
    ///
    /// A deployment, recorded like any other. Refused where the keys of the bundle's config do not open the data that is
    /// there, and for another install's.
    #[arg(long, conflicts_with_all = ["chart", "config", "held", "not_held", "strategy", "take_over", "into_existing"])]
    config_only: bool,
    /// With --config-only: let through what `dr deploy` refuses, by its name (can be repeated)
    #[arg(long, value_name = "NAME", requires = "config_only")]
    allow: Vec<String>,
    /// Look at everything, say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl BundleArgs {
    /// What is done about interrupted runs first, where the verb works on the install and not only on bundles.
    pub fn interrupted_runs(&self) -> Option<InterruptedRuns> {
        match &self.verb {
            BundleVerb::Create(args) => Some(InterruptedRuns::before(args.dry_run)),
            BundleVerb::Restore(args) => Some(InterruptedRuns::before(args.dry_run)),
            _ => None,
        }
    }

    /// What others are told of, where they are.
    pub fn notified(&self) -> Option<NotifyVerb> {
        let (verb, dry_run) = match &self.verb {
            BundleVerb::Create(args) => (NotifyVerb::Create, args.dry_run),
            BundleVerb::Restore(args) => (NotifyVerb::Restore, args.dry_run),
            BundleVerb::Copy(args) => (NotifyVerb::Copy, args.dry_run),
            BundleVerb::Prune(args) => (NotifyVerb::Prune, args.is_dry_run()),
            _ => return None,
        };
        (!dry_run).then_some(verb)
    }
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: BundleArgs) -> Result<Exit> {
    match args.verb {
        BundleVerb::Create(args) => create(ctx, ui, args).await?,
        BundleVerb::List(args) if args.built_in => ui.report(&import_ops::list(ctx).await?)?,
        BundleVerb::List(args) => ui.report(&bundles::list(ctx, &args.into())?)?,
        BundleVerb::Show(args) => {
            let shown = bundles::show(ctx, &args.trust.request(args.bundle, None).in_store(args.place.store))?;
            match args.scope {
                true => ui.report(&Scope { bundle: shown.name, scope: shown.scope })?,
                false => ui.report(&shown)?,
            }
        }
        BundleVerb::Verify(args) => {
            let request = args.trust.request(args.bundle, args.identity).in_store(args.place.store);
            match args.sample.filter(|share| !share.is_whole()) {
                Some(share) => ui.report(&bundles::verify_sample(ctx, &request, args.decrypt, share)?)?,
                None => ui.report(&bundles::verify(ctx, &request, args.decrypt)?)?,
            }
        }
        BundleVerb::Import(args) => return import::run(ctx, ui, args).await,
        BundleVerb::Copy(args) => return copy::run(ctx, ui, *args),
        BundleVerb::Extract(args) => extract::run(ctx, ui, args)?,
        BundleVerb::Diff(args) => return diff::run(ctx, ui, args),
        BundleVerb::Restore(args) => restore(ctx, ui, args).await?,
        BundleVerb::Pin(args) => ui.report(&bundles::pin(ctx, &args.bundle, &args.reason)?)?,
        BundleVerb::Unpin(args) => ui.report(&bundles::unpin(ctx, &args.bundle)?)?,
        BundleVerb::Prune(args) => return prune::run(ctx, ui, *args).await,
        BundleVerb::Unprune(args) => {
            ui.report(&ops::prune::unprune(ctx, &args.bundle, args.place.store.as_deref())?)?
        }
    }
    Ok(Exit::Success)
}

async fn create(ctx: &Ctx, ui: &Ui, args: CreateArgs) -> Result<()> {
    let request = create::CreateRequest {
        quiesce: args.quiesce,
        allow: args.allow,
        max_rate: args.max_rate,
        with: args.with.map(|names| names.into_iter().filter(|name| !name.is_empty()).collect()),
        ..create::CreateRequest::default()
    };
    let plan = Box::pin(create::plan(ctx, &request)).await?;
    if args.dry_run {
        return ui.dry_run(&plan);
    }
    ui.plan(&plan);
    if plan.stops() {
        ui.confirm("Make this bundle, and stop API and workers for its last moment?")?;
    }
    ui.report(&create::create(ctx, plan).await?)
}

async fn restore(ctx: &Ctx, ui: &Ui, args: RestoreArgs) -> Result<()> {
    let request = restore::RestoreRequest {
        bundle: args.trust.request(args.bundle, args.identity).in_store(args.place.store),
        version: args.version,
        chart: args.chart,
        then_upgrade: args.then_upgrade,
        config: args.config,
        held: (args.held || args.not_held).then_some(args.held),
        allow_future: args.allow_future,
        allow_version: args.allow_version,
        strategy: args.strategy,
        existing: args
            .into_existing
            .then_some(restore::ExistingRequest { data_only: args.data_only, no_safety_bundle: args.no_safety_bundle }),
        database: args.database,
        take_over: args.take_over,
    };
    let which = |bundles: &[String]| ui.choose("Good bundles of several databases; the newest of each:", bundles);
    if args.config_only {
        if !args.dry_run {
            recipients::ask(ctx, ui)?;
        }
        let options = DeployOptions { wait: true, allow: args.allow, ..DeployOptions::default() };
        let prepared = restore::plan_config(ctx, &request, options, &which).await?;
        return deploy::carry_out(ctx, ui, prepared, args.dry_run, None).await;
    }
    let plan = Box::pin(restore::plan(ctx, &request, &which)).await?;
    if args.dry_run {
        return ui.dry_run(&plan);
    }
    ui.plan(&plan);
    match plan.existing {
        Some(_) => ui.confirm_name("the namespace", &plan.namespace, args.confirm.as_deref())?,
        None => ui.confirm(&format!("Restore into namespace {} of context {}?", plan.namespace, plan.context))?,
    }
    // What is restored is recorded at its end, and sealed then: nobody waits for that question.
    if ui.can_ask() && ctx.settings_or_defaults()?.vault.path.is_some() {
        match recipients::ask(ctx, ui) {
            // A vault that is not believed is no reason to restore nothing.
            Err(error) if error.exit() == Exit::Untrusted => {}
            asked => asked?,
        }
    }
    let then = plan.then_upgrade.clone();
    let restored = restore::restored_install(ctx, &plan);
    let report = restore::restore(ctx, plan).await?;
    match then {
        Some(then) => upgraded(&restored, ui, report, then).await,
        None => ui.report(&report),
    }
}

/// The upgrade that was asked for after the restore. Where it ends before its end, the restore is reported all the same.
async fn upgraded(ctx: &Ctx, ui: &Ui, mut report: restore::RestoreReport, then: restore::ThenUpgrade) -> Result<()> {
    let options = DeployOptions { wait: true, ..DeployOptions::default() };
    let way =
        deploy::upgrade::UpgradeWay { chart: then.chart.as_deref(), left_out: &[], confirm: None, options: &options };
    let upgraded = async {
        let path = ops::deploy::upgrade_path(ctx, &then.to, way.chart, &[], &[]).await?;
        deploy::upgrade::through(ctx, ui, path, &way).await
    };
    match upgraded.await {
        Ok(upgraded) => {
            report.next.retain(|command| *command != then.command(ctx.install()));
            report.upgraded = Some(upgraded);
            ui.report(&report)
        }
        Err(error) => {
            ui.report(&report)?;
            Err(error)
        }
    }
}
