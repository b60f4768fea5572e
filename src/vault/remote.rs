//! The remote of a vault: the user's own `git` fetches and pushes, with the user's own credentials.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::error::VaultError;
use super::git::{BRANCH, BRANCH_NAME, Git};
use super::handle::Vault;
use super::merge::{TakeInRequest, TakenIn};
use crate::redact::MASK;
use crate::trace::{self, CallKind};

/// Variables by which a surrounding git (a hook, say) would send ours to another repository.
const ELSEWHERE: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
];

/// What became of a push.
#[derive(Debug)]
pub enum Pushed {
    /// The remote has everything now.
    Done,
    /// It had everything already.
    Nothing,
    /// Rejected, as when somebody else has pushed: fetch and merge again. Where nothing new is there then, the error is why.
    Raced(VaultError),
}

/// A remote of the vault.
#[derive(Debug)]
pub struct Remote<'v> {
    vault: &'v Vault,
    /// A remote's name, or an address.
    name: String,
    /// Where what was fetched is kept.
    tracking: String,
    /// Whether git may ask the person.
    ask: bool,
    cancel: CancellationToken,
}

impl Vault {
    /// The remote that `given` names: one of git's names, an address, or a folder, as seen from the working folder; without
    /// it `origin`, or the only one there is.
    ///
    /// # Errors
    /// `NoRemote` when none is named and there is none, or there are several.
    pub fn remote(&self, given: Option<&str>, ask: bool, cancel: &CancellationToken) -> Result<Remote<'_>, VaultError> {
        let git = Git::open(&self.path)?;
        let names: Vec<String> = git
            .repo()
            .remotes()
            .map_err(VaultError::git("list the vault's remotes"))?
            .iter()
            .filter_map(|name| name.ok().flatten().map(str::to_owned))
            .collect();
        let none = || VaultError::NoRemote { path: self.path.display().to_string(), names: names.clone() };
        let name = match given {
            Some(name) if name.starts_with('-') || name.is_empty() => return Err(none()),
            Some(name) if !names.iter().any(|known| known == name) => of_folder(name),
            Some(name) => name.to_owned(),
            None if names.iter().any(|name| name == "origin") => "origin".to_owned(),
            None => match names.as_slice() {
                [only] => only.clone(),
                _ => return Err(none()),
            },
        };
        let tracking = if names.contains(&name) {
            format!("refs/remotes/{name}/main")
        } else {
            format!("refs/dr/remotes/{}", &hex::encode(Sha256::digest(&name))[..16])
        };
        Ok(Remote { vault: self, name, tracking, ask, cancel: cancel.clone() })
    }
}

