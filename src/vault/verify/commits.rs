//! The commits of a history, taken apart.

use std::collections::{HashMap, HashSet};

use git2::{ObjectType, Oid};
use jiff::Timestamp;

use super::flaws::{Flaw, VaultFinding};
use crate::vault::object_fault::ObjectFault;
use crate::vault::objects::GitObjects;

/// A commit, taken apart.
pub(super) struct Commit {
    pub(super) id: Oid,
    pub(super) tree: Oid,
    pub(super) parents: Vec<Oid>,
    /// When it was made, as it says itself.
    pub(super) at: Timestamp,
    /// What was signed, and the signature; nothing where it has none.
    pub(super) signed: Option<(Vec<u8>, Vec<u8>)>,
}

/// Every commit from `tip` back, parents before children; those in `known` and what lies behind them left out.
pub(super) fn commits(
    objects: &GitObjects<'_>,
    tip: Oid,
    known: &HashSet<Oid>,
    findings: &mut Vec<VaultFinding>,
) -> Vec<Commit> {
    let mut read: HashMap<Oid, Option<Commit>> = HashMap::new();
    let mut order: Vec<Oid> = Vec::new();
    let mut stack: Vec<(Oid, bool)> = vec![(tip, false)];
    while let Some((id, parents_done)) = stack.pop() {
        if parents_done {
            order.push(id);
            continue;
        }
        if known.contains(&id) || read.contains_key(&id) {
            continue;
        }
        let commit = match objects.read(id, ObjectType::Commit) {
            Ok(bytes) => match take_apart(id, &bytes) {
                Some(commit) => commit,
                None => {
                    findings.push(VaultFinding::new(Flaw::DamagedObject, format!("commit {id}"), "cannot be read"));
                    read.insert(id, None);
                    continue;
                }
            },
            Err(fault) => {
                findings.push(lost(fault, &format!("commit {id}")));
                read.insert(id, None);
                continue;
            }
        };
        stack.push((id, true));
        stack.extend(commit.parents.iter().rev().map(|parent| (*parent, false)));
        read.insert(id, Some(commit));
    }
    order.into_iter().filter_map(|id| read.remove(&id).flatten()).collect()
}

/// The finding of an object that cannot be had.
pub(super) fn lost(fault: ObjectFault, what: &str) -> VaultFinding {
    match fault {
        ObjectFault::Missing => VaultFinding::new(Flaw::MissingObject, what, "is not in the repository"),
        ObjectFault::Broken(reason) => VaultFinding::new(Flaw::DamagedObject, what, reason),
        ObjectFault::Unread(error) => VaultFinding::new(Flaw::UnreadObject, what, format!("cannot be read: {error}")),
    }
}

/// Reads a commit's headers. What is signed is the commit without its `gpgsig` header.
pub(super) fn take_apart(id: Oid, bytes: &[u8]) -> Option<Commit> {
    let headers_end = bytes.windows(2).position(|two| two == b"\n\n")? + 1;
    let mut commit = Commit { id, tree: Oid::ZERO_SHA1, parents: Vec::new(), at: Timestamp::UNIX_EPOCH, signed: None };
    let (mut signature, mut payload) = (Vec::new(), Vec::with_capacity(bytes.len()));
    let mut inside = false;
    for line in bytes[..headers_end].split_inclusive(|byte| *byte == b'\n') {
        let continued = inside && line.starts_with(b" ");
        inside = continued || (line.starts_with(b"gpgsig ") && signature.is_empty());
        if inside {
            signature.extend_from_slice(if continued { &line[1..] } else { &line[b"gpgsig ".len()..] });
            continue;
        }
        payload.extend_from_slice(line);
        let text = std::str::from_utf8(line).unwrap_or_default().trim_end();
        match text.split_once(' ') {
            Some(("tree", name)) => commit.tree = Oid::from_str(name).ok()?,
            Some(("parent", name)) => commit.parents.push(Oid::from_str(name).ok()?),
            Some(("committer", rest)) => {
                let seconds = rest.rsplit(' ').nth(1)?.parse().ok()?;
                commit.at = Timestamp::from_second(seconds).ok()?;
            }
            _ => {}
        }
    }
    payload.extend_from_slice(&bytes[headers_end..]);
    commit.signed = (!signature.is_empty()).then_some((payload, signature));
    Some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_taken_apart_as_git_signs_it() {
        let id = "0123456789012345678901234567890123456789";
        let text = format!(
            "tree {id}\nparent {id}\nauthor a <a@b> 5 +0000\ncommitter a <a@b> 7 +0000\ngpgsig -----BEGIN\n line\n -----END\n\nsubject\n\ngpgsig no\n"
        );
        let commit = take_apart(Oid::ZERO_SHA1, text.as_bytes()).unwrap();
        let (payload, signature) = commit.signed.unwrap();
        assert_eq!(signature, b"-----BEGIN\nline\n-----END\n");
        assert!(String::from_utf8(payload).unwrap().ends_with("+0000\n\nsubject\n\ngpgsig no\n"));
        assert_eq!((commit.parents.len(), commit.at.as_second()), (1, 7));
    }
}
