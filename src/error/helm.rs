//! What helm refuses, for people.

use std::path::Path;

use super::{CommandError, Exit};
use crate::helm::HelmError;

/// Where a chart comes from is a setting, and a flag for once.
const ELSEWHERE: &str = "The chart is the one of `install.chart` in dr.toml; from elsewhere: --chart oci://HOST/PATH/opschain, or --chart FILE.tgz, which pulls nothing (`dr config upgrade` takes either as FROM and TO).";

/// Where no other way is known.
const MORE: &[&str] = &["The same with -v shows all that helm says, with the secrets masked."];

impl From<HelmError> for CommandError {
    fn from(error: HelmError) -> Self {
        let text = error.to_string();
        match error {
            HelmError::Missing { .. } => CommandError::new(Exit::Helm, text).hint(
                "Install helm 4 (https://helm.sh/docs/intro/install), or set `[helm] binary` in dr.toml to its path.",
            ),
            HelmError::Start { source, .. } => CommandError::new(Exit::Helm, text)
                .because(source)
                .hint("Set `[helm] binary` in dr.toml to a helm that runs on this host."),
            HelmError::Unsupported { .. } => CommandError::new(Exit::Helm, text)
                .hint("Set `[helm] binary` in dr.toml to a helm of version 3.20.2, 4.1.4 or later."),
            HelmError::Failed { verb, said } => failed(CommandError::new(Exit::Helm, text), &verb, &said),
            HelmError::Forbidden { .. } => CommandError::new(Exit::Cluster, text).hint(
                "Have an administrator grant it: `dr rbac --subject user:NAME` prints the roles; `dr doctor` lists what else is missing.",
            ),
            HelmError::Stopped { .. } => CommandError::new(Exit::Interrupted, text).hint(
                "`dr config log` shows whether helm had begun, and what the release is. The same command again is right either way.",
            ),
            HelmError::TimedOut { .. } => CommandError::new(Exit::Timeout, text)
                .hint("`kubectl get pods,jobs -n NAMESPACE` shows what it waited for; give more with --timeout."),
            HelmError::Pending { release, status, revision, .. } => pending(text, &release, &status, revision),
            HelmError::Answer { .. } => CommandError::new(Exit::Helm, text)
                .hint("Run the same helm by hand with `-o json`, and see what stands around the JSON."),
            HelmError::ChartFile { path, source } => {
                CommandError::new(Exit::NotFound, text).unread(Path::new(&path), source).hint(ELSEWHERE)
            }
            HelmError::Io { source, .. } => CommandError::new(Exit::Helm, text).because(source),
        }
    }
}

/// Texts of helm that have a way out of their own; each was seen in a real reply (fixtures/helm) or in helm's source.
fn failed(new: CommandError, verb: &str, said: &str) -> CommandError {
    // What is deployed was fetched before: only these speak with a registry.
    let hints = match verb {
        "pull" | "show" | "package" => of_registry(said),
        _ => of_cluster(said),
    };
    hints.iter().fold(new, |error, hint| error.hint(*hint))
}

/// Whether it failed of not being reached.
fn is_unreachable(said: &str) -> bool {
    const WORDS: [&str; 8] = [
        "dial tcp",
        "connection refused",
        "no such host",
        "i/o timeout",
        "TLS handshake timeout",
        "502 ",
        "503 ",
        "504 ",
    ];
    WORDS.iter().any(|word| said.contains(word))
}

/// The way out of what the cluster answered.
fn of_cluster(said: &str) -> &'static [&'static str] {
    if said.contains("failed calling webhook") || said.contains("failed to call webhook") {
        return &[
            "A webhook that the API server has to ask does not answer; one that ends in `.cnpg.io` is the database operator's. `dr doctor` asks that one, `kubectl get pods -A` shows who is not ready; then the same again.",
        ];
    }
    if said.contains("admission webhook") && said.contains("denied the request") {
        return &["A rule of the cluster refuses it, in the words above: have whoever set it make room."];
    }
    // The first letter is a capital in one major of helm, and none in the other.
    if said.contains("ubernetes cluster unreachable") || is_unreachable(said) {
        return &["Check the kubeconfig and the context: `kubectl cluster-info`."];
    }
    if said.contains("Apply failed with") && said.contains("conflict") {
        return &[
            "Somebody else has set these fields since: `dr config drift` says who.",
            "Add --allow drift to overwrite them.",
        ];
    }
    MORE
}