impl Remote<'_> {
    /// Its name or address, without a password.
    pub fn shown(&self) -> String {
        without_passwords(&self.name)
    }

    /// Fetches the remote's branch. False when the remote has none yet. Also says whether the remote lost what it had
    /// when it was last looked at.
    ///
    /// # Errors
    /// `Remote` with what git said.
    pub async fn fetch(&self) -> Result<Fetched, VaultError> {
        let before = Git::open(&self.vault.path)?.reference(&self.tracking)?;
        let refspec = format!("+{BRANCH}:{}", self.tracking);
        // What is large goes to the disk as it comes.
        let large = "core.bigFileThreshold=16m";
        let args =
            ["-c", "fetch.fsckObjects=true", "-c", large, "fetch", "--quiet", "--no-tags", "--", &self.name, &refspec];
        let said = self.git("fetch from", &args).await?;
        // git says: `fatal: couldn't find remote ref refs/heads/main`
        let empty = !said.success && said.stderr.contains("couldn't find remote ref");
        if !said.success && !empty {
            return Err(self.failed("fetch from", &said.stderr));
        }
        let git = Git::open(&self.vault.path)?;
        let now = if empty { None } else { git.reference(&self.tracking)? };
        let moved_back = match (before, now) {
            (Some(before), Some(now)) => !git.is_behind(before, now).unwrap_or(false),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if empty && before.is_some() {
            git.forget(&self.tracking)?;
        }
        Ok(Fetched { empty, moved_back })
    }

    /// Verifies what was fetched, and brings it in.
    ///
    /// # Errors
    /// Those of the verification and the merge.
    pub fn take_in(&self, request: &TakeInRequest<'_>) -> Result<TakenIn, VaultError> {
        self.vault.take_in(&self.tracking, request).map_err(|error| match error {
            VaultError::Unrelated { path, has_deployments, .. } => {
                VaultError::Unrelated { path, has_deployments, remote: self.address() }
            }
            other => other,
        })
    }

    /// Its address, as a command may name it.
    fn address(&self) -> String {
        let configured = || {
            let git = Git::open(&self.vault.path).ok()?;
            Some(git.repo().find_remote(&self.name).ok()?.url().ok()?.to_owned())
        };
        let address = configured().unwrap_or_else(|| self.name.clone());
        if without_passwords(&address) == address { address } else { "REMOTE".to_owned() }
    }

    /// How many commits the branch has that the remote had when it was fetched last has not.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn ahead(&self) -> Result<usize, VaultError> {
        let git = Git::open(&self.vault.path)?;
        let Some(ours) = git.head_id()? else { return Ok(0) };
        let objects = git.objects()?;
        let all = objects.ancestors(ours, |_| false)?;
        let Some(theirs) = git.reference(&self.tracking)? else { return Ok(all.len()) };
        Ok(all.difference(&objects.ancestors(theirs, |_| false)?).count())
    }

    /// Pushes the branch, never by force.
    ///
    /// # Errors
    /// `Remote` with what git said.
    pub async fn push(&self) -> Result<Pushed, VaultError> {
        if self.ahead()? == 0 {
            return Ok(Pushed::Nothing);
        }
        let refspec = format!("{BRANCH}:{BRANCH}");
        let said = self.git("push to", &["push", "--porcelain", "--quiet", "--", &self.name, &refspec]).await?;
        if said.success {
            let git = Git::open(&self.vault.path)?;
            if let Some(ours) = git.head_id()? {
                git.track(&self.tracking, ours)?;
            }
            return Ok(Pushed::Done);
        }
        let why = said.stdout.lines().filter(|line| line.starts_with('!')).collect::<Vec<_>>().join("\n");
        let refused = self.failed("push to", &format!("{why}\n{}", said.stderr));
        match said.stdout.lines().chain(said.stderr.lines()).any(is_race) {
            true => Ok(Pushed::Raced(refused)),
            false => Err(refused),
        }
    }

    fn failed(&self, act: &str, said: &str) -> VaultError {
        let said: Vec<String> =
            said.lines().map(str::trim).filter(|line| !line.is_empty()).map(without_passwords).collect();
        let name = if self.shown() == self.name { self.name.as_str() } else { "REMOTE" };
        let verb = act.split(' ').next().unwrap_or_default();
        let same = format!("git -C {} {verb} {name} {BRANCH_NAME}", self.vault.path.display());
        VaultError::Remote { act: format!("{act} {}", self.shown()), said: said.join("; "), same }
    }

    async fn git(&self, act: &str, args: &[&str]) -> Result<Said, VaultError> {
        let judge = |said: &Said| (!said.success).then(|| without_passwords(said.stderr.trim()));
        trace::call_judged(CallKind::Git, format!("{act} {}", self.shown()), self.run_git(args), judge).await
    }

    /// Runs git in the vault.
    async fn run_git(&self, args: &[&str]) -> Result<Said, VaultError> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.vault.path).args(args);
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        // What is read of git's words is English.
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.ask {
            command.env("GIT_TERMINAL_PROMPT", "0").env("SSH_ASKPASS_REQUIRE", "never").env_remove("GIT_ASKPASS");
            command.env("GIT_SSH_COMMAND", format!("{} -oBatchMode=yes", self.ssh_command()));
        }
        command.kill_on_drop(true);
        let start = |source| VaultError::Io { act: "run git, which sync needs".into(), source };
        let child = command.spawn().map_err(start)?;
        let output = tokio::select! {
            output = child.wait_with_output() => output.map_err(start)?,
            () = self.cancel.cancelled() => return Err(VaultError::Stopped),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// What the user has set, since ours takes its place.
    fn ssh_command(&self) -> String {
        let configured = || {
            let git = Git::open(&self.vault.path).ok()?;
            git.repo().config().ok()?.get_string("core.sshCommand").ok()
        };
        std::env::var("GIT_SSH_COMMAND").ok().or_else(configured).unwrap_or_else(|| "ssh".to_owned())
    }
}

