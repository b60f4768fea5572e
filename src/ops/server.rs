//! `dr server`: the application off and back on, with the replica counts that it had.
//!
//! The counts are written onto the Deployments before anything is scaled, so that any later `dr`, or a person who reads
//! the annotation, can put them back.

use serde::{Deserialize, Serialize};

use super::quiesce::{self, Recorded, Replicas};
use super::{Ctx, interrupted};
use crate::cluster::{Cluster, LeaseGuard, PodState, REPLICAS, STOPPED_BY, TTL, Workload, WorkloadKind, lease_name};
use crate::error::{CommandError, Exit, Result};
use crate::journal::new_run_id;
use crate::opschain::Names;
use crate::opschain::workloads::WORKING_PODS;

/// A Deployment that writes to the database, and the replicas that it is to have when the application runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The Deployment.
    pub name: String,
    /// The replicas that it has, or that were written onto it when it was stopped. 0: it has none and none are known.
    pub replicas: i32,
    /// The replicas that it has now.
    pub now: i32,
    /// The run that stopped it, where one did.
    pub stopped_by: Option<String>,
}

/// What stopping or starting would do.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Which install: `namespace/release`.
    pub install: String,
    /// The Deployments in the order in which they are scaled.
    pub workloads: Vec<Count>,
    /// Work that is under way.
    pub working: Vec<String>,
    /// What would work against it.
    pub warnings: Vec<String>,
    /// Whether there is nothing to do.
    pub done: bool,
}

/// How the application stands.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Which install: `namespace/release`.
    pub install: String,
    /// `running`, `stopped`, `partly stopped`, `not ready`.
    pub state: &'static str,
    /// Each part.
    pub parts: Vec<Part>,
    /// Work that is under way.
    pub working: Vec<String>,
}

/// One part of the application.
#[derive(Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Pods that are ready, and that it is to have; nothing for the database.
    pub pods: Option<(i32, i32)>,
    /// What is to be known of it.
    pub state: String,
}

/// The parts that `dr server` works on.
struct App {
    cluster: Cluster,
    names: Names,
    install: String,
    lease: String,
}

impl App {
    async fn connect(ctx: &Ctx) -> Result<Self> {
        let settings = ctx.settings()?;
        let install = &settings.install;
        let cluster = ctx.cluster().await?.clone();
        Ok(Self {
            cluster,
            names: Names::default(),
            install: format!("{}/{}", install.namespace, install.release),
            lease: lease_name(&install.release),
        })
    }

    async fn plan(&self, stop: bool) -> Result<Plan> {
        let mut workloads = counts(&self.cluster).await?;
        let done = workloads.iter().all(|count| if stop { count.now == 0 } else { count.now > 0 });
        let mut warnings = Vec::new();
        let names: Vec<&str> = workloads.iter().map(|count| count.name.as_str()).collect();
        if stop {
            for (scaler, target) in self.cluster.autoscalers(&names).await? {
                warnings.push(format!("autoscaler {scaler} may scale {target} up again: suspend it first"));
            }
            for name in names {
                if let Some(tool) = self.cluster.deployment(name).await?.and_then(|workload| workload.gitops()) {
                    warnings.push(format!("{tool} looks after {name} and may scale it up again: suspend it first"));
                }
            }
        } else {
            workloads.reverse();
        }
        let working = self.cluster.working_pods(WORKING_PODS).await?.iter().map(PodState::line).collect();
        Ok(Plan { install: self.install.clone(), workloads, working, warnings, done })
    }

    async fn lease(&self, ctx: &Ctx, run: &str) -> Result<LeaseGuard> {
        let host = ctx.who.rsplit('@').next().unwrap_or_default();
        Ok(self.cluster.await_lease(&self.lease, run, host, TTL, &ctx.events).await?)
    }
}

/// What stopping the application would do.
///
/// # Errors
/// When the cluster cannot be reached or there is no install.
pub async fn plan_stop(ctx: &Ctx) -> Result<Plan> {
    App::connect(ctx).await?.plan(true).await
}

