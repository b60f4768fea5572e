//! Documents: what `fromYaml` and `toJson` make of thousands of small files in one run, and what `-f -` makes of whole
//! ones, by both majors of helm.

use dr::values::Tree;
use serde_json::Value;

use crate::{Dice, Helm, from_stdin, read_each, same, values_chart};

impl Dice {
    fn scalar(&mut self) -> String {
        const WHOLE: &[&str] = &[
            "y",
            "Y",
            "yes",
            "No",
            "on",
            "OFF",
            "true",
            "tRue",
            "~",
            "null",
            "Null",
            "nULL",
            "\"\"",
            "''",
            "0755",
            "08",
            "0o17",
            "0x1F",
            "0X1f",
            "-0x10",
            "0b101",
            "0b-1",
            "0b102",
            "1_000",
            "1__0",
            "_1",
            "+5",
            "-5",
            "+-5",
            "1e3",
            "1E-3",
            "1.5e+300",
            "1e400",
            "-1e400",
            ".5",
            "5.",
            ".5_0",
            "._5",
            "+.5",
            "-.5",
            "-0",
            "-0.0",
            "12345678901234567890123456789012",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "1:30",
            "2026-08-20",
            "2026.8.20",
            "17.10",
            "2001-12-14t21:59:43.10-05:00",
            "<<",
            "!!str 12",
            "!!int \"12\"",
            "!!float 3",
            "!!bool \"yes\"",
            "!foo bar",
            "! 12",
            "!!binary aGVsbG8=",
            "!!timestamp 2001-12-14",
            "!!null \"\"",
            "\"a\\tb\\u00e9\"",
            "\"\\x41\\N\\_\"",
            "'it''s'",
            "plain text # comment",
            "a:b",
            "http://x/y?z",
            "{{ .Values.x }}x",
            "\"{{ tpl }}\"",
            "{}",
            "[]",
            "[a, 'b', 1]",
            "{a: 1, b: [x]}",
            "\"quoted\"",
            "-x",
            "?x",
            "x:",
            "@",
            "%x",
            "\"\\ud83d\"",
            "\"\\/\"",
            "\"\\e\"",
            "\u{1f600}",
            "é",
            "\"line one\n\n  line two\"",
            "word\n  next",
            "0x",
            "0xg",
            "1e",
            "1.2.3",
            "+",
            ".",
            "..",
            "!!int x",
            "!!set {a, b}",
        ];
        const PIECES: &[&str] = &[
            "0", "1", "7", "8", "9", ".", "e", "E", "-", "+", "_", "x", "b", "o", "a", "f", "n", "y", "12", "00", "e5",
        ];
        if self.roll(3) > 0 {
            return self.pick(WHOLE).to_owned();
        }
        (0..1 + self.roll(6)).map(|_| self.pick(PIECES)).collect()
    }

    /// Inside brackets, `-` alone, `?` and a colon before a comma are where libyaml goes its own way: `dr` refuses them
    /// (docs/design/0004), so they are not asked for.
    fn in_brackets(&mut self) -> String {
        let scalar = self.scalar();
        if scalar == "-" || scalar.contains('?') || scalar.ends_with(':') { "plain".into() } else { scalar }
    }

    fn key(&mut self) -> String {
        const KEYS: &[&str] = &[
            "a",
            "b",
            "a.b",
            "y",
            "no",
            "1",
            "1.5",
            "0x10",
            "1e3",
            "\"q\"",
            "'s t'",
            "2026-08-20",
            "~",
            "é",
            "<<",
            "\"<<\"",
            "x y",
        ];
        self.pick(KEYS).to_owned()
    }

    fn document(&mut self) -> String {
        let mut text = String::new();
        if self.roll(4) == 0 {
            text.push_str("base: &base {a: 1, b: [2], c: x}\nlist: &list\n- p\n- q: r\n");
        }
        for _ in 0..1 + self.roll(4) {
            let key = self.key();
            match self.roll(10) {
                0 => text.push_str(&format!(
                    "{key}:\n  {}: {}\n  {}: {}\n",
                    self.key(),
                    self.scalar(),
                    self.key(),
                    self.scalar()
                )),
                1 => text.push_str(&format!("{key}:\n- {}\n- {}: {}\n", self.scalar(), self.key(), self.scalar())),
                2 => {
                    let head = self.pick(&["|", "|-", "|+", ">", ">-", ">+", "|2", "|1-"]);
                    let body = self.pick(&[
                        "  one\n  two\n",
                        "   one\n\n  two\n",
                        "  one\n   two\n\n\n",
                        "  # no comment\n",
                        "\n",
                    ]);
                    text.push_str(&format!("{key}: {head}\n{body}"));
                }
                3 => text.push_str(&format!("{key}:\n  {}: {}\n  <<: *base\n", self.key(), self.scalar())),
                4 => text.push_str(&format!("{key}: {}\n", self.pick(&["*base", "*list", "*none"]))),
                5 => text.push_str(&format!("{key}: [{}, {}]\r\n", self.in_brackets(), self.in_brackets())),
                6 => text.push_str(&format!("{key}: {{{}: {}, {}}}\n", self.key(), self.in_brackets(), self.key())),
                7 => text.push_str(self.pick(&[
                    "# comment\n",
                    "\n",
                    "---\n",
                    "...\n",
                    "\t\n",
                    "{}\n",
                    "- x\n",
                    "? k\n: v\n",
                ])),
                _ => text.push_str(&format!("{key}: {}\n", self.scalar())),
            }
        }
        text
    }
}

