//! Secrets inside of longer texts: passwords in addresses, assignments, headers, lines of two words. What a
//! document holds is found where trees are known, in [`super::secret`].

use zeroize::Zeroizing;

use super::forms;
use super::name::is_secret_name;
use super::tokens::tokens;
use super::urls;

/// A secret inside of a text, and the name that it has there.
pub(super) type Embedded = (Option<String>, Zeroizing<Vec<u8>>);

/// The secrets that a text holds beside other things, as a text: it is not read as a document.
pub(super) fn of_text(text: &str) -> Vec<Embedded> {
    let mut found = Vec::new();
    of_addresses(text, &mut found);
    of_assignments(text, &mut found);
    of_headers(text, &mut found);
    of_markup(text, &mut found);
    of_lines(text, &mut found);
    of_flags(text, &mut found);
    for token in tokens(text) {
        push(&mut found, None, &text[token]);
    }
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

/// `curl -u me:password`, and Oracle's `user/password@host`.
fn of_flags(text: &str, found: &mut Vec<Embedded>) {
    for flag in [" -u ", " --user ", " --proxy-user "] {
        for (at, _) in text.match_indices(flag) {
            let word = text[at + flag.len()..].split_whitespace().next().unwrap_or("").trim_matches(['"', '\'']);
            if let Some((_, password)) = word.split_once(':') {
                push(found, Some("password"), password);
            }
        }
    }
    for (at, begin) in text.match_indices("jdbc:oracle:thin:") {
        let login = text[at + begin.len()..].split('@').next().unwrap_or("");
        if let Some((_, password)) = login.split_once('/') {
            push(found, Some("password"), password);
        }
    }
}

/// What of an address is secret, as it stands and with its percent codes resolved.
fn of_addresses(text: &str, found: &mut Vec<Embedded>) {
    for (at, _) in text.match_indices("://") {
        for secret in urls::secrets(&text[at + 3..]) {
            push(found, None, secret);
            let decoded = forms::percent_decode(secret);
            if decoded != secret.as_bytes() && !is_reference(secret) {
                found.push((None, Zeroizing::new(decoded)));
            }
        }
    }
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
    // `X-Api-Key: x`, `Cookie: a=b; c=d`: names of headers have a hyphen, or are known.
    for (at, _) in text.match_indices(": ") {
        let name = name_before(text, at);
        let known = ["cookie", "set-cookie", "authorization"].iter().any(|known| name.eq_ignore_ascii_case(known));
        if known || (name.contains('-') && is_secret_name(name)) {
            let value = text[at + 2..].split(['\n', '\r', '"', '\'']).next().unwrap_or("");
            // These two are looked at below, with what is in them.
            if !["bearer ", "basic "].iter().any(|scheme| value.to_ascii_lowercase().starts_with(scheme)) {
                push(found, Some(name), value.strip_prefix("Token ").unwrap_or(value).trim());
            }
        }
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

/// XML: `<password>x</password>`, and `key="Password" value="x"`.
fn of_markup(text: &str, found: &mut Vec<Embedded>) {
    if !text.contains("</") && !text.contains("/>") {
        return;
    }
    for (at, _) in text.match_indices('<') {
        let tag = &text[at + 1..];
        let Some((name, rest)) = tag.split_once('>') else { return };
        let name = name.split_whitespace().next().unwrap_or("");
        if let Some((value, _)) = rest.split_once('<')
            && rest[value.len() + 1..].strip_prefix('/').is_some_and(|end| end.starts_with(name))
            && is_secret_name(name)
        {
            push(found, Some(name), value.trim());
        }
    }
    for (at, begin) in text.match_indices("=\"") {
        let Some((name, rest)) = text[at + begin.len()..].split_once('"') else { continue };
        if let Some(value) = rest.trim_start().strip_prefix("value=\"").and_then(|rest| rest.split('"').next())
            && is_secret_name(name)
        {
            push(found, Some(name), value);
        }
    }
}

/// A line of `.pgpass`: host, port, database, user and password.
fn of_password_file(line: &str, found: &mut Vec<Embedded>) {
    if let [_, port, _, _, password] = line.trim().splitn(5, ':').collect::<Vec<_>>()[..]
        && !line.contains(' ')
        && (port == "*" || (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())))
    {
        push(found, Some("password"), password);
    }
}

/// Lines of two words, the first of which names a secret (`HTTP_Passwd x`), and a netrc's `password x`.
fn of_lines(text: &str, found: &mut Vec<Embedded>) {
    text.lines().for_each(|line| of_password_file(line, found));
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
