//! Whatever others have written into a vault or a bundle, nothing of it steers the terminal of who looks at it: in no
//! output of the real program stands a character that is not safe, but for line ends and tabs. Piped, so without colours.

use std::fs;

use dr::internals::crypt::Signer;
use dr::internals::ops::init::commit_signer;
use dr::internals::text::is_safe;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use serde_json::{Map, Value};

use crate::bundles;
use crate::prune::signed_by;
use crate::records::Host;

/// What the program shows of a text beside what it spells out.
const MARK: &str = "zqx";
/// The fields of a vault's files whose texts have a grammar: with another one the file is refused, and shown no further.
const WITH_GRAMMAR: [&str; 18] = [
    "id",
    "namespace",
    "release",
    "at",
    "how",
    "status",
    "file",
    "sha256",
    "sealed_sha256",
    "record_sha256",
    "document_sha256",
    "merged_sha256",
    "manifest_sha256",
    "recipients",
    "add",
    "remove",
    "bundle",
    "kind",
];

/// Texts that steer a terminal, turn the reading direction, end lines or hide.
fn hostile() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[\u{0}-\u{1f}\u{7f}-\u{9f}]{1,6}",
        "[a-z]{0,4}\u{1b}\\[[0-9;]{1,4}[A-HJKmnhlsu][a-z]{0,4}",
        "\u{1b}\\]0;[a-z]{1,6}(\u{7}|\u{1b}\\\\)",
        "\u{9b}[0-9]{1,2}[Jm]",
        "[a-z]{0,3}[\u{202a}-\u{202e}\u{2066}-\u{2069}\u{200e}\u{200f}\u{61c}]{1,3}[a-z.]{1,8}",
        "[\u{2028}\u{2029}\u{ad}\u{200b}\u{feff}\u{e0041}]{1,3}[a-z]{1,4}",
        "\r[a-z]{1,8}\n[a-z]{1,8}\r\n",
        any::<String>(),
    ];
    text.prop_map(|text| format!("{MARK}{text}"))
}

/// So many cases, each of some runs of the program: a few seconds.
fn cases(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 16, failure_persistence: None, ..Config::default() }
}

/// Runs the verbs for people and for scripts, and gives what they said together.
fn looks(host: &Host, verbs: &[&[&str]]) -> Result<String, TestCaseError> {
    let mut said = String::new();
    for verb in verbs {
        for output in ["human", "json"] {
            let ran = host.run(&[*verb, &["--output", output]].concat());
            prop_assert!(matches!(ran.status.code(), Some(0..=64)), "{verb:?}: {:?}", ran.status);
            let is_json = ran.stdout.is_empty() || serde_json::from_slice::<Value>(&ran.stdout).is_ok();
            prop_assert!(output == "human" || is_json, "{verb:?} writes what is no JSON");
            for bytes in [ran.stdout, ran.stderr] {
                let text = String::from_utf8(bytes).map_err(|e| TestCaseError::fail(format!("{verb:?}: {e}")))?;
                let bad: Vec<char> = text.chars().filter(|c| !is_safe(*c) && !matches!(c, '\n' | '\t')).collect();
                prop_assert!(bad.is_empty(), "{verb:?} ({output}) writes {bad:?}: {text:?}");
                said += &text;
            }
        }
    }
    Ok(said)
}

/// Replaces each text below `value` for which `chosen` gives another one; it is asked with the name of the field.
fn replace(value: &mut Value, name: &str, chosen: &mut impl FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => *text = chosen(name).unwrap_or_else(|| text.clone()),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, name, chosen)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| replace(field, name, chosen)),
        _ => {}
    }
}

/// Every text that the program can write into such a file, where this deployment has none of it.
fn filled(path: &str, mut file: Value) -> Value {
    let fields = file.as_object_mut().unwrap();
    let texts = |names: &[&str], fields: &mut Map<String, Value>| {
        for name in names {
            fields.entry(*name).or_insert_with(|| "x".into());
        }
    };
    if path.ends_with("record.json") {
        texts(&["why", "opschain_version", "helm", "operator", "bundle_before"], fields);
        texts(&["app_version", "digest"], fields["chart"].as_object_mut().unwrap());
        texts(&["context", "cluster"], fields["install"].as_object_mut().unwrap());
    } else if path.ends_with("outcome.json") {
        texts(&["error"], fields);
        fields.insert("images".into(), serde_json::json!([{"reference": "x", "digest": "x"}]));
    }
    file
}

/// A vault with a deployment, a recipient and a bundle, and the commit that made it, from before all of that.
struct Seed {
    host: Host,
    first: git2::Oid,
    whole: git2::Oid,
}

impl Seed {
    fn new() -> Self {
        let host = Host::new();
        let tip = |host: &Host| git2::Repository::open(host.vault()).unwrap().refname_to_id("refs/heads/main").unwrap();
        let first = tip(&host);
        crate::recorded::record(host.home(), "opschain", "2026-08-20T10:00:00Z".parse().unwrap(), "env: {A: b}\n");
        let escrow = dr::internals::crypt::Identities::generate().recipients().remove(0);
        host.ok(&["config", "recipients", "add", &escrow, "-m", "escrow"]);
        let whole = tip(&host);
        Self { host, first, whole }
    }
}

