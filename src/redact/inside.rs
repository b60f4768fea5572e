//! Secrets inside of longer texts: passwords in addresses, assignments, headers, lines of two words. What a
//! document holds is found where trees are known, in [`super::secret`].

use zeroize::Zeroizing;

use super::forms;
use super::name::is_secret_name;

/// A secret inside of a text, and the name that it has there.
pub(super) type Embedded = (Option<String>, Zeroizing<Vec<u8>>);

/// The secrets that a text holds beside other things, as a text: it is not read as a document.
pub(super) fn of_text(text: &str) -> Vec<Embedded> {
    let mut found = Vec::new();
    of_addresses(text, &mut found);
    of_assignments(text, &mut found);
    of_headers(text, &mut found);
    of_lines(text, &mut found);
    found
}

pub(super) fn push(found: &mut Vec<Embedded>, name: Option<&str>, secret: &str) {
    if !secret.is_empty() && !is_reference(secret) {
        found.push((name.map(str::to_owned), Zeroizing::new(secret.as_bytes().to_vec())));
    }
}

/// `$(PGPASSWORD)`, `${TOKEN}`, `{{ .Values.x }}`, `<your token>`: it says where the secret is.
fn is_reference(text: &str) -> bool {
    ["$", "{{", "<"].iter().any(|begin| text.starts_with(begin))
}

/// `scheme://user:password@host`, as it stands and with its percent codes resolved.
fn of_addresses(text: &str, found: &mut Vec<Embedded>) {
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
fn of_assignments(text: &str, found: &mut Vec<Embedded>) {
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
pub(super) fn name_before(text: &str, at: usize) -> &str {
    let before = text[..at].trim_end_matches([' ', '\t', '"', '\'']);
    let begins = before
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    &before[begins..]
}

/// `Bearer ...`, and `Basic ...` with the password in it.
fn of_headers(text: &str, found: &mut Vec<Embedded>) {
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
fn of_lines(text: &str, found: &mut Vec<Embedded>) {
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
