//! A program that a run has started, and that may outlive the process of the run.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::read;

/// A process, by what no other one has: a pid is given again, and says nothing on another host or after a start of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedProgram {
    /// Its name, such as `helm`.
    pub program: String,
    pub pid: u32,
    /// When it started, in clock ticks after the start of its host (`starttime` of proc(5)).
    pub started: u64,
    /// The host's name; a pod's, in one.
    pub host: String,
    /// The start of the host, by the kernel's `boot_id`.
    pub boot: String,
    pub at: Timestamp,
}

impl StartedProgram {
    /// The process `pid` of this host; `None` where it is gone, or `/proc` does not tell.
    pub fn of(program: &str, pid: u32) -> Option<Self> {
        let (host, boot) = (host_name(), boot_id()?);
        Some(Self { program: program.to_owned(), pid, started: start_of(pid)?, host, boot, at: clock::now() })
    }

    /// Whether it still runs; `None` where that cannot be seen from here: it is another host's.
    pub fn runs(&self) -> Option<bool> {
        if self.host != host_name() {
            return None;
        }
        let is_this_start = boot_id()? == self.boot;
        Some(is_this_start && start_of(self.pid) == Some(self.started))
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn boot_id() -> Option<String> {
    let id = read::text_file(&PathBuf::from("/proc/sys/kernel/random/boot_id"), read::SMALL).ok()?;
    Some(id.trim().to_owned())
}

/// When the process started; of one that has ended and is only not yet waited for, nothing.
fn start_of(pid: u32) -> Option<u64> {
    let stat = read::text_file(&PathBuf::from(format!("/proc/{pid}/stat")), read::SMALL).ok()?;
    start_in(&stat)
}

/// Field 22 of `stat`, counted behind the name: that stands in parentheses, and may hold spaces and parentheses itself.
fn start_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // The third field is the state, the first behind the name.
    let started = fields.nth(22 - 3 - 1)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_runs_until_it_ends_and_no_other_with_its_number_is_taken_for_it() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let program = StartedProgram::of("sleep", child.id()).unwrap();
        assert_eq!(program.runs(), Some(true));
        assert_eq!(StartedProgram { started: program.started + 1, ..program.clone() }.runs(), Some(false));
        assert_eq!(StartedProgram { boot: "another".into(), ..program.clone() }.runs(), Some(false));
        assert_eq!(StartedProgram { host: "another".into(), ..program.clone() }.runs(), None);
        let line = serde_json::to_string(&program).unwrap();
        assert_eq!(serde_json::from_str::<StartedProgram>(&line).unwrap(), program);
        child.kill().unwrap();
        // It has ended, though nobody has asked how yet.
        let begun = std::time::Instant::now();
        while program.runs() == Some(true) {
            assert!(begun.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(program.runs(), Some(false));
        assert_eq!(StartedProgram::of("sleep", child.id()), None);
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        for name in ["helm", "a b", "a) R 1 2", ") ", ""] {
            assert_eq!(start_in(&format!("77 ({name}) {rest}")), Some(4242), "{name}");
        }
        assert_eq!(start_in(&format!("77 (helm) {}", rest.replacen('S', "Z", 1))), None);
        for cut in ["", "77 (helm", "77 (helm) S 1 2", "77 (helm) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"] {
            assert_eq!(start_in(cut), None, "{cut}");
        }
    }
}
