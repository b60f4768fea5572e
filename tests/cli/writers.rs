//! The application comes back, whatever else is broken: a bundle run died while it was stopped, and something is missing
//! that an orderly way back would have.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::api::Api;

const RUN: &str = "create-20261128T010000Z-abc123";
const API: &str = "opschain-api";
const WORKER: &str = "opschain-api-worker";

/// A host that looks at an API in memory.
pub struct Site {
    pub home: tempfile::TempDir,
    pub api: Api,
}

fn path(writer: &str) -> String {
    format!("/apis/apps/v1/namespaces/opschain/deployments/{writer}")
}

impl Site {
    /// Both writers are off, with these marks.
    pub fn stopped(marks: Value) -> Self {
        Self::stopped_with(Box::new(|_, _| None), marks)
    }

    pub fn stopped_with(instead: crate::api::Instead, marks: Value) -> Self {
        let site = Self { home: tempfile::tempdir().unwrap(), api: Api::serve(instead) };
        std::fs::write(site.home.path().join("kubeconfig"), site.api.kubeconfig()).unwrap();
        std::fs::create_dir(site.home.path().join("store")).unwrap();
        for writer in [API, WORKER] {
            site.set(writer, 0, &marks);
        }
        site
    }

    /// The same as a run leaves it that was killed while they were off.
    fn died() -> Self {
        let site = Self::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": RUN}));
        site.journal(&records());
        site
    }

