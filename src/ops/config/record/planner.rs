//! A look at values that are to be recorded: does Helm read them, which version are they of, are they there already.

use std::sync::Arc;

use jiff::{Span, Timestamp};
use zeroize::Zeroizing;

use super::candidates::RecordCandidate;
use super::place::RecordPlace;
use super::plan::{RecordAction, RecordDraft, RecordItem};
use super::request::RecordRequest;
use crate::clock;
use crate::error::{CommandError, Exit, Result};
use crate::helm::ChartFacts;
use crate::ops::Ctx;
use crate::ops::config::sha256;
use crate::opschain::Version;
use crate::opschain::values::VERSION;
use crate::values::lint::lint;
use crate::values::{Secrets, Tree, overlay};
use crate::vault::{Deployment, DeploymentStatus, How, Intent, RecordedChart, RecordedInstall, Vault};

/// What looks: it knows the vault, and remembers what it has seen.
pub(super) struct RecordPlanner<'a> {
    request: &'a RecordRequest,
    facts: Option<&'a ChartFacts>,
    place: RecordPlace,
    /// Where charts come from, as the settings say.
    reference: String,
    by: String,
    secrets: Secrets,
    known: Vec<Arc<Deployment>>,
    /// Time, digest and name of what is recorded in the same run.
    seen: Vec<(Timestamp, String, String)>,
    asked: Option<Version>,
}

/// Why one cannot be recorded.
struct RecordRefusal {
    exit: Exit,
    reason: String,
}

impl<T: Into<String>> From<T> for RecordRefusal {
    fn from(reason: T) -> Self {
        Self { exit: Exit::Usage, reason: reason.into() }
    }
}

impl<'a> RecordPlanner<'a> {
    pub(super) fn new(
        ctx: &Ctx,
        request: &'a RecordRequest,
        facts: Option<&'a ChartFacts>,
        (vault, place): (&Vault, RecordPlace),
    ) -> Result<Self> {
        let asked = request.version.as_deref().map(|text| {
            text.parse::<Version>().map_err(|_| {
                CommandError::new(Exit::Usage, format!("`{text}` is not an OpsChain version"))
                    .hint("Give it as a date, such as 2026-08-20.")
            })
        });
        let reference = match &request.chart {
            Some(chart) => chart.clone(),
            None => ctx.install().chart.clone(),
        };
        Ok(Self {
            request,
            facts,
            known: vault.known(&place.install)?,
            place,
            reference,
            by: request.by.clone().unwrap_or_else(|| ctx.who.clone()),
            secrets: ctx.secrets().clone(),
            seen: Vec::new(),
            asked: asked.transpose()?,
        })
    }

    /// Looks at one.
    pub(super) fn plan(&mut self, candidate: RecordCandidate) -> (RecordItem, RecordDraft) {
        let mut item = RecordItem {
            from: candidate.name.clone(),
            at: candidate.at.as_ref().ok().copied(),
            version: None,
            revision: candidate.revision,
            sha256: String::new(),
            no_cluster: None,
            findings: Vec::new(),
            action: RecordAction::Record,
        };
        let status = candidate.status.as_ref().copied().unwrap_or(DeploymentStatus::Interrupted);
        let (bytes, action, intent) = match self.judge(candidate, &mut item) {
            Ok((bytes, action, intent)) => (bytes, action, Some(intent)),
            Err(RecordRefusal { exit, reason }) => {
                (Zeroizing::new(Vec::new()), RecordAction::Refused { reason, exit }, None)
            }
        };
        item.action = action;
        (item, RecordDraft { bytes, intent, status })
    }

    fn judge(
        &mut self,
        candidate: RecordCandidate,
        item: &mut RecordItem,
    ) -> std::result::Result<(Zeroizing<Vec<u8>>, RecordAction, Intent), RecordRefusal> {
        let bytes = candidate.bytes?;
        item.sha256 = sha256(&bytes);
        let tree = Tree::parse_or_keep(&bytes);
        if let Some(error) = tree.unread().filter(|_| !self.request.keep_unread) {
            let reason = format!("it is not read: {error}; if helm has deployed it all the same, add --allow not-read");
            return Err(reason.into());
        }
        item.findings = lint(&tree, &bytes);
        let at = candidate.at?;
        if at > clock::now() {
            return Err(format!("{at} is still to come").into());
        }
        candidate.status?;
        let (version, chart) = self.chart(&tree, candidate.chart)?;
        item.version.clone_from(&version);
        let (install, no_cluster) = self.place.at(at);
        item.no_cluster = no_cluster;
        let document = sha256(&overlay::document(&tree.to_json()));
        let stored = (candidate.revision, candidate.description.as_deref());
        let action = match self.there((at, &install), &item.sha256, &document, stored) {
            Some(deployment) => RecordAction::Present { by: deployment.id().to_string() },
            None => match self.seen.iter().find(|(time, digest, _)| *time == at && *digest == item.sha256) {
                Some((_, _, name)) => RecordAction::Present { by: name.clone() },
                None => RecordAction::Record,
            },
        };
        self.seen.push((at, item.sha256.clone(), candidate.name));
        // What is quoted of it from here on is masked, why it was deployed among it.
        self.secrets.register_tree(&tree);
        let intent = Intent {
            install,
            at,
            by: self.secrets.scrub(&self.by).into_owned(),
            why: candidate.why.map(|why| self.secrets.scrub_words(&why)),
            how: How::Import,
            opschain_version: version,
            chart,
            helm: None,
            operator: None,
            bundle_before: None,
        };
        Ok((bytes, action, intent))
    }

