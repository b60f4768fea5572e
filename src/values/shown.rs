//! Each place in which a secret may stand, and each output that shows values: the same masks in all of them.

use super::diff::{diff, unified};
use super::lint::{Context, KeyFacts, lint_with};
use super::upgrade::{ProposalStyle, Three, propose};
use super::{FingerprintKey, Scrubber, Secrets, Tree};

/// Files with a secret in the place of `SECRET`, whatever it looks like.
const FILES: &[&str] = &[
    // In a text of one line.
    "a: \"ansible_ssh_pass: SECRET\"",
    "a: \"db_pass: SECRET\"",
    "a: \"bind_pw: SECRET\"",
    "a: \"snmp_community: SECRET\"",
    "a: \"hmac: SECRET\"",
    "a: \"user: app, pw: SECRET\"",
    "a: \"db: {admin_pw: SECRET}\"",
    "a: \"api_key: SECRET # x\"",
    "a: \"host1 ansible_become_pass: SECRET\"",
    "a: 'password: SECRET'",
    "a: [\"bind_pw: SECRET\"]",
    "a: {b: [\"bind_pw: SECRET\"]}",
    "a: |\n  one\n  bind_pw: SECRET\n",
    "a: \"one\\nbind_pw: SECRET\\n\"",
    "a: \"define(\\\"DB_PASSWORD\\\", \\\"SECRET\\\");\"",
    "a: \"say \\\"db_pass: SECRET\\\"\"",
    "a: \"{\\\"b\\\": [\\\"bind_pw: SECRET\\\"]}\"",
    "a: 'SELECT pgp_sym_encrypt(''x'', password => ''SECRET'')'",
    "a: |\n  one\n  c['db_password'] = 'SECRET'\n",
    "a: \"c['db_password'] = 'SECRET'\"",
    "a: |\n  proxy_set_header X-Api-Key \"SECRET\";\n  two\n",
    "a: 'SetEnv DB_PASSWORD SECRET'",
    "a: '<property><name>fs.s3a.secret.key</name><value>SECRET</value></property>'",
    "a: |\n  <name>fs.s3a.secret.key</name>\n  <value>SECRET</value>\n",
    "a: '{default_pass, <<\"SECRET\">>}'",
    "a: |\n  one\n  {\"name\":\"DB_PASSWORD\",\"value\":\"SECRET\"}\n  three\n",
    "a: |\n  one\n  user_super=\"SECRET\";\n",
    "routing_key: SECRET",
    "license_key: SECRET",
    "commit: cafe\ntoken: SECRET",
    // Where Helm does not keep it.
    "env:\n  PGPASSWORD: \"x # SECRET\"\n  PGPASSWORD: other77other",
    "env:\n  PGPASSWORD: 'x # SECRET'\n  PGPASSWORD: other77other",
    "env:\n  PGPASSWORD: |\n    # SECRET\n  PGPASSWORD: other77other",
    "env:\n  PGPASSWORD: >-\n    x # SECRET\n  PGPASSWORD: other77other",
    "env:\n  PGPASSWORD: SECRET\nenv:\n  TZ: UTC",
    "env: {PGPASSWORD: SECRET}\nenv: 5",
    "x: &x {PGPASSWORD: other77other}\nenv:\n  PGPASSWORD: \"x # SECRET\"\n  <<: *x",
    "env:\n  <<: {PGPASSWORD: \"x # SECRET\"}\n  PGPASSWORD: other77other",
    "env:\n  <<: [{PGPASSWORD: SECRET}, {PGPASSWORD: \"x # SECRET\"}]\n  TZ: UTC",
    "env:\n- {name: PGPASSWORD, value: SECRET, value: other77other}",
    "env: {PGPASSWORD: other77other, PGPASSWORD: SECRET, PGPASSWORD: other77other}",
    "{\"env\": {\"PGPASSWORD\": \"SECRET\"}, \"env\": {}}",
    // What it takes for something else, in the line of the key, below it, as an item, by an alias.
    "env:\n  PGPASSWORD: !SECRET",
    "env:\n  PGPASSWORD:\n    !SECRET\n  B: c",
    "env:\n  PGPASSWORD:\n    &SECRET\n  B: c",
    "env:\n  PGPASSWORD:\n    #SECRET\n  B: c",
    "env:\n  PGPASSWORD: xy #SECRET",
    "env:\n  PGPASSWORD:\n    xy #SECRET",
    "env:\n  ? PGPASSWORD\n  : !SECRET\n  B: c",
    "env:\n  ? PGPASSWORD\n  : xy #SECRET\n  B: c",
    "passwords:\n- !SECRET\n",
    "passwords:\n- xy #SECRET\n- b",
    "p: &p xy #SECRET\nenv:\n  PGPASSWORD: *p",
    "p: &p !SECRET\nenv:\n  PGPASSWORD: *p",
    "env: {PGPASSWORD: other77other,SECRET}",
    "env: {PGPASSWORD: other77other,bc,SECRET, B: c}",
    "env: {PGPASSWORD:SECRET}",
    "env:\n  PGPASSWORD:SECRET:",
    "env:\n  PGPASSWORD=SECRET:",
    // In a comment beside one.
    "env:\n  PGPASSWORD: other77other # was SECRET",
    "env: {PGPASSWORD: other77other} # was SECRET",
    "# PGPASSWORD: SECRET\na: b",
];

