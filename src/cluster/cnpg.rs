//! The operator's databases: read, put to sleep, woken, waited for.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject};
use kube::core::GroupVersionKind;

use super::database::{CLUSTER_LABEL, Database, HIBERNATION, UNPROVED_BY};
use super::error::{ClusterError, Result};
use super::kube::{Cluster, Objects};
use super::obstacle::{DiskFull, Standing};
use super::podstate::PodState;
use super::wait::Wait;
use super::workloads::annotation_change;
use crate::event::Events;

pub(super) fn types() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster"), "clusters")
}

impl Cluster {
    fn databases_api(&self) -> Objects<'_, DynamicObject> {
        self.dynamic(types())
    }

    /// Reads a database; `None` where there is none of the name.
    ///
    /// # Errors
    /// It may not be read, or is not shaped as the operator's CRD says. A cluster without the CRD answers `None`.
    pub async fn database(&self, name: &str) -> Result<Option<Database>> {
        self.databases_api().get_opt(name).await?.map(Database::parse).transpose()
    }

    /// Lists the databases of the namespace; none where the cluster does not know the kind.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn databases(&self) -> Result<Vec<Database>> {
        match self.databases_api().list(None).await {
            Ok(list) => list.into_iter().map(Database::parse).collect(),
            Err(ClusterError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Tells the operator to put the database to sleep, or to wake it. Returns at once. Nothing of it is ours afterwards, so
    /// that the next deployment may change it.
    ///
    /// # Errors
    /// There is no such database, or it may not be changed.
    pub async fn hibernate(&self, name: &str, on: bool) -> Result<()> {
        let change = annotation_change(&[(HIBERNATION, Some(if on { "on" } else { "off" }.into()))]);
        self.databases_api().change(name, &change, false).await.map(drop)
    }

    /// Marks the database as one of which nothing proves what is in it since a restore was aborted.
    ///
    /// # Errors
    /// There is no such database, or it may not be changed.
    pub async fn mark_unproved(&self, name: &str, run: &str) -> Result<()> {
        let change = annotation_change(&[(UNPROVED_BY, Some(run.to_owned()))]);
        self.databases_api().merge(name, &change).await.map(drop)
    }

    /// Deletes the database object; its pods and volumes go with it. `false`: there was none.
    ///
    /// # Errors
    /// It may not be deleted.
    pub async fn delete_database(&self, name: &str) -> Result<bool> {
        self.databases_api().delete(name, &DeleteParams::foreground()).await
    }

    /// Waits until the operator says that the database hibernates.
    ///
    /// # Errors
    /// Nobody asked it to hibernate, it is gone, or the limit is over.
    pub async fn wait_hibernated(&self, name: &str, limit: Duration, events: &Events) -> Result<Database> {
        let mut wait = Wait::new(format!("database {name} to hibernate"), limit, events).within(self.namespace());
        let mut standing = Standing::default();
        loop {
            let mut seen = None;
            if let Some(database) = wait.patient(self.must_have_database(name).await)? {
                if database.is_hibernated() {
                    return Ok(database);
                }
                if !database.is_hibernation_asked() {
                    return Err(wait.permanent(format!("its annotation {HIBERNATION} is not `on`")));
                }
                seen = Some(self.held_up(&database, &mut standing, &wait).await?);
            }
            wait.not_yet(seen).await?;
        }
    }

    /// Waits until the database serves: healthy, all instances ready, no sleep asked for.
    ///
    /// # Errors
    /// It is gone, asked to hibernate, without room, or beyond what the operator can fix; or the limit is over. With the
    /// last lines of the log of the pod that holds it up.
    pub async fn wait_database_healthy(&self, name: &str, limit: Duration, events: &Events) -> Result<Database> {
        let mut wait = Wait::new(format!("database {name} to be healthy"), limit, events).within(self.namespace());
        let (mut standing, mut full) = (Standing::default(), DiskFull::default());
        loop {
            let mut seen = None;
            if let Some(database) = wait.patient(self.must_have_database(name).await)? {
                if database.is_healthy() {
                    return Ok(database);
                }
                if database.is_hibernation_asked() {
                    return Err(wait.permanent(format!("its annotation {HIBERNATION} is `on`")));
                }
                if let Ok(pods) = self.pod_states(Some(&format!("{CLUSTER_LABEL}={name}"))).await
                    && !pods.is_empty()
                    && full.is_sure(&database, &pods)
                {
                    return Err(ClusterError::DiskFull { database: name.to_owned(), seen: database.line() });
                }
                // The operator's own word for a database that it has given up.
                if database.status.phase.as_deref().is_some_and(|phase| phase.contains("unrecoverable")) {
                    return Err(wait.permanent(database.line()).with_log(self.database_log(name).await));
                }
                seen = Some(self.held_up(&database, &mut standing, &wait).await?);
            }
            if let Err(error) = wait.not_yet(seen).await {
                return Err(error.with_log(self.database_log(name).await));
            }
        }
    }

    /// The pod of the primary: the operator's word, checked against the pod itself.
    ///
    /// # Errors
    /// There is no such database, it sleeps, has no primary, or its pod is not ready.
    pub async fn primary_pod(&self, name: &str) -> Result<Pod> {
        let database = self.must_have_database(name).await?;
        let none = |seen: String| ClusterError::NoPrimary { database: name.to_owned(), seen };
        let Some(primary) = &database.status.current_primary else {
            return Err(none(database.line()));
        };
        if database.status.target_primary.as_ref().is_some_and(|target| target != primary) {
            return Err(none("the operator is moving the primary to another instance".into()));
        }
        let pod = match self.pod(primary).await {
            Err(ClusterError::NotFound { .. }) => return Err(none(database.line())),
            other => other?,
        };
        let role = pod.metadata.labels.as_ref().and_then(|labels| labels.get("cnpg.io/instanceRole"));
        let state = PodState::of(&pod);
        match role.map(String::as_str) {
            Some("primary") if state.ready && !state.deleting => Ok(pod),
            Some("primary") => Err(none(state.line())),
            _ => Err(none(format!("pod {primary} is not marked as the primary"))),
        }
    }

    async fn must_have_database(&self, name: &str) -> Result<Database> {
        Database::parse(self.databases_api().get(name).await?)
    }

    /// What is seen of a database that is not there yet, and what holds it up.
    ///
    /// # Errors
    /// [`ClusterError::Permanent`] when that will not pass by itself.
    async fn held_up(&self, database: &Database, standing: &mut Standing, wait: &Wait<'_>) -> Result<String> {
        let obstacle = self.obstacle_of(&format!("{CLUSTER_LABEL}={}", database.name)).await;
        if standing.is_permanent(obstacle.as_ref()) {
            let why = obstacle.map(|obstacle| obstacle.text).unwrap_or_default();
            return Err(wait.permanent(why).with_log(self.database_log(&database.name).await));
        }
        let seen = self.with_pods(database).await;
        Ok(obstacle.map_or_else(|| seen.clone(), |obstacle| format!("{seen}; {}", obstacle.text)))
    }

    /// The database's line with those of its pods that are not ready, the bootstrap's included.
    async fn with_pods(&self, database: &Database) -> String {
        let mut line = database.line();
        // What is said while waiting must not end the wait.
        let pods = self.pod_states(Some(&format!("{CLUSTER_LABEL}={}", database.name))).await.unwrap_or_default();
        for pod in pods.iter().filter(|pod| (!pod.ready || pod.deleting) && pod.phase != "Succeeded") {
            line = format!("{line}; {}", pod.line());
        }
        line
    }

    async fn database_log(&self, name: &str) -> Vec<String> {
        let pods = self.pod_states(Some(&format!("{CLUSTER_LABEL}={name}"))).await.unwrap_or_default();
        match pods.iter().find(|pod| !pod.ready && pod.phase != "Succeeded") {
            Some(pod) => self.telling_log(pod).await,
            None => Vec::new(),
        }
    }
}
