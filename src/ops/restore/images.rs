//! The images of the application, pulled on the node while the data is staged: its pods then start at once.
//!
//! A help and no condition. Where the pod that pulls would not be admitted there is none; what fails is warned of; and
//! nobody waits for it. It bears the run's label, and so goes with the recovery pod, however the restore ends.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::{ClusterError, PodPlacement, PodRefusal, PulledImages};
use crate::error::Result;
use crate::helm::Object;
use crate::ops::{Ctx, helper};
use crate::text;

/// What the pods of a release are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReleaseImages {
    names: Vec<String>,
    /// Names of the Secrets that they are pulled with.
    pull_secrets: Vec<String>,
}

impl ReleaseImages {
    /// Those of all pods that come of `rendered` objects, each once.
    pub fn of(rendered: &[Object]) -> Self {
        let mut images = Self::default();
        rendered.iter().for_each(|object| images.collect(&object.fields));
        images
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, inner)| match (key.as_str(), inner) {
                ("containers" | "initContainers", Value::Array(list)) => add_each(&mut self.names, list, "image"),
                ("imagePullSecrets", Value::Array(list)) => add_each(&mut self.pull_secrets, list, "name"),
                (_, inner) => self.collect(inner),
            }),
            Value::Array(list) => list.iter().for_each(|inner| self.collect(inner)),
            _ => {}
        }
    }
}

fn add_each(to: &mut Vec<String>, list: &[Value], field: &str) {
    for text in list.iter().filter_map(|item| item[field].as_str()).filter(|text| !text.is_empty()) {
        if !to.iter().any(|known| known == text) {
            to.push(text.to_owned());
        }
    }
}

/// Has the recovery pod's node pull `images`, beside whatever comes next. Warns where it will not.
pub(super) async fn begin_pull(ctx: &Ctx, images: &ReleaseImages, run: &str) {
    if images.names.is_empty() {
        return;
    }
    let why = match make_pod(ctx, images, run).await {
        Ok(None) => return,
        Ok(Some(refusal)) => refusal.why,
        Err(error) => error.to_string(),
    };
    ctx.events.warn(format!("the application's images are pulled when its pods start, and not before: {why}"), None);
}

async fn make_pod(ctx: &Ctx, images: &ReleaseImages, run: &str) -> Result<Option<PodRefusal>> {
    let cluster = ctx.cluster().await?;
    let recovery = cluster.pod(&helper::pod_name(run)).await?;
    let placement = images.placement(PodPlacement::of_pod(&recovery));
    let pod = helper::images_pod(ctx, run, images.names.clone(), &placement).await?;
    if let Some(refusal) = cluster.admission(&pod).await? {
        return Ok(Some(refusal));
    }
    match cluster.create_pod(&pod).await {
        // Of an earlier process of this run.
        Ok(_) | Err(ClusterError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl ReleaseImages {
    /// Beside the recovery pod, with the Secrets of both.
    fn placement(&self, beside: PodPlacement) -> PodPlacement {
        let mut pull_secrets = beside.pull_secrets;
        let more = self.pull_secrets.iter().filter(|name| !pull_secrets.contains(name)).cloned().collect::<Vec<_>>();
        pull_secrets.extend(more);
        PodPlacement { pull_secrets, ..beside }
    }
}

/// What came of the images by now, for people; nothing where they were not pulled. What cannot be pulled is warned of: the
/// application's pods will hang on the same.
pub(super) async fn pulled(ctx: &Ctx, run: &str) -> Option<String> {
    let pod = ctx.cluster().await.ok()?.pod(&helper::images_pod_name(run)).await.ok()?;
    let seen = PulledImages::of(&pod);
    if !seen.failed.is_empty() {
        ctx.events.warn(format!("the node cannot pull {}", seen.failed.join(", ")), None);
    }
    Some(told(&seen))
}

fn told(PulledImages { wanted, pulled, .. }: &PulledImages) -> String {
    let images = text::plural(*wanted as u64, "image");
    if pulled == wanted { format!("{images} on the node") } else { format!("{pulled} of {images} on the node") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::helm::ObjectId;

    fn object(fields: Value) -> Object {
        let id = ObjectId { api_version: "v1".into(), kind: "X".into(), namespace: None, name: "x".into() };
        Object { id, hooks: Vec::new(), fields }
    }

    #[test]
    fn images_of_all_pods_are_found_once_and_what_only_looks_like_one_is_none() {
        let pod = |images: &[&str]| {
            let containers: Vec<_> = images.iter().map(|image| json!({"name": "c", "image": image})).collect();
            json!({"spec": {"template": {"spec": {"containers": containers, "initContainers": [{"image": "init:1"}]}}}})
        };
        let account = json!({"imagePullSecrets": [{"name": "registry-pass"}, {"name": "registry-pass"}, {}]});
        let mut found = ReleaseImages::of(&[
            object(pod(&["api:1", "proxy:2"])),
            object(json!({"data": {"image": "no:1"}, "containers": "none"})),
            object(json!({"spec": {"jobTemplate": pod(&["api:1", "cron:3", ""])}})),
            object(account),
        ]);
        found.names.sort();
        assert_eq!(found.names, ["api:1", "cron:3", "init:1", "proxy:2"]);
        assert_eq!(found.pull_secrets, ["registry-pass"]);
    }

    #[test]
    fn they_are_pulled_where_the_recovery_pod_is_with_the_secrets_of_both() {
        let images = ReleaseImages { names: vec!["api:1".into()], pull_secrets: vec!["app".into(), "db".into()] };
        let pull_secrets = vec!["db".into()];
        let beside = PodPlacement { node: Some("node-2".into()), pull_secrets, ..PodPlacement::default() };
        let placement = images.placement(beside);
        assert_eq!(
            (placement.node.as_deref(), placement.pull_secrets),
            (Some("node-2"), vec!["db".into(), "app".into()])
        );
    }

    #[test]
    fn it_is_said_how_many_are_there() {
        let told = |pulled| told(&PulledImages { wanted: 3, pulled, failed: Vec::new() });
        assert_eq!((told(3), told(1)), ("3 images on the node".into(), "1 of 3 images on the node".into()));
    }
}
