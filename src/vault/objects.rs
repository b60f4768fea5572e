//! Git's objects as they are stored: each read once, checked against its name by libgit2.
//!
//! What reads many of them reads trees here, entry by entry, instead of looking up each path from the root again.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use git2::{ErrorCode, Index, ObjectType, Odb, Oid, Repository};

use super::error::VaultError;
use super::loose;
use super::object_fault::ObjectFault;
use crate::read;

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Folder,
    /// A plain file.
    File,
    /// A link, a program, another repository: nothing that belongs into a vault.
    Other,
}

/// An entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TreeEntry<'t> {
    pub(super) name: &'t [u8],
    pub(super) kind: EntryKind,
    pub(super) id: Oid,
}

impl TreeEntry<'_> {
    /// Its path below `folder`.
    pub(super) fn path(&self, folder: &str) -> String {
        let name = String::from_utf8_lossy(self.name);
        if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") }
    }
}

/// The bytes of a folder with about a million deployments.
const LARGEST_TREE: u64 = 64 << 20;

/// How many trees are kept at hand: a commit's and its parents', down to the folder that changed.
const TREES: usize = 16;

/// The objects of a repository.
pub(super) struct GitObjects<'r> {
    odb: Odb<'r>,
    /// The folder of those that lie loose, which are read here and not by libgit2.
    folder: PathBuf,
    trees: RefCell<VecDeque<(Oid, Rc<[u8]>)>>,
}

impl<'r> GitObjects<'r> {
    pub(super) fn of(repo: &'r Repository) -> Result<Self, git2::Error> {
        Ok(Self { odb: repo.odb()?, folder: repo.commondir().join("objects"), trees: RefCell::default() })
    }

    /// The bytes of an object of the given kind. One that is larger than any of a vault is not read.
    pub(super) fn read(&self, id: Oid, kind: ObjectType) -> Result<Vec<u8>, ObjectFault> {
        let most = match kind {
            ObjectType::Commit => read::SMALL,
            ObjectType::Tree => LARGEST_TREE,
            _ => read::RECORDS,
        };
        if let Some((found, bytes)) = loose::read(&self.folder, id, most)? {
            let right = found == kind;
            return right.then_some(bytes).ok_or_else(|| other_kind(found, kind));
        }
        let failed = |error: git2::Error| match error.code() {
            ErrorCode::NotFound => ObjectFault::Missing,
            _ => ObjectFault::Broken(error.message().to_owned()),
        };
        match self.odb.read_header(id).map_err(failed)? {
            (_, found) if found != kind => Err(other_kind(found, kind)),
            (bytes, _) if bytes as u64 > most => Err(ObjectFault::Broken(loose::TOO_LARGE.into())),
            _ => Ok(self.odb.read(id).map_err(failed)?.data().to_vec()),
        }
    }

    /// The bytes of a tree, for [`entries`].
    pub(super) fn tree(&self, id: Oid) -> Result<Rc<[u8]>, ObjectFault> {
        if let Some((_, tree)) = self.trees.borrow().iter().find(|(known, _)| *known == id) {
            return Ok(Rc::clone(tree));
        }
        let tree: Rc<[u8]> = self.read(id, ObjectType::Tree)?.into();
        let mut trees = self.trees.borrow_mut();
        trees.truncate(TREES - 1);
        trees.push_front((id, Rc::clone(&tree)));
        Ok(tree)
    }

    /// What stands at a path below a tree; nothing where that leads nowhere.
    ///
    /// # Errors
    /// A folder on the way cannot be read: its path, empty for the tree itself, and why.
    pub(super) fn find(&self, tree: Oid, path: &str) -> Result<Option<(EntryKind, Oid)>, (String, ObjectFault)> {
        let (mut kind, mut id, mut folder) = (EntryKind::Folder, tree, String::new());
        for name in path.split('/') {
            if kind != EntryKind::Folder {
                return Ok(None);
            }
            let below = self.tree(id).map_err(|fault| (folder.clone(), fault))?;
            let Some(found) = entry(&below, name) else { return Ok(None) };
            (kind, id, folder) = (found.kind, found.id, found.path(&folder));
        }
        Ok(Some((kind, id)))
    }

    /// The tree of a commit, and its parents.
    pub(super) fn commit(&self, id: Oid) -> Result<(Oid, Vec<Oid>), ObjectFault> {
        let bytes = self.read(id, ObjectType::Commit)?;
        let headers = bytes.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
        let (mut tree, mut parents) = (None, Vec::new());
        for line in headers {
            let text = std::str::from_utf8(line).unwrap_or_default();
            match text.split_once(' ') {
                Some(("tree", id)) => tree = Oid::from_str(id).ok(),
                Some(("parent", id)) => parents.extend(Oid::from_str(id)),
                _ => {}
            }
        }
        Ok((tree.ok_or_else(|| ObjectFault::Broken("it names no tree".into()))?, parents))
    }

    /// Every commit from `tip` back, until `wanted` says that it is the one looked for.
    ///
    /// # Errors
    /// A commit on the way cannot be read.
    pub(super) fn ancestors(&self, tip: Oid, wanted: impl Fn(Oid) -> bool) -> Result<HashSet<Oid>, VaultError> {
        let (mut seen, mut ahead) = (HashSet::from([tip]), VecDeque::from([tip]));
        while let Some(id) = ahead.pop_front() {
            if wanted(id) {
                break;
            }
            let (_, parents) = self.commit(id).map_err(|fault| fault.of(&format!("commit {id}")))?;
            ahead.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
        }
        Ok(seen)
    }

