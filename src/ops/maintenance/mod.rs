//! Maintenance mode, asked of OpsChain's own API: on before the application is stopped, and as it was afterwards.

mod api;

pub use api::ApiAnswer;

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::api::{Api, ApiFailure};
use super::quiesce::WRITERS;
use super::{Ctx, keyring};
use crate::clock;
use crate::cluster::{Cluster, MAINTENANCE_WAS, PodState, Wait, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::event::Events;
use crate::opschain::maintenance::{self, DrainProof, INFO, LeftMode, MaintenanceMode, RecordedMode, WorkSight};
use crate::opschain::workloads::{WORKING_PODS, may_wait};

/// How long an API whose pods are ready may take to answer.
const INFO_LIMIT: Duration = Duration::from_secs(30);
/// How long an API that was started again may take before the run stays open with its maintenance mode still on.
pub(super) const RETURN_LIMIT: Duration = Duration::from_secs(180);

/// The token of the settings, where they name one. Nobody shows it from then on.
///
/// # Errors
/// The file cannot be read, others may read it, or what it holds is no token.
fn token(ctx: &Ctx) -> Result<Option<Zeroizing<String>>> {
    let Some(path) = &ctx.settings_or_defaults()?.maintenance.token_file else { return Ok(None) };
    let token = token_in(path)?;
    ctx.secrets().register(token.as_bytes());
    Ok(Some(token))
}

fn token_in(path: &Path) -> Result<Zeroizing<String>> {
    let wrong = |why: &str| CommandError::new(Exit::Keys, format!("token file {} {why}", path.display()));
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(wrong("is no regular file").hint("It is read more than once: a pipe does not do."));
    }
    // The mode is put back when the work was stopped, too.
    let token = keyring::secret_line(path, "token file", &CancellationToken::new())?;
    match token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(token),
        false => Err(wrong("holds no token in its first line").hint("Put the API key into it, and nothing else.")),
    }
}

/// Looks at what is known of work without pods, and changes nothing.
///
/// # Errors
/// A token is set and does not do.
pub async fn look(ctx: &Ctx) -> Result<WorkSight> {
    let Some(token) = token(ctx)? else {
        // Whether there is such a mode is told to anybody; who may not ask does not learn it.
        let known = match Api::find(ctx.cluster().await?, None).await {
            Ok(Some(api)) => api.is_on().await.ok(),
            _ => None,
        };
        return Ok(if known == Some(None) { WorkSight::NoMode } else { WorkSight::NoToken });
    };
    let Some(api) = Api::find(ctx.cluster().await?, Some(&token)).await? else { return Ok(WorkSight::Stopped) };
    if api.is_on().await?.is_none() {
        return Ok(WorkSight::NoMode);
    }
    api.drain_status().await?;
    let (_, settings) = api.settings().await?;
    Ok(WorkSight::Mode(RecordedMode { was: settings.mode }))
}

/// Whether the mode is on, as OpsChain tells anybody; `None` where the release has none, or nobody serves.
///
/// # Errors
/// It cannot be asked.
pub async fn is_on(cluster: &Cluster) -> Result<Option<bool>> {
    match Api::find(cluster, None).await? {
        Some(api) => Ok(api.is_on().await?),
        None => Ok(None),
    }
}

/// Asks the API what it is, which it tells anybody. For a short while again where it does not answer, or has trouble.
///
/// # Errors
/// No pod of it is ready, or it cannot be asked. Any status is an answer.
pub async fn ask_info(cluster: &Cluster, events: &Events) -> Result<ApiAnswer> {
    let mut wait = Wait::new("the API to answer", INFO_LIMIT, events).within(cluster.namespace());
    loop {
        let (pod, failure) = match Api::find(cluster, None).await? {
            Some(api) => match api.ask("GET", INFO, String::new()).await {
                Ok(body) => return Ok(ApiAnswer { pod: api.pod, status: 200, version: maintenance::version(&body) }),
                Err(failure) => (api.pod, failure),
            },
            None => return Err(CommandError::new(Exit::Cluster, "no API pod is ready")),
        };
        let status = match &failure {
            ApiFailure::Refused { status, .. } => Some(*status),
            _ => None,
        };
        if failure.may_pass() && wait.not_yet(status.map(|status| format!("it answers {status}"))).await.is_ok() {
            continue;
        }
        return match status {
            Some(status) => Ok(ApiAnswer { pod, status, version: None }),
            None => Err(failure.into()),
        };
    }
}

