//! `dr config check`: nothing secret in the clear, in the vault or in a repository of the operator's own.

use std::path::PathBuf;

use crate::error::{Exit, Result};
use crate::names::{NamespaceName, ReleaseName};
use crate::ops::Ctx;
use crate::values::{Scrubber, Tree};
use crate::vault::exposure::{Checked, Search, install_hook};

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct CheckRequest {
    /// Files, folders, repositories; the vault where there are none.
    pub paths: Vec<PathBuf>,
    /// Only what is staged.
    pub staged: bool,
    /// The index that git is about to commit, where it says so.
    pub index: Option<PathBuf>,
    /// Write a hook that does it before each commit.
    pub install_hook: bool,
    /// The program, as a hook is to call it.
    pub program: PathBuf,
}

impl Checked {
    /// 0 when nothing was found.
    pub fn exit(&self) -> Exit {
        if self.exposures.is_empty() { Exit::Success } else { Exit::Exposed }
    }
}

/// Looks for what must not be in the clear.
///
/// # Errors
/// A path or the vault cannot be read.
pub fn check(ctx: &Ctx, request: &CheckRequest) -> Result<Checked> {
    let place = || -> Result<PathBuf> {
        match request.paths.first() {
            Some(path) => Ok(path.clone()),
            None => Ok(ctx.vault_to_read()?.path().to_owned()),
        }
    };
    if request.install_hook {
        let hook = install_hook(&place()?, &hook_command(ctx, request))?;
        return Ok(Checked { hook: Some(hook), ..Checked::default() });
    }
    let scrubber = live_secrets(ctx);
    let mut search = Search::new(scrubber.as_ref());
    if request.staged {
        search.staged(&place()?, request.index.as_deref())?;
    } else if request.paths.is_empty() {
        search.vault(&ctx.vault_to_read()?)?;
    }
    for path in request.paths.iter().filter(|_| !request.staged) {
        search.path(path)?;
    }
    let mut checked = search.checked;
    checked.exposures.sort_by(|a, b| (&a.file, a.line, a.exposed).cmp(&(&b.file, b.line, b.exposed)));
    checked.exposures.dedup();
    checked.accepted.sort_by(|a, b| (&a.exposure.file, a.exposure.line).cmp(&(&b.exposure.file, b.exposure.line)));
    checked.accepted.dedup();
    Ok(checked)
}

/// The secrets of the live values of every install in the vault; nothing without an identity, which is said.
fn live_secrets(ctx: &Ctx) -> Option<Scrubber> {
    let known = || -> Result<Option<Scrubber>> {
        let Some(identities) = ctx.identities_if_set()? else { return Ok(None) };
        let vault = ctx.vault_to_read()?.snapshot()?;
        let mut scrubber = Scrubber::new(None);
        let mut installs: Vec<(NamespaceName, ReleaseName)> = Vec::new();
        let all = vault.survey()?;
        let mut unread: Vec<String> = all.unread.iter().map(|unread| unread.folder.clone()).collect();
        for deployment in all.deployments.iter().filter(|deployment| deployment.is_deployed()) {
            let install = (deployment.record.install.namespace.clone(), deployment.record.install.release.clone());
            if installs.contains(&install) {
                continue;
            }
            match vault.values(deployment, &identities) {
                Ok(values) => scrubber.register_tree(&Tree::parse_or_keep(&values)),
                Err(error) => unread.push(format!("{}.{}: {error}", install.0, install.1)),
            }
            installs.push(install);
        }
        if !unread.is_empty() {
            ctx.events.warn(
                format!("the secrets of what cannot be read are not looked for: {}", unread.join("; ")),
                Some("`dr config log --all-installs` says what it is about.".into()),
            );
        }
        Ok(Some(scrubber))
    };
    known().unwrap_or_else(|error| {
        ctx.events.warn(
            format!("the live values cannot be opened, so their secrets are not looked for: {error}"),
            Some("Private keys, values files and unsealed files are found all the same.".into()),
        );
        None
    })
}

/// What the hook runs: this program, with these settings.
fn hook_command(ctx: &Ctx, request: &CheckRequest) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let settings = std::path::absolute(&ctx.settings_path).unwrap_or_else(|_| ctx.settings_path.clone());
    let mut command = quoted(&request.program.display().to_string());
    if settings.exists() {
        command.push_str(&format!(" --settings {}", quoted(&settings.display().to_string())));
    }
    format!("{command} --no-input config check --staged .")
}
