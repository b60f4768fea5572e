//! `dr doctor`: what is missing, each with the command that fixes it, and what to do next.
//!
//! It looks only: nothing is changed but for a file that is made in the store and removed at once, and, where a probe is
//! asked for, the pods of a backup and of a restore, which are tried and removed. It works on a bare
//! machine: what cannot be looked at because something before it is missing is left out, not guessed.

mod findings;
mod hooks;
mod host;
mod notify;
mod pods;
mod site;
mod store;
mod vault;

pub use findings::{Finding, Findings, Level};

use super::Ctx;
use super::schedule::ScheduleLine;
use findings::FindingsBuilder;

/// Looks at everything; `schedules` are those of this host, and `named` says that the namespace was given. Where `probe` is
/// asked for, the pods of a backup and of a restore are tried.
pub async fn doctor(ctx: &Ctx, schedules: &[ScheduleLine], named: bool, probe: bool) -> Findings {
    let mut findings = FindingsBuilder::default();
    host::settings(ctx, &mut findings);
    ctx.register_newest_deployments();
    host::helm(ctx, &mut findings).await;
    ctx.events.waiting("the cluster's answers", None);
    // Of settings that cannot be read it is not known which namespace they name: that of the defaults is nobody's. An open
    // run knows its own.
    let found = super::runs::without_settings(ctx, named).ok();
    let (ctx, is_known) = (found.as_ref().unwrap_or(ctx), found.is_some());
    let cluster = site::cluster(ctx, is_known, &mut findings).await;
    host::open_runs(ctx, &mut findings).await;
    if let Some(cluster) = cluster.as_ref().filter(|_| is_known) {
        site::install(ctx, cluster, probe, &mut findings).await;
    }
    if probe && !findings.known.tried_pods {
        let text =
            "the pods of a backup and of a restore were not tried: that takes an install whose database is awake";
        findings.warn("install", text, "dr doctor --probe, once it is");
    }
    if let Ok(settings) = ctx.settings() {
        host::keys(settings, &mut findings);
        vault::vault(ctx, settings, &mut findings);
        if findings.known.installed {
            host::recorded(ctx, &mut findings).await;
        }
        store::store(ctx, settings, &mut findings);
        hooks::hooks(settings, &mut findings);
        notify::schedules(schedules, &mut findings);
        notify::told(ctx, settings, &mut findings).await;
        notify::silence(settings, ctx.install(), schedules, &mut findings);
    }
    findings.finish()
}
