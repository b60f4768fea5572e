//! What OpsChain is: its versions, workloads, values and secrets.
//!
//! Facts only, and pure: nothing here asks a cluster or reads a file. They are taken from OpsChain's public
//! documentation and published `values.yaml` files up to the release of 2026-10-08.

pub mod backups;
pub mod directory;
pub mod keys;
pub mod live;
pub mod maintenance;
pub mod parity;
mod relations;
pub mod releases;
pub mod scope;
pub mod secrets;
#[cfg(test)]
mod testing;
pub mod values;
pub mod version;
pub mod volumes;
pub mod workloads;

pub use version::Version;
pub use workloads::Names;