/// The same of what a registry answered.
fn of_registry(said: &str) -> &'static [&'static str] {
    if said.contains("http: server gave HTTP response to HTTPS client") {
        return &["Set `[helm] plain_http = true` in dr.toml if this registry has no TLS."];
    }
    if said.contains("certificate signed by unknown authority") || said.contains("failed to verify certificate") {
        return &[
            "Have this host trust the registry's CA, or set `[helm] insecure_skip_tls_verify = true` in dr.toml.",
        ];
    }
    if is_unreachable(said) {
        return &[
            "The registry does not answer: is it up, and does this host need a proxy (HTTPS_PROXY) for it?",
            ELSEWHERE,
        ];
    }
    if said.contains(" 401") || said.contains("unauthorized") || said.contains("denied") {
        return &["Log in to the chart's registry: `helm registry login HOST`.", ELSEWHERE];
    }
    if said.contains(": not found") && said.contains("oci://")
        || said.contains("FetchReference")
        || said.contains("failed to resolve")
    {
        return &[
            "Check the version: chart versions are dates with dots, such as 2026.8.20, without leading zeros.",
            ELSEWHERE,
        ];
    }
    MORE
}

fn pending(text: String, release: &str, status: &str, revision: u32) -> CommandError {
    let new = CommandError::new(Exit::Helm, text);
    let new = new.hint("Another helm or dr may be at work on it: look for it first, and let it end.").hint(
        "If none is, a killed helm left it so: `dr deploy -f values.yaml` explains what is known of it, and puts it right.",
    );
    if status == "pending-install" {
        return new.hint(format!(
            "By hand: `helm uninstall {release} -n NAMESPACE`, and deploy again. That removes what was made, too."
        ));
    }
    new.hint(format!("By hand: `helm rollback {release} {} -n NAMESPACE`.", revision.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_is_down_is_no_wrong_version() {
        let hint = |said: &str| {
            let error = HelmError::Failed { verb: "pull".into(), said: said.into() };
            CommandError::from(error).hints()[0].clone()
        };
        let failed = |why: &str| format!("failed to perform \"FetchReference\" on source: {why}");
        let down = failed("Get \"https://r/v2/\": dial tcp 10.250.0.1:5000: connect: connection refused");
        assert!(hint(&down).starts_with("The registry does not answer"), "{down}");
        let unknown = failed("10.250.0.1:5000/limepoint/opschain:2099.1.1: not found");
        assert!(hint(&unknown).starts_with("Check the version"), "{unknown}");
        assert!(hint("response status code 401: unauthorized").starts_with("Log in"));
    }

    /// The words of both are the same; who was asked is not.
    #[test]
    fn what_the_cluster_answers_leads_to_no_registry() {
        let hint = |said: &str| {
            let error = HelmError::Failed { verb: "upgrade".into(), said: said.into() };
            CommandError::from(error).hints()[0].clone()
        };
        let silent = "failed to create resource: Internal error occurred: failed calling webhook \"mcluster.cnpg.io\": failed to call webhook: Post \"https://cnpg-webhook-service.cnpg-system.svc:443/mutate?timeout=10s\": dial tcp 10.96.53.191:443: connect: connection refused";
        assert!(hint(silent).starts_with("A webhook"), "{}", hint(silent));
        let refused = "admission webhook \"validate.kyverno.svc-fail\" denied the request: no";
        assert!(hint(refused).starts_with("A rule of the cluster"), "{}", hint(refused));
        let away = "Get \"https://10.250.0.1:6443/api/v1\": dial tcp 10.250.0.1:6443: connect: connection refused";
        assert!(hint(away).contains("kubectl cluster-info"), "{}", hint(away));
        assert!(hint("boom").contains("-v"));
    }
}
