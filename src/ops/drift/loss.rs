//! What helm cannot hold of a values file: it computes with 64-bit floats, and helm 3 reads the first document only.

use crate::ops::objects::{Act, Field};
use crate::redact::is_secret;
use crate::values::{Scrubber, Tree, Value};
use crate::yaml::{NodeKind, Style};

/// A number as it is written, where the float that helm makes of it is another number.
pub(super) fn rounded(tree: &Tree, scrubber: &Scrubber) -> Vec<Field> {
    let mut fields = Vec::new();
    for (path, node) in tree.leaves() {
        let NodeKind::Scalar(scalar) = &node.kind else { continue };
        let raw = tree.raw(node).trim();
        if scalar.style != Style::Plain || !is_rounded(&scalar.value, raw) {
            continue;
        }
        let secret = is_secret(&path, None, &scalar.value);
        let shown = |text: &str| -> serde_json::Value {
            if secret { scrubber.mask(text.as_bytes()).into() } else { text.into() }
        };
        let (old, new) = (Some(shown(raw)), Some(shown(&scalar.value.text())));
        fields.push(Field { path, what: Act::Changed, old, new });
    }
    fields
}

fn is_rounded(value: &Value, raw: &str) -> bool {
    match value {
        Value::Int(number) => *number as f64 as i128 != i128::from(*number),
        Value::Uint(number) => *number as f64 as u128 != u128::from(*number),
        // A whole number too long for 64 bits; one written with a point or an exponent is meant as a float.
        Value::Float(number) => {
            let digits: String = raw.chars().filter(|c| !matches!(c, '_' | '+')).collect();
            let whole = digits.trim_start_matches('-').chars().all(|c| c.is_ascii_digit()) && digits.len() > 15;
            whole && format!("{number:.0}") != digits.trim_start_matches('0')
        }
        _ => false,
    }
}

/// Why helm may have read something else from a file than `dr` reads, where `dr` itself deployed it.
pub(super) fn read_otherwise(second_document: bool, helm_major: u64) -> &'static str {
    match (second_document, helm_major) {
        (true, 3) => "the file has a second document, which helm 3 ignores",
        (true, _) => "the file has a second document; helm 3 ignores it, helm 4 lays it over the first",
        (false, _) => "the stored values are not those of the file that was recorded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_floats_cannot_hold_are_named_and_no_others() {
        let yaml = "env:\n  PGPASSWORD: 12345678901234567890123456789012\n  a: 9007199254740993\n  b: 9007199254740992\n  c: 1.5\n  d: \"9007199254740993\"\n  e: 18446744073709551615\n  f: 1e400\n  g: 100000000000000000000\n  h: 15.20\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let scrubber = crate::ops::objects::comparing_scrubber(None).unwrap();
        let found = rounded(&tree, &scrubber);
        let paths: Vec<String> = found.iter().map(|field| field.path.to_string()).collect();
        assert_eq!(paths, ["env.PGPASSWORD", "env.a", "env.e"]);
        assert!(found[0].old.as_ref().unwrap().as_str().unwrap().starts_with("••••"), "a secret stays masked");
        assert_eq!(found[1].old, Some("9007199254740993".into()));
    }
}
