//! What can be said of a sealed file without a key.

/// An age file's first line.
const VERSION: &[u8] = b"age-encryption.org/v1";
/// A chunk of the stream, sealed: behind the nonce of 16 bytes there is at least one, whose tag alone takes 16.
const CHUNK: usize = 64 * 1024 + 16;

/// How many keys a whole age file is sealed to, leaving out the stanzas that only keep readers honest; `None` when the
/// bytes are no whole age file (age-encryption.org/v1).
pub(in crate::vault) fn stanzas(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(VERSION)?.strip_prefix(b"\n")?;
    let mut at = 0;
    let mut count = 0;
    let mut in_body = false;
    loop {
        let line = rest[at..].split(|byte| *byte == b'\n').next()?;
        let end = at + line.len();
        if rest.get(end) != Some(&b'\n') {
            return None;
        }
        at = end + 1;
        if let Some(mac) = line.strip_prefix(b"--- ") {
            let whole = mac.len() == 43 && mac.iter().all(|byte| is_base64(*byte)) && !in_body && count > 0;
            return (whole && whole_stream(&rest[at..])).then_some(count);
        }
        if let Some(stanza) = line.strip_prefix(b"-> ") {
            let kind = stanza.split(|byte| *byte == b' ').next()?;
            if in_body || kind.is_empty() {
                return None;
            }
            count += usize::from(!kind.ends_with(b"-grease"));
            in_body = true;
        } else {
            // A stanza's body is lines of 64 characters; a shorter one, empty perhaps, ends it.
            if !in_body || line.len() > 64 || !line.iter().all(|byte| is_base64(*byte)) {
                return None;
            }
            in_body = line.len() == 64;
        }
    }
}

/// A stream cannot end in the middle of a tag. (That it ends where the writer ended can only be told with a key.)
fn whole_stream(stream: &[u8]) -> bool {
    let chunks = stream.len().saturating_sub(16);
    chunks >= 16 && matches!(chunks % CHUNK, 0 | 16..)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{Identities, Recipients};

    #[test]
    fn a_whole_file_has_as_many_stanzas_as_recipients_and_anything_else_has_none() {
        let names: Vec<String> = (0..3).flat_map(|_| Identities::generate().recipients()).collect();
        for count in 1..=3 {
            let recipients = Recipients::parse(&names[..count]).unwrap();
            for length in [0, 1, 65_535, 65_536, 65_537, 200_000] {
                let sealed = recipients.seal(&vec![7; length]).unwrap();
                assert_eq!(stanzas(&sealed), Some(count), "{length} bytes");
                let header = sealed.len() - length - 16 * length.div_ceil(65_536).max(1) - 16;
                for cut in [0, 5, 22, header / 2, header, header + 16, header + 31] {
                    assert_eq!(stanzas(&sealed[..cut]), None, "{length} bytes cut at {cut}");
                }
            }
        }
        for text in ["", "a: 1\n", "age-encryption.org/v1\n", "age-encryption.org/v1\n-> X25519 a\n", "-----BEGIN AGE"]
        {
            assert_eq!(stanzas(text.as_bytes()), None, "{text}");
        }
    }
}
