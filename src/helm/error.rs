//! Why helm did not do what was asked.

/// Why helm did not do what was asked. Texts of helm's are scrubbed.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    #[error("there is no helm: `{binary}` is neither on PATH nor a program")]
    Missing {
        /// What was looked for.
        binary: String,
    },
    #[error("start {binary}")]
    Start {
        binary: String,
        #[source]
        source: std::io::Error,
    },
    /// It is not helm 3 or 4.
    #[error("{binary} is not helm 3 or 4: it says `{said}`")]
    Unsupported {
        binary: String,
        /// What it answered to `helm version`.
        said: String,
    },
    #[error("helm {verb} failed: {said}")]
    Failed {
        /// The sub-command.
        verb: String,
        /// Its error, scrubbed.
        said: String,
    },
    /// The cluster's access rules do not let this user do what helm wants to.
    #[error("helm {verb}: the access rules do not allow {right}")]
    Forbidden {
        /// The sub-command.
        verb: String,
        /// Such as `list secrets in namespace ops`.
        right: String,
    },
    /// It was stopped because the operator asked for it.
    #[error("helm {verb} was stopped")]
    Stopped {
        /// The sub-command.
        verb: String,
    },
    /// It did not end in three times its own time limit, and was asked to.
    #[error("helm {verb} did not end in {seconds} s")]
    TimedOut {
        /// The sub-command.
        verb: String,
        /// The limit.
        seconds: u64,
    },
    /// The release is in the middle of something.
    #[error("release {release} is in state {status} since {since} (revision {revision})")]
    Pending {
        release: String,
        /// `pending-install`, `pending-upgrade` or `pending-rollback`.
        status: String,
        since: String,
        revision: u32,
    },
    /// Its answer makes no sense.
    #[error("helm {verb} gave an answer that cannot be read: {reason}")]
    Answer {
        /// The sub-command.
        verb: String,
        reason: String,
    },
    /// A chart's file cannot be read.
    #[error("read the chart {path}")]
    ChartFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The operating system refused.
    #[error("{act}")]
    Io {
        /// What was attempted.
        act: String,
        #[source]
        source: std::io::Error,
    },
}
