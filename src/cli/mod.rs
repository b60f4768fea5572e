//! The command line: one thin file a verb group; arguments in, one operation called, one report out.

mod agent;
mod bundle;
mod changes;
mod config;
mod deploy;
mod doctor;
mod evidence;
mod forecast;
mod image;
mod init;
mod login_plugin;
mod man;
mod nearby;
mod notify;
mod objects;
mod own_file;
mod passphrase;
mod rbac;
mod report;
pub mod reveal;
mod run;
mod schedule;
#[cfg(test)]
mod screens;
mod server;
mod shown;
mod signals;
mod status;
mod trust;
mod who;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::login_plugin::login_plugin;
use self::signals::Signals;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cores;
use crate::error::{CommandError, Exit, Result};
use crate::names::{NamespaceName, ReleaseName};
use crate::ops::keyring::Keyring;
use crate::ops::notify::Watch;
use crate::ops::runs::{self, InterruptedRuns};
use crate::ops::{self, CommandLine, Ctx, GivenInstall};
use crate::settings::{Install, NotifyVerb, Settings};
use crate::trace::{self, TraceOptions};
use crate::ui::{self, Color, Output, OutputOptions, Repeated, RepeatedFlag, Ui};
use crate::values::Secrets;

const ABOUT: &str = "Deploy, bundle and restore an OpsChain install.";
const AFTER: &str = "\
First time?   dr init      makes settings, keys, vault and store
              dr doctor    says what is missing, with the command that fixes it
Worst day?    dr bundle list, then dr bundle restore --version V
New host?     git clone -b main REMOTE ~/.local/share/dr/vault (if there is one)
              dr init --recipient ESCROW, then
              dr bundle restore BUNDLE.tar --identity KEYFILE --trusted-signers SIGNERS";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "dr", version, about = ABOUT, after_help = AFTER, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Args)]
struct Global {
    /// The namespace of the install
    #[arg(short, long, global = true, env = "DR_NAMESPACE", help_heading = "Global")]
    namespace: Option<NamespaceName>,
    /// The kubeconfig context
    #[arg(long, global = true, env = "DR_CONTEXT", help_heading = "Global")]
    context: Option<String>,
    /// The Helm release
    #[arg(long, global = true, env = "DR_RELEASE", help_heading = "Global")]
    release: Option<ReleaseName>,
    /// The settings file
    #[arg(long, global = true, env = "DR_SETTINGS", value_name = "FILE", help_heading = "Global")]
    settings: Option<PathBuf>,
    /// Results for people or as JSON
    #[arg(short, long, global = true, value_enum, default_value_t, help_heading = "Global")]
    output: Output,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Global")]
    color: Color,
    /// Only results, warnings and errors
    #[arg(short, long, global = true, help_heading = "Global")]
    quiet: bool,
    /// Shorten nothing, and show each call to helm, git, the database and the cluster with its duration and outcome, and
    /// what helm and the pods say; twice: everything (can be repeated)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global")]
    verbose: u8,
    /// Append all that -vv would show to a file, with times, secrets masked
    #[arg(long, global = true, env = "DR_LOG_FILE", value_name = "FILE", help_heading = "Global")]
    log_file: Option<PathBuf>,
    /// A file with the passphrase of the age identity, such as /dev/fd/3; asked for at the terminal otherwise
    #[arg(long, global = true, env = "DR_PASSPHRASE_FILE", value_name = "FILE", help_heading = "Global")]
    passphrase_file: Option<PathBuf>,
    /// Never ask; refuse where a question would be needed
    #[arg(long, global = true, help_heading = "Global")]
    no_input: bool,
    /// Answer plain questions with yes
    #[arg(short, long, global = true, help_heading = "Global")]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make settings, keys, vault and store
    Init(init::InitArgs),
    /// Say what is missing, with the command that fixes it
    Doctor(doctor::DoctorArgs),
    Status(status::StatusArgs),
    Report(report::ReportArgs),
    /// Turn the application off and back on
    Server(server::ServerArgs),
    Deploy(Box<deploy::DeployArgs>),
    Config(config::ConfigArgs),
    Bundle(bundle::BundleArgs),
    Run(run::RunArgs),
    Schedule(schedule::ScheduleArgs),
    Rbac(rbac::RbacArgs),
    Image(image::ImageArgs),
    Notify(notify::NotifyArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  dr completions bash > /etc/bash_completion.d/dr")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    Man(man::ManArgs),
    #[command(hide = true)]
    Agent(agent::AgentArgs),
}

impl Global {
    /// What commands that are named repeat: the flags that say which install is meant. What a variable says stays said.
    fn repeated(&self, matches: &ArgMatches) -> Vec<RepeatedFlag> {
        let settings = self.settings.as_ref().map(|path| path.display().to_string());
        let flags = [
            ("namespace", &["-n", "--namespace"][..], self.namespace.as_ref().map(ToString::to_string)),
            ("context", &["--context"], self.context.clone()),
            ("release", &["--release"], self.release.as_ref().map(ToString::to_string)),
            ("settings", &["--settings"], settings),
        ];
        let given = flags.into_iter().filter(|(id, ..)| matches.value_source(id) == Some(ValueSource::CommandLine));
        let global = given.filter_map(|(_, names, value)| Some(RepeatedFlag::global(names, ops::quoted(&value?))));
        global.chain(nearby::of_bundle(matches)).collect()
    }
}

impl Verb {
    /// What is done about interrupted runs first, where it works on the install.
    fn interrupted_runs(&self) -> Option<InterruptedRuns> {
        match self {
            Self::Deploy(args) => Some(args.interrupted_runs()),
            Self::Server(args) => Some(args.interrupted_runs()),
            Self::Bundle(args) => args.interrupted_runs(),
            _ => None,
        }
    }

