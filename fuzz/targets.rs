//! What bytes from outside are given to, and what must hold whatever they are: nothing panics, nothing is read twice in
//! two ways. `make fuzz` feeds them with libFuzzer for an hour each, `tests/fuzz` for some minutes in all.

use std::path::Path;
use std::sync::Arc;

use dr::internals::bundle::{Reader, SIGNATURE_NAMESPACE, Trust};
use dr::internals::crypt::TrustedSigners;
use dr::internals::event::Events;
use dr::internals::journal::{Remains, Run, StoredRun};
use dr::internals::postgres::{BackupManifest, ControlData};
use dr::internals::settings::Settings;
use dr::internals::ustar::{TarEntry, TarError, TarReader, TarSink};
use dr::internals::values::{Scrubber, Tree, diff, lint};
use dr::internals::wire::Decoder;
use dr::{StoreError, Stored};
use tokio_util::sync::CancellationToken;

/// A target's name and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; each has a file in `fuzz_targets/`, something to begin with in `seeds/`, and what it once failed at, if
/// anything, in `corpus/`.
pub const TARGETS: [Target; 7] = [
    ("bundle", bundle),
    ("signature", signature),
    ("frames", frames),
    ("backup_manifest", backup_manifest),
    ("journal", journal),
    ("values", values),
    ("settings", settings),
];

/// A bundle in memory.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl Stored for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let wanted = offset.saturating_add(buffer.len() as u64);
        let there = usize::try_from(offset).ok().and_then(|from| self.0.get(from..)?.get(..buffer.len()));
        let Some(bytes) = there else { return Err(StoreError::Short { object: "memory".into(), wanted }) };
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// A bundle whose signer nobody knows: everything before the signature, and all that is listed behind it.
pub fn bundle(bytes: &[u8]) {
    tar_in_pieces(bytes);
    let stored: Arc<dyn Stored> = Arc::new(Memory(bytes.to_vec()));
    let header = Reader::peek(&*stored);
    if let Ok(reader) = Reader::open(stored, &Trust::Anyone(TrustedSigners::default())) {
        assert!(header.is_ok(), "what opens has a header");
        let _ = reader.verify_stored(&Events::none(), &CancellationToken::new());
    }
}

/// What a tar reader gave out: entries, bytes of them, and how many were whole.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    entries: Vec<TarEntry>,
    bytes: usize,
    whole: usize,
}

impl TarSink for Seen {
    type Error = TarError;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), TarError> {
        assert!(!entry.path.starts_with('/') && !entry.path.split('/').any(|part| part == ".."), "{entry:?}");
        self.entries.push(entry.clone());
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.bytes += bytes.len();
        Ok(())
    }

    fn end(&mut self) -> Result<(), TarError> {
        self.whole += 1;
        Ok(())
    }
}

/// However a tar is cut into pieces, it reads the same.
fn tar_in_pieces(bytes: &[u8]) {
    let read = |size: usize| {
        let (mut reader, mut seen) = (TarReader::new("tar"), Seen::default());
        let ended = bytes.chunks(size).try_for_each(|piece| reader.push(piece, &mut seen));
        (ended.and_then(|()| reader.finish()), seen.entries, seen.whole)
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(whole, read(509));
    assert_eq!(whole, read(7));
}

/// The first half is a signature, the rest what it is said to sign; and all of it a list of trusted signers.
pub fn signature(bytes: &[u8]) {
    let end = b"-----END SSH SIGNATURE-----\n";
    let cut = bytes.windows(end.len()).position(|window| window == end).map_or(bytes.len() / 2, |at| at + end.len());
    let (armored, signed) = bytes.split_at(cut);
    let _ = TrustedSigners::default().verify_claimed(SIGNATURE_NAMESPACE, signed, armored);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let trusted = TrustedSigners::parse(text, "signers");
        assert!(trusted.verify(SIGNATURE_NAMESPACE, signed, armored).is_err(), "a list of signers signs nothing");
    }
}

/// What is decoded encodes to the bytes that it came from, in whatever pieces they come.
pub fn frames(bytes: &[u8]) {
    let decode = |size: usize| {
        let (mut decoder, mut again, mut frames) = (Decoder::default(), Vec::new(), 0);
        for piece in bytes.chunks(size) {
            decoder.buffer().extend_from_slice(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => {
                        again.extend_from_slice(&frame.header());
                        again.extend_from_slice(&frame.payload);
                        frames += 1;
                    }
                    Ok(None) => break,
                    Err(_) => return (again, frames, false),
                }
            }
        }
        (again, frames, true)
    };
    let whole = decode(bytes.len().max(1));
    assert!(bytes.starts_with(&whole.0));
    assert_eq!(whole, decode(13));
}

pub fn backup_manifest(bytes: &[u8]) {
    let _ = BackupManifest::parse(bytes);
    let _ = ControlData::parse(&String::from_utf8_lossy(bytes));
}

/// A run that is read whole leaves the same as one that is read as far as it can be.
pub fn journal(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let id = text.split("\"run\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned();
    let stored = StoredRun { id, lines: bytes.to_vec(), place: "journal".into(), held: false };
    let remains = Remains::of(&stored);
    if let Ok(run) = Run::parse(&stored) {
        assert_eq!(remains, Some(Remains::from(&run.replay)));
    }
}

/// A values file keeps its bytes, has no difference from itself, and what is said of it can be said.
pub fn values(bytes: &[u8]) {
    let Ok(tree) = Tree::parse(bytes) else { return };
    assert!(tree.source().as_bytes().starts_with(bytes), "at most the end of the last line is added");
    let _ = (tree.to_json(), lint::lint(&tree, bytes));
    let same = diff::diff(&tree, &tree, &Scrubber::new(None));
    assert!(same.changes.is_empty(), "a file differs from itself: {:?}", same.changes);
}

pub fn settings(bytes: &[u8]) {
    let _ = Settings::parse(&String::from_utf8_lossy(bytes), Path::new("dr.toml"));
}
