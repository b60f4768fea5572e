//! The history: every commit, and that each only adds files.

use std::collections::{HashMap, HashSet};

use git2::{ObjectType, Oid};

use super::commits::{Commit, commits, lost, take_apart};
use super::flaws::{Flaw, VaultFinding};
use super::signers;
use crate::crypt::{SignedBy, TrustedSigners};
use crate::names::is_text;
use crate::vault::error::VaultError;
use crate::vault::git::Git;
use crate::vault::objects::{EntryKind, GitObjects, TreeEntry, entries, entry};
use crate::vault::threads::on_threads;

/// Folders in folders, and files that one commit adds or takes away: of more, nothing is read.
const DEEPEST: usize = 32;
const MOST_FILES: usize = 250_000;

/// A file that a commit added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) path: String,
    pub(super) blob: Oid,
}

/// What one commit did.
pub(super) struct HistoryStep {
    pub(super) id: Oid,
    pub(super) parents: Vec<Oid>,
    pub(super) added: Vec<Added>,
    /// The folder of recipients as the commit found it.
    pub(super) recipients: Option<Oid>,
    pub(super) findings: Vec<VaultFinding>,
}

/// Looks at what each commit did to its parents' files.
pub(super) fn steps(git: &Git, commits: &[Commit]) -> Result<Vec<HistoryStep>, VaultError> {
    let trees: HashMap<Oid, Oid> = commits.iter().map(|commit| (commit.id, commit.tree)).collect();
    // A parent outside the commits at hand (older than what is asked about) is looked up by each thread.
    let tree_of = |objects: &GitObjects<'_>, id: Oid| -> Option<Oid> {
        trees.get(&id).copied().or_else(|| {
            let bytes = objects.read(id, ObjectType::Commit).ok()?;
            take_apart(id, &bytes).map(|commit| commit.tree)
        })
    };
    on_threads(git.path(), commits, |objects, commit| Ok(step(objects, commit, &tree_of)))
}