    /// Every commit from `tip` back, as far as the history can be read.
    pub(super) fn readable_ancestors(&self, tip: Oid) -> HashSet<Oid> {
        let (mut seen, mut ahead) = (HashSet::new(), vec![tip]);
        while let Some(id) = ahead.pop() {
            if let Ok((_, parents)) = self.commit(id)
                && seen.insert(id)
            {
                ahead.extend(parents);
            }
        }
        seen
    }

    /// Whether every folder below a tree can be read.
    pub(super) fn has_all_trees(&self, tree: Oid) -> bool {
        let (mut seen, mut ahead) = (HashSet::from([tree]), vec![tree]);
        while let Some(id) = ahead.pop() {
            let Ok(below) = self.tree(id) else { return false };
            let folders = entries(&below).filter(|entry| entry.kind == EntryKind::Folder).map(|entry| entry.id);
            ahead.extend(folders.filter(|id| seen.insert(*id)));
        }
        true
    }

    /// The bytes of a file.
    pub(super) fn blob(&self, id: Oid) -> Result<Vec<u8>, ObjectFault> {
        self.read(id, ObjectType::Blob)
    }
}

fn other_kind(found: ObjectType, wanted: ObjectType) -> ObjectFault {
    ObjectFault::Broken(format!("it is a {found} and should be a {wanted}"))
}

/// The entries of a tree, in git's order; what cannot be read as one ends them.
pub(super) fn entries(mut tree: &[u8]) -> impl Iterator<Item = TreeEntry<'_>> {
    std::iter::from_fn(move || {
        let blank = tree.iter().position(|byte| *byte == b' ')?;
        let end = blank + tree[blank..].iter().position(|byte| *byte == 0)?;
        let id = Oid::from_bytes(tree.get(end + 1..end + 21)?).ok()?;
        let kind = match &tree[..blank] {
            b"40000" => EntryKind::Folder,
            b"100644" => EntryKind::File,
            _ => EntryKind::Other,
        };
        let entry = TreeEntry { name: &tree[blank + 1..end], kind, id };
        tree = &tree[end + 21..];
        Some(entry)
    })
}

/// The entry of that name.
pub(super) fn entry<'t>(tree: &'t [u8], name: &str) -> Option<TreeEntry<'t>> {
    entries(tree).find(|entry| entry.name == name.as_bytes())
}

/// The files of `after` that `before` has not.
pub(super) fn new_files(
    objects: &GitObjects<'_>,
    before: Option<Oid>,
    after: Oid,
) -> Result<Vec<(String, Oid)>, VaultError> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), before, after)];
    while let Some((folder, before, after)) = folders.pop() {
        let read = |id| objects.tree(id).map_err(|fault| fault.of(&folder));
        let old = before.map(read).transpose()?;
        let old: std::collections::HashMap<&[u8], _> =
            old.as_deref().map(|tree| entries(tree).map(|entry| (entry.name, entry)).collect()).unwrap_or_default();
        for entry in entries(&read(after)?) {
            match (old.get(entry.name), entry.kind) {
                (Some(same), _) if same.id == entry.id => {}
                (known, EntryKind::Folder) => {
                    let known = known.filter(|known| known.kind == EntryKind::Folder).map(|known| known.id);
                    folders.push((entry.path(&folder), known, entry.id));
                }
                _ => found.push((entry.path(&folder), entry.id)),
            }
        }
    }
    Ok(found)
}

/// The files of the newest commit: of HEAD or, where that names a branch that is not there, of this one.
pub(super) fn newest_index(repo: &Repository, branch: &str) -> Result<Index, VaultError> {
    let failed = || VaultError::git("read the newest commit of the repository");
    let mut index = Index::new().map_err(failed())?;
    let head = repo.head().ok().and_then(|head| head.target());
    let Some(id) = head.or_else(|| repo.refname_to_id(branch).ok()) else { return Ok(index) };
    let objects = GitObjects::of(repo).map_err(failed())?;
    let (tree, _) = objects.commit(id).map_err(|fault| fault.of("the newest commit"))?;
    // libgit2 would not come back from a folder that is cut short.
    if !objects.has_all_trees(tree) {
        let reason = "a folder of it is missing or cut short".to_owned();
        return Err(VaultError::Damaged { what: "the newest commit".into(), reason });
    }
    repo.find_tree(tree).and_then(|tree| index.read_tree(&tree)).map_err(failed())?;
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_larger_than_any_of_a_vault_or_of_another_kind_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(folder.path()).unwrap();
        let id = repo.odb().unwrap().write(ObjectType::Blob, &[b' '; 9]).unwrap();
        let large = repo.odb().unwrap().write(ObjectType::Commit, &vec![b' '; (1 << 20) + 33]).unwrap();
        let objects = GitObjects::of(&repo).unwrap();
        let broken = |id, kind| matches!(objects.read(id, kind), Err(ObjectFault::Broken(_)));
        assert!(broken(large, ObjectType::Commit) && broken(id, ObjectType::Tree));
        assert_eq!(objects.blob(id).unwrap().len(), 9);
    }

    #[test]
    fn entries_are_read_until_something_is_none() {
        let id = [7u8; 20];
        let tree =
            [b"100644 a b\0".as_slice(), &id, b"40000 dir\0", &id, b"120000 link\0", &id, b"100644 cut\0", &[1; 3]]
                .concat();
        let found: Vec<(String, EntryKind)> = entries(&tree).map(|entry| (entry.path("x"), entry.kind)).collect();
        assert_eq!(
            found,
            [
                ("x/a b".into(), EntryKind::File),
                ("x/dir".into(), EntryKind::Folder),
                ("x/link".into(), EntryKind::Other)
            ]
        );
    }
}
