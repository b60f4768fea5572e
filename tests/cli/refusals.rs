//! Refusals without a cluster: cause, hint and exit code, word for word.

use insta::assert_snapshot;

use crate::dr;
use crate::signals::BUNDLE;

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
fn a_wrong_word_is_json_when_json_is_asked_for() {
    for flags in [&["--output", "json"][..], &["-ojson"], &["--output=json"]] {
        let said = dr(home().path(), &[flags, &["bundle", "copy"]].concat());
        let (_, rest) = said.split_once("--- stderr").unwrap();
        let (json, exit) = rest.split_once("--- exit ").unwrap();
        let error = &serde_json::from_str::<serde_json::Value>(json.trim()).unwrap()["error"];
        assert!(error["message"].as_str().unwrap().contains("required arguments") && exit == "64", "{said}");
        assert!(error["hints"].as_array().unwrap().len() >= 2, "{said}");
    }
}

#[test]
fn a_bare_machine_is_led_by_doctor() {
    assert_snapshot!(dr(home().path(), &["doctor"]));
}

#[test]
fn a_file_of_keys_or_trust_that_is_somebody_elses_or_in_an_open_folder_is_refused() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let home = home();
    assert!(dr(home.path(), &["init"]).ends_with("exit 0"));
    let folder = home.path().join(".config/dr");
    let mode = |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
    let refused = |args: &[&str], file: &str, why: &str| {
        let said = dr(home.path(), args);
        assert!(said.contains(&format!("{file} {why}")) && said.contains("Look at what is in it"), "{said}");
        assert!(said.ends_with("exit 10") || said.ends_with("exit 15"), "{said}");
    };
    mode(0o777);
    refused(&["bundle", "list"], "dr.toml", "is in folder ~/.config/dr, where others may put another in its place");
    mode(0o1777);
    assert!(!dr(home.path(), &["bundle", "list"]).contains("where others"));
    mode(0o700);
    // Only root can give a file away.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let signers = "~/.config/dr/allowed_signers".replace('~', home.path().to_str().unwrap());
    for (file, args) in [
        ("dr.toml", &["bundle", "list"][..]),
        ("allowed_signers", &["bundle", "show"]),
        ("allowed_signers", &["bundle", "show", "--trusted-signers", &signers]),
        ("identity.txt", &["bundle", "verify", BUNDLE, "--any-signer", "--decrypt"]),
    ] {
        chown(folder.join(file), Some(4711), None).unwrap();
        refused(args, file, "belongs to user 4711, who is neither this one nor root");
        chown(folder.join(file), Some(0), None).unwrap();
    }
}

#[test]
fn a_variable_set_to_nothing_is_none_and_what_dr_says_of_itself_needs_neither_settings_nor_home() {
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr"));
        let output = command.args(args).env_clear().envs(variables.iter().copied()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let variables = ["DR_SETTINGS", "DR_NAMESPACE", "DR_CONTEXT", "DR_RELEASE", "DR_LOG_FILE", "DR_PASSPHRASE_FILE"];
    let empty = variables.map(|name| (name, ""));
    for args in [&["completions", "bash"][..], &["--help"], &["--version"]] {
        assert_eq!(run(args, &empty), (0, String::new()), "{args:?}");
        assert_eq!(run(args, &[("DR_SETTINGS", "/nonexistent/dr.toml")]), (0, String::new()), "{args:?}");
    }
    let home = home();
    let with_home = [&empty[..], &[("HOME", home.path().to_str().unwrap())]].concat();
    let (code, said) = run(&["bundle", "list"], &with_home);
    assert!(code == 10 && said.contains(".config/dr/dr.toml"), "{code} {said}");
}

#[test]
fn a_command_that_is_named_can_be_run_as_it_stands() {
    let home = home();
    let shown = dr(home.path(), &["-n", "ops", "bundle", "show", BUNDLE, "--any-signer"]);
    let lines: Vec<&str> = shown.lines().collect();
    let command = format!("next: dr -n ops bundle verify {BUNDLE} --any-signer --decrypt --identity KEYFILE");
    assert!(lines.contains(&command.as_str()), "{shown}");
    let refused = dr(home.path(), &["--settings", "./other.toml", "bundle", "list"]);
    assert!(refused.contains("Run `dr --settings ./other.toml init` to make one"), "{refused}");
    let refused = dr(home.path(), &["-o", "json", "--settings=./other.toml", "bundle", "list"]);
    assert!(refused.contains("Run `dr --settings ./other.toml init` to make one"), "{refused}");
    let empty = dr(home.path(), &["--namespace", "ops", "run", "list"]);
    assert!(empty.contains("next: dr -n ops doctor"), "{empty}");
}

#[test]
fn a_key_in_a_bucket_s_address_is_refused_unsaid_and_nothing_is_made() {
    let home = home();
    let refused = dr(home.path(), &["init", "--store", "s3://KEY:sesquipedal@bundles/x"]);
    assert!(refused.contains("it is not a bucket such as") && refused.ends_with("--- exit 64"), "{refused}");
    assert!(!refused.contains("sesquipedal") && !home.path().join(".config/dr").exists(), "{refused}");
    let home = settings("[store]\nurl = \"s3://KEY:sesquipedal@bundles/x\"\n");
    let refused = dr(home.path(), &["status", "--metrics", "dr.prom"]);
    assert!(refused.ends_with("--- exit 10") && !home.path().join("dr.prom").exists(), "{refused}");
    assert!(!refused.contains("sesquipedal"), "{refused}");
}
