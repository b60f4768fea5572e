//! `dr config log`.

use std::collections::HashMap;

use clap::{Args, ValueEnum};

use super::deployment::IdentityArgs;
use crate::ops::config::{Log, LogLine, LogRequest, Unread};
use crate::ui::{Column, Mark, Page, Report};

/// List deployments, newest first, with what each changed in the values
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr config log --limit 100
  dr config log --since 2026-01-01 --until 2026-03-31 --outcome failed
  dr config log --version 2026-08-20 --grep ticket-7
  dr config log --all-installs --output json

Times are UTC. What changed is seen where an identity is at hand.
What cannot be read is a row that says why, and the exit code says so:
17 damaged, 18 a newer format, 15 sealed to other keys.")]
pub struct LogArgs {
    /// How many to list; 0 lists all
    #[arg(short = 'l', long, default_value_t = 20)]
    limit: usize,
    /// Those of another install of the vault
    #[arg(long, value_name = "NAMESPACE.RELEASE", conflicts_with = "all_installs")]
    install: Option<String>,
    /// Those of every install of the vault
    #[arg(long)]
    all_installs: bool,
    /// Not before this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Not after this time; a day counts to its end
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Those of this OpsChain version, or version of the chart
    #[arg(long)]
    version: Option<String>,
    /// Those that ended so
    #[arg(long, value_enum)]
    outcome: Option<State>,
    /// Those with this text in who or why, in capitals or not
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    #[command(flatten)]
    pub(super) keys: IdentityArgs,
}

/// What came of a deployment.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// It went live
    Deployed,
    /// It failed
    Failed,
    /// It was stopped
    Interrupted,
    /// `dr` was killed before it knew
    Unknown,
}

impl From<LogArgs> for LogRequest {
    fn from(args: LogArgs) -> Self {
        let state = args.outcome.and_then(|state| state.to_possible_value().map(|value| value.get_name().to_owned()));
        Self {
            limit: args.limit,
            install: args.install,
            all_installs: args.all_installs,
            since: args.since,
            until: args.until,
            version: args.version,
            state,
            grep: args.grep,
        }
    }
}

impl Report for Log {
    fn human(&self, page: &mut Page) {
        if self.deployments.is_empty() {
            if self.recorded > 0 {
                page.line(format!("No deployment of {} fits; {} recorded.", self.install, are(self.recorded)));
                return page.next("dr config log");
            }
            page.line(format!("No deployment of {} is recorded yet.", self.install));
            return page.next("dr deploy -f values.yaml --version V; what was deployed before: dr config record --from-helm, or --dir FOLDER");
        }
        let installs = self.install == "all";
        let (contexts, clusters) = (self.in_several_contexts(), self.in_several_clusters());
        let rows: Vec<Vec<String>> =
            self.deployments.iter().map(|line| row(line, installs, (contexts, clusters))).collect();
        let mut heads: Vec<Column> = ["id", "at", "state", "version", "rev"].map(Column::whole).into();
        heads.push("values".into());
        // Of several installs a narrow terminal has no room for all of it.
        heads.push(if installs { Column::spare("why") } else { "why".into() });
        if clusters {
            heads.insert(1, "cluster".into());
        }
        if contexts {
            heads.insert(1, "context".into());
        }
        if installs {
            heads.insert(1, "install".into());
        }
        page.table(&heads, &rows);
        if self.total > self.deployments.len() {
            page.line(format!("... and {} more: --limit {}", self.total - self.deployments.len(), self.total));
        }
        self.unread(page);
    }
}

impl Log {
    /// Whether an install was reached by more than one context: it may be one of several clusters then.
    fn in_several_contexts(&self) -> bool {
        let mut seen: HashMap<&str, Option<&str>> = HashMap::new();
        self.deployments.iter().filter(|line| line.state != "unreadable").any(|line| {
            let context = line.context.as_deref();
            seen.insert(&line.install, context).is_some_and(|before| before != context)
        })
    }

    /// Whether an install is known to be in more than one cluster.
    fn in_several_clusters(&self) -> bool {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let mut known =
            self.deployments.iter().filter_map(|line| Some((line.install.as_str(), line.cluster.as_deref()?)));
        known.any(|(install, cluster)| seen.insert(install, cluster).is_some_and(|before| before != cluster))
    }

    /// What could not be read, once for each reason, with the way out.
    fn unread(&self, page: &mut Page) {
        let mut reasons: Vec<(&Unread, Vec<&str>)> = Vec::new();
        for line in &self.deployments {
            let Some(unread) = &line.unread else { continue };
            match reasons.iter_mut().find(|(known, _)| *known == unread) {
                Some((_, ids)) => ids.push(short(line)),
                None => reasons.push((unread, vec![short(line)])),
            }
        }
        for (unread, ids) in reasons {
            let which = match ids.as_slice() {
                [one] => format!("{one} is not read"),
                several => format!("{} of these are not read", several.len()),
            };
            page.finding(Mark::Bad, &format!("{which}: {}", unread.why), unread.hint.as_deref());
        }
    }
}

fn are(count: usize) -> String {
    if count == 1 { "1 is".into() } else { format!("{count} are") }
}

fn short(line: &LogLine) -> &str {
    line.id.rsplit(['-', '/']).next().unwrap_or(&line.id)
}

fn row(line: &LogLine, installs: bool, (contexts, clusters): (bool, bool)) -> Vec<String> {
    let state = match line.state.as_str() {
        "deployed" if line.deployed_last => "deployed last".to_owned(),
        state => state.into(),
    };
    let mut row = vec![
        short(line).to_owned(),
        line.at.map_or(String::new(), |at| at.strftime("%Y-%m-%d %H:%MZ").to_string()),
        state,
        line.version.clone(),
        line.revision.map_or(String::new(), |revision| revision.to_string()),
        changes(line),
        line.why.clone().unwrap_or_default(),
    ];
    if clusters {
        // The beginning of a uid is enough to tell a few clusters apart.
        row.insert(1, line.cluster.as_deref().unwrap_or_default().chars().take(8).collect());
    }
    if contexts {
        row.insert(1, line.context.clone().unwrap_or_default());
    }
    if installs {
        row.insert(1, line.install.clone());
    }
    row
}

/// `2 changed, 1 added: env.TZ, api.replicas, +1`
fn changes(line: &LogLine) -> String {
    /// As many paths as a line has room for.
    const MOST: usize = 2;
    if let Some(unread) = &line.unread {
        return format!("not read: {}", unread.brief.unwrap_or(&unread.why));
    }
    let Some(changes) = &line.changes else { return String::new() };
    if changes.paths.is_empty() {
        return changes.summary.clone();
    }
    let mut paths: Vec<String> = changes.paths.iter().take(MOST).cloned().collect();
    let more = changes.more + changes.paths.len() - paths.len();
    if more > 0 {
        paths.push(format!("+{more}"));
    }
    format!("{}: {}", changes.summary, paths.join(", "))
}
