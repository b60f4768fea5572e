//! Which run an id, its beginning, or none at all stands for.

use crate::error::{CommandError, Exit, Result};
use crate::journal::{self, JournalError, Remains};
use crate::ops::{Ctx, lease};

/// The id of the named run, or of the newest that stands open.
///
/// # Errors
/// There is none.
pub(super) fn pick(ctx: &Ctx, id: Option<&str>) -> Result<String> {
    if let Some(id) = id {
        return journal::named(&*ctx.runs, id).map_err(|error| match error {
            JournalError::NotFound(id) => not_found(id),
            error => error.into(),
        });
    }
    let open = |id: &String| {
        let stored = ctx.runs.read(id).ok().filter(|stored| !stored.held)?;
        Remains::of(&stored).filter(|remains| remains.ended.is_none()).map(|remains| remains.at)
    };
    let newest = ctx.runs.ids()?.into_iter().filter_map(|id| Some((open(&id)?, id))).max();
    let newest = newest.map(|(_, id)| id);
    newest.ok_or_else(|| {
        CommandError::new(Exit::NotFound, "there is no open run")
            .hint("`dr run list` shows all runs, those that cannot be read among them.")
    })
}

/// The whole id of a run to look at: of several that begin with `id` the newest, which is said. What acts on a run takes
/// no guess.
///
/// # Errors
/// There is none.
pub(in crate::ops) fn newest_named(ctx: &Ctx, id: &str) -> Result<String> {
    let several = match journal::named(&*ctx.runs, id) {
        Err(JournalError::Ambiguous { runs, .. }) => runs,
        Err(JournalError::NotFound(id)) if id.is_empty() => {
            let none = CommandError::new(Exit::NotFound, "there are no runs yet");
            return Err(none.hint("`dr bundle create` and `dr bundle restore` are runs."));
        }
        Err(JournalError::NotFound(id)) => return Err(not_found(id)),
        named => return Ok(named?),
    };
    let newest = journal::list(&*ctx.runs)?.into_iter().rev().map(|(run, _)| run).find(|run| several.contains(run));
    let newest = newest.ok_or_else(|| JournalError::NotFound(id.to_owned()))?;
    let which = if id.is_empty() { "of".to_owned() } else { format!("that begin with {id}, of") };
    ctx.events.note(format!("run {newest}, the newest {which} {}; `dr run list` shows all", several.len()));
    Ok(newest)
}

/// The error of an id that no run has. What holds a lease or has stopped an application may be a command instead.
fn not_found(id: String) -> CommandError {
    let Some(command) = lease::command_of(&id) else { return JournalError::NotFound(id).into() };
    CommandError::new(Exit::NotFound, format!("{id} is no run: `dr {command}` keeps no journal"))
        .hint("`dr server status` shows what stands stopped, by whom, and the next command.")
}
