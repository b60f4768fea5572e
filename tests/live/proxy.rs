//! A site whose only way out is an HTTP proxy.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::{Cmd, Host, VERSION, lab, wait};

/// The name of the API server that only the proxy knows.
const NAME: &str = "api.site.invalid";

/// A proxy that opens tunnels to one address, whatever name it is asked for, and counts what goes through.
struct Tunnels {
    address: SocketAddr,
    opened: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

/// As long as there is this file, the proxy is away: what was open breaks off, and nothing new is opened.
#[derive(Clone)]
struct Away(PathBuf);

impl Tunnels {
    fn to(server: SocketAddr, away: &Away) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (all, through, away) = (opened.clone(), bytes.clone(), away.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (all, through, away) = (all.clone(), through.clone(), away.clone());
                std::thread::spawn(move || tunnel(client, server, &away, &all, &through));
            }
        });
        Self { address, opened, bytes }
    }

    fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

fn tunnel(
    client: TcpStream,
    server: SocketAddr,
    away: &Away,
    opened: &AtomicU64,
    bytes: &Arc<AtomicU64>,
) -> Option<()> {
    if away.0.exists() {
        return None;
    }
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    assert!(request.starts_with(&format!("CONNECT {NAME}:")), "asked for {request}");
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    assert!(reader.buffer().is_empty(), "nobody speaks before the tunnel is open");
    let to = TcpStream::connect(server).ok()?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    opened.fetch_add(1, Ordering::Relaxed);
    let (back_from, back_to, counted) = (to.try_clone().ok()?, client.try_clone().ok()?, bytes.clone());
    let gone = away.clone();
    std::thread::spawn(move || pipe(back_from, back_to, &gone, &counted));
    pipe(client, to, away, bytes);
    Some(())
}

fn pipe(mut from: TcpStream, mut to: TcpStream, away: &Away, bytes: &AtomicU64) {
    let mut piece = vec![0; 64 << 10];
    from.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    loop {
        let read = std::io::Read::read(&mut from, &mut piece);
        if away.0.exists() {
            drop(from.shutdown(Shutdown::Both));
            break drop(to.shutdown(Shutdown::Both));
        }
        match read {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(length @ 1..) if to.write_all(&piece[..length]).is_ok() => {
                bytes.fetch_add(length as u64, Ordering::Relaxed);
            }
            _ => break drop(to.shutdown(Shutdown::Write)),
        }
    }
}

/// The lab's kubeconfig, its server under the name that nobody but the proxy can resolve.
fn kubeconfig(host: &Host) -> (PathBuf, SocketAddr) {
    let text = std::fs::read_to_string(lab("KUBECONFIG")).unwrap();
    let server = text.split("\"https://").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let address: SocketAddr = server.parse().unwrap();
    let named = format!("\"https://{NAME}:{}\", tls-server-name: \"{}\"", address.port(), address.ip());
    let path = host.home.path().join("kubeconfig");
    std::fs::write(&path, text.replace(&format!("\"https://{server}\""), &named)).unwrap();
    (path, address)
}

#[test]
#[ignore = "needs the lab: make live"]
fn behind_a_proxy_everything_goes_through_it_and_what_is_exempt_does_not() {
    let host = Host::new("proxy");
    host.deploy(VERSION);
    let before = host.ledger();
    let (kubeconfig, address) = kubeconfig(&host);
    let proxy = Tunnels::to(address, &Away(host.home.path().join("away")));
    // The way by exec is the one that has to pass the proxy.
    let settings = host.home.path().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap().replace("# straight = true", "straight = false");
    std::fs::write(&settings, text).unwrap();
    let behind = |command: Cmd| {
        let command = command.env("KUBECONFIG", &kubeconfig).env("HTTPS_PROXY", proxy.address.to_string());
        // The registry is on this side of the proxy.
        command.env("NO_PROXY", format!(" localhost, ,{}", lab("LAB_REGISTRY").split(':').next().unwrap()))
    };

    let create = behind(host.dr_command(["-v", "--output", "json", "--yes", "bundle", "create"])).run();
    let report: serde_json::Value = serde_json::from_str(&create.ok()).unwrap();
    let (opened, bytes) = (proxy.opened(), proxy.bytes.load(Ordering::Relaxed));
    let bundle = report["bytes"].as_u64().unwrap();
    assert!(opened > 3 && bytes > bundle, "{opened} tunnels, {bytes} bytes for a bundle of {bundle}");

    host.delete_namespace();
    behind(host.dr_command(["bundle", "restore", "--version", VERSION, "--yes"])).run().ok();
    assert!(proxy.bytes.load(Ordering::Relaxed) > bytes + bundle, "the restore went the same way");
    host.assert_ledger_holds(&before);

    // A proxy that is dead is of no concern where the cluster is exempt.
    let exempt = |list: &str| {
        let status = host.dr_command(["server", "status"]);
        status.env("HTTPS_PROXY", "http://127.0.0.1:1").env("NO_PROXY", list).run()
    };
    exempt(&format!("example.org,{}", address.ip())).ok();
    exempt("example.org").fails(12, &["through proxy http://127.0.0.1:1"]);
}

/// A load balancer that moves, an API server that restarts: for less than the watchdog waits.
#[test]
#[ignore = "needs the lab: make live"]
fn an_api_server_that_is_away_while_the_application_is_off_keeps_it_off_no_longer_than_that() {
    let host = Host::new("away");
    host.deploy(VERSION);
    let before = host.replicas();
    let (kubeconfig, address) = kubeconfig(&host);
    let away = Away(host.home.path().join("away"));
    let proxy = Tunnels::to(address, &away);
    host.hook_before("mark-wal", &format!("exec touch {}", away.0.display()));
    let create = host.dr_command(["bundle", "create", "--yes"]).env("KUBECONFIG", &kubeconfig);
    let create = create.env("HTTPS_PROXY", proxy.address.to_string());
    let ended = std::thread::scope(|scope| {
        let create = scope.spawn(|| create.run());
        wait(Duration::from_secs(300), "the proxy to be away", || away.0.exists() || create.is_finished());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) && !create.is_finished() {
            std::thread::park_timeout(Duration::from_millis(100));
        }
        assert!(!create.is_finished(), "it has not given the application up");
        assert_eq!(host.replicas(), ["0", "0"], "nobody else has started it");
        std::fs::remove_file(&away.0).unwrap();
        create.join().unwrap()
    });
    assert_eq!(host.replicas(), before, "{ended}");
    assert_eq!(host.runs()[0].1, if ended.code == 0 { "done" } else { "put back" }, "{ended}");
}
