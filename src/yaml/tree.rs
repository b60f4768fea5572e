//! A values file as a tree: what Helm reads, with where and how it was written.
//!
//! The bytes are the record; nothing here writes YAML. The tree serves comparing, linting and masking. A document that
//! helm 4 refuses is refused here too, with line and column; `tests/helm_oracle` compares the two.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::path::{Path, Segment};
use super::resolve::Value;

/// A values file that Helm would not read, or that is too large to be one. The text quotes nothing of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The bytes in [`Tree::source`].
    pub bytes: Range<usize>,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: its type is guessed from its text.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// As a block (`|` or `>`).
    Block,
}

#[derive(Debug, Clone)]
pub struct Scalar {
    /// What Helm reads.
    pub value: Value,
    /// How it was written.
    pub style: Style,
    /// Whether a tag such as `!!str` stood before it.
    pub tagged: bool,
}

/// A key of a map with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key as JSON gets it.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    pub value: Arc<Node>,
    /// Whether it came in by a merge key (`<<`).
    pub merged: bool,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// A single value.
    Scalar(Scalar),
    List(Vec<Arc<Node>>),
    /// A map: keys in the order of their first appearance, each with its last value.
    Map(Vec<Entry>),
}

/// A node of the tree. Nodes that an alias names are shared.
#[derive(Debug, Clone)]
pub struct Node {
    pub kind: NodeKind,
    /// Where it stands.
    pub span: Span,
    /// How many nodes it has, itself and shared ones counted each time.
    pub size: u64,
    /// Where the keys of a large map stand, from when one is first asked for.
    keys: OnceLock<HashMap<String, usize>>,
}

/// A map of fewer keys is looked through from its first one on.
const FEW_KEYS: usize = 16;

/// Something that Helm reads in silence and that its author hardly meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trap {
    /// The key stood in this map before: the last one wins.
    DuplicateKey {
        path: Path,
        /// The one that wins.
        at: Span,
        /// The line of the one that is lost.
        first_line: usize,
        /// They are two keys for YAML (`1` and `"1"`) and one for JSON: which of them a chart gets is chance.
        by_chance: bool,
    },
    /// A key that is no string in YAML, such as `y` or `0x10`.
    OddKey {
        /// Its path after the change.
        path: Path,
        at: Span,
        /// What it became.
        becomes: String,
    },
    /// Another document begins: helm 3 ignores it, helm 4 merges it over the first.
    SecondDocument {
        /// Where its first line is.
        at: Span,
    },
    /// One of Unicode's line separators, or a carriage return alone: it ends a line, and a comment, for Helm's parser alone.
    LineSeparator {
        /// Where the first one stands.
        at: Span,
        sign: char,
    },
    /// Text after a document end (`...`): it is ignored.
    IgnoredRest {
        /// Where it begins.
        at: Span,
    },
}

/// A key with its value that stands in the file and that Helm drops: another line of the key, a merge behind it, or
/// another document stands over it.
#[derive(Debug, Clone)]
pub struct OverriddenEntry {
    pub path: Path,
    /// Where the text of its map begins, in bytes.
    pub map: usize,
    pub entry: Entry,
}

/// A values file, read.
#[derive(Clone)]
pub struct Tree {
    pub(super) source: String,
    pub(super) root: Arc<Node>,
    pub(super) traps: Vec<Trap>,
    pub(super) overridden: Vec<OverriddenEntry>,
    /// Why it is a text without keys.
    pub(super) unread: Option<YamlError>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree of {} nodes", self.root.size)
    }
}

impl Tree {
    /// Reads a file as [`Tree::parse_or_explain`] does. One that is refused is kept as a text: a map without keys, whose
    /// [`Tree::source`] is all that there is. For what was deployed, or may be: Helm has the last word there.
    pub fn parse_or_keep(bytes: &[u8]) -> Self {
        Self::parse_or_explain(bytes).unwrap_or_else(|error| {
            let root = Node::new(NodeKind::Map(Vec::new()), Span::default(), 1);
            let source = String::from_utf8_lossy(bytes).into_owned();
            Self { source, root: Arc::new(root), traps: Vec::new(), overridden: Vec::new(), unread: Some(error) }
        })
    }

    /// Why this is a text without keys, where [`Tree::parse_or_keep`] could not read it.
    pub fn unread(&self) -> Option<&YamlError> {
        self.unread.as_ref()
    }

