//! `dr config edit`: the values of a deployment in the operator's editor, and back, without touching a disk.
//!
//! Open the values, let the editor work on them in memory, look at what came out. What becomes of it is the caller's:
//! they are deployed, or kept as a sealed draft. An edit is no record of its own: the vault tells what was deployed.

mod editor;
mod scratch;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use super::{DeploymentSelector, sha256};
use crate::clock;
use crate::crypt::Recipients;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::guard::{self, Effective, Guarded};
use crate::read;
use crate::values::diff::{Diff, diff};
use crate::values::lint::{LintFinding, lint};
use crate::values::{Scrubber, Tree};
use crate::vault::Vault;
use crate::write;
use editor::Editor;
use scratch::ScratchDir;

/// Where the first text comes from.
pub enum EditSource {
    Deployment(DeploymentSelector),
    /// A draft that was kept: sealed values.
    Draft(PathBuf),
}

/// An edit that goes on.
pub struct Editing {
    /// The deployment or the draft.
    pub name: String,
    /// The draft's file. It is what was edited before, so it goes on as it stands.
    draft: Option<PathBuf>,
    before: Zeroizing<Vec<u8>>,
    scratch: ScratchDir,
    editor: Editor,
    vault: Vault,
    scrubber: Scrubber,
}

/// What came out of the editor.
pub enum Round {
    /// The bytes of the deployment that went in.
    Unchanged,
    /// Something that Helm would not read.
    Unreadable(CommandError),
    /// Other values.
    Edited(Edited),
}

/// Edited values.
pub struct Edited {
    pub bytes: Zeroizing<Vec<u8>>,
    /// What is to be known of them.
    pub review: Review,
}

/// What is to be known of edited values.
#[derive(Debug, Serialize)]
pub struct Review {
    /// The deployment or draft that was edited.
    pub from: String,
    /// SHA-256 of the edited values.
    pub sha256: String,
    /// What was found in them.
    pub findings: Vec<LintFinding>,
    /// What differs from what went in.
    pub diff: Diff,
    /// Keys that stored data depends on, and that changed.
    pub guarded: Vec<Guarded>,
    /// Where the sealed draft is, when one was kept.
    pub saved: Option<PathBuf>,
}

/// What there is to edit with.
#[derive(Debug, Clone, Copy)]
pub struct EditorRequest<'e> {
    /// The words of `$VISUAL` or `$EDITOR`.
    pub words: Option<&'e str>,
    /// Folders that may live in memory.
    pub places: &'e [PathBuf],
    /// Whether stdin and stdout are a terminal.
    pub at_terminal: bool,
    /// Whether nobody is to be asked.
    pub no_input: bool,
}

/// Opens the values and makes a place for the editor.
///
/// # Errors
/// The values cannot be opened, there is no editor, none that could be used here, or no place in memory.
pub fn begin(ctx: &Ctx, subject: &EditSource, request: &EditorRequest<'_>) -> Result<Editing> {
    let EditorRequest { words, places, at_terminal, no_input } = *request;
    let vault = ctx.vault()?;
    let editor = Editor::find(words)?;
    editor.require_terminal(at_terminal, no_input)?;
    let identities = ctx.identities()?;
    let (name, before) = match subject {
        EditSource::Deployment(which) => {
            let deployment = which.find(ctx)?;
            if deployment.record.layers.len() > 1 {
                ctx.events.warn(
                    format!("{} was given in {} layers", deployment.id(), deployment.record.layers.len()),
                    Some("What is edited is what Helm made of them: one document in JSON, without comments.".into()),
                );
            }
            (deployment.id().to_string(), vault.values(&deployment, &identities)?)
        }
        EditSource::Draft(path) => {
            let failed = |e| CommandError::new(Exit::NotFound, format!("read the draft {}", path.display())).because(e);
            (path.display().to_string(), identities.open(&read::file(path, read::VALUES).map_err(failed)?)?)
        }
    };
    let scrubber = Scrubber::new(Some(vault.fingerprint_key(&identities)?));
    if !editor.is_known() {
        ctx.events.warn(
            format!("whether {} keeps copies of what it edits in other places is not known", editor.name()),
            Some("dr keeps vim, nano and emacs from it; look at the settings of yours for backups and history.".into()),
        );
    }
    if read::text_file(Path::new("/proc/swaps"), read::SMALL).is_ok_and(|swaps| swaps.lines().count() > 1) {
        ctx.events.warn(
            "this host swaps: what is in memory may be written to its swap space",
            Some("`swapoff -a` before editing, or swap space that is encrypted, closes that way.".into()),
        );
    }
    let scratch = ScratchDir::make(places, &before)?;
    let draft = match subject {
        EditSource::Draft(path) => Some(path.clone()),
        EditSource::Deployment(_) => None,
    };
    Ok(Editing { name, draft, before, scratch, editor, vault: vault.clone(), scrubber })
}

