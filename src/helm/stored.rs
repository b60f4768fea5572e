//! A release as helm has stored it: a Secret for each revision. For who has no helm, and only reads.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::HelmError;
use super::parse::{Revision, RevisionStatus};
use crate::read;

/// Who reads the Secrets of a release.
#[async_trait]
pub trait ReleaseSecrets: Debug + Send + Sync {
    /// The Secrets of the release of this name, in no order.
    ///
    /// # Errors
    /// Why they cannot be read, in words.
    async fn of(&self, release: &str) -> Result<Vec<PackedRelease>, HelmError>;
}

/// A revision as its Secret has it.
#[derive(Debug, Clone)]
pub struct PackedRelease {
    /// The Secret's name.
    pub secret: String,
    /// What its label says which revision it is, and in which state.
    pub version: Option<u32>,
    pub status: Option<String>,
    /// What lies under `release`.
    pub packed: Zeroizing<Vec<u8>>,
}

/// The most bytes of an unpacked release: its Secret may have one MiB.
const LONGEST: u64 = 64 << 20;

/// One revision. It holds secrets.
pub(super) struct StoredRevision {
    pub revision: Revision,
    /// Why nothing more is known of it, where its Secret cannot be read.
    pub content: Result<StoredContent, HelmError>,
}

/// What a revision was made of, and made.
pub(super) struct StoredContent {
    pub values: serde_json::Value,
    pub manifest: Zeroizing<String>,
}

/// Helm's `release.Release`, as far as it is read here.
#[derive(Deserialize)]
struct StoredRelease {
    version: u32,
    info: Info,
    chart: Chart,
    #[serde(default)]
    config: serde_json::Value,
    #[serde(default)]
    manifest: String,
}

#[derive(Deserialize)]
struct Info {
    last_deployed: String,
    status: RevisionStatus,
    #[serde(default)]
    description: String,
    #[serde(default)]
    rollback_revision: Option<u32>,
}

#[derive(Deserialize)]
struct Chart {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
    #[serde(default, rename = "appVersion")]
    app_version: String,
}

/// All revisions of a release, oldest first. One whose Secret holds no release is among them by what its labels say, and takes
/// no other along.
///
/// # Errors
/// The Secrets cannot be read, or one holds no release and does not say which revision it is.
pub(super) async fn revisions(
    secrets: &Arc<dyn ReleaseSecrets>,
    release: &str,
) -> Result<Vec<StoredRevision>, HelmError> {
    let mut revisions: Vec<StoredRevision> =
        secrets.of(release).await?.iter().map(read_revision).collect::<Result<_, _>>()?;
    revisions.sort_by_key(|stored| stored.revision.revision);
    Ok(revisions)
}

fn read_revision(found: &PackedRelease) -> Result<StoredRevision, HelmError> {
    let error = match unpack(&found.packed) {
        Ok(read) => return Ok(read),
        Err(reason) => {
            let reason = format!("Secret {}: {reason}", found.secret);
            HelmError::Answer { verb: "Secret of a release".into(), reason }
        }
    };
    let Some(version) = found.version else { return Err(error) };
    let revision = Revision {
        revision: version,
        updated: String::new(),
        status: RevisionStatus::of_word(found.status.as_deref().unwrap_or("unknown")),
        chart: String::new(),
        app_version: String::new(),
        description: error.to_string(),
        rollback_revision: None,
    };
    Ok(StoredRevision { revision, content: Err(error) })
}