    /// The root: always a map.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The text that was read.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A node as it was written.
    pub fn raw(&self, node: &Node) -> &str {
        self.source.get(node.span.bytes.clone()).unwrap_or("")
    }

    /// What Helm reads in silence, in the order of the file.
    pub fn traps(&self) -> &[Trap] {
        &self.traps
    }

    /// What stands in the file and Helm drops.
    pub fn overridden(&self) -> &[OverriddenEntry] {
        &self.overridden
    }

    /// The keys of which Helm keeps one value or the other by chance: the last one stands here.
    pub fn keys_by_chance(&self) -> impl Iterator<Item = &Path> {
        self.traps.iter().filter_map(|trap| match trap {
            Trap::DuplicateKey { path, by_chance: true, .. } => Some(path),
            _ => None,
        })
    }

    /// The node at these keys.
    pub fn get(&self, keys: &[&str]) -> Option<&Node> {
        let mut node: &Node = &self.root;
        for key in keys {
            node = node.child(key)?;
        }
        Some(node)
    }

    /// The text at these keys, where it is one.
    pub fn text(&self, keys: &[&str]) -> Option<&str> {
        match &self.get(keys)?.kind {
            NodeKind::Scalar(Scalar { value: Value::String(text), .. }) => Some(text),
            _ => None,
        }
    }

    /// Every scalar and every empty list or map, with its path, in the order of the file.
    pub fn leaves(&self) -> Vec<(Path, &Node)> {
        let mut leaves = Vec::new();
        self.root.collect_leaves(&mut Vec::new(), &mut leaves);
        leaves
    }

    /// What a chart without defaults gets as `.Values`: every number a 64-bit float (a whole one below 2^53 is given as
    /// an integer, which is the same in JSON).
    pub fn to_json(&self) -> serde_json::Value {
        self.root.to_json()
    }
}

impl Node {
    pub(super) fn new(kind: NodeKind, span: Span, size: u64) -> Self {
        Self { kind, span, size, keys: OnceLock::new() }
    }

