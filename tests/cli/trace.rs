//! What `-v`, `-vv` and `--log-file` show of the calls that a verb makes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::canaries::world::{Ran, World, text};

fn lines(ran: &Ran) -> Vec<String> {
    String::from_utf8_lossy(&ran.stderr).lines().map(str::to_owned).collect()
}

/// A home with keys and a vault, and a verb that asks helm and the cluster.
fn world() -> (World, Vec<String>) {
    let world = World::new(["", ""]);
    assert_eq!(world.dr(&["init"]).code, 0);
    let values = world.own("values.yaml", "# first\nenv: {}\nstopped: false\n");
    world.own("values.json", r#"{"env":{},"stopped":false}"#);
    world.own("manifest", "");
    world.own("rendered.json", r#"{"name":"opschain","manifest":"","hooks":[]}"#);
    let chart = text(&world.operator.path().join("chart"));
    let verb = ["deploy", "-f", &text(&values), "--chart", &chart, "--no-wait", "--yes"].map(str::to_owned).to_vec();
    (world, verb)
}

fn run(world: &World, flags: &[&str], verb: &[String]) -> Ran {
    let args: Vec<&str> = flags.iter().copied().chain(verb.iter().map(String::as_str)).collect();
    let ran = world.dr(&args);
    assert_eq!(ran.code, 0, "{}", lines(&ran).join("\n"));
    ran
}

/// Whether a line names a call with its outcome and duration.
fn names(lines: &[String], call: &str) -> bool {
    let shape = regex::Regex::new(&format!(r"^ *{} \([0-9.]+ m?s\)$", regex::escape(call))).unwrap();
    lines.iter().any(|line| shape.is_match(line))
}

#[test]
fn v_names_each_call_and_vv_the_libraries_too() {
    let (world, verb) = world();
    let quiet = lines(&run(&world, &["--no-input"], &verb));
    assert!(!quiet.iter().any(|line| line.contains("helm history") || line.contains("get Lease")), "{quiet:#?}");
    let v = lines(&run(&world, &["--no-input", "-v"], &verb));
    assert!(names(&v, "helm | helm history: ok"), "{v:#?}");
    assert!(names(&v, "helm | helm upgrade: ok") && names(&v, "helm | helm show chart: ok"), "{v:#?}");
    assert!(v.iter().any(|line| line.contains("cluster | ") && line.contains("Lease")), "{v:#?}");
    assert!(!v.iter().any(|line| line.contains("trace | ")), "{v:#?}");
    let vv = lines(&run(&world, &["--no-input", "-vv"], &verb));
    assert!(names(&vv, "helm | helm history: ok"), "{vv:#?}");
    assert!(vv.iter().any(|line| line.contains("trace | ") && line.contains("kube_client")), "{vv:#?}");
}

#[test]
fn a_deployment_asks_helm_and_opens_the_vault_no_more_than_it_must() {
    let (world, verb) = world();
    for values in ["# older\nenv: {}\nstopped: false\n", "# first\nenv: {}\nstopped: false\n"] {
        world.own("values.yaml", values);
        run(&world, &["--no-input"], &verb);
    }
    world.own("asked", "");
    let vv = lines(&run(&world, &["--no-input", "-vv"], &verb));

    let asked = std::fs::read_to_string(world.operator.path().join("asked")).unwrap();
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    for line in asked.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let what = ["values", "manifest", "metadata", "chart"].into_iter().find(|what| words.contains(what));
        let verb = if matches!(words[0], "get" | "show") { what.unwrap_or(line) } else { "" };
        *of.entry(format!("{} {verb}", words[0]).trim().to_owned()).or_default() += 1;
    }
    let expected = [
        ("get manifest", 1),
        ("get values", 1),
        // When it is planned, under the lease, and when helm has acted.
        ("history", 3),
        ("package", 1),
        ("show chart", 1),
        // Of the new chart, and of the live one, which a guarded key was left to.
        ("show values", 2),
        // Rendered for the rights that it takes, and then carried out.
        ("upgrade", 2),
        ("version", 1),
    ];
    assert_eq!(of, expected.map(|(verb, count)| (verb.to_owned(), count)).into(), "{asked}");

    let opened = vv.iter().filter_map(|line| line.trim().strip_prefix("vault | open ")?.split_once(": ok"));
    let mut opened: Vec<&str> = opened.filter_map(|(path, _)| path.rsplit('/').next()).collect();
    opened.sort_unstable();
    // The live chart for the guarded keys that it sets; the older values for what they hold of secrets.
    assert_eq!(opened, ["chart.tgz.age", "fingerprint.key.age", "values.yaml.age", "values.yaml.age"], "{vv:#?}");
}

#[test]
fn a_git_process_is_named_with_how_it_ended() {
    let (world, _) = world();
    let remote = world.home.path().join("remote.git");
    let sync = || lines(&world.dr(&["-v", "config", "sync", &text(&remote)]));
    let (fetch, push) = (format!("git | fetch from {}", text(&remote)), format!("git | push to {}", text(&remote)));
    let without = sync();
    assert!(
        names(&without, &format!("{fetch}: failed: fatal: '{}' does not appear to be a git repository", text(&remote))),
        "{without:#?}"
    );
    git2::Repository::init_bare(&remote).unwrap();
    let first = sync();
    assert!(names(&first, &format!("{push}: ok")), "{first:#?}");
    let second = sync();
    assert!(names(&second, &format!("{fetch}: ok")), "{second:#?}");
}

#[test]
fn with_json_every_line_of_the_trace_is_json() {
    let (world, verb) = world();
    let ran = run(&world, &["--no-input", "-vv", "--output", "json"], &verb);
    let events: Vec<serde_json::Value> = lines(&ran)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let of = |source: &str| events.iter().filter(|event| event["event"] == "log" && event["source"] == source).count();
    assert!(of("cluster") > 0 && of("trace") > 0, "{events:#?}");
}

#[test]
fn a_log_file_holds_everything_of_every_command_without_v() {
    let (world, verb) = world();
    let log = world.home.path().join("logs.txt");
    let flags = ["--no-input", "--log-file", log.to_str().unwrap()];
    let quiet = lines(&run(&world, &flags, &verb));
    assert!(!quiet.iter().any(|line| line.contains("helm history")), "{quiet:#?}");
    let first = std::fs::read_to_string(&log).unwrap();
    for part in ["helm history", "kube_client", "Lease", "outcome=\"ok\""] {
        assert!(first.contains(part), "{part} is not in:\n{first}");
    }
    run(&world, &flags, &verb);
    let both = std::fs::read_to_string(&log).unwrap();
    assert!(both.starts_with(&first) && both.len() > first.len(), "it is appended to");
    let nowhere = world.dr(&["--log-file", "/nowhere/dr.log", "config", "log"]);
    assert_eq!(nowhere.code, 64, "{}", lines(&nowhere).join("\n"));
    assert!(lines(&nowhere).join(" ").contains("open the log file /nowhere/dr.log"));
}

#[test]
fn run_show_timing_prints_each_step_and_what_it_called() {
    let world = World::new(["", ""]);
    let folder = world.home.path().join(".local/state/dr/runs/create-20260820T101500Z-0a1b2c");
    std::fs::create_dir_all(&folder).unwrap();
    let begun = json!({
        "record": "begun", "format": {"major": 1, "minor": 0}, "run": "create-20260820T101500Z-0a1b2c", "verb": "create",
        "namespace": "opschain", "release": "opschain", "cluster_uid": "u", "plan": {}, "settings": "dr.toml",
        "dr_version": "0.1.0", "who": "op@host", "at": "2026-08-20T10:15:00Z",
    });
    std::fs::write(folder.join("journal.jsonl"), format!("{begun}\n")).unwrap();
    let show = |more: &[&str]| world.dr(&[&["run", "show", "create-", "--timing"], more].concat());
    let shown = |ran: &Ran| String::from_utf8_lossy(&ran.stdout).into_owned();
    let before = show(&[]);
    assert!(shown(&before).contains("No step of it has ended"), "{}", shown(&before));

    let call = |kind: &str, count: u64, failed: u64, milliseconds: f64, slowest: &str| {
        json!({"kind": kind, "count": count, "failed": failed, "milliseconds": milliseconds, "slowest": slowest,
               "slowest_milliseconds": milliseconds / 2.0})
    };
    let step = |step: &str, milliseconds: f64, outcome: &str, calls: serde_json::Value| json!({"step": step, "at": "2026-08-20T10:15:00Z", "milliseconds": milliseconds, "outcome": outcome, "calls": calls});
    let lines = [
        step(
            "base",
            61_000.0,
            "ok",
            json!([call("stream", 40, 0, 50_000.0, "receive"), call("cluster", 3, 1, 20.0, "get Pod x")]),
        ),
        step("wake", 500.0, "no answer", json!([call("cluster", 1, 0, 5.0, "get Pod y")])),
    ];
    std::fs::write(folder.join("timing.jsonl"), lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let page = shown(&show(&[]));
    let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split('\t').collect()).collect();
    for row in [
        vec!["base", "step", "", "1 min 1 s", ""],
        vec!["base", "stream", "40", "50 s", "receive (25 s)"],
        vec!["base", "cluster", "3 (1 failed)", "20 ms", "get Pod x (10 ms)"],
        vec!["wake", "step", "", "500 ms", "no answer"],
        vec!["all", "cluster", "4 (1 failed)", "25 ms", "get Pod x (10 ms)"],
    ] {
        assert!(rows.contains(&row), "{row:?} is not in:\n{page}");
    }
    let json: serde_json::Value = serde_json::from_slice(&show(&["--output", "json"]).stdout).unwrap();
    assert_eq!((&json["milliseconds"], &json["calls"][0]["kind"]), (&json!(61_500.0), &json!("stream")));
}
