//! A range of the history: what one commit has that an earlier one has not, or all of it.

use std::collections::HashSet;

use git2::Oid;

use super::flaws::{Flaw, VaultFinding};
use super::signers::signers;
use super::verification::Verification;
use super::{commits, content, history};
use crate::crypt::TrustedSigners;
use crate::vault::error::VaultError;
use crate::vault::git::Git;

/// Whose commits are read.
pub struct Believed<'t> {
    pub trusted: &'t TrustedSigners,
    /// The newest commit that this host had verified before, whomever it trusted then.
    pub seen: Option<Oid>,
    /// Which flaws of who signed it keep nobody from reading what a commit has brought.
    pub let_in: &'t dyn Fn(&VaultFinding) -> bool,
}

/// Checks what `tip` has that `base` has not, a commit that was checked before; without one, everything. First who signed
/// it: of what is by nobody who is believed, no file is read.
pub fn since(git: &Git, base: Option<Oid>, tip: Oid, believed: &Believed<'_>) -> Result<Verification, VaultError> {
    let mut found = Verification { newest: Some(tip.to_string()), whole: base.is_none(), ..Verification::default() };
    let mut known = HashSet::new();
    if let Some(base) = base {
        found.base = Some(git.tree_of(base)?);
        known = git.objects()?.readable_ancestors(base);
    }
    history_of(git, tip, &known, believed, &mut found)?;
    Ok(found)
}

pub(super) fn history_of(
    git: &Git,
    tip: Oid,
    known: &HashSet<Oid>,
    believed: &Believed<'_>,
    found: &mut Verification,
) -> Result<(), VaultError> {
    let shallow = git.repo().is_shallow();
    if shallow {
        found.findings.push(VaultFinding::new(
            Flaw::Shallow,
            "clone",
            format!(
                "is shallow: the older commits are not here; `git -C {} fetch --unshallow` brings them",
                git.path().display()
            ),
        ));
    }
    let mut lost = Vec::new();
    let commits = commits::commits(&git.objects()?, tip, known, &mut lost);
    found.has_gap = !lost.is_empty();
    // The commits behind the end of a shallow clone are known to be missing.
    found.findings.extend(lost.into_iter().filter(|finding| !shallow || finding.flaw != Flaw::MissingObject));
    let roots = commits.iter().filter(|commit| commit.parents.is_empty());
    for root in roots.skip(usize::from(known.is_empty())) {
        let says = "begins a history that is not this vault's";
        found.findings.push(VaultFinding::new(Flaw::SecondRoot, format!("commit {}", root.id), says).at(root.id));
    }
    found.commits = commits.len();
    let objects = git.objects()?;
    let seen = match believed.seen {
        // Those behind it are none that are looked at, or no key has ended.
        Some(seen) if known.contains(&seen) || !believed.trusted.has_ended() => HashSet::new(),
        Some(seen) => objects.readable_ancestors(seen),
        None => HashSet::new(),
    };
    let mut refused = false;
    for signer in signers(git, &commits, believed.trusted, &seen)? {
        match signer {
            Ok(by) => *found.signed_by.entry(by.principal).or_default() += 1,
            Err(finding) => {
                refused |= !(believed.let_in)(&finding);
                found.findings.push(finding);
            }
        }
    }
    if refused {
        return Ok(());
    }
    let mut steps = history::steps(git, &commits)?;
    for step in &mut steps {
        found.findings.append(&mut step.findings);
    }
    content::check(git, &steps, found)
}
