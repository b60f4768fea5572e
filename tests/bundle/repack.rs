//! Takes a bundle apart and puts it together wrongly, on purpose.

use dr::internals::bundle::SIGNATURE_NAMESPACE;
use dr::internals::crypt::Signer;
use sha2::{Digest, Sha256};

/// A member as it lies in the file: its tar header and its content.
#[derive(Clone)]
pub struct Piece {
    pub header: tar::Header,
    pub content: Vec<u8>,
}

impl Piece {
    pub fn name(&self) -> String {
        String::from_utf8(self.header.path_bytes().into_owned()).unwrap()
    }

    /// A member whose header is as a bundle's are, under any name that tar can hold.
    pub fn new(name: &str, content: &[u8], like: &Piece) -> Self {
        let mut piece = Self { header: like.header.clone(), content: content.to_vec() };
        piece.rename(name);
        piece.set_size(content.len() as u64);
        piece
    }

    /// Writes the name's bytes as they are: the tar crate would refuse `..`.
    pub fn rename(&mut self, name: &str) {
        let field = &mut self.header.as_mut_bytes()[..100];
        field.fill(0);
        field[..name.len()].copy_from_slice(name.as_bytes());
        self.header.set_cksum();
    }

    pub fn set_size(&mut self, bytes: u64) {
        self.header.set_size(bytes);
        self.header.set_cksum();
    }

    pub fn set_content(&mut self, content: Vec<u8>) {
        self.set_size(content.len() as u64);
        self.content = content;
    }
}

/// The members of a good bundle.
pub fn take_apart(bytes: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while bytes[at] != 0 {
        let header = tar::Header::from_byte_slice(&bytes[at..at + 512]).clone();
        let size = header.entry_size().unwrap() as usize;
        pieces.push(Piece { header, content: bytes[at + 512..at + 512 + size].to_vec() });
        at += 512 + size.div_ceil(512) * 512;
    }
    pieces
}

pub fn put_together(pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.extend_from_slice(piece.header.as_bytes());
        bytes.extend_from_slice(&piece.content);
        bytes.resize(bytes.len().div_ceil(512) * 512, 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Where `name` stands.
pub fn find(pieces: &[Piece], name: &str) -> usize {
    pieces.iter().position(|piece| piece.name() == name).unwrap()
}

/// Makes the manifest fit changed members again, as far as stored sizes and digests go, changes it by `change`, and
/// signs it with `signer`: what a forger with a trusted key could do, or a broken writer.
pub fn sign_anew(pieces: &mut [Piece], signer: &Signer, change: impl FnOnce(&mut serde_json::Value)) {
    let (manifest, signature) = (find(pieces, "manifest.json"), find(pieces, "manifest.json.sig"));
    let mut value: serde_json::Value = serde_json::from_slice(&pieces[manifest].content).unwrap();
    for entry in value["members"].as_array_mut().unwrap() {
        let name = entry["name"].as_str().unwrap().to_owned();
        if let Some(piece) = pieces.iter().find(|piece| piece.name() == name) {
            entry["bytes"] = piece.content.len().into();
            entry["sha256"] = hex::encode(Sha256::digest(&piece.content)).into();
        }
    }
    for stream in ["base", "wal"] {
        let members = value["members"].as_array().unwrap();
        let of = |entry: &&serde_json::Value| entry["name"].as_str().unwrap().starts_with(&format!("db/{stream}/"));
        let stored: u64 = members.iter().filter(of).map(|entry| entry["bytes"].as_u64().unwrap()).sum();
        value[stream]["stored_bytes"] = stored.into();
    }
    change(&mut value);
    let bytes = serde_json::to_vec(&value).unwrap();
    pieces[signature].set_content(signer.sign(SIGNATURE_NAMESPACE, &bytes).unwrap().into_bytes());
    pieces[manifest].set_content(bytes);
}
