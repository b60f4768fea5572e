//! What no list of steps foresees: ended at any moment by any signal, disks that fill, two hosts whose clocks are off,
//! hands on the install.
//!
//! `make test` holds a cut of a few rounds; `DR_CHAOS_ROUNDS` says how many else, and `make soak` sets it. What mostly
//! waits is done on so many installs at once as `DR_CHAOS_LANES` says. The seed that a failed test names makes the same
//! moments again, with `DR_CHAOS_SEED`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

use crate::host::{Host, VERSION, command, lab};

/// The exit code of a `dr` that was ended by SIGKILL.
const KILLED: i32 = 137;

/// Chance that can be had again.
struct Chance {
    seed: u64,
    rng: StdRng,
}

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("DR_CHAOS_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
        Self { seed, rng: StdRng::seed_from_u64(seed) }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.rng.random_range(0..limit)
    }

    fn moment(&mut self, within: Duration) -> Duration {
        within.mul_f64(self.rng.random())
    }

    /// What a host's clock is off by.
    fn clock(&mut self) -> &'static str {
        ["0s", "0s", "90s", "-90s", "3h", "-3h", "48h", "-48h"][self.below(8)]
    }

    /// Mostly the one that leaves no time for anything.
    fn signal(&mut self) -> Signal {
        match self.below(9) {
            0 => Signal::TERM,
            1 => Signal::INT,
            2 => Signal::HUP,
            _ => Signal::KILL,
        }
    }
}

/// How many rounds there are, or of what is killed, how many times.
fn rounds(few: usize) -> usize {
    std::env::var("DR_CHAOS_ROUNDS").ok().map_or(few, |rounds| rounds.parse().unwrap())
}

/// How many kills are left, over all the installs that are killed at once.
struct Kills(AtomicUsize);

impl Kills {
    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn count(&self, killed: bool, seed: u64) {
        if killed {
            let less = |left: usize| Some(left.saturating_sub(1));
            _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        eprintln!("{} kills left, seed {seed}", self.left());
    }
}

/// Does `work` on installs of its own, at once, until together they were killed often enough.
fn in_lanes(name: &str, few: usize, work: impl Fn(Site, &Kills) + Sync) {
    let lanes = std::env::var("DR_CHAOS_LANES").ok().map_or(1, |lanes| lanes.parse().unwrap());
    let (left, work) = (Kills(AtomicUsize::new(rounds(few))), &work);
    let left = &left;
    std::thread::scope(|scope| {
        for lane in 1..=lanes {
            let name = if lane == 1 { name.to_owned() } else { format!("{name}-{lane}") };
            scope.spawn(move || work(Site::new(&name), left));
        }
    });
}

/// An install that makes bundles while something goes wrong, and what is known to be good of it.
struct Site {
    host: Host,
    replicas: Vec<String>,
    verified: BTreeSet<String>,
    /// How long a bundle takes when nothing is wrong.
    whole: Duration,
}

impl Site {
    fn new(name: &str) -> Self {
        let host = Host::new(name);
        host.deploy(VERSION);
        let (replicas, begun) = (host.replicas(), Instant::now());
        host.bundle(&[]);
        Self { replicas, verified: BTreeSet::new(), whole: begun.elapsed(), host }
    }

    fn create(&self) -> crate::host::Cmd {
        self.host.dr_command(["bundle", "create", "--yes"])
    }

    fn open_run(&self) -> bool {
        self.host.runs().iter().any(|(_, state)| state == "open")
    }

