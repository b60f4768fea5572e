//! Mail of `[[notify]]`, to a real mail server (aiosmtpd, see `mail.py`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::bundles::{fixture, home};
use crate::dr;

const PASSWORD: &str = "perspicacious-wombat";

/// A server, ended with it.
struct MailServer {
    child: Child,
    says: BufReader<ChildStdout>,
    port: u16,
}

impl MailServer {
    /// Starts one of this mode, whose certificate the authority `ca.pem` in `home` has signed.
    fn start(home: &Path, mode: &str) -> Self {
        if !home.join("ca.pem").exists() {
            certificates(home);
        }
        let script = fixture("../tests/cli/mail.py");
        // The system's own, which has what Debian packages.
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args([mode, PASSWORD, "cert.pem", "cert.key"])
            .current_dir(home)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        let port = line.trim().parse();
        let port = port.unwrap_or_else(|_| panic!("there is no aiosmtpd: lab/packages installs it"));
        Self { child, says, port }
    }

    fn mail(&mut self) -> Value {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// All that came, once it is stopped.
    fn stopped(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (&mut self.says).lines().map(Result::unwrap).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It may be stopped already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn certificates(home: &Path) {
    let openssl = |line: &str| {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(home).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"));
    openssl(&format!("req {key} -keyout cert.key -out cert.csr -subj /CN=mail"));
    fs::write(home.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl("x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names");
}

/// Has the settings tell people by the server at this port, with these lines more.
fn told_by_mail(home: &Path, port: u16, lines: &str) {
    let password = home.join("password");
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = home.join(".config/dr/dr.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let before = text.split("[[notify]]").next().unwrap();
    let table = format!(
        "[[notify]]\nname = \"team\"\nkind = \"mail\"\nserver = \"127.0.0.1:{port}\"\nfrom = \"dr <dr@example.org>\"\n{lines}\n"
    );
    fs::write(&settings, format!("{before}{table}")).unwrap();
}

const ONE: &str = "to = [\"ops@example.org\"]\n";
const LOGIN: &str = "user = \"dr\"\npassword_file = \"~/password\"\n";
const CA: &str = "ca_file = \"~/ca.pem\"\n";

fn test(home: &Path) -> String {
    let said = dr(home, &["-vv", "notify", "test"]);
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

#[test]
fn a_failure_reaches_people_with_what_to_do_over_starttls_and_no_password_is_seen() {
    let (home, _store) = home();
    let mut server = MailServer::start(home.path(), "starttls");
    let people = "to = [\"Ops Team <ops@example.org>\", \"night@example.org\"]\n";
    told_by_mail(home.path(), server.port, &format!("{people}{LOGIN}{CA}"));
    // Without a rule nothing is pruned.
    let said = dr(home.path(), &["-vv", "bundle", "prune"]);
    assert!(said.ends_with("--- exit 64") && !said.contains(PASSWORD), "{said}");
    let mut reached = Vec::new();
    for _ in 0..2 {
        let mail = server.mail();
        assert_eq!(
            (&mail["encrypted"], &mail["user"], &mail["from"]),
            (&true.into(), &"dr".into(), &"dr@example.org".into())
        );
        reached.push(mail["to"][0].as_str().unwrap().to_owned());
        let text = mail["text"].as_str().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for line in [
            "From: dr <dr@example.org>",
            "Subject: opschain/opschain: bundle prune failed",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
            "Message-ID: <",
            "Date: ",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
        assert!(head.contains("ops@example.org") && head.contains("night@example.org"), "{head}");
        assert!(body.starts_with("bundle prune failed: no rule says") && body.contains("next: Give some"), "{body}");
    }
    reached.sort();
    assert_eq!(reached, ["night@example.org", "ops@example.org"]);
}

#[test]
fn a_server_that_speaks_tls_from_the_first_byte_and_one_on_this_host_are_served() {
    let (home, _store) = home();
    let mut server = MailServer::start(home.path(), "implicit");
    told_by_mail(home.path(), server.port, &format!("tls = \"implicit\"\n{ONE}{LOGIN}{CA}"));
    let said = test(home.path());
    assert!(said.contains("team was told") && said.ends_with("--- exit 0"), "{said}");
    let mail = server.mail();
    assert!(mail["encrypted"] == true && mail["text"].as_str().unwrap().contains("this is a test"), "{mail}");
    let mut local = MailServer::start(home.path(), "none");
    told_by_mail(home.path(), local.port, &format!("tls = \"none\"\n{ONE}"));
    assert!(test(home.path()).ends_with("--- exit 0"));
    let mail = local.mail();
    assert_eq!((&mail["encrypted"], &mail["user"]), (&false.into(), &Value::Null));
}

#[test]
fn nothing_is_said_to_a_server_that_is_not_trusted_or_does_not_encrypt() {
    let (home, _store) = home();
    let server = MailServer::start(home.path(), "starttls");
    told_by_mail(home.path(), server.port, &format!("{ONE}{LOGIN}"));
    let said = test(home.path());
    assert!(
        said.contains("team was not told") && said.contains("certificate") && said.ends_with("--- exit 1"),
        "{said}"
    );
    fs::write(home.path().join("empty.pem"), "").unwrap();
    told_by_mail(home.path(), server.port, &format!("{ONE}{LOGIN}ca_file = \"~/empty.pem\"\n"));
    assert!(test(home.path()).contains("holds no certificate in PEM"));
    assert!(server.stopped().is_empty());
    let plain = MailServer::start(home.path(), "none");
    told_by_mail(home.path(), plain.port, &format!("{ONE}{LOGIN}{CA}"));
    let said = test(home.path());
    assert!(said.contains("team was not told") && said.ends_with("--- exit 1"), "{said}");
    assert!(plain.stopped().is_empty());
}

#[test]
fn a_wrong_password_and_an_address_that_is_refused_are_said_and_keep_it_from_nobody_else() {
    let (home, _store) = home();
    let mut server = MailServer::start(home.path(), "starttls");
    let people = "to = [\"nobody@example.org\", \"slow@example.org\", \"ops@example.org\"]\n";
    told_by_mail(home.path(), server.port, &format!("{people}{LOGIN}{CA}"));
    let said = test(home.path());
    assert!(said.contains("slow@example.org: no answer within 10 s"), "{said}");
    assert!(said.contains("nobody@example.org: ") && said.contains("no such user here"), "{said}");
    assert!(!said.contains("ops@example.org: ") && said.ends_with("--- exit 1"), "{said}");
    let mail = server.mail();
    assert_eq!(mail["to"], serde_json::json!(["ops@example.org"]));
    // By the host's name, whoever `DR_WHO` says is at work.
    assert_eq!(mail["hello"], rustix::system::uname().nodename().to_str().unwrap());
    fs::write(home.path().join("password"), "another-wombat\n").unwrap();
    let said = dr(home.path(), &["-vv", "notify", "test"]);
    assert!(said.contains("535") && !said.contains("another-wombat") && said.ends_with("--- exit 1"), "{said}");
    fs::set_permissions(home.path().join("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = test(home.path());
    assert!(said.contains("password file") && said.contains("can be read by others"), "{said}");
    assert!(server.stopped().is_empty());
}