/// Asks `what` of the API until it answers, for at most `limit`.
async fn until<T, F: Future<Output = Result<Result<T, String>, ApiFailure>>>(
    ctx: &Ctx,
    what: &str,
    limit: Duration,
    ask: impl Fn(Api) -> F,
) -> Result<T> {
    let token = token(ctx)?.ok_or_else(|| {
        CommandError::new(Exit::Settings, "setting `maintenance.token_file` is not set any more")
            .hint("Set it again, or set the mode in OpsChain yourself.")
    })?;
    let cluster = ctx.cluster().await?;
    let mut wait = Wait::new(what, limit, &ctx.events).within(cluster.namespace());
    loop {
        let seen = match Api::find(cluster, Some(&token)).await {
            Ok(Some(api)) => match ask(api).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(seen)) => seen,
                Err(failure) if failure.may_pass() => CommandError::from(failure).to_string(),
                Err(failure) => return Err(failure.into()),
            },
            Ok(None) => "no API pod is ready".to_owned(),
            Err(error) if error.is_transient() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        wait.not_yet(Some(seen)).await?;
    }
}

/// What a run of whatever host has noted, which has turned the mode on and not off again.
///
/// # Errors
/// The Deployments may not be read.
pub(super) async fn left_on(cluster: &Cluster) -> Result<Option<LeftMode>> {
    let noted = cluster.deployment(WRITERS[0]).await?;
    Ok(noted.and_then(|api| LeftMode::from_note(api.annotations.get(MAINTENANCE_WAS)?)))
}

async fn note(ctx: &Ctx, left: Option<&LeftMode>) -> Result<()> {
    let notes = [(MAINTENANCE_WAS, left.map(LeftMode::to_note))];
    ctx.cluster().await?.adjust(WorkloadKind::Deployment, WRITERS[0], None, &notes).await?;
    Ok(())
}

/// The value of the setting; where it is on since another run has died, what it was before that. Whoever calls holds the
/// lease, so that no other run is at work.
///
/// # Errors
/// It cannot be asked.
pub(super) async fn read(ctx: &Ctx) -> Result<RecordedMode> {
    let read = |api: Api| async move { Ok(Ok(RecordedMode { was: api.settings().await?.1.mode })) };
    let now = until(ctx, "OpsChain's settings to be read", RETURN_LIMIT, read).await?;
    let left = left_on(ctx.cluster().await?).await?;
    match left.filter(|_| now.was == Some(MaintenanceMode::Enabled)) {
        None => Ok(now),
        Some(LeftMode { run, recorded }) => {
            let text = format!("maintenance mode is on since run {run} died; before, it was {}", recorded.word());
            ctx.events.warn(text, None);
            Ok(recorded)
        }
    }
}

/// Turns the mode on for `run`, for superusers too, and notes what it was. Safe to repeat.
///
/// # Errors
/// OpsChain refuses, or cannot be asked.
pub(super) async fn enter(ctx: &Ctx, run: &str, recorded: RecordedMode) -> Result<()> {
    note(ctx, Some(&LeftMode { run: run.to_owned(), recorded })).await?;
    let on = Some(MaintenanceMode::Enabled);
    let set = move |api: Api| async move { Ok(Ok(api.set(|now| (now != on).then_some(on)).await?)) };
    until(ctx, "maintenance mode to be on", RETURN_LIMIT, set).await.map(drop)
}

/// Waits until OpsChain says that nothing is at work, and no pod is that does not only wait.
///
/// # Errors
/// It is not so within `limit`: with what is at work.
pub(super) async fn wait_drained(ctx: &Ctx, limit: Duration) -> Result<DrainProof> {
    let drained = |api: Api| async move {
        let status = api.drain_status().await?;
        let pods = api.cluster.working_pods(WORKING_PODS).await?;
        let (waiting, working): (Vec<&PodState>, Vec<&PodState>) = pods.iter().partition(|pod| may_wait(&pod.name));
        Ok(match working.first() {
            None if status.drained => {
                Ok(DrainProof { at: clock::now(), waiting_pods: waiting.len().try_into().unwrap_or(u64::MAX) })
            }
            Some(pod) if status.drained => Err(format!("pod {}", pod.name)),
            _ => Err(status.line()),
        })
    };
    until(ctx, "work to be drained", limit, drained).await.map_err(|error| {
        let counted = "A change that stopped at a wait step counts until somebody continues or cancels it in OpsChain.";
        error.hint(counted).hint("`drain_timeout` under [bundle] is how long is waited.")
    })
}

/// Looks once more, right before the application is stopped: the mode is on, and nothing is at work.
///
/// # Errors
/// [`Exit::Busy`]: somebody has turned it off, or work has begun all the same. It cannot be asked.
pub(super) async fn require_drained(ctx: &Ctx) -> Result<()> {
    let look = |api: Api| async move { Ok(Ok((api.settings().await?.1.mode, api.drain_status().await?))) };
    let (mode, status) = until(ctx, "OpsChain to say that it is drained", INFO_LIMIT, look).await?;
    let what = match mode {
        Some(MaintenanceMode::Enabled) if status.drained => return Ok(()),
        Some(MaintenanceMode::Enabled) => format!("work has begun in spite of maintenance mode: {}", status.line()),
        _ => "maintenance mode was turned off by somebody before the application was stopped".to_owned(),
    };
    Err(CommandError::new(Exit::Busy, what).hint("Make the bundle again; nobody may change the mode meanwhile."))
}