    /// Asserts that nothing is half: what was begun is put back or done, the application runs, each bundle opens.
    fn assert_whole(&mut self, told: &str) {
        if self.open_run() {
            let resumed = self.host.dr(["run", "resume"]);
            assert_eq!(resumed.code, 0, "{told}\n{resumed}");
        }
        assert!(!self.open_run(), "{told}: {:?}", self.host.runs());
        assert_eq!(self.host.replicas(), self.replicas, "{told}");
        let kinds = "pod,role,rolebinding,serviceaccount";
        let left = self.host.kubectl(&["get", kinds, "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
        assert_eq!(left, "", "{told}: left in the namespace");
        self.assert_bundles(told);
        assert_eq!(self.host.sql("SELECT count(*) FROM ledger_faults"), "0", "{told}");
    }

    fn assert_bundles(&mut self, told: &str) {
        let listed = self.host.listed();
        assert_eq!(self.host.stored(), listed, "{told}: something half is left in the store");
        for bundle in listed {
            if !self.verified.contains(&bundle) {
                let verified = self.host.dr(["bundle", "verify", &bundle, "--decrypt"]);
                assert_eq!(verified.code, 0, "{told}\n{verified}");
                self.verified.insert(bundle);
            }
        }
    }
}

#[test]
#[ignore = "needs the lab: make live"]
fn creates_that_are_ended_at_any_moment_leave_the_application_running_and_whole_bundles() {
    in_lanes("chaos-create", 2, kill_creates);
}

fn kill_creates(mut site: Site, kills: &Kills) {
    let mut chance = Chance::new();
    while kills.left() > 0 {
        let (delay, signal) = (chance.moment(site.whole.mul_f64(1.1)), chance.signal());
        let ended = site.create().run_until(delay, signal);
        let told = format!("seed {}: {signal:?} after {delay:?}\n{ended}", chance.seed);
        kills.count(ended.code == KILLED, chance.seed);
        // Whichever of the ways back a person takes first.
        match chance.below(3) {
            0 if site.open_run() => _ = site.host.dr(["run", "abort", "--yes"]).ok(),
            1 => _ = site.host.dr(["server", "start"]).ok(),
            _ => {}
        }
        site.assert_whole(&told);
    }
}

#[test]
#[ignore = "needs the lab: make live"]
fn restores_that_are_ended_at_any_moments_come_to_their_end() {
    in_lanes("chaos-restore", 2, kill_restores);
}

fn kill_restores(site: Site, kills: &Kills) {
    let mut chance = Chance::new();
    let host = &site.host;
    let before = host.ledger();
    let bundle = host.bundle(&[]);
    let by = |strategy| ["bundle", "restore", bundle.to_str().unwrap(), "--strategy", strategy, "--yes"];
    host.delete_namespace();
    let begun = Instant::now();
    host.dr(by("hibernate")).ok();
    let whole = begun.elapsed();
    while kills.left() > 0 {
        host.delete_namespace();
        let restore = by(["adopt", "hibernate"][chance.below(2)]);
        let mut told = format!("seed {}", chance.seed);
        let before_this = host.runs().len();
        loop {
            let (mut delay, signal) = (chance.moment(whole), chance.signal());
            if kills.left() == 0 {
                delay = whole * 20;
            }
            let args: &[&str] = if site.open_run() { &["run", "resume"] } else { &restore };
            let ended = host.dr_command(args).run_until(delay, signal);
            told = format!("{told}\n{signal:?} after {delay:?}\n{ended}");
            if ended.code == 0 {
                break;
            }
            assert!([129, 130, KILLED, 143].contains(&ended.code), "{told}");
            kills.count(ended.code == KILLED, chance.seed);
            // Ended when all was done, and only the last words were not said yet.
            let runs = host.runs();
            if runs.len() > before_this && runs[0].1 == "done" {
                break;
            }
            if chance.below(5) == 0 && site.open_run() {
                abort(host, &told);
                host.delete_namespace();
            }
        }
        host.assert_ledger_holds(&before);
        assert_eq!(host.replicas(), site.replicas, "{told}");
        assert!(!site.open_run(), "{told}: {:?}", host.runs());
        let pods = host.kubectl(&["get", "pods", "-l", "app.kubernetes.io/managed-by=dr", "-o", "name"]).ok();
        assert_eq!(pods, "", "{told}");
    }
}

/// Gives the open restore up, with the word that it may ask for.
fn abort(host: &Host, told: &str) {
    let abort = ["run", "abort", "--yes"];
    let mut aborted = host.dr(abort);
    if aborted.code == 27 {
        let install = format!("{}/opschain", host.namespace);
        aborted = host.dr([&abort[..], &["--confirm", &install]].concat());
    }
    assert_eq!(aborted.code, 0, "{told}\n{aborted}");
}

#[test]
#[ignore = "needs the lab: make live"]
fn two_hosts_whose_clocks_are_off_take_turns_on_one_install_or_are_refused() {
    let (mut site, mut chance) = (Site::new("chaos-two"), Chance::new());
    let home = tempfile::tempdir().unwrap();
    let chart = format!("oci://{}/limepoint/opschain", lab("LAB_REGISTRY"));
    let other = |args: &[&str]| site.host.dr_command(args).env("HOME", home.path());
    other(&["init"]).run().ok();
    other(&["config", "record", "--from-helm", "--chart", &chart]).run().ok();
    let (whole, long) = (site.whole, Duration::from_secs(800));
    for round in 0..rounds(3) {
        let offset = chance.moment(whole);
        let end = [chance.moment(whole * 2), long][chance.below(2)];
        let (signal, clocks) = (chance.signal(), [chance.clock(), chance.clock()]);
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| at_clock(site.create(), clocks[0]).run_until(end, signal));
            let begun = Instant::now();
            while begun.elapsed() < offset {
                std::thread::park_timeout(offset - begun.elapsed());
            }
            let two = at_clock(site.create(), clocks[1]).env("HOME", home.path()).run();
            (one.join().unwrap(), two)
        });
        let told =
            format!("round {round} of seed {}: {signal:?} after {end:?}, clocks {clocks:?}\n{one}\n{two}", chance.seed);
        assert!([0, 22, 24].contains(&two.code), "{told}");
        assert!([0, 22, 24, 129, 130, 137, 143].contains(&one.code), "{told}");
        site.assert_whole(&told);
        if two.code == 0 {
            let verified = site.host.dr_command(["bundle", "verify", "--decrypt"]).env("HOME", home.path()).run();
            assert_eq!(verified.code, 0, "{told}\n{verified}");
        }
    }
}

