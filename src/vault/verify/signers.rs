//! Who signed each commit, and whether the date that it bears can be believed.
//!
//! That date is the signer's own word, and by it the signature of a key that has ended would be good for ever. So a commit
//! is never taken for older than what it is built upon; and what a key signed that has ended counts only where this host
//! had verified it before, or where somebody whose key has not ended has built upon it.

use std::collections::{HashMap, HashSet};

use git2::{ObjectType, Oid};
use jiff::{SignedDuration, Timestamp};

use super::commits::{Commit, take_apart};
use super::flaws::{Flaw, VaultFinding};
use crate::clock;
use crate::crypt::sign::SignError;
use crate::crypt::{COMMIT_NAMESPACE, SignedBy, TrustedSigners};
use crate::vault::error::VaultError;
use crate::vault::git::Git;
use crate::vault::threads::on_threads;

/// How far the clocks of two hosts may be apart.
const CLOCKS_APART: SignedDuration = SignedDuration::from_hours(1);

/// Who signed a commit, or why that is nobody who is believed.
pub(super) type Signer = Result<SignedBy, VaultFinding>;

/// Says of each of `commits`, parents before children, who signed it. `seen` are those that this host had verified before.
///
/// # Errors
/// The repository cannot be read.
pub(super) fn signers(
    git: &Git,
    commits: &[Commit],
    trusted: &TrustedSigners,
    seen: &HashSet<Oid>,
) -> Result<Vec<Signer>, VaultError> {
    let earliest = earliest(git, commits)?;
    let mut signers =
        on_threads(git.path(), commits, |_, commit| Ok(signer(commit, trusted, earliest.get(&commit.id).copied())))?;
    if !trusted.has_ended() {
        return Ok(signers);
    }
    // Children before parents: who built upon a commit is known before it.
    let mut upheld = seen.clone();
    for (commit, signer) in commits.iter().zip(&mut signers).rev() {
        let Ok(by) = signer else { continue };
        if upheld.contains(&commit.id) || !trusted.is_over(COMMIT_NAMESPACE, by) {
            upheld.extend(&commit.parents);
            continue;
        }
        let says = format!(
            "bears a date of before the end of {}'s key {}, by that key's word alone: nobody else has built upon it",
            by.principal, by.fingerprint
        );
        *signer = Err(finding(commit, Flaw::UntrustedSigner, says));
    }
    Ok(signers)
}

/// Who signed one commit, by the date that it bears.
pub(super) fn claimed(commit: &Commit, trusted: &TrustedSigners) -> Option<SignedBy> {
    signer(commit, trusted, None).ok()
}

/// Before which each commit cannot have been made: its parents were there.
fn earliest(git: &Git, commits: &[Commit]) -> Result<HashMap<Oid, Timestamp>, VaultError> {
    // A clock of the future would end the keys of everybody who builds upon what it dated.
    let now = clock::now();
    let objects = git.objects()?;
    let mut made: HashMap<Oid, Timestamp> = HashMap::new();
    let mut earliest = HashMap::new();
    for commit in commits {
        let of_parent = |id: &Oid| {
            let outside = || Some(take_apart(*id, &objects.read(*id, ObjectType::Commit).ok()?)?.at);
            made.get(id).copied().or_else(outside).map(|at| at.min(now))
        };
        let parents = commit.parents.iter().filter_map(of_parent).max();
        made.insert(commit.id, parents.map_or(commit.at, |at| at.max(commit.at)).min(now));
        let after = parents.and_then(|at| at.checked_sub(CLOCKS_APART).ok()).unwrap_or(Timestamp::MIN);
        earliest.insert(commit.id, after);
    }
    Ok(earliest)
}

fn signer(commit: &Commit, trusted: &TrustedSigners, earliest: Option<Timestamp>) -> Signer {
    let (payload, signature) =
        commit.signed.as_ref().ok_or_else(|| finding(commit, Flaw::Unsigned, "has no signature".into()))?;
    let verify = |at| {
        trusted.verify_at(COMMIT_NAMESPACE, payload, signature, at).map_err(|error| match error {
            SignError::Unknown { .. }
            | SignError::NotForThis { .. }
            | SignError::Ended { .. }
            | SignError::Revoked { .. } => {
                finding(commit, Flaw::UntrustedSigner, format!("was not signed by somebody trusted: {error}"))
            }
            other @ SignError::OtherKind(_) => finding(commit, Flaw::BadSignature, format!("is not believed: {other}")),
            other => finding(commit, Flaw::BadSignature, format!("has a bad signature: {other}")),
        })
    };
    let by = verify(commit.at)?;
    match earliest.filter(|earliest| commit.at < *earliest) {
        Some(earliest) => verify(earliest),
        None => Ok(by),
    }
}

