//! A plan with all that is needed to carry it out.

use std::path::Path;
use std::time::Duration;

use super::facts::Subject;
use super::report::DeployPlan;
use super::request::DeployOptions;
use crate::error::{CommandError, Result};
use crate::helm::{self, Object};
use crate::ops::guard;
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
    /// Why it cannot be, whatever is agreed to.
    pub(super) refused: Option<CommandError>,
    pub(super) repair: bool,
    /// The bundle that was made before.
    pub(super) bundle: Option<String>,
}

impl Prepared {
    /// What helm is given, whether it renders or deploys.
    pub(super) fn upgrade<'p>(&'p self, chart: &'p Path, description: Option<&'p str>) -> helm::UpgradeRequest<'p> {
        let request = self.subject.upgrade(&self.plan.release, chart, self.timeout);
        helm::UpgradeRequest { description, debug: self.options.debug, ..request }
    }

    /// Refuses what must not be, whatever is agreed to, and then the loss of data that nobody has agreed to: for when it
    /// was shown what would happen.
    ///
    /// # Errors
    /// As [`Prepared::refuse_always`]; or [`crate::error::Exit::Guard`].
    pub fn refuse(&self) -> Result<()> {
        self.refuse_always()?;
        guard::refuse_data_loss(&self.plan.guarded)
    }

    /// The first half of [`Prepared::refuse`], for who asks about the data next.
    ///
    /// # Errors
    /// [`crate::error::Exit::Drift`], [`crate::error::Exit::Version`] or, for another OpsChain in the cluster,
    /// [`crate::error::Exit::NotEmpty`].
    pub fn refuse_always(&self) -> Result<()> {
        self.refused.as_ref().map_or(Ok(()), |refused| Err(refused.copy()))
    }

    /// Says that the operator has agreed to have a pending release put right.
    pub fn agree_to_repair(&mut self) {
        self.repair = true;
    }

    /// Says which bundle holds what was live until now.
    pub fn bundled_as(&mut self, bundle: String) {
        self.bundle = Some(bundle);
    }

    /// Says that the operator has typed the name of every guarded key that changes.
    pub fn agree_to_loss(&mut self) {
        self.plan.guarded.clear();
    }
}
