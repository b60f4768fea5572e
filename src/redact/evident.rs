//! Secrets that nobody has registered and that any text gives away: passwords in addresses, private keys of age, bearer
//! tokens. Other programs quote them in their errors: helm its repositories, a proxy its request, an API server a header.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::bytes::{Captures, Regex};

use super::fingerprint::MASK;
use super::tokens::tokens;
use super::urls;

/// One alternative a kind; what its group holds is secret, the rest is what it is known by. A password with a slash is no
/// legal address and is quoted all the same; digits before a slash are a port.
const KINDS: &str = r#"(?x-u)
    :// [^\s/?\#"'<>:@\[]* : ( [^\s/?\#"'<>]+ | [^\s/?\#"'<>]*[^\s/?\#"'<>0-9][^\s/?\#"'<>]*[/?\#][^\s"'<>]* ) @
  | :// ( [^\s/?\#"'<>:@\[]{20,} ) @
  | ( (?i:AGE-SECRET-KEY-(?:PQ-)?1)[0-9A-Za-z]{8,} )
  | (?i:bearer)\s+ ( [A-Za-z0-9._~+/=-]{20,} )
  | (?i:authorization:\s*basic)\s+ ( [A-Za-z0-9+/=]{4,} )
  | ( eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+ )"#;

/// Compiled when first used: most commands end before.
#[derive(Default)]
pub(super) struct EvidentSecrets(OnceLock<Option<Regex>>);

impl EvidentSecrets {
    pub(super) fn mask<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        // The pattern is a constant that the tests compile.
        let Some(kinds) = self.0.get_or_init(|| Regex::new(KINDS).ok()) else { return Cow::Borrowed(text) };
        let masked = kinds.replace_all(text, |found: &Captures<'_>| {
            let (Some(whole), Some(secret)) = (found.get(0), found.iter().skip(1).flatten().next()) else {
                return Vec::new();
            };
            let before = &text[whole.start()..secret.start()];
            [before, MASK.as_bytes(), &text[secret.end()..whole.end()]].concat()
        });
        match mask_tokens(&masked) {
            Some(without) => Cow::Owned(without),
            None => masked,
        }
    }
}

/// The text without the tokens of well-known makers and the secret parts of addresses; `None` where there are none.
fn mask_tokens(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut spans = tokens(text);
    for (at, _) in text.match_indices("://") {
        let part = |secret: &str| secret.as_ptr() as usize - text.as_ptr() as usize;
        spans
            .extend(urls::secrets(&text[at + 3..]).into_iter().map(|secret| part(secret)..part(secret) + secret.len()));
    }
    spans.retain(|span| !text[span.clone()].starts_with(MASK));
    spans.sort_unstable_by_key(|span| span.start);
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for span in spans.iter().filter(|span| span.start < span.end) {
        if span.start >= at {
            out.extend_from_slice(&text.as_bytes()[at..span.start]);
            out.extend_from_slice(MASK.as_bytes());
        }
        at = at.max(span.end);
    }
    out.extend_from_slice(&text.as_bytes()[at..]);
    (!spans.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        String::from_utf8(EvidentSecrets::default().mask(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn addresses_lose_their_password_and_nothing_else() {
        for (text, shown) in [
            ("Get \"https://me:p%40ss@h:1/x\": EOF", "Get \"https://me:M@h:1/x\": EOF"),
            ("oci://u:a@b@h/c", "oci://u:M@h/c"),
            ("parse \"https://u:p/w?x@h/c\": invalid port", "parse \"https://u:M@h/c\": invalid port"),
            ("https://:only@h", "https://:M@h"),
            ("https://ghp_0123456789abcdef0123@h/r.git", "https://M@h/r.git"),
            ("{\\\"proxy\\\":\\\"http://u:pw@h\\\"}", "{\\\"proxy\\\":\\\"http://u:M@h\\\"}"),
            ("a postgres://u:one@h b redis://:two@i", "a postgres://u:M@h b redis://:M@i"),
        ] {
            assert_eq!(masked(text), shown.replace('M', MASK), "{text}");
        }
        for harmless in [
            "oci://host:5000/chart@sha256:00",
            "https://[::1]:443/x@y",
            "ssh://git@host/r.git",
            "https://h:1/p?mail=a@b",
            "a://b c:d@e",
        ] {
            assert_eq!(masked(harmless), harmless);
        }
    }

    #[test]
    fn keys_of_age_and_tokens_are_masked_wherever_they_stand() {
        for secret in [
            "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQ",
            "AGE-SECRET-KEY-PQ-1QQQQQQQQQQQQQQQQQQQQQQQQQ",
            "age-secret-key-1qqqqqqqqqqqqqqq",
            "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl-_x",
        ] {
            assert_eq!(masked(&format!("x=\"{secret}\"\\n")), format!("x=\"{MASK}\"\\n"));
        }
        assert_eq!(masked("Authorization: Bearer abcdefghij0123456789"), format!("Authorization: Bearer {MASK}"));
        assert_eq!(masked("authorization: Basic dTpw"), format!("authorization: Basic {MASK}"));
        for harmless in ["no age identity (AGE-SECRET-KEY-1...)", "the bearer of this", "Basic usage"] {
            assert_eq!(masked(harmless), harmless);
        }
    }

    #[test]
    fn what_was_masked_stays_as_it_is() {
        let once = masked("https://u:pw@h AGE-SECRET-KEY-1QQQQQQQQQQQQ");
        assert_eq!(masked(&once), once);
    }
}
