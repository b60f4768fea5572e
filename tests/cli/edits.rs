//! `dr config edit`: in memory, looked through, deployed or kept sealed, and never in the clear on a disk.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::records::{Host, said};

const VALUES: &str = "# mine\nenv:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n  PGPASSWORD: 'hunter22-canary'\n  TZ: UTC\n";

fn recorded() -> Host {
    let host = Host::new();
    host.file("v.yaml", VALUES);
    host.ok(&["config", "record", "v.yaml", "--at", "2026-08-20"]);
    std::fs::remove_file(host.home().join("v.yaml")).unwrap();
    host
}

fn edit(host: &Host, editor: &str, args: &[&str]) -> Command {
    let mut command = host.command(&[&["config", "edit"], args].concat());
    // Not VISUAL: it goes first, and must not be needed.
    command.env("EDITOR", editor);
    command
}

/// What the host's keys open.
fn opened(host: &Host, file: &Path) -> String {
    let identity = host.home().join(".config/dr/identity.txt");
    let output = Command::new("age").args(["-d", "-i"]).arg(identity).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// No file of the home holds the secret.
fn refuse_plaintext(host: &Host) {
    let found = Command::new("grep").args(["-rlF", "hunter22-canary"]).arg(host.home()).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", said(&found));
}

fn drafts(host: &Host) -> Vec<PathBuf> {
    let folder = host.home().join(".local/state/dr/drafts");
    std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_was_not_changed_is_neither_deployed_nor_kept() {
    let host = recorded();
    let commits = host.commits();
    let output = edit(&host, "sed -i s/nothing/like-it/", &[]).output().unwrap();
    assert!(output.status.success() && said(&output).contains("Nothing was changed"), "{}", said(&output));
    assert_eq!((host.commits(), drafts(&host).len()), (commits, 0));
}

#[test]
fn the_editor_works_in_memory_and_the_draft_is_sealed_private_and_never_written_over() {
    let host = recorded();
    let script = "#!/bin/sh\nstat -f -c %T \"$1\" >> seen; stat -c %a \"$1\" \"${1%/*}\" >> seen; echo \"$1 $TMPDIR\" > where\nsed -i 's/TZ: UTC/TZ: CET/' \"$1\"\n";
    let editor = host.program("bin/my-editor", script);
    let output = edit(&host, editor.to_str().unwrap(), &["--save", "draft.age"]).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("~ env.TZ  \"UTC\" -> \"CET\"") && !text.contains("hunter22"), "{text}");
    assert!(text.contains("keeps copies"), "an editor that is not known is warned of: {text}");
    let seen = std::fs::read_to_string(host.home().join("seen")).unwrap();
    assert_eq!(seen, "tmpfs\n600\n700\n");
    let place = std::fs::read_to_string(host.home().join("where")).unwrap();
    let (file, folder) = place.trim().split_once(' ').unwrap();
    assert_eq!(Path::new(file).parent().unwrap(), Path::new(folder), "what editors write on the side goes there, too");
    assert!(!Path::new(folder).exists());
    let draft = host.home().join("draft.age");
    assert_eq!(std::fs::metadata(&draft).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(opened(&host, &draft), VALUES.replace("UTC", "CET"));
    let again = edit(&host, "sed -i s/UTC/PST/", &["--save", "draft.age"]).output().unwrap();
    assert_eq!(again.status.code(), Some(20), "{}", said(&again));
    assert!(drafts(&host).is_empty(), "nothing was typed");
    assert_eq!(opened(&host, &draft), VALUES.replace("UTC", "CET"));
    // One that came while the editor was open.
    let late = host.program("bin/late", "#!/bin/sh\necho mine > late.age\nsed -i s/UTC/PST/ \"$1\"\n");
    let again = edit(&host, late.to_str().unwrap(), &["--save", "late.age"]).output().unwrap();
    assert_eq!(again.status.code(), Some(20), "{}", said(&again));
    assert_eq!(std::fs::read_to_string(host.home().join("late.age")).unwrap(), "mine\n");
    assert_eq!(opened(&host, &drafts(&host)[0]), VALUES.replace("UTC", "PST"), "and the second edit is not lost");
    let on = edit(&host, "sed -i s/CET/MET/", &["--draft", "draft.age", "--save", "next.age"]).output().unwrap();
    assert!(on.status.success(), "{}", said(&on));
    assert_eq!(opened(&host, &host.home().join("next.age")), VALUES.replace("UTC", "MET"));
    refuse_plaintext(&host);
}

#[test]
fn what_cannot_be_deployed_is_kept_and_the_way_on_is_named() {
    let host = recorded();
    for (editor, code, words) in
        [("sed -i s/UTC/CET/", 11, "there is no helm"), ("sed -i s/env:/env:[/", 1, "the edited values: line")]
    {
        let output = edit(&host, editor, &[]).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words) && text.contains("dr config edit --draft"), "{text}");
        assert!(!text.contains("hunter22"), "{text}");
    }
    let mut kept: Vec<String> = drafts(&host).iter().map(|draft| opened(&host, draft)).collect();
    kept.sort();
    assert_eq!(kept, [VALUES.replace("UTC", "CET"), VALUES.replace("env:", "env:[")]);
    refuse_plaintext(&host);
}

