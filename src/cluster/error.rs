//! What can go wrong between `dr` and the cluster.

use std::fmt;
use std::time::Duration;

use kube::Resource;
use kube::client::AuthError;

use crate::names::is_path_step;

/// The result of a call to the cluster.
pub type Result<T, E = ClusterError> = std::result::Result<T, E>;

/// What was asked of the API server, in the words of its access rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    /// The verb as RBAC names it: `get`, `list`, `create`, `patch`, `update`, `delete`.
    pub verb: &'static str,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The resource as RBAC names it, such as `deployments.apps` or `pods/exec`.
    pub resource: String,
    /// The object's name, where one was named.
    pub name: Option<String>,
    /// The namespace, for objects that live in one.
    pub namespace: Option<String>,
}

impl ApiRequest {
    /// Describes a request for objects of kind `K`.
    pub fn of<K: Resource>(
        types: &K::DynamicType,
        verb: &'static str,
        name: Option<&str>,
        namespace: Option<&str>,
    ) -> Self {
        let group = K::group(types);
        let plural = K::plural(types);
        Self {
            verb,
            kind: K::kind(types).into_owned(),
            resource: if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") },
            name: name.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
        }
    }

    /// The name in it that would be more than one step of a path: of an object that values or a manifest name.
    pub(super) fn unfit(&self) -> Option<&str> {
        [&self.name, &self.namespace].into_iter().flatten().map(String::as_str).find(|name| !is_path_step(name))
    }

    /// The same for a subresource such as `scale` or `exec`.
    #[must_use]
    pub fn of_part(mut self, subresource: &str) -> Self {
        self.resource = match self.resource.split_once('.') {
            Some((plural, group)) => format!("{plural}.{group}/{subresource}"),
            None => format!("{}/{subresource}", self.resource),
        };
        self
    }

    /// The object, such as `Deployment opschain-api in namespace opschain`.
    pub fn object(&self) -> String {
        let mut text = self.kind.clone();
        match &self.name {
            Some(name) => {
                text.push(' ');
                text.push_str(name);
            }
            None => text.push_str(" objects"),
        }
        if let Some(namespace) = &self.namespace {
            text.push_str(" in namespace ");
            text.push_str(namespace);
        }
        text
    }

    /// Whether an answer about this object may quote secrets. Config maps count: OpsChain keeps keys in one.
    fn is_secret(&self) -> bool {
        matches!(self.kind.as_str(), "Secret" | "ConfigMap")
    }
}

impl fmt::Display for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.object())
    }
}

