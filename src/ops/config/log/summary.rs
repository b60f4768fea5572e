//! What changed from one deployment to the next, for many of them, fast.
//!
//! Each sealed form of the values is opened once, two threads side by side, and of two neighbours only what differs is
//! read where that is enough. What was found is not kept: nobody would feel the difference.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::Serialize;

use super::unread::Unread;
use crate::crypt::Identities;
use crate::error::Result;
use crate::ops::Ctx;
use crate::parallel;
use crate::values::diff::{Class, Cutter, Diff, ValuesText, diff};
use crate::values::{Scrubber, Tree};
use crate::vault::{Deployment, DeploymentId, Vault};

/// How many paths a summary names.
const PATHS: usize = 5;
/// How many opened files a thread keeps, for versions that come back.
const KEPT: usize = 8;
/// Fewer than this are not worth a second thread.
const ALONE: usize = 16;

/// What changed in the values. No value is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// In words: `2 changed, 1 added`, `same values`, `first`.
    pub summary: String,
    /// The paths of the first changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How many changes there are beside these.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Changes {
    fn words(summary: &str) -> Self {
        Self { summary: summary.into(), paths: Vec::new(), more: 0 }
    }

    fn of(diff: &Diff) -> Self {
        let mut paths: Vec<String> = Vec::new();
        let mut more = 0;
        for change in diff.changes.iter().filter(|_| diff.class == Class::Changed) {
            if paths.len() < PATHS {
                paths.push(change.path.to_string());
            } else {
                more += 1;
            }
        }
        Self { summary: diff.summary(), paths, more }
    }
}

/// The deployment before another in time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before<'d> {
    None,
    Read(&'d Deployment),
    /// There is, or may be, one whose record cannot be read.
    Unread,
}

/// A deployment and the one before it.
pub(super) type Pair<'d> = (&'d Deployment, Before<'d>);

/// What opens the values.
pub(super) enum LogKeys {
    /// This host has none, and says so in its settings.
    None,
    /// They are set, and cannot be had.
    Missing(Unread),
    Ready {
        identities: Identities,
        /// Why they do not open something.
        closed: Unread,
    },
}

impl LogKeys {
    pub(super) fn of(ctx: &Ctx, vault: &Vault) -> Self {
        match ctx.identities_if_set() {
            Ok(None) => Self::None,
            Ok(Some(identities)) => {
                let closed = closed(vault, &identities.recipients());
                Self::Ready { identities: identities.unwitnessed(), closed }
            }
            Err(error) => Self::Missing(Unread::of_identity(&error)),
        }
    }
}

/// Why this host's own keys do not open something.
fn closed(vault: &Vault, own: &[String]) -> Unread {
    let holders = vault.holders().unwrap_or_default();
    if own.iter().any(|key| holders.has(key)) {
        return Unread::closed(
            "it was sealed before this host's key was a recipient".into(),
            "On a host that opens it: `dr config rekey`, `dr config sync`; then `dr config sync` here. If none is left, with the escrow key: `dr config rekey --identity ESCROW.txt`.".into(),
        );
    }
    let key = own.first().map_or("age1...", String::as_str);
    Unread::closed(
        "this host's key is no recipient".into(),
        format!(
            "On a host that opens it: `dr config recipients add {key}`, `dr config rekey`, `dr config sync`; then `dr config sync` here. If none is left, with the escrow key: `dr config recipients add {key}`, `dr config rekey --identity ESCROW.txt`."
        ),
    )
}

/// What is known of a pair: `None` where it would take an identity, and there is none.
pub(super) type Summary = std::result::Result<Option<Changes>, Unread>;

