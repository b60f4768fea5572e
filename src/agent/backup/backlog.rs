//! Sealed WAL that waits to be sent: in memory, then on the pod's disk, both bounded.
//!
//! The server must get rid of its WAL however slow the link is. What lies on the disk is what the bundle will hold, age
//! files that nobody in the pod can open.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::chunks::Outgoing;
use crate::agent::host;
use crate::agent::protocol::{ChunkHead, Failure, WalRoom};
use crate::parallel::Ordered;
use crate::read;

/// Chunks of the WAL on their way to the sender, in order.
pub struct Backlog {
    room: WalRoom,
    /// Where files may lie.
    folder: Option<TempDir>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    memory: u64,
    disk: u64,
    /// The disk has refused one: no more is asked of it.
    disk_failed: bool,
    ended: bool,
    files: u64,
}

struct Waiting {
    head: ChunkHead,
    place: Place,
}

enum Place {
    Memory(Bytes),
    Disk(PathBuf),
}

impl Backlog {
    /// An empty one. Without a folder at `disk`, or where it cannot be used, memory is all there is.
    pub fn new(room: WalRoom, disk: &Path) -> Self {
        for old in fs::read_dir(disk).into_iter().flatten().flatten() {
            // What an earlier attempt has left. Whatever stays is found again by the next.
            let _ = fs::remove_dir_all(old.path());
        }
        let folder = tempfile::Builder::new().prefix("wal-").tempdir_in(disk).ok();
        let free = rustix::fs::statvfs(disk).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize));
        // The node needs the rest: what fills its disk gets its pods evicted.
        let room = WalRoom { disk_bytes: room.disk_bytes.min(free / 2), ..room };
        Self { room, folder, state: Mutex::default(), changed: Notify::new() }
    }

    /// Takes what is sealed, to its end. Waits while all room is taken.
    ///
    /// # Errors
    /// Of what seals.
    pub async fn fill(&self, mut sealed: Ordered<Result<Outgoing, Failure>>) -> Result<(), Failure> {
        while let Some(next) = sealed.next().await.map_err(|error| host::stopped(&error))? {
            if let Outgoing::Chunk { head, stored } = next? {
                self.push(head, stored).await?;
            }
        }
        self.change(|state| state.ended = true);
        Ok(())
    }

    async fn push(&self, head: ChunkHead, stored: Bytes) -> Result<(), Failure> {
        let bytes = stored.len() as u64;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.has_memory(bytes) {
                // In memory of its very size: what it was sealed in is larger, and is wanted for the next one.
                let stored = Bytes::copy_from_slice(&stored);
                self.change(|state| {
                    state.memory += bytes;
                    state.waiting.push_back(Waiting { head, place: Place::Memory(stored) });
                });
                return Ok(());
            }
            if let Some(path) = self.place_on_disk(bytes) {
                let (file, content) = (path.clone(), stored.clone());
                let written = host::blocking(move || {
                    fs::write(&file, &content).map_err(Failure::io(format!("write {}", file.display())))
                });
                if written.await.is_ok() {
                    self.change(|state| {
                        state.disk += bytes;
                        state.waiting.push_back(Waiting { head, place: Place::Disk(path) });
                    });
                    return Ok(());
                }
                self.change(|state| state.disk_failed = true);
                continue;
            }
            changed.await;
        }
    }

    fn has_memory(&self, bytes: u64) -> bool {
        let state = self.state();
        state.waiting.is_empty() || state.memory + bytes <= self.room.memory_bytes
    }

    fn place_on_disk(&self, bytes: u64) -> Option<PathBuf> {
        let mut state = self.state();
        let folder = self.folder.as_ref().filter(|_| !state.disk_failed)?;
        (state.disk + bytes <= self.room.disk_bytes).then(|| {
            state.files += 1;
            folder.path().join(state.files.to_string())
        })
    }

    /// Waits until there is one to take: `false` when there will be none any more. May be dropped while it waits.
    pub async fn ready(&self) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let (empty, ended) = {
                let state = self.state();
                (state.waiting.is_empty(), state.ended)
            };
            if !empty || ended {
                return !empty;
            }
            changed.await;
        }
    }

    /// Takes the next one; `None` when none waits. Must be waited for to its end.
    ///
    /// # Errors
    /// It cannot be read back.
    pub async fn take(&self) -> Result<Option<(ChunkHead, Bytes)>, Failure> {
        let Some(Waiting { head, place }) = self.state().waiting.pop_front() else { return Ok(None) };
        let bytes = head.stored_bytes;
        let stored = match place {
            Place::Memory(stored) => {
                self.change(|state| state.memory -= bytes);
                stored
            }
            Place::Disk(path) => {
                let stored = host::blocking(move || {
                    let stored = read::file(&path, bytes).map_err(Failure::io(format!("read {}", path.display())))?;
                    fs::remove_file(&path).map_err(Failure::io(format!("remove {}", path.display())))?;
                    Ok(stored)
                });
                let stored = stored.await?;
                self.change(|state| state.disk -= bytes);
                stored.into()
            }
        };
        Ok(Some((head, stored)))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::protocol::{BackupPart, Digest};

    fn chunk(index: u32) -> (ChunkHead, Bytes) {
        let stored = Bytes::from(vec![index as u8; 100]);
        let (stored_sha256, raw_sha256) = (Digest([0; 32]), Digest([0; 32]));
        let head =
            ChunkHead { part: BackupPart::Wal, index, stored_bytes: 100, stored_sha256, raw_bytes: 1, raw_sha256 };
        (head, stored)
    }

    async fn push(backlog: &Backlog, index: u32) -> bool {
        let (head, stored) = chunk(index);
        tokio::time::timeout(Duration::from_millis(50), backlog.push(head, stored)).await.is_ok()
    }

    async fn taken(backlog: &Backlog) -> Option<u32> {
        let (head, stored) = backlog.take().await.unwrap()?;
        assert!(stored.len() == 100 && stored.iter().all(|byte| u32::from(*byte) == head.index));
        Some(head.index)
    }

    fn files(folder: &Path) -> usize {
        let inside = |entry: fs::DirEntry| fs::read_dir(entry.path()).unwrap().count();
        fs::read_dir(folder).unwrap().map(|entry| inside(entry.unwrap())).sum()
    }

    #[tokio::test]
    async fn what_waits_goes_into_memory_then_onto_the_disk_and_comes_out_in_order() {
        let disk = tempfile::tempdir().unwrap();
        let backlog = Backlog::new(WalRoom { memory_bytes: 250, disk_bytes: 300 }, disk.path());
        for index in 0..5 {
            assert!(push(&backlog, index).await);
        }
        assert_eq!(files(disk.path()), 3);
        assert!(!push(&backlog, 5).await, "there is no room for it");
        assert_eq!(taken(&backlog).await, Some(0));
        assert!(push(&backlog, 5).await, "the room in memory is free again");
        for index in 1..6 {
            assert!(backlog.ready().await);
            assert_eq!(taken(&backlog).await, Some(index));
        }
        assert_eq!((taken(&backlog).await, files(disk.path())), (None, 0));
        backlog.change(|state| state.ended = true);
        assert!(!backlog.ready().await);
        drop(backlog);
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn without_a_disk_one_waits_however_large_and_no_more_than_memory_bears() {
        let nowhere = Path::new("/nowhere/at/all");
        let backlog = Backlog::new(WalRoom { memory_bytes: 50, disk_bytes: 1000 }, nowhere);
        assert!(push(&backlog, 0).await, "larger than all the room");
        assert!(!push(&backlog, 1).await);
        assert_eq!(taken(&backlog).await, Some(0));
    }

    #[tokio::test]
    async fn a_disk_that_refuses_one_is_not_asked_again() {
        let disk = tempfile::tempdir().unwrap();
        let backlog = Backlog::new(WalRoom { memory_bytes: 100, disk_bytes: 1000 }, disk.path());
        fs::remove_dir(backlog.folder.as_ref().unwrap().path()).unwrap();
        assert!(push(&backlog, 0).await);
        assert!(!push(&backlog, 1).await);
        assert!(backlog.state().disk_failed);
        assert_eq!(taken(&backlog).await, Some(0));
        assert!(push(&backlog, 1).await);
    }
}
