//! What the examples are made of.

/// Letters and digits as chance would have them, the same every time.
pub(super) fn fill(alphabet: &str, length: usize) -> String {
    let alphabet = alphabet.as_bytes();
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        char::from(alphabet[(state >> 16) as usize % alphabet.len()])
    };
    (0..length).map(|_| next()).collect()
}

pub(super) fn word(length: usize) -> String {
    fill("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", length)
}

pub(super) fn hex(length: usize) -> String {
    fill("0123456789abcdef", length)
}

pub(super) const SMALL: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

pub(super) fn small(length: usize) -> String {
    fill(SMALL, length)
}

pub(super) fn uuid() -> String {
    format!("{}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12))
}

pub(super) fn capital(length: usize) -> String {
    fill("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length)
}
