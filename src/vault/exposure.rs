//! Nothing in the clear: what a commit hook and a pipeline ask.
//!
//! A vault's own files are held to its form: an `.age` file is a whole age file, and nothing stands beside the files
//! that a vault has. Any file is searched for private keys, for values with secrets in them, and, where the live values
//! could be opened, for their secrets in every form that a [`Scrubber`] knows.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use git2::{Oid, Repository};
use serde::Serialize;

use super::error::VaultError;
use super::exceptions::{self, Exception, ExceptionVerdict};
use super::formats::{in_the_clear, is_read, utf16};
use super::handle::Vault;
use super::layout::EXCEPTIONS;
use super::loose::TOO_LARGE;
use super::object_fault::ObjectFault;
use super::objects::{GitObjects, newest_index};
use super::remote::hooks;
use super::verify::sealed::stanzas;
use crate::clock;
use crate::read;
use crate::text;
use crate::values::Scrubber;
use crate::write;

/// A kind of exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exposed {
    /// A secret of the live values.
    LiveSecret,
    PrivateKey,
    AgeIdentity,
    /// A values file with secrets in it.
    Values,
    /// An `.age` file that is no whole age file.
    NotSealed,
    /// A file of a kind that a vault does not have.
    Stray,
    /// A file that could not be looked into: too large, or damaged.
    NotRead,
}

/// One thing that is in the clear, or where it should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exposure {
    pub exposed: Exposed,
    pub file: String,
    /// The line, counted from 1, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong, without the file and without the secret.
    pub says: String,
}

/// A finding that the repository's `.drcheck` accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    #[serde(flatten)]
    pub exposure: Exposure,
    pub reason: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Checked {
    pub files: usize,
    /// How many of them were read as values or settings, by their names; in all of them, keys and the live values'
    /// secrets are looked for.
    pub read_as_values: usize,
    /// Whether they were searched for the secrets of the live values.
    pub live_secrets: bool,
    /// What was found.
    pub exposures: Vec<Exposure>,
    /// What was found and is meant, with the reason that `.drcheck` gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
    /// Folders of a repository in which git tracks nothing: nothing there was looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nothing_tracked: Vec<PathBuf>,
    /// Where a hook was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<PathBuf>,
}

/// The search: what it knows, and what it has seen.
pub struct Search<'s> {
    scrubber: Option<&'s Scrubber>,
    seen: HashSet<(String, Oid)>,
    exceptions: Vec<Exception>,
    /// What it found.
    pub checked: Checked,
}

impl<'s> Search<'s> {
    /// Begins one; with a scrubber, it also looks for what that knows.
    pub fn new(scrubber: Option<&'s Scrubber>) -> Self {
        let checked = Checked { live_secrets: scrubber.is_some(), ..Checked::default() };
        Self { scrubber, seen: HashSet::new(), exceptions: Vec::new(), checked }
    }

