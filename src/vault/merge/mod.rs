//! Bringing in what other hosts have recorded. Nothing is ever rewritten, so two histories always merge: the files of
//! both, in a signed commit of its own.

use git2::{Oid, Repository};
use serde::Serialize;

use super::error::VaultError;
use super::git::Git;
use super::handle::Vault;
use super::objects::{EntryKind, GitObjects, entries, new_files};
use super::verify::range::{self, Believed};
use super::verify::{Flaw, FlawSeverity, Verification};
use super::worktree::{Behind, WorkTree};
use crate::crypt::TrustedSigners;

/// How what was fetched was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Joined {
    /// There was nothing that was not here.
    Nothing,
    /// The branch was only moved forward.
    Forward,
    /// Both sides had recorded; a signed commit joins them.
    Merged,
}

/// How what was fetched is to be taken in.
#[derive(Debug, Clone, Copy)]
pub struct TakeInRequest<'m> {
    /// Whose commits are believed.
    pub trusted: &'m TrustedSigners,
    /// Believe anybody's, as long as nothing else is wrong with them.
    pub anyone: bool,
    /// Who merges: `user@host`.
    pub by: &'m str,
    /// Only say what would be taken in.
    pub dry_run: bool,
}

/// What was taken in.
#[derive(Debug, Clone, Serialize)]
pub struct TakenIn {
    pub joined: Joined,
    /// How many commits were new here.
    pub commits: usize,
    pub deployments: usize,
    /// Flaws that were let in because the caller said so.
    pub untrusted: usize,
}

impl Vault {
    /// Verifies what the reference `from` has that the branch has not, and brings it in. A crash leaves the branch as it
    /// was or moved; the fetched objects stay and do no harm.
    ///
    /// # Errors
    /// `Incoming` when it is not what a trusted host would write (with `anyone`, only who signed it does not matter),
    /// `Conflict` when one file was written with different bytes, `Unrelated` when it is another vault.
    pub(super) fn take_in(&self, from: &str, request: &TakeInRequest<'_>) -> Result<TakenIn, VaultError> {
        let TakeInRequest { trusted, anyone, by, dry_run } = *request;
        let git = self.git()?;
        let nothing = TakenIn { joined: Joined::Nothing, commits: 0, deployments: 0, untrusted: 0 };
        let Some(theirs) = git.reference(from)? else { return Ok(nothing) };
        let believed = Believed { trusted, seen: None, let_in: &|_| anyone };
        let found = range::since(&git, git.head_id()?, theirs, &believed)?;
        self.refuse_unrelated(&git, theirs, &found)?;
        if found.findings.iter().any(|finding| finding.flaw == Flaw::Shallow) {
            // It is this clone that is, and not what was fetched.
            return Err(VaultError::Shallow { path: self.path.display().to_string() });
        }
        let untrusted = refuse(&found, anyone, trusted)?;
        let taken = TakenIn { commits: found.commits, deployments: found.deployments, untrusted, ..nothing };
        // Verified without the lock: other writers only add, and what they add is no part of what came in.
        let (git, lock) = self.locked()?;
        let Some(ours) = git.head_id()? else {
            return Err(VaultError::Foreign { path: self.path.display().to_string() });
        };
        if git.is_behind(theirs, ours)? {
            return Ok(taken);
        }
        let (to, joined) = if git.is_behind(ours, theirs)? {
            (theirs, Joined::Forward)
        } else {
            let tree = union(&git, ours, theirs)?;
            let deployments = found.deployments;
            let message = format!("Merge what another host has recorded\n\nDeployments: {deployments}\n");
            (git.commit(tree, &[ours, theirs], &message, by, &self.signer)?, Joined::Merged)
        };
        if dry_run {
            // The merge commit that nobody knows is no part of the vault.
            return Ok(TakenIn { joined, ..taken });
        }
        let files = new_files(&git.objects()?, Some(git.tree_of(ours)?), git.tree_of(to)?)?;
        let behind = Behind::since(git.repo().commondir(), Some(ours));
        let files = behind.missed().and_then(|from| git.files_since(from, to).ok()).unwrap_or(files);
        if let Some(error) = git.advance(to, Some(ours), "dr: what another host has recorded")? {
            self.tell_not_shown(error);
        }
        if let Some(trust) = &self.trust {
            match anyone || trust.signers().digest() != trusted.digest() {
                true => trust.note(&git, to, true),
                false => trust.note_upon(&git, Some(ours), to),
            }
        }
        // As with a new record: what cannot be shown is merged all the same.
        match git.work_tree().map_or(Ok(()), |top| WorkTree::open(top)?.show(&files)) {
            Ok(()) => behind.made_up(),
            Err(error) => self.tell_not_shown(error),
        }
        drop(lock);
        Ok(TakenIn { joined, ..taken })
    }
}

