//! Objects that change, for people.

use serde::Serialize;
use serde_json::Value as Json;

use crate::helm::RenderMode;
use crate::ops::deploy::DeployPlan;
use crate::ops::objects::{Act, EffectKind, Field, ObjectChange, ReleaseDiff};
use crate::ui::{Mark, Page, Report, Role, Styled};

const ADDED: Role = Role::Good;
const REMOVED: Role = Role::Bad;
const CHANGED: Role = Role::Caution;
/// Longer values are cut; JSON output has them whole.
const LONGEST: usize = 160;

/// What `dr deploy --dry-run` shows: the plan, and the objects that would change.
#[derive(Serialize)]
pub(super) struct Preview<'p> {
    /// The plan, as `dr deploy` shows it before it asks.
    #[serde(flatten)]
    pub plan: &'p DeployPlan,
    /// The objects.
    pub objects: ReleaseDiff,
}

impl Report for Preview<'_> {
    fn human(&self, page: &mut Page) {
        self.plan.values(page);
        release_lines(page, &self.objects);
        page.gap();
        self.plan.decision(page);
    }
}

fn release_lines(page: &mut Page, diff: &ReleaseDiff) {
    let words = [
        (ObjectChange::Changed, "changed"),
        (ObjectChange::Added, "added"),
        (ObjectChange::Removed, "removed"),
        (ObjectChange::Kept, "left behind"),
    ];
    let mut parts: Vec<String> = words
        .iter()
        .filter_map(|(change, word)| Some(diff.count(*change)).filter(|n| *n > 0).map(|n| format!("{n} {word}")))
        .collect();
    parts.push(format!("{} unchanged", diff.unchanged));
    let against = match diff.revision {
        Some(revision) => format!(" against revision {revision}"),
        None => String::new(),
    };
    page.heading(&format!("Objects{against}: {}", parts.join(", ")));
    if let RenderMode::Client { because } = &diff.rendered {
        page.finding(
            Mark::Warn,
            &format!("rendered without the cluster, so the chart's look-ups found nothing: {because}"),
            None,
        );
    }
    for effect in &diff.effects {
        let mark = match effect.kind {
            EffectKind::Restarts => Mark::Warn,
            EffectKind::Refused | EffectKind::Loses => Mark::Bad,
        };
        page.finding(mark, &format!("{} {}", effect.object, effect.text), None);
    }
    for object in &diff.objects {
        let (sign, role, note) = match object.change {
            ObjectChange::Added => ("+", ADDED, ""),
            ObjectChange::Removed => ("-", REMOVED, "  is deleted"),
            ObjectChange::Kept => ("-", CHANGED, "  leaves the release; the cluster keeps it"),
            ObjectChange::Changed => ("~", CHANGED, ""),
        };
        page.wrapped(Styled::new(role, sign).then(Role::Plain, " "), "    ", format!("{}{note}", object.id));
        field_lines(page, &object.fields, usize::MAX);
    }
    for hook in &diff.hooks {
        page.wrapped("* ", "    ", format!("{}  runs as a hook: {}", hook.id, hook.events.join(", ")));
    }
}

/// Each field on a line of its own: a sign, the path, what it was and what it is; `most` of them.
pub(super) fn field_lines(page: &mut Page, fields: &[Field], most: usize) {
    for field in fields.iter().take(most) {
        let (sign, role) = match field.what {
            Act::Added => ("+", ADDED),
            Act::Removed => ("-", REMOVED),
            Act::Changed => ("~", CHANGED),
        };
        let value = |value: &Option<Json>| value.as_ref().map(shown).unwrap_or_default();
        let text = match field.what {
            Act::Added => value(&field.new),
            Act::Removed => value(&field.old),
            Act::Changed => format!("{} -> {}", value(&field.old), value(&field.new)),
        };
        let first = Styled::from("  ").then(role, sign).then(Role::Plain, " ");
        page.wrapped(first, "      ", format!("{}  {text}", field.path));
    }
    if fields.len() > most {
        page.line(format!("    ... and {} more: --output json has them all", fields.len() - most));
    }
}

fn shown(value: &Json) -> String {
    let text = match value {
        // A mask needs no quotes.
        Json::String(text) if text.starts_with(crate::redact::MASK) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Path;
    use serde_json::json;

    #[test]
    fn fields_read_well_narrow_and_long_ones_are_cut() {
        let field =
            |what, path: &[&str], old: Option<Json>, new: Option<Json>| Field { path: Path::of(path), what, old, new };
        let fields = [
            field(Act::Changed, &["spec", "replicas"], Some(json!(1)), Some(json!(3))),
            field(Act::Removed, &["data", "a"], Some("••••••••#1a2b3c4d".into()), None),
            field(Act::Added, &["data", "b"], None, Some("x".repeat(500).into())),
            field(Act::Added, &["data", "c"], None, Some("y".into())),
        ];
        let mut page = Page::new(Some(80));
        field_lines(&mut page, &fields, 3);
        let text = page.plain();
        assert!(text.contains("  ~ spec.replicas  1 -> 3\n  - data.a  ••••••••#1a2b3c4d\n"), "{text}");
        assert!(text.contains("xxx...\n    ... and 1 more"), "{text}");
    }
}
