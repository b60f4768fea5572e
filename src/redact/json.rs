//! Masking inside of JSON: each text and each number for itself, so that what comes out is JSON again.

use std::borrow::Cow;

/// A JSON text with every secret masked that `scrub` finds. Strings are masked as what they say, not as they are escaped,
/// and stay strings; a number that is a secret becomes a string.
pub(super) fn scrub_json<'t>(json: &'t str, scrub: impl for<'s> Fn(&'s str) -> Cow<'s, str>) -> Cow<'t, str> {
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(length) = token(&json[at..]) {
        let text = &json[at..at + length];
        if let Some(masked) = masked_token(text, &scrub) {
            out.push_str(&json[copied..at]);
            out.push_str(&masked);
            copied = at + length;
        }
        at += length;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

fn masked_token(token: &str, scrub: impl for<'s> Fn(&'s str) -> Cow<'s, str>) -> Option<String> {
    let said: Cow<'_, str> = match token.as_bytes().first()? {
        b'"' => match serde_json::from_str::<String>(token) {
            Ok(text) => Cow::Owned(text),
            // Not JSON after all; better a mask too many.
            Err(_) => Cow::Borrowed(token),
        },
        byte if byte.is_ascii_digit() || *byte == b'-' => Cow::Borrowed(token),
        _ => return None,
    };
    match scrub(&said) {
        Cow::Owned(masked) => Some(serde_json::Value::from(masked).to_string()),
        Cow::Borrowed(_) => None,
    }
}

/// The length of what comes next: a string, a run of other characters that belong together, or one sign.
fn token(json: &str) -> Option<usize> {
    let bytes = json.as_bytes();
    let first = *bytes.first()?;
    if first == b'"' {
        let mut at = 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => at += 2,
                b'"' => return Some(at + 1),
                _ => at += 1,
            }
        }
        return Some(bytes.len());
    }
    let word = |byte: &u8| !matches!(byte, b'"' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b' ' | b'\n' | b'\t');
    Some(bytes.iter().take_while(|byte| word(byte)).count().max(1))
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::MASK;
    use super::super::redactor::Secrets;
    use super::*;

    fn knowing(secrets: &[&str]) -> Secrets {
        let all = Secrets::default();
        secrets.iter().for_each(|secret| all.register(secret.as_bytes()));
        all
    }

    #[test]
    fn strings_and_numbers_are_masked_and_the_rest_stays_json() {
        let secrets = ["a\"b\\c\nlonger", "12345678", "\", \"x\": \"", "ünïcode"];
        let value = serde_json::json!({
            "text": format!("before {} after", secrets[0]), "number": 12345678, "plain": [1, true, null, "fine"],
            "odd": secrets[2], "a key with ünïcode": secrets[3], "nested": "{\"n\":12345678}",
        });
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let masked: serde_json::Value = serde_json::from_str(&knowing(&secrets).scrub_json(&text)).unwrap();
            assert_eq!(masked["text"], format!("before {MASK} after"));
            assert_eq!(masked["number"], MASK);
            assert_eq!(masked["plain"], value["plain"]);
            assert_eq!(masked["odd"], MASK);
            assert_eq!(masked[format!("a key with {MASK}")], MASK);
            assert_eq!(masked["nested"], format!("{{\"n\":{MASK}}}"));
        }
    }

    #[test]
    fn without_a_secret_in_it_nothing_is_copied() {
        let text = r#"{"a": "b\u00e9", "c": [1.5e3, -2]}"#;
        assert!(matches!(knowing(&["somethingelse"]).scrub_json(text), Cow::Borrowed(_)));
        assert!(matches!(Secrets::default().scrub_json(text), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_no_json_is_masked_all_the_same() {
        let masked = knowing(&["hunter2secret"]).scrub_json("{\"cut off: hunter2secret").into_owned();
        assert!(!masked.contains("hunter2"), "{masked}");
    }
}
