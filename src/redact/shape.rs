//! Texts that give themselves away: tokens, private keys, hashes of passwords, and what only chance writes.

use std::collections::HashSet;

use super::tokens::tokens;

/// How hashes of passwords begin, in the forms of crypt(3), LDAP and SCRAM.
const HASHES: &[&str] = &[
    "$1$",
    "$2a$",
    "$2b$",
    "$2y$",
    "$5$",
    "$6$",
    "$y$",
    "$apr1$",
    "$argon2",
    "{SSHA",
    "{CRYPT}",
    "SCRAM-SHA-1$",
    "SCRAM-SHA-256$",
    "SCRAM-SHA-512$",
];

/// Whether a text is a key or a token, or plainly holds one.
pub(super) fn is_key_or_token(text: &str) -> bool {
    let begins = |all: &[&str]| all.iter().any(|begin| text.starts_with(begin));
    text.contains("PRIVATE KEY")
        || text.contains("AGE-SECRET-KEY-")
        || text.contains("\"auths\"")
        || text.contains("PuTTY-User-Key-File")
        || (text.len() >= 13 && begins(HASHES))
        || text.match_indices(':').any(|(at, _)| HASHES.iter().any(|hash| text[at + 1..].starts_with(hash)))
        || !tokens(text).is_empty()
}

/// A single word of 20 characters or more, of letters and digits mixed as only chance (or base64) mixes them.
pub fn looks_random(text: &str) -> bool {
    let text = text.trim();
    if text.len() < 20 || text.len() > 4096 || text.contains("-----") {
        return false;
    }
    // A key and its secret, or several parts of one. A host has short parts, and a digest stands behind its kind.
    if text.contains(['.', ':']) {
        let mut parts = text.split(['.', ':']);
        return parts.clone().count() <= 4 && parts.all(|part| !part.contains('/') && looks_random(part));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '\n');
    if !text.chars().all(allowed) {
        return false;
    }
    // Public keys are made to be shown: whom a file is sealed to, whose signature is trusted.
    if text.starts_with("age1") || text.starts_with("AAAAC3NzaC1lZDI1NTE5") {
        return false;
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let kinds = text.bytes().filter(|b| b.is_ascii_hexdigit() || *b == b'-').count();
    if kinds == text.len() && text.bytes().filter(|b| *b == b'-').count() == 4 && text.len() == 36 {
        // A UUID is an identity, not a secret.
        return false;
    }
    if text.matches(['-', '/', '_']).count() * 6 > text.len() {
        // Paths and names made of words.
        return false;
    }
    digits >= 2 && letters >= 2 && entropy(text) > 3.2 && text.bytes().collect::<HashSet<u8>>().len() >= 10
}

/// Shannon's entropy in bits a character.
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = text.len() as f64;
    counts.iter().filter(|count| **count > 0).fold(0.0, |sum, count| {
        let share = f64::from(*count) / length;
        sum - share * share.log2()
    })
}
