//! Clusters behind a proxy: what the kubeconfig names as one is asked, and nothing else.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Runs `dr doctor` with a kubeconfig that names a proxy of this kind, and returns what the proxy was sent first.
fn sent_to_proxy(scheme: &str) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let kubeconfig = home.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://cluster.invalid:6443', proxy-url: '{scheme}://{address}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let asked = std::thread::spawn(move || {
        let (mut connection, _) = proxy.accept().unwrap();
        let mut sent = vec![0; 256];
        let length = connection.read(&mut sent).unwrap();
        sent.truncate(length);
        sent
    });
    let said = Command::new(env!("CARGO_BIN_EXE_dr"))
        .arg("doctor")
        .env_clear()
        .env("HOME", home.path())
        .env("KUBECONFIG", &kubeconfig)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("no answer from https://cluster.invalid:6443"), "{said}");
    // Whoever was never asked would wait for ever.
    drop(TcpStream::connect(address));
    asked.join().unwrap()
}

#[test]
fn a_cluster_behind_an_http_proxy_is_asked_for_there() {
    let sent = String::from_utf8(sent_to_proxy("http")).unwrap();
    assert!(sent.starts_with("CONNECT cluster.invalid:6443 HTTP/1.1\r\n"), "{sent}");
}

#[test]
fn a_cluster_behind_a_socks_proxy_is_asked_for_there() {
    assert_eq!(sent_to_proxy("socks5")[..1], [5], "the version of the protocol comes first");
}
