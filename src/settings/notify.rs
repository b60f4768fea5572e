//! Who is told what came of a verb.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One who is told: a table `[[notify]]`. Its address may be all that guards it, so it stands in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifySettings {
    /// What messages call it.
    pub name: String,
    pub kind: NotifyKind,
    /// A file of mode 600 whose first line is the address.
    pub url_file: PathBuf,
    /// A file of mode 600 whose first line is the key that a webhook's body is signed with.
    pub secret_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What is told; all of it to a ping, and failures to a webhook, when absent.
    pub on: Option<Vec<NotifyOn>>,
    /// Of which verbs; of creates to a ping, and of all to a webhook, when absent.
    pub verbs: Option<Vec<NotifyVerb>>,
}

/// How somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyKind {
    /// A dead-man service, which raises the alarm when it hears nothing: `URL/start`, `URL`, `URL/fail`.
    Ping,
    /// A server that takes a message as JSON.
    Webhook,
}

/// What somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyOn {
    Start,
    Success,
    Failure,
}

/// A verb that somebody is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyVerb {
    Create,
    Restore,
    Deploy,
    Prune,
    Copy,
}

impl NotifyVerb {
    /// The command's words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Create => "bundle create",
            Self::Restore => "bundle restore",
            Self::Deploy => "deploy",
            Self::Prune => "bundle prune",
            Self::Copy => "bundle copy",
        }
    }
}

impl NotifySettings {
    /// Whether it is told this.
    pub fn is_told(&self, on: NotifyOn, verb: NotifyVerb) -> bool {
        let is_ping = self.kind == NotifyKind::Ping;
        let on_fits = self.on.as_ref().map_or(is_ping || on == NotifyOn::Failure, |all| all.contains(&on));
        // Another verb's success would reset the alarm of creates that no longer come.
        let of_verb = || !is_ping || verb == NotifyVerb::Create;
        on_fits && self.verbs.as_ref().map_or_else(of_verb, |all| all.contains(&verb))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;
    use super::*;

    fn read(text: &str) -> Result<NotifySettings, String> {
        let text = format!("[[notify]]\nname = \"x\"\nurl_file = \"u\"\n{text}");
        let settings = Settings::parse(&text, Path::new("dr.toml")).map_err(|error| error.to_string())?;
        Ok(settings.notify.into_iter().next().unwrap())
    }

    #[test]
    fn a_ping_is_told_all_of_creates_and_a_webhook_all_failures_unless_it_says_otherwise() {
        use {NotifyOn as On, NotifyVerb as Verb};
        let ping = read("kind = \"ping\"").unwrap();
        assert!([On::Start, On::Success, On::Failure].iter().all(|on| ping.is_told(*on, Verb::Create)));
        assert!(!ping.is_told(On::Success, Verb::Prune) && !ping.is_told(On::Failure, Verb::Deploy));
        let hook = read("kind = \"webhook\"").unwrap();
        assert!(hook.is_told(On::Failure, Verb::Deploy) && !hook.is_told(On::Success, Verb::Create));
        let own = read("kind = \"webhook\"\non = [\"success\"]\nverbs = [\"prune\"]").unwrap();
        assert!(own.is_told(On::Success, Verb::Prune) && !own.is_told(On::Failure, Verb::Prune));
        assert!(read("kind = \"pigeon\"").unwrap_err().contains("pigeon"));
        assert!(read("kind = \"ping\"\nurl = \"https://h/x\"").unwrap_err().contains("unknown field `url`"));
    }
}
