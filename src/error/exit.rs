//! The exit codes: documented constants, listed in `docs/reference/exit-codes.md`.

/// Makes the type and the list of its values from one table, so that neither can lack what the other has.
macro_rules! exits {
    ($($variant:ident = $code:literal, $name:literal, $meaning:literal;)+) => {
        /// Why the program ended, as its exit code says it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Exit {
            $(#[doc = $meaning] $variant = $code,)+
        }

        impl Exit {
            /// Every exit code with its name and meaning: what the reference page goes by.
            pub const ALL: &'static [(Exit, &'static str, &'static str)] = &[$((Exit::$variant, $name, $meaning),)+];
        }
    };
}

exits! {
    Success = 0, "success", "it did what was asked";
    Failure = 1, "failure", "it failed in a way that has no code of its own";
    Changed = 2, "changed", "`config diff`, `config parity`, `bundle diff`: the two differ; `config lint`: something was found";
    Unready = 3, "unready", "`doctor` found something that must be fixed first";
    Unsafe = 4, "unsafe", "`status` found something that must be fixed before a restore would be what it should be";
    Exposed = 5, "exposed", "`config check` found something in the clear that should not be";
    Settings = 10, "settings", "the settings file is missing, unreadable or wrong";
    Helm = 11, "helm", "helm is missing, too old, or failed";
    Cluster = 12, "cluster", "the cluster cannot be reached, or does not allow what is needed";
    Operator = 13, "operator", "the database operator is missing or not ready";
    NotFound = 14, "not-found", "there is no such install, deployment, bundle or run";
    Keys = 15, "keys", "no key at hand opens this, or keys are missing";
    Untrusted = 16, "untrusted", "not signed by somebody trusted";
    Damaged = 17, "damaged", "stored bytes are not what was written";
    Format = 18, "format", "the format is newer than this program";
    Version = 19, "version", "the target version does not fit the bundle";
    NotEmpty = 20, "not-empty", "the target namespace or volume is not empty, a file that is to be written is there already, or the cluster holds another OpsChain";
    Replica = 21, "replica", "not the primary of the primary database cluster";
    Busy = 22, "busy", "changes, steps or agents are at work, or others may write";
    Space = 23, "space", "not enough room on a disk or volume";
    Locked = 24, "locked", "another run holds the install or the vault";
    Resume = 25, "resume", "a run cannot be resumed, or stays open; the reason is named";
    Guard = 26, "guard", "the change would make stored data unreadable";
    Unconfirmed = 27, "unconfirmed", "a confirmation was needed and could not be asked for";
    Vault = 28, "vault", "the config vault is missing or refuses";
    Store = 29, "store", "the store is missing or refuses";
    Stream = 30, "stream", "a stream to or from the cluster broke for good";
    Identity = 31, "identity", "the database is not the one that it should be";
    Timeout = 32, "timeout", "something did not happen in the time allowed";
    Drift = 33, "drift", "the live install is not what the vault says";
    Clock = 34, "clock", "this host's clock and another one differ: nothing is judged by age";
    Usage = 64, "usage", "the arguments make no sense";
    Panic = 70, "panic", "a bug in `dr` itself; what was begun is put back or resumed by the next `dr`";
    HungUp = 129, "hung-up", "the terminal went away (the HUP signal)";
    Interrupted = 130, "interrupted", "Ctrl-C (the INT signal)";
    Terminated = 143, "terminated", "the TERM signal";
}

impl Exit {
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
    fn codes_and_names_stand_once_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|(exit, ..)| exit.code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        let names: std::collections::BTreeSet<&str> = Exit::ALL.iter().map(|(exit, ..)| exit.name()).collect();
        assert_eq!(names.len(), codes.len());
    }

    #[test]
    fn the_reference_page_is_the_list() {
        let page = include_str!("../../docs/reference/exit-codes.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
        let listed =
            Exit::ALL.iter().map(|(exit, name, meaning)| format!("| {} | `{name}` | {meaning} |", exit.code()));
        assert_eq!(rows, listed.collect::<Vec<_>>());
    }
}
