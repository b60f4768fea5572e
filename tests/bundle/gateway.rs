//! The bucket of a real server. Each test has a server of its own.

#[allow(dead_code)]
#[path = "../gateway/server.rs"]
pub mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dr::internals::bundle::Catalog;
use dr::internals::store::{BucketOptions, BucketStore, CancellationToken, Checksum, Notice, Secrets};
use dr::{DraftToken, Pending, ResumedDraft, Store, StoreError};
use jiff::Timestamp;
use server::{BUCKET, Gateway, SECRET, write_private};

use crate::contract;
use crate::faults::{NAME, is_whole, make};
use crate::sample::Bench;

fn options(gateway: &Gateway) -> BucketOptions {
    BucketOptions {
        endpoint: Some(gateway.endpoint()),
        credentials_file: Some(gateway.credentials()),
        ..BucketOptions::default()
    }
}

pub fn open(gateway: &Gateway, prefix: &str) -> BucketStore {
    open_with(&options(gateway), prefix)
}

fn open_with(options: &BucketOptions, prefix: &str) -> BucketStore {
    BucketStore::open(
        &format!("s3://{BUCKET}/{prefix}"),
        options,
        &Secrets::default(),
        &CancellationToken::new(),
        &Notice::default(),
    )
    .unwrap()
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
    contract::check(&|| Box::new(open(&gateway, "contract")));
    assert!(gateway.uploads().is_empty(), "an upload is left behind: {:?}", gateway.uploads());
    // A store below another prefix of the same bucket sees nothing of it.
    assert!(open(&gateway, "other").list().unwrap().is_empty());
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_an_upload_goes_on_after_its_server_was_killed_between_any_two_parts() {
    let mut gateway = Gateway::start();
    const PART: usize = 5 << 20;
    let bytes = noise(3 * PART + 12_345);
    let options = BucketOptions { part_bytes: Some(PART as u64), ..options(&gateway) };
    let open = |options: &BucketOptions| open_with(options, "kill");
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
        let opened =
            BucketStore::open(place, options, &Secrets::default(), &CancellationToken::new(), &Notice::default())
                .map(|store| store.list());
        let error = match opened {
            Ok(listed) => listed.unwrap_err(),
            Err(error) => error,
        };
        assert!(!error.is_transient(), "{error:?}");
        let command = dr::internals::error::CommandError::from(error);
        assert!(!command.to_string().contains(SECRET) && !command.hints().is_empty());
        (command.to_string(), command.hints()[0].clone())
    };
    let options = BucketOptions { retries: Some(1), ..options(&gateway) };
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
    let path = gateway.credentials();
    let good = std::fs::read_to_string(&path).unwrap();
    let store = open(&gateway, "renewed");
    let mut draft = store.begin("a", 5).unwrap();
    draft.append(b"first").unwrap();
    write_private(&path, &good.replace(SECRET, "expired"));
    assert!(matches!(store.list(), Err(StoreError::Unusable { transient: false, .. })));
    write_private(&path, &good);
    draft.complete().unwrap().publish(b"{}").unwrap();
    assert_eq!(whole(&store, "a"), b"first");
}

/// How a request through the [`Proxy`] goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The server is not asked, and is said to be busy.
    Busy,
    /// The server does it, and the answer is lost.
    LoseAnswer,
    /// The connection breaks before the server is asked.
    Reset,
}

/// Between a client and the server: lets one request go wrong, and counts them all.
struct Proxy {
    port: u16,
    requests: Arc<AtomicUsize>,
}

/// How the request with this number goes wrong, if it does.
type Faults = Arc<dyn Fn(usize) -> Option<Fault> + Send + Sync>;

impl Proxy {
    fn start(server: u16, at: usize, fault: Fault) -> Self {
        Self::with(server, Arc::new(move |number| (number == at).then_some(fault)))
    }

