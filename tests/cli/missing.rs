//! Every verb that is given a file or folder that is not there says what to do about it.

use std::path::Path;

use crate::records::{Host, said};

/// Each with the words of its command line; what is named `nope` is nowhere.
const CALLS: &[&[&str]] = &[
    &["--settings", "nope/dr.toml", "status"],
    &["--settings", "nope/dr.toml", "bundle", "list"],
    &["--log-file", "nope/log", "status"],
    &["report", "--out", "nope/dr.html"],
    &["status", "--metrics", "nope/dr.prom"],
    &["deploy", "-f", "nope.yaml"],
    &["deploy", "-f", "v.yaml", "--chart", "./nope.tgz"],
    &["deploy", "-f", "v.yaml", "--set-file", "a=nope"],
    &["config", "record", "nope.yaml"],
    &["config", "record", "--dir", "nope"],
    &["config", "lint", "nope.yaml"],
    &["config", "lint", "v.yaml", "--chart", "./nope.tgz"],
    &["config", "diff", "nope.yaml", "live"],
    &["config", "diff", "v.yaml", "live", "--ignore-file", "nope"],
    &["config", "parity", "nope/a", "live"],
    &["config", "parity", "live", "--export", "nope/a"],
    &["config", "upgrade", "nope.yaml", "v.yaml", "-f", "v.yaml"],
    &["config", "upgrade", "v.yaml", "v.yaml", "-f", "nope.yaml"],
    &["config", "upgrade", "v.yaml", "v.yaml", "-f", "v.yaml", "--out", "nope/x"],
    &["config", "edit", "--draft", "nope.age"],
    &["config", "check", "nope"],
    &["config", "check", "--install-hook", "nope"],
    &["config", "check", "--install-hook", "/"],
    &["config", "verify", "--identity", "nope", "--decrypt"],
    &["config", "verify", "--signers", "nope"],
    &["config", "verify", "--vault", "nope"],
    &["config", "sync", "nope"],
    &["config", "textconv", "nope"],
    &["bundle", "list", "--store", "nope"],
    &["bundle", "show", "./nope.tar"],
    &["bundle", "show", "b", "--store", "nope"],
    &["bundle", "show", "b", "--trusted-signers", "nope"],
    &["bundle", "verify", "./nope.tar"],
    &["bundle", "extract", "./nope.tar", "values"],
    &["bundle", "diff", "./nope.tar", "./nope2.tar"],
    &["bundle", "import", "./nope"],
    &["bundle", "copy", "b", "--to", "nope"],
    &["bundle", "restore", "./nope.tar"],
    &["bundle", "restore", "b", "--identity", "nope", "--store", "nope"],
    &["bundle", "restore", "--version", "2026-08-20", "--store", "nope"],
    &["image", "save", "nope/x.tar"],
    &["run", "show", "nope"],
    &["notify", "test"],
];

#[test]
fn a_file_that_is_not_there_is_an_error_that_leads_on() {
    let host = Host::new();
    host.file("v.yaml", "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  TZ: UTC\n");
    host.ok(&["config", "record", "v.yaml", "--at", "2026-08-20"]);
    crate::records::fake_helm(&host, "");
    let settings = host.home().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text + "\n[[notify]]\nname = \"ops\"\nkind = \"webhook\"\nurl_file = \"nope\"\n")
        .unwrap();
    let mut wrong = Vec::new();
    for call in CALLS {
        let output = host.run(call);
        let text = said(&output);
        let leads_on = text.contains("hint: ") || text.contains("-> ") || text.contains("tip: ");
        if output.status.success() || !leads_on || text.contains(".dr-") {
            wrong.push(format!("{}:\n{text}", call.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_store_that_is_not_there_is_made_and_a_hook_goes_into_a_repository() {
    let host = Host::new();
    let at = |name: &str| host.home().join(name).display().to_string();
    let text = host.fails(29, &["bundle", "list", "--store", &at("store2")]);
    assert!(text.contains(&format!("`mkdir -p {}`", at("store2"))), "{text}");
    std::fs::create_dir(Path::new(&at("plain"))).unwrap();
    let text = host.fails(14, &["config", "check", "--install-hook", &at("plain")]);
    assert!(text.contains("is no git repository") && !text.contains("vault"), "{text}");
}

#[test]
fn a_lost_identity_is_brought_back_before_a_new_one_is_made() {
    let host = Host::new();
    std::fs::remove_file(host.home().join(".config/dr/identity.txt")).unwrap();
    let text = said(&host.run(&["doctor"]));
    assert!(text.contains("bring the file from where it is kept, or name the escrow key"), "{text}");
    let text = said(&host.run(&["init"]));
    assert!(text.contains("the settings seal to other keys") && text.contains("opens nothing"), "{text}");
    assert!(!said(&Host::new().run(&["init"])).contains("the settings seal to other keys"));
    let text = host.fails(15, &["init", "--recipient", "age1..."]);
    assert!(text.contains("hint: ") && text.contains("age-keygen"), "{text}");
}

#[test]
fn what_is_broken_is_said_once_and_no_other_install_is_judged() {
    let host = Host::new();
    let settings = host.home().join(".config/dr/dr.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("[install]", "[install]\nfoo = 1")).unwrap();
    for verb in ["status", "doctor"] {
        let text = said(&host.run(&[verb]));
        assert_eq!(text.matches("unknown field").count(), 1, "{text}");
    }
    let host = Host::new();
    let text = said(&host.run(&["doctor"]));
    assert_eq!(text.matches("cannot use the kubeconfig").count(), 1, "{text}");
}

#[test]
fn a_key_that_is_none_of_the_list_is_refused_before_anybody_is_asked() {
    let host = Host::new();
    let text = said(&host.run(&["config", "recipients", "rm", "foo"]));
    assert!(!text.contains("confirmation needed") && text.contains("hint: "), "{text}");
    let text = host.fails(64, &["restore", "b"]);
    assert!(text.contains("'dr bundle restore'"), "{text}");
    assert!(host.ok(&["help", "bundle", "restore"]).contains("Usage: dr bundle restore"));
}

#[test]
fn without_settings_the_way_to_a_schedule_begins_with_them() {
    let home = tempfile::tempdir().unwrap();
    let text = crate::dr(home.path(), &["schedule", "list"]);
    assert!(text.contains("next: dr init") && !text.contains("--systemd"), "{text}");
}
