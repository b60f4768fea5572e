//! The install and the cluster that a run is of.

use crate::error::{CommandError, Exit, Result};
use crate::names::{NamespaceName, ReleaseName};
use crate::ops::Ctx;
use crate::settings::Install;

/// The same context for the install of a run, whatever flags and settings say.
pub(super) fn install_of(ctx: &Ctx, namespace: &NamespaceName, release: &ReleaseName) -> Ctx {
    let (namespace, release) = (namespace.clone(), release.clone());
    ctx.for_install(Install { namespace, release, ..ctx.install().clone() })
}

/// The same for a run that is put back, which needs nothing but the cluster: the defaults do where the settings file is
/// broken.
pub(super) fn install_to_put_back(ctx: &Ctx, namespace: &NamespaceName, release: &ReleaseName) -> Ctx {
    let broken = ctx.broken_settings().is_some();
    install_of(&if broken { ctx.by_defaults() } else { ctx.clone() }, namespace, release)
}

/// Refuses to work on another cluster than the one with this identity, which the run was begun on.
///
/// # Errors
/// [`Exit::Resume`]; or the cluster cannot be asked.
pub(super) async fn refuse_other_cluster(ctx: &Ctx, run: &str, cluster_uid: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    require_cluster_of(run, cluster_uid, &cluster.identity().await?, cluster.context())
}

fn require_cluster_of(run: &str, cluster_uid: &str, identity: &str, context: &str) -> Result<()> {
    if identity == cluster_uid {
        return Ok(());
    }
    let what = format!("run {run} was begun on another cluster than context {context}");
    Err(CommandError::new(Exit::Resume, what)
        .hint("Name the kubeconfig context of that cluster with --context.")
        .hint(format!("If that cluster is gone for good: `dr run abort {run} --close-only` closes the run.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_another_cluster_is_refused_with_both_ways_on() {
        assert!(require_cluster_of("restore-1", "u", "u", "here").is_ok());
        let error = require_cluster_of("restore-1", "u", "v", "here").unwrap_err();
        assert_eq!(error.exit(), Exit::Resume);
        assert_eq!(error.message(), "run restore-1 was begun on another cluster than context here");
        assert!(error.hints()[0].contains("--context"), "{:?}", error.hints());
        assert!(error.hints()[1].contains("`dr run abort restore-1 --close-only`"), "{:?}", error.hints());
    }
}
