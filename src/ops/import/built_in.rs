//! OpsChain's own backups, looked at in the volume that it keeps them in: by a pod that mounts it and can write nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Handle;

use super::place::{BackupPlace, VolumeFolder};
use crate::clock;
use crate::cluster::{PodPlacement, VolumeFile};
use crate::error::{CommandError, Exit, Result};
use crate::journal;
use crate::ops::ctx::interrupted;
use crate::ops::helper::{self, POD_LIMIT};
use crate::ops::{Ctx, quoted};
use crate::opschain::backups::{self, BACKUP_CLAIM, BACKUP_JOB, BackupFile, BackupKind, BuiltInBackup};

/// OpsChain's own backups.
#[derive(Debug, Serialize)]
pub struct BuiltInList {
    /// The claim of the volume that they are in.
    pub claim: String,
    /// When they are made; nothing where there is no CronJob.
    pub schedule: Option<String>,
    pub suspended: bool,
    pub last_success: Option<Timestamp>,
    pub backups: Vec<BuiltInBackup>,
    /// What of the volume could not be looked at: more may be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unlisted: Vec<String>,
    /// The command that makes a bundle of the newest that is whole and physical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A pod that reads the volume. It has to be closed; it ends by itself when it was not.
pub struct BuiltInReader {
    ctx: Ctx,
    run: String,
    files: Vec<VolumeFile>,
    list: BuiltInList,
}

/// Lists OpsChain's own backups. Starts a pod, and removes it.
///
/// # Errors
/// There is no such volume, no image to read it with, or the pod does not start.
pub async fn list(ctx: &Ctx) -> Result<BuiltInList> {
    let reader = BuiltInReader::open(ctx).await?;
    reader.close().await?;
    Ok(reader.list)
}

impl BuiltInReader {
    /// Starts the pod, and looks at what is in the volume.
    ///
    /// # Errors
    /// As [`list`]. Nothing is left then.
    pub async fn open(ctx: &Ctx) -> Result<Self> {
        let cluster = ctx.cluster().await?;
        let claim = cluster.claim(BACKUP_CLAIM).await?;
        if claim.is_none_or(|claim| claim.deleting) {
            let what = format!("namespace {} has no volume {BACKUP_CLAIM}", cluster.namespace());
            return Err(CommandError::new(Exit::NotFound, what).hint(
                "OpsChain makes backups of its own since 2026-07-09, where `db.backup` in the values says so. A backup in a folder: `dr bundle import FOLDER`.",
            ));
        }
        let job = cluster.scheduled_job(BACKUP_JOB).await?;
        let (image, placement) = match job.as_ref().and_then(|job| Some((job.image.clone()?, job.placement.clone()))) {
            Some(of_job) => of_job,
            None => Self::of_database(ctx).await?,
        };
        let run = journal::new_run_id("read", clock::now());
        let pod = helper::reader_pod(ctx, &run, &image, &placement, BACKUP_CLAIM).await?;
        let mut reader = Self {
            ctx: ctx.clone(),
            run,
            files: Vec::new(),
            list: BuiltInList {
                claim: BACKUP_CLAIM.to_owned(),
                schedule: job.as_ref().map(|job| job.schedule.clone()),
                suspended: job.as_ref().is_some_and(|job| job.suspended),
                last_success: job.and_then(|job| job.last_success),
                backups: Vec::new(),
                unlisted: Vec::new(),
                next: None,
            },
        };
        let started = async {
            cluster.create_pod(&pod).await?;
            let name = helper::pod_name(&reader.run);
            cluster.wait_pod_ready(&name, POD_LIMIT, &ctx.events).await?;
            Ok::<_, CommandError>(cluster.volume_files(&name).await?)
        };
        let found = tokio::select! {
            found = started => found,
            () = ctx.cancel.cancelled() => Err(interrupted()),
        };
        match found {
            Ok(found) => {
                for what in &found.unlisted {
                    let claim = &reader.list.claim;
                    ctx.events.warn(format!("volume {claim} is not looked at as a whole: {what}"), None);
                }
                reader.list.unlisted = found.unlisted;
                reader.files = found.files;
            }
            Err(error) => {
                // The error is the one to be told; the pod ends by itself.
                drop(reader.close().await);
                return Err(error);
            }
        }
        reader.list.backups = backups::backups(&reader.files.iter().map(seen).collect::<Vec<_>>());
        let good = reader.list.backups.iter().find(|backup| backup.complete && backup.kind == BackupKind::Physical);
        reader.list.next = good.map(|backup| format!("dr bundle import --built-in {}", quoted(&backup.name)));
        Ok(reader)
    }

