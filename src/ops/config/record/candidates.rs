//! Where the values to be recorded come from: a file, a folder of them, or helm's own memory.

use std::path::Path;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::request::{Origin, RecordRequest};
use crate::error::{CommandError, Exit, Result};
use crate::helm::{Helm, Revision};
use crate::ops::config::when;
use crate::ops::{Ctx, runs};
use crate::read;
use crate::settings::Install;
use crate::vault::DeploymentStatus;

/// Values with what is known of them before anybody has looked into them. What is unknown says why.
pub(super) struct RecordCandidate {
    /// The file, or helm's revision.
    pub name: String,
    pub bytes: std::result::Result<Zeroizing<Vec<u8>>, String>,
    pub at: std::result::Result<Timestamp, String>,
    /// Name and version of the chart, where helm knows them.
    pub chart: Option<(String, String)>,
    pub revision: Option<u32>,
    pub why: Option<String>,
    pub status: std::result::Result<DeploymentStatus, String>,
    /// What helm says of the revision: it names the deployment when `dr` made it.
    pub description: Option<String>,
}

/// Finds the values. The bytes of a single file move from the question into what was found.
pub(super) async fn find(ctx: &Ctx, mut request: RecordRequest) -> Result<(RecordRequest, Vec<RecordCandidate>)> {
    let origin = std::mem::replace(&mut request.origin, Origin::Release { all: false });
    let found = match &origin {
        Origin::Folder(path) => folder(path, &request)?,
        Origin::Release { all } => release(ctx, *all, &request).await?,
        Origin::File { name, bytes, changed } => {
            let file_name = Path::new(name).file_name().map(|name| name.to_string_lossy().into_owned());
            let at = match &request.at {
                Some(text) => when::read(text).ok_or_else(|| {
                    CommandError::new(Exit::Usage, format!("`{text}` is not a time"))
                        .hint("Give it as 2025-04-25 or 2025-04-25T10:00 (UTC).")
                })?,
                None => time_of(&file_name.unwrap_or_default(), *changed, &request).map_err(|reason| {
                    CommandError::new(Exit::Usage, format!("{name}: {reason}"))
                        .hint("Add --at 2025-04-25, or --at 2025-04-25T10:00 where the hour is known (UTC).")
                })?,
            };
            vec![of_file(name.clone(), Ok(bytes.clone()), Ok(at), &request)]
        }
    };
    found.iter().filter_map(|one| one.bytes.as_ref().ok()).for_each(|bytes| ctx.secrets().register_document(bytes));
    Ok((request, found))
}

fn of_file(
    name: String,
    bytes: std::result::Result<Zeroizing<Vec<u8>>, String>,
    at: std::result::Result<Timestamp, String>,
    request: &RecordRequest,
) -> RecordCandidate {
    let (why, revision) = (request.why.clone(), request.revision);
    RecordCandidate { name, bytes, at, chart: None, revision, why, status: Ok(request.status), description: None }
}

fn time_of(name: &str, changed: Option<Timestamp>, request: &RecordRequest) -> std::result::Result<Timestamp, String> {
    let fallback = changed.filter(|_| request.use_mtime);
    when::of_name(name)
        .or(fallback)
        .ok_or_else(|| "when it was deployed is not said: its name holds no one date".into())
}

fn folder(path: &Path, request: &RecordRequest) -> Result<Vec<RecordCandidate>> {
    let failed = |e| CommandError::new(Exit::NotFound, format!("read the folder {}", path.display())).unread(path, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (file, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_yaml = file.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if name.starts_with('.') || !is_yaml || !file.is_file() {
            continue;
        }
        let changed = std::fs::metadata(&file).and_then(|meta| meta.modified()).ok();
        let changed = changed.and_then(|time| Timestamp::try_from(time).ok());
        let bytes =
            read::file(&file, read::VALUES).map(Zeroizing::new).map_err(|error| format!("it cannot be read: {error}"));
        found.push(of_file(file.display().to_string(), bytes, time_of(&name, changed, request), request));
    }
    if found.is_empty() {
        return Err(CommandError::new(Exit::NotFound, format!("{} holds no .yaml or .yml file", path.display()))
            .hint("Give the folder that the old values files are in."));
    }
    Ok(found)
}

async fn release(ctx: &Ctx, all: bool, request: &RecordRequest) -> Result<Vec<RecordCandidate>> {
    // What a run has half done is no deployment of anybody.
    runs::require_whole(ctx).await?;
    let helm = ctx.helm().await?;
    let Install { release, namespace, .. } = ctx.install();
    let mut history = helm.history(release).await?;
    if !all {
        history.retain(|revision| revision.status.is_deployed());
    }
    if history.is_empty() {
        let what = if all { "revision" } else { "deployed revision" };
        let text = format!("helm knows no {what} of release {release} in namespace {namespace}");
        return Err(CommandError::new(Exit::NotFound, text).hint("`helm history` shows what there is."));
    }
    let mut found = Vec::new();
    for revision in history {
        found.push(stored(helm, release, revision, request).await?);
    }
    Ok(found)
}

/// One revision as helm has stored it: its values as JSON, without the comments, the order and the quotes of the file.
async fn stored(helm: &Helm, release: &str, revision: Revision, request: &RecordRequest) -> Result<RecordCandidate> {
    let number = revision.revision;
    let values = helm.get_values(release, Some(number)).await?;
    let bytes = match values {
        Some(serde_json::Value::Null) => Ok(Zeroizing::new(b"{}\n".to_vec())),
        Some(values) => serde_json::to_vec_pretty(&values).map_err(|error| error.to_string()).map(|mut bytes| {
            bytes.push(b'\n');
            Zeroizing::new(bytes)
        }),
        None => Err("helm no longer has its values".into()),
    };
    let status = match revision.status.word() {
        "deployed" | "superseded" | "uninstalled" | "uninstalling" => Ok(DeploymentStatus::Deployed),
        "failed" => Ok(DeploymentStatus::Failed),
        other => Err(format!("helm has it as {other}: nothing is known of how it ended")),
    };
    let origin = format!("from helm's revision {number}: its JSON, without the comments and the order of the file");
    Ok(RecordCandidate {
        name: format!("revision {number}"),
        bytes,
        at: revision.updated.parse().map_err(|_| format!("helm says no time that can be read: {}", revision.updated)),
        chart: chart_of(&revision.chart),
        revision: Some(number),
        why: Some(request.why.as_ref().map_or_else(|| origin.clone(), |why| format!("{why} ({origin})"))),
        status,
        description: Some(revision.description),
    })
}

/// `opschain-2026.8.20` as name and version.
fn chart_of(text: &str) -> Option<(String, String)> {
    text.match_indices('-').find_map(|(at, _)| {
        let version = &text[at + 1..];
        semver::Version::parse(version).is_ok().then(|| (text[..at].to_owned(), version.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helms_name_of_a_chart_is_split_before_the_version() {
        let split = |text: &str| chart_of(text).map(|(name, version)| format!("{name} {version}"));
        assert_eq!(split("opschain-2026.8.20").as_deref(), Some("opschain 2026.8.20"));
        assert_eq!(split("my-own-chart-0.1.0+2025-04-25").as_deref(), Some("my-own-chart 0.1.0+2025-04-25"));
        assert_eq!(split("opschain-2026.8.20-rc.1").as_deref(), Some("opschain 2026.8.20-rc.1"));
        assert_eq!(split("opschain"), None);
    }
}
