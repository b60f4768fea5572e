//! The kinds of secrets that public scanners look for, each by an example made here: all are masked, and what only
//! looks alike is not.

mod chance;
mod fields;
mod names;
mod texts;
mod tokens;

use super::secret::{is_secret, secrets};
use super::{MASK, Secrets};
use crate::yaml::{Path, Tree, Value};

fn shape_of(text: &str) -> bool {
    is_secret(&Path::of(&["plain"]), None, &Value::String(text.into()))
}

#[test]
fn a_token_of_each_kind_is_masked_under_any_name_and_within_a_text() {
    let mut shown = Vec::new();
    for (kind, token) in tokens::tokens() {
        if !shape_of(&token) {
            shown.push(format!("{kind}: {token}"));
        }
        if token.len() == token.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len() {
            let said = Secrets::default().scrub(&format!("error: {token} is refused")).into_owned();
            if said != format!("error: {MASK} is refused") && !kind.starts_with("Azure storage") {
                shown.push(format!("{kind}: {said}"));
            }
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn a_token_of_a_rarer_kind_is_masked_under_any_name_and_within_every_text() {
    let mut shown = Vec::new();
    for (kind, token) in tokens::rarer_tokens() {
        for (before, behind) in [("", ""), ("error: ", " is refused"), ("x=\"", "\"\n"), ("- ", ""), ("(", ")")] {
            let text = format!("{before}{token}{behind}");
            let said = Secrets::default().scrub(&text).into_owned();
            if said != format!("{before}{MASK}{behind}") || !shape_of(&text) {
                shown.push(format!("{kind}: {text}: {said}"));
            }
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn a_text_that_holds_a_secret_is_masked_and_its_secret_known_elsewhere() {
    let mut shown = Vec::new();
    for marked in texts::texts() {
        let text = marked.replace(['«', '»'], "");
        let (_, secret) = marked.split_once('«').unwrap();
        let (secret, _) = secret.split_once('»').unwrap();
        let secrets = Secrets::default();
        secrets.register(text.as_bytes());
        let said = secrets.scrub(&format!("failed at [{secret}]")).into_owned();
        if !shape_of(&text) || said.contains(&secret[secret.len() / 2..]) {
            shown.push(format!("{text}: {said}"));
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn a_setting_of_a_program_is_masked_alone_and_among_other_lines() {
    let mut shown = Vec::new();
    for marked in texts::settings() {
        let text = marked.replace(['«', '»'], "");
        let (_, secret) = marked.split_once('«').unwrap();
        let (secret, _) = secret.split_once('»').unwrap();
        for text in [text.clone(), format!("first line\n{text}\nlast\n")] {
            let secrets = Secrets::default();
            secrets.register_tree(&Tree::parse(serde_json::json!({"a": &text}).to_string().as_bytes()).unwrap());
            let said = secrets.scrub(&format!("failed at [{secret}]")).into_owned();
            if !shape_of(&text) || said.contains(secret) {
                shown.push(format!("{text}: {said}"));
            }
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn a_hash_of_a_password_is_masked_under_any_name_and_within_a_file() {
    let is_shown = |hash: &str| !shape_of(hash) || !shape_of(&format!("# users\n{hash}\n"));
    let shown: Vec<_> = tokens::hashes().into_iter().filter(|(_, hash)| is_shown(hash)).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn secrets_in_xml_are_found() {
    for (text, secret) in [
        ("<server><id>a</id><password>hunter22</password></server>", "hunter22"),
        ("<add key=\"ClearTextPassword\" value=\"hunter22\" />", "hunter22"),
    ] {
        assert!(shape_of(text), "{text}");
        let secrets = Secrets::default();
        secrets.register(text.as_bytes());
        assert!(!secrets.scrub(&format!("failed at [{secret}]")).contains(secret), "{text}");
    }
    for harmless in ["<server><id>a</id><port>80</port></server>", "<add name=\"Port\" value=\"80\" />", "a < b </ c"] {
        assert!(!shape_of(harmless), "{harmless}");
    }
}

#[test]
fn what_points_at_labels_and_keys_is_shown() {
    let yaml = "affinity:\n  podAntiAffinity:\n    preferred:\n    - weight: 1\n      podAffinityTerm:\n        topologyKey: kubernetes.io/hostname\n        labelSelector:\n          matchExpressions:\n          - {key: app.kubernetes.io/name, operator: In, values: [a]}\ntolerations:\n- {key: dedicated, effect: NoSchedule}\n- {key: dedicated, operator: Equal, value: gpu, effect: NoSchedule}\nauth: {existingSecret: a, existingSecretKey: b, passwordKey: password}\nnum_tokens: 512\n";
    let tree = Tree::parse(yaml.as_bytes()).unwrap();
    let found: Vec<String> = secrets(&tree).iter().map(|(path, ..)| path.to_string()).collect();
    assert_eq!(found, Vec::<String>::new());
    for harmless in [
        "https://opschain.example.com/api/webhook",
        "https://hooks.slack.com/",
        "https://api.telegram.org",
        "https://github.com/acme/webhooks/tree/main",
        "https://user@host/path",
        "ssh://git@github.com/a/b.git",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "SK",
        "key-value-store-of-the-service",
        "sk-learn",
        "hf_transfer",
        "quay.io/acme/app@sha256:abc",
        "task-management-service-with-long-name",
        "12:30:45",
        "10.0.0.1:80:x",
        "kubectl -u root",
        "a.b.c:80",
        "SCRAM-SHA-256",
        "SCRAM-SHA-512",
        "s.example.opschain.internal",
        "s.abcdefghijklmnopqrstuvwx",
        "values.opschainsettings",
        "203015.1234567890123456",
        "st.petersburg.example.com",
        "oauth:authorization_code",
        "v1.0-beta",
        "api_gateway_2_of_eu_central_1_for_customers",
        "pk.cluster-01.region-2.internal.example.com",
        "live_update_of_2_clusters_and_more_in_2026_10",
        "KEYCLOAK_ADMINISTRATION_CONSOLE_V2_URL_OF_THE_SECOND_REALM_IN_USE",
        "registry.example.com/opschain/api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "9f86d081884c7d659a2feaa0c55ad015.gr7.eu-central-1.eks.amazonaws.com",
        "sk_learn_2_of_the_many_kinds_of_names_2",
        "Cookie: ",
        "a|b|c 1|2",
    ] {
        assert!(!shape_of(harmless), "{harmless}");
    }
}
