//! A panic: what `dr` ends with, and what its last words are.

use serde_json::{Value, json};

use crate::canaries::world::{Ran, World, text};

const SECRET: &str = "pw-Zt4mQ9xW2rV7";

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/opschain/leases/dr-opschain";

/// Deploys, with more in the environment.
fn deploy(world: &World, output: &str, environment: &[(&str, &str)]) -> Ran {
    let values = world.own("values.yaml", &format!("# first\nenv:\n  PGPASSWORD: {SECRET}\nstopped: false\n"));
    let chart = text(&world.operator.path().join("chart"));
    let args = ["--no-input", "-o", output, "deploy", "-f", &text(&values), "--chart", &chart, "--no-wait", "--yes"];
    world.dr_with(&args, environment)
}

/// A deployment that panics over its values between the record of what is meant and helm, where all of them are known.
fn panicked(output: &str) -> (World, Ran) {
    let world = World::new(["", ""]);
    assert_eq!(world.dr(&["init"]).code, 0);
    world.own("values.json", "{}");
    world.own("manifest", "");
    world.own("rendered.json", r#"{"name":"opschain","manifest":"","hooks":[]}"#);
    let fault = format!("deploy.recorded=panic:nobody thought of `{SECRET}`\nthe whole document: {SECRET} on-line-two");
    let ran = deploy(&world, output, &[("DR_FAULT", &fault), ("RUST_BACKTRACE", "full")]);
    (world, ran)
}

/// The lines of stderr, once nothing is in them that must not be.
fn lines(ran: &Ran) -> Vec<String> {
    let all = [&ran.stdout[..], &ran.stderr[..]].concat();
    let said = String::from_utf8(all).unwrap();
    for word in [SECRET, "on-line-two", "stack backtrace", "panicked at", "RUST_BACKTRACE"] {
        assert!(!said.contains(word), "`{word}` is in:\n{said}");
    }
    String::from_utf8_lossy(&ran.stderr).lines().map(str::to_owned).collect()
}

#[test]
fn a_panic_ends_with_70_and_asks_for_a_report_without_a_value_or_a_backtrace() {
    let (world, ran) = panicked("human");
    let lines = lines(&ran);
    assert_eq!(ran.code, 70, "{lines:#?}");
    let [.., error, hint] = lines.as_slice() else { panic!("{lines:#?}") };
    let version = env!("CARGO_PKG_VERSION");
    assert!(error.starts_with(&format!("error: internal error (bug) in dr {version}: nobody thought of `")), "{error}");
    assert!(error.contains("(at src/journal/fault.rs:"), "{error}");
    assert!(hint.starts_with("hint: Please report these two lines and the verb that was run."), "{hint}");
    assert!(hint.contains("put back or resumed by the next `dr`"), "{hint}");
    // What was begun is there for the next command.
    let log = world.dr(&["config", "log", "-o", "json"]);
    let log: Value = serde_json::from_slice(&log.stdout).unwrap();
    assert_eq!(log["deployments"].as_array().map(Vec::len), Some(1), "{log:#}");
}

#[test]
fn the_lease_of_a_deployment_that_panicked_runs_out_and_the_next_deployment_takes_it_over() {
    let (world, _) = panicked("human");
    let mut lease = world.api.get(LEASE);
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("deploy-"), "{lease:#}");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 60, "{lease:#}");
    // Nobody renews it any more, and so it has run out when it was unchanged for as long as it lasts.
    lease["spec"]["leaseDurationSeconds"] = 1.into();
    world.api.set(LEASE, lease);
    let again = deploy(&world, "human", &[]);
    assert_eq!(again.code, 0, "{:#?}", lines(&again));
    assert!(world.api.get(LEASE).is_null(), "it was given back");
    let log = world.dr(&["config", "log", "-o", "json"]);
    let log: Value = serde_json::from_slice(&log.stdout).unwrap();
    let states: Vec<&Value> = log["deployments"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["deployed", "interrupted"], "{log:#}");
}

#[test]
fn with_json_the_last_words_of_a_panic_are_an_error_as_any_other() {
    let (_, ran) = panicked("json");
    let lines = lines(&ran);
    assert_eq!(ran.code, 70, "{lines:#?}");
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let error = &last["error"];
    assert_eq!((&error["code"], &error["kind"], &error["causes"]), (&json!(70), &json!("panic"), &json!([])));
    assert!(error["message"].as_str().unwrap().starts_with("internal error (bug) in dr "), "{error}");
    assert!(error["hints"][0].as_str().unwrap().starts_with("Please report"), "{error}");
}
