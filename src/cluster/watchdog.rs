//! The rights of a run's watchdog: a ServiceAccount, a Role on the Deployments that the run stops, and their binding.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;
use kube::api::DeleteParams;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::Permission;
use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::pod::{PodError, render};
use super::{MANAGED_BY, MANAGER, RUN_LABEL};

const TEMPLATE: &str = include_str!("../../templates/watchdog.yaml");

/// What whoever makes a watchdog needs. The rights that are given to it one has to have oneself, as for any bundle.
pub const WATCHDOG_NEEDS: &[Permission] = &[
    Permission::here("create", "", "serviceaccounts"),
    Permission::here("delete", "", "serviceaccounts"),
    Permission::here("create", "rbac.authorization.k8s.io", "roles"),
    Permission::here("delete", "rbac.authorization.k8s.io", "roles"),
    Permission::here("create", "rbac.authorization.k8s.io", "rolebindings"),
    Permission::here("delete", "rbac.authorization.k8s.io", "rolebindings"),
];

/// The objects of one watchdog.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchdogRights {
    account: ServiceAccount,
    role: Role,
    binding: RoleBinding,
}

impl WatchdogRights {
    /// Those of the run's helper pod `name`, on these Deployments only.
    ///
    /// # Errors
    /// See [`PodError`].
    pub fn new(name: &str, namespace: &str, run: &str, deployments: &[&str]) -> Result<Self, PodError> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Value>,
        }
        let template = "watchdog.yaml";
        let values = BTreeMap::from([
            ("name", json!(name)),
            ("namespace", json!(namespace)),
            ("run", json!(run)),
            ("deployments", json!(deployments)),
        ]);
        let wrong = |reason: String| PodError::NotAPod { template, reason };
        let yaml = render(template, TEMPLATE, &values)?;
        let List { items } = serde_yaml::from_str(&yaml).map_err(|error| wrong(error.to_string()))?;
        let [account, role, binding] =
            <[Value; 3]>::try_from(items).map_err(|items| wrong(format!("{} items", items.len())))?;
        fn read<T: DeserializeOwned>(value: Value) -> std::result::Result<T, String> {
            serde_json::from_value(value).map_err(|error| error.to_string())
        }
        Ok(Self {
            account: read(account).map_err(wrong)?,
            role: read(role).map_err(wrong)?,
            binding: read(binding).map_err(wrong)?,
        })
    }
}

impl Cluster {
    /// Makes the objects; those that are there already stay.
    ///
    /// # Errors
    /// One may not be made.
    pub async fn grant_watchdog(&self, rights: &WatchdogRights) -> Result<()> {
        let WatchdogRights { mut account, role, binding } = rights.clone();
        // Images are pulled as with the account that pods have by default.
        if let Ok(Some(default)) = self.here::<ServiceAccount>().get_opt("default").await {
            account.image_pull_secrets = default.image_pull_secrets;
        }
        let made = [
            self.here::<ServiceAccount>().create(&account).await.map(drop),
            self.here::<Role>().create(&role).await.map(drop),
            self.here::<RoleBinding>().create(&binding).await.map(drop),
        ];
        made.into_iter().find(|made| !matches!(made, Ok(()) | Err(ClusterError::Conflict { .. }))).unwrap_or(Ok(()))
    }

    /// Removes the objects of this name, the binding first: from then on the pod may nothing.
    ///
    /// # Errors
    /// One may not be removed. Who may not remove them at all has not made them.
    pub async fn revoke_watchdog(&self, name: &str) -> Result<()> {
        let params = DeleteParams::default();
        let gone = [
            self.here::<RoleBinding>().delete(name, &params).await,
            self.here::<Role>().delete(name, &params).await,
            self.here::<ServiceAccount>().delete(name, &params).await,
        ];
        let failed = gone.into_iter().filter_map(std::result::Result::err).find(|error| !error.is_forbidden());
        failed.map_or(Ok(()), Err)
    }
}

/// What a run has left, by the run's id: `Pod dr-create-1`.
pub type LeftByRuns = BTreeMap<String, Vec<String>>;

impl Cluster {
    /// The helper pods and watchdogs' rights that are there, of whatever run. What may not be listed is not told.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub async fn left_by_runs(&self) -> Result<LeftByRuns> {
        let mut left = LeftByRuns::new();
        self.add_left::<Pod>(&mut left).await?;
        self.add_left::<RoleBinding>(&mut left).await?;
        self.add_left::<Role>(&mut left).await?;
        self.add_left::<ServiceAccount>(&mut left).await?;
        Ok(left)
    }

    async fn add_left<K>(&self, left: &mut LeftByRuns) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let managed = format!("{MANAGED_BY}={MANAGER},{RUN_LABEL}");
        let all = match self.here::<K>().list(Some(&managed)).await {
            Err(error) if error.is_forbidden() => return Ok(()),
            all => all?,
        };
        for meta in all.iter().map(Resource::meta) {
            let run = meta.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL));
            if let (Some(run), Some(name)) = (run, &meta.name) {
                left.entry(run.clone()).or_default().push(format!("{} {name}", K::kind(&())));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_may_read_and_change_its_two_deployments_and_nothing_else() {
        let rights = WatchdogRights::new("dr-create-1", "opschain", "create-1", &["api", "worker"]).unwrap();
        let rules = rights.role.rules.unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].resource_names.as_deref(), Some(&["api".to_owned(), "worker".to_owned()][..]));
        assert_eq!(rules[0].verbs, ["get", "patch"]);
        assert_eq!(rules[0].resources.as_deref(), Some(&["deployments".to_owned()][..]));
        assert_eq!(rights.binding.role_ref.name, "dr-create-1");
        let subject = &rights.binding.subjects.unwrap()[0];
        assert_eq!((subject.kind.as_str(), subject.name.as_str()), ("ServiceAccount", "dr-create-1"));
        let labels = rights.account.metadata.labels.unwrap();
        assert_eq!(labels["dr.opschain/run"], "create-1");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "dr");
    }
}
