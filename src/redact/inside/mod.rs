//! Secrets inside of longer texts: passwords in addresses, assignments, headers, lines of two words. What a
//! document holds is found where trees are known, in [`super::secret`].

mod commands;
mod embedded;
mod lines;
mod literal;
mod sql;

pub(super) use commands::{is_flag_for_secret, secret_words};
pub(super) use embedded::{Embedded, push};
use embedded::{head, is_reference, push_quoted};
use literal::quoted;
use zeroize::Zeroizing;

use super::forms;
use super::name::is_secret_name;
use super::place::is_gossip;
use super::tokens::tokens;
use super::urls;

/// The secrets that a text holds beside other things, as a text: it is not read as a document.
pub(super) fn of_text(text: &str) -> Vec<Embedded> {
    let mut found = Vec::new();
    of_addresses(text, &mut found);
    of_logins(text, &mut found);
    of_assignments(text, &mut found);
    of_calls(text, &mut found);
    of_terms(text, &mut found);
    of_headers(text, &mut found);
    of_markup(text, &mut found);
    lines::of_lines(text, &mut found);
    of_commands(text, &mut found);
    sql::of_statements(text, &mut found);
    for token in tokens(text) {
        push(&mut found, None, &text[token]);
    }
    found
}

/// The words of command lines, and Oracle's `user/password@host`.
fn of_commands(text: &str, found: &mut Vec<Embedded>) {
    if text.contains([' ', '\t']) && commands::SIGNS.iter().any(|sign| text.contains(sign)) {
        for words in commands::commands(text) {
            let words: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
            for (_, secret) in secret_words(&[], &words) {
                push(found, Some("password"), &secret);
            }
        }
    }
    for (at, begin) in text.match_indices("jdbc:oracle:") {
        let login = text[at + begin.len()..].split('@').next().unwrap_or("");
        if let Some((_, password)) = login.split_once('/') {
            push(found, Some("password"), password.trim_matches('"'));
        }
    }
}

/// What of an address is secret, as it stands and with its percent codes resolved.
fn of_addresses(text: &str, found: &mut Vec<Embedded>) {
    for (at, _) in text.match_indices("//") {
        let rest = &text[at + 2..];
        // `//user:password@host/share` has no scheme, and stands alone.
        let is_alone = || at == 0 || text[..at].ends_with([' ', '\t', '\n', '"', '\'', '=', '(']);
        let has_login = || rest.split(['/', ' ', '\n', '"', '\'']).next().is_some_and(|host| host.contains('@'));
        let is_address = text[..at].ends_with(':') || (is_alone() && has_login());
        if !is_address {
            continue;
        }
        for secret in urls::secrets(rest) {
            push(found, None, secret);
            let decoded = forms::percent_decode(secret);
            if decoded != secret.as_bytes() && !is_reference(secret) {
                found.push((None, Zeroizing::new(decoded)));
            }
        }
    }
}

/// MySQL's and Snowflake's logins as programs in Go write them, without a scheme: `user:password@tcp(host:3306)/db`,
/// `user:password@/db`, `user:password@host:3306/db`, `user:password@account/db?warehouse=x`.
fn of_logins(text: &str, found: &mut Vec<Embedded>) {
    for (at, _) in text.match_indices('@') {
        let rest = &text[at + 1..];
        let is_port = |rest: &str| {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            (1..=5).contains(&digits) && rest[digits..].starts_with('/')
        };
        let host =
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).len();
        let is_host = || host > 0 && rest[host..].strip_prefix(':').is_some_and(is_port);
        let is_net = ["tcp(", "tcp6(", "unix(", "cloudsql(", "/"].iter().any(|net| rest.starts_with(net));
        let is_account = || {
            let address = head(rest, 300).split([' ', '\n', '"', '\'']).next().unwrap_or("");
            host > 0
                && rest[host..].starts_with(['/', ':', '?'])
                && ["warehouse=", "authenticator=", ".snowflakecomputing.com"].iter().any(|sign| address.contains(sign))
        };
        if !is_net && !is_host() && !is_account() {
            continue;
        }
        let before = &text[..at];
        let begin = before.rfind([' ', '\t', '\n', '"', '\'', '`', '=', ',', '<']).map_or(0, |begin| begin + 1);
        let Some((user, password)) = before[begin..].split_once(':') else { continue };
        let is_user = user.starts_with(char::is_alphabetic)
            && user.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        // `registry:5000/image@...` is a place, `https://user:...` an address.
        if is_user && !password.is_empty() && !password.starts_with('/') && (is_net || !is_port(password)) {
            push(found, Some("password"), password);
        }
    }
}

