//! What time it is on this host.
//!
//! A program that is linked statically takes no clock of another library, so a build for the tests has its own: the variable
//! `DR_CLOCK` says how far it is off (`48h`, `-90s`). The clock that waits go by is the kernel's, and not off.

use jiff::Timestamp;

/// How far the clock of the tests is off.
#[cfg(any(test, feature = "fault-points"))]
const OFF: &str = "DR_CLOCK";

/// Now.
#[cfg(not(any(test, feature = "fault-points")))]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Now, by a clock that may be off.
///
/// # Panics
/// `DR_CLOCK` says no length of time: a test that means another clock must not pass with the true one.
#[cfg(any(test, feature = "fault-points"))]
pub fn now() -> Timestamp {
    let off = |text: String| text.parse::<jiff::SignedDuration>().unwrap_or_else(|_| panic!("{OFF}: {text}"));
    let off = std::env::var(OFF).ok().map(off).unwrap_or_default();
    Timestamp::now() + off
}
