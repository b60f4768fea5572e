//! Maintenance mode: OpsChain begins no work while it is on, and says when what is at work has ended.
//!
//! It is one of the global settings, which are read and written as a whole, with a version. What is not understood of
//! them (they hold sealed secrets) goes back byte for byte.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names;
use crate::text::plural;

/// Says which release it is, and whether the mode is on. Needs no token.
pub const INFO: &str = "/api/info";
/// Says where the global settings are, and what the token may do with them.
pub const SYSTEM_CONFIGURATION: &str = "/api/system_configuration";
/// Says what is at work.
pub const DRAIN_STATUS: &str = "/api/admin/drain_status";
/// What a token has to be allowed.
pub const TOKEN_RIGHTS: &str = "read on /admin, and update on the global settings";
/// The name of the setting.
const SETTING: &str = "maintenance_mode";

/// A value of the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaintenanceMode {
    Disabled,
    /// Nobody may start work.
    Enabled,
    /// Superusers may.
    SuperuserOverride,
}

impl MaintenanceMode {
    /// The word that OpsChain uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::SuperuserOverride => "superuser_override",
        }
    }
}

/// The setting as it was before a run has changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedMode {
    /// `None`: it was not set at all.
    pub was: Option<MaintenanceMode>,
}

impl RecordedMode {
    /// The word to set it to again.
    pub fn word(self) -> &'static str {
        self.was.unwrap_or(MaintenanceMode::Disabled).word()
    }

    /// What to set where it is `now`, so that it is as it was; `None` where it is, or where somebody has changed it since.
    pub fn to_put_back(self, now: Option<MaintenanceMode>) -> Option<Self> {
        (now == Some(MaintenanceMode::Enabled) && self.was != now).then_some(self)
    }
}

/// What a run that has turned the mode on notes beside the application: its journal may be lost with its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftMode {
    /// The run's id.
    pub run: String,
    pub recorded: RecordedMode,
}

impl LeftMode {
    /// How a setting that is not there is noted.
    const UNSET: &str = "unset";

    /// The note: `disabled create-...`.
    pub fn to_note(&self) -> String {
        format!("{} {}", self.recorded.was.map_or(Self::UNSET, MaintenanceMode::word), self.run)
    }

    /// Reads a note; `None` where it is none.
    pub fn from_note(note: &str) -> Option<Self> {
        use MaintenanceMode::{Disabled, Enabled, SuperuserOverride};
        let (word, run) = note.split_once(' ')?;
        let known = [Disabled, Enabled, SuperuserOverride].into_iter().find(|mode| mode.word() == word);
        let is_run = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_run && (known.is_some() || word == Self::UNSET))
            .then(|| Self { run: run.to_owned(), recorded: RecordedMode { was: known } })
    }
}

/// An answer of OpsChain that is not what is documented.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnfitAnswer(&'static str);

/// Whether the mode is on; `None` where the release has none.
///
/// # Errors
/// `info` is no such answer.
pub fn is_on(info: &[u8]) -> Result<Option<bool>, UnfitAnswer> {
    let answer: Value = serde_json::from_slice(info).map_err(|_| UnfitAnswer("it is not JSON"))?;
    let attributes = answer.pointer("/data/attributes").ok_or(UnfitAnswer("it has no attributes"))?;
    Ok(attributes[SETTING].as_bool())
}

/// Which release `info` says that it is, where it does.
pub fn version(info: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(info).ok()?;
    let version = answer.pointer("/data/attributes/version").and_then(Value::as_str)?;
    (names::is_text(version) && version.len() <= 100).then(|| version.to_owned())
}

/// The path of the global settings; `None` where the token may not change them.
///
/// # Errors
/// `system_configuration` is no such answer.
pub fn settings_path(system_configuration: &[u8]) -> Result<Option<String>, UnfitAnswer> {
    let answer: Value = serde_json::from_slice(system_configuration).map_err(|_| UnfitAnswer("it is not JSON"))?;
    let path = answer.pointer("/data/relationships/settings/links/related").and_then(Value::as_str);
    let id = path.and_then(|path| path.strip_prefix("/api/settings/")).unwrap_or_default();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(UnfitAnswer("it does not say where the global settings are"));
    }
    let may =
        |what: &str| answer.pointer("/data/meta/authorisations/settings").and_then(|rights| rights[what].as_bool());
    Ok((may("read") != Some(false) && may("update") != Some(false)).then(|| format!("/api/settings/{id}")))
}

