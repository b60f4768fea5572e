//! Secrets that nobody has registered and that any text gives away: passwords in addresses, signatures in queries, private
//! keys of age, headers that let somebody in. Other programs quote them in their errors: helm its repositories, a proxy its
//! request, an API server a header.

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
  | (?i:\b(?:proxy-)?authorization:)\s* (?i:(?:api-?|bot\s)?(?:token|key|apikey|splunk|sso-key)\s+)? ( [A-Za-z0-9._~+/=:-]{12,} )
  | (?i:\b(?:set-)?cookie:)\s* ( [^\r\n"'\xe2]{4,} )
  | (?i:\b(?:x-[a-z-]*(?:token|key|secret|signature|password|auth)|private-token|job-token|api-?key):)\s* ( [^\s"',;\xe2]{6,} )
  | (?i:(?:^|[?&;,\s"'-])
      (?: sig | signature | x-(?:amz|goog)-(?:signature|security-token) | (?:account|shared-?access)key | sharedaccesssignature
        | password | passwd | pwd | client_?secret | secret_?key | api_?key | access_?key | (?:access|refresh|id|auth)_?token )
      =) ( [^\s&;,"'<>$\xe2]{6,} )
  | (?i:" (?: password | passwd | client_?secret | secret_?key | api_?key | (?:access|refresh|id|auth)_?token ) ")\s*:\s*" ( [^"\xe2]{4,} ) "
  | (?i:\b(?:password|identified\s+by)\s+(?:values\s+|password\s+)?[en]?)' ( (?:[^'\xe2]|'')+ ) '
  | -----BEGIN\ [A-Z0-9\ ]*PRIVATE\ KEY(?:\ BLOCK)?----- ( (?s:.{8,}?) ) (?: -----END | \z )
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
        for (begin, end) in [
            ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----", ""),
        ] {
            assert_eq!(masked(&format!("in {begin}\nMIIEvQ\nIBADAN\n{end}")), format!("in {begin}{MASK}{end}"));
        }
        assert_eq!(masked("Authorization: Bearer abcdefghij0123456789"), format!("Authorization: Bearer {MASK}"));
        assert_eq!(masked("authorization: Basic dTpw"), format!("authorization: Basic {MASK}"));
        for harmless in ["no age identity (AGE-SECRET-KEY-1...)", "the bearer of this", "Basic usage"] {
            assert_eq!(masked(harmless), harmless);
        }
    }

    #[test]
    fn headers_and_queries_that_let_somebody_in_are_masked() {
        for (text, shown) in [
            ("Authorization: Token abcdefgh0123", "Authorization: Token M"),
            ("-H 'Authorization: abcdefgh0123456'", "-H 'Authorization: M'"),
            ("Cookie: sid=abc; theme=dark\nHost: h", "Cookie: M\nHost: h"),
            ("set-cookie: _gitlab_session=0123abcd", "set-cookie: M"),
            ("'X-Vault-Token: hunter22'", "'X-Vault-Token: M'"),
            ("X-API-Key: hunter22, Accept: */*", "X-API-Key: M, Accept: */*"),
            ("PRIVATE-TOKEN: hunter22", "PRIVATE-TOKEN: M"),
            (
                "GET https://a.blob.core.windows.net/c?sv=1&sig=aB%2Fc0123: 403",
                "GET https://a.blob.core.windows.net/c?sv=1&sig=M 403",
            ),
            ("https://h/k?X-Amz-Expires=60&X-Amz-Signature=00112233", "https://h/k?X-Amz-Expires=60&X-Amz-Signature=M"),
            ("DefaultEndpointsProtocol=https;AccountKey=abcdef==;x", "DefaultEndpointsProtocol=https;AccountKey=M;x"),
            ("ERROR: ALTER ROLE \"u\" PASSWORD 'hunter22' failed", "ERROR: ALTER ROLE \"u\" PASSWORD 'M' failed"),
            ("near 'x' IDENTIFIED BY 'it''s'", "near 'x' IDENTIFIED BY 'M'"),
            ("connect host=db user=u password=hunter22 failed", "connect host=db user=u password=M failed"),
            ("{\"username\":\"u\",\"password\":\"hunter22\"}", "{\"username\":\"u\",\"password\":\"M\"}"),
        ] {
            assert_eq!(masked(text), shown.replace('M', MASK), "{text}");
            assert_eq!(masked(&masked(text)), masked(text));
        }
        for harmless in [
            "password authentication failed for user \"opschain\"",
            "Authorization: required",
            "FATAL: password: authentication failed",
            "--password=$PGPASSWORD",
            "Cookie: ",
            "the field \"password\": is missing",
        ] {
            assert_eq!(masked(harmless), harmless);
        }
    }

    #[test]
    fn what_was_masked_stays_as_it_is() {
        let once = masked("https://u:pw@h AGE-SECRET-KEY-1QQQQQQQQQQQQ");
        assert_eq!(masked(&once), once);
    }
}
