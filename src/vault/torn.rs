//! A reference whose file a power failure has torn or emptied: which commit it may have named is known by the others.

use git2::Repository;

use super::error::VaultError;
use crate::read;

/// What is to be said of a reference whose file is no reference; nothing where it is one, or there is no file. One of
/// the `others` may be whole.
pub(super) fn reference(repo: &Repository, name: &str, others: [&str; 2]) -> Option<VaultError> {
    let text = |name: &str| read::file(&repo.commondir().join(name), read::SMALL).ok();
    let is_whole = |text: &[u8]| {
        let text = text.trim_ascii();
        text.starts_with(b"ref: ") || (text.len() == 40 && text.iter().all(u8::is_ascii_hexdigit))
    };
    if text(name).is_none_or(|text| is_whole(&text)) {
        return None;
    }
    let other = others.into_iter().find_map(|other| {
        let text = text(other).filter(|text| other != name && is_whole(text))?;
        Some((other, String::from_utf8_lossy(text.trim_ascii()).into_owned()))
    });
    let way = match other {
        Some((other, commit)) => format!(
            "; {other} names commit {commit}, which `git update-ref {name}` can be given once the file is removed"
        ),
        None => String::new(),
    };
    let what = repo.commondir().join(name).display().to_string();
    Some(VaultError::Damaged { what, reason: format!("it is empty or torn, and names no commit{way}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::git::{BRANCH, Git, NEWEST};
    use crate::vault::tests::{fixture, intent};

    #[test]
    fn a_torn_reference_is_damaged_and_the_other_one_names_the_commit() {
        for (torn, other) in [(BRANCH, NEWEST), (NEWEST, BRANCH)] {
            for text in ["", "\0\0\0\0", "0123"] {
                let f = fixture();
                f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
                let git = Git::open(f.vault.path()).unwrap();
                let commit = git.reference(other).unwrap().unwrap().to_string();
                std::fs::write(f.vault.path().join(".git").join(torn), text).unwrap();
                let error = git.reference(torn).unwrap_err();
                let VaultError::Damaged { reason, .. } = &error else { panic!("{error}") };
                assert!(reason.contains(&commit) && reason.contains(other), "{reason}");
            }
        }
    }
}
