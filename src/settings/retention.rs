//! Which bundles `prune` keeps, and how long what it has marked can be taken back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::checked::{Text, whole};

/// The longest of [`DaySpan`], in days.
const LONGEST: u64 = 3660;
const DAY: u64 = 24 * 3600;

/// The rules of retention: how many bundles each keeps. With none, nothing is ever pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_last: u32,
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_hourly: u32,
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_daily: u32,
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_weekly: u32,
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_monthly: u32,
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_yearly: u32,
    /// All that were made so long before the newest, or later.
    pub keep_within: Option<DaySpan>,
    /// So many of each OpsChain version.
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_version: u32,
    /// So many of those that were verified.
    #[serde(deserialize_with = "whole::<_, _, 0, 10000>")]
    pub keep_proved: u32,
    /// How long after it was marked as gone a bundle is removed.
    pub grace: DaySpan,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            keep_last: 0,
            keep_hourly: 0,
            keep_daily: 0,
            keep_weekly: 0,
            keep_monthly: 0,
            keep_yearly: 0,
            keep_within: None,
            keep_version: 0,
            keep_proved: 0,
            grace: DaySpan(Duration::from_secs(7 * DAY)),
        }
    }
}

/// A length of time in hours, days or weeks: `36h`, `7d`, `12w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct DaySpan(pub Duration);

impl FromStr for DaySpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{}` is not between 1h and {LONGEST}d, such as 36h, 7d or 12w", text.escape_debug());
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let count: u64 = text[..split].parse().map_err(|_| bad())?;
        let unit = match &text[split..] {
            "h" => 3600,
            "d" => DAY,
            "w" => 7 * DAY,
            _ => return Err(bad()),
        };
        let seconds =
            count.checked_mul(unit).filter(|seconds| (1..=LONGEST * DAY).contains(seconds)).ok_or_else(bad)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl<'de> Deserialize<'de> for DaySpan {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("a length of time such as \"36h\", \"7d\" or \"12w\"", str::parse))
    }
}

impl From<DaySpan> for String {
    fn from(span: DaySpan) -> Self {
        span.to_string()
    }
}

impl fmt::Display for DaySpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds if seconds % DAY == 0 => write!(f, "{}d", seconds / DAY),
            seconds => write!(f, "{}h", seconds / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_days_are_read_and_written() {
        for (text, shown) in [("36h", "36h"), ("7d", "7d"), ("12w", "84d"), ("24h", "1d"), ("3660d", "3660d")] {
            assert_eq!(text.parse::<DaySpan>().unwrap().to_string(), shown);
        }
        for text in ["", "7", "0d", "3661d", "7m", "-1d", "1 d", "99999999999999999999w"] {
            assert!(text.parse::<DaySpan>().is_err(), "{text}");
        }
    }
}
