//! `dr`'s own image: what a registry is sent and by whom, and what a file holds. The registry here is a fake; the live
//! tests push to a real one.

use std::collections::HashMap;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::dr;
use crate::notify::head_of;

const USER: &str = "pusher";
const PASSWORD: &str = "obstreperous-narwhal";
const TOKEN: &str = "crepuscular-axolotl";

/// A registry that gives tokens for a name and a password, and keeps what it is sent, manifests under their tags.
#[derive(Clone, Default)]
struct Registry {
    stored: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    /// What it answers a manifest with instead of taking it.
    refuses: Option<&'static str>,
}

impl Registry {
    fn start(self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                self.answer(client, port);
            }
        });
        port
    }

    fn answer(&self, mut client: TcpStream, port: u16) {
        let mut from = BufReader::new(client.try_clone().unwrap());
        let head = head_of(&mut from);
        let header = |name: &str| head.iter().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        let mut body = vec![0; header("content-length:").map_or(0, |length| length.parse().unwrap())];
        let mut words = head[0].split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let authorization = header("authorization:").unwrap_or_default();
        let known = authorization == format!("Bearer {TOKEN}");
        // Who is not known has not read the body either.
        if known {
            from.read_exact(&mut body).unwrap();
        }
        let mut stored = self.stored.lock().unwrap();
        let path = target.split('?').next().unwrap();
        let (status, more, answer) = match (method.as_str(), path) {
            ("GET", "/token") => {
                assert!(target.contains("scope=repository%3Atools%2Fdr%3Apull%2Cpush"), "{target}");
                match authorization == format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}"))) {
                    true => ("200 OK", String::new(), format!(r#"{{"token":"{TOKEN}"}}"#)),
                    false => ("401 Unauthorized", String::new(), String::new()),
                }
            }
            _ if !known => {
                let realm = format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"fake\"");
                ("401 Unauthorized", format!("WWW-Authenticate: {realm}\r\n"), String::new())
            }
            ("POST", _) => ("202 Accepted", "Location: /v2/tools/dr/blobs/uploads/1?state=x\r\n".into(), String::new()),
            ("PUT", path) if path.contains("/uploads/") => {
                let digest = target.split("digest=").nth(1).unwrap().replace("%3A", ":");
                assert_eq!(digest, format!("sha256:{}", hex::encode(Sha256::digest(&body))));
                stored.insert(format!("/v2/tools/dr/blobs/{digest}"), body);
                ("201 Created", String::new(), String::new())
            }
            ("PUT", path) => match self.refuses {
                Some(refusal) => ("400 Bad Request", String::new(), refusal.to_owned()),
                None => {
                    stored.insert(path.to_owned(), body);
                    ("201 Created", String::new(), String::new())
                }
            },
            (_, path) => match stored.get(path) {
                Some(bytes) => {
                    let digest = hex::encode(Sha256::digest(bytes));
                    ("200 OK", format!("Docker-Content-Digest: sha256:{digest}\r\n"), String::new())
                }
                None => ("404 Not Found", String::new(), String::new()),
            },
        };
        let length = answer.len();
        let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = client.write_all((head + &answer).as_bytes());
    }
}

fn log_in(home: &Path, port: u16, password: &str) {
    let folder = home.join(".config/helm/registry");
    fs::create_dir_all(&folder).unwrap();
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    fs::write(folder.join("config.json"), format!(r#"{{"auths":{{"127.0.0.1:{port}":{{"auth":"{auth}"}}}}}}"#))
        .unwrap();
}

fn push(home: &Path, port: u16) -> String {
    let said = dr(home, &["-vv", "image", "push", &format!("127.0.0.1:{port}/tools/dr:t"), "--plain-http"]);
    assert!(!said.contains(PASSWORD) && !said.contains(TOKEN), "{said}");
    said
}

#[test]
fn an_image_is_pushed_by_whoever_helm_has_logged_in_and_what_is_there_is_not_sent_again() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    let port = registry.clone().start();
    log_in(home.path(), port, PASSWORD);
    let said = push(home.path(), port);
    assert!(said.contains("is in its registry,") && said.ends_with("--- exit 0"), "{said}");
    let manifest: Value = serde_json::from_slice(&registry.stored.lock().unwrap()["/v2/tools/dr/manifests/t"]).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(registry.stored.lock().unwrap().len(), 3);
    let again = push(home.path(), port);
    let sent = again.split("is in its registry, ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(sent.parse::<u32>().unwrap() < 2000 && again.contains("B sent"), "{again}");
}

#[test]
fn a_registry_that_does_not_know_somebody_or_refuses_is_quoted_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let port = Registry::default().start();
    for (password, who) in [(None, "somebody without a login"), (Some("wrong"), USER)] {
        password.into_iter().for_each(|password| log_in(home.path(), port, password));
        let said = push(home.path(), port);
        assert!(said.contains(&format!("does not let {who} push to tools/dr")), "{said}");
        assert!(said.contains("helm registry login 127.0.0.1") && said.ends_with("--- exit 15"), "{said}");
    }
    let refuses = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"no \u001b[2J"}]}"#;
    let port = Registry { refuses: Some(refuses), ..Registry::default() }.start();
    log_in(home.path(), port, PASSWORD);
    let said = push(home.path(), port);
    assert!(
        said.contains("refuses to take the manifest: status 400, no [2J") && said.ends_with("--- exit 1"),
        "{said}"
    );
    let said = dr(home.path(), &["image", "push", "127.0.0.1:1/tools/dr", "--plain-http"]);
    assert!(said.contains("registry 127.0.0.1:1 cannot be reached") && said.ends_with("--- exit 1"), "{said}");
    let said = dr(home.path(), &["image", "push", "tools/dr"]);
    assert!(said.contains("has to begin with its registry") && said.ends_with("--- exit 64"), "{said}");
}

#[test]
fn a_saved_image_is_the_same_each_time_and_takes_no_files_place() {
    let home = tempfile::tempdir().unwrap();
    let save = |file: &str| dr(home.path(), &["-o", "json", "image", "save", file]);
    let said = save("a.tar");
    let report: Value = serde_json::from_str(said.split("--- stderr").next().unwrap()).unwrap();
    assert_eq!(report["image"], format!("localhost/dr:{}", env!("CARGO_PKG_VERSION")));
    save("b.tar");
    let read = |file: &str| fs::read(home.path().join(file)).unwrap();
    assert!(read("a.tar") == read("b.tar"), "they differ");
    assert_eq!(report["bytes"], read("a.tar").len());
    let own = hex::encode(Sha256::digest(fs::read(env!("CARGO_BIN_EXE_dr")).unwrap()));
    assert_eq!(report["program_sha256"], own);
    let said = save("a.tar");
    assert!(said.contains("not there yet") && said.ends_with("--- exit 1"), "{said}");
    assert_eq!(
        fs::read_dir(home.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().contains("tar"))
            .count(),
        2
    );
}