impl Vault {
    /// Refuses another vault before anything is said of what is in it: whoever signed that, the two are never one.
    fn refuse_unrelated(&self, git: &Git, theirs: Oid, found: &Verification) -> Result<(), VaultError> {
        let Some(ours) = git.head_id()?.filter(|_| found.has_second_root()) else { return Ok(()) };
        let objects = git.objects()?;
        if !objects.ancestors(ours, |_| false)?.is_disjoint(&objects.ancestors(theirs, |_| false)?) {
            return Ok(());
        }
        let has_deployments = self.survey().map_or(true, |all| !all.deployments.is_empty() || !all.unread.is_empty());
        Err(VaultError::Unrelated { path: self.path.display().to_string(), remote: "REMOTE".into(), has_deployments })
    }
}

/// How many flaws are let in; refuses where there is one that is not.
fn refuse(found: &Verification, anyone: bool, trusted: &TrustedSigners) -> Result<usize, VaultError> {
    let mut refused = found
        .findings
        .iter()
        .filter(|finding| !(anyone && finding.flaw.severity() == FlawSeverity::Untrusted))
        .peekable();
    match refused.peek() {
        None => Ok(found.findings.len()),
        Some(first) => {
            if let Some(error) = first.unread() {
                return Err(error);
            }
            let untrusted = found.severity() == Some(FlawSeverity::Untrusted);
            let signers = first.flaw.names_a_key().then(|| trusted.file().to_owned());
            let first = format!("{} {}", first.what, first.says);
            Err(VaultError::Incoming { count: refused.count(), first, untrusted, signers })
        }
    }
}

/// The tree with the files of both.
fn union(git: &Git, ours: Oid, theirs: Oid) -> Result<Oid, VaultError> {
    let (ours, theirs) = (git.tree_of(ours)?, git.tree_of(theirs)?);
    let mut conflicts = Vec::new();
    let tree = union_of(git.repo(), &git.objects()?, ours, theirs, "", &mut conflicts)?;
    if conflicts.is_empty() { Ok(tree) } else { Err(VaultError::Conflict { paths: conflicts }) }
}

fn union_of(
    repo: &Repository,
    objects: &GitObjects<'_>,
    ours: Oid,
    theirs: Oid,
    folder: &str,
    conflicts: &mut Vec<String>,
) -> Result<Oid, VaultError> {
    let failed = || VaultError::git("write the merged tree");
    let read = |id| objects.tree(id).map_err(|fault| fault.of(folder));
    let (mine, other) = (read(ours)?, read(theirs)?);
    let mut builder = repo.treebuilder(Some(&repo.find_tree(ours).map_err(failed())?)).map_err(failed())?;
    let known: std::collections::HashMap<&[u8], _> = entries(&mine).map(|entry| (entry.name, entry)).collect();
    for entry in entries(&other) {
        let mode = match entry.kind {
            EntryKind::Folder => 0o040_000,
            _ => 0o100_644,
        };
        let id = match known.get(entry.name) {
            Some(same) if same.id == entry.id && same.kind == entry.kind => continue,
            Some(mine) if mine.kind == EntryKind::Folder && entry.kind == EntryKind::Folder => {
                union_of(repo, objects, mine.id, entry.id, &entry.path(folder), conflicts)?
            }
            Some(_) => {
                conflicts.push(entry.path(folder));
                continue;
            }
            None if entry.kind == EntryKind::Other => {
                conflicts.push(entry.path(folder));
                continue;
            }
            None => entry.id,
        };
        builder.insert(entry.name, id, mode).map_err(failed())?;
    }
    builder.write().map_err(failed())
}

#[cfg(test)]
mod tests;
