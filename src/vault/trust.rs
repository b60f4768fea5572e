//! What a vault must show before anything of it is used: that every commit since the last one that was verified here is
//! signed by somebody trusted and only adds.
//!
//! What was verified is remembered in the state folder, outside of what somebody may write who can only push to the vault.
//! It is bound to the repository and to the files that say whom to trust: with other ones the whole history is verified
//! again. A crash, or a state folder that cannot be written, costs the next reader the same work once more.

use std::collections::HashSet;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use git2::Oid;
use serde::{Deserialize, Serialize};

use super::error::VaultError;
use super::files::digest;
use super::git::Git;
use super::verify::flaws::{Flaw, FlawSeverity, VaultFinding};
use super::verify::range::{self, Believed};
use crate::crypt::TrustedSigners;
use crate::ownership::{FileUse, others_can};
use crate::read;

/// Whose commits are believed, to whom may be sealed, and what was verified already.
pub struct VaultTrust {
    trusted: TrustedSigners,
    /// The public keys that this host's settings name.
    own: Vec<String>,
    memory: PathBuf,
    /// Verified by this process.
    seen: Mutex<Option<Oid>>,
}

/// What this host remembers of a vault.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct VaultMemory {
    repository: String,
    /// Digest of those who were trusted.
    signers: String,
    /// The last commit that was verified.
    verified: Option<String>,
    /// Who signed this commit and those behind it does not matter: a person has said so.
    #[serde(default)]
    accepted: Option<String>,
    /// Recipients that no settings name and that a person has accepted.
    #[serde(default)]
    recipients: Vec<String>,
}

impl VaultMemory {
    fn verified(&self) -> Option<Oid> {
        self.verified.as_deref().and_then(|id| Oid::from_str(id).ok())
    }
}

impl VaultTrust {
    /// For the vault at `vault`; what is remembered of it goes below `state`.
    pub fn new(trusted: TrustedSigners, own: Vec<String>, vault: &Path, state: &Path) -> Self {
        // One that is gone has the name that it had.
        let gone = || Some(vault.parent()?.canonicalize().ok()?.join(vault.file_name()?));
        let path = vault.canonicalize().ok().or_else(gone).unwrap_or_else(|| vault.to_owned());
        let name = &digest(path.as_os_str().as_encoded_bytes())[..16];
        Self { trusted, own, memory: state.join("vaults").join(format!("{name}.json")), seen: Mutex::default() }
    }

    /// Refuses to begin a vault where one was and is gone: two that began apart are never one again.
    ///
    /// # Errors
    /// `Gone`.
    pub fn refuse_lost(&self, vault: &Path) -> Result<(), VaultError> {
        let Some(commit) = self.remembered().verified.filter(|_| !vault.join(".git").exists()) else { return Ok(()) };
        let (path, memory) = (vault.display().to_string(), self.memory.display().to_string());
        Err(VaultError::Gone { path, commit, memory })
    }

    pub(super) fn signers(&self) -> &TrustedSigners {
        &self.trusted
    }

    /// The last commit that this host had verified, whomever it trusted then.
    pub(super) fn verified(&self) -> Option<Oid> {
        self.remembered().verified()
    }

    /// Verifies what is new, and gives the commit that may be read from then on.
    pub(super) fn verified_tip(&self, git: &Git) -> Result<Option<Oid>, VaultError> {
        let Some(tip) = git.head_id()? else { return Ok(None) };
        if *self.seen() == Some(tip) {
            return Ok(Some(tip));
        }
        let mut memory = self.remembered();
        let known = memory.verified();
        if let Some(known) = known
            && !is_behind(git, known, tip)
        {
            let has_object = git.repo().find_commit(known).is_ok();
            let (path, commit) = (git.path().display().to_string(), known.to_string());
            return Err(VaultError::MovedBack { path, commit, has_object });
        }
        let signers = self.trusted.digest().to_owned();
        let base = known.filter(|_| memory.signers == signers);
        if base != Some(tip) {
            // What could not be seen is looked for again the next time.
            if self.verify(git, base, tip, &memory)? {
                memory.signers = signers;
                memory.verified = Some(tip.to_string());
                self.remember(git, memory);
            }
        }
        *self.seen() = Some(tip);
        Ok(Some(tip))
    }

