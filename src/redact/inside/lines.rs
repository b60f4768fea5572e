//! Files of lines that hold passwords: `.pgpass`, netrc, user lists, and settings of two words.

use super::super::name::is_secret_name;
use super::embedded::{Embedded, push, push_quoted};
use super::literal::quoted;

/// Names that no sentence begins with: one line of them is enough.
const SETTINGS: &[&str] = &[
    "requirepass",
    "masterauth",
    "bindpw",
    "rootbindpw",
    "rootpw",
    "rocommunity",
    "rwcommunity",
    "authtoken",
    "_password",
];

/// Values that say how, and not with what.
const SWITCHES: &[&str] = &[
    "on", "off", "yes", "no", "true", "false", "none", "required", "optional", "basic", "digest", "peer", "md5",
    "trust",
];

/// First words of lines that name somebody, before a password.
const LOGINS: &[&str] = &["user", "username", "machine", "default", "login", "enable", "neighbor", "account"];

/// First words of lines in which a name stands before its value: headers and variables of proxies and images.
#[rustfmt::skip]
const DIRECTIVES: &[&str] = &[
    "proxy_set_header", "grpc_set_header", "add_header", "fastcgi_param", "uwsgi_param", "scgi_param", "header_up",
    "request_header", "SetEnv", "setenv", "presetenv", "ENV",
];

/// Words with which such a line goes on: `RequestHeader set`, `http-request set-header`.
const ACTIONS: &[&str] = &["set", "add", "append", "merge", "setifempty", "set-header", "add-header"];

/// Words before the secret of a header.
const SCHEMES: &[&str] = &["bearer", "basic", "token", "apikey", "api-key", "geniekey", "splunk"];

/// What the lines of a text say.
pub(super) fn of_lines(text: &str, found: &mut Vec<Embedded>) {
    let is_netrc = (text.contains("machine ") || text.contains("default ")) && text.contains("login ");
    let has_lines = text.trim_end().contains('\n');
    for line in text.lines().map(str::trim) {
        of_password_file(line, found);
        of_user_list(line, has_lines, found);
        let words: Vec<&str> = line.split_whitespace().collect();
        let [first, .., last] = words.as_slice() else { continue };
        if let [name, value] = words.as_slice() {
            of_two(name, value, has_lines, found);
        }
        of_directive(line, &words, found);
        if is_netrc && let Some(at) = words.iter().position(|word| *word == "password") {
            push(found, Some("password"), words.get(at + 1).unwrap_or(&""));
        }
        if LOGINS.contains(first) {
            of_login(&words, found);
        }
        of_redis(&words, found);
        match *first {
            "snmp-server" if words[1] == "community" => push_word(words.get(2).unwrap_or(&""), found),
            "createUser" => words.iter().skip(3).step_by(2).for_each(|word| push_word(word, found)),
            "com2sec" | "com2sec6" => push_word(last, found),
            "rocommunity" | "rwcommunity" | "rocommunity6" | "rwcommunity6"
                if words.get(2).is_some_and(|source| {
                    source.starts_with(|c: char| c.is_ascii_digit() || c == '-') || *source == "default"
                }) =>
            {
                push_word(words[1], found)
            }
            _ => {}
        }
        // `: PSK "x"`, `user : EAP "x"`.
        for kind in [" PSK ", " EAP ", " XAUTH ", " NTLM "] {
            if let Some((_, rest)) = line.split_once(kind).filter(|(before, _)| before.trim_end().ends_with(':')) {
                push_word(rest.trim(), found);
            }
        }
        // `stats auth user:password`.
        if words.len() > 2
            && words[words.len() - 2] == "auth"
            && let Some((_, password)) = last.split_once(':')
        {
            push(found, Some("password"), password);
        }
    }
}

/// A word, in quotes or not.
fn push_word(word: &str, found: &mut Vec<Embedded>) {
    match quoted(word) {
        Some((inside, _)) => push_quoted(found, "password", inside),
        None => push(found, Some("password"), word.trim_end_matches(';')),
    }
}

/// A line of `.pgpass`: host, port, database, user and password. Colons in the first four are escaped.
fn of_password_file(line: &str, found: &mut Vec<Embedded>) {
    let is_number = line.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    let mut ends = line.match_indices(':').map(|(at, _)| at).filter(|at| !line[..*at].ends_with('\\'));
    let (Some(host), Some(port), Some(_), Some(user)) = (ends.next(), ends.next(), ends.next(), ends.next()) else {
        return;
    };
    let port = &line[host + 1..port];
    let is_port =
        port == "*" || (!port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()));
    if is_port && host > 0 && !is_number && !line[..user].contains(char::is_whitespace) && !line.starts_with('#') {
        push_quoted(found, "password", &line[user + 1..]);
    }
}

