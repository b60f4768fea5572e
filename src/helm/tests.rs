use super::*;
use crate::event::Event;
use std::sync::{Arc, Mutex};

/// What each helm really answered; `fixtures/helm/README.md` says how they were recorded.
const RECORDED: &[&str] = &["v3.18.0", "v4.1.4"];

fn fixture(version: &str, name: &str) -> String {
    let path = format!("{}/fixtures/helm/{version}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_answers_of_both_majors_are_read() {
    for version in RECORDED {
        let found = parse::version(&fixture(version, "version.stdout")).unwrap();
        assert_eq!(format!("v{found}"), *version);
        let history = parse::history(&fixture(version, "history.stdout")).unwrap();
        let seen: Vec<(u32, &str)> = history.iter().map(|r| (r.revision, r.status.word())).collect();
        assert_eq!(seen, [(1, "superseded"), (2, "deployed")]);
        assert_eq!(history[1].chart, "tiny-2026.8.20");
        let values: serde_json::Value = parse::json(&fixture(version, "get-values-1.stdout"), "get values").unwrap();
        assert_eq!(values, serde_json::json!({"a": 1, "b": {"c": [1, null]}}));
    }
}

#[test]
fn a_missing_release_and_a_digest_are_known_by_their_words() {
    for version in RECORDED {
        for name in ["history-none.stderr", "uninstall-none.stderr"] {
            assert!(parse::is_not_found(&process::error_of(&fixture(version, name))), "{version} {name}");
        }
        assert!(!parse::is_not_found(&process::error_of(&fixture(version, "pull-none.stderr"))), "{version}");
        let said = format!("{}{}", fixture(version, "pull.stdout"), fixture(version, "pull.stderr"));
        assert!(parse::digest(&said).unwrap().starts_with("sha256:"));
    }
}

#[test]
fn an_error_is_what_helm_says_after_the_word() {
    for version in RECORDED {
        let said = process::error_of(&fixture(version, "upgrade-bad-yaml.stderr"));
        assert!(said.starts_with("failed to parse -:"), "{said}");
    }
    assert_eq!(process::error_of("WARNING: x\nError: boom\nmore\n"), "boom\nmore");
    assert_eq!(process::error_of(""), "it said nothing");
}

#[test]
fn json_is_found_behind_the_lines_of_a_pull() {
    let text = "Pulled: r/opschain:1\nDigest: sha256:aa\n[{\"revision\":1,\"updated\":\"t\",\"status\":\"pending-upgrade\",\"chart\":\"c-1\"}]\n";
    assert!(parse::history(text).unwrap()[0].status.is_pending());
    assert!(parse::version("v2.17.0").is_none() && parse::version("3.1.0").is_none());
}

/// A stand-in for what the real helm cannot be made to do at will: leak a secret, hang, be asked to stop.
fn fake(folder: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("helm");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in version) echo v4.1.4; exit 0;; history) echo 'Error: release: not found' >&2; exit 1;; esac\n{script}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn upgrade<'a>(values: &'a [u8], chart: &'a Path) -> UpgradeRequest<'a> {
    UpgradeRequest {
        release: "r",
        chart,
        values,
        sets: &[("stopped", "true")],
        timeout: Duration::from_secs(20),
        wait: false,
        create_namespace: true,
        description: None,
        debug: false,
    }
}

#[tokio::test]
async fn what_helm_quotes_of_the_values_is_masked_in_lines_and_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let binary = fake(folder.path(), "cat; echo \"Error: invalid: s3cret-value-9\" >&2; exit 1");
    let helm = Helm::find(&binary).await.unwrap();
    let values = b"env:\n  PGPASSWORD: s3cret-value-9\nplain: shown";
    let heard = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&heard);
    let events = Events::to(move |event| {
        if let Event::Log { line, .. } = event {
            lines.lock().unwrap().push(line);
        }
    });
    let error = helm
        .upgrade_install(&upgrade(values, folder.path()), &events, &CancellationToken::new(), None)
        .await
        .unwrap_err();
    let heard = heard.lock().unwrap().join("\n");
    // The last line got its end: the fake's own line follows on a new one.
    assert!(heard.contains("plain: shown") && heard.contains("PGPASSWORD: ••••••••"), "{heard}");
    assert!(!heard.contains("s3cret") && !error.to_string().contains("s3cret"), "{heard} {error}");
}

