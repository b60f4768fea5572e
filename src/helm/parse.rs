//! helm's answers, read. Each parser's comment quotes the shape that it reads; `fixtures/helm/` holds real ones.

use serde::{Deserialize, Deserializer, Serialize};

use super::error::HelmError;

/// The state of a revision, in helm's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RevisionStatus(String);

impl RevisionStatus {
    /// The state that helm calls so.
    pub(super) fn of_word(word: &str) -> Self {
        Self(word.to_owned())
    }

    /// helm's word: `deployed`, `failed`, `superseded`, `pending-upgrade`, `uninstalled`, ...
    pub fn word(&self) -> &str {
        &self.0
    }

    /// Whether it is what runs.
    pub fn is_deployed(&self) -> bool {
        self.0 == "deployed"
    }

    /// Whether something is in the middle of it: helm 3 and 4 block every later upgrade then.
    pub fn is_pending(&self) -> bool {
        self.0.starts_with("pending-")
    }

    pub fn is_failed(&self) -> bool {
        self.0 == "failed"
    }
}

impl<'de> Deserialize<'de> for RevisionStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A revision of a release. `description` may quote an error of the cluster, and so a secret: scrub it before showing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Counts from 1.
    pub revision: u32,
    /// When it came to this state (RFC 3339).
    pub updated: String,
    pub status: RevisionStatus,
    /// `name-version` of its chart.
    pub chart: String,
    /// The chart's `appVersion`.
    #[serde(default)]
    pub app_version: String,
    /// What helm says of it.
    #[serde(default)]
    pub description: String,
    /// The revision that it goes back to, where it is a rollback: helm 4 says it here, helm 3 in the description only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_revision: Option<u32>,
}

/// `v4.1.4`, alone or with build metadata (`v3.20.2+g8fb76d6`).
pub(super) fn version(text: &str) -> Option<semver::Version> {
    let word = text.split_whitespace().next()?;
    let version = semver::Version::parse(word.strip_prefix('v')?).ok()?;
    matches!(version.major, 3 | 4).then_some(version)
}

/// helm 4.2 writes the lines of a pull on stdout before the JSON: so JSON begins at the first bracket.
pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str, verb: &str) -> Result<T, HelmError> {
    let start = text.find(['{', '[']).or_else(|| text.find("null")).unwrap_or(0);
    serde_json::from_str(text[start..].trim_end()).map_err(|error| HelmError::Answer {
        verb: verb.to_owned(),
        // The line and column only: the text may hold values.
        reason: format!("no JSON at line {}, column {}", error.line(), error.column()),
    })
}

/// `[{"revision":1,"updated":"2026-08-20T10:00:00Z","status":"deployed","chart":"opschain-2026.8.20",...}]`
pub(super) fn history(text: &str) -> Result<Vec<Revision>, HelmError> {
    let mut revisions: Vec<Revision> = json(text, "history")?;
    revisions.sort_by_key(|revision| revision.revision);
    Ok(revisions)
}

/// `release: not found`
pub(super) fn is_not_found(said: &str) -> bool {
    said.lines().any(|line| line.trim_end().ends_with("release: not found"))
}

/// `Digest: sha256:...`, on stderr (3.11 and later) or on stdout (4.2.1 and later).
pub(super) fn digest(said: &str) -> Option<String> {
    let digest = said.lines().find_map(|line| line.trim().strip_prefix("Digest:"))?.trim();
    digest.starts_with("sha256:").then(|| digest.to_owned())
}

/// `secrets is forbidden: User "joe" cannot list resource "secrets" in API group "" in the namespace "ops"`, or `at the
/// cluster scope`: what the access rules have refused, in their words.
pub(super) fn refused_right(said: &str) -> Option<String> {
    let refusal = said.split(" is forbidden: ").skip(1).find(|rest| rest.starts_with("User "))?;
    let between = |before: &str, text: &str| Some(text.split_once(before)?.1.split('"').next()?.to_owned());
    let verb = refusal.split_once(" cannot ")?.1.split_whitespace().next()?;
    let resource = between("resource \"", refusal)?;
    let group = between("in API group \"", refusal).filter(|group| !group.is_empty());
    let group = group.map(|group| format!(".{group}")).unwrap_or_default();
    let place = match between("in the namespace \"", refusal) {
        Some(namespace) => format!("in namespace {namespace}"),
        None => "in the whole cluster".to_owned(),
    };
    Some(format!("{verb} {resource}{group} {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_the_access_rules_is_told_by_its_right_and_nothing_else_is_one() {
        for (said, right) in [
            (
                "query: failed to query with labels: secrets is forbidden: User \"joe\" cannot list resource \"secrets\" in API group \"\" in the namespace \"ops\"",
                Some("list secrets in namespace ops"),
            ),
            (
                "UPGRADE FAILED: deployments.apps \"api\" is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"ops\"",
                Some("patch deployments.apps in namespace ops"),
            ),
            (
                "could not get information about the resource ClusterRole \"x\": clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: User \"joe\" cannot get resource \"clusterroles\" in API group \"rbac.authorization.k8s.io\" at the cluster scope: RBAC: not found",
                Some("get clusterroles.rbac.authorization.k8s.io in the whole cluster"),
            ),
            ("pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=10", None),
            ("pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"", None),
            ("release: not found", None),
        ] {
            assert_eq!(refused_right(said).as_deref(), right, "{said}");
        }
    }
}