/// base64 of gzip of JSON (helm's `pkg/storage/driver/util.go`).
fn unpack(packed: &[u8]) -> Result<StoredRevision, String> {
    let bad = str::to_owned;
    let zipped = STANDARD.decode(packed.trim_ascii()).map_err(|_| bad("no base64"))?;
    let json = read::stream(GzDecoder::new(zipped.as_slice()), LONGEST).map_err(|_| bad("no gzip, or too large"))?;
    let json = Zeroizing::new(json);
    // Where it ends only: the text may hold values.
    let release: StoredRelease = serde_json::from_slice(&json)
        .map_err(|error| bad(&format!("no release at line {}, column {}", error.line(), error.column())))?;
    let Metadata { name, version, app_version } = release.chart.metadata;
    Ok(StoredRevision {
        revision: Revision {
            revision: release.version,
            updated: release.info.last_deployed,
            status: release.info.status,
            chart: format!("{name}-{version}"),
            app_version,
            description: release.info.description,
            rollback_revision: release.info.rollback_revision.filter(|revision| *revision > 0),
        },
        content: Ok(StoredContent { values: release.config, manifest: Zeroizing::new(release.manifest) }),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pack(text: &str) -> Vec<u8> {
        let mut zip = GzEncoder::new(Vec::new(), Compression::default());
        zip.write_all(text.as_bytes()).unwrap();
        STANDARD.encode(zip.finish().unwrap()).into_bytes()
    }

    #[test]
    fn a_release_is_read_as_helm_history_and_helm_get_say_it() {
        let text = r#"{"name":"opschain","info":{"first_deployed":"2026-08-20T10:00:00Z","last_deployed":"2026-08-21T10:00:00.5+02:00",
            "deleted":"","description":"dr 20260820T100000Z-000001","status":"deployed","notes":"x"},
            "chart":{"metadata":{"name":"opschain","version":"2026.8.20","appVersion":"2026-08-20"},"templates":[],"values":{}},
            "config":{"env":{"KEY":"k"},"n":1e+06},"manifest":"---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n","version":3,"namespace":"ops"}"#;
        let stored = unpack(&pack(text)).unwrap();
        let Revision { revision, updated, status, chart, app_version, description, .. } = stored.revision;
        assert_eq!((revision, status.word(), chart.as_str()), (3, "deployed", "opschain-2026.8.20"));
        assert_eq!((updated.as_str(), app_version.as_str()), ("2026-08-21T10:00:00.5+02:00", "2026-08-20"));
        assert_eq!(description, "dr 20260820T100000Z-000001");
        let content = stored.content.unwrap();
        assert_eq!(content.values["n"].to_string(), "1000000.0");
        assert!(content.manifest.contains("kind: Service"));
    }

    #[test]
    fn what_is_no_release_is_refused_without_quoting_it() {
        for (packed, reason) in [
            (b"!".to_vec(), "no base64"),
            (STANDARD.encode("hidden").into_bytes(), "no gzip"),
            (pack(r#"{"config":"hidden"}"#), "no release at line 1"),
        ] {
            let error = unpack(&packed).err().unwrap();
            assert!(error.contains(reason) && !error.contains("hidden"), "{error}");
        }
    }

    #[derive(Debug)]
    struct Two;

    #[async_trait]
    impl ReleaseSecrets for Two {
        async fn of(&self, _: &str) -> Result<Vec<PackedRelease>, HelmError> {
            let good = r#"{"info":{"last_deployed":"2026-08-21T10:00:00Z","status":"deployed"},
                "chart":{"metadata":{"name":"opschain","version":"1.0.0"}},"config":{"a":1},"version":2}"#;
            let one = |version: u32, status: &str, packed: Vec<u8>| PackedRelease {
                secret: format!("sh.helm.release.v1.opschain.v{version}"),
                version: Some(version),
                status: Some(status.to_owned()),
                packed: Zeroizing::new(packed),
            };
            Ok(vec![one(2, "deployed", pack(good)), one(1, "superseded", b"!".to_vec())])
        }
    }

    #[tokio::test]
    async fn one_revision_that_cannot_be_read_hides_no_other() {
        let helm = crate::helm::Helm::of_stored(Arc::new(Two), &crate::values::Secrets::default());
        let history = helm.history("opschain").await.unwrap();
        let seen: Vec<(u32, &str)> = history.iter().map(|one| (one.revision, one.status.word())).collect();
        assert_eq!(seen, [(1, "superseded"), (2, "deployed")]);
        assert!(history[0].description.contains("Secret sh.helm.release.v1.opschain.v1: no base64"), "{history:?}");
        assert_eq!(helm.get_values("opschain", None).await.unwrap().unwrap()["a"], 1);
        let error = helm.get_values("opschain", Some(1)).await.unwrap_err().to_string();
        assert!(error.contains("opschain.v1: no base64"), "{error}");
    }
}
