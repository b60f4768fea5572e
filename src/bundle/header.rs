//! `bundle.json`: what the bundle is and where it is from. It is in the clear and holds no secret.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::BundleFault;
use super::format::{FORMAT, FormatVersion};
use super::id::BundleId;
use super::json;
use crate::names::{self, NamespaceName, ObjectName, ReleaseName};

const NAME: &str = "bundle.json";
/// How far the clocks of two hosts may differ.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);

/// The clear header of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format that it is written in.
    pub format: FormatVersion,
    pub id: BundleId,
    /// When it was begun: whole seconds, UTC.
    pub created: Timestamp,
    /// The version of the `dr` that wrote it.
    pub dr_version: String,
    /// Which OpsChain the data belong to.
    pub opschain: OpsChain,
    pub install: SourceInstall,
    /// The database's facts that decide where it can be restored.
    pub postgresql: PostgreSql,
    /// How writers were kept off while it was made.
    pub quiesce: QuiesceMode,
    /// What was expected of its size before it was made.
    pub estimated: Estimated,
    /// The age public keys that it is sealed to.
    pub recipients: Vec<String>,
    pub scope: Vec<OutOfScope>,
    /// The restore that has made it of what it then replaced: nobody is given it who asks for the newest. Since 1.6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

/// The versions of OpsChain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpsChain {
    /// The release, such as `2026-08-20`.
    pub version: String,
    /// The chart's version, such as `2026.8.20`.
    pub chart_version: String,
}

/// The source install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInstall {
    pub namespace: NamespaceName,
    pub release: ReleaseName,
    /// The CNPG cluster, such as `opschain-db`.
    pub database_cluster: ObjectName,
    /// The uid of the CNPG cluster object, which tells two clusters of one name apart.
    pub database_cluster_uid: String,
}

impl SourceInstall {
    /// `namespace/release`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.release)
    }
}

/// What PostgreSQL it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgreSql {
    /// The major version: only the same one can read the data.
    pub major: u32,
    /// The server's full version, such as `15.14`.
    pub version: String,
    /// The system identifier, as decimal digits (JSON numbers do not hold 64 bits everywhere).
    pub system_identifier: String,
}

/// How writers were kept off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuiesceMode {
    /// The application was off only while the write-ahead log's position was noted.
    Brief,
    /// The application was off for the whole backup.
    Full,
    /// The application went on: the state is that of a crash.
    None,
    /// A way that this program does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for QuiesceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Brief => "brief",
            Self::Full => "full",
            Self::None => "none",
            Self::Unknown => "unknown",
        })
    }
}

/// Sizes that were known before the data were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimated {
    /// Bytes of the database's folder, write-ahead log left out.
    pub database_bytes: u64,
}

/// Something that the bundle does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfScope {
    /// What, such as `LDAP users and groups`.
    pub what: String,
    pub why: String,
    /// Where it is to be had instead.
    #[serde(rename = "where")]
    pub whereabouts: String,
}

impl OutOfScope {
    /// The same, as a bundle may hold it: names of others are in it, and nothing of them steers a terminal.
    #[must_use]
    pub fn into_text(self) -> Self {
        let text = |text: String| names::as_text(&text);
        Self { what: text(self.what), why: text(self.why), whereabouts: text(self.whereabouts) }
    }
}

impl Header {
    /// The bytes of `bundle.json`.
    ///
    /// # Errors
    /// `Json`, which no header that the type can hold gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleFault> {
        json::to_lines(self, NAME)
    }

    /// Reads `bundle.json`; the format's version comes first, so that a newer one is called newer and not broken.
    ///
    /// # Errors
    /// `TooNew`, `NotABundle`, `Json`, or `Damaged` when its facts contradict each other.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleFault> {
        #[derive(Deserialize)]
        struct Probe {
            format: FormatVersion,
            #[serde(default)]
            dr_version: String,
        }
        let probe: Probe = json::parse(bytes, NAME)?;
        if probe.format.major == 0 {
            return Err(BundleFault::NotABundle(format!("there is no format {}", probe.format)));
        }
        if !probe.format.is_readable_by(FORMAT) {
            return Err(BundleFault::TooNew { found: probe.format, writer: probe.dr_version });
        }
        let header: Self = json::parse(bytes, NAME)?;
        header.check().map_err(|reason| BundleFault::damaged(NAME, reason))?;
        Ok(header)
    }

    /// Whether it says that it was made later than now: by a clock that is wrong, or by somebody who wants it to be the
    /// newest.
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.created.duration_since(now) > CLOCK_SLACK
    }

    /// Whether both are of one install's one database, whatever cluster it ran in.
    pub fn is_of_same_database(&self, other: &Self) -> bool {
        let of = |header: &Self| {
            let SourceInstall { namespace, release, .. } = &header.install;
            (namespace.clone(), release.clone(), header.postgresql.system_identifier.clone())
        };
        of(self) == of(other)
    }

    /// Seconds since 1970: the time that every member's tar header bears.
    pub(super) fn mtime(&self) -> Result<u64, BundleFault> {
        u64::try_from(self.created.as_second()).map_err(|_| BundleFault::damaged(NAME, "`created` is before 1970"))
    }

    /// Whether the facts fit each other.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.created.subsec_nanosecond() != 0 {
            return Err("`created` is not a whole second".into());
        }
        if self.id.created() != Some(self.created) {
            return Err(format!("it is named {} but was created at {}", self.id, self.created));
        }
        let tags = [&self.dr_version, &self.opschain.version, &self.opschain.chart_version];
        if let Some(bad) = tags.into_iter().find(|text| !names::is_tag(text)) {
            return Err(format!("`{}` is not a version", bad.escape_debug()));
        }
        let scope = self.scope.iter().flat_map(|item| [&item.what, &item.why, &item.whereabouts]);
        let texts = [&self.install.database_cluster_uid, &self.postgresql.version];
        if let Some(bad) = texts.into_iter().chain(&self.recipients).chain(scope).find(|text| !names::is_text(text)) {
            return Err(format!("`{}` holds what is not text, or too much of it", short(bad)));
        }
        let id = &self.postgresql.system_identifier;
        if id.parse::<u64>().is_err() {
            return Err(format!("`{id}` is not a PostgreSQL system identifier"));
        }
        Ok(())
    }
}

