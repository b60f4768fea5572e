//! Tar headers, exact to the byte.
//!
//! For a given name, size and time there is exactly one header that a bundle may hold: ustar, a plain file, mode 0600,
//! nobody's. A header that differs in any byte is refused, so links, devices, long-name tricks, pax overrides, sparse
//! maps and whatever else tar programs understand differently cannot be in a bundle.

use crate::ustar::{self, Block};

use super::error::BundleFault;
use super::layout::Member;

pub(super) use crate::ustar::{BLOCK, END, padding};

/// The only header for these facts. `mtime` is in seconds since 1970.
pub(super) fn header(name: &str, bytes: u64, mtime: u64) -> Result<Block, BundleFault> {
    ustar::file_header(name, bytes, mtime, 0)
        .map_err(|error| BundleFault::Refused { member: name.to_owned(), reason: error.to_string() })
}

/// Reads member, size and time from the block at `offset` of the file. Everything else must be as `header` makes it;
/// `mtime` is `None` for the first member, whose own time is returned for the rest.
pub(super) fn parse(block: &Block, offset: u64, mtime: Option<u64>) -> Result<(Member, u64, u64), BundleFault> {
    let here = || format!("the tar header at byte {offset}");
    let found = ustar::header_in(block).ok_or_else(|| BundleFault::damaged(here(), "its checksum does not fit"))?;
    let end = block[..100].iter().position(|b| *b == 0).unwrap_or(100);
    let name = std::str::from_utf8(&block[..end])
        .map_err(|_| BundleFault::Layout { member: here(), reason: "its name is not text".into() })?
        .to_owned();
    let layout = |reason: String| BundleFault::Layout { member: name.clone(), reason };
    if let Some(kind) = foreign_kind(found.entry_type()) {
        return Err(layout(format!("it is {kind}, not a plain file")));
    }
    let member = Member::parse(&name).map_err(|reason| layout(reason.to_owned()))?;
    let bytes = found.entry_size().map_err(|_| BundleFault::damaged(&name, "its size cannot be read"))?;
    let seconds = found.mtime().map_err(|_| BundleFault::damaged(&name, "its time cannot be read"))?;
    if block != &header(&name, bytes, mtime.unwrap_or(seconds))? {
        return Err(layout("its tar header is not the one that a bundle has".into()));
    }
    Ok((member, bytes, seconds))
}

/// What a person calls an entry that is no plain file.
fn foreign_kind(kind: tar::EntryType) -> Option<&'static str> {
    use tar::EntryType as Kind;
    match kind {
        Kind::Regular => None,
        Kind::Link => Some("a hard link"),
        Kind::Symlink => Some("a symbolic link"),
        Kind::Char | Kind::Block => Some("a device"),
        Kind::Directory => Some("a folder"),
        Kind::Fifo => Some("a pipe"),
        Kind::GNULongName | Kind::GNULongLink | Kind::XHeader | Kind::XGlobalHeader => Some("an extended tar header"),
        Kind::GNUSparse => Some("a sparse file"),
        _ => Some("an entry of an unknown kind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Stream;

    #[test]
    fn a_header_is_read_back_and_any_changed_byte_is_refused() {
        let good = header("db/base/000001.tar.zst.age", 123_456, 1_700_000_000).unwrap();
        let expected = (Member::Chunk(Stream::Base, 1), 123_456, 1_700_000_000);
        assert_eq!(parse(&good, 0, Some(1_700_000_000)).unwrap(), expected);
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good;
                bad[at] ^= flip;
                assert!(parse(&bad, 0, Some(1_700_000_000)).is_err(), "byte {at} flipped by {flip}");
            }
        }
    }

    #[test]
    fn a_valid_header_of_another_make_is_refused() {
        let refused = |change: &dyn Fn(&mut tar::Header)| {
            let mut found = tar::Header::new_ustar();
            found.as_mut_bytes().copy_from_slice(&header("README.md", 5, 7).unwrap());
            change(&mut found);
            found.set_cksum();
            parse(found.as_bytes(), 0, Some(7)).unwrap_err().to_string()
        };
        assert!(refused(&|h| h.set_entry_type(tar::EntryType::Symlink)).contains("symbolic link"));
        assert!(refused(&|h| h.set_entry_type(tar::EntryType::XHeader)).contains("extended tar header"));
        assert!(refused(&|h| h.set_entry_type(tar::EntryType::GNUSparse)).contains("sparse"));
        assert!(refused(&|h| h.set_mode(0o4755)).contains("not the one that a bundle has"));
        assert!(refused(&|h| h.set_mtime(8)).contains("not the one that a bundle has"));
        assert!(refused(&|h| h.set_uid(1)).contains("not the one that a bundle has"));
    }
}
