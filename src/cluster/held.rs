//! The original of an install that is held: said on its workers, so that whoever starts them is told.

use serde::{Deserialize, Serialize};

use super::database::Database;
use super::error::{ClusterError, Result};
use super::kube::Cluster;

/// The annotation on a workload that stays off while the original of its install may live.
pub const HELD: &str = "dr.opschain/held";

/// The install that a held one was restored from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOriginal {
    /// The identity of its cluster, where that is known.
    pub cluster: Option<String>,
    pub namespace: String,
    /// Its database, and the uid of that object.
    pub database: String,
    pub uid: String,
}

/// What is known of an original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OriginalState {
    /// It is there, and its database is not put to sleep.
    Answers,
    /// It is gone from its cluster, or sleeps.
    Gone,
    /// It is in another cluster, or may not be looked at.
    Unseen,
}

impl HeldOriginal {
    /// As the annotation has it.
    pub fn to_note(&self) -> String {
        let Self { cluster, namespace, database, uid } = self;
        format!("{}/{namespace}/{database}/{uid}", cluster.as_deref().unwrap_or_default())
    }

    /// Reads the annotation; `None` for what is none: anybody may write there.
    pub fn of_note(note: &str) -> Option<Self> {
        let is_word = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        let parts: Vec<&str> = note.split('/').filter(is_word).collect();
        let [cluster, namespace, database, uid] = parts[..] else { return None };
        Some(Self {
            cluster: Some(cluster.to_owned()).filter(|cluster| !cluster.is_empty()),
            namespace: namespace.to_owned(),
            database: database.to_owned(),
            uid: uid.to_owned(),
        })
    }
}

impl std::fmt::Display for HeldOriginal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "database {} in namespace {}", self.database, self.namespace)
    }
}

impl Cluster {
    /// Whether the original still answers, as far as this cluster can tell. A database of its name that was made anew in
    /// its namespace since (a restore there) is one too, unless it is the copy's own.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn original_state(&self, original: &HeldOriginal) -> Result<OriginalState> {
        let here = match self.identity().await {
            Ok(identity) => original.cluster.as_ref() == Some(&identity),
            Err(ClusterError::Forbidden { .. }) => false,
            Err(error) => return Err(error),
        };
        if !here {
            return Ok(OriginalState::Unseen);
        }
        match self.in_namespace(&original.namespace).database(&original.database).await {
            Ok(Some(found)) => Ok(state_by(&found, original, self.namespace())),
            Ok(None) | Err(ClusterError::NotFound { .. }) => Ok(OriginalState::Gone),
            Err(ClusterError::Forbidden { .. }) => Ok(OriginalState::Unseen),
            Err(error) => Err(error),
        }
    }
}

/// By the database that has the name and namespace of the original's; the copy is in namespace `copy`.
fn state_by(found: &Database, original: &HeldOriginal, copy: &str) -> OriginalState {
    let is_it = found.uid == original.uid || original.namespace != copy;
    if is_it && !found.is_hibernated() { OriginalState::Answers } else { OriginalState::Gone }
}

#[cfg(test)]
mod tests {
    use super::super::database::{Condition, HIBERNATION};
    use super::*;

    #[test]
    fn a_database_made_anew_where_the_original_was_answers_and_the_copy_itself_does_not() {
        let original = HeldOriginal { namespace: "a".into(), uid: "1".into(), ..HeldOriginal::default() };
        let found = |uid: &str| Database { uid: uid.into(), ..Database::default() };
        assert_eq!(state_by(&found("1"), &original, "b"), OriginalState::Answers);
        assert_eq!(state_by(&found("2"), &original, "b"), OriginalState::Answers, "restored there since");
        assert_eq!(state_by(&found("2"), &original, "a"), OriginalState::Gone, "that is the copy");
        let mut asleep = found("1");
        let (kind, status, reason) = (HIBERNATION.into(), "True".into(), "Hibernated".into());
        asleep.status.conditions = vec![Condition { kind, status, reason, ..Condition::default() }];
        assert_eq!(state_by(&asleep, &original, "b"), OriginalState::Gone);
    }

    #[test]
    fn an_original_is_read_back_from_its_note_and_what_is_none_is_not() {
        let original = HeldOriginal {
            cluster: Some("11-22".into()),
            namespace: "opschain".into(),
            database: "opschain-db".into(),
            uid: "33-44".into(),
        };
        for original in [HeldOriginal { cluster: None, ..original.clone() }, original] {
            assert_eq!(HeldOriginal::of_note(&original.to_note()), Some(original));
        }
        for note in ["", "a/b", "a/b/c/d/e", "a/b/c/`rm`"] {
            assert_eq!(HeldOriginal::of_note(note), None, "{note}");
        }
    }
}
