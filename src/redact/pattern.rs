//! One secret to look for in texts, however often these were quoted.

use std::ops::Range;

use zeroize::Zeroizing;

use super::forms;

/// What to look for, and what takes its place.
#[derive(Clone)]
pub(super) struct SecretPattern {
    /// Without backslashes: these are skipped in the text as well.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Which of the bytes are masked; what stands around them is only to know them by.
    secret: Range<usize>,
    pub(super) mask: String,
}

impl SecretPattern {
    /// What is to be masked, with what stands before and behind it.
    pub(super) fn new(parts: [&[u8]; 3], mask: &str) -> Self {
        let [before, secret, after] = parts.map(forms::unescaped);
        Self {
            secret: before.len()..before.len() + secret.len(),
            bytes: Zeroizing::new([before.as_slice(), &secret, &after].concat()),
            mask: mask.to_owned(),
        }
    }

    /// Where in `text`, from its beginning, the secret stands. Any number of backslashes may stand before any byte: a
    /// text that was quoted in a text that was quoted has them doubled each time.
    pub(super) fn place(&self, text: &[u8]) -> Option<Range<usize>> {
        let (mut at, mut place) = (0, 0..0);
        for (number, byte) in self.bytes.iter().enumerate() {
            if number == self.secret.end {
                place.end = at;
            }
            let here = at + backslashes(text, at);
            if text.get(here) != Some(byte) {
                return None;
            }
            if number == self.secret.start {
                place.start = at;
            }
            at = here + 1;
        }
        if self.secret.end == self.bytes.len() {
            place.end = at;
        }
        Some(place)
    }
}

/// How many backslashes stand in a row.
pub(super) fn backslashes(text: &[u8], at: usize) -> usize {
    text.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b'\\').count()
}

/// The first four bytes that are no backslashes; the first is none.
pub(super) fn head(text: &[u8]) -> Option<[u8; 4]> {
    let mut head = [0; 4];
    let mut at = 0;
    for byte in &mut head {
        at += backslashes(text, at);
        *byte = *text.get(at)?;
        at += 1;
    }
    Some(head)
}
