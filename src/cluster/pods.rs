//! Pods: made, waited for, read, deleted.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, LogParams};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{ClusterError, Result};
use super::kube::{Cluster, FIELD_MANAGER};
use super::obstacle::Standing;
use super::podstate::PodState;
use super::wait::Wait;
use super::workloads::{annotation_change, workload_of};
use super::{BROUGHT_BACK_BY, MANAGED_BY, MANAGER, REPLICAS, RUN_LABEL, STOPPED_BY};
use crate::event::Events;

/// How many lines of a log tell why a pod does not come up.
const TELLING_LINES: usize = 8;
/// Among how many they are looked for.
const SEARCHED_LINES: i64 = 400;

/// Why a pod would not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRefusal {
    /// The API server's words.
    pub why: String,
    /// Whether it would be refused for certain, as things stand: also where a webhook that has to be asked does not
    /// answer. The room of a quota that is full with the pods of today is free again once these are gone, and a webhook
    /// that allows no dry run says nothing of the pod.
    pub certain: bool,
}

impl PodRefusal {
    fn of(code: u16, why: String) -> Self {
        let webhook_is_down = code == 500 && why.contains("webhook");
        Self { why, certain: matches!(code, 403 | 422) || webhook_is_down }
    }

    /// Of a pod that is to take the place of one of today.
    fn once_that_is_gone(self) -> Self {
        let certain = self.certain && !self.why.contains("exceeded quota");
        Self { certain, ..self }
    }
}

impl Cluster {
    /// Reads a pod.
    ///
    /// # Errors
    /// There is none of the name, or it may not be read.
    pub async fn pod(&self, name: &str) -> Result<Pod> {
        self.here::<Pod>().get(name).await
    }

    /// A pod's own address, once it has one.
    ///
    /// # Errors
    /// There is none of the name, or it may not be read.
    pub async fn pod_address(&self, name: &str) -> Result<Option<IpAddr>> {
        let status = self.pod(name).await?.status;
        Ok(status.and_then(|status| status.pod_ip?.parse().ok()))
    }

