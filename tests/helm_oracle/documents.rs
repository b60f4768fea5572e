//! Documents: what `fromYaml` and `toJson` make of thousands of small files in one run, and what `-f -` makes of whole
//! ones, by both majors of helm.

use std::io::Write as _;

use dr::internals::values::{Tree, YamlError};
use serde_json::Value;

use crate::{Dice, Helm, from_stdin, in_two_threads, read_each, same, values_chart};

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

    /// Inside brackets libyaml goes its own way with `-`, `?` and `:`.
    fn in_brackets(&mut self) -> String {
        const ODD: &[&str] = &[
            "-",
            "?",
            ":",
            "x:",
            "?x",
            "?x: y",
            "? x",
            "? x: y",
            "a?b",
            "x?",
            ":x",
            "a :b",
            "-:",
            "-: x",
            "--",
            "- x",
            "x:y",
            "x::",
            "x:[a]",
            "x:{a: b}",
            "\"q\":x",
            "\"q\" :x",
            "'q':[a]",
            "\"q\":",
            "http://a/b?c=d",
            "a b",
            "a\n b",
            "- ",
            "x: y",
            "[]",
            "{}",
            "[-]",
            "{-: -}",
            "?\"q\"",
            "?-",
            "??",
            "-?",
            "x#y",
            "#",
            "*base",
            "&z x",
            "!!str",
            "!!str 1",
            "|",
            ">",
            "|x",
            "%x",
            "@x",
            "-#",
            "?[a]",
            "{? a, ?b}",
            "-\n",
            "?\n x",
            ".",
            "...",
            "---",
            "a: {b: [c, d: e]}",
        ];
        match self.roll(3) {
            0 => self.pick(ODD).to_owned(),
            1 => format!("{}: {}", self.key(), self.scalar()),
            _ => self.scalar(),
        }
    }

    /// A value that takes lines of its own, indented by `depth` blanks.
    fn block(&mut self, depth: usize) -> String {
        let margin = " ".repeat(depth);
        match self.roll(if depth > 6 { 3 } else { 9 }) {
            0 => format!(" {}\n", self.scalar()),
            1 => format!(" [{}, {}]\n", self.in_brackets(), self.in_brackets()),
            2 => format!(" {{{}, {}}} # end\n", self.in_brackets(), self.in_brackets()),
            3 => format!("\n{margin}- {}\n{margin}-{}", self.scalar(), self.block(depth + 2)),
            4 => {
                let (one, two) = (self.key(), self.key());
                format!("\n{margin}  {one}: {}\n{margin}  {two}:{}", self.scalar(), self.block(depth + 2))
            }
            5 => {
                let head = self.pick(&["|", ">", "|-", ">+", "|2", ">1", "| # c", "|\t", "|0", "|x"]);
                let body = self.pick(&[
                    "a: b\n",
                    "- x\n\n",
                    " deeper\n",
                    "{{ .Values.x }}\n",
                    "\ttab\n",
                    "# no comment\n",
                    "x\n#\n y\n",
                    "é\u{2028}x\n",
                ]);
                format!(" {head}\n{margin}  {body}{margin}  last\n")
            }
            6 => {
                let text = self.pick(&[
                    "one\n   two",
                    "one\n\n   two",
                    "'a\n\n   b'",
                    "\"a\\\n   b\"",
                    "\"a\n\t b\"",
                    "a\n\tb",
                    "a # c\n   b",
                    "a:\n",
                    "a: b",
                    "\"a\" b",
                    "'a' # c",
                    "{{ tpl }}",
                    "'{{ tpl \"x\" }}'",
                    "a\tb\t",
                    "&a x",
                    "&b",
                    "*list",
                    "*base",
                    "!!seq []",
                    "!!map {}",
                    "!!omap [a: b]",
                    "!x [1]",
                    "&a [*a]",
                    "!!str &s 12",
                    "&t !!int 12",
                ]);
                format!(" {text}\n")
            }
            7 => format!(" # comment\n{margin}    {}\n", self.scalar()),
            _ => format!(
                "\n{margin}  <<: {}\n{margin}  {}: {}\n",
                self.pick(&["*base", "[*base, *more]", "[*more, *base]", "{a: 9}", "*list", "[]", "x", "[[a: 1]]"]),
                self.key(),
                self.scalar()
            ),
        }
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

    /// A file of a kind that people have, with signs put in, taken out or put elsewhere: tabs wherever they may stand,
    /// comments glued to what is before them, anchors of every name, directives and ends of documents in odd places.
    fn edited(&mut self) -> String {
        const FILES: &[&str] = &[
            "a: &a\n  b: 1\nc: *a\n",
            "sites: {\n\t\"a\": {\n\t\t\"host\": \"x\"\n\t}\n}\n",
            "quote: \"it\\'s\"\n",
            "a:\n  - b\n  - c: d\n    e: f\n",
            "a: |\n  text\n   more\n\n  end\nb: >-\n  x\n  y\n",
            "a: {b: c, d: [e, f], \"g\": 'h'}\n",
            "# c\na: 'x' # d\nb: \"y\"\t# e\n",
            "a: &x b\nb: &y-_1 c\nd: *x\n",
            "? a\n: b\n? c\n",
            "a:\n- b\n- c\nd: e\n",
            "a: 1\n...\nb: 2\n",
            "a: 1\n%YAML 1.1\n",
        ];
        const PIECES: &[&str] = &[
            "\t",
            "\t\t",
            "\n\t",
            "#c",
            " #c",
            "# c\n",
            "&a",
            "*a",
            "&b ",
            "&a.b",
            "&x:y ",
            "*a : x",
            "!t",
            "!!str",
            "! ",
            "!<",
            "!e!x",
            "|",
            "|2\n",
            ">",
            "- ",
            "-",
            "? ",
            "?",
            ": ",
            ":",
            ",",
            "{",
            "}",
            "[",
            "]",
            "%",
            "%YAML 1.1\n",
            "%TAG ! x\n",
            "%FOO\n",
            "...",
            "...\n",
            "@",
            "`",
            "\\",
            "\\'",
            "\\/",
            "\\x41",
            "\"",
            "'",
            "<<: *a\n",
            "{}",
            "[]",
            "\r",
            "\r\n",
            "\n",
            "\n\n",
            " ",
            "\u{85}",
            "\u{2028}",
            "\u{a0}",
            "é",
            "a",
            "=",
            "~",
        ];
        let mut text = self.pick(FILES).to_owned();
        for _ in 0..1 + self.roll(4) {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let at = places[self.roll(places.len())];
            match self.roll(4) {
                0 => drop(text.drain(at..places.iter().copied().find(|place| *place > at).unwrap_or(at))),
                1 => text.push_str(self.pick(FILES)),
                _ => text.insert_str(at, self.pick(PIECES)),
            }
        }
        text
    }

    fn document(&mut self) -> String {
        let mut text = String::new();
        if self.roll(60) == 0 {
            text.push_str(self.pick(&["\u{feff}", "\u{feff}# c\n", "# c\n", "\n", "---\n", "%YAML 1.1\n", "\u{a0}"]));
        }
        if self.roll(4) == 0 {
            text.push_str("base: &base {a: 1, b: [2], c: x}\nmore: &more {a: 2, d: y}\nlist: &list\n- p\n- q: r\n");
        }
        for _ in 0..1 + self.roll(4) {
            let key = self.key();
            match self.roll(14) {
                10..=12 => {
                    let key = self.key();
                    text.push_str(&format!("{key}:{}", self.block(0)));
                }
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
        if self.roll(30) == 0 {
            text = text.replace('\n', "\r\n");
        }
        if self.roll(20) == 0 {
            text.truncate(text.trim_end().len());
        }
        text
    }
}

/// A map with two YAML keys that JSON makes one (`1` and `"1"`): which of them helm takes is a matter of chance there.
fn is_a_toss(tree: &Tree) -> bool {
    tree.traps().iter().any(|trap| matches!(trap, dr::internals::yaml::Trap::DuplicateKey { .. }))
}

/// Helm reads it, and `dr` says where it does not dare to: docs/design/0004 lists these.
fn is_meant(error: &YamlError) -> bool {
    // A key or number that JSON cannot take, in a value that a later duplicate key throws away.
    // Behind it may stand what quotes would fix.
    error.message.contains("Helm refuses") || error.message.starts_with("infinity")
}

/// A number of the environment's, where it is set.
fn asked(name: &str, else_it_is: u64) -> u64 {
    std::env::var(name)
        .map_or(else_it_is, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// What of the made-up documents reads differently, counted; the first ones are shown.
#[derive(Default)]
struct Compared {
    documents: usize,
    read: usize,
    refused: usize,
    wrong: usize,
    shown: Vec<String>,
}

impl Compared {
    fn compare(&mut self, document: &str, answers: [&Value; 2]) {
        let ours = Tree::parse(document.as_bytes());
        self.documents += 1;
        match &ours {
            Ok(_) => self.read += 1,
            Err(_) => self.refused += 1,
        }
        for answer in answers {
            let said = match (&ours, answer.get("Error").and_then(Value::as_str)) {
                (Ok(tree), None) if same(&tree.to_json(), answer) || is_a_toss(tree) => continue,
                (Ok(tree), _) => tree.to_json().to_string(),
                (Err(error), None) if !is_meant(error) => error.to_string(),
                (Err(_), _) => continue,
            };
            self.wrong += 1;
            if self.shown.len() < 40 {
                self.shown.push(format!("{document:?}\n  ours {said}\n  helm {answer}"));
            }
        }
    }
}

/// How many documents helm gets at once: so many are held in memory, and no more.
const AT_ONCE: usize = 10_000;

/// `DR_ORACLE_DOCUMENTS` says how many of each of the two kinds, `DR_ORACLE_SEED` which.
#[test]
#[ignore = "needs helm; set DR_TEST_HELM and DR_TEST_HELM3"]
fn thousands_of_documents_read_as_helm_reads_them() {
    let count = asked("DR_ORACLE_DOCUMENTS", 20_000) as usize;
    let seed = asked("DR_ORACLE_SEED", 20_260_820);
    // Past what the harness keeps to itself.
    let tell = |text: String| drop(writeln!(std::io::stderr(), "oracle: {text}"));
    tell(format!("seed {seed}, {} documents", 2 * count));
    let (mut dice, mut all) = (Dice(seed), Compared::default());
    let kinds: [fn(&mut Dice) -> String; 2] = [Dice::document, Dice::edited];
    for kind in kinds {
        let mut left = count;
        while left > 0 {
            let documents: Vec<String> = std::iter::repeat_with(|| kind(&mut dice))
                // fromYaml reads the first document only, and cuts nothing beforehand; the whole-file test covers the rest.
                .filter(|document| !document.lines().any(|line| line.starts_with("---")))
                // A last line without an end is ended before helm gets it.
                .map(|document| if document.ends_with('\n') { document } else { document + "\n" })
                .take(left.min(AT_ONCE))
                .collect();
            let answers = in_two_threads(&[Helm::four(), Helm::three()], |helm| read_each(helm, &documents));
            for (document, (four, three)) in documents.iter().zip(answers[0].iter().zip(&answers[1])) {
                all.compare(document, [four, three]);
            }
            left -= documents.len();
        }
    }
    let Compared { documents, read, refused, wrong, shown } = all;
    tell(format!(
        "{documents} documents compared with both helms: {read} read, {refused} refused, {wrong} answers differ"
    ));
    assert!(
        read > count / 4 && refused > count / 8,
        "the documents are no good sample: {read} read, {refused} refused"
    );
    assert!(wrong == 0, "{wrong} answers for {documents} documents of seed {seed} differ:\n{shown:#?}");
}

/// What helm deploys and `dr` does not read: all of it is recorded as bytes (`tests/cli/unread.rs`).
#[test]
#[ignore = "needs helm; set DR_TEST_HELM and DR_TEST_HELM3"]
fn what_helm_reads_and_dr_does_not_is_known() {
    let chart = crate::chart("#={{ len .Values | toString | b64enc }}\n");
    let deep =
        [format!("a: {}{}\n", "[".repeat(1_600), "]".repeat(1_600)), "a:\n  ".to_owned() + &"- ".repeat(1_600) + "x\n"];
    let texts = ["x: .inf\nx: 1\n", "x: {~: 1}\nx: 1\n", "\u{feff}\u{feff}a: 1\n"].map(str::to_owned);
    for text in deep.into_iter().chain(texts) {
        assert!(Tree::parse(text.as_bytes()).is_err(), "{text:?} is read by now: take it off the list");
        for helm in [Helm::four(), Helm::three()] {
            helm.template(chart.path(), &from_stdin(), text.as_bytes()).unwrap();
        }
    }
}

/// What whole files go through on `-f -`, beyond a document: cutting into documents, marks, ends.
const FILES: &[&str] = &[
    "a: 1\n---\nb: 2\na: {x: 1}\n",
    "a: {x: 1, y: 2}\n---\na: {y: null, z: 3}\n---\n# nothing\n",
    "--- # first\na: 1\n",
    "---#\na: 1\n",
    "a: 1\n---\n---#\nb: 2\n",
    "a: 1\n---#\nb: 2\n",
    "# x\n---#\na: 1\n",
    "\n---#\na: 1\n",
    "a: 1\n---\n# c\n---#\nb: 1\n",
    "---\n---#\nb: 1\n",
    "---\n---\n---#\nb: 1\n",
    "---\t#\na: 1\n",
    "---\n---\na: 1\n",
    "a: 1\n...\nb: 2\n",
    "a: 1\n---\n- 1\n",
    "a: 1\n---\nx\n",
    "--- {}\n",
    "---x\na: 1\n",
    "---\ta: 1\n",
    "%YAML 1.1\n---\na: 1\n",
    " \u{a0}#ca: 1\n...\nb: 2\n",
    "\u{a0}\n...\nb: 2\n",
    "\u{2003}# c\n...\nb: 2\n",
    "...\u{a0}\na: 1\n",
    "...\u{a0}: 1\n",
    "\u{b}# c\n...\na: 1\n",
    "\u{85}...\na: 1\n",
    " \u{85}# c\n...\na: 1\n",
    "\u{feff}a: 1\n",
    "\u{feff}---\na: 1\n",
    "a: 1\n---\n\u{feff}b: 2\n",
    "---\n\u{feff}a: 1\nb: 2\n",
    "--- \n\u{feff}a: 1\n",
    "---\r\n\u{feff}a: 1\r\n",
    "---\n\u{feff}\"a\": 1\n",
    "---\n\u{feff} a: 1\n",
    "---\n\u{feff}{a: 1}\n",
    "---\n\u{feff}",
    "---\n\u{feff}# c\na: 1\n",
    "---\n# c\n\u{feff}a: 1\n",
    "---\n\n\u{feff}a: 1\n",
    "---\n\u{feff}---\na: 1\n",
    "---\n\u{feff}\na: 1\n",
    "---\n---\n\u{feff}a: 1\n",
    "a: 1\n---\n---\n\u{feff}b: 1\n",
    "# c\n---\n\u{feff}a: 1\n",
    "\n---\n\u{feff}a: 1\n",
    "\u{feff}---\n\u{feff}a: 1\n",
    "---\n...\n",
    "---\n...\na: 1\n",
    "---\n...\n---\na: 1\n",
    "---\n# x\n...\n---\na: 1\n",
    "---\n%YAML 1.1\n---\na: 1\n",
    "---\n# c\n%YAML 1.1\n---\na: 1\n",
    "---\n%NO\n---\na: 1\n",
    "a: 1\n---\n---\n...\n---\nb: 1\n",
    "a: 1\n---\n---\n%YAML 1.1\n---\nb: 1\n",
    "---\n---\n---\na: 1\n",
    "a: 1\n---\n---\n",
    "a: 1\n---\n--- # c\n",
    "a: 1\n---\n...\n",
    "---#x: 1\n",
    "a: 1\n---\n---#x: 1\n",
    "---\u{a0}\na: 1\n",
    "---\u{a0}\n",
    "a: 1\n---\n---\u{a0}\n",
    "---\ra: 1\n",
    "...\n",
    "a: 1\r\nb: |\r\n  x\r\n  y\r\n",
    "a: 1\r\n---\r\nb: 2\r\n",
    "a: 1\rb: 2\r",
    "a: |\n  ---\n  x\n",
    "a: |\n---\nb: 1\n",
    "a: \"x\n---\n  y\"\n",
    "a: \"x\n\n  y\"\n",
    "a: &x 1\n---\nb: *x\n",
    "a: 1\na: 2\n---\na: 3\n",
    "",
    "\n\n",
    "~\n",
    "null\n",
    "# only\n",
    "[]\n",
    "{}\n",
    "\"a.b\": {\"c[0]\": 1}\na: {b: 2}\n",
    "t: '{{ .Values.x | quote }}'\nu: \"{{- tpl }}\"\n",
    "t: {{ .Values.x }}\n",
    "a:\n\tb: 1\n",
    "a: b\n\t\n",
    "a:\t1\n",
    "a: 1\t# c\n",
    "on: off\nyes: no\n",
    "a: 0x1p-2\nb: 1_000_000\nc: 1e3\nd: .5\ne: 08\nf: 0o17\n",
    "a: 9007199254740993\nb: 18446744073709551616\nc: -9223372036854775808\n",
    "a: .inf\n",
    ".inf: a\n-.Inf: b\n.nan: {.nan: c}\n",
    "a: &a .inf\n",
    "? &a .inf\n: 1\nb: *a\n",
    "[.inf]\n",
    "a: !!timestamp 2001-12-14t01:02:03+25:00\n",
    "a: !!timestamp 2001-12-14t01:02:03+24:60\n",
    "a: !!timestamp 2001-12-14T01:02:03-00:61\n",
    "a: !!timestamp 2001-12-14T01:02:03+1:00\n",
    "a: !!timestamp 2001-12-14T01:02:03+ab:cd\n",
    "a: !!timestamp 2001-12-14t01:02:03,5Z\n",
    "a: !!timestamp 2001-12-14 01:02:03.\n",
    "l: &l [{x: 1}]\nb:\n  <<: *l\n  y: 2\n",
    "l: &l [{x: 1}]\nb:\n  <<: [*l]\n  y: 2\n",
    "m: &m {x: 1}\nn: &n {x: 2, z: 3}\nb:\n  <<: [*m, *n, {q: 4}]\n  y: 2\n",
    "m: &m {x: 1}\nb:\n  <<: &l [*m]\nc: *l\n",
    "a: {x: 1}\n---\na: 2\n---\na: {y: 3}\n---\na: {z: 4}\nb: 5\n",
    "a: 2026-08-20\nb: 2026.8.20\nc: 12:30:45\nd: 2001-12-14t21:59:43.10-05:00\n",
    "? a\n: b\n? c\n",
    "null: 1\n",
    "a: \"\\ud83d\\ude00\"\n",
    "a: \u{1f600}\n",
    "a: \u{7f}\n",
    "a: x\0y\n",
];

/// Files that say again by aliases, about as often as Helm's parser takes.
fn aliased() -> Vec<String> {
    let list = |width: usize, uses: usize| format!("a: &a [{}x]\nb:\n{}", "x, ".repeat(width), "- *a\n".repeat(uses));
    let map = |width: usize, uses: usize| {
        let keys: String = (0..width).map(|key| format!("  k{key}: v\n")).collect();
        format!("a: &a\n{keys}b:\n{}", "- <<: *a\n".repeat(uses))
    };
    let doubled = |width: usize, uses: usize| {
        let uses = "*b, ".repeat(uses);
        format!("a: &a [{}x]\nb: &b [*a, *a]\nc: [{uses}*b]\n", "x, ".repeat(width))
    };
    type Kind<'f> = (&'f dyn Fn(usize, usize) -> String, usize);
    let kinds: [Kind<'_>; 6] = [(&list, 100), (&list, 130), (&list, 400), (&list, 50), (&map, 70), (&doubled, 60)];
    kinds.iter().flat_map(|(file, width)| last_read_and_first_refused(|uses| file(*width, uses))).collect()
}

/// The two files between which `dr` begins to refuse.
fn last_read_and_first_refused(file: impl Fn(usize) -> String) -> [String; 2] {
    let (mut read, mut refused) = (1, 20_000);
    assert!(Tree::parse(file(read).as_bytes()).is_ok() && Tree::parse(file(refused).as_bytes()).is_err());
    while refused - read > 1 {
        let middle = (read + refused) / 2;
        match Tree::parse(file(middle).as_bytes()) {
            Ok(_) => read = middle,
            Err(_) => refused = middle,
        }
    }
    [file(read), file(refused)]
}

#[test]
#[ignore = "needs helm; set DR_TEST_HELM and DR_TEST_HELM3"]
fn whole_files_on_stdin_read_as_helm_reads_them() {
    let mut files: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    // Last lines of which helm 4 loses those without an end; ended, it reads them all.
    for length in [4095, 4096, 4097, 8192] {
        files.push(format!("a: 1\nb: {}\n", "x".repeat(length - "b: ".len())));
        files.push(format!("a: 1\nb: |\n  {}\n", "x".repeat(length - 3)));
    }
    files.extend(aliased());
    let mut dice = Dice(4096);
    files.extend(std::iter::repeat_with(|| dice.document() + "\n").filter(|file| file.contains("\n---")).take(60));
    let chart = values_chart();
    let wrong: Vec<String> = in_two_threads(&files, |file| {
        let ours = Tree::parse(file.as_bytes());
        // Of several documents, helm 3 reads the first, which the lint says.
        let both = [Helm::four(), Helm::three()];
        let asked = if file.lines().any(|line| line.starts_with("---")) { &both[..1] } else { &both[..] };
        let theirs: Vec<_> =
            asked.iter().map(|helm| helm.values(chart.path(), &from_stdin(), file.as_bytes())).collect();
        let wrong = theirs.into_iter().find(|theirs| match (theirs, &ours) {
            (Ok(answer), Ok(tree)) => !same(&tree.to_json(), answer) && !is_a_toss(tree),
            (Ok(_), Err(error)) => !is_meant(error),
            (Err(_), ours) => ours.is_ok(),
        });
        let short = |text: String| text.chars().take(2_000).collect::<String>();
        wrong.map(|theirs| {
            let ours = short(format!("{:?}", ours.map(|tree| tree.to_json())));
            format!("{}\n  ours {ours}\n  helm {}", short(format!("{file:?}")), short(format!("{theirs:?}")))
        })
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:#?}", wrong.len(), files.len());
}
