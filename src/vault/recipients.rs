//! The list of recipients: kept as its changes, so that two hosts that change it at once lose nothing.

use std::collections::HashMap;

use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use super::error::VaultError;
use super::files::{json, new_id, parse};
use super::git::{Content, Git};
use super::handle::Vault;
use super::record::{DeploymentId, FORMAT, RecipientsChange};
use crate::clock;
use crate::crypt::{Recipients, SignedBy};

/// Somebody who can open what is recorded from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub key: String,
    pub since: Timestamp,
    /// Who added it, as the file says.
    pub by: String,
    /// Who signed that, where it is known whom to trust.
    pub signed_by: Option<SignedBy>,
    /// Whose it is, as far as that was said.
    pub why: Option<String>,
}

impl Holder {
    /// Who let it in, as far as that is proved.
    pub fn signer(&self) -> &str {
        self.signed_by.as_ref().map_or("somebody", |by| &by.principal)
    }
}

/// Somebody who was taken from the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Past {
    pub key: String,
    /// When it was taken away.
    pub until: Timestamp,
    pub by: String,
    /// Who signed that, where it is known whom to trust.
    pub signed_by: Option<SignedBy>,
    /// Why, as far as that was said.
    pub why: Option<String>,
}

/// Who can open what, and who could.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Holders {
    /// Those on the list, in the order in which they came.
    pub now: Vec<Holder>,
    /// Those who were on it, and are not now.
    pub past: Vec<Past>,
}

impl Holders {
    fn apply(&mut self, change: RecipientsChange) {
        for key in change.remove {
            self.now.retain(|holder| holder.key != key);
            self.past.retain(|past| past.key != key);
            self.past.push(Past {
                key,
                until: change.at,
                by: change.by.clone(),
                signed_by: None,
                why: change.why.clone(),
            });
        }
        for key in change.add {
            self.past.retain(|past| past.key != key);
            if !self.now.iter().any(|holder| holder.key == key) {
                self.now.push(Holder {
                    key,
                    since: change.at,
                    by: change.by.clone(),
                    signed_by: None,
                    why: change.why.clone(),
                });
            }
        }
    }

    /// The public keys on the list.
    pub fn keys(&self) -> Vec<String> {
        self.now.iter().map(|holder| holder.key.clone()).collect()
    }

    /// Whether that key is on the list.
    pub fn has(&self, key: &str) -> bool {
        self.now.iter().any(|holder| holder.key == key)
    }
}

impl Vault {
    /// The public keys that new files are sealed to.
    ///
    /// # Errors
    /// `NewRecipients` when one is not in this host's settings and nobody has accepted it here; when the list cannot be
    /// read, or is empty.
    pub fn recipients(&self) -> Result<Recipients, VaultError> {
        let new = self.new_recipients()?;
        if !new.is_empty() {
            let by = |new: Holder| (new.signer().to_owned(), new.key);
            return Err(VaultError::NewRecipients { new: new.into_iter().map(by).collect() });
        }
        self.listed_recipients()
    }

    /// Those on the list of whom this host knows nothing: neither its settings name them, nor has a person accepted them.
    ///
    /// # Errors
    /// As [`Vault::holders`].
    pub fn new_recipients(&self) -> Result<Vec<Holder>, VaultError> {
        let Some(trust) = &self.trust else { return Ok(Vec::new()) };
        let mut holders = self.holders()?;
        holders.now.retain(|holder| !trust.knows_recipient(&holder.key));
        if holders.now.is_empty() { Ok(Vec::new()) } else { Ok(self.with_signers(holders)?.now) }
    }

    /// Remembers on this host that a key of the list may open what is recorded.
    ///
    /// # Errors
    /// `Recipient` when it is not on the list; `Io` when it cannot be remembered.
    pub fn accept_recipient(&self, key: &str) -> Result<(), VaultError> {
        if !self.holders()?.has(key) {
            return Err(refused(key, "is not a recipient of this vault"));
        }
        if let Some(trust) = self.trust.as_ref().filter(|trust| !trust.knows_recipient(key)) {
            trust.accept_recipient(&self.git()?, key)?;
        }
        Ok(())
    }

    /// The public keys on the list, known to this host or not.
    ///
    /// # Errors
    /// When the list cannot be read, or is empty.
    pub fn listed_recipients(&self) -> Result<Recipients, VaultError> {
        Recipients::parse(self.holders()?.keys()).map_err(VaultError::seal("read the vault's recipients"))
    }

    /// Who can open what is recorded from now on, and who could once.
    ///
    /// # Errors
    /// When a change of the list cannot be read.
    pub fn holders(&self) -> Result<Holders, VaultError> {
        let mut holders = Holders::default();
        for change in changes(&self.git()?)? {
            holders.apply(change.1);
        }
        Ok(holders)
    }

