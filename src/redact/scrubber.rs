//! Masking by value: whatever a secret is quoted by, in whatever form, a mask stands in its place.
//!
//! Bounds: a secret shorter than [`SHORTEST`] bytes, or one of the few words in [`COMMON`], is masked where its place is
//! known (diffs, source listings) but not hunted in other text: it would black out half of every line.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use super::fingerprint::{FingerprintKey, MASK};
use super::forms;
use super::pattern::{SecretPattern, backslashes, head};
use super::secret::inner_secrets;

/// Secrets shorter than this are not hunted by value.
pub const SHORTEST: usize = 6;
/// Words that are not hunted by value, though somebody may have made them a password.
pub const COMMON: &[&str] = &[
    "opschain",
    "postgres",
    "password",
    "changeme",
    "changeit",
    "secret",
    "limepoint",
    "docker",
    "default",
    "kubernetes",
    "localhost",
];

/// Knows secrets by value and masks them in any text.
///
/// Each secret is known as it is, escaped for JSON however often, quoted for YAML, percent-encoded, and in base64, once and
/// twice (at each of the three places that it may have in a longer text); of a text of several lines, each line as well. One that is too short
/// or too common to be hunted is known beside its key: `PGPASSWORD: abc`. One pass over a text looks up four bytes a
/// position, so the number of secrets hardly matters.
#[derive(Clone, Default)]
pub struct Scrubber {
    key: Option<FingerprintKey>,
    /// By the first four bytes: the patterns that begin so, longest first, each with its mask.
    patterns: HashMap<[u8; 4], BTreeMap<Reverse<usize>, Vec<SecretPattern>>>,
    /// A bit for each first two bytes of a pattern: at most places of a text nothing begins.
    heads: Vec<u64>,
    /// Digests of what was registered, under a key of this process: the same secret comes again and again.
    registered: HashSet<u64>,
    /// The same of the patterns.
    added: HashSet<u64>,
    hashing: std::hash::RandomState,
}

/// Never shows a pattern.
impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Scrubber of {} patterns",
            self.patterns.values().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>()
        )
    }
}

impl Scrubber {
    /// Knows no secret yet. Without a key, masks carry no fingerprint.
    pub fn new(key: Option<FingerprintKey>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Whether it knows nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The mask of a secret: `••••••••#1a2b3c4d`, or without the fingerprint where there is no key.
    pub fn mask(&self, secret: &[u8]) -> String {
        match &self.key {
            Some(key) => format!("{MASK}#{}", key.fingerprint(secret)),
            None => MASK.to_owned(),
        }
    }

    /// The fingerprint of a secret, where there is a key.
    pub fn fingerprint(&self, secret: &[u8]) -> Option<String> {
        self.key.as_ref().map(|key| key.fingerprint(secret))
    }

    /// Registers a secret, and what it plainly contains: the password in an address, the text inside base64, the secret
    /// fields of an embedded document.
    pub fn register(&mut self, secret: &[u8]) {
        self.register_at(None, secret);
    }

    /// The same for a secret that stands under `key`: a short one is then masked beside its key.
    pub fn register_at(&mut self, key: Option<&str>, secret: &[u8]) {
        if self.registered.insert(self.hashing.hash_one((key, secret))) {
            self.register_within(key, secret, 0);
        }
    }

    /// Registers what a text holds that is no secret as a whole; see [`inner_secrets`].
    pub(super) fn register_inside(&mut self, text: &[u8]) {
        for (key, secret) in inner_secrets(&String::from_utf8_lossy(text)) {
            self.register_at(key.as_deref(), &secret);
        }
    }

    fn register_within(&mut self, key: Option<&str>, secret: &[u8], depth: u8) {
        let trimmed = secret.trim_ascii();
        if trimmed.is_empty() {
            return;
        }
        let mask = self.mask(secret);
        self.register_forms(key, trimmed, &mask);
        if secret.len() != trimmed.len() {
            // In base64 the line end behind it counts.
            for form in forms::packed(secret) {
                self.add([b"", &form, b""], &mask);
            }
        }
        let Ok(text) = std::str::from_utf8(trimmed) else { return };
        if text.contains('\n') {
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with("-----")) {
                self.register_forms(None, line.as_bytes(), &mask);
            }
            let joined: String = text.split_whitespace().collect();
            self.register_forms(None, joined.as_bytes(), &mask);
        }
        if depth > 2 {
            return;
        }
        for (key, inside) in inner_secrets(text) {
            self.register_within(key.as_deref(), &inside, depth + 1);
        }
        if let Some(inside) = forms::unpacked(text) {
            self.register_within(None, &inside, depth + 1);
        }
    }

