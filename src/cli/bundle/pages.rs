//! How bundles, plans and their outcomes look to people.

use std::time::Duration;

use serde::Serialize;

use super::super::deploy::upgrade::way;
use crate::bundle::report::{SampleReport, ShowReport, VerifyReport};
use crate::bundle::{BundledVolume, Depth, OutOfScope, SignatureState};
use crate::cli::forecast;
use crate::filetree::TreeTotals;
use crate::ops::{create, restore};
use crate::opschain::directory::entries;
use crate::settings::Quiesce;
use crate::text::{bytes, elapsed, plural};
use crate::ui::{Mark, Page, Report, short_time};

impl Report for ShowReport {
    fn human(&self, page: &mut Page) {
        page.fields(&show_fields(self));
        if let Some(pin) = &self.pinned {
            page.finding(Mark::Ok, &format!("pinned: {pin}"), None);
        }
        if let Some(gone) = &self.gone {
            let back = format!("dr bundle unprune {}", self.name);
            page.finding(Mark::Warn, &format!("marked as gone: {gone}"), Some(&back));
        }
        scope(page, &self.scope, &format!("dr bundle show {} --scope", self.arguments));
        if is_to_verify(self) {
            page.next(&self.verify);
        }
    }
}

/// What a bundle is, field by field.
pub fn show_fields(shown: &ShowReport) -> Vec<(&'static str, String)> {
    let database = &shown.database;
    let proved = shown.proof.as_ref().map_or("never".to_owned(), |proof| {
        let by = proof.proved_by.as_ref();
        let by = by.map_or("signed by nobody trusted here".to_owned(), |by| format!("by {by}"));
        format!("{}, {}, {by}", proof.depth, short_time(proof.verified_at))
    });
    let created = format!("{} by dr {}", short_time(shown.created), shown.dr_version);
    let safety = shown.replaced_by.as_ref().map(|run| format!(", before {run} replaced what it holds"));
    let mut fields = vec![
        ("bundle", shown.name.clone()),
        ("file", shown.address.clone()),
        ("created", created + &safety.unwrap_or_default()),
        ("OpsChain", format!("{} (chart {})", shown.opschain_version, shown.chart_version)),
        ("from", format!("namespace {}, release {}", shown.install.namespace, shown.install.release)),
        (
            "size",
            format!(
                "{}; uncompressed {}: {} of data files, {} of WAL",
                bytes(shown.bytes),
                bytes(database.base_bytes + database.wal_bytes),
                bytes(database.base_bytes),
                bytes(database.wal_bytes)
            ),
        ),
        ("database", format!("PostgreSQL {}, system identifier {}", database.version, database.system_identifier)),
        ("WAL", format!("timeline {}, {} to {}", database.timeline, database.start_lsn, database.last_lsn)),
        ("quiesced", shown.quiesce.clone()),
        ("LDAP", directory(shown)),
    ];
    fields.extend(shown.volumes.iter().map(|volume| ("volume", volume_line(volume))));
    fields.extend([
        ("signature", signature(&shown.signature)),
        ("opens for", shown.recipients.join(", ")),
        ("last proof", proved),
    ]);
    fields
}

/// What it holds of another volume.
fn volume_line(volume: &BundledVolume) -> String {
    let TreeTotals { files, bytes: size, .. } = volume.totals;
    let BundledVolume { volume: name, claim, .. } = volume;
    format!("{name}: {}, {}, of claim {claim} ({} asked for)", plural(files, "file"), bytes(size), volume.size)
}

/// What it holds of the LDAP server.
fn directory(shown: &ShowReport) -> String {
    match shown.counts.get("directory_entries") {
        Some(count) => format!("{}, in ldap-data.ldif", entries(*count)),
        None => "no users or groups".to_owned(),
    }
}

/// Whether nobody trusted has said that all of it opens.
pub fn is_to_verify(shown: &ShowReport) -> bool {
    shown.proof.as_ref().is_none_or(|proof| !proof.counts() || proof.depth < Depth::Plain)
}

