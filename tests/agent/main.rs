//! The agent against a real PostgreSQL on this machine, over a unix socket that is cut and damaged on the way.
//!
//! Needs PostgreSQL 15 under /usr/lib/postgresql (Debian: `apt-get install postgresql-15`) and, when run as root, the
//! user `postgres` that comes with it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backlog;
mod backups;
mod full;
mod pod;
mod server;
mod sessions;
mod slot;
mod soak;
mod speed;
mod stages;
mod straight;
mod taken_up;
mod volumes;