    fn register_forms(&mut self, key: Option<&str>, secret: &[u8], mask: &str) {
        if forms::unescaped(secret).len() < SHORTEST
            || COMMON.iter().any(|word| secret.eq_ignore_ascii_case(word.as_bytes()))
        {
            if let (Some(key), Ok(text)) = (key, std::str::from_utf8(secret)) {
                self.register_beside(key, text, mask);
            }
            return;
        }
        self.add([b"", secret, b""], mask);
        for form in forms::of(secret) {
            if form.len() >= SHORTEST {
                self.add([b"", &form, b""], mask);
            }
        }
    }

    /// A secret that cannot be hunted alone, in the ways in which key and value stand together.
    fn register_beside(&mut self, key: &str, secret: &str, mask: &str) {
        let packed = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
        let json = forms::json(secret);
        for value in [secret, json.as_str(), packed.as_str()] {
            for (before, after) in [
                (format!("{key}: \""), "\""),
                (format!("{key}: '"), "'"),
                (format!("{key}: "), ""),
                (format!("\"{key}\":\""), "\""),
                (format!("\"{key}\": \""), "\""),
                (format!("\"{key}\":"), ""),
                (format!("\"{key}\": "), ""),
                (format!("{key}=\""), "\""),
                (format!("{key}="), ""),
                (format!("{key}:"), ""),
            ] {
                self.add([before.as_bytes(), value.as_bytes(), after.as_bytes()], mask);
            }
        }
    }

    /// Adds what is to be masked with what stands before and behind it.
    fn add(&mut self, [before, secret, after]: [&[u8]; 3], mask: &str) {
        let pattern = SecretPattern::new([before, secret, after], mask);
        let Some(head) = pattern.bytes.first_chunk::<4>().copied() else { return };
        let (word, bit) = head_bit([head[0], head[1]]);
        self.heads.resize(HEADS, 0);
        self.heads[word] |= bit;
        if !self.added.insert(self.hashing.hash_one(&*pattern.bytes)) {
            return;
        }
        let bucket = self.patterns.entry(head).or_default();
        bucket.entry(Reverse(pattern.bytes.len())).or_default().push(pattern);
    }