    /// Whether all of it could be seen. A deployment that is damaged is refused where it is read, and takes no other one
    /// along.
    fn verify(&self, git: &Git, base: Option<Oid>, tip: Oid, memory: &VaultMemory) -> Result<bool, VaultError> {
        let accepted = match memory.accepted.as_deref().and_then(|id| Oid::from_str(id).ok()) {
            Some(accepted) => git.objects()?.ancestors(accepted, |_| false).unwrap_or_default(),
            None => HashSet::new(),
        };
        let let_in = |finding: &VaultFinding| {
            let commit = finding.commit.as_deref().and_then(|id| Oid::from_str(id).ok());
            commit.is_some_and(|commit| accepted.contains(&commit))
        };
        let believed = Believed { trusted: &self.trusted, seen: memory.verified(), let_in: &let_in };
        let found = range::since(git, base, tip, &believed)?;
        let whole = !found.findings.iter().any(VaultFinding::is_a_lost_part);
        let mut refused = found
            .findings
            .iter()
            .filter(|finding| !finding.is_a_lost_part())
            .filter(|finding| finding.flaw.severity() != FlawSeverity::Untrusted || !let_in(finding));
        let Some(first) = refused.next() else { return Ok(whole) };
        if let Some(error) = first.unread() {
            return Err(error);
        }
        if first.flaw == Flaw::Shallow {
            return Err(VaultError::Shallow { path: git.path().display().to_string() });
        }
        Err(VaultError::Unbelieved {
            path: git.path().display().to_string(),
            first: format!("{} {}", first.what, first.says),
            count: refused.count() + 1,
            untrusted: first.flaw.severity() == FlawSeverity::Untrusted,
            verified: base.map(|base| base.to_string()),
            signers: first.flaw.names_a_key().then(|| self.trusted.file().to_owned()),
        })
    }

    /// Notes a commit that was verified by other means. With `accepted`, a person has
    /// said that it does not matter who signed it or what lies behind it.
    pub(super) fn note(&self, git: &Git, tip: Oid, accepted: bool) {
        let mut memory = self.remembered();
        memory.signers = self.trusted.digest().to_owned();
        memory.verified = Some(tip.to_string());
        if accepted {
            memory.accepted = memory.verified.clone();
        }
        self.remember(git, memory);
        *self.seen() = Some(tip);
    }

    /// Notes a commit that was made here upon `before`, which was believed; not where a part of that could not be seen: then
    /// it is looked for again the next time.
    pub(super) fn note_upon(&self, git: &Git, before: Option<Oid>, tip: Oid) {
        let memory = self.remembered();
        let is_whole = before.is_none() || (memory.verified() == before && memory.signers == self.trusted.digest());
        if is_whole {
            self.note(git, tip, false);
        } else {
            *self.seen() = Some(tip);
        }
    }

    /// Whether a person has said on this host that this key may open what is recorded.
    pub(super) fn knows_recipient(&self, key: &str) -> bool {
        self.own.iter().chain(&self.remembered().recipients).any(|known| known == key)
    }