#[test]
fn an_editor_that_fails_or_is_missing_changes_nothing() {
    let host = recorded();
    let output = edit(&host, "false", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let output = edit(&host, "no-such-editor", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    assert_eq!(drafts(&host).len(), 0);
}

#[test]
fn a_key_that_stored_data_depends_on_is_named_in_the_review() {
    let host = recorded();
    let output = edit(&host, "sed -i s/hunter22-canary/other-password/", &["--save", "d.age"]).output().unwrap();
    let text = said(&output);
    assert!(output.status.success() && text.contains("env.PGPASSWORD differs"), "{text}");
    assert!(!text.contains("hunter22") && !text.contains("other-password"), "{text}");
}

/// Begins an edit whose editor never ends, and waits until the editor has the file, which is given.
fn begin_endless_edit(host: &Host, mut run: Command) -> (std::process::Child, PathBuf) {
    let ready = host.home().join("ready");
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while !ready.exists() {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "the editor was not started");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    (child, PathBuf::from(std::fs::read_to_string(&ready).unwrap().trim()))
}

#[test]
fn a_crash_of_what_dr_starts_leaves_no_core_dump() {
    let host = recorded();
    let editor = host.program("bin/limited", "#!/bin/sh\nulimit -Hc > core-limit\n");
    edit(&host, editor.to_str().unwrap(), &[]).output().unwrap();
    assert_eq!(std::fs::read_to_string(host.home().join("core-limit")).unwrap(), "0\n");
}

/// The same command by way of another program, which becomes it.
fn through(before: &[&str], command: &Command) -> Command {
    let mut run = Command::new(before[0]);
    run.args(&before[1..]).arg(command.get_program()).args(command.get_args()).env_clear().stdin(Stdio::null());
    run.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run.current_dir(command.get_current_dir().unwrap());
    run
}

fn endless_editor(host: &Host) -> String {
    let script = "#!/bin/sh\nsed -i s/UTC/CET/ \"$1\"\necho \"$1\" > ready.new && mv ready.new ready\nexec sleep 60\n";
    host.program("bin/slow", script).to_str().unwrap().to_owned()
}

fn send(signal: &str, child: &std::process::Child) {
    assert!(Command::new("/bin/kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_signal_ends_the_editor_leaves_nothing_in_memory_and_is_named_by_the_exit_code() {
    for (signal, code) in [("-HUP", 129), ("-INT", 130), ("-TERM", 143)] {
        let host = recorded();
        // The test itself may run under nohup.
        let run =
            through(&["/usr/bin/env", "--default-signal=HUP,INT,TERM"], &edit(&host, &endless_editor(&host), &[]));
        let (child, file) = begin_endless_edit(&host, run);
        assert!(file.exists());
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(!file.parent().unwrap().exists());
        assert_eq!(opened(&host, &drafts(&host)[0]), VALUES.replace("UTC", "CET"), "what was written so far is kept");
        refuse_plaintext(&host);
    }
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let host = recorded();
    // What nohup does.
    let run = through(&["/usr/bin/env", "--ignore-signal=HUP"], &edit(&host, &endless_editor(&host), &[]));
    let (child, _) = begin_endless_edit(&host, run);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap() & 1
    };
    assert_eq!((mask("SigIgn:"), mask("SigCgt:")), (1, 0), "{status}");
    send("-TERM", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", said(&output));
}

/// A stand-in for helm with no release, and a chart.
const HELM: &str = r#"#!/bin/sh
echo "$*" >> helm-argv
case "$1" in
version) echo v4.1.4 ;;
history) echo 'Error: release: not found' >&2; exit 1 ;;
show) case "$*" in *" chart "*) printf 'name: opschain\nversion: 2026.8.20\n' ;; esac ;;
upgrade) case "$*" in *--dry-run*) cat > /dev/null; cat rendered.json ;; *) exit 1 ;; esac ;;
*) exit 1 ;;
esac
"#;

