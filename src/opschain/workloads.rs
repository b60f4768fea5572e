//! The names of an install's workloads and objects, and the order in which they are stopped and started.

/// How an object's name begins in a stock install.
pub const PREFIX: &str = "opschain";

/// The names of pods that do work and have no controller: begun by changes, steps, models, validations and agents. An
/// agent's pod lives long. After OpsChain's Kubernetes topology reference.
pub const WORKING_PODS: &[&str] = &["change-", "opschain-step-", "opschain-mm-", "opschain-tva-", "opschain-agent-"];

/// The role that owns the database. Its sessions are the application.
pub const DATABASE_OWNER: &str = "opschain";
/// The database's name.
pub const DATABASE: &str = "opschain";
/// The database cluster of a stock install.
pub const DATABASE_CLUSTER: &str = "opschain-db";
/// The role that base backups and replicas connect as, by certificate.
pub const REPLICATION_ROLE: &str = "streaming_replica";
/// Where the data folder lies on the database's volume.
pub const PGDATA: &str = "pgdata";
/// User and group of the database's processes and files.
pub const DATABASE_UID: i64 = 26;

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

    /// The image registry's StatefulSet.
    pub fn registry(&self) -> String {
        self.named("image-registry")
    }

    /// The log aggregator's Deployment. It writes to the database and is restarted when the primary moves.
    pub fn log_aggregator(&self) -> String {
        self.named("log-aggregator")
    }

    /// The database cluster, unless the values give another name.
    pub fn database(&self) -> String {
        self.named("db")
    }

    /// The Deployments that write to the database, in the order in which they are stopped: the API first, so that it
    /// hands no new work to the workers, then the workers, which finish what they have.
    pub fn stop_order(&self) -> [String; 2] {
        [self.api(), self.worker()]
    }

    /// The same in the order in which they are started: the workers first, so that the API finds them.
    pub fn start_order(&self) -> [String; 2] {
        [self.worker(), self.api()]
    }

    /// The label selector of a workload's pods.
    pub fn selector(workload: &str) -> String {
        format!("app={workload}")
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
        assert_eq!(names.stop_order(), ["opschain-api", "opschain-api-worker"]);
        assert_eq!(names.start_order(), ["opschain-api-worker", "opschain-api"]);
        assert_eq!((names.database(), names.vault()), ("opschain-db".into(), "opschain-secret-vault".into()));
    }

    #[test]
    fn no_workload_of_the_install_is_taken_for_work_in_progress() {
        let names = Names::default();
        for name in [names.api(), names.worker(), names.vault(), names.ldap(), names.registry(), names.database()] {
            assert!(WORKING_PODS.iter().all(|prefix| !name.starts_with(prefix)), "{name}");
        }
    }
}
