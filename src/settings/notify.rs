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
    /// Of a ping or a webhook: a file of mode 600 whose first line is the address.
    pub url_file: Option<PathBuf>,
    /// How a ping is sent.
    pub method: Option<PingMethod>,
    /// A file of mode 600 whose first line is the key that a webhook's body is signed with.
    pub secret_file: Option<PathBuf>,
    /// Of a mail: the server, `HOST` or `HOST:PORT`.
    pub server: Option<String>,
    /// How the way to it is kept private.
    pub tls: Option<MailTls>,
    /// Who it is from, and who gets it.
    pub from: Option<String>,
    pub to: Option<Vec<String>>,
    /// Who logs in at the server, and a file of mode 600 whose first line is the password.
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What is told; all of it to a ping, and failures to the others, when absent.
    pub on: Option<Vec<NotifyOn>>,
    /// Of which verbs; of creates to a ping, and of all to the others, when absent.
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
    /// People, by a mail server.
    Mail,
}

/// How a ping is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PingMethod {
    /// With the message as its body.
    #[default]
    Post,
    /// To services that take nothing else.
    Get,
}

/// How the way to a mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailTls {
    /// It begins in the clear; nothing is said before it is encrypted.
    Starttls,
    /// From the first byte on.
    Implicit,
    /// Not at all: to this host only.
    None,
}

/// A mail server, as the settings name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
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

impl NotifyKind {
    /// As settings name it.
    fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Webhook => "webhook",
            Self::Mail => "mail",
        }
    }
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
    /// The mail server, where one is named as it should be.
    pub fn mail_server(&self) -> Option<MailServer> {
        let text = self.server.as_deref()?;
        let authority: http::uri::Authority = text.parse().ok()?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_whole = !host.is_empty() && !text.contains('@') && !text.ends_with(':');
        let port = authority.port_u16();
        let tls = self.tls.unwrap_or(if port == Some(465) { MailTls::Implicit } else { MailTls::Starttls });
        let usual = match tls {
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        };
        is_whole.then_some(MailServer { host, port: port.unwrap_or(usual), tls })
    }

    /// What makes no sense, in words.
    pub(super) fn refusal(&self) -> Option<String> {
        let name = &self.name;
        let is = |kind| self.kind == kind;
        let (ping, webhook, mail) = (is(NotifyKind::Ping), is(NotifyKind::Webhook), is(NotifyKind::Mail));
        let elsewhere = [
            ("url_file", self.url_file.is_some(), ping || webhook),
            ("method", self.method.is_some(), ping),
            ("secret_file", self.secret_file.is_some(), webhook),
            ("server", self.server.is_some(), mail),
            ("tls", self.tls.is_some(), mail),
            ("from", self.from.is_some(), mail),
            ("to", self.to.is_some(), mail),
            ("user", self.user.is_some(), mail),
            ("password_file", self.password_file.is_some(), mail),
        ];
        let why = match elsewhere.iter().find(|(_, is_there, fits)| *is_there && !fits) {
            Some((key, ..)) => Some(format!("`{key}` is of no {}", self.kind.word())),
            None if self.on.as_ref().is_some_and(Vec::is_empty) => Some("`on` is empty: it would never be told".into()),
            None if self.verbs.as_ref().is_some_and(Vec::is_empty) => {
                Some("`verbs` is empty: it would never be told".into())
            }
            None if !mail && self.url_file.is_none() => Some(format!("a {} needs `url_file`", self.kind.word())),
            None if mail => self.mail_refusal(),
            None => None,
        };
        why.map(|why| format!("notify: {name}: {why}"))
    }

    fn mail_refusal(&self) -> Option<String> {
        let is_address = |text: &String| text.parse::<lettre::message::Mailbox>().is_ok();
        let to = self.to.as_deref().unwrap_or_default();
        let Some(server) = self.mail_server() else {
            return Some("a mail needs a `server` such as \"mail.example.org:587\"".into());
        };
        if !self.from.as_ref().is_some_and(is_address) || to.is_empty() || !to.iter().all(is_address) {
            return Some(
                "a mail needs `from`, one address, and `to`, a list of some, such as \"ops@example.org\"".into(),
            );
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Some("`user` and `password_file` go together".into());
        }
        let is_here =
            server.host == "localhost" || server.host.parse().is_ok_and(|at: std::net::IpAddr| at.is_loopback());
        (server.tls == MailTls::None && !is_here)
            .then(|| "`tls = \"none\"` is for a server on this host: what is said would be read on the way".into())
    }

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
        let notify = settings.notify.into_iter().next().unwrap();
        notify.refusal().map_or(Ok(notify), Err)
    }

    /// One of kind mail, with these lines.
    fn mail(text: &str) -> Result<NotifySettings, String> {
        let text = format!("[[notify]]\nname = \"x\"\nkind = \"mail\"\n{text}");
        let notify = Settings::parse(&text, Path::new("dr.toml")).unwrap().notify.into_iter().next().unwrap();
        notify.refusal().map_or(Ok(notify), Err)
    }

    #[test]
    fn a_mail_goes_to_a_server_with_tls_unless_it_is_this_host() {
        let people = "from = \"dr <dr@x.org>\"\nto = [\"ops@x.org\"]\n";
        let server = |text: &str| mail(&format!("{people}{text}")).map(|notify| notify.mail_server().unwrap());
        let at = |host: &str, port, tls| Ok(MailServer { host: host.into(), port, tls });
        assert_eq!(server("server = \"m.org\""), at("m.org", 587, MailTls::Starttls));
        assert_eq!(server("server = \"m.org:465\""), at("m.org", 465, MailTls::Implicit));
        assert_eq!(server("server = \"m.org\"\ntls = \"implicit\""), at("m.org", 465, MailTls::Implicit));
        assert_eq!(server("server = \"[::1]:2525\"\ntls = \"none\""), at("::1", 2525, MailTls::None));
        assert_eq!(server("server = \"localhost\"\ntls = \"none\""), at("localhost", 25, MailTls::None));
        for (text, why) in [
            ("server = \"m.org\"\ntls = \"none\"", "is for a server on this host"),
            ("server = \"\"", "needs a `server`"),
            ("server = \"u:p@m.org\"", "needs a `server`"),
            ("server = \"m.org:\"", "needs a `server`"),
            ("", "needs a `server`"),
            ("server = \"m.org\"\nuser = \"u\"", "go together"),
            ("server = \"m.org\"\nurl_file = \"u\"", "`url_file` is of no mail"),
        ] {
            let refused = server(text).unwrap_err();
            assert!(refused.starts_with("notify: x: ") && refused.contains(why), "{refused}");
        }
        for people in ["to = [\"ops@x.org\"]", "from = \"dr@x.org\"\nto = []", "from = \"dr@x.org\"\nto = [\"ops\"]"] {
            assert!(mail(&format!("{people}\nserver = \"m.org\"")).unwrap_err().contains("needs `from`"), "{people}");
        }
    }

    #[test]
    fn who_would_never_be_told_or_has_what_is_of_another_kind_is_refused() {
        for (text, why) in [
            ("kind = \"ping\"\non = []", "`on` is empty"),
            ("kind = \"webhook\"\nverbs = []", "`verbs` is empty"),
            ("kind = \"webhook\"\nmethod = \"get\"", "`method` is of no webhook"),
            ("kind = \"ping\"\nsecret_file = \"k\"", "`secret_file` is of no ping"),
            ("kind = \"ping\"\nto = [\"ops@x.org\"]", "`to` is of no ping"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!(read("kind = \"ping\"\nmethod = \"get\"").unwrap().method, Some(PingMethod::Get));
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