#[test]
fn edited_values_go_the_way_of_a_deployment() {
    let host = recorded();
    let object = r"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: zone}\ndata: {TZ: CET}\n";
    host.file("rendered.json", &format!(r#"{{"name":"opschain","manifest":"{object}","hooks":[]}}"#));
    host.program("bin/helm", HELM);
    host.file("chart.tgz", "x");
    let args = ["--chart", "chart.tgz", "--dry-run", "--output", "json"];
    let output = edit(&host, "sed -i s/UTC/CET/", &args).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["diff"]["changes"][0]["path"], "env.TZ");
    // What the API server would change, as `dr deploy --dry-run` shows it.
    assert!(plan["objects"].to_string().contains("zone"), "{plan}");
    assert!(plan["values"].as_str().unwrap().starts_with("the edited values of 20260820T"), "{plan}");
    // Nobody to ask: not deployed, and kept.
    let output = edit(&host, "sed -i s/UTC/CET/", &["--chart", "chart.tgz"]).output().unwrap();
    assert_eq!(output.status.code(), Some(27), "{}", said(&output));
    // What was kept goes on as it is.
    let draft = drafts(&host).swap_remove(0);
    let draft = draft.to_str().unwrap();
    let on = [&["--draft", draft], &args[..]].concat();
    let output = edit(&host, "sed -i s/nothing/like-it/", &on).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["diff"]["changes"][0]["new"]["value"], "CET", "{plan}");
    let on = ["--draft", draft, "--chart", "chart.tgz"];
    let output = edit(&host, "sed -i s/nothing/like-it/", &on).output().unwrap();
    let text = said(&output);
    assert!(output.status.code() == Some(27) && text.contains("continues it"), "{text}");
    assert_eq!(drafts(&host).len(), 1, "and is not kept twice");
    let argv = std::fs::read_to_string(host.home().join("helm-argv")).unwrap();
    assert!(!argv.contains("hunter22"), "{argv}");
    let deploys = |line: &&str| line.starts_with("upgrade") && !line.contains("--dry-run");
    assert!(!argv.lines().any(|line| deploys(&line)), "{argv}");
    refuse_plaintext(&host);
}

#[test]
fn an_editor_of_the_screen_is_not_opened_where_there_is_none() {
    let host = recorded();
    // Would be found where neither VISUAL nor EDITOR names one, and writes what it shows to stdout, as vim does.
    host.program("bin/vim", "#!/bin/sh\nfor last; do :; done; cat \"$last\"\n");
    for (editor, args) in [("vim", &[][..]), ("vim", &["--no-input"]), ("", &["--no-input"])] {
        let output = edit(&host, editor, args).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(27), "{text}");
        assert!(text.contains("needs a terminal") && text.contains("hint: ") && !text.contains("hunter22"), "{text}");
    }
    let output = edit(&host, "sed -i s/UTC/CET/", &["--no-input", "--save", "draft.age"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}