fn short(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::testing;

    #[test]
    fn a_header_is_read_back_and_holds_its_format_first() {
        let header = testing::header();
        let bytes = header.to_bytes().unwrap();
        assert!(bytes.starts_with(b"{\n  \"format\": {\n    \"major\": 1,\n    \"minor\": 8\n  },\n  \"id\""));
        assert_eq!(Header::parse(&bytes).unwrap(), header);
    }

    #[test]
    fn unknown_fields_and_ways_to_quiesce_of_a_newer_minor_are_tolerated() {
        let text = String::from_utf8(testing::header().to_bytes().unwrap()).unwrap();
        let newer = text
            .replace("\"minor\": 2", "\"minor\": 9")
            .replace("\"quiesce\": \"brief\"", "\"quiesce\": \"dream\",\n  \"mood\": {}");
        assert_eq!(Header::parse(newer.as_bytes()).unwrap().quiesce, QuiesceMode::Unknown);
    }

    #[test]
    fn a_newer_major_is_named_newer_even_when_nothing_else_can_be_read() {
        let text = br#"{"format": {"major": 2, "minor": 1}, "dr_version": "3.1.4"}"#;
        let error = Header::parse(text).unwrap_err().to_string();
        assert_eq!(error, "its format 2.1 is newer than the 1.8 that this dr reads; dr 3.1.4 wrote it");
        assert!(matches!(Header::parse(br#"{"format": {"major": 0, "minor": 1}}"#), Err(BundleFault::NotABundle(_))));
    }

    #[test]
    fn facts_that_contradict_each_other_are_refused() {
        let mut header = testing::header();
        header.created = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(Header::parse(&header.to_bytes().unwrap()).unwrap_err().to_string().contains("was created at"));
        let mut header = testing::header();
        header.postgresql.system_identifier = "-1".into();
        assert!(Header::parse(&header.to_bytes().unwrap()).is_err());
    }

    /// Every text of a header, by its JSON pointer.
    fn texts(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        let mut below = |key: String, value| texts(value, &format!("{at}/{key}"), found);
        match value {
            serde_json::Value::String(_) => found.push(at.to_owned()),
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(place, item)| below(place.to_string(), item));
            }
            serde_json::Value::Object(fields) => fields.iter().for_each(|(key, field)| below(key.clone(), field)),
            _ => {}
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_header_says_nothing_of_it_steers_a_terminal_or_is_a_path_or_an_option(
            text in proptest::prop_oneof![
                ".*", "[a-z./%-]{0,60}", "-[a-z]{1,8}", "(\\.\\./){1,3}[a-z]*", "[\u{80}-\u{9f}\u{202a}-\u{202e}\u{1b}\n]{1,4}",
            ],
            field in 0usize..64,
        ) {
            let mut value = serde_json::to_value(testing::header()).unwrap();
            let mut fields = Vec::new();
            texts(&value, "", &mut fields);
            *value.pointer_mut(&fields[field % fields.len()]).unwrap() = text.into();
            if let Ok(header) = Header::parse(&serde_json::to_vec(&value).unwrap()) {
                let SourceInstall { namespace, release, database_cluster, .. } = &header.install;
                for name in [&**namespace, &**release, &**database_cluster, header.id.as_str()] {
                    proptest::prop_assert!(names::is_path_step(name) && !name.starts_with('-'), "{name:?}");
                }
                let said = serde_json::to_value(&header).unwrap();
                let mut fields = Vec::new();
                texts(&said, "", &mut fields);
                for field in fields {
                    let text = said.pointer(&field).unwrap().as_str().unwrap();
                    proptest::prop_assert!(text.chars().all(crate::text::is_safe), "{field}: {text:?}");
                }
            }
        }
    }
}
