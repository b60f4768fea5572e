//! Tokens that give themselves away by how they begin: what the makers of APIs print, and scanners look for.

use std::ops::Range;
use std::sync::OnceLock;

/// Which characters a token goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chars {
    /// Letters and digits.
    Word,
    /// Letters, digits, `_` and `-`.
    Url,
    /// Those, `.`, `=`, `~`, `+`, `/` and `$`.
    Any,
    /// Hexadecimal digits in lower case.
    Hex,
    /// Capital letters and digits.
    Capital,
}

impl Chars {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Word => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Any => byte.is_ascii_alphanumeric() || b"_-.=~+/$".contains(&byte),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Capital => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

use Chars::{Any, Capital, Hex, Url, Word};

/// How a token begins, how many characters follow at least, and which. Short beginnings ask for more.
type Kind = (&'static str, usize, Chars);

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    // Clouds.
    ("AKIA", 16, Capital), ("ASIA", 16, Capital), ("ABIA", 16, Capital), ("ACCA", 16, Capital), ("AGPA", 16, Capital),
    ("amzn.mws.", 30, Url), ("FwoGZXIvYXdz", 40, Any), ("IQoJb3JpZ2lu", 40, Any), ("ABSKQmVkcm9ja", 30, Any),
    ("AIza", 30, Url), ("GOCSPX-", 20, Url), ("ya29.", 20, Any), ("1//0", 30, Url),
    ("dop_v1_", 32, Hex), ("doo_v1_", 32, Hex), ("dor_v1_", 32, Hex), ("LTAI", 16, Word), ("AKID", 24, Word),
    ("AQVN", 30, Url), ("HRKU-", 30, Url), ("FlyV1 ", 20, Any), ("fo1_", 30, Url), ("rnd_", 24, Word), ("nfp_", 30, Word),
    ("sbp_", 30, Hex), ("pscale_tkn_", 20, Any), ("pscale_pw_", 20, Any), ("pscale_oauth_", 20, Any),
    ("dapi", 32, Hex), ("tskey-", 16, Url), ("v1.0-", 100, Url), ("sha256~", 40, Url), ("dt0c01.", 24, Any), ("dt0s01.", 24, Any), ("dt0s02.", 24, Any),
    // Code, packages and what builds them.
    ("ghp_", 20, Word), ("gho_", 20, Word), ("ghu_", 20, Word), ("ghs_", 20, Word), ("ghr_", 20, Word),
    ("github_pat_", 20, Url), ("glpat-", 16, Any), ("gldt-", 16, Any), ("glrt-", 16, Any), ("glptt-", 16, Any), ("glcbt-", 16, Any),
    ("glsoat-", 16, Any), ("glffct-", 16, Any), ("glimt-", 16, Any), ("glagent-", 16, Any), ("gloas-", 16, Any), ("glft-", 16, Any),
    ("GR1348941", 16, Url), ("ATBB", 24, Word), ("ATATT3", 40, Any), ("ATCTT3", 40, Any),
    ("npm_", 30, Word), ("pypi-", 30, Url), ("rubygems_", 32, Hex), ("oy2", 40, Word), ("CLOJARS_", 30, Word), ("cio", 32, Word),
    ("dckr_pat_", 16, Url), ("dckr_oat_", 16, Url), ("AKCp", 40, Word), ("cmVmdGtu", 40, Word),
    ("CCIPAT_", 20, Any), ("CCIPRJ_", 20, Any), ("bkua_", 30, Word), ("sqp_", 30, Hex), ("squ_", 30, Hex), ("sqa_", 30, Hex),
    ("sgp_", 30, Url), ("pul-", 32, Hex), ("pnu_", 30, Word), ("hvs.", 16, Url), ("hvb.", 16, Url), ("hvr.", 16, Url),
    ("dp.pt.", 30, Word), ("dp.st.", 30, Any), ("dp.ct.", 30, Word), ("dp.sa.", 30, Word), ("ops_eyJ", 40, Any),
    ("AGE-SECRET-KEY-", 16, Capital), ("age-secret-key-", 16, Word), ("PMAK-", 30, Url),
    // People talking.
    ("xoxb-", 10, Url), ("xoxp-", 10, Url), ("xoxa-", 10, Url), ("xoxr-", 10, Url), ("xoxs-", 10, Url), ("xoxe-", 10, Url),
    ("xoxe.xoxp-", 10, Url), ("xoxe.xoxb-", 10, Url), ("xoxc-", 10, Url), ("xoxd-", 10, Any), ("xapp-", 10, Url),
    ("lin_api_", 30, Word), ("lin_oauth_", 30, Word), ("ntn_", 40, Word), ("secret_", 43, Word), ("figd_", 30, Url),
    ("tfp_", 30, Any), ("rdme_", 30, Word), ("oauth:", 28, Word),
    // Money.
    ("sk_live_", 10, Word), ("sk_test_", 10, Word), ("sk_prod_", 10, Word), ("rk_live_", 10, Word), ("rk_test_", 10, Word), ("rk_prod_", 10, Word),
    ("whsec_", 20, Any), ("sq0atp-", 20, Url), ("sq0csp-", 30, Url), ("EAAAE", 50, Url), ("access_token$production$", 16, Any),
    ("access-production-", 30, Url), ("access-sandbox-", 30, Url), ("shpat_", 30, Word), ("shpca_", 30, Word), ("shppa_", 30, Word), ("shpss_", 30, Word),
    ("FLWSECK", 20, Url), ("EZAK", 54, Word), ("EZTK", 54, Word), ("duffel_live_", 30, Url), ("duffel_test_", 30, Url),
    ("shippo_live_", 30, Hex), ("shippo_test_", 30, Hex),
    // Mail and telephones.
    ("SG.", 30, Any), ("key-", 32, Hex), ("xkeysib-", 60, Url), ("SK", 32, Hex), ("AC", 32, Hex),
    // Who watches.
    ("NRAK-", 20, Word), ("NRII-", 20, Url), ("NRJS-", 16, Hex), ("NRRA-", 30, Hex), ("NRIQ-", 20, Word), ("ddapi_", 20, Word), ("ddapp_", 20, Word), ("glsa_", 30, Url), ("glc_", 32, Any),
    ("eyJrIjoi", 40, Any), ("sntrys_", 40, Any), ("sntryu_", 40, Hex), ("hcaik_", 40, Word), ("hcxik_", 40, Word),
    // What thinks.
    ("sk-proj-", 20, Url), ("sk-svcacct-", 20, Url), ("sk-admin-", 20, Url), ("sk-ant-", 20, Url), ("sk-or-v1-", 30, Hex), ("sk-", 32, Word),
    ("hf_", 30, Word), ("api_org_", 30, Word), ("gsk_", 40, Word), ("r8_", 30, Word), ("pplx-", 40, Word), ("xai-", 60, Word),
];

/// Where in a text tokens of a known make stand.
pub(super) fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut found = known(text);
    found.extend(web_tokens(text));
    found.extend(others(text));
    found.sort_by_key(|token| (token.start, std::cmp::Reverse(token.end)));
    found.dedup_by(|next, before| next.start < before.end);
    found
}

