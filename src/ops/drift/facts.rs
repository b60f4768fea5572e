//! What a comparison of vault, helm and cluster goes by. Both sides are masked before they are compared, and only what
//! differs is kept: no secret is in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::loss;
use crate::cluster::objects::{last_writer, writer_of};
use crate::cluster::{BROUGHT_BACK_BY, LiveObject, MANAGER, Manager, REPLICAS, STOPPED_BY, WantedObject};
use crate::error::{CommandError, Exit, Result};
use crate::helm::{Object, ObjectId};
use crate::ops::history::{History, LiveValues};
use crate::ops::objects::{self, Field, added_by_hand, compare, mask_object, mask_values, subset};
use crate::ops::{Ctx, recording};
use crate::values::Scrubber;
use crate::yaml::Trap;

/// What was seen beside the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DriftFacts {
    pub namespace: String,
    pub release: String,
    /// The major version of helm.
    pub helm_major: u64,
    /// The program that wrote helm's deployed revision, where no `dr` did.
    pub writer: Option<String>,
    pub values: ValuesFacts,
    /// The objects of the deployed revision; why they cannot be compared, where they cannot.
    pub objects: std::result::Result<Vec<ObjectFacts>, String>,
}

/// The vault's values of the live deployment against those that helm has stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ValuesFacts {
    /// How many the vault has; nothing where no identity opens them.
    pub recorded: Option<usize>,
    /// Whether helm has stored any.
    pub stored: bool,
    /// What differs.
    pub differ: Vec<Field>,
    /// The vault's have a second document.
    pub second_document: bool,
    /// Numbers of the vault's that helm cannot hold.
    pub rounded: Vec<Field>,
}

/// An object of a release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ObjectFacts {
    pub id: ObjectId,
    pub seen: SeenObject,
}

/// What the cluster has of an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum SeenObject {
    Absent,
    Unreadable {
        why: String,
    },
    /// Nothing differs.
    Same,
    Other {
        /// What the release sets and the cluster has otherwise, each with who wrote it last.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        differ: Vec<(Field, Option<Manager>)>,
        /// What stands there beside, in places where only people put something.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        added: Vec<(Field, Option<Manager>)>,
        /// Who wrote the object last that is neither `dr` nor helm.
        stranger: Option<Manager>,
        /// The run that has stopped it.
        stopped_by: Option<String>,
        /// The run or command that has started it, of a release that was deployed without replicas of it.
        #[serde(default)]
        started_by: Option<String>,
        /// An autoscaler scales it.
        scaled: bool,
    },
}

/// Asks and compares. `limit` is how long the objects may take. The objects of the deployed revision come beside the
/// facts, as helm stored them, where it could tell.
///
/// # Errors
/// There is no helm. What helm or the cluster cannot tell is said in the facts.
pub(super) async fn gather(
    ctx: &Ctx,
    history: &History,
    values: &LiveValues,
    scrubber: &Scrubber,
    limit: Option<Duration>,
) -> Result<(DriftFacts, Option<Vec<Object>>)> {
    let helm_major = ctx.helm().await?.version().major;
    let (stored, objects) = match stored(ctx, history).await {
        Ok(stored) => {
            let seen = seen(ctx, &stored, scrubber, limit).await;
            (Some(stored), seen)
        }
        Err(why) => (None, Err(why)),
    };
    let facts = DriftFacts {
        namespace: ctx.install().namespace.to_string(),
        release: ctx.install().release.to_string(),
        helm_major,
        writer: writer(ctx, history).await,
        values: values_facts(values, scrubber),
        objects,
    };
    recording::record("drift", &(history, &facts))?;
    Ok((facts, stored))
}

