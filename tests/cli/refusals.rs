//! Refusals without a cluster: cause, hint and exit code, word for word.

use insta::assert_snapshot;

use crate::dr;

/// A home whose path always has the same length: lines are broken before it is replaced.
fn home() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dr-").rand_bytes(6).tempdir_in("/tmp").unwrap()
}

fn settings(text: &str) -> tempfile::TempDir {
    let home = home();
    std::fs::create_dir_all(home.path().join(".config/dr")).unwrap();
    std::fs::write(home.path().join(".config/dr/dr.toml"), text).unwrap();
    home
}

#[test]
fn without_settings_the_way_out_is_init() {
    assert_snapshot!(dr(home().path(), &["bundle", "list"]));
}

#[test]
fn a_misspelt_setting_is_shown_with_its_place() {
    let home = settings("[install]\nnamespace = \"x\"\nrelase = \"y\"\n");
    assert_snapshot!(dr(home.path(), &["bundle", "list"]));
}

#[test]
fn a_name_that_is_a_path_or_an_option_is_refused_wherever_it_comes_from() {
    let home = settings("[install]\nnamespace = \"../../../apis\"\n");
    assert_snapshot!(dr(home.path(), &["bundle", "list"]));
    assert_snapshot!(dr(home.path(), &["-n", "../../..", "bundle", "list"]));
    assert_snapshot!(dr(home.path(), &["--release=-x", "bundle", "list"]));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    assert_snapshot!(dr(home().path(), &["bundle", "verify", "./nothing.tar", "--any-signer"]));
}

#[test]
fn a_file_that_is_no_bundle_is_called_that() {
    let home = home();
    std::fs::write(home.path().join("x.tar"), [7; 4096]).unwrap();
    assert_snapshot!(dr(home.path(), &["bundle", "verify", "./x.tar", "--any-signer"]));
}

#[test]
fn runs_that_are_not_there_are_said_plainly() {
    assert_snapshot!(dr(home().path(), &["run", "list"]));
    assert_snapshot!(dr(home().path(), &["run", "resume"]));
    assert_snapshot!(dr(home().path(), &["run", "show", "restore-2026"]));
}

#[test]
fn errors_are_json_when_json_is_asked_for() {
    assert_snapshot!(dr(home().path(), &["--output", "json", "run", "show", "x"]));
}

#[test]
fn a_wrong_word_is_a_usage_error() {
    assert_snapshot!(dr(home().path(), &["bundel"]));
}

#[test]
fn a_bare_machine_is_led_by_doctor() {
    assert_snapshot!(dr(home().path(), &["doctor"]));
}