    fn set(&self, writer: &str, replicas: i32, marks: &Value) {
        let template =
            json!({"metadata": {"labels": {"app": writer}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
        self.api.set(
            &path(writer),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": writer, "namespace": "opschain", "annotations": marks},
                "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": writer}}, "template": template},
            }),
        );
    }

    fn journal_path(&self) -> PathBuf {
        self.home.path().join(".local/state/dr/runs").join(RUN).join("journal.jsonl")
    }

    fn journal(&self, records: &[String]) {
        let path = self.journal_path();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let store = self.home.path().join("store").display().to_string();
        std::fs::write(path, records.join("\n").replace("STORE", &store) + "\n").unwrap();
    }

    pub fn replicas(&self) -> [i64; 2] {
        [API, WORKER].map(|writer| self.api.get(&path(writer))["spec"]["replicas"].as_i64().unwrap())
    }

    fn marks(&self) -> [Value; 2] {
        [API, WORKER].map(|writer| {
            let marks = self.api.get(&path(writer))["metadata"]["annotations"].clone();
            if marks == json!({}) { Value::Null } else { marks }
        })
    }

    /// Runs `dr`, asserts its exit code, and returns what it said in one line.
    pub fn dr(&self, args: &[&str], code: i32) -> String {
        let output = self.command(args).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    fn command(&self, args: &[&str]) -> Command {
        // Whoever runs the tests, under nohup for example, may ignore a signal, and dr would keep to that.
        let mut command = Command::new("/usr/bin/env");
        command
            .args(["--default-signal=INT", env!("CARGO_BIN_EXE_dr")])
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("DR_WHO", "operator")
            .env("PATH", "/nonexistent")
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub fn says(&self, args: &[&str], code: i32, words: &[&str]) {
        let said = self.dr(args, code);
        words.iter().for_each(|word| assert!(said.contains(word), "{args:?} does not say `{word}`: {said}"));
    }
}

pub fn begun(change: Value) -> Value {
    let replicas = json!({"writers": [{"name": API, "replicas": 2}, {"name": WORKER, "replicas": 2}]});
    let mut begun = json!({
        "record": "begun", "format": {"major": 1, "minor": 1}, "run": RUN, "verb": "create", "namespace": "opschain",
        "release": "opschain", "cluster_uid": "uid-of-it", "plan": {"live": {"replicas": replicas}, "store": "STORE"},
        "settings": "dr.toml", "dr_version": "0.0.9", "who": "op@host", "at": "2026-11-28T01:00:00Z",
    });
    begun.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    begun
}

/// A create whose process died while the writers were off.
fn records() -> Vec<String> {
    records_after(&begun(json!({})))
}

fn records_after(begun: &Value) -> Vec<String> {
    let at = "2026-11-28T01:00:00Z";
    let counts = json!({"writers": [{"name": API, "replicas": 2}, {"name": WORKER, "replicas": 2}]});
    let done = [
        ("name-bundle", json!("opschain-20261128T010000Z-abc123")),
        ("record-replicas", counts),
        ("stop-writers", json!(at)),
    ];
    let mut records = vec![begun.to_string()];
    for (step, output) in done {
        records.push(json!({"record": "started", "step": step, "at": at}).to_string());
        let done = json!({"record": "succeeded", "step": step, "output": output, "summary": "s", "at": at});
        records.push(done.to_string());
    }
    records.push(json!({"record": "started", "step": "mark-wal", "at": at}).to_string());
    records
}

fn succeeded(step: &str, output: &Value) -> String {
    json!({"record": "succeeded", "step": step, "output": output, "summary": "s", "at": AT}).to_string()
}

pub const AT: &str = "2026-11-28T01:00:00Z";
const BACK: [&str; 2] = ["opschain-api 0 -> 2 replicas", "opschain-api-worker 0 -> 2 replicas"];

#[test]
fn an_interrupted_run_is_put_back_by_any_of_the_ways_out_though_its_store_is_gone() {
    let ways: [(&[&str], i32); 3] =
        [(&["run", "resume"], 25), (&["server", "start"], 0), (&["run", "abort", "--yes"], 25)];
    for (way, code) in ways {
        let site = Site::died();
        std::fs::remove_dir(site.home.path().join("store")).unwrap();
        let said = site.dr(way, code);
        let trace = site.marks()[0]["dr.opschain/brought-back-by"].as_str().unwrap_or_default().to_owned();
        let traced = json!({"dr.opschain/brought-back-by": trace});
        assert_eq!((site.replicas(), site.marks()), ([2, 2], [traced.clone(), traced]), "{way:?}: {said}");
        assert!(trace == RUN || trace.starts_with("start-"), "{way:?}: {trace}");
        // What is left is said, and tried again by the next one.
        assert!(said.contains("not put back yet: remove the draft from the store"), "{way:?}: {said}");
        site.says(&["run", "list"], 0, &["open"]);
    }
}

#[test]
fn an_abort_goes_on_through_ctrl_c_and_says_so() {
    let bound = Duration::from_secs(20);
    let (reached, is_reached) = mpsc::channel();
    let (gate, is_open) = mpsc::channel::<()>();
    let is_open = Mutex::new(is_open);
    let held = move |request: &crate::api::Request, _: &mut crate::api::Objects| {
        if request.method != "GET" && request.path.contains("/deployments/") {
            reached.send(()).unwrap();
            // Until the other end is dropped.
            is_open.lock().unwrap().recv().unwrap_err();
        }
        None
    };
    let marks = json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": RUN});
    let site = Site::stopped_with(Box::new(held), marks);
    site.journal(&records());
    let mut child =
        site.command(&["run", "abort", "--yes"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (line, lines) = mpsc::channel();
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|said| line.send(said)));
    is_reached.recv_timeout(bound).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    while !lines.recv_timeout(bound).unwrap().contains("an abort goes on") {}
    drop(gate);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(site.replicas(), [2, 2]);
    site.says(&["run", "list"], 0, &["aborted"]);
}

#[test]
fn a_run_that_is_put_back_whole_is_closed() {
    let site = Site::died();
    site.says(&["run", "resume"], 0, &BACK);
    site.says(&["run", "list"], 0, &["put back"]);
    site.says(&["run", "resume"], 14, &["there is no open run"]);
}

#[test]
fn marks_that_are_gone_or_changed_are_no_reason_to_stay_off_or_to_say_more_than_was_done() {
    // Taken off: the journal has the counts.
    let site = Site::died();
    [API, WORKER].iter().for_each(|writer| site.set(writer, 0, &json!({})));
    site.says(&["run", "resume"], 0, &BACK);
    assert_eq!(site.replicas(), [2, 2]);

    // Another's: it stays off, and that is said.
    let site = Site::died();
    site.set(API, 0, &json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-of-another"}));
    site.says(
        &["run", "resume"],
        0,
        &["opschain-api is still stopped, by dr server stop (stop-of-another)", "dr server status"],
    );
    assert_eq!(site.replicas(), [0, 2]);

    // Somebody has taken care.
    let site = Site::died();
    site.set(API, 5, &json!({}));
    site.says(&["run", "resume"], 0, &["opschain-api has 5 replicas already"]);
    assert_eq!(site.replicas(), [5, 2]);

    // Deleted: the other one comes back all the same.
    let site = Site::died();
    site.api.remove(&path(API));
    site.says(&["run", "resume"], 0, &["there is no Deployment opschain-api any more"]);
    assert_eq!(site.api.get(&path(WORKER))["spec"]["replicas"], 2);
}

#[test]
fn who_stops_the_writers_after_the_run_has_brought_them_back_is_another() {
    let site = Site::stopped(json!({}));
    let mut records = records();
    let at = "2026-11-28T01:00:00Z";
    for step in ["mark-wal", "resume-writers"] {
        records.push(json!({"record": "started", "step": step, "at": at}).to_string());
        let done = json!({"record": "succeeded", "step": step, "output": at, "summary": "s", "at": at});
        records.push(done.to_string());
    }
    site.journal(&records);
    site.dr(&["run", "resume"], 0);
    assert_eq!(site.replicas(), [0, 0]);
}

#[test]
fn who_stops_the_writers_after_a_watchdog_has_brought_them_back_is_another_and_every_verb_says_so() {
    // The run stands open with its counts: its watchdog has put back, and a person has scaled to 0 since.
    let site = Site::died();
    [API, WORKER].iter().for_each(|writer| site.set(writer, 0, &json!({"dr.opschain/brought-back-by": RUN})));
    let stays = format!("opschain-api stays stopped: somebody has stopped it since {RUN} brought it back");
    site.says(&["server", "status"], 0, &[&stays, "next: dr server start"]);
    site.says(&["server", "stop", "--dry-run"], 0, &[&stays, "Nothing to do"]);
    site.says(&["bundle", "create", "--yes"], 10, &[&stays]);
    assert_eq!(site.replicas(), [0, 0]);
    site.says(&["run", "list"], 0, &["put back"]);
    // Who asks for it gets it, and a stop takes the trace away.
    site.dr(&["server", "start"], 0);
    assert_eq!(site.replicas(), [2, 2]);
    site.dr(&["server", "stop", "--yes"], 0);
    assert_eq!(site.marks()[0]["dr.opschain/brought-back-by"], Value::Null);
}

#[test]
fn what_a_run_alone_knows_is_put_back_first_in_every_plan_and_doctor_is_not_content() {
    let site = Site::died();
    [API, WORKER].iter().for_each(|writer| site.set(writer, 0, &json!({})));
    let resume = format!("dr run resume {RUN}");
    site.says(&["doctor"], 3, &[&format!("{API} is off and bears no note; run {RUN} stopped it, had 2"), &resume]);
    site.says(&["server", "status"], 0, &[&format!("next: {resume}")]);
    site.says(&["server", "stop", "--dry-run"], 0, &[BACK[0], "opschain-api 2 -> 0 replicas"]);
    assert_eq!(site.replicas(), [0, 0]);
}

#[test]
fn a_journal_that_is_damaged_or_of_another_version_is_warned_of_and_put_back_all_the_same() {
    let good = records();
    let damaged = |line: usize| {
        let mut records = good.clone();
        records[line] = "{\"record\":\"succ\0\0".into();
        records
    };
    let mut cases: Vec<(Vec<String>, &str)> = (1..good.len()).map(|line| (damaged(line), "cannot be read")).collect();
    cases.push((records_after(&begun(json!({"format": {"major": 1, "minor": 9}}))), "Putting back"));
    cases.push((records_after(&begun(json!({"format": {"major": 2, "minor": 0}}))), "is newer than"));
    cases.push((records_after(&begun(json!({"plan": ["of", "a", "later", "dr"]}))), "Putting back"));
    for (records, words) in cases {
        let site = Site::died();
        site.journal(&records);
        // The marks are enough where the counts are lost, and the counts where the marks are.
        site.says(&["server", "start"], 0, &[words]);
        assert_eq!(site.replicas(), [2, 2], "{records:?}");
    }
    // Nobody knows whose run this was: that it stands there is loud, and the application starts all the same.
    let site = Site::died();
    let mut records = records();
    records[0] = "{".into();
    site.journal(&records);
    site.says(&["server", "status"], 0, &["cannot be read", "dr server start"]);
    site.says(&["server", "start"], 0, &["cannot be read"]);
    assert_eq!(site.replicas(), [2, 2]);
}

/// A pod that runs, made for the Deployment.
fn pod_of(writer: &str, name: &str) -> Value {
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{writer}-7d9"), "uid": "u", "controller": true});
    let labels = json!({"app": writer, "pod-template-hash": "7d9"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "opschain", "labels": labels, "ownerReferences": [set]},
        "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"},
    })
}

