//! How bundles, plans and their outcomes look to people.

use std::time::Duration;

use crate::bundle::report::{ListReport, ListRow, ShowReport, VerifyReport};
use crate::bundle::{OutOfScope, SignatureState};
use crate::ops::{create, restore};
use crate::text::{bytes, elapsed, plural};
use crate::ui::{Mark, Page, Report, short_time};

impl Report for ListReport {
    fn human(&self, page: &mut Page) {
        if self.bundles.is_empty() {
            page.line(format!("Store {} has no bundle yet.", self.store));
            return page.next("dr bundle create");
        }
        let rows: Vec<Vec<String>> = self.bundles.iter().map(row).collect();
        page.table(&["bundle", "created", "OpsChain", "namespace", "size", "last proved"], &rows);
    }
}

fn row(bundle: &ListRow) -> Vec<String> {
    let proved = match (&bundle.unreadable, &bundle.proof) {
        (Some(reason), _) => format!("{} {reason}", Mark::Bad.word()),
        (None, Some(proof)) => format!("{}, {}", proof.depth, short_time(proof.verified_at)),
        (None, None) => "never".to_owned(),
    };
    vec![
        bundle.name.clone(),
        bundle.created.map_or(String::new(), short_time),
        bundle.opschain_version.clone().unwrap_or_default(),
        bundle.namespace.clone().unwrap_or_default(),
        bytes(bundle.bytes),
        proved,
    ]
}

impl Report for ShowReport {
    fn human(&self, page: &mut Page) {
        let database = &self.database;
        let proved =
            self.proof.as_ref().map_or("never".to_owned(), |p| format!("{}, {}", p.depth, short_time(p.verified_at)));
        page.fields(&[
            ("bundle", self.name.clone()),
            ("created", format!("{} by dr {}", short_time(self.created), self.dr_version)),
            ("OpsChain", format!("{} (chart {})", self.opschain_version, self.chart_version)),
            ("from", format!("namespace {}, release {}", self.install.namespace, self.install.release)),
            (
                "size",
                format!(
                    "{}, holding {} of database",
                    bytes(self.bytes),
                    bytes(database.base_bytes + database.wal_bytes)
                ),
            ),
            ("database", format!("PostgreSQL {}, system identifier {}", database.version, database.system_identifier)),
            ("WAL", format!("timeline {}, {} to {}", database.timeline, database.start_lsn, database.last_lsn)),
            ("held still", self.quiesce.clone()),
            ("signature", signature(&self.signature)),
            ("opens for", self.recipients.join(", ")),
            ("last proved", proved),
        ]);
        scope(page, &self.scope);
        page.gap();
        page.next(&format!("dr bundle verify {} --decrypt", self.name));
    }
}

impl Report for VerifyReport {
    fn human(&self, page: &mut Page) {
        let took = elapsed(Duration::from_millis(self.milliseconds));
        page.finding(
            Mark::Ok,
            &format!(
                "{}: {} members, {}, every stored byte as signed ({took})",
                self.name,
                self.members,
                bytes(self.bytes)
            ),
            None,
        );
        let mark = if self.signature.signer().is_some() { Mark::Ok } else { Mark::Warn };
        page.finding(mark, &signature(&self.signature), None);
        match &self.database {
            Some(database) => page.finding(
                Mark::Ok,
                &format!(
                    "{} as PostgreSQL's own manifest lists them, {}; WAL without a gap from {} to {}",
                    plural(database.files, "database file"),
                    bytes(database.bytes),
                    database.wal_from,
                    database.wal_to
                ),
                None,
            ),
            None => {
                page.next(&format!("dr bundle verify {} --decrypt opens it and checks every database file", self.name))
            }
        }
    }
}

fn signature(state: &SignatureState) -> String {
    match state {
        SignatureState::Trusted { signer } => format!("good, by {}", signer.principal),
        SignatureState::Unchecked { fingerprint } => {
            format!("good, by a key that nobody was asked about: {fingerprint}")
        }
        SignatureState::Unsigned => "none: anybody may have made this bundle".to_owned(),
    }
}

