//! No secret in the open: two hundred are planted, every verb is run, and none may be seen anywhere.

#[path = "../../canaries/find.rs"]
mod find;
#[path = "../../canaries/plant.rs"]
mod plant;
mod verbs;
pub mod world;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use find::{Finder, Watcher, processes};
use plant::{Canary, block, canaries};
use verbs::{CASES, Case, Out};
use world::{Ran, World, text};

/// A public key whose private half nobody has.
const ESCROW: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

/// Another.
const OTHER: &str = "age1l49d4u55uwex3wwfjdp2p2rkkwml97rc38ycpplapaxgdrzaa96qs6v7ye";

/// The words of the cases, and what stands for them.
struct Words(Vec<(&'static str, Vec<String>)>);

impl Words {
    fn of(&self, case: &Case, home: &Path) -> Vec<String> {
        let mut args: Vec<String> = case.verb.split(' ').map(str::to_owned).collect();
        for word in case.args {
            match self.0.iter().find(|(name, _)| name == word) {
                Some((_, words)) => args.extend(words.iter().cloned()),
                None if *word == "@SEALED@" => args.extend(sealed(home)),
                None => args.push((*word).to_owned()),
            }
        }
        args
    }
}

/// The sealed values of a deployment, in the vault's working tree.
fn sealed(home: &Path) -> Option<String> {
    let installs = home.join(".local/share/dr/vault/deployments/opschain.opschain");
    let mut deployments: Vec<_> = std::fs::read_dir(installs).ok()?.flatten().map(|entry| entry.path()).collect();
    deployments.sort();
    deployments.first().map(|folder| text(&folder.join("values.yaml.age")))
}

struct Setting {
    world: World,
    finder: Arc<Finder>,
    words: Words,
    /// What lets the odd values through.
    allow: Vec<String>,
    /// A canary of the first deployment, for a message.
    known: String,
}

/// An operator's values file with all of them in it, marked as `mark`.
fn values(canaries: &[Canary], mark: &str) -> String {
    let env = "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  OPSCHAIN_KUBERNETES_NAMESPACE: opschain\n  TZ: UTC\n";
    format!("# {mark}\n{env}stopped: false\n{}", block(canaries))
}

fn setting() -> Setting {
    let (first, second) = (canaries(0), canaries(1));
    // What helm and the API server quote: all of it, in the forms of YAML, JSON and base64.
    let texts = [values(&first, "first"), values(&second, "second")];
    let json = |text: &str| dr::internals::values::Tree::parse(text.as_bytes()).unwrap().to_json();
    let leaks = |text: &str, canaries: &[Canary]| {
        let packed = |needle: &String| STANDARD.encode(format!("x{needle}"));
        let long = canaries.iter().flat_map(|canary| &canary.needles).filter(|needle| needle.len() >= 8);
        let packed: Vec<String> = long.map(packed).collect();
        let twice = serde_json::Value::from(json(text).to_string());
        format!("client.go:1: [debug] Patch Secret\n{text}\n{}\n{twice}\n{}\n", json(text), packed.join("\n"))
    };
    let world = World::new([&leaks(&texts[0], &first), &leaks(&texts[1], &second)]);
    world.own("values.json", &json(&texts[0]).to_string());
    let embedded = texts[0].lines().map(|line| format!("    {line}\n")).collect::<String>();
    let manifest = |embedded: &str| {
        format!(
            "---\n# Source: opschain/x.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: opschain-config\ndata:\n  values: |\n{embedded}"
        )
    };
    world.own("manifest", &manifest(&embedded));
    let rendered = manifest(&texts[1].lines().map(|line| format!("    {line}\n")).collect::<String>());
    world.own("rendered.json", &serde_json::json!({"name": "opschain", "manifest": rendered, "hooks": []}).to_string());
    let own = |name: &str, content: &str| vec![text(&world.own(name, content))];
    let fixture = |name: &str| vec![format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))];
    let allow = ["secret-not-text", "secret-blank", "skipped-releases", "version", "credentials"];
    let allow: Vec<String> = allow.iter().flat_map(|name| ["--allow".to_owned(), (*name).to_owned()]).collect();
    let words = Words(vec![
        ("@FIRST@", own("first.yaml", &texts[0])),
        ("@SECOND@", own("second.yaml", &texts[1])),
        ("@BROKEN@", own("broken.yaml", &format!("{}  bad: [\n", texts[1]))),
        ("@CHART@", vec![text(&world.operator.path().join("chart"))]),
        ("@BUNDLE@", fixture("bundles/v1/opschain-20261123T075443Z-0a1b2c.tar")),
        ("@KEY@", fixture("keys/identity.txt")),
        ("@OURS@", own("ours.yaml", &texts[0])),
        ("@OTHER@", vec![OTHER.to_owned()]),
        ("@ESCROW@", vec![ESCROW.to_owned()]),
        ("@OPERATOR@", vec![text(world.operator.path())]),
        ("@PARITY@", vec![text(&world.home.path().join("parity.json"))]),
        ("@ALLOW@", allow.clone()),
    ]);
    let known = first[0].needles[0].clone();
    let finder = Arc::new(Finder::new(&first.into_iter().chain(second).collect::<Vec<_>>()));
    Setting { world, finder, words, allow, known }
}

