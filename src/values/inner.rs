//! Secrets inside of longer texts: passwords in addresses, assignments, headers, embedded documents.

use std::ops::Range;

use zeroize::Zeroizing;

use super::forms;
use super::name::is_secret_name;
use super::path::Path;
use super::resolve::Value;
use super::secret::{secrets, why_secret};
use super::tree::Tree;

/// Longer texts are files; nobody embeds a document of that size in one value.
const LONGEST_DOCUMENT: usize = 64 * 1024;

/// A secret inside of a text, and the name that it has there.
pub(super) type Inner = (Option<String>, Zeroizing<Vec<u8>>);

/// The secrets that a text holds beside other things. Empty for a text that is one secret as a whole, and for one that
/// is none.
pub(super) fn inner_secrets(text: &str) -> Vec<Inner> {
    let mut found = Vec::new();
    of_addresses(text, &mut found);
    of_assignments(text, &mut found);
    of_headers(text, &mut found);
    of_lines(text, &mut found);
    of_document(text, &mut found);
    found
}

fn push(found: &mut Vec<Inner>, name: Option<&str>, secret: &str) {
    if !secret.is_empty() && !is_reference(secret) {
        found.push((name.map(str::to_owned), Zeroizing::new(secret.as_bytes().to_vec())));
    }
}

/// `$(PGPASSWORD)`, `${TOKEN}`, `{{ .Values.x }}`, `<your token>`: it says where the secret is.
fn is_reference(text: &str) -> bool {
    ["$", "{{", "<"].iter().any(|begin| text.starts_with(begin))
}

/// `scheme://user:password@host`, as it stands and with its percent codes resolved.
fn of_addresses(text: &str, found: &mut Vec<Inner>) {
    for (at, _) in text.match_indices("://") {
        let Some(password) = password_of(&text[at + 3..]) else { continue };
        push(found, None, password);
        let decoded = forms::percent_decode(password);
        if decoded != password.as_bytes() && !is_reference(password) {
            found.push((None, Zeroizing::new(decoded)));
        }
    }
}

/// The password of the authority that `rest` begins with.
fn password_of(rest: &str) -> Option<&str> {
    let authority = &rest[..rest.find(['/', '?', '#', ' ', '\n', '"', '\'', ',']).unwrap_or(rest.len())];
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

/// `PASSWORD=...` wherever it stands: in a file of variables, a connection string, an argument, a query.
fn of_assignments(text: &str, found: &mut Vec<Inner>) {
    for (at, _) in text.match_indices('=') {
        let name = name_before(text, at).trim_start_matches('-');
        if !is_secret_name(name) {
            continue;
        }
        let value = text[at + 1..].trim_start_matches([' ', '\t']);
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or(""),
            _ => value.split([' ', '\t', '\n', '\r', ';', '&', ',', '"', '\'']).next().unwrap_or(""),
        };
        // Padding at the end of base64 is no assignment.
        if !value.trim_matches('=').is_empty() {
            push(found, Some(name), value);
        }
    }
}

/// The word that stands before a sign at `at`, in quotes or not.
fn name_before(text: &str, at: usize) -> &str {
    let before = text[..at].trim_end_matches([' ', '\t', '"', '\'']);
    let begins = before
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    &before[begins..]
}

