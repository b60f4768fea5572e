//! Which bundle is restored, and with what it is opened.

use crate::bundle::catalog::PassedOver;
use crate::error::{CommandError, Exit, Result};
use crate::ops::bundles::BundleRequest;
use crate::opschain::version::{BadVersion, Version};

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// Which bundle, the newest good one of `version` where it names none, and the files that open and check it.
    pub bundle: BundleRequest,
    /// The OpsChain version that is to run; the bundle's own when absent.
    pub version: Option<String>,
    /// The chart to install a newer version from, if not the settings'.
    pub chart: Option<String>,
    /// Restore under an older version, or under one that cannot be compared, all the same.
    pub allow_version: bool,
}

/// The version whose newest good bundle is taken, where none is named.
///
/// # Errors
/// [`Exit::Usage`] when neither is named, or it is no version.
pub(super) fn version_to_look_for(request: &RestoreRequest) -> Result<String> {
    let version = request.version.as_deref().ok_or_else(|| {
        CommandError::new(Exit::Usage, "neither a bundle nor a version is named").hint(
            "`dr bundle list` shows what there is; `dr bundle restore --version V` takes the newest good one that V made.",
        )
    })?;
    Ok(parse_version(version)?.tag())
}

/// The error of a store without a good bundle of the version `tag`.
pub(super) fn none_good(store: &str, tag: &str, passed: &[PassedOver], versions: &[&str]) -> CommandError {
    let mut error =
        CommandError::new(Exit::NotFound, format!("store {store} has no good bundle made by OpsChain {tag}"));
    for other in passed {
        error = error.hint(format!("{} was passed over: {}.", other.name, other.reason));
    }
    match versions {
        [] => error.hint("The store has no bundle at all: name a file, or set `store.path`."),
        versions => error.hint(format!("It has bundles of {}: name one to restore it.", versions.join(", "))),
    }
}

pub(super) fn parse_version(text: &str) -> Result<Version> {
    text.parse().map_err(|e: BadVersion| {
        CommandError::new(Exit::Usage, e.to_string()).hint("OpsChain versions look like 2026-08-20 or 2026.8.20.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(exit: Exit, error: CommandError) -> String {
        assert_eq!(error.exit(), exit, "{error}");
        assert!(!error.hints().is_empty(), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn without_a_name_the_version_says_which_bundle() {
        let version = |text: Option<&str>| RestoreRequest { version: text.map(str::to_owned), ..Default::default() };
        assert_eq!(version_to_look_for(&version(Some("2026.8.20"))).unwrap(), "2026-08-20");
        let text = refusal(Exit::Usage, version_to_look_for(&version(None)).unwrap_err());
        assert_eq!(text, "neither a bundle nor a version is named");
        refusal(Exit::Usage, version_to_look_for(&version(Some("?"))).unwrap_err());
    }

    #[test]
    fn a_store_without_a_good_bundle_says_why_and_what_else_it_has() {
        let passed = [PassedOver { name: "opschain-1".into(), reason: "it is cut short".into() }];
        let error = none_good("/bundles", "2026-08-20", &passed, &["2026-07-28"]);
        let said =
            ["opschain-1 was passed over: it is cut short.", "It has bundles of 2026-07-28: name one to restore it."];
        assert_eq!(error.hints(), said);
        let text = refusal(Exit::NotFound, none_good("/bundles", "2026-08-20", &[], &[]));
        assert_eq!(text, "store /bundles has no good bundle made by OpsChain 2026-08-20");
    }
}
