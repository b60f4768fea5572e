//! A site's own policy on Deployments, which lets them be stopped and not be started again.

use std::time::Duration;

use crate::host::{Host, VERSION, wait};

/// What the policy refuses, tried without doing it.
const SCALED: [&str; 6] =
    ["patch", "deployment", "opschain-api", "--dry-run=server", "-p", r#"{"spec": {"replicas": 1}}"#];

/// Of the whole cluster, and bound to one namespace: removed however the test ends.
struct Policy<'h> {
    host: &'h Host,
    manifest: std::path::PathBuf,
}

impl<'h> Policy<'h> {
    /// One that lets nobody give the API replicas; not there yet.
    fn new(host: &'h Host) -> Self {
        let name = &host.namespace;
        let text = format!(
            "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}\n\
             spec:\n  matchConstraints:\n    resourceRules:\n    - {{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments]}}\n  \
             validations:\n  - {{expression: \"object.metadata.name != 'opschain-api' || object.spec.replicas == 0\", message: frozen by the site}}\n\
             ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {name}}}\n\
             spec: {{policyName: {name}, validationActions: [Deny], matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}}}\n"
        );
        let manifest = host.home.path().join("policy.yaml");
        std::fs::write(&manifest, text).unwrap();
        let policy = Self { host, manifest };
        policy.remove();
        policy
    }

    /// A line of shell that makes it, and waits until it is in force.
    fn made(&self) -> String {
        let (file, namespace) = (self.manifest.display(), &self.host.namespace);
        let look = SCALED.map(|word| format!("'{word}'")).join(" ");
        format!(
            "kubectl apply -f {file} && for i in $(seq 200); do kubectl -n {namespace} {look} 2>&1 | grep -q frozen && exit 0; done; exit 1"
        )
    }

    fn remove(&self) {
        let name = &self.host.namespace;
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            self.host.kubectl(&["delete", kind, name, "--ignore-not-found"]);
        }
        wait(Duration::from_secs(60), "the policy to be gone", || {
            !self.host.kubectl(&SCALED).stderr.contains("frozen")
        });
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

#[test]
#[ignore = "needs the lab: make live"]
fn what_a_policy_would_not_let_back_is_not_stopped_and_keeps_nothing_else_off() {
    let host = Host::new("policy");
    host.deploy(VERSION);
    let before = host.replicas();
    let policy = Policy::new(&host);
    let words = ["opschain-api would not be admitted again", "frozen by the site"];

    // It came while the base was copied: looked at once more before anything is stopped.
    let generation =
        || host.kubectl(&["get", "deployment", "opschain-api", "-o", "jsonpath={.metadata.generation}"]).ok();
    let untouched = generation();
    host.hook_before("record-replicas", &policy.made());
    host.dr(["bundle", "create", "--yes"]).fails(12, &words);
    assert_eq!((host.replicas(), generation()), (before.clone(), untouched.clone()), "nothing was stopped");
    // It is there before.
    let runs = host.runs();
    host.dr(["bundle", "create", "--yes"]).fails(12, &words);
    assert_eq!((host.runs(), generation()), (runs, untouched), "nothing was begun");
    let stop = host.dr(["server", "stop", "--dry-run"]);
    assert!((stop.stdout.clone() + &stop.stderr).contains("frozen by the site"), "{stop}");
    policy.remove();

    // It came while they were off: the workers are back, whatever keeps the API off.
    host.hook_before("resume-writers", &policy.made());
    let failed = host.dr(["bundle", "create", "--yes"]);
    assert_eq!(host.replicas(), ["0".to_owned(), before[1].clone()], "{failed}");
    failed.fails(12, &["frozen by the site"]);
    policy.remove();
    host.dr(["run", "resume"]).ok();
    assert_eq!(host.replicas(), before);
}