/// Sets the mode to what it was, which must have been on until now: else work may have begun and been cut off.
///
/// # Errors
/// As [`put_back`]; [`Exit::Busy`] where somebody has turned it off.
pub(super) async fn leave(ctx: &Ctx, run: &str, recorded: RecordedMode) -> Result<String> {
    match set_back(ctx, run, recorded, RETURN_LIMIT).await? {
        (said, None | Some(Some(MaintenanceMode::Enabled))) => Ok(said),
        (said, _) => {
            let what = format!("{said}, while the application was stopped: work may have been cut off in its midst");
            Err(CommandError::new(Exit::Busy, what)
                .hint("Make the bundle again; nobody may change the mode meanwhile."))
        }
    }
}

/// Sets the mode to what it was, once the API serves, and says what was done. One that somebody has changed since is left
/// alone. Safe to repeat.
///
/// # Errors
/// The API does not serve within `limit`, or refuses: with the value to set.
pub(super) async fn put_back(ctx: &Ctx, run: &str, recorded: RecordedMode, limit: Duration) -> Result<String> {
    set_back(ctx, run, recorded, limit).await.map(|(said, _)| said)
}

/// The same, with the value that was found; `None` where another run has the mode.
async fn set_back(
    ctx: &Ctx,
    run: &str,
    recorded: RecordedMode,
    limit: Duration,
) -> Result<(String, Option<Option<MaintenanceMode>>)> {
    let left = left_on(ctx.cluster().await?).await?;
    if let Some(other) = left.as_ref().filter(|left| left.run != run) {
        return Ok((format!("maintenance mode is run {}'s now", other.run), None));
    }
    let set =
        move |api: Api| async move { Ok(Ok(api.set(|now| recorded.to_put_back(now).map(|mode| mode.was)).await?)) };
    let found = until(ctx, "maintenance mode to be as it was", limit, set).await.map_err(|error| {
        let set = format!("Or set it yourself: {}.", by_hand(recorded));
        error.context("maintenance mode may still be on").hint(set)
    })?;
    if left.is_some() {
        note(ctx, None).await?;
    }
    let now = RecordedMode { was: found }.word();
    let said = match recorded.to_put_back(found) {
        Some(mode) => format!("maintenance mode {now} -> {}", mode.word()),
        None if now == recorded.word() => format!("maintenance mode is {now}, as before"),
        None => format!("maintenance mode is {now}: somebody has changed it since"),
    };
    Ok((said, Some(found)))
}

/// Sets the mode to what it was before a run that has died, of whatever host, where there is a token.
///
/// # Errors
/// As [`put_back`].
pub(super) async fn put_back_left(ctx: &Ctx) -> Result<()> {
    let Some(LeftMode { run, recorded }) = left_on(ctx.cluster().await?).await? else { return Ok(()) };
    if ctx.settings_or_defaults()?.maintenance.token_file.is_none() {
        let text = format!("maintenance mode was turned on by run {run}, and nobody has turned it off since");
        ctx.events.warn(text, Some(format!("Set {}, or `maintenance.token_file` and try again.", by_hand(recorded))));
        return Ok(());
    }
    let said = put_back(ctx, &run, recorded, RETURN_LIMIT).await?;
    ctx.events.note(said);
    Ok(())
}

/// How a person sets it to what it was.
pub(super) fn by_hand(recorded: RecordedMode) -> String {
    format!("`maintenance_mode` to `{}` in OpsChain's global settings", recorded.word())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_one_line_of_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let of = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            token_in(&path).map(|token| token.to_string()).map_err(|error| error.message().to_owned())
        };
        assert_eq!(of("abc.def-1\n# made for backups\n", 0o600).as_deref(), Ok("abc.def-1"));
        let refused =
            |text, mode, why: &str| assert_eq!(of(text, mode), Err(format!("token file {} {why}", path.display())));
        refused("a b\n", 0o600, "holds no token in its first line");
        refused("a\u{7f}\n", 0o600, "holds no token in its first line");
        refused("\n", 0o600, "has no first line");
        refused("a\n", 0o640, "can be read by others (mode 0640)");
        let error = token_in(Path::new("/dev/null")).unwrap_err();
        assert_eq!((error.exit(), error.message()), (Exit::Keys, "token file /dev/null is no regular file"));
    }
}