impl Report for VerifyReport {
    fn human(&self, page: &mut Page) {
        let took = elapsed(Duration::from_millis(self.milliseconds));
        page.finding(
            Mark::Ok,
            &format!(
                "{} of {}: the checksums of all {} members are as signed, {} read ({took})",
                self.name,
                self.install,
                self.members,
                bytes(self.bytes)
            ),
            None,
        );
        signature_finding(page, &self.signature);
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
            None => page.next(&format!("to check every database file: {}", self.verify)),
        }
        for seen in &self.volumes {
            let (files, size) = (plural(seen.files, "file"), bytes(seen.bytes));
            page.finding(
                Mark::Ok,
                &format!("volume {}: {files} as listed when it was read, {size}", seen.volume),
                None,
            );
        }
    }
}

impl Report for SampleReport {
    fn human(&self, page: &mut Page) {
        let took = elapsed(Duration::from_millis(self.milliseconds));
        let (base, wal) = (self.base_chunks, self.wal_chunks);
        let opened = if self.opened { " and opened" } else { "" };
        let text = format!(
            "{} of {}: a sample of {}: {} of {} base chunks, {} of {} WAL chunks and every other member are as signed, {} read{opened} ({took})",
            self.name,
            self.install,
            self.sample,
            base.read,
            base.of,
            wal.read,
            wal.of,
            bytes(self.bytes)
        );
        page.finding(Mark::Ok, &text, None);
        signature_finding(page, &self.signature);
        if self.bytes_not_read > 0 {
            let text =
                format!("not read: {}, {}", plural(self.members_not_read as u64, "chunk"), bytes(self.bytes_not_read));
            page.finding(Mark::Warn, &format!("{text}; a sample is not kept as a proof"), None);
        }
        page.next(&format!("to check all of it: {}", self.verify));
    }
}

pub(super) fn signature_finding(page: &mut Page, state: &SignatureState) {
    let mark = if state.signer().is_some() { Mark::Ok } else { Mark::Warn };
    page.finding(mark, &signature(state), None);
}

fn signature(state: &SignatureState) -> String {
    match state {
        SignatureState::Trusted { signer } => format!("valid, by {}", signer.principal),
        SignatureState::Unchecked { fingerprint } => {
            format!("valid; signer not checked (--any-signer): {fingerprint}")
        }
        SignatureState::Unsigned => "none: anybody may have made this bundle".to_owned(),
    }
}

impl Report for create::CreatePlan {
    fn human(&self, page: &mut Page) {
        let live = &self.live;
        let free = self.store_free.map_or(String::new(), |free| format!(" ({} free)", bytes(free)));
        let wal = live.wal_rate.map_or(String::new(), |rate| format!("; {}", rate.line()));
        page.heading("Plan: make a bundle");
        let mut fields = vec![
            ("install", format!("OpsChain {}, revision {}", live.opschain_version, live.revision)),
            ("deployment", live.deployment.clone()),
            ("database", format!("{}, {} by PostgreSQL's count{wal}", live.primary, bytes(live.databases_bytes))),
            ("quiesce", self.quiesce_line()),
            ("work", self.work_line().to_owned()),
            ("replicas", live.replicas.line()),
            ("sealed to", plural(self.recipients.len() as u64, "recipient")),
            ("store", format!("{}{free}", self.store)),
        ];
        fields.extend(forecast::line(self.forecast.as_ref()).map(|line| ("takes", line)));
        fields.extend(self.volumes.iter().map(|volume| ("volume", volume.line())));
        page.fields(&fields);
        forecast::steps(page, self.forecast.as_ref());
        warnings(page, &self.warnings);
        scope(page, &self.scope, "dr bundle create --dry-run -v");
    }
}

impl create::CreatePlan {
    fn work_line(&self) -> &'static str {
        if self.quiesce == Quiesce::None { "not waited for" } else { self.sight.line() }
    }

    fn quiesce_line(&self) -> String {
        let word = self.quiesce.word();
        match (self.stops(), self.watchdog) {
            (true, true) => format!("{word}, with a watchdog"),
            (true, false) => format!("{word}, no watchdog"),
            (false, _) if self.live.replicas.writers.is_empty() => {
                format!("{word}: nothing runs, so nothing is stopped")
            }
            (false, _) => format!("{word}: nothing is stopped"),
        }
    }
}

