//! The README inside a bundle, followed to the letter: a real PostgreSQL's backup goes into a bundle, the README's own
//! blocks are run by bash, and the rows are read back.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dr::Store;
use dr::internals::bundle::{BackupFacts, Reader, Stream, Trust, Writer};
use dr::internals::crypt::TrustedSigners;
use dr::internals::event::Events;
use dr::internals::postgres;
use tokio_util::sync::CancellationToken;

use crate::sample::*;
use crate::volumes::{folder, volume};

/// The unprivileged user of Debian's PostgreSQL package: the server does not run as root.
const USER: &str = "postgres";

/// What the other volume of the bundle holds.
const HEAD: &str = "ref: refs/heads/main\n";

/// Where to work, and as whom.
struct Ground {
    folder: tempfile::TempDir,
    programs: PathBuf,
    root: bool,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("dr-by-hand-").tempdir().unwrap();
        let root = fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap() == 0;
        let programs = fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL's server programs (Debian: postgresql-15)")
            .map(|entry| entry.unwrap().path().join("bin"))
            .find(|bin| bin.join("initdb").exists() && bin.join("pg_verifybackup").exists())
            .expect("a whole PostgreSQL server package");
        let ground = Self { folder, programs, root };
        ground.give(ground.folder.path());
        ground
    }

    /// Lets the server's user have `path`.
    fn give(&self, path: &Path) {
        if self.root {
            let id = |kind: &str| {
                let output = Command::new("id").args([kind, USER]).output().unwrap();
                String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
            };
            chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a bash script in the folder, as the server's user when this is root.
    fn bash(&self, script: &str) -> Output {
        let mut command = if self.root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--init-groups", "bash"]);
            command
        } else {
            Command::new("bash")
        };
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap());
        command.current_dir(self.folder.path()).env("PATH", path).env("LC_ALL", "C").env("HOME", self.folder.path());
        command.args(["-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    fn run(&self, script: &str) -> String {
        let output = self.bash(script);
        let text = all(&output);
        assert!(output.status.success(), "{script}\n{text}");
        text
    }
}

fn all(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A small real database, its base backup in `backup/`, and what `select` says of it.
fn back_up_a_real_database(ground: &Ground) -> String {
    ground.run(
        "initdb -D source -U postgres --auth=trust --no-sync > initdb.log
         SOCKET=$(mktemp -d); echo \"$SOCKET\" > socket
         printf \"listen_addresses = ''\\nunix_socket_directories = '$SOCKET'\\nssl_ca_file = '/only/in/a/pod'\\n\" >> source/postgresql.conf
         pg_ctl -w -D source -l source.log start > start.log
         psql -qh \"$SOCKET\" -U postgres -c 'create database opschain'
         psql -qh \"$SOCKET\" -U postgres opschain -c \"create table chain as select n, md5(n::text) as hash from generate_series(1, 20000) n\"",
    );
    let rows = ground.run("psql -h $(cat socket) -U postgres opschain -Atc \"select count(*), md5(string_agg(hash, '' order by n)) from chain\"");
    ground.run("pg_basebackup -h $(cat socket) -U postgres -D backup -Ft --wal-method=stream --checkpoint=fast --no-sync && pg_ctl -w -m immediate -D source stop");
    rows.trim().to_owned()
}

/// Puts the backup into a bundle, in chunks, as `dr bundle create` does; returns its path and name.
fn bundle_it(ground: &Ground, bench: &Bench) -> String {
    let base = fs::read(ground.at("backup/base.tar")).unwrap();
    let wal = fs::read(ground.at("backup/pg_wal.tar")).unwrap();
    let listing = fs::read(ground.at("backup/backup_manifest")).unwrap();
    let listed = postgres::BackupManifest::parse(&listing).unwrap();
    let control = postgres::ControlData::parse(&ground.run("pg_controldata source")).unwrap();
    let mut header = header();
    header.postgresql.system_identifier = control.system_identifier.to_string();
    header.postgresql.major = ground.run("cat source/PG_VERSION").trim().parse().unwrap();
    let name = header.id.to_string();
    let recipients = bench.recipients();
    let mut writer = Writer::create(&bench.store, header, recipients.clone()).unwrap();
    writer.seal_config("values.yaml", VALUES).unwrap();
    writer.seal_config("release.json", b"{}").unwrap();
    writer.seal_config("secrets.yaml", b"kind: List\n").unwrap();
    let git = folder(HEAD);
    let (said, tar) = volume("git", git.path());
    add_volume(&mut writer, &recipients, &said, &tar).unwrap();
    let chart = dr::internals::crypt::Hashed::of(recipients.seal(b"chart").unwrap());
    writer.add_sealed("chart/opschain-2026.8.20.tgz.age", &chart).unwrap();
    for (stream, raw) in [(Stream::Base, &base), (Stream::Wal, &wal)] {
        for (index, piece) in raw.chunks(3 << 20).enumerate() {
            add_chunk(&mut writer, &recipients, stream, index as u32, piece).unwrap();
        }
    }
    let sealed = dr::internals::crypt::Hashed::of(recipients.seal(&listing).unwrap());
    writer.add_sealed("db/backup_manifest.age", &sealed).unwrap();
    let database = dr::internals::bundle::BackupIdentity {
        system_identifier: control.system_identifier.to_string(),
        timeline: listed.timeline,
        start_lsn: listed.start,
        end_lsn: listed.end,
        quiesce_lsn: None,
        wal_end_lsn: None,
        wal_segment_bytes: control.wal_segment_bytes,
    };
    let facts =
        BackupFacts { database, base: whole(&base), wal: whole(&wal), counts: Default::default(), scope: scope() };
    let unpublished = writer.finish(facts, &bench.signer).unwrap();
    let reader = unpublished.reader().unwrap();
    let proof = reader.verify_plain(&bench.identities, &Events::none(), &CancellationToken::new()).unwrap();
    assert_eq!(proof.base.files as usize, listed.files.len());
    unpublished.verify(&Events::none(), &CancellationToken::new()).unwrap().publish(&bench.store).unwrap();
    name
}

/// The blocks of the README that need no cluster, in order.
fn local_blocks(readme: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line == "```sh local" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// Puts `block` behind the one of the README that says `part`.
fn insert_after(blocks: &mut Vec<String>, part: &str, block: String) {
    let places: Vec<usize> = (0..blocks.len()).filter(|&place| blocks[place].contains(part)).collect();
    assert_eq!(places.len(), 1, "`{part}` stands in {places:?} of the README's blocks");
    blocks.insert(places[0] + 1, block);
}

/// Everything in place for the README: the bundle, the identity, the trusted signers. Returns its blocks.
fn prepare(ground: &Ground, bench: &Bench, name: &str) -> Vec<String> {
    let place = |file: &str, bytes: &[u8]| {
        fs::write(ground.at(file), bytes).unwrap();
        fs::set_permissions(ground.at(file), fs::Permissions::from_mode(0o600)).unwrap();
        ground.give(&ground.at(file));
    };
    place(&format!("{name}.tar"), &fs::read(bench.store.address(name)).unwrap());
    place("identity.txt", bench.identities.to_file_text().as_bytes());
    place(
        "allowed_signers",
        bench.signer.trust_line("backup@test", &[dr::internals::bundle::SIGNATURE_NAMESPACE]).as_bytes(),
    );
    place("expected.yaml", VALUES);
    let readme = ground.run(&format!("tar -xOf {name}.tar README.md"));
    local_blocks(&readme)
}

#[test]
#[ignore = "needs PostgreSQL's server, age, zstd and ssh-keygen on this machine"]
fn a_real_database_comes_back_by_the_readme_alone() {
    let (ground, bench) = (Ground::new(), Bench::new());
    let rows = back_up_a_real_database(&ground);
    let name = bundle_it(&ground, &bench);
    let mut blocks = prepare(&ground, &bench, &name);
    // What this test looks at, while what it looks at is there.
    let same =
        format!("cmp plain/values.yaml {} && echo 'values are the same bytes'", ground.at("expected.yaml").display());
    insert_after(&mut blocks, "plain/values.yaml\" | sha256sum", same);
    insert_after(
        &mut blocks,
        "plain/${name#config/}.tar",
        "echo \"HEAD is $(tar -xOf plain/volume-git.tar repo/HEAD)\"".into(),
    );
    insert_after(&mut blocks, "pg_ctl -w -t 3600", "psql -h \"$SOCKET\" -U postgres -d opschain -Atc \"select 'rows ' || count(*) || '|' || md5(string_agg(hash, '' order by n)) from chain\"".into());
    let said = ground.run(&blocks.join("\n"));
    let control = postgres::ControlData::parse(&ground.run("pg_controldata source")).unwrap();
    for expected in [
        "Good \"dr-bundle@v1\" signature for backup@test",
        "every member is what was signed",
        "plain/values.yaml: OK",
        "values are the same bytes",
        &format!("HEAD is {HEAD}"),
        "backup successfully verified",
        "in production",
        &format!("\n{}\n", control.system_identifier),
        &format!("rows {rows}"),
    ] {
        assert!(said.contains(expected), "`{expected}` was not said:\n{said}");
    }
    assert!(!ground.at(&format!("restore-{name}")).exists(), "plaintext is left behind");
}

#[test]
#[ignore = "needs tar, ssh-keygen and sha256sum on this machine"]
fn the_readme_finds_a_changed_member_an_added_one_and_a_foreign_signature() {
    let (ground, bench) = (Ground::new(), Bench::new());
    let name = bench.publish(header());
    let blocks = prepare(&ground, &bench, &name);
    let good = ground.run(&blocks[..3].join("\n"));
    assert!(good.contains("every member is what was signed"), "{good}");
    let work = ground.at(&format!("restore-{name}")).display().to_string();
    let spoiled = |spoil: &str| {
        ground.run(&format!("rm -rf {work}"));
        all(&ground.bash(&[&blocks[0], &blocks[1], spoil, &blocks[2]].join("\n")))
    };
    for spoil in ["echo x >> db/base/000001.tar.zst.age", "echo x > extra", "rm README.md"] {
        assert!(!spoiled(spoil).contains("every member"), "{spoil}");
    }
    let stranger = dr::internals::crypt::Signer::generate("stranger").unwrap();
    let line = stranger.trust_line("stranger", &["dr-bundle@v1"]);
    fs::write(ground.at("allowed_signers"), &line).unwrap();
    assert!(!spoiled("true").contains("Good"));
    // `dr` does not believe a file that is the server's user's: the same line in one of its own.
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("allowed_signers"), &line).unwrap();
    let trust = Trust::Signers(TrustedSigners::load(&own.path().join("allowed_signers")).unwrap());
    assert!(Reader::open_in(&bench.store, &name, &trust).is_err());
}