/// The global settings, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalSettings {
    /// Each with its name and the text that it was read as.
    members: Vec<(String, String)>,
    version: u64,
    /// The value of the setting.
    pub mode: Option<MaintenanceMode>,
}

impl GlobalSettings {
    /// Reads them.
    ///
    /// # Errors
    /// It is no such answer, or the mode has a value that is not known.
    pub fn parse(answer: &[u8]) -> Result<Self, UnfitAnswer> {
        const NONE: UnfitAnswer = UnfitAnswer("it has no settings with a version");
        let text = std::str::from_utf8(answer).map_err(|_| NONE)?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| NONE)?;
        let member = |json, name: &str| {
            let found = members(json)?.into_iter().find(|(key, ..)| key == name);
            found.map(|(_, _, value)| value)
        };
        let attributes = member(text, "data").and_then(|data| member(data, "attributes")).ok_or(NONE)?;
        let version = member(attributes, "version").and_then(|version| version.parse().ok()).ok_or(NONE)?;
        let all = member(attributes, "data").and_then(members).ok_or(NONE)?;
        let mode = all.iter().find(|(key, ..)| key == SETTING).map(|(_, _, value)| serde_json::from_str(value));
        let mode =
            mode.transpose().map_err(|_| UnfitAnswer("its maintenance_mode has a value that this dr does not know"))?;
        let members = all.into_iter().map(|(key, whole, _)| (key, whole.to_owned())).collect();
        Ok(Self { members, version, mode: mode.flatten() })
    }

    /// The body of the request that sets the mode, and is refused where somebody has changed the settings since.
    pub fn with_mode(&self, mode: Option<MaintenanceMode>) -> String {
        let set = mode.map(|mode| format!("\"{SETTING}\":\"{}\"", mode.word()));
        let kept = self.members.iter().map(|(key, whole)| if key == SETTING { set.as_ref() } else { Some(whole) });
        let added = set.as_ref().filter(|_| !self.members.iter().any(|(key, _)| key == SETTING));
        let members: Vec<&str> = kept.chain([added]).flatten().map(String::as_str).collect();
        let version = self.version;
        format!(r#"{{"data":{{"attributes":{{"data":{{{}}},"version":{version}}}}}}}"#, members.join(","))
    }
}

/// The members of a JSON object: name, whole text, and the text of the value. The text must be valid JSON.
fn members(json: &str) -> Option<Vec<(String, &str, &str)>> {
    fn take<T: DeserializeOwned>(json: &str) -> Option<(T, usize)> {
        let mut values = serde_json::Deserializer::from_str(json).into_iter::<T>();
        Some((values.next()?.ok()?, values.byte_offset()))
    }
    const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
    let (mut rest, mut found) = (json.trim_start_matches(SPACE).strip_prefix('{')?, Vec::new());
    loop {
        rest = rest.trim_start_matches(SPACE).trim_start_matches(',').trim_start_matches(SPACE);
        if rest.starts_with('}') {
            return Some(found);
        }
        let (key, key_end) = take::<String>(rest)?;
        let value = rest[key_end..].trim_start_matches(SPACE).strip_prefix(':')?.trim_start_matches(SPACE);
        let (_, value_end) = take::<IgnoredAny>(value)?;
        let end = rest.len() - value.len() + value_end;
        found.push((key, &rest[..end], &value[..value_end]));
        rest = &rest[end..];
    }
}

/// What is at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainStatus {
    pub drained: bool,
    /// By OpsChain's own names.
    counts: BTreeMap<String, u64>,
}

impl DrainStatus {
    /// Reads it.
    ///
    /// # Errors
    /// It is no such answer.
    pub fn parse(answer: &[u8]) -> Result<Self, UnfitAnswer> {
        let answer: Value = serde_json::from_slice(answer).map_err(|_| UnfitAnswer("it is not JSON"))?;
        let status = answer.pointer("/data/attributes").unwrap_or(&answer);
        let drained = status["drained"].as_bool().ok_or(UnfitAnswer("it does not say whether work is drained"))?;
        let counts = status["active_counts"].as_object().into_iter().flatten();
        let counts = counts.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect();
        Ok(Self { drained, counts })
    }

