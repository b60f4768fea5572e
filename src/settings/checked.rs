//! Values of settings that have a range, and how they are written: whatever else stands there is refused with the range.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::{Serialize, Serializer};

use crate::quantity;

/// The longest of [`TimeSpan`]: a week.
const LONGEST: u64 = 7 * 24 * 3600;

/// A length of time, written `90s`, `30m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
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

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("a length of time between 1s and 168h, such as \"30m\"", str::parse))
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

/// The bytes a second of a rate that [`max_rate_of`] takes; `None` of any other text.
pub fn bytes_of_rate(text: &str) -> Option<u64> {
    let rate = max_rate_of(text).ok()?;
    let unit = if rate.ends_with('M') { 1 << 20 } else { 1 << 10 };
    rate.trim_end_matches(['k', 'M']).parse::<u64>().ok()?.checked_mul(unit)
}

pub(super) fn max_rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_str(Text("a rate between 32k and 1024M, such as \"100M\"", max_rate_of)).map(Some)
}

pub(super) fn cpu<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_str(Text("CPUs between 100m and 64, such as \"500m\"", |text| {
        quantity_within(text, 0.1..=64.0, "CPUs between 100m and 64, such as 500m")
    }))
    .map(Some)
}

pub(super) fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    const MIB: f64 = 1_048_576.0;
    from.deserialize_str(Text("memory between 384Mi and 64Gi, such as \"1Gi\"", |text| {
        quantity_within(text, 384.0 * MIB..=65_536.0 * MIB, "memory between 384Mi and 64Gi, such as 1Gi")
    }))
    .map(Some)
}

fn quantity_within(text: &str, range: RangeInclusive<f64>, what: &str) -> Result<String, String> {
    let amount = quantity::parse_text(text).filter(|amount| range.contains(amount));
    amount.map(|_| text.to_owned()).ok_or_else(|| format!("`{}` is not {what}", text.escape_debug()))
}

/// What the library says that it expected, in the words of whoever writes a settings file.
pub(super) fn in_words(message: &str) -> String {
    let (found, expected) = message.rsplit_once("expected ").unwrap_or((message, ""));
    match expected {
        "a sequence" => format!("{found}expected a list: [..., ...]"),
        "a string" | "path string" => format!("{found}expected a text in quotes"),
        "a boolean" => format!("{found}expected true or false"),
        table if table.starts_with("struct ") => format!("{found}expected a table of keys"),
        _ => message.replace("wanted string or table", "expected one of its words, in quotes"),
    }
}

/// A text that is read by a function; what is expected, in words.
pub(super) struct Text<T>(pub(super) &'static str, pub(super) fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

/// A level of zstd: `None` stands for as much as there is time for, and is written `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionLevel(pub Option<i32>);

impl Serialize for CompressionLevel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(level) => to.serialize_i32(level),
            None => to.serialize_str(AUTO),
        }
    }
}

impl<'de> Deserialize<'de> for CompressionLevel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Level)
    }
}

const AUTO: &str = "auto";

struct Level;

impl Visitor<'_> for Level {
    type Value = CompressionLevel;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number between 1 and 19, or \"auto\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<CompressionLevel, E> {
        let level = i32::try_from(number).ok().filter(|level| (1..=19).contains(level));
        let level = level.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))?;
        Ok(CompressionLevel(Some(level)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<CompressionLevel, E> {
        let auto = (text == AUTO).then_some(CompressionLevel(None));
        auto.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

pub(super) fn whole<'de, D, T, const LOW: i64, const HIGH: i64>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64, Error: Display>,
{
    from.deserialize_i64(Whole::<LOW, HIGH>).and_then(|number| T::try_from(number).map_err(D::Error::custom))
}

struct Whole<const LOW: i64, const HIGH: i64>;

impl<const LOW: i64, const HIGH: i64> Visitor<'_> for Whole<LOW, HIGH> {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number between {LOW} and {HIGH}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        let fits = (LOW..=HIGH).contains(&number);
        fits.then_some(number).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_its_place_its_key_and_what_would_fit() {
        let refusal = |text: &str| Settings::parse(text, Path::new("dr.toml")).unwrap_err().to_string();
        for (text, said) in [
            (
                "[bundle]\nchunk_mib = 0\n",
                "2:13: bundle.chunk_mib: invalid value: integer `0`, expected a whole number between 1 and 40",
            ),
            (
                "[bundle]\nchunk_mib = 1.5\n",
                "2:13: bundle.chunk_mib: invalid type: floating point `1.5`, expected a whole number between 1 and 40",
            ),
            (
                "[bundle]\nzstd_level = \"1\"\n",
                "2:14: bundle.zstd_level: invalid value: string \"1\", expected a whole number between 1 and 19, or \"auto\"",
            ),
            ("[bundle]\ndrain_timeout = \"0s\"\n", "2:17: bundle.drain_timeout: `0s` is not between 1s and 168h"),
            (
                "[helm]\ntimeout = 90\n",
                "2:11: helm.timeout: invalid type: integer `90`, expected a length of time between 1s and 168h, such as \"30m\"",
            ),
            (
                "[bundle]\nmax_rate = \"x\\u001b[2J\"\n",
                "2:12: bundle.max_rate: `x\\u{1b}[2J` is not a rate between 32k and 1024M, such as 100M",
            ),
            (
                "[bundle]\nmax_rate = 100\n",
                "2:12: bundle.max_rate: invalid type: integer `100`, expected a rate between 32k and 1024M, such as \"100M\"",
            ),
            ("[pods]\ncpu = \"50m\"\n", "2:7: pods.cpu: `50m` is not CPUs between 100m and 64, such as 500m"),
            (
                "[pods]\nmemory = \"1GB\"\n",
                "2:10: pods.memory: `1GB` is not memory between 384Mi and 64Gi, such as 1Gi",
            ),
            ("[bundle]\nquiesce = 5\n", "2:11: bundle.quiesce: expected one of its words, in quotes"),
            (
                "[bundle]\nquiesce = \"short\"\n",
                "2:11: bundle.quiesce: unknown variant `short`, expected one of `brief`, `full`, `none`",
            ),
            (
                "[bundle]\nallow = \"agents\"\n",
                "2:9: bundle.allow: invalid type: string \"agents\", expected a list: [..., ...]",
            ),
            ("bundle = 5\n", "1:10: bundle: invalid type: integer `5`, expected a table of keys"),
            ("[keys]\nidentity = 5\n", "2:12: keys.identity: invalid type: integer `5`, expected a text in quotes"),
            (
                "[helm]\nplain_http = \"yes\"\n",
                "2:14: helm.plain_http: invalid type: string \"yes\", expected true or false",
            ),
            (
                "[[drift.ignore]]\nobject = 5\n",
                "2:10: drift.ignore.object: invalid type: integer `5`, expected a text in quotes",
            ),
            ("[helm\n", "1:6: unclosed table, expected `]`"),
        ] {
            assert_eq!(refusal(text), format!("dr.toml:{said}"));
        }
        for rate in ["32k", "32", "1024M", "1048576k"] {
            assert_eq!(max_rate_of(rate).as_deref(), Ok(rate));
        }
        assert_eq!(["64", "64k", "2M", "x"].map(bytes_of_rate), [Some(65_536), Some(65_536), Some(2 << 20), None]);
        for rate in ["", "M", "31k", "1025M", "10G", "1 M", "-1M", "99999999999999999999M"] {
            assert!(max_rate_of(rate).is_err(), "{rate}");
        }
        let good = "[bundle]\nchunk_mib = 40\nzstd_level = 19\ndrain_timeout = \"168h\"\nmax_rate = \"100M\"\n";
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