    /// Remembers that a person has said so.
    pub(super) fn accept_recipient(&self, git: &Git, key: &str) -> Result<(), VaultError> {
        let mut memory = self.remembered();
        memory.recipients.push(key.to_owned());
        let act = format!("remember in {} that {key} may open the vault", self.memory.display());
        self.write(git, memory).map_err(VaultError::io(act))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<Oid>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What cannot be read, or what others could have written, is as if nothing had been verified yet.
    fn remembered(&self) -> VaultMemory {
        if !matches!(others_can(&self.memory, FileUse::Trust), Ok(None)) {
            return VaultMemory::default();
        }
        let text = read::file(&self.memory, read::SMALL).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// What cannot be written is verified again the next time.
    fn remember(&self, git: &Git, memory: VaultMemory) {
        let _ = self.write(git, memory);
    }

    fn write(&self, git: &Git, mut memory: VaultMemory) -> io::Result<()> {
        memory.repository = git.path().display().to_string();
        let text = serde_json::to_vec_pretty(&memory)?;
        let folder = crate::write::folder(&self.memory);
        // Whatever the umask is, nobody else may put another memory in its place.
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::set_permissions(folder, Permissions::from_mode(0o700)))
            .and_then(|()| tempfile::NamedTempFile::new_in(folder))
            .and_then(|file| std::fs::write(file.path(), text).map(|()| file))
            .and_then(|file| file.persist(&self.memory).map(drop).map_err(|error| error.error))
    }
}

/// Whether `early` is `late` or lies behind it.
fn is_behind(git: &Git, early: Oid, late: Oid) -> bool {
    git.is_behind(early, late).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_that_others_could_have_written_tells_nothing() {
        let state = tempfile::tempdir().unwrap();
        let trust = VaultTrust::new(TrustedSigners::default(), Vec::new(), Path::new("/v"), state.path());
        let folder = trust.memory.parent().unwrap().to_owned();
        std::fs::create_dir(&folder).unwrap();
        let memory = VaultMemory { recipients: vec!["age1other".into()], ..VaultMemory::default() };
        std::fs::write(&trust.memory, serde_json::to_vec(&memory).unwrap()).unwrap();
        let open_to_others = |file, of_folder| {
            std::fs::set_permissions(&trust.memory, Permissions::from_mode(file)).unwrap();
            std::fs::set_permissions(&folder, Permissions::from_mode(of_folder)).unwrap();
            trust.knows_recipient("age1other")
        };
        assert!(open_to_others(0o600, 0o700));
        assert!(!open_to_others(0o666, 0o700) && !open_to_others(0o600, 0o777));
    }

    /// A vault as a host sees it that has never verified it, after `harm` was done to a deployment's part.
    #[test]
    fn what_is_damaged_of_one_deployment_takes_no_other_along_on_a_host_that_verifies_it_first() {
        use crate::vault::tests::{fixture, intent};
        for part in ["record.json", "outcome.json", "values.yaml.age", ""] {
            for is_broken in [false, true] {
                let f = fixture();
                let ids = ["2026-08-20", "2026-08-21", "2026-08-22"].map(|day| {
                    let at = format!("{day}T10:00:00Z");
                    let id = f.vault.record_intent(intent(&at, "2026-08-20"), day.as_bytes(), None).unwrap();
                    let status = crate::vault::DeploymentStatus::Deployed;
                    f.vault.record_outcome(crate::vault::tests::outcome(&id, &at, status, 1), "ops@host").unwrap();
                    id
                });
                let git = Git::open(f.vault.path()).unwrap();
                let root = git.repo().find_tree(git.tree_id().unwrap().unwrap()).unwrap();
                let place = format!("deployments/opschain.opschain/{}/{part}", ids[1]);
                let id = root.get_path(Path::new(place.trim_end_matches('/'))).unwrap().id().to_string();
                let file = f.vault.path().join(".git/objects").join(&id[..2]).join(&id[2..]);
                std::fs::remove_file(&file).unwrap();
                if is_broken {
                    std::fs::write(&file, b"x").unwrap();
                }
                let _ = std::fs::remove_file(f.vault.path().join(".git/dr/records"));
                let line = format!("ops@host namespaces=\"git\" {}", f.key.public_key().to_openssh().unwrap());
                let state = tempfile::tempdir().unwrap();
                let trusted = || TrustedSigners::parse(&line, "test");
                let trust = |signers| VaultTrust::new(signers, Vec::new(), f.vault.path(), state.path());
                let vault = crate::vault::Vault { cache: Default::default(), ..f.vault.clone() };
                let all = vault.clone().trusting(trust(trusted())).survey().unwrap();
                let expected = if part == "values.yaml.age" { 3 } else { 2 };
                assert_eq!((all.deployments.len(), all.unread.len()), (expected, 3 - expected), "{part} {is_broken}");
                assert!(trust(trusted()).remembered().verified.is_none(), "what was not seen is looked for again");
                let nobody = vault.trusting(trust(TrustedSigners::default())).survey().unwrap_err();
                assert!(matches!(nobody, VaultError::Unbelieved { untrusted: true, .. }), "{nobody}");
            }
        }
    }
}
