//! The real helm binary as the oracle of `values`: what it makes of documents, files and layers, and what `dr` does.
//!
//! Needs both majors: `DR_TEST_HELM=/path/to/helm DR_TEST_HELM3=/path/to/helm3 cargo test --test helm_oracle -- --ignored`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod documents;
mod overlay;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A helm of either major. Tests that need one that is not there fail: they were asked for.
struct Helm(PathBuf);

impl Helm {
    fn four() -> Self {
        Self(std::env::var_os("DR_TEST_HELM").expect("DR_TEST_HELM names a helm 4").into())
    }

    fn three() -> Self {
        Self(std::env::var_os("DR_TEST_HELM3").expect("DR_TEST_HELM3 names a helm 3").into())
    }

    /// Renders a chart with these arguments after it, `stdin` on its standard input.
    fn template(&self, chart: &Path, args: &[String], stdin: &[u8]) -> Result<String, String> {
        let home = chart.join("home");
        let mut child = Command::new(&self.0)
            .args(["template", "x"])
            .arg(chart)
            .args(args)
            .env_clear()
            .env("HOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", self.0.display()));
        let mut pipe = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        // A helm that refuses its arguments does not read.
        let writer = std::thread::spawn(move || pipe.write_all(&stdin).ok());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What the chart of [`values_chart`] gets as `.Values`.
    fn values(&self, chart: &Path, args: &[String], stdin: &[u8]) -> Result<Value, String> {
        let rendered = self.template(chart, args, stdin)?;
        let line = rendered.lines().find_map(|line| line.strip_prefix("#=")).expect("the chart renders one line");
        Ok(serde_json::from_slice(&STANDARD.decode(line).unwrap()).unwrap())
    }
}

fn chart(template: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    std::fs::write(folder.path().join("Chart.yaml"), "apiVersion: v2\nname: oracle\nversion: 0.1.0\n").unwrap();
    std::fs::write(folder.path().join(".helmignore"), "home\n").unwrap();
    std::fs::write(folder.path().join("templates/v.yaml"), template).unwrap();
    folder
}

fn values_chart() -> tempfile::TempDir {
    // Packed, since some characters of a text end a line of YAML.
    chart("#={{ .Values | toJson | b64enc }}\n")
}

/// What `fromYaml` makes of each document, all in one run.
fn read_each(helm: &Helm, documents: &[String]) -> Vec<Value> {
    let chart = chart("{{- range $i, $d := .Values.docs }}\n#={{ $d | fromYaml | toJson | b64enc }}\n{{- end }}\n");
    let packed = ascii(&json!({ "docs": documents }));
    let rendered = helm.template(chart.path(), &from_stdin(), packed.as_bytes()).unwrap();
    let lines = rendered.lines().filter_map(|line| line.strip_prefix("#="));
    let answers: Vec<Value> =
        lines.map(|line| serde_json::from_slice(&STANDARD.decode(line).unwrap()).unwrap()).collect();
    assert_eq!(answers.len(), documents.len());
    answers
}

/// As JSON whose other characters are escaped: some end a line of YAML, so helm would not get the texts as they are.
fn ascii(value: &Value) -> String {
    let text = value.to_string();
    text.chars().fold(String::with_capacity(text.len()), |mut packed, c| {
        match u32::from(c) {
            code @ 0x7f..=0xffff => packed.push_str(&format!("\\u{code:04x}")),
            _ => packed.push(c),
        }
        packed
    })
}

fn from_stdin() -> Vec<String> {
    vec!["-f".into(), "-".into()]
}

/// Numbers are 64-bit floats on both sides, however they are printed.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            // The JSON reader of this test is off by a last bit at times.
            a == b || (a - b).abs() <= a.abs() * 1e-15
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// The same throws in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }
}

/// helm spends its time starting: the cases are halved between two threads. Gives what `check` said, in order.
fn in_two_threads<T: Sync, R: Send>(cases: &[T], check: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (first, second) = cases.split_at(cases.len() / 2);
    let run = |cases: &[T]| cases.iter().map(&check).collect::<Vec<R>>();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(second));
        let mut said = run(first);
        said.extend(other.join().unwrap());
        said
    })
}
