//! What stands between `dr` and a login plugin that may ask a person something: the plugin's words go to the terminal
//! as text of others does.

use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitStatus, Stdio};

use crate::cluster::LOGIN_PLUGIN;
use crate::ui;

/// Where this process was begun to run a login plugin: runs it, and returns the code that it ended with. Its stdin and its
/// stdout, which the credentials go to, are this process's own.
pub fn login_plugin(argv: &[OsString]) -> Option<u8> {
    match argv {
        [_, verb, program, args @ ..] if verb == LOGIN_PLUGIN => Some(run(program, args)),
        _ => None,
    }
}

fn run(program: &OsStr, args: &[OsString]) -> u8 {
    let mut command = Command::new(program);
    let ended = command.args(args).stderr(Stdio::piped()).spawn().and_then(|mut child| {
        child.stderr.take().map_or(Ok(()), ui::pass_on)?;
        child.wait()
    });
    match ended {
        Ok(status) => code(status),
        Err(error) => {
            let told = format!("login plugin {}: {error}\n", program.display());
            // The code says it too.
            drop(ui::pass_on(told.as_bytes()));
            COULD_NOT_RUN
        }
    }
}

/// As shells say it.
const COULD_NOT_RUN: u8 = 127;

fn code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(if status.success() { 0 } else { 1 })
}
