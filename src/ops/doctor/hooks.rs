//! Whether the site's hooks can be run when their time comes.

use std::collections::BTreeSet;

use super::findings::FindingsBuilder;
use crate::ops::{create, hooks, restore};
use crate::settings::{NotifyVerb, Settings};
use crate::text::plural;

pub(super) fn hooks(settings: &Settings, findings: &mut FindingsBuilder) {
    let mut are_fine = !settings.hooks.is_empty();
    for hook in &settings.hooks {
        let steps = match hook.verb {
            NotifyVerb::Create => create::all_step_names(),
            NotifyVerb::Restore => restore::all_step_names(),
            NotifyVerb::Deploy | NotifyVerb::Prune | NotifyVerb::Copy => BTreeSet::new(),
        };
        let Some(trouble) = hooks::trouble(hook, &steps) else { continue };
        are_fine = false;
        if hook.stops() { findings.failed("hooks", trouble) } else { findings.doubtful("hooks", trouble) }
    }
    if are_fine {
        let count = plural(settings.hooks.len() as u64, "hook");
        findings.ok("hooks", format!("hooks: {count} can be run"));
    }
}
