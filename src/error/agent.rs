//! Errors of the agent in the helper pod, for people.

use super::{CommandError, Exit};
use crate::agent::AgentError;
use crate::agent::protocol::{Failure, FailureKind};

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let (exit, hint) = match failure.kind {
            FailureKind::Request => (Exit::Usage, "See the settings that this comes from: `dr doctor` checks them."),
            FailureKind::Postgres => (
                Exit::Failure,
                "The words are PostgreSQL's own: see whether the database is up and the certificates' Secrets are its own.",
            ),
            FailureKind::Tablespaces => (
                Exit::Cluster,
                "A database with tablespaces of its own cannot be bundled: move its tables to pg_default.",
            ),
            FailureKind::Standby => {
                (Exit::Replica, "Run this on the primary of the primary cluster, and not during a failover.")
            }
            FailureKind::Damaged => (Exit::Damaged, "Nothing of it is used: verify the bundle, or try again."),
            FailureKind::Pages => (
                Exit::Damaged,
                "The database's own storage is damaged, and a bundle of it would be, too. In the database whose oid is the first number, `SELECT pg_filenode_relation(0, SECOND NUMBER)` names the relation: an index can be made again (REINDEX), a table comes from an earlier bundle.",
            ),
            FailureKind::Wal => (
                Exit::Failure,
                "WAL that is needed has gone or never came: raise wal_keep_size (or give the server a replication slot while the bundle is made), or try when less is written.",
            ),
            FailureKind::Space => {
                (Exit::Space, "Make room: a restore needs the data twice, a backup needs memory for WAL.")
            }
            FailureKind::Running => {
                (Exit::Busy, "Hibernate the database first, and see that no pod mounts its volume.")
            }
            FailureKind::Unexpected => {
                (Exit::NotEmpty, "Look at the volume before anything else is done to it; nothing was removed.")
            }
            FailureKind::Identity => (Exit::Identity, "This data belongs to another database: see `dr bundle show`."),
            FailureKind::System => (Exit::Failure, "See the pod's log, then try again."),
        };
        CommandError::new(exit, failure.message).hint(hint)
    }
}

impl From<AgentError> for CommandError {
    fn from(error: AgentError) -> Self {
        let text = error.to_string();
        match error {
            AgentError::Listen { source, .. }
            | AgentError::Connect { source, .. }
            | AgentError::Carry(source)
            | AgentError::Signals(source) => CommandError::new(Exit::Stream, text).because(source),
            AgentError::Abandoned(_) => CommandError::new(Exit::Timeout, text),
        }
    }
}
