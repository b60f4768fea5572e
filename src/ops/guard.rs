//! What a deployment is refused for: findings in its values, and changes that would make stored data unreadable.

use crate::error::{CommandError, Exit, Result};
use crate::opschain::values::immutable;
use crate::values::diff::{Change, Diff, What};
use crate::values::lint::{Finding, Severity};

/// Refuses values with a finding of severity `error` that is not allowed by its id.
///
/// # Errors
/// [`Exit::Failure`], every such finding with its place.
pub fn refuse_findings(name: &str, findings: &[Finding], allow: &[String]) -> Result<()> {
    let grave: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error && !allow.iter().any(|id| id == finding.id))
        .collect();
    let Some(first) = grave.first() else { return Ok(()) };
    let text = |finding: &Finding| {
        let path = finding.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
        format!("{name}:{}:{}: {path}{}", finding.line, finding.column, finding.reason)
    };
    let mut error = CommandError::new(Exit::Failure, text(first)).hint(format!("{}.", capital(&first.fix)));
    for other in &grave[1..] {
        error = error.hint(format!("Also {}; {}.", text(other), other.fix));
    }
    Err(error.hint(format!("If it is meant, add --allow {}.", first.id)))
}

/// Refuses to change, blank or take away a key that OpsChain's stored data depends on.
///
/// # Errors
/// [`Exit::Guard`] with the key and what is lost.
pub fn refuse_data_loss(diff: &Diff, allow: &[String]) -> Result<()> {
    for change in &diff.changes {
        if change.what == What::Added || allow.iter().any(|path| *path == change.path.to_string()) {
            continue;
        }
        let keys: Vec<&str> = change.path.keys().collect();
        let Some(known) = immutable(&keys) else { continue };
        if was_unset(change) {
            continue;
        }
        let act = match change.what {
            What::Removed => "is gone from the values",
            _ => "differs from the live values",
        };
        let text = format!("{} {act}, and must never change: {}", change.path, known.why);
        return Err(CommandError::new(Exit::Guard, text)
            .hint("Give the old value back: `dr config cat live` prints the values that are live.")
            .hint(format!("If the data is lost anyway and you mean it, add --allow {}.", change.path)));
    }
    Ok(())
}

/// A key that was empty or null before is set for the first time.
fn was_unset(change: &Change) -> bool {
    use serde_json::Value;
    match change.old.as_ref().and_then(|old| old.value.as_ref()) {
        Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        _ => false,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Scrubber, Tree, diff::diff, lint::lint};

    fn guard(old: &str, new: &str, allow: &[&str]) -> Result<()> {
        let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let allow: Vec<String> = allow.iter().map(|id| (*id).to_owned()).collect();
        refuse_data_loss(&diff(&tree(old), &tree(new), &Scrubber::new(None)), &allow)
    }

    #[test]
    fn changing_blanking_retyping_or_losing_an_encryption_key_is_refused() {
        let old = "env: {OPSCHAIN_PRIMARY_KEY: abcdefgh, TZ: UTC}\n";
        for new in [
            "env: {OPSCHAIN_PRIMARY_KEY: other, TZ: UTC}\n",
            "env: {OPSCHAIN_PRIMARY_KEY: \"\", TZ: UTC}\n",
            "env: {OPSCHAIN_PRIMARY_KEY: 12345678, TZ: UTC}\n",
            "env: {TZ: UTC}\n",
            "env: x\n",
        ] {
            let error = guard(old, new, &[]).unwrap_err();
            assert_eq!(error.exit(), Exit::Guard, "{new}");
            assert!(!error.to_string().contains("abcdefgh"), "{error}");
        }
        assert!(guard(old, "env: {TZ: CET, OPSCHAIN_PRIMARY_KEY: \"abcdefgh\"}\n", &[]).is_ok());
        assert!(guard(old, "env: {TZ: UTC}\n", &["env.OPSCHAIN_PRIMARY_KEY"]).is_ok());
        assert!(guard("env: {OPSCHAIN_PRIMARY_KEY: \"\"}\n", old, &[]).is_ok(), "set for the first time");
    }

    #[test]
    fn every_secret_that_opschain_is_known_for_is_masked() {
        for known in crate::opschain::values::SECRET {
            let path = crate::values::Path::of(known);
            let value = crate::values::Value::String("x".into());
            assert!(crate::values::redact::is_secret(&path, None, &value), "{path}");
        }
    }

    #[test]
    fn a_grave_finding_is_refused_with_its_place_and_may_be_allowed() {
        let yaml = b"a: 1\na: 2\nPGPASSWORD: 123456\n";
        let findings = lint(&Tree::parse(yaml).unwrap(), yaml);
        let error = refuse_findings("values.yaml", &findings, &[]).unwrap_err();
        assert!(error.message().starts_with("values.yaml:2:1: a: the key stands on line 1"), "{error}");
        assert_eq!(error.hints().len(), 3);
        let allow = ["duplicate-key".to_owned(), "secret-not-text".to_owned()];
        assert!(refuse_findings("values.yaml", &findings, &allow).is_ok());
    }
}
