//! Maintenance mode, asked of OpsChain's own API: on before the application is stopped, and as it was afterwards.

use std::path::Path;
use std::time::Duration;

use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Ctx, keyring};
use crate::cluster::{Cluster, ClusterError, PodState, Wait};
use crate::error::{CommandError, Exit, Result};
use crate::event::Events;
use crate::opschain::maintenance::{
    self, DRAIN_STATUS, DrainProof, DrainStatus, GlobalSettings, INFO, MaintenanceMode, RecordedMode,
    SYSTEM_CONFIGURATION, TOKEN_RIGHTS, UnfitAnswer, WorkSight,
};
use crate::opschain::workloads::{WORKING_PODS, may_wait};

/// Where the API listens when its pod does not say.
const PORT: u16 = 3000;
/// How long an API whose pods are ready may take to answer.
const INFO_LIMIT: Duration = Duration::from_secs(30);
/// How often settings that somebody else changes at the same time are read again.
const TRIES: usize = 5;
/// How long an API that was started again may take before the run stays open with its maintenance mode still on.
pub(super) const RETURN_LIMIT: Duration = Duration::from_secs(180);
const JSON_API: HeaderValue = HeaderValue::from_static("application/vnd.api+json");

/// OpsChain's API, through one of its pods that is ready.
struct Api {
    cluster: Cluster,
    pod: String,
    port: u16,
    token: Option<HeaderValue>,
}

/// What the API has answered to who asked what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiAnswer {
    pub pod: String,
    /// Of HTTP.
    pub status: u16,
    /// Which release it says that it is.
    pub version: Option<String>,
}

impl ApiAnswer {
    /// `200 by pod opschain-api-1`
    pub fn line(&self) -> String {
        format!("{} by pod {}", self.status, self.pod)
    }
}

/// Why the API has not done what it was asked.
enum ApiFailure {
    /// It could not be asked.
    Cluster(ClusterError),
    /// It has refused.
    Refused { asked: String, status: u16, words: String },
    /// It has answered something else than is documented.
    Unfit(&'static str, UnfitAnswer),
}

impl ApiFailure {
    /// Whether asking again may help: the pod has just gone, or is not quite there yet.
    fn may_pass(&self) -> bool {
        match self {
            Self::Cluster(ClusterError::Session { .. } | ClusterError::NotFound { .. }) => true,
            Self::Cluster(error) => error.is_transient(),
            Self::Refused { status, .. } => *status >= 500,
            Self::Unfit(..) => false,
        }
    }
}

impl From<ClusterError> for ApiFailure {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

impl From<ApiFailure> for CommandError {
    fn from(failure: ApiFailure) -> Self {
        let without = "Or take `token_file` out of [maintenance]: then work without a pod is not seen.";
        match failure {
            ApiFailure::Cluster(error) => error.into(),
            ApiFailure::Refused { status: 401, .. } => {
                Self::new(Exit::Cluster, "OpsChain does not accept the token of `maintenance.token_file`")
                    .hint(format!("Make an API key in OpsChain with {TOKEN_RIGHTS}, and put it into that file."))
                    .hint(without)
            }
            ApiFailure::Refused { asked, status: 403, .. } => {
                let what = format!("the token of `maintenance.token_file` is not allowed to {asked}");
                Self::new(Exit::Cluster, what).hint(format!("It needs {TOKEN_RIGHTS}.")).hint(without)
            }
            ApiFailure::Refused { asked, status, words } => {
                Self::new(Exit::Cluster, format!("OpsChain answered {status} to {asked}: {words}"))
                    .hint("`kubectl logs -n NAMESPACE deployment/opschain-api` tells why.")
            }
            ApiFailure::Unfit(path, unfit) => {
                Self::new(Exit::Cluster, format!("the answer of OpsChain to {path} is not understood: {unfit}"))
                    .hint(without)
            }
        }
    }
}

impl Api {
    /// Through a pod that is ready; `None` where there is none.
    async fn find(cluster: &Cluster, token: Option<&Zeroizing<String>>) -> Result<Option<Self>, ClusterError> {
        let pod = cluster.serving_pod("app=opschain-api").await?;
        let token = token.and_then(|token| {
            let mut header = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {}", token.as_str()))).ok()?;
            header.set_sensitive(true);
            Some(header)
        });
        Ok(pod.map(|pod| Self { cluster: cluster.clone(), pod: pod.name, port: pod.port.unwrap_or(PORT), token }))
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> Result<Vec<u8>, ApiFailure> {
        let asked = format!("{method} {path}");
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, "opschain-api").header(ACCEPT, JSON_API);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON_API);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let unsent = |error: http::Error| ClusterError::Unexpected { act: asked.clone(), cause: error.to_string() };
        let answer = self.cluster.ask_pod(&self.pod, self.port, request.body(body).map_err(unsent)?).await?;
        match answer.status {
            200..300 => Ok(answer.body),
            status => Err(ApiFailure::Refused { asked, status, words: words(&answer.body) }),
        }
    }

