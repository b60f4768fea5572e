//! What Helm would read in silence and the author hardly meant.
//!
//! [`lint`] needs nothing but the file. [`lint_with`] also knows the chart's own defaults and what the releases of the
//! product say of keys, as far as the caller has them.

mod blocks;
mod contents;
mod finding;
mod key_tree;
mod keys;
mod meaning;
mod names;
mod near;
mod placeholder;
mod relations;
mod secret_name;
mod secrets;
mod spelling;
mod written;

use std::collections::HashSet;

pub use finding::{ALL, LintFinding, Severity};
pub use key_tree::{Context, KeyFact, KeyFacts, Number, Place, Relation, SecretForm, Shape, Trigger, Wanted};

use contents::Contents;
use finding::at_secrets;

use crate::yaml::{Path, Tree};

/// Looks through a values file. `bytes` are those that `tree` was read from. Findings come in the order of the file.
pub fn lint(tree: &Tree, bytes: &[u8]) -> Vec<LintFinding> {
    match tree.unread() {
        Some(error) => vec![written::not_read(error)],
        None => in_order(alone(&Contents::of(tree), bytes)),
    }
}

/// The same, and what can be told with more knowledge: unknown, misplaced and deprecated keys, shapes of secrets.
pub fn lint_with(tree: &Tree, bytes: &[u8], context: &Context<'_>) -> Vec<LintFinding> {
    if let Some(error) = tree.unread() {
        return vec![written::not_read(error)];
    }
    let contents = Contents::of(tree);
    let mut findings = alone(&contents, bytes);
    secrets::shapes(&contents, context, &mut findings);
    secrets::same(&contents, context.facts, &mut findings);
    keys::check(tree, context, &mut findings);
    blocks::check(tree, context, &mut findings);
    meaning::check(&contents, context, &mut findings);
    relations::check(tree, context, &mut findings);
    let told: HashSet<Path> = at_secrets(&findings).cloned().collect();
    findings.retain(|finding| finding.id != "wrong-type" || !finding.path.as_ref().is_some_and(|at| told.contains(at)));
    in_order(findings)
}

/// What the file tells without any other.
fn alone(contents: &Contents<'_>, bytes: &[u8]) -> Vec<LintFinding> {
    let tree = contents.tree;
    let mut findings: Vec<LintFinding> = tree.traps().iter().map(written::of_trap).collect();
    findings.extend(spelling::check_all(tree, &contents.named));
    for value in contents.values.iter().filter(|value| !value.is_secret) {
        written::of_number(tree, value, &mut findings);
        written::of_quotes(tree, value, &mut findings);
    }
    written::of_keys(tree, tree.root(), &mut findings);
    secrets::weak(contents, &mut findings);
    written::of_bytes(bytes, &mut findings);
    findings
}

