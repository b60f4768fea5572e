//! `dr config upgrade`: a new release's values file with the operator's edits, as a proposal.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use super::DeploymentSelector;
use super::chance::warn_of_chance;
use super::release_path;
use super::shipped::{self, Shipped};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::opschain::values::VERSION;
use crate::opschain::{Version, keys};
use crate::values::upgrade::{DeprecatedKey, KeyReport, ProposalStyle, Three, UpgradeError, propose};
use crate::values::{Scrubber, Tree};
use crate::write;
use crate::yaml::Style;

/// What is asked.
#[derive(Debug)]
pub struct ProposalRequest {
    /// The shipped values that the operator comes from: see [`shipped::read`].
    pub from: String,
    /// Those to go to.
    pub to: String,
    /// The operator's: a file, or a deployment.
    pub values: String,
    /// Whose text is wanted; without it, the operator's file decides.
    pub style: Option<ProposalStyle>,
    /// Where the proposal goes.
    pub target: Target,
    /// Whether a file that is there is written over.
    pub force: bool,
}

/// Where the proposal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: only the report is wanted.
    Nowhere,
    /// To the caller, who writes it to stdout.
    Stdout,
    /// Into a file, which only its owner may read.
    File(PathBuf),
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Upgraded {
    /// The old shipped values.
    pub from: String,
    /// The new ones.
    pub to: String,
    pub values: String,
    /// Whose text the proposal is.
    pub style: ProposalStyle,
    /// The file that the proposal was written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<String>,
    /// What happened to each key that is not simply the same, worst first.
    pub items: Vec<KeyReport>,
    /// Keys of the operator's in the proposal that the release calls deprecated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deprecated: Vec<DeprecatedKey>,
    /// The operator's own comments that found no place in the proposal, without secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comments_left: Vec<String>,
    /// The release that the proposal names now, and the operator's file did not: neither shipped file names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_set: Option<VersionLeft>,
    /// The release that the proposal names, where it is still the operator's and could not be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_left: Option<VersionLeft>,
    /// Whether the proposal itself goes to stdout.
    #[serde(skip)]
    pub to_stdout: bool,
    /// Whether the proposal was written over the operator's values.
    #[serde(skip)]
    pub over_values: bool,
    /// The proposal, for stdout.
    #[serde(skip)]
    pub text: Zeroizing<String>,
}

/// A release that is named in the operator's file, and is not the one that the upgrade goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionLeft {
    /// The one that is named.
    pub names: String,
    /// The one to go to, where the new values or their chart tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// Merges the three files and writes the proposal.
///
/// # Errors
/// One of them cannot be found or read; the file is there already; the new file's text cannot take the edits, so that
/// Helm would read something else than the merge says: then nothing is written.
pub async fn upgrade(ctx: &Ctx, request: ProposalRequest) -> Result<Upgraded> {
    let target = match &request.target {
        Target::File(path) => Some(target_file(path, request.force)?),
        Target::Nowhere | Target::Stdout => None,
    };
    let old = shipped::read(ctx, &request.from, None).await?;
    let new = shipped::read(ctx, &request.to, None).await?;
    let (values, given) = operators(ctx, &request.values)?;
    for tree in [&old.tree, &new.tree, &given] {
        ctx.secrets().register_tree(tree);
    }
    let named = given.text(VERSION).and_then(|text| text.parse().ok());
    for (concern, hint) in release_path::concerns(old.version.as_ref(), new.version.as_ref(), named.as_ref()) {
        ctx.events.warn(concern, Some(hint));
    }
    let scrubber = scrubber(ctx);
    let version_left = version_left(&given, &new);
    let named = version_left.as_ref().and_then(|left| with_release(&given, left.release.as_deref()?));
    let version_set = version_left.clone().filter(|_| named.is_some());
    let yours = named.unwrap_or(given);
    let three = Three { old: &old.tree, new: &new.tree, yours: &yours };
    let proposal =
        propose(three, request.style, &keys::FACTS, &scrubber).map_err(|error| refused(error, request.style))?;
    if let Some(path) = &target {
        write(path, proposal.text.as_bytes(), request.force)?;
    }
    let is_same = |path: &PathBuf| path.canonicalize().ok() == Path::new(&values).canonicalize().ok();
    let over_values = target.as_ref().is_some_and(is_same);
    let to_stdout = matches!(request.target, Target::Stdout);
    let written = match request.target {
        Target::File(path) => Some(path.display().to_string()),
        Target::Nowhere | Target::Stdout => None,
    };
    let mut items = proposal.items;
    if version_set.is_some() {
        // It is told by itself.
        items.retain(|item| item.path.to_string() != VERSION.join("."));
    }
    Ok(Upgraded {
        version_left: version_left.filter(|_| version_set.is_none()),
        version_set,
        from: old.name,
        to: new.name,
        values,
        style: proposal.style,
        proposal: written,
        over_values,
        to_stdout,
        items,
        deprecated: proposal.deprecated,
        comments_left: proposal.comments,
        text: proposal.text,
    })
}

