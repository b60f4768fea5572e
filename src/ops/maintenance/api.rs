//! OpsChain's API, as far as maintenance mode needs it, spoken through the API server's port forward.

use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cluster::{Cluster, ClusterError};
use crate::error::{CommandError, Exit, Result};
use crate::opschain::maintenance::{
    self, DRAIN_STATUS, DrainStatus, GlobalSettings, INFO, MaintenanceMode, SYSTEM_CONFIGURATION, TOKEN_RIGHTS,
    UnfitAnswer,
};

/// Where the API listens when its pod does not say.
const PORT: u16 = 3000;
/// How often settings that somebody else changes at the same time are read again.
const TRIES: usize = 5;
const JSON_API: HeaderValue = HeaderValue::from_static("application/vnd.api+json");

/// OpsChain's API, through one of its pods that is ready.
pub(super) struct Api {
    pub(super) cluster: Cluster,
    pub(super) pod: String,
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
pub(super) enum ApiFailure {
    /// It could not be asked.
    Cluster(ClusterError),
    /// It has refused. `pod` is named as kubectl takes it: `-n NAMESPACE POD`.
    Refused { pod: String, asked: String, status: u16, words: String },
    /// It has answered something else than is documented.
    Unfit(&'static str, UnfitAnswer),
}

impl ApiFailure {
    /// Whether asking again may help: the pod has just gone, or is not quite there yet.
    pub(super) fn may_pass(&self) -> bool {
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
            ApiFailure::Refused { pod, asked, status, words } => {
                Self::new(Exit::Cluster, format!("OpsChain answered {status} to {asked}: {words}"))
                    .hint(format!("`kubectl logs {pod}` tells why."))
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
    pub(super) async fn find(
        cluster: &Cluster,
        token: Option<&Zeroizing<String>>,
    ) -> Result<Option<Self>, ClusterError> {
        let pod = cluster.serving_pod("app=opschain-api").await?;
        let token = token.and_then(|token| {
            let mut header = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {}", token.as_str()))).ok()?;
            header.set_sensitive(true);
            Some(header)
        });
        Ok(pod.map(|pod| Self { cluster: cluster.clone(), pod: pod.name, port: pod.port.unwrap_or(PORT), token }))
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: String) -> Result<Vec<u8>, ApiFailure> {
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
            status => Err(ApiFailure::Refused { pod: self.named(), asked, status, words: words(&answer.body) }),
        }
    }

    fn named(&self) -> String {
        format!("-n {} {}", self.cluster.namespace(), self.pod)
    }

    pub(super) async fn is_on(&self) -> Result<Option<bool>, ApiFailure> {
        maintenance::is_on(&self.ask("GET", INFO, String::new()).await?).map_err(|unfit| ApiFailure::Unfit(INFO, unfit))
    }

    pub(super) async fn drain_status(&self) -> Result<DrainStatus, ApiFailure> {
        let answer = self.ask("GET", DRAIN_STATUS, String::new()).await?;
        DrainStatus::parse(&answer).map_err(|unfit| ApiFailure::Unfit(DRAIN_STATUS, unfit))
    }

    /// The global settings, and their path.
    pub(super) async fn settings(&self) -> Result<(String, GlobalSettings), ApiFailure> {
        let place = self.ask("GET", SYSTEM_CONFIGURATION, String::new()).await?;
        let path =
            maintenance::settings_path(&place).map_err(|unfit| ApiFailure::Unfit(SYSTEM_CONFIGURATION, unfit))?;
        let Some(path) = path else {
            let asked = "change the global settings".to_owned();
            return Err(ApiFailure::Refused { pod: self.named(), asked, status: 403, words: String::new() });
        };
        let answer = self.ask("GET", &path, String::new()).await?;
        let settings =
            GlobalSettings::parse(&answer).map_err(|unfit| ApiFailure::Unfit("the global settings", unfit))?;
        Ok((path, settings))
    }

    /// Sets the mode to what `to` says of its value, where it says anything. Returns the value that was found.
    pub(super) async fn set(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_token_the_right_that_is_missing_or_what_opschain_said() {
        let refused = |status, body: &str| {
            let (pod, asked) = ("-n opschain opschain-api-1".into(), "GET /x".into());
            let failure = ApiFailure::Refused { pod, asked, status, words: words(body.as_bytes()) };
            (failure.may_pass(), CommandError::from(failure))
        };
        let (passes, error) = refused(401, "");
        assert!(!passes && error.message().contains("does not accept the token"), "{error}");
        let (_, error) = refused(403, "");
        assert!(error.message().ends_with("is not allowed to GET /x") && error.hints()[0].contains("read on /admin"));
        let (passes, error) = refused(503, r#"{"errors":[{"detail":"starting"}]}"#);
        assert!(passes && error.message() == "OpsChain answered 503 to GET /x: starting", "{error}");
        assert_eq!(error.hints()[0], "`kubectl logs -n opschain opschain-api-1` tells why.");
        let (_, error) = refused(404, "<html>");
        assert!(error.message().ends_with("no word of why"), "{error}");
        assert_eq!(error.exit(), Exit::Cluster);
    }
}
