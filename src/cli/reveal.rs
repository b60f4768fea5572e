//! When a verb may show secrets in the clear: `--show-secrets`, a flag that every verb that has it counts.

use std::io::IsTerminal;

use crate::error::{CommandError, Exit, Result};

/// Whether secrets are shown, by how often `--show-secrets` was given.
///
/// Once is for a person at a terminal: what is written to a pipe, a file or a CI log stays there and is read by others.
/// Twice is for whoever means exactly that.
///
/// # Errors
/// [`Exit::Unconfirmed`] when the flag was given once and stdout is no terminal, or the environment says `CI`.
pub fn show_secrets(given: u8) -> Result<bool> {
    decide(given, std::io::stdout().is_terminal(), is_ci(std::env::var("CI").ok().as_deref()))
}

/// Continuous integration sets `CI`, mostly to `true`; `false`, `0` and nothing are its ways to say no.
fn is_ci(value: Option<&str>) -> bool {
    !matches!(value.map(str::trim), None | Some("" | "0" | "false" | "False" | "FALSE"))
}

fn decide(given: u8, terminal: bool, ci: bool) -> Result<bool> {
    let refused = |why: &str| {
        CommandError::new(Exit::Unconfirmed, format!("--show-secrets: {why}, where secrets would stay in the clear"))
            .hint(
                "Give --show-secrets twice if that is what you want; without it, fingerprints tell same from changed.",
            )
    };
    match (given, terminal, ci) {
        (0, ..) => Ok(false),
        (1, _, true) => Err(refused("CI is set in the environment, so stdout goes to a log")),
        (1, false, _) => Err(refused("stdout is not a terminal")),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_needs_a_terminal_outside_of_ci_and_twice_needs_nothing() {
        assert!(!decide(0, true, false).unwrap());
        assert!(decide(1, true, false).unwrap());
        for (terminal, ci) in [(false, false), (false, true), (true, true)] {
            let error = decide(1, terminal, ci).unwrap_err();
            assert_eq!(error.exit(), Exit::Unconfirmed);
            assert!(error.hints()[0].contains("twice"));
            assert!(decide(2, terminal, ci).unwrap());
        }
    }

    #[test]
    fn ci_is_what_continuous_integration_sets() {
        assert!(is_ci(Some("true")) && is_ci(Some("1")) && is_ci(Some("yes")));
        assert!(!is_ci(None) && !is_ci(Some("")) && !is_ci(Some("false")) && !is_ci(Some("0")));
    }
}
