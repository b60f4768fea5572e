//! How fast bundles are written and verified on this machine.

use std::time::Instant;

use dr::internals::bundle::{BackupFacts, Stream, Writer};
use dr::internals::crypt::Hashed;
use dr::internals::event::Events;
use rand::RngCore;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::sample::*;

const FILES: usize = 32;
const FILE_BYTES: usize = 32 << 20;

/// What this process has computed so far: on a busy machine it says more than the clock.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // User and system time, in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// 1 GiB of which half is incompressible, in chunks of 32 MiB as the agent cuts them.
#[test]
#[ignore = "measures; writes 0.5 GiB"]
fn a_gibibyte_written_and_verified() {
    let bench = Bench::new();
    let mut all = files();
    let names: Vec<String> = (0..FILES).map(|n| format!("base/5/{n}")).collect();
    for name in &names {
        let mut content = vec![0; FILE_BYTES];
        rand::rng().fill_bytes(&mut content[..FILE_BYTES / 2]);
        all.push((name, content));
    }
    let base = tar_of(&all);
    let listing = Hashed::of(bench.recipients().seal(&backup_manifest(&all)).unwrap());
    drop(all);
    let wal = tar_of(&segments());
    let recipients = bench.recipients();
    let seal = |raw: &[u8]| recipients.seal(&zstd::bulk::compress(raw, 1).unwrap()).unwrap();
    let begun = (Instant::now(), cpu_seconds());
    let chunks: Vec<_> = base
        .chunks(32 << 20)
        .map(|raw| (Hashed::of(seal(raw)), raw.len() as u64, Sha256::digest(raw).into()))
        .collect();
    let stored: usize = chunks.iter().map(|chunk| chunk.0.bytes().len()).sum();
    let say = |what: &str, bytes: usize, begun: (Instant, f64)| {
        let (seconds, cpu, bytes) = (begun.0.elapsed().as_secs_f64(), cpu_seconds() - begun.1, bytes as f64 / 1e6);
        println!("{what}: {:.0} MB/s ({bytes:.0} MB in {seconds:.2} s, {cpu:.2} s of CPU)", bytes / seconds);
    };
    say("compress and seal on one thread, raw", base.len(), begun);
    let begun = (Instant::now(), cpu_seconds());
    let mut writer = Writer::create(&bench.store, header(), recipients.clone()).unwrap();
    for name in ["values.yaml", "release.json", "secrets.yaml"] {
        writer.seal_config(name, VALUES).unwrap();
    }
    for (index, (stored, raw_bytes, raw_digest)) in chunks.iter().enumerate() {
        writer.add_chunk(Stream::Base, index as u32, stored, *raw_bytes, raw_digest).unwrap();
        if index % 8 == 7 {
            writer.durable().unwrap();
        }
    }
    add_chunk(&mut writer, &recipients, Stream::Wal, 0, &wal).unwrap();
    writer.add_sealed("db/backup_manifest.age", &listing).unwrap();
    let facts = BackupFacts {
        database: database_facts(),
        base: whole(&base),
        wal: whole(&wal),
        counts: Default::default(),
        scope: Vec::new(),
    };
    let unpublished = writer.finish(facts, &bench.signer).unwrap();
    say("write with fsync, stored", stored, begun);
    let begun = (Instant::now(), cpu_seconds());
    let reader = unpublished.reader().unwrap();
    reader.verify_stored(&Events::none(), &CancellationToken::new()).unwrap();
    say("verify every stored byte, read anew, stored", stored, begun);
    let begun = (Instant::now(), cpu_seconds());
    reader.verify_plain(&bench.identities, &Events::none(), &CancellationToken::new()).unwrap();
    say("verify every plaintext, raw", base.len(), begun);
}
