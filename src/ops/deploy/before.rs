//! What is live now: the values that a deployment is compared with.

use serde::Serialize;
use zeroize::Zeroizing;

use super::{Site, Subject, live};
use crate::error::Result;
use crate::helm::ChartFile;
use crate::ops::guard::{self, Effective, Guarded};
use crate::opschain::values::IMMUTABLE;
use crate::values::{Scrubber, Tree};
use crate::vault::Deployment;

/// Where live values were had from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The config vault: the bytes that were deployed.
    Vault,
    /// What helm has stored: comments and layout are gone, and large numbers rounded.
    Helm,
}

/// Values that are live.
pub(super) struct Before {
    pub source: Source,
    pub tree: Tree,
}

/// The live values: out of the vault where an identity opens them. What helm has stored is taken where there is no
/// identity, where the vault knows nothing of the release, and, as a second, where something else than `dr` has deployed
/// since: a guarded key must not differ from either.
///
/// # Errors
/// The vault's are damaged or no identity opens them; helm cannot be asked.
pub(super) async fn find(site: &Site, live: Option<&Deployment>) -> Result<Vec<Before>> {
    let mut found = Vec::new();
    if let (Some(live), Some(identities)) = (live, &site.identities) {
        let tree = Tree::parse(&site.vault.values(live, identities)?)?;
        found.push(Before { source: Source::Vault, tree });
    }
    let deployed = site.history.iter().rev().find(|revision| revision.status.is_deployed());
    let Some(deployed) = deployed else { return Ok(found) };
    let ours = live.is_some_and(|live| live::names(deployed, live.id()) || live.revision() == Some(deployed.revision));
    if !found.is_empty() && ours {
        return Ok(found);
    }
    let stored = site.helm.get_values(&site.settings.install.release, Some(deployed.revision)).await?;
    if let Some(stored) = stored {
        // helm says null of a release that was given no values.
        let text = Zeroizing::new(if stored.is_null() { "{}".to_owned() } else { stored.to_string() });
        found.push(Before { source: Source::Helm, tree: Tree::parse(text.as_bytes())? });
    }
    Ok(found)
}

/// A scrubber with the vault's key, where an identity opens it.
pub(super) fn scrubber(site: &Site) -> Result<Scrubber> {
    let key = site.identities.as_ref().map(|identities| site.vault.fingerprint_key(identities)).transpose()?;
    Ok(Scrubber::new(key))
}

/// The keys that stored data depends on and that would change, against each of the live values.
///
/// # Errors
/// A chart's defaults cannot be read.
pub(super) async fn guarded(site: &Site, before: &[Before], subject: &Subject) -> Result<Vec<Guarded>> {
    let mut found: Vec<Guarded> = Vec::new();
    if before.is_empty() {
        return Ok(found);
    }
    let new_defaults = defaults(site, &subject.chart).await?;
    let old_chart = live_chart(site, before)?;
    let old_defaults = match &old_chart {
        Some(chart) => Some(defaults(site, chart).await?),
        None => None,
    };
    for before in before {
        // A live chart that cannot be opened is taken to have the defaults of the new one.
        let old = Effective { values: &before.tree, defaults: Some(old_defaults.as_ref().unwrap_or(&new_defaults)) };
        let new = Effective { values: &subject.tree, defaults: Some(&new_defaults) };
        for key in guard::guarded(old, new) {
            if !found.contains(&key) {
                found.push(key);
            }
        }
    }
    Ok(found)
}

async fn defaults(site: &Site, chart: &ChartFile) -> Result<Tree> {
    Ok(Tree::parse(site.helm.show_values(&chart.path()).await?.as_bytes())?)
}

/// The chart that is live, where the vault has it and some guarded key was left to it.
fn live_chart(site: &Site, before: &[Before]) -> Result<Option<ChartFile>> {
    let left_out = before.iter().any(|before| IMMUTABLE.iter().any(|known| before.tree.get(known.path).is_none()));
    let (true, Some(live), Some(identities)) = (left_out, site.live(), &site.identities) else { return Ok(None) };
    let archive = site.vault.chart(live, identities)?;
    Ok(archive.map(|bytes| ChartFile::from_bytes(&bytes)).transpose()?)
}