    /// What others are told of, where they are.
    fn notified(&self) -> Option<NotifyVerb> {
        match self {
            Self::Deploy(args) => args.notified(),
            Self::Bundle(args) => args.notified(),
            _ => None,
        }
    }

    /// Whether it shows or starts the application, which needs nothing but the cluster.
    fn does_without_settings(&self) -> bool {
        matches!(self, Self::Server(args) if args.does_without_settings())
    }
}

async fn dispatch(ctx: &Ctx, ui: &Ui, verb: Verb, named: bool) -> Result<Exit> {
    let interrupted_runs = verb.interrupted_runs();
    // A settings file that is broken keeps nobody from the application.
    let without = match verb.does_without_settings() {
        true => Some(runs::without_settings(ctx, named)?),
        false => None,
    };
    let ctx = without.as_ref().unwrap_or(ctx);
    let done = async {
        if let Some(how) = interrupted_runs {
            // Without the settings that were meant, another install would be worked on.
            ctx.settings_or_defaults()?;
            runs::put_back_interrupted(ctx, how).await?;
        }
        run_verb(ctx, ui, verb, named).await
    };
    done.await.map_err(|error| {
        let error = match interrupted_runs {
            Some(_) => runs::open_behind(ctx, error),
            None => error,
        };
        runs::with_ways(ctx, error).or_look()
    })
}

async fn run_verb(ctx: &Ctx, ui: &Ui, verb: Verb, named: bool) -> Result<Exit> {
    match verb {
        Verb::Init(args) => init::run(ctx, ui, args).await,
        Verb::Doctor(args) => doctor::run(ctx, ui, args, named).await,
        Verb::Status(args) => status::run(ctx, ui, args).await,
        Verb::Report(args) => report::run(ctx, ui, args).await,
        Verb::Bundle(args) => bundle::run(ctx, ui, args).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "dr", &mut script);
            ui.data(&script)?;
            Ok(Exit::Success)
        }
        Verb::Man(args) => man::run(command(), &args),
        Verb::Agent(args) => agent::run(ui, args).await,
        Verb::Deploy(args) => deploy::run(ctx, ui, *args).await,
        Verb::Config(args) => config::run(ctx, ui, args).await,
        Verb::Server(args) => server::run(ctx, ui, args).await,
        Verb::Schedule(args) => schedule::run(ctx, ui, args).await,
        Verb::Run(args) => run::run(ctx, ui, args).await,
        Verb::Rbac(args) => rbac::run(ctx, ui, args).await,
        Verb::Image(args) => image::run(ctx, ui, args).await,
        Verb::Notify(args) => notify::run(ctx, ui, args).await,
    }
}

