//! The manifests of helper pods, filled from `templates/`.
//!
//! A template holds placeholders `{{name}}` only. Values go in as JSON, which is YAML that no value can break out of.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::placement::PodPlacement;
use super::podrules::{MIB, PodClaims, PodRules};
use super::{MANAGED_BY, RUN_LABEL};
use crate::quantity;

/// The container of every pod that `dr` makes; others may have been put beside it, and before it.
pub(super) const CONTAINER: &str = "dr";
/// Where the agent's program is in a helper pod.
pub const AGENT: &str = "/dr/agent";
/// Where the agent listens.
pub const SOCKET: &str = "/dr/agent.sock";
/// The client certificate in a backup pod.
pub const CLIENT_CERTIFICATE: &str = "/certificates/client/tls.crt";
pub const CLIENT_KEY: &str = "/certificates/client/tls.key";
/// The authority that signed the server's certificate.
pub const SERVER_CA: &str = "/certificates/ca/ca.crt";

const BACKUP: &str = include_str!("../../templates/backup-pod.yaml");
const RECOVERY: &str = include_str!("../../templates/recovery-pod.yaml");

/// What the agent may use besides the spool: chunks in the making, the stream's window, PostgreSQL's programs.
const AGENT_MIB: f64 = 768.0;
/// With less neither pod could work.
const FLOOR_MIB: f64 = 384.0;
/// What a helper pod claims of its node, where nobody says otherwise: what the agent was seen to hold. On the day it is
/// needed it must fit on a full one.
const CLAIMED_MIB: f64 = 128.0;
/// The same of CPUs. What is idle there it may use.
const CLAIMED_CPU: f64 = 0.1;
/// The label that tells what a pod of a run is for.
const COMPONENT: &str = "app.kubernetes.io/component";

/// Why a manifest could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// A placeholder that nothing was given for.
    #[error("template {template} asks for `{placeholder}`, which was not given")]
    Unfilled { template: &'static str, placeholder: String },
    /// Something was given that the template does not ask for.
    #[error("template {template} has no place for `{name}`")]
    Unknown { template: &'static str, name: String },
    /// A placeholder without its end.
    #[error("template {0} has a placeholder without an end")]
    Malformed(&'static str),
    /// The result is no pod.
    #[error("template {template} does not make a pod: {reason}")]
    NotAPod { template: &'static str, reason: String },
}

/// What every helper pod has.
#[derive(Debug, Clone, PartialEq)]
pub struct HelperPod {
    pub name: String,
    pub namespace: String,
    /// The run that it works for.
    pub run: String,
    /// The image: the one that the database itself runs.
    pub image: String,
    pub site: HelperSite,
    /// After so long Kubernetes ends it, whatever happens.
    pub deadline: Duration,
    /// After so long without anybody attached the agent ends itself.
    pub idle: Duration,
}

/// What the site asks of a helper pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HelperSite {
    /// Where the database's pods go, and what runs them.
    pub placement: PodPlacement,
    /// The priority class that OpsChain has for such pods, where the cluster knows it.
    pub priority_class: Option<String>,
    /// The namespace's rules on claims.
    pub rules: PodRules,
    /// CPUs that it claims and is limited to, as the settings say.
    pub cpu: Option<f64>,
    /// The same of memory, in bytes.
    pub memory: Option<f64>,
    /// Labels and annotations of the settings.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl HelperSite {
    /// The pod of a template, with what the site asks of it. The site cannot change the labels that name the run.
    pub(super) fn applied_to(&self, mut pod: Pod) -> Pod {
        let own = [MANAGED_BY, COMPONENT, RUN_LABEL];
        let labels = self.labels.iter().filter(|(key, _)| !own.contains(&key.as_str()));
        pod.metadata.labels.get_or_insert_default().extend(labels.map(|(key, value)| (key.clone(), value.clone())));
        pod.metadata.annotations.get_or_insert_default().extend(self.annotations.clone());
        let spec = pod.spec.get_or_insert_default();
        self.placement.place(spec);
        spec.priority_class_name.clone_from(&self.priority_class);
        pod
    }
}

impl HelperPod {
    pub(super) fn values(&self, claims: &PodClaims) -> BTreeMap<&'static str, Value> {
        BTreeMap::from([
            ("name", json!(self.name)),
            ("namespace", json!(self.namespace)),
            ("run", json!(self.run)),
            ("image", json!(self.image)),
            ("resources", claims.resources()),
            ("deadline_seconds", json!(self.deadline.as_secs())),
            ("idle_minutes", json!(self.idle.as_secs().div_ceil(60).to_string())),
        ])
    }
}

impl HelperPod {
    /// The claims of a pod that is to claim and may use as much.
    pub(super) fn claims(&self, cpu: f64, memory: f64, memory_limit: f64) -> PodClaims {
        let HelperSite { rules, cpu: most, memory: set, .. } = &self.site;
        let wanted = PodClaims {
            cpu: most.unwrap_or(CLAIMED_CPU).max(cpu),
            cpu_limit: most.map(|most| most.max(cpu)),
            memory: set.unwrap_or(CLAIMED_MIB * MIB).max(memory),
            memory_limit: set.unwrap_or(memory_limit).max(memory),
        };
        wanted.under(rules, FLOOR_MIB * MIB)
    }
}

/// A pod to make a base backup in.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupPod {
    /// What every helper pod has.
    pub pod: HelperPod,
    /// The Secret with the replication user's certificate (`tls.crt`, `tls.key`).
    pub replication_secret: String,
    /// The Secret with the authority (`ca.crt`).
    pub ca_secret: String,
    /// How much WAL may wait in memory, in MiB, where the site allows as much. It counts towards the pod's memory limit.
    pub spool_mib: u64,
    /// How much sealed WAL may wait on the node's disk, in MiB.
    pub backlog_mib: u64,
    /// The ServiceAccount with the rights of a watchdog, where the pod is to be one.
    pub watchdog: Option<String>,
}

