//! The chain of records: each names the one that was written before it, and that one's digest.
//!
//! The order is that of writing, not of `at`: an old file that is imported today comes after what was recorded
//! yesterday. Two hosts that record at once make a fork; the next record after the merge names all its ends.

use std::collections::HashSet;
use std::sync::Arc;

use super::files::same_install;
use super::record::{Deployment, DeploymentId, Install, Previous};

/// What the next record of `install` has to name: its `previous`, and its `joins`. `known` is newest first.
pub(super) fn ends(known: &[Arc<Deployment>], install: &Install) -> (Option<Previous>, Vec<Previous>) {
    let own: Vec<&Arc<Deployment>> =
        known.iter().filter(|other| same_install(&other.record.install, install)).collect();
    let named: HashSet<&DeploymentId> = own.iter().flat_map(|other| others(other)).map(|other| &other.id).collect();
    let mut ends = own
        .iter()
        .filter(|deployment| !named.contains(deployment.id()))
        .map(|end| Previous { id: end.id().clone(), record_sha256: end.record_sha256.clone() });
    let previous = ends.next();
    (previous, ends.collect())
}

/// Those that a record names.
fn others(deployment: &Deployment) -> impl Iterator<Item = &Previous> {
    deployment.record.previous.iter().chain(&deployment.record.joins)
}
