//! Whether the two releases of an upgrade are the ones that the values need.

use std::cmp::Ordering;

use crate::opschain::Version;
use crate::opschain::version::{VersionGate, gate};

/// What is odd about the way from one release to the other, for values that name a release, each with what to do.
pub(super) fn concerns(
    from: Option<&Version>,
    to: Option<&Version>,
    values: Option<&Version>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some(from) = from else { return found };
    if let Some(values) = values.filter(|values| values.release_order(from).is_some_and(Ordering::is_ne)) {
        let text = format!(
            "your values name {values}, and FROM is {from}: what the releases between them changed counts as your own choice"
        );
        let hint = match to == Some(values) {
            true => format!("If these are the values of {values} already, there is nothing to carry over."),
            false => format!("Give {values} as FROM, if that is the release whose values yours were made from."),
        };
        found.push((text, hint));
    }
    let Some(to) = to else { return found };
    match gate(from, to) {
        VersionGate::Older { .. } => found.push((
            format!("TO is {to}, which is older than FROM, {from}: OpsChain does not run older over newer"),
            format!("The way back is a bundle: `dr bundle restore --version {to} --into-existing`."),
        )),
        VersionGate::Newer { between, .. } => {
            let names = between.iter().map(|release| release.date.to_string());
            let skipped: Vec<String> = names.filter(|name| *name != to.tag()).collect();
            if let Some(next) = skipped.first() {
                found.push((
                    format!(
                        "from {from} to {to} leaves out {}: OpsChain is upgraded one release at a time",
                        skipped.join(", ")
                    ),
                    format!(
                        "`dr config upgrade {from} {next}` first; `dr deploy upgrade --version {to}` goes all the way."
                    ),
                ));
            }
        }
        VersionGate::Exact | VersionGate::Unknown { .. } => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(from: &str, to: &str, values: &str) -> Vec<String> {
        let version = |text: &str| text.parse::<Version>().ok();
        let found = concerns(version(from).as_ref(), version(to).as_ref(), version(values).as_ref());
        found.into_iter().map(|(text, hint)| format!("{text}. {hint}")).collect()
    }

    #[test]
    fn values_of_another_release_a_way_back_and_releases_left_out_are_said() {
        assert_eq!(said("2026-08-20", "2026-09-10", "2026-08-20"), Vec::<String>::new());
        assert_eq!(said("", "2026-09-14", "2026-08-20"), Vec::<String>::new());
        let other = said("2026-08-20", "2026-09-10", "2026-10-08");
        assert!(other.len() == 1 && other[0].contains("Give 2026-10-08 as FROM"), "{other:?}");
        let done = said("2026-08-20", "2026-09-10", "2026-09-10");
        assert!(done.len() == 1 && done[0].contains("nothing to carry over"), "{done:?}");
        let back = said("2026-09-14", "2026-08-20", "2026-09-14");
        assert!(back.len() == 1 && back[0].contains("older than FROM"), "{back:?}");
        let far = said("2026-08-20", "2026-09-14", "2026-08-20");
        assert!(far.len() == 1 && far[0].contains("leaves out 2026-09-10"), "{far:?}");
    }
}
