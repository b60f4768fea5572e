//! `dr config diff`: two values, compared.

use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::ops::{Ctx, open};
use crate::settings::Settings;
use crate::values::diff::{Class, Diff, diff, unified};
use crate::values::{Scrubber, Tree};
use crate::vault::Vault;

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