/// The release that the operator's file names, where the new file does not say another one: a chart's own values leave it
/// open.
fn version_left(yours: &Tree, new: &Shipped) -> Option<VersionLeft> {
    let names = yours.text(VERSION).filter(|_| new.tree.text(VERSION).is_none())?;
    let is_there = names.parse::<Version>().is_ok_and(|version| new.version.as_ref() == Some(&version));
    let release = new.version.as_ref().map(Version::tag);
    (!is_there).then(|| VersionLeft { names: names.to_owned(), release })
}

/// The operator's file with this release under the version's key; nothing where its text cannot take that without saying
/// something else in another place, too.
fn with_release(yours: &Tree, release: &str) -> Option<Tree> {
    let node = yours.get(VERSION)?;
    let quote = match (node.scalar()?.style, yours.raw(node).chars().next()?) {
        (Style::Block, _) => return None,
        (Style::Quoted, quote @ ('"' | '\'')) => quote.to_string(),
        _ => String::new(),
    };
    let mut text = Zeroizing::new(yours.source().to_owned());
    text.get(node.span.bytes.clone())?;
    text.replace_range(node.span.bytes.clone(), &format!("{quote}{release}{quote}"));
    let tree = Tree::parse(text.as_bytes()).ok()?;
    let mut wanted = yours.to_json();
    *wanted.pointer_mut(&format!("/{}", VERSION.join("/")))? = release.into();
    (tree.to_json() == wanted).then_some(tree)
}

/// The operator's values: a file, or a deployment of the vault.
fn operators(ctx: &Ctx, text: &str) -> Result<(String, Tree)> {
    let is_file = text == "-"
        || text.contains('/')
        || text.ends_with(".yaml")
        || text.ends_with(".yml")
        || Path::new(text).is_file();
    let bytes = if is_file {
        ctx.named_values(Path::new(text))?.1
    } else {
        super::cat(ctx, &DeploymentSelector::Named(text.to_owned()), None)?
    };
    let tree = Tree::parse_or_explain(&bytes).map_err(|error| CommandError::from(error).context(text))?;
    warn_of_chance(ctx, text, &tree);
    Ok((text.to_owned(), tree))
}

/// With the vault's key where there is one, so that fingerprints are those of other reports; else masks have none.
fn scrubber(ctx: &Ctx) -> Scrubber {
    let key = || ctx.vault().ok()?.fingerprint_key(&ctx.identities().ok()?).ok();
    Scrubber::new(key())
}

fn refused(error: UpgradeError, style: Option<ProposalStyle>) -> CommandError {
    let hint = match &error {
        UpgradeError::Documents(_) => "Merge the documents of that file into one first.",
        UpgradeError::Shared(_) if style == Some(ProposalStyle::Full) => {
            "Nothing was written. `--style overrides` keeps your own text; or write that key out in the release's file (FROM and TO take a file), and try again."
        }
        UpgradeError::Shared(_) => {
            "Nothing was written. `--style full` proposes the new file's text; or write the keys out in your file where the anchor is used, and try again."
        }
        UpgradeError::Unfaithful(_) | UpgradeError::Broken(_) => {
            "Nothing was written. Take that key out of your file for this run, and put it into the proposal by hand; or try the other --style."
        }
    };
    CommandError::new(Exit::Failure, error.to_string()).hint(hint)
}

