//! Tests on the lab: a real API server, kubelet, operator, PostgreSQL, helm, git and age. `make live` runs them.
//!
//! Each test has a host of its own (a home folder with settings, keys, vault and store) and a namespace of its own, so
//! that none leans on another; several run at a time, since they mostly wait (`turn`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod adopt;
mod bucket;
mod chaos;
mod cluster;
mod create;
mod cronjob;
mod deploy;
mod directory;
mod drift;
mod edit;
mod existing;
mod held;
mod host;
mod import;
mod install;
mod layers;
mod maintenance;
mod newer_postgres;
mod policy;
mod proxy;
mod restore;
mod roundtrip;
mod secrets;
mod server;
mod site;
mod stream;
mod turn;
mod volumes;
mod wrong_input;
