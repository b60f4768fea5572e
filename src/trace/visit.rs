//! Reading the fields of what was said.

use std::fmt::Debug;

use tracing::Event;
use tracing::field::{Field, Visit};

/// The fields that marks have.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) kind: String,
    pub(super) what: String,
    pub(super) begun: String,
    pub(super) ended: String,
    pub(super) folder: String,
    pub(super) outcome: String,
    pub(super) ms: f64,
}

impl Fields {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "kind" => &mut self.kind,
            "what" => &mut self.what,
            "begun" => &mut self.begun,
            "ended" => &mut self.ended,
            "folder" => &mut self.folder,
            "outcome" => &mut self.outcome,
            _ => return None,
        })
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "ms" {
            self.ms = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(text) = self.text(field.name()) {
            value.clone_into(text);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
