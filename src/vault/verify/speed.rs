//! A vault with a thousand deployments: what is allowed. Run it in a release build, alone:
//! `cargo test --release --lib vault::verify::speed -- --ignored --nocapture`.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::crypt::TrustedSigners;
use crate::vault::Vault;
use crate::vault::record::DeploymentStatus;
use crate::vault::tests::{Fixture, fixture, install, intent, outcome};

const DEPLOYMENTS: u32 = 1000;

/// Values of the size that OpsChain ships, no two alike.
fn values(number: u32) -> String {
    let mut text = format!("deployment: {number}\nenv:\n");
    for line in 0..800 {
        text.push_str(&format!("  KEY_{line}: value {} of deployment {}\n", line * 7919, number % 97));
    }
    text
}

fn thousand() -> (Fixture, Duration) {
    let f = fixture();
    let mut last = Duration::ZERO;
    for number in 0..DEPLOYMENTS {
        let at = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
        let at = at.checked_add(jiff::SignedDuration::from_hours(i64::from(number))).unwrap().to_string();
        let began = Instant::now();
        let id = f.vault.record_intent(intent(&at, "2026-01-01"), values(number).as_bytes(), Some(b"tgz")).unwrap();
        last = began.elapsed();
        f.vault.record_outcome(outcome(&id, &at, DeploymentStatus::Deployed, number), "ops@host").unwrap();
    }
    (f, last)
}

fn timed<T>(what: &str, limit: u64, act: impl Fn() -> T) -> T {
    let mut times: Vec<Duration> = Vec::new();
    let mut last = act();
    for _ in 0..3 {
        let began = Instant::now();
        last = act();
        times.push(began.elapsed());
    }
    times.sort();
    writeln!(std::io::stdout(), "{what}: {:.1} ms (limit {limit} ms)", times[1].as_secs_f64() * 1000.0).unwrap();
    if !cfg!(debug_assertions) {
        assert!(times[1] < Duration::from_millis(limit), "{what}: {:?}", times[1]);
    }
    last
}

#[test]
#[ignore = "takes a minute, and means something only in a release build on a quiet machine"]
fn a_thousand_deployments_are_recorded_read_and_verified_in_time() {
    let (f, last) = thousand();
    writeln!(std::io::stdout(), "the last record_intent: {last:?}").unwrap();
    let line = format!("o {}", f.key.public_key().to_openssh().unwrap());
    let trusted = TrustedSigners::parse(&line, "test");
    let all = timed("deployments", 60, || f.vault.deployments(&install()).unwrap());
    assert_eq!(all.len(), DEPLOYMENTS as usize);
    let found = timed("verify", 2000, || f.vault.verify(&trusted, None).unwrap());
    assert_eq!((found.findings.len(), found.deployments), (0, DEPLOYMENTS as usize));
    let opened = timed("verify --decrypt", 3000, || f.vault.verify(&trusted, Some(&f.identities)).unwrap());
    assert_eq!(opened.opened.unwrap().proved, 2 * DEPLOYMENTS as usize + 1);
    timed("all values", 500, || {
        let seen: Vault = f.vault.snapshot().unwrap();
        for deployment in &all {
            seen.values(deployment, &f.identities).unwrap();
        }
    });
    let number = std::cell::Cell::new(0);
    timed("record", 50, || {
        number.set(number.get() + 1);
        let at = format!("2027-01-01T00:00:{:02}Z", number.get());
        let new = values(DEPLOYMENTS + number.get());
        f.vault.record_intent(intent(&at, "2026-01-01"), new.as_bytes(), Some(b"tgz")).unwrap()
    });
}