/// A folder of this host by its whole path: git itself would look for it from the vault on. What is none is an address.
fn of_folder(name: &str) -> String {
    let path = Path::new(name);
    let whole = path.is_dir().then(|| path.canonicalize().ok()).flatten();
    whole.map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

/// What a fetch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// The remote has no branch yet.
    pub empty: bool,
    /// The remote's branch does not have what it had when it was looked at last.
    pub moved_back: bool,
}

struct Said {
    success: bool,
    stdout: String,
    stderr: String,
}

/// Whether a line of `git push --porcelain` says that the branch had moved meanwhile, in one of its ways:
/// `!\trefs/heads/main:refs/heads/main\t[rejected] (fetch first)`, `... (non-fast-forward)`, or, when two pushes meet at
/// the other side, `... [remote rejected] (incorrect old value provided)`, `(cannot lock ref ...)`,
/// `(failed to update ref)`, `(reference already exists)`.
fn is_race(line: &str) -> bool {
    let Some(reason) = line.strip_prefix('!') else { return false };
    [
        "(fetch first)",
        "(non-fast-forward)",
        "(incorrect old value",
        "cannot lock ref",
        "(failed to update ref",
        "already exists",
    ]
    .iter()
    .any(|word| reason.contains(word))
}

/// The text with the password of each address masked: `https://me:••••••••@host/`.
fn without_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let authority = after.find(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace()).unwrap_or(after.len());
        // A password may itself hold an `@`: the last one ends it.
        match after[..authority].rfind('@') {
            Some(end) => {
                let user = after[..end].split(':').next().unwrap_or_default();
                // A user without a password may be a token.
                let shown = if after[..end].contains(':') { user } else { "" };
                out.push_str(shown);
                if !shown.is_empty() {
                    out.push(':');
                }
                out.push_str(MASK);
                rest = &after[end..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

/// Where a repository keeps what it runs before a commit.
pub(super) fn hooks(path: &Path) -> Result<PathBuf, VaultError> {
    let repo = git2::Repository::discover(path)
        .map_err(|source| VaultError::NoRepository { path: path.display().to_string(), source })?;
    let configured = repo.config().ok().and_then(|config| config.get_path("core.hooksPath").ok());
    Ok(match configured {
        Some(hooks) if hooks.is_absolute() => hooks,
        Some(hooks) => repo.workdir().unwrap_or_else(|| repo.path()).join(hooks),
        None => repo.commondir().join("hooks"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_of_addresses_are_never_shown() {
        for (text, shown) in [
            ("https://me:hunter22@host/x.git", "https://me:••••••••@host/x.git"),
            ("https://ghp_token@host/x", "https://••••••••@host/x"),
            (
                "fatal: 'https://me:p@ss:w@host:8443/x/' not found",
                "fatal: 'https://me:••••••••@host:8443/x/' not found",
            ),
            ("a https://u:p@h b ssh://git@h/x", "a https://u:••••••••@h b ssh://••••••••@h/x"),
            ("git@host:x.git and https://host/a@b", "git@host:x.git and https://host/a@b"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn a_push_that_lost_a_race_is_told_from_one_that_is_refused() {
        for line in [
            "!\trefs/heads/main:refs/heads/main\t[rejected] (fetch first)",
            "!\trefs/heads/main:refs/heads/main\t[rejected] (non-fast-forward)",
            "!\trefs/heads/main:refs/heads/main\t[remote rejected] (incorrect old value provided)",
            "!\trefs/heads/main:refs/heads/main\t[remote rejected] (cannot lock ref 'refs/heads/main': is at 1)",
        ] {
            assert!(is_race(line), "{line}");
        }
        assert!(!is_race("!\trefs/heads/main:refs/heads/main\t[remote rejected] (pre-receive hook declined)"));
        assert!(!is_race("=\trefs/heads/main:refs/heads/main\t[up to date]"));
    }
}
