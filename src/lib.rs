//! `dr` keeps, deploys, bundles and restores an OpsChain install.
//!
//! How data flows:
//!
//! ```text
//! create   pod: pg_basebackup -> agent: tar peek + CRC per file -> zstd frame -> age chunk =wire=> transport
//!               + pg_receivewal ----------------------------------------------------^     |
//!                                            re-read + verify + publish <- store <- bundle writer
//!          config: vault values + helm release + chart + image digests + secrets -> age members --^
//! restore  store -> bundle reader (verify, decrypt) =wire=> agent: zstd -> stage folder, CRC per file,
//!          fsync, pg_control last -> rename -> database start -> identity proof
//! config   values.yaml bytes -> vault (age, git) -> helm -f - -> outcome -> vault
//! ```
//!
//! Imports point one way: `cli` -> `ops` -> {`opschain`, `values`, `vault`, `bundle`, `store`, `cluster`, `helm`,
//! `postgres`, `journal`} -> {`redact`, `yaml`, `crypt`, `wire`, `event`}. `ui` sees events and report values only. The test
//! `imports_point_one_way` holds this rule. Modules are private, so that the compiler sees what nothing calls.

// What only `internals` takes out of a module looks unused without it.
#![cfg_attr(not(feature = "fault-points"), allow(unused_imports))]
// What `internals` opens is not published: comments there say what a name does not.
#![cfg_attr(feature = "fault-points", allow(missing_docs))]

mod agent;
mod bundle;
mod cli;
mod clock;
mod cluster;
mod cores;
mod crypt;
mod error;
mod event;
mod filetree;
mod helm;
mod image;
#[cfg(feature = "fault-points")]
pub mod internals;
mod journal;
mod ldif;
mod names;
mod ops;
mod opschain;
mod ownership;
mod parallel;
mod postgres;
mod program;
mod proxy;
mod quantity;
mod read;
mod redact;
mod settings;
mod store;
mod text;
mod trace;
mod ui;
mod ustar;
mod values;
mod vault;
mod web;
mod wire;
mod write;
mod yaml;

pub use cli::{login_plugin, main};
pub use error::Exit;
/// The promise of a store, whole, whoever needs how much of it: `tests/bundle/contract.rs` holds every store to it.
pub use store::{
    DirectoryStore, Draft, DraftToken, Pending, PublishedObject, ResumedDraft, Store, StoreError, Stored, open_file,
};
