//! `dr config`: what was deployed, read from the vault.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Ctx, open};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::settings::Settings;
use crate::values::diff::{Class, Diff, diff, unified};
use crate::values::{Scrubber, Tree};
use crate::vault::{Deployment, Vault};

/// A deployment in a line.
#[derive(Debug, Serialize)]
pub struct LogLine {
    /// Its name.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// `deployed`, `failed`, `interrupted`, or `unknown` when `dr` was killed before it knew.
    pub state: String,
    /// Whether it is what is live, as far as the vault knows.
    pub live: bool,
    /// The OpsChain version, or the chart's.
    pub version: String,
    /// helm's revision.
    pub revision: Option<u32>,
    /// What made it.
    pub how: String,
    /// Who.
    pub by: String,
    /// Why.
    pub why: Option<String>,
    /// What changed in the values against the deployment before it; nothing without an identity.
    pub changes: Option<String>,
}

/// The deployments of the install, newest first.
#[derive(Debug, Serialize)]
pub struct Log {
    /// The namespace.
    pub namespace: String,
    /// The Helm release.
    pub release: String,
    /// How many there are in the vault.
    pub total: usize,
    /// The newest of them.
    pub deployments: Vec<LogLine>,
}

/// Lists the newest deployments of the install, with what changed where an identity is at hand.
///
/// # Errors
/// The vault cannot be read.
pub fn log(ctx: &Ctx, limit: usize) -> Result<Log> {
    let settings = ctx.settings()?;
    let vault = open::vault(settings)?;
    let install = open::vault_install(settings);
    let all = vault.deployments(&install)?;
    let live = all.iter().find(|deployment| deployment.is_deployed()).map(Deployment::id);
    let identities = open_identities(settings)?;
    let mut lines = Vec::new();
    for (place, deployment) in all.iter().enumerate().take(limit) {
        let before = all.get(place + 1);
        let record = &deployment.record;
        lines.push(LogLine {
            id: record.id.to_string(),
            at: record.at,
            state: deployment.state().into(),
            live: live == Some(&record.id),
            version: record.opschain_version.clone().unwrap_or_else(|| record.chart.version.clone()),
            revision: deployment.revision(),
            how: record.how.word().into(),
            by: record.by.clone(),
            why: record.why.clone(),
            changes: changes(&vault, before, deployment, identities.as_ref())?,
        });
    }
    Ok(Log { namespace: install.namespace, release: install.release, total: all.len(), deployments: lines })
}

fn changes(
    vault: &Vault,
    before: Option<&Deployment>,
    deployment: &Deployment,
    identities: Option<&Identities>,
) -> Result<Option<String>> {
    let Some(before) = before else { return Ok(Some("first".into())) };
    if before.values_sha256().is_some() && before.values_sha256() == deployment.values_sha256() {
        return Ok(Some("same values".into()));
    }
    let Some(identities) = identities else { return Ok(None) };
    let old = Tree::parse(&vault.values(before, identities)?)?;
    let new = Tree::parse(&vault.values(deployment, identities)?)?;
    Ok(Some(diff(&old, &new, &Scrubber::new(None)).summary()))
}

/// One deployment.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// `deployed`, `failed`, `interrupted` or `unknown`.
    pub state: String,
    /// The record and the outcome, as the vault has them.
    #[serde(flatten)]
    pub deployment: Deployment,
}

/// Shows one deployment: record and outcome.
///
/// # Errors
/// The selector fits none or several.
pub fn show(ctx: &Ctx, selector: &str) -> Result<Shown> {
    let settings = ctx.settings()?;
    let deployment = open::vault(settings)?.resolve(&open::vault_install(settings), selector)?;
    Ok(Shown { state: deployment.state().into(), deployment })
}

/// The exact bytes of a deployment's values, proved by their digest.
///
/// # Errors
/// The selector fits none or several, no identity opens them, or they are damaged.
pub fn cat(ctx: &Ctx, selector: &str) -> Result<Zeroizing<Vec<u8>>> {
    let settings = ctx.settings()?;
    let vault = open::vault(settings)?;
    let deployment = vault.resolve(&open::vault_install(settings), selector)?;
    Ok(vault.values(&deployment, &open::identities(settings, None)?)?)
}

/// The differences between two values files.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// What the first one is.
    pub from: String,
    /// What the second one is.
    pub to: String,
    /// The differences, by path.
    #[serde(flatten)]
    pub diff: Diff,
    /// The differences as text, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Compared {
    /// 0 when nothing differs that Helm would see or, as text, nothing at all; 2 otherwise.
    pub fn exit(&self) -> Exit {
        match (self.diff.class, &self.text) {
            (Class::Changed, _) => Exit::Changed,
            (Class::Layout, Some(_)) => Exit::Changed,
            _ => Exit::Success,
        }
    }
}

/// Something with values in it: a deployment (see [`Vault::resolve`]), `release` (what helm has stored), or a file.
async fn operand(
    ctx: &Ctx,
    settings: &Settings,
    vault: &Vault,
    identities: &Identities,
    text: &str,
) -> Result<(String, Tree)> {
    let named = |name: String| move |error| CommandError::from(error).context(name);
    if text == "release" {
        let helm = open::helm(settings, &settings.install.namespace).await?;
        let release = &settings.install.release;
        let values = helm.get_values(release, None).await?.ok_or_else(|| {
            CommandError::new(
                Exit::NotFound,
                format!("there is no release {release} in namespace {}", settings.install.namespace),
            )
            .hint("`dr deploy -f values.yaml` makes it.")
        })?;
        let bytes = Zeroizing::new(values.to_string());
        let name = format!("release {release}");
        return Ok((name.clone(), Tree::parse(bytes.as_bytes()).map_err(named(name))?));
    }
    if looks_like_file(text) {
        let bytes = std::fs::read(text)
            .map(Zeroizing::new)
            .map_err(|e| CommandError::new(Exit::NotFound, format!("read {text}")).because(e))?;
        return Ok((text.to_owned(), Tree::parse(&bytes).map_err(named(text.to_owned()))?));
    }
    let deployment = vault.resolve(&open::vault_install(settings), text)?;
    let name = deployment.id().to_string();
    let bytes = vault.values(&deployment, identities)?;
    ctx.events.note(format!("{text} is {name}, {}", deployment.state()));
    Ok((name.clone(), Tree::parse(&bytes).map_err(named(name))?))
}

/// A path, or the name of a file that is there.
fn looks_like_file(text: &str) -> bool {
    text.contains('/') || text.ends_with(".yaml") || text.ends_with(".yml") || Path::new(text).is_file()
}

/// Compares two of: a deployment, `release`, a file.
///
/// # Errors
/// One of them cannot be found, opened or read.
pub async fn compare(ctx: &Ctx, from: &str, to: &str, raw: bool) -> Result<Compared> {
    let settings = ctx.settings()?;
    let vault = open::vault(settings)?;
    let identities = open::identities(settings, None)?;
    let (from, old) = operand(ctx, settings, &vault, &identities, from).await?;
    let (to, new) = operand(ctx, settings, &vault, &identities, to).await?;
    let scrubber = Scrubber::new(Some(vault.fingerprint_key(&identities)?));
    let text = raw.then(|| unified(&old, &new, &scrubber, (&from, &to)));
    let diff = diff(&old, &new, &scrubber);
    Ok(Compared { from, to, diff, text })
}

fn open_identities(settings: &Settings) -> Result<Option<Identities>> {
    settings.keys.identity.as_ref().map(|_| open::identities(settings, None)).transpose()
}
