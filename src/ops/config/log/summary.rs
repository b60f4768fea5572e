//! What changed from one deployment to the next, for many of them, fast.
//!
//! Each version of the values is opened once, two threads side by side, and of two neighbours only what differs is read
//! where that is enough; equal digests need neither. What was found is not kept: nobody would feel the difference.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::Serialize;

use crate::crypt::Identities;
use crate::error::Result;
use crate::parallel;
use crate::values::diff::{Class, Cutter, Diff, ValuesText, diff};
use crate::values::{Scrubber, Tree};
use crate::vault::{Deployment, Vault};

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

/// A deployment and the one before it.
type Pair<'d> = (&'d Deployment, Option<&'d Deployment>);

/// What changed, for each pair; `None` where it would take an identity, and there is none.
///
/// # Errors
/// Values that no identity opens, or that are damaged.
pub(super) fn of_pairs(
    vault: &Vault,
    identities: Option<&Identities>,
    pairs: &[Pair<'_>],
) -> Result<Vec<Option<Changes>>> {
    let vault = &vault.snapshot()?;
    parallel::in_parts(pairs, if pairs.len() < ALONE { 1 } else { 2 }, |pairs| {
        let mut reader = Reader::new(vault, identities);
        pairs.iter().map(|(deployment, before)| reader.changes(deployment, *before)).collect()
    })
}

struct Reader<'a> {
    vault: &'a Vault,
    identities: Option<&'a Identities>,
    cutter: Cutter,
    kept: HashMap<String, Rc<Opened>>,
    /// The digests of `kept`, the one used last at the end.
    order: Vec<String>,
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
    fn new(vault: &'a Vault, identities: Option<&'a Identities>) -> Self {
        Self { vault, identities, cutter: Cutter::default(), kept: HashMap::new(), order: Vec::new() }
    }

    fn changes(&mut self, deployment: &Deployment, before: Option<&Deployment>) -> Result<Option<Changes>> {
        let Some(before) = before else { return Ok(Some(Changes::words("first"))) };
        if before.values_sha256().is_some() && before.values_sha256() == deployment.values_sha256() {
            return Ok(Some(Changes::words("same values")));
        }
        let Some(identities) = self.identities else { return Ok(None) };
        let new = self.open(deployment, identities)?;
        let old = self.open(before, identities)?;
        let scrubber = Scrubber::new(None);
        if let Some(found) = old.version.diff(&new.version, &scrubber) {
            return Ok(Some(Changes::of(&found)));
        }
        Ok(Some(match (old.tree(), new.tree()) {
            (Some(before), Some(after)) => {
                Changes::of(&diff(before, after, &scrubber).of_files(old.version.text(), new.version.text()))
            }
            _ => Changes::words("cannot be compared: Helm would not read one of the two"),
        }))
    }

    fn open(&mut self, deployment: &Deployment, identities: &Identities) -> Result<Rc<Opened>> {
        let digest = deployment.values_sha256().map_or_else(|| deployment.id().to_string(), str::to_owned);
        if let Some(opened) = self.kept.get(&digest) {
            let opened = Rc::clone(opened);
            self.order.retain(|known| *known != digest);
            self.order.push(digest);
            return Ok(opened);
        }
        let version = self.cutter.cut(self.vault.values(deployment, identities)?);
        let opened = Rc::new(Opened { version, tree: OnceCell::new() });
        if self.order.len() >= KEPT {
            let oldest = self.order.remove(0);
            self.kept.remove(&oldest);
        }
        self.kept.insert(digest.clone(), Rc::clone(&opened));
        self.order.push(digest);
        Ok(opened)
    }
}
