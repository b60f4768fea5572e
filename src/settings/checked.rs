//! Values of settings that have a range, and how they are written: what is out of it is refused by the key's name.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error};

/// The longest of [`TimeSpan`]: a week.
const LONGEST: u64 = 7 * 24 * 3600;

/// A length of time, written `90s`, `30m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(pub Duration);

impl std::str::FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a length of time such as 90s, 30m or 1h");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let count: u64 = text[..split].parse().map_err(|_| bad())?;
        let unit = match &text[split..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(bad()),
        };
        match count.checked_mul(unit) {
            Some(seconds @ 1..=LONGEST) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(format!("`{text}` is not between 1s and {}h", LONGEST / 3600)),
        }
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> Self {
        span.to_string()
    }
}

impl std::fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_secs() {
            s if s > 0 && s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s > 0 && s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

/// A rate in PostgreSQL's words: kilobytes a second, or with `k` or `M` behind.
///
/// # Errors
/// It is none, or pg_basebackup would refuse it.
pub fn max_rate_of(text: &str) -> Result<String, String> {
    let (digits, unit) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix('k').unwrap_or(text), 1),
    };
    let kilobytes = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match kilobytes.and_then(|count| count.checked_mul(unit)) {
        Some(32..=1_048_576) => Ok(text.to_owned()),
        _ => Err(format!("`{}` is not a rate between 32k and 1024M, such as 100M", text.escape_debug())),
    }
}

fn named<T, E: Error>(key: &str, value: Result<T, impl Display>) -> Result<T, E> {
    value.map_err(|error| E::custom(format!("{key}: {error}")))
}

fn within<'de, D: Deserializer<'de>>(key: &str, range: RangeInclusive<i64>, from: D) -> Result<i64, D::Error> {
    let number = i64::deserialize(from)?;
    let wrong = || format!("{number} is not between {} and {}", range.start(), range.end());
    named(key, range.contains(&number).then_some(number).ok_or_else(wrong))
}

// A bundle's reader opens no chunk of more than 256 MiB.
pub(super) fn chunk_mib<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within("chunk_mib", 1..=256, from).and_then(|number| named("chunk_mib", u32::try_from(number)))
}

pub(super) fn zstd_level<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    within("zstd_level", 1..=19, from).and_then(|number| named("zstd_level", i32::try_from(number)))
}

pub(super) fn drain_timeout<'de, D: Deserializer<'de>>(from: D) -> Result<TimeSpan, D::Error> {
    named("drain_timeout", String::deserialize(from)?.parse::<TimeSpan>())
}

pub(super) fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<TimeSpan, D::Error> {
    named("timeout", String::deserialize(from)?.parse::<TimeSpan>())
}

pub(super) fn max_rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    named("max_rate", Option::<String>::deserialize(from)?.map(|text| max_rate_of(&text)).transpose())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused_with_its_place_its_key_and_the_range() {
        let refusal = |text: &str| Settings::parse(text, Path::new("dr.toml")).unwrap_err().to_string();
        for (text, said) in [
            ("[bundle]\nchunk_mib = 0\n", "dr.toml:2:13: chunk_mib: 0 is not between 1 and 256"),
            ("[bundle]\nchunk_mib = 257\n", "dr.toml:2:13: chunk_mib: 257 is not between 1 and 256"),
            ("[bundle]\nzstd_level = 99999\n", "dr.toml:2:14: zstd_level: 99999 is not between 1 and 19"),
            ("[bundle]\nzstd_level = 0\n", "dr.toml:2:14: zstd_level: 0 is not between 1 and 19"),
            ("[bundle]\ndrain_timeout = \"0s\"\n", "dr.toml:2:17: drain_timeout: `0s` is not between 1s and 168h"),
            ("[helm]\ntimeout = \"0m\"\n", "dr.toml:2:11: timeout: `0m` is not between 1s and 168h"),
            (
                "[bundle]\nmax_rate = \"x\\u001b[2J\"\n",
                "dr.toml:2:12: max_rate: `x\\u{1b}[2J` is not a rate between 32k and 1024M, such as 100M",
            ),
        ] {
            assert_eq!(refusal(text), said);
        }
        for rate in ["32k", "32", "1024M", "1048576k"] {
            assert_eq!(max_rate_of(rate).as_deref(), Ok(rate));
        }
        for rate in ["", "M", "31k", "1025M", "10G", "1 M", "-1M", "99999999999999999999M"] {
            assert!(max_rate_of(rate).is_err(), "{rate}");
        }
        let good = "[bundle]\nchunk_mib = 256\nzstd_level = 19\ndrain_timeout = \"168h\"\nmax_rate = \"100M\"\n";
        assert_eq!(Settings::parse(good, Path::new("x")).unwrap().bundle.max_rate.as_deref(), Some("100M"));
    }

    #[test]
    fn lengths_of_time_read_back_as_written() {
        for text in ["90s", "30m", "1h", "168h"] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().to_string(), text);
        }
        for text in ["", "5", "m", "1d", "-1s", "99999999999999999999h", "1 h", "0s", "169h"] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }
}
