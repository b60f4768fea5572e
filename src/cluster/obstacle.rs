//! What keeps a database or a pod from coming up, in the words of the object that knows: a claim without a volume, an image
//! that cannot be pulled, a Job that fails.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};

use super::database::Database;
use super::error::Result;
use super::kube::Cluster;
use super::podstate::{PodState, shortened};

/// For how long an obstacle must stand before it is no passing one.
const PATIENCE: Duration = Duration::from_secs(40);

/// Something that holds up what is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// The object: the same obstacle in other words is still the same.
    object: String,
    /// With its own words.
    pub text: String,
    outlook: Outlook,
}

impl Obstacle {
    /// That the API server makes no pods of a workload, in its words.
    pub fn no_pods(workload: &str, words: &str) -> Self {
        let once = match words.contains("exceeded quota") {
            true => "once there is room",
            false => "once such pods are allowed",
        };
        let text = format!("no pod of {workload} is made: {words}; it starts by itself {once}");
        Self { object: workload.to_owned(), text, outlook: Outlook::Stays }
    }
}

/// Whether an obstacle passes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// It may take as long as it likes: a slow provisioner.
    Passes,
    /// Not once it has stood for a while.
    Stays,
    /// Its object has given up.
    Final,
}

/// How long an obstacle has stood.
#[derive(Debug, Default)]
pub(super) struct Standing(Option<(String, Instant)>);

impl Standing {
    /// Whether this obstacle, seen now, will not pass by itself.
    pub fn is_permanent(&mut self, seen: Option<&Obstacle>) -> bool {
        let Some(obstacle) = seen else {
            self.0 = None;
            return false;
        };
        let since = match self.0.take() {
            Some((object, since)) if object == obstacle.object => since,
            _ => Instant::now(),
        };
        self.0 = Some((obstacle.object.clone(), since));
        match obstacle.outlook {
            Outlook::Passes => false,
            Outlook::Stays => since.elapsed() >= PATIENCE,
            Outlook::Final => true,
        }
    }
}

/// Whether the operator's word that a database has no room is about a start after the wait began: somebody may have made
/// room since, and its word stays until a pod that was started again is up.
#[derive(Debug, Default)]
pub(super) struct DiskFull(Option<i32>);

impl DiskFull {
    /// Looks at a database and its pods. One that runs again has not found the volume full yet.
    pub fn is_sure(&mut self, database: &Database, pods: &[PodState]) -> bool {
        let restarts = pods.iter().map(|pod| pod.restarts).sum();
        let before = *self.0.get_or_insert(restarts);
        let phase = database.status.phase.as_deref().unwrap_or_default();
        phase.starts_with("Not enough disk space") && restarts > before && pods.iter().any(|pod| pod.reason.is_some())
    }
}

/// The first obstacle among these, the one that explains the others first.
fn obstacle(claims: &[WordsOnClaim], jobs: &[Job], pods: &[Pod]) -> Option<Obstacle> {
    claims.first().map(of_claim).or_else(|| jobs.iter().find_map(of_job)).or_else(|| pods.iter().find_map(of_pod))
}

/// What is said of a claim that has no volume.
struct WordsOnClaim {
    claim: String,
    words: String,
    outlook: Outlook,
}

fn of_claim(WordsOnClaim { claim, words, outlook }: &WordsOnClaim) -> Obstacle {
    let object = format!("volume {claim}");
    Obstacle { text: format!("{object} is not made: {words}"), object, outlook: *outlook }
}

fn of_job(job: &Job) -> Option<Obstacle> {
    let status = job.status.as_ref()?;
    let name = job.metadata.name.clone().unwrap_or_default();
    let object = format!("Job {name}");
    let given_up = status.conditions.iter().flatten().find(|one| one.type_ == "Failed" && one.status == "True");
    if let Some(condition) = given_up {
        let words = shortened(condition.reason.as_deref().unwrap_or("Failed"), condition.message.as_deref());
        return Some(Obstacle { text: format!("{object} has failed: {words}"), object, outlook: Outlook::Final });
    }
    let failed = status.failed.filter(|failed| *failed > 0 && status.succeeded.unwrap_or(0) == 0)?;
    Some(Obstacle { text: format!("{object} has failed, {failed} times so far"), object, outlook: Outlook::Stays })
}

