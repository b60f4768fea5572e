//! The operations: each a visible list of steps over the ports below.
//!
//! Nothing here prints, asks the terminal, or knows JSON: an operation takes a [`Ctx`] and typed arguments, emits
//! events, and returns a report value.

pub mod bundles;
mod carried;
pub mod config;
pub mod copy;
pub mod create;
mod ctx;
pub mod deploy;
pub mod doctor;
pub mod drift;
mod essentials;
pub mod evidence;
pub mod forecast;
mod given;
pub mod guard;
pub mod helper;
mod history;
mod hooks;
pub mod image;
pub mod import;
pub mod init;
pub mod keyring;
pub mod lease;
pub mod maintenance;
mod neighbours;
pub mod notify;
pub mod objects;
mod own_key;
mod pairing;
pub mod prune;
mod published;
pub mod pump;
pub mod quiesce;
pub mod rbac;
mod reached;
mod recorded_install;
mod recording;
pub mod release;
pub mod report;
pub mod restore;
pub mod runs;
pub mod schedule;
mod served;
pub mod server;
pub mod settle;
pub mod status;
mod stores;
#[cfg(test)]
mod testing;
pub mod timing;
pub mod watchdog;

pub use ctx::{Ctx, interrupted};
pub use given::{CommandLine, GivenInstall, quoted};
