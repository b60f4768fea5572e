//! Which values are secret, and masking by value: whatever form a secret is printed in, on whatever sink.
//!
//! [`secret`] decides by place, name and look. A [`Scrubber`] masks what it was told; [`Secrets`] is the one that the
//! whole process shares, in front of everything that leaves it.

mod clean;
mod evident;
mod fingerprint;
mod forms;
mod inside;
mod json;
#[cfg(test)]
mod kinds;
mod line;
mod name;
mod named;
mod pattern;
mod place;
mod redactor;
mod scrubber;
mod secret;
mod shape;
mod source;
mod tokens;
mod urls;
mod written;

pub use clean::opened;
pub use fingerprint::{FingerprintKey, MASK};
pub use name::is_secret_name;
pub use named::{NamedSecret, named_secrets, secret_in_key};
pub use redactor::Secrets;
pub use scrubber::{COMMON, Scrubber};
pub use secret::{Why, called, is_secret, is_whole_secret, name_hint, secrets, why_secret, written_secrets};
pub use shape::looks_random;