fn of_pod(pod: &Pod) -> Option<Obstacle> {
    let state = PodState::of(pod);
    let reason = state.reason.filter(|reason| NO_IMAGE.iter().any(|word| reason.starts_with(word)))?;
    let object = format!("pod {}", state.name);
    // Which image that is: a pod of before keeps its own, whatever was deployed since.
    let image = unpulled(pod).filter(|image| !reason.contains(image)).map(|image| format!(" (image {image})"));
    let text = format!("{object}: {reason}{}", image.unwrap_or_default());
    Some(Obstacle { text, object, outlook: Outlook::Stays })
}

fn unpulled(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let all = [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten();
    let waits = |reason: &str| NO_IMAGE.iter().any(|word| reason.starts_with(word));
    let mut unpulled = all.filter(|one| {
        let waiting = one.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.as_deref()).is_some_and(waits)
    });
    unpulled.next().map(|one| one.image.as_str())
}

/// The same of a pod that waits for nothing but itself: whatever does not pass without somebody's help.
pub(super) fn of_stuck_pod(pod: &Pod) -> Option<Obstacle> {
    let state = PodState::of(pod);
    let reason = state.reason.filter(|_| state.stuck)?;
    let object = format!("pod {}", state.name);
    Some(Obstacle { text: format!("{object}: {reason}"), object, outlook: Outlook::Stays })
}

/// How the kubelet says that it has no image.
const NO_IMAGE: [&str; 4] = ["ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"];

/// The newest words on a claim that is not bound, of those that say that something is wrong.
fn words_on_claim(claim: &str, events: &[Event]) -> Option<WordsOnClaim> {
    let wrong = |event: &&Event| {
        let reason = event.reason.as_deref().unwrap_or_default();
        event.type_.as_deref() == Some("Warning") || matches!(reason, "FailedBinding" | PROVISIONING)
    };
    let when = |event: &&Event| event.last_timestamp.as_ref().map(|time| time.0);
    let newest = events.iter().filter(wrong).max_by_key(when)?;
    let reason = newest.reason.as_deref().unwrap_or_default();
    let outlook = if reason == PROVISIONING { Outlook::Passes } else { Outlook::Stays };
    Some(WordsOnClaim { claim: claim.to_owned(), words: shortened(reason, newest.message.as_deref()), outlook })
}

/// How Kubernetes says that it waits for a provisioner of somebody else's.
const PROVISIONING: &str = "ExternalProvisioning";

fn is_pending(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending")
}

fn uses(pod: &Pod, claim: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.flat_map(|volume| &volume.persistent_volume_claim).any(|source| source.claim_name == claim)
}

impl Cluster {
    /// What holds up the objects with this label. What may not be looked at is no obstacle.
    pub(super) async fn obstacle_of(&self, labels: &str) -> Option<Obstacle> {
        let pods = self.here::<Pod>().list(Some(labels)).await.unwrap_or_default();
        let jobs = self.here::<Job>().list(Some(labels)).await.unwrap_or_default();
        let claims = self.here::<PersistentVolumeClaim>().list(Some(labels)).await.unwrap_or_default();
        obstacle(&self.unbound(&claims).await, &jobs, &pods)
    }

    /// What holds up one pod.
    pub(super) async fn obstacle_of_pod(&self, pod: &Pod) -> Option<Obstacle> {
        let claims = self.here::<PersistentVolumeClaim>().list(None).await.unwrap_or_default();
        let used = claims.into_iter().filter(|claim| uses(pod, claim.metadata.name.as_deref().unwrap_or_default()));
        let used: Vec<PersistentVolumeClaim> = used.collect();
        obstacle(&self.unbound(&used).await, &[], std::slice::from_ref(pod))
    }

    /// The claims that have no volume and of which somebody says why.
    async fn unbound(&self, claims: &[PersistentVolumeClaim]) -> Vec<WordsOnClaim> {
        let mut unbound = Vec::new();
        for name in claims.iter().filter(|claim| is_pending(claim)).filter_map(|claim| claim.metadata.name.clone()) {
            let events = self.events_on("PersistentVolumeClaim", &name).await.unwrap_or_default();
            unbound.extend(words_on_claim(&name, &events));
        }
        unbound
    }

