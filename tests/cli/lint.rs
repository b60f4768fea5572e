//! `dr config lint`: findings with their places, exit codes, and no secret in any of it.

use std::path::Path;

use dr::internals::values::lint;

use crate::dr;

fn linted(values: &[u8], args: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("values.yaml"), values).unwrap();
    let chart = home.path().join("chart");
    std::fs::create_dir(&chart).unwrap();
    std::fs::write(chart.join("values.yaml"), "own: {size: 1, free: {}}\n").unwrap();
    // Lines are broken where the page ends.
    dr(home.path(), &[&["config", "lint", "values.yaml"], args].concat())
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_clean_file_is_said_to_be_clean_without_settings_helm_or_cluster() {
    let values = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/values/2026-10-08.yaml");
    let said = linted(&std::fs::read(values).unwrap(), &[]);
    assert!(said.starts_with("values.yaml: nothing found, judged by release 2026-10-08."), "{said}");
    assert!(said.ends_with("exit 0"), "{said}");
}

#[test]
fn findings_have_place_id_reason_and_fix_and_end_with_two() {
    let said = linted(b"env:\n  OPSCHAIN_PRIMARY_KEY: 12345678901234567890123456789012\nstoped: true\n", &[]);
    assert!(said.contains("values.yaml:2:25 env.OPSCHAIN_PRIMARY_KEY: a secret that Helm reads as a number"), "{said}");
    assert!(said.contains("[secret-not-text]"), "{said}");
    assert!(said.contains("did you mean `stopped`?"), "{said}");
    assert!(!said.contains("123456"), "{said}");
    assert!(said.ends_with("exit 2"), "{said}");
}

#[test]
fn notes_count_only_when_strict() {
    assert!(linted(b"stopped: true", &[]).ends_with("exit 0"));
    let said = linted(b"stopped: true", &["--strict"]);
    assert!(said.contains("[no-final-newline]") && said.ends_with("exit 2"), "{said}");
}

#[test]
fn a_chart_tells_which_keys_there_are() {
    assert!(linted(b"own: {size: 2, free: {any: 1}}\n", &["--chart", "chart"]).ends_with("exit 0"));
    let said = linted(b"own: {sise: 2}\nother: {}\n", &["--chart", "chart", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(said.split("--- stderr").next().unwrap()).unwrap();
    let ids: Vec<&str> =
        json["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["unknown-key", "unknown-key"], "{said}");
    assert_eq!((json["clean"].as_bool(), json["chart"].as_str()), (Some(false), Some("chart")));
}

#[test]
fn the_release_decides_which_keys_are_known() {
    let values = b"rolloutGuard: {enabled: true}\n";
    assert!(linted(values, &["--version", "2026-10-08"]).ends_with("exit 0"));
    let said = linted(values, &["--version", "2026.8.20"]);
    assert!(said.contains("comes with release 2026-09-10") && said.ends_with("exit 2"), "{said}");
    assert!(linted(values, &["--version", "x y"]).ends_with("exit 64"));
}

#[test]
fn what_helm_would_not_read_is_refused_with_its_place() {
    let said = linted(b"a: [\n", &[]);
    assert!(said.contains("values.yaml: line 1") && said.ends_with("exit 1"), "{said}");
    let home = tempfile::tempdir().unwrap();
    assert!(dr(home.path(), &["config", "lint", "missing.yaml"]).ends_with("exit 14"));
}

/// The page lists every lint with its severity, and no other.
#[test]
fn the_reference_lists_every_lint() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/lints.md")).unwrap();
    let rows: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row.split(" | ");
            let id = cells.next().unwrap().trim_end_matches('`').to_owned();
            (id, cells.next().unwrap().to_owned())
        })
        .collect();
    let listed: Vec<(String, String)> = lint::ALL
        .iter()
        .map(|(id, severity)| {
            let severity = serde_json::to_value(severity).unwrap();
            ((*id).to_owned(), severity.as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(rows, listed);
}

/// A limit that a busy machine keeps; how much is compared is counted beside the search for the name that was meant.
#[test]
fn twenty_thousand_keys_are_looked_through_in_linear_time() {
    let lines = |line: fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    for yaml in [
        "env:\n".to_owned() + &lines(|number| format!("  OPSCHAIN_EXTRA_SETTING_{number}: x\n")),
        "env:\n".to_owned() + &lines(|number| format!("  A{number}_PASSWORD: &a{number} kq{number}wz81\n")),
        lines(|number| format!("ownKey{number}: 1\n")),
    ] {
        let begun = std::time::Instant::now();
        linted(yaml.as_bytes(), &["--output", "json"]);
        // A few seconds alone, and 17 in a build for tests; what grows with the square takes many minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(100), "{:?} for {}", begun.elapsed(), &yaml[..40]);
    }
}
