//! What stands in the place of a secret.
//!
//! A mask has a fixed width, so that it tells neither length nor content; the fingerprint behind it is an HMAC under a
//! random key that only the vault holds, so that equal secrets look equal and nobody can guess offline.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What stands in the place of a secret.
pub const MASK: &str = "••••••••";

/// The vault's key for fingerprints: 32 random bytes.
#[derive(Clone)]
pub struct FingerprintKey(Zeroizing<[u8; 32]>);

impl FingerprintKey {
    /// Takes the key's bytes; `None` when there are not exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The key's bytes, to be sealed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Eight hexadecimal digits that are equal for equal secrets, wherever these stand.
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.as_bytes()) else { return String::new() };
        mac.update(secret);
        hex::encode(&mac.finalize().into_bytes()[..4])
    }
}

/// Never shows the key.
impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey")
    }
}
