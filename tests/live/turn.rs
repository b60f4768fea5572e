//! Which tests may use the lab at the same time, and how long each took.
//!
//! A test mostly waits (for pods, for helm, for the operator), so several run at once, each in a namespace of its own.
//! What changes a thing that all of them lean on, such as the operator, is done alone.

use std::io::Write;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

static LAB: RwLock<()> = RwLock::new(());

/// A test's turn on the lab. Its end adds a line to the table of times.
pub struct Turn {
    name: String,
    begun: Instant,
    shared: Option<RwLockReadGuard<'static, ()>>,
}

impl Turn {
    /// Waits until nobody has the lab alone.
    pub fn begin() -> Self {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        Self { shared: Some(share()), name, begun: Instant::now() }
    }

    /// Does `work` once the other tests have ended theirs, and before any other begins.
    pub fn alone<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.shared = None;
        let alone = LAB.write().unwrap_or_else(PoisonError::into_inner);
        let done = work();
        drop(alone);
        self.shared = Some(share());
        done
    }
}

fn share() -> RwLockReadGuard<'static, ()> {
    LAB.read().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let table = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-times.tsv");
        let line = format!("{}\t{}\n", self.begun.elapsed().as_secs(), self.name);
        // In a test that panics already, another panic would end all of them.
        let table = std::fs::OpenOptions::new().create(true).append(true).open(table);
        if let Err(error) = table.and_then(|mut table| table.write_all(line.as_bytes())) {
            eprintln!("the time of {} is not written down: {error}", self.name);
        }
    }
}