fn known(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let by_first = by_first();
    let mut found = Vec::new();
    let mut is_inside = false;
    for (at, byte) in bytes.iter().enumerate() {
        let begins = !is_inside;
        is_inside = byte.is_ascii_alphanumeric() || *byte == b'_';
        if !begins {
            continue;
        }
        for (begin, least, chars) in
            by_first[usize::from(*byte)].iter().filter(|(begin, ..)| bytes[at..].starts_with(begin.as_bytes()))
        {
            let rest = &bytes[at + begin.len()..];
            let length = rest.iter().take_while(|byte| chars.has(**byte)).count();
            if length >= *least && is_mixed(&rest[..length]) {
                found.push(at..at + begin.len() + length);
            }
        }
    }
    found
}

/// The kinds by the first byte of their beginnings: one pass over a text has to ask few of them.
fn by_first() -> &'static [Vec<Kind>] {
    static BY_FIRST: OnceLock<Vec<Vec<Kind>>> = OnceLock::new();
    BY_FIRST.get_or_init(|| {
        let of = |byte: u8| KINDS.iter().filter(|(begin, ..)| begin.as_bytes()[0] == byte).copied().collect();
        (0..=u8::MAX).map(of).collect()
    })
}

fn begins_here(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

/// Not one sign repeated: `ghp_xxxxxxxxxxxxxxxxxxxx` stands in instructions.
fn is_mixed(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte != bytes[0])
}

