//! What was found, and what is to be done first.

use serde::Serialize;

use crate::error::CommandError;
use crate::ops::server::WAKE;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Well.
    Ok,
    /// It works, and may hurt later.
    Warn,
    /// It must be fixed first.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What part it belongs to: `settings`, `helm`, `cluster`, ...
    pub area: &'static str,
    /// How bad it is.
    pub level: Level,
    pub text: String,
    pub fix: Option<String>,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// The findings, in the order in which things depend on each other.
    pub findings: Vec<Finding>,
    /// Whether something must be fixed first.
    pub ready: bool,
    pub next: String,
}

/// What the looks have found out for each other.
#[derive(Debug, Default)]
pub(super) struct SharedFacts {
    /// The cluster answers.
    pub(super) reachable: bool,
    pub(super) installed: bool,
    /// The command that brings the application back, where it is off.
    pub(super) way_back: Option<String>,
    /// The database hibernates.
    pub(super) asleep: bool,
    /// The pods of a backup and of a restore were tried, if that was asked for.
    pub(super) tried_pods: bool,
    /// Bytes of the database.
    pub(super) database_size: Option<u64>,
    /// How many bundles the store holds.
    pub(super) bundles: usize,
    /// The command that checks all of the newest bundle, where that was not done.
    pub(super) to_verify: Option<String>,
    /// The command that records what is live, where the vault does not know it.
    pub(super) to_record: Option<String>,
    /// The commands of the open runs of this host.
    pub(super) open_runs: Vec<String>,
    /// The command of the run that has the install half done: whatever is wrong with the install, it is the way out.
    pub(super) half_done: Option<String>,
}

impl SharedFacts {
    /// The way out of something that is wrong with the install: that of the run which has it half done, where there is
    /// one.
    pub(super) fn way_out(&self, else_way: impl Into<String>) -> String {
        self.half_done.clone().unwrap_or_else(|| else_way.into())
    }
}

/// The findings under construction.
#[derive(Debug, Default)]
pub(super) struct FindingsBuilder {
    findings: Vec<Finding>,
    pub(super) known: SharedFacts,
}

impl FindingsBuilder {
    pub(super) fn ok(&mut self, area: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { area, level: Level::Ok, text: text.into(), fix: None });
    }

    pub(super) fn warn(&mut self, area: &'static str, text: impl Into<String>, fix: impl Into<String>) {
        self.add(area, Level::Warn, text, fix);
    }

    pub(super) fn add(&mut self, area: &'static str, level: Level, text: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding { area, level, text: text.into(), fix: Some(fix.into()) });
    }

    pub(super) fn bad(&mut self, area: &'static str, text: impl Into<String>, fix: impl Into<String>) {
        self.add(area, Level::Bad, text, fix);
    }

    /// A failure as it would be shown by any other verb; its first hint is the way out.
    pub(super) fn failed(&mut self, area: &'static str, error: impl Into<CommandError>) {
        let error = error.into();
        let fix = error.hints().first().cloned();
        self.findings.push(Finding { area, level: Level::Bad, text: error.to_string(), fix });
    }

    /// The same for what can be done without.
    pub(super) fn doubtful(&mut self, area: &'static str, error: impl Into<CommandError>) {
        self.failed(area, error);
        if let Some(last) = self.findings.last_mut() {
            last.level = Level::Warn;
        }
    }

    pub(super) fn finish(self) -> Findings {
        let next = self.next();
        let ready = self.findings.iter().all(|finding| finding.level != Level::Bad);
        Findings { findings: self.findings, ready, next }
    }

    /// The way to the first bundle, one step at a time: an application that is off comes back first, which takes nothing but
    /// the cluster; then what is broken, in the order of dependence.
    fn next(&self) -> String {
        if let Some(way) = &self.known.way_back {
            return way.clone();
        }
        let broken = self.findings.iter().find(|finding| finding.level == Level::Bad);
        if let Some(fix) = broken.and_then(|finding| finding.fix.clone()) {
            return fix;
        }
        let known = &self.known;
        match known {
            SharedFacts { open_runs, .. } if !open_runs.is_empty() => open_runs[open_runs.len() - 1].clone(),
            SharedFacts { installed: false, bundles: 0, .. } => "dr deploy -f values.yaml --version V, or from a bundle's file: dr bundle restore BUNDLE.tar --identity KEYFILE --trusted-signers SIGNERS".into(),
            SharedFacts { installed: false, .. } => "dr bundle list, then dr bundle restore --version V".into(),
            SharedFacts { asleep: true, .. } => WAKE.into(),
            SharedFacts { to_record: Some(command), .. } => command.clone(),
            SharedFacts { bundles: 0, .. } => "dr bundle create".into(),
            SharedFacts { to_verify: Some(command), .. } => command.clone(),
            SharedFacts { .. } => "the newest bundle is proved; for the next: dr bundle create".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn the_first_broken_thing_is_what_to_do_next() {
        let mut findings = FindingsBuilder::default();
        findings.ok("settings", "fine");
        findings.warn("keys", "one recipient", "add one");
        findings.bad("helm", "none", "install helm");
        findings.bad("store", "none", "make one");
        let findings = findings.finish();
        assert_eq!((findings.next.as_str(), findings.ready), ("install helm", false));
        let mut findings = FindingsBuilder::default();
        findings.bad("settings", "broken", "fix them");
        findings.known.way_back = Some("dr run resume R".into());
        assert_eq!(findings.finish().next, "dr run resume R", "the application first");
    }

    #[test]
    fn the_way_leads_from_nothing_to_the_first_bundle() {
        let next = |known: SharedFacts| FindingsBuilder { known, ..FindingsBuilder::default() }.finish().next;
        assert!(
            next(SharedFacts::default()).starts_with("dr deploy -f values.yaml --version V, or from a bundle's file")
        );
        let to_record = Some("dr config record --from-helm --chart REF".to_owned());
        let foreign = SharedFacts { installed: true, to_record: to_record.clone(), ..SharedFacts::default() };
        assert_eq!(Some(next(foreign)), to_record);
        let way_back = Some("dr server start".to_owned());
        assert_eq!(next(SharedFacts { installed: true, way_back, ..SharedFacts::default() }), "dr server start");
        assert_eq!(next(SharedFacts { installed: true, ..SharedFacts::default() }), "dr bundle create");
        let proved = SharedFacts { installed: true, bundles: 1, ..SharedFacts::default() };
        let to_verify = Some("dr bundle verify b-1 --decrypt".to_owned());
        assert_eq!(
            Some(next(SharedFacts {
                to_verify: to_verify.clone(),
                bundles: 1,
                installed: true,
                ..SharedFacts::default()
            })),
            to_verify
        );
        assert!(next(proved).ends_with("for the next: dr bundle create"));
        assert!(next(SharedFacts { bundles: 1, ..SharedFacts::default() }).contains("dr bundle restore"));
        let open_runs = vec!["dr run resume r".to_owned()];
        assert_eq!(next(SharedFacts { open_runs, ..SharedFacts::default() }), "dr run resume r");
    }

    #[test]
    fn a_failure_is_shown_with_its_own_way_out() {
        let mut findings = FindingsBuilder::default();
        findings.failed("store", CommandError::new(Exit::Store, "store /x").hint("Look."));
        assert_eq!(findings.finish().findings[0].fix.as_deref(), Some("Look."));
    }
}
