//! versitygw, a real S3 server, which `lab/lab build versitygw` builds: one on a folder and a port of its own, that a test
//! can kill.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ACCESS: &str = "GATEWAYTESTKEY";
pub const SECRET: &str = "plumbaginous-quoin-of-the-gateway";
pub const BUCKET: &str = "bundles";

/// A server, ended with it.
pub struct Gateway {
    pub folder: tempfile::TempDir,
    pub port: u16,
    /// Where it listens.
    host: String,
    /// Whether its bucket keeps versions.
    versions: bool,
    child: Option<Child>,
}

impl Gateway {
    pub fn start() -> Self {
        Self::begin(false, "127.0.0.1")
    }

    /// One that listens at this address of the host's.
    pub fn start_at(host: &str) -> Self {
        Self::begin(false, host)
    }

    /// One whose bucket keeps every version of a file.
    pub fn with_versions() -> Self {
        Self::begin(true, "127.0.0.1")
    }

    /// One whose bucket lets nobody remove a version of a file for 30 days.
    pub fn with_object_lock() -> Self {
        let gateway = Self::with_versions();
        let bucket = gateway.folder.path().join("data").join(BUCKET);
        let lock = br#"{"Enabled":true,"DefaultRetention":{"Days":30,"Mode":"COMPLIANCE"}}"#;
        rustix::fs::setxattr(bucket, "user.bucket-lock", lock, rustix::fs::XattrFlags::empty()).unwrap();
        gateway
    }

    fn begin(versions: bool, host: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("data").join(BUCKET)).unwrap();
        let key = format!("[default]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n");
        write_private(&folder.path().join("credentials"), &key);
        let port = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
        let mut gateway = Self { folder, port, host: host.to_owned(), versions, child: None };
        if versions {
            std::fs::create_dir(gateway.folder.path().join("versions")).unwrap();
            // As the server itself keeps that a bucket has them.
            let bucket = gateway.folder.path().join("data").join(BUCKET);
            rustix::fs::setxattr(bucket, "user.versioning", &[1], rustix::fs::XattrFlags::empty()).unwrap();
        }
        gateway.run();
        gateway
    }

    /// Starts it, where it does not run, and waits until it answers.
    pub fn run(&mut self) {
        let program = std::env::var_os("DR_TEST_VERSITYGW").unwrap_or_else(|| "versitygw".into());
        let mut command = Command::new(program);
        command.args(["--quiet", "--port", &format!("{}:{}", self.host, self.port), "posix"]);
        if self.versions {
            command.arg("--versioning-dir").arg(self.folder.path().join("versions"));
        }
        let mut child = command
            .arg(self.folder.path().join("data"))
            .env("ROOT_ACCESS_KEY_ID", ACCESS)
            .env("ROOT_SECRET_ACCESS_KEY", SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no versitygw: DR_TEST_VERSITYGW, or `lab/lab build versitygw`");
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((self.host.as_str(), self.port)).is_err() {
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "versitygw does not start");
            std::thread::yield_now();
        }
        self.child = Some(child);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The file with its key.
    pub fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// The files below the bucket's folder that match, the server's own among them.
    pub fn files(&self, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.folder.path().join("data"), &mut found);
        found.retain(|path| wanted(path));
        found
    }

    /// What uploads that are neither complete nor aborted have left on the server's disk.
    pub fn uploads(&self) -> Vec<PathBuf> {
        self.files(|path| path.components().any(|part| part.as_os_str() == ".sgwtmp"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
