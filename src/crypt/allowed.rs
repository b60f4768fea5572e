//! OpenSSH's file of allowed signers, line by line (`ssh-keygen(1)`, ALLOWED SIGNERS).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

/// One line: whose key it is, and what for.
#[derive(Debug, Clone)]
pub(super) struct AllowedEntry {
    /// The principals as they stand in the file, comma-separated.
    pub(super) principals: String,
    pub(super) key: KeyData,
    /// Patterns of namespaces; empty means any.
    namespaces: Vec<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
}

impl AllowedEntry {
    /// Whether the line's options let the key sign in `namespace` at `now`; if not, why.
    pub(super) fn allows(&self, namespace: &str, now: Timestamp) -> Result<(), String> {
        if !self.namespaces.is_empty() && !fits(&self.namespaces, namespace) {
            return Err(format!("it is listed for other namespaces than {namespace}"));
        }
        if let Some(from) = self.valid_after.filter(|from| now < *from) {
            return Err(format!("valid-after {from}"));
        }
        if let Some(until) = self.valid_before.filter(|until| now > *until) {
            return Err(format!("valid-before {until}"));
        }
        Ok(())
    }
}

impl AllowedEntry {
    /// When the key ended, where it has.
    pub(super) fn ended(&self, now: Timestamp) -> Option<Timestamp> {
        self.valid_before.filter(|until| now > *until)
    }
}

/// Reads all lines. Of those that are not understood, which trust nobody, come the number from 1 and what is wrong.
pub(super) fn parse(text: &str) -> (Vec<AllowedEntry>, Vec<(usize, String)>) {
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    for (line, text) in key_lines(text) {
        match parse_line(text) {
            Ok(entry) => entries.push(entry),
            Err(reason) => skipped.push((line, reason)),
        }
    }
    (entries, skipped)
}

/// Reads a file of revoked keys, one public key a line; the error is the line's number from 1 and what is wrong with it.
/// A line that is not understood revokes somebody, and nobody knows whom.
pub(super) fn parse_revoked(text: &str) -> Result<Vec<KeyData>, (usize, String)> {
    let key = |(line, text)| public_key(text).map_err(|reason| (line, reason));
    key_lines(text).map(key).collect()
}

/// The lines that say something, with their numbers from 1.
fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn public_key(text: &str) -> Result<KeyData, String> {
    let key = PublicKey::from_openssh(text.trim()).map_err(|error| format!("no public key: {error}"))?;
    Ok(key.key_data().clone())
}

fn parse_line(line: &str) -> Result<AllowedEntry, String> {
    let (principals, mut rest) = next_word(line)?;
    if is_key_kind(principals) && rest.trim_start_matches(is_blank).starts_with("AAAA") {
        return Err("a key stands alone in it, and whose it is stands before the key".into());
    }
    let (mut namespaces, mut valid_after, mut valid_before) = (Vec::new(), None, None);
    let mut seen: Vec<String> = Vec::new();
    // A key starts with its kind; whatever stands before it is one word of comma-separated options.
    let (word, after) = next_word(rest)?;
    if !is_key_kind(word) {
        for option in split_options(word)? {
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let value = value.map_or(Ok(""), |value| quoted(name, value))?;
            let (given, name) = (name, name.to_ascii_lowercase());
            if seen.contains(&name) {
                return Err(format!("`{name}` stands in it twice"));
            }
            match name.as_str() {
                "cert-authority" => {
                    return Err("it trusts a certificate authority, and dr takes no certificates".into());
                }
                "namespaces" => namespaces = value.split(',').map(str::to_owned).collect(),
                "valid-after" => valid_after = Some(time(value)?),
                "valid-before" => valid_before = Some(time(value)?),
                _ => return Err(format!("unknown option `{given}`")),
            }
            seen.push(name);
        }
        rest = after;
    }
    let principals = principals.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(principals);
    if principals.contains('"') || principals.split(',').all(|name| name.starts_with('!')) {
        return Err(format!("`{principals}` names nobody"));
    }
    let key = public_key(rest)?;
    if !matches!(key, KeyData::Ed25519(_) | KeyData::SkEd25519(_)) {
        return Err("dr takes ssh-ed25519 keys only".into());
    }
    Ok(AllowedEntry { principals: principals.to_owned(), key, namespaces, valid_after, valid_before })
}

/// An option's value, which stands between double quotes.
fn quoted<'l>(name: &str, value: &'l str) -> Result<&'l str, String> {
    let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).filter(|it| !it.contains('"'));
    inside.ok_or_else(|| format!("the value of `{name}` does not stand in double quotes"))
}

/// What parts the words of a line.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_key_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix))
}

/// The first word and what follows it; blanks inside double quotes belong to the word.
fn next_word(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim_start_matches(is_blank);
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        is_blank(c) && !quoted
    });
    match end {
        _ if text.is_empty() => Err("it ends too early".into()),
        None if quoted => Err("a quote is not closed".into()),
        None => Ok((text, "")),
        Some(end) => Ok((&text[..end], &text[end..])),
    }
}

