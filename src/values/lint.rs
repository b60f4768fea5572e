//! What Helm would read in silence and the author hardly meant.

use std::collections::HashSet;

use serde::Serialize;

use super::path::Path;
use super::resolve::Value;
use super::secret::secrets;
use super::tree::{Node, Scalar, Span, Style, Trap, Tree};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A deployment is refused until it is mended or allowed by its id.
    Error,
    /// Worth a look.
    Warning,
    /// `dr` takes care of it.
    Note,
}

/// One finding. It quotes no value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The lint's name, as `--allow` takes it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Where, when it is about one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// What is wrong and why it matters.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

/// Every lint with its severity, for the reference.
pub const ALL: &[(&str, Severity)] = &[
    ("secret-not-text", Severity::Error),
    ("duplicate-key", Severity::Error),
    ("second-document", Severity::Error),
    ("ignored-rest", Severity::Error),
    ("odd-key", Severity::Warning),
    ("number-rounded", Severity::Warning),
    ("octal", Severity::Warning),
    ("byte-order-mark", Severity::Note),
    ("carriage-return", Severity::Note),
    ("no-final-newline", Severity::Note),
];

/// Looks through a values file. `bytes` are those that `tree` was read from. Findings come in the order of the file.
pub fn lint(tree: &Tree, bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for trap in tree.traps() {
        findings.push(of_trap(trap));
    }
    let secret: Vec<(Path, &Node)> = secrets(tree).into_iter().map(|(path, node, _)| (path, node)).collect();
    for (path, node) in &secret {
        if let Some(scalar) = node.scalar()
            && !matches!(scalar.value, Value::String(_))
        {
            let kind = scalar.value.type_name();
            findings.push(Finding {
                reason: format!(
                    "a secret that Helm reads as a {kind}: it is deployed as other characters than were written"
                ),
                fix: "put it in quotes".into(),
                ..finding("secret-not-text", &node.span, Some(path))
            });
        }
    }
    let known: HashSet<*const Node> = secret.iter().map(|(_, node)| std::ptr::from_ref(*node)).collect();
    for (path, node) in tree.leaves() {
        if let Some(scalar) = node.scalar()
            && !known.contains(&std::ptr::from_ref(node))
        {
            of_number(tree, &path, node, scalar, &mut findings);
        }
    }
    of_bytes(bytes, &mut findings);
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

fn finding(id: &'static str, at: &Span, path: Option<&Path>) -> Finding {
    let severity = ALL.iter().find(|(known, _)| *known == id).map_or(Severity::Warning, |(_, severity)| *severity);
    Finding {
        id,
        severity,
        line: at.line,
        column: at.column,
        path: path.cloned(),
        reason: String::new(),
        fix: String::new(),
    }
}

fn of_trap(trap: &Trap) -> Finding {
    match trap {
        Trap::DuplicateKey { path, at, first_line } => Finding {
            reason: format!("the key stands on line {first_line} already: Helm drops what is there and keeps this one"),
            fix: "remove one of the two".into(),
            ..finding("duplicate-key", at, Some(path))
        },
        Trap::OddKey { path, at, becomes } => Finding {
            reason: format!("Helm reads this key as `{becomes}`: without quotes it is no text"),
            fix: "put the key in quotes".into(),
            ..finding("odd-key", at, Some(path))
        },
        Trap::SecondDocument { at } => Finding {
            reason: "a second document begins: helm 3 ignores it, helm 4 lays it over the first".into(),
            fix: "remove the line `---`, or what follows it".into(),
            ..finding("second-document", at, None)
        },
        Trap::IgnoredRest { at } => Finding {
            reason: "text after the end of the document (`...`): Helm ignores it".into(),
            fix: "remove the line `...`, or what follows it".into(),
            ..finding("ignored-rest", at, None)
        },
    }
}

fn of_number(tree: &Tree, path: &Path, node: &Node, scalar: &Scalar, findings: &mut Vec<Finding>) {
    if scalar.style != Style::Plain || scalar.tagged {
        return;
    }
    let raw = tree.raw(node);
    let digits: String = raw.chars().filter(char::is_ascii_digit).collect();
    let becomes = scalar.value.to_json();
    let rounded = match scalar.value {
        // Beyond 2^53 a float no longer holds every whole number.
        Value::Int(number) => number.unsigned_abs() > 1 << 53,
        Value::Uint(_) => true,
        Value::Float(_) => !raw.contains('.') && digits.len() > 6,
        _ => false,
    };
    if rounded {
        findings.push(Finding {
            reason: format!("Helm reads `{raw}` as the number {becomes}"),
            fix: "put it in quotes if it is not a quantity".into(),
            ..finding("number-rounded", &node.span, Some(path))
        });
    } else if matches!(scalar.value, Value::Int(_))
        && digits.len() > 1
        && raw.trim_start_matches(['+', '-']).starts_with('0')
    {
        let hint = if raw.starts_with("0x") || raw.starts_with("0X") { "hexadecimal" } else { "octal or binary" };
        findings.push(Finding {
            reason: format!("Helm reads `{raw}` as {hint}: {becomes}"),
            fix: format!("write {becomes}, or put it in quotes"),
            ..finding("octal", &node.span, Some(path))
        });
    }
}

fn of_bytes(bytes: &[u8], findings: &mut Vec<Finding>) {
    let first = Span { line: 1, column: 1, bytes: 0..0 };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        findings.push(Finding {
            reason: "the file begins with a byte order mark".into(),
            fix: "nothing: Helm skips it".into(),
            ..finding("byte-order-mark", &first, None)
        });
    }
    if let Some(at) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        findings.push(Finding {
            reason: "lines end with a carriage return, as on Windows".into(),
            fix: "nothing: Helm reads them as plain line ends".into(),
            ..finding("carriage-return", &Span { line, ..first.clone() }, None)
        });
    }
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        findings.push(Finding {
            reason: "the last line has no end: helm 4 loses such a line when its length is a multiple of 4096".into(),
            fix: "nothing: dr ends it when it hands the file to helm; the vault keeps the bytes as they are".into(),
            ..finding("no-final-newline", &Span { line, ..first }, None)
        });
    }
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
        let yaml = b"env:\n  OPSCHAIN_PRIMARY_KEY: 12345678901234567890123456789012\n  PGPASSWORD: \"123\"\n";
        assert_eq!(found(yaml), ["2:25 secret-not-text env.OPSCHAIN_PRIMARY_KEY"]);
        let all = lint(&Tree::parse(yaml).unwrap(), yaml);
        assert_eq!(all[0].severity, Severity::Error);
        assert!(!format!("{all:?}").contains("1234"), "a finding quotes a secret");
    }

    #[test]
    fn each_trap_is_found_at_its_place() {
        assert_eq!(found(b"a: 1\na: 2\n"), ["2:1 duplicate-key a"]);
        assert_eq!(found(b"a: 1\n---\nb: 2\n"), ["2:1 second-document "]);
        assert_eq!(found(b"a: 1\n...\nb: 2\n"), ["3:1 ignored-rest "]);
        assert_eq!(found(b"a:\n  on: x\n"), ["2:3 odd-key a.true"]);
        assert_eq!(
            found(b"mode: 0755\nid: 123456789012345678901\nok: 10\nzero: 0\nhalf: 0.5\n"),
            ["1:7 octal mode", "2:5 number-rounded id"]
        );
        assert_eq!(
            found(b"\xef\xbb\xbfa: 1\r\nb: 2"),
            ["1:1 byte-order-mark ", "1:1 carriage-return ", "2:1 no-final-newline "]
        );
        assert_eq!(found(b"a: 1\nversion: 2026.8.20\n"), Vec::<String>::new());
    }

    #[test]
    fn every_finding_has_a_listed_id() {
        let yaml = b"a: 1\na: 2\non: 0755\nPGPASSWORD: 1\nx: 99999999999999999\n---\nb: 1\n...\nc";
        for finding in lint(&Tree::parse(yaml).unwrap(), yaml) {
            assert!(
                ALL.iter().any(|(id, severity)| *id == finding.id && *severity == finding.severity),
                "{}",
                finding.id
            );
        }
    }
}