    /// Lists pods by a label selector, or all of the namespace.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn pods(&self, labels: Option<&str>) -> Result<Vec<Pod>> {
        self.here::<Pod>().list(labels).await
    }

    /// Sums up pods by a label selector, or all of the namespace.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn pod_states(&self, labels: Option<&str>) -> Result<Vec<PodState>> {
        Ok(self.pods(labels).await?.iter().map(PodState::of).collect())
    }

    /// Names the bare pods of work in progress: those whose name begins with one of `prefixes` and that have not
    /// ended.
    ///
    /// # Errors
    /// The pods may not be listed.
    pub async fn working_pods(&self, prefixes: &[&str]) -> Result<Vec<PodState>> {
        let pods = self.pod_states(None).await?;
        let working = |pod: &PodState| !pod.ended() && prefixes.iter().any(|prefix| pod.name.starts_with(prefix));
        Ok(pods.into_iter().filter(working).collect())
    }

    /// Makes a pod.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] when there is one of the name; or it may not be made.
    pub async fn create_pod(&self, pod: &Pod) -> Result<Pod> {
        self.here::<Pod>().create(pod).await
    }

    /// Another pod of a Deployment as the API server would make it today, or why it would not: admission and quota are
    /// asked, and nothing is made.
    ///
    /// # Errors
    /// The Deployment may not be read, or pods may not be made at all.
    pub(super) async fn pod_as_made(&self, deployment: &str) -> Result<std::result::Result<Pod, PodRefusal>> {
        let object = self.here::<Deployment>().get(deployment).await?;
        let template = object.spec.map(|spec| spec.template).unwrap_or_default();
        let mut pod = Pod { metadata: template.metadata.unwrap_or_default(), spec: template.spec, status: None };
        pod.metadata.name = Some(format!("{deployment}-admission-check"));
        Ok(self.made_dry(&pod).await?.map_err(PodRefusal::once_that_is_gone))
    }

    /// Why the API server would not let a Deployment have the replicas that it has, where it would not: policies and
    /// webhooks on Deployments are asked, and nothing is changed. Who may not change it at all is told so elsewhere.
    ///
    /// # Errors
    /// The Deployment may not be read.
    pub(super) async fn scaling_refused(&self, deployment: &str) -> Result<Option<PodRefusal>> {
        let object = self.here::<Deployment>().get(deployment).await?;
        let notes = [(REPLICAS, None), (STOPPED_BY, None), (BROUGHT_BACK_BY, Some(FIELD_MANAGER.to_owned()))];
        let mut change = annotation_change(&notes);
        change["spec"] = serde_json::json!({"replicas": object.spec.and_then(|spec| spec.replicas)});
        match self.here::<Deployment>().merge_dry(deployment, &change).await {
            Ok(_) | Err(ClusterError::Forbidden { .. }) => Ok(None),
            Err(ClusterError::Refused { code, message, .. }) => Ok(Some(PodRefusal::of(code, message))),
            Err(error) => Err(error),
        }
    }

    /// Why the API server would not make the pod now, where it would not: quota, policies and webhooks are asked, and
    /// nothing is made.
    ///
    /// # Errors
    /// Pods may not be made at all, or the namespace is not there.
    pub async fn admission(&self, pod: &Pod) -> Result<Option<PodRefusal>> {
        Ok(self.made_dry(pod).await?.err())
    }

    async fn made_dry(&self, pod: &Pod) -> Result<std::result::Result<Pod, PodRefusal>> {
        match self.here::<Pod>().create_dry(pod).await {
            Ok(made) => Ok(Ok(made)),
            Err(ClusterError::Refused { code, message, .. }) => Ok(Err(PodRefusal::of(code, message))),
            Err(error) => Err(error),
        }
    }

    /// What the pods are of that wear the label `app` of a Deployment's pods, have not ended, and are not its: as kubectl
    /// names it, `deployment/x` or, of one that was made by hand, `pod/x`.
    ///
    /// # Errors
    /// The pods may not be listed.
    pub async fn strangers_of(&self, deployment: &str) -> Result<Vec<String>> {
        let mut pods = self.pods(Some(&format!("app={deployment}"))).await?;
        pods.retain(|pod| !is_of(pod, deployment) && !PodState::of(pod).ended());
        let mut found: Vec<String> = pods.iter().map(|pod| workload_of(&pod.metadata)).collect();
        found.iter_mut().for_each(|one| *one = one.replacen(' ', "/", 1).to_lowercase());
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Waits until the pod is ready (`Running` with all readiness checks passed).
    ///
    /// # Errors
    /// It ended, it hangs on something that does not pass by itself (a missing image, a wrong configuration), or the
    /// limit is over: each with its reason and the last lines of its log.
    pub async fn wait_pod_ready(&self, name: &str, limit: Duration, events: &Events) -> Result<Pod> {
        let mut wait = Wait::new(format!("pod {name} to be ready"), limit, events).within(self.namespace());
        let mut standing = Standing::default();
        loop {
            let mut seen = None;
            if let Some(pod) = wait.patient(self.pod(name).await)? {
                let state = PodState::of(&pod);
                if state.ready && !state.deleting {
                    return Ok(pod);
                }
                let why = state.reason.clone().unwrap_or_else(|| state.phase.clone());
                if state.stuck || state.ended() || state.deleting {
                    let reason = if state.deleting { "it is being deleted".to_owned() } else { why };
                    return Err(wait.permanent(reason).with_log(self.telling_log(&state).await));
                }
                let obstacle = if state.phase == "Pending" { self.obstacle_of_pod(&pod).await } else { None };
                if standing.is_permanent(obstacle.as_ref()) {
                    return Err(wait.permanent(obstacle.map(|obstacle| obstacle.text).unwrap_or_default()));
                }
                seen = Some(obstacle.map_or(why, |obstacle| obstacle.text));
            }
            if let Err(error) = wait.not_yet(seen).await {
                let log = match self.pod(name).await {
                    Ok(pod) => self.telling_log(&PodState::of(&pod)).await,
                    Err(_) => Vec::new(),
                };
                return Err(error.with_log(log));
            }
        }
    }

    /// Deletes a pod, giving it `grace` to end, and waits until it is gone. No such pod is no error.
    ///
    /// # Errors
    /// It may not be deleted, or is not gone in time.
    pub async fn delete_pod(&self, name: &str, grace: Duration, limit: Duration, events: &Events) -> Result<()> {
        let params = DeleteParams::default().grace_period(u32::try_from(grace.as_secs()).unwrap_or(u32::MAX));
        let mut wait = Wait::new(format!("pod {name} to be gone"), limit, events).within(self.namespace());
        let mut asked = false;
        loop {
            if !asked {
                match wait.patient(self.here::<Pod>().delete(name, &params).await)? {
                    Some(false) => return Ok(()),
                    Some(true) => asked = true,
                    None => {}
                }
            } else if let Some(pod) = wait.patient(self.here::<Pod>().get_opt(name).await)? {
                match pod {
                    None => return Ok(()),
                    // A controller may have made another of the same name: ours is gone.
                    Some(pod) if pod.metadata.deletion_timestamp.is_none() => return Ok(()),
                    Some(_) => {}
                }
            }
            wait.not_yet(None).await?;
        }
    }

    /// Deletes the pods of these Deployments and StatefulSets that are older than `since`, and waits until they are gone:
    /// their controllers make others. Returns their names.
    ///
    /// # Errors
    /// They may not be listed or deleted, or are not gone in time.
    pub async fn renew_pods(
        &self,
        workloads: &[&str],
        since: &Time,
        limit: Duration,
        events: &Events,
    ) -> Result<Vec<String>> {
        let mut renewed = Vec::new();
        for pod in self.pods(None).await?.into_iter().filter(|pod| is_older(pod, workloads, since)) {
            let grace = pod.spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
            let Some(name) = pod.metadata.name else { continue };
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
            self.delete_pod(&name, grace, limit, events).await?;
            renewed.push(name);
        }
        Ok(renewed)
    }

    /// Waits until no pod with these labels is left. Pods that have ended and stay count as gone.
    ///
    /// # Errors
    /// The limit is over; the pods that are left are named.
    pub async fn wait_pods_gone(&self, labels: &str, limit: Duration, events: &Events) -> Result<()> {
        let whose = labels.strip_prefix("app=").map_or_else(|| format!("with {labels}"), |name| format!("of {name}"));
        self.wait_gone(labels, &whose, |_| true, limit, events).await
    }

    /// Waits as [`Cluster::wait_pods_gone`] for the pods of a Deployment, and for no others that wear their label: nobody
    /// ends those.
    ///
    /// # Errors
    /// The limit is over; the pods that are left are named.
    pub async fn wait_deployment_gone(&self, name: &str, limit: Duration, events: &Events) -> Result<()> {
        self.wait_gone(&format!("app={name}"), &format!("of {name}"), |pod| is_of(pod, name), limit, events).await
    }

    async fn wait_gone(
        &self,
        labels: &str,
        whose: &str,
        is_one: impl Fn(&Pod) -> bool,
        limit: Duration,
        events: &Events,
    ) -> Result<()> {
        let mut wait = Wait::new(format!("the pods {whose} to be gone"), limit, events).within(self.namespace());
        loop {
            let mut seen = None;
            if let Some(mut pods) = wait.patient(self.pods(Some(labels)).await)? {
                pods.retain(&is_one);
                let pods = pods.iter().map(PodState::of);
                let left: Vec<String> = pods.filter(|pod| !pod.ended()).map(|pod| pod.line()).collect();
                if left.is_empty() {
                    return Ok(());
                }
                seen = Some(left.join(", "));
            }
            wait.not_yet(seen).await?;
        }
    }

    /// Deletes the pods that `dr` made, of one run or of any, and waits until they are gone. Returns their names.
    ///
    /// # Errors
    /// They may not be listed or deleted, or are not gone in time.
    pub async fn sweep_pods(&self, run: Option<&str>, limit: Duration, events: &Events) -> Result<Vec<String>> {
        let labels = match run {
            Some(run) => format!("{MANAGED_BY}={MANAGER},{RUN_LABEL}={run}"),
            None => format!("{MANAGED_BY}={MANAGER}"),
        };
        let pods = self.pods(Some(&labels)).await?;
        let names: Vec<String> = pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
        for name in &names {
            self.delete_pod(name, Duration::ZERO, limit, events).await?;
        }
        Ok(names)
    }

    /// Returns the last lines of a container's log; of its run before the last restart with `previous`.
    ///
    /// # Errors
    /// There is no such pod or log, or it may not be read.
    pub async fn log_tail(&self, pod: &str, container: &str, lines: i64, previous: bool) -> Result<Vec<String>> {
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines),
            previous,
            ..LogParams::default()
        };
        let pods = self.here::<Pod>();
        let text = self.ask(pods.ask("get", Some(pod)).of_part("log"), pods.api.logs(pod, &params)).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The lines that tell why a pod does not come up; of the run before when it keeps crashing. Empty when there are
    /// none: a missing log must not hide the failure that it would explain.
    pub(super) async fn telling_log(&self, state: &PodState) -> Vec<String> {
        let Some(container) = state.container.as_deref() else { return Vec::new() };
        let before = state.restarts > 0;
        for previous in [true, false].into_iter().filter(|previous| before || !previous) {
            let lines = self.log_tail(&state.name, container, SEARCHED_LINES, previous).await.unwrap_or_default();
            if !lines.is_empty() {
                return telling(lines);
            }
        }
        Vec::new()
    }
}

