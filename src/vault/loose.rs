//! Loose objects, read by ourselves: libgit2 never comes back from one that ends too early, as a power failure leaves it.

use std::io;
use std::path::{Path, PathBuf};

use flate2::{Decompress, FlushDecompress, Status};
use git2::{ObjectType, Oid};

use super::object_fault::ObjectFault;
use crate::read;

/// What is said of an object over a reader's bound.
pub(super) const TOO_LARGE: &str = "it is larger than any object of a vault";

/// More bytes than the line before an object's own has.
const HEAD: usize = 32;

/// The kind and the bytes of an object that lies loose in this folder of objects; nothing where none does. What is given
/// has the name that it is asked for by.
///
/// # Errors
/// The file cannot be read, is no whole object of that name, or holds more than `most` bytes once it is opened.
pub(super) fn read(objects: &Path, id: Oid, most: u64) -> Result<Option<(ObjectType, Vec<u8>)>, ObjectFault> {
    let path = place(objects, id);
    let packed = match read::file(&path, read::PROGRAM) {
        Ok(packed) => packed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(ObjectFault::Unread(io::Error::new(error.kind(), format!("{}: {error}", path.display()))));
        }
    };
    let broken = |what: &str| ObjectFault::Broken(format!("{}: {what}", path.display()));
    let content = inflated(&packed, usize::try_from(most).unwrap_or(usize::MAX)).map_err(broken)?;
    let (kind, bytes) = taken_apart(content).ok_or_else(|| broken("it is no object of git's"))?;
    match Oid::hash_object(kind, &bytes) {
        Ok(found) if found == id => Ok(Some((kind, bytes))),
        _ => Err(broken("its content is not what its name says")),
    }
}

fn place(objects: &Path, id: Oid) -> PathBuf {
    let name = id.to_string();
    objects.join(&name[..2]).join(&name[2..])
}

/// All of a stream. One that ends before its end is an error, and never waited for.
fn inflated(packed: &[u8], most: usize) -> Result<Vec<u8>, &'static str> {
    let mut stream = Decompress::new(true);
    let mut content = Vec::with_capacity(packed.len().saturating_mul(3).clamp(1024, most));
    loop {
        let (taken, given) = (stream.total_in(), stream.total_out());
        let rest = packed.get(usize::try_from(taken).unwrap_or(usize::MAX)..).unwrap_or_default();
        let status = stream.decompress_vec(rest, &mut content, FlushDecompress::None);
        match status.map_err(|_| "it is damaged")? {
            _ if content.len() > most.saturating_add(HEAD) => return Err(TOO_LARGE),
            Status::StreamEnd => return Ok(content),
            _ if content.len() == content.capacity() => content.reserve(content.len().max(1024)),
            _ if stream.total_in() == taken && stream.total_out() == given => return Err("it is cut short"),
            _ => {}
        }
    }
}

/// `blob 12\0` and its bytes.
fn taken_apart(mut content: Vec<u8>) -> Option<(ObjectType, Vec<u8>)> {
    let end = content.iter().take(HEAD).position(|byte| *byte == 0)?;
    let mut head = std::str::from_utf8(&content[..end]).ok()?.split(' ');
    let kind = head.next().and_then(ObjectType::from_str)?;
    let length: usize = head.next()?.parse().ok()?;
    content.drain(..=end);
    (content.len() == length).then_some((kind, content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::error::VaultError;

    #[test]
    fn an_object_is_read_whole_and_one_that_is_cut_anywhere_is_called_that() {
        let folder = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(folder.path()).unwrap();
        let text: Vec<u8> = (0..40_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
        for bytes in [&b""[..], b"a", b"a: 1\n", &text, &[b'x'; 200_000]] {
            let id = repo.blob(bytes).unwrap();
            let objects = folder.path().join(".git/objects");
            let found = read(&objects, id, 1 << 20).unwrap().unwrap();
            assert!(found == (ObjectType::Blob, bytes.to_vec()));
            let file = place(&objects, id);
            let whole = std::fs::read(&file).unwrap();
            std::fs::remove_file(&file).unwrap();
            assert!(read(&objects, id, 1 << 20).unwrap().is_none());
            let cuts = (0..whole.len()).step_by((whole.len() / 40).max(1)).chain([1, 2, whole.len() - 1]);
            for cut in cuts.filter(|cut| *cut < whole.len()) {
                std::fs::write(&file, &whole[..cut]).unwrap();
                let fault = read(&objects, id, 1 << 20).unwrap_err();
                assert!(matches!(&fault, ObjectFault::Broken(why) if why.contains("cut short")), "{cut}: {fault:?}");
            }
            let mut other = whole.clone();
            other[0] ^= 0xff;
            std::fs::write(&file, other).unwrap();
            assert!(read(&objects, id, 1 << 20).is_err());
        }
        let (one, two) = (repo.blob(b"one").unwrap(), repo.blob(b"two").unwrap());
        let objects = folder.path().join(".git/objects");
        std::fs::remove_file(place(&objects, two)).unwrap();
        std::fs::copy(place(&objects, one), place(&objects, two)).unwrap();
        assert!(matches!(read(&objects, two, 1 << 20), Err(ObjectFault::Broken(why)) if why.contains("name")));
        // Root may read any file: a folder in its place is refused to everybody.
        std::fs::remove_file(place(&objects, two)).unwrap();
        std::fs::create_dir(place(&objects, two)).unwrap();
        let fault = read(&objects, two, 1 << 20).unwrap_err();
        let VaultError::Io { act, source } = fault.of("a file") else { panic!("it is called damaged") };
        assert!(act.contains("a file") && source.to_string().contains(&two.to_string()[2..]), "{act}: {source}");
    }
}