/// The same, of a secret that looks like one.
const RANDOM: &[&str] = &[
    "a: \"password is SECRET\"",
    "a: [\"password is SECRET\"]",
    "a: \"SELECT pgp_sym_encrypt('x', 'SECRET')\"",
    "a: \"variable \\\"db_password\\\" { default = \\\"SECRET\\\" }\"",
    "a: \"secret \\\"SECRET\\\";\"",
    "a: 'secret \"SECRET\";'",
    "env:\n  PGPASSWORD SECRET",
    "env: {TZ: UTC} # old password was SECRET",
    "unsealKey:\n    SECRET:",
    "users: [{name: SECRET, password: SECRET}]",
    "a: 1\n...\nenv:\n  PGPASSWORD: \"x # SECRET\"",
    "a: 1\n...\nenv:\n  PGPASSWORD: \"x # SECRET\"\n...\n]: PGPASSWORD: \"x # SECRET\"",
    "a: 1\n...\n]: {\nPGPASSWORD: \"x # SECRET\"",
    "env: {PGPASSWORD: \"x # SECRET\"}\n---\nenv: {PGPASSWORD: other77other}",
];

/// What each output says of a file.
fn outputs(yaml: &str) -> Vec<(&'static str, String)> {
    let key = FingerprintKey::from_bytes(&[7; 32]);
    let (mine, none) = (Tree::parse(yaml.as_bytes()).unwrap(), Tree::parse(b"z: 1\n").unwrap());
    let mut scrubber = Scrubber::new(key);
    scrubber.register_tree(&mine);
    let changes = serde_json::to_string(&[diff(&none, &mine, &scrubber), diff(&mine, &none, &scrubber)]).unwrap();
    let raw = unified(&none, &mine, &scrubber, ("a", "b"), false);
    let mut all = vec![("diff", changes), ("diff --raw", raw), ("textconv", Scrubber::new(None).scrub_source(&mine))];
    let context = Context { defaults: Some(&none), version: None, facts: &KeyFacts::NONE };
    all.push(("lint", serde_json::to_string(&lint_with(&mine, yaml.as_bytes(), &context)).unwrap()));
    for (name, style) in [("upgrade", ProposalStyle::Overrides), ("upgrade --style full", ProposalStyle::Full)] {
        let sides = [(&none, &none, &mine), (&mine, &none, &none), (&none, &mine, &none), (&mine, &none, &mine)];
        for (old, new, yours) in sides {
            let three = Three { old, new, yours };
            if let Ok(made) = propose(three, Some(style), &KeyFacts::NONE, &Scrubber::new(None)) {
                let items = serde_json::to_string(&(made.items, made.deprecated, made.comments)).unwrap();
                all.push((name, items));
            }
        }
    }
    all
}

#[test]
fn every_output_masks_what_any_masks() {
    let mut shown = Vec::new();
    let random = RANDOM.iter().map(|file| (*file, "q8Lw2zKdVx91PbTn4Rs7"));
    let plain = FILES.iter().flat_map(|file| ["hunter22", "q8Lw2zKdVx91PbTn4Rs7"].map(|secret| (*file, secret)));
    for (file, secret) in plain.chain(random) {
        let yaml = format!("{}\n", file.replace("SECRET", secret));
        // What goes out goes through the redactor of the process, which knows the files.
        let process = Secrets::default();
        process.register_tree(&Tree::parse(yaml.as_bytes()).unwrap());
        for (name, text) in outputs(&yaml) {
            if process.scrub(&text).contains(secret) {
                shown.push(format!("{name} of\n{yaml}{text}\n"));
            }
        }
    }
    assert!(shown.is_empty(), "{} are shown:\n{}", shown.len(), shown.join("\n"));
}

