//! What the config vault refuses, for people.

use super::crypt::trust_command;
use super::{CommandError, Exit};
use crate::crypt::seal::SealError;
use crate::vault::VaultError;

impl From<VaultError> for CommandError {
    fn from(error: VaultError) -> Self {
        let new = |exit| CommandError::new(exit, error.to_string());
        match &error {
            VaultError::Missing { path } => new(Exit::Vault)
                .hint(format!("Where another host has it, or its remote: `git clone -b main REMOTE {path}`, then `dr init`."))
                .hint("The first one is made by `dr init`; where one lies elsewhere, `[vault] path` in dr.toml says."),
            VaultError::Gone { path, memory, .. } => new(Exit::Vault)
                .hint(format!("Bring it back from its remote or another host: `git clone -b main REMOTE {path}`; then the same again."))
                .hint(format!("If no copy of it is left anywhere: `rm {memory}`, and the same again begins an empty one.")),
            VaultError::NotOpened { path } => new(Exit::Damaged).hint(format!(
                "Bring it back from its remote or another host: `mv {path} {path}.damaged && git clone -b main REMOTE {path}`."
            )),
            VaultError::Occupied { .. } => {
                new(Exit::Vault).hint("Give an empty folder as `[vault] path` in dr.toml, or move away what is there.")
            }
            VaultError::Foreign { .. } => new(Exit::Vault)
                .hint("Set `[vault] path` in dr.toml to the vault, or to a new folder and run `dr init`."),
            VaultError::HeaderGone { path, back, .. } => new(Exit::Damaged).hint(format!(
                "All of it is there. To go back to before that: `git -C {path} branch refused && git -C {path} reset --keep {back}`."
            )),
            VaultError::NoFolder { path } => new(Exit::Vault).hint(format!(
                "Set `[vault] path` in dr.toml to the vault's folder; or move the file away: `mv {path} {path}.file`, then `git clone -b main REMOTE {path}`, or `dr init` for the first one."
            )),
            VaultError::Shallow { path } => {
                new(Exit::Damaged).hint(format!("`git -C {path} fetch --unshallow` brings them."))
            }
            VaultError::Format { .. } => new(Exit::Format).hint("Use the dr that wrote it, or a newer one."),
            VaultError::Git { source, .. } if matches!(source.class(), git2::ErrorClass::Repository) => {
                with_cause(new(Exit::Vault), error).hint(
                    "The repository is of a kind that dr does not read; `git -C VAULT config --local --list` shows its settings (extensions.*).",
                ).hint("A clone of the vault has none of these, as long as nobody asks for them: `git clone -b main REMOTE VAULT`.")
            }
            VaultError::Git { source, .. }
                if source.class() == git2::ErrorClass::Config && source.code() != git2::ErrorCode::Owner =>
            {
                with_cause(new(Exit::Vault), error).hint(
                    "git cannot read the settings of this repository, or of you: `git -C VAULT config --list` names the file and line.",
                )
            }
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
                .hint("If this host was let in later, or not yet: `dr doctor` names its key, and what is to be done on which host.")
                .hint("If no host is left that opens it, the escrow key does: `dr config cat live --identity ESCROW.txt`; `dr doctor` says how it lets this host in."),
            VaultError::Seal { source: SealError::Damaged(_), .. } => {
                with_cause(new(Exit::Damaged), error).hint("A clone of the vault elsewhere may have the good file.")
            }
            VaultError::Seal { .. } => with_cause(new(Exit::Keys), error).hint("`dr doctor` checks the keys."),
            VaultError::Layers { .. } => new(Exit::Failure).hint("`helm template` with the same values says the same."),
            VaultError::NotFound { .. } => new(Exit::NotFound).hint("`dr config log` shows what is there."),
            VaultError::Ambiguous { .. } => new(Exit::NotFound).hint("Give more characters of the name."),
            // Without it, verify sees no more either.
            VaultError::Damaged { what, .. } if what == "the newest commit" => {
                new(Exit::Damaged).hint("A clone of the vault elsewhere may have what is missing.")
            }
            VaultError::Damaged { .. } => new(Exit::Damaged)
                .hint("`dr config verify` names all that is wrong; a clone of the vault elsewhere may have the good file."),
            VaultError::Incoming { untrusted: true, signers, .. } => new(Exit::Untrusted).hint(match signers {
                Some(signers) => format!(
                    "Nothing was taken in. If it is one of your hosts, and its key not revoked: {}.",
                    trust_command(signers)
                ),
                None => "Nothing was taken in. `dr config verify` on the host that pushed it shows all of it.".to_owned(),
            }),
            VaultError::Incoming { .. } => new(Exit::Damaged).hint(
                "Nothing was taken in. Run `dr config verify` on the host that pushed it, and in a fresh clone of the remote.",
            ),
            VaultError::Unbelieved { path, untrusted: true, verified, signers, .. } => {
                let trust = signers.as_ref().map_or_else(String::new, |signers| {
                    format!(" If it is one of your hosts, and its key not revoked: {}.", trust_command(signers))
                });
                let refused = new(Exit::Untrusted)
                    .hint(format!("`dr config verify` shows all of it.{trust}"))
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
            VaultError::MovedBack { path, commit, has_object } => match has_object {
                true => new(Exit::Damaged)
                    .hint(format!("`git -C {path} merge --ff-only {commit}` brings the branch forward again."))
                    .hint("If it is to stay as it is: `dr config verify` looks at the whole of it, and it is used from then on."),
                false => new(Exit::Damaged)
                    .hint("If it is the right one, such as a new clone of its remote: `dr config verify` looks at the whole of it, and it is used from then on.")
                    .hint(format!("If not, bring back the one of before: `mv {path} {path}.other && git clone -b main REMOTE {path}`.")),
            },
            VaultError::NewRecipients { new: keys } => {
                let (first, keys) = (&keys[0].1, keys.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(" "));
                new(Exit::Untrusted)
                    .hint(format!("Ask whose it is. What should be there: `dr config recipients accept {keys}`."))
                    .hint(format!("What should not: `dr config recipients rm {first}`, and find out who let it in (`dr config recipients list`)."))
            }
            VaultError::Conflict { .. } => new(Exit::Vault).hint(
                "Nothing was changed. `dr` never writes a file twice, so one side was changed by hand: `dr config verify` finds which.",
            ),
            VaultError::Unrelated { path, remote, has_deployments } => {
                let replace = format!("`mv {path} {path}.own && git clone -b main {remote} {path} && dr config verify`");
                new(Exit::Vault).hint(match has_deployments {
                    false => format!("Nothing is recorded in the one of this host: {replace} puts the other in its place."),
                    true => format!(
                        "To use the other one here, take out first what only this one has (`dr config log`, `dr config cat ID > FILE`). Then {replace}, and `dr config record FILE --at TIME` for each."
                    ),
                })
            }
            VaultError::NoRemote { path, names } if names.is_empty() => new(Exit::Vault)
                .hint(format!("`git -C {path} remote add origin ADDRESS` names one; an empty bare repository will do.")),
            VaultError::NoRemote { .. } => new(Exit::Vault).hint("Name one: `dr config sync REMOTE`."),
            VaultError::Remote { said, .. } if said.contains("No space left on device") => {
                new(Exit::Space).hint("Free room on the disk of the vault, or of the remote, and give the same command again.")
            }
            VaultError::Remote { said, .. } if said.contains(".lock': File exists") => new(Exit::Locked)
                .hint("`fuser -v` with that file and `pgrep -a git` show who may hold it. If nobody does, remove it."),
            VaultError::Remote { same, .. } => new(Exit::Vault)
                .hint(format!("`dr` uses your own git and its credentials: try the same with `{same}`.")),
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
                same: "git fetch x".into(),
            },
        ] {
            let error = CommandError::from(error);
            assert_eq!(error.exit(), Exit::Space, "{error}");
        }
    }
}
