//! CronJobs that make bundles, with all that they need: applied, looked at, run, taken away.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ObjectMeta, PropagationPolicy};
use serde_json::{Value, json};

use super::error::{ClusterError, Result};
use super::kube::{Cluster, FIELD_MANAGER, Objects};
use super::obstacle::{Standing, of_stuck_pod};
use super::pod::CONTAINER;
use super::podstate::PodState;
use super::wait::Wait;
use super::{MANAGED_BY, MANAGER};
use crate::clock;
use crate::event::Events;

/// The label that tells schedules from what else is ours.
pub const SCHEDULE_LABEL: &str = "app.kubernetes.io/component=schedule";
/// After so long a Job without a pod gets none.
const NO_POD_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);
/// How many of a failed pod's last lines are shown.
const LAST_LINES: i64 = 12;

/// A CronJob as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct CronJobFacts {
    pub name: String,
    /// The release that it makes bundles of, as its label says.
    pub release: String,
    /// As cron has it.
    pub schedule: String,
    pub time_zone: Option<String>,
    pub suspended: bool,
    pub last_scheduled: Option<jiff::Timestamp>,
    /// The Jobs that are at work.
    pub active: Vec<String>,
    /// The newest that has ended: when it began, and whether it did what it was to.
    pub last: Option<(jiff::Timestamp, bool)>,
    /// How long Kubernetes lets one take.
    pub deadline: Option<Duration>,
    /// What keeps the one that is at work from beginning, in the words of its pod.
    pub held_up: Option<String>,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEnd {
    pub succeeded: bool,
    /// Kubernetes' word, such as `DeadlineExceeded`.
    pub reason: Option<String>,
    /// The exit code of its program.
    pub code: Option<i32>,
    /// The last lines of what it said.
    pub log: Vec<String>,
}

/// The label with the release that a schedule is of.
pub const SCHEDULED_RELEASE: &str = "dr.opschain/release";

impl Cluster {
    /// Makes objects, or what they are to be of those that are there.
    ///
    /// # Errors
    /// One of that name is somebody else's (`Conflict`), or it may not be made.
    pub async fn apply_ours(&self, objects: &[Value]) -> Result<()> {
        for object in objects {
            let (name, here) = self.of(object);
            here.apply(&name, FIELD_MANAGER, object).await?;
        }
        Ok(())
    }

    /// The first of the objects whose name somebody else has.
    ///
    /// # Errors
    /// One may not be read.
    pub async fn first_of_others(&self, objects: &[Value]) -> Result<Option<String>> {
        for object in objects {
            let (name, here) = self.of(object);
            let there = here.get_opt(&name).await?;
            if there.is_some_and(|there| there.labels().get(MANAGED_BY).map(String::as_str) != Some(MANAGER)) {
                return Ok(Some(format!("{} {name}", object["kind"].as_str().unwrap_or_default())));
            }
        }
        Ok(None)
    }

