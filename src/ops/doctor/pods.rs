//! The pods that a backup and a restore work in: whether they would be admitted, and, on request, whether they start and
//! bytes come through.

use std::time::{Duration, Instant};

use bytes::Bytes;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};

use super::findings::FindingsBuilder;
use crate::agent::protocol::ECHO_LIMIT;
use crate::clock;
use crate::cluster::transport::{Agent, Way};
use crate::cluster::{Cluster, Database, PodPlacement};
use crate::error::{CommandError, Result};
use crate::journal;
use crate::ops::helper::{self, RecoveryVolume};
use crate::ops::{Ctx, interrupted};
use crate::text;

const AREA: &str = "install";

/// What a pod is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Backup,
    Restore,
}

impl Purpose {
    const ALL: [Self; 2] = [Self::Backup, Self::Restore];

    /// The pod, for people.
    fn pod(self) -> &'static str {
        match self {
            Self::Backup => "the pod of a backup",
            Self::Restore => "the pod of a restore",
        }
    }

    /// What the runs that try it are called.
    fn word(self) -> &'static str {
        match self {
            Self::Backup => "probe-backup",
            Self::Restore => "probe-restore",
        }
    }
}

/// The pods of a backup and of a restore, as they would be made of a database today.
pub(super) struct HelperPods<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) database: &'a Database,
    pub(super) placement: &'a PodPlacement,
}

impl HelperPods<'_> {
    async fn manifest(&self, purpose: Purpose, run: &str) -> Result<Pod> {
        let image = self.database.image().unwrap_or_default();
        match purpose {
            Purpose::Backup => helper::backup_pod(self.ctx, run, image, self.placement, None).await,
            Purpose::Restore => {
                let on = RecoveryVolume { claim: &self.database.primary_claim(), cpu: None, memory_bytes: 0 };
                helper::recovery_pod(self.ctx, run, image, self.placement, on).await
            }
        }
    }

    /// Has the API server judge both. Returns whether it would have them.
    ///
    /// # Errors
    /// The cluster cannot be asked what the namespace wants of them.
    pub(super) async fn are_admitted(&self, cluster: &Cluster, findings: &mut FindingsBuilder) -> Result<bool> {
        let mut refused = false;
        for purpose in Purpose::ALL {
            let pod = self.manifest(purpose, helper::NO_RUN).await?;
            let refusal = match cluster.admission(&pod).await {
                Err(error) => {
                    findings.doubtful(AREA, error);
                    return Ok(false);
                }
                Ok(refusal) => refusal,
            };
            refused |= refusal.is_some();
            match helper::admitted(purpose.pod(), refusal.as_ref()) {
                Ok(None) => {}
                Ok(Some(doubt)) => findings.warn(AREA, doubt, helper::ADMISSION),
                Err(error) => findings.bad(AREA, error.message().to_owned(), helper::ADMISSION),
            }
        }
        if !refused {
            findings.ok(AREA, "quotas, limit ranges and policies admit the pods of a backup and of a restore");
        }
        Ok(!refused)
    }

    /// Starts each, moves bytes there and back in every way that a run would take, and removes it.
    ///
    /// # Errors
    /// Somebody has asked to stop. The pod is removed all the same.
    pub(super) async fn try_out(&self, findings: &mut FindingsBuilder) -> Result<()> {
        findings.known.tried_pods = true;
        for purpose in Purpose::ALL {
            let run = journal::new_run_id(purpose.word(), clock::now());
            let tried = tokio::select! {
                tried = self.trial(purpose, &run) => tried,
                () = self.ctx.cancel.cancelled() => Err(interrupted()),
            };
            let removed = helper::remove(self.ctx, &run).await;
            self.ctx.check_cancelled()?;
            match tried {
                Ok(trial) => findings.ok(AREA, trial.line(purpose.pod())),
                Err(error) => findings.failed(AREA, error.context(format!("{} was tried", purpose.pod()))),
            }
            if let Err(error) = removed {
                findings.doubtful(AREA, error.context(format!("remove {} again", purpose.pod())));
            }
        }
        Ok(())
    }

    async fn trial(&self, purpose: Purpose, run: &str) -> Result<Trial> {
        self.ctx.events.waiting(format!("{} to be tried", purpose.pod()), None);
        let manifest = on_no_claim(self.manifest(purpose, run).await?);
        let (name, begun) = (helper::pod_name(run), Instant::now());
        let mut agent = helper::attach(self.ctx, &manifest, &name, run).await?;
        let started = begun.elapsed();
        let by_exec = echo(&mut agent).await?;
        helper::go_straight(self.ctx, &mut agent, &name).await?;
        let by_way = echo(&mut agent).await?;
        Ok(Trial { started, by_exec, way: agent.way(), by_way })
    }
}

