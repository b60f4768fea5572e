//! Whole bundles: written, read, damaged, killed, and restored by hand.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bucket;
mod by_hand;
mod contract;
mod copy;
mod crash;
mod damage;
mod extract;
mod faults;
mod fixtures;
mod gateway;
mod repack;
mod round_trip;
mod sample;
mod sampled;
mod speed;
mod volumes;
