//! What each listener hears of the same work.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::lines::Scrub;
use super::*;
use crate::event::{Event, Events};

/// What goes to the screen.
type Screen = Arc<Mutex<Vec<(String, String)>>>;

fn options(verbose: u8, log_file: Option<&Path>) -> (TraceOptions, Screen) {
    let screen = Screen::default();
    let lines = screen.clone();
    let events = Events::to(move |event| {
        if let Event::Log { source, line } = event {
            lines.lock().unwrap().push((source, line));
        }
    });
    let scrub: Scrub = Arc::new(|line| String::from_utf8_lossy(line).replace("hunter2", "••••••••").into_bytes());
    (TraceOptions { verbose, log_file: log_file.map(Path::to_owned), events, scrub }, screen)
}

/// While it lives, what its thread does is traced.
pub(crate) type Traced = (tracing::subscriber::DefaultGuard, tracing::Dispatch);

fn listen(options: TraceOptions) -> Traced {
    // A thread that is not traced would otherwise decide, for all, that nobody listens to what it does first: as long as
    // there is only one listener, the library asks no other.
    let second = tracing::Dispatch::new(tracing_subscriber::Registry::default());
    (tracing::subscriber::set_default(subscriber::subscriber(options).unwrap()), second)
}

/// Traces what this thread does into the folders of its runs.
pub(crate) fn trace_this_thread() -> Traced {
    listen(options(0, None).0)
}

async fn good(kind: CallKind, what: &str) {
    call(kind, what, async { Ok::<_, String>(()) }).await.unwrap();
}

/// A run of two steps, the second of which fails.
async fn work(folder: Option<&Path>) {
    good(CallKind::Cluster, "get Pod before").await;
    let steps = async {
        let first = async {
            good(CallKind::Cluster, "list Pod objects").await;
            good(CallKind::Psql, "tell its size in pod db-1").await;
            call_blocking(CallKind::Chunk, "store base chunk 0", || Ok::<_, String>(())).unwrap();
            waited("pod x to be ready", std::time::Instant::now());
            Ok::<_, String>(())
        };
        step("base", first).await?;
        let second = async {
            tracing::debug!(target: "kube_client::client", "requesting hunter2");
            tracing::warn!(target: "kube_client::client", "502\r\n2026-01-01T00:00:00Z  INFO dr: all is well\nhunter2");
            call(CallKind::Helm, "helm upgrade", async { Err::<(), _>("no hunter2 here\nmore") }).await?;
            Ok::<_, &str>(())
        };
        step("wake", second).await.map_err(str::to_owned)
    };
    run("create-1", folder, steps).await.unwrap_err();
}

async fn screen_of(verbose: u8) -> Vec<(String, String)> {
    let (options, screen) = options(verbose, None);
    let _traced = listen(options);
    work(None).await;
    screen.lock().unwrap().clone()
}

#[tokio::test]
async fn v_names_each_call_to_cluster_database_and_helm_with_duration_and_outcome() {
    assert!(screen_of(0).await.is_empty());
    let screen = screen_of(1).await;
    let calls: Vec<String> = screen.iter().map(|(source, line)| format!("{source} | {line}")).collect();
    let shape = regex::Regex::new(r"\(\d+\.\d ms\)").unwrap();
    let calls: Vec<_> = calls.iter().map(|call| shape.replace(call, "(TIME)").into_owned()).collect();
    assert_eq!(
        calls,
        [
            "cluster | get Pod before: ok (TIME)",
            "cluster | list Pod objects: ok (TIME)",
            "psql | tell its size in pod db-1: ok (TIME)",
            "helm | helm upgrade: failed: no hunter2 here (TIME)",
        ]
    );
}