/// Files with what is no secret where `SHOWN` stands, and what that is.
const PLAIN: &[(&str, &str)] = &[
    ("commit: SHOWN", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("image: {repository: a, tag: SHOWN}", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("image: {tag: \"SHOWN\"}", "main-9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("env: [{name: GIT_COMMIT, value: SHOWN}]", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("env: {GIT_COMMIT: SHOWN}", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("targetRevision: 'SHOWN'", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("podAnnotations: {checksum/config: SHOWN}", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("md5: SHOWN", "d41d8cd98f00b204e9800998ecf8427e"),
    ("args: [\"--revision=SHOWN\"]", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("a: |\n  one\n  sha256: SHOWN\n", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("tlsKey: SHOWN", "correct-horse"),
    ("admin: {userKey: SHOWN, passwordKey: admin-password}", "admin-user"),
    ("externalSecret: {key: SHOWN}", "prod/database"),
    ("externalSecret:\n  key: SHOWN", "prod/database"),
    ("tolerations:\n- key: SHOWN\n  operator: Exists", "dedicated"),
    ("nodeSelectorKey: SHOWN", "disktype"),
    ("csrfCookie: SHOWN", "csrftoken"),
    ("sshHostKeyAlgorithms: x\na: SHOWN", "ssh-rsa AAAAC3"),
    ("sshHostKeyAlgorithms: SHOWN", "ssh-rsa"),
    ("auth: {method: x}\npgHba: {auth: SHOWN}", "scram-sha-256"),
    ("containerPorts: {webhook: SHOWN}", "7000"),
    ("ports: {token: SHOWN}", "\"8080\""),
];

#[test]
fn every_output_shows_what_is_no_secret() {
    let mut masked = Vec::new();
    for (file, value) in PLAIN {
        let yaml = format!("{}\n", file.replace("SHOWN", value));
        let process = Secrets::default();
        process.register_tree(&Tree::parse(yaml.as_bytes()).unwrap());
        for (name, text) in outputs(&yaml) {
            let text = process.scrub(&text).into_owned();
            if text.contains('•')
                || (["diff", "diff --raw", "textconv"].contains(&name) && !text.contains(value.trim_matches('"')))
            {
                masked.push(format!("{name} of\n{yaml}{text}\n"));
            }
        }
    }
    assert!(masked.is_empty(), "{} are masked:\n{}", masked.len(), masked.join("\n"));
}

#[test]
fn nothing_of_a_text_is_a_comment() {
    for yaml in [
        "a: \"one # two\"\na: 3\n",
        "a: |\n  # one\n  # two\na: 3\n",
        "x: &x {a: 1}\nb:\n  a: 'one # two'\n  <<: *x\n",
        "a: 1\n...\nb: 'one # two'\n",
        "a: 1\n...\n]: 'one # two'\n",
        "b: 'one # two'\n---\nb: 2\n",
        "b:\n  <<: {a: 'one # two'}\n  a: 1\n",
    ] {
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        assert_eq!(super::diff::comments(&tree), Vec::<&str>::new(), "{yaml}");
        let with = format!("# head\n{yaml}");
        assert_eq!(super::diff::comments(&Tree::parse(with.as_bytes()).unwrap()), ["# head"], "{yaml}");
    }
}

#[test]
fn a_listing_keeps_what_is_no_secret() {
    for (yaml, shown) in [
        ("a: \"say \\\"db_pass: zebra9\\\" to b\"\nb: 1 # one\n", "a: \"say \\\"db_pass: M"),
        ("a: 'it''s bind_pw: zebra9'\nb: 1\n", "a: 'it''s bind_pw: M'\nb: 1\n"),
        ("env:\n  PGPASSWORD: zebra1 # first\n  PGPASSWORD: zebra2\n", "env:\n  PGPASSWORD: M # M\n  PGPASSWORD: M\n"),
        ("a: 1\n...\n]: b\n\n  c\n", "a: 1\n...\nM\n\n  M\n"),
        ("env:\n  PGPASSWORD:\n    !zebra1\n  B: c\n", "env:\n  PGPASSWORD:\n    M\n  B: c\n"),
        ("env:\n  PGPASSWORD:\n    #zebra1\n  B: c\n", "env:\n  PGPASSWORD:\n    M\n  B: c\n"),
    ] {
        let text = Scrubber::new(None).scrub_source(&Tree::parse(yaml.as_bytes()).unwrap());
        assert!(text.starts_with(&shown.replace('M', crate::redact::MASK)), "{yaml}{text}");
    }
}