#[test]
fn what_keeps_the_application_off_is_said_before_it_is_stopped_and_a_stranger_is_not_waited_for() {
    let site = Site::stopped(json!({}));
    [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
    let quiet = site.dr(&["server", "stop", "--dry-run"], 0);
    assert!(!quiet.contains("no node") && !quiet.contains("labelled"), "{quiet}");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"unschedulable": true}});
    site.api.set("/api/v1/nodes/n1", node);
    let mut stranger = pod_of(API, "opschain-api-debug");
    stranger["metadata"]["ownerReferences"] = Value::Null;
    site.api.set("/api/v1/namespaces/opschain/pods/opschain-api-debug", stranger);
    let words = [
        "no node would take the pods of opschain-api again: n1: cordoned",
        "not of its Deployments: pod/opschain-api-debug",
    ];
    site.says(&["server", "stop", "--dry-run"], 0, &words);
    site.says(&["server", "stop", "--yes"], 0, &words);
    assert_eq!(site.replicas(), [0, 0]);
}

#[test]
fn a_right_that_is_missing_is_named_before_anything_is_touched() {
    let denied = |request: &crate::api::Request, _: &mut crate::api::Objects| {
        let asked = &request.body["spec"]["resourceAttributes"];
        let is_denied = asked["verb"] == "patch" && asked["resource"] == "deployments" && asked["name"] == WORKER;
        is_denied.then(|| {
            let mut review = request.body.clone();
            review["status"] = json!({"allowed": false});
            (201, review)
        })
    };
    let words = ["do not allow: patch deployments.apps opschain-api-worker", "dr rbac --for create"];
    let site = Site::stopped_with(Box::new(denied), json!({"dr.opschain/replicas": "2"}));
    site.says(&["server", "start", "--dry-run"], 12, &words);
    site.says(&["server", "start"], 12, &words);
    [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
    site.says(&["server", "stop", "--yes"], 12, &words);
    assert_eq!(site.replicas(), [2, 2]);
    site.dr(&["server", "status"], 0);
}

#[test]
fn a_writer_that_somebody_starts_again_is_not_waited_for() {
    // The API is stopped when the workers have ended.
    for (again, left) in [(API, [1, 0]), (WORKER, [2, 1])] {
        let pod = pod_of(again, again);
        // A hand on it as soon as its pods are looked at, of which one drains.
        let hand = move |request: &crate::api::Request, objects: &mut crate::api::Objects| {
            let stopped = request.path.ends_with("/pods") && objects[&path(again)]["spec"]["replicas"] == 0;
            if stopped {
                objects.get_mut(&path(again)).unwrap()["spec"]["replicas"] = 1.into();
                objects.insert(format!("/api/v1/namespaces/opschain/pods/{again}"), pod.clone());
            }
            None
        };
        let site = Site::stopped_with(Box::new(hand), json!({}));
        [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
        let words = format!("{again} was started again by somebody while the application was being stopped");
        site.says(&["server", "stop", "--yes"], 22, &[&words, "suspend that first", "dr server status"]);
        assert_eq!(site.replicas(), left);
    }
}

#[test]
fn an_unreadable_run_is_closed_by_abort() {
    const ABORT: [&str; 4] = ["run", "abort", "--yes", "--close-only"];
    // Nothing is started on what is half done, or may be.
    for (verb, close) in [("novel", 3), ("novel", 4), ("restore", 3)] {
        let site = Site::died();
        let mut records = records_after(&begun(json!({"verb": verb})));
        records[2] = "{".into();
        site.journal(&records);
        site.says(&["server", "status"], 0, &["cannot be read", "dr run abort"]);
        site.says(&ABORT[..close], 0, &["is aborted"]);
        assert!(!site.dr(&["server", "status"], 0).contains("cannot be read"));
        assert_eq!(site.replicas(), [0, 0], "{verb}");
    }
}

#[test]
fn a_run_whose_record_of_the_writers_is_lost_everywhere_stays_open_until_somebody_starts_them() {
    let site = Site::died();
    [API, WORKER].iter().for_each(|writer| site.set(writer, 0, &json!({})));
    // Killed as it stopped them, and the line with their counts is cut, not understood, or tells what cannot be.
    let mut records = records();
    records.truncate(6);
    let good = records[4].clone();
    let odd = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        good.replace(from, to)
    };
    let unknown = "opschain-api is still stopped, and nothing says how many replicas it had";
    let counts = good.matches("\"replicas\":2").count();
    assert!(counts > 0, "{good}");
    for line in [
        "{\"record\":\"succ\0".to_owned(),
        odd("succeeded", "succeeeed"),
        odd("\"replicas\":2", "\"replicas\":-2"),
        odd("\"replicas\":2", "\"replicas\":99999999999999999999"),
        odd("opschain-api-worker", "somebody"),
        odd("\"replicas\":2", "\"replicas\":0"),
        succeeded("record-replicas", &Value::Null),
        succeeded("record-replicas", &json!({"writers": []})),
        json!({"record": "resumed", "who": "op@host", "at": AT}).to_string(),
    ] {
        records[4] = line;
        site.journal(&records);
        let by_hand = "kubectl -n opschain scale deployment opschain-api --replicas=N";
        for (way, again) in [("resume", &["run", "resume", RUN][..]), ("abort", &["run", "abort", RUN, "--yes"])] {
            let next = format!("next: {by_hand}");
            site.says(again, 25, &["stays open", unknown, &next, &format!("next: dr run {way} {RUN}")]);
        }
        site.says(&["server", "status"], 0, &["may have stopped the application", &format!("next: {by_hand}")]);
        let doctor = site.dr(&["doctor"], 3);
        assert!(doctor.contains(by_hand) && !doctor.contains("deployed so"), "{doctor}");
        site.says(&["bundle", "create", "--yes"], 25, &["may have stopped the application", unknown]);
        assert_eq!(site.replicas(), [0, 0]);
    }
    [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
    site.dr(&["run", "resume", RUN], 0);
}

#[test]
fn a_run_of_another_install_whose_deployments_are_gone_is_not_closed_from_here() {
    let site = Site::stopped(json!({}));
    site.journal(&records_after(&begun(json!({"namespace": "elsewhere"}))));
    [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
    site.says(&["server", "start"], 0, &["there is no Deployment opschain-api any more in namespace elsewhere"]);
    site.says(&["run", "list"], 0, &["open"]);
}

#[test]
fn a_closed_run_with_a_damaged_line_is_over_and_one_without_its_first_line_can_be_closed() {
    let site = Site::died();
    let mut records = records();
    records[2] = "{".into();
    records.push(json!({"record": "ended", "outcome": "aborted", "at": "2026-11-28T01:00:00Z"}).to_string());
    site.journal(&records);
    let list = site.dr(&["run", "list"], 0);
    assert!(list.contains("aborted") && !list.contains("unreadable"), "{list}");
    let show = site.dr(&["run", "show", RUN], 17);
    assert!(show.contains("`dr run list` tells whether it is over") && !show.contains("dr run abort"), "{show}");

    records.pop();
    records[0] = "{".into();
    site.journal(&records);
    site.says(&["run", "abort", RUN, "--yes"], 17, &[&format!("dr run abort {RUN} --close-only")]);
    site.says(&["--output", "json", "run", "list"], 0, &[&format!("dr run abort {RUN} --close-only")]);
    let closed = site.dr(&["run", "abort", RUN, "--close-only", "--yes"], 0);
    assert!(closed.contains("is aborted") && !closed.contains("dr run show"), "{closed}");
    assert!(!site.dr(&["server", "status"], 0).contains("cannot be read"));

    // One that says it is another's is none of this folder: nothing that it says is believed, and no hint names the other.
    let site = Site::stopped(json!({}));
    site.journal(&records_after(&begun(json!({"run": "../../../x"}))));
    let status = site.dr(&["server", "status"], 0);
    assert!(status.contains(&format!("dr run abort {RUN} --close-only")) && !status.contains("../x"), "{status}");
    site.says(&["run", "resume", RUN], 17, &["line 1 is damaged"]);
}

#[test]
fn a_journal_that_cannot_be_opened_is_warned_of_and_keeps_nobody_from_the_application() {
    let marks = json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": RUN});
    let folder: fn(&std::path::Path) = |path| std::fs::create_dir(path).unwrap();
    let fifo: fn(&std::path::Path) = |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let huge: fn(&std::path::Path) = |path| std::fs::File::create(path).and_then(|file| file.set_len(1 << 40)).unwrap();
    let this: fn(&std::path::Path) = |path| std::os::unix::fs::symlink(path, path).unwrap();
    for make in [folder, fifo, huge, this] {
        let site = Site::stopped(marks.clone());
        let path = site.journal_path();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        make(&path);
        let unreadable = format!("run {RUN} cannot be read");
        site.says(&["server", "status"], 0, &[&unreadable, "next: dr server start"]);
        site.says(&["server", "start"], 0, &[&unreadable, "out of the way", "running"]);
        assert_eq!(site.replicas(), [2, 2]);
    }
}

#[test]
fn a_journal_that_a_disk_has_emptied_is_warned_of_and_can_be_closed() {
    let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": RUN}));
    site.journal(&records());
    std::fs::write(site.journal_path(), [0; 4000]).unwrap();
    let close = format!("dr run abort {RUN} --close-only");
    site.says(&["run", "list"], 0, &["unreadable"]);
    site.says(&["server", "status"], 0, &[&format!("run {RUN} cannot be read"), &close]);
    site.says(&["run", "abort", RUN, "--close-only", "--yes"], 0, &["is aborted"]);
    assert!(!site.dr(&["server", "status"], 0).contains("cannot be read"));
}

#[test]
fn a_command_that_keeps_no_journal_is_not_looked_for_among_the_runs() {
    let site = Site::stopped(json!({}));
    site.says(
        &["run", "show", "stop-20261128T010000Z-abc123"],
        14,
        &["`dr server stop` keeps no journal", "dr server status"],
    );
}

#[test]
fn a_journal_that_cannot_be_written_keeps_no_writer_off() {
    let site = Site::died();
    // A file system that is read only, as far as this journal goes: not even its owner may open it for writing.
    let journal = site.journal_path();
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::remove_file(&journal).unwrap();
    let real = site.home.path().join("real");
    std::fs::write(&real, text).unwrap();
    std::os::unix::fs::symlink(&real, &journal).unwrap();
    std::fs::remove_file(journal.with_file_name("lock")).ok();
    std::fs::create_dir(journal.with_file_name("lock")).unwrap();
    site.says(&["run", "resume"], 25, &["it stays open", BACK[0], BACK[1]]);
    assert_eq!(site.replicas(), [2, 2]);
}

#[test]
fn verbs_that_only_look_change_nothing_and_say_what_would_be_put_back() {
    let looks: [(&[&str], i32); 5] = [
        (&["server", "status"], 0),
        (&["server", "stop", "--dry-run"], 0),
        (&["server", "start", "--dry-run"], 0),
        (&["bundle", "create", "--dry-run"], 10),
        (&["deploy", "-f", "values.yaml", "--version", "2026-08-20", "--dry-run"], 11),
    ];
    let site = Site::died();
    std::fs::write(site.home.path().join("values.yaml"), "a: 1\n").unwrap();
    for (look, code) in looks {
        site.says(look, code, &["It would be put back first", BACK[0], BACK[1]]);
    }
    site.says(&["server", "stop", "--dry-run"], 0, &["opschain-api 2 -> 0 replicas"]);
    assert_eq!(site.api.changes(), [""; 0]);
    assert_eq!(site.replicas(), [0, 0]);
}

#[test]
fn a_count_that_nobody_has_noted_is_found_or_the_way_by_hand_is_named() {
    let site = Site::stopped(json!({}));
    let by_hand = "kubectl -n opschain scale deployment opschain-api --replicas=N";
    site.says(&["server", "status"], 0, &["nothing says how many it had", by_hand]);
    assert!(!site.dr(&["server", "status"], 0).contains("dr server start"), "it would refuse");
    site.says(&["server", "start"], 1, &["nothing says how many it had"]);

    // A run of long ago has noted them.
    let mut records = records();
    records.push(json!({"record": "ended", "outcome": "put-back", "at": "2026-11-28T01:00:00Z"}).to_string());
    site.journal(&records);
    site.says(&["server", "status"], 0, &[&format!("stopped, had 2 (run {RUN})"), "dr server start"]);
    site.says(&["server", "start"], 0, &[&format!("run {RUN} has 2"), "running"]);
    assert_eq!(site.replicas(), [2, 2]);
}

#[test]
fn doctor_is_not_content_with_a_stopped_application_and_leads_to_its_start() {
    let site = Site::died();
    // One way out: that of the run which has stopped it.
    let said = site.dr(&["doctor"], 3);
    let stopped = format!("opschain-api is stopped by {RUN}, had 2; opschain-api-worker is stopped by {RUN}, had 2");
    assert!(said.contains(&format!("{stopped} -> dr run resume {RUN}")), "{said}");
    assert!(!said.contains("dr server start"), "{said}");
    site.says(&["server", "status"], 0, &[&format!("next: dr run resume {RUN}")]);
    let by_hand = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    by_hand.says(
        &["doctor"],
        3,
        &["opschain-api is stopped by dr server stop (stop-1), had 2", "had 2 -> dr server start"],
    );
}

#[test]
fn a_settings_file_that_was_named_and_is_missing_stops_nothing_of_the_default_install() {
    let site = Site::stopped(json!({}));
    [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
    for verb in ["stop", "start", "status"] {
        site.says(&["--settings", "/nonexistent/prod.toml", "server", verb, "--yes"], 10, &["/nonexistent/prod.toml"]);
    }
    assert_eq!(site.replicas(), [2, 2]);
    assert!(site.api.changes().is_empty(), "{:?}", site.api.changes());
}

#[test]
fn a_settings_file_that_is_broken_or_open_to_others_keeps_no_writer_off() {
    let broken = |site: &Site, mode| {
        use std::os::unix::fs::PermissionsExt;
        let folder = site.home.path().join(".config/dr");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("dr.toml"), "[install\nnamespace = 7").unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let without = format!("run {RUN} is put back without it");
    let of_run = "what is worked on is opschain/opschain (of the open run) in the current context of the kubeconfig";
    let ways: [(&[&str], &str); 4] = [
        (&["run", "resume"], &without),
        (&["run", "abort", "--yes"], &without),
        (&["server", "start"], of_run),
        (&["server", "start", "-n", "opschain"], "what is worked on is opschain/opschain (named with -n)"),
    ];
    for mode in [0o700, 0o777] {
        for (way, words) in ways {
            let site = Site::died();
            broken(&site, mode);
            site.says(way, 0, &["dr.toml", words]);
            assert_eq!(site.replicas(), [2, 2], "{way:?}");
        }
    }
    // Where nothing tells which install is meant, none is started.
    let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    broken(&site, 0o700);
    site.says(&["server", "start"], 10, &["`dr server start`, with -n and its namespace"]);
    site.says(&["server", "stop", "--yes"], 10, &["dr.toml"]);
    assert_eq!(site.replicas(), [0, 0]);
    site.says(&["-n", "opschain", "server", "status"], 0, &["next: dr -n opschain server start"]);
}

/// Waits until `seen`, within a bound.
fn wait(what: &str, seen: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !seen() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{what} has not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_terminal_that_goes_away_lets_the_verb_end_in_order() {
    let site = Site::stopped(json!({}));
    [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
    // A worker that drains for as long as the test lives.
    site.api.set("/api/v1/namespaces/opschain/pods/w", pod_of(WORKER, "w"));
    // Whoever runs the tests under nohup ignores the signal, and dr would go on ignoring it.
    let verb = format!("exec env --default-signal=HUP {} server stop --yes", env!("CARGO_BIN_EXE_dr"));
    let mut terminal = Command::new("script")
        .args(["-qec", &verb, "/dev/null"])
        .env("HOME", site.home.path())
        .env("KUBECONFIG", site.home.path().join("kubeconfig"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lease = "/apis/coordination.k8s.io/v1/namespaces/opschain/leases/dr-opschain";
    // The API serves for as long as the worker drains.
    wait("the stop", || site.replicas() == [2, 0]);
    assert_ne!(site.api.get(lease), Value::Null);
    // Its end closes the terminal, whose session is told so; whatever is said from now on goes nowhere.
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    wait("the end of the lease", || site.api.get(lease) == Value::Null);
    site.says(&["server", "start"], 0, &["opschain-api-worker 0 -> 2"]);
    assert_eq!(site.replicas(), [2, 2]);
}

#[test]
fn a_terminal_that_goes_away_at_a_question_is_no_answer() {
    let site = Site::stopped(json!({}));
    [API, WORKER].iter().for_each(|writer| site.set(writer, 2, &json!({})));
    let (shown, code) = (site.home.path().join("shown"), site.home.path().join("code"));
    // The shell outlives its terminal to tell how dr ended.
    let dr = format!("env --default-signal=HUP {} server stop", env!("CARGO_BIN_EXE_dr"));
    let told = format!("trap '' HUP; {dr}; echo $? > {}", code.display());
    let mut terminal = Command::new("script")
        .args(["-qefc", &told])
        .arg(&shown)
        .env("HOME", site.home.path())
        .env("KUBECONFIG", site.home.path().join("kubeconfig"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait("the question", || std::fs::read_to_string(&shown).is_ok_and(|shown| shown.contains("[y/N]")));
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    let ended = || std::fs::read_to_string(&code).unwrap_or_default();
    wait("the end", || ended().ends_with('\n'));
    assert_eq!((ended().trim(), site.replicas()), ("129", [2, 2]));
}

#[test]
fn a_reader_that_does_not_read_keeps_no_work_from_its_end() {
    let site = Site::stopped(json!({"dr.opschain/replicas": "2", "dr.opschain/stopped-by": "stop-1"}));
    let (unread, mut full) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&full, true).unwrap();
    while full.write(&[b' '; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&full, false).unwrap();
    let mut child =
        site.command(&["-vv", "server", "stop", "--yes"]).stderr(full).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it waits for its reader");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    drop(unread);
}