/// `PASSWORD=...` wherever it stands: in a file of variables, a connection string, an argument, a query; and
/// `"password": "..."`, `password: ...`.
fn of_assignments(text: &str, found: &mut Vec<Embedded>) {
    let is_jaas = text.contains("LoginModule");
    for (at, sign) in text.match_indices(['=', ':']) {
        let before = text[..at].trim_end_matches(':');
        let name = name_before(text, at).trim_start_matches('-');
        let rest = text[at + 1..].trim_start_matches([' ', '\t', '>', '=']);
        let is_text = || quoted(rest).is_some();
        // `config['password'] = "x"`: without quotes, another place is copied.
        let is_copied = || before.trim_end().ends_with(']') && !is_text();
        // JAAS: `user_alice="x"`.
        let is_user = || name.starts_with("user_") && (is_jaas || name == "user_super") && is_text();
        let is_given = match sign {
            "=" => (is_secret_name(name) && !is_copied()) || is_user(),
            _ => is_strong(name) && is_given_by_colon(text, at, rest),
        };
        // `[ "$TOKEN" = "x" ]` compares.
        let bare = before.trim_end_matches([' ', '\t', '"']);
        let is_compared =
            bare.len() < before.len() && bare.strip_suffix(name).is_some_and(|sign| sign.ends_with("\"$"));
        if name == "encrypt"
            && sign == "="
            && let Some((inside, _)) = quoted(rest).filter(|(inside, _)| is_gossip(inside))
        {
            push(found, Some(name), inside);
        }
        if !is_given || is_compared {
            continue;
        }
        if let Some((inside, _)) = quoted(rest) {
            push_quoted(found, name, inside);
            continue;
        }
        if let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).filter(|_| sign == "=")
        {
            push(found, Some(name), inside.trim_start_matches('{'));
            continue;
        }
        let line = rest.split(['\n', '\r']).next().unwrap_or("");
        let word = line.split([' ', '\t', ';', '&', ',', '"', '\'']).next().unwrap_or("");
        let word =
            if text[..at].trim_end_matches(name).ends_with('(') { word.split(')').next().unwrap_or("") } else { word };
        // Padding at the end of base64 is no assignment.
        if word.trim_matches('=').is_empty() {
            continue;
        }
        push(found, Some(name), word);
        // A value with blanks in a connection string, and one with any sign in a file of variables.
        let field = line.split(';').next().unwrap_or("").trim_end();
        if line.contains(';') && field.len() > word.len() && !field.contains('=') {
            push(found, Some(name), field);
        }
        let begins = text[..at].trim_end_matches([' ', '\t']).trim_end_matches(name).trim_start_matches("export ");
        if sign == "=" && (begins.is_empty() || begins.ends_with('\n') || begins.ends_with("\nexport ")) {
            push(found, Some(name), line.trim_end());
        }
    }
}

/// `define('DB_PASSWORD', '...')`, `put("password", "...")`.
fn of_calls(text: &str, found: &mut Vec<Embedded>) {
    for (at, _) in text.match_indices("('").chain(text.match_indices("(\"")) {
        let signs_in = [".auth", ".login", "basicAuth"].iter().any(|call| text[..at].ends_with(call));
        let Some((name, end)) = quoted(&text[at + 1..]).filter(|(name, _)| signs_in || is_strong(name)) else {
            continue;
        };
        let rest = text[at + 1 + end..].trim_start().strip_prefix(',').map(str::trim_start);
        if let Some((inside, _)) = rest.and_then(quoted) {
            push_quoted(found, name, inside);
        }
    }
}

/// Erlang's `{default_pass, <<"...">>}`, Lisp's `(setq password "...")`.
fn of_terms(text: &str, found: &mut Vec<Embedded>) {
    let mut push_text = |name: &str, rest: &str| {
        if rest.starts_with(['"', '\''])
            && is_secret_name(name)
            && !matches!(name, "key" | "auth")
            && let Some((inside, _)) = quoted(rest)
        {
            push_quoted(found, name, inside);
        }
    };
    for (at, _) in text.match_indices('{') {
        let term = &text[at + 1..];
        let end = term.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(term.len());
        if let Some(rest) = term[end..].strip_prefix(',').map(str::trim_start) {
            push_text(&term[..end], rest.strip_prefix("<<").unwrap_or(rest));
        }
    }
    for begin in ["(setq ", "(setf ", "(setq-default ", "(defvar ", "(defconst ", "(defparameter ", "(define ", "(def "]
    {
        for (at, _) in text.match_indices(begin) {
            let term = text[at + begin.len()..].trim_start();
            let end = term.find([' ', '\t', '\n', ')', '"']).unwrap_or(term.len());
            push_text(&term[..end], term[end..].trim_start());
        }
    }
}