/// Three or five parts of base64, the first of which is a JSON object.
fn web_tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("eyJ").filter_map(|(at, _)| {
        let length = text.as_bytes()[at..].iter().take_while(|byte| Url.has(**byte) || **byte == b'.').count();
        let token = text[at..at + length].trim_end_matches('.');
        let parts: Vec<&str> = token.split('.').collect();
        let whole = matches!(parts.len(), 3 | 5)
            && parts[0].len() >= 10
            && parts.iter().rev().take(2).all(|part| part.len() >= 8);
        (whole && begins_here(text, at)).then_some(at..at + token.len())
    })
}

/// Those that are known by something in their middle or at their end.
fn others(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_one = |word: &str| is_in_two(word) || (word.len() >= 34 && is_other(word));
    words(text).filter_map(move |(at, word)| is_one(word).then_some(at..at + word.len()))
}

/// Vault's tokens before 1.10 (`s.`, 24 letters and digits) and kubeadm's (6 small ones, a dot, 16): short, and so
/// known only by being mixed as chance mixes.
fn is_in_two(word: &str) -> bool {
    let Some((id, secret)) = word.split_once('.') else { return false };
    let count = |has: fn(&u8) -> bool| secret.as_bytes().iter().filter(|byte| has(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let small = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let vault = id == "s"
        && secret.len() == 24
        && secret.bytes().all(|byte| Word.has(byte))
        && digits > 0
        && count(u8::is_ascii_uppercase) > 0
        && count(u8::is_ascii_lowercase) > 0;
    let kubeadm = id.len() == 6 && secret.len() == 16 && small(id) && small(secret) && (2..=14).contains(&digits);
    vault || kubeadm
}

fn is_other(word: &str) -> bool {
    let all = |text: &str, chars: Chars| text.bytes().all(|byte| chars.has(byte));
    // Azure's client secrets, a bot of Telegram, a bot of Discord, Mailchimp, New Relic's licences, Terraform, Airtable.
    let azure = word.len() >= 34
        && word.len() <= 44
        && word.get(4..6) == Some("Q~")
        && word.as_bytes()[3].is_ascii_digit()
        && all(&word[6..], Any);
    let telegram = word.split_once(':').is_some_and(|(id, token)| {
        (8..=10).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_digit())
            && token.len() == 35
            && token.starts_with("AA")
            && all(token, Url)
    });
    let parts: Vec<&str> = word.split('.').collect();
    let discord = matches!(parts.as_slice(), [id, time, sign]
        if id.starts_with(['M', 'N', 'O']) && (23..=28).contains(&id.len()) && time.len() == 6 && (27..=38).contains(&sign.len())
            && all(id, Word) && all(time, Url) && all(sign, Url));
    let mailchimp = word.split_once("-us").is_some_and(|(key, place)| {
        key.len() == 32 && all(key, Hex) && (1..=2).contains(&place.len()) && place.bytes().all(|b| b.is_ascii_digit())
    });
    let newrelic = word.len() == 40 && word.ends_with("NRAL") && all(word, Word);
    let terraform = word.split_once(".atlasv1.").is_some_and(|(id, rest)| id.len() == 14 && rest.len() >= 40);
    let airtable = matches!(parts.as_slice(), [id, rest] if id.starts_with("pat") && id.len() == 17 && rest.len() == 64 && all(rest, Hex));
    let infisical = matches!(parts.as_slice(), ["st", rest @ ..]
        if rest.len() >= 2 && rest.iter().all(|part| part.len() >= 20 && all(part, Hex)));
    infisical || azure || telegram || discord || mailchimp || newrelic || terraform || airtable
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = |c: char| !(c.is_ascii_alphanumeric() || "_-.~:+/".contains(c));
    let mut at = 0;
    text.split(parts).filter_map(move |word| {
        let start = at;
        at = start + word.len() + text[start + word.len()..].chars().next().map_or(0, char::len_utf8);
        (word.len() >= 23).then_some((start, word))
    })
}
