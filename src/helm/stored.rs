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
    /// What lies under `release` in each Secret of the release of this name, in no order.
    ///
    /// # Errors
    /// Why they cannot be read, in words.
    async fn of(&self, release: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, HelmError>;
}

/// The most bytes of an unpacked release: its Secret may have one MiB.
const LONGEST: u64 = 64 << 20;

/// One revision. It holds secrets.
pub(super) struct StoredRevision {
    pub revision: Revision,
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

/// All revisions of a release, oldest first.
///
/// # Errors
/// The Secrets cannot be read, or one holds no release.
pub(super) async fn revisions(
    secrets: &Arc<dyn ReleaseSecrets>,
    release: &str,
) -> Result<Vec<StoredRevision>, HelmError> {
    let mut revisions: Vec<StoredRevision> =
        secrets.of(release).await?.iter().map(|packed| unpack(packed)).collect::<Result<_, _>>()?;
    revisions.sort_by_key(|stored| stored.revision.revision);
    Ok(revisions)
}

/// base64 of gzip of JSON (helm's `pkg/storage/driver/util.go`).
fn unpack(packed: &[u8]) -> Result<StoredRevision, HelmError> {
    let bad = |reason: &str| HelmError::Answer { verb: "Secret of a release".into(), reason: reason.to_owned() };
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
        values: release.config,
        manifest: Zeroizing::new(release.manifest),
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
        assert_eq!(stored.values["n"].to_string(), "1000000.0");
        assert!(stored.manifest.contains("kind: Service"));
    }

    #[test]
    fn what_is_no_release_is_refused_without_quoting_it() {
        for (packed, reason) in [
            (b"!".to_vec(), "no base64"),
            (STANDARD.encode("hidden").into_bytes(), "no gzip"),
            (pack(r#"{"config":"hidden"}"#), "no release at line 1"),
        ] {
            let error = unpack(&packed).err().unwrap().to_string();
            assert!(error.contains(reason) && !error.contains("hidden"), "{error}");
        }
    }
}