/// What of a line that is to be shown is secret, in order: what stands behind a name that holds secrets (`password=x`,
/// `apiToken: x`), and words that look like a secret. More than [`inner_secrets`] takes for certain: a mask too many in
/// a line costs a glance, one too many to hunt for costs every text.
pub(super) fn secret_spans(line: &str) -> Vec<Range<usize>> {
    let mut spans = named(line);
    for (start, word) in words(line) {
        let given = spans.iter().any(|span| span.contains(&start));
        let value = Value::String(word.to_owned());
        if !given && word.len() >= 8 && why_secret(&Path::root(), None, &value).is_some() {
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

/// Where a line gives a value to a name that holds secrets.
fn named(line: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut next = 0;
    while let Some(at) = line[next..].find(['=', ':']).map(|at| next + at) {
        next = at + 1;
        if !is_secret_name(name_before(line, at)) {
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
        if length > 0 && !value.starts_with('•') {
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

/// `Bearer ...`, and `Basic ...` with the password in it.
fn of_headers(text: &str, found: &mut Vec<Inner>) {
    if !text.contains(' ') {
        return;
    }
    for scheme in ["Bearer ", "Basic ", "bearer ", "basic "] {
        for (at, _) in text.match_indices(scheme) {
            let token = text[at + scheme.len()..].split([' ', '\n', '"', '\'', ',']).next().unwrap_or("");
            if token.len() < 8 || !token.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
                continue;
            }
            push(found, None, token);
            if let Some(inside) = forms::unpacked(token).filter(|_| scheme.eq_ignore_ascii_case("basic "))
                && let Some((_, password)) = std::str::from_utf8(&inside).ok().and_then(|text| text.split_once(':'))
            {
                push(found, None, password);
            }
        }
    }
}

/// Lines of two words, the first of which names a secret (`HTTP_Passwd x`), and a netrc's `password x`.
fn of_lines(text: &str, found: &mut Vec<Inner>) {
    let netrc = text.contains("machine ") && text.contains("login ");
    if !netrc && !text.contains('\n') {
        return;
    }
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [name, value] = words.as_slice()
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
            && is_secret_name(name)
        {
            push(found, Some(name), value);
        }
        if netrc && let Some(at) = words.iter().position(|word| *word == "password") {
            push(found, Some("password"), words.get(at + 1).unwrap_or(&""));
        }
    }
}

/// JSON or YAML as a text: its own secrets.
fn of_document(text: &str, found: &mut Vec<Inner>) {
    let trimmed = text.trim();
    let json = trimmed.starts_with(['{', '[']);
    if trimmed.len() > LONGEST_DOCUMENT || !(json || (trimmed.contains('\n') && trimmed.contains(": "))) {
        return;
    }
    // Only a map is a document of its own here; a list is put into one.
    let tree = match trimmed.starts_with('[') || trimmed.starts_with("- ") {
        true => Tree::parse(format!("list:\n  {}\n", trimmed.replace('\n', "\n  ")).as_bytes()),
        false => Tree::parse(trimmed.as_bytes()),
    };
    let Ok(tree) = tree else { return };
    for (path, node, _) in secrets(&tree) {
        if let Some(scalar) = node.scalar() {
            push(found, path.keys().next_back(), &scalar.value.text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        inner_secrets(text).iter().map(|(_, secret)| String::from_utf8_lossy(secret).into_owned()).collect()
    }

    #[test]
    fn secrets_are_found_in_addresses_assignments_headers_and_documents() {
        assert_eq!(of("postgres://u:p%40ss@h/d,amqp://v:other@i"), ["p%40ss", "p@ss", "other"]);
        assert_eq!(of("host=db user=u password='two words' sslmode=require"), ["two words"]);
        assert_eq!(of("Server=x;Password=abc;Database=y"), ["abc"]);
        assert_eq!(of("https://h/p?a=1&access_token=zzz&b=2"), ["zzz"]);
        assert_eq!(of("--api-key=k1 --verbose"), ["k1"]);
        assert_eq!(of("export API_TOKEN=\"t0k en\""), ["t0k en"]);
        assert_eq!(of("Authorization: Bearer abc123XYZ9"), ["abc123XYZ9"]);
        assert_eq!(of("Basic dTpodW50ZXIyMg=="), ["dTpodW50ZXIyMg==", "hunter22"]);
        assert_eq!(of("{\"auths\":{\"r\":{\"username\":\"u\",\"password\":\"pw1\"}}}"), ["pw1"]);
        assert_eq!(of("[{\"token\": \"t1\"}]"), ["t1"]);
        assert_eq!(of("user: u\nnested:\n  dbPassword: pw2\n"), ["pw2"]);
        assert_eq!(of("- name: a\n  password: pw4\n"), ["pw4"]);
        assert_eq!(of("[OUTPUT]\n  Name http\n  HTTP_Passwd pw3\n"), ["pw3"]);
        assert_eq!(of("machine h login l password pw5"), ["pw5"]);
    }

    #[test]
    fn a_line_shows_all_but_its_secrets() {
        let of = |line: &str| secret_spans(line).into_iter().map(|span| line[span].to_owned()).collect::<Vec<_>>();
        assert_eq!(of("run --password=hunter22 --port=1 'api-key': \"x y\" # ß"), ["--password=hunter22", "\"x y\""]);
        assert_eq!(of("dbPassword: two words "), ["two words"]);
        assert_eq!(of("use (k6yKf2JgkG4HOapQijZR548EyeALMUM8), ü"), ["k6yKf2JgkG4HOapQijZR548EyeALMUM8"]);
        assert_eq!(of("at token=kNWWmhUHAqxhksXOmYUXPdYI now"), ["token=kNWWmhUHAqxhksXOmYUXPdYI"], "no overlap");
        assert_eq!(of("host: a.b, port=1, https://h:1/p?q=2"), Vec::<String>::new());
    }

    #[test]
    fn what_only_points_at_a_secret_is_none() {
        for harmless in [
            "password=$(PGPASSWORD) token=${TOKEN}",
            "https://opschain.example.com:3443/gui?tab=1",
            "secretName=x keyFile=/etc/key",
            "basic usage of bearer tokens",
            "one: 1\ntwo: 2\n",
            "aGVsbG8ga2V5cw==",
            "dc=opschain,dc=io",
        ] {
            assert_eq!(of(harmless), Vec::<String>::new(), "{harmless}");
        }
    }
}
