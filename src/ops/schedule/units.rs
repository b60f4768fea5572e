//! The two units of a schedule, as text: a service that makes one bundle, and the timer that starts it.

use std::fmt::Write;
use std::path::Path;

use super::request::ScheduleRequest;
use crate::names::{NamespaceName, ReleaseName};
use crate::settings::Install;

/// How each unit of ours begins, so that nothing else is ever replaced or removed.
pub(super) const BEGIN: &str = "# Made by `dr schedule install`";

/// What of a timer is read again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimerFacts {
    pub install: String,
    pub settings: String,
    pub context: String,
    pub at: String,
}

/// What the units of an install are called. A namespace has no dot, so no two installs share a name.
pub(super) fn name(install: &Install) -> String {
    format!("dr-bundle.{}.{}", install.namespace, install.release)
}

/// The namespace and the release of units that are called so.
pub(super) fn install_of(name: &str) -> Option<(NamespaceName, ReleaseName)> {
    let (namespace, release) = name.strip_prefix("dr-bundle.")?.split_once('.')?;
    Some((namespace.parse().ok()?, release.parse().ok()?))
}

/// The service: one create that asks nothing. TERM lets it put back what it has stopped; it has a quarter of an hour for that.
pub(super) fn service(install: &Install, settings: &Path, request: &ScheduleRequest) -> String {
    let mut words: Vec<String> = vec![
        request.program.display().to_string(),
        "--no-input".into(),
        "--yes".into(),
        "--settings".into(),
        settings.display().to_string(),
        "--namespace".into(),
        install.namespace.to_string(),
        "--release".into(),
        install.release.to_string(),
    ];
    if let Some(context) = &install.context {
        words.extend(["--context".to_owned(), context.clone()]);
    }
    words.extend(["bundle".to_owned(), "create".to_owned()]);
    let command: Vec<String> = words.iter().map(|word| quoted(word, true)).collect();
    let mut text = format!(
        "{BEGIN}: a change here is lost at the next one.\n\
         [Unit]\n\
         Description=Bundle of OpsChain {}/{}\n\
         Wants=network-online.target\n\
         After=network-online.target\n\n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={}\n",
        install.namespace,
        install.release,
        command.join(" ")
    );
    for (name, value) in &request.environment {
        _ = writeln!(text, "Environment={}", quoted(&format!("{name}={value}"), false));
    }
    text.push_str("KillMode=mixed\nTimeoutStopSec=15min\nLimitCORE=0\nUMask=0077\nNoNewPrivileges=yes\n");
    text
}

/// The timer. A moment that was slept through is made up for; sites that share a cluster do not all begin at once.
pub(super) fn timer(install: &Install, settings: &Path, request: &ScheduleRequest) -> String {
    format!(
        "{BEGIN}: a change here is lost at the next one.\n\
         [Unit]\n\
         Description=When OpsChain {namespace}/{release} is bundled\n\n\
         [Timer]\n\
         OnCalendar={at}\n\
         RandomizedDelaySec={delay}\n\
         Persistent=true\n\
         Unit={name}.service\n\n\
         [Install]\n\
         WantedBy=timers.target\n\n\
         [X-Dr]\n\
         Install={namespace}/{release}\n\
         Settings={settings}\n\
         Context={context}\n",
        namespace = install.namespace,
        release = install.release,
        at = request.at,
        delay = request.delay,
        name = name(install),
        settings = settings.display(),
        context = install.context.as_deref().unwrap_or_default(),
    )
}

/// Reads what [`timer`] wrote; nothing where it is another's.
pub(super) fn read_timer(text: &str) -> Option<TimerFacts> {
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
    text.starts_with(BEGIN).then_some(())?;
    Some(TimerFacts {
        install: of("Install")?,
        settings: of("Settings")?,
        context: of("Context")?,
        at: of("OnCalendar")?,
    })
}

/// A word as systemd reads it: `%` begins a specifier everywhere, `$` a variable in a command (systemd.service(5),
/// COMMAND LINES; systemd.syntax(7), QUOTING).
fn quoted(word: &str, in_command: bool) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            '$' if in_command => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::schedule::request::SystemdManager;

    fn request() -> ScheduleRequest {
        ScheduleRequest {
            at: "Mon..Fri 02:00".into(),
            delay: "15min".into(),
            manager: SystemdManager::System,
            program: "/opt/my tools/dr".into(),
            environment: vec![("PATH".into(), "/opt/50%/$x".into())],
            kept_back: Vec::new(),
        }
    }

    fn install() -> Install {
        Install {
            namespace: "ops-a".parse().unwrap(),
            release: "b.c".parse().unwrap(),
            context: Some("arn:aws:$x".into()),
            ..Install::default()
        }
    }

    #[test]
    fn a_service_has_the_words_as_systemd_reads_them() {
        let text = service(&install(), Path::new("/etc/dr/a.toml"), &request());
        assert!(text.contains("ExecStart=\"/opt/my tools/dr\" \"--no-input\""), "{text}");
        assert!(text.contains("\"--context\" \"arn:aws:$$x\" \"bundle\" \"create\"\n"), "{text}");
        assert!(text.contains("Environment=\"PATH=/opt/50%%/$x\"\n"), "{text}");
    }

    #[test]
    fn a_timer_is_read_again_and_another_program_s_is_not() {
        let text = timer(&install(), Path::new("/etc/dr/a.toml"), &request());
        let facts = read_timer(&text).unwrap();
        assert_eq!((facts.install.as_str(), facts.at.as_str()), ("ops-a/b.c", "Mon..Fri 02:00"));
        assert_eq!((facts.settings.as_str(), facts.context.as_str()), ("/etc/dr/a.toml", "arn:aws:$x"));
        assert_eq!(read_timer(text.trim_start_matches('#')), None);
    }

    #[test]
    fn a_name_says_its_install_again() {
        let name = name(&install());
        let (namespace, release) = install_of(&name).unwrap();
        assert_eq!((namespace.to_string(), release.to_string()), ("ops-a".into(), "b.c".into()));
        assert_eq!(install_of("dr-bundle.a"), None);
        assert_eq!(install_of("other.a.b"), None);
    }
}