impl Report for create::CreateReport {
    fn human(&self, page: &mut Page) {
        let took = |milliseconds| elapsed(Duration::from_millis(milliseconds));
        let still = match (self.stopped_milliseconds, self.serving_milliseconds) {
            (Some(stopped), Some(serving)) => {
                let (stopped, serving) = (took(stopped), took(serving));
                format!("API and workers were stopped for {stopped}, and all served again after {serving}")
            }
            (Some(stopped), None) => format!("API and workers were stopped for {}", took(stopped)),
            (None, _) => "API and workers were not stopped".to_owned(),
        };
        let before = |writer: &String| format!("stays stopped: {writer}; `dr server start` starts it");
        page.finding(
            Mark::Ok,
            &format!(
                "{} ({}, {} uncompressed) in {}; {still}",
                self.bundle,
                bytes(self.bytes),
                bytes(self.raw_bytes),
                elapsed(Duration::from_millis(self.milliseconds))
            ),
            None,
        );
        page.line(&self.address);
        forecast::outcome(page, self.forecast.as_ref());
        self.copies.iter().for_each(|place| page.line(format!("copy, read back: {place}")));
        self.stays_stopped.iter().for_each(|writer| page.finding(Mark::Warn, &before(writer), None));
        page.next(&format!("copy it off this host, then in the folder of the copy: {}", self.verify));
    }
}

impl Report for restore::RestorePlan {
    fn human(&self, page: &mut Page) {
        page.heading("Plan: restore a bundle");
        let signer = self.signer.clone().map_or("signer not trusted".to_owned(), |by| format!("signed by {by}"));
        let chart = match &self.chart {
            restore::RestoreChart::Bundle => "from the bundle".to_owned(),
            restore::RestoreChart::Kept => "as it is: values, chart and Secrets stay".to_owned(),
            restore::RestoreChart::Pulled { reference, version } => format!("{reference} {version}"),
        };
        let because = self.strategy_because.as_ref().map(|because| format!(" ({because})"));
        let strategy = self.strategy.word().to_owned() + &because.unwrap_or_default();
        let takes = forecast::line(self.forecast.as_ref()).map_or(String::new(), |line| format!("; {line}"));
        page.fields(&[
            ("bundle", format!("{} ({}, by OpsChain {}, {signer})", self.bundle, bytes(self.bytes), self.made_by)),
            ("origin", self.origin.clone()),
            ("will run", format!("OpsChain {}, chart {chart}", self.version)),
            (
                "into",
                format!("context {}, namespace {}, release {}{takes}", self.context, self.namespace, self.release),
            ),
            (
                "database",
                format!(
                    "{}: {} of data files, system identifier {}",
                    self.database,
                    bytes(self.database_bytes),
                    self.system_identifier
                ),
            ),
            ("volume", self.storage.clone().unwrap_or_else(|| "not known".to_owned())),
            ("with", format!("helm {}, operator {}, strategy {strategy}", self.helm, self.operator)),
        ]);
        forecast::steps(page, self.forecast.as_ref());
        if let Some(existing) = &self.existing {
            replaced(page, existing);
        }
        if let Some(given) = &self.config {
            let line = format!("values of {}: their keys fit the data", given.path.display());
            page.finding(Mark::Ok, &line, None);
        }
        if let Some(count) = self.directory_entries {
            let line = format!("{} are put back before the API starts", entries(count));
            page.finding(Mark::Ok, &line, None);
        }
        for volume in &self.volumes {
            page.finding(Mark::Ok, &format!("volume {} are put back before the API starts", volume.line()), None);
        }
        if let Some(hold) = &self.hold {
            let line = format!("held, with no workers until `dr server start`: {}", hold.because);
            page.finding(Mark::Warn, &line, None);
        }
        if let Some(then) = &self.then_upgrade {
            page.line(format!("Then an upgrade to {}, each of these releases served before the next:", then.to));
            way(page, &then.releases);
        }
        warnings(page, &self.warnings);
        scope(page, &self.scope, &format!("dr bundle show {} --scope", self.arguments()));
    }
}