impl Setting {
    /// Runs a case with all that it can say, and notes what is seen in it.
    fn run(&self, case: &Case, more: &[&str], found: &mut BTreeSet<String>) -> Ran {
        let log = text(&self.world.home.path().join("dr.log"));
        let mut args = vec!["--no-input", "-vv", "--log-file", &log];
        args.extend(more);
        let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        args.extend(self.words.of(case, self.world.home.path()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = self.world.dr(&args);
        let line = args[4..].join(" ");
        if case.out == Out::Masked {
            self.finder.note(&ran.stdout, &format!("stdout of `dr {line}`"), found);
        }
        self.finder.note(&ran.stderr, &format!("stderr of `dr {line}`"), found);
        assert!(!String::from_utf8_lossy(&ran.stderr).contains("panicked"), "`dr {line}` panicked");
        ran
    }
}

#[test]
fn two_hundred_canaries_are_seen_nowhere_whatever_verb_is_run() {
    let setting = setting();
    let mut found = BTreeSet::new();
    let mut odd = Vec::new();
    let watcher = Watcher::start(Arc::clone(&setting.finder), processes().collect(), is_child);
    for case in CASES {
        let ran = setting.run(case, &[], &mut found);
        if case.code.is_some_and(|code| code != ran.code) {
            odd.push(format!("dr {} {:?}: exit {}\n{}", case.verb, case.args, ran.code, tail(&ran.stderr)));
        }
        if case.verb != "deploy" {
            setting.run(case, &["--output", "json"], &mut found);
        }
    }
    assert!(odd.is_empty(), "not what was expected, so it proves nothing:\n{}", odd.join("\n"));
    // The same with a helm and a cluster that refuse everything and quote all that they know.
    setting.world.refuse(true);
    for (number, case) in CASES.iter().enumerate() {
        // What is said is the same in both; how it is written was tried above.
        let more: &[&str] = if number % 2 == 0 { &[] } else { &["--output", "json"] };
        setting.run(case, more, &mut found);
    }
    setting.world.refuse(false);
    found.extend(watcher.stop());
    // The operator's own message is in the arguments, by the operator's own doing; in the record it is not.
    let args = ["--no-input", "deploy", "-f", &setting.words.0[0].1[0], "--chart", &setting.words.0[3].1[0]];
    let why = format!("rotated away from {}", setting.known);
    let mut args = args.to_vec();
    args.extend(["--no-wait", "--yes", "--message", &why]);
    args.extend(setting.allow.iter().map(String::as_str));
    let ran = setting.world.dr(&args);
    assert_eq!(ran.code, 0, "{}", tail(&ran.stderr));
    for folder in [setting.world.home.path(), setting.world.tmp.path(), Path::new("/dev/shm")] {
        setting.finder.scan(folder, &[], &mut found);
    }
    let log = std::fs::read_to_string(setting.world.home.path().join("dr.log")).unwrap();
    assert!(log.contains("helm upgrade") && log.contains("kube_client"), "the log was written to");
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), shown(&found));
    let vault = setting.world.home.path().join(".local/share/dr/vault/.git");
    assert!(git2::Repository::open(vault).unwrap().revparse_single("HEAD~4").is_ok(), "the vault was written to");
}

/// Whether this test has begun the process: the same test may run from another checkout, with the same canaries.
fn is_child(process: &Path, _: &str) -> bool {
    let mut process = process.to_owned();
    loop {
        let Ok(stat) = std::fs::read_to_string(process.join("stat")) else { return false };
        // The name before it may hold blanks and brackets.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).unwrap_or("0");
        match parent.parse::<u32>() {
            Ok(parent) if parent == std::process::id() => return true,
            Ok(parent) if parent > 1 => process = Path::new("/proc").join(parent.to_string()),
            _ => return false,
        }
    }
}

/// The first leaks of each place: hundreds would say no more.
fn shown(found: &BTreeSet<String>) -> String {
    found.iter().take(60).map(|line| format!("  {line}\n")).collect()
}

