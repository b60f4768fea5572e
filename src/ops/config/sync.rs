//! `dr config sync`: what this host has recorded goes to the remote, and what others have comes here.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::{CommandError, Exit, Result};
use crate::journal::fault;
use crate::ops::Ctx;
use crate::vault::{Joined, Pushed, Remote, TakeInRequest, TakenIn};

/// How often a push may be rejected before that is an error: each time, somebody's records did get in.
const ROUNDS: usize = 16;
/// A remote that has nothing new so often, one time after the other, and rejects all the same, is changed by nobody.
const IN_VAIN: usize = 3;

/// How to sync.
#[derive(Debug, Clone, Default)]
pub struct SyncRequest {
    /// A remote of the vault, or an address.
    pub remote: Option<String>,
    /// Whose commits are believed; otherwise those of the settings.
    pub signers: Option<PathBuf>,
    /// Take in what others have signed, too.
    pub allow_untrusted: bool,
    /// Only say what would be taken in and pushed.
    pub dry_run: bool,
    /// Whether git may ask for a password.
    pub ask: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Synced {
    pub remote: String,
    /// Whether nothing was taken in or pushed.
    pub dry_run: bool,
    /// How what was fetched was taken in; the last time, where it took several.
    pub joined: Joined,
    /// How many commits were taken in.
    pub fetched: usize,
    /// How many deployments were among them.
    pub deployments: usize,
    /// How many commits were pushed.
    pub pushed: usize,
    /// How often the push was rejected, because another host had pushed.
    pub races: usize,
    /// Flaws that were let in because it was asked for.
    pub untrusted: usize,
}

/// Fetches, verifies, merges, pushes; again when another host has pushed.
///
/// # Errors
/// There is no remote, git fails, or what came in is refused. What was recorded here is safe in any case.
pub async fn sync(ctx: &Ctx, request: &SyncRequest) -> Result<Synced> {
    let vault = ctx.vault()?;
    let trusted = ctx.trusted_signers(request.signers.as_deref())?;
    // What is not believed here is not handed on either.
    vault.verify_new()?;
    let remote = vault.remote(request.remote.as_deref(), request.ask, &ctx.cancel)?;
    let taking =
        TakeInRequest { trusted: &trusted, anyone: request.allow_untrusted, by: &ctx.who, dry_run: request.dry_run };
    let mut done = Synced {
        remote: remote.shown(),
        dry_run: request.dry_run,
        joined: Joined::Nothing,
        fetched: 0,
        deployments: 0,
        pushed: 0,
        races: 0,
        untrusted: 0,
    };
    let mut in_vain = 0;
    loop {
        let before = done.fetched;
        take_in(ctx, &remote, &taking, &mut done).await?;
        in_vain = if done.fetched > before { 0 } else { in_vain + 1 };
        fault::point("sync.merged")?;
        let ahead = remote.ahead()?;
        if request.dry_run {
            done.pushed = ahead;
            return Ok(done);
        }
        match remote.push().await? {
            Pushed::Nothing => return Ok(done),
            Pushed::Done => {
                done.pushed += ahead;
                return Ok(done);
            }
            Pushed::Raced(refused) if in_vain > IN_VAIN => return Err(refused.into()),
            Pushed::Raced(_) if done.races + 1 == ROUNDS => {
                return Err(CommandError::new(
                    Exit::Locked,
                    format!("push to {} rejected {ROUNDS} times: the remote keeps changing", done.remote),
                )
                .hint("Nothing is lost: everything is recorded here, and what others had is merged. Run it again."));
            }
            Pushed::Raced(_) => {
                done.races += 1;
                ctx.events.note("push rejected, as when another host has pushed: fetching again");
            }
        }
    }
}

async fn take_in(ctx: &Ctx, remote: &Remote<'_>, taking: &TakeInRequest<'_>, done: &mut Synced) -> Result<()> {
    let fetched = remote.fetch().await?;
    if fetched.moved_back {
        ctx.events.warn(
            format!("{} does not have any more what it had when it was looked at last", remote.shown()),
            Some("Somebody has moved its branch back; this sync puts back what this host has.".into()),
        );
    }
    fault::point("sync.fetched")?;
    let TakenIn { joined, commits, deployments, untrusted } = remote.take_in(taking)?;
    if joined != Joined::Nothing {
        done.joined = joined;
    }
    done.fetched += commits;
    done.deployments += deployments;
    done.untrusted += untrusted;
    Ok(())
}