/// A line of pgbouncer's user list: `"user" "password"`. Two plain words in quotes are one among other lines only.
fn of_user_list(line: &str, has_lines: bool, found: &mut Vec<Embedded>) {
    let Some((_, end)) = quoted(line).filter(|_| line.starts_with('"')) else { return };
    let rest = line[end..].trim_start();
    if rest.len() < line[end..].len()
        && rest.starts_with('"')
        && let Some((inside, end)) = quoted(rest)
        && (has_lines || !inside.chars().all(|c| c.is_alphabetic() || c == ' '))
        && !rest[end..].trim_start().starts_with([',', ':', ']', ';'])
    {
        push_quoted(found, "password", inside);
    }
}

/// `proxy_set_header X-Api-Key "x";`, `RequestHeader always set Authorization "Bearer x"`, `SetEnv DB_PASSWORD x`.
fn of_directive(line: &str, words: &[&str], found: &mut Vec<Embedded>) {
    let is_header =
        matches!(words[0], "Header" | "RequestHeader" | "http-request" | "http-response" | "http-after-response");
    let place = match words[0] {
        first if DIRECTIVES.contains(&first) => Some(1),
        _ if is_header => words.iter().take(3).position(|word| ACTIONS.contains(word)).map(|at| at + 1),
        _ => None,
    };
    let Some((name, first)) = place.and_then(|at| words.get(at).zip(words.get(at + 1))) else { return };
    if !is_secret_name(name) || name.eq_ignore_ascii_case("set-cookie") {
        return;
    }
    let rest = &line[first.as_ptr() as usize - line.as_ptr() as usize..];
    let value = quoted(rest).map_or(first.trim_end_matches(';'), |(inside, _)| inside);
    let is_scheme = |word: &str| SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
    let secret = value.split_once(' ').filter(|(word, _)| is_scheme(word)).map_or(value, |(_, secret)| secret);
    if !says_how(secret) && !secret.starts_with("expr=") {
        push_quoted(found, name, secret);
    }
}

/// Whether a value says how or where, and not with what: a switch, a file.
fn says_how(value: &str) -> bool {
    value.starts_with('/')
        || [".key", ".pem", ".crt", ".p12", ".jks", ".conf;"].iter().any(|end| value.ends_with(end))
        || SWITCHES.contains(&value.trim_end_matches(';').to_ascii_lowercase().as_str())
}

/// Lines of two words, the first of which names a secret (`HTTP_Passwd x`), or is a mail server before a login.
fn of_two(name: &str, value: &str, has_lines: bool, found: &mut Vec<Embedded>) {
    let is_name = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
    let is_setting = || SETTINGS.iter().any(|setting| name.eq_ignore_ascii_case(setting));
    // The value of a header: `ApiKey x`.
    let is_scheme = || {
        ["token", "apikey", "api-key"].iter().any(|scheme| name.eq_ignore_ascii_case(scheme))
            && value.len() >= 8
            && value.contains(|c: char| c.is_ascii_digit())
    };
    // No sentence has such a word, and hardly such a value.
    let is_variable = || {
        (name.contains('_') || !name.contains(|c: char| c.is_lowercase()))
            && value.len() > 3
            && (value.contains(|c: char| !c.is_ascii_alphabetic())
                || (value.contains(|c: char| c.is_ascii_lowercase())
                    && value.chars().skip(1).any(|c| c.is_ascii_uppercase())))
            && !value.ends_with(['.', ',', ':', '!', '?'])
    };
    let is_given = || is_setting() || is_scheme() || ((has_lines || is_variable()) && is_secret_name(name));
    if is_name && !says_how(value) && is_given() {
        push_word(value, found);
    }
    let is_server = name.starts_with('[')
        || name
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_mail = || name.contains('.') && value.split(':').next().is_some_and(|user| user.contains('@'));
    if (is_server || (has_lines && is_mail()))
        && !value.contains('/')
        && let Some((_, password)) = value.split_once(':')
    {
        push(found, Some("password"), password);
    }
}

/// `user admin insecure-password x`, `username x secret 5 $1$...`.
fn of_login(words: &[&str], found: &mut Vec<Embedded>) {
    let from = if words[0] == "enable" { 1 } else { 2 };
    for (place, word) in words.iter().enumerate().skip(1) {
        if place >= from && matches!(*word, "password" | "insecure-password" | "secret" | "passwd") {
            let kind = |word: &&&str| word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_digit());
            let place = place + 1 + usize::from(words.get(place + 1).filter(kind).is_some());
            if words.get(place + 1).is_none_or(|behind| *behind == "groups") {
                push_word(words.get(place).unwrap_or(&""), found);
            }
        }
    }
}

/// Redis' `user alice on >password`, `ACL SETUSER alice on >password`.
fn of_redis(words: &[&str], found: &mut Vec<Embedded>) {
    let begin = words.iter().take(3).position(|word| *word == "user" || word.eq_ignore_ascii_case("setuser"));
    let Some([_, rules @ ..]) = begin.map(|at| &words[at + 1..]) else { return };
    let is_rule =
        |word: &&str| word.starts_with(['>', '#', '~', '&', '+', '-']) || ["on", "off", "reset"].contains(word);
    if rules.first().is_some_and(is_rule) {
        let secrets = rules.iter().filter_map(|word| word.strip_prefix(['>', '#']));
        secrets.for_each(|secret| push(found, Some("password"), secret));
    }
}