    async fn is_on(&self) -> Result<Option<bool>, ApiFailure> {
        maintenance::is_on(&self.ask("GET", INFO, String::new()).await?).map_err(|unfit| ApiFailure::Unfit(INFO, unfit))
    }

    async fn drain_status(&self) -> Result<DrainStatus, ApiFailure> {
        let answer = self.ask("GET", DRAIN_STATUS, String::new()).await?;
        DrainStatus::parse(&answer).map_err(|unfit| ApiFailure::Unfit(DRAIN_STATUS, unfit))
    }

    /// The global settings, and their path.
    async fn settings(&self) -> Result<(String, GlobalSettings), ApiFailure> {
        let place = self.ask("GET", SYSTEM_CONFIGURATION, String::new()).await?;
        let path =
            maintenance::settings_path(&place).map_err(|unfit| ApiFailure::Unfit(SYSTEM_CONFIGURATION, unfit))?;
        let Some(path) = path else {
            let asked = "change the global settings".to_owned();
            return Err(ApiFailure::Refused { asked, status: 403, words: String::new() });
        };
        let answer = self.ask("GET", &path, String::new()).await?;
        let settings =
            GlobalSettings::parse(&answer).map_err(|unfit| ApiFailure::Unfit("the global settings", unfit))?;
        Ok((path, settings))
    }

    /// Sets the mode to what `to` says of its value, where it says anything. Returns the value that was found.
    async fn set(
        &self,
        to: impl Fn(Option<MaintenanceMode>) -> Option<Option<MaintenanceMode>> + Send + Sync,
    ) -> Result<Option<MaintenanceMode>, ApiFailure> {
        let mut tries = 1;
        loop {
            let (path, settings) = self.settings().await?;
            let Some(mode) = to(settings.mode) else { return Ok(settings.mode) };
            match self.ask("PATCH", &path, settings.with_mode(mode)).await {
                // Somebody has changed them since they were read.
                Err(ApiFailure::Refused { status: 422, .. }) if tries < TRIES => tries += 1,
                answer => return answer.map(|_| settings.mode),
            }
        }
    }
}

/// What a refusal says of itself, as much as fits a line.
fn words(body: &[u8]) -> String {
    let error = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let said = |key: &str| error.pointer("/errors/0").and_then(|error| error[key].as_str()).map(str::to_owned);
    let text = said("detail").or_else(|| said("title")).unwrap_or_else(|| "no word of why".to_owned());
    text.chars().take(200).collect()
}

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

/// The value of the setting.
///
/// # Errors
/// It cannot be asked.
pub(super) async fn read(ctx: &Ctx) -> Result<RecordedMode> {
    let read = |api: Api| async move { Ok(Ok(RecordedMode { was: api.settings().await?.1.mode })) };
    until(ctx, "OpsChain's settings to be read", RETURN_LIMIT, read).await
}

/// Turns the mode on, for superusers too. Safe to repeat.
///
/// # Errors
/// OpsChain refuses, or cannot be asked.
pub(super) async fn enter(ctx: &Ctx) -> Result<()> {
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
                Ok(DrainProof { at: Timestamp::now(), waiting_pods: waiting.len().try_into().unwrap_or(u64::MAX) })
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

/// Sets the mode to what it was, once the API serves, and says what was done. One that somebody has changed since is left
/// alone. Safe to repeat.
///
/// # Errors
/// The API does not serve within `limit`, or refuses: with the value to set.
pub(super) async fn put_back(ctx: &Ctx, recorded: RecordedMode, limit: Duration) -> Result<String> {
    let set =
        move |api: Api| async move { Ok(Ok(api.set(|now| recorded.to_put_back(now).map(|mode| mode.was)).await?)) };
    let found = until(ctx, "maintenance mode to be as it was", limit, set).await.map_err(|error| {
        let set = format!("Or set it yourself: {}.", by_hand(recorded));
        error.context("maintenance mode may still be on").hint(set)
    })?;
    let now = RecordedMode { was: found }.word();
    Ok(match recorded.to_put_back(found) {
        Some(mode) => format!("maintenance mode {now} -> {}", mode.word()),
        None if now == recorded.word() => format!("maintenance mode is {now}, as before"),
        None => format!("maintenance mode is {now}: somebody has changed it since"),
    })
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
    fn a_refusal_names_the_token_the_right_that_is_missing_or_what_opschain_said() {
        let refused = |status, body: &str| {
            let failure = ApiFailure::Refused { asked: "GET /x".into(), status, words: words(body.as_bytes()) };
            (failure.may_pass(), CommandError::from(failure))
        };
        let (passes, error) = refused(401, "");
        assert!(!passes && error.message().contains("does not accept the token"), "{error}");
        let (_, error) = refused(403, "");
        assert!(error.message().ends_with("is not allowed to GET /x") && error.hints()[0].contains("read on /admin"));
        let (passes, error) = refused(503, r#"{"errors":[{"detail":"starting"}]}"#);
        assert!(passes && error.message() == "OpsChain answered 503 to GET /x: starting", "{error}");
        let (_, error) = refused(404, "<html>");
        assert!(error.message().ends_with("no word of why"), "{error}");
        assert_eq!(error.exit(), Exit::Cluster);
    }

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
