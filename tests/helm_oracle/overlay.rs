//! Several layers: `helm template -f a -f b --set ...` against the same helm reading our merged document.

use dr::internals::values::Tree;
use dr::internals::values::overlay::{Layer, LayerKind, OverlayError, document, merge, set_file_parts};
use serde_json::Value;

use crate::{Dice, Helm, from_stdin, in_two_threads, read_each, same, values_chart};

/// One layer as it is typed: for a file of `--set-file`, the content stands behind the key.
type Given = (LayerKind, String);

fn merged(layers: &[Given]) -> Result<Vec<u8>, OverlayError> {
    let layers: Vec<Layer> = layers.iter().map(|(kind, text)| Layer::new(*kind, text.as_str())).collect();
    merge(&layers).map(|bytes| bytes.to_vec())
}

/// The arguments that give these layers to helm, in an order of their own: helm orders by kind.
fn arguments(folder: &std::path::Path, layers: &[Given]) -> Vec<String> {
    let mut args = Vec::new();
    for (place, (kind, text)) in layers.iter().enumerate() {
        args.push(kind.flag().to_owned());
        let path = folder.join(format!("layer-{place}"));
        match kind {
            LayerKind::Values => {
                std::fs::write(&path, text).unwrap();
                args.push(path.display().to_string());
            }
            LayerKind::SetFile => {
                let (key, content) = text.split_once('=').unwrap();
                std::fs::write(&path, content).unwrap();
                args.push(format!("{key}={}", path.display()));
            }
            _ => args.push(text.clone()),
        }
    }
    args
}

/// Compares one case with what helm gives its chart; an error says how it differs, else the merged document if it merges.
fn compared(helm: &Helm, layers: &[Given]) -> Result<Option<String>, String> {
    let chart = values_chart();
    let folder = tempfile::tempdir().unwrap();
    let theirs = helm.values(chart.path(), &arguments(folder.path(), layers), b"");
    match (theirs, merged(layers)) {
        (Ok(theirs), Ok(document)) => {
            let document = String::from_utf8(document).unwrap();
            // A deployment is recognised by the digest of this.
            let one_spelling = self::document(&theirs) == self::document(&read(&document));
            if one_spelling && same(&read(&document), &theirs) {
                return Ok(Some(document));
            }
            Err(format!("{layers:?}\n  ours {document}  helm {theirs}"))
        }
        (Err(_), Err(_)) => Ok(None),
        // A text that ends within an index: helm 4 takes that for its end.
        (Ok(_), Err(error)) if error.to_string().ends_with("an index has no `]`") => Ok(None),
        (theirs, ours) => Err(format!("{layers:?}\n  ours {ours:?}\n  helm {theirs:?}")),
    }
}

/// The document is JSON but for the question mark before a long key.
fn read(document: &str) -> Value {
    Tree::parse(document.as_bytes()).unwrap().to_json()
}