/// The command line's definition: for completions, man pages and the reference.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The whole program: parses `argv`, runs the verb, shows its error, and returns why it ended.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> Exit {
    cores::forbid();
    let mut argv: Vec<OsString> = argv.into_iter().collect();
    // `kubectl dr` finds the same file under the name kubectl-dr.
    let plugin = argv.first().is_some_and(|name| Path::new(name).file_name().is_some_and(|n| n == "kubectl-dr"));
    let program = if plugin { "kubectl dr" } else { "dr" };
    let given = CommandLine::new(program, argv.get(1..).unwrap_or_default());
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    // A variable that is set to nothing counts as unset, as with most programs.
    let mut command = command().mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    if plugin {
        command = command.bin_name("kubectl dr");
        if let Some(name) = argv.first_mut() {
            *name = "kubectl dr".into();
        }
    }
    let argv = nearby::help_asked(&command, argv);
    let parsed = command.try_get_matches_from_mut(argv).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        let repeated = cli.global.repeated(&matches);
        Ok((cli, repeated))
    });
    let (cli, repeated) = match parsed {
        Ok(parsed) => parsed,
        Err(mut error) => {
            nearby::name_elsewhere(&command, program, &mut error);
            // Help and version are data; anything else is a wrong use.
            return match error.use_stderr() {
                true => ui::usage(&error, examples(&command, &error), asked_output(&given)),
                false => ui::help(&error),
            };
        }
    };
    let global = cli.global.clone();
    let secrets = Secrets::default();
    ui::catch_panics(global.output, secrets.clone());
    let options = OutputOptions {
        output: global.output,
        color: global.color,
        quiet: global.quiet,
        verbose: global.verbose,
        no_input: global.no_input,
        yes: global.yes,
    };
    let ui = Ui::new(options, Repeated::new(program, repeated), secrets.clone());
    let Some(verb) = cli.verb else {
        return match ui.data(Cli::command().render_help().to_string().as_bytes()) {
            Ok(()) => Exit::Success,
            Err(error) => error.exit(),
        };
    };
    match work(&ui, global, verb, secrets, given) {
        Ok(exit) => exit,
        Err(error) => {
            ui.error(&error);
            error.exit()
        }
    }
}

/// The output that was asked for, of a command line that is not understood.
fn asked_output(given: &CommandLine) -> Output {
    let is_json = given.has_value(&["-o", "--output"], "json");
    if is_json { Output::Json } else { Output::Human }
}

/// The examples of the verb that something is missing for.
fn examples(command: &clap::Command, error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::MissingRequiredArgument {
        return None;
    }
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let usage = usage.to_string();
    let verb = usage.split_whitespace().fold(command, |verb, word| verb.find_subcommand(word).unwrap_or(verb));
    verb.get_after_help().and_then(|help| help.to_string().split("\n\n").next().map(str::to_owned))
}

fn work(ui: &Ui, global: Global, verb: Verb, secrets: Secrets, given: CommandLine) -> Result<Exit> {
    let scrubber = secrets.clone();
    trace::start(TraceOptions {
        verbose: global.verbose,
        log_file: global.log_file.clone(),
        events: ui.trace_events(),
        scrub: Arc::new(move |bytes| ui::plain_bytes(&scrubber.scrub_bytes(bytes))),
    })?;
    let homeless = matches!(verb, Verb::Agent(_) | Verb::Completions { .. } | Verb::Man(_));
    let named = global.namespace.is_some();
    let mut ctx = context(ui, global, secrets, homeless)?;
    ctx.given = given;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::new(Exit::Failure, "start the runtime").because(e))?;
    let result = runtime.block_on(async {
        // The agent ends its children itself, and a watchdog what its run has left.
        let _unfinished = matches!(verb, Verb::Agent(_)).then(|| ctx.events.unfinished());
        let signals = Signals::listen(ui.clone())?;
        let watch = verb.notified().and_then(|verb| Watch::begin(&mut ctx, verb, ui.can_ask()));
        let result = tokio::select! {
            biased;
            result = dispatch(&ctx, ui, verb, named) => result,
            () = signals::stopped(&ctx) => ctx.check_cancelled().map(|()| Exit::Success),
        };
        let result = signals.named_in(result);
        if let Some(watch) = watch {
            watch.ended(&ctx, &result).await;
        }
        result
    });
    // Threads that still wait for input of a dead child must not hold the program open.
    runtime.shutdown_background();
    result
}