/// Refuses a place for a draft where something is, before anybody types what would go there.
///
/// # Errors
/// [`Exit::NotEmpty`].
pub fn refuse_taken(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() { Err(is_there(path)) } else { Ok(()) }
}

fn is_there(path: &Path) -> CommandError {
    CommandError::new(Exit::NotEmpty, format!("{} is there already", path.display()))
        .hint("Give another name with --save: nothing is written over.")
}

impl Editing {
    /// Opens the editor on the text as it stands, and looks at what comes out of it.
    ///
    /// # Errors
    /// The editor fails, or the work was stopped.
    pub async fn round(&self, ctx: &Ctx) -> Result<Round> {
        self.editor.open(ctx, &self.scratch).await?;
        let bytes = self.scratch.read()?;
        ctx.secrets().register_document(&bytes);
        if bytes == self.before && self.draft.is_none() {
            return Ok(Round::Unchanged);
        }
        let new = match Tree::parse_or_explain(&bytes) {
            Ok(tree) => tree,
            Err(error) => return Ok(Round::Unreadable(CommandError::from(error).context("the edited values"))),
        };
        // What went in may be what Helm would not read: a draft that is being fixed.
        let old = Tree::parse_or_keep(&self.before);
        let effective = |values| Effective { values, defaults: None };
        let review = Review {
            from: self.name.clone(),
            sha256: sha256(&bytes),
            findings: lint(&new, &bytes),
            diff: diff(&old, &new, &self.scrubber),
            guarded: guard::guarded(effective(&old), effective(&new)),
            saved: None,
        };
        Ok(Round::Edited(Edited { bytes, review }))
    }

    /// Keeps what stands in the editor's file now, sealed to the vault's recipients, in a new file that only its owner
    /// may read. Nothing is ever written over.
    ///
    /// # Errors
    /// Something is there already, or it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_to(path, &self.vault.recipients()?)
    }

    fn save_to(&self, path: &Path, recipients: &Recipients) -> Result<()> {
        let sealed = recipients.seal(&self.scratch.read()?)?;
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::AlreadyExists => is_there(path),
            _ => CommandError::new(Exit::Failure, format!("write the sealed draft {}", path.display())).because(e),
        };
        write::new_file(path, 0o600, &sealed).map_err(failed)
    }

    /// Keeps it as [`Editing::save`] does, in a file of its own beside the runs, so that no work is lost when it is not
    /// deployed. Gives the file, which is the draft itself where that was not changed, or nothing when there is nothing
    /// to keep.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, ctx: &Ctx) -> Result<Option<PathBuf>> {
        if self.scratch.read()? == self.before {
            return Ok(self.draft.clone());
        }
        let folder = ctx.state.join("drafts");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|e| CommandError::new(Exit::Failure, format!("make {}", folder.display())).because(e))?;
        let path = folder.join(format!("{}.yaml.age", clock::now().strftime("%Y%m%dT%H%M%S.%3fZ")));
        // A vault that is not believed any more is no reason to lose the work: the draft stays on this host.
        let recipients = self.vault.recipients().map_err(CommandError::from).or_else(|_| ctx.recipients())?;
        self.save_to(&path, &recipients)?;
        Ok(Some(path))
    }
}