/// Whether the pod is of one of these Deployments or StatefulSets, and was made before `since`.
fn is_older(pod: &Pod, workloads: &[&str], since: &Time) -> bool {
    let workload = workload_of(&pod.metadata);
    let is_of = |name: &&str| workload == format!("Deployment {name}") || workload == format!("StatefulSet {name}");
    pod.metadata.creation_timestamp.as_ref().is_some_and(|made| made.0 < since.0) && workloads.iter().any(is_of)
}

/// Whether a replica set of the Deployment owns the pod.
fn is_of(pod: &Pod, deployment: &str) -> bool {
    workload_of(&pod.metadata) == format!("Deployment {deployment}")
}

/// The lines that say what went wrong; the last ones where none says so. The operator wraps what PostgreSQL says into JSON,
/// and says more itself after the line that counts.
fn telling(lines: Vec<String>) -> Vec<String> {
    let grave: Vec<String> = lines.iter().filter_map(|line| grave_record(line)).collect();
    let lines = if grave.is_empty() { lines } else { grave };
    let from = lines.len().saturating_sub(TELLING_LINES);
    lines.into_iter().skip(from).collect()
}

/// What PostgreSQL ended of, in a line of the operator's log.
fn grave_record(line: &str) -> Option<String> {
    let said: Value = serde_json::from_str(line).ok()?;
    let record = &said["record"];
    let severity = record["error_severity"].as_str().filter(|severity| matches!(*severity, "FATAL" | "PANIC"))?;
    let parts = [&record["message"], &record["detail"], &record["hint"]];
    let text: Vec<&str> = parts.into_iter().filter_map(Value::as_str).filter(|part| !part.is_empty()).collect();
    Some(format!("{severity}: {}", text.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_database_that_crashes_the_line_that_it_ended_of_is_told() {
        let line = |severity: &str, message: &str| {
            let record = serde_json::json!({"error_severity": severity, "message": message, "hint": "Increase it"});
            serde_json::json!({"level": "info", "msg": "record", "record": record}).to_string()
        };
        let chatter = |count| (0..count).map(|n| format!(r#"{{"level":"info","msg":"Webserver exited {n}"}}"#));
        let mut lines: Vec<String> = vec![line("LOG", "starting"), line("FATAL", "maximum number reached")];
        lines.extend(chatter(20));
        assert_eq!(telling(lines), ["FATAL: maximum number reached; Increase it"]);
        assert_eq!(telling(chatter(20).collect()), chatter(20).skip(12).collect::<Vec<_>>());
        assert_eq!(telling(vec!["plain text".into()]), ["plain text"]);
    }

    #[test]
    fn what_stayed_connected_is_made_anew_where_it_is_older_than_the_database() {
        let pod = |kind: &str, owner: &str, made: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {
                "name": "p", "labels": {"pod-template-hash": "7d9"}, "creationTimestamp": made,
                "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": owner, "uid": "u", "controller": true}],
            }}))
            .unwrap()
        };
        let since: Time = serde_json::from_value(serde_json::json!("2026-12-01T10:00:00Z")).unwrap();
        let older = |kind, owner, made| is_older(&pod(kind, owner, made), &["log", "vault"], &since);
        assert!(older("ReplicaSet", "log-7d9", "2026-12-01T09:59:59Z"));
        assert!(older("StatefulSet", "vault", "2026-12-01T09:59:59Z"));
        assert!(!older("ReplicaSet", "log-7d9", "2026-12-01T10:00:00Z"), "made beside it");
        assert!(!older("ReplicaSet", "api-7d9", "2026-12-01T09:59:59Z"), "another's");
        assert!(!older("StatefulSet", "log", "2026-12-01T10:00:01Z"));
    }

    #[test]
    fn a_pod_that_only_wears_the_label_of_a_deployment_is_not_its() {
        let pod = |owner: Value| -> Pod {
            let labels = serde_json::json!({"app": "opschain-api", "pod-template-hash": "7d9"});
            let meta = serde_json::json!({"name": "opschain-api-7d9-x", "labels": labels, "ownerReferences": owner});
            serde_json::from_value(serde_json::json!({"metadata": meta})).unwrap()
        };
        let owned = |kind: &str, name: &str| {
            pod(serde_json::json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true}]))
        };
        assert!(is_of(&owned("ReplicaSet", "opschain-api-7d9"), "opschain-api"));
        assert!(!is_of(&owned("ReplicaSet", "opschain-api-worker-7d9"), "opschain-api"));
        assert!(!is_of(&owned("Job", "opschain-api-7d9"), "opschain-api"));
        assert!(!is_of(&pod(Value::Null), "opschain-api"), "made by hand");
    }

    #[test]
    fn a_policy_refuses_for_certain_and_a_full_quota_or_a_missing_dry_run_do_not() {
        let certain = |code, why: &str| PodRefusal::of(code, why.into()).once_that_is_gone().certain;
        assert!(certain(403, "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\""));
        assert!(certain(422, "Invalid"));
        assert!(!certain(403, "pods \"x\" is forbidden: exceeded quota: compute, requested: pods=1"));
        assert!(PodRefusal::of(403, "exceeded quota: compute".into()).certain, "of a pod beside those of today");
        assert!(!certain(400, "admission webhook \"w\" does not support dry run"));
    }
}
