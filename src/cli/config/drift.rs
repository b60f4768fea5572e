//! `dr config drift`, for people.

use crate::cli::objects::field_lines;
use crate::ops::drift::{Between, Cause, DriftFinding, DriftReport, Extent};
use crate::ops::runs::WaysOn;
use crate::text::plural;
use crate::ui::{Mark, Page, Report, short_time};

/// How many fields of a finding are shown.
const SHOWN: usize = 20;

impl Report for DriftReport {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("Release {} in namespace {}", self.release, self.namespace));
        let vault = match &self.vault {
            Some(side) => {
                let revision = side.revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
                format!("deployment {}, {}{revision}", side.deployment, short_time(side.at))
            }
            None => "no deployment that went live".into(),
        };
        let helm = match &self.helm {
            Some(side) => {
                let at = side.at.parse().map_or_else(|_| side.at.clone(), short_time);
                format!("revision {} of {}, {at}", side.revision, side.chart)
            }
            None => "no deployed revision".into(),
        };
        page.fields(&[
            ("vault", vault),
            ("helm", format!("{helm}; {}", self.column(Between::VaultHelm, &self.values, "values"))),
            ("cluster", self.column(Between::HelmCluster, &self.objects, "objects")),
        ]);
        for between in [Between::VaultHelm, Between::HelmCluster] {
            let findings: Vec<&DriftFinding> = self.drift.iter().filter(|finding| finding.between == between).collect();
            if findings.is_empty() {
                continue;
            }
            page.gap();
            page.heading(match between {
                Between::VaultHelm => "Vault -> helm",
                Between::HelmCluster => "helm -> cluster",
            });
            for finding in findings {
                page.finding(Mark::Bad, &format!("{}: {}", finding.object, finding.text), None);
                field_lines(page, &finding.fields, SHOWN);
            }
        }
        if !self.notes.is_empty() || !self.ignored.is_empty() {
            page.gap();
        }
        for note in &self.notes {
            page.finding(Mark::Warn, note, None);
        }
        for ignored in &self.ignored {
            page.wrapped("ignored  ", "         ", format!("{} {}: {}", ignored.object, ignored.path, ignored.reason));
        }
        if let Some(open) = &self.half_done {
            page.gap();
            page.finding(Mark::Bad, &format!("the install is not whole: {open}"), None);
            match WaysOn::of(open) {
                ways if ways.is_empty() => page.next(&open.next(&self.namespace)),
                ways => page.ways_on(ways.commands()),
            }
        } else if !self.drift.is_empty() {
            page.gap();
            let is_restored = self.drift.iter().any(|finding| matches!(finding.cause, Cause::Restored { .. }));
            // What helm has is put back, or kept; objects that were edited by hand are only put back.
            let is_of_helm = self.drift.iter().any(|finding| finding.between == Between::VaultHelm);
            match (is_restored, is_of_helm) {
                (true, _) => page.next("dr config record --from-helm --chart REF"),
                (false, false) => page.next("dr deploy -f values.yaml --dry-run"),
                (false, true) => page.ways_on([
                    "dr deploy -f values.yaml --dry-run    (what deploying yours would take back)",
                    "dr config record --from-helm    (to keep what helm has)",
                ]),
            }
        }
    }
}

impl DriftReport {
    fn column(&self, between: Between, compared: &Extent, what: &str) -> String {
        let of_it = || self.drift.iter().filter(|finding| finding.between == between);
        // Values are ignored as values, objects by their names.
        let ignored =
            self.ignored.iter().filter(|one| (one.object == "values") == (between == Between::VaultHelm)).count();
        let same = |count: &usize| match ignored {
            0 => format!("all {count} {what} the same"),
            _ => {
                format!("all {count} {what} the same but for {} that is ignored", plural(ignored as u64, "difference"))
            }
        };
        match compared {
            Extent::Not { because } => format!("{what} not compared: {because}"),
            Extent::Whole { count } if of_it().next().is_none() => same(count),
            Extent::Whole { count } => match between {
                Between::VaultHelm => match of_it().map(|finding| finding.fields.len()).sum() {
                    0 => same(count),
                    differ => format!("{differ} of {count} {what} differ"),
                },
                Between::HelmCluster => {
                    let differ: std::collections::BTreeSet<&str> =
                        of_it().map(|finding| finding.object.as_str()).collect();
                    format!("{} of {count} {what} differ", differ.len())
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::drift::Ignored;
    use crate::ops::objects::{Act, Field};
    use crate::values::Path;

    #[test]
    fn three_columns_read_on_eighty_columns() {
        let at = "2026-08-20T10:00:05Z";
        let finding = |between, object: &str, cause: Cause, fields| DriftFinding {
            between,
            object: object.into(),
            text: cause.text(),
            cause,
            fields,
        };
        let field = Field {
            path: Path::of(&["spec", "replicas"]),
            what: Act::Changed,
            old: Some(1.into()),
            new: Some(3.into()),
        };
        let secret = Field {
            path: Path::of(&["env", "PGPASSWORD"]),
            what: Act::Changed,
            old: Some("••••••••#1a2b3c4d".into()),
            new: Some("••••••••#5e6f7a8b".into()),
        };
        let report = DriftReport {
            half_done: None,
            namespace: "opschain".into(),
            release: "opschain".into(),
            vault: Some(crate::ops::drift::VaultSide {
                deployment: "20260820T100000Z-4f2a9c".into(),
                at: at.parse().unwrap(),
                version: None,
                revision: Some(3),
            }),
            helm: Some(crate::ops::drift::HelmSide { revision: 4, at: at.into(), chart: "opschain-2026.8.20".into() }),
            values: Extent::Whole { count: 307 },
            objects: Extent::Whole { count: 57 },
            drift: vec![
                finding(
                    Between::VaultHelm,
                    "values",
                    Cause::RolledBack { revision: 4, to: 1, at: at.into(), by: Some("helm".into()) },
                    vec![secret],
                ),
                finding(
                    Between::HelmCluster,
                    "Deployment opschain-log-aggregator",
                    Cause::Scaled { by: "kubectl".into(), at: at.parse().ok() },
                    vec![field],
                ),
                finding(Between::HelmCluster, "Service opschain-ldap", Cause::Missing, Vec::new()),
            ],
            ignored: vec![Ignored {
                object: "Secret x".into(),
                path: Path::of(&["data"]),
                reason: "filled by users".into(),
            }],
            notes: Vec::new(),
        };
        let mut page = Page::new(Some(80));
        report.human(&mut page);
        let text = page.plain();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for line in [
            "cluster  2 of 57 objects differ",
            "bad  values: rolled back to revision 1 outside dr with helm: revision 4,",
            "  ~ env.PGPASSWORD  ••••••••#1a2b3c4d -> ••••••••#5e6f7a8b",
            "  ~ spec.replicas  1 -> 3",
            "bad  Service opschain-ldap: missing in the cluster",
            "ignored  Secret x data: filled by users",
        ] {
            assert!(text.contains(line), "{line}\n---\n{text}");
        }
        let mut page = Page::new(Some(80));
        DriftReport { drift: Vec::new(), ..report }.human(&mut page);
        let text = page.plain();
        assert!(text.replace("\n         ", " ").contains("all 307 values the same\n"), "{text}");
        assert!(text.contains("all 57 objects the same but for 1 difference that is ignored\n"), "{text}");
    }
}
