//! What is asked of helm and the cluster before anything is compared.

use std::time::Duration;

use crate::cluster::{LiveObject, WantedObject};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::ops::Ctx;
use crate::ops::history::History;
use crate::ops::objects;

/// What was seen beside history and values.
pub(super) struct DriftFacts {
    /// The major version of helm.
    pub helm_major: u64,
    /// The program that wrote helm's deployed revision, where no `dr` did.
    pub writer: Option<String>,
    /// The objects of the deployed revision as helm stored them, where it could tell.
    pub stored: Option<Vec<Object>>,
    /// What the cluster has of them; why they cannot be compared, where they cannot.
    pub seen: std::result::Result<SeenObjects, String>,
}

/// The objects of a release as the cluster has them, in the order in which helm stored them.
pub(super) struct SeenObjects {
    pub live: Vec<LiveObject>,
    /// What an autoscaler scales.
    pub scaled: Vec<String>,
}

/// Asks. `limit` is how long the objects may take.
///
/// # Errors
/// There is no helm. What helm or the cluster cannot tell is said in the facts.
pub(super) async fn gather(ctx: &Ctx, history: &History, limit: Option<Duration>) -> Result<DriftFacts> {
    let helm_major = ctx.helm().await?.version().major;
    let (stored, seen) = match stored(ctx, history).await {
        Ok(stored) => {
            let seen = seen(ctx, &stored, limit).await;
            (Some(stored), seen)
        }
        Err(why) => (None, Err(why)),
    };
    Ok(DriftFacts { helm_major, stored, seen, writer: writer(ctx, history).await })
}

fn scrubbed(ctx: &Ctx, error: impl Into<CommandError>) -> String {
    ctx.secrets().scrub(&error.into().to_string()).into_owned()
}

async fn stored(ctx: &Ctx, history: &History) -> std::result::Result<Vec<Object>, String> {
    let Some(deployed) = history.deployed() else { return Err("helm has no deployed revision".into()) };
    let helm = ctx.helm().await.map_err(|error| scrubbed(ctx, error))?;
    let stored = helm.get_manifest(&ctx.install().release, deployed.revision).await;
    let stored = stored.map_err(|error| scrubbed(ctx, error))?;
    ctx.events.waiting(format!("the cluster's {} objects of revision {}", stored.len(), deployed.revision), None);
    Ok(stored)
}

async fn seen(ctx: &Ctx, stored: &[Object], limit: Option<Duration>) -> std::result::Result<SeenObjects, String> {
    let asking = ask_cluster(ctx, stored);
    let seen = match limit {
        None => asking.await,
        Some(limit) => tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| {
            let text = format!("the cluster did not answer for all of them in {} s", limit.as_secs());
            Err(CommandError::new(Exit::Timeout, text))
        }),
    };
    seen.map_err(|error| scrubbed(ctx, error))
}

async fn ask_cluster(ctx: &Ctx, stored: &[Object]) -> Result<SeenObjects> {
    let cluster = ctx.cluster().await?;
    let wanted: Vec<WantedObject> = stored
        .iter()
        .map(|object| WantedObject {
            api_version: object.id.api_version.clone(),
            kind: object.id.kind.clone(),
            namespace: object.id.namespace.clone(),
            name: object.id.name.clone(),
        })
        .collect();
    let names: Vec<&str> = stored.iter().map(|object| object.id.name.as_str()).collect();
    // Without permission to list autoscalers, their work is shown as drift: better than nothing at all.
    let scaled = cluster.autoscalers(&names).await.unwrap_or_default().into_iter().map(|(_, target)| target).collect();
    let live = cluster.live_objects(&wanted).await?;
    for (object, live) in stored.iter().zip(&live) {
        objects::register_secrets(ctx.secrets(), &object.fields);
        if let LiveObject::There { fields, .. } = live {
            objects::register_secrets(ctx.secrets(), fields);
        }
    }
    Ok(SeenObjects { live, scaled })
}

/// Asks the cluster which program wrote a revision that no `dr` made. Not to know it is no failure.
async fn writer(ctx: &Ctx, history: &History) -> Option<String> {
    let revision = history.deployed().filter(|_| history.own().is_none() && history.live().is_some())?.revision;
    let secret = format!("sh.helm.release.v1.{}.v{revision}", ctx.install().release);
    let writer = ctx.cluster().await.ok()?.writer_of_secret(&secret).await.ok().flatten()?;
    Some(writer.name)
}