    fn with(server: u16, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, requests) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (counted, faults) = (Arc::clone(&counted), Arc::clone(&faults));
                // A request that breaks is what this is for.
                std::thread::spawn(move || pass(client, server, &counted, &faults));
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Passes one request and its answer; each has a connection of its own.
fn pass(client: TcpStream, server: u16, counted: &AtomicUsize, faults: &Faults) -> std::io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let fault = faults(counted.fetch_add(1, Ordering::SeqCst));
    if matches!(fault, Some(Fault::Reset)) {
        return Ok(());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let mut client = client;
    if matches!(fault, Some(Fault::Busy)) {
        return client.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let mut to = TcpStream::connect(("127.0.0.1", server))?;
    to.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    to.write_all(&body)?;
    let mut answer = Vec::new();
    to.read_to_end(&mut answer)?;
    if fault.is_some() { Ok(()) } else { client.write_all(&answer) }
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_a_bundle_is_made_whole_whichever_request_goes_wrong_once() {
    let (gateway, bench) = (Gateway::start(), Bench::new());
    let through = |proxy: &Proxy, prefix: &str| {
        let endpoint = Some(format!("http://127.0.0.1:{}", proxy.port));
        open_with(&BucketOptions { endpoint, ..options(&gateway) }, prefix)
    };
    let clean = Proxy::start(gateway.port, usize::MAX, Fault::Busy);
    make(&bench, &through(&clean, "clean"), NAME).unwrap();
    let requests = clean.requests();
    assert!(requests > 15, "{requests}");
    for fault in [Fault::Busy, Fault::LoseAnswer, Fault::Reset] {
        for at in 0..requests {
            let prefix = format!("{fault:?}-{at}");
            let proxy = Proxy::start(gateway.port, at, fault);
            make(&bench, &through(&proxy, &prefix), NAME).unwrap_or_else(|error| panic!("{prefix}: {error}"));
            assert!(proxy.requests() > requests, "{prefix}: nothing was tried again");
            let store = open(&gateway, &prefix);
            assert_eq!(store.list().unwrap().len(), 1, "{prefix}");
            is_whole(&bench, &store, NAME);
            assert!(gateway.uploads().is_empty(), "{prefix}: {:?}", gateway.uploads());
        }
    }
}

/// About every other request goes wrong, in any of the ways, until two hundred have.
#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_after_two_hundred_faults_at_random_each_object_is_whole_or_an_error_and_no_upload_stays() {
    const FAULTS: usize = 200;
    let gateway = Gateway::start();
    let gone_wrong = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&gone_wrong);
    let faults = move |number: usize| {
        let roll = noise(number + 8)[number + 7] % 6;
        let fault = [Fault::Busy, Fault::LoseAnswer, Fault::Reset].get(usize::from(roll)).copied()?;
        (counted.fetch_add(1, Ordering::SeqCst) < FAULTS).then_some(fault)
    };
    let proxy = Proxy::with(gateway.port, Arc::new(faults));
    let endpoint = Some(format!("http://127.0.0.1:{}", proxy.port));
    let store = open_with(&BucketOptions { endpoint, part_bytes: Some(5 << 20), ..options(&gateway) }, "random");
    let direct = open(&gateway, "random");
    let (mut made, mut failed) = (0, 0);
    while gone_wrong.load(Ordering::SeqCst) < FAULTS {
        let (name, bytes) = (format!("o{}", made + failed), noise((21 << 20) + made));
        let mut token = DraftToken::named(&name);
        let done = store.begin(&name, bytes.len() as u64).and_then(|mut draft| {
            token = draft.token();
            for piece in bytes.chunks(1 << 20) {
                draft.append(piece)?;
                token = draft.token();
            }
            draft.complete()?.publish(b"{}")
        });
        match done {
            Ok(()) => {
                made += 1;
                assert!(whole(&direct, &name) == bytes, "{name} is another");
            }
            Err(error) => {
                failed += 1;
                assert!(error.is_transient(), "{name}: {error:?}");
                direct.abort(&token).unwrap();
                let listed = direct.list().unwrap().into_iter().find(|object| object.name == name);
                assert!(listed.is_none() || whole(&direct, &name) == bytes, "{name}: {error:?}");
            }
        }
        assert!(gateway.uploads().is_empty(), "{name}: {:?}", gateway.uploads());
    }
    println!("{made} whole, {failed} failed, of {} requests", proxy.requests());
    assert!(made > failed, "{made} whole, {failed} failed");
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_what_was_removed_from_a_bucket_with_versions_comes_back_once() {
    let gateway = Gateway::with_versions();
    let put = |bytes: &[u8]| {
        let store = open(&gateway, "again");
        let mut draft = store.begin("a", 1)?;
        draft.append(bytes)?;
        let pending = draft.complete()?;
        let token = Pending::token(&*pending);
        pending
            .publish(format!("{{\"of\": {}}}", bytes[0]).as_bytes())
            .or_else(|error| store.abort(&token).and(Err(error)))
    };
    for round in 0..2 {
        let store = open(&gateway, "again");
        let writers: Vec<u8> = (0..4).map(|writer| 10 * round + writer).collect();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let writing: Vec<_> = writers.iter().map(|own| scope.spawn(|| put(&[*own]))).collect();
            writing.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let won: Vec<u8> =
            writers.iter().zip(&outcomes).filter(|(_, done)| done.is_ok()).map(|(own, _)| *own).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        assert_eq!((whole(&store, "a"), store.list().unwrap().len()), (won, 1));
        store.add_note("a", "gone.000001.json", b"{}").unwrap();
        assert_eq!(store.list().unwrap()[0].notes, ["gone.000001.json"]);
        store.remove("a").unwrap();
        assert!(store.list().unwrap().is_empty());
    }
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_what_a_bucket_locks_is_told_locked_until_then() {
    let gateway = Gateway::with_object_lock();
    let options = BucketOptions { checksum: Some(Checksum::Sha256), ..options(&gateway) };
    let store = open_with(&options, "locked");
    let mut draft = store.begin("a", 1).unwrap();
    draft.append(b"x").unwrap();
    draft.complete().unwrap().publish(b"{}").unwrap();
    let month = 30 * 24;
    let left = store.locked_until("a").unwrap().expect("it is locked").duration_since(Timestamp::now()).as_hours();
    assert!((month - 1..=month).contains(&left), "{left} h");
    assert!(store.keeps_removed().unwrap());
    let free = Gateway::with_versions();
    let store = open(&free, "free");
    let mut draft = store.begin("a", 1).unwrap();
    draft.append(b"x").unwrap();
    draft.complete().unwrap().publish(b"{}").unwrap();
    assert_eq!((store.locked_until("a").unwrap(), store.keeps_removed().unwrap()), (None, true));
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_its_conditions_hold_and_what_asks_leaves_nothing_behind() {
    let gateway = Gateway::start();
    let store = open(&gateway, "asked");
    for _ in 0..2 {
        let conditions = store.conditions().unwrap().unwrap();
        assert!(conditions.hold() && conditions.winners == 1, "{conditions:?}");
        assert_eq!(conditions.refuses_stale, Some(true), "{conditions:?}");
        assert_eq!(conditions.left, None);
        let left = gateway.files(|path| path.to_string_lossy().contains("probe"));
        assert!(left.is_empty(), "{left:?}");
    }
    let protection = store.conditions().unwrap().unwrap().protection;
    println!("{protection:?}");
}

/// What the server keeps of an object's folder, under other names.
fn copies(gateway: &Gateway, prefix: &str, count: usize) {
    let folder = gateway.folder.path().join("data").join(BUCKET).join(prefix).join("v1");
    // Written in place: what the server notes of a file stays with it.
    let script = format!(
        r#"cd {} && for n in $(seq 1 {}); do to=$(printf 'opschain-20261123T075443Z-%06x' $n) && cp -a {NAME} $to &&
          for file in $to/{NAME}*; do mv $file $to/$to${{file#$to/{NAME}}}; done &&
          text=$(sed s/{NAME}/$to/g $to/published.json) && printf '%s\n' "$text" > $to/published.json || exit 1; done"#,
        folder.display(),
        count - 1
    );
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

/// How many requests reading the catalog takes of a store whose small files are kept in `folder`; and what it is.
fn read_through(gateway: &Gateway, proxy: &Proxy, prefix: &str, folder: &Path) -> (usize, Catalog) {
    let before = proxy.requests();
    let endpoint = Some(format!("http://127.0.0.1:{}", proxy.port));
    let options = BucketOptions { endpoint, kept: Some(folder.to_owned()), ..options(gateway) };
    let catalog = Catalog::read(&open_with(&options, prefix), &Default::default()).unwrap();
    (proxy.requests() - before, catalog)
}

#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_what_was_read_of_a_bucket_is_read_again_only_where_it_has_changed() {
    let (gateway, bench, folder) = (Gateway::start(), Bench::new(), tempfile::tempdir().unwrap());
    let store = open(&gateway, "kept");
    let other = NAME.replace("0a1b2c", "0a1b2d");
    for name in [NAME, &other] {
        make(&bench, &store, name).unwrap();
    }
    store.add_note(NAME, "pin.000001.json", b"{}").unwrap();
    let proxy = Proxy::start(gateway.port, usize::MAX, Fault::Busy);
    let (cold, first) = read_through(&gateway, &proxy, "kept", folder.path());
    assert_eq!((cold, first.entries.len()), (6, 2), "the list, two records, two proofs and a mark");
    assert!(first.entries.iter().all(|entry| entry.header.is_ok()));
    let (warm, again) = read_through(&gateway, &proxy, "kept", folder.path());
    assert_eq!((warm, &again), (1, &first), "the list");
    // Removed, and made again: another file under the same name.
    store.remove(&other).unwrap();
    assert_eq!(read_through(&gateway, &proxy, "kept", folder.path()).1.entries.len(), 1);
    make(&bench, &store, &other).unwrap();
    let (changed, catalog) = read_through(&gateway, &proxy, "kept", folder.path());
    assert_eq!((changed, catalog.entries.len()), (3, 2), "the list, a record and a proof");
    // What is kept is no more than a copy: damaged, it is read again.
    for kept in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::write(kept.unwrap().path(), "{}").unwrap();
    }
    assert_eq!(read_through(&gateway, &proxy, "kept", folder.path()), (6, catalog));
}

/// Its times are a debug build's on a busy machine: the bounds only tell a list that asks for each bundle from one that does
/// not.
#[test]
#[ignore = "needs versitygw: `make stores`"]
fn gateway_a_thousand_bundles_are_listed_from_what_is_kept() {
    const COUNT: usize = 1000;
    let (gateway, bench, folder) = (Gateway::start(), Bench::new(), tempfile::tempdir().unwrap());
    let store = open(&gateway, "many");
    make(&bench, &store, NAME).unwrap();
    store.add_note(NAME, "pin.000001.json", b"{}").unwrap();
    copies(&gateway, "many", COUNT);
    let options = BucketOptions { kept: Some(folder.path().to_owned()), ..options(&gateway) };
    let timed = || {
        let begun = Instant::now();
        let catalog = Catalog::read(&open_with(&options, "many"), &Default::default()).unwrap();
        let damaged = catalog.entries.iter().find(|entry| entry.header.is_err());
        assert!(damaged.is_none() && catalog.entries.len() == COUNT, "{}: {damaged:?}", catalog.entries.len());
        begun.elapsed()
    };
    let (cold, warm) = (timed(), timed());
    println!("{COUNT} bundles with a note each: {cold:?}, then {warm:?}");
    assert!(warm < cold / 2, "{cold:?}, then {warm:?}");
}