    /// `1 of changes, 2 of workflow_runs`
    pub fn line(&self) -> String {
        let at_work = self.counts.iter().filter(|(_, count)| **count > 0);
        let lines: Vec<String> = at_work.map(|(name, count)| format!("{count} of {name}")).collect();
        if lines.is_empty() { "nothing is counted".to_owned() } else { lines.join(", ") }
    }
}

/// What was known of work without pods before a bundle was begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkSight {
    /// No token is set: it is not asked.
    #[default]
    NoToken,
    /// The release has no maintenance mode.
    NoMode,
    /// The application is stopped: nobody can be asked, and nobody writes for it.
    Stopped,
    /// Maintenance mode can be turned on; this is its value.
    Mode(RecordedMode),
}

impl WorkSight {
    /// What is done about such work, for people.
    pub fn line(self) -> &'static str {
        match self {
            Self::NoToken => "what has no pod is not seen: no maintenance token (dr doctor)",
            Self::NoMode => "what has no pod is not seen: this release has no maintenance mode",
            Self::Stopped => "none: the application is stopped",
            Self::Mode(_) => "maintenance mode is turned on, then waited for until all is drained",
        }
    }

    /// Why it is not seen, where it is not.
    pub fn blind(self) -> Option<&'static str> {
        match self {
            Self::NoToken => Some("no token for maintenance mode was set, so OpsChain was not asked what is at work"),
            Self::NoMode => Some("the release has no maintenance mode, which would tell what is at work"),
            Self::Stopped | Self::Mode(_) => None,
        }
    }
}

/// When OpsChain said that work is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainProof {
    pub at: Timestamp,
    /// Pods of agents and the executor pool that were there, and waited.
    pub waiting_pods: u64,
}

