//! The volumes of an install beside the database's that a bundle can take along.

/// A volume by the name that a user gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownVolume {
    pub name: &'static str,
    pub claim: &'static str,
    /// What is on it.
    pub what: &'static str,
    /// The StatefulSet that runs on it though the application is stopped.
    pub runs_on_it: Option<&'static str>,
}

/// After OpsChain's documentation of its claims. What is only a cache, or a buffer of what is written elsewhere, is left out.
pub const VOLUMES: [KnownVolume; 3] = [
    KnownVolume {
        name: "git",
        claim: "opschain-project-git-repos-claim",
        what: "mirrors of project Git repositories",
        runs_on_it: None,
    },
    KnownVolume { name: "steps", claim: "opschain-step-data-claim", what: "step data", runs_on_it: None },
    KnownVolume {
        name: "registry",
        claim: "data-vol-opschain-image-registry-0",
        what: "images in the image registry",
        runs_on_it: Some("opschain-image-registry"),
    },
];

/// The volume of that name.
pub fn known(name: &str) -> Option<KnownVolume> {
    VOLUMES.into_iter().find(|volume| volume.name == name)
}