impl BackupPod {
    /// The manifest.
    ///
    /// # Errors
    /// See [`PodError`].
    pub fn manifest(&self) -> Result<Pod, PodError> {
        let claims = self.pod.claims(0.0, 0.0, (self.spool_mib as f64 + AGENT_MIB) * MIB);
        let limit = claims.memory_limit / MIB;
        let spool = (limit - AGENT_MIB.min(limit / 2.0)).min(self.spool_mib as f64);
        let mut values = self.pod.values(&claims);
        values.insert("replication_secret", json!(self.replication_secret));
        values.insert("ca_secret", json!(self.ca_secret));
        values.insert("spool", json!(format!("{}Mi", spool.floor())));
        // A pod that goes over this is ended: the agent must come to its own bound first.
        values.insert("backlog", json!(format!("{}Mi", self.backlog_mib + self.backlog_mib / 8)));
        values.insert("service_account", json!(self.watchdog.as_deref().unwrap_or("default")));
        values.insert("mount_token", json!(self.watchdog.is_some()));
        values.insert("watched_namespace", json!(self.watchdog.as_ref().map_or("", |_| &self.pod.namespace)));
        Ok(self.pod.site.applied_to(filled("backup-pod.yaml", BACKUP, &values)?))
    }
}

/// A pod to put a data directory in place with.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveryPod {
    /// What every helper pod has.
    pub pod: HelperPod,
    /// The claim of the database's volume.
    pub claim: String,
    /// What the database will claim of its node, where the volume is not bound to one yet: it must fit there, too. A
    /// quantity; next to nothing when absent.
    pub cpu: Option<String>,
    /// The same of memory.
    pub memory_bytes: u64,
}

impl RecoveryPod {
    /// The manifest.
    ///
    /// # Errors
    /// See [`PodError`].
    pub fn manifest(&self) -> Result<Pod, PodError> {
        let cpu = self.cpu.as_deref().and_then(quantity::parse_text).unwrap_or_default();
        let claims = self.pod.claims(cpu, self.memory_bytes as f64, AGENT_MIB * MIB);
        let mut values = self.pod.values(&claims);
        values.insert("claim", json!(self.claim));
        Ok(self.pod.site.applied_to(filled("recovery-pod.yaml", RECOVERY, &values)?))
    }
}

