//! Tests on a real cluster: run inside a site of the lab (`lab/lab run -- ...`), by `make test`. Each subject has an
//! install of its own, in a namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod install;