    /// The deployment that this one would be the second record of.
    fn there(
        &self,
        (at, install): (Timestamp, &RecordedInstall),
        sha256: &str,
        document: &str,
        (revision, said): (Option<u32>, Option<&str>),
    ) -> Option<&Deployment> {
        let near = |then: Timestamp| {
            let (least, most) = (at.checked_sub(Span::new().hours(1)), at.checked_add(Span::new().hours(1)));
            least.is_ok_and(|least| least <= then) && most.is_ok_and(|most| then <= most)
        };
        let here = self.known.iter().filter(|known| !known.record.install.is_in_another_cluster(install));
        here.map(|known| &**known).find(|known| {
            // With the chart that it lacks, it is more than it was: of one moment the later record counts.
            let completes = self.request.chart.is_some() && known.record.chart_archive.is_none();
            let same = known.record.at == at && known.values_sha256() == Some(sha256) && !completes;
            // What helm has of a deployment that `dr` made is not a deployment of its own. A new install counts its
            // revisions from 1 again, so that the number alone says nothing.
            let named = said.is_some_and(|said| said == format!("dr {}", known.id()));
            let ended = known.outcome.as_ref().map_or(known.record.at, |outcome| outcome.at);
            let numbered = said.is_some() && revision.is_some() && known.revision() == revision && near(ended);
            let alike = || known.document_sha256().is_none_or(|recorded| recorded == document);
            same || named || (numbered && alike())
        })
    }

    /// The OpsChain version and the chart: what was asked for, what the values name, what helm knows, what the chart
    /// says of itself.
    fn chart(
        &self,
        tree: &Tree,
        stored: Option<(String, String)>,
    ) -> std::result::Result<(Option<String>, RecordedChart), RecordRefusal> {
        let of_chart = |text: &str| text.parse::<Version>().ok();
        let named = tree.text(VERSION).and_then(of_chart);
        self.refuse_other_versions(named.as_ref())?;
        let told = self.facts.map(|facts| facts.version.as_str()).or(self.request.chart_version.as_deref());
        let version = self
            .asked
            .clone()
            .or(named)
            .or_else(|| told.and_then(of_chart))
            .or_else(|| stored.as_ref().and_then(|(_, version)| of_chart(version)));
        let number = told
            .map(str::to_owned)
            .or_else(|| stored.as_ref().map(|(_, version)| version.clone()))
            .or_else(|| version.as_ref().and_then(Version::chart))
            .ok_or("which version it was is not said: the values do not name it, so add --version")?;
        let last = self.reference.rsplit('/').next().unwrap_or("opschain");
        let name = match (self.facts, stored) {
            (Some(facts), _) => facts.name.clone(),
            (None, Some((name, _))) => name,
            (None, None) => last.trim_end_matches(".tgz").to_owned(),
        };
        let app_version = self.facts.and_then(|facts| facts.app_version.clone());
        let chart =
            RecordedChart { name, version: number, app_version, reference: self.reference.clone(), digest: None };
        Ok((version.map(|version| version.tag()), chart))
    }

    /// Refuses a version, or a chart, that is not the one that the values name: a restore would run what never ran.
    fn refuse_other_versions(&self, named: Option<&Version>) -> std::result::Result<(), RecordRefusal> {
        let place = VERSION.join(".");
        let refused = |reason: String| {
            let reason = format!("{reason}; if that is how it was deployed, add --allow version");
            Err(RecordRefusal { exit: Exit::Version, reason })
        };
        match (&self.asked, named) {
            _ if self.request.any_version => return Ok(()),
            (Some(asked), Some(named)) if asked != named => {
                return refused(format!(
                    "the values name version {} in {place}, and --version {}",
                    named.tag(),
                    asked.tag()
                ));
            }
            _ => {}
        }
        // A moving version has no chart of its own.
        let version = self.asked.as_ref().or(named).filter(|version| version.chart().is_some());
        let (Some(facts), Some(version)) = (self.facts, version) else { return Ok(()) };
        if facts.version.parse::<Version>().is_ok_and(|chart| chart == *version) {
            return Ok(());
        }
        refused(format!("the chart is version {}, and the values are of {}", facts.version, version.tag()))
    }
}
