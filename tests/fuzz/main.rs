//! Each target of `fuzz/` for a while: with its seeds and what it once failed at, then with changes of them.
//! `DR_FUZZ_SECONDS` says how long each may take.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Values that readers of lengths and numbers trip over.
const NUMBERS: [&[u8]; 8] =
    [b"\0", b"-1", b"18446744073709551615", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"{", b"\n", b"\xc2\x9b"];

#[test]
fn a_bundle_of_any_bytes_is_read_or_refused() {
    fuzz("bundle");
}

#[test]
fn a_signature_of_any_bytes_is_read_or_refused() {
    fuzz("signature");
}

#[test]
fn frames_of_any_bytes_are_read_or_refused() {
    fuzz("frames");
}

#[test]
fn a_backup_manifest_of_any_bytes_is_read_or_refused() {
    fuzz("backup_manifest");
}

#[test]
fn a_journal_of_any_bytes_is_read_or_refused() {
    fuzz("journal");
}

#[test]
fn values_of_any_bytes_are_read_or_refused() {
    fuzz("values");
}

#[test]
fn settings_of_any_bytes_are_read_or_refused() {
    fuzz("settings");
}

/// Feeds a target until its time is over. What it fails at is written beside the test programs.
fn fuzz(name: &str) {
    let target = targets::TARGETS.iter().find(|target| target.0 == name).expect("a target").1;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut seeds = vec![Vec::new()];
    gather(&root.join("seeds").join(name), &mut seeds);
    assert!(seeds.len() > 1, "nothing to begin with");
    if root.join("corpus").join(name).exists() {
        gather(&root.join("corpus").join(name), &mut seeds);
    }
    let case = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    let feed = |bytes: &[u8]| {
        std::fs::write(&case, bytes).unwrap();
        target(bytes);
    };
    seeds.iter().for_each(|seed| feed(seed));
    let seconds = std::env::var("DR_FUZZ_SECONDS").map_or(85, |text| text.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    // Another run tries other changes; the case that fails is kept, so that nothing hangs on the numbers.
    let mut random = StdRng::from_os_rng();
    while Instant::now() < end {
        feed(&changed(&seeds, &mut random));
    }
    std::fs::remove_file(&case).unwrap();
}

fn gather(folder: &Path, seeds: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => gather(&path, seeds),
            false => seeds.push(std::fs::read(path).unwrap()),
        }
    }
}

/// A seed with one to eight changes.
fn changed(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..=bytes.len());
        let to = random.random_range(at..=bytes.len().min(at + 600));
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let piece = bytes[at..to].to_vec();
                let place = random.random_range(0..=bytes.len());
                bytes.splice(place..place, piece);
            }
            3 => drop(bytes.splice(at..at, NUMBERS[random.random_range(0..NUMBERS.len())].iter().copied())),
            4 => bytes.truncate(at),
            _ => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..=other.len());
                let until = random.random_range(from..=other.len().min(from + 600));
                bytes.splice(at..to, other[from..until].iter().copied());
            }
        }
    }
    bytes
}
