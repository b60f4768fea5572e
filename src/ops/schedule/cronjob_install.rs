//! Making a schedule in the cluster: what would be applied, and then that.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::cronjob_parts::{self, CREDENTIALS, SIGNING_KEY, ScheduleParts, secrets_of};
use crate::bundle::SIGNATURE_NAMESPACE;
use crate::cluster::Cluster;
use crate::crypt::Signer;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::carried::CarriedDeployment;
use crate::ops::history::History;
use crate::settings::Settings;
use crate::text::bytes;
use crate::vault::Deployment;
use crate::web;

/// The most that a Secret may hold, and a little less.
const SECRET_LIMIT: usize = 1_000_000;

/// What a schedule in the cluster is to be.
#[derive(Debug, Clone)]
pub struct CronJobRequest {
    /// When, as cron has it.
    pub at: String,
    /// Of which time zone, as the IANA has it.
    pub time_zone: String,
    /// `dr`'s own image, as the nodes pull it.
    pub image: String,
    /// How long one may take.
    pub deadline: Duration,
    /// The Secret with the bucket's key.
    pub credentials: Option<String>,
    /// Secrets to pull the image with, beside those that pods have by default.
    pub pull_secrets: Vec<String>,
}

/// What installing it does.
#[derive(Debug, Clone, Serialize)]
pub struct CronJobPlan {
    pub install: String,
    pub cron_job: String,
    pub image: String,
    pub at: String,
    pub time_zone: String,
    pub store: String,
    /// The deployment that goes along, sealed.
    pub deployment: String,
    /// What of this host's settings the pods do not have.
    pub not_passed_on: Vec<String>,
    /// Whether there is such a schedule already, which is changed to this.
    pub changes: bool,
    /// The objects but for its two Secrets, in the order in which they are made.
    pub objects: Vec<Value>,
    /// The Secrets that are made: their names and keys.
    pub secrets: Vec<String>,
}

impl CronJobPlan {
    /// What is made but for the Secrets, by kind and name.
    pub fn made(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.objects.iter().map(|one| format!("{} {}", text(&one["kind"]), text(&one["metadata"]["name"]))).collect()
    }

    /// The same as YAML documents.
    ///
    /// # Errors
    /// They cannot be written as YAML.
    pub fn yaml(&self) -> Result<String> {
        let written: std::result::Result<Vec<String>, _> = self.objects.iter().map(serde_yaml::to_string).collect();
        let written = written.map_err(|e| CommandError::new(Exit::Failure, "write the objects as YAML").because(e))?;
        Ok(written.join("---\n"))
    }
}

/// A schedule that was made in the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CronJobReport {
    pub install: String,
    pub cron_job: String,
    pub at: String,
    pub time_zone: String,
    /// The line for a file of trusted signers: without it, nobody believes its bundles.
    pub trust_line: String,
    /// Whether this host believes its key.
    pub trusted_here: bool,
    /// The file of this host that the line belongs into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_signers: Option<String>,
}

/// Looks at everything, and changes nothing. The API server judges the CronJob.
///
/// # Errors
/// The store is no bucket, nothing is deployed that the vault knows, or something stands in the way.
pub async fn plan(ctx: &Ctx, request: &CronJobRequest) -> Result<CronJobPlan> {
    let settings = ctx.settings()?;
    require_bucket(settings)?;
    ctx.recipients()?;
    let deployment = live(ctx).await?;
    let pods = pod_settings(settings, request)?;
    let cluster = ctx.cluster().await?;
    let mut pull_secrets = cluster.default_pull_secrets().await?;
    pull_secrets
        .extend(request.pull_secrets.iter().filter(|name| !pull_secrets.contains(name)).cloned().collect::<Vec<_>>());
    let objects = parts(ctx, request, &pods, &pull_secrets).objects()?;
    if let Some(secret) = &request.credentials
        && cluster.secret_key(secret, CREDENTIALS).await?.is_none()
    {
        let what =
            format!("there is no Secret {secret} with the key `{CREDENTIALS}` in namespace {}", cluster.namespace());
        return Err(CommandError::new(Exit::NotFound, what).hint(format!(
            "Make it of a file as Amazon's tools write it: `kubectl -n {} create secret generic {secret} --from-file={CREDENTIALS}=FILE`.",
            cluster.namespace()
        )));
    }
    let name = cronjob_parts::name(ctx.install());
    if let Some(other) = cluster.first_of_others(&parts(ctx, request, &pods, &pull_secrets).all()?).await? {
        return Err(CommandError::new(Exit::Usage, format!("{other} is there, and `dr` did not make it"))
            .hint("Take it away, or rename it: the schedule needs the name."));
    }
    let changes = cluster.bundle_cron_jobs().await?.iter().any(|there| there.name == name);
    if let Some(cron_job) = objects.last() {
        cluster.judge(cron_job).await?;
    }
    let (key, carried) = secrets_of(&name);
    let install = ctx.install();
    Ok(CronJobPlan {
        install: format!("{}/{}", install.namespace, install.release),
        cron_job: name,
        image: request.image.clone(),
        at: request.at.clone(),
        time_zone: request.time_zone.clone(),
        store: settings.store.place().unwrap_or_default(),
        deployment: deployment.id().to_string(),
        not_passed_on: cronjob_parts::not_passed_on(settings),
        changes,
        objects,
        secrets: vec![
            format!("{key}: {SIGNING_KEY} (a key of its own, made here and kept where there is one)"),
            format!("{carried}: deployment {}, as the vault has sealed it", deployment.id()),
        ],
    })
}

