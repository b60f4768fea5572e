//! The names of an install's workloads and objects, and the order in which they are stopped and started.

/// How an object's name begins in a stock install.
pub const PREFIX: &str = "opschain";

/// The names of pods that do work and have no controller: begun by changes, steps, models, validations and agents. An
/// agent's pod lives long, and one of the executor pool may idle. After OpsChain's Kubernetes topology reference.
pub const WORKING_PODS: &[&str] =
    &["change-", "opschain-step-", "opschain-mm-", "opschain-tva-", AGENT_PODS, POOL_PODS];

/// Whether a pod of [`WORKING_PODS`] may be there without being at work.
pub fn may_wait(pod: &str) -> bool {
    pod.starts_with(AGENT_PODS) || pod.starts_with(POOL_PODS)
}

/// How the pods of agents begin.
pub const AGENT_PODS: &str = "opschain-agent-";
/// How the pods of the executor pool begin.
pub const POOL_PODS: &str = "executor-";

/// What uses the database and is not stopped for a bundle, as in the manual guide.
pub const STAY_CONNECTED: &[&str] = &["opschain-secret-vault", "opschain-log-aggregator"];

/// The priority class of pods that back up and recover, of releases that have one.
pub const BACKUP_PRIORITY: &str = "opschain-backup";
/// The database cluster of a stock install.
pub const DATABASE_CLUSTER: &str = "opschain-db";
/// The role that base backups and replicas connect as, by certificate.
pub const REPLICATION_ROLE: &str = "streaming_replica";

/// The names of one install's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(PREFIX)
    }
}

impl Names {
    /// The names of an install whose objects begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The API's Deployment.
    pub fn api(&self) -> String {
        self.named("api")
    }

    /// The workers' Deployment.
    pub fn worker(&self) -> String {
        self.named("api-worker")
    }

    /// The secret vault's StatefulSet. It needs the database, and runs while the application is stopped.
    pub fn vault(&self) -> String {
        self.named("secret-vault")
    }

    /// The LDAP server's Deployment, where the install has its own.
    pub fn ldap(&self) -> String {
        self.named("ldap")
    }

    /// The database cluster, unless the values give another name.
    pub fn database(&self) -> String {
        self.named("db")
    }

    fn named(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_install_has_the_documented_names() {
        let names = Names::default();
        assert_eq!((names.api(), names.worker()), ("opschain-api".into(), "opschain-api-worker".into()));
        assert_eq!((names.database(), names.vault()), ("opschain-db".into(), "opschain-secret-vault".into()));
    }

    #[test]
    fn no_workload_of_the_install_is_taken_for_work_in_progress() {
        let names = Names::default();
        for name in [names.api(), names.worker(), names.vault(), names.ldap(), names.database()] {
            assert!(WORKING_PODS.iter().all(|prefix| !name.starts_with(prefix)), "{name}");
        }
    }
}