/// A map with two YAML keys that JSON makes one (`1` and `"1"`): which of them helm takes is a matter of chance there.
fn is_a_toss(tree: &Tree) -> bool {
    tree.traps().iter().any(|trap| matches!(trap, dr::values::tree::Trap::DuplicateKey { .. }))
}

#[test]
#[ignore = "needs helm; set DR_TEST_HELM"]
fn thousands_of_documents_read_as_helm_reads_them() {
    let mut dice = Dice(20260820);
    let documents: Vec<String> = (0..10_000).map(|_| dice.document()).collect();
    let answers = read_each(&Helm::four(), &documents);
    let (mut read, mut refused, mut wrong) = (0, 0, Vec::new());
    for (document, answer) in documents.iter().zip(&answers) {
        // fromYaml reads the first document only, and cuts nothing beforehand; the whole-file test covers the rest.
        if document.lines().any(|line| line.starts_with("---")) {
            continue;
        }
        let helm_error = answer.get("Error").and_then(Value::as_str);
        match (Tree::parse(document.as_bytes()), helm_error) {
            (Ok(tree), None) => {
                read += 1;
                if !same(&tree.to_json(), answer) && !is_a_toss(&tree) {
                    wrong.push(format!("{document:?}\n  ours {}\n  helm {answer}", tree.to_json()));
                }
            }
            (Err(_), Some(_)) => refused += 1,
            (Ok(tree), Some(error)) => wrong.push(format!("{document:?}\n  ours {}\n  helm {error}", tree.to_json())),
            // A key or number that JSON cannot take, in a value that a later duplicate key throws away.
            (Err(error), None) if error.message.ends_with("Helm refuses") || error.message.starts_with("infinity") => {}
            (Err(error), None) => wrong.push(format!("{document:?}\n  ours {error}\n  helm {answer}")),
        }
    }
    assert!(read > 2_000 && refused > 1_000, "the documents are no good sample: {read} read, {refused} refused");
    let shown: Vec<&String> = wrong.iter().take(40).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown:#?}", wrong.len(), documents.len());
}

#[test]
#[ignore = "needs helm; set DR_TEST_HELM"]
fn whole_files_on_stdin_read_as_helm_reads_them() {
    let chart = values_chart();
    let long = format!("a: 1\nb: {}\n", "x".repeat(4096 - "a: 1\nb: ".len() - 1 + 4096));
    for file in [
        "a: 1\n---\nb: 2\na: {x: 1}\n",
        "a: {x: 1, y: 2}\n---\na: {y: null, z: 3}\n---\n# nothing\n",
        "--- # first\na: 1\n",
        "---\n---\na: 1\n",
        "a: 1\n...\nb: 2\n",
        "a: 1\n---\n- 1\n",
        "--- {}\n",
        "%YAML 1.1\n---\na: 1\n",
        "\u{feff}a: 1\n",
        "\u{feff}---\na: 1\n",
        "a: 1\r\nb: |\r\n  x\r\n  y\r\n",
        "a: |\n  ---\n  x\n",
        "a: \"x\n\n  y\"\n",
        "",
        "~\n",
        "# only\n",
        "[]\n",
        &long,
    ] {
        let ours = Tree::parse(file.as_bytes());
        match (Helm::four().values(chart.path(), &from_stdin(), file.as_bytes()), &ours) {
            (Ok(answer), Ok(tree)) => {
                assert!(same(&tree.to_json(), &answer), "{file:?}\n  ours {}\n  helm {answer}", tree.to_json());
            }
            (Err(_), Err(_)) => {}
            (theirs, ours) => panic!("{file:?}\n  ours {ours:?}\n  helm {theirs:?}"),
        }
    }
}