    /// A vault: the files of its newest commit, of the index, and of the work tree.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn vault(&mut self, vault: &Vault) -> Result<(), VaultError> {
        let git = vault.git()?;
        self.exceptions = exceptions::of(git.repo(), &git.repo().index().map_err(VaultError::git("read the index"))?)?;
        for (path, id) in git.files()? {
            let bytes = git.blob(id, &path)?;
            self.file(&path, &bytes, true)?;
        }
        self.repository(git.repo(), Path::new(""), true)
    }

    /// A path of any repository: its tracked files there, as they are staged and as they stand. A path outside of any
    /// repository: every file below it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn path(&mut self, path: &Path) -> Result<(), VaultError> {
        let io = |path: &Path| {
            let what = path.display().to_string();
            move |source| VaultError::Unread { what, source }
        };
        let absolute = path.canonicalize().map_err(io(path))?;
        let repo = Repository::discover(&absolute);
        if let Ok(repo) = &repo
            && repo.is_bare()
            && repo.path().canonicalize().is_ok_and(|place| place == absolute)
        {
            // What a server has: the files of its newest commit, and not git's own.
            return self.all_of(repo, Path::new(""), path).map(drop);
        }
        if let Ok(repo) = repo
            && let Some(root) = repo.workdir().and_then(|root| root.canonicalize().ok())
            && let Ok(below) = absolute.strip_prefix(&root)
        {
            // A file that was named is looked at, tracked or not.
            if self.all_of(&repo, below, path)? || absolute.is_dir() {
                return Ok(());
            }
        }
        self.exceptions.clear();
        if !absolute.is_dir() {
            return self.placed(&absolute, &absolute.display().to_string(), false, io(path));
        }
        let mut folders = vec![absolute];
        while let Some(place) = folders.pop() {
            if place.is_dir() {
                for entry in std::fs::read_dir(&place).map_err(io(&place))? {
                    let path = entry.map_err(io(&place))?.path();
                    // A link is not followed: what it names is looked at where it is, if it is anywhere below.
                    if !path.is_symlink() {
                        folders.push(path);
                    }
                }
            } else if place.is_file() {
                self.placed(&place, &place.display().to_string(), false, io(&place))?;
            }
        }
        Ok(())
    }

    /// What is staged in a repository and differs from its newest commit: what a commit would add. `index` is the one
    /// that git is about to commit.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn staged(&mut self, place: &Path, index: Option<&Path>) -> Result<(), VaultError> {
        let failed = || VaultError::git(format!("read what is staged in {}", place.display()));
        let repo = Repository::discover(place).map_err(failed())?;
        let index = match index {
            Some(path) => git2::Index::open(path).map_err(failed())?,
            None => repo.index().map_err(failed())?,
        };
        let objects = GitObjects::of(&repo).map_err(failed())?;
        let head = repo.head().ok().and_then(|head| objects.commit(head.target()?).ok()).map(|(tree, _)| tree);
        let own = is_vault(&repo);
        self.exceptions = exceptions::of(&repo, &index)?;
        for entry in index.iter() {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            let known = head.and_then(|tree| objects.find(tree, &path).ok().flatten());
            if known.is_some_and(|(_, id)| id == entry.id) {
                continue;
            }
            self.indexed(&objects, &entry, &path, own)?;
        }
        Ok(())
    }

    /// An entry of an index. One that cannot be looked into is a finding; another repository is looked at where it is.
    fn indexed(
        &mut self,
        objects: &GitObjects<'_>,
        entry: &git2::IndexEntry,
        path: &str,
        own: bool,
    ) -> Result<(), VaultError> {
        const OTHER_REPOSITORY: u32 = 0o160_000;
        match objects.blob(entry.id) {
            Ok(content) => self.file(path, &content, own),
            Err(_) if entry.mode == OTHER_REPOSITORY => Ok(()),
            Err(fault @ ObjectFault::Unread(_)) => Err(fault.of(path)),
            Err(ObjectFault::Missing) => self.not_read(path, "git does not have it"),
            Err(ObjectFault::Broken(why)) if why.ends_with(TOO_LARGE) => {
                self.not_read(path, &format!("it is larger than {}", text::bytes(read::RECORDS)))
            }
            Err(ObjectFault::Broken(why)) => self.not_read(path, &why),
        }
    }

    /// A file that nobody has looked into.
    fn not_read(&mut self, path: &str, why: &str) -> Result<(), VaultError> {
        let says = format!("was not looked into: {why}");
        self.judge(Exposure { exposed: Exposed::NotRead, file: path.to_owned(), line: None, says });
        Ok(())
    }

    /// A file of a folder.
    fn placed(
        &mut self,
        place: &Path,
        path: &str,
        own: bool,
        failed: impl FnOnce(std::io::Error) -> VaultError,
    ) -> Result<(), VaultError> {
        match read::file(place, read::PROGRAM) {
            Ok(bytes) => self.file(path, &bytes, own),
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => self.not_read(path, &error.to_string()),
            Err(error) => Err(failed(error)),
        }
    }

    /// The same for what was named `path`: whether anything is tracked there.
    fn all_of(&mut self, repo: &Repository, below: &Path, path: &Path) -> Result<bool, VaultError> {
        let before = self.checked.files;
        self.repository(repo, below, is_vault(repo))?;
        let is_tracked = self.checked.files > before;
        if !is_tracked && path.is_dir() {
            self.checked.nothing_tracked.push(path.to_owned());
        }
        Ok(is_tracked)
    }

    /// The tracked files of a repository below a folder, and in a vault also those that are not tracked.
    fn repository(&mut self, repo: &Repository, below: &Path, own: bool) -> Result<(), VaultError> {
        let failed = || VaultError::git("read the index of the repository");
        let root = repo.workdir().map(Path::to_owned);
        let objects = GitObjects::of(repo).map_err(failed())?;
        let mut paths: Vec<String> = Vec::new();
        let index =
            if repo.is_bare() { newest_index(repo, super::git::BRANCH)? } else { repo.index().map_err(failed())? };
        self.exceptions = exceptions::of(repo, &index)?;
        for entry in index.iter() {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            if !Path::new(&path).starts_with(below) {
                continue;
            }
            self.indexed(&objects, &entry, &path, own)?;
            paths.push(path);
        }
        let Some(root) = root else { return Ok(()) };
        let head = repo.head().ok().and_then(|head| objects.commit(head.target()?).ok());
        // libgit2 would not come back from a folder that is cut short.
        if own && head.is_some_and(|(tree, _)| objects.has_all_trees(tree)) {
            let mut options = git2::StatusOptions::new();
            options
                .include_untracked(true)
                .recurse_untracked_dirs(true)
                .include_ignored(true)
                .recurse_ignored_dirs(true);
            let statuses = repo.statuses(Some(&mut options)).map_err(failed())?;
            paths.extend(statuses.iter().filter_map(|status| status.path().ok().map(str::to_owned)));
        }
        for path in paths {
            let place = root.join(&path);
            if place.is_file() && !place.is_symlink() {
                let failed = VaultError::io(format!("read {}", place.display()));
                self.placed(&place, &path, own, failed)?;
            }
        }
        Ok(())
    }

    /// Looks at one file; the same bytes by the same name only once.
    fn file(&mut self, path: &str, bytes: &[u8], own: bool) -> Result<(), VaultError> {
        let id = Oid::hash_object(git2::ObjectType::Blob, bytes).map_err(VaultError::git("hash a file"))?;
        if self.seen.insert((path.to_owned(), id)) {
            self.checked.files += 1;
            self.checked.read_as_values += usize::from(is_read(path));
            for exposure in inspect(path, bytes, own, self.scrubber) {
                self.judge(exposure);
            }
        }
        Ok(())
    }

    /// Counts a finding, unless an exception that has not expired accepts it.
    fn judge(&mut self, mut exposure: Exposure) {
        let today = clock::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        match exceptions::judge(&self.exceptions, &exposure.file, today) {
            ExceptionVerdict::Accepted(by) => {
                let reason = by.reason.clone();
                return self.checked.accepted.push(Accepted { exposure, reason });
            }
            ExceptionVerdict::Expired(by, last) => exposure
                .says
                .push_str(&format!(" (accepted until {last} in {}, which is over: {})", EXCEPTIONS, by.reason)),
            ExceptionVerdict::Nothing => {}
        }
        self.checked.exposures.push(exposure);
    }
}

