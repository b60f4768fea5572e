//! A tar that another thread hands over piece by piece.

use std::io::{self, Read};
use std::sync::mpsc::Receiver;

/// The pieces as one stream. It ends when nobody sends any more.
pub struct TreePieces<P> {
    pieces: Receiver<P>,
    piece: Option<P>,
    at: usize,
}

impl<P: AsRef<[u8]>> TreePieces<P> {
    pub fn new(pieces: Receiver<P>) -> Self {
        Self { pieces, piece: None, at: 0 }
    }
}

impl<P: AsRef<[u8]>> Read for TreePieces<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.as_ref().and_then(|piece| piece.as_ref().get(self.at..)).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.at += count;
                return Ok(count);
            }
            match self.pieces.recv() {
                Ok(piece) => (self.piece, self.at) = (Some(piece), 0),
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_one_stream() {
        let (send, pieces) = std::sync::mpsc::sync_channel(9);
        for piece in ["ab", "", "c", "defg"] {
            send.send(piece.as_bytes()).unwrap();
        }
        drop(send);
        let mut all = Vec::new();
        io::copy(&mut TreePieces::new(pieces), &mut all).unwrap();
        assert_eq!(all, b"abcdefg");
    }
}