    /// The same list with who signed each change of it.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn with_signers(&self, mut holders: Holders) -> Result<Holders, VaultError> {
        let git = self.git()?;
        let mut files = HashMap::new();
        for (id, change) in changes(&git)? {
            files.extend(change.add.into_iter().chain(change.remove).map(|key| (key, path_of(&id))));
        }
        let signed = self.signed_by(&git, files.values().cloned().collect())?;
        let by = |key: &String| files.get(key).and_then(|path| signed.get(path)).cloned();
        holders.now.iter_mut().for_each(|holder| holder.signed_by = by(&holder.key));
        holders.past.iter_mut().for_each(|past| past.signed_by = by(&past.key));
        Ok(holders)
    }

    /// Puts a key on the list. What was recorded before stays closed to it until `rekey`.
    ///
    /// # Errors
    /// `Recipient` when it is no public key, or on the list already.
    pub fn add_recipient(&self, key: &str, by: &str, why: Option<&str>) -> Result<Holders, VaultError> {
        let key =
            Recipients::parse([key]).map_err(|_| refused(key, "is no age recipient (age1...)"))?.to_strings().remove(0);
        self.change_recipients(by, why, |holders, change| {
            if holders.has(&key) {
                return Err(refused(&key, "is a recipient already"));
            }
            change.add.push(key.clone());
            Ok(format!("Add recipient {key}"))
        })
    }

    /// Takes a key from the list. Its holder keeps what could be read so far.
    ///
    /// # Errors
    /// `Recipient` when it is not on the list, or is the last one.
    pub fn remove_recipient(&self, key: &str, by: &str, why: Option<&str>) -> Result<Holders, VaultError> {
        self.change_recipients(by, why, |holders, change| {
            may_go(holders, key)?;
            change.remove.push(key.to_owned());
            Ok(format!("Remove recipient {key}"))
        })
    }

    /// What the list would be; nothing is written.
    ///
    /// # Errors
    /// As those that do it.
    pub fn preview_recipients(
        &self,
        add: &[&str],
        remove: &[&str],
        by: &str,
        why: Option<&str>,
    ) -> Result<Holders, VaultError> {
        let mut holders = self.holders()?;
        for key in add {
            Recipients::parse([key]).map_err(|_| refused(key, "is no age recipient (age1...)"))?;
            if holders.has(key) {
                return Err(refused(key, "is a recipient already"));
            }
        }
        for key in remove {
            may_go(&holders, key)?;
        }
        let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        holders.apply(RecipientsChange {
            format: FORMAT,
            at: clock::now(),
            by: by.to_owned(),
            add: owned(add),
            remove: owned(remove),
            why: why.map(str::to_owned),
        });
        Ok(holders)
    }

    fn change_recipients(
        &self,
        by: &str,
        why: Option<&str>,
        change: impl FnOnce(&Holders, &mut RecipientsChange) -> Result<String, VaultError>,
    ) -> Result<Holders, VaultError> {
        let (git, lock) = self.locked()?;
        let before = self.holders()?;
        let at = clock::now();
        let mut made = RecipientsChange {
            format: FORMAT,
            at,
            by: by.to_owned(),
            add: Vec::new(),
            remove: Vec::new(),
            why: why.map(str::to_owned),
        };
        let message = change(&before, &mut made)?;
        // The order of the names is the order of the changes: never in the second of the one before, or behind it.
        let last = changes(&git)?.pop().map(|(name, _)| name);
        let mut named = at;
        let name = loop {
            let name = new_id(named)?;
            match &last {
                Some(last) if name.time() <= last.time() => {
                    named = named.checked_add(1.second()).map_err(|_| refused(by, "has a clock beyond all dates"))?;
                }
                _ => break name,
            }
        };
        let files = vec![(path_of(&name), Content::Bytes(json(&made)?))];
        self.commit(&git, &lock, files, &format!("{message}\n"), by)?;
        for key in &made.add {
            // Who adds it here knows whose it is.
            self.accept_recipient(key)?;
        }
        let mut after = before;
        after.apply(made);
        Ok(after)
    }
}

/// The changes of the list, oldest first, with their names.
fn changes(git: &Git) -> Result<Vec<(DeploymentId, RecipientsChange)>, VaultError> {
    let mut changes = Vec::new();
    for name in git.names("recipients")? {
        let path = format!("recipients/{name}");
        let id = name.strip_suffix(".json").and_then(DeploymentId::parse).ok_or_else(|| VaultError::Damaged {
            what: path.clone(),
            reason: "no change of recipients has such a name".into(),
        })?;
        changes.push((id, parse(&path, &git.read(&path)?.unwrap_or_default())?));
    }
    // The names begin with the time, so git has them in order.
    Ok(changes)
}

fn path_of(change: &DeploymentId) -> String {
    format!("recipients/{change}.json")
}

fn may_go(holders: &Holders, key: &str) -> Result<(), VaultError> {
    if !holders.has(key) {
        return Err(refused(key, "is not a recipient of this vault"));
    }
    if holders.now.len() == 1 {
        return Err(refused(key, "is the only recipient: nobody could read what is recorded next"));
    }
    Ok(())
}

fn refused(key: &str, reason: &'static str) -> VaultError {
    VaultError::Recipient { key: key.to_owned(), reason }
}