    /// What reads the volume where there is no CronJob: what the database runs.
    async fn of_database(ctx: &Ctx) -> Result<(String, PodPlacement)> {
        let name = &ctx.settings_or_defaults()?.database.cluster;
        let database = ctx.cluster().await?.database(name).await?;
        let image = database.as_ref().and_then(|database| Some((database.image()?.to_owned(), database)));
        let Some((image, database)) = image else {
            let what = format!(
                "there is neither CronJob {BACKUP_JOB} nor database {name}, whose image could read volume {BACKUP_CLAIM}"
            );
            return Err(CommandError::new(Exit::NotFound, what).hint(
                "Mount the volume in a pod of your own, copy the backup out of it, and name the folder: `dr bundle import FOLDER`.",
            ));
        };
        Ok((image, PodPlacement::of_database(&database.spec)))
    }

    /// The backup of that name, to be imported.
    ///
    /// # Errors
    /// There is none, it is not finished, or no bundle can be made of it.
    pub async fn place(&self, name: &str) -> Result<BackupPlace> {
        let name = name.trim_matches('/');
        choose(&self.list.backups, name)?;
        Ok(BackupPlace::Volume(Box::new(VolumeFolder {
            cluster: self.ctx.cluster().await?.clone(),
            runtime: Handle::current(),
            pod: helper::pod_name(&self.run),
            claim: BACKUP_CLAIM.to_owned(),
            name: name.to_owned(),
            files: self.files.clone(),
        })))
    }

    /// Removes the pod.
    ///
    /// # Errors
    /// It is not gone in time.
    pub async fn close(&self) -> Result<()> {
        let cluster = self.ctx.cluster().await?;
        cluster.delete_pod(&helper::pod_name(&self.run), Duration::ZERO, POD_LIMIT, &self.ctx.events).await?;
        Ok(())
    }
}

fn seen(file: &VolumeFile) -> BackupFile {
    BackupFile { path: file.path.clone(), bytes: file.bytes, written: file.written }
}

/// The backup that a bundle can be made of.
///
/// # Errors
/// As [`BuiltInReader::place`].
fn choose<'b>(backups: &'b [BuiltInBackup], name: &str) -> Result<&'b BuiltInBackup> {
    let list = "`dr bundle list --built-in` shows what there is.";
    let Some(backup) = backups.iter().find(|backup| backup.name == name) else {
        return Err(CommandError::new(Exit::NotFound, format!("volume {BACKUP_CLAIM} has no backup {name}")).hint(list));
    };
    match backup.kind {
        BackupKind::Logical => Err(CommandError::new(
            Exit::Usage,
            format!("backup {name} is a logical one, and a bundle is made of a physical one"),
        )
        .hint("Restore it by hand: `psql -f globals.sql` and `pg_restore` into a fresh database, under `stopped=true`; then `dr bundle create`.")),
        _ if !backup.complete => Err(CommandError::new(
            Exit::Damaged,
            format!("OpsChain has not finished backup {name}: it has no marker"),
        )
        .hint("It may be at work on it. Where it is not: take another one.")
        .hint(list)),
        BackupKind::Unknown => {
            Err(CommandError::new(Exit::Damaged, format!("backup {name} has not the files of a backup")).hint(list))
        }
        BackupKind::Physical => Ok(backup),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_physical_backup_that_is_finished_becomes_a_bundle() {
        let backup = |name: &str, kind, complete| BuiltInBackup {
            name: name.into(),
            kind,
            complete,
            bytes: 1,
            written: Timestamp::UNIX_EPOCH,
        };
        let all = [
            backup("periodic/a", BackupKind::Physical, true),
            backup("periodic/b", BackupKind::Physical, false),
            backup("pre-deploy/c", BackupKind::Logical, true),
            backup("periodic/d", BackupKind::Unknown, true),
        ];
        assert_eq!(choose(&all, "periodic/a").unwrap().name, "periodic/a");
        for (name, exit, words) in [
            ("periodic/b", Exit::Damaged, "has not finished backup periodic/b"),
            ("pre-deploy/c", Exit::Usage, "is a logical one"),
            ("periodic/d", Exit::Damaged, "has not the files of a backup"),
            ("periodic/e", Exit::NotFound, "volume opschain-db-backup has no backup periodic/e"),
        ] {
            let error = choose(&all, name).unwrap_err();
            assert_eq!(error.exit(), exit, "{error}");
            assert!(error.message().contains(words) && !error.hints().is_empty(), "{error}");
        }
    }
}
