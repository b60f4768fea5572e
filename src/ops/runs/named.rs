//! Which run an id, its beginning, or none at all stands for.

use jiff::Timestamp;

use crate::error::{CommandError, Exit, Result};
use crate::journal::{self, JournalError, Remains};
use crate::ops::{Ctx, lease};

/// The id of the named run, or of the newest that stands open on this install. Where none does, that of the one other
/// install which has open runs, unless the command line names a namespace.
///
/// # Errors
/// There is none, or it could be of several installs.
pub(super) fn pick(ctx: &Ctx, id: Option<&str>) -> Result<String> {
    if let Some(id) = id {
        return journal::named(&*ctx.runs, id).map_err(|error| match error {
            JournalError::NotFound(id) => not_found(id),
            error => error.into(),
        });
    }
    let open = |id: String| {
        let stored = ctx.runs.read(&id).ok().filter(|stored| !stored.held)?;
        let remains = Remains::of(&stored).filter(|remains| remains.ended.is_none())?;
        Some((remains.at, id, format!("{}/{}", remains.namespace, remains.release)))
    };
    let mut open: Vec<_> = ctx.runs.ids()?.into_iter().filter_map(open).collect();
    open.sort();
    let (namespace, release) = (&ctx.install().namespace, &ctx.install().release);
    let is_named = ctx.given.has_value(&["-n", "--namespace"], namespace);
    choose(open, &format!("{namespace}/{release}"), is_named)
}

/// Which of the open runs is meant, oldest first, each with its moment and install.
fn choose(open: Vec<(Timestamp, String, String)>, install: &str, is_named: bool) -> Result<String> {
    if let Some((_, id, _)) = open.iter().rfind(|(_, _, of)| of == install) {
        return Ok(id.clone());
    }
    let Some((_, newest, other)) = open.last() else {
        return Err(CommandError::new(Exit::NotFound, "there is no open run")
            .hint("`dr run list` shows all runs, those that cannot be read among them."));
    };
    if !is_named && open.iter().all(|(_, _, of)| of == other) {
        return Ok(newest.clone());
    }
    let others: Vec<String> = open.iter().rev().map(|(_, id, of)| format!("{id} of {of}")).collect();
    let none = format!("install {install} has no open run, others have: {}", others.join(", "));
    Err(CommandError::new(Exit::NotFound, none).hint(format!("Name the run, such as {newest}.")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_the_newest_open_run_of_this_install_is_meant_and_of_no_other_that_could_be() {
        let run = |second, id: &str, of: &str| (Timestamp::from_second(second).unwrap(), id.into(), of.into());
        let both = || vec![run(1, "restore-1", "a/opschain"), run(2, "create-2", "b/opschain")];
        assert_eq!(choose(both(), "a/opschain", true).unwrap(), "restore-1");
        assert_eq!(choose(both(), "b/opschain", false).unwrap(), "create-2");
        let one = || vec![run(1, "restore-1", "a/opschain")];
        assert_eq!(choose(one(), "opschain/opschain", false).unwrap(), "restore-1", "nobody named another install");
        for (open, is_named) in [(both(), false), (one(), true)] {
            let error = choose(open, "c/opschain", is_named).unwrap_err();
            assert_eq!(error.exit(), Exit::NotFound);
            assert!(error.message().contains("restore-1 of a/opschain"), "{error}");
        }
        assert_eq!(choose(Vec::new(), "a/opschain", false).unwrap_err().message(), "there is no open run");
    }
}
