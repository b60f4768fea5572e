//! The hooks of a site: executables that are run before and after a verb, or a step of its run.
//!
//! A hook is bounded in time and has no say over what was done: one that comes before may stop what it comes before, which
//! then fails like any step, so that what was stopped is put back; one that comes after is told the outcome. A run that is
//! resumed begins its step again, and the hooks before it, too.

use std::collections::BTreeSet;
use std::future::Future;
use std::process::{ExitStatus, Stdio};

use jiff::Timestamp;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::{Ctx, quoted};
use crate::clock;
use crate::error::{CommandError, Exit, Result, make_own};
use crate::event::{Event, Events};
use crate::journal::Step;
use crate::ownership::{FileUse, others_can};
use crate::settings::{HookSettings, HookTime, NotifyVerb};

/// What of this environment a hook finds: where programs and files are, and no key.
const PASSED_ON: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TZ", "KUBECONFIG"];
/// The most bytes of its output that are shown.
const SHOWN: u64 = 64 << 10;

/// What a hook is told, on its stdin. Nothing in it is secret.
#[derive(Debug, Serialize)]
struct HookInput<'a> {
    format: u32,
    when: HookTime,
    verb: NotifyVerb,
    step: Option<&'a str>,
    namespace: &'a str,
    release: &'a str,
    context: Option<&'a str>,
    by: &'a str,
    at: Timestamp,
    /// Of one that comes after: whether it succeeded, and why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    dr: &'static str,
}

/// Does the work of a verb between its hooks.
///
/// # Errors
/// Those of the work; a hook before it failed that stops it.
pub async fn around<T>(ctx: &Ctx, verb: NotifyVerb, work: impl Future<Output = Result<T>>) -> Result<T> {
    before(ctx, verb, None).await?;
    let done = work.await;
    after(ctx, verb, None, done.as_ref().err().map(ToString::to_string)).await;
    done
}

/// Says what keeps a hook of the verb from being run, before anything is done; `steps` are all that a run of it can have.
///
/// # Errors
/// One would stop what it comes before: then it stops all of it, while nothing is half done.
pub fn require(ctx: &Ctx, verb: NotifyVerb, steps: &BTreeSet<&str>) -> Result<()> {
    for hook in of(ctx, verb) {
        match trouble(hook, steps) {
            Some(error) if hook.stops() => {
                let way = "To go on without it, give that hook `on_failure = \"warn\"` in dr.toml, or take it out.";
                return Err(error.hint(way));
            }
            Some(error) => ctx.events.warn(error.to_string(), error.hints().first().cloned()),
            None => {}
        }
    }
    Ok(())
}

/// What keeps a hook from being run.
pub fn trouble(hook: &HookSettings, steps: &BTreeSet<&str>) -> Option<CommandError> {
    runnable(hook).err().or_else(|| {
        let step = hook.step.as_deref().filter(|step| !steps.contains(step))?;
        let known = steps.iter().copied().collect::<Vec<_>>().join(", ");
        let what = format!("is never run: no {} has a step `{}`", hook.verb.words(), step.escape_debug());
        Some(failed(hook, what).hint(format!("Its steps are: {known}.")))
    })
}

/// Whether it is a file that this user may run and nobody else may write.
fn runnable(hook: &HookSettings) -> Result<()> {
    let cannot = |error| cannot(hook, error);
    if let Some(others) = others_can(&hook.run, FileUse::Trust).map_err(cannot)? {
        let path = hook.run.display().to_string();
        return Err(failed(hook, others.to_string()).hint(make_own(&path, &others)));
    }
    if !hook.run.metadata().map_err(cannot)?.is_file() {
        return Err(failed(hook, "is no file".into()).hint("`run` of the hook in dr.toml names an executable."));
    }
    rustix::fs::access(&hook.run, rustix::fs::Access::EXEC_OK).map_err(|_| {
        failed(hook, "is not executable".into())
            .hint(format!("Run `chmod u+x {}`.", quoted(&hook.run.display().to_string())))
    })
}

fn failed(hook: &HookSettings, what: String) -> CommandError {
    CommandError::new(Exit::Failure, format!("hook {} {what}", hook.run.display()))
}

fn cannot(hook: &HookSettings, error: std::io::Error) -> CommandError {
    let hint = "Look at `run` of the hook in dr.toml, and at the file.";
    failed(hook, "cannot be run".into()).because(error).hint(hint)
}

/// The same steps, each between its hooks.
pub fn around_steps<W: Sync + 'static>(
    ctx: &Ctx,
    verb: NotifyVerb,
    steps: Vec<Step<W, CommandError>>,
) -> Vec<Step<W, CommandError>> {
    for hook in of(ctx, verb) {
        let missing = hook.step.as_deref().filter(|step| !steps.iter().any(|known| known.name() == *step));
        if let Some(step) = missing {
            let what = format!("hook {} is not run: this {} has no step {step}", hook.run.display(), verb.words());
            ctx.events.warn(what, Some("`dr run show` has the names of the steps of each run.".into()));
        }
    }
    let of_step = |name: &str| of(ctx, verb).any(|hook| hook.step.as_deref() == Some(name));
    let hooked = |step: Step<W, CommandError>| {
        if !of_step(step.name()) {
            return step;
        }
        let (name, first, last) = (step.name(), ctx.clone(), ctx.clone());
        step.between(
            move || {
                let ctx = first.clone();
                Box::pin(async move { before(&ctx, verb, Some(name)).await })
            },
            move |error| {
                let ctx = last.clone();
                Box::pin(async move { after(&ctx, verb, Some(name), error).await })
            },
        )
    };
    steps.into_iter().map(hooked).collect()
}