/// What changed, for each pair.
///
/// # Errors
/// The vault cannot be read at all.
pub(super) fn of_pairs(vault: &Vault, keys: &LogKeys, pairs: &[Pair<'_>]) -> Result<Vec<Summary>> {
    let vault = &vault.snapshot()?;
    parallel::in_parts(pairs, if pairs.len() < ALONE { 1 } else { 2 }, |pairs| {
        let mut reader = Reader::new(vault, keys);
        Ok(pairs.iter().map(|(deployment, before)| reader.changes(deployment, *before)).collect())
    })
}

struct Reader<'a> {
    vault: &'a Vault,
    keys: &'a LogKeys,
    cutter: Cutter,
    /// By what they are sealed in: the same values may be closed in another form.
    kept: HashMap<SealedForm, Rc<Opened>>,
    /// The keys of `kept`, the one used last at the end.
    order: Vec<SealedForm>,
}

/// What values are sealed in.
#[derive(Clone, PartialEq, Eq, Hash)]
enum SealedForm {
    Blobs(Vec<git2::Oid>),
    /// A file of it is missing.
    Deployment(DeploymentId),
}

/// The values of a deployment.
struct Opened {
    version: ValuesText,
    /// Read when the parts do not tell.
    tree: OnceCell<Option<Tree>>,
}

impl Opened {
    /// The whole, read; nothing when this program does not read it.
    fn tree(&self) -> Option<&Tree> {
        self.tree.get_or_init(|| Tree::parse(self.version.text()).ok()).as_ref()
    }
}

impl<'a> Reader<'a> {
    fn new(vault: &'a Vault, keys: &'a LogKeys) -> Self {
        Self { vault, keys, cutter: Cutter::default(), kept: HashMap::new(), order: Vec::new() }
    }

    fn changes(&mut self, deployment: &Deployment, before: Before<'_>) -> Summary {
        // Each is opened, equal ones and the first, too: whether they can be is what a list is looked at for.
        let new = self.open(deployment)?;
        if let Before::Read(before) = before
            && before.values_sha256().is_some()
            && before.values_sha256() == deployment.values_sha256()
        {
            return Ok(Some(Changes::words("same values")));
        }
        let before = match before {
            Before::None => return Ok(Some(Changes::words("first"))),
            Before::Unread => return Ok(Some(Changes::words("cannot be compared: a record before it is unreadable"))),
            Before::Read(before) => before,
        };
        let Some(new) = new else { return Ok(None) };
        let Ok(Some(old)) = self.open(before) else {
            let words = format!("cannot be compared: {} before it is not read", before.id().short());
            return Ok(Some(Changes::words(&words)));
        };
        let scrubber = Scrubber::new(None);
        if let Some(found) = old.version.diff(&new.version, &scrubber) {
            return Ok(Some(Changes::of(&found)));
        }
        Ok(Some(match (old.tree(), new.tree()) {
            (Some(before), Some(after)) => {
                Changes::of(&diff(before, after, &scrubber).of_files(old.version.text(), new.version.text()))
            }
            _ => Changes::words("cannot be compared: dr does not read one of the two"),
        }))
    }

    /// Nothing without a key.
    fn open(&mut self, deployment: &Deployment) -> std::result::Result<Option<Rc<Opened>>, Unread> {
        let (identities, closed) = match self.keys {
            LogKeys::None => return Ok(None),
            LogKeys::Missing(unread) => return Err(unread.clone()),
            LogKeys::Ready { identities, closed } => (identities, closed),
        };
        let form = self.form(deployment);
        if let Some(opened) = self.kept.get(&form) {
            let opened = Rc::clone(opened);
            self.order.retain(|known| *known != form);
            self.order.push(form);
            return Ok(Some(opened));
        }
        let values = self.vault.values(deployment, identities);
        let version = self.cutter.cut(values.map_err(|error| Unread::of_values(error, closed))?);
        let opened = Rc::new(Opened { version, tree: OnceCell::new() });
        if self.order.len() >= KEPT {
            let oldest = self.order.remove(0);
            self.kept.remove(&oldest);
        }
        self.kept.insert(form.clone(), Rc::clone(&opened));
        self.order.push(form);
        Ok(Some(opened))
    }

    fn form(&self, deployment: &Deployment) -> SealedForm {
        match self.vault.sealed_form(deployment) {
            Some(blobs) => SealedForm::Blobs(blobs),
            None => SealedForm::Deployment(deployment.id().clone()),
        }
    }
}
