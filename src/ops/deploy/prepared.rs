//! A plan with all that is needed to carry it out.

use std::path::Path;
use std::time::Duration;

use super::facts::Subject;
use super::report::DeployPlan;
use super::request::DeployOptions;
use crate::helm::{self, Object};
use crate::values::Scrubber;

/// A plan with all that is needed to carry it out.
pub struct Prepared {
    /// What to show.
    pub plan: DeployPlan,
    pub(super) subject: Subject,
    pub(super) options: DeployOptions,
    /// How long helm may take.
    pub(super) timeout: Duration,
    /// Tells same from changed in what is compared; all else is masked by the one redactor.
    pub(super) scrubber: Scrubber,
    /// The revision that helm has deployed.
    pub(super) deployed: Option<u32>,
    /// Its objects, where they were read.
    pub(super) stored: Option<Vec<Object>>,
    /// Whether helm is told to go over what others have set: it would refuse else, and the operator has agreed.
    pub(super) over_others: bool,
    pub(super) repair: bool,
}

impl Prepared {
    /// What helm is given, whether it renders or deploys.
    pub(super) fn upgrade<'p>(&'p self, chart: &'p Path, description: Option<&'p str>) -> helm::UpgradeRequest<'p> {
        helm::UpgradeRequest {
            release: &self.plan.release,
            chart,
            values: &self.subject.values,
            sets: &[],
            timeout: self.timeout,
            // `dr` waits itself, and says for what.
            wait: false,
            create_namespace: true,
            description,
            debug: self.options.debug,
        }
    }

    /// Says that the operator has agreed to have a pending release put right.
    pub fn agree_to_repair(&mut self) {
        self.repair = true;
    }

    /// Says that the operator has typed the name of every guarded key that changes.
    pub fn agree_to_loss(&mut self) {
        self.plan.guarded.clear();
    }
}