    /// The text with every known secret masked.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scrub_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The bytes with every known secret masked.
    pub fn scrub_bytes<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let mut out: Vec<u8> = Vec::new();
        let (mut at, mut copied) = (0, 0);
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        while at < text.len() {
            let next = at + 1 + backslashes(text, at + 1);
            let Some(second) = text.get(next) else { break };
            let (word, bit) = head_bit([text[at], *second]);
            if text[at] == b'\\' || self.heads[word] & bit == 0 {
                at = if text[at] == b'\\' { next } else { at + 1 };
                continue;
            }
            let Some(head) = head(&text[at..]) else { break };
            let bucket = self.patterns.get(&head).into_iter().flat_map(BTreeMap::values).flatten();
            match bucket.filter_map(|pattern| Some((pattern, pattern.place(&text[at..])?))).next() {
                Some((pattern, place)) => {
                    out.extend_from_slice(&text[copied..at + place.start]);
                    out.extend_from_slice(pattern.mask.as_bytes());
                    at += place.end;
                    copied = at;
                }
                None => at += 1,
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.extend_from_slice(&text[copied..]);
        Cow::Owned(out)
    }
}

/// Words of the table of first bytes.
const HEADS: usize = 1 << 10;

fn head_bit(two: [u8; 2]) -> (usize, u64) {
    let number = usize::from(u16::from_le_bytes(two));
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::super::forms::percent_encode;
    use super::*;
    use crate::yaml::Tree;

    fn knowing(secret: &str) -> Scrubber {
        let mut scrubber = Scrubber::new(FingerprintKey::from_bytes(&[7; 32]));
        scrubber.register(secret.as_bytes());
        scrubber
    }

    fn tail(secret: &str) -> String {
        knowing(secret).mask(secret.as_bytes())
    }

    #[test]
    fn a_secret_is_masked_in_every_form_that_tools_print_it_in() {
        let secret = "p\"ss<w>rd & ünique\\1'2";
        let json = serde_json::Value::from(secret).to_string();
        let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        let twice = serde_json::Value::from(go.as_str()).to_string();
        for text in [
            secret.to_owned(),
            json,
            go,
            twice,
            format!("'{}'", secret.replace('\'', "''")),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
            String::from_utf8(percent_encode(secret.as_bytes(), false)).unwrap(),
            String::from_utf8(percent_encode(secret.as_bytes(), true)).unwrap(),
            STANDARD.encode(format!("x{secret}yy")),
            STANDARD.encode(format!("xx{secret}y")),
            STANDARD.encode(format!("xxx{secret}")),
            STANDARD.encode(format!("{{\"auth\":\"{}\"}}", STANDARD.encode(format!("user:{secret}")))),
        ] {
            let scrubbed = knowing(secret).scrub(&text).into_owned();
            assert!(scrubbed.contains(&tail(secret)), "{text} became {scrubbed}");
            assert!(!scrubbed.contains("ünique") && !scrubbed.contains("nique"), "{scrubbed}");
        }
    }

    #[test]
    fn a_text_quoted_in_a_quoted_text_is_masked_however_deep_and_what_stands_around_it_stays() {
        let mut scrubber = Scrubber::new(None);
        let yaml = b"PIN: ab#12\npassword: 'o''ne\"two\\three'\nseed: \"four\\t\\\\five\\x01six\"\nshort: [1]\n";
        scrubber.register_tree(&Tree::parse(yaml).unwrap());
        let mut text = format!(
            "{}\nPIN: \"ab#12\"\n{{\"PIN\":\"ab#12\",\"password\":\"o'ne\\\"two\\\\three\"}}",
            std::str::from_utf8(yaml).unwrap()
        );
        for depth in 0..6 {
            let masked = scrubber.scrub(&text).into_owned();
            for part in ["ab#12", "ne\\", "two", "three", "four", "five", "six"] {
                assert!(!masked.contains(part), "{part} at depth {depth}: {masked}");
            }
            assert!(masked.contains("short: [1]"), "{masked}");
            let mut plain = masked;
            for _ in 0..depth {
                plain = serde_json::from_str(&format!("\"{plain}\"")).unwrap();
            }
            assert!(plain.contains(&format!("PIN: \"{MASK}\"")), "{plain}");
            text = forms::json(&text);
        }
    }

    #[test]
    fn lines_of_a_key_and_the_insides_of_addresses_and_base64_are_masked() {
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----\n";
        assert!(!knowing(pem).scrub("line: 9w0BAQEFAASCBKcwggSj.").contains("9w0B"));
        assert!(!knowing("postgres://u:s3cr%21tpw@h/d").scrub("denied: s3cr!tpw").contains("s3cr"));
        let docker =
            r#"{"auths":{"r":{"username":"u","password":"hunter2hunter2","auth":"dTpodW50ZXIyaHVudGVyMg=="}}}"#;
        assert!(!knowing(&STANDARD.encode(docker)).scrub("login u hunter2hunter2").contains("hunter2"));
    }

    #[test]
    fn short_and_common_words_stay_readable_and_the_longest_secret_wins() {
        let mut scrubber = knowing("abc12");
        scrubber.register(b"opschain");
        scrubber.register(b"longer-secret");
        scrubber.register(b"longer-secret-still");
        assert_eq!(scrubber.scrub("abc12 opschain"), "abc12 opschain");
        let text = scrubber.scrub("x longer-secret-still y").into_owned();
        assert_eq!(text, format!("x {} y", scrubber.mask(b"longer-secret-still")));
    }

    #[test]
    fn the_mask_has_one_width_and_equal_secrets_have_equal_fingerprints() {
        let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[7; 32]));
        assert_eq!(scrubber.mask(b"a").chars().count(), scrubber.mask(&[b'x'; 500]).chars().count());
        assert_eq!(scrubber.mask(b"a"), scrubber.mask(b"a"));
        assert_ne!(scrubber.mask(b"a"), scrubber.mask(b"b"));
        assert_eq!(Scrubber::new(None).mask(b"a"), MASK);
        let other = Scrubber::new(FingerprintKey::from_bytes(&[8; 32]));
        assert_ne!(scrubber.mask(b"a"), other.mask(b"a"));
    }
}
