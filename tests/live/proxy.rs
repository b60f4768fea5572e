//! A site whose only way out is an HTTP proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::host::{Cmd, Host, VERSION, lab};

/// The name of the API server that only the proxy knows.
const NAME: &str = "api.site.invalid";

/// A proxy that opens tunnels to one address, whatever name it is asked for, and counts what goes through.
struct Tunnels {
    address: SocketAddr,
    opened: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Tunnels {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (all, through) = (opened.clone(), bytes.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (all, through) = (all.clone(), through.clone());
                std::thread::spawn(move || tunnel(client, server, &all, &through));
            }
        });
        Self { address, opened, bytes }
    }

    fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

fn tunnel(client: TcpStream, server: SocketAddr, opened: &AtomicU64, bytes: &Arc<AtomicU64>) -> Option<()> {
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
    std::thread::spawn(move || pipe(back_from, back_to, &counted));
    pipe(client, to, bytes);
    Some(())
}

fn pipe(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicU64) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = std::io::Read::read(&mut from, &mut piece) {
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
        bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
    drop(to.shutdown(std::net::Shutdown::Write));
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
    let proxy = Tunnels::to(address);
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
