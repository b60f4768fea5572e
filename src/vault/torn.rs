//! A reference whose file a power failure has torn or emptied: which commit it may have named is known by the others.

use git2::Repository;

use super::error::VaultError;
use crate::read;

/// What is to be said of a reference whose file is no reference; nothing where it is one, or there is no file. One of
/// the `others` may be whole.
pub(super) fn reference(repo: &Repository, name: &str, others: [&str; 2]) -> Option<VaultError> {
    let text = |name: &str| read::file(&repo.commondir().join(name), read::SMALL).ok();
    if text(name).is_none_or(|text| is_whole(&text)) {
        return None;
    }
    let other = others.into_iter().find_map(|other| {
        let text = text(other).filter(|text| other != name && is_whole(text))?;
        Some((other, String::from_utf8_lossy(text.trim_ascii()).into_owned()))
    });
    let what = repo.commondir().join(name).display().to_string();
    let way = match other {
        Some((other, commit)) => {
            let git = repo.commondir().display();
            format!("; {other} names a commit: `rm {what} && git --git-dir {git} update-ref {name} {commit}`")
        }
        None => String::new(),
    };
    Some(VaultError::Damaged { what, reason: format!("it is empty or torn, and names no commit{way}") })
}

/// The same of HEAD, which names `branch`, and which git has to read before it takes a folder for a repository.
pub(super) fn head(repo: &Repository, branch: &str) -> Option<VaultError> {
    let file = repo.path().join("HEAD");
    let text = read::file(&file, read::SMALL).ok()?;
    if is_whole(&text) {
        return None;
    }
    let what = file.display().to_string();
    let reason = format!("it is empty or torn, and names no branch: `echo 'ref: {branch}' > {what}`");
    Some(VaultError::Damaged { what, reason })
}

/// Whether the text of a reference is one.
fn is_whole(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.starts_with(b"ref: ") || (text.len() == 40 && text.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::git::{BRANCH, Git, NEWEST};
    use crate::vault::tests::{fixture, intent};

    #[test]
    fn a_torn_head_is_damaged_and_the_command_that_mends_it_does() {
        let f = fixture();
        let head = f.vault.path().join(".git/HEAD");
        for text in ["", "\0\0", "re"] {
            std::fs::write(&head, text).unwrap();
            let Err(VaultError::Damaged { what, reason }) = Git::open(f.vault.path()) else { panic!("{text}") };
            assert_eq!(what, head.display().to_string());
            let command = reason.split('`').nth(1).unwrap();
            assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
            Git::open(f.vault.path()).unwrap();
        }
        std::fs::remove_file(&head).unwrap();
        assert!(matches!(Git::open(f.vault.path()), Err(VaultError::NotOpened { .. })));
    }

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