/// The hooks of a verb and its steps. Without settings there are none.
fn of(ctx: &Ctx, verb: NotifyVerb) -> impl Iterator<Item = &HookSettings> {
    let hooks = ctx.settings().map(|settings| settings.hooks.as_slice()).unwrap_or_default();
    hooks.iter().filter(move |hook| hook.verb == verb)
}

async fn before(ctx: &Ctx, verb: NotifyVerb, step: Option<&str>) -> Result<()> {
    for hook in of(ctx, verb).filter(|hook| hook.when == HookTime::Before && hook.step.as_deref() == step) {
        match run(ctx, hook, input(ctx, hook, step)).await {
            Err(error) if hook.stops() || error.exit() == Exit::Interrupted => return Err(error),
            Err(error) => ctx.events.warn(error.to_string(), error.hints().first().cloned()),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// What fails of a hook here is a warning: the result is what it was.
async fn after(ctx: &Ctx, verb: NotifyVerb, step: Option<&str>, error: Option<String>) {
    // It is bounded: who asks to stop waits for it.
    let _unfinished = ctx.events.unfinished();
    for hook in of(ctx, verb).filter(|hook| hook.when == HookTime::After && hook.step.as_deref() == step) {
        let error = error.as_ref().map(|error| ctx.secrets().scrub(error).into_owned());
        let input = HookInput { succeeded: Some(error.is_none()), error, ..input(ctx, hook, step) };
        if let Err(error) = run(ctx, hook, input).await {
            ctx.events.warn(error.to_string(), error.hints().first().cloned());
        }
    }
}

fn input<'a>(ctx: &'a Ctx, hook: &HookSettings, step: Option<&'a str>) -> HookInput<'a> {
    let install = ctx.install();
    HookInput {
        format: 1,
        when: hook.when,
        verb: hook.verb,
        step,
        namespace: &install.namespace,
        release: &install.release,
        context: install.context.as_deref(),
        by: &ctx.who,
        at: clock::now(),
        succeeded: None,
        error: None,
        dr: env!("CARGO_PKG_VERSION"),
    }
}

/// Runs one to its end, or for as long as it may take; what it says is shown.
async fn run(ctx: &Ctx, hook: &HookSettings, input: HookInput<'_>) -> Result<()> {
    runnable(hook)?;
    let path = hook.run.display().to_string();
    let (failed, cannot) = (|what: String| failed(hook, what), |error| cannot(hook, error));
    let told = serde_json::to_vec(&input).map_err(|error| failed(format!("cannot be told: {error}")))?;
    let passed_on = PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let mut command = Command::new(&hook.run);
    command.env_clear().envs(passed_on).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
    let ended = tokio::select! {
        ended = ended(&mut child, &told, &ctx.events, &path) => ended.map_err(cannot),
        () = tokio::time::sleep(hook.timeout.0) => Err(failed(format!("did not end within {}", hook.timeout))
            .hint("`timeout` of the hook in dr.toml says how long it may take.")),
        // What comes after tells of the end, also of one that was asked for.
        () = ctx.cancel.cancelled(), if hook.when == HookTime::Before => Err(super::interrupted()),
    };
    // What it has begun and left behind ends with it.
    if let Some(group) = group {
        _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = ended?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(format!("failed ({status})"))
            .hint(format!("Run it by hand: it is given JSON on stdin (`{path} < FILE`)."))),
    }
}

/// Tells it what there is to tell, and passes on what it says. One that does not listen, or closes its output, is none the
/// worse.
async fn ended(child: &mut Child, told: &[u8], events: &Events, path: &str) -> std::io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let tell = async {
        if let Some(mut stdin) = stdin {
            _ = stdin.write_all(told).await;
        }
    };
    let talk = async { tokio::join!(tell, pass_on(stdout, events, path), pass_on(stderr, events, path)) };
    tokio::select! {
        // Both ends: what it has said by then was passed on, and what holds its output open is not waited for.
        biased;
        _ = talk => child.wait().await,
        status = child.wait() => status,
    }
}

async fn pass_on(output: Option<impl AsyncRead + Unpin>, events: &Events, path: &str) {
    let Some(output) = output else { return };
    let (mut output, mut left) = (BufReader::new(output), SHOWN);
    while left > 0 {
        let mut line = Vec::new();
        match (&mut output).take(left).read_until(b'\n', &mut line).await {
            Ok(1..) => left = left.saturating_sub(line.len() as u64),
            _ => return,
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        events.emit(Event::Log { source: path.to_owned(), line });
    }
    // Read to its end all the same: it would die of a pipe that nobody reads.
    _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
}