#[tokio::test]
async fn what_helm_dumps_with_debug_is_masked_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let long = (0..30).map(|number| format!("quartz{number:02}")).collect::<Vec<_>>().join(" ");
    let values = format!(
        "env:\n  PGPASSWORD: s3cret\\value-9\n  OPSCHAIN_PRIMARY_KEY: |\n    first-line-of-it\n    second-line-of-it\n  API_TOKEN: {long}\n"
    );
    // What helm 3.18 and 4.1 print after an upgrade with --debug, and a Secret of the manifest in each of its forms.
    let said = format!(
        "upgrade.go:171: preparing upgrade\nUSER-SUPPLIED VALUES:\nenv:\n  PGPASSWORD: s3cret\\value-9\nCOMPUTED VALUES:\n\
         env:\n  PGPASSWORD: s3cret\\value-9\nHOOKS:\nMANIFEST:\njson: {{\"p\":\"s3cret\\\\value-9\"}}\nyaml: 's3cret\\value-9'\n\
         base64: {}\ntwice: \"{{\\\"p\\\":\\\"s3cret\\\\\\\\value-9\\\"}}\"\nblock: |\n  first-line-of-it\n  second-line-of-it\n\
         folded: {}\n  {}\nplain: shown\n",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "s3cret\\value-9"),
        &long[..89],
        &long[90..],
    );
    let dump = folder.path().join("said");
    std::fs::write(&dump, said).unwrap();
    let script =
        format!("cat > /dev/null; case \"$*\" in *--debug*) cat {}; cat {} >&2;; esac", dump.display(), dump.display());
    let helm = Helm::find(&fake(folder.path(), &script)).await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&heard);
    let events = Events::to(move |event| {
        if let Event::Log { line, .. } = event {
            lines.lock().unwrap().push(line);
        }
    });
    let ask = UpgradeRequest { debug: true, ..upgrade(values.as_bytes(), folder.path()) };
    // The fake has no history, which is all that is missed here.
    let ended = helm.upgrade_install(&ask, &events, &CancellationToken::new(), None).await;
    assert!(matches!(ended, Err(HelmError::Answer { .. })), "{ended:?}");
    let heard = heard.lock().unwrap().join("\n");
    assert_eq!(heard.matches("plain: shown").count(), 2, "{heard}");
    assert!(heard.contains("preparing upgrade") && heard.contains("(left out: `dr config cat`"), "{heard}");
    for secret in ["s3cret", "value-9", "first-line", "second-line", "quartz", "czNjcmV0"] {
        assert!(!heard.contains(secret), "{secret}: {heard}");
    }
}

#[tokio::test]
async fn a_stop_reaches_helm_as_term_and_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("stopped");
    let started = folder.path().join("started");
    let script = format!(
        "trap 'echo put away > {}; exit 1' TERM\ncat > /dev/null\n: > {}\nwhile :; do sleep 0.05; done",
        mark.display(),
        started.display()
    );
    let helm = Helm::find(&fake(folder.path(), &script)).await.unwrap();
    let cancel = CancellationToken::new();
    let asker = cancel.clone();
    tokio::spawn(async move {
        while !started.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        asker.cancel();
    });
    let events = Events::none();
    let ended = helm.upgrade_install(&upgrade(b"a: 1\n", folder.path()), &events, &cancel, None).await;
    assert!(matches!(ended, Err(HelmError::Stopped { .. })), "{ended:?}");
    assert!(mark.exists());
}

#[tokio::test]
async fn a_helm_whose_dr_dies_has_all_of_its_values_however_late_it_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let [go, read, done] = ["go", "read", "done"].map(|name| folder.path().join(name));
    let script = format!(
        "while [ ! -e {0} ]; do sleep 0.05; done\ncat > {1}\n: > {2}",
        go.display(),
        read.display(),
        done.display()
    );
    let helm = Helm::find(&fake(folder.path(), &script)).await.unwrap();
    // More than any pipe takes before somebody reads.
    let values: Vec<u8> = (0..200_000).flat_map(|key| format!("key{key}: {key}\n").into_bytes()).collect();
    let (events, cancel, told) = (Events::none(), CancellationToken::new(), Arc::new(Mutex::new(None)));
    let begun = |process: u32| *told.lock().unwrap() = Some(process);
    let ask = upgrade(&values, folder.path());
    let mut upgrading = Box::pin(helm.upgrade_install(&ask, &events, &cancel, Some(&begun)));
    // Its process is told before anything else is waited for; then nobody hears of it any more.
    while told.lock().unwrap().is_none() {
        let waited = tokio::time::timeout(Duration::from_millis(10), &mut upgrading).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    drop(upgrading);
    let process = told.lock().unwrap().unwrap();
    assert!(Path::new(&format!("/proc/{process}")).exists(), "it goes on");
    std::fs::write(&go, "").unwrap();
    let begun = std::time::Instant::now();
    while !done.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(std::fs::read(&read).unwrap() == values, "it has read other values");
}

#[tokio::test]
async fn a_missing_and_a_foreign_binary_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Helm::find(&folder.path().join("nothing")).await;
    assert!(matches!(missing, Err(HelmError::Missing { .. })));
    let foreign = Helm::find(Path::new("/bin/echo")).await;
    assert!(matches!(foreign, Err(HelmError::Unsupported { .. })), "{foreign:?}");
}

#[tokio::test]
async fn a_helm_that_outlived_its_dr_is_found_by_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let path = fake(folder.path(), "exec sleep 30");
    let release = "outliving-1b2c3d";
    let helm = Helm::find(&path).await.unwrap().for_install(None, "some-namespace");
    assert!(helm.at_work(release).is_empty());
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", "read line", "helm", "upgrade", "--namespace", "some-namespace", "--install", release])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A process that has just begun may have no arguments yet.
    let begun = std::time::Instant::now();
    while helm.at_work(release) != [child.id()] {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", helm.at_work(release));
        tokio::task::yield_now().await;
    }
    assert!(helm.clone().for_install(None, "another").at_work(release).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(helm.at_work(release).is_empty());
}

#[test]
fn versions_with_known_holes_are_named() {
    let helm = |text: &str| Helm {
        binary: PathBuf::from("helm"),
        version: parse::version(text).unwrap(),
        context: None,
        namespace: String::new(),
        plain_http: false,
        insecure: false,
        over_others: false,
        secrets: Default::default(),
        stored: None,
    };
    assert_eq!(helm("v3.18.0").should_be().map(ToString::to_string).as_deref(), Some("3.20.2"));
    assert_eq!(helm("v4.1.4").should_be(), None);
    assert_eq!(helm("v4.0.0").should_be().map(ToString::to_string).as_deref(), Some("4.1.4"));
}