pub(super) fn filled(
    template: &'static str,
    text: &str,
    values: &BTreeMap<&'static str, Value>,
) -> Result<Pod, PodError> {
    let yaml = render(template, text, values)?;
    serde_yaml::from_str(&yaml).map_err(|error| PodError::NotAPod { template, reason: error.to_string() })
}

/// Fills a template. Every placeholder must be given, and everything given must have its place.
///
/// # Errors
/// `Unfilled`, `Unknown`, `Malformed`.
pub fn render(template: &'static str, text: &str, values: &BTreeMap<&'static str, Value>) -> Result<String, PodError> {
    let mut unused: Vec<&str> = values.keys().copied().collect();
    let mut filled = String::with_capacity(text.len() + 512);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or(PodError::Malformed(template))?;
        let value = values.get(name).ok_or_else(|| PodError::Unfilled { template, placeholder: name.to_owned() })?;
        filled.push_str(before);
        filled.push_str(&value.to_string());
        unused.retain(|unused| *unused != name);
        rest = after;
    }
    filled.push_str(rest);
    match unused.first() {
        Some(name) => Err(PodError::Unknown { template, name: (*name).to_owned() }),
        None => Ok(filled),
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::cluster) fn helper() -> HelperPod {
        HelperPod {
            name: "dr-backup-k3".into(),
            namespace: "opschain".into(),
            run: "20261123-0800-k3".into(),
            image: "limepoint/opschain-db:17.10".into(),
            site: HelperSite {
                placement: PodPlacement {
                    pull_secrets: vec!["opschain-image-secret".into()],
                    ..PodPlacement::default()
                },
                ..HelperSite::default()
            },
            deadline: Duration::from_secs(6 * 3600),
            idle: Duration::from_secs(900),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::helper;
    use super::*;

    fn backup() -> BackupPod {
        BackupPod {
            pod: helper(),
            replication_secret: "opschain-db-replication".into(),
            ca_secret: "opschain-db-ca".into(),
            spool_mib: 512,
            backlog_mib: 1024,
            watchdog: None,
        }
    }

    /// What is special to a pod, as YAML.
    fn shown(pod: &Pod) -> String {
        let spec = pod.spec.as_ref().unwrap();
        serde_json::to_string_pretty(&json!({
            "metadata": pod.metadata,
            "image": spec.containers[0].image,
            "env": spec.containers[0].env,
            "memory": spec.containers[0].resources.as_ref().unwrap().limits,
            "deadline": spec.active_deadline_seconds,
            "pull": spec.image_pull_secrets,
            "volumes": spec.volumes,
        }))
        .unwrap()
    }

    #[test]
    fn the_backup_pod_is_filled() {
        insta::assert_snapshot!(shown(&backup().manifest().unwrap()));
    }

    #[test]
    fn the_recovery_pod_is_filled() {
        let pod = RecoveryPod { pod: helper(), claim: "opschain-db-1".into(), cpu: None, memory_bytes: 0 };
        insta::assert_snapshot!(shown(&pod.manifest().unwrap()));
    }

    #[test]
    fn a_recovery_pod_claims_of_its_node_what_the_database_will() {
        let pod = RecoveryPod { pod: helper(), claim: "c".into(), cpu: Some("2".into()), memory_bytes: 4 << 30 };
        let spec = pod.manifest().unwrap().spec.unwrap();
        let resources = serde_json::to_value(spec.containers[0].resources.as_ref().unwrap()).unwrap();
        let (requests, limits) = (json!({"cpu": "2000m", "memory": "4096Mi"}), json!({"memory": "4096Mi"}));
        assert_eq!(resources, json!({"requests": requests, "limits": limits}));
    }

    #[test]
    fn a_site_says_what_its_helper_pods_claim_and_bear_and_never_whose_they_are() {
        let mut wanted = backup();
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        wanted.pod.site = HelperSite {
            priority_class: Some("opschain-backup".into()),
            cpu: Some(0.5),
            memory: Some(1024.0 * MIB),
            labels: map(&[("team", "dba"), (RUN_LABEL, "somebody-else's"), ("sidecar.istio.io/inject", "true")]),
            annotations: map(&[("cost", "42")]),
            ..HelperSite::default()
        };
        let pod = wanted.manifest().unwrap();
        let (labels, annotations) = (pod.metadata.labels.unwrap(), pod.metadata.annotations.unwrap());
        assert_eq!((labels["team"].as_str(), labels[RUN_LABEL].as_str()), ("dba", "20261123-0800-k3"));
        assert_eq!(labels["sidecar.istio.io/inject"], "true", "who wants one may have it");
        assert_eq!((annotations["cost"].as_str(), annotations["linkerd.io/inject"].as_str()), ("42", "disabled"));
        let spec = pod.spec.unwrap();
        assert_eq!(spec.priority_class_name.as_deref(), Some("opschain-backup"));
        let resources = serde_json::to_value(&spec.containers[0].resources).unwrap();
        let claimed = json!({"cpu": "500m", "memory": "1024Mi"});
        assert_eq!(resources, json!({"requests": claimed, "limits": claimed}));
        let spool = spec.volumes.unwrap().into_iter().find(|volume| volume.name == "spool").unwrap();
        assert_eq!(spool.empty_dir.unwrap().size_limit.unwrap().0, "512Mi", "half of it is the agent's");
    }

    #[test]
    fn no_helper_pod_has_more_rights_than_it_needs() {
        let recovery = RecoveryPod { pod: helper(), claim: "opschain-db-1".into(), cpu: None, memory_bytes: 0 };
        for pod in [backup().manifest().unwrap(), recovery.manifest().unwrap()] {
            let spec = pod.spec.unwrap();
            let security = spec.security_context.unwrap();
            assert_eq!((security.run_as_user, security.run_as_non_root), (Some(26), Some(true)));
            assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
            assert_eq!(spec.automount_service_account_token, Some(false));
            assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
            let container = spec.containers[0].security_context.clone().unwrap();
            assert_eq!(container.allow_privilege_escalation, Some(false));
            assert_eq!(container.read_only_root_filesystem, Some(true));
            assert_eq!(container.capabilities.unwrap().drop, Some(vec!["ALL".into()]));
        }
    }

    #[test]
    fn only_a_watchdog_has_a_token_and_knows_what_to_watch() {
        let pod = BackupPod { watchdog: Some("dr-create-1".into()), ..backup() }.manifest().unwrap();
        let spec = pod.spec.unwrap();
        assert_eq!(spec.automount_service_account_token, Some(true));
        assert_eq!(spec.service_account_name.as_deref(), Some("dr-create-1"));
        let watched = spec.containers[0].env.as_ref().unwrap().iter().find(|env| env.name == "DR_WATCHDOG").unwrap();
        assert_eq!(watched.value.as_deref(), Some("opschain"));
    }

    #[test]
    fn a_value_cannot_break_out_of_its_place() {
        let mut odd = backup();
        odd.pod.run = "x\"\n  hostNetwork: true\n  a: \"{{name}}".into();
        let pod = odd.manifest().unwrap();
        assert_eq!(pod.metadata.labels.unwrap()["dr.opschain/run"], odd.pod.run);
        assert_eq!(pod.spec.unwrap().host_network, None);
    }

    #[test]
    fn a_placeholder_left_open_or_unknown_is_an_error() {
        let values = BTreeMap::from([("a", json!(1))]);
        assert_eq!(render("t", "x: {{a}}", &values).unwrap(), "x: 1");
        assert!(matches!(render("t", "x: {{b}}", &values), Err(PodError::Unfilled { .. })));
        assert!(matches!(render("t", "x: y", &values), Err(PodError::Unknown { .. })));
        assert!(matches!(render("t", "x: {{a", &values), Err(PodError::Malformed(_))));
    }
}