/// How a pod did.
#[derive(Debug, PartialEq, Eq)]
struct Trial {
    /// Until its agent served.
    started: Duration,
    by_exec: Duration,
    /// How bytes go once a better way than exec was looked for, and how long they take.
    way: Way,
    by_way: Duration,
}

impl Trial {
    fn line(&self, what: &str) -> String {
        let Self { started, by_exec, way, by_way } = self;
        let seconds = |time: &Duration| format!("{:.2} s", time.as_secs_f64());
        let size = text::bytes(ECHO_LIMIT);
        let exec = seconds(by_exec);
        let line = format!("{what} serves after {}; {size} there and back take {exec} by exec", seconds(started));
        match way {
            Way::Exec { why: None } => line,
            Way::Exec { why: Some(why) } => format!("{line}, the only way, since {why}"),
            way => format!("{line}, {} {way}", seconds(by_way)),
        }
    }
}

/// Bytes that no way can press together.
async fn echo(agent: &mut Agent) -> Result<Duration> {
    let mut bytes = vec![0; usize::try_from(ECHO_LIMIT).unwrap_or_default()];
    rand::fill(bytes.as_mut_slice());
    agent.echo(Bytes::from(bytes)).await.map_err(CommandError::from)
}

/// The same pod with nobody's volume: what runs on it must not be touched.
fn on_no_claim(mut pod: Pod) -> Pod {
    let volumes = pod.spec.iter_mut().flat_map(|spec| spec.volumes.iter_mut().flatten());
    for volume in volumes.filter(|volume| volume.persistent_volume_claim.is_some()) {
        volume.persistent_volume_claim = None;
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_tried_on_no_volume_of_anybody() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [], "volumes": [
            {"name": "pgdata", "persistentVolumeClaim": {"claimName": "opschain-db-1"}},
            {"name": "keys", "secret": {"secretName": "replication"}},
        ]}}))
        .unwrap();
        let tried = serde_json::to_value(on_no_claim(pod)).unwrap();
        assert_eq!(tried["spec"]["volumes"][0], serde_json::json!({"name": "pgdata", "emptyDir": {}}));
        assert_eq!(tried["spec"]["volumes"][1]["secret"]["secretName"], "replication");
    }

    #[test]
    fn a_trial_says_how_bytes_go_and_why_not_straight() {
        let trial = |way| {
            let [started, by_exec, by_way] = [4200, 310, 30].map(Duration::from_millis);
            Trial { started, by_exec, way, by_way }.line("the pod of a backup")
        };
        let exec = "the pod of a backup serves after 4.20 s; 1.0 MiB there and back take 0.31 s by exec";
        assert_eq!(trial(Way::Exec { why: None }), exec);
        let straight = trial(Way::Address("10.1.2.3:4000".parse().unwrap()));
        assert_eq!(straight, format!("{exec}, 0.03 s straight to 10.1.2.3"));
        let only = trial(Way::Exec { why: Some("10.1.2.3 does not answer".into()) });
        assert_eq!(only, format!("{exec}, the only way, since 10.1.2.3 does not answer"));
    }
}
