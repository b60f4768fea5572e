//! Exit codes and hints of what goes wrong with the cluster.

use super::{CommandError, Exit};
use crate::cluster::ClusterError;

impl From<ClusterError> for CommandError {
    fn from(error: ClusterError) -> Self {
        let exit = exit(&error);
        let hints = hints(&error);
        let mut command = CommandError::new(exit, error.to_string());
        for line in error.log() {
            command = command.hint(format!("its log says: {line}"));
        }
        hints.into_iter().fold(command, CommandError::hint)
    }
}

fn exit(error: &ClusterError) -> Exit {
    match error {
        ClusterError::NotFound { .. } => Exit::NotFound,
        ClusterError::Timeout { .. } => Exit::Timeout,
        ClusterError::Session { .. } => Exit::Stream,
        ClusterError::NoOperator | ClusterError::Webhook { .. } => Exit::Operator,
        ClusterError::Held { .. } => Exit::Locked,
        ClusterError::DiskFull { .. } => Exit::Space,
        ClusterError::Permanent { .. } | ClusterError::Command { .. } | ClusterError::Sql { .. } => Exit::Failure,
        _ => Exit::Cluster,
    }
}

fn hints(error: &ClusterError) -> Vec<String> {
    match error {
        ClusterError::Kubeconfig { .. } => vec![
            "Set KUBECONFIG to the file of the cluster, or put it at ~/.kube/config.".into(),
            "Try `kubectl config get-contexts`; `dr doctor` checks the whole way to the cluster.".into(),
        ],
        ClusterError::NoContext { known, .. } if known.is_empty() => {
            vec!["The kubeconfig has no context at all: is KUBECONFIG set to the right file?".into()]
        }
        ClusterError::NoContext { known, .. } => {
            vec![format!("Choose with --context one of: {}.", known.join(", "))]
        }
        ClusterError::Unreachable { server, .. } => vec![
            format!("Is the cluster up, and is {server} the right address? Try `kubectl cluster-info`."),
            "Another cluster of the kubeconfig is chosen with --context.".into(),
        ],
        ClusterError::Unauthorized { context, .. } => {
            vec![format!("Renew the credentials of context `{context}`, then try `kubectl auth whoami`.")]
        }
        ClusterError::Forbidden { ask } => {
            let namespace = ask.namespace.as_deref().map(|n| format!(" -n {n}")).unwrap_or_default();
            vec![
                format!("Have a role grant the verb `{}` on `{}`.", ask.verb, ask.resource),
                format!(
                    "Try `kubectl auth can-i {} {}{namespace}`; `dr doctor` lists all that is needed.",
                    ask.verb, ask.resource
                ),
            ]
        }
        ClusterError::NotFound { ask } => vec![match &ask.namespace {
            Some(namespace) => format!("Is `{namespace}` the right namespace? Another is chosen with --namespace."),
            None => "Try `dr doctor`.".into(),
        }],
        ClusterError::Conflict { .. } => {
            vec!["Somebody else changed it at the same time: run the command again.".into()]
        }
        ClusterError::Timeout { namespace, .. } | ClusterError::Permanent { namespace, .. } => {
            let within = namespace.as_deref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
            vec![format!(
                "Look with `kubectl get pods{within}` and `kubectl get events{within} --sort-by=.lastTimestamp`."
            )]
        }
        ClusterError::DiskFull { database, .. } => vec![
            format!(
                "Make room: a larger volume (`kubectl edit pvc {database}-1`, where its class can grow), or less on the disk that it is on."
            ),
            "The operator tries again by itself, at most 5 minutes later; a run waits for that when it is resumed."
                .into(),
        ],
        ClusterError::Session { .. } => {
            vec!["Nothing is known of whether it took effect: run the command again, it looks first.".into()]
        }
        ClusterError::NoPrimary { database, .. } => {
            vec![format!(
                "Look with `kubectl get clusters.postgresql.cnpg.io -A` ({database}); `dr server status` shows the rest."
            )]
        }
        ClusterError::NoOperator => vec![
            "Install the CloudNativePG operator 1.27 or later first, as OpsChain's installation guide says.".into(),
            "Then `dr doctor` tells whether it answers.".into(),
        ],
        ClusterError::Webhook { .. } => vec![
            "Is the operator running? Try `kubectl -n cnpg-system get pods`.".into(),
            "A network policy or a proxy between the API server and the operator has the same effect.".into(),
        ],
        // Of a Secret the API server's words are not shown; these two are what it refuses of content that it once had.
        ClusterError::Refused { ask, code: 422, .. } if matches!(ask.kind.as_str(), "Secret" | "ConfigMap") => vec![
            format!("One of another type, or marked immutable, cannot be changed: look at {}.", ask.object()),
            match (&ask.name, &ask.namespace) {
                (Some(name), Some(namespace)) => format!(
                    "If nothing else needs it: `kubectl -n {namespace} delete {} {name}`, then go on with `dr run resume`.",
                    ask.kind.to_lowercase()
                ),
                _ => "`dr run resume` goes on afterwards.".into(),
            },
        ],
        ClusterError::Held { .. } => vec!["It is at work: let it end, then run the command again.".into()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ApiRequest;

    fn ask() -> ApiRequest {
        ApiRequest {
            verb: "patch",
            kind: "Deployment".into(),
            resource: "deployments.apps/scale".into(),
            name: Some("opschain-api".into()),
            namespace: Some("opschain".into()),
        }
    }

    #[test]
    fn a_denial_tells_the_rule_that_is_missing() {
        let error = CommandError::from(ClusterError::Forbidden { ask: Box::new(ask()) });
        assert_eq!(error.exit(), Exit::Cluster);
        assert_eq!(error.hints()[0], "Have a role grant the verb `patch` on `deployments.apps/scale`.");
    }

    #[test]
    fn a_wait_that_ends_badly_shows_the_log_before_the_way_out() {
        let error = ClusterError::Timeout {
            what: "opschain-api to be ready".into(),
            seen: Some("CrashLoopBackOff".into()),
            after: std::time::Duration::from_secs(300),
            namespace: Some("ops".into()),
            log: vec!["cannot decrypt".into()],
        };
        let error = CommandError::from(error);
        assert_eq!(error.exit(), Exit::Timeout);
        assert_eq!(error.message(), "waited 5 min for opschain-api to be ready; last seen: CrashLoopBackOff");
        assert_eq!(error.hints()[0], "its log says: cannot decrypt");
        let look = "Look with `kubectl get pods -n ops` and `kubectl get events -n ops --sort-by=.lastTimestamp`.";
        assert_eq!(error.hints()[1], look);
    }

    #[test]
    fn an_unknown_context_names_the_known_ones() {
        let error = ClusterError::NoContext { context: "prod".into(), known: vec!["a".into(), "b".into()] };
        assert_eq!(CommandError::from(error).hints(), ["Choose with --context one of: a, b."]);
    }
}
