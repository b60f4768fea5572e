//! How an operator names something with values in it.

use crate::names::{NamespaceName, ReleaseName};

/// Every form, for messages and help.
pub const FORMS: &str = "a deployment (live, latest, an id, rev:7, a version, a time; of another install as \
    NAMESPACE.RELEASE:live), a file (./values.yaml), - (stdin), release or release:7 (what helm has stored), \
    bundle:NAME or a bundle's file, git:REV:PATH, git:REV (the vault at that commit)";

/// Something with values in it, as it was named. What a bare word means is seen only when it is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// `-`: what comes on stdin.
    Stdin,
    /// What helm has stored: of the live release, or of one revision.
    Release(Option<u32>),
    /// A file: plain, sealed with age, or a bundle.
    File(String),
    /// A deployment in the vault.
    Deployment(Selector),
    /// A bundle of the store, by its name or the beginning of it; `latest` is the newest.
    Bundle(String),
    /// A file in the user's own git repository.
    Git {
        revision: String,
        /// The path, from the top of the repository.
        path: String,
    },
    /// What was live when the vault stood at a commit.
    VaultAt(String),
    /// A word that names a deployment, a file, or a bundle of the store.
    Word(String),
}

/// A deployment, of the install of the settings or of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Namespace and release, where another install is meant.
    pub install: Option<(NamespaceName, ReleaseName)>,
    /// Which of its deployments.
    pub which: String,
}

impl Operand {
    /// Reads a form. `None` where a form with a colon lacks what belongs after it, or a revision is no number.
    pub fn parse(text: &str) -> Option<Self> {
        let some = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
        if let Some((head, rest)) = text.split_once(':') {
            match head {
                "release" => return rest.parse().ok().map(|revision| Self::Release(Some(revision))),
                "file" => return some(rest).map(Self::File),
                "bundle" => return some(rest).map(Self::Bundle),
                "deployment" => return some(rest).map(|rest| Self::Deployment(Selector::parse(&rest))),
                "rev" => return Some(Self::Deployment(Selector { install: None, which: text.to_owned() })),
                "git" => return git(rest),
                _ => {}
            }
        }
        Some(match text {
            "" => return None,
            "-" => Self::Stdin,
            "release" => Self::Release(None),
            _ if text.contains('/') => Self::File(text.to_owned()),
            _ if Selector::parse(text).install.is_some() => Self::Deployment(Selector::parse(text)),
            _ => Self::Word(text.to_owned()),
        })
    }
}

fn git(rest: &str) -> Option<Operand> {
    let (revision, path) = match rest.split_once(':') {
        Some((revision, path)) => (revision, Some(path)),
        None => (rest, None),
    };
    if revision.is_empty() || path == Some("") {
        return None;
    }
    Some(match path {
        Some(path) => Operand::Git { revision: revision.to_owned(), path: path.to_owned() },
        None => Operand::VaultAt(revision.to_owned()),
    })
}

impl Selector {
    /// `NAMESPACE.RELEASE:WHICH`, or `WHICH` alone. A namespace has no dot; a time has its colon before any.
    fn parse(text: &str) -> Self {
        let other = text.split_once(':').and_then(|(install, which)| {
            let (namespace, release) = install.split_once('.')?;
            let names = (namespace.parse().ok()?, release.parse().ok()?);
            (!which.is_empty()).then(|| (names, which.to_owned()))
        });
        match other {
            Some((names, which)) => Self { install: Some(names), which },
            None => Self { install: None, which: text.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_known_by_its_looks() {
        let own = |which: &str| Operand::Deployment(Selector { install: None, which: which.into() });
        for (text, operand) in [
            ("-", Operand::Stdin),
            ("release", Operand::Release(None)),
            ("release:7", Operand::Release(Some(7))),
            ("./live", Operand::File("./live".into())),
            ("file:live", Operand::File("live".into())),
            ("rev:3", own("rev:3")),
            ("deployment:2026-08-20T10:00", own("2026-08-20T10:00")),
            ("bundle:latest", Operand::Bundle("latest".into())),
            ("git:HEAD~2:ops/values.yaml", Operand::Git { revision: "HEAD~2".into(), path: "ops/values.yaml".into() }),
            ("git:v1", Operand::VaultAt("v1".into())),
            ("live", Operand::Word("live".into())),
            ("values.yaml", Operand::Word("values.yaml".into())),
            ("2026-08-20T10:00", Operand::Word("2026-08-20T10:00".into())),
            ("2026-08-20T10:00:00.5Z", Operand::Word("2026-08-20T10:00:00.5Z".into())),
            (
                "prod.opschain:rev:7",
                Operand::Deployment(Selector {
                    install: Some(("prod".into(), "opschain".into())),
                    which: "rev:7".into(),
                }),
            ),
        ] {
            assert_eq!(Operand::parse(text), Some(operand), "{text}");
        }
        for text in ["", "release:x", "release:", "git:", "git::x", "git:HEAD:", "bundle:", "file:"] {
            assert_eq!(Operand::parse(text), None, "{text}");
        }
    }
}
