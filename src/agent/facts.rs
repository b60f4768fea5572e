//! What the pod and its volume look like.

use std::path::Path;

use super::host::{self, PodFiles};
use super::protocol::{Failure, FailureKind, PodFacts, VolumeFacts};
use crate::postgres::ControlData;

/// Looks around in the pod.
///
/// # Errors
/// When the volume is mounted and cannot be looked at.
pub async fn inspect(files: &PodFiles) -> Result<PodFacts, Failure> {
    Ok(PodFacts {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        postgres_major: host::postgres_major().await,
        watchdog_fails: files.watchdog_fails.clone(),
        volume: if files.volume.is_dir() { Some(volume(files).await?) } else { None },
    })
}

async fn volume(files: &PodFiles) -> Result<VolumeFacts, Failure> {
    let mount = &files.volume;
    let space =
        rustix::fs::statvfs(mount).map_err(|e| Failure::io(format!("look at {}", mount.display()))(e.into()))?;
    let pgdata = mount.join(&files.pgdata);
    let mut beside = Vec::new();
    for name in names(mount)? {
        if name != files.pgdata && name != "lost+found" {
            beside.push(name);
        }
    }
    beside.sort();
    Ok(VolumeFacts {
        mount: mount.display().to_string(),
        size_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        pgdata: pgdata.is_dir() && !names(&pgdata)?.is_empty(),
        postmaster_pid: pgdata.join("postmaster.pid").exists(),
        control: control(&pgdata).await.ok(),
        beside,
    })
}

fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let act = || Failure::io(format!("look into {}", folder.display()));
    std::fs::read_dir(folder)
        .map_err(act())?
        .map(|entry| Ok(entry.map_err(act())?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// What `pg_controldata` says of a data directory.
///
/// # Errors
/// When it fails or says nothing usable.
pub async fn control(pgdata: &Path) -> Result<ControlData, Failure> {
    let text = host::output("pg_controldata", &[pgdata.display().to_string()], None).await?;
    ControlData::parse(&text)
        .map_err(|error| Failure::new(FailureKind::Damaged, format!("{}: {error}", pgdata.display())))
}