impl Report for create::Plan {
    fn human(&self, page: &mut Page) {
        let live = &self.live;
        page.heading("A bundle is about to be made");
        page.fields(&[
            (
                "of",
                format!(
                    "OpsChain {}, release revision {} (deployment {})",
                    live.opschain_version, live.revision, live.deployment
                ),
            ),
            ("database", format!("{}, {}", live.primary, bytes(live.databases_bytes))),
            ("held still", self.quiesce.word().to_owned()),
            ("put back after", live.replicas.line()),
            ("sealed to", plural(self.recipients.len() as u64, "recipient")),
            (
                "into",
                format!(
                    "{}{}",
                    self.store,
                    self.store_free.map_or(String::new(), |free| format!(" ({} free)", bytes(free)))
                ),
            ),
        ]);
        warnings(page, &self.warnings);
        scope(page, &self.scope);
        page.gap();
    }
}

impl Report for create::Created {
    fn human(&self, page: &mut Page) {
        let still = match self.stopped_milliseconds {
            Some(stopped) => format!("API and workers were stopped for {}", elapsed(Duration::from_millis(stopped))),
            None => "API and workers were not stopped".to_owned(),
        };
        page.finding(
            Mark::Ok,
            &format!(
                "{} ({}, from {} of database) in {}; {still}",
                self.bundle,
                bytes(self.bytes),
                bytes(self.raw_bytes),
                elapsed(Duration::from_millis(self.milliseconds))
            ),
            None,
        );
        page.line(&self.path);
        page.next(&format!("copy it off this host, then: dr bundle verify {} --decrypt", self.bundle));
    }
}

impl Report for restore::Plan {
    fn human(&self, page: &mut Page) {
        page.heading("A bundle is about to be restored");
        let signer = self.signer.clone().map_or("nobody trusted".to_owned(), |signer| format!("signed by {signer}"));
        let chart = match &self.chart {
            restore::ChartSource::Bundle => "from the bundle".to_owned(),
            restore::ChartSource::Pulled { reference, version } => format!("{reference} {version}"),
        };
        page.fields(&[
            ("bundle", format!("{} ({}, {signer})", self.bundle, bytes(self.bytes))),
            ("made by", format!("OpsChain {}", self.made_by)),
            ("will run", format!("OpsChain {}, chart {chart}", self.version)),
            ("into", format!("context {}, namespace {}, release {}", self.context, self.namespace, self.release)),
            (
                "database",
                format!(
                    "{}: {}, system identifier {}",
                    self.database,
                    bytes(self.database_bytes),
                    self.system_identifier
                ),
            ),
            ("with", format!("helm {}, operator {}", self.helm, self.operator)),
        ]);
        warnings(page, &self.warnings);
        scope(page, &self.scope);
        page.gap();
    }
}

impl Report for restore::Restored {
    fn human(&self, page: &mut Page) {
        page.finding(
            Mark::Ok,
            &format!(
                "{} serves OpsChain {} again, restored from {} in {}",
                self.install,
                self.version,
                self.bundle,
                elapsed(Duration::from_millis(self.milliseconds))
            ),
            None,
        );
        page.finding(
            Mark::Ok,
            &format!(
                "the running database says that it is {}, at {}; {} were checked",
                self.system_identifier,
                self.lsn,
                plural(self.files, "file")
            ),
            None,
        );
        if let Some(deployment) = &self.deployment {
            page.finding(Mark::Ok, &format!("recorded as deployment {deployment}"), None);
        }
        scope(page, &self.scope);
    }
}

fn warnings(page: &mut Page, warnings: &[String]) {
    for warning in warnings {
        page.finding(Mark::Warn, warning, None);
    }
}

/// What is not in the bundle, and what to do about it after a restore.
fn scope(page: &mut Page, scope: &[OutOfScope]) {
    if scope.is_empty() {
        return;
    }
    page.gap();
    page.heading("Not in the bundle");
    for item in scope {
        page.wrapped("  - ", "    ", &format!("{}: {}. {}", item.what, item.why, item.whereabouts));
    }
}
