//! Users and groups of the bundled LDAP server: how a test makes some, and looks at them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::host::{Host, command, wait};

/// The password of the user, which nothing may show.
const PASSWORD: &str = "kUserPasswordOfTheDirectory7";

/// What every server maintains itself, and what only this one knows: when, and by which change.
const OWN: [&str; 6] =
    ["entryCSN:", "createTimestamp:", "modifyTimestamp:", "creatorsName:", "modifiersName:", "structuralObjectClass:"];

/// Makes a user as the product does, and a group that was there before its member, with every shape of a line: text that is
/// folded, bytes, and a name that is no plain text.
pub fn fill(host: &Host) {
    wait(Duration::from_secs(120), "the LDAP server to take a user", || {
        let task = format!("rake release:create_user[ada,{PASSWORD},ada@example.org]");
        host.kubectl(&["exec", "deploy/opschain-api", "--", "/usr/bin/container_start.sh", &task]).code == 0
    });
    let long = "goes on and on ".repeat(12);
    let ldif = format!(
        "dn: cn=admins,ou=groups,dc=opschain,dc=io\nobjectClass: groupOfNames\ncn: admins\nmember: uid=ada,ou=users,dc=opschain,dc=io\ndescription: {long}.\n\n\
         dn: cn=J\u{f6}rg,ou=groups,dc=opschain,dc=io\nobjectClass: groupOfNames\ncn: J\u{f6}rg\nmember: uid=ada,ou=users,dc=opschain,dc=io\n\n\
         dn: ou=groups,dc=opschain,dc=io\nchangetype: modify\nadd: description\ndescription: by hand\n"
    );
    let add = "ldapadd -x -H ldap://127.0.0.1 -D cn=admin,dc=opschain,dc=io -w \"$OPSCHAIN_LDAP_PASSWORD\"";
    let exec = ["exec", "-i", "-n", &host.namespace, "deploy/opschain-ldap", "--", "sh", "-c", add];
    let ldap_add = [&["kubectl"][..], &exec].concat();
    let said = command("printf").args(["%s", &ldif]).pipe_to(&ldap_add);
    assert!(String::from_utf8_lossy(&said).contains("adding new entry"), "{}", String::from_utf8_lossy(&said));
}

/// The lines of all entries, without what a server maintains itself: the identities of those that `fill` has made stay.
pub fn entries(host: &Host) -> BTreeSet<String> {
    let said = host.kubectl(&["exec", "deploy/opschain-ldap", "--", "slapcat", "-n", "1", "-o", "ldif-wrap=no"]).ok();
    let mut lines = BTreeSet::new();
    for entry in said.split("\n\n").filter(|entry| !entry.trim().is_empty()) {
        let name = entry.lines().next().unwrap();
        let made_here = entry.contains("cn: admins") || entry.contains("uid: ada");
        let kept =
            |line: &&str| !OWN.iter().any(|own| line.starts_with(own)) && (made_here || !line.starts_with("entryUUID"));
        lines.extend(entry.lines().filter(kept).map(|line| format!("{name} | {line}")));
    }
    lines
}

/// Asserts that the server has all of it, and that the API has asked it since.
pub fn assert_back(host: &Host, before: &BTreeSet<String>) {
    assert!(before.len() > 15, "{before:?}");
    assert_eq!(&entries(host), before);
    wait(Duration::from_secs(60), "the API to have the groups of the directory", || {
        host.sql("SELECT string_agg(name, ',' ORDER BY name COLLATE \"C\") FROM directory_groups") == "J\u{f6}rg,admins"
    });
    // Neither the hash as it is nor as a line has it lies anywhere on the host: bundles are sealed.
    let line = before.iter().find_map(|line| line.split("userPassword:: ").nth(1)).unwrap();
    let hash = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, line).unwrap();
    let hash = String::from_utf8(hash).unwrap();
    assert!(hash.starts_with("{SSHA}"), "{line}");
    let seen = command("grep").args(["-rlF", "-e", line, "-e", &hash]).arg(host.home.path()).run();
    assert_eq!((seen.code, seen.stdout.as_str()), (1, ""), "a hash of a password is in the open");
    let users = host.kubectl(&["exec", "deploy/opschain-api", "--", "/standin", "users"]).ok();
    assert_eq!(users.trim(), "ada");
}

/// What the bundle says of them: how many it has, and whether its scope names them.
pub fn said_of(host: &Host, bundle: &Path) -> (Option<u64>, Option<String>) {
    let shown = host.dr(["--output", "json", "bundle", "show", bundle.to_str().unwrap()]).ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let scope = shown["scope"].as_array().unwrap();
    let left = scope.iter().find(|item| item["what"] == "users of the bundled LDAP server");
    let members = shown["members"].as_array().unwrap();
    let has = |name: &str| members.iter().any(|member| member["name"] == name);
    let count = shown["counts"]["directory_entries"].as_u64();
    assert_eq!(has("config/ldap-data.ldif.age"), count.is_some(), "{shown}");
    assert_eq!(has("config/ldap-config.ldif.age"), count.is_some(), "{shown}");
    (count, left.map(|item| item["why"].as_str().unwrap().to_owned()))
}

/// Gives the server so many pods, and waits until it has them.
pub fn scale(host: &Host, replicas: &str) {
    host.kubectl(&["scale", "deployment/opschain-ldap", &format!("--replicas={replicas}")]).ok();
    wait(Duration::from_secs(120), "the LDAP server's pods", || {
        let path = "jsonpath={.status.replicas}/{.status.readyReplicas}";
        let seen = host.kubectl(&["get", "deployment/opschain-ldap", "-o", path]).ok();
        seen.trim() == if replicas == "0" { "/".to_owned() } else { format!("{replicas}/{replicas}") }
    });
}
