//! `dr config log | show | cat | diff`.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{self, Compared, Log, LogLine, Shown};
use crate::text::{bytes, elapsed};
use crate::ui::{Page, Report, Ui, short_time};
use crate::values::diff::{self, Change, Class, Diff, What};

const HOW_TO_NAME: &str = "\
A deployment is named by:
  live, latest       what is live; what was deployed last, whatever came of it
  1aab0b             its id, the beginning of it, or its last six characters
  rev:7              helm's revision
  2026-08-20         the OpsChain version: the newest deployment of it
  2026-08-20T10:00   what was live then (UTC)";

/// What was deployed: list, show, print and compare recorded values
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = format!("\
Examples:
  dr config log
  dr config cat live > values.yaml
  dr config diff live values.yaml
  dr config diff 2026-08-20T10:00 latest

{HOW_TO_NAME}"))]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// List the deployments, newest first
    #[command(after_help = "Example:\n  dr config log --limit 100")]
    Log {
        /// How many to list
        #[arg(short = 'l', long, default_value_t = 20)]
        limit: usize,
    },
    /// Show a deployment: who, when, why, chart, images, outcome
    #[command(after_help = format!("Example:\n  dr config show live\n\n{HOW_TO_NAME}"))]
    Show {
        /// Which
        #[arg(default_value = "latest")]
        deployment: String,
    },
    /// Print the values of a deployment, byte for byte
    #[command(after_help = format!("Example:\n  dr config cat live > values.yaml\n\n{HOW_TO_NAME}"))]
    Cat {
        /// Which
        #[arg(default_value = "live")]
        deployment: String,
    },
    /// Compare two of: a deployment, a file, `release` (what helm has stored); exit code 2 when they differ
    ///
    /// By path, as Helm reads the values; the order of keys does not count. Secrets are masked: the fingerprint after
    /// the mask tells same from changed.
    #[command(after_help = format!("Examples:\n  dr config diff values.yaml\n  dr config diff rev:3 rev:4 --raw\n\n{HOW_TO_NAME}"))]
    Diff {
        /// The first; the live deployment when only one is given
        #[arg(value_name = "FROM")]
        first: String,
        /// The second
        #[arg(value_name = "TO")]
        second: Option<String>,
        /// Line by line, as text, comments and layout too
        #[arg(long)]
        raw: bool,
    },
}

/// Runs the verb.
pub async fn run(ctx: &Ctx, ui: &Ui, args: ConfigArgs) -> Result<Exit> {
    match args.verb {
        ConfigVerb::Log { limit } => ui.report(&config::log(ctx, limit)?)?,
        ConfigVerb::Show { deployment } => ui.report(&config::show(ctx, &deployment)?)?,
        ConfigVerb::Cat { deployment } => {
            let values = config::cat(ctx, &deployment)?;
            if std::io::stdout().is_terminal() {
                ui.talk(
                    "These values hold secrets in the clear; `dr config cat ... > FILE` keeps them off the screen.",
                );
            }
            ui.data(&values)?;
        }
        ConfigVerb::Diff { first, second, raw } => {
            let (from, to) = match &second {
                Some(second) => (first.as_str(), second.as_str()),
                None => ("live", first.as_str()),
            };
            let compared = config::compare(ctx, from, to, raw).await?;
            ui.report(&compared)?;
            return Ok(compared.exit());
        }
    }
    Ok(Exit::Success)
}

impl Report for Log {
    fn human(&self, page: &mut Page) {
        if self.deployments.is_empty() {
            page.line(format!("Nothing is recorded yet for release {} in namespace {}.", self.release, self.namespace));
            return page.next("dr deploy -f values.yaml --version V");
        }
        let mut rows: Vec<Vec<String>> = self.deployments.iter().map(row).collect();
        fit_last(&mut rows, page.width());
        page.table(&["id", "at", "state", "version", "rev", "values", "why"], &rows);
        if self.total > self.deployments.len() {
            page.line(format!("... and {} more: --limit {}", self.total - self.deployments.len(), self.total));
        }
    }
}

/// Cuts the last cell of each row so that the row fits the page, as long as that leaves something to read.
fn fit_last(rows: &mut [Vec<String>], width: usize) {
    const LEAST: usize = 12;
    let columns = rows.first().map_or(0, Vec::len).saturating_sub(1);
    let longest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(5);
    let taken: usize = (0..columns).map(|column| longest(column) + 2).sum();
    let room = width.saturating_sub(taken);
    if room < LEAST {
        return;
    }
    for cell in rows.iter_mut().filter_map(|row| row.last_mut()) {
        if let Some((cut, _)) = cell.char_indices().nth(room.saturating_sub(1)).filter(|_| cell.chars().count() > room)
        {
            cell.truncate(cut);
            cell.push('…');
        }
    }
}

fn row(line: &LogLine) -> Vec<String> {
    let short = line.id.rsplit('-').next().unwrap_or(&line.id).to_owned();
    let state = match line.state.as_str() {
        "unknown" => "unknown (interrupted)".to_owned(),
        "deployed" if line.live => "live".into(),
        state => state.into(),
    };
    vec![
        short,
        line.at.strftime("%Y-%m-%d %H:%MZ").to_string(),
        state,
        line.version.clone(),
        line.revision.map_or(String::new(), |revision| revision.to_string()),
        line.changes.clone().unwrap_or_default(),
        line.why.clone().unwrap_or_default(),
    ]
}

