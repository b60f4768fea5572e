//! No picture of the memory on disk: values and keys are in it while they are used.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From here on neither this process nor any that it starts (helm, git, PostgreSQL's programs) leaves a core dump, and
/// no process of the same user may attach to this one and read its memory. The second ends for a child with its `exec`.
///
/// A kernel that forbids it goes on without: a dump is a danger only after a crash, a `dr` that refuses to work is one at
/// once.
pub(crate) fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn the_memory_is_neither_dumped_nor_read_by_another_process() {
        forbid();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
