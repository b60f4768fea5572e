//! Maintenance mode that a run has turned on, and not off again: OpsChain begins no work then, though it runs.

use super::plan::Part;
use crate::ops::lease;
use crate::opschain::maintenance::LeftMode;

impl Part {
    /// As it is listed beside what runs.
    pub(super) fn left_mode(left: &LeftMode) -> Self {
        let (by, was) = (lease::called(&left.run), left.recorded.word());
        let state = format!("turned on by {by}, and not off again: no work begins; before, it was {was}");
        Self { name: "maintenance mode".into(), pods: None, state }
    }
}
