//! Making a schedule in the cluster: what would be applied, and then that.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::cronjob_parts::{self, CREDENTIALS, PodSettingsParts, SIGNING_KEY, ScheduleParts, secrets_of};
use crate::bundle::SIGNATURE_NAMESPACE;
use crate::cluster::{Cluster, InstalledSchedule, PodPlacement};
use crate::crypt::Signer;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::carried::CarriedDeployment;
use crate::ops::history::History;
use crate::proxy::ProxyVariables;
use crate::settings::Settings;
use crate::store::of_environment;
use crate::text::bytes;
use crate::vault::Deployment;
use crate::web;

/// When, where nobody says.
const DEFAULT_TIME: &str = "0 2 * * *";
/// How long one may take, where nobody says.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(6 * 3600);
/// The API server as its pods reach it: no proxy leads there. Kubernetes fills in the address.
const OWN_API: &str = "$(KUBERNETES_SERVICE_HOST),.svc";
/// The most that a Secret may hold, and a little less.
const SECRET_LIMIT: usize = 1_000_000;

/// What a schedule in the cluster is to be. What is not said stays as it is installed, else has its default.
#[derive(Debug, Clone, Default)]
pub struct CronJobRequest {
    /// When, as cron has it.
    pub at: Option<String>,
    /// Of which time zone, as the IANA has it.
    pub time_zone: Option<String>,
    /// That of this host.
    pub own_time_zone: String,
    /// `dr`'s own image, as the nodes pull it.
    pub image: Option<String>,
    /// How long one may take.
    pub deadline: Option<Duration>,
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
    /// Whom the bundles are sealed to: the vault's recipients.
    pub recipients: Vec<String>,
    /// Whether it starts nothing until it is resumed, as the one that is there.
    pub paused: bool,
    /// What its bundles will lack, or wait for.
    pub warnings: Vec<String>,
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
    let deployment = live(ctx).await?;
    let (cluster, install, name) = (ctx.cluster().await?, ctx.install(), cronjob_parts::name(ctx.install()));
    let there = cluster.installed_schedule(&name, cronjob_parts::SETTINGS).await?;
    let changes = there.is_some();
    let there = there.unwrap_or_default();
    let image = request.image.clone().or(there.image.clone()).ok_or_else(|| {
        CommandError::new(Exit::Usage, "the CronJob needs dr's own image, as the nodes pull it").hint(
            "Name it: `dr schedule install --cronjob --image NAME`; `dr image push` and `dr image save` say its name.",
        )
    })?;
    let at = request.at.clone().or_else(|| changes.then(|| there.at.clone())).unwrap_or_else(|| DEFAULT_TIME.into());
    let time_zone = request.time_zone.clone().or(there.time_zone.clone());
    let time_zone = time_zone.unwrap_or_else(|| request.own_time_zone.clone());
    let deadline_seconds = request.deadline.map(|deadline| deadline.as_secs()).or(there.deadline_seconds);
    let credentials = request.credentials.as_ref().or(there.credentials.as_ref());
    let sealed = CarriedDeployment::take(ctx.vault()?, deployment.clone())?.sealed_to();
    let recipients = cronjob_parts::recipients(ctx.vault()?.recipients()?.to_strings(), sealed);
    let pods = pod_settings(settings, recipients.keys.clone(), credentials.is_some(), &there)?;
    let pull_secrets = pull_secrets(cluster, request, &there).await?;
    let objects = ScheduleParts {
        install,
        image: &image,
        at: &at,
        time_zone: &time_zone,
        deadline_seconds: deadline_seconds.unwrap_or(DEFAULT_DEADLINE.as_secs()),
        paused: there.suspended,
        pull_secrets: &pull_secrets,
        environment: &proxies(&ProxyVariables::of_this_process(), &there.environment)?,
        placement: &placement(ctx, cluster).await,
        credentials: credentials.map(String::as_str),
        settings: &pods.settings,
        certificates: pods.certificates.as_deref(),
    }
    .objects()?;
    if let Some(secret) = credentials
        && cluster.secret_key(secret, CREDENTIALS).await?.is_none()
    {
        let what =
            format!("there is no Secret {secret} with the key `{CREDENTIALS}` in namespace {}", cluster.namespace());
        return Err(CommandError::new(Exit::NotFound, what).hint(format!(
            "Make it of a file as Amazon's tools write it: `kubectl -n {} create secret generic {secret} --from-file={CREDENTIALS}=FILE`.",
            cluster.namespace()
        )));
    }
    if let Some(other) = cluster.first_of_others(&cronjob_parts::all(install)?).await? {
        return Err(CommandError::new(Exit::Usage, format!("{other} is there, and `dr` did not make it"))
            .hint("Take it away, or rename it: the schedule needs the name."));
    }
    if let Some(cron_job) = objects.last() {
        cluster.judge(cron_job).await?;
    }
    let (key, carried) = secrets_of(&name);
    Ok(CronJobPlan {
        install: format!("{}/{}", install.namespace, install.release),
        cron_job: name,
        image,
        at,
        time_zone,
        store: settings.store.place().unwrap_or_default(),
        deployment: deployment.id().to_string(),
        recipients: recipients.keys,
        paused: there.suspended,
        warnings: recipients.warning.into_iter().collect(),
        not_passed_on: cronjob_parts::not_passed_on(settings, credentials.map(String::as_str)),
        changes,
        objects,
        secrets: vec![
            format!("{key}: {SIGNING_KEY} (a key of its own, made here and kept where there is one)"),
            format!("{carried}: deployment {}, as the vault has sealed it", deployment.id()),
        ],
    })
}

