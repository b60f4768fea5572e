//! Errors of streams into pods, for people.

use super::{CommandError, Exit};
use crate::cluster::pod::PodError;
use crate::cluster::transport::TransportError;
use crate::wire::LinkError;

impl From<TransportError> for CommandError {
    fn from(error: TransportError) -> Self {
        let text = error.to_string();
        match error {
            TransportError::Binary { .. } => CommandError::new(Exit::Failure, text)
                .hint("Use the released dr program: one static file, for the architecture of the cluster's nodes."),
            TransportError::Install { pod, .. } => CommandError::new(Exit::Stream, text).hint(format!(
                "`kubectl describe pod {pod} -n NAMESPACE` tells whether it runs; `dr doctor` checks the rights for exec."
            )),
            TransportError::Link { source, .. } => {
                let hint = match &source {
                    LinkError::GivenUp { .. } => {
                        "See whether the pod still runs, or was removed, and whether the API server answers; then try again."
                    }
                    LinkError::OtherRun { .. } | LinkError::OtherLink => {
                        "Another process of dr works with this pod: `dr run list` shows it."
                    }
                    LinkError::OtherVersion { .. } => {
                        "The pod was made by another version of dr: delete it and try again."
                    }
                    _ => "Nothing of it is kept: try again.",
                };
                CommandError::new(Exit::Stream, text).because(source).hint(hint)
            }
            TransportError::Agent { peer, failure } => CommandError::from(failure).context(peer),
            TransportError::Damaged(_) => {
                CommandError::new(Exit::Stream, text).hint("Nothing of it is kept: try again.")
            }
            TransportError::Unfinished(_) => CommandError::new(Exit::Failure, text),
        }
    }
}

impl From<PodError> for CommandError {
    fn from(error: PodError) -> Self {
        CommandError::new(Exit::Failure, error.to_string())
    }
}
