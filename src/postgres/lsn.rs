//! A position in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A WAL position (log sequence number): a byte offset in the log, written `16/B374D848` as PostgreSQL writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(pub u64);

/// The text is not a WAL position.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a WAL position such as 16/B374D848")]
pub struct BadLsn(String);

impl FromStr for Lsn {
    type Err = BadLsn;

    fn from_str(text: &str) -> Result<Self, BadLsn> {
        let bad = || BadLsn(text.to_owned());
        let half = |part: &str| -> Result<u64, BadLsn> {
            let hex = !part.is_empty() && part.len() <= 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
            if hex { u64::from_str_radix(part, 16).map_err(|_| bad()) } else { Err(bad()) }
        };
        let (high, low) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

impl TryFrom<String> for Lsn {
    type Error = BadLsn;

    fn try_from(text: String) -> Result<Self, BadLsn> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_postgresql_writes() {
        for text in ["0/0", "0/3000028", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_position() {
        for text in ["", "/", "0", "0/", "/0", "0/+1", "0/-1", "0/1/2", "123456789/0", "0/123456789", "g/0", " 0/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    #[test]
    fn positions_are_ordered_across_the_slash() {
        assert!("1/0".parse::<Lsn>().unwrap() > "0/FFFFFFFF".parse::<Lsn>().unwrap());
    }
}