    async fn events_on(&self, kind: &str, name: &str) -> Result<Vec<Event>> {
        self.here::<Event>().list_fields(&format!("involvedObject.kind={kind},involvedObject.name={name}")).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn event(kind: &str, reason: &str, at: &str) -> Event {
        read(json!({
            "metadata": {}, "involvedObject": {}, "type": kind, "reason": reason, "lastTimestamp": at,
            "message": format!("{reason} said"),
        }))
    }

    #[test]
    fn a_claim_that_waits_for_its_pod_is_no_obstacle_and_one_that_nobody_serves_is() {
        let waits = event("Normal", "WaitForFirstConsumer", "2026-01-01T00:00:03Z");
        assert!(words_on_claim("c", std::slice::from_ref(&waits)).is_none());
        let failed = event("Warning", "ProvisioningFailed", "2026-01-01T00:00:01Z");
        let nobody = event("Normal", "ExternalProvisioning", "2026-01-01T00:00:02Z");
        let newest = words_on_claim("c", &[failed.clone(), nobody, waits]).unwrap();
        assert_eq!(
            (newest.words.as_str(), newest.outlook),
            ("ExternalProvisioning: ExternalProvisioning said", Outlook::Passes)
        );
        assert_eq!(words_on_claim("c", &[failed]).unwrap().outlook, Outlook::Stays);
    }

    #[test]
    fn a_full_volume_is_one_once_a_pod_has_found_it_full_again() {
        let mut database = Database::default();
        let pod = |restarts, reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            [PodState { restarts, reason, ..PodState::of(&Pod::default()) }]
        };
        let ended = Some("Error: exit code 4");
        let mut full = DiskFull::default();
        assert!(!full.is_sure(&database, &pod(0, None)));
        database.status.phase = Some("Not enough disk space".into());
        assert!(!full.is_sure(&database, &pod(0, ended)), "that was before the waiting began");
        assert!(!full.is_sure(&database, &pod(1, None)), "it runs again: there may be room by now");
        assert!(full.is_sure(&database, &pod(1, ended)));
        assert!(!DiskFull::default().is_sure(&database, &pod(7, ended)));
    }

    #[test]
    fn the_object_that_explains_the_others_is_named_with_its_words() {
        let job: Job = read(json!({"metadata": {"name": "db-1-initdb"}, "status": {"failed": 2}}));
        let pod: Pod = read(json!({"metadata": {"name": "db-1"}, "spec": {"containers": []}, "status": {
            "phase": "Pending",
            "containerStatuses": [{"name": "c", "image": "r/db:15.19", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}],
        }}));
        let words = "ProvisioningFailed: no such class".to_owned();
        let claims = [WordsOnClaim { claim: "db-1".into(), words, outlook: Outlook::Stays }];
        let text = |found: Option<Obstacle>| found.unwrap().text;
        let (jobs, pods) = ([job.clone()], [pod]);
        assert_eq!(text(obstacle(&claims, &jobs, &pods)), "volume db-1 is not made: ProvisioningFailed: no such class");
        assert_eq!(text(obstacle(&[], &jobs, &pods)), "Job db-1-initdb has failed, 2 times so far");
        assert_eq!(text(obstacle(&[], &[], &pods)), "pod db-1: ErrImagePull: not found (image r/db:15.19)");
        let mut done = job;
        done.status.as_mut().unwrap().succeeded = Some(1);
        assert_eq!(obstacle(&[], &[done], &[]), None, "it came right in the end");
    }

    #[test]
    fn an_obstacle_must_stand_for_a_while_unless_its_object_has_given_up() {
        let mut standing = Standing::default();
        let passing = Obstacle { object: "a".into(), text: "t".into(), outlook: Outlook::Stays };
        assert!(!standing.is_permanent(Some(&passing)));
        standing.0 = Some(("a".into(), Instant::now() - PATIENCE));
        let other = Obstacle { object: "b".into(), ..passing.clone() };
        assert!(!standing.is_permanent(Some(&other)), "another one");
        standing.0 = Some(("b".into(), Instant::now() - PATIENCE));
        assert!(standing.is_permanent(Some(&other)));
        assert!(!standing.is_permanent(None) && standing.0.is_none(), "it went");
        let full = Obstacle::no_pods("opschain-api", "exceeded quota: q, used: pods=9");
        let words =
            "no pod of opschain-api is made: exceeded quota: q, used: pods=9; it starts by itself once there is room";
        assert_eq!(full.text, words);
        assert!(!standing.is_permanent(Some(&full)));
        standing.0 = Some(("opschain-api".into(), Instant::now() - PATIENCE));
        assert!(standing.is_permanent(Some(&full)));
        let given_up: Job = read(json!({"metadata": {"name": "j"}, "status": {
            "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}],
        }}));
        let seen = of_job(&given_up).unwrap();
        assert_eq!(seen.text, "Job j has failed: BackoffLimitExceeded: too often");
        assert!(standing.is_permanent(Some(&seen)));
    }
}
