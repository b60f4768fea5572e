//! `dr bundle import`.

use std::path::PathBuf;

use clap::Args;

use super::pages::scope;
use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::import::{self, BackupPlace, BuiltInReader, ImportPlan, ImportReport, ImportRequest};
use crate::text::bytes;
use crate::ui::{Mark, Page, Report, Ui};

/// Make a bundle of a backup that was made without dr
///
/// Takes the folder that the manual guide and OpsChain's own physical backups leave: base.tar.gz, pg_wal.tar.gz and
/// backup_manifest. With --built-in one of OpsChain's own is read out of its volume, by a pod that can write nothing. Every file is compared with PostgreSQL's manifest. The config is that of the deployment that was
/// live when the backup began, by the config vault: `dr config record` takes an old values.yaml in. The bundle says what
/// nobody has checked, and is restored like any other.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle import /limepoint/backups/20260820_101500 --dry-run
  dr bundle import /mnt/20260820_101500 --secrets kept.yaml
  dr bundle import --built-in periodic/20260820_020000
  dr bundle import /mnt/20260820_101500 --deployment 2026-08-20")]
pub struct ImportArgs {
    /// The folder with the backup's three files
    #[arg(required_unless_present = "built_in")]
    pub folder: Option<PathBuf>,
    /// One of OpsChain's own backups, as `dr bundle list --built-in` shows it
    #[arg(long, value_name = "NAME", conflicts_with = "folder")]
    pub built_in: Option<String>,
    /// The deployment whose config belonged to it, as `dr config log` shows it, if not what was live then
    #[arg(long, value_name = "ID")]
    pub deployment: Option<String>,
    /// Secrets and ConfigMaps of the install (kubectl get secret,configmap -o yaml); - reads stdin
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// Look at everything, say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: ImportArgs) -> Result<Exit> {
    let Some(name) = &args.built_in else {
        let folder = args.folder.clone().unwrap_or_default();
        return import_from(ctx, ui, &args, BackupPlace::Folder(folder)).map(|()| Exit::Success);
    };
    let reader = BuiltInReader::open(ctx).await?;
    let imported = match reader.place(name).await {
        Ok(place) => import_from(ctx, ui, &args, place),
        Err(error) => Err(error),
    };
    // What was made stays made; the pod ends by itself.
    if let Err(error) = reader.close().await {
        ctx.events.warn(format!("the pod that read the volume is still there: {error}"), None);
    }
    imported.map(|()| Exit::Success)
}

fn import_from(ctx: &Ctx, ui: &Ui, args: &ImportArgs, place: BackupPlace) -> Result<()> {
    let request = ImportRequest { place, deployment: args.deployment.clone(), secrets: args.secrets.clone() };
    let plan = import::plan(ctx, &request)?;
    if args.dry_run {
        return ui.dry_run(&plan);
    }
    ui.plan(&plan);
    ui.report(&import::import(ctx, &request, &plan)?)
}

impl Report for ImportPlan {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("Plan: import a backup as bundle {}", self.bundle));
        page.fields(&[
            ("backup", format!("{}, begun at {}, {}", self.folder, self.created, bytes(self.bytes))),
            (
                "database",
                format!(
                    "PostgreSQL {}, {}, {}",
                    self.postgresql_major,
                    self.system_identifier,
                    bytes(self.database_bytes)
                ),
            ),
            ("as it was at", self.until.to_string()),
            ("config", format!("deployment {} of {}, {}", self.deployment, self.deployed, self.chart)),
            ("OpsChain", self.opschain_version.clone()),
            ("store", self.store.clone()),
        ]);
        for kept in &self.kept {
            page.finding(Mark::Ok, &format!("with {kept}"), None);
        }
        scope(page, &self.scope, "dr bundle import FOLDER --dry-run -v");
    }
}

impl Report for ImportReport {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("Bundle {}", self.bundle));
        page.fields(&[
            ("file", format!("{}, {}", self.address, bytes(self.bytes))),
            ("database", format!("{} files, each as PostgreSQL's manifest says", self.files)),
            ("config", format!("deployment {}, OpsChain {}", self.deployment, self.opschain_version)),
        ]);
        for copy in &self.copies {
            page.finding(Mark::Ok, &format!("also in {copy}"), None);
        }
        scope(page, &self.scope, &format!("dr bundle show {} --scope", self.bundle));
        page.next(&self.verify);
    }
}