fn is_vault(repo: &Repository) -> bool {
    let names = |commit: Oid| {
        let objects = GitObjects::of(repo).ok()?;
        let (tree, _) = objects.commit(commit).ok()?;
        let has = |name: &str| objects.find(tree, name).is_ok_and(|found| found.is_some());
        Some(has("vault.json") && has("fingerprint.key.age"))
    };
    repo.refname_to_id(super::git::BRANCH).ok().and_then(names).unwrap_or_default()
}

/// What is exposed in a file.
fn inspect(path: &str, bytes: &[u8], own: bool, scrubber: Option<&Scrubber>) -> Vec<Exposure> {
    let exposure = |exposed, line, says: &str| Exposure { exposed, file: path.to_owned(), line, says: says.to_owned() };
    if let Some(text) = utf16(bytes) {
        return inspect(path, text.as_bytes(), own, scrubber);
    }
    let sealed = stanzas(bytes).is_some();
    if path.ends_with(".age") && !sealed && !is_armored(bytes) {
        return vec![exposure(Exposed::NotSealed, None, "is named .age, and is no whole age file")];
    }
    if sealed {
        return Vec::new();
    }
    let mut found = Vec::new();
    if own && !belongs(path) {
        found.push(exposure(Exposed::Stray, None, "is no file that a vault has"));
    }
    let text = String::from_utf8_lossy(bytes);
    for (number, line) in text.lines().enumerate() {
        let line_number = Some(number + 1);
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") {
            found.push(exposure(Exposed::PrivateKey, line_number, "holds a private key"));
        }
        if has_age_identity(line) {
            found.push(exposure(Exposed::AgeIdentity, line_number, "holds an age identity"));
        }
    }
    if let Some(scrubber) = scrubber
        && matches!(scrubber.scrub_bytes(bytes), std::borrow::Cow::Owned(_))
    {
        let masked = |line: &&str| matches!(scrubber.scrub(line), std::borrow::Cow::Owned(_));
        let line = text.lines().position(|line| masked(&line)).map(|line| line + 1);
        found.push(exposure(Exposed::LiveSecret, line, "holds a secret of the live values"));
    }
    if let Some((count, line)) = in_the_clear(path, bytes, own) {
        let says = format!("is a values file in the clear: {count} of its values look secret");
        found.push(Exposure { exposed: Exposed::Values, file: path.to_owned(), line: Some(line), says });
    }
    found
}