/// The install that goes, and what is kept of it.
fn replaced(page: &mut Page, existing: &restore::ExistingInstall) {
    let restore::ExistingInstall { revision, status, chart, state, .. } = existing;
    let which = match (existing.is_same_line, &existing.system_identifier) {
        (true, _) => "the bundle's own database".to_owned(),
        (false, Some(other)) => format!("another database than the bundle's: {other}"),
        (false, None) => "a database that does not say which it is".to_owned(),
    };
    let size = existing.bytes.map_or_else(|| "size not known".to_owned(), bytes);
    let newest = match &existing.newest_bundle {
        Some((bundle, created)) => format!("{bundle} of {}", short_time(*created)),
        None => "none is known".to_owned(),
    };
    let safety = match &existing.safety_store {
        Some(store) => format!("made first, into {store}"),
        None => "none: what is there is lost for good".to_owned(),
    };
    page.fields(&[
        ("replaces", format!("revision {revision} ({status}), chart {chart}; {which}, {size}, {state}")),
        ("its newest bundle", newest),
        ("safety bundle", safety),
    ]);
}

impl Report for restore::RestoreReport {
    fn human(&self, page: &mut Page) {
        page.finding(
            if self.serves { Mark::Ok } else { Mark::Warn },
            &format!(
                "{}, restored from {} in {}",
                self.seen,
                self.bundle,
                elapsed(Duration::from_millis(self.milliseconds))
            ),
            (!self.serves).then_some("dr server status"),
        );
        match &self.evidence {
            Some(evidence) => evidence.human(page),
            // Of a run whose folder has none.
            None => page.finding(
                Mark::Ok,
                &format!(
                    "the running database says that it is {}, at {}; {} were checked",
                    self.system_identifier,
                    self.lsn,
                    plural(self.files, "file")
                ),
                None,
            ),
        }
        forecast::outcome(page, self.forecast.as_ref());
        if let Some(deployment) = &self.deployment {
            page.finding(Mark::Ok, &format!("recorded as deployment {deployment}"), None);
        }
        if let Some(because) = &self.held {
            let line = format!("held: nothing scheduled runs, for there are no workers: {because}");
            page.finding(Mark::Warn, &line, None);
        }
        if let (Some(bundle), Some(way)) = (&self.safety_bundle, &self.way_back) {
            page.finding(Mark::Ok, &format!("what was there before is in bundle {bundle}: `{way}`"), None);
        }
        scope(page, &self.scope, &format!("dr bundle show {} --scope", self.arguments));
        if let Some(upgraded) = &self.upgraded {
            upgraded.deployed(page);
        }
        afterwards(page, &self.afterwards);
        self.next.iter().for_each(|next| page.next(next));
    }
}

/// What is left for people to do after a restore.
fn afterwards(page: &mut Page, left: &restore::AfterRestore) {
    let restore::AfterRestore { tell_users, rotate, trust } = left;
    for (heading, lines) in [("Tell the users", tell_users), ("Rotate", rotate), ("Trust", trust)] {
        if !lines.is_empty() {
            page.heading(heading);
            lines.iter().for_each(|line| page.wrapped("  - ", "    ", line.as_str()));
        }
    }
}

fn warnings(page: &mut Page, warnings: &[String]) {
    for warning in warnings {
        page.finding(Mark::Warn, warning, None);
    }
}

/// What is not in the bundle, in a line that names the command for the whole; with `-v` the whole.
pub(super) fn scope(page: &mut Page, scope: &[OutOfScope], whole: &str) {
    /// As many things are named in the line.
    const NAMED: usize = 2;
    if scope.is_empty() {
        return;
    }
    if page.is_verbose() {
        page.gap();
        return whole_scope(page, scope);
    }
    let named: Vec<&str> = scope.iter().take(NAMED).map(|item| item.what.as_str()).collect();
    let named = match scope.len().saturating_sub(NAMED) {
        0 => named.join(" and "),
        more => format!("{} and {more} more", named.join(", ")),
    };
    page.wrapped("", "  ", format!("Not in the bundle: {named}; `{whole}` says why and where it is."));
}

fn whole_scope(page: &mut Page, scope: &[OutOfScope]) {
    page.heading("Not in the bundle");
    for item in scope {
        page.wrapped("  - ", "    ", format!("{}: {}. {}", item.what, item.why, item.whereabouts));
    }
}

/// `dr bundle show --scope`: only what the bundle does not hold.
#[derive(Serialize)]
pub(super) struct Scope {
    /// The bundle's name.
    pub bundle: String,
    /// What it does not hold.
    pub scope: Vec<OutOfScope>,
}

impl Report for Scope {
    fn human(&self, page: &mut Page) {
        page.fields(&[("bundle", &self.bundle)]);
        whole_scope(page, &self.scope);
    }
}
