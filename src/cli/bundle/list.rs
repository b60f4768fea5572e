//! `dr bundle list`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::bundle::Depth;
use crate::bundle::report::{ListReport, ListRow};
use crate::cli::trust::StoreArgs;
use crate::ops::bundles::{BundleList, ListRequest};
use crate::ops::import::BuiltInList;
use crate::opschain::backups::BuiltInBackup;
use crate::text::bytes;
use crate::ui::{Column, Mark, Page, Report, Role, Styled, short_time};

/// List the bundles of the store, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle list --output json
  dr bundle list --version 2026-08-20 --proved decrypted
  dr bundle list --install opschain --since 2026-08-01 --pinned
  dr bundle list --built-in

Times are UTC.")]
pub struct ListArgs {
    /// Those of this install only
    #[arg(long, value_name = "NAMESPACE[/RELEASE]")]
    install: Option<String>,
    /// Those that this OpsChain version made
    #[arg(long, value_name = "V")]
    version: Option<String>,
    /// Those not made before this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Those not made after this time; a day counts to its end
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Those that were verified, at least so deeply
    #[arg(long, value_name = "DEPTH", num_args = 0..=1, default_missing_value = "checksums", value_parser = depths())]
    proved: Option<Depth>,
    /// Those that are pinned
    #[arg(long)]
    pinned: bool,
    /// OpsChain's own backups instead, in the volume that it keeps them in: read by a pod that can write nothing
    #[arg(long, conflicts_with_all = ["install", "version", "since", "until", "proved", "pinned", "store"])]
    pub built_in: bool,
    #[command(flatten)]
    place: StoreArgs,
}

fn depths() -> impl TypedValueParser<Value = Depth> {
    PossibleValuesParser::new(["checksums", "decrypted", "restored"]).map(|word| match word.as_str() {
        "restored" => Depth::Restored,
        "decrypted" => Depth::Plain,
        _ => Depth::Stored,
    })
}

impl From<ListArgs> for ListRequest {
    fn from(args: ListArgs) -> Self {
        let ListArgs { install, version, since, until, proved, pinned, built_in: _, place: StoreArgs { store } } = args;
        Self { install, version, since, until, proved, pinned, store }
    }
}

impl Report for BuiltInList {
    fn human(&self, page: &mut Page) {
        let made = match (&self.schedule, self.suspended) {
            (None, _) => "no CronJob makes more".to_owned(),
            (Some(schedule), true) => format!("suspended ({schedule})"),
            (Some(schedule), false) => schedule.clone(),
        };
        let last = self.last_success.map_or_else(|| "not known".to_owned(), short_time);
        page.fields(&[("volume", self.claim.clone()), ("made", made), ("last made", last)]);
        if self.backups.is_empty() {
            return page.line("The volume holds no backup.");
        }
        let row = |backup: &BuiltInBackup| {
            let state = if backup.complete { "complete" } else { "not finished" };
            let (kind, written) = (backup.kind.word().to_owned(), short_time(backup.written));
            vec![backup.name.clone(), kind, state.to_owned(), bytes(backup.bytes), written]
        };
        let rows: Vec<Vec<String>> = self.backups.iter().map(row).collect();
        page.gap();
        page.table(&["backup", "kind", "state", "size", "written"], &rows);
        self.next.iter().for_each(|next| page.next(next));
    }
}

impl Report for BundleList {
    fn human(&self, page: &mut Page) {
        self.found.human(page);
    }
}

impl Report for ListReport {
    fn human(&self, page: &mut Page) {
        if self.bundles.is_empty() && self.left_out > 0 {
            return page
                .line(format!("None of the {} bundles of store {} is as was asked.", self.left_out, self.store));
        }
        if self.bundles.is_empty() {
            page.line(format!("Store {} has no bundle yet.", self.store));
            return page.next("dr doctor, then dr bundle create");
        }
        // The name holds the time; namespaces differ only where several installs share a store.
        let mut heads = vec!["bundle".into(), "OpsChain".into(), "size".into(), "last proof".into()];
        heads.extend([Column::spare("created"), Column::spare("namespace")]);
        let is_marked = self.bundles.iter().any(|bundle| !mark(bundle).is_empty());
        if is_marked {
            heads.push("mark".into());
        }
        let rows: Vec<Vec<Styled>> =
            self.bundles.iter().map(|bundle| row(bundle).into_iter().take(heads.len()).collect()).collect();
        page.table(&heads, &rows);
    }
}

/// The cells of one bundle.
pub fn row(bundle: &ListRow) -> Vec<Styled> {
    let proof = match (&bundle.unreadable, &bundle.proof) {
        (Some(reason), _) => Styled::from(Mark::Bad).then(Role::Plain, format!(" {reason}")),
        (None, Some(proof)) => {
            let whose = if proof.counts() { "" } else { " (by nobody trusted here)" };
            format!("{}{whose}, {}", proof.depth, proof.verified_at.strftime("%Y-%m-%d")).into()
        }
        (None, None) if bundle.loose => "never: a file without a record".into(),
        (None, None) => "never".into(),
    };
    vec![
        bundle.name.as_str().into(),
        bundle.opschain_version.clone().unwrap_or_default().into(),
        bytes(bundle.bytes).into(),
        proof,
        bundle.created.map(short_time).unwrap_or_default().into(),
        bundle.namespace.clone().unwrap_or_default().into(),
        mark(bundle).into(),
    ]
}

fn mark(bundle: &ListRow) -> String {
    let stays = bundle.pinned.as_ref().map(|pin| match bundle.gone {
        Some(_) => "pinned".to_owned(),
        None => format!("pinned: {}", pin.reason),
    });
    let safety = bundle.replaced_by.as_ref().map(|run| format!("made before {run}"));
    let gone = bundle.gone.as_ref().map(|_| "gone".to_owned());
    gone.into_iter().chain(stays).chain(safety).collect::<Vec<_>>().join(", ")
}
