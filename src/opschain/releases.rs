//! The releases of OpsChain that this `dr` knows, and what each means for a restore.
//!
//! After OpsChain's public changelog, newest entry 2026-10-08.

use jiff::civil::{Date, date};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRelease {
    /// Its date, which is its name.
    pub date: Date,
    /// What one must know to restore older data under it, in words that follow a colon.
    pub restore_note: Option<&'static str>,
}

const fn on(year: i16, month: i8, day: i8) -> KnownRelease {
    KnownRelease { date: date(year, month, day), restore_note: None }
}

const fn noted(year: i16, month: i8, day: i8, note: &'static str) -> KnownRelease {
    KnownRelease { date: date(year, month, day), restore_note: Some(note) }
}

/// The first release whose API does not write the secret vault's root token and recovery key to its log at the first start.
pub const VAULT_TOKEN_LOGGED_BEFORE: &str = "2026-09-14";

/// All known releases, oldest first. 2026-08-07 was withdrawn into 2026-08-10 and is not among them.
pub const ALL: &[KnownRelease] = &[
    on(2022, 3, 28),
    on(2022, 4, 11),
    on(2022, 4, 20),
    on(2022, 5, 5),
    on(2022, 5, 9),
    on(2022, 5, 25),
    on(2022, 6, 8),
    on(2022, 6, 20),
    on(2022, 6, 29),
    on(2022, 7, 11),
    noted(2022, 7, 20, "the release itself is broken; go on to 2022-07-26"),
    on(2022, 7, 26),
    on(2022, 8, 10),
    on(2022, 8, 12),
    on(2022, 8, 16),
    on(2022, 9, 15),
    on(2022, 9, 20),
    on(2022, 10, 24),
    on(2022, 11, 29),
    on(2023, 1, 13),
    on(2023, 3, 29),
    on(2023, 3, 31),
    on(2023, 4, 14),
    on(2023, 5, 5),
    on(2023, 5, 12),
    on(2023, 6, 7),
    on(2023, 8, 2),
    on(2023, 9, 12),
    on(2023, 10, 24),
    on(2024, 5, 24),
    on(2024, 6, 17),
    noted(2025, 1, 15, "PostgreSQL 17 replaces 14, so the files of an older database do not open"),
    on(2025, 1, 23),
    on(2025, 1, 31),
    on(2025, 2, 13),
    on(2025, 3, 5),
    on(2025, 3, 10),
    on(2025, 3, 28),
    on(2025, 4, 25),
    on(2025, 9, 11),
    on(2025, 9, 30),
    on(2025, 10, 17),
    on(2025, 11, 3),
    on(2025, 11, 12),
    noted(2025, 12, 10, "the chart comes from an OCI registry from here on"),
    on(2025, 12, 11),
    noted(
        2026,
        1,
        27,
        "the database moves to CloudNativePG: the operator is installed first, and older data is migrated",
    ),
    on(2026, 2, 20),
    on(2026, 2, 23),
    noted(2026, 3, 13, "agents are stopped before, and their images rebuilt after"),
    noted(2026, 3, 16, "agents are stopped before, and their images rebuilt after"),
    noted(2026, 3, 19, "agents are stopped before, and their images rebuilt after"),
    noted(
        2026,
        3,
        27,
        "the secret vault's data moves from its own volume into the database by hand, and the encryption seed key becomes the old transportable key",
    ),
    noted(2026, 4, 21, "the values need env.OPSCHAIN_TOKEN_SECRET_KEY"),
    on(2026, 4, 23),
    on(2026, 4, 30),
    on(2026, 5, 18),
    noted(2026, 5, 21, "the API does not start without env.OPSCHAIN_TOKEN_SECRET_KEY"),
    on(2026, 5, 26),
    on(2026, 6, 4),
    on(2026, 6, 18),
    on(2026, 6, 29),
    on(2026, 7, 3),
    on(2026, 7, 9),
    noted(2026, 7, 17, "coming from 2026-07-09 or older, the workers are scaled to 0 first"),
    on(2026, 7, 20),
    on(2026, 7, 23),
    on(2026, 7, 28),
    on(2026, 8, 4),
    noted(2026, 8, 10, "the operator's manifest is applied again"),
    noted(
        2026,
        8,
        14,
        "the vault's host name must resolve inside the cluster, and duplicate template codes abort the upgrade",
    ),
    on(2026, 8, 20),
    noted(
        2026,
        9,
        10,
        "the LDAP server must be reachable, or the upgrade aborts when a system policy loses its last assignee",
    ),
    on(2026, 9, 14),
    noted(
        2026,
        10,
        8,
        "a changed encryption seed key fails the upgrade, going back to an older chart replaces the transportable key, and the values of an external vault are no longer base64",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_listed_oldest_first_and_once() {
        assert!(ALL.windows(2).all(|pair| pair[0].date < pair[1].date));
    }

    #[test]
    fn notes_read_on_after_a_colon() {
        for note in ALL.iter().filter_map(|release| release.restore_note) {
            assert!(!note.ends_with('.'), "{note}");
        }
    }
}