    /// Has the API server judge an object as if it were made, and keeps nothing.
    ///
    /// # Errors
    /// What it says against it.
    pub async fn judge(&self, object: &Value) -> Result<()> {
        let (name, here) = self.of(object);
        let mut judged: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|error| ClusterError::Unexpected { act: format!("read {name}"), cause: error.to_string() })?;
        // Under its own name it may be there already.
        judged.metadata.name = Some("dr-dry-run".into());
        here.create_dry(&judged).await.map(drop)
    }

    /// Deletes objects, the last first, and the CronJob after all others: while it is there, what an interrupted call has
    /// left is found again. Those that are not ours, or not there, are left alone.
    ///
    /// # Errors
    /// One may not be deleted.
    pub async fn delete_ours(&self, objects: &[Value]) -> Result<()> {
        let background =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        for object in to_delete(objects) {
            let (name, here) = self.of(object);
            let there = here.get_opt(&name).await?;
            if there.is_some_and(|there| there.labels().get(MANAGED_BY).map(String::as_str) == Some(MANAGER)) {
                here.delete(&name, &background).await?;
            }
        }
        Ok(())
    }

    fn of(&self, object: &Value) -> (String, Objects<'_, DynamicObject>) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        // Of the kinds here, all plurals are regular.
        let types = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let name = text(&object["metadata"]["name"]);
        let objects = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => {
                let api = Api::namespaced_with(self.client().clone(), namespace, &types);
                self.in_any(api, types, Some(namespace))
            }
            None => self.in_any(Api::all_with(self.client().clone(), &types), types, None),
        };
        (name, objects)
    }

    /// A key of a Secret, where both are there.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn secret_key(&self, secret: &str, key: &str) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
        let found = self.here::<Secret>().get_opt(secret).await?;
        let bytes = found.and_then(|secret| secret.data?.remove(key)).map(|bytes| zeroize::Zeroizing::new(bytes.0));
        if let Some(bytes) = &bytes {
            self.secrets().register(bytes);
        }
        Ok(bytes)
    }

    /// The names of the Secrets that pods pull images with by default.
    ///
    /// # Errors
    /// The account may not be read.
    pub async fn default_pull_secrets(&self) -> Result<Vec<String>> {
        let account = self.here::<ServiceAccount>().get_opt("default").await?;
        let secrets = account.and_then(|account| account.image_pull_secrets);
        Ok(secrets.into_iter().flatten().map(|secret| secret.name).collect())
    }

    /// The CronJobs of the namespace that make bundles.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn bundle_cron_jobs(&self) -> Result<Vec<CronJobFacts>> {
        let selector = format!("{MANAGED_BY}={MANAGER},{SCHEDULE_LABEL}");
        let jobs = self.here::<Job>().list(Some(&selector)).await?;
        let cron_jobs = self.here::<CronJob>().list(Some(&selector)).await?;
        let mut found: Vec<CronJobFacts> = cron_jobs.iter().map(|one| facts(one, &jobs)).collect();
        if found.iter().any(|facts| !facts.active.is_empty()) {
            let pods = self.here::<Pod>().list(Some(&selector)).await?;
            let now = clock::now();
            for facts in &mut found {
                facts.held_up = facts.active.iter().find_map(|job| held_up(job, &jobs, &pods, now));
            }
        }
        Ok(found)
    }

    /// Has a CronJob start no more Jobs, or start them again.
    ///
    /// # Errors
    /// It may not be changed.
    pub async fn suspend(&self, cron_job: &str, suspend: bool) -> Result<()> {
        self.here::<CronJob>().merge(cron_job, &json!({"spec": {"suspend": suspend}})).await.map(drop)
    }

    /// Makes a Job of a CronJob at once, as `kubectl create job --from` does.
    ///
    /// # Errors
    /// There is no such CronJob, or no Job may be made.
    pub async fn start_job(&self, cron_job: &str, job: &str) -> Result<()> {
        let cron_job = self.here::<CronJob>().get(cron_job).await?;
        let owner = OwnerReference {
            api_version: "batch/v1".into(),
            kind: "CronJob".into(),
            name: cron_job.name_any(),
            uid: cron_job.uid().unwrap_or_default(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        let template = cron_job.spec.map(|spec| spec.job_template).unwrap_or_default();
        let of_template = template.metadata.unwrap_or_default();
        let mut annotations = of_template.annotations.unwrap_or_default();
        annotations.insert("cronjob.kubernetes.io/instantiate".into(), "manual".into());
        let metadata = ObjectMeta {
            name: Some(job.to_owned()),
            labels: of_template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        self.here::<Job>().create(&Job { metadata, spec: template.spec, status: None }).await.map(drop)
    }

    /// Waits until a Job has ended, and tells how.
    ///
    /// # Errors
    /// It does not end in time, its pod will never begin, it is gone, or it may not be read.
    pub async fn wait_job(&self, job: &str, limit: Duration, events: &Events) -> Result<JobEnd> {
        let mut wait = Wait::new(format!("Job {job} to end"), limit, events).within(self.namespace());
        let mut standing = Standing::default();
        loop {
            let mut seen = None;
            if let Some(found) = wait.patient(self.here::<Job>().get(job).await)? {
                if let Some((succeeded, reason)) = ended(&found) {
                    let (code, log) = self.end_of_pod(job, succeeded).await;
                    return Ok(JobEnd { succeeded, reason, code, log });
                }
                let pod = self.newest_pod(job).await;
                let obstacle = pod.as_ref().and_then(of_stuck_pod);
                if standing.is_permanent(obstacle.as_ref()) {
                    return Err(wait.permanent(obstacle.map(|obstacle| obstacle.text).unwrap_or_default()));
                }
                let state = pod.as_ref().map(PodState::of);
                seen = state.map(|state| state.reason.unwrap_or(state.phase));
            }
            wait.not_yet(seen).await?;
        }
    }

    async fn newest_pod(&self, job: &str) -> Option<Pod> {
        let pods = self.here::<Pod>().list(Some(&format!("job-name={job}"))).await.ok()?;
        pods.into_iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|made| made.0))
    }

    /// The exit code and the last words of a Job's pod. A missing log hides no failure.
    async fn end_of_pod(&self, job: &str, succeeded: bool) -> (Option<i32>, Vec<String>) {
        let Some(pod) = self.newest_pod(job).await else { return (None, Vec::new()) };
        let status = pod.status.as_ref();
        let all = |init: bool| {
            let of = |status: &k8s_openapi::api::core::v1::PodStatus| match init {
                true => status.init_container_statuses.clone(),
                false => status.container_statuses.clone(),
            };
            status.and_then(of).unwrap_or_default()
        };
        let failed = all(true).into_iter().chain(all(false)).find_map(|container| {
            let end = container.state?.terminated?;
            (end.exit_code != 0).then_some((container.name, end.exit_code))
        });
        let code = failed.as_ref().map(|(_, code)| *code).or(succeeded.then_some(0));
        let container = failed.as_ref().map_or(CONTAINER, |(name, _)| name);
        let log = self.log_tail(&pod.name_any(), container, LAST_LINES, false).await.unwrap_or_default();
        (code, log)
    }
}

