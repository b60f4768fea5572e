//! The bucket of a real server: versitygw, which `lab/lab build versitygw` builds. Each test has a server of its own on a
//! folder of its own, and can kill it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dr::internals::store::{BucketOptions, BucketStore, Secrets};
use dr::{DraftToken, ResumedDraft, Store, StoreError};

use crate::contract;

const ACCESS: &str = "GATEWAYTESTKEY";
const SECRET: &str = "plumbaginous-quoin-of-the-gateway";
const BUCKET: &str = "bundles";

/// A server, ended with it.
struct Gateway {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Gateway {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("data").join(BUCKET)).unwrap();
        let key = format!("[default]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n");
        write_private(&folder.path().join("credentials"), &key);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut gateway = Self { folder, port, child: None };
        gateway.run();
        gateway
    }

    /// Starts it, where it does not run, and waits until it answers.
    fn run(&mut self) {
        let program = std::env::var_os("DR_TEST_VERSITYGW").expect("DR_TEST_VERSITYGW names no versitygw");
        let mut child = Command::new(program)
            .args(["--quiet", "--port", &format!("127.0.0.1:{}", self.port), "posix"])
            .arg(self.folder.path().join("data"))
            .env("ROOT_ACCESS_KEY_ID", ACCESS)
            .env("ROOT_SECRET_ACCESS_KEY", SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "versitygw does not start");
            std::thread::yield_now();
        }
        self.child = Some(child);
    }

    /// kill -9.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn place(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    fn options(&self) -> BucketOptions {
        BucketOptions {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            credentials_file: Some(self.folder.path().join("credentials")),
            ..BucketOptions::default()
        }
    }

    fn open(&self, prefix: &str) -> BucketStore {
        BucketStore::open(&self.place(prefix), &self.options(), &Secrets::default()).unwrap()
    }

    /// The files below the bucket's folder that match, the server's own among them.
    fn files(&self, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
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
    fn uploads(&self) -> Vec<PathBuf> {
        self.files(|path| path.components().any(|part| part.as_os_str() == ".sgwtmp"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(next).collect()
}

fn whole(store: &dyn Store, name: &str) -> Vec<u8> {
    let stored = store.open(name).unwrap();
    let mut bytes = vec![0; stored.len() as usize];
    stored.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_a_bucket_keeps_the_contract() {
    let gateway = Gateway::start();
    contract::check(&|| Box::new(gateway.open("contract")));
    assert_eq!(gateway.uploads(), [PathBuf::new(); 0], "an upload is left behind");
    // A store below another prefix of the same bucket sees nothing of it.
    assert!(gateway.open("other").list().unwrap().is_empty());
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_an_upload_goes_on_after_its_server_was_killed_between_any_two_parts() {
    let mut gateway = Gateway::start();
    const PART: usize = 5 << 20;
    let bytes = noise(3 * PART + 12_345);
    let options = BucketOptions { part_bytes: Some(PART as u64), ..gateway.options() };
    let open = |options: &BucketOptions| BucketStore::open("s3://bundles/kill", options, &Secrets::default()).unwrap();
    let mut token: Option<DraftToken> = None;
    for parts in 1..=3 {
        // Each round is another process: it has the token of the one before it, and a store of its own.
        let store = open(&options);
        let mut draft = match &token {
            None => store.begin("a", bytes.len() as u64).unwrap(),
            Some(token) => match store.resume(token).unwrap() {
                ResumedDraft::Draft(draft) => draft,
                _ => panic!("it is not complete"),
            },
        };
        let from = draft.token().durable as usize;
        assert_eq!(from, (parts - 1) * PART);
        draft.append(&bytes[from..parts * PART]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while draft.durable().unwrap() < (parts * PART) as u64 {
            assert!(Instant::now() < deadline, "a part does not arrive");
            std::thread::yield_now();
        }
        token = Some(draft.token());
        gateway.kill();
        // With the server gone, what is handed over is lost with an error, and nothing hangs.
        let impatient = BucketOptions { retries: Some(0), ..options.clone() };
        let error = open(&impatient).resume(token.as_ref().unwrap()).err().unwrap();
        assert!(error.is_transient(), "{error:?}");
        drop(draft);
        gateway.run();
    }
    let store = open(&options);
    let Ok(ResumedDraft::Draft(mut draft)) = store.resume(&token.unwrap()) else { panic!("it is not resumed") };
    draft.append(&bytes[3 * PART..]).unwrap();
    let pending = draft.complete().unwrap();
    assert!(store.list().unwrap().is_empty());
    let token = pending.token();
    drop(pending);
    gateway.kill();
    gateway.run();
    let Ok(ResumedDraft::Pending(pending)) = store.resume(&token) else { panic!("what is complete is not resumed") };
    pending.publish(b"{}").unwrap();
    gateway.kill();
    gateway.run();
    assert_eq!(whole(&open(&options), "a"), bytes);
    assert!(gateway.uploads().is_empty(), "{:?}", gateway.uploads());
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_each_refusal_is_said_as_what_it_is() {
    let gateway = Gateway::start();
    let said = |place: &str, options: &BucketOptions| {
        let opened = BucketStore::open(place, options, &Secrets::default()).map(|store| store.list());
        let error = match opened {
            Ok(listed) => listed.unwrap_err(),
            Err(error) => error,
        };
        assert!(!error.is_transient(), "{error:?}");
        let command = dr::internals::error::CommandError::from(error);
        assert!(!command.to_string().contains(SECRET) && !command.hints().is_empty());
        (command.to_string(), command.hints()[0].clone())
    };
    let options = BucketOptions { retries: Some(1), ..gateway.options() };
    let (text, hint) = said("s3://missing/x", &options);
    assert!(text.starts_with("store s3://missing/x: NoSuchBucket") && hint.starts_with("Make the bucket"), "{text}");
    let wrong = gateway.folder.path().join("wrong");
    write_private(&wrong, "[default]\naws_access_key_id=GATEWAYTESTKEY\naws_secret_access_key=another\n");
    let (text, hint) = said("s3://bundles/x", &BucketOptions { credentials_file: Some(wrong), ..options.clone() });
    assert!(text.contains("SignatureDoesNotMatch") && hint.starts_with("Look at the access key"), "{text}");
    let unknown = gateway.folder.path().join("unknown");
    write_private(&unknown, "[default]\naws_access_key_id=NOBODY\naws_secret_access_key=another\n");
    let (text, hint) = said("s3://bundles/x", &BucketOptions { credentials_file: Some(unknown), ..options.clone() });
    assert!(hint.starts_with("Look at the access key"), "{text}: {hint}");
    let (text, hint) = said("s3://bundles/x", &BucketOptions { profile: Some("other".into()), ..options.clone() });
    assert!(text.contains("has no key under [other]") && hint.starts_with("Name a file"), "{text}");
    let nowhere = BucketOptions { endpoint: Some("http://no-such-host.invalid:1".into()), ..options.clone() };
    let (text, hint) = said("s3://bundles/x", &nowhere);
    assert!(hint.starts_with("Correct `store.endpoint`"), "{text}: {hint}");
    let plain = BucketOptions { endpoint: Some(format!("https://127.0.0.1:{}", gateway.port)), ..options };
    let (text, hint) = said("s3://bundles/x", &plain);
    assert!(hint.contains("store.ca_file"), "{text}: {hint}");
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_a_key_that_was_renewed_in_its_file_is_taken_by_the_next_request() {
    let gateway = Gateway::start();
    let path = gateway.folder.path().join("credentials");
    let good = std::fs::read_to_string(&path).unwrap();
    let store = gateway.open("renewed");
    let mut draft = store.begin("a", 5).unwrap();
    draft.append(b"first").unwrap();
    write_private(&path, &good.replace(SECRET, "expired"));
    assert!(matches!(store.list(), Err(StoreError::Unusable { transient: false, .. })));
    write_private(&path, &good);
    draft.complete().unwrap().publish(b"{}").unwrap();
    assert_eq!(whole(&store, "a"), b"first");
}
