//! What the settings say is meant to differ.

use super::report::{DriftFinding, Ignored};
use crate::settings::DriftIgnore;
use crate::text::fits;
use crate::values::Path;

/// Takes out what is meant. A finding of which nothing is left goes; one that never had fields (a missing object) goes
/// where a rule's path is `*`.
pub(super) fn apply(findings: Vec<DriftFinding>, rules: &[DriftIgnore]) -> (Vec<DriftFinding>, Vec<Ignored>) {
    let (mut left, mut ignored) = (Vec::new(), Vec::new());
    for finding in findings {
        // `Deployment opschain-api` is written with a slash in settings.
        let object = finding.object.replacen(' ', "/", 1);
        let rules: Vec<&DriftIgnore> = rules.iter().filter(|rule| fits(&rule.object, &object)).collect();
        let mut note = |path: Path, rule: &DriftIgnore| {
            ignored.push(Ignored { object: finding.object.clone(), path, reason: rule.reason.clone() });
        };
        if finding.fields.is_empty() {
            match rules.iter().find(|rule| rule.path == "*") {
                Some(rule) => note(Path::root(), rule),
                None => left.push(finding),
            }
            continue;
        }
        let mut fields = Vec::new();
        for field in &finding.fields {
            match rules.iter().find(|rule| below(&rule.path, &field.path)) {
                Some(rule) => note(field.path.clone(), rule),
                None => fields.push(field.clone()),
            }
        }
        if !fields.is_empty() {
            left.push(DriftFinding { fields, ..finding });
        }
    }
    (left, ignored)
}

/// Whether the pattern is the path, or one above it.
fn below(pattern: &str, path: &Path) -> bool {
    let text = path.to_string();
    fits(pattern, &text) || fits(&format!("{pattern}.*"), &text) || fits(&format!("{pattern}[*"), &text)
}

#[cfg(test)]
mod tests {
    use super::super::{Between, Cause};
    use super::*;
    use crate::ops::objects::{Act, Field};

    fn finding(object: &str, paths: &[&[&str]]) -> DriftFinding {
        let field = |keys: &&[&str]| Field { path: Path::of(keys), what: Act::Changed, old: None, new: None };
        DriftFinding::new(Between::HelmCluster, object.into(), Cause::Unknown, paths.iter().map(field).collect())
    }

    fn rule(object: &str, path: &str) -> DriftIgnore {
        DriftIgnore { object: object.into(), path: path.into(), reason: "meant".into() }
    }

    #[test]
    fn a_rule_covers_its_path_and_what_stands_below_it_and_nothing_else() {
        let all = || {
            vec![finding(
                "Deployment api",
                &[&["spec", "replicas"], &["spec", "replicasMax"], &["spec", "template", "x"]],
            )]
        };
        let left = |rules: &[DriftIgnore]| {
            let (left, ignored) = apply(all(), rules);
            let paths: Vec<String> = left.iter().flat_map(|f| &f.fields).map(|field| field.path.to_string()).collect();
            (paths.join(" "), ignored.len())
        };
        assert_eq!(left(&[rule("Deployment/api", "spec.replicas")]), ("spec.replicasMax spec.template.x".into(), 1));
        assert_eq!(left(&[rule("Deployment/*", "spec.template")]), ("spec.replicas spec.replicasMax".into(), 1));
        assert_eq!(left(&[rule("*", "spec.*")]), (String::new(), 3));
        assert_eq!(left(&[rule("Deployment/apis", "*"), rule("Service/api", "*")]).1, 0);
        assert_eq!(apply(all(), &[rule("*", "*")]).0.len(), 0, "a finding of which nothing is left goes");
    }

    #[test]
    fn a_missing_object_is_ignored_only_whole() {
        let gone = || vec![finding("Service x", &[])];
        assert_eq!(apply(gone(), &[rule("Service/x", "spec.type")]).0.len(), 1);
        let (left, ignored) = apply(gone(), &[rule("Service/x", "*")]);
        assert_eq!((left.len(), ignored.len()), (0, 1));
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, is) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("*", "", true),
            ("a", "ab", false),
            ("*b*", "abc", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, text), is, "{pattern} {text}");
        }
    }
}