/// Makes the Secrets and applies the rest, the CronJob last.
///
/// # Errors
/// The API server refuses one.
pub async fn install(ctx: &Ctx, plan: &CronJobPlan) -> Result<CronJobReport> {
    let (install, cluster) = (ctx.install(), ctx.cluster().await?);
    let (key, _) = secrets_of(&plan.cron_job);
    let there = cluster.secret_key(&key, SIGNING_KEY).await?;
    let signer = match &there {
        Some(bytes) => Signer::parse(bytes, &format!("Secret {key}"))?,
        None => Signer::generate(&format!("{}@{}", plan.cron_job, install.namespace))?,
    };
    if there.is_none() {
        let text = signer.private_text()?;
        ctx.secrets().register(text.as_bytes());
        let files = BTreeMap::from([(SIGNING_KEY.to_owned(), text.as_bytes().to_vec())]);
        cluster.apply_ours(&[cronjob_parts::secret(install, &key, files)]).await?;
    }
    carry(ctx, cluster, &plan.cron_job, live(ctx).await?).await?;
    cluster.apply_ours(&plan.objects).await?;
    let trust_line = signer.trust_line(&signer.name(), &[SIGNATURE_NAMESPACE]);
    let test = b"is it believed here";
    let signature = signer.sign(SIGNATURE_NAMESPACE, test)?;
    let trusted = ctx.trusted_signers(None);
    let trusted_here =
        trusted.is_ok_and(|signers| signers.verify(SIGNATURE_NAMESPACE, test, signature.as_bytes()).is_ok());
    Ok(CronJobReport {
        install: plan.install.clone(),
        cron_job: plan.cron_job.clone(),
        at: plan.at.clone(),
        time_zone: plan.time_zone.clone(),
        trust_line,
        trusted_here,
        trusted_signers: ctx.settings()?.keys.trusted_signers.as_ref().map(|path| path.display().to_string()),
    })
}

/// Has the schedule of the install, where there is one in the cluster, make its bundles with the deployment that is live by
/// now. What speaks against it is a warning: the deployment is done, and the schedule itself refuses what it does not know.
pub async fn renew(ctx: &Ctx) {
    let renewed = async {
        let cluster = ctx.cluster().await?;
        let name = cronjob_parts::name(ctx.install());
        let there = match cluster.bundle_cron_jobs().await {
            // Who may not see a schedule has made none.
            Err(error) if error.is_forbidden() => return Ok(()),
            there => there?,
        };
        match there.iter().any(|there| there.name == name) {
            true => carry(ctx, cluster, &name, live(ctx).await?).await,
            false => Ok(()),
        }
    };
    if let Err(error) = renewed.await {
        let hint = "`dr schedule install --cronjob --image IMAGE`, with all that it was made with, takes it there anew; until then, it makes no bundle.";
        let what = format!("the schedule in the cluster does not know this deployment yet: {error}");
        ctx.events.warn(what, Some(hint.into()));
    }
}

async fn carry(ctx: &Ctx, cluster: &Cluster, name: &str, deployment: Deployment) -> Result<()> {
    let carried = CarriedDeployment::take(ctx.vault()?, deployment)?.files()?;
    let size: usize = carried.values().map(Vec::len).sum();
    if size > SECRET_LIMIT {
        let what =
            format!("values and chart have {} sealed, and a Secret holds no more than 1 MiB", bytes(size as u64));
        return Err(
            CommandError::new(Exit::Space, what).hint("Make bundles from this host: `dr schedule install --systemd`.")
        );
    }
    let (_, secret) = secrets_of(name);
    Ok(cluster.apply_ours(&[cronjob_parts::secret(ctx.install(), &secret, carried)]).await?)
}

/// The deployment that is live, as the vault knows it.
async fn live(ctx: &Ctx) -> Result<Deployment> {
    let history = History::read(ctx).await?;
    history.own().cloned().ok_or_else(|| {
        CommandError::new(
            Exit::Drift,
            format!("the vault does not know what is live as release {}", ctx.install().release),
        )
        .hint("Write down what is live: `dr config record --from-helm --chart REF`; or deploy through dr.")
    })
}

fn require_bucket(settings: &Settings) -> Result<()> {
    match settings.store.url {
        Some(_) => Ok(()),
        None => Err(CommandError::new(Exit::Settings, "a schedule in the cluster needs a bucket as its store")
            .hint("Set `url = \"s3://BUCKET/PREFIX\"` under [store]; for a folder of this host: `dr schedule install --systemd`.")),
    }
}

/// What the pods are told, with the certificates that they are to trust.
struct PodTexts {
    settings: String,
    certificates: Option<String>,
}

fn pod_settings(settings: &Settings, request: &CronJobRequest) -> Result<PodTexts> {
    let plain = settings.store.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let certificates = match plain {
        true => None,
        false => Some(web::trusted_pem(settings.store.ca_file.as_deref()).map_err(|error| {
            CommandError::new(Exit::Settings, "read the certificates that the pods are to trust").because(error)
        })?),
    };
    let settings = cronjob_parts::settings(settings, request.credentials.is_some(), certificates.is_some())?;
    Ok(PodTexts { settings, certificates })
}

fn parts<'a>(
    ctx: &'a Ctx,
    request: &'a CronJobRequest,
    pods: &'a PodTexts,
    pull_secrets: &'a [String],
) -> ScheduleParts<'a> {
    ScheduleParts {
        install: ctx.install(),
        image: &request.image,
        at: &request.at,
        time_zone: &request.time_zone,
        deadline_seconds: request.deadline.as_secs(),
        pull_secrets,
        credentials: request.credentials.as_deref(),
        settings: &pods.settings,
        certificates: pods.certificates.as_deref(),
    }
}
