//! The Helm half of a restore, and what its steps share: chart and values from the bundle, lease, pods.

use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{ChartSource, Work, layers};
use crate::cluster::pod::RecoveryPod;
use crate::cluster::transport::Agent;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{self, ChartFile, Revision, UpgradeRequest};
use crate::journal::{Done, Outputs};
use crate::ops::{helper, settle};
use crate::values::{Scrubber, Tree};
use crate::vault::{DeploymentOutcome, DeploymentStatus, How, Image, Intent, RecordedChart};

/// Helm only applies: what is waited for is waited for, and shown, by the steps. Its hooks may take this long.
const HELM_LIMIT: Duration = Duration::from_secs(600);

impl Work {
    /// The exact bytes of the bundle's values.
    pub(super) fn values(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(self.reader.open_member("config/values.yaml.age", &self.identities)?)
    }

    /// The chart, as a file that helm can read; it goes when dropped.
    pub(super) async fn chart(&self) -> Result<ChartFile> {
        match &self.plan.chart {
            ChartSource::Bundle => {
                let name = self.reader.chart().ok_or_else(|| {
                    CommandError::new(Exit::Damaged, format!("bundle {} holds no chart", self.plan.bundle))
                        .hint("Name the chart's file with --chart.")
                })?;
                Ok(ChartFile::from_bytes(&self.reader.open_member(name, &self.identities)?)?)
            }
            ChartSource::Pulled { reference, version } => {
                Ok(self.helm.fetch(&helm::ChartSource::parse(reference), Some(version)).await?)
            }
        }
    }

    /// Installs or upgrades the release with the bundle's values and `sets` over them.
    pub(super) async fn deploy(&self, sets: &[(&str, &str)], why: &str) -> Result<Revision> {
        self.hold_lease().await?;
        // Only an earlier process of this run has begun anything in this namespace, and runs resume on their own host.
        let Self { helm, cluster, plan, .. } = self;
        settle::settle_release(helm, cluster, &plan.release, true, &self.ctx.events).await?;
        let (values, chart) = (self.values()?, self.chart().await?);
        let mut sets = sets.to_vec();
        sets.extend(self.other_version().map(|version| (layers::VERSION, version)));
        let ask = UpgradeRequest {
            release: &self.plan.release,
            chart: &chart.path(),
            values: &values,
            sets: &sets,
            timeout: HELM_LIMIT,
            wait: false,
            create_namespace: false,
            description: Some(why),
            debug: false,
        };
        let mut scrubber = Scrubber::new(None);
        scrubber.register_tree(&Tree::parse(&values)?);
        Ok(self.helm.upgrade_install(&ask, &scrubber, &self.ctx.events, &self.ctx.cancel).await?)
    }

    /// Takes the lease, or makes sure that it was not lost. Every step that changes the cluster asks first, because a
    /// resumed process begins in the middle of the list.
    pub(super) async fn hold_lease(&self) -> Result<()> {
        self.hands.lock().await.lease.take(&self.ctx, &self.cluster, &self.plan.release, &self.run).await
    }

    /// Gives the lease back.
    pub(super) async fn release_lease(&self) -> Result<()> {
        self.hands.lock().await.lease.release(&self.ctx, &self.cluster, &self.plan.release, &self.run).await
    }

    /// The claim of the database's volume.
    pub(super) async fn claim(&self) -> Result<String> {
        let database = self.cluster.database(&self.plan.database).await?.ok_or_else(|| self.no_database())?;
        Ok(database.primary_claim())
    }

    /// The database's primary pod.
    pub(super) async fn primary(&self) -> Result<String> {
        let pod = self.cluster.primary_pod(&self.plan.database).await?;
        pod.metadata.name.ok_or_else(|| self.no_database())
    }

    fn no_database(&self) -> CommandError {
        CommandError::new(
            Exit::Cluster,
            format!("database {} is gone from namespace {}", self.plan.database, self.plan.namespace),
        )
        .hint("Somebody has deleted it while it was being restored: begin again in an empty namespace.")
    }

    /// Starts the recovery pod, or takes up the one that an earlier process of this run has left.
    pub(super) async fn recovery_agent(&self) -> Result<Agent> {
        self.hold_lease().await?;
        let database = self.cluster.database(&self.plan.database).await?.ok_or_else(|| self.no_database())?;
        let pull: Vec<String> = database.spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect();
        let image = database.image().unwrap_or_default();
        let manifest =
            RecoveryPod { pod: helper::pod(&self.cluster, &self.run, image, &pull), claim: database.primary_claim() }
                .manifest()?;
        helper::start(&self.ctx, &self.cluster, &manifest, &self.run).await
    }

    /// Writes the finished deployment into the config vault, if this host has one. Returns its id.
    pub(super) async fn record(&self, outputs: &Outputs) -> Result<Option<String>> {
        if self.settings.vault.path.is_none() {
            return Ok(None);
        }
        let vault = self.ctx.vault()?;
        let install = crate::vault::RecordedInstall {
            namespace: self.plan.namespace.clone(),
            release: self.plan.release.clone(),
            context: self.settings.install.context.clone(),
        };
        let revision: u32 = outputs.get(super::steps::START)?;
        // A killed process may have written it already.
        let known = vault.deployments(&install)?;
        let same = |known: &&crate::vault::Deployment| known.record.why.as_deref() == Some(self.why().as_str());
        if let Some(done) = known.iter().filter(same).find(|known| known.revision() == Some(revision)) {
            return Ok(Some(done.id().to_string()));
        }
        let (values, chart) = (self.values()?, self.chart().await?);
        let facts = self.helm.chart_facts(&chart.path()).await?;
        let reference = match &self.plan.chart {
            ChartSource::Bundle => format!("bundle {}", self.plan.bundle),
            ChartSource::Pulled { reference, .. } => reference.clone(),
        };
        let intent = Intent {
            install,
            at: Timestamp::now(),
            by: self.ctx.who.clone(),
            why: Some(self.why()),
            how: How::Restore,
            opschain_version: Some(self.plan.version.clone()),
            chart: RecordedChart {
                name: facts.name,
                version: facts.version,
                app_version: facts.app_version,
                reference,
                digest: chart.digest().map(str::to_owned),
            },
            helm: Some(self.plan.helm.clone()),
            operator: Some(self.plan.operator.clone()),
        };
        let layers = layers::deployed(&self.reader, &self.identities, values, self.other_version())?;
        let id = vault.record_layers(intent, &layers, Some(chart.bytes()))?;
        let images = self.cluster.running_images().await?;
        let outcome = DeploymentOutcome {
            format: crate::vault::FORMAT,
            id: id.clone(),
            at: Timestamp::now(),
            status: DeploymentStatus::Deployed,
            helm_revision: Some(revision),
            images: images.into_iter().map(|image| Image { reference: image.image, digest: image.digest }).collect(),
            seconds: 0.0,
            error: None,
        };
        vault.record_outcome(outcome, &self.ctx.who)?;
        Ok(Some(id.to_string()))
    }

    /// The version that is to run, where the values name another.
    fn other_version(&self) -> Option<&str> {
        (self.plan.version != self.plan.made_by).then_some(self.plan.version.as_str())
    }

    fn why(&self) -> String {
        format!("restored from bundle {} by run {}", self.plan.bundle, self.run)
    }
}

/// What a Helm step says when it is done.
pub(super) fn deployed(revision: &Revision) -> Done<u32> {
    Done::with(revision.revision, format!("revision {} of {}", revision.revision, revision.chart))
}