/// What starting the application would do.
///
/// # Errors
/// When the cluster cannot be reached, there is no install, or it is not known how many replicas there were.
pub async fn plan_start(ctx: &Ctx) -> Result<Plan> {
    let plan = App::connect(ctx).await?.plan(false).await?;
    if let Some(unknown) = plan.workloads.iter().find(|count| count.replicas == 0) {
        let message = format!("{} has no replicas, and nothing says how many it had", unknown.name);
        return Err(CommandError::new(Exit::Failure, message)
            .hint("It was not stopped by dr: deploy again with `stopped: false`, as `dr deploy -f values.yaml` does.")
            .hint(format!("Or scale it by hand: `kubectl scale deployment {} --replicas=N`.", unknown.name)));
    }
    Ok(plan)
}

/// Stops the application: writes the replica counts onto the Deployments, scales them to 0, and waits until their pods
/// have ended. The database and the secret vault go on. Safe to repeat, and after a kill at any point.
///
/// # Errors
/// When another run holds the install, the pods do not end in the time that the settings allow, or the cluster fails.
pub async fn stop(ctx: &Ctx) -> Result<Status> {
    let app = App::connect(ctx).await?;
    let run = new_run_id("stop", jiff::Timestamp::now());
    let lease = app.lease(ctx, &run).await?;
    let held = unless_cancelled(ctx, hold(ctx, &app.cluster, &run)).await;
    let released = lease.release().await;
    held.map_err(|error| error.hint("`dr server start` puts the application back as it was."))?;
    released?;
    status_of(&app).await
}

/// Starts the application with the counts that were written onto it, and waits until it is ready.
///
/// # Errors
/// When another run holds the install, the pods do not come up in the time that the settings allow, or the cluster
/// fails.
pub async fn start(ctx: &Ctx) -> Result<Status> {
    let app = App::connect(ctx).await?;
    let lease = app.lease(ctx, &new_run_id("start", jiff::Timestamp::now())).await?;
    let started = unless_cancelled(ctx, put_back(ctx, &app.cluster)).await;
    let released = lease.release().await;
    started?;
    released?;
    status_of(&app).await
}

/// Says how the application stands.
///
/// # Errors
/// When the cluster cannot be reached or there is no install.
pub async fn status(ctx: &Ctx) -> Result<Status> {
    status_of(&App::connect(ctx).await?).await
}

async fn status_of(app: &App) -> Result<Status> {
    let counts = counts(&app.cluster).await?;
    let all = app.cluster.workloads().await?;
    let known = [app.names.api(), app.names.worker(), app.names.vault(), app.names.ldap()];
    let mut parts = Vec::new();
    for name in &known {
        if let Some(workload) = all.iter().find(|workload| workload.name == *name) {
            let count = counts.iter().find(|count| count.name == *name);
            parts.push(Part {
                name: name.clone(),
                pods: Some((workload.ready, workload.replicas)),
                state: part_state(workload, count),
            });
        }
    }
    for database in app.cluster.databases().await? {
        parts.push(Part { name: database.name.clone(), pods: None, state: database.line() });
    }
    let writers: Vec<&Workload> = all.iter().filter(|w| counts.iter().any(|count| count.name == w.name)).collect();
    let working = app.cluster.working_pods(WORKING_PODS).await?.iter().map(PodState::line).collect();
    Ok(Status { install: app.install.clone(), state: state_of(&writers), parts, working })
}

fn part_state(workload: &Workload, count: Option<&Count>) -> String {
    match count {
        Some(count) if workload.replicas == 0 && count.replicas > 0 => match &count.stopped_by {
            Some(run) => format!("stopped by {run}, had {}", count.replicas),
            None => format!("stopped, had {}", count.replicas),
        },
        _ if workload.replicas == 0 => "stopped".into(),
        _ if workload.is_settled() => "ready".into(),
        _ => "not ready".into(),
    }
}