impl DrainProof {
    /// `work was drained at 2026-10-08T12:00:00Z, 2 pods waited`
    pub fn line(&self) -> String {
        format!("work was drained at {:.0}, {} waited", self.at, plural(self.waiting_pods, "pod"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_mode_was_is_read_as_it_was_noted_and_nothing_else_is() {
        for was in [None, Some(MaintenanceMode::Disabled), Some(MaintenanceMode::SuperuserOverride)] {
            let left = LeftMode { run: "create-20261130T101500Z-0a1b2c".into(), recorded: RecordedMode { was } };
            assert_eq!(LeftMode::from_note(&left.to_note()), Some(left));
        }
        for note in ["", "disabled", "disabled ", "off create-1", "disabled create-1\u{1b}[2J", "enabled a b"] {
            assert_eq!(LeftMode::from_note(note), None, "{note:?}");
        }
    }

    const SETTINGS: &str = r#"{ "data": {"id": "s", "attributes": {"created_at": "x", "data": {
        "tz" : "Z", "ratio":1.50, "big":12345678901234567890123, "maintenance_mode":"superuser_override",
        "channels":[{"token":"{AES2}a==}{/IV}\"b", "maintenance_mode":"x"}] }, "version": 41}}}"#;

    #[test]
    fn all_but_the_mode_goes_back_as_it_was_read() {
        let read = GlobalSettings::parse(SETTINGS.as_bytes()).unwrap();
        assert_eq!((read.mode, read.version), (Some(MaintenanceMode::SuperuserOverride), 41));
        let body = read.with_mode(Some(MaintenanceMode::Enabled));
        let expected = r#"{"data":{"attributes":{"data":{"tz" : "Z","ratio":1.50,"big":12345678901234567890123,"maintenance_mode":"enabled","channels":[{"token":"{AES2}a==}{/IV}\"b", "maintenance_mode":"x"}]},"version":41}}}"#;
        assert_eq!(body, expected);
        let sent = GlobalSettings::parse(body.as_bytes()).unwrap();
        assert_eq!(sent.mode, Some(MaintenanceMode::Enabled));
        let absent = sent.with_mode(None);
        assert!(absent.contains(r#"0123,"channels""#), "{absent}");
        let absent = GlobalSettings::parse(absent.as_bytes()).unwrap();
        assert_eq!(absent.mode, None);
        assert!(
            absent
                .with_mode(Some(MaintenanceMode::Disabled))
                .contains(r#"}],"maintenance_mode":"disabled"},"version""#)
        );
        let empty = GlobalSettings { members: Vec::new(), ..absent };
        assert!(empty.with_mode(None).contains(r#""data":{},"version":41"#));
    }

    #[test]
    fn settings_that_are_not_understood_are_refused_and_none_is_overwritten() {
        let refused = |text: &str| GlobalSettings::parse(text.as_bytes()).unwrap_err().to_string();
        for text in
            ["", "{", "[]", "{\"data\":{}}", &SETTINGS.replace("version", "v"), &SETTINGS.replace("41", "\"41\"")]
        {
            assert_eq!(refused(text), "it has no settings with a version", "{text}");
        }
        let other = SETTINGS.replace("superuser_override", "night");
        assert_eq!(refused(&other), "its maintenance_mode has a value that this dr does not know");
        let null = SETTINGS.replace("\"superuser_override\"", "null");
        assert_eq!(GlobalSettings::parse(null.as_bytes()).unwrap().mode, None);
    }

    #[test]
    fn a_release_without_the_mode_says_nothing_of_it() {
        let info = |attributes: &str| is_on(format!(r#"{{"data":{{"attributes":{attributes}}}}}"#).as_bytes());
        assert_eq!(info(r#"{"version":"2026-08-20"}"#).unwrap(), None);
        assert_eq!(info(r#"{"maintenance_mode":true}"#).unwrap(), Some(true));
        assert!(is_on(b"<html>").is_err() && is_on(b"{}").is_err());
    }

    #[test]
    fn the_settings_are_looked_for_where_opschain_says_and_nowhere_else() {
        let answer = |path: &str, rights: &str| {
            let text = format!(
                r#"{{"data":{{"relationships":{{"settings":{{"links":{{"related":"{path}"}}}}}},"meta":{{"authorisations":{{"settings":{rights}}}}}}}}}"#
            );
            settings_path(text.as_bytes())
        };
        let path = "/api/settings/ee28-e8";
        assert_eq!(answer(path, r#"{"read":true,"update":true}"#).unwrap().as_deref(), Some(path));
        assert_eq!(answer(path, "{}").unwrap().as_deref(), Some(path), "an older release does not say");
        assert_eq!(answer(path, r#"{"read":true,"update":false}"#).unwrap(), None);
        for path in ["", "/api/settings/", "/api/settings/../x", "http://elsewhere/api/settings/1", "/api/projects/1"] {
            assert!(answer(path, "{}").is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_at_work_is_named_as_opschain_counts_it() {
        let nested = br#"{"data":{"attributes":{"drained":false,"active_counts":{"changes":1,"workflow_runs":0,"background_tasks":2,"x":"y"}}}}"#;
        let status = DrainStatus::parse(nested).unwrap();
        assert_eq!((status.drained, status.line().as_str()), (false, "2 of background_tasks, 1 of changes"));
        let flat = DrainStatus::parse(br#"{"drained":true}"#).unwrap();
        assert_eq!((flat.drained, flat.line().as_str()), (true, "nothing is counted"));
        assert!(DrainStatus::parse(b"{}").is_err() && DrainStatus::parse(b"").is_err());
    }

    #[test]
    fn the_old_value_goes_back_unless_somebody_has_changed_it_since() {
        use MaintenanceMode::{Disabled, Enabled, SuperuserOverride};
        let put_back = |was, now| RecordedMode { was }.to_put_back(now).map(|mode| mode.was);
        assert_eq!(put_back(None, Some(Enabled)), Some(None));
        assert_eq!(put_back(Some(SuperuserOverride), Some(Enabled)), Some(Some(SuperuserOverride)));
        assert_eq!(put_back(Some(Enabled), Some(Enabled)), None, "it was on before");
        assert_eq!(put_back(Some(SuperuserOverride), Some(Disabled)), None, "somebody has turned it off");
        assert_eq!(put_back(Some(Disabled), None), None);
    }
}
