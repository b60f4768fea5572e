//! The store that is a folder: a folder an object.
//!
//! `<name>/<name>.tar` is the object's bytes, `<name>/published.json` its record, every other file there a note. Without
//! the record it is a draft. A draft's writer holds a lock (`flock`) on the bytes, which the kernel gives back however
//! the writer ends. A `.tar` in the store's own folder is a loose file, put there by hand.

mod draft;
mod files;
mod object;
mod store;

pub(super) use files::open_path;
pub use store::DirectoryStore;
