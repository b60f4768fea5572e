//! What of one line is secret, when the line is to be shown.

use std::ops::Range;

use super::fingerprint::MASK;
use super::inside::name_before;
use super::name::is_secret_name;
use super::place::{is_digest, is_key_of_entry, is_method};
use super::secret::why_secret;
use crate::yaml::{Path, Value};

/// What of a line that is to be shown is secret, in order: what stands behind a name that holds secrets (`password=x`,
/// `apiToken: x`), and words that look like a secret. More than [`super::secret::inner_secrets`] takes for certain: a mask too many in
/// a line costs a glance, one too many to hunt for costs every text.
pub fn secret_spans(line: &str) -> Vec<Range<usize>> {
    let mut spans = named(line);
    for (start, word) in words(line) {
        let given = spans.iter().any(|span| span.contains(&start));
        let value = Value::String(word.to_owned());
        if !given
            && word.len() >= 8
            && !is_digest(name_of(line, start), word)
            && why_secret(&Path::root(), None, &value).is_some()
        {
            spans.push(start..start + word.len());
        }
    }
    spans.sort_unstable_by_key(|span| span.start);
    // A word may begin before the value that it ends with.
    let mut apart: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match apart.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => apart.push(span),
        }
    }
    apart
}

/// What stands before a word, as its name: `commit: x`, `"sha256": "x"`, `revision x`.
fn name_of(line: &str, at: usize) -> &str {
    let before = line[..at].trim_end_matches([' ', '\t', '"', '\'', ':', '=', '(']);
    name_before(before, before.len())
}

/// What a person has said, without what it gives to names that hold secrets: it is kept where nothing can be taken out again.
pub fn without_named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut shown = 0;
        for span in named(line.trim_end_matches(['\r', '\n'])) {
            out.push_str(&line[shown..span.start]);
            out.push_str(MASK);
            shown = span.end;
        }
        out.push_str(&line[shown..]);
    }
    out
}

/// Where a line gives a value to a name that holds secrets.
fn named(line: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut next = 0;
    while let Some(at) = line[next..].find(['=', ':']).map(|at| next + at) {
        next = at + 1;
        let name = name_before(line, at);
        if !is_secret_name(name) {
            continue;
        }
        let rest = &line[next..];
        let start = next + rest.len() - rest.trim_start().len();
        let value = &line[start..];
        let length = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
            _ if line[at..].starts_with('=') => value.find([' ', '\t', '&', ';', ',']).unwrap_or(value.len()),
            _ => value.trim_end().len(),
        };
        // `tlsKey: tls.key` says where a secret stands.
        let said = value[..length].trim_matches(['"', '\'']);
        let is_plain = is_method(name, said) || is_key_of_entry(name, said);
        if length > 0 && !value.starts_with('•') && !is_plain {
            spans.push(start..start + length);
        }
        next = next.max(start + length);
    }
    spans
}

fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let splits = |c: char| c.is_whitespace() || "\"'`,;()[]{}<>".contains(c);
    let mut at = 0;
    line.split(splits).filter_map(move |word| {
        let start = at;
        // Every character that parts words is known to be one byte, or white space of its own length.
        at = start + word.len() + line[start + word.len()..].chars().next().map_or(0, char::len_utf8);
        (!word.is_empty()).then_some((start, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sentence_gives_to_a_name_that_holds_secrets_is_masked_and_all_else_stays() {
        for (said, kept) in [
            ("PGPASSWORD=zebra-other-99 was wrong", "PGPASSWORD=§ was wrong"),
            ("one\npassword: hunter44xyz\r\ntwo", "one\npassword: §\r\ntwo"),
            ("OPSCHAIN_PRIMARY_KEY=0123456789abcdef, and the API", "OPSCHAIN_PRIMARY_KEY=§, and the API"),
            ("the new limits were too small: api.replicas=3", "the new limits were too small: api.replicas=3"),
            ("", ""),
        ] {
            assert_eq!(without_named(said), kept.replace('§', MASK), "{said}");
        }
    }

    #[test]
    fn a_line_shows_all_but_its_secrets() {
        let of = |line: &str| secret_spans(line).into_iter().map(|span| line[span].to_owned()).collect::<Vec<_>>();
        assert_eq!(of("run --password=hunter22 --port=1 'api-key': \"x y\" # ß"), ["--password=hunter22", "\"x y\""]);
        assert_eq!(of("dbPassword: two words "), ["two words"]);
        assert_eq!(of("use (k6yKf2JgkG4HOapQijZR548EyeALMUM8), ü"), ["k6yKf2JgkG4HOapQijZR548EyeALMUM8"]);
        assert_eq!(of("at token=kNWWmhUHAqxhksXOmYUXPdYI now"), ["token=kNWWmhUHAqxhksXOmYUXPdYI"], "no overlap");
        for harmless in [
            "commit: 9fceb02d0ae598e95dc970b74767f19372d61af8",
            "{image: {tag: '9fceb02d0ae598e95dc970b74767f19372d61af8'}}",
            "\"checksum\": \"d41d8cd98f00b204e9800998ecf8427e\",",
            "git checkout --revision=9fceb02d0ae598e95dc970b74767f19372d61af8",
            "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
            "tlsKey: tls.key",
            "auth: scram-sha-256",
        ] {
            assert_eq!(of(harmless), Vec::<String>::new(), "{harmless}");
        }
        for secret in [
            "key 9fceb02d0ae598e95dc970b74767f19372d61af8",
            "9fceb02d0ae598e95dc970b74767f19372d61af8",
            "commit: 9fceb02d0ae598e95dc970b74767f19372d61af8a1",
            "tlsKey: Sx1nyTrjQ9",
            "routing_key: abcdefghij",
        ] {
            assert_eq!(of(secret).len(), 1, "{secret}");
        }
        assert_eq!(of("host: a.b, port=1, https://h:1/p?q=2"), Vec::<String>::new());
    }
}
