//! What a site runs before and after the verbs that change something.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::checked::TimeSpan;
use super::notify::NotifyVerb;

/// How long a hook may take where nothing else is asked for, and at the most.
const USUAL: TimeSpan = TimeSpan(Duration::from_secs(60));
const LONGEST: Duration = Duration::from_secs(3600);

/// One hook: a table `[[hooks]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    /// The executable; it is given no arguments, and JSON on stdin.
    pub run: PathBuf,
    pub when: HookTime,
    pub verb: NotifyVerb,
    /// A step of the verb's run (`quiesce`), before or after which it is run; the whole verb when absent.
    pub step: Option<String>,
    /// How long it may take.
    #[serde(default = "usual", deserialize_with = "timeout")]
    pub timeout: TimeSpan,
    /// What its failure does; one that comes after never stops anything.
    pub on_failure: Option<OnHookFailure>,
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookTime {
    Before,
    /// Whether it succeeded or failed.
    After,
}

/// What the failure of a hook does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnHookFailure {
    /// What it comes before fails.
    Stop,
    /// It is a warning.
    Warn,
}

impl HookSettings {
    /// Whether its failure stops what it comes before.
    pub fn stops(&self) -> bool {
        self.when == HookTime::Before && self.on_failure != Some(OnHookFailure::Warn)
    }

    /// What makes no sense, in words.
    pub(super) fn refusal(&self) -> Option<String> {
        let run = self.run.display();
        if self.when == HookTime::After && self.on_failure == Some(OnHookFailure::Stop) {
            return Some(format!(
                "hooks: {run}: what comes after changes no result: `on_failure` can only be \"warn\""
            ));
        }
        let has_steps = matches!(self.verb, NotifyVerb::Create | NotifyVerb::Restore);
        if self.step.is_some() && !has_steps {
            return Some(format!("hooks: {run}: only \"create\" and \"restore\" have a `step`"));
        }
        (self.verb == NotifyVerb::Copy).then(|| format!("hooks: {run}: \"copy\" has no hooks"))
    }
}

fn usual() -> TimeSpan {
    USUAL
}

fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<TimeSpan, D::Error> {
    let span = TimeSpan::deserialize(from)?;
    match span.0 <= LONGEST {
        true => Ok(span),
        false => Err(serde::de::Error::custom("expected a length of time between 1s and 1h, such as \"1m\"")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;
    use super::*;

    fn read(text: &str) -> Result<HookSettings, String> {
        let text = format!("[[hooks]]\nrun = \"/h\"\n{text}");
        let settings = Settings::parse(&text, Path::new("dr.toml")).map_err(|error| error.to_string())?;
        let hook = settings.hooks.into_iter().next().unwrap();
        hook.refusal().map_or(Ok(hook), Err)
    }

    #[test]
    fn a_hook_stops_what_it_comes_before_unless_it_is_to_warn() {
        let hook = read("when = \"before\"\nverb = \"create\"\n").unwrap();
        assert!(hook.stops() && hook.timeout == USUAL);
        assert!(!read("when = \"before\"\nverb = \"create\"\non_failure = \"warn\"\n").unwrap().stops());
        assert!(!read("when = \"after\"\nverb = \"create\"\nstep = \"quiesce\"\n").unwrap().stops());
        for (text, why) in [
            ("when = \"after\"\nverb = \"create\"\non_failure = \"stop\"", "changes no result"),
            ("when = \"before\"\nverb = \"deploy\"\nstep = \"x\"", "have a `step`"),
            ("when = \"before\"\nverb = \"copy\"", "has no hooks"),
            ("when = \"before\"\nverb = \"create\"\ntimeout = \"2h\"", "between 1s and 1h"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
