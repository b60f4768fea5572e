//! Texts that give themselves away: tokens, private keys, hashes of passwords, and what only chance writes.

use std::collections::HashSet;

use super::tokens::tokens;

/// How hashes of passwords begin, in the forms of crypt(3), LDAP, SCRAM and the frameworks.
#[rustfmt::skip]
const HASHES: &[&str] = &[
    "$1$", "$2$", "$2a$", "$2b$", "$2x$", "$2y$", "$3$", "$5$", "$6$", "$7$", "$8$", "$9$", "$14$", "$y$", "$gy$", "$md5$", "$md5,", "$sha1$", "$apr1$",
    "$P$", "$H$", "$S$", "$s0$", "$scrypt$", "$argon2", "$pbkdf2", "$bcrypt-sha256$", "$A$005$", "$digest$", "$fshp$", "$PBKDF2",
    "{SSHA", "{SHA", "{SMD5}", "{MD5}", "{CRYPT}", "{PBKDF2", "{PKCS5S2}", "{ARGON2", "{BLF-CRYPT}", "{PLAIN}", "{CLEARTEXT}", "{CLEAR}", "{LANMAN}", "{NT}",
    "{x-", "{xor}", "{SCRAM-", "{noop}", "{bcrypt}", "{scrypt", "{pbkdf2", "{argon2", "{sha256}", "{crypt}", "{ssha", "{sha}", "{MD4}", "{DIGEST-MD5}", "{CRAM-MD5}",
    "SCRAM-SHA-1$", "SCRAM-SHA-256$", "SCRAM-SHA-512$",
    "pbkdf2_", "pbkdf2:", "pbkdf2$", "scrypt:", "scrypt$", "argon2$", "bcrypt$", "bcrypt_sha256$", "sha1$", "md5$", "grub.pbkdf2.sha512.",
];

/// Whether a text is a key or a token, or plainly holds one.
pub(super) fn is_key_or_token(text: &str) -> bool {
    text.contains("PRIVATE KEY")
        || text.contains("AGE-SECRET-KEY-")
        || text.contains("\"auths\"")
        || text.contains("PuTTY-User-Key-File")
        || ((text.contains(['$', '{', '*']) || text.contains("md5") || text.contains("grub."))
            && text.split(['\n', '"', '\'', ' ']).any(is_hash))
        || !tokens(text).is_empty()
}

/// The hash of a password, or a line of a file of users that holds one: `user:$2y$...`.
fn is_hash(word: &str) -> bool {
    let word = word.trim();
    if word.len() < 9 {
        return false;
    }
    let is_begun = |text: &str| {
        HASHES.iter().any(|hash| {
            text.strip_prefix(hash).is_some_and(|rest| {
                let is_plain = hash.ends_with('}');
                rest.len() >= if is_plain { 4 } else { 8 }
                    && (is_plain || !hash.ends_with(['_', ':', '.']) || rest.contains('$') || rest.contains('.'))
            })
        })
    };
    is_begun(word)
        || is_of_mysql(word)
        || is_of_postgres(word)
        || word.match_indices([':', '=']).any(|(at, _)| is_begun(&word[at + 1..]))
}

/// `*` and the 40 digits of MySQL's hash.
fn is_of_mysql(word: &str) -> bool {
    word.strip_prefix('*').is_some_and(|hash| {
        hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'A'..=b'F'))
    })
}

/// `md5` and its 32 digits, as PostgreSQL and pgbouncer keep a password.
fn is_of_postgres(word: &str) -> bool {
    word.strip_prefix("md5").is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A single word of 20 characters or more, of letters and digits mixed as only chance (or base64) mixes them.
pub fn looks_random(text: &str) -> bool {
    let text = text.trim();
    if text.len() < 20 || text.len() > 4096 || text.contains("-----") {
        return false;
    }
    if is_resource(text) || is_algorithm(text) {
        return false;
    }
    // A key and its secret, or several parts of one. A host has short parts, and a digest stands behind its kind.
    if text.contains(['.', ':']) {
        let mut parts = text.split(['.', ':']);
        return parts.clone().count() <= 4 && parts.all(|part| !part.contains('/') && looks_random(part));
    }
    // Of a path, its longest parts.
    if text.starts_with('/') && text.matches('/').count() >= 3 && !text.contains(['+', '=']) {
        return text.split('/').any(looks_random);
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

/// What AWS calls its resources: `vpc-0a1b2c3d4e5f67890`. They open nothing.
fn is_resource(text: &str) -> bool {
    #[rustfmt::skip]
    const KINDS: &[&str] = &[
        "vpc", "subnet", "sg", "sgr", "ami", "ari", "aki", "fs", "fsap", "fsmt", "i", "vol", "snap", "eni", "rtb", "rtbassoc", "igw", "eigw", "nat", "acl", "eipalloc",
        "eipassoc", "lt", "tgw", "tgw-attach", "tgw-rtb", "vpce", "vpce-svc", "pcx", "pl", "dopt", "cgw", "vgw", "vpn", "lgw", "ipam-pool", "mrk",
    ];
    text.rsplit_once('-').is_some_and(|(kind, id)| {
        matches!(id.len(), 8 | 17 | 32)
            && id.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
            && KINDS.contains(&kind)
    })
}

/// A name of algorithms: `ECDHE-RSA-AES256-GCM-SHA384`, `sha256WithRSAEncryption`.
fn is_algorithm(text: &str) -> bool {
    let is_suite = || {
        const CIPHERS: &[&str] =
            &["AES", "AES128", "AES256", "CHACHA20", "3DES", "CAMELLIA128", "CAMELLIA256", "ARIA128", "ARIA256"];
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= 11
                && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        };
        text.split(['-', '_']).any(|part| CIPHERS.contains(&part))
            && text.replace("_WITH_", "_").split(['-', '_']).all(is_part)
    };
    let is_signature = || {
        let small = text.to_ascii_lowercase();
        small.contains("with")
            && (small.ends_with("encryption") || ["rsa", "ecdsa", "dsa"].iter().any(|end| small.ends_with(end)))
    };
    is_suite() || (text.len() < 32 && is_signature())
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
