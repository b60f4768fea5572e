//! The lease that keeps two runs off one install.

use super::Ctx;
use crate::cluster::lease::{self, lease_name};
use crate::cluster::{ClusterError, LeaseGuard};
use crate::error::{CommandError, Exit, Result};

/// The lease on the install of a context, as long as this process holds it.
#[derive(Debug, Default)]
pub struct LeaseHolder(Option<LeaseGuard>);

impl LeaseHolder {
    /// Takes the lease, or makes sure that it is still held.
    ///
    /// # Errors
    /// [`Exit::Locked`] when another run has it, or it was lost.
    pub async fn take(&mut self, ctx: &Ctx, run: &str) -> Result<()> {
        let release = &ctx.install().release;
        if let Some(lease) = &self.0 {
            return match lease.lost() {
                None => Ok(()),
                Some(why) => {
                    Err(CommandError::new(Exit::Locked, format!("the lease on release {release} was lost: {why}"))
                        .hint("Another run may be at work on the install: `kubectl get lease` names it."))
                }
            };
        }
        let cluster = ctx.cluster().await?;
        self.0 = Some(cluster.await_lease(&lease_name(release), run, &ctx.who, lease::TTL, &ctx.events).await?);
        Ok(())
    }

    /// Gives the lease back; also one that a dead process of the same run has left. One that another run holds by now
    /// is left alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn release(&mut self, ctx: &Ctx, run: &str) -> Result<()> {
        if self.0.is_none() {
            let name = lease_name(&ctx.install().release);
            match ctx.cluster().await?.acquire_lease(&name, run, &ctx.who, lease::TTL).await {
                Ok(lease) => self.0 = Some(lease),
                Err(ClusterError::Held { .. }) => return Ok(()),
                // The namespace is gone, and the lease with it.
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        match self.0.take() {
            Some(lease) => Ok(lease.release().await?),
            None => Ok(()),
        }
    }
}
