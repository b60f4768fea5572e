//! Who is told what came of a verb: what arrives at a server, and what no output shows.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

use hmac::{Hmac, Mac};
use serde_json::Value;

use crate::bundles::{home, publish};
use crate::dr;

/// What nobody may see: it is all that guards the service.
const TOKEN: &str = "perspicacious-quagga";
const KEY: &str = "antediluvian-marmoset";

/// A request as it arrived: its target, the signature, the body.
struct Arrived {
    target: String,
    signature: Option<String>,
    body: Vec<u8>,
}

/// The lines of a request before its body.
pub fn head_of(from: &mut impl BufRead) -> Vec<String> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            return head;
        }
        head.push(line.trim_end().to_owned());
    }
}

/// A server that answers so to all, and passes on what arrived.
fn server(status: &'static str) -> (u16, mpsc::Receiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, (tell, told)) = (listener.local_addr().unwrap().port(), mpsc::channel());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut from = BufReader::new(client.try_clone().unwrap());
            let head = head_of(&mut from);
            let header = |name: &str| head.iter().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            let length = header("content-length:").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            from.read_exact(&mut body).unwrap();
            let arrived = Arrived { target: head[0].clone(), signature: header("x-dr-signature:"), body };
            client
                .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
                .unwrap();
            if tell.send(arrived).is_err() {
                return;
            }
        }
    });
    (port, told)
}

fn private(path: &Path, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Has the settings tell a ping and a webhook of prunes, at this port.
fn told_of_prunes(home: &Path, port: u16) {
    private(&home.join("ping"), &format!("http://127.0.0.1:{port}/ping/{TOKEN}"));
    private(&home.join("hook"), &format!("http://127.0.0.1:{port}/hook?token={TOKEN}"));
    private(&home.join("key"), KEY);
    let settings = home.join(".config/dr/dr.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let tables = "[[notify]]\nname = \"nightly\"\nkind = \"ping\"\nurl_file = \"~/ping\"\nverbs = [\"prune\"]\n\
        [[notify]]\nname = \"chat\"\nkind = \"webhook\"\nurl_file = \"~/hook\"\nsecret_file = \"~/key\"\n";
    fs::write(settings, text + tables).unwrap();
}

fn is_masked(said: &str) {
    assert!(!said.contains(TOKEN) && !said.contains(KEY), "{said}");
}

#[test]
fn a_failure_is_told_with_what_to_do_and_signed_and_a_success_to_the_ping_only() {
    let (home, store) = home();
    let (port, told) = server("200 OK");
    told_of_prunes(home.path(), port);
    // Without a rule nothing is pruned.
    let said = dr(home.path(), &["-vv", "bundle", "prune"]);
    assert!(said.ends_with("--- exit 64"), "{said}");
    is_masked(&said);
    let mut arrived = [told.recv().unwrap(), told.recv().unwrap()];
    arrived.sort_by(|a, b| b.target.cmp(&a.target));
    let [ping, hook] = &arrived;
    assert_eq!(ping.target, format!("POST /ping/{TOKEN}/fail HTTP/1.1"));
    let text = String::from_utf8_lossy(&ping.body);
    assert!(text.starts_with("bundle prune failed: no rule says") && text.contains("next: Give some"), "{text}");
    assert_eq!(hook.target, format!("POST /hook?token={TOKEN} HTTP/1.1"));
    let mac = Hmac::<sha2::Sha256>::new_from_slice(KEY.as_bytes()).unwrap().chain_update(&hook.body).finalize();
    assert_eq!(hook.signature.as_deref(), Some(&*format!("sha256={}", hex::encode(mac.into_bytes()))));
    let body: Value = serde_json::from_slice(&hook.body).unwrap();
    assert_eq!((&body["event"], &body["exit_code"], &body["kind"]), (&"failure".into(), &64.into(), &"usage".into()));
    assert!(body["what_to_do"][0].as_str().unwrap().starts_with("Give some"), "{body}");

    publish(&store);
    let said = dr(home.path(), &["--yes", "bundle", "prune", "--keep-last", "9"]);
    assert_eq!(told.recv().unwrap().target, format!("POST /ping/{TOKEN} HTTP/1.1"), "{said}");
    let said = dr(home.path(), &["bundle", "prune", "--keep-last", "9", "--dry-run"]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    assert!(told.try_recv().is_err(), "a dry run is nobody's business");
}

#[test]
fn what_is_not_sent_is_a_warning_changes_no_exit_code_and_shows_no_address() {
    let (home, store) = home();
    publish(&store);
    let (port, told) = server("404 Not Found");
    told_of_prunes(home.path(), port);
    let said = dr(home.path(), &["-vv", "--yes", "bundle", "prune", "--keep-last", "9"]);
    assert!(
        said.ends_with("--- exit 0") && said.contains("nightly was not told of it: the server answers with status 404"),
        "{said}"
    );
    is_masked(&said);
    drop(told);
    // Nobody is there any more, a file is open to others, a file holds no address.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    private(&home.path().join("ping"), &format!("http://127.0.0.1:{free}/ping/{TOKEN}"));
    fs::set_permissions(home.path().join("hook"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = dr(home.path(), &["-vv", "notify", "test"]);
    assert!(said.contains("nightly was not told") && said.contains("chat was not told: address file"), "{said}");
    assert!(said.ends_with("--- exit 1"), "{said}");
    is_masked(&said);
    private(&home.path().join("hook"), TOKEN);
    let said = dr(home.path(), &["notify", "test", "chat"]);
    assert!(said.contains("is no https://HOST") && !said.contains("nightly"), "{said}");
    is_masked(&said);
    let said = dr(home.path(), &["notify", "test", "other"]);
    assert!(said.contains("There are: nightly, chat.") && said.ends_with("--- exit 14"), "{said}");
}

#[test]
fn a_test_is_sent_to_all_and_says_that_it_is_one() {
    let (home, _store) = home();
    let (port, told) = server("204 No Content");
    told_of_prunes(home.path(), port);
    let said = dr(home.path(), &["notify", "test"]);
    assert!(said.contains("nightly was told") && said.ends_with("--- exit 0"), "{said}");
    for _ in 0..2 {
        let body = told.recv().unwrap().body;
        assert!(String::from_utf8_lossy(&body).contains("this is a test"));
    }
}

#[test]
fn a_ping_may_be_a_get_and_one_who_would_never_be_told_is_refused() {
    let (home, _store) = home();
    let (port, told) = server("200 OK");
    told_of_prunes(home.path(), port);
    let settings = home.path().join(".config/dr/dr.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let with = |more: &str| {
        fs::write(&settings, text.replace("name = \"nightly\"", &format!("name = \"nightly\"\n{more}"))).unwrap()
    };
    with("method = \"get\"");
    let said = dr(home.path(), &["notify", "test", "nightly"]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    let arrived = told.recv().unwrap();
    assert_eq!((arrived.target, arrived.body.len()), (format!("GET /ping/{TOKEN} HTTP/1.1"), 0));
    for (more, why) in [("on = []", "notify: nightly: `on` is empty"), ("server = \"m\"", "`server` is of no ping")] {
        with(more);
        let said = dr(home.path(), &["notify", "test"]);
        assert!(said.contains(why) && said.ends_with("--- exit 10"), "{said}");
    }
}
