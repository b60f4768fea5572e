//! A PostgreSQL server of a test's own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use dr::internals::postgres::Lsn;
use dr::internals::postgres::argv::Connection;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// The user to run PostgreSQL as: it refuses root.
fn user() -> Option<(u32, u32)> {
    let id = |flags: &[&str]| -> u32 {
        let output = Command::new("id").args(flags).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("there is no user `postgres`")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// Runs a PostgreSQL program as its own user.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let path = Path::new(BIN).join(program);
    assert!(path.is_file(), "{} is missing: apt-get install postgresql-15", path.display());
    let mut command = Command::new(path);
    command.args(arguments).env("LC_ALL", "C").current_dir("/");
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command.output().unwrap()
}

pub fn run_ok(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// A running server; stopped when dropped.
pub struct Server {
    pub data: PathBuf,
    _folder: tempfile::TempDir,
    socket: PathBuf,
}

/// A folder that the PostgreSQL user owns.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("dr").tempdir_in("/tmp").unwrap();
    if let Some((uid, gid)) = user() {
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
    }
    folder
}

impl Server {
    /// A fresh database with `extra` lines in its settings.
    pub fn fresh(extra: &str) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        run_ok("initdb", &["-D", &data.to_string_lossy(), "-A", "trust", "-U", "postgres", "-k", "--no-sync"]);
        let settings = format!(
            "listen_addresses = ''\nwal_level = replica\nmax_wal_senders = 10\nfsync = off\nshared_buffers = 32MB\n{extra}\n"
        );
        let file = data.join("postgresql.auto.conf");
        std::fs::write(&file, settings).unwrap();
        let server = Self { data, socket: folder.path().to_owned(), _folder: folder };
        server.start();
        server.sql("create role streaming_replica replication login");
        server
    }

    /// A server on a data directory that was restored, moved to where its user may write.
    pub fn on(restored: &Path) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let status = Command::new("cp").args(["-a", "--"]).arg(restored).arg(&data).status().unwrap();
        assert!(status.success());
        if let Some((uid, gid)) = user() {
            let status = Command::new("chown").args(["-R", &format!("{uid}:{gid}")]).arg(&data).status().unwrap();
            assert!(status.success());
        }
        let server = Self { data, socket: folder.path().to_owned(), _folder: folder };
        server.start();
        server
    }

    fn start(&self) {
        let log = self.socket.join("log");
        let options = format!("-k {}", self.socket.display());
        let output = run(
            "pg_ctl",
            &[
                "-D",
                &self.data.to_string_lossy(),
                "-l",
                &log.to_string_lossy(),
                "-o",
                &options,
                "-w",
                "-t",
                "120",
                "start",
            ],
        );
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(output.status.success(), "the server does not start:\n{said}");
    }

    pub fn stop(&self, how: &str) {
        run("pg_ctl", &["-D", &self.data.to_string_lossy(), "-m", how, "-w", "stop"]);
    }

    pub fn sql(&self, sql: &str) -> String {
        let socket = self.socket.to_string_lossy();
        run_ok(
            "psql",
            &["-h", &socket, "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql],
        )
        .trim()
        .to_owned()
    }

    /// pgbench's tables, about 15 MB for each unit of scale.
    pub fn fill(&self, scale: u32) {
        let socket = self.socket.to_string_lossy();
        run_ok("pgbench", &["-h", &socket, "-U", "postgres", "-i", "-q", "-s", &scale.to_string(), "postgres"]);
    }

    /// Writes for so many seconds, on a thread of its own.
    pub fn bench(&self, seconds: u32) -> std::thread::JoinHandle<()> {
        let socket = self.socket.to_string_lossy().into_owned();
        std::thread::spawn(move || {
            run_ok(
                "pgbench",
                &[
                    "-h",
                    &socket,
                    "-U",
                    "postgres",
                    "-n",
                    "-c",
                    "2",
                    "-R",
                    "150",
                    "-T",
                    &seconds.to_string(),
                    "postgres",
                ],
            );
        })
    }

    /// One value that no lost or doubled row leaves unchanged.
    pub fn fingerprint(&self) -> String {
        self.sql(
            "select (select count(*) from pgbench_history), (select coalesce(sum(delta), 0) from pgbench_history), \
             (select sum(abalance) from pgbench_accounts), \
             (select md5(string_agg(aid || ':' || abalance, ',' order by aid)) from pgbench_accounts)",
        )
    }

    /// The position that everything committed so far is before, its segment switched.
    pub fn switch(&self) -> Lsn {
        self.sql("select pg_switch_wal()").parse().unwrap()
    }

    pub fn system_identifier(&self) -> u64 {
        self.sql("select system_identifier from pg_control_system()").parse().unwrap()
    }

    /// Waits for a condition in SQL.
    pub fn wait(&self, condition: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.sql(&format!("select {condition}")) != "t" {
            assert!(Instant::now() < deadline, "{condition} did not come true");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    pub fn connection(&self) -> Connection {
        Connection {
            host: self.socket.to_string_lossy().into_owned(),
            port: 5432,
            user: "streaming_replica".into(),
            dbname: "postgres".into(),
            sslmode: "disable".into(),
            sslcert: None,
            sslkey: None,
            sslrootcert: None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop("immediate");
    }
}
