//! The config vault: the git repository with every deployed values.yaml, encrypted.
//!
//! ```text
//! vault.json  README.md  .gitattributes  fingerprint.key.age
//! recipients/<time>-<salt>.json                       who was added and removed
//! deployments/<namespace>.<release>/<time>-<salt>/    record.json (before helm)  outcome.json (after)
//!                                                     values.yaml.age  values-1.yaml.age ...  chart.tgz.age
//! bundles/<bundle>.json                               which were published
//! ```
//!
//! Nothing in it is ever rewritten, so two histories always merge. A deployment whose values (or chart) are those of an
//! earlier one points at the same sealed bytes: git stores them once, and identical bytes make no new ciphertext. To
//! record needs public keys only; to read needs an identity. `docs/reference/vault-format.md` is the contract.

mod bundles;
mod cache;
mod damage;
mod error;
mod exceptions;
pub mod exposure;
mod files;
mod formats;
mod git;
mod handle;
mod layers;
mod layout;
mod lock;
mod loose;
mod lost;
mod merge;
mod object_fault;
mod objects;
mod read;
mod recipients;
mod record;
mod references;
mod rekey;
mod remote;
mod sealed;
mod selector;
mod setup;
mod snapshot;
mod staging;
mod survey;
mod threads;
mod torn;
mod trust;
pub mod verify;
mod worktree;
mod write;

pub use error::VaultError;
pub use git::CommitSigner;
pub use handle::Vault;
pub use layers::given_content;
pub use merge::{Joined, TakeInRequest, TakenIn};
pub use recipients::{Holder, Holders};
pub use record::{
    Deployment, DeploymentId, DeploymentOutcome, DeploymentStatus, Ended, FORMAT, How, Image, Intent, ListedBundle,
    RecordedChart, RecordedInstall,
};
pub use rekey::{RekeyPlan, Unsealed};
pub use remote::{Pushed, Remote};
pub use sealed::SealedFile;
pub use setup::GitSetting;
pub use survey::{Survey, UnreadRecord};
pub use trust::VaultTrust;

#[cfg(test)]
mod tests;
