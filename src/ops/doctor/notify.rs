//! Whether somebody outside would notice that no bundle is made any more.

use super::findings::FindingsBuilder;
use crate::ops::schedule::ScheduleLine;
use crate::ops::{Ctx, notify};
use crate::settings::{Install, NotifyKind, NotifyOn, NotifySettings, NotifyVerb, Settings};

/// What keeps scheduled bundles from being made.
pub(super) fn schedules(schedules: &[ScheduleLine], findings: &mut FindingsBuilder) {
    for line in schedules {
        if let Some(why) = &line.held_up {
            let namespace = line.install.split('/').next().unwrap_or_default();
            findings.bad(
                "schedule",
                format!("{}: the bundle that is due does not begin: {why}", line.timer),
                format!("kubectl -n {namespace} describe pods -l app.kubernetes.io/component=schedule"),
            );
        }
    }
}

/// Whether the files are there that lead to those who are told; nobody is told anything.
pub(super) async fn told(ctx: &Ctx, settings: &Settings, findings: &mut FindingsBuilder) {
    for to in &settings.notify {
        match notify::readable(ctx, to).await {
            Ok(()) => findings.ok("notify", format!("notify: what {} needs can be read", to.name)),
            Err(failure) => {
                let way = failure.way.unwrap_or_else(|| format!("dr notify test {}", to.name));
                findings.warn("notify", format!("notify: {} would not be told: {}", to.name, failure.what), way);
            }
        }
    }
}

/// A host that is gone tells nobody: only who waits for a sign of life notices.
pub(super) fn silence(
    settings: &Settings,
    install: &Install,
    schedules: &[ScheduleLine],
    findings: &mut FindingsBuilder,
) {
    let name = format!("{}/{}", install.namespace, install.release);
    if !schedules.iter().any(|schedule| schedule.install == name) {
        return;
    }
    let is_alive = |notify: &&NotifySettings| {
        notify.kind == NotifyKind::Ping && notify.is_told(NotifyOn::Success, NotifyVerb::Create)
    };
    match settings.notify.iter().find(is_alive) {
        Some(notify) => {
            findings.ok("notify", format!("notify: {} would notice that no bundle is made any more", notify.name))
        }
        None => findings.warn(
            "notify",
            "notify: bundles are scheduled, and nobody outside would notice that none is made any more",
            "a [[notify]] of kind \"ping\" in dr.toml, then dr notify test",
        ),
    }
}