/// Whether a name says by itself that a secret follows, in a sentence as well.
fn is_strong(name: &str) -> bool {
    const ENDS: &[&str] = &[
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
    ];
    let small = name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    ENDS.iter().any(|end| small.ends_with(end)) && is_secret_name(name)
}

/// Whether a colon gives a name what stands behind it: in quotes, or as the only word of what is left of its line.
fn is_given_by_colon(text: &str, at: usize, rest: &str) -> bool {
    if rest.starts_with("//") || rest.starts_with(['{', '[', ':', '*', '&', '|']) {
        return false;
    }
    let line = rest.split(['\n', '\r', ',', ';']).next().unwrap_or("").trim_end();
    const WORDS: &[&str] = &[
        "required",
        "optional",
        "string",
        "null",
        "none",
        "true",
        "false",
        "empty",
        "unset",
        "missing",
        "invalid",
        "wrong",
        "expired",
        "incorrect",
        "unknown",
        "redacted",
        "hidden",
    ];
    let is_word =
        line.len() >= 4 && !line.contains([' ', '\t']) && !WORDS.contains(&line.to_ascii_lowercase().as_str());
    quoted(rest).is_some_and(|(inside, _)| !inside.is_empty()) || (is_word && text[at + 1..].starts_with([' ', '\t']))
}

/// The word that stands before a sign at `at`, in quotes or not: `password: `, `password ||= `, `config['password'] = `.
pub(super) fn name_before(text: &str, at: usize) -> &str {
    let mut before = text[..at].trim_end_matches(':');
    if text[at..].starts_with('=') {
        before = before.trim_end_matches(['|', '?', '+']).trim_end_matches([' ', '\t']);
        before = before.strip_suffix(']').unwrap_or(before);
    }
    let before = before.trim_end_matches([' ', '\t', '"', '\'']);
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
            // These two are looked at below as well, with what is in them.
            let scheme = value.split(' ').next().unwrap_or("");
            let is_scheme = value.len() > scheme.len() && scheme.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
            // A header's value is a word or two, and a sentence more.
            if !known && value.split_whitespace().count() > 2 {
                continue;
            }
            let secret = if is_scheme { &value[scheme.len()..] } else { value };
            push(found, Some(name), secret.trim());
        }
    }
    let small = text.to_ascii_lowercase();
    for scheme in ["bearer ", "basic ", "geniekey ", "negotiate ", "sharedkey "] {
        for (at, _) in small.match_indices(scheme) {
            let token = text[at + scheme.len()..].split([' ', '\r', '\n', '"', '\'', ',', ';']).next().unwrap_or("");
            let inside = forms::unpacked(token).filter(|_| scheme == "basic ");
            let login = inside.as_deref().and_then(|inside| std::str::from_utf8(inside).ok()?.split_once(':'));
            let has_digit = token.bytes().any(|byte| byte.is_ascii_digit());
            if login.is_none() && (token.len() < 8 || (!has_digit && token.len() < 30)) {
                continue;
            }
            push(found, None, token);
            if let Some((_, password)) = login {
                push(found, None, password);
            }
        }
    }
}

/// XML: `<password>x</password>`, `<setting name="password">x</setting>`, `<name>password</name><value>x</value>`, and
/// `key="Password" value="x"`.
fn of_markup(text: &str, found: &mut Vec<Embedded>) {
    if !text.contains("</") && !text.contains("/>") {
        return;
    }
    for (at, _) in text.match_indices('<') {
        let tag = &text[at + 1..];
        let Some((inside, rest)) = tag.split_once('>') else { return };
        let name = inside.split_whitespace().next().unwrap_or("");
        let Some((value, end)) = rest.split_once('<') else { continue };
        let Some(end) = end.strip_prefix('/').filter(|end| end.starts_with(name)) else { continue };
        let attribute = |sign: &str| quoted(head(inside, 200).split_once(sign)?.1).map(|(called, _)| called);
        let called = attribute(" name=").or_else(|| attribute(" key=")).unwrap_or(name);
        if is_secret_name(name) || is_secret_name(called) {
            push(found, Some(called), value.trim());
        }
        if matches!(name, "name" | "key") && is_secret_name(value.trim()) {
            let behind = end[name.len()..].trim_start_matches(|c: char| c == '>' || c.is_whitespace());
            let beside = ["<value>", "<string>"].iter().find_map(|open| behind.strip_prefix(open));
            push(found, Some(value.trim()), beside.and_then(|beside| beside.split('<').next()).unwrap_or("").trim());
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