fn facts(cron_job: &CronJob, jobs: &[Job]) -> CronJobFacts {
    let spec = cron_job.spec.clone().unwrap_or_default();
    let deadline = spec.job_template.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let status = cron_job.status.clone().unwrap_or_default();
    let uid = cron_job.uid();
    let own = jobs.iter().filter(|job| job.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref()));
    let began = |job: &Job| job.status.as_ref()?.start_time.as_ref().map(|at| at.0);
    let last = own.clone().filter_map(|job| Some((began(job)?, ended(job)?.0))).max_by_key(|(at, _)| *at);
    let active = own.filter(|job| ended(job).is_none()).map(ResourceExt::name_any).collect();
    CronJobFacts {
        name: cron_job.name_any(),
        release: cron_job.labels().get(SCHEDULED_RELEASE).cloned().unwrap_or_default(),
        schedule: spec.schedule,
        time_zone: spec.time_zone,
        suspended: spec.suspend == Some(true),
        last_scheduled: status.last_schedule_time.map(|at| at.0),
        active,
        last,
        deadline: deadline.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
        held_up: None,
    }
}

/// Why the pod of a Job that is at work does not begin, where that does not pass by itself.
fn held_up(job: &str, jobs: &[Job], pods: &[Pod], now: jiff::Timestamp) -> Option<String> {
    let of_job = |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.kind == "Job" && owner.name == job);
    let newest =
        pods.iter().filter(of_job).max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|made| made.0));
    match newest {
        Some(pod) => {
            let state = PodState::of(pod);
            let waits =
                state.phase == "Pending" && !matches!(state.reason.as_deref(), None | Some("ContainerCreating"));
            waits.then(|| format!("pod {}: {}", state.name, state.reason.unwrap_or_default()))
        }
        None => {
            let found = jobs.iter().find(|one| one.name_any() == job)?;
            let made = found.metadata.creation_timestamp.as_ref()?.0;
            let is_late = now.duration_since(made) > NO_POD_AFTER;
            is_late.then(|| format!("Job {job} has no pod: the API server admits none, or nobody makes one"))
        }
    }
}