fn state_of(writers: &[&Workload]) -> &'static str {
    match writers.iter().filter(|workload| workload.replicas == 0).count() {
        0 if writers.iter().all(|workload| workload.is_settled()) => "running",
        0 => "not ready",
        stopped if stopped == writers.len() => "stopped",
        _ => "partly stopped",
    }
}

/// Reads how many replicas each writer has and is to have, in the order in which they are stopped.
pub(super) async fn counts(cluster: &Cluster) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    for writer in quiesce::read(cluster).await?.writers {
        let workload = cluster.deployment(&writer.name).await?;
        counts.push(Count {
            now: workload.as_ref().map_or(0, |workload| workload.replicas),
            stopped_by: workload.and_then(|mut workload| workload.annotations.remove(STOPPED_BY)),
            name: writer.name,
            replicas: writer.replicas,
        });
    }
    Ok(counts)
}

/// Writes the counts onto the writers that run, and stops them all. One that is off already keeps the notes of the run
/// that stopped it.
async fn hold(ctx: &Ctx, cluster: &Cluster, run: &str) -> Result<()> {
    let running = counts(cluster).await?.into_iter().filter(|count| count.now > 0);
    let running = Recorded { writers: running.map(|c| Replicas { name: c.name, replicas: c.replicas }).collect() };
    quiesce::annotate(cluster, &running, run).await?;
    let all = quiesce::read(cluster).await?;
    quiesce::stop(ctx, cluster, &all, ctx.settings()?.bundle.drain_timeout.0).await
}

/// Scales the writers to what they are to have, the workers first, so that the API finds them; waits until they are
/// ready; and only then takes the notes off, whoever wrote them.
async fn put_back(ctx: &Ctx, cluster: &Cluster) -> Result<()> {
    let recorded = quiesce::read(cluster).await?;
    for writer in recorded.writers.iter().rev() {
        cluster.scale(WorkloadKind::Deployment, &writer.name, writer.replicas).await?;
    }
    quiesce::wait_serving(ctx, cluster, &recorded, ctx.settings()?.helm.timeout.0).await?;
    for writer in &recorded.writers {
        cluster.annotate(WorkloadKind::Deployment, &writer.name, &[(REPLICAS, None), (STOPPED_BY, None)]).await?;
    }
    Ok(())
}

async fn unless_cancelled<T>(ctx: &Ctx, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        result = work => result,
        () = ctx.cancel.cancelled() => Err(interrupted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(replicas: i32, ready: i32) -> Workload {
        Workload {
            kind: WorkloadKind::Deployment,
            name: "opschain-api".into(),
            replicas,
            ready,
            updated: ready,
            existing: replicas,
            observed: true,
            selector: "app=opschain-api".into(),
            labels: Default::default(),
            annotations: Default::default(),
            images: Vec::new(),
            failure: None,
        }
    }

    #[test]
    fn the_application_is_running_only_when_all_of_it_is() {
        let (up, coming, off) = (workload(2, 2), workload(2, 1), workload(0, 0));
        assert_eq!(state_of(&[&up, &up]), "running");
        assert_eq!(state_of(&[&up, &coming]), "not ready");
        assert_eq!(state_of(&[&up, &off]), "partly stopped");
        assert_eq!(state_of(&[&off, &off]), "stopped");
    }

    #[test]
    fn a_stopped_part_says_who_stopped_it_and_what_it_had() {
        let count = |replicas: i32, run: Option<&str>| Count {
            name: "opschain-api".into(),
            replicas,
            now: 0,
            stopped_by: run.map(str::to_owned),
        };
        let off = workload(0, 0);
        assert_eq!(part_state(&off, Some(&count(3, Some("stop-1")))), "stopped by stop-1, had 3");
        assert_eq!(part_state(&off, Some(&count(0, None))), "stopped");
        assert_eq!(part_state(&workload(1, 1), None), "ready");
    }
}
