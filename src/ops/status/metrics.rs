//! The same as text that Prometheus reads. `docs/reference/metrics.md` has the names; a value that is not known is left out.

use std::fmt::Write;

use super::report::StatusReport;

/// What every such text begins with.
pub const METRICS_BEGIN: &str = "# HELP dr_";

/// The metrics of a report, each with its help and type.
pub fn text(report: &StatusReport) -> String {
    let mut text = Metrics(String::new());
    let (namespace, release) = report.install.split_once('/').unwrap_or((&report.install, ""));
    let of = labels(&[("namespace", namespace), ("release", release), ("store", &report.store.place)]);
    let second = |at: jiff::Timestamp| at.as_second() as f64;
    let bundles = &report.bundles;
    let moments = [
        ("dr_bundle_last_made_timestamp_seconds", "When the newest bundle was made.", &bundles.made),
        ("dr_bundle_last_verified_timestamp_seconds", "When a bundle was last verified.", &bundles.verified),
        ("dr_bundle_last_restored_timestamp_seconds", "When a restore last proved a bundle.", &bundles.restored),
    ];
    text.one("dr_status_timestamp_seconds", "When this was computed.", &of, Some(second(report.at)));
    text.one("dr_store_up", "Whether the store could be listed.", &of, Some(report.store.error.is_none().into()));
    if report.store.error.is_none() {
        text.one("dr_bundles", "Bundles of the install.", &of, Some(bundles.count as f64));
        text.one("dr_store_bytes", "Bytes of all bundles of the install.", &of, Some(bundles.bytes as f64));
    }
    for (name, help, moment) in moments {
        text.one(name, help, &of, moment.as_ref().map(|moment| second(moment.at)));
    }
    let newest = bundles.made.as_ref().map(|made| made.bytes as f64);
    text.one("dr_bundle_bytes", "Bytes of the newest bundle.", &of, newest);
    text.one("dr_rpo_seconds", "Age of the newest bundle.", &of, report.rpo_seconds.map(|s| s as f64));
    let rto = report.rto_predicted_seconds.map(|s| s as f64);
    text.one("dr_rto_predicted_seconds", "How long a restore would take.", &of, rto);
    let since = report.deployments_since.map(|count| count as f64);
    text.one("dr_deployments_since_bundle", "Deployments that no bundle has.", &of, since);
    let recipients = bundles.made.as_ref().map(|_| report.recipients.len() as f64);
    text.one("dr_recipients", "Recipients that open the newest bundle.", &of, recipients);
    text.one("dr_runs_open", "Runs of the install that stand open.", &of, Some(report.open_runs.len() as f64));
    let next = report.schedules.iter().filter_map(|line| line.next).min();
    text.one("dr_schedule_next_timestamp_seconds", "When the next scheduled bundle comes.", &of, next.map(second));
    let ended = report.schedules.iter().filter_map(|line| line.result.as_deref());
    let failed = ended.map(|result| f64::from(u8::from(result != "success"))).reduce(f64::max);
    let unknown = report.schedules.iter().map(|line| f64::from(u8::from(line.error.is_some()))).reduce(f64::max);
    text.one("dr_schedule_unknown", "Whether a schedule could not be asked for how it stands.", &of, unknown);
    text.one("dr_schedule_failed", "Whether the last scheduled bundle was not made.", &of, failed);
    text.one("dr_safe", "Whether nothing must be fixed first.", &of, Some(report.safe.into()));
    text.0
}

struct Metrics(String);

impl Metrics {
    fn one(&mut self, name: &str, help: &str, labels: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        // A String takes whatever is written.
        let _always = write!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{{labels}}} {value}\n");
    }
}

fn labels(labels: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::status::report::{BundleMoment, BundleStatus, StoreStatus};

    fn report() -> StatusReport {
        let at = "2026-11-23T12:00:00Z".parse().unwrap();
        StatusReport {
            at,
            install: "ops/opschain".into(),
            store: StoreStatus { place: "/b \"x\"\\".into(), error: None, free_bytes: None },
            bundles: BundleStatus {
                count: 1,
                bytes: 1_234_567_890_123,
                made: Some(BundleMoment { bundle: "b".into(), at, bytes: 5, by: None }),
                ..BundleStatus::default()
            },
            rpo_seconds: Some(0),
            rto_predicted_seconds: None,
            deployments_since: None,
            open_runs: Vec::new(),
            schedules: Vec::new(),
            recipients: Vec::new(),
            findings: Vec::new(),
            next: None,
            safe: true,
        }
    }

    #[test]
    fn what_is_not_known_is_left_out_and_labels_are_escaped() {
        let text = text(&report());
        let labels = r#"{namespace="ops",release="opschain",store="/b \"x\"\\"}"#;
        assert!(text.contains(&format!("\ndr_store_bytes{labels} 1234567890123\n")), "{text}");
        assert!(text.contains(&format!("\ndr_bundle_last_made_timestamp_seconds{labels} 1795435200\n")), "{text}");
        assert!(!text.contains("last_verified") && !text.contains("rto"), "{text}");
        let down = StoreStatus { error: Some("gone".into()), ..report().store };
        let text = super::text(&StatusReport { store: down, bundles: BundleStatus::default(), ..report() });
        assert!(text.contains("dr_store_up{") && !text.contains("dr_bundles{"), "what is not known is no zero: {text}");
    }

    #[test]
    fn the_reference_page_has_every_name() {
        let page = include_str!("../../../docs/reference/metrics.md");
        let mut full = report();
        full.bundles.verified = full.bundles.made.clone();
        full.bundles.restored = full.bundles.made.clone();
        (full.rto_predicted_seconds, full.deployments_since) = (Some(1), Some(1));
        let text = text(&full);
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert!(names.len() == 14, "{names:?}");
        for name in names {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