/// The command on a host whose clock is off by so much; the time that passes is as it is.
fn at_clock(command: crate::host::Cmd, off: &str) -> crate::host::Cmd {
    command.env("DR_CLOCK", off)
}

/// A small real file system in a file, mounted where `dr` writes; a ballast takes the room that is to be missing.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn new(home: &Path, at: PathBuf, mib: u64) -> Self {
        let image = home.join(format!("{}.img", at.file_name().unwrap().to_str().unwrap()));
        File::create(&image).unwrap().set_len(mib << 20).unwrap();
        command("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(&image).run().ok();
        let kept = tempfile::tempdir_in(home).unwrap();
        let everything = at.join(".");
        std::fs::create_dir_all(&at).unwrap();
        command("cp").arg("-a").arg(&everything).arg(kept.path()).run().ok();
        command("mount").args(["-o", "loop"]).arg(&image).arg(&at).run().ok();
        command("cp").arg("-a").arg(kept.path().join(".")).arg(&at).run().ok();
        command("chmod").arg("700").arg(&at).run().ok();
        std::fs::remove_dir(at.join("lost+found")).unwrap();
        Self { at }
    }

    /// Takes all the room but so many bytes.
    fn fill(&self, but: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let blocks = [vec![0; 1 << 16], vec![0; 1 << 10], vec![0; 1]];
        for block in &blocks {
            while ballast.write_all(block).is_ok() {}
        }
        let size = ballast.metadata().unwrap().len();
        ballast.set_len(size.saturating_sub(but)).unwrap();
    }

    fn used(&self) -> u64 {
        let facts = rustix::fs::statvfs(&self.at).unwrap();
        (facts.f_blocks - facts.f_bfree) * facts.f_frsize
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.at.join(".ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        command("umount").arg("-l").arg(&self.at).run();
    }
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_disk_that_fills_at_any_moment_costs_a_bundle_and_nothing_else() {
    let (mut site, mut chance) = (Site::new("chaos-full"), Chance::new());
    let home = site.host.home.path().to_owned();
    let (store, runs) = (site.host.setting("store", "path"), home.join(".local/state/dr/runs"));
    let disks = [SmallDisk::new(&home, store, 256), SmallDisk::new(&home, runs, 8)];
    let mut refused = [0; 2];
    for round in 0..rounds(4) {
        let (which, after) = (chance.below(2), chance.moment(site.whole));
        let but = chance.below([4 << 20, 100 << 10][which]) as u64;
        let ended = std::thread::scope(|scope| {
            let create = scope.spawn(|| site.create().run());
            let begun = Instant::now();
            while begun.elapsed() < after && !create.is_finished() {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            disks[which].fill(but);
            create.join().unwrap()
        });
        let name = ["store", "journal"][which];
        let told = format!("round {round} of seed {}: {name} full but {but} after {after:?}\n{ended}", chance.seed);
        assert!([0, 23].contains(&ended.code), "{told}");
        assert_eq!(site.host.replicas(), site.replicas, "{told}: put back before there is room again");
        refused[which] += usize::from(ended.code == 23);
        disks[which].empty();
        site.assert_whole(&told);
    }
    assert_met(&refused);
}

/// Of many rounds, some must have met what they are for.
fn assert_met(met: &[usize]) {
    assert!(rounds(0) < 20 || met.iter().all(|met| *met > 0), "never met: {met:?}");
}

/// The file system as the volume that a claim of the database gets, before any other could be made for it.
fn make_volume(host: &Host, disk: &SmallDisk) {
    let name = format!("{}-volume", host.namespace);
    host.kubectl(&["delete", "pv", &name, "--ignore-not-found"]).ok();
    command("chmod").arg("777").arg(&disk.at).run().ok();
    let spec = serde_json::json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "folder",
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": disk.at},
            "claimRef": {"namespace": host.namespace, "name": "opschain-db-1"},
        },
    });
    let file = host.home.path().join("volume.json");
    std::fs::write(&file, spec.to_string()).unwrap();
    host.kubectl(&["create", "-f", file.to_str().unwrap()]).ok();
}

