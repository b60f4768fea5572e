//! The redactor of this process: one handle, shared by whoever reads secrets and whoever writes output.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::evident::EvidentSecrets;
use super::json::scrub_json;
use super::line::without_named;
use super::scrubber::Scrubber;
use crate::read;
use crate::yaml::Tree;

/// Larger plaintexts are chunks of a database, not config.
const LARGEST_DOCUMENT: usize = read::VALUES as usize;

/// A growing scrubber, shared by all its clones. Whoever decrypts or reads secrets registers them; every sink that leaves
/// the process masks with it. Fingerprints are no business of it: its masks are bare.
///
/// Documents are taken down at once and looked through when something is to be said: reading stays cheap.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    scrubber: RwLock<Scrubber>,
    /// Documents not yet looked through.
    pending: Mutex<Vec<Zeroizing<Vec<u8>>>>,
    /// Digests of those that were, under a key of this process: what one reader takes down, another has read already.
    seen: Mutex<HashSet<u64>>,
    hashing: RandomState,
    evident: EvidentSecrets,
    /// Nothing is masked.
    open: bool,
}

/// Never shows what it knows.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Masks nothing: for results whose readers have asked for the secrets themselves.
    pub fn in_the_clear() -> Self {
        Self(Arc::new(Inner { open: true, ..Inner::default() }))
    }

    /// Registers one secret, in every form in which it might be printed.
    pub fn register(&self, secret: &[u8]) {
        self.write(|scrubber| scrubber.register(secret));
    }

    /// Registers every secret of a values file.
    pub fn register_tree(&self, tree: &Tree) {
        if self.first_time(tree.source().as_bytes()) {
            self.write(|scrubber| scrubber.register_tree(tree));
        }
    }

    /// Registers the secrets of a document, such as values, Secrets or a chart's text, if it is one that holds any. A
    /// document that cannot be read as YAML is looked through as text.
    pub fn register_document(&self, bytes: &[u8]) {
        if bytes.len() <= LARGEST_DOCUMENT && !is_packed(bytes) {
            self.pending().push(Zeroizing::new(bytes.to_vec()));
        }
    }

    /// The text with every known secret masked, and every one that its form gives away.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scrub_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The same of what a person has said, without what it gives to names that hold secrets (`PGPASSWORD=...`), too.
    pub fn scrub_words(&self, text: &str) -> String {
        self.scrub(&without_named(text)).into_owned()
    }

    /// The same for bytes.
    pub fn scrub_bytes<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        if self.0.open {
            return Cow::Borrowed(text);
        }
        match self.read(|scrubber| scrubber.scrub_bytes(text)) {
            Cow::Borrowed(text) => self.0.evident.mask(text),
            Cow::Owned(masked) => Cow::Owned(self.0.evident.mask(&masked).into_owned()),
        }
    }

    /// The same for a JSON text, which stays one.
    pub fn scrub_json<'t>(&self, json: &'t str) -> Cow<'t, str> {
        scrub_json(json, |text| self.scrub(text))
    }

    fn write(&self, register: impl FnOnce(&mut Scrubber)) {
        // A panic while registering leaves a scrubber that knows less, not one that does harm.
        register(&mut self.0.scrubber.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn read<T>(&self, look: impl FnOnce(&Scrubber) -> T) -> T {
        self.look_through();
        look(&self.0.scrubber.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Registers the secrets of the documents that were taken down.
    fn look_through(&self) {
        let pending = std::mem::take(&mut *self.pending());
        for document in pending.into_iter().filter(|document| self.first_time(document)) {
            self.write(|scrubber| match Tree::parse(&document) {
                Ok(tree) => scrubber.register_tree(&tree),
                Err(_) => scrubber.register_inside(&document),
            });
        }
    }

    /// Whether these bytes were not looked through before. A tree's source ends in a line end, which its file may lack.
    fn first_time(&self, document: &[u8]) -> bool {
        let digest = self.0.hashing.hash_one(document.strip_suffix(b"\n").unwrap_or(document));
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(digest)
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Zeroizing<Vec<u8>>>> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Archives and chunks: gzip, zstd, or anything with a zero byte at its beginning.
fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
        || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || bytes.iter().take(512).any(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::MASK;
    use super::*;

    #[test]
    fn what_one_clone_registers_every_other_masks() {
        let secrets = Secrets::default();
        let sink = secrets.clone();
        assert_eq!(sink.scrub("a hunter2hunter2 b"), "a hunter2hunter2 b");
        secrets.register_document(b"env:\n  PGPASSWORD: hunter2hunter2\n  TZ: Brisbane\n");
        assert_eq!(sink.scrub("a hunter2hunter2 b Brisbane"), format!("a {MASK} b Brisbane"));
        assert_eq!(sink.scrub_json(r#"{"a":"hunter2hunter2"}"#), format!("{{\"a\":\"{MASK}\"}}"));
    }

    #[test]
    fn a_document_that_is_no_yaml_and_one_of_secrets_are_registered_too() {
        let secrets = Secrets::default();
        secrets.register_document(b"PASSWORD=plain2hunter\n\t: {[\n");
        secrets.register_document(
            br#"{"kind":"List","items":[{"kind":"Secret","data":{"x":"SHVudGVyMw==","host":"ZGItcnc="}}]}"#,
        );
        assert_eq!(secrets.scrub("plain2hunter Hunter3 SHVudGVyMw== db-rw"), format!("{MASK} {MASK} {MASK} db-rw"));
    }

    #[test]
    fn a_file_that_was_read_is_not_read_again_when_something_is_said() {
        let secrets = Secrets::default();
        let text = b"password: hunter2hunter2";
        secrets.register_document(text);
        secrets.register_tree(&Tree::parse(text).unwrap());
        assert_eq!(secrets.scrub("hunter2hunter2"), MASK);
        let seen = || secrets.0.seen.lock().unwrap().len();
        assert_eq!(seen(), 1);
        secrets.register_document(b"password: hunter3hunter3\n");
        assert_eq!((secrets.scrub("hunter3hunter3").as_ref(), seen()), (MASK, 2));
    }

    #[test]
    fn chunks_of_a_database_are_not_looked_at() {
        let secrets = Secrets::default();
        secrets.register_document(&[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]);
        secrets.register_document(&vec![b'x'; LARGEST_DOCUMENT + 1]);
        assert!(secrets.pending().is_empty());
    }
}
