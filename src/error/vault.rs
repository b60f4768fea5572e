//! What the config vault refuses, for people.

use super::{CommandError, Exit};
use crate::crypt::seal::SealError;
use crate::vault::VaultError;

impl From<VaultError> for CommandError {
    fn from(error: VaultError) -> Self {
        let new = |exit| CommandError::new(exit, error.to_string());
        match &error {
            VaultError::Missing { .. } => {
                new(Exit::Vault).hint("Run `dr init` to make one, or set `[vault] path` in dr.toml to where it is.")
            }
            VaultError::NotOpened { path } => new(Exit::Damaged).hint(format!(
                "Bring it back from its remote or another host: `mv {path} {path}.damaged && git clone -b main REMOTE {path}`."
            )),
            VaultError::Occupied { .. } => {
                new(Exit::Vault).hint("Give an empty folder as `[vault] path` in dr.toml, or move away what is there.")
            }
            VaultError::Foreign { .. } => new(Exit::Vault)
                .hint("Set `[vault] path` in dr.toml to the vault, or to a new folder and run `dr init`."),
            VaultError::Format { .. } => new(Exit::Format).hint("Use the dr that wrote it, or a newer one."),
            VaultError::Git { .. } | VaultError::Io { .. } => with_cause(new(Exit::Vault), error)
                .hint("Look at the owner, permissions and free space of the vault's folder."),
            VaultError::Unread { .. } => with_cause(new(Exit::NotFound), error)
                .hint("Name files, folders or repositories that are there and that you may read."),
            VaultError::NoRepository { path, .. } => {
                let hint = format!("Name a folder of a git repository that is there; `git init {path}` makes one.");
                with_cause(new(Exit::NotFound), error).hint(hint)
            }
            VaultError::Locked { path, holder } => new(Exit::Locked)
                .hint("Wait until the other dr on this host is done. A lock of a dead process does not last.")
                .hint(match holder {
                    Some(pid) => format!("`ps -fp {pid}` shows it; `fuser -v {path}` whoever has it open."),
                    None => format!("`fuser -v {path}` shows who has it open."),
                }),
            VaultError::GitLocked { lock, .. } => new(Exit::Locked)
                .hint(format!("`fuser -v {lock}` and `pgrep -a git` show who may hold it. If nobody does: `rm {lock}`, and the same again.")),
            VaultError::NoBranch { path, branch, from } => new(Exit::Vault).hint(format!(
                "`git -C {path} branch {branch} {from}` makes it again; `dr config verify` then looks at all of it."
            )),
            VaultError::Sign(_) => new(Exit::Keys).hint("`dr doctor` checks `[keys] signing_key` of dr.toml."),
            VaultError::Seal { source: SealError::NoMatch, .. } => with_cause(new(Exit::Keys), error)
                .hint("Set `[keys] identity` in dr.toml to the identity file of a recipient that record.json names.")
                .hint("If this host was let in later, or not yet: `dr doctor` names its key, and what is to be done on which host."),
            VaultError::Seal { source: SealError::Damaged(_), .. } => {
                with_cause(new(Exit::Damaged), error).hint("A clone of the vault elsewhere may have the good file.")
            }
            VaultError::Seal { .. } => with_cause(new(Exit::Keys), error).hint("`dr doctor` checks the keys."),
            VaultError::Layers { .. } => new(Exit::Failure).hint("`helm template` with the same values says the same."),
            VaultError::NotFound { .. } => new(Exit::NotFound).hint("`dr config log` shows what is there."),
            VaultError::Ambiguous { .. } => new(Exit::NotFound).hint("Give more characters of the name."),
            VaultError::Damaged { .. } => new(Exit::Damaged).hint(
                "Run `git fsck` and `git log --show-signature` in the vault; a clone elsewhere may have the good file.",
            ),
            VaultError::Incoming { untrusted: true, .. } => new(Exit::Untrusted).hint(
                "If it is one of your hosts, and its key not revoked, add that (its `signing_key.pub`) to the trusted signers; nothing was taken in.",
            ),
            VaultError::Incoming { .. } => new(Exit::Damaged).hint(
                "Nothing was taken in. Run `dr config verify` on the host that pushed it, and in a fresh clone of the remote.",
            ),
            VaultError::Unbelieved { path, untrusted: true, verified, .. } => {
                let refused = new(Exit::Untrusted)
                    .hint("`dr config verify` shows all of it. If it is one of your hosts, and its key not revoked, add that (its `signing_key.pub`) to the trusted signers.")
                    .hint("If you know that it is right, whoever signed it: `dr config verify --allow-untrusted`.");
                match verified {
                    Some(commit) => refused.hint(format!(
                        "If not, go back to what was verified last: `git -C {path} branch refused && git -C {path} reset --keep {commit}`."
                    )),
                    None => refused,
                }
            }
            VaultError::Unbelieved { .. } => new(Exit::Damaged)
                .hint("`dr config verify` shows all of it; a clone of the vault elsewhere may be good."),
            VaultError::MovedBack { path, commit } => new(Exit::Damaged)
                .hint(format!("If the commit is still there, `git -C {path} merge --ff-only {commit}` brings the branch forward again."))
                .hint("If it is another clone that never had it: `dr config verify` looks at the whole of it, and it is used from then on."),
            VaultError::NewRecipient { key, .. } => new(Exit::Untrusted)
                .hint(format!("Ask whose key it is. If it should be there: `dr config recipients accept {key}`."))
                .hint(format!("If not: `dr config recipients rm {key}`, and find out who let it in (`dr config recipients list`).")),
            VaultError::Conflict { .. } => new(Exit::Vault).hint(
                "Nothing was changed. `dr` never writes a file twice, so one side was changed by hand: `dr config verify` finds which.",
            ),
            VaultError::Unrelated => new(Exit::Vault)
                .hint("Begin with a clone on the second host: `git clone -b main REMOTE FOLDER`, then `dr init --vault FOLDER`."),
            VaultError::NoRemote { path, names } if names.is_empty() => new(Exit::Vault)
                .hint(format!("`git -C {path} remote add origin ADDRESS` names one; an empty bare repository will do.")),
            VaultError::NoRemote { .. } => new(Exit::Vault).hint("Name one: `dr config sync REMOTE`."),
            VaultError::Remote { said, .. } if said.contains("No space left on device") => {
                new(Exit::Space).hint("Free room on the disk of the vault, or of the remote, and give the same command again.")
            }
            VaultError::Remote { said, .. } if said.contains(".lock': File exists") => new(Exit::Locked)
                .hint("`fuser -v` with that file and `pgrep -a git` show who may hold it. If nobody does, remove it."),
            VaultError::Remote { act, .. } => {
                let verb = if act.starts_with("push") { "push" } else { "fetch" };
                new(Exit::Vault).hint(format!(
                    "`dr` uses your own git and its credentials: try the same with `git {verb}` in the vault's folder."
                ))
            }
            VaultError::Exceptions { .. } => new(Exit::Settings)
                .hint("An exception is [[accept]] with path and reason, and expires = 2026-12-31 if it is not for ever."),
            VaultError::HookThere { command, .. } => {
                new(Exit::Vault).hint(format!("Add this line to it by hand: {command}"))
            }
            VaultError::Stopped => new(Exit::Interrupted),
            VaultError::Recipient { .. } => new(Exit::Keys).hint("`dr config recipients list` shows who can open the vault."),
            VaultError::Rewrite { .. } => new(Exit::Vault).hint("`dr config log` shows what was recorded."),
        }
    }
}

fn with_cause(new: CommandError, error: VaultError) -> CommandError {
    match error {
        VaultError::Git { source, .. } | VaultError::NoRepository { source, .. } => new.because(source),
        VaultError::Io { source, .. } | VaultError::Unread { source, .. } => new.because(source),
        VaultError::Seal { source, .. } => new.because(source),
        _ => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_one_whoever_met_it() {
        let io = |kind: std::io::ErrorKind| VaultError::Io { act: "write x".into(), source: kind.into() };
        for error in [
            io(std::io::ErrorKind::StorageFull),
            io(std::io::ErrorKind::QuotaExceeded),
            VaultError::git("write x")(git2::Error::new(
                git2::ErrorCode::GenericError,
                git2::ErrorClass::Filesystem,
                "failed to write: No space left on device",
            )),
            VaultError::Remote {
                act: "fetch from x".into(),
                said: "fatal: write error: No space left on device".into(),
            },
        ] {
            let error = CommandError::from(error);
            assert_eq!(error.exit(), Exit::Space, "{error}");
        }
    }
}
