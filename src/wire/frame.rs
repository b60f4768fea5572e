//! One frame: a checked header and a checked payload.
//!
//! ```text
//! offset  0  2  3  4        8                16           20           24
//!         +--+--+--+--------+----------------+------------+------------+---------
//!         |dR|k |0 | length |    sequence    | CRC32C of  | CRC32C of  | payload
//!         |  |  |  |  u32   |      u64       | payload    | bytes 0-19 | ...
//!         +--+--+--+--------+----------------+------------+------------+---------
//! ```
//! Numbers are big-endian. The header has a checksum of its own, so that a damaged length is seen at once and never
//! waited for.

use bytes::{Buf, Bytes, BytesMut};

/// The length of a header in bytes.
pub const HEADER: usize = 24;
/// The largest payload in bytes.
pub const MAX_PAYLOAD: usize = 1 << 20;
const MAGIC: [u8; 2] = *b"dR";

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// JSON: who speaks, and what it has received so far. First frame of a session, each way.
    Hello = 1,
    /// A message of the caller, whole in one frame. Sequenced.
    Control = 2,
    /// Bytes that belong to the control message before them. Sequenced.
    Data = 3,
    /// Everything up to `sequence` is durable on this side and need not be kept.
    Ack = 4,
    /// Alive, nothing to say.
    Beat = 5,
    /// Count and hash of all sequenced frames so far in this direction. Sequenced.
    Trailer = 6,
    /// The session is refused for good; the payload says why.
    Refusal = 7,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Hello, Self::Control, Self::Data, Self::Ack, Self::Beat, Self::Trailer, Self::Refusal]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// Its number (sequenced kinds, from 1), or the acknowledged number (`Ack`), else 0.
    pub sequence: u64,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Bytes,
    /// CRC32C of the payload, computed once when the frame is made.
    checksum: u32,
}

/// Why bytes are no frame. The session that brought them is at an end; what was sent is sent again in the next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Bytes that no peer of ours sent, such as an error text, or a stream that lost some.
    #[error("the stream lost its place: a frame was expected, found {0}")]
    NotAFrame(String),
    /// The header is damaged.
    #[error("a frame's header was damaged on the way")]
    Header,
    /// The header is whole, but asks for what this version does not know.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// Longer than allowed.
    #[error("a frame of {0} bytes, where {max} are allowed", max = MAX_PAYLOAD)]
    TooLong(usize),
    /// The payload is damaged.
    #[error("frame {0} was damaged on the way")]
    Payload(u64),
}

impl Frame {
    /// Makes a frame.
    ///
    /// # Errors
    /// `TooLong` for a payload over [`MAX_PAYLOAD`].
    pub fn new(kind: FrameKind, sequence: u64, payload: Bytes) -> Result<Self, FrameError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(FrameError::TooLong(payload.len()));
        }
        let checksum = crc32c::crc32c(&payload);
        Ok(Self { kind, sequence, payload, checksum })
    }

    /// A frame without payload.
    pub fn bare(kind: FrameKind, sequence: u64) -> Self {
        Self { kind, sequence, payload: Bytes::new(), checksum: 0 }
    }

    /// The header as it goes on the stream, before the payload.
    pub fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0..2].copy_from_slice(&MAGIC);
        header[2] = self.kind as u8;
        header[4..8].copy_from_slice(&(self.payload.len() as u32).to_be_bytes());
        header[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        header[16..20].copy_from_slice(&self.checksum.to_be_bytes());
        let own = crc32c::crc32c(&header[..20]);
        header[20..].copy_from_slice(&own.to_be_bytes());
        header
    }
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// The place where the next bytes of the stream are to be appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// When the bytes are not what a peer sent; the decoder is of no use afterwards.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let known = self.buffer.len().min(2);
        if self.buffer[..known] != MAGIC[..known] {
            return Err(FrameError::NotAFrame(quote(&self.buffer)));
        }
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let mut header = &self.buffer[2..HEADER];
        let kind = header.get_u8();
        let reserved = header.get_u8();
        let length = header.get_u32() as usize;
        let sequence = header.get_u64();
        let checksum = header.get_u32();
        if header.get_u32() != crc32c::crc32c(&self.buffer[..20]) {
            return Err(FrameError::Header);
        }
        let kind = match (FrameKind::from_byte(kind), reserved) {
            (Some(kind), 0) => kind,
            _ => return Err(FrameError::UnknownKind(kind)),
        };
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < HEADER + length {
            self.buffer.reserve(HEADER + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let payload = self.buffer.split_to(length).freeze();
        if crc32c::crc32c(&payload) != checksum {
            return Err(FrameError::Payload(sequence));
        }
        Ok(Some(Frame { kind, sequence, payload, checksum }))
    }
}

/// The first bytes of what is no frame, in a form that can be shown: often it is the error text of some program.
fn quote(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(80)];
    let text = String::from_utf8_lossy(head);
    let line = text.lines().next().unwrap_or_default();
    if line.len() >= 4 && line.chars().all(|c| !c.is_control() && c != '\u{fffd}') {
        format!("the text `{line}`")
    } else {
        format!("{} other bytes", bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        [&frame.header()[..], &frame.payload[..]].concat()
    }

    #[test]
    fn frames_come_out_as_they_went_in_whatever_the_pieces() {
        let frames = [
            Frame::new(FrameKind::Control, 1, Bytes::from_static(b"{}")).unwrap(),
            Frame::bare(FrameKind::Beat, 0),
            Frame::new(FrameKind::Data, 2, Bytes::from(vec![9; 5000])).unwrap(),
        ];
        let stream: Vec<u8> = frames.iter().flat_map(bytes_of).collect();
        for piece in [1, 7, 24, 4096, stream.len()] {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in stream.chunks(piece) {
                decoder.buffer().extend_from_slice(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames);
        }
    }

    #[test]
    fn every_flipped_bit_is_seen_without_waiting_for_more_bytes() {
        let frame = Frame::new(FrameKind::Data, 77, Bytes::from_static(b"some payload")).unwrap();
        let good = bytes_of(&frame);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&bad);
            assert!(decoder.next_frame().is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_error_text_in_place_of_frames_is_quoted() {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(b"exec failed: container not running\n");
        let error = decoder.next_frame().unwrap_err().to_string();
        assert!(error.ends_with("the text `exec failed: container not running`"), "{error}");
    }

    #[test]
    fn a_payload_over_the_bound_is_refused_by_both_sides() {
        assert!(Frame::new(FrameKind::Data, 1, Bytes::from(vec![0; MAX_PAYLOAD + 1])).is_err());
    }
}
