//! The Kubernetes cluster: objects, helper pods, and streams that cannot lie.
//!
//! [`Cluster`] is one cluster through one kubeconfig context, looking at one namespace. Its calls are spread over the
//! files here by subject; each makes few requests, has a bound, and fails with a [`ClusterError`] that names what was
//! asked of which object. Waits tell what they see through [`crate::event::Events`].

pub mod access;
mod again;
mod beside;
pub mod claim;
mod claimpod;
pub mod cnpg;
pub mod comeback;
mod credentials;
pub mod cronjob;
pub mod database;
mod directory;
pub mod error;
pub mod exec;
mod forward;
pub mod found;
pub mod held;
pub mod keep;
pub mod kube;
mod kubeconfig;
pub mod lease;
mod login;
pub mod namespace;
mod nodes;
pub mod objects;
mod obstacle;
pub mod operator;
mod placement;
pub mod pod;
mod podrules;
pub mod pods;
pub mod podstate;
pub mod psql;
mod pull;
mod reader;
mod releases;
mod scheduled;
pub mod sessions;
mod storage;
pub mod transport;
pub mod volumes;
pub mod wait;
mod watchdog;
pub mod workloads;

pub use access::{ObjectRight, Permission};
pub use beside::{BesideRelease, OwnObjects};
pub use claim::{StandingClaim, WantedClaim, first_instance};
pub use claimpod::{ClaimPod, ClaimUse, ClaimUser};
pub use comeback::{Lack, OverfullQuota, PodNeeds};
pub use credentials::register_credentials;
pub use cronjob::CronJobFacts;
pub use database::{Database, UNPROVED_BY};
pub use directory::{DirectoryComplaint, DirectoryDatabase, DirectoryLogin, DirectoryServer};
#[cfg(test)]
pub use error::ApiRequest;
pub use error::{ClusterError, since_when};
pub use held::{HELD, HeldOriginal, OriginalState};
pub use keep::{KeptObject, PutBackResult, SecretVersion};
pub use kube::Cluster;
pub use kubeconfig::leads_somewhere;
pub use lease::{LeaseGuard, lease_name};
pub use login::LOGIN_PLUGIN;
pub use namespace::{NamespaceState, ObjectRef, StandingObject};
pub use nodes::PodsReturn;
pub use objects::{LiveObject, Manager, WantedObject};
pub use operator::Operator;
pub use placement::PodPlacement;
pub use pods::PodRefusal;
pub use podstate::PodState;
pub use psql::{DatabaseFacts, WalWritten};
pub use pull::{ImagesPod, PulledImages};
pub use reader::{ReaderPod, VolumeFile};
pub use scheduled::InstalledSchedule;
pub use sessions::{PodAddress, Session, SessionCounts, WatchedSwitch};
#[cfg(test)]
pub use storage::ClassFacts;
pub use storage::StorageFacts;
pub use wait::Wait;
pub use watchdog::{WATCHDOG_NEEDS, WatchdogRights};
pub use workloads::{RunningImage, Workload, WorkloadKind};

/// The label that says who looks after an object, and `dr`'s name in it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// `dr`'s name in [`MANAGED_BY`].
pub const MANAGER: &str = "dr";
/// The label with the id of the run that made an object.
pub const RUN_LABEL: &str = "dr.opschain/run";
/// The annotation with the number of replicas that a workload had before a run scaled it to 0.
pub const REPLICAS: &str = "dr.opschain/replicas";
/// The annotation with the id of the run that scaled a workload to 0.
pub const STOPPED_BY: &str = "dr.opschain/stopped-by";
/// The annotation with what maintenance mode was before a run turned it on, and that run's id.
pub const MAINTENANCE_WAS: &str = "dr.opschain/maintenance-was";
/// The annotation with the id of the run or command that brought a workload back, until the next stop takes it off.
pub const BROUGHT_BACK_BY: &str = "dr.opschain/brought-back-by";