    /// The value of a key, where this is a map that has it.
    pub fn child(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &*entry.value)
    }

    /// The same with its key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        let NodeKind::Map(entries) = &self.kind else { return None };
        if entries.len() <= FEW_KEYS {
            return entries.iter().find(|entry| entry.key == key);
        }
        let places = || entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect();
        entries.get(*self.keys.get_or_init(places).get(key)?)
    }

    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// What kind of thing it is, for people.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar(scalar) => scalar.value.type_name(),
            NodeKind::List(_) => "list",
            NodeKind::Map(_) => "map",
        }
    }

    /// As JSON; see [`Tree::to_json`].
    pub fn to_json(&self) -> serde_json::Value {
        match &self.kind {
            NodeKind::Scalar(scalar) => scalar.value.to_json(),
            NodeKind::List(items) => items.iter().map(|item| item.to_json()).collect(),
            NodeKind::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }

    /// Whether Helm reads the same from both: key order, style and place do not count.
    pub fn same_as(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (NodeKind::Scalar(a), NodeKind::Scalar(b)) => a.value.same_as(&b.value),
            (NodeKind::List(a), NodeKind::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_as(b)),
            (NodeKind::Map(a), NodeKind::Map(b)) => {
                let theirs: std::collections::HashMap<&str, &Node> =
                    b.iter().map(|entry| (entry.key.as_str(), &*entry.value)).collect();
                a.len() == b.len()
                    && a.iter()
                        .all(|entry| theirs.get(entry.key.as_str()).is_some_and(|node| entry.value.same_as(node)))
            }
            _ => false,
        }
    }

    fn collect_leaves<'a>(&'a self, steps: &mut Vec<Segment>, leaves: &mut Vec<(Path, &'a Node)>) {
        match &self.kind {
            NodeKind::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    steps.push(Segment::Index(index));
                    item.collect_leaves(steps, leaves);
                    steps.pop();
                }
            }
            NodeKind::Map(entries) if !entries.is_empty() => {
                for entry in entries {
                    steps.push(Segment::Key(entry.key.clone()));
                    entry.value.collect_leaves(steps, leaves);
                    steps.pop();
                }
            }
            _ => leaves.push((Path(steps.clone()), self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(yaml: &str) -> String {
        match Tree::parse(yaml.as_bytes()) {
            Ok(tree) => tree.to_json().to_string(),
            Err(error) => format!("refused at {}:{}", error.line, error.column),
        }
    }

    /// Each row was recorded from `helm template` (v4.1.4) with a chart that renders `toJson .Values`; maps sorted.
    #[test]
    fn whole_files_read_as_recorded_from_helm() {
        for (yaml, expected) in [
            ("", "{}"),
            ("# c\n", "{}"),
            ("a: 1\n---\nb: 2\na: {x: 1}\n", r#"{"a":{"x":1},"b":2}"#),
            ("a: 1\n--- # c\nb: 2\n", r#"{"a":1,"b":2}"#),
            ("a: 1\n...\nb: 2\n", r#"{"a":1}"#),
            ("a: 1\n---\n- 1\n", "refused at 3:1"),
            ("--- {}\n", "refused at 1:1"),
            ("%YAML 1.1\n---\na: 1\n", "refused at 1:1"),
            ("[]", "refused at 1:1"),
            ("x", "refused at 1:1"),
            ("y: 1\nyes: 2\n", r#"{"true":2}"#),
            ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n", r#"{"a":{"b":1,"c":2},"d":{"b":1,"c":3}}"#),
            ("a: &x {b: 1, c: 2}\nd:\n  c: 3\n  <<: *x\n", r#"{"a":{"b":1,"c":2},"d":{"b":1,"c":2}}"#),
            (
                "a: &x {b: 1}\nc: &y {b: 2, d: 3}\ne:\n  <<: [*x, *y]\n",
                r#"{"a":{"b":1},"c":{"b":2,"d":3},"e":{"b":1,"d":3}}"#,
            ),
            ("\"<<\": {q: 1}\n", r#"{"<<":{"q":1}}"#),
            ("a: !!merge b\n<<: {q: 1}\n", r#"{"a":"b","q":1}"#),
            ("a:\n  <<: 1\n", "refused at 2:7"),
            ("? {a: 1}\n: 2\n", "refused at 1:3"),
            ("~: 2\n", "refused at 1:1"),
            ("9223372036854775808: h\n", "refused at 1:1"),
            ("a: &a [*a]\n", "refused at 1:8"),
            ("a: &a {b: 1}\na2: *a\nb: &a 2\nc: *a\n", r#"{"a":{"b":1},"a2":{"b":1},"b":2,"c":2}"#),
            (
                "a: !!binary aGVsbG8=\nb: !!str 12\nc: !!int \"12\"\nd: !foo 3\ng: ! 12\n",
                r#"{"a":"hello","b":"12","c":12,"d":"3","g":"12"}"#,
            ),
            ("a: !!map {b: 1}\nc: !!seq [1]\nd: !!str {x: 1}\n", r#"{"a":{"b":1},"c":[1],"d":{"x":1}}"#),
            ("a: !!set {x}\n", r#"{"a":{"x":null}}"#),
            ("!!binary aGk=: 1\n", r#"{"hi":1}"#),
            ("a: .inf\n", "refused at 1:4"),
            ("a: null\nb: {}\nc: []\nd: \"\"\ne:\n", r#"{"a":null,"b":{},"c":[],"d":"","e":null}"#),
            ("a: [1,2]\na: {b: 1}\na:\n  b: 2\n", r#"{"a":{"b":2}}"#),
            ("a: [x, y: 1, {z: n}]\n? b\n: c\n", r#"{"a":["x",{"true":1},{"z":false}],"b":"c"}"#),
            ("a: |\n  x\n  y", r#"{"a":"x\ny\n"}"#),
            ("\"a\": \"\\ud83d\\ude00\"\n", "refused at 1:7"),
            ("a: \"a\\/b\"\n", "refused at 1:6"),
            ("a: 9007199254740993\n", r#"{"a":9007199254740992.0}"#),
            ("a:\n\tb: 1\n", "refused at 2:1"),
            ("\u{feff}a: 1\n", r#"{"a":1}"#),
            ("\u{feff}---\na: 1\n", r#"{"a":1}"#),
            ("\u{feff}---\n# nothing\n", "{}"),
            ("\r---\ra: 1\r---\rb: 2\n", r#"{"a":1}"#),
            ("a: \"x\\x41\\N\"\n", "{\"a\":\"xA\u{85}\"}"),
            ("a: \"it\\'s\"\n", r#"{"a":"it's"}"#),
            ("a: {\n\t\"b\": {\n\t\t\"c\": \"1\"\n\t}\n}\n", r#"{"a":{"b":{"c":"1"}}}"#),
            ("a: {\n\t\"c\": 1\n\t}\n", "refused at 3:1"),
            ("a: &x:y z\n", r#"{"a":":y z"}"#),
            ("a: 'x'#c\nb: [1]#d\n", r#"{"a":"x","b":[1]}"#),
            ("a: x # c\u{2028}b: 1\n", r#"{"a":"x","b":1}"#),
            ("a: &x b\nc: &x [*x]\n", "refused at 2:8"),
            ("a: &x [&x b, *x]\nc: *x\n", r#"{"a":["b","b"],"c":"b"}"#),
            ("a: 1\n%YAML 1.1\n", r#"{"a":1}"#),
            ("a: 1\n%NO\n", "refused at 2:1"),
            ("a: [x:, z]\n", r#"{"a":["x:","z"]}"#),
            ("a: [-, {? b, ?c: d}]\n", r#"{"a":["-",{"b":null,"c":"d"}]}"#),
        ] {
            assert_eq!(json(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_and_costs_little() {
        let mut yaml = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..20 {
            let below = format!("*a{}", level - 1);
            yaml.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", ")));
        }
        assert!(json(&yaml).starts_with("refused"));
    }

    #[test]
    fn nodes_know_where_they_stand_and_how_they_were_written() {
        let tree = Tree::parse(b"env:\n  KEY: 0755\n  \"b.c\": 'x'\n").unwrap();
        let node = tree.get(&["env", "KEY"]).unwrap();
        assert_eq!((node.span.line, node.span.column, tree.raw(node)), (2, 8, "0755"));
        assert_eq!(node.scalar().unwrap().style, Style::Plain);
        let paths: Vec<String> = tree.leaves().iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(paths, ["env.KEY", "env.\"b.c\""]);
    }

    #[test]
    fn traps_name_line_and_path() {
        let tree = Tree::parse(b"a:\n  b: 1\n  b: 2\non: 1\n---\nc: 1\n...\nd: 1\n").unwrap();
        let traps: Vec<String> = tree
            .traps()
            .iter()
            .map(|trap| match trap {
                Trap::DuplicateKey { path, at, first_line, by_chance } => {
                    let chance = if *by_chance { " by chance" } else { "" };
                    format!("duplicate {path} {}:{} {first_line}{chance}", at.line, at.column)
                }
                Trap::OddKey { path, at, becomes } => format!("odd {path} {} {becomes}", at.line),
                Trap::SecondDocument { at } => format!("second {}", at.line),
                Trap::IgnoredRest { at } => format!("rest {}", at.line),
                Trap::LineSeparator { at, .. } => format!("separator {}", at.line),
            })
            .collect();
        assert_eq!(traps, ["duplicate a.b 3:3 2", "odd true 4 true", "second 5", "rest 8"]);
        let by_chance = |yaml: &str| {
            let tree = Tree::parse(yaml.as_bytes()).unwrap();
            tree.traps().iter().filter(|trap| matches!(trap, Trap::DuplicateKey { by_chance: true, .. })).count()
        };
        for yaml in ["1: a\n\"1\": b\n", "'1': a\n1: b\n", "{yes: a, 'true': b}", "1: a\n1.0: b\n", "'12': a\n0xc: b\n"]
        {
            assert_eq!(by_chance(yaml), 1, "{yaml}");
        }
        for yaml in ["1: a\n1: b\n", "a: 1\n'a': 2\n", "yes: a\ntrue: b\n", "12: a\n0xc: b\n"] {
            assert_eq!(by_chance(yaml), 0, "{yaml}");
        }
    }

    #[test]
    fn as_deep_as_helm_is_asked_to_go() {
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            let nested = |depth: usize| format!("a: {}{}\n", open.repeat(depth), close.repeat(depth));
            let tree = Tree::parse(nested(1_300).as_bytes()).unwrap();
            assert!(tree.root().same_as(tree.clone().root()) && tree.leaves().len() == 1);
            drop(tree.to_json());
            for depth in [9_000, 100_000] {
                let error = Tree::parse(nested(depth).as_bytes()).unwrap_err();
                assert!(error.message.contains("1500 levels"), "{error}");
            }
        }
        let blocks: String = (0..1_300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert_eq!(Tree::parse(blocks.as_bytes()).unwrap().leaves().len(), 1);
        for sign in ["- ", "? ", "a: &a [", "!x [", "'a': {"] {
            assert!(Tree::parse(format!("a:\n  {}", sign.repeat(100_000)).as_bytes()).is_err(), "{sign}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_place() {
        let error = Tree::parse(b"a: 1\nb: \xff\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 4));
    }
}