fn tail(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("error") || line.contains("hint") || line.contains("cause")).collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[test]
fn a_leak_is_found_in_every_form_and_in_every_place() {
    // Others than those that are planted: another test looks through the same process table.
    let all = canaries(2);
    assert_eq!(all.len(), plant::COUNT);
    let needles: BTreeSet<&str> = all.iter().flat_map(|canary| &canary.needles).map(String::as_str).collect();
    assert!(needles.len() >= plant::COUNT, "no two are the same: {}", needles.len());
    let finder = Arc::new(Finder::new(&all));
    let seen = |text: &str| !finder.find(text.as_bytes()).is_empty();
    for needle in needles {
        assert!(seen(&format!("before {needle} after")), "as it is");
        if needle.len() < 8 {
            continue;
        }
        let mut quoted = format!("x'{}'y", needle.replace('\'', "''"));
        for depth in 0..5 {
            assert!(seen(&quoted), "quoted, {depth} deep");
            quoted = serde_json::Value::from(quoted).to_string();
        }
        assert!(seen(&serde_json::json!({"a": format!("x{needle}y")}).to_string()), "in JSON");
        for shift in ["", "a", "ab"] {
            let packed = STANDARD.encode(format!("{shift}{needle}zz"));
            assert!(seen(&packed), "in base64");
            assert!(seen(&STANDARD.encode(format!("{{\"auth\":\"{packed}\"}}"))), "in base64 in base64");
        }
    }
    // In a file, in a git object that nothing names any more, in the arguments and the environment of a process.
    let folder = tempfile::tempdir().unwrap();
    let needle = &all[0].needles[0];
    let places = |skip: &[&Path]| {
        let mut found = BTreeSet::new();
        finder.scan(folder.path(), skip, &mut found);
        found
    };
    let repository = git2::Repository::init(folder.path().join("vault")).unwrap();
    repository.blob(format!("env: {needle}").as_bytes()).unwrap();
    assert!(places(&[]).iter().any(|place| place.contains("git object")));
    std::fs::write(folder.path().join("left"), needle).unwrap();
    assert!(places(&[]).iter().any(|place| place.ends_with("left")));
    for environment in [true, false] {
        let mut command = Command::new("sh");
        // The shell stays until its input ends.
        command.args(["-c", "read -r x"]).stdin(std::process::Stdio::piped());
        if environment {
            command.env("CANARY", needle)
        } else {
            command.arg(needle)
        };
        let older: BTreeSet<_> = processes().collect();
        let mut child = command.spawn().unwrap();
        // The process may not be the shell yet at the first look.
        let begun = std::time::Instant::now();
        let looks = std::iter::repeat_with(|| watcher_round(&finder, &older));
        let mut looks = looks.take_while(|_| begun.elapsed().as_secs() < 30);
        let found = looks.find(|found| !found.is_empty()).unwrap_or_default();
        drop(child.stdin.take());
        child.wait().unwrap();
        let place = if environment { "environ" } else { "cmdline" };
        assert!(found.iter().any(|text| text.contains(place)), "{found:?}");
    }
}

/// One look at the process table.
fn watcher_round(finder: &Arc<Finder>, older: &BTreeSet<OsString>) -> BTreeSet<String> {
    let watcher = Watcher::start(Arc::clone(finder), older.clone(), is_child);
    std::thread::yield_now();
    watcher.stop()
}

#[test]
fn the_secrets_are_in_what_is_run_and_cat_gives_them_out() {
    let setting = setting();
    let run = |args: &[&str]| {
        let ran = setting.world.dr(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", tail(&ran.stderr));
        ran.stdout
    };
    run(&["init"]);
    let mut deploy = vec!["--no-input", "deploy", "-f", &setting.words.0[0].1[0], "--chart", &setting.words.0[3].1[0]];
    deploy.extend(["--no-wait", "--yes"]);
    deploy.extend(setting.allow.iter().map(String::as_str));
    run(&deploy);
    let values = run(&["config", "cat", "latest"]);
    // Some are escaped in YAML, and in the clear as Helm reads them; control characters are escaped in JSON too.
    let mut read = dr::internals::values::Tree::parse(&values).unwrap().to_json().to_string().into_bytes();
    read.extend_from_slice(&values);
    let labels = setting.finder.find(&read);
    let numbers: BTreeSet<&str> = labels.iter().filter_map(|label| label.split(' ').nth(1)).collect();
    assert_eq!(numbers.len(), plant::COUNT, "each canary is among the values that were deployed");
}

#[test]
fn no_verb_is_left_out() {
    let mut command = dr::internals::cli::command();
    command.build();
    let mut missing = Vec::new();
    walk(&command, "", &mut missing);
    assert!(missing.is_empty(), "tests/cli/canaries/verbs.rs lacks: {}", missing.join(", "));
}

fn walk(command: &clap::Command, name: &str, missing: &mut Vec<String>) {
    let runs =
        command.get_subcommands().next().is_none() || (!name.is_empty() && !command.is_arg_required_else_help_set());
    if runs && !name.is_empty() && !CASES.iter().any(|case| case.verb == name) {
        missing.push(name.to_owned());
    }
    for sub in command.get_subcommands() {
        walk(sub, format!("{name} {}", sub.get_name()).trim(), missing);
    }
}