fn is_armored(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") && text.ends_with(b"-----END AGE ENCRYPTED FILE-----")
}

/// An identity has 58 characters behind its mark; its mark alone stands in many a README.
fn has_age_identity(line: &str) -> bool {
    ["AGE-SECRET-KEY-1", "AGE-SECRET-KEY-PQ-1"].iter().any(|mark| {
        line.split(mark).skip(1).any(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).count() >= 50)
    })
}

/// Whether a vault has a file of that name in the clear.
fn belongs(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        // The operator's own, beside the vault's.
        [name] => {
            matches!(*name, "vault.json" | "README.md" | ".gitattributes" | ".gitignore" | ".drignore" | ".drcheck")
        }
        ["bundles" | "recipients", name] => name.ends_with(".json"),
        ["deployments", _, _, name] => matches!(*name, "record.json" | "outcome.json"),
        ["rekeyed", _, name] => *name == super::layout::REKEY_FILE,
        _ => false,
    }
}

/// What stands in the second line of each hook of ours.
const OWN_HOOK: &str = "# Written by `dr config check --install-hook`: nothing secret is committed in the clear.";

/// Writes a hook that runs `command` before each commit of the repository at `place`. It never writes over another's.
///
/// # Errors
/// `HookThere` when there is a hook of somebody else's already; `Io` when it cannot be written.
pub fn install_hook(place: &Path, command: &str) -> Result<PathBuf, VaultError> {
    let folder = hooks(place)?;
    let path = folder.join("pre-commit");
    let io = || VaultError::io(format!("write {}", path.display()));
    std::fs::create_dir_all(&folder).map_err(io())?;
    let text = format!("#!/bin/sh\n{OWN_HOOK}\nexec {command}\n");
    match write::new_file(&path, 0o755, text.as_bytes()) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if is_own_hook(&path) {
                return write::replace_file(&path, 0o755, text.as_bytes()).map_err(io()).map(|()| path);
            }
            Err(VaultError::HookThere { path: path.display().to_string(), command: command.to_owned() })
        }
        Err(error) => Err(io()(error)),
    }
}

