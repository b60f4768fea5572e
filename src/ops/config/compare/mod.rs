//! `dr config diff`: two values, compared.

mod operand;
mod source;

use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

pub use source::Access;

use crate::clock;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::read;
use crate::settings::Settings;
use crate::values::diff::{Class, Diff, Options, Rules, diff_with, unified};
use crate::values::{FingerprintKey, Scrubber};
use source::{FoundValues, Operands};

/// The file of accepted differences that is read without being asked for.
const RULES: &str = ".drignore";

/// What to compare, and how.
#[derive(Debug, Clone, Default)]
pub struct CompareRequest {
    /// The first; what is live when absent.
    pub from: Option<String>,
    pub to: String,
    pub options: Options,
    /// The file of accepted differences, if not the one beside the vault.
    pub ignore_file: Option<PathBuf>,
    /// Read no file of accepted differences.
    pub no_ignore_file: bool,
    /// Keys and trust.
    pub access: Access,
    /// As text, line by line.
    pub raw: bool,
}

/// The differences between two values files.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// What the first one is.
    pub from: String,
    /// What the second one is.
    pub to: String,
    /// The differences, by path.
    #[serde(flatten)]
    pub diff: Diff,
    /// The differences as text, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether fingerprints are the vault's; else they tell same from changed in this output only.
    pub lasting_fingerprints: bool,
}

impl Compared {
    /// 0 when nothing differs that Helm would see or, as text, nothing at all; 2 otherwise.
    pub fn exit(&self) -> Exit {
        match (self.diff.class, &self.text) {
            (Class::Changed, _) => Exit::Changed,
            (Class::Same, _) | (_, None) => Exit::Success,
            (Class::Layout | Class::Ignored, Some(text)) => {
                if text.is_empty() {
                    Exit::Success
                } else {
                    Exit::Changed
                }
            }
        }
    }
}

/// Compares two of: a deployment, a file, stdin, a release, a bundle, a git revision. See [`FORMS`].
///
/// # Errors
/// One of them cannot be found, opened or read, or the file of accepted differences is not as it should be.
pub async fn compare(ctx: &Ctx, request: CompareRequest) -> Result<Compared> {
    let from = request.from.as_deref().unwrap_or("live");
    if from == "-" && request.to == "-" {
        return Err(CommandError::new(Exit::Usage, "both sides are stdin, which can be read once")
            .hint("Give a file on one side."));
    }
    let settings = ctx.settings_or_defaults()?;
    let operands = Operands { ctx, access: &request.access };
    let mut options = request.options;
    options.rules.extend(rules(ctx, settings, request.ignore_file.as_deref(), request.no_ignore_file)?);
    let old = operands.find(from).await?;
    let new = operands.find(&request.to).await?;
    Ok(compared(&operands, old, new, &options, request.raw))
}

/// Compares two values that were opened already, each with what it is, as [`compare`] does by itself.
///
/// # Errors
/// One of them cannot be read, or the file of accepted differences is not as it should be.
pub fn compare_opened(
    ctx: &Ctx,
    access: &Access,
    old: (String, Zeroizing<Vec<u8>>),
    new: (String, Zeroizing<Vec<u8>>),
) -> Result<Compared> {
    let operands = Operands { ctx, access };
    let rules = rules(ctx, ctx.settings_or_defaults()?, None, false)?;
    let options = Options { rules, layout: true, ..Options::default() };
    let (old, new) = (operands.read(old.0, old.1)?, operands.read(new.0, new.1)?);
    Ok(compared(&operands, old, new, &options, false))
}

fn compared(operands: &Operands, old: FoundValues, new: FoundValues, options: &Options, raw: bool) -> Compared {
    let (key, lasting) = fingerprints(operands);
    let mut scrubber = Scrubber::new(key);
    if !options.reveal {
        scrubber.register_tree(&old.tree);
        scrubber.register_tree(&new.tree);
    }
    let text = raw.then(|| unified(&old.tree, &new.tree, &scrubber, (&old.name, &new.name), options.reveal));
    let diff = diff_with(&old.tree, &new.tree, &scrubber, options).of_files(&old.bytes, &new.bytes);
    Compared { from: old.name, to: new.name, diff, text, lasting_fingerprints: lasting }
}

/// The vault's key where it can be had. Else a key of this run alone: two masks of one output still tell whether the
/// secrets behind them are the same, and nothing can be guessed from them.
fn fingerprints(operands: &Operands) -> (Option<FingerprintKey>, bool) {
    let from_vault =
        || -> Result<FingerprintKey> { Ok(operands.ctx.vault()?.fingerprint_key(&operands.identities()?)?) };
    match from_vault() {
        Ok(key) => (Some(key), true),
        Err(_) => (FingerprintKey::from_bytes(&rand::random::<[u8; 32]>()), false),
    }
}

/// The accepted differences that hold today; expired ones are warned of.
fn rules(ctx: &Ctx, settings: &Settings, given: Option<&Path>, none: bool) -> Result<Vec<crate::values::diff::Rule>> {
    let beside = || Some(settings.vault.path.as_deref()?.parent()?.join(RULES));
    let Some(path) = given.map(Path::to_owned).or_else(beside).filter(|_| !none) else { return Ok(Vec::new()) };
    let text = match read::text_file(&path, read::SMALL) {
        Ok(text) => text,
        Err(error) if given.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(
                CommandError::new(Exit::NotFound, format!("read ignore file {}", path.display())).because(error)
            );
        }
    };
    let today = clock::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let rules = Rules::parse(&text, today).map_err(|error| {
        let place = format!("{}:{}:{}", path.display(), error.line, error.column);
        CommandError::new(Exit::Settings, format!("{place}: {}", error.message))
            .hint("A rule is [[ignore]] with path and reason, and expires = 2026-12-31 if it is not for ever.")
    })?;
    for rule in &rules.expired {
        let last = rule.expires.map(|date| date.to_string()).unwrap_or_default();
        ctx.events.warn(
            format!(
                "{}:{}: the rule for {} has expired on {last} and ignores nothing",
                path.display(),
                rule.line,
                rule.pattern.text()
            ),
            Some(format!("Fix the difference or renew the rule. It was: {}", rule.reason)),
        );
    }
    Ok(rules.active)
}