#[test]
#[ignore = "needs the lab: make live"]
fn a_volume_that_fills_at_any_byte_of_a_restore_is_said_and_once_there_is_room_the_restore_goes_on() {
    let (site, mut chance) = (Site::new("chaos-volume"), Chance::new());
    let (host, before) = (&site.host, site.host.ledger());
    let bundle = host.bundle(&[]);
    let data = host.sql("SELECT sum(pg_database_size(oid)) FROM pg_database").parse().unwrap();
    let mut refused = 0;
    for round in 0..rounds(2) {
        host.delete_namespace();
        let disk = SmallDisk::new(host.home.path(), host.home.path().join(format!("volume-{round}")), 256);
        make_volume(host, &disk);
        let (after, but) = (chance.below(data) as u64, chance.below(1 << 20) as u64);
        let restore = ["bundle", "restore", bundle.to_str().unwrap(), "--strategy", "adopt", "--yes"];
        let ended = std::thread::scope(|scope| {
            let restore = scope.spawn(|| host.dr(restore));
            while disk.used() < after && !restore.is_finished() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            disk.fill(but);
            restore.join().unwrap()
        });
        let told = format!("round {round} of seed {}: full but {but} after {after}\n{ended}", chance.seed);
        assert!([0, 23].contains(&ended.code), "{told}");
        disk.empty();
        refused += usize::from(ended.code == 23);
        if ended.code != 0 {
            let resumed = host.dr(["run", "resume"]);
            assert_eq!(resumed.code, 0, "{told}\n{resumed}");
        }
        host.assert_ledger_holds(&before);
        assert_eq!(host.replicas(), site.replicas, "{told}");
    }
    host.delete_namespace();
    host.kubectl(&["delete", "pv", &format!("{}-volume", host.namespace)]).ok();
    assert_met(&[refused]);
}

#[test]
#[ignore = "needs the lab: make live"]
fn hands_on_the_writers_while_a_bundle_is_made_leave_nothing_that_is_not_said() {
    let (mut site, mut chance) = (Site::new("chaos-hands"), Chance::new());
    for round in 0..rounds(3) {
        let edits: Vec<(Duration, Vec<String>)> =
            (0..=chance.below(3)).map(|_| edit(&mut chance, site.whole)).collect();
        let ended = std::thread::scope(|scope| {
            let create = scope.spawn(|| site.create().run());
            let begun = Instant::now();
            for (at, args) in &edits {
                while begun.elapsed() < *at && !create.is_finished() {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                site.host.kubectl(&args).ok();
            }
            create.join().unwrap()
        });
        let told = format!("round {round} of seed {}: {edits:?}\n{ended}", chance.seed);
        let complete = ended.stderr.contains("is complete, but: ");
        assert!(complete || [0, 22, 25].contains(&ended.code), "{told}");
        off_is_said(&site.host, &told);
        // As the hints say: by hand, then on.
        for (name, replicas) in ["opschain-api", "opschain-api-worker"].iter().zip(&site.replicas) {
            let notes = ["dr.opschain/replicas-", "dr.opschain/stopped-by-"];
            site.host.kubectl(&["annotate", "deployment", name, notes[0], notes[1]]).ok();
            site.host.kubectl(&["scale", "deployment", name, &format!("--replicas={replicas}")]).ok();
        }
        site.assert_whole(&told);
    }
}

/// A change to one of the writers as a person, an autoscaler or a GitOps tool makes it, and when.
fn edit(chance: &mut Chance, within: Duration) -> (Duration, Vec<String>) {
    let name = ["opschain-api", "opschain-api-worker"][chance.below(2)].to_owned();
    let scale = format!("--replicas={}", chance.below(3));
    let notes =
        ["dr.opschain/replicas-", "dr.opschain/stopped-by-", "dr.opschain/replicas=two", "dr.opschain/stopped-by=x"];
    let args = match chance.below(notes.len() + 2) {
        at if at < notes.len() => vec!["annotate", "--overwrite", "deployment", &name, notes[at]],
        _ => vec!["scale", "deployment", &name, &scale],
    };
    (chance.moment(within), args.into_iter().map(str::to_owned).collect())
}

/// While a writer is off, nobody is told that the application runs, and what is next is named.
fn off_is_said(host: &Host, told: &str) {
    let status: serde_json::Value =
        serde_json::from_str(&host.dr(["--output", "json", "server", "status"]).ok()).unwrap();
    if host.replicas().iter().any(|replicas| replicas == "0") {
        assert!(status["state"] != "running" && status["next"].is_string(), "{told}\n{status:#}");
    }
}