/// Whether a hook holds nothing but what an earlier `--install-hook` wrote.
fn is_own_hook(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let Some(text) = read::text_file(path, read::SMALL).ok().filter(|_| is_file) else { return false };
    let lines: Vec<&str> = text.lines().collect();
    matches!(lines.as_slice(), ["#!/bin/sh", own, run] if *own == OWN_HOOK && run.starts_with("exec "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{Identities, Recipients};

    fn kinds(path: &str, bytes: &[u8], own: bool, scrubber: Option<&Scrubber>) -> Vec<Exposed> {
        inspect(path, bytes, own, scrubber).into_iter().map(|exposure| exposure.exposed).collect()
    }

    #[test]
    fn each_kind_of_exposure_is_found_and_nothing_else() {
        let identities = Identities::generate();
        let sealed = Recipients::parse(identities.recipients()).unwrap().seal(b"a: 1\n").unwrap();
        let identity = identities.to_file_text();
        let mut scrubber = Scrubber::new(None);
        scrubber.register(b"pa\"ss w0rd-of-ours");
        let live = br#"{"x": "pa\"ss w0rd-of-ours"}"#;
        let key = b"-----BEGIN OPENSSH PRIVATE KEY-----\n";
        let values = b"env:\n  TZ: UTC\n  PGPASSWORD: correct-horse-7\n";
        let record = "deployments/a.b/20260820T101500Z-4f2a9c/record.json";
        for (path, bytes, own, expected) in [
            ("values.yaml.age", sealed.as_slice(), true, &[][..]),
            ("values.yaml.age", b"a: 1\n", true, &[Exposed::NotSealed]),
            ("values.yaml.age", &sealed[..60], false, &[Exposed::NotSealed]),
            (record, b"{}", true, &[]),
            (record, live, true, &[Exposed::LiveSecret]),
            ("deployments/a.b/c/values.yaml", b"a: 1\n", true, &[Exposed::Stray]),
            ("notes.txt", b"hello\n", true, &[Exposed::Stray]),
            ("notes.txt", b"hello\n", false, &[]),
            ("README.md", super::super::layout::README.as_bytes(), true, &[]),
            ("README.md", identity.as_bytes(), true, &[Exposed::AgeIdentity]),
            ("id", key, false, &[Exposed::PrivateKey]),
            ("values.yaml", values, false, &[Exposed::Values]),
            ("values.yaml", b"env:\n  PGPASSWORD: ${PGPASSWORD}\n  TZ: UTC\n", false, &[]),
            ("chart/values.yml", b"replicas: 2\n", false, &[]),
            ("values.json", b"{\n\t\"db\": {\"password\": \"correct-horse-7\"}\n}\n", false, &[Exposed::Values]),
            ("values.json", b"{\"db\": {\"password\": \"${PGPASSWORD}\", \"replicas\": 2}}", false, &[]),
            ("package-lock.json", b"{\"integrity\": \"sha512-q3J0eXVpb3Bhc2RmZ2hqa2w0NTY3ODkwMTI=\", \"id\": \"9f86d081884c7d659a2feaa0c55ad015\"}", false, &[]),
            (".env", b"TZ=UTC\nPGPASSWORD=correct-horse-7\n", false, &[Exposed::Values]),
            ("site/prod.env", b"export A_TOKEN=\"correct-horse-7\"\n", false, &[Exposed::Values]),
            (".env.prod", b"X=ghp_0123456789abcdefghij\n", false, &[Exposed::Values]),
            ("prod.env", b"# PGPASSWORD=correct-horse-7\nPGPASSWORD=$PGPASSWORD\nA_TOKEN=\nA_KEY=${KEY}\nTZ=UTC\nno line\n", false, &[]),
            ("sops.yaml", b"db:\n  password: ENC[AES256_GCM,data:p67=,iv:Y=,tag:A=,type:str]\nsops:\n  mac: ENC[AES256_GCM,data:x,type:str]\n  kms:\n    - secret: abcdefghijklmnop\n", false, &[]),
            ("half.yaml", b"db:\n  password: ENC[AES256_GCM,data:p67=,type:str]\n  token: correct-horse-7\n", false, &[Exposed::Values]),
            ("sealed.yaml", b"kind: SealedSecret\nspec:\n  encryptedData:\n    password: AgBy8hCF8ouPwqZ4\n", false, &[]),
            ("sealed.yaml", b"kind: SealedSecret\nspec:\n  template:\n    data:\n      password: correct-horse-7\n", false, &[Exposed::Values]),
            ("external.yaml", b"kind: ExternalSecret\nspec:\n  data:\n    - secretKey: database-password\n      remoteRef: {key: prod/db, property: password-of-db}\n", false, &[]),
            ("two.yaml", b"kind: SealedSecret\nspec: {encryptedData: {password: AgBy8hCF8ouPwqZ4}}\n---\npassword: correct-horse-7\n", false, &[Exposed::Values]),
        ] {
            assert_eq!(kinds(path, bytes, own, Some(&scrubber)), expected, "{path}");
        }
        let found = inspect("values.yaml", values, false, None).remove(0);
        assert_eq!((found.line, found.says.contains("horse")), (Some(3), false));
        let variables = inspect("a.env", b"TZ=UTC\nPGPASSWORD=correct-horse-7\n", false, None).remove(0);
        assert_eq!((variables.line, variables.says.contains("horse")), (Some(2), false));
        let second = inspect("v.yaml", b"a: 1\n---\nb: 2\npassword: correct-horse-7\n", false, None).remove(0);
        assert_eq!(second.line, Some(4), "the line is that of the file");
    }
}
