//! Blocks and headers.

/// Tar's unit: a header is one block, contents are padded to whole blocks, two empty ones end the file.
pub const BLOCK: u64 = 512;
/// What stands at the end of a tar.
pub const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
/// The bytes of one header.
pub type Block = [u8; BLOCK as usize];

/// How many zero bytes follow `bytes` bytes of content.
pub fn padding(bytes: u64) -> u64 {
    (BLOCK - bytes % BLOCK) % BLOCK
}

/// The header of a plain file that only its owner may read. `owner` is user and group, `mtime` in seconds since 1970.
///
/// # Errors
/// When the name does not fit.
pub fn file_header(name: &str, bytes: u64, mtime: u64, owner: u64) -> std::io::Result<Block> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(bytes);
    header.set_mtime(mtime);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// The header in a block; `None` when its checksum does not fit.
pub fn header_in(block: &Block) -> Option<&tar::Header> {
    let header = tar::Header::from_byte_slice(block);
    // Spaces stand in for the checksum's own eight bytes while it is summed.
    let sum: u32 =
        block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
    (header.cksum().ok() == Some(sum)).then_some(header)
}

/// Whether a path stays below the folder that it is relative to, and is written the plain way.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty() && !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tar_crate_reads_a_header_back_and_padding_fills_the_block() {
        assert_eq!([padding(0), padding(1), padding(511), padding(512), padding(513)], [0, 511, 1, 0, 511]);
        let block = file_header("a", 3, 9, 0).unwrap();
        let bytes = [block.as_slice(), b"xyz", &[0; 509], &END].concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!((entry.size(), entry.path().unwrap().to_str()), (3, Some("a")));
    }

    #[test]
    fn a_header_with_a_flipped_bit_is_none() {
        let good = file_header("a/b", 3, 9, 26).unwrap();
        assert!(header_in(&good).is_some());
        for at in 0..good.len() {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(header_in(&bad).is_none(), "byte {at}");
        }
    }
}
