//! Named points where a test may stop a run.
//!
//! Compiled to nothing unless the feature `fault-points` is on, which no build for users has. With it, the variable
//! `DR_FAULT` holds `<point>=<act>`, where the act is `fail` (an error), `kill` (the process dies at once, as by SIGKILL:
//! nothing is flushed, dropped or undone), or `panic:<words>` (a panic that says these words).

/// The failure that a test asked for.
#[derive(Debug, thiserror::Error)]
#[error("fault asked for at {0}")]
pub struct InjectedFault(String);

/// Passes the point `name`, unless a test has asked for a fault there.
///
/// # Errors
/// The fault that a test asked for.
#[cfg(not(feature = "fault-points"))]
pub fn point(_name: &str) -> Result<(), InjectedFault> {
    Ok(())
}

/// Passes the point `name`, unless a test has asked for a fault there.
///
/// # Errors
/// The fault that a test asked for.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) -> Result<(), InjectedFault> {
    let asked = std::env::var("DR_FAULT").unwrap_or_default();
    match asked.split_once('=').filter(|(point, _)| *point == name) {
        Some((_, "fail")) => Err(InjectedFault(name.to_owned())),
        Some((_, "kill")) => {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL)
                .map_err(|error| InjectedFault(format!("{name}, which could not kill: {error}")))?;
            // The signal is delivered before the call returns to user space; this is never reached.
            std::thread::park();
            Ok(())
        }
        Some((_, act)) => act.strip_prefix("panic:").map_or(Ok(()), |words| panic!("{words}")),
        None => Ok(()),
    }
}
