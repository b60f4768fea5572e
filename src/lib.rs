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
//! `imports_point_one_way` holds this rule.

pub mod agent;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod crypt;
pub mod error;
pub mod event;
pub mod helm;
#[cfg(feature = "fault-points")]
pub mod internals;
pub mod journal;
pub mod ops;
pub mod opschain;
pub mod parallel;
pub mod postgres;
pub mod redact;
pub mod settings;
pub mod store;
pub mod text;
pub mod trace;
pub mod ui;
pub mod ustar;
pub mod values;
pub mod vault;
pub mod wire;
pub mod yaml;