fn finding(commit: &Commit, flaw: Flaw, says: String) -> VaultFinding {
    let found = VaultFinding::new(flaw, format!("commit {}", commit.id), says).at(commit.id);
    VaultFinding { at: Some(commit.at), ..found }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{put, three, tip};
    use super::*;
    use crate::vault::Vault;
    use crate::vault::tests::{Fixture, new_key, signer as commit_signer};

    fn days_ago(days: i64) -> Timestamp {
        clock::now() - SignedDuration::from_hours(24 * days)
    }

    /// A commit that bears any date, on the branch.
    fn dated(f: &Fixture, parents: &[Oid], key: &ssh_key::PrivateKey, at: Timestamp, path: &str) -> Oid {
        let repo = git2::Repository::open(f.vault.path()).unwrap();
        let mut index = git2::Index::new().unwrap();
        if let Some(first) = parents.first() {
            index.read_tree(&repo.find_commit(*first).unwrap().tree().unwrap()).unwrap();
        }
        put(f, &mut index, path, 0o100_644, path.as_bytes());
        let tree = repo.find_tree(index.write_tree_to(&repo).unwrap()).unwrap();
        let who = git2::Signature::new("x", "x@x", &git2::Time::new(at.as_second(), 0)).unwrap();
        let parents: Vec<git2::Commit<'_>> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        let text = repo.commit_create_buffer(&who, &who, "Change", &tree, &parents).unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        let signature = commit_signer(key)(text.as_bytes()).unwrap();
        let made = repo.commit_signed(text, signature.trim_end(), None).unwrap();
        repo.reference(super::super::BRANCH, made, true, "test").unwrap();
        made
    }

    /// Who is not believed, of all commits of the branch, by its number from the oldest.
    fn refused(vault: &Vault, trusted: &TrustedSigners, seen: &[Oid]) -> Vec<usize> {
        let git = Git::open(vault.path()).unwrap();
        let objects = git.objects().unwrap();
        let tip = git.head_id().unwrap().unwrap();
        let commits = super::super::commits::commits(&objects, tip, &HashSet::new(), &mut Vec::new());
        let signers = signers(&git, &commits, trusted, &seen.iter().copied().collect()).unwrap();
        signers.iter().enumerate().filter(|(_, signer)| signer.is_err()).map(|(number, _)| number).collect()
    }

    #[test]
    fn a_key_that_has_ended_signs_nothing_more_whatever_date_it_writes() {
        let f = three();
        let old = new_key();
        let line = |name: &str, options: &str, key: &ssh_key::PrivateKey| {
            format!("{name} {options} {}\n", key.public_key().to_openssh().unwrap())
        };
        let end = days_ago(10).strftime("valid-before=\"%Y%m%d%H%M%SZ\"").to_string();
        let trusted = TrustedSigners::parse(&(line("ops", "", &f.key) + &line("bob", &end, &old)), "test");
        let whole = tip(&f);
        assert_eq!(refused(&f.vault, &trusted, &[]), Vec::<usize>::new());
        // Dated back, upon what is newer; and somebody trusted who builds upon it makes it no better.
        let forged = dated(&f, &[whole], &old, days_ago(20), "notes/forged");
        assert_eq!(refused(&f.vault, &trusted, &[]), [7]);
        assert_eq!(refused(&f.vault, &trusted, &[forged]), [7]);
        dated(&f, &[forged], &f.key, days_ago(0), "notes/upon");
        assert_eq!(refused(&f.vault, &trusted, &[]), [7]);
        // A history of its time: bob's last commits count once somebody has built upon them, or where they were seen.
        let root = dated(&f, &[], &f.key, days_ago(30), "notes/root");
        let honest = dated(&f, &[root], &old, days_ago(20), "notes/honest");
        assert_eq!(refused(&f.vault, &trusted, &[]), [1]);
        assert_eq!(refused(&f.vault, &trusted, &[honest]), Vec::<usize>::new());
        dated(&f, &[honest], &f.key, days_ago(5), "notes/upon");
        assert_eq!(refused(&f.vault, &trusted, &[]), Vec::<usize>::new());
        // A clock of the future ends nobody's key.
        let bob = TrustedSigners::parse(
            &(line("ops", "", &f.key)
                + &line("bob", &days_ago(-10).strftime("valid-before=\"%Y%m%d%H%M%SZ\"").to_string(), &old)),
            "test",
        );
        let root = dated(&f, &[], &f.key, days_ago(-300), "notes/root");
        dated(&f, &[root], &old, days_ago(0), "notes/upon");
        assert_eq!(refused(&f.vault, &bob, &[]), Vec::<usize>::new());
        // Clocks differ a little.
        let root = dated(&f, &[], &f.key, days_ago(30), "notes/root");
        let slow = dated(&f, &[root], &f.key, days_ago(30) - SignedDuration::from_mins(50), "notes/slow");
        dated(&f, &[slow], &old, days_ago(30) - SignedDuration::from_mins(50), "notes/slower");
        assert_eq!(refused(&f.vault, &trusted, &[slow]), [2], "the newest is by a key that has ended");
    }
}