fn step(
    objects: &GitObjects<'_>,
    commit: &Commit,
    tree_of: &dyn Fn(&GitObjects<'_>, Oid) -> Option<Oid>,
) -> HistoryStep {
    let mut findings = Vec::new();
    let mut changes: Vec<Changes> = Vec::new();
    // A parent that cannot be read has a finding of its own.
    let parents: Vec<Option<Oid>> = commit.parents.iter().filter_map(|id| tree_of(objects, *id)).map(Some).collect();
    for parent in if commit.parents.is_empty() { &[None][..] } else { &parents } {
        let mut change = Changes::default();
        compare(objects, *parent, Some(commit.tree), "", &mut change);
        changes.push(change);
    }
    let merge = changes.len() > 1;
    for change in &mut changes {
        let what = |path: &String| format!("file {path}");
        change.deleted.retain(|path| is_own(path));
        change.rewritten.retain(|path| is_own(path));
        findings.extend(
            change.deleted.iter().map(|path| VaultFinding::new(Flaw::Deleted, what(path), "was deleted").at(commit.id)),
        );
        findings.extend(
            change
                .rewritten
                .iter()
                .map(|path| VaultFinding::new(Flaw::Rewritten, what(path), "was written again").at(commit.id)),
        );
        findings.append(&mut change.lost);
    }
    let mut changes = changes.into_iter();
    let mut added = changes.next().map(|change| change.added).unwrap_or_default();
    for other in changes {
        let theirs: HashSet<&str> = other.added.iter().map(|file| file.path.as_str()).collect();
        added.retain(|file| theirs.contains(file.path.as_str()));
    }
    if merge {
        findings.extend(added.iter().filter(|file| is_own(&file.path)).map(|file| {
            VaultFinding::new(Flaw::MergeWrites, format!("file {}", file.path), "was written by a merge").at(commit.id)
        }));
    }
    let recipients = parents.first().copied().flatten().and_then(|tree| {
        let tree = objects.tree(tree).ok()?;
        entry(&tree, "recipients").map(|folder| folder.id)
    });
    findings.sort_by(|a, b| (a.flaw, &a.what).cmp(&(b.flaw, &b.what)));
    findings.dedup();
    HistoryStep { id: commit.id, parents: commit.parents.clone(), added, recipients, findings }
}

/// Who signed the commits that added `wanted`, newest first looked for.
pub(super) fn signed_by(
    objects: &GitObjects<'_>,
    tip: Oid,
    mut wanted: HashSet<String>,
    trusted: &TrustedSigners,
) -> Result<HashMap<String, SignedBy>, VaultError> {
    let commits = commits(objects, tip, &HashSet::new(), &mut Vec::new());
    let trees: HashMap<Oid, Oid> = commits.iter().map(|commit| (commit.id, commit.tree)).collect();
    let folders: HashSet<String> = wanted.iter().filter_map(|path| path.split('/').next()).map(str::to_owned).collect();
    // What the folders of `wanted` hold, which most commits leave as it is.
    let held = |tree: Option<&Oid>| -> Vec<Option<Oid>> {
        let tree = tree.and_then(|tree| objects.tree(*tree).ok());
        folders.iter().map(|folder| Some(entry(tree.as_deref()?, folder)?.id)).collect()
    };
    let mut signed = HashMap::new();
    for commit in commits.iter().rev() {
        if wanted.is_empty() {
            break;
        }
        let first = commit.parents.first().and_then(|parent| trees.get(parent));
        if commit.parents.len() == 1 && held(Some(&commit.tree)) == held(first) {
            continue;
        }
        let step = step(objects, commit, &|_, id| trees.get(&id).copied());
        let added: Vec<String> =
            step.added.into_iter().map(|added| added.path).filter(|path| wanted.remove(path)).collect();
        if !added.is_empty()
            && let Some(by) = signers::claimed(commit, trusted)
        {
            signed.extend(added.into_iter().map(|path| (path, by.clone())));
        }
    }
    Ok(signed)
}

/// Whether a file is one of the vault's own, which are never written again. An operator may keep others beside them (an
/// ignore file, say), and change these.
pub(super) fn is_own(path: &str) -> bool {
    matches!(path, "vault.json" | "README.md" | ".gitattributes" | "fingerprint.key.age")
        || matches!(path.split('/').next(), Some("bundles" | "deployments" | "recipients" | "rekeyed"))
}

/// What one tree has that another has not.
#[derive(Default)]
struct Changes {
    added: Vec<Added>,
    deleted: Vec<String>,
    rewritten: Vec<String>,
    lost: Vec<VaultFinding>,
    /// How many folders and files differ.
    seen: usize,
}

/// Compares two folders; only what differs is read.
fn compare(objects: &GitObjects<'_>, old: Option<Oid>, new: Option<Oid>, folder: &str, changes: &mut Changes) {
    if let Some(says) = too_much(folder, changes) {
        let top = folder.split('/').next().unwrap_or_default();
        changes.lost.push(VaultFinding::new(Flaw::StrangeFile, format!("folder {top}/"), says));
        return;
    }
    let lost_before = changes.lost.len();
    let mut read = |id: Option<Oid>| match id.map(|id| objects.tree(id)).transpose() {
        Ok(tree) => tree,
        Err(fault) => {
            changes.lost.push(lost(fault, &format!("folder {folder}/")));
            None
        }
    };
    let (old, new) = (read(old), read(new));
    if changes.lost.len() > lost_before {
        // What is not known of one side is neither gone nor new.
        return;
    }
    let (mut old, mut new) = (
        entries(old.as_deref().unwrap_or_default()).peekable(),
        entries(new.as_deref().unwrap_or_default()).peekable(),
    );
    loop {
        match (old.peek().copied(), new.peek().copied()) {
            (None, None) => return,
            (Some(was), Some(is)) if was.name == is.name => {
                let is_same = was.id == is.id && was.kind == is.kind;
                changes.seen += usize::from(!is_same);
                match (was.kind, is.kind) {
                    _ if is_same => {}
                    (EntryKind::Folder, EntryKind::Folder) => {
                        compare(objects, Some(was.id), Some(is.id), &is.path(folder), changes);
                    }
                    // A folder that becomes something else, or comes of it: what was in it is gone, what is in it is new.
                    (EntryKind::Folder, _) | (_, EntryKind::Folder) => {
                        gone(objects, was, folder, changes);
                        come(objects, is, folder, changes);
                    }
                    _ => changes.rewritten.push(is.path(folder)),
                }
                old.next();
                new.next();
            }
            (Some(was), is) if is.is_none_or(|is| order(&was) < order(&is)) => {
                gone(objects, was, folder, changes);
                old.next();
            }
            (_, Some(is)) => {
                come(objects, is, folder, changes);
                new.next();
            }
            (Some(_), None) => return,
        }
    }
}

/// Why the folder is not gone into. Only the top folder is named: the same would be said of each below.
fn too_much(folder: &str, changes: &Changes) -> Option<String> {
    if folder.split('/').count() > DEEPEST {
        Some(format!("has over {DEEPEST} folders in it, one in another"))
    } else if changes.seen > MOST_FILES {
        Some(format!("comes with over {MOST_FILES} files at once"))
    } else {
        None
    }
}

fn gone(objects: &GitObjects<'_>, was: TreeEntry<'_>, folder: &str, changes: &mut Changes) {
    changes.seen += 1;
    match was.kind {
        EntryKind::Folder => compare(objects, Some(was.id), None, &was.path(folder), changes),
        _ => changes.deleted.push(was.path(folder)),
    }
}

fn come(objects: &GitObjects<'_>, is: TreeEntry<'_>, folder: &str, changes: &mut Changes) {
    changes.seen += 1;
    let strange = |says| VaultFinding::new(Flaw::StrangeFile, format!("file {}", is.path(folder)), says);
    match is.kind {
        _ if !is_plain(is.name) => {
            changes.lost.push(strange("has a name that leads elsewhere, or that nobody can read"));
        }
        EntryKind::Folder => compare(objects, None, Some(is.id), &is.path(folder), changes),
        EntryKind::File => changes.added.push(Added { path: is.path(folder), blob: is.id }),
        EntryKind::Other => changes.lost.push(strange("is a link, a program or another repository")),
    }
}

/// Whether a file of that name may be checked out: git's own folder, and what leads out of the vault, may not.
fn is_plain(name: &[u8]) -> bool {
    let text = std::str::from_utf8(name).unwrap_or_default();
    !matches!(text, "" | "." | "..") && !text.eq_ignore_ascii_case(".git") && !text.contains('/') && is_text(text)
}

/// Git sorts a folder as if its name ended in a slash.
fn order<'t>(entry: &TreeEntry<'t>) -> impl Ord + use<'t> {
    let slash: &[u8] = if entry.kind == EntryKind::Folder { b"/" } else { b"" };
    [entry.name, slash].concat()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{commit, flaws, put, three, tip, trusting};
    use super::*;
    use crate::vault::tests::signer as commit_signer;

    #[test]
    fn a_folder_that_becomes_a_file_and_comes_back_loses_and_gains_each_of_its_files() {
        for folder in ["deployments", "recipients"] {
            let f = three();
            let key = commit_signer(&f.key);
            let before = tip(&f);
            let emptied = commit(&f, &[before], &key, |index| {
                index.remove_dir(Path::new(folder), 0).unwrap();
                put(&f, index, folder, 0o100_644, b"x");
            });
            let found = flaws(&f);
            assert!(found.contains(&Flaw::Deleted), "{folder}: {found:?}");
            commit(&f, &[emptied], &key, |index| {
                index.remove_path(Path::new(folder)).unwrap();
                put(&f, index, &format!("{folder}/forged/record.json"), 0o100_644, b"{}");
            });
            let found = f.vault.verify(&trusting(&f), None).unwrap();
            let forged = format!("{folder}/forged/record.json");
            assert!(found.findings.iter().any(|finding| finding.what.contains(&forged)), "{:?}", found.findings);
        }
    }

    #[test]
    fn folders_without_end_are_not_gone_into_and_of_a_stranger_s_commit_no_file_is_read() {
        let f = three();
        let deep = format!("notes/{}file", "a/".repeat(DEEPEST + 8));
        let stranger = commit_signer(&crate::vault::tests::new_key());
        commit(&f, &[tip(&f)], &stranger, |index| put(&f, index, &deep, 0o100_644, b"x"));
        assert_eq!(flaws(&f), [Flaw::UntrustedSigner, Flaw::StrangeFile]);
        let git = Git::open(f.vault.path()).unwrap();
        let trusted = trusting(&f);
        let believed = super::super::range::Believed { trusted: &trusted, seen: None, let_in: &|_| false };
        let found = super::super::range::since(&git, None, tip(&f), &believed).unwrap();
        let kinds: Vec<Flaw> = found.findings.iter().map(|finding| finding.flaw).collect();
        assert_eq!((kinds, found.files), (vec![Flaw::UntrustedSigner], 0));
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_files_of_a_vault() {
        for bad in ["..", ".", ".git", ".GIT", "a/b", "a\u{1b}b", "a\u{202e}b"] {
            assert!(!is_plain(bad.as_bytes()), "{bad:?}");
        }
        assert!(!is_plain(b"\xff") && is_plain(b".gitattributes") && is_plain("gr\u{fc}n".as_bytes()));
    }

    #[test]
    fn folders_sort_as_git_does() {
        let entry = |name: &'static str, kind| TreeEntry { name: name.as_bytes(), kind, id: Oid::ZERO_SHA1 };
        assert!(order(&entry("a.b", EntryKind::File)) < order(&entry("a", EntryKind::Folder)));
        assert!(order(&entry("a", EntryKind::File)) < order(&entry("a.b", EntryKind::File)));
    }
}
