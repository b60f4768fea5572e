//! A CronJob that makes bundles, with what it was made with.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use serde_json::{Value, json};

use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::pod::CONTAINER;

/// What a schedule in the cluster was made with: what making it anew takes, unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstalledSchedule {
    /// As cron has it.
    pub at: String,
    pub time_zone: Option<String>,
    pub suspended: bool,
    pub image: Option<String>,
    pub deadline_seconds: Option<u64>,
    /// The Secret with the bucket's key.
    pub credentials: Option<String>,
    pub pull_secrets: Vec<String>,
    /// What its pods find in their environment.
    pub environment: BTreeMap<String, String>,
    /// `dr.toml` of its pods.
    pub settings: Option<String>,
}

impl Cluster {
    /// The schedule that is called so, where there is one.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn installed_schedule(&self, name: &str, settings_key: &str) -> Result<Option<InstalledSchedule>> {
        let Some(cron_job) = self.here::<CronJob>().get_opt(name).await? else { return Ok(None) };
        let seen = serde_json::to_value(&cron_job).map_err(|error| ClusterError::Unexpected {
            act: format!("read CronJob {name}"),
            cause: error.to_string(),
        })?;
        let account = self.here::<ServiceAccount>().get_opt(name).await?;
        let pull_secrets = account.and_then(|account| account.image_pull_secrets).unwrap_or_default();
        let settings = self.here::<ConfigMap>().get_opt(name).await?;
        Ok(Some(InstalledSchedule {
            pull_secrets: pull_secrets.into_iter().map(|secret| secret.name).collect(),
            settings: settings.and_then(|map| map.data?.remove(settings_key)),
            ..of_cron_job(&seen["spec"])
        }))
    }

    /// Writes other settings for its pods; what else is beside them stays.
    ///
    /// # Errors
    /// They may not be written.
    pub async fn set_schedule_settings(&self, name: &str, settings_key: &str, settings: &str) -> Result<()> {
        let change = json!({"data": {settings_key: settings}});
        self.here::<ConfigMap>().merge(name, &change).await.map(drop)
    }
}

fn of_cron_job(spec: &Value) -> InstalledSchedule {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let job = &spec["jobTemplate"]["spec"];
    let pod = &job["template"]["spec"];
    let container = list(&pod["containers"]).into_iter().find(|one| one["name"] == CONTAINER).unwrap_or_default();
    let sources = list(&pod["volumes"]).into_iter().flat_map(|volume| list(&volume["projected"]["sources"]));
    let credentials = sources.filter(|source| source["secret"]["items"][0]["key"] == "credentials");
    let variable = |one: &Value| Some((text(&one["name"])?, text(&one["value"]).unwrap_or_default()));
    InstalledSchedule {
        at: text(&spec["schedule"]).unwrap_or_default(),
        time_zone: text(&spec["timeZone"]),
        suspended: spec["suspend"] == true,
        image: text(&container["image"]),
        deadline_seconds: job["activeDeadlineSeconds"].as_u64(),
        credentials: credentials.filter_map(|source| text(&source["secret"]["name"])).next(),
        environment: list(&container["env"]).iter().filter_map(variable).collect(),
        ..InstalledSchedule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schedule_was_made_with_is_read_of_its_cron_job() {
        let source = |name: &str, key: &str| json!({"secret": {"name": name, "items": [{"key": key, "path": key}]}});
        let pod = json!({
            "containers": [
                {"name": "injected", "image": "other"},
                {"name": "dr", "image": "r.example/dr:1", "env": [{"name": "HTTPS_PROXY", "value": "http://p:1"}]},
            ],
            "volumes": [
                {"name": "state"},
                {"name": "given", "projected": {"sources": [source("k", "signing_key"), source("bucket", "credentials")]}},
            ],
        });
        let spec = json!({
            "schedule": "0 2 * * *", "timeZone": "Europe/Berlin", "suspend": true,
            "jobTemplate": {"spec": {"activeDeadlineSeconds": 3600, "template": {"spec": pod}}},
        });
        let seen = of_cron_job(&spec);
        assert_eq!((seen.at.as_str(), seen.suspended, seen.deadline_seconds), ("0 2 * * *", true, Some(3600)));
        assert_eq!((seen.image.as_deref(), seen.credentials.as_deref()), (Some("r.example/dr:1"), Some("bucket")));
        assert_eq!(seen.environment["HTTPS_PROXY"], "http://p:1");
        assert_eq!(of_cron_job(&json!({})), InstalledSchedule::default());
    }
}