fn in_order(mut findings: Vec<LintFinding>) -> Vec<LintFinding> {
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(yaml: &[u8]) -> Vec<String> {
        lint(&Tree::parse(yaml).unwrap(), yaml)
            .iter()
            .map(|f| {
                format!(
                    "{}:{} {} {}",
                    f.line,
                    f.column,
                    f.id,
                    f.path.as_ref().map(ToString::to_string).unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn a_secret_made_of_digits_is_an_error_at_its_place() {
        let yaml =
            b"env:\n  OPSCHAIN_PRIMARY_KEY: 12345678901234567890123456789012\n  PGPASSWORD: \"73915028461957302846\"\n";
        assert_eq!(found(yaml), ["2:25 secret-not-text env.OPSCHAIN_PRIMARY_KEY"]);
        let all = lint(&Tree::parse(yaml).unwrap(), yaml);
        assert_eq!(all[0].severity, Severity::Error);
        assert!(!format!("{all:?}").contains("1234"), "a finding quotes a secret");
    }

    #[test]
    fn a_secret_that_yaml_takes_apart_is_found_wherever_its_line_begins() {
        for (yaml, expected) in [
            ("env:\n  PGPASSWORD:\n    !w0rd0123\n", "3:5 secret-not-text env.PGPASSWORD"),
            ("env:\n  PGPASSWORD:\n    &w0rd0123\n", "3:5 secret-not-text env.PGPASSWORD"),
            ("env:\n  PGPASSWORD:\n    #w0rd0123\n", "2:14 secret-not-text env.PGPASSWORD"),
            ("env:\n  PGPASSWORD:\n    q8#Lw2!z #w0rd\n", "3:5 secret-cut env.PGPASSWORD"),
            ("env:\n  ? PGPASSWORD\n  : !w0rd0123\n", "3:5 secret-not-text env.PGPASSWORD"),
            ("passwords:\n- !w0rd0123\n", "2:3 secret-not-text passwords[0]"),
            ("passwords:\n- q8#Lw2!z #w0rd\n", "2:3 secret-cut passwords[0]"),
            ("p: &p q8#Lw2!z #w0rd\nenv:\n  PGPASSWORD: *p\n", "3:15 secret-cut env.PGPASSWORD"),
            ("env: {PGPASSWORD: q8#Lw2!z,w0rd}\n", "1:19 secret-cut env.PGPASSWORD"),
            ("env: {PGPASSWORD:w0rd0123}\n", "1:26 secret-not-text env"),
            ("env:\n  PGPASSWORD=w0rd0123:\n", "2:23 secret-not-text env"),
        ] {
            let found = found(yaml.as_bytes());
            assert!(found.len() == 1 && found[0] == expected, "{yaml}{found:?}");
        }
        for yaml in
            ["password:\n  # existing\nb: 1\n", "password:\n  #existingSecret: x\n", "a: {password: 'a,b', c}\n"]
        {
            let found = found(yaml.as_bytes());
            assert!(!found.iter().any(|said| said.contains("cut") || said.contains("not-text")), "{yaml}{found:?}");
        }
    }

    #[test]
    fn each_trap_is_found_at_its_place() {
        assert_eq!(found(b"a: 1\na: 2\n"), ["2:1 duplicate-key a"]);
        assert_eq!(found(b"a: 1\n---\nb: 2\n"), ["2:1 second-document "]);
        assert_eq!(found(b"a: 1\n...\nb: 2\n"), ["3:1 ignored-rest "]);
        assert_eq!(found(b"a:\n  on: x\n"), ["2:3 odd-key a.true"]);
        assert_eq!(
            found(b"mode: 0755\nid: 123456789012345678901\nok: 10\nzero: 0\nhalf: 0.5\nx: 0.12345678901234567890123\n"),
            ["1:7 octal mode", "2:5 number-rounded id", "6:4 number-rounded x"]
        );
        assert_eq!(
            found(b"\xef\xbb\xbfa: 1\r\nb: 2"),
            ["1:1 byte-order-mark ", "1:1 carriage-return ", "2:1 no-final-newline "]
        );
        for yaml in [&b"a: 1\nversion: 2026.8.20\n"[..], b"a: 0.30000000000000004\nb: 1.10\nc: -0.0\nd: 1.5e+3\n"] {
            assert_eq!(found(yaml), Vec::<String>::new());
        }
        assert_eq!(found("a: \u{201c}b c\u{201d}\n".as_bytes()), ["1:4 typographic-quotes a"]);
        assert_eq!(found("a: say \u{201c}b\u{201d}\nb: '\u{201c}b\u{201d}'\n".as_bytes()), Vec::<String>::new());
        assert_eq!(found("---\n\u{feff}env:\n  \u{a0}b: 1\n".as_bytes()), ["2:1 unseen-in-key ", "3:3 unseen-in-key "]);
        assert_eq!(found(b"\"a\\u00a0b\": 1\n"), Vec::<String>::new());
        assert_eq!(found(b"a: 1 # was\r\nb: 1 # was\rc: 1\n"), ["1:1 carriage-return ", "2:11 line-separator "]);
        assert_eq!(found(b"{\"a\": 1}\n{\"b\": 2}\n"), ["2:1 ignored-rest "]);
    }

    #[test]
    fn every_finding_has_a_listed_id() {
        let yaml = b"a: 1\na: 2\non: 0755\nPGPASSWORD: 1\nx: 99999999999999999\n---\nb: 1\n...\nc";
        for finding in lint(&Tree::parse(yaml).unwrap(), yaml) {
            assert!(ALL.contains(&(finding.id, finding.severity)), "{}", finding.id);
        }
    }
}
