//! `dr config upgrade`: the proposal, its file, and a report without secrets.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::dr;

const OLD: &str = "# old\nenv: {OPSCHAIN_VERSION: \"2026-08-20\", PGPASSWORD: \"\"}\napi:\n  replicas: 1\ngone: 1\n";
const NEW: &str = "# new\nenv:\n  # the release\n  OPSCHAIN_VERSION: \"2026-09-14\"\n  PGPASSWORD: \"\" # yours\napi:\n  replicas: 1\nfresh: true\n";
const YOURS: &str =
    "env: {OPSCHAIN_VERSION: \"2026-08-20\", PGPASSWORD: 'hunter2hunter2'}\napi:\n  replicas: 3 # busy\ngone: 1\n";

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in [("old.yaml", OLD), ("new.yaml", NEW), ("values.yaml", YOURS)] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    home
}

fn upgraded(home: &tempfile::TempDir, args: &[&str]) -> String {
    dr(home.path(), &[&["config", "upgrade", "old.yaml", "new.yaml", "-f", "values.yaml"], args].concat())
}

#[test]
fn the_proposal_is_the_new_file_with_the_operators_edits() {
    let home = home();
    let said = upgraded(&home, &["--out", "next.yaml"]);
    assert!(said.ends_with("exit 0"), "{said}");
    assert!(said.contains("fresh: true") && said.contains("\"2026-08-20\" -> \"2026-09-14\""), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let path = home.path().join("next.yaml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "# new\nenv:\n  # the release\n  OPSCHAIN_VERSION: \"2026-09-14\"\n  PGPASSWORD: 'hunter2hunter2' # yours\napi:\n  replicas: 3 # busy\nfresh: true\n"
    );
}

#[test]
fn a_file_that_is_there_is_written_over_only_by_force() {
    let home = home();
    std::fs::write(home.path().join("next.yaml"), "mine").unwrap();
    let said = upgraded(&home, &["--out", "next.yaml"]);
    assert!(said.contains("next.yaml is there already") && said.ends_with("exit 20"), "{said}");
    assert_eq!(std::fs::read_to_string(home.path().join("next.yaml")).unwrap(), "mine");
    assert!(upgraded(&home, &["--out", "next.yaml", "--force"]).ends_with("exit 0"));
    assert!(std::fs::read_to_string(home.path().join("next.yaml")).unwrap().starts_with("# new"));
}

#[test]
fn stdout_is_the_file_alone_when_it_is_asked_for() {
    let said = upgraded(&home(), &["--out", "-"]);
    let (stdout, stderr) = said.split_once("--- stderr\n").unwrap();
    assert!(stdout.starts_with("# new\n") && stdout.ends_with("fresh: true\n"), "{stdout}");
    assert!(stderr.contains("New:") && !stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn the_report_is_json_when_asked_for_and_hides_secrets() {
    let said = upgraded(&home(), &["--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(said.split("--- stderr").next().unwrap()).unwrap();
    let outcomes: Vec<String> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("{} {}", item["outcome"].as_str().unwrap(), item["path"].as_str().unwrap()))
        .collect();
    assert_eq!(
        outcomes,
        ["dropped gone", "new-default env.OPSCHAIN_VERSION", "new fresh", "kept env.PGPASSWORD", "kept api.replicas"]
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_file_of_overrides_stays_one_unless_the_whole_is_asked_for() {
    let home = home();
    std::fs::write(home.path().join("values.yaml"), "# ours\ngone: 2\n").unwrap();
    let said = upgraded(&home, &["--out", "next.yaml"]);
    assert!(said.contains("stays so") && said.contains("New, and not copied:\n  fresh: true"), "{said}");
    assert_eq!(std::fs::read_to_string(home.path().join("next.yaml")).unwrap(), "# ours\ngone: 2\n");
    let said = upgraded(&home, &["--out", "-", "--style", "full"]);
    assert!(said.contains("fresh: true\n# ours\ngone: 2\n"), "{said}");
}

#[test]
fn a_report_in_json_does_not_share_stdout_with_the_proposal() {
    let said = upgraded(&home(), &["--out", "-", "--output", "json"]);
    let error: serde_json::Value =
        serde_json::from_str(said.split("--- stderr").nth(1).unwrap().lines().nth(1).unwrap()).unwrap();
    assert!(error["error"]["hints"].to_string().contains("--out") && said.ends_with("exit 64"), "{said}");
}

#[test]
fn a_folder_that_is_not_there_is_named_with_the_way_out() {
    let home = home();
    let said = upgraded(&home, &["--out", "nodir/next.yaml"]);
    assert!(said.contains("mkdir -p nodir") && said.ends_with("exit 14"), "{said}");
    let said = upgraded(&home, &["--out", "values.yaml/next.yaml"]);
    assert!(said.contains("hint:") && said.ends_with("exit 14"), "{said}");
}

#[test]
fn what_is_no_values_file_chart_or_version_is_said_to_be_none() {
    let home = home();
    let said = dr(home.path(), &["config", "upgrade", "nowhere", "new.yaml", "-f", "values.yaml"]);
    assert!(
        said.contains("there is no values file, chart or version `nowhere`") && said.ends_with("exit 14"),
        "{said}"
    );
}

#[test]
fn a_link_is_written_through_and_what_is_no_file_is_refused() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("real")).unwrap();
    std::os::unix::fs::symlink("real/next.yaml", at("link.yaml")).unwrap();
    assert!(upgraded(&home, &["--out", "link.yaml"]).ends_with("exit 0"));
    assert!(at("link.yaml").symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::metadata(at("real/next.yaml")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(upgraded(&home, &["--out", "link.yaml"]).ends_with("exit 20"));
    assert!(upgraded(&home, &["--out", "link.yaml", "--force"]).ends_with("exit 0"));
    assert!(at("link.yaml").symlink_metadata().unwrap().is_symlink());
    std::os::unix::fs::symlink("loop", at("loop")).unwrap();
    std::os::unix::fs::symlink("/dev/null", at("null")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for odd in ["real", "loop", "socket", "null", "/dev/null"] {
        let said = upgraded(&home, &["--out", odd, "--force"]);
        assert!(said.ends_with("exit 64"), "{odd}: {said}");
    }
}

#[test]
fn a_file_with_several_names_is_not_replaced_under_one_of_them_and_another_users_stays_theirs() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("next.yaml"), "old: 1\n").unwrap();
    std::fs::hard_link(at("next.yaml"), at("other.yaml")).unwrap();
    let said = upgraded(&home, &["--out", "next.yaml", "--force"]);
    assert!(said.contains("has 2 names") && said.contains("hint:") && said.ends_with("exit 20"), "{said}");
    assert_eq!(std::fs::read_to_string(at("next.yaml")).unwrap(), "old: 1\n");
    std::fs::remove_file(at("other.yaml")).unwrap();
    // Whose it is can be given away by root alone.
    let is_given = std::os::unix::fs::chown(at("next.yaml"), Some(4711), Some(4711)).is_ok();
    assert!(upgraded(&home, &["--out", "next.yaml", "--force"]).ends_with("exit 0"));
    let now = std::fs::metadata(at("next.yaml")).unwrap();
    assert!(now.len() > 10 && now.permissions().mode() & 0o007 == 0);
    assert!(!is_given || (now.uid(), now.gid()) == (4711, 4711));
}

#[test]
fn the_operators_comments_stay_with_their_keys() {
    let home = home();
    let yours = "# Site north\r\nenv:\r\n  # CHG-7\r\n  PGPASSWORD: 'hunter2hunter2'\r\napi:\r\n  replicas: 1 # CHG-8\r\n# reviewed\r\n";
    std::fs::write(home.path().join("values.yaml"), yours).unwrap();
    let said = upgraded(&home, &["--out", "next.yaml"]);
    assert!(!said.contains("found no place"), "{said}");
    let text = std::fs::read_to_string(home.path().join("next.yaml")).unwrap();
    for line in ["# Site north\r\nenv:", "  # CHG-7\r\n  PGPASSWORD", "replicas: 1 # CHG-8\r\n", "\r\n# reviewed\r\n"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_release_that_is_not_told_is_left_to_the_operator_with_the_command_that_names_it() {
    let home = home();
    std::fs::write(home.path().join("new.yaml"), "api:\n  replicas: 1\n").unwrap();
    let said = upgraded(&home, &["--out", "next.yaml"]);
    assert!(said.contains("still names 2026-08-20: set it to the release that you go to"), "{said}");
    assert!(said.contains("dr deploy -f next.yaml --version V --dry-run") && said.ends_with("exit 0"), "{said}");
}

#[test]
fn of_long_values_that_differ_the_piece_in_which_they_do_is_told() {
    let home = home();
    let rules: String = (0..9).map(|n| format!("host all u{n} 10.0.0.{n}/32 scram; ")).collect();
    for (name, end) in [("old.yaml", "local md5"), ("new.yaml", "local scram"), ("values.yaml", "local trust")] {
        std::fs::write(home.path().join(name), format!("rules: \"{rules}{end}\"\nmore: [\"{rules}\", 1]\n")).unwrap();
    }
    let said = upgraded(&home, &[]);
    let line: String = said.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    for end in ["local trust\"; default was", "local md5\", is", "local scram\""] {
        assert!(line.contains(end), "{end}: {said}");
    }
    assert!(said.len() < 700, "{said}");
    let json = upgraded(&home, &["--output", "json"]);
    assert!(json.contains(&format!("{rules}local trust")), "{json}");
}

#[test]
fn what_a_merge_brings_is_not_told_gone_where_it_stays() {
    let home = home();
    for (name, text) in [
        ("old.yaml", "a: {s: x, t: 1}\n"),
        ("new.yaml", "a: {t: 1}\n"),
        ("values.yaml", "d: &d {s: x}\na:\n  <<: *d\n  t: 2\n"),
    ] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    let said = upgraded(&home, &["--style", "overrides"]);
    assert!(said.contains("a merge of yours (<<) brings it, and it stays:\n  a.s: \"x\""), "{said}");
    assert!(!said.contains("Gone from the release, and"), "{said}");
}
