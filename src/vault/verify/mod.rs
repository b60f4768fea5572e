//! Verifying the vault without a key: who wrote each commit, that nothing was rewritten, that nothing is missing.
//!
//! ```text
//! commits       every one, taken apart
//! signers       every commit: signature, trusted signer, a date that can be
//! history       every commit: only additions against each parent
//! content       every file that was added: read once, digest, form, place, recipients
//! record_chain  every record: the ones before it, there, unaltered, none left out
//! opening       with keys: every version opens and is what was recorded
//! ```

mod commits;
mod content;
pub mod flaws;
mod history;
mod opening;
pub(super) mod range;
mod record_chain;
pub(super) mod sealed;
mod signers;
mod verification;

use std::collections::{HashMap, HashSet};

use git2::Oid;

pub use flaws::{Flaw, FlawSeverity, VaultFinding};
pub use verification::Verification;

use super::error::VaultError;
use super::git::{BRANCH, BRANCH_NAME, Git, NEWEST};
use super::handle::Vault;
use crate::crypt::{Identities, SignedBy, TrustedSigners};

impl Vault {
    /// Checks everything that can be checked without a key, and with `identities` that every version opens and is what
    /// was recorded. When all is well, the newest commit is remembered, so that a branch that is moved back is found.
    ///
    /// # Errors
    /// The repository cannot be read at all. What is wrong inside it is a finding.
    pub fn verify(
        &self,
        trusted: &TrustedSigners,
        identities: Option<&Identities>,
    ) -> Result<Verification, VaultError> {
        let git = Git::open(&self.path)?;
        let mut found = Verification { whole: true, ..Verification::default() };
        branch(&git, &mut found)?;
        let Some(tip) = git.head_id()? else {
            found.findings.push(VaultFinding::new(Flaw::WrongBranch, format!("branch {BRANCH}"), "is not there"));
            return Ok(found);
        };
        found.newest = Some(tip.to_string());
        let seen = self.trust.as_ref().and_then(|trust| trust.verified());
        let believed = range::Believed { trusted, seen, let_in: &|_| true };
        range::history_of(&git, tip, &HashSet::new(), &believed, &mut found)?;
        if let Some(identities) = identities {
            opening::check(self, &git, identities, &mut found)?;
        }
        work_tree(&git, &mut found)?;
        found.findings.sort_by(|a, b| (a.flaw.severity(), &a.what).cmp(&(b.flaw.severity(), &b.what)));
        if found.findings.is_empty() && git.remembered()? != Some(tip) {
            git.remember(&git.lock()?, tip)?;
        }
        Ok(found)
    }

    /// Remembers that what was verified may be used from now on: nothing is wrong with it or, with `accept`, only who
    /// signed it, and a person has said that this does not matter. False where it was not.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn settle(&self, found: &Verification, accept: bool) -> Result<bool, VaultError> {
        let fits = match found.severity() {
            None => true,
            Some(worst) => {
                accept
                    && found.findings.iter().all(|finding| finding.flaw.severity() == worst)
                    && worst == FlawSeverity::Untrusted
            }
        };
        if let (true, Some(trust), Some(tip)) = (fits, &self.trust, &found.newest) {
            let tip = Oid::from_str(tip).map_err(VaultError::git("read the newest commit"))?;
            trust.note(&Git::open(&self.path)?, tip, accept);
        }
        Ok(fits)
    }

    /// Who signed the commit that added each of `files` (whole paths); nobody where it is not known whom to trust.
    pub(super) fn signed_by(&self, git: &Git, files: HashSet<String>) -> Result<HashMap<String, SignedBy>, VaultError> {
        match (&self.trust, git.head_id()?) {
            (Some(trust), Some(tip)) => history::signed_by(&git.objects()?, tip, files, trust.signers()),
            _ => Ok(HashMap::new()),
        }
    }
}

/// Where the branch is, against where it was seen last.
fn branch(git: &Git, found: &mut Verification) -> Result<(), VaultError> {
    let repo = git.repo();
    if let Some(elsewhere) = git.stands_elsewhere() {
        found.notes.push(format!(
            "the work tree stands on {elsewhere}, and dr reads and writes {BRANCH_NAME}: `git -C {} switch {BRANCH_NAME}`",
            git.path().display()
        ));
    }
    let (Some(seen), Some(tip)) = (git.remembered()?, git.head_id()?) else { return Ok(()) };
    let objects = git.objects()?;
    if seen != tip && !objects.readable_ancestors(tip).contains(&seen) {
        let readable = git.tree_of(seen).is_ok();
        let when = repo.find_commit(seen).ok().filter(|_| readable).map(|commit| commit.time().seconds());
        let when = when.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let of = when.map_or(String::new(), |at| format!(" of {at}"));
        found.findings.push(VaultFinding::new(
            Flaw::RolledBack,
            format!("branch {BRANCH}"),
            format!(
                "was moved back: it does not have commit {seen}{of}, which was there before ({NEWEST} still names it)"
            ),
        ));
    }
    Ok(())
}

/// Files of the work tree that are not what the newest commit says: nobody reads them, and somebody should know.
fn work_tree(git: &Git, found: &mut Verification) -> Result<(), VaultError> {
    const MOST: usize = 5;
    let has_all = git.tree_id()?.is_some_and(|tree| git.objects().is_ok_and(|objects| objects.has_all_trees(tree)));
    if git.work_tree().is_none() || !has_all {
        return Ok(());
    }
    let mut options = git2::StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).exclude_submodules(true);
    let failed = VaultError::git("compare the vault's work tree with its newest commit");
    let statuses = git.repo().statuses(Some(&mut options)).map_err(failed)?;
    for status in statuses.iter().take(MOST) {
        let path = status.path().unwrap_or("a file").to_owned();
        let says = match status.status() {
            status if status.is_wt_new() || status.is_index_new() => "is not in the vault",
            status if status.is_wt_deleted() || status.is_index_deleted() => "is missing in the work tree",
            _ => "is altered in the work tree",
        };
        found.notes.push(format!("{path} {says}; `git status` in the vault shows it"));
    }
    if statuses.len() > MOST {
        found.notes.push(format!("... and {} more files of the work tree", statuses.len() - MOST));
    }
    Ok(())
}

#[cfg(test)]
mod speed;
#[cfg(test)]
pub(super) mod tests;
