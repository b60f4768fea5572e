//! `dr config lint`: what is wrong with a values file, before anything is deployed.

use serde::Serialize;
use zeroize::Zeroizing;

use super::shipped;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::opschain::values::VERSION;
use crate::opschain::{Version, keys};
use crate::values::Tree;
use crate::values::lint::{Context, LintFinding, Severity, lint_with};

/// What is asked.
#[derive(Debug)]
pub struct LintRequest {
    pub values: Zeroizing<Vec<u8>>,
    /// What to call them.
    pub name: String,
    /// Whose own values tell which keys there are: see [`shipped::read`].
    pub chart: Option<String>,
    /// The release that is to run; else the one that the values name.
    pub version: Option<String>,
    /// Whether notes count too.
    pub strict: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Linted {
    pub file: String,
    /// The release that it was judged by; without one, the newest that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whose values it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// In the order of the file.
    pub findings: Vec<LintFinding>,
    /// Whether nothing was found that counts.
    pub clean: bool,
}

impl Linted {
    /// 0 when clean, 2 otherwise.
    pub fn exit(&self) -> Exit {
        if self.clean { Exit::Success } else { Exit::Changed }
    }
}

/// Looks through a values file. Needs no settings, no cluster, and helm only to fetch a packed chart.
///
/// # Errors
/// The file or the chart's own values are not YAML that Helm reads; the chart cannot be had.
pub async fn lint(ctx: &Ctx, request: LintRequest) -> Result<Linted> {
    let tree =
        Tree::parse_or_explain(&request.values).map_err(|error| CommandError::from(error).context(&request.name))?;
    ctx.secrets().register_tree(&tree);
    let asked = request.version.as_deref().map(str::parse::<Version>).transpose()?;
    let named = || tree.text(VERSION).and_then(|text| text.parse::<Version>().ok());
    let version = asked.clone().or_else(named);
    let defaults = match &request.chart {
        Some(chart) => Some(shipped::read(ctx, chart, version.as_ref()).await?),
        None => None,
    };
    let release = version.as_ref().and_then(Version::dated_tag);
    let context = Context {
        defaults: defaults.as_ref().map(|shipped| &shipped.tree),
        version: release.as_deref(),
        facts: &keys::FACTS,
    };
    let findings = lint_with(&tree, &request.values, &context);
    let counts = |finding: &LintFinding| request.strict || finding.severity != Severity::Note;
    let clean = !findings.iter().any(counts);
    Ok(Linted {
        file: request.name,
        version: version.map(|version| version.tag()),
        chart: defaults.map(|shipped| shipped.name),
        findings,
        clean,
    })
}
