//! `dr config log`, for people.

use crate::ops::config::{Log, LogLine};
use crate::ui::{Page, Report};

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
