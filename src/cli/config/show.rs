//! `dr config show`, for people.

use crate::ops::config::ShownDeployment;
use crate::text::{bytes, elapsed_seconds};
use crate::ui::{Page, Report, short_time};

impl Report for ShownDeployment {
    fn human(&self, page: &mut Page) {
        let record = &self.deployment.record;
        let mut fields = vec![
            ("deployment", record.id.to_string()),
            ("install", format!("release {} in namespace {}", record.install.release, record.install.namespace)),
            ("at", short_time(record.at)),
            ("by", format!("{} ({})", record.by, record.how.word())),
        ];
        fields
            .extend(self.signed_by.as_ref().map(|by| ("signed by", format!("{} ({})", by.principal, by.fingerprint))));
        fields.extend(record.why.clone().map(|why| ("why", why)));
        fields.extend(record.opschain_version.clone().map(|version| ("version", version)));
        let digest = record.chart.digest.as_ref().map(|digest| format!(" ({digest})")).unwrap_or_default();
        fields.push((
            "chart",
            format!("{} {} from {}{digest}", record.chart.name, record.chart.version, record.chart.reference),
        ));
        for (place, layer) in record.layers.iter().enumerate() {
            let sealed = &layer.sealed;
            let size = bytes(layer.given_bytes(place));
            // The digest of the others is that of more than their bytes: nobody could compare it with a file's.
            let digest = if layer.is_exact(place) { format!(", sha256 {}", sealed.sha256) } else { String::new() };
            // Of several, in the order in which Helm lays them over each other, each is named by its kind and name.
            let layer = match record.layers.len() {
                1 => String::new(),
                _ => format!("{} {}, ", layer.kind, layer.name.as_deref().unwrap_or(&sealed.file)),
            };
            fields.push(("values", format!("{layer}{size}{digest}")));
        }
        fields.extend(record.merged_sha256.as_ref().map(|sha256| ("merged", format!("sha256 {sha256}"))));
        fields.push(("sealed to", record.recipients.join(" ")));
        let tools = [("dr", Some(&record.dr)), ("helm", record.helm.as_ref()), ("operator", record.operator.as_ref())];
        let tools: Vec<String> =
            tools.into_iter().filter_map(|(name, version)| Some(format!("{name} {}", version?))).collect();
        fields.push(("with", tools.join(", ")));
        fields.extend(record.previous.as_ref().map(|previous| ("written after", previous.id.to_string())));
        fields.extend(
            record.bundle_before.clone().map(|bundle| ("bundle", format!("{bundle}, of what was live before"))),
        );
        let outcome = self.deployment.outcome.as_ref();
        for image in outcome.iter().flat_map(|outcome| &outcome.images) {
            let digest = image.digest.as_ref().map(|digest| format!(" {digest}")).unwrap_or_default();
            fields.push(("image", format!("{}{digest}", image.reference)));
        }
        // What came of it stands last: images and layers are many, and scroll away above it.
        if let Some(outcome) = outcome {
            let took = elapsed_seconds(outcome.seconds);
            fields.push(("ended", format!("{} after {took}", short_time(outcome.at))));
            fields.extend(outcome.helm_revision.map(|revision| ("revision", revision.to_string())));
            fields.extend(outcome.error.clone().map(|error| ("error", error)));
        }
        let state = match self.state.as_str() {
            "unknown" => "unknown: dr was killed before it knew what came of it",
            state => state,
        };
        fields.push(("state", state.to_owned()));
        page.fields(&fields);
    }
}
