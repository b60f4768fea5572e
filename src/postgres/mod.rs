//! Pure facts about PostgreSQL: WAL positions, backup manifests, control data, command lines. No I/O.

pub mod lsn;

pub use lsn::Lsn;
