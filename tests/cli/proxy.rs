//! Clusters behind a proxy: what the kubeconfig or the environment names as one is asked, and nothing else.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Runs `dr doctor` with a kubeconfig whose cluster has these lines beside its address, and with these variables; `{}` in
/// them is the address of a proxy. Returns what the proxy was sent first.
fn sent_to_proxy(cluster: &str, variables: &[(&str, &str)]) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let (mut connection, _) = proxy.accept().unwrap();
        let mut sent = vec![0; 256];
        let length = connection.read(&mut sent).unwrap();
        sent.truncate(length);
        sent
    });
    let kubeconfig = home.path().join("kubeconfig");
    let cluster = cluster.replace("{}", &address.to_string());
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://cluster.invalid:6443'{cluster}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let said = doctor(&home, &kubeconfig, address, variables);
    assert!(said.contains("no answer from https://cluster.invalid:6443"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    // Whoever was never asked would wait for ever.
    drop(TcpStream::connect(address));
    let sent = asked.join().unwrap();
    assert_eq!(said.contains(" through proxy "), !sent.is_empty(), "{said}");
    sent
}

fn doctor(
    home: &tempfile::TempDir,
    kubeconfig: &std::path::Path,
    proxy: SocketAddr,
    variables: &[(&str, &str)],
) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dr"));
    command.arg("doctor").env_clear().env("HOME", home.path()).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    for (name, value) in variables {
        command.env(name, value.replace("{}", &proxy.to_string()));
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

const TUNNEL: &str = "CONNECT cluster.invalid:6443 HTTP/1.1\r\n";

#[test]
fn a_cluster_behind_an_http_proxy_is_asked_for_there() {
    let sent = String::from_utf8(sent_to_proxy(", proxy-url: 'http://{}'", &[("NO_PROXY", "*")])).unwrap();
    assert!(sent.starts_with(TUNNEL), "{sent}");
}

#[test]
fn a_cluster_behind_a_socks_proxy_is_asked_for_there() {
    assert_eq!(sent_to_proxy(", proxy-url: 'socks5://{}'", &[])[..1], [5], "the version of the protocol comes first");
}

#[test]
fn the_proxy_of_the_environment_is_taken_as_kubectl_and_helm_take_it() {
    // Without a scheme, and beside a list with an empty place: both are common, and fine for programs in Go.
    let variables = [("https_proxy", "me:hunter2@{}"), ("NO_PROXY", "10.0.0.0/8, .svc,,127.0.0.1,")];
    let sent = String::from_utf8(sent_to_proxy("", &variables)).unwrap();
    assert!(sent.starts_with(TUNNEL), "{sent}");
    assert!(sent.to_lowercase().contains("proxy-authorization: basic "), "{sent}");
}

#[test]
fn a_cluster_that_is_exempt_is_not_asked_for_at_the_proxy() {
    let variables = [("HTTPS_PROXY", "http://{}"), ("no_proxy", "example.org,.invalid")];
    assert!(sent_to_proxy("", &variables).is_empty());
}
