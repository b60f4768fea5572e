//! What cannot be read of a deployment, and why.

use serde::Serialize;

use crate::crypt::seal::SealError;
use crate::error::{CommandError, Exit};
use crate::vault::VaultError;

/// Why a record, or its values, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    pub why: String,
    /// The name of the exit code that the same alone would have.
    pub code: &'static str,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same in a row, where what it takes to say why is said below.
    #[serde(skip)]
    pub brief: Option<&'static str>,
    #[serde(skip)]
    exit: Exit,
}

impl Unread {
    /// As any other verb would say it.
    pub(super) fn of(error: &CommandError) -> Self {
        let exit = error.exit();
        Self { why: error.to_string(), code: exit.name(), hint: error.hints().first().cloned(), brief: None, exit }
    }

    /// Of a host whose identity cannot be had: the same for every version.
    pub(super) fn of_identity(error: &CommandError) -> Self {
        Self { brief: Some("no identity"), ..Self::of(error) }
    }

    /// Of a record, which is in the clear.
    pub(super) fn of_record(error: &VaultError) -> Self {
        let exit = match error {
            VaultError::Format { .. } => Exit::Format,
            VaultError::Io { .. } => Exit::Vault,
            _ => Exit::Damaged,
        };
        let hint = match exit {
            Exit::Format => "Use the dr that wrote it, or a newer one.",
            Exit::Vault => "Look at the owner and permissions of the vault's files.",
            _ => "`dr config verify` shows what is wrong; a clone of the vault elsewhere may have the good file.",
        };
        let why = match error {
            VaultError::Io { act, source } => format!("{act}: {source}"),
            other => other.to_string(),
        };
        Self { why, code: exit.name(), hint: Some(hint.into()), brief: None, exit }
    }

    /// Of values. `closed` says why no key at hand opens them.
    pub(super) fn of_values(error: VaultError, closed: &Self) -> Self {
        match error {
            VaultError::Seal { source: SealError::NoMatch, .. } => closed.clone(),
            other => Self::of(&CommandError::from(other)),
        }
    }

    /// Values that were sealed to others.
    pub(super) fn closed(why: String, hint: String) -> Self {
        Self { why, code: Exit::Keys.name(), hint: Some(hint), brief: None, exit: Exit::Keys }
    }
}

/// The exit code of all of them: what is damaged is graver than what another key would open.
pub(super) fn gravest<'u>(unread: impl Iterator<Item = &'u Unread>) -> Exit {
    let mut exits: Vec<Exit> = unread.map(|unread| unread.exit).collect();
    exits.sort_by_key(|exit| match exit {
        Exit::Damaged => 0,
        Exit::Format => 1,
        Exit::Keys => 3,
        _ => 2,
    });
    exits.first().copied().unwrap_or(Exit::Success)
}