/// Splits at commas that are not inside double quotes.
fn split_options(word: &str) -> Result<Vec<&str>, String> {
    let mut quoted = false;
    let parts: Vec<&str> = word
        .split(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .collect();
    if parts.iter().any(|part| part.is_empty()) { Err("an option is empty".into()) } else { Ok(parts) }
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, in local time or, with a final `Z`, in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let bad = || format!("`{text}` is not a time such as 20261231 or 20261231235959Z");
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !digits.bytes().all(|b| b.is_ascii_digit()) || ![8, 12, 14].contains(&digits.len()) {
        return Err(bad());
    }
    let padded = format!("{digits:0<14}");
    let moment = DateTime::strptime("%Y%m%d%H%M%S", padded).map_err(|_| bad())?;
    let zone = if text.ends_with('Z') { TimeZone::UTC } else { TimeZone::system() };
    moment.to_zoned(zone).map(|zoned| zoned.timestamp()).map_err(|_| bad())
}

/// OpenSSH's lists of patterns: one that fits is enough, unless one with a `!` before it fits too.
fn fits(patterns: &[String], text: &str) -> bool {
    let mut fits = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, text) => return false,
            Some(_) => {}
            None => fits |= matches(pattern, text),
        }
    }
    fits
}

/// OpenSSH's patterns: `*` for any run of characters, `?` for one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // reachable[j]: the pattern so far can match the first j characters.
    let mut reachable = vec![false; text.len() + 1];
    reachable[0] = true;
    for c in pattern {
        let mut next = vec![false; text.len() + 1];
        for j in 0..=text.len() {
            next[j] = match c {
                '*' => reachable[j] || (j > 0 && next[j - 1]),
                '?' => j > 0 && reachable[j - 1],
                literal => j > 0 && reachable[j - 1] && text[j - 1] == literal,
            };
        }
        reachable = next;
    }
    reachable[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4ZLdpjLNrVJKCLUL8u1lT0VeLHc5ZgXsJbHRzUFOH5";

    #[test]
    fn reads_principals_options_key_and_skips_comments_and_authorities() {
        let text = format!(
            "# people\n\n\"a b,c\" {KEY} note\n* cert-authority {KEY}\nd namespaces=\"dr-*,git\",valid-after=\"20260101Z\" {KEY}\n"
        );
        let (entries, skipped) = parse(&text);
        assert_eq!((entries.len(), skipped.len(), skipped[0].0), (2, 1, 4));
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        assert!(entries[0].allows("anything", now).is_ok());
        assert!(entries[1].allows("dr-bundle@v1", now).is_ok());
        assert!(entries[1].allows("file", now).is_err());
        assert!(entries[1].allows("git", "2025-12-31T00:00:00Z".parse().unwrap()).is_err());
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named_and_hides_no_other() {
        for (text, reason) in [
            ("alone", "too early"),
            (KEY, "whose it is stands before the key"),
            (&format!("{KEY} ops@host"), "whose it is stands before the key"),
            (&format!("a FrobNicate {KEY}"), "unknown option `FrobNicate`"),
            ("a ssh-ed25519 AAAA", "no public key"),
            ("a \"open ssh-ed25519", "quote"),
            (&format!("a frobnicate {KEY}"), "unknown option `frobnicate`"),
            (&format!("a valid-after=\"soon\" {KEY}"), "`soon` is not a time"),
            (&format!("a valid-after=\"20261399Z\" {KEY}"), "is not a time"),
            (&format!("a namespaces=\"x\",namespaces=\"git\" {KEY}"), "stands in it twice"),
            (&format!("* cert-authority {KEY}"), "no certificates"),
            (&format!("a namespaces=git {KEY}"), "double quotes"),
            (&format!("a valid-before=20270101Z {KEY}"), "double quotes"),
            (&format!("\"a b\",c {KEY}"), "names nobody"),
            (&format!("!a {KEY}"), "names nobody"),
            (&format!("a\u{a0}{KEY}"), "unknown option"),
            (
                "a ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBB5v9JkBv2fFZ/EZnG2IYYRevh+3uAqv8w01bAuLPkjOpVEf84RVgDwW3LcqvlNnAV2FNUpbKvRGdAP1+hlC0H0=",
                "ed25519 keys only",
            ),
        ] {
            let (entries, skipped) = parse(&format!("# first\n{text}\nops {KEY}"));
            assert_eq!((entries.len(), skipped.len(), skipped[0].0), (1, 1, 2), "{text}");
            assert!(skipped[0].1.contains(reason), "{text}: {}", skipped[0].1);
        }
        assert_eq!(parse_revoked(&format!("# gone\n{KEY} ops\n")).unwrap().len(), 1);
        assert_eq!(parse_revoked(&format!("{KEY}\nSHA256:abc\n")).unwrap_err().0, 2);
    }

    #[test]
    fn patterns_match_as_openssh_does() {
        assert!(matches("*", "") && matches("dr-*", "dr-bundle@v1") && matches("d?-*v1", "dr-bundle@v1"));
        let list = ["*".to_owned(), "!git".to_owned()];
        assert!(fits(&list, "dr-bundle@v1") && !fits(&list, "git") && !fits(&list[1..], "dr-bundle@v1"));
        assert!(!matches("dr-", "dr-bundle@v1") && !matches("?", "") && !matches("*x", "dr"));
    }
}