impl Report for Shown {
    fn human(&self, page: &mut Page) {
        let record = &self.deployment.record;
        let mut fields = vec![
            ("deployment", record.id.to_string()),
            (
                "state",
                match self.state.as_str() {
                    "unknown" => "unknown: dr was interrupted before it knew what came of it".into(),
                    state => state.to_owned(),
                },
            ),
            ("install", format!("release {} in namespace {}", record.install.release, record.install.namespace)),
            ("at", short_time(record.at)),
            ("by", format!("{} ({})", record.by, record.how.word())),
        ];
        fields.extend(record.why.clone().map(|why| ("why", why)));
        fields.extend(record.opschain_version.clone().map(|version| ("version", version)));
        let digest = record.chart.digest.as_ref().map(|digest| format!(" ({digest})")).unwrap_or_default();
        fields.push((
            "chart",
            format!("{} {} from {}{digest}", record.chart.name, record.chart.version, record.chart.reference),
        ));
        for layer in &record.layers {
            let sealed = &layer.sealed;
            fields.push(("values", format!("{}, sha256 {}", bytes(sealed.bytes), sealed.sha256)));
        }
        fields.push(("sealed to", record.recipients.join(" ")));
        let tools = [("dr", Some(&record.dr)), ("helm", record.helm.as_ref()), ("operator", record.operator.as_ref())];
        let tools: Vec<String> =
            tools.into_iter().filter_map(|(name, version)| Some(format!("{name} {}", version?))).collect();
        fields.push(("with", tools.join(", ")));
        fields.extend(record.previous.as_ref().map(|previous| ("after", previous.id.to_string())));
        if let Some(outcome) = &self.deployment.outcome {
            let took = elapsed(std::time::Duration::from_secs_f64(outcome.seconds.max(0.0)));
            fields.push(("ended", format!("{} after {took}", short_time(outcome.at))));
            fields.extend(outcome.helm_revision.map(|revision| ("revision", revision.to_string())));
            fields.extend(outcome.error.clone().map(|error| ("error", error)));
            for image in &outcome.images {
                let digest = image.digest.as_ref().map(|digest| format!(" {digest}")).unwrap_or_default();
                fields.push(("image", format!("{}{digest}", image.reference)));
            }
        }
        page.fields(&fields);
    }
}

impl Report for Compared {
    fn human(&self, page: &mut Page) {
        if let Some(text) = &self.text {
            text.lines().for_each(|line| page.line(text_line(line)));
            return;
        }
        match self.diff.class {
            Class::Same => page.line(format!("{} and {} are the same, byte for byte.", self.from, self.to)),
            Class::Layout => page.line(format!(
                "Helm reads the same from {} and {}: only comments or layout differ (--raw shows them).",
                self.from, self.to
            )),
            Class::Changed => {
                page.heading(&format!("{} -> {}: {}", self.from, self.to, self.diff.summary()));
                change_lines(page, &self.diff);
            }
        }
    }
}

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn text_line(line: &str) -> String {
    match line.chars().next() {
        Some('+') => paint(ADDED, line),
        Some('-') => paint(REMOVED, line),
        Some('@') => paint(CHANGED, line),
        _ => line.to_owned(),
    }
}

/// Each difference on a line of its own: a sign, the path, what was and what is.
pub(super) fn change_lines(page: &mut Page, diff: &Diff) {
    for change in &diff.changes {
        let (sign, style) = match change.what {
            What::Added => ("+", ADDED),
            What::Removed => ("-", REMOVED),
            What::Changed | What::Retyped | What::Reordered => ("~", CHANGED),
        };
        page.wrapped(&format!("{} ", paint(style, sign)), "    ", &format!("{}  {}", change.path, said(change)));
    }
}

fn said(change: &Change) -> String {
    let old = change.old.as_ref().map(value).unwrap_or_default();
    let new = change.new.as_ref().map(value).unwrap_or_default();
    match change.what {
        What::Added => new,
        What::Removed => old,
        What::Changed => format!("{old} -> {new}"),
        What::Retyped => {
            let kind = |shown: &Option<diff::Shown>| shown.as_ref().map_or("", |shown| shown.kind);
            format!("{old} ({}) -> {new} ({})", kind(&change.old), kind(&change.new))
        }
        What::Reordered => "same items in another order".into(),
    }
}

fn value(shown: &diff::Shown) -> String {
    /// Longer values are cut; `--raw` has them whole.
    const LONGEST: usize = 200;
    match (&shown.masked, &shown.value) {
        (Some(mask), _) => mask.clone(),
        (None, Some(serde_json::Value::String(text))) => {
            let quoted = serde_json::Value::from(text.as_str()).to_string();
            match quoted.char_indices().nth(LONGEST) {
                Some((cut, _)) => format!("{}...", &quoted[..cut]),
                None => quoted,
            }
        }
        (None, Some(value)) => value.to_string(),
        (None, None) => format!("({})", shown.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{FingerprintKey, Scrubber, Tree};

    #[test]
    fn differences_read_well_narrow_and_show_no_secret() {
        let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let old = tree("env: {PGPASSWORD: hunter22, OPSCHAIN_VERSION: \"2026-08-20\"}\napi: {replicas: 1}\n");
        let new =
            tree("env: {PGPASSWORD: hunter33, OPSCHAIN_VERSION: \"2026-09-14\", TZ: UTC}\napi: {replicas: \"1\"}\n");
        let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[3; 32]));
        let mut page = Page::new(40);
        change_lines(&mut page, &diff::diff(&old, &new, &scrubber));
        let text = anstream::adapter::strip_str(page.text()).to_string();
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("~ env.OPSCHAIN_VERSION  \"2026-08-20\" ->\n    \"2026-09-14\""), "{text}");
        assert!(text.contains("+ env.TZ  \"UTC\""), "{text}");
        assert!(text.contains("1 (number) -> \"1\"\n    (string)"), "{text}");
    }
}
