//! Facts as they were seen, kept as fixtures: what decides is tested on what real programs said.
//!
//! Compiled to nothing unless the feature `fault-points` is on, which no build for users has. With it, `DR_RECORD_FACTS`
//! names the folder to write to; `fixtures/README.md` says how.

use serde::Serialize;

use crate::error::Result;

/// Writes the facts of `verb`, if that was asked for.
///
/// # Errors
/// The file cannot be written.
#[cfg(not(feature = "fault-points"))]
pub(super) fn record(_verb: &str, _facts: &impl Serialize) -> Result<()> {
    Ok(())
}

/// Writes the facts of `verb`, if that was asked for.
///
/// # Errors
/// The file cannot be written.
#[cfg(feature = "fault-points")]
pub(super) fn record(verb: &str, facts: &impl Serialize) -> Result<()> {
    use crate::error::{CommandError, Exit};

    let Some(folder) = std::env::var_os("DR_RECORD_FACTS") else { return Ok(()) };
    let file = std::path::Path::new(&folder).join(format!("{verb}.json"));
    let failed = |error: std::io::Error| {
        CommandError::new(Exit::Failure, format!("record facts in {}", file.display())).because(error)
    };
    let text = serde_json::to_string_pretty(facts).map_err(|error| failed(error.into()))?;
    std::fs::write(&file, text + "\n").map_err(failed)
}
