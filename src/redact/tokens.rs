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
    /// Those, `.`, `=`, `~`, `+`, `/`, `%` and `$`.
    Any,
    /// Those of [`Chars::Url`], mixed as chance mixes: behind beginnings that names begin with, too.
    Chance,
    /// Hexadecimal digits in lower case.
    Hex,
    /// Hexadecimal digits in any case and `-`: UUIDs.
    Uuid,
    /// Capital letters and digits.
    Capital,
}

impl Chars {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Word => byte.is_ascii_alphanumeric(),
            Self::Url | Self::Chance => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Any => byte.is_ascii_alphanumeric() || b"_-.=~+/%$".contains(&byte),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Uuid => byte.is_ascii_hexdigit() || byte == b'-',
            Self::Capital => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

use Chars::{Any, Capital, Chance, Hex, Url, Uuid, Word};

/// How a token begins, how many characters follow at least, and which. Short beginnings ask for more.
type Kind = (&'static str, usize, Chars);

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    // Clouds.
    ("AKIA", 16, Capital), ("ASIA", 16, Capital), ("ABIA", 16, Capital), ("ACCA", 16, Capital), ("AGPA", 16, Capital),
    ("amzn.mws.", 30, Url), ("FwoGZXIvYXdz", 40, Any), ("IQoJb3JpZ2lu", 40, Any), ("ABSK", 100, Any), ("bedrock-api-key-", 28, Any), ("da2-", 26, Word),
    ("AIza", 30, Url), ("GOCSPX-", 20, Url), ("ya29.", 20, Any), ("1//0", 30, Url),
    ("dop_v1_", 32, Hex), ("doo_v1_", 32, Hex), ("dor_v1_", 32, Hex), ("LTAI", 16, Word), ("AKID", 24, Word),
    ("A3T", 17, Capital), ("SCW", 17, Capital), ("EXO", 24, Hex), ("ucat_", 24, Word), ("K00", 28, Chance), ("mdb_sa_sk_", 30, Url), ("CCDB1_", 40, Url), ("AVNS_", 15, Url), ("aivenv1", 100, Any), ("essu_", 40, Any), ("cflt", 60, Any),
    ("napi_", 50, Word), ("xau_", 32, Word), ("nbp_", 30, Word), ("sb_secret_", 24, Url), ("vcp_", 40, Chance), ("vci_", 40, Chance), ("vca_", 40, Chance), ("vcr_", 40, Chance), ("vck_", 40, Chance), ("nfc_", 30, Word), ("nfo_", 30, Word), ("nfb_", 30, Word), ("nfu_", 30, Word),
    ("AQVN", 30, Url), ("HRKU-", 30, Url), ("FlyV1 ", 20, Any), ("fo1_", 30, Url), ("rnd_", 24, Word), ("nfp_", 30, Word),
    ("sbp_", 30, Word), ("pscale_tkn_", 20, Any), ("pscale_pw_", 20, Any), ("pscale_oauth_", 20, Any),
    ("dapi", 32, Hex), ("tskey-", 16, Url), ("v1.0-", 100, Url), ("cfut_", 40, Word), ("cfat_", 40, Word), ("cfk_", 40, Word),
    ("ddp_", 36, Word), ("ddw_", 36, Word), ("fm1a_", 80, Any), ("fm1r_", 80, Any), ("fm2_", 80, Any), ("tk-us-", 40, Url), ("t1.", 86, Any),
    ("YC", 38, Chance), ("ico-", 32, Word), ("nvapi-", 60, Url), ("endr+", 16, Url), ("0.A", 50, Url), ("1.A", 50, Url), ("dnkey-", 60, Any), ("sha256~", 40, Url), ("dt0c01.", 24, Any), ("dt0s01.", 24, Any), ("dt0s02.", 24, Any),
    // Code, packages and what builds them.
    ("ghp_", 20, Word), ("gho_", 20, Word), ("ghu_", 20, Word), ("ghs_", 20, Word), ("ghr_", 20, Word),
    ("github_pat_", 20, Url), ("glpat-", 16, Any), ("gldt-", 16, Any), ("glrt-", 16, Any), ("glptt-", 16, Any), ("glcbt-", 16, Any),
    ("glsoat-", 16, Any), ("glffct-", 16, Any), ("glimt-", 16, Any), ("glagent-", 16, Any), ("gloas-", 16, Any), ("glft-", 16, Any),
    ("glrtr-", 16, Any), ("glwt-", 16, Any), ("packagist_", 40, Any), ("sktsec_", 40, Any), ("dsp_", 40, Hex), ("RGAPI-", 36, Uuid), ("bkct_", 30, Word), ("bkat_", 30, Word), ("dls_", 40, Any), ("dp.scim.", 30, Word), ("dp.audit.", 30, Word), ("cu_", 32, Hex), ("inc_live_", 24, Word),
    ("GR1348941", 16, Url), ("ATBB", 24, Word), ("ATATT", 24, Any), ("ATCTT3", 24, Any), ("BBDC-", 30, Any),
    ("npm_", 30, Word), ("pypi-", 30, Url), ("rubygems_", 32, Word), ("oy2", 40, Word), ("CLOJARS_", 30, Word), ("cio", 32, Word),
    ("dckr_pat_", 16, Url), ("dckr_oat_", 16, Url), ("AKCp", 10, Word), ("cmVmd", 59, Word), ("API-", 26, Capital), ("sqco_", 50, Word), ("slk_", 60, Hex),
    ("CCIPAT_", 20, Any), ("CCIPRJ_", 20, Any), ("bkua_", 30, Word), ("sqp_", 30, Hex), ("squ_", 30, Hex), ("sqa_", 30, Hex),
    ("sgp_", 30, Url), ("pul-", 32, Word), ("pnu_", 30, Word), ("hvs.", 16, Url), ("hvb.", 16, Url), ("hvr.", 16, Url),
    ("dp.pt.", 30, Word), ("dp.st.", 30, Any), ("dp.ct.", 30, Word), ("dp.sa.", 30, Word), ("ops_eyJ", 40, Any),
    ("AGE-SECRET-KEY-", 16, Capital), ("age-secret-key-", 16, Word), ("PMAK-", 30, Url), ("A3-", 30, Url), ("p8e-", 32, Word),
    ("thog-key-", 16, Hex), ("thog-secret-", 32, Hex), ("spu-", 32, Word), ("NF-", 32, Word), ("ptr_", 20, Chance), ("apify_api_", 30, Word),
    ("CFPAT-", 40, Url), ("bb_pr_", 30, Hex), ("bb_ma_", 30, Hex), ("salad_cloud_", 12, Chance), ("sm_aat_", 16, Word), ("sm_pat_", 16, Word), ("sm_sat_", 16, Word),
    // People talking.
    ("xoxb-", 10, Url), ("xoxp-", 10, Url), ("xoxa-", 8, Url), ("xoxr-", 8, Url), ("xoxo-", 10, Url), ("xoxs-", 10, Url), ("xoxe-", 10, Url),
    ("xoxe.xoxp-", 10, Url), ("xoxe.xoxb-", 10, Url), ("xoxc-", 10, Url), ("xoxd-", 10, Any), ("xapp-", 10, Url),
    ("lin_api_", 30, Word), ("lin_oauth_", 30, Word), ("ntn_", 40, Word), ("secret_", 43, Word), ("figd_", 30, Url), ("figp_", 30, Any), ("figh_", 30, Any), ("figo_", 30, Any), ("tkn.v1_", 30, Any),
    ("sl.", 100, Any), ("fio-u-", 60, Any), ("shltm_", 40, Url), ("secret_", 16, Chance), ("API_KEY", 32, Capital), ("aio_", 28, Word), ("api_", 40, Word),
    ("web_", 32, Word), ("oauth2:", 32, Hex), ("VF.", 38, Any), ("pk.", 30, Chance), ("pk.", 80, Any), ("sk.", 80, Any), ("tk.eyJ", 40, Any),
    ("s-s4t2ud-", 60, Hex), ("s-s4t2af-", 60, Hex), ("u-s4t2ud-", 60, Hex), ("u-s4t2af-", 60, Hex), ("AAAAAAAAAAAAAAAAAAAAA", 60, Any),
    ("tfp_", 30, Any), ("rdme_", 30, Word), ("oauth:", 28, Word),
    // Money.
    ("sk_live_", 10, Word), ("sk_test_", 10, Word), ("sk_prod_", 10, Word), ("rk_live_", 10, Word), ("rk_test_", 10, Word), ("rk_prod_", 10, Word),
    ("whsec_", 20, Any), ("sq0atp-", 20, Url), ("sq0csp-", 30, Url), ("EAAA", 22, Chance), ("EAA", 100, Word), ("sq0i", 24, Url), ("sq0c", 42, Url), ("access_token$production$", 16, Any),
    ("access-production-", 30, Url), ("access-sandbox-", 30, Url), ("access-development-", 30, Url),
    ("sk_", 30, Chance), ("pk_", 30, Chance), ("ak_live_", 30, Word), ("live_", 35, Chance), ("test_", 31, Hex), ("rzp_live_", 14, Word), ("pi_", 45, Chance),
    ("ramp_sec_", 40, Word), ("ramp_id_", 40, Word), ("pri_", 32, Hex), ("act_", 24, Word), ("rh-api-", 36, Uuid), ("flb_live_", 20, Word), ("shpat_", 30, Word), ("shpca_", 30, Word), ("shppa_", 30, Word), ("shpss_", 30, Word),
    ("FLWSECK", 12, Url), ("FLWPUBK", 20, Url), ("EZAK", 54, Word), ("EZTK", 54, Word), ("duffel_live_", 30, Url), ("duffel_test_", 30, Url),
    ("shippo_live_", 30, Word), ("shippo_test_", 30, Word),
    // Mail and telephones.
    ("re_", 30, Chance), ("mlsn.", 60, Hex), ("secret-live-", 30, Url), ("secret-test-", 30, Url), ("testsk_", 24, Word), ("private_", 27, Chance),
    ("SG.", 30, Any), ("key-", 32, Word), ("pubkey-", 32, Hex), ("xkeysib-", 60, Url), ("KEY", 54, Chance), ("pat-na1-", 36, Uuid), ("pat-eu1-", 36, Uuid), ("na1.", 80, Any),
    // Who watches.
    ("NRAK-", 20, Word), ("NRII-", 20, Url), ("NRJS-", 16, Hex), ("NRRA-", 30, Hex), ("NRIQ-", 20, Url), ("NRBR-", 16, Hex), ("AK1", 50, Word), ("BBFF-", 30, Word), ("pgar_", 24, Chance), ("phx_", 40, Chance), ("rootly_", 60, Hex),
    ("api-", 36, Uuid), ("sdk-", 36, Uuid), ("pub-c-", 36, Chance), ("sub-c-", 36, Chance), ("ddapi_", 20, Word), ("ddapp_", 20, Word), ("glsa_", 30, Url), ("glc_", 32, Any),
    ("eyJrIjoi", 40, Any), ("ZXlK", 50, Any), ("3MVG9", 60, Any), ("5AEP861", 60, Any), ("sntrys_", 40, Any), ("sntryu_", 40, Hex), ("hcaik_", 40, Word), ("hcxik_", 40, Word),
    // What thinks.
    ("sk-proj-", 20, Url), ("sk-svcacct-", 20, Url), ("sk-admin-", 20, Url), ("sk-ant-", 20, Url), ("sk-or-v1-", 30, Hex), ("sk-", 32, Word), ("sk-lf-", 36, Uuid), ("pk-lf-", 36, Uuid), ("lsv2_", 40, Url), ("pcsk_", 60, Url),
    ("AQ.", 40, Url), ("tvly-", 24, Url), ("fc-", 32, Hex), ("jina_", 40, Url), ("csk-", 40, Word), ("fw_", 20, Chance), ("tgp_v1_", 36, Url), ("e2b_", 36, Hex), ("wandb_v1_", 40, Url), ("pa-", 40, Chance),
    ("hf_", 30, Word), ("api_org_", 30, Word), ("gsk_", 40, Word), ("r8_", 30, Word), ("pplx-", 40, Word), ("xai-", 60, Word),
];

/// Where in a text tokens of a known make stand.
pub(super) fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut found = known(text);
    found.extend(web_tokens(text));
    found.extend(others(text));
    found.extend(behind_an_id(text));
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
            let chance = *chars != Chance || is_chance(&rest[..length]);
            if length >= *least && is_mixed(&rest[..length]) && chance {
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

/// Letters and digits of many kinds, and few signs between them: no name that people give.
fn is_chance(bytes: &[u8]) -> bool {
    let count = |has: fn(&u8) -> bool| bytes.iter().filter(|byte| has(byte)).count();
    let mut kinds = [false; 256];
    bytes.iter().for_each(|byte| kinds[usize::from(*byte)] = true);
    count(u8::is_ascii_digit) >= 2
        && count(u8::is_ascii_alphabetic) >= 2
        && count(u8::is_ascii_punctuation) * 6 <= bytes.len()
        && kinds.iter().filter(|kind| **kind).count() >= 8
}

/// Two, three or five parts of base64, the first of which is a JSON object, and the second where there are two.
fn web_tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("eyJ").chain(text.match_indices("ewo")).filter_map(|(at, _)| {
        let length = text.as_bytes()[at..].iter().take_while(|byte| Url.has(**byte) || **byte == b'.').count();
        let token = text[at..at + length].trim_end_matches('.');
        let parts: Vec<&str> = token.split('.').collect();
        let whole = (matches!(parts.len(), 3 | 5) || (parts.len() == 2 && parts[1].starts_with("ey")))
            && parts[0].len() >= 10
            && parts.iter().rev().take(2).all(|part| part.len() >= 8);
        (whole && begins_here(text, at)).then_some(at..at + token.len())
    })
}

/// Those that are known by something in their middle or at their end.
fn others(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_one = |word: &str| is_in_two(word) || (word.len() >= 30 && is_other(word));
    words(text).filter(move |(_, word)| is_one(word)).map(|(at, word)| {
        let end = at + word.len();
        at..end + text[end..].len() - text[end..].trim_start_matches('=').len()
    })
}

/// An id, a bar or an exclamation mark, and a secret: Facebook's and Laravel's tokens, Salesforce's sessions.
fn behind_an_id(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(['|', '!']).filter_map(|(at, sign)| {
        let (before, behind) = (&text.as_bytes()[..at], &text.as_bytes()[at + 1..]);
        let id = before.iter().rev().take_while(|byte| Word.has(**byte)).count();
        let digits = before[at - id..].iter().all(u8::is_ascii_digit);
        let length = |chars: Chars| behind.iter().take_while(|byte| chars.has(**byte)).count();
        let secret = match sign {
            "|" if digits && (15..=16).contains(&id) => Some(length(Url)).filter(|length| (27..=40).contains(length)),
            "|" if digits && (1..=10).contains(&id) => Some(length(Word)).filter(|length| (40..=48).contains(length)),
            "!" if id == 15 && before[at - id..].starts_with(b"00") => Some(length(Any)).filter(|length| *length >= 60),
            _ => None,
        }?;
        is_chance(&behind[..secret]).then_some(at - id..at + 1 + secret)
    })
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
        (5..=16).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_digit())
            && token.len() == 35
            && all(token, Url)
            && (token.starts_with('A') || is_chance(token.as_bytes()))
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
    // Twilio, ClickHouse, Harness, Zoho, Authress, Airtable's OAuth, New Relic's mobile keys, MaxMind, Mailgun's signing keys.
    let exact = (word.len() == 34 && (word.starts_with("SK") || word.starts_with("AC")))
        || (word.len() == 42 && word.starts_with("4b1d"));
    let harness =
        matches!(parts.as_slice(), ["pat" | "sat", a, b, c] if a.len() == 22 && b.len() == 24 && c.len() == 20);
    let zoho =
        matches!(parts.as_slice(), ["1000", a, b] if a.len() == 32 && b.len() == 32 && all(a, Hex) && all(b, Hex));
    let authress = ["sc_", "ext_", "scauth_", "authress_"].iter().any(|begin| word.starts_with(begin))
        && matches!(parts.as_slice(), [_, _, kind, secret] if kind.starts_with("acc") && secret.len() >= 30);
    let oauth = matches!(parts.as_slice(), [id, "v1", middle, sign]
        if id.len() >= 8 && middle.len() >= 16 && sign.len() >= 16 && all(middle, Url) && all(sign, Hex));
    let ended = word.ends_with("-NRMA") || (word.len() == 40 && word.ends_with("_mmk"));
    let signing = word.len() == 50 && word.split('-').map(str::len).eq([32, 8, 8]) && all(&word.replace('-', ""), Word);
    // Asana's two, Bitwarden's of machines, Azure's registry, Coinbase's, Okta's.
    let behind_slash = |begin: &str, parts: usize| {
        word.strip_prefix(begin).and_then(|rest| rest.split_once(':')).is_some_and(|(id, secret)| {
            id.split('/').count() == parts
                && id.bytes().all(|b| b.is_ascii_digit() || b == b'/')
                && secret.len() == 32
                && all(secret, Hex)
        })
    };
    let asana = behind_slash("1/", 1)
        || behind_slash("2/", 2)
        || word.strip_prefix("0/").is_some_and(|rest| rest.len() == 32 && all(rest, Hex));
    let bitwarden = matches!(parts.as_slice(), ["0", id, rest] if id.len() == 36 && all(id, Uuid) && rest.len() >= 40 && rest.contains(':'));
    let registry = word.len() == 52 && word.get(42..46) == Some("+ACR");
    let coinbase = word.starts_with("organizations/") && word.contains("/apiKeys/");
    let okta = word.len() == 42 && word.starts_with("00") && all(word, Url) && is_chance(word.as_bytes());
    let found = asana || bitwarden || registry || coinbase || okta;
    let more = found
        || (exact && all(word, Word) && is_chance(word.as_bytes()))
        || harness
        || zoho
        || authress
        || oauth
        || ended
        || signing;
    more || infisical || azure || telegram || discord || mailchimp || newrelic || terraform || airtable
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