/// Whether a Job has ended, and how.
fn ended(job: &Job) -> Option<(bool, Option<String>)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let is = |kind: &str| conditions.iter().find(|one| one.type_ == kind && one.status == "True");
    let complete = is("Complete").map(|_| (true, None));
    complete.or_else(|| is("Failed").map(|failed| (false, failed.reason.clone())))
}

/// The last first, and the CronJob after all others.
fn to_delete(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let (cron_jobs, others): (Vec<&Value>, Vec<&Value>) =
        objects.iter().rev().partition(|object| object["kind"] == "CronJob");
    others.into_iter().chain(cron_jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_the_rest_is_deleted_last() {
        let objects = ["ServiceAccount", "CronJob", "Role", "Secret"].map(|kind| json!({"kind": kind}));
        let order: Vec<&str> = to_delete(&objects).filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(order, ["Secret", "Role", "ServiceAccount", "CronJob"]);
    }

    fn job(name: &str, uid: &str, began: &str, condition: Option<(&str, &str)>) -> Job {
        let conditions = condition.map(|(kind, reason)| json!([{"type": kind, "status": "True", "reason": reason}]));
        let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": uid}]);
        serde_json::from_value(json!({
            "metadata": {"name": name, "ownerReferences": owner},
            "status": {"startTime": began, "conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn a_job_whose_pod_does_not_begin_is_held_up_in_the_pods_own_words() {
        let pod = |phase: &str, waiting: Option<Value>| -> Pod {
            let state = json!([{"name": "dr", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": waiting}}]);
            serde_json::from_value(json!({
                "metadata": {"name": "p", "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u"}]},
                "status": {"phase": phase, "containerStatuses": state},
            }))
            .unwrap()
        };
        let mut job = job("j", "u", "2026-11-29T02:00:00Z", None);
        let made = "2026-11-29T02:00:00Z".parse::<jiff::Timestamp>().unwrap();
        job.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-29T02:00:00Z")).unwrap();
        let seen = |pods: &[Pod], after: i64| {
            held_up("j", std::slice::from_ref(&job), pods, made + jiff::SignedDuration::from_secs(after))
        };
        let pulling = pod("Pending", Some(json!({"reason": "ImagePullBackOff", "message": "no such image"})));
        assert_eq!(seen(&[pulling], 1).as_deref(), Some("pod p: ImagePullBackOff: no such image"));
        assert_eq!(seen(&[pod("Pending", Some(json!({"reason": "ContainerCreating"})))], 500), None);
        assert_eq!(seen(&[pod("Running", None)], 500), None);
        assert_eq!(seen(&[], 5), None);
        assert!(seen(&[], 61).unwrap().starts_with("Job j has no pod"));
    }

    #[test]
    fn a_cron_job_is_told_by_its_own_jobs_alone() {
        let cron_job: CronJob = serde_json::from_value(json!({
            "metadata": {"name": "c", "uid": "u", "labels": {SCHEDULED_RELEASE: "opschain"}},
            "spec": {"schedule": "0 2 * * *", "timeZone": "Etc/UTC", "suspend": true, "jobTemplate": {}},
        }))
        .unwrap();
        let jobs = [
            job("a", "u", "2026-11-29T02:00:00Z", Some(("Complete", ""))),
            job("b", "u", "2026-11-30T02:00:00Z", Some(("Failed", "DeadlineExceeded"))),
            job("other", "v", "2026-11-30T03:00:00Z", Some(("Complete", ""))),
            job("now", "u", "2026-11-30T04:00:00Z", None),
        ];
        let found = facts(&cron_job, &jobs);
        assert_eq!(found.last, Some(("2026-11-30T02:00:00Z".parse().unwrap(), false)));
        assert_eq!((found.active, found.suspended, found.release.as_str()), (vec!["now".to_owned()], true, "opschain"));
        assert_eq!(ended(&jobs[1]), Some((false, Some("DeadlineExceeded".into()))));
    }
}