/// A failure of a call to the cluster, of a wait, or of a command in a pod.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// There is no usable kubeconfig.
    #[error("cannot use the kubeconfig: {cause}")]
    Kubeconfig {
        /// What is wrong with it.
        cause: String,
    },
    /// The kubeconfig has no such context.
    #[error("the kubeconfig has no context `{context}`")]
    NoContext {
        /// The context that was asked for.
        context: String,
        /// The contexts that it has.
        known: Vec<String>,
    },
    /// No answer from the API server: refused, unknown host, bad certificate, or silence.
    #[error("cannot {act}: no answer from {server}: {cause}")]
    Unreachable {
        /// What was being asked.
        act: String,
        /// The API server's address.
        server: String,
        cause: String,
    },
    /// The API server does not know who asks.
    #[error("cannot {ask}: {server} does not accept the credentials of context `{context}`")]
    Unauthorized {
        /// What was being asked.
        ask: Box<ApiRequest>,
        /// The API server's address.
        server: String,
        /// The kubeconfig context.
        context: String,
    },
    /// The access rules do not allow it.
    #[error("not allowed to {ask}")]
    Forbidden {
        /// What was being asked.
        ask: Box<ApiRequest>,
    },
    /// There is no such object.
    #[error("there is no {}", ask.object())]
    NotFound {
        /// What was being asked.
        ask: Box<ApiRequest>,
    },
    /// Somebody else changed or made the object first.
    #[error("cannot {ask}: {message}")]
    Conflict {
        /// What was being asked.
        ask: Box<ApiRequest>,
        /// The API server's words.
        message: String,
    },
    /// The API server, or an admission webhook, says no.
    #[error("cannot {ask}: {message}")]
    Refused {
        /// What was being asked.
        ask: Box<ApiRequest>,
        code: u16,
        /// The API server's words; only the reason and the field names where they could quote secrets.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("cannot {act}: {cause}")]
    Unexpected {
        /// What was being asked or read.
        act: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// Something did not happen in the time allowed.
    #[error("waited {} for {what}{}", show_duration(*after), seen.as_deref().map(|s| format!("; last seen: {s}")).unwrap_or_default())]
    Timeout {
        /// What was waited for.
        what: String,
        /// The newest thing seen of it.
        seen: Option<String>,
        /// How long was waited.
        after: Duration,
        /// The namespace that it is in.
        namespace: Option<String>,
        /// The last lines of the log of the pod that holds it up.
        log: Vec<String>,
    },
    /// What is waited for cannot happen any more.
    #[error("{what}: {reason}")]
    Permanent {
        /// What will never be, such as `pod x will never be ready`.
        what: String,
        /// Why it cannot happen.
        reason: String,
        /// The namespace that it is in.
        namespace: Option<String>,
        /// The last lines of the log of the pod that holds it up.
        log: Vec<String>,
    },
    /// The operator says that a database has no room.
    #[error("database {database} has no room left: {seen}")]
    DiskFull {
        /// The database's name.
        database: String,
        /// Its line.
        seen: String,
    },
    /// The session to a pod ended without a verdict: nothing is known of how the command went.
    #[error("the session of `{command}` in pod {pod} broke off: {cause}")]
    Session {
        /// The pod's name.
        pod: String,
        /// The program's name; never its arguments.
        command: String,
        cause: String,
    },
    /// A command in a pod failed.
    #[error("`{command}` failed in pod {pod} with exit code {exit}{}", if stderr.is_empty() { String::new() } else { format!(": {stderr}") })]
    Command {
        /// The pod's name.
        pod: String,
        /// The program's name; never its arguments.
        command: String,
        exit: i32,
        /// The end of what it wrote to stderr, on one line.
        stderr: String,
    },
    /// PostgreSQL refused a statement.
    #[error("the database cannot {act}: {message}")]
    Sql {
        /// What was being asked.
        act: String,
        /// PostgreSQL's words.
        message: String,
    },
    /// The database has no primary, or the one it has is not running.
    #[error("database {database} has no running primary: {seen}")]
    NoPrimary {
        /// The database cluster's name.
        database: String,
        /// What is seen instead.
        seen: String,
    },
    /// The operator's custom resources are unknown to this cluster.
    #[error("this cluster does not know CloudNativePG databases (clusters.postgresql.cnpg.io)")]
    NoOperator,
    /// The operator is installed but its webhook gives no answer.
    #[error("the database operator's webhook does not answer: {cause}")]
    Webhook {
        /// The API server's words.
        cause: String,
    },
    /// Another run, or a verb that is none, holds the lease on the install.
    #[error("{holder} on {host} holds {lease} since {}", since_when(*since))]
    Held {
        /// The lease's name.
        lease: Box<str>,
        /// The id of what holds it.
        holder: String,
        /// The host that it is on.
        host: Box<str>,
        /// When it was taken.
        since: Option<jiff::Timestamp>,
        /// When it was last renewed, by the clock of that host: only good to be compared with itself.
        renewed: jiff::Timestamp,
        /// How long it lasts without being renewed.
        lasts: std::time::Duration,
    },
}

/// When a lease was taken, for people.
pub fn since_when(since: Option<jiff::Timestamp>) -> String {
    since.map_or_else(|| "a time that cannot be read".to_owned(), |since| format!("{since:.0}"))
}

impl ClusterError {
    /// Whether asking again may help: the API server was away or busy, and nothing is wrong with the question.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => matches!(code, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the access rules forbid it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Whether somebody else changed or made the object first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// The last lines of the log of the pod that held up a wait.
    pub fn log(&self) -> &[String] {
        match self {
            Self::Timeout { log, .. } | Self::Permanent { log, .. } => log,
            _ => &[],
        }
    }

    /// Puts a pod's last log lines into the failure of a wait.
    #[must_use]
    pub fn with_log(mut self, lines: Vec<String>) -> Self {
        if let Self::Timeout { log, .. } | Self::Permanent { log, .. } = &mut self {
            *log = lines;
        }
        self
    }

    /// Turns the library's error into ours. Its own text repeats itself and shows Rust structures.
    pub(super) fn from_kube(ask: ApiRequest, error: kube::Error, server: &str, context: &str) -> Self {
        let ask = Box::new(ask);
        match error {
            kube::Error::Api(status) => Self::from_status(ask, &status, server, context),
            kube::Error::SerdeError(error) => {
                let cause = if ask.is_secret() { "the answer is not such an object".into() } else { error.to_string() };
                Self::Unexpected { act: ask.to_string(), cause }
            }
            kube::Error::UpgradeConnection(error) => from_upgrade(ask, &error, server, context),
            other => Self::Unreachable { act: ask.to_string(), server: server.into(), cause: innermost(&other) },
        }
    }

    fn from_status(ask: Box<ApiRequest>, status: &kube::core::Status, server: &str, context: &str) -> Self {
        // A 403 also comes from quotas, admission and dying namespaces; only RBAC says who cannot do what.
        let by_rules = status.message.contains("User \"") && status.message.contains(" cannot ");
        match status.code {
            401 => Self::Unauthorized { ask, server: server.into(), context: context.into() },
            403 if by_rules => Self::Forbidden { ask },
            404 => Self::NotFound { ask },
            409 => Self::Conflict { message: words(&ask, status), ask },
            code => Self::Refused { message: words(&ask, status), code, ask },
        }
    }
}

/// The server's words, or only reason and fields where the words could quote a secret's content.
fn words(ask: &ApiRequest, status: &kube::core::Status) -> String {
    if !ask.is_secret() {
        return if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
    }
    let fields: Vec<&str> =
        status.details.iter().flat_map(|details| &details.causes).map(|cause| cause.field.as_str()).collect();
    if fields.is_empty() { status.reason.clone() } else { format!("{}: {}", status.reason, fields.join(", ")) }
}

fn from_upgrade(
    ask: Box<ApiRequest>,
    error: &kube::client::UpgradeConnectionError,
    server: &str,
    context: &str,
) -> ClusterError {
    use kube::client::UpgradeConnectionError::ProtocolSwitch;
    match error {
        ProtocolSwitch(code) if code.as_u16() == 401 => {
            ClusterError::Unauthorized { ask, server: server.into(), context: context.into() }
        }
        ProtocolSwitch(code) if code.as_u16() == 403 => ClusterError::Forbidden { ask },
        ProtocolSwitch(code) if code.as_u16() == 404 => ClusterError::NotFound { ask },
        ProtocolSwitch(code) => ClusterError::Refused {
            ask,
            code: code.as_u16(),
            message: format!("{server} answers {code} instead of opening a session"),
        },
        other => ClusterError::Unreachable { act: ask.to_string(), server: server.into(), cause: other.to_string() },
    }
}

/// The text of the innermost cause: `Connection refused` rather than five wrappers around it.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        if let Some(auth) = source.downcast_ref::<AuthError>() {
            return login_words(auth, "the kubeconfig's login plugin");
        }
        inner = source;
    }
    plain(inner)
}

