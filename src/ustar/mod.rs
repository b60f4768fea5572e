//! Tar in its plain form: files and folders with ustar headers, and nothing that tar programs understand differently.
//!
//! PostgreSQL writes base backups like that, and a bundle is one such tar.

mod header;
mod reader;

pub use header::{BLOCK, Block, END, file_header, header_in, is_inside, padding};
pub use reader::{Both, TarEntry, TarError, TarReader, TarSink, entry_in};
