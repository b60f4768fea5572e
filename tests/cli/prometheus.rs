//! What is shipped for Prometheus and Grafana: rules and queries that name metrics which there are; and, where Prometheus'
//! own tool can be had, its word on all of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;
use serde_json::Value;

use crate::bundles::{NAME, home, publish, with_signing_key};
use crate::dr;
use crate::prune::made;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(root("docs/reference/grafana-dashboard.json")).unwrap()).unwrap()
}

/// The queries of the dashboard's panels.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

fn metrics(text: &str) -> BTreeSet<String> {
    Regex::new(r"\bdr_[a-z_]+\b").unwrap().find_iter(text).map(|name| name.as_str().to_owned()).collect()
}

#[test]
fn each_metric_that_a_rule_or_the_dashboard_names_is_one_of_the_reference_and_all_are_shown() {
    let page = fs::read_to_string(root("docs/reference/metrics.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `(dr_[a-z_]+)` \|").unwrap();
    let known: BTreeSet<String> = row.captures_iter(&page).map(|row| row[1].to_owned()).collect();
    let written = metrics(&fs::read_to_string(root("src/ops/status/metrics.rs")).unwrap());
    assert!(known.len() > 14 && known.is_subset(&written), "{:?}", known.difference(&written));
    let rules: serde_yaml::Value =
        serde_yaml::from_str(&fs::read_to_string(root("docs/reference/prometheus-alerts.yaml")).unwrap()).unwrap();
    let rules = rules["groups"][0]["rules"].as_sequence().unwrap();
    let alerts: String = rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned() + "\n").collect();
    let dashboard = dashboard();
    let shown = metrics(&queries(&dashboard).join("\n"));
    let variables = metrics(&dashboard["templating"].to_string());
    for (what, named) in [("alerts", metrics(&alerts)), ("dashboard", shown.clone()), ("variables", variables)] {
        assert!(!named.is_empty() && named.is_subset(&known), "{what}: {:?}", named.difference(&known));
    }
    assert_eq!(known.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "a metric that nobody sees");
}

#[test]
fn the_dashboard_has_each_panel_once_in_a_place_of_its_own_and_asks_the_source_that_is_chosen() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "two panels at {cell:?}");
        }
    }
}

/// Runs Prometheus' own tool, with `input` on stdin.
fn promtool(args: &[&str], input: &str) -> (bool, String) {
    let program = std::env::var_os("DR_TEST_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|_| panic!("there is no promtool: DR_TEST_PROMTOOL, or `lab/lab build promtool`"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
#[ignore = "needs promtool: `make metrics`"]
fn promtool_takes_rules_their_tests_and_the_queries_of_the_dashboard() {
    let (rules, tests) = (root("docs/reference/prometheus-alerts.yaml"), root("tests/prometheus/alerts.yaml"));
    for args in [["check", "rules", "--lint=all", "--lint-fatal"].as_slice(), &["test", "rules"]] {
        let file = if args[0] == "check" { &rules } else { &tests };
        let (fine, said) = promtool(&[args, &[file.to_str().unwrap()]].concat(), "");
        assert!(fine && said.contains("SUCCESS"), "{said}");
    }
    // Each query as a rule of its own, with a value in the place of each variable.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yaml");
    let queries = queries(&dashboard());
    let rule = |(number, query): (usize, &String)| {
        let query = query.replace("$namespace", ".*").replace("$release", ".*");
        serde_json::json!({"record": format!("dashboard:panel:{number}"), "expr": query})
    };
    let rules: Vec<Value> = queries.iter().enumerate().map(rule).collect();
    let text = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    fs::write(&file, text).unwrap();
    let (fine, said) = promtool(&["check", "rules", file.to_str().unwrap()], "");
    assert!(fine && said.contains(&format!("SUCCESS: {} rules found", queries.len())), "{said}");
}

#[test]
#[ignore = "needs promtool: `make metrics`"]
fn promtool_takes_the_metrics_of_an_install_that_is_well_and_of_one_that_is_not() {
    let (home, store) = home();
    let check = || {
        drop(dr(home.path(), &["--quiet", "status", "--metrics", "dr.prom"]));
        let text = fs::read_to_string(home.path().join("dr.prom")).unwrap();
        let (fine, said) = promtool(&["check", "metrics"], &text);
        assert!(fine && said.is_empty(), "{said}\n{text}");
        metrics(&text)
    };
    let empty = check();
    publish(&store);
    made(&store, 0);
    with_signing_key(home.path());
    assert!(dr(home.path(), &["bundle", "verify", NAME]).ends_with("--- exit 0"));
    let settings = home.path().join(".config/dr/dr.toml");
    let record = fs::read_to_string(store.join(NAME).join("published.json")).unwrap();
    let install = &serde_json::from_str::<Value>(&record).unwrap()["bundle"]["install"];
    let text = fs::read_to_string(&settings).unwrap();
    let named = format!("{text}[install]\nnamespace = {}\nrelease = {}\n", install["namespace"], install["release"]);
    fs::write(&settings, named).unwrap();
    let full = check();
    assert!(full.len() > empty.len() && full.contains("dr_bundle_last_verified_timestamp_seconds"), "{full:?}");
    fs::remove_dir_all(&store).unwrap();
    assert!(check().contains("dr_store_up"));
}
