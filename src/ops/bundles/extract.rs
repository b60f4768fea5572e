//! `dr bundle extract`: one thing out of a bundle.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::{BundleRequest, FoundBundle, find, identity_words};
use crate::bundle::{
    BundleError, BundleFault, BundleItem, Extracted, Extraction, HeldAgainst, ListedItem, SignatureState,
};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::write::NewFile;

/// Only its owner may read what was sealed.
const MODE: u32 = 0o600;

/// An item of a bundle that was found.
pub struct FoundItem<'c> {
    ctx: &'c Ctx,
    found: FoundBundle,
    /// The words that asked for it.
    words: String,
    item: BundleItem,
    identities: Option<Identities>,
}

/// An item that was written to a file.
#[derive(Debug, Serialize)]
pub struct ExtractReport {
    pub bundle: String,
    /// What was asked for.
    pub item: String,
    /// Where it is.
    pub file: String,
    pub bytes: u64,
    pub held_against: HeldAgainst,
    pub signature: SignatureState,
}

/// What can be taken out of a bundle.
#[derive(Debug, Serialize)]
pub struct ItemList {
    pub bundle: String,
    /// What a command takes to name it again and to open it.
    pub arguments: String,
    /// The beginning of the paths in the data directory, where these were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
    pub items: Vec<ListedItem>,
}

/// Lists what can be taken out; with `below` the files of the database whose path begins so.
///
/// # Errors
/// There is no such bundle, it is not to be believed, no identity opens it, or it has no such files.
pub fn items(ctx: &Ctx, request: &BundleRequest, below: Option<&str>) -> Result<ItemList> {
    let found = find(ctx, request, below.is_some())?;
    let items = match below {
        None => found.reader.items(),
        Some(below) => found
            .reader
            .database_files(below, &ctx.identities_of(request.identity.as_deref())?)
            .map_err(with_list(&found))?,
    };
    let bundle = found.reader.header().id.to_string();
    let arguments = format!("{}{}", found.arguments, identity_words(ctx, request.identity.as_deref()));
    Ok(ItemList { bundle, arguments, below: below.map(str::to_owned), items })
}

/// Finds what the words ask for.
///
/// # Errors
/// There is no such bundle or item, or it is not to be believed.
pub fn item<'c>(ctx: &'c Ctx, request: &BundleRequest, words: &str) -> Result<FoundItem<'c>> {
    let needs_identity = BundleItem::needs_identity(words);
    let found = find(ctx, request, needs_identity)?;
    let item = found.reader.item(words).map_err(with_list(&found))?;
    let identities = needs_identity.then(|| ctx.identities_of(request.identity.as_deref())).transpose()?;
    Ok(FoundItem { ctx, found, words: words.to_owned(), item, identities })
}

impl FoundItem<'_> {
    /// Writes it to a new file that only its owner may read, or to one in the folder `out`. The file has its name once all
    /// of it is there, checked and durable.
    ///
    /// # Errors
    /// The file is there already; it cannot be written; the item is not in the bundle, damaged, or not opened.
    pub fn write_file(&self, out: &Path) -> Result<ExtractReport> {
        let path = if out.is_dir() { out.join(self.item.file_name()) } else { out.to_owned() };
        let mut file = NewFile::create(&path, MODE).map_err(|error| unwritten(&path, error))?;
        let Extracted { bytes, held_against } = self.write(&mut file).map_err(|error| self.failed(error))?;
        file.finish().map_err(|error| unwritten(&path, error))?;
        Ok(ExtractReport {
            bundle: self.found.reader.header().id.to_string(),
            item: self.words.clone(),
            file: path.display().to_string(),
            bytes,
            held_against,
            signature: self.found.reader.signature().clone(),
        })
    }

    /// Writes it to stdout. A reader that has closed it had enough; after any other failure it has a part.
    ///
    /// # Errors
    /// The item is not in the bundle, damaged, or not opened; stdout cannot be written.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        match self.write(out) {
            Err(error) if is_closed(&error) => Ok(()),
            Err(error) => {
                Err(self.failed(error).hint("What was written to stdout is not whole: nothing of it may be used."))
            }
            Ok(_) => Ok(()),
        }
    }

    fn write(&self, output: &mut dyn Write) -> std::result::Result<Extracted, BundleError> {
        let (identities, events, cancel) = (self.identities.as_ref(), &self.ctx.events, &self.ctx.cancel);
        self.found.reader.extract(&self.item, Extraction { identities, output, events, cancel })
    }

    fn failed(&self, error: BundleError) -> CommandError {
        match self.ctx.check_cancelled() {
            Err(stopped) => stopped,
            Ok(()) => with_list(&self.found)(error),
        }
    }
}

/// What leads on from a word for nothing.
fn with_list(found: &FoundBundle) -> impl Fn(BundleError) -> CommandError {
    move |error| {
        let is_none = matches!(*error.fault, BundleFault::NoItem(_));
        let error = CommandError::from(error);
        if !is_none {
            return error;
        }
        error.hint(format!(
            "`dr bundle extract {} --list` shows what it has; with base/ before --list, the database files below it.",
            found.arguments
        ))
    }
}

fn is_closed(error: &BundleError) -> bool {
    matches!(&*error.fault, BundleFault::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

fn unwritten(path: &Path, error: io::Error) -> CommandError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            CommandError::new(Exit::NotEmpty, format!("{} is there already", path.display()))
                .hint("Give another name with --out: nothing is written over.")
        }
        _ => CommandError::new(Exit::Failure, format!("write {}", path.display())).because(error),
    }
}