/// Those that pods have by default, with those that were named or, when none was, that it has by now.
async fn pull_secrets(cluster: &Cluster, request: &CronJobRequest, there: &InstalledSchedule) -> Result<Vec<String>> {
    let mut all = cluster.default_pull_secrets().await?;
    let named = if request.pull_secrets.is_empty() { &there.pull_secrets } else { &request.pull_secrets };
    let more: Vec<String> = named.iter().filter(|name| !all.contains(name)).cloned().collect();
    all.extend(more);
    Ok(all)
}

/// The proxies of this host, else those that the pods have by now. The API server is never behind one.
fn proxies(of_host: &ProxyVariables, of_pods: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (name, value) in [("HTTPS_PROXY", &of_host.https), ("HTTP_PROXY", &of_host.http)] {
        if let Some(value) = value.as_ref().or_else(|| of_pods.get(name)) {
            if value.contains('@') {
                return Err(CommandError::new(
                    Exit::Usage,
                    format!("{name} has a password, and a CronJob is no place for one"),
                )
                .hint(format!("Set {name} without it for this command.")));
            }
            variables.insert(name.to_owned(), value.clone());
        }
    }
    if variables.is_empty() {
        return Ok(variables);
    }
    let exempt = match (&of_host.exempt, of_pods.get("NO_PROXY")) {
        (Some(list), _) => format!("{list},{OWN_API}"),
        (None, Some(list)) => list.clone(),
        (None, None) => OWN_API.to_owned(),
    };
    variables.insert("NO_PROXY".to_owned(), exempt);
    Ok(variables)
}

/// Where the database's pods may run; anywhere, where that is not known.
async fn placement(ctx: &Ctx, cluster: &Cluster) -> PodPlacement {
    let Ok(settings) = ctx.settings() else { return PodPlacement::default() };
    match cluster.database(&settings.database.cluster).await {
        Ok(found) => found.map(|database| PodPlacement::of_database(&database.spec)).unwrap_or_default(),
        Err(error) => {
            let what = format!("whether the database's pods run on nodes of their own is not known: {error}");
            ctx.events.warn(what, None);
            PodPlacement::default()
        }
    }
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
    let carried = CarriedDeployment::take(ctx.vault()?, live(ctx).await?)?;
    carry(ctx, cluster, &plan.cron_job, &carried).await?;
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

/// Puts a deployment into the Secret that the pods read it of.
///
/// # Errors
/// It is too large, or the API server refuses it.
pub(super) async fn carry(ctx: &Ctx, cluster: &Cluster, name: &str, carried: &CarriedDeployment) -> Result<()> {
    let carried = carried.files()?;
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
///
/// # Errors
/// The vault does not know it, or helm cannot be asked.
pub(super) async fn live(ctx: &Ctx) -> Result<Deployment> {
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

fn pod_settings(
    settings: &Settings,
    recipients: Vec<String>,
    has_credentials: bool,
    there: &InstalledSchedule,
) -> Result<PodTexts> {
    let (endpoint, region) = surroundings(settings, there);
    let server = settings.store.endpoint.as_ref().or(endpoint.as_ref());
    let plain = server.is_some_and(|server| server.starts_with("http://"));
    let certificates = match plain {
        true => None,
        false => Some(web::trusted_pem(settings.store.ca_file.as_deref()).map_err(|error| {
            CommandError::new(Exit::Settings, "read the certificates that the pods are to trust").because(error)
        })?),
    };
    let parts =
        PodSettingsParts { recipients, has_credentials, has_certificates: certificates.is_some(), endpoint, region };
    Ok(PodTexts { settings: cronjob_parts::settings(settings, parts)?, certificates })
}

/// The bucket's server and region as this process finds them; where it finds none, as the pods of the same bucket have them.
fn surroundings(settings: &Settings, there: &InstalledSchedule) -> (Option<String>, Option<String>) {
    let (endpoint, region) = of_environment();
    let of_pods =
        there.settings.as_deref().and_then(|text| Settings::parse(text, Path::new(cronjob_parts::SETTINGS)).ok());
    let of_pods = of_pods.map(|pods| pods.store).filter(|store| store.url == settings.store.url).unwrap_or_default();
    (endpoint.or(of_pods.endpoint), region.or(of_pods.region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_go_by_the_proxies_of_this_host_and_never_to_the_api_server_through_one() {
        let of_host = |https: Option<&str>, exempt: Option<&str>| ProxyVariables {
            https: https.map(str::to_owned),
            http: None,
            exempt: exempt.map(str::to_owned),
        };
        let none = BTreeMap::new();
        assert!(proxies(&of_host(None, Some("x")), &none).unwrap().is_empty());
        let made = proxies(&of_host(Some("http://p:1"), Some(".example.org")), &none).unwrap();
        assert_eq!(made["NO_PROXY"], format!(".example.org,{OWN_API}"));
        // A shell that knows of none takes none away.
        assert_eq!(proxies(&of_host(None, None), &made).unwrap(), made);
        let refused = proxies(&of_host(Some("http://u:p@p:1"), None), &none).unwrap_err();
        assert!(refused.to_string().starts_with("HTTPS_PROXY has a password"), "{refused}");
    }
}
