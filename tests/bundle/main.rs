//! Whole bundles: written, read, damaged, killed, and restored by hand.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod by_hand;
mod crash;
mod damage;
mod fixtures;
mod repack;
mod round_trip;
mod sample;
mod speed;