/// Makes everything that came after `init` anew, in one commit of this host's: each text of its files as `chosen` says,
/// and the commit by `name` with this message.
fn rewritten(seed: &Seed, name: &str, message: &str, mut chosen: impl FnMut(&str) -> Option<String>) {
    let repo = git2::Repository::open(seed.host.vault()).unwrap();
    let tree = |commit| repo.find_commit(commit).unwrap().tree().unwrap();
    let mut index = git2::Index::new().unwrap();
    index.read_tree(&tree(seed.whole)).unwrap();
    let before = tree(seed.first);
    for entry in index.iter().collect::<Vec<_>>() {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        if !path.ends_with(".json") || before.get_path(path.as_ref()).is_ok() {
            continue;
        }
        let bytes = repo.find_blob(entry.id).unwrap().content().to_vec();
        let mut file = filled(&path, serde_json::from_slice(&bytes).unwrap());
        replace(&mut file, "", &mut chosen);
        let id = repo.blob(file.to_string().as_bytes()).unwrap();
        index.add(&git2::IndexEntry { id, ..entry }).unwrap();
    }
    let tree = repo.find_tree(index.write_tree_to(&repo).unwrap()).unwrap();
    let who = git2::Signature::now(name, "x@x").unwrap();
    let first = repo.find_commit(seed.first).unwrap();
    let unsigned = repo.commit_create_buffer(&who, &who, message, &tree, &[&first]).unwrap();
    let text = std::str::from_utf8(&unsigned).unwrap();
    let signer = Signer::load(&seed.host.home().join(".config/dr/signing_key")).unwrap();
    let signature = commit_signer(signer)(text.as_bytes()).unwrap();
    let made = repo.commit_signed(text, signature.trim_end(), None).unwrap();
    repo.reference("refs/heads/main", made, true, "test").unwrap();
    // What was verified of another history is not known any more.
    drop(fs::remove_dir_all(seed.host.home().join(".local/state/dr/vaults")));
}

const VAULT_VERBS: [&[&str]; 5] = [
    &["config", "log"],
    &["config", "show", "live"],
    &["config", "verify"],
    &["config", "recipients", "list"],
    &["status"],
];

/// Free texts are shown, spelt out; with one of those that have a grammar the file is refused, and the words with it.
fn a_vault(seed: &Seed, texts: &[String], with_grammar: usize, name: &str, message: &str) -> TestCaseResult {
    let mut number = 0;
    let mut next = || {
        number += 1;
        texts[number % texts.len()].clone()
    };
    let plain: String = name.chars().filter(|c| !matches!(c, '\0' | '\n' | '<' | '>')).collect();
    let message = message.replace('\0', "");
    rewritten(seed, &plain, &message, |field| (!WITH_GRAMMAR.contains(&field)).then(&mut next));
    let said = looks(&seed.host, &VAULT_VERBS)?;
    prop_assert!(said.matches(MARK).count() > 20, "hardly anything is shown: {said}");
    let field = WITH_GRAMMAR[with_grammar % WITH_GRAMMAR.len()];
    rewritten(seed, &plain, &message, |name| (name == field).then(|| texts[0].clone()));
    looks(&seed.host, &VAULT_VERBS).map(drop)
}

#[test]
fn no_text_of_a_vault_steers_a_terminal() {
    let seed = Seed::new();
    let texts = (vec(hostile(), 6), any::<usize>(), hostile(), hostile());
    let judged = TestRunner::new(cases(6))
        .run(&texts, |(texts, with_grammar, name, message)| a_vault(&seed, &texts, with_grammar, &name, &message));
    judged.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Each text of a header has a grammar: what does not fit is refused, and what the record beside it says is shown.
fn a_bundle(text: &str, field: usize, key: &str) -> TestCaseResult {
    let (home, store) = bundles::home();
    let (mut at, mut fields) = (0, 0);
    let name = signed_by(key, &store, 1, |header| {
        replace(header, "", &mut |_| {
            fields += 1;
            None
        });
        replace(header, "", &mut |_| {
            at += 1;
            (at == field % fields + 1).then(|| text.to_owned())
        });
    });
    let host = Host::at(home);
    let verbs: [&[&str]; 5] = [
        &["bundle", "list"],
        &["bundle", "show", &name],
        &["bundle", "show", &name, "--any-signer", "--scope"],
        &["bundle", "verify", &name],
        &["doctor"],
    ];
    looks(&host, &verbs).map(drop)
}

#[test]
fn no_text_of_a_bundle_steers_a_terminal() {
    let texts = (hostile(), any::<usize>(), any::<bool>());
    let judged = TestRunner::new(cases(10)).run(&texts, |(text, field, is_own)| {
        a_bundle(&text, field, if is_own { "signing" } else { "stranger-signing" })
    });
    judged.unwrap_or_else(|failure| panic!("{failure}"));
}
