//! Contexts for tests.

use std::path::Path;
use std::sync::Arc;

use super::Ctx;
use crate::journal::testing::MemoryRuns;
use crate::settings::Settings;

/// One of a host with default settings, these runs, and no cluster.
pub(in crate::ops) fn ctx(runs: &MemoryRuns) -> Ctx {
    let mut ctx = Ctx::new("dr.toml".into(), Ok(Default::default()), |_| {}, "state".into(), None, "op@host".into());
    ctx.runs = Arc::new(runs.clone());
    ctx
}

/// One of a host whose settings and runs are in this folder.
pub(in crate::ops) fn ctx_in(folder: &Path) -> Ctx {
    let settings_path = folder.join("config/dr.toml");
    let settings = Settings::read(&settings_path, None);
    Ctx::new(settings_path, settings, |_| {}, folder.join("runs"), None, "op@host".into())
}
