//! Secrets and ConfigMaps as a run has found them: noted before they are replaced, so that they can be put back.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, Result};
use super::keep::KeptObject;
use super::kube::Cluster;
use super::namespace::ObjectRef;
use super::{MANAGED_BY, MANAGER, RUN_LABEL};

/// The key of the note's content.
const CONTENT: &str = "found.json";

/// One object of the note.
#[derive(Serialize, Deserialize)]
struct FoundObject {
    object: ObjectRef,
    /// Nothing where there was none.
    was: Option<KeptObject>,
}

fn note_name(run: &str) -> String {
    format!("dr-found-{}", run.to_ascii_lowercase())
}

impl Cluster {
    /// Notes what the named Secrets and ConfigMaps are now, in a Secret of the run: what they hold is as well guarded
    /// there as where it is. A note that is there already stays: it tells of the time before.
    ///
    /// # Errors
    /// They may not be read, or the note may not be written.
    pub async fn note_found(&self, run: &str, objects: &[ObjectRef]) -> Result<()> {
        let mut found = Vec::new();
        for object in objects {
            let was = self.kept(std::slice::from_ref(object)).await?.pop();
            found.push(FoundObject { object: object.clone(), was });
        }
        let note = Secret {
            metadata: ObjectMeta {
                name: Some(note_name(run)),
                labels: Some(BTreeMap::from([(MANAGED_BY, MANAGER), (RUN_LABEL, run)].map(owned))),
                ..ObjectMeta::default()
            },
            data: Some([(CONTENT.to_owned(), ByteString(serde_json::to_vec(&found).map_err(unusable)?))].into()),
            ..Secret::default()
        };
        match self.here::<Secret>().create(&note).await {
            Ok(_) | Err(ClusterError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts the objects of the run's note back as they were, and removes the note. Safe to repeat; without a note there
    /// is nothing to do.
    ///
    /// # Errors
    /// One of them may not be written or deleted.
    pub async fn put_back_found(&self, run: &str) -> Result<()> {
        let Some(note) = self.here::<Secret>().get_opt(&note_name(run)).await? else { return Ok(()) };
        let content = note.data.and_then(|mut data| data.remove(CONTENT)).unwrap_or_default().0;
        let found: Vec<FoundObject> = serde_json::from_slice(&content).map_err(unusable)?;
        for FoundObject { object, was } in found {
            match was {
                Some(was) => drop(self.put_back(&was, true).await?),
                None => self.delete_standing(&object).await?,
            }
        }
        self.forget_found(run).await
    }

    /// Removes the run's note.
    ///
    /// # Errors
    /// It may not be deleted.
    pub async fn forget_found(&self, run: &str) -> Result<()> {
        self.delete_secret(&note_name(run)).await.map(drop)
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The cause is left out on purpose: it could quote a value.
fn unusable(_: serde_json::Error) -> ClusterError {
    ClusterError::Unexpected { act: "note what was found".into(), cause: "it is not as expected".into() }
}
