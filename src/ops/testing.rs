//! A context for tests.

use std::sync::Arc;

use super::Ctx;
use crate::journal::testing::MemoryRuns;

/// One of a host with default settings, these runs, and no cluster.
pub(in crate::ops) fn ctx(runs: &MemoryRuns) -> Ctx {
    let mut ctx = Ctx::new("dr.toml".into(), Ok(Default::default()), |_| {}, "state".into(), None, "op@host".into());
    ctx.runs = Arc::new(runs.clone());
    ctx
}