/// All cases, and then what helm reads from all the merged documents.
fn compare_all(helm: &Helm, cases: &[Vec<Given>]) {
    let said = in_two_threads(cases, |layers| compared(helm, layers));
    let wrong: Vec<&String> = said.iter().filter_map(|said| said.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:#?}", wrong.len(), cases.len());
    let documents: Vec<String> = said.into_iter().flatten().flatten().collect();
    for (document, theirs) in documents.iter().zip(read_each(helm, &documents)) {
        assert!(same(&read(document), &theirs), "{document}  read back {theirs}");
    }
}

impl Dice {
    fn name(&mut self) -> String {
        self.pick(&["a", "b", "c", "d.e", r"f\.g", "h i", "é", r"j\=k", "l", "m", "\"q\"", "-", "true", "1"]).to_owned()
    }

    fn target(&mut self) -> String {
        let mut target = self.name();
        for _ in 0..self.roll(3) {
            match self.roll(4) {
                0 => target.push_str(&format!("[{}]", self.pick(&["0", "1", "3", "+2"]))),
                _ => target.push_str(&format!(".{}", self.name())),
            }
        }
        target
    }

    fn typed(&mut self) -> String {
        self.pick(&[
            "x",
            "",
            "0",
            "1",
            "-7",
            "+7",
            "007",
            "1.5",
            "1e3",
            "true",
            "FALSE",
            "Null",
            "null",
            "yes",
            "0x10",
            " 1",
            r"x\,y",
            r"a\\b",
            "{}",
            "{a}",
            "{1,b,null}",
            "{a,}",
            "{\\{,\\}}",
            "x=y",
            "a[0]",
            "9007199254740991",
            "{{ tpl }}",
            "é\u{1f600}",
            "\u{2028}x\u{85}",
            "\u{feff}",
            "a: b",
            "- a",
            "#c",
            "fal\u{17f}e",
        ])
        .to_owned()
    }

    fn json(&mut self) -> String {
        self.pick(&[
            "1",
            "null",
            "",
            " ",
            "\"x\"",
            "{}",
            "[]",
            "{\"a\":{\"b\":null}}",
            "[1,{\"x\":[2]}]",
            "1e3",
            "-0",
            "true",
            "\"\\ud83d\\ude00\"",
            "\"\\ud800x\"",
            "\"a\\u2028b\"",
            "12345678901234567890",
            "0.1",
            "{\"a\":1,\"a\":2}",
        ])
        .to_owned()
    }

    fn file(&mut self) -> String {
        const FILES: &[&str] = &[
            "a: {b: 1, x: 2}\nc: [1, {d: 2}]\nl: text\n",
            "a: {b: {c: 1}}\nd: {e: [1, 2]}\nm: null\n",
            "b: ~\nc:\n- 1\nh i: on\n",
            "f.g: {a: 0755}\nl: {m: {}}\nd: {e: {a: {}}}\n",
            "a: null\nb: {a: null, c: 1}\n",
            "# empty\n",
            "a: |\n  x\n  y\nb: [[1], [2, [3]]]\n1: {a: 12345678901234567890}\n",
            "a: {b: 1}\n---\na: {c: 2}\nb: [x]\n",
        ];
        self.pick(FILES).to_owned()
    }

    fn layer(&mut self) -> Given {
        let target = self.target();
        match self.roll(9) {
            0 | 1 => (LayerKind::Values, self.file()),
            2 => (LayerKind::SetJson, format!("{target}={}", self.json())),
            3 => (LayerKind::SetJson, format!(" {{\"a\":{{\"{}\":{}}}}} ", self.name().replace(['\\', '"'], ""), 7)),
            4 => (LayerKind::SetString, format!("{target}={}", self.typed())),
            5 => (LayerKind::SetFile, format!("{}={}", target.replace(r"\=", ""), self.typed())),
            6 => (LayerKind::SetLiteral, format!("{target}={}", self.typed())),
            _ => (LayerKind::Set, format!("{target}={},{}={}", self.typed(), self.target(), self.typed())),
        }
    }
}

/// Texts that end early, nest oddly or hit a bound.
const GOLDEN: &[&str] = &[
    "a",
    "a=",
    "a.",
    "a.b",
    "a[0]",
    "a[0].",
    "a[0].b",
    "a[0].b=",
    "a[1].b=",
    "a[0][1]",
    "a[0][0].b=",
    "a[-1]=1",
    "a[x]=1",
    "a[]=1",
    "a[0]x=1",
    "a[0]=1,a[1]=2,a[0]=3",
    "a[0].b=1,a[0].c=2",
    "a[1][1]=x",
    "a[65536]=1",
    "a[65537]=1",
    "a={x",
    "a={x}}",
    "a={x},b=1",
    "a={x}b=1",
    ",a=1",
    "a=1,",
    "a=1,,b=2",
    "=1",
    ".a=1",
    "a..b=1",
    "a.=1",
    "a,b=1",
    r"a=\",
    r"a\",
    r"a\.b.c=\{x\}",
    "a.b=1,a=2,a.b=3",
    "a=1,a.b=2",
    "a=null,a.b=1",
    "a={1},a.b=1",
    "a.b=1,a[0]=1",
    "a[0]={1},a[0][1]=2",
    "a[0]=x,a[0].b=1",
    "a[0]=x,a[0][0]=1",
    " a = 1 ",
    "true=1",
    "1=1,1.a=2",
    "a.1=x",
    "a=-",
    "a=+",
    "a=--1",
    "a=1_000",
    "a=\u{a0}",
    "\u{2028}=1",
];

#[test]
#[ignore = "needs helm; set DR_TEST_HELM and DR_TEST_HELM3"]
fn set_texts_mean_what_helm_takes_them_for() {
    let deep = |levels: usize| format!("{}=1", vec!["a"; levels].join("."));
    let long = format!("{}=v", "k".repeat(3000));
    let base = (LayerKind::Values, "a: [[1], {b: 2}]\nb: {}\n".to_owned());
    let mut cases: Vec<Vec<Given>> = Vec::new();
    for (place, text) in GOLDEN.iter().map(|text| (*text).to_owned()).chain([deep(31), deep(32), long]).enumerate() {
        cases.push(vec![base.clone(), (LayerKind::Set, text.clone())]);
        let (kind, below) =
            if place % 2 == 0 { (LayerKind::Set, "") } else { (LayerKind::SetLiteral, "a: [[1], {b: 2}]\n") };
        cases.push(vec![(LayerKind::Values, below.to_owned()), (kind, text)]);
    }
    for json in [
        "a=1b=2",
        "a=1 , b=2",
        "a=,b=[1]",
        "a=\"x",
        "a=[1,]",
        "a=01",
        "a=nullx=1",
        "a=1e400",
        "a[1].b={\"c\":1},d=2",
        "a[0]=",
        "a=\u{a0}1",
    ] {
        cases.push(vec![base.clone(), (LayerKind::SetJson, json.to_owned())]);
    }
    compare_all(&Helm::four(), &cases);
    compare_all(&Helm::three(), &cases);
}

#[test]
#[ignore = "needs helm; set DR_TEST_HELM"]
fn layers_merge_as_helm_merges_them() {
    let mut dice = Dice(20261008);
    let cases: Vec<Vec<Given>> = (0..150)
        .map(|_| {
            // Files first more often than not, so that there is something to set into.
            let mut layers = vec![(LayerKind::Values, dice.file())];
            layers.extend((0..1 + dice.roll(5)).map(|_| dice.layer()));
            layers
        })
        .collect();
    let fine = cases.iter().filter(|layers| merged(layers).is_ok()).count();
    assert!(fine > 50 && fine < 140, "the layers are no good sample: {fine} of {} merge", cases.len());
    compare_all(&Helm::four(), &cases);
}

/// Thousands of texts in one run: each under a key of its own.
#[test]
#[ignore = "needs helm; set DR_TEST_HELM and DR_TEST_HELM3"]
fn thousands_of_set_texts_in_one_run() {
    let mut dice = Dice(65_536);
    let mut layers: Vec<Given> = Vec::new();
    for case in 0..4_000 {
        let (kind, text) = match dice.roll(3) {
            0 => (LayerKind::SetString, format!("k{case}.{}={}", dice.target(), dice.typed())),
            1 => (LayerKind::SetJson, format!("k{case}.{}={}", dice.target(), dice.json())),
            _ => (
                LayerKind::Set,
                format!("k{case}.{}={},k{case}.{}={}", dice.target(), dice.typed(), dice.target(), dice.typed()),
            ),
        };
        if merged(&[(kind, text.clone())]).is_ok() {
            layers.push((kind, text));
        }
    }
    assert!(layers.len() > 2_000, "{} texts are no good sample", layers.len());
    let chart = values_chart();
    let folder = tempfile::tempdir().unwrap();
    for helm in [Helm::four(), Helm::three()] {
        let theirs = helm.values(chart.path(), &arguments(folder.path(), &layers), b"").unwrap();
        let ours = helm.values(chart.path(), &from_stdin(), &merged(&layers).unwrap()).unwrap();
        let parts = |value: &Value| value.as_object().unwrap().clone();
        let (theirs, ours) = (parts(&theirs), parts(&ours));
        assert_eq!(theirs.len(), ours.len());
        for (key, value) in &theirs {
            assert_eq!(
                ours.get(key),
                Some(value),
                "{key}: {:?}",
                layers.iter().find(|(_, text)| text.starts_with(key))
            );
        }
    }
}

#[test]
#[ignore = "needs helm; set DR_TEST_HELM"]
fn the_path_of_a_set_file_is_the_one_that_helm_reads() {
    let chart = values_chart();
    let folder = tempfile::tempdir().unwrap();
    for name in ["plain", "with space", "a,b", "a=b", r"back\slash"] {
        let path = folder.path().join(name);
        std::fs::write(&path, name).unwrap();
        let typed = format!("a.b={}", path.display().to_string().replace('\\', r"\\").replace(',', r"\,"));
        let theirs = Helm::four().values(chart.path(), &["--set-file".into(), typed.clone()], b"").unwrap();
        assert_eq!(theirs["a"]["b"], name);
        let (key, read) = set_file_parts(&typed).unwrap();
        assert_eq!((key, read.as_str()), ("a.b", path.to_str().unwrap()));
    }
}
