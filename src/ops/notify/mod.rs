//! Telling others what came of a verb: those of `[[notify]]` in the settings.
//!
//! A message that cannot be sent is a warning; it changes no exit code, and holds nothing up for longer than some seconds.

mod limit;
mod mail;
mod message;
mod secret;
mod send;

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use self::message::NotifyMessage;
pub use self::secret::NotifyFailure;
use super::Ctx;
use crate::clock;
use crate::error::{CommandError, Exit, Result};
use crate::event::{Event, Stamped};
use crate::settings::{NotifyKind, NotifyOn, NotifySettings, NotifyVerb};

/// What is known of a verb that others are told of.
pub struct Watch {
    verb: NotifyVerb,
    /// Whether a person sits there, who sees by himself what is refused at once.
    is_attended: bool,
    begun: Arc<Mutex<Begun>>,
}

/// The run, once there is one, and what is being sent about its start.
#[derive(Default)]
struct Begun {
    run: Option<String>,
    told: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches a verb that is about to be done in `ctx`: from then on its run is known, and that it has begun is told.
    /// `None` where nobody is told of it, or there are no settings.
    pub fn begin(ctx: &mut Ctx, verb: NotifyVerb, is_attended: bool) -> Option<Self> {
        let told = |notify: &NotifySettings| {
            [NotifyOn::Start, NotifyOn::Success, NotifyOn::Failure].iter().any(|on| notify.is_told(*on, verb))
        };
        if !ctx.settings().is_ok_and(|settings| settings.notify.iter().any(told)) {
            return None;
        }
        let begun = Arc::new(Mutex::new(Begun::default()));
        let (unwatched, seen, runtime) = (ctx.clone(), Arc::clone(&begun), Handle::current());
        let heard = ctx.events.heard_by(move |Stamped { run, event, .. }| {
            let is_start = matches!(event, Event::RunStarted { .. });
            unwatched.events.emit(event);
            let mut begun = seen.lock().unwrap_or_else(PoisonError::into_inner);
            // A run within another one, as of a bundle before a deployment, is a part of it.
            if is_start && begun.run.is_none() {
                begun.run = run;
                let start = message(&unwatched, verb.words(), NotifyOn::Start, format!("{} has begun", verb.words()));
                let start = NotifyMessage { run: begun.run.clone(), ..start };
                let ctx = unwatched.clone();
                begun.told = Some(runtime.spawn(async move { tell(&ctx, verb, &start).await }));
            }
        });
        ctx.events = heard;
        Some(Self { verb, is_attended, begun })
    }

    /// Tells how it ended.
    pub async fn ended(self, ctx: &Ctx, result: &Result<Exit>) {
        let (run, told) = {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            (begun.run.clone(), begun.told.take())
        };
        if self.is_attended && run.is_none() && result.is_err() {
            return;
        }
        if let Some(told) = told {
            // The start before the end. It is bounded, and one that panicked has told nothing.
            drop(told.await);
        }
        let (on, exit, text, what_to_do) = message::outcome(self.verb.words(), result);
        let what_to_do = what_to_do.iter().map(|way| ctx.secrets().scrub(way).into_owned()).collect();
        let ended = message(ctx, self.verb.words(), on, text);
        let ended = NotifyMessage { run, exit_code: Some(exit.code()), kind: Some(exit.name()), what_to_do, ..ended };
        tell(ctx, self.verb, &ended).await;
    }
}

fn message(ctx: &Ctx, command: &str, event: NotifyOn, text: String) -> NotifyMessage {
    let install = ctx.install();
    NotifyMessage {
        at: clock::now(),
        install: format!("{}/{}", install.namespace, install.release),
        by: ctx.who.clone(),
        command: command.to_owned(),
        event,
        run: None,
        exit_code: None,
        kind: None,
        message: ctx.secrets().scrub(&text).into_owned(),
        what_to_do: Vec::new(),
        dr: env!("CARGO_PKG_VERSION"),
    }
}

/// Sends it to all who are told of it, at the same time.
async fn tell(ctx: &Ctx, verb: NotifyVerb, message: &NotifyMessage) {
    let Ok(settings) = ctx.settings() else { return };
    let told = settings.notify.iter().filter(|notify| notify.is_told(message.event, verb));
    let sent = join_all(told.map(|notify| async move { (notify, send::send(ctx, notify, message).await) })).await;
    for (notify, failure) in sent.into_iter().filter_map(|(notify, sent)| Some((notify, sent.err()?))) {
        let what = format!("{} was not told of it: {}", notify.name, failure.what);
        ctx.events.warn(what, Some("`dr notify test` tries all of [[notify]] in dr.toml.".into()));
    }
}

/// `dr notify test`.
#[derive(Debug, PartialEq, Serialize)]
pub struct NotifyReport {
    pub sent: Vec<NotifyLine>,
}

/// What came of one.
#[derive(Debug, PartialEq, Serialize)]
pub struct NotifyLine {
    pub name: String,
    pub kind: NotifyKind,
    /// Why it was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
}

/// Reads the files that lead to one who is told, and sends nothing.
///
/// # Errors
/// One cannot be read, others may read it, or it holds no address.
pub async fn readable(ctx: &Ctx, to: &NotifySettings) -> std::result::Result<(), NotifyFailure> {
    if to.url_file.is_some() {
        send::address(ctx, to).await?;
    }
    for (path, what) in [(&to.secret_file, "signing secret"), (&to.password_file, "password file")] {
        if let Some(path) = path {
            ctx.secrets().register(secret::secret(path, what).await?.as_bytes());
        }
    }
    Ok(())
}

/// Sends one message, which says that it is a test, to all of the settings or to the one of this name.
///
/// # Errors
/// There is none to send to. What fails of one is in the report.
pub async fn test(ctx: &Ctx, name: Option<&str>) -> Result<NotifyReport> {
    let all = &ctx.settings()?.notify;
    let chosen: Vec<&NotifySettings> =
        all.iter().filter(|notify| name.is_none_or(|name| notify.name == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|notify| notify.name.as_str()).collect();
        return Err(match names.is_empty() {
            true => {
                CommandError::new(Exit::Settings, "nobody is told of anything: there is no [[notify]] in the settings")
                    .hint("`dr init --print` shows how one is written.")
            }
            false => CommandError::new(Exit::NotFound, "there is no [[notify]] of this name")
                .hint(format!("There are: {}.", names.join(", "))),
        });
    }
    let text = "this is a test of `dr notify test`: nothing has happened";
    let message = message(ctx, "notify test", NotifyOn::Success, text.into());
    let sent = join_all(chosen.iter().map(|notify| send::send(ctx, notify, &message))).await;
    let line = |(notify, sent): (&&NotifySettings, std::result::Result<(), NotifyFailure>)| {
        let (error, way) = sent.err().map(|failure| (failure.what, failure.way)).unzip();
        NotifyLine { name: notify.name.clone(), kind: notify.kind, error, way: way.flatten() }
    };
    Ok(NotifyReport { sent: chosen.iter().zip(sent).map(line).collect() })
}
