//! A bundle's name.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The longest name that Helm lets a release have.
const RELEASE_LIMIT: usize = 53;

/// `<release>-<YYYYmmddTHHMMSSZ>-<6 hex digits>`: sorts by release and then by time, and two are never the same by
/// accident.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleId(String);

/// The text is not the name of a bundle.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a bundle's name such as opschain-20261123T075443Z-0a1b2c")]
pub struct BadId(String);

impl BundleId {
    /// Makes the name of a bundle of `release` (a Helm release name) that is made at `created`.
    ///
    /// # Errors
    /// `BadId` when Helm would not take the release's name.
    pub fn generate(release: &str, created: Timestamp) -> Result<Self, BadId> {
        Self::salted(release, created, rand::rng().random_range(0..1 << 24))
    }

    /// As [`Self::generate`], with a `salt` below 2^24 that is known: what is made of the same thing again has its name.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn salted(release: &str, created: Timestamp, salt: u32) -> Result<Self, BadId> {
        format!("{release}-{}-{salt:06x}", created.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ")).parse()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The second at which the bundle was made, as the name tells it.
    pub fn created(&self) -> Option<Timestamp> {
        let stamp = self.0.rsplit('-').nth(1)?;
        let moment = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?;
        moment.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }
}

impl FromStr for BundleId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let mut parts = text.rsplitn(3, '-');
        let (salt, stamp, release) = (parts.next(), parts.next(), parts.next());
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let good_salt = salt.is_some_and(|s| s.len() == 6 && s.bytes().all(lower_hex));
        let good_stamp = stamp.is_some_and(|s| s.len() == 16);
        let good_release = release.is_some_and(|r| {
            !r.is_empty()
                && r.len() <= RELEASE_LIMIT
                && r.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
                && r.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        });
        let id = Self(text.to_owned());
        if good_salt && good_stamp && good_release && id.created().is_some() {
            Ok(id)
        } else {
            Err(BadId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for BundleId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<BundleId> for String {
    fn from(id: BundleId) -> Self {
        id.0
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_name_is_read_back_with_its_second() {
        let now: Timestamp = "2026-11-23T07:54:43.9Z".parse().unwrap();
        let id = BundleId::generate("my-release.1", now).unwrap();
        assert!(id.as_str().starts_with("my-release.1-20261123T075443Z-"));
        assert_eq!(id.created().unwrap(), "2026-11-23T07:54:43Z".parse::<Timestamp>().unwrap());
        assert_eq!(id.to_string().parse::<BundleId>().unwrap(), id);
    }

    #[test]
    fn what_could_be_a_path_or_is_no_name_is_refused() {
        for bad in [
            "",
            "opschain",
            "opschain-20261123T075443Z",
            "opschain-20261123T075443Z-0A1B2C",
            "opschain-20261123T995443Z-0a1b2c",
            "../x-20261123T075443Z-0a1b2c",
            "-20261123T075443Z-0a1b2c",
            "Ops-20261123T075443Z-0a1b2c",
            "opschain-20261123T075443Z-0a1b2c.tar",
        ] {
            assert!(bad.parse::<BundleId>().is_err(), "{bad}");
        }
        assert!(BundleId::generate("A/b", crate::clock::now()).is_err());
    }
}
