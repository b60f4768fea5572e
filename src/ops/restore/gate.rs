//! The version gate: which OpsChain may run on the data of which. Nothing here asks anybody.

use serde::{Deserialize, Serialize};

use super::facts::SourceFacts;
use super::source::{RestoreRequest, parse_version};
use crate::error::{CommandError, Exit, Result};
use crate::opschain::version::{self, Version};

/// How the bundle's version and the target's stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionFit {
    /// The same build.
    Exact,
    /// The target is newer: the application migrates the data when it starts.
    Newer,
    /// The target is older or cannot be compared, and --allow-version was given.
    Overridden,
}

/// The version that is to run, and what is to be said of it.
#[derive(Debug, Clone)]
pub(super) struct TargetVersion {
    pub version: Version,
    pub fit: VersionFit,
    pub warnings: Vec<String>,
}

/// The version gate.
///
/// # Errors
/// [`Exit::Version`] when the target is older, of another PostgreSQL, or cannot be compared; [`Exit::Usage`] when it is no
/// version.
pub(super) fn version_gate(request: &RestoreRequest, source: &SourceFacts) -> Result<TargetVersion> {
    let made_by = parse_version(&source.version)?;
    let Some(text) = &request.version else {
        return Ok(TargetVersion { version: made_by, fit: VersionFit::Exact, warnings: Vec::new() });
    };
    let version = parse_version(text)?;
    let refused = |why: String| {
        let what = format!("a bundle of OpsChain {made_by} is not restored to run under {version}: {why}");
        CommandError::new(Exit::Version, what)
            .hint(format!(
                "Restore it to run under {made_by}: `dr bundle restore {} --version {made_by}`.",
                source.bundle
            ))
            .hint("If you know better: --allow-version.")
    };
    let mut warnings = Vec::new();
    let fit = match version::gate(&made_by, &version) {
        version::VersionGate::Exact => VersionFit::Exact,
        version::VersionGate::Newer { between, warnings: more } => {
            // The files of one major version do not open under another, whatever flag is given.
            if let (Some(from), Some(to)) = (made_by.postgres_major(), version.postgres_major())
                && from != to
            {
                return Err(refused(format!("PostgreSQL {from} became {to} between them")));
            }
            if between.len() > 1 {
                let names: Vec<String> = between.iter().map(|release| release.date.to_string()).collect();
                warnings.push(format!("{version} is {} releases after {made_by}: {}", names.len(), names.join(", ")));
            }
            warnings.extend(more);
            VersionFit::Newer
        }
        version::VersionGate::Older { .. } if !request.allow_version => {
            return Err(refused("its database schema is older, and OpsChain does not go back".into()));
        }
        version::VersionGate::Unknown { why } if !request.allow_version => return Err(refused(why)),
        version::VersionGate::Older { .. } | version::VersionGate::Unknown { .. } => {
            warnings.push(format!("--allow-version: data of {made_by} will run under {version}"));
            VersionFit::Overridden
        }
    };
    Ok(TargetVersion { version, fit, warnings })
}