/// The context of the verb. What keeps nothing on its host, such as the agent, may be homeless.
fn context(ui: &Ui, global: Global, secrets: Secrets, homeless: bool) -> Result<Ctx> {
    // A relative one would be another folder wherever dr is run: as the XDG specification asks, it counts as unset.
    let env = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = env("HOME").or_else(|| std::env::home_dir().filter(|home| home.is_absolute()));
    let under_home = |variable: &str, folder: &str| match (env(variable), &home) {
        (Some(own), _) => Ok(own.join("dr")),
        (None, Some(home)) => Ok(home.join(folder).join("dr")),
        (None, None) if homeless => Ok(PathBuf::from("/")),
        (None, None) => {
            Err(CommandError::new(Exit::Settings, format!("there is no home folder, and {variable} is not set"))
                .hint(format!("Set HOME, or {variable} to an absolute path.")))
        }
    };
    let named = global.settings.is_some();
    let settings_path = match global.settings {
        Some(path) => path,
        None => under_home("XDG_CONFIG_HOME", ".config")?.join("dr.toml"),
    };
    let given = GivenInstall { namespace: global.namespace, release: global.release };
    let flags = |install: &mut Install| {
        install.namespace = given.namespace.clone().unwrap_or_else(|| install.namespace.clone());
        install.release = given.release.clone().unwrap_or_else(|| install.release.clone());
        install.context = global.context.clone().or_else(|| install.context.clone());
    };
    let settings = Settings::read(&settings_path, home.as_deref());
    let state = under_home("XDG_STATE_HOME", ".local/state")?;
    let mut ctx = Ctx::new(settings_path, settings, flags, state, home, who::who());
    ctx.given_install = given;
    if named {
        ctx.refuse_defaults();
    }
    ctx.events = ui.events();
    ctx.cancel = ui.cancel().clone();
    let asker = passphrase::asker(ui.clone(), global.passphrase_file);
    Ok(ctx.with_keyring(Keyring::new(secrets, asker, ui.cancel().clone())))
}

#[cfg(test)]
mod tests {
    use clap::Command;

    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }

    #[test]
    fn a_verb_for_which_something_is_missing_answers_with_its_examples() {
        let mut found = Vec::new();
        verbs(&super::command(), "dr".into(), &mut found);
        let mut bare = 0;
        for (name, _) in &found[1..] {
            let mut command = super::command();
            let Err(error) = command.try_get_matches_from_mut(name.split(' ')) else { continue };
            let Some(examples) = super::examples(&command, &error) else {
                assert_ne!(error.kind(), super::ErrorKind::MissingRequiredArgument, "{name}");
                continue;
            };
            assert!(examples.starts_with("Example") && examples.contains("  dr "), "{name}: {examples}");
            bare += 1;
        }
        assert!(bare > 3, "{bare}");
    }

    fn verbs(command: &Command, name: String, found: &mut Vec<(String, Command)>) {
        found.push((name.clone(), command.clone()));
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            verbs(verb, format!("{name} {}", verb.get_name()), found);
        }
    }

    #[test]
    fn every_verb_has_an_example_and_none_is_broken_on_a_small_terminal() {
        let mut found = Vec::new();
        verbs(&super::command(), "dr".into(), &mut found);
        let mut wrong = Vec::new();
        for (name, command) in &found[1..] {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !after.contains("Example") {
                wrong.push(format!("{name} has no example"));
            }
            let long = after.lines().filter(|line| line.chars().count() > 80);
            wrong.extend(long.map(|line| format!("{name}: {line}")));
        }
        assert!(found.len() > 30, "{}", found.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