fn is_there(path: &Path) -> CommandError {
    CommandError::new(Exit::NotEmpty, format!("{} is there already", path.display()))
        .hint("Give another name with --out, or --force to write over it.")
}

/// The file that a path stands for: a link is followed, even to a file that is not there yet, so that the link stays.
fn target_file(path: &Path, force: bool) -> Result<PathBuf> {
    const MOST_LINKS: usize = 40;
    let failed = |reason: &str| CommandError::new(Exit::Usage, format!("{} {reason}", path.display()));
    let no_file = || failed("is no regular file").hint("Name a file with --out; `--out -` writes to stdout.");
    // A link of the system's to a pipe has a name that leads nowhere.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(no_file());
    }
    let mut file = path.to_owned();
    for _ in 0..MOST_LINKS {
        match file.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                let to = file.read_link().map_err(|error| failed("cannot be followed").because(error))?;
                file = write::folder(&file).join(to);
            }
            Ok(found) if !found.is_file() => return Err(no_file()),
            Ok(_) if !force => return Err(is_there(path)),
            Ok(found) => return may_be_replaced(path, &found).map(|()| file),
            Err(_) => return with_folder(file),
        }
    }
    Err(failed("is a link that leads to itself").hint("Name a file with --out, or remove the link."))
}

/// Refuses what a new file in its place would not be: another name of it would keep the old text, another user lose it.
fn may_be_replaced(path: &Path, found: &Metadata) -> Result<()> {
    let refused = |reason: String| {
        Err(CommandError::new(Exit::NotEmpty, format!("{} {reason}", path.display()))
            .hint("Name another file with --out; `--out -` writes to stdout."))
    };
    let me = rustix::process::geteuid().as_raw();
    if found.nlink() > 1 {
        return refused(format!("has {} names (hard links): the others would keep the old text", found.nlink()));
    }
    if me != 0 && found.uid() != me {
        return refused(format!("belongs to another user (uid {}), and stays so", found.uid()));
    }
    Ok(())
}

/// A file that is not there, whose folder must be.
fn with_folder(file: PathBuf) -> Result<PathBuf> {
    let folder = write::folder(&file);
    if folder.is_dir() {
        return Ok(file);
    }
    let hint = match folder.exists() {
        true => "Name a file in a folder with --out.".to_owned(),
        false => format!("Make the folder first (`mkdir -p {}`), or name another file with --out.", folder.display()),
    };
    Err(CommandError::new(Exit::NotFound, format!("write {}: {} is no folder", file.display(), folder.display()))
        .hint(hint))
}

/// Writes a file that only its owner may read, whole or not at all; one that is there keeps its owner and group.
fn write(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    let written = if force { write::replace_owned(path, bytes) } else { write::new_file(path, 0o600, bytes) };
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => is_there(path),
        _ => CommandError::new(Exit::Failure, format!("write {}", path.display()))
            .because(error)
            .hint("Name another file with --out; `--out -` writes to stdout."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_named_in_the_operators_own_text_and_nothing_else_changes() {
        let named = |text: &str| with_release(&Tree::parse(text.as_bytes()).unwrap(), "2026-09-14");
        for written in ["\"2026-08-20\"", "'2026-08-20'", "2026-08-20"] {
            let of = |version: &str| format!("env:\n  OPSCHAIN_VERSION: {version} # live\n  TZ: UTC\n");
            let wanted = of(&written.replace("08-20", "09-14"));
            assert_eq!(named(&of(written)).unwrap().source(), wanted);
        }
        // Another key has it from the same place.
        assert!(named("tag: &v \"2026-08-20\"\nenv: {OPSCHAIN_VERSION: *v}\n").is_none());
        assert!(named("env: {TZ: UTC}\n").is_none());
    }
}