/// Why a login failed. What a plugin has written is not shown: it may be a token.
pub(super) fn login_words(error: &AuthError, plugin: &str) -> String {
    match error {
        AuthError::AuthExecStart(cause) => format!("{plugin} cannot be run: {}", plain(cause)),
        AuthError::AuthExecRun { out, .. } => format!("{plugin} failed ({})", out.status),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            format!("{plugin} has written no credentials (an ExecCredential with a status)")
        }
        AuthError::ReadTokenFile(cause, path) => format!("token file {}: {}", path.display(), plain(cause)),
        other => innermost(other),
    }
}

/// An error's text without what helps nobody at three in the morning: the operating system's number for it, or the way to a
/// library's manual.
pub(super) fn plain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    // The TLS library's words for this lead to its own manual.
    if text.contains("without sending TLS close_notify") {
        return "the connection was cut off".to_owned();
    }
    match text.rfind(" (os error ") {
        Some(at) if text.ends_with(')') => text[..at].to_owned(),
        _ => text,
    }
}

/// A duration for people: `40 s`, `5 min`, `1 h 5 min`.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=119 => format!("{seconds} s"),
        120..=3599 => format!("{} min", seconds / 60),
        _ if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{Pod, Secret};

    fn status(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status::failure(message, reason).with_code(code)))
    }

    fn refused<K: Resource<DynamicType = ()>>(error: kube::Error) -> ClusterError {
        let ask = ApiRequest::of::<K>(&(), "patch", Some("opschain-api"), Some("opschain"));
        ClusterError::from_kube(ask, error, "https://10.0.0.1:6443", "prod")
    }

    #[test]
    fn a_denial_by_the_rules_names_verb_and_resource() {
        let message = r#"deployments.apps "opschain-api" is forbidden: User "joe" cannot patch resource "deployments""#;
        let error = refused::<Deployment>(status(403, "Forbidden", message));
        assert_eq!(error.to_string(), "not allowed to patch Deployment opschain-api in namespace opschain");
        let ClusterError::Forbidden { ask } = error else { panic!("{error}") };
        assert_eq!((ask.verb, ask.of_part("scale").resource.as_str()), ("patch", "deployments.apps/scale"));
    }

    #[test]
    fn a_full_quota_is_not_taken_for_missing_permission() {
        let message =
            r#"pods "x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10"#;
        let error = refused::<Pod>(status(403, "Forbidden", message));
        assert!(matches!(error, ClusterError::Refused { code: 403, .. }));
        assert!(error.to_string().contains("exceeded quota"));
    }

    #[test]
    fn the_refusal_of_a_secret_quotes_nothing_of_it() {
        let error = refused::<Secret>(status(422, "Invalid", r#"Invalid value: "hunter2": must be base64"#));
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(error.to_string(), "cannot patch Secret opschain-api in namespace opschain: Invalid");
    }

    #[test]
    fn a_missing_object_is_named() {
        let error = refused::<Deployment>(status(404, "NotFound", "deployments.apps \"opschain-api\" not found"));
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "there is no Deployment opschain-api in namespace opschain");
    }

    #[test]
    fn only_passing_trouble_is_worth_a_second_try() {
        assert!(refused::<Pod>(status(503, "ServiceUnavailable", "not now")).is_transient());
        assert!(!refused::<Pod>(status(422, "Invalid", "no")).is_transient());
    }

    #[test]
    fn the_innermost_cause_is_told_without_its_number() {
        let refused = std::io::Error::from_raw_os_error(111);
        let wrapped = kube::Error::ReadEvents(refused);
        assert_eq!(innermost(&wrapped), "Connection refused");
    }

    #[test]
    fn durations_read_as_a_person_says_them() {
        let texts = [0, 40, 119, 300, 3600, 3900].map(|s| show_duration(Duration::from_secs(s)));
        assert_eq!(texts, ["0 ms", "40 s", "119 s", "5 min", "1 h", "1 h 5 min"]);
    }
}
