//! Carrying a prepared deployment out: what is asked, and the bundle before it.

use crate::error::Result;
use crate::event::Event;
use crate::ops::deploy::{self, Prepared};
use crate::ops::{Ctx, create, guard};
use crate::ui::{Output, Ui};

/// Shows what would be done; asks, and does it, unless it is a dry run. `release` is the name that was typed before.
pub async fn carry_out(ctx: &Ctx, ui: &Ui, mut prepared: Prepared, dry_run: bool, release: Option<&str>) -> Result<()> {
    if dry_run {
        if prepared.plan.stuck.is_some() {
            // helm renders nothing for a release that is pending.
            ui.dry_run(&prepared.plan)?;
        } else {
            let objects = deploy::preview(ctx, &mut prepared).await?;
            ui.dry_run(&crate::cli::objects::Preview { plan: &prepared.plan, objects })?;
        }
        return prepared.refuse();
    }
    ui.plan(&prepared.plan);
    let prepared = bundled(ctx, agreed(ui, prepared, release)?).await?;
    ui.report(&deploy::execute(ctx, prepared).await?)
}

/// Makes the bundle of what is live, where the settings want one first.
pub async fn bundled(ctx: &Ctx, mut prepared: Prepared) -> Result<Prepared> {
    if prepared.plan.bundle_before {
        deploy::require_rights(ctx, &prepared).await?;
        prepared.bundled_as(bundle_first(ctx).await.map_err(|error| {
            error
                .context("nothing was deployed: the bundle that the settings want first was not made")
                .hint(format!("If it is to be deployed without one, add --allow {}.", deploy::NO_BUNDLE))
        })?);
    }
    Ok(prepared)
}

async fn bundle_first(ctx: &Ctx) -> Result<String> {
    let plan = Box::pin(create::plan(ctx, &create::CreateRequest::default())).await?;
    let made = Box::pin(create::create(ctx, plan)).await?;
    ctx.events.note(format!("bundle {} holds what was live until now", made.bundle));
    Ok(made.bundle)
}

/// Asks for all that must be agreed to: the name of each guarded key, the repair of a pending release, the deployment.
pub fn agreed(ui: &Ui, mut prepared: Prepared, release: Option<&str>) -> Result<Prepared> {
    prepared.refuse_always()?;
    let plan = &prepared.plan;
    if !plan.guarded.is_empty() {
        for key in &plan.guarded {
            let typed =
                ui.can_ask() && ui.confirm_name("the key whose data is lost", &key.path.to_string(), None).is_ok();
            if !typed {
                guard::refuse_data_loss(&plan.guarded)?;
            }
        }
        prepared.agree_to_loss();
    }
    if let Some(stuck) = &prepared.plan.stuck {
        let what = format!("the release whose revision {}, {}, is to be removed", stuck.revision, stuck.status);
        ui.confirm_name(&what, &prepared.plan.release, release)?;
        prepared.agree_to_repair();
    }
    let plan = &prepared.plan;
    ui.confirm(&format!("Deploy to release {} in namespace {}?", plan.release, plan.namespace))?;
    Ok(prepared)
}

/// With --debug, helm's lines are shown to people without -v, too.
pub fn listening(ctx: &Ctx, ui: &Ui, debug: bool) -> Ctx {
    let mut listening = ctx.clone();
    if debug && ui.options().verbose == 0 && ui.options().output == Output::Human {
        let events = ctx.events.clone();
        listening.events = ctx.events.heard_by(move |stamped| {
            events.emit(match stamped.event {
                Event::Log { source, line } => Event::Note { message: format!("{source} | {line}") },
                other => other,
            });
        });
    }
    listening
}
