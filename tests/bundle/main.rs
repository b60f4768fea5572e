//! Whole bundles: written, read, damaged, killed, and restored by hand.

mod by_hand;
mod crash;
mod damage;
mod fixtures;
mod repack;
mod round_trip;
mod sample;
mod speed;
