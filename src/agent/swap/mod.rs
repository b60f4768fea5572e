//! Puts a checked stage in the place of the data directory, and back.
//!
//! Only renames within one volume, each made durable before the next. The control file is put in place last: without
//! it PostgreSQL cannot start, so nothing half-way can be mistaken for a database. Each step looks at what is there
//! and goes on from it; folders are known by their inode number, which no rename changes.

use std::path::{Path, PathBuf};

use super::folders::{self, StageRecord};
use super::host::PodFiles;
use super::protocol::{Failure, FailureKind, SwapReport, SwapRequest};
use crate::postgres::{ControlData, control};

/// The control file's name until the swap is done.
pub const HELD_BACK: &str = "global/pg_control.dr-staged";

/// The names that a run uses on the volume.
#[derive(Debug, Clone)]
pub struct RunFolders {
    /// The data directory.
    pub pgdata: PathBuf,
    /// Where the new data is staged.
    pub stage: PathBuf,
    /// Where the old data directory is kept.
    pub before: PathBuf,
    /// What is known of the stage.
    pub record: PathBuf,
    /// What has been written into a stage that is not finished.
    pub outline: PathBuf,
    run: String,
}

fn unexpected(message: String) -> Failure {
    Failure::new(FailureKind::Unexpected, message)
}

impl RunFolders {
    /// The names for `run`.
    pub fn new(files: &PodFiles, run: &str) -> Self {
        let beside = |name: String| files.volume.join(name);
        Self {
            pgdata: files.volume.join(&files.pgdata),
            stage: beside(format!("dr-stage-{run}")),
            before: beside(format!("dr-before-{run}")),
            record: beside(format!("dr-stage-{run}.json")),
            outline: beside(format!("dr-stage-{run}.outline")),
            run: run.to_owned(),
        }
    }

    fn record(&self) -> Result<StageRecord, Failure> {
        let record = StageRecord::load(&self.record)?.ok_or_else(|| {
            unexpected(format!("there is no finished stage of run {} beside {}", self.run, self.pgdata.display()))
        })?;
        if record.run != self.run {
            return Err(unexpected(format!("{} is of run {}", self.record.display(), record.run)));
        }
        Ok(record)
    }

    /// Puts the stage in place. Returns whether an earlier call had begun. A kill at any point leaves what the next
    /// call finishes.
    ///
    /// # Errors
    /// When there is no finished stage, the data directory is in use, or what is found is not what a swap leaves.
    pub fn swap(&self, request: &SwapRequest) -> Result<bool, Failure> {
        let record = self.record()?;
        if record.withdrawn {
            let message = format!("the stage of run {} was taken out again and must be made anew", self.run);
            return Err(unexpected(message));
        }
        let mine = |path: &Path| Ok::<_, Failure>(folders::inode(path)? == Some(record.inode));
        let mut resumed = true;
        if !mine(&self.pgdata)? {
            if !mine(&self.stage)? {
                let message =
                    format!("neither {} nor {} is the finished stage", self.stage.display(), self.pgdata.display());
                return Err(unexpected(message));
            }
            resumed = folders::inode(&self.before)?.is_some();
            if folders::inode(&self.pgdata)?.is_some() {
                self.check_unused(request)?;
                if resumed {
                    let message = format!(
                        "{} is there again although {} was put aside before",
                        self.pgdata.display(),
                        self.before.display()
                    );
                    return Err(unexpected(message));
                }
                folders::rename(&self.pgdata, &self.before)?;
            }
            folders::rename(&self.stage, &self.pgdata)?;
        }
        let (held, control) = (self.pgdata.join(HELD_BACK), self.pgdata.join(control::NAME));
        match (held.exists(), control.exists()) {
            (true, false) => folders::rename(&held, &control)?,
            (false, true) => {}
            (held, _) => {
                let what = if held { "two control files" } else { "no control file" };
                return Err(unexpected(format!("{} has {what}", self.pgdata.display())));
            }
        }
        Ok(resumed)
    }

    fn check_unused(&self, request: &SwapRequest) -> Result<(), Failure> {
        if !request.nothing_else_mounts && self.pgdata.join("postmaster.pid").exists() {
            let message = format!("a server may be running on {}: it has a postmaster.pid", self.pgdata.display());
            return Err(Failure::new(FailureKind::Running, message));
        }
        Ok(())
    }

    /// What the swap has led to.
    pub fn report(&self, resumed: bool, control: ControlData) -> SwapReport {
        let kept = self.before.exists().then(|| self.before.display().to_string());
        SwapReport { kept, resumed, control }
    }

    /// Undoes a swap: the old data directory is back, the stage is withdrawn. Returns whether there was anything to
    /// undo. A kill at any point leaves what the next call finishes.
    ///
    /// # Errors
    /// When what is found is not what a swap or an interrupted undo leaves.
    pub fn put_back(&self) -> Result<bool, Failure> {
        folders::remove(&self.outline)?;
        let Some(mut record) = StageRecord::load(&self.record)? else {
            if folders::inode(&self.before)?.is_some() {
                let message = format!("{} is there, but no record of the swap", self.before.display());
                return Err(unexpected(message));
            }
            return Ok(false);
        };
        if !record.withdrawn {
            record.withdrawn = true;
            record.store(&self.record)?;
        }
        let mut moved = false;
        if folders::inode(&self.pgdata)? == Some(record.inode) {
            folders::rename(&self.pgdata, &self.stage)?;
            moved = true;
        }
        if folders::inode(&self.before)?.is_some() {
            if folders::inode(&self.pgdata)?.is_some() {
                let message = format!("{} is taken by what this run did not put there", self.pgdata.display());
                return Err(unexpected(message));
            }
            folders::rename(&self.before, &self.pgdata)?;
            moved = true;
        }
        folders::remove(&self.stage)?;
        folders::remove(&self.record)?;
        Ok(moved)
    }
}

#[cfg(test)]
mod tests;