#[tokio::test]
async fn vv_adds_the_other_calls_and_what_the_libraries_say() {
    let screen = screen_of(2).await;
    let has = |source: &str, part: &str| screen.iter().any(|(s, line)| s == source && line.contains(part));
    assert!(has("chunk", "store base chunk 0: ok") && has("wait", "pod x to be ready: over"), "{screen:?}");
    assert!(has("trace", "kube_client::client: requesting"), "{screen:?}");
    assert!(has("trace", r#"run{id="create-1"}:step{name="wake"}"#), "{screen:?}");
    assert_eq!(screen.iter().filter(|(_, line)| line.contains("list Pod objects")).count(), 1, "said once: {screen:?}");
}

#[tokio::test]
async fn a_runs_folder_keeps_the_whole_and_where_the_time_went_masked() {
    let folder = tempfile::tempdir().unwrap();
    let log_file = folder.path().join("all.log");
    let (options, _) = options(0, Some(&log_file));
    let _traced = listen(options);
    let run = folder.path().join("create-1");
    fs::create_dir(&run).unwrap();
    work(Some(&run)).await;
    good(CallKind::Cluster, "get Pod after").await;
    let (log, all) = (fs::read_to_string(run.join("run.log")).unwrap(), fs::read_to_string(log_file).unwrap());
    for text in [&log, &all] {
        for part in
            ["get Pod before", "list Pod objects", "store base chunk 0", "requesting ••••••••", "step{name=\"wake\"}"]
        {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
        assert!(
            text.contains(r"502\r\n2026-01-01T00:00:00Z  INFO dr: all is well\n••••••••"),
            "one event, one line:\n{text}"
        );
    }
    assert!(all.contains("get Pod after") && !log.contains("get Pod after"));

    let steps = timing::read(&run).unwrap();
    let names: Vec<_> = steps.iter().map(|step| (step.step.as_str(), step.outcome.as_str())).collect();
    assert_eq!(names, [("base", "ok"), ("wake", "no •••••••• here")]);
    let mut kinds: Vec<_> = steps[0].calls.iter().map(|call| (call.kind.as_str(), call.count, call.failed)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("chunk", 1, 0), ("cluster", 1, 0), ("psql", 1, 0), ("wait", 1, 0)]);
    assert_eq!((steps[1].calls[0].kind.as_str(), steps[1].calls[0].failed), ("helm", 1));
}

#[test]
fn what_is_said_of_a_span_later_is_shown_once_on_the_screen_and_in_each_log() {
    let folder = tempfile::tempdir().unwrap();
    let log_file = folder.path().join("all.log");
    let (options, screen) = options(2, Some(&log_file));
    let _traced = listen(options);
    let span = tracing::debug_span!(target: "kube_client", "HTTP", method = "GET", status = tracing::field::Empty);
    span.in_scope(|| {
        span.record("status", 200);
        tracing::debug!(target: "kube_client", "answered");
    });
    let line = screen.lock().unwrap()[0].1.clone();
    assert_eq!(line, "DEBUG HTTP{method=\"GET\" status=200}: kube_client: answered");
    let log = fs::read_to_string(log_file).unwrap();
    assert!(log.ends_with("DEBUG HTTP{method=\"GET\" status=200}: kube_client: answered\n"), "{log}");
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_was_given_up() {
    let (options, screen) = options(1, None);
    let _traced = listen(options);
    let never = call(CallKind::Exec, "psql in pod x", std::future::pending::<Result<(), String>>());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), never).await.is_err());
    assert!(screen.lock().unwrap()[0].1.contains("failed: given up"));
}

#[tokio::test]
async fn what_ends_badly_without_an_error_is_said_to_have_failed() {
    let (options, screen) = options(1, None);
    let _traced = listen(options);
    let output = call_judged(CallKind::Exec, "sh in pod x", async { Ok::<_, String>(3) }, |exit| {
        (*exit != 0).then(|| format!("exit code {exit}\nand more"))
    });
    assert_eq!(output.await, Ok(3));
    let line = &screen.lock().unwrap()[0].1;
    assert!(line.starts_with("sh in pod x: failed: exit code 3 ("), "{line}");
}

#[test]
fn a_log_file_that_cannot_be_written_is_named() {
    let (options, _) = options(0, Some(Path::new("/nowhere/dr.log")));
    let error = subscriber::subscriber(options).err().unwrap();
    assert_eq!(error.to_string(), "open the log file /nowhere/dr.log");
}
