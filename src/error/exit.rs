//! The exit codes: documented constants, listed in `docs/reference/exit-codes.md`.

/// Why the program ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Success = 0,
    /// It failed in a way that has no code of its own.
    Failure = 1,
    /// `config diff`: the two differ. `config lint`: something was found.
    Changed = 2,
    /// `doctor` found something that must be mended first.
    Unready = 3,
    /// `config check` found something secret in the clear.
    Exposed = 5,
    /// The settings file is missing, unreadable or wrong.
    Settings = 10,
    /// Helm is missing, too old, or failed.
    Helm = 11,
    /// The cluster cannot be reached, or does not allow what is needed.
    Cluster = 12,
    /// The database operator is missing or not ready.
    Operator = 13,
    /// There is no such install, deployment, bundle or run.
    NotFound = 14,
    /// No key at hand opens this, or keys are missing.
    Keys = 15,
    /// The bundle or record is not signed by somebody trusted.
    Untrusted = 16,
    /// Stored bytes are not what was written: a bundle, record or journal is damaged.
    Damaged = 17,
    /// The format is newer than this program.
    Format = 18,
    /// The version gate refuses: the target version does not fit the bundle.
    Version = 19,
    /// The target namespace or volume is not empty.
    NotEmpty = 20,
    /// Not the primary of the primary database cluster.
    Replica = 21,
    /// Changes, steps or agents are at work.
    Busy = 22,
    /// Not enough room on a disk or volume.
    Space = 23,
    /// Another run holds the install or the vault.
    Locked = 24,
    /// The run cannot be resumed, and the reason is named.
    Resume = 25,
    /// The change would make stored data unreadable.
    Guard = 26,
    /// A question had to be asked and there was nobody to answer.
    Unconfirmed = 27,
    /// The config vault is missing or refuses.
    Vault = 28,
    /// The store is missing or refuses.
    Store = 29,
    /// A stream to or from the cluster broke and could not be taken up again.
    Stream = 30,
    /// The database is not the one that it should be.
    Identity = 31,
    /// Something did not happen in the time allowed.
    Timeout = 32,
    /// The live install is not what the vault says.
    Drift = 33,
    /// The arguments make no sense.
    Usage = 64,
    /// A fault of the program itself.
    Panic = 70,
    /// Ctrl-C.
    Interrupted = 130,
    /// TERM.
    Terminated = 143,
}

impl Exit {
    /// Every exit code with its name and meaning, in order: what the reference page and the test of it go by.
    pub const ALL: &'static [(Exit, &'static str, &'static str)] = &[
        (Exit::Success, "success", "it did what was asked"),
        (Exit::Failure, "failure", "it failed in a way that has no code of its own"),
        (
            Exit::Changed,
            "changed",
            "`config diff`, `config parity`: the two differ; `config lint`: something was found",
        ),
        (Exit::Unready, "unready", "`doctor` found something that must be mended first"),
        (Exit::Exposed, "exposed", "`config check` found something in the clear that should not be"),
        (Exit::Settings, "settings", "the settings file is missing, unreadable or wrong"),
        (Exit::Helm, "helm", "helm is missing, too old, or failed"),
        (Exit::Cluster, "cluster", "the cluster cannot be reached, or does not allow what is needed"),
        (Exit::Operator, "operator", "the database operator is missing or not ready"),
        (Exit::NotFound, "not-found", "there is no such install, deployment, bundle or run"),
        (Exit::Keys, "keys", "no key at hand opens this, or keys are missing"),
        (Exit::Untrusted, "untrusted", "not signed by somebody trusted"),
        (Exit::Damaged, "damaged", "stored bytes are not what was written"),
        (Exit::Format, "format", "the format is newer than this program"),
        (Exit::Version, "version", "the target version does not fit the bundle"),
        (Exit::NotEmpty, "not-empty", "the target namespace or volume is not empty"),
        (Exit::Replica, "replica", "not the primary of the primary database cluster"),
        (Exit::Busy, "busy", "changes, steps or agents are at work"),
        (Exit::Space, "space", "not enough room on a disk or volume"),
        (Exit::Locked, "locked", "another run holds the install or the vault"),
        (Exit::Resume, "resume", "the run cannot be resumed; the reason is named"),
        (Exit::Guard, "guard", "the change would make stored data unreadable"),
        (Exit::Unconfirmed, "unconfirmed", "a question had to be asked and there was nobody to answer"),
        (Exit::Vault, "vault", "the config vault is missing or refuses"),
        (Exit::Store, "store", "the store is missing or refuses"),
        (Exit::Stream, "stream", "a stream to or from the cluster broke for good"),
        (Exit::Identity, "identity", "the database is not the one that it should be"),
        (Exit::Timeout, "timeout", "something did not happen in the time allowed"),
        (Exit::Drift, "drift", "the live install is not what the vault says"),
        (Exit::Usage, "usage", "the arguments make no sense"),
        (Exit::Panic, "panic", "a fault of `dr` itself; what was begun is put back or resumed by the next `dr`"),
        (Exit::Interrupted, "interrupted", "Ctrl-C"),
        (Exit::Terminated, "terminated", "the TERM signal"),
    ];

    /// The number that the program ends with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The code's name, as JSON output gives it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(exit, ..)| *exit == self).map_or("failure", |(_, name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|(exit, ..)| exit.code()).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
    }

    #[test]
    fn the_reference_page_lists_every_code() {
        let page = include_str!("../../docs/reference/exit-codes.md");
        for (exit, name, meaning) in Exit::ALL {
            let row = format!("| {} | `{name}` | {meaning} |", exit.code());
            assert!(page.contains(&row), "docs/reference/exit-codes.md lacks: {row}");
        }
    }
}