fn values_facts(values: &LiveValues, scrubber: &Scrubber) -> ValuesFacts {
    let stored = values.stored.as_ref().map(|stored| &*stored.json);
    let Some(recorded) = &values.recorded else {
        return ValuesFacts { stored: stored.is_some(), ..ValuesFacts::default() };
    };
    let empty = serde_json::json!({});
    let differ = |stored: &serde_json::Value| {
        let stored = if stored.is_null() { &empty } else { stored };
        compare(&mask_values(&recorded.to_json(), scrubber), &mask_values(stored, scrubber))
    };
    ValuesFacts {
        recorded: Some(recorded.leaves().len()),
        stored: stored.is_some(),
        differ: stored.map(differ).unwrap_or_default(),
        second_document: recorded.traps().iter().any(|trap| matches!(trap, Trap::SecondDocument { .. })),
        rounded: stored.map(|_| loss::rounded(recorded, scrubber)).unwrap_or_default(),
    }
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

async fn seen(
    ctx: &Ctx,
    stored: &[Object],
    scrubber: &Scrubber,
    limit: Option<Duration>,
) -> std::result::Result<Vec<ObjectFacts>, String> {
    let asking = ask_cluster(ctx, stored, scrubber);
    let seen = match limit {
        None => asking.await,
        Some(limit) => tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| {
            let text = format!("the cluster did not answer for all of them in {} s", limit.as_secs());
            Err(CommandError::new(Exit::Timeout, text))
        }),
    };
    seen.map_err(|error| scrubbed(ctx, error))
}

pub(super) async fn ask_cluster(ctx: &Ctx, stored: &[Object], scrubber: &Scrubber) -> Result<Vec<ObjectFacts>> {
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
    let scaled: Vec<String> =
        cluster.autoscalers(&names).await.unwrap_or_default().into_iter().map(|(_, target)| target).collect();
    let live = cluster.live_objects(&wanted).await?;
    let mut scrubber = scrubber.clone();
    for (object, live) in stored.iter().zip(&live) {
        let there = match live {
            LiveObject::There { fields, .. } => Some(fields),
            _ => None,
        };
        for fields in std::iter::once(&object.fields).chain(there) {
            objects::register_secrets(ctx.secrets(), fields);
            objects::register_object(&mut scrubber, fields);
        }
    }
    let seen = stored.iter().zip(&live);
    Ok(seen.map(|(object, live)| object_facts(object, live, &scaled, &scrubber)).collect())
}

/// Compares an object as helm stored it with what the cluster has. `scaled` is what autoscalers scale.
pub(super) fn object_facts(object: &Object, live: &LiveObject, scaled: &[String], scrubber: &Scrubber) -> ObjectFacts {
    let seen = match live {
        LiveObject::Absent => SeenObject::Absent,
        LiveObject::Unreadable(why) => SeenObject::Unreadable { why: why.clone() },
        LiveObject::There { fields, written } => {
            let (set, there) = (mask_object(&object.fields, scrubber), mask_object(fields, scrubber));
            let with_writer = |field: Field| {
                let writer = writer_of(written, &field.path);
                (field, writer)
            };
            let notes = &fields["metadata"]["annotations"];
            let (differ, added) = (subset(&set, &there), added_by_hand(&set, &there));
            if differ.is_empty() && added.is_empty() {
                SeenObject::Same
            } else {
                SeenObject::Other {
                    differ: differ.into_iter().map(with_writer).collect(),
                    added: added.into_iter().map(with_writer).collect(),
                    stranger: last_writer(written, is_stranger),
                    stopped_by: notes[REPLICAS]
                        .is_string()
                        .then(|| notes[STOPPED_BY].as_str().unwrap_or("a run").to_owned()),
                    started_by: notes[BROUGHT_BACK_BY]
                        .as_str()
                        .filter(|_| object.fields["spec"]["replicas"] == 0)
                        .map(str::to_owned),
                    scaled: scaled.contains(&object.id.name),
                }
            }
        }
    };
    ObjectFacts { id: object.id.clone(), seen }
}

/// Whether the program is neither `dr` nor helm, which goes by the name of its file: `helm`, `helm3`, `helm-v4.1.4`.
/// What only begins so (`helm-controller`) is another.
pub(super) fn is_stranger(program: &str) -> bool {
    let small = program.to_ascii_lowercase();
    let helm = small
        .strip_prefix("helm")
        .is_some_and(|rest| rest.chars().all(|c| matches!(c, '0'..='9' | '.' | '-' | '_' | 'v')));
    !helm && program != MANAGER
}

/// Asks the cluster which program wrote a revision that no `dr` made. Not to know it is no failure.
async fn writer(ctx: &Ctx, history: &History) -> Option<String> {
    let revision = history.deployed().filter(|_| history.own().is_none() && history.live().is_some())?.revision;
    let secret = format!("sh.helm.release.v1.{}.v{revision}", ctx.install().release);
    let writer = ctx.cluster().await.ok()?.writer_of_secret(&secret).await.ok().flatten()?;
    Some(writer.name)
}
