//! What Helm makes of several layers of values: files, and what is set on its command line.
//!
//! The order, the merging and the grammar are those of helm 4 (`pkg/cli/values` and `pkg/strvals`, v4.2; helm 3 has the
//! same, but for the form `--set-json '{...}'`). `tests/helm_oracle` compares the outcome with the real program.

mod json;
mod strvals;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::yaml::{Tree, YamlError};
use strvals::Grammar;

/// How a layer was given to Helm. The order of the variants is the order in which Helm applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// A values file (`-f`): its bytes.
    Values,
    /// `--set-json`: `a.b={"c":1}`, or an object that is laid over what is there.
    SetJson,
    /// `--set`: `a.b=c,d[0]={x,y}`, where `true`, `null` and whole numbers have their types.
    Set,
    /// `--set-string`: as `--set`, and every value is text.
    SetString,
    /// `--set-file`: the key, `=`, and the file's content (not its path: that is of no use later).
    SetFile,
    /// `--set-literal`: `a.b=c`, where nothing after the `=` has a meaning.
    SetLiteral,
}

impl LayerKind {
    /// The word that records use, and [`serde`] too.
    pub fn word(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::SetJson => "set-json",
            Self::Set => "set",
            Self::SetString => "set-string",
            Self::SetFile => "set-file",
            Self::SetLiteral => "set-literal",
        }
    }

    /// The flag that gives such a layer, of `dr` and of Helm alike.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Values => "-f",
            Self::SetJson => "--set-json",
            Self::Set => "--set",
            Self::SetString => "--set-string",
            Self::SetFile => "--set-file",
            Self::SetLiteral => "--set-literal",
        }
    }
}

/// One layer: a values file, or what is set over the files.
#[derive(Clone)]
pub struct Layer {
    pub kind: LayerKind,
    /// What to call it: the file's name, the key of `--set-file`; none where the text itself is all there is.
    pub name: Option<String>,
    /// What was given; see [`LayerKind`].
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Layer {
    /// A layer without a name.
    pub fn new(kind: LayerKind, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind, name: None, bytes: Zeroizing::new(bytes.into()) }
    }

    /// A values file.
    pub fn file(name: impl Into<String>, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { kind: LayerKind::Values, name: Some(name.into()), bytes }
    }

    /// What to call it in messages: the file, or the flag with its key.
    pub fn title(&self) -> String {
        match (&self.name, self.kind) {
            (Some(name), LayerKind::Values) => name.clone(),
            (Some(name), kind) => format!("{} {name}", kind.flag()),
            (None, kind) => kind.flag().to_owned(),
        }
    }
}

/// Layers hold secrets: only the kind is shown.
impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layer({})", self.kind.flag())
    }
}

/// A layer that Helm would not take. The text quotes nothing of the layer: any part of it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// A values file that Helm cannot read.
    #[error("values layer {layer}: {cause}")]
    File {
        /// Which of all layers, from 1.
        layer: usize,
        /// What is wrong with it, and where.
        #[source]
        cause: YamlError,
    },
    /// A text after a `--set` flag that Helm cannot read or apply.
    #[error("values layer {layer} ({}), character {character}: {cause}", kind.flag())]
    Set {
        /// Which of all layers, from 1.
        layer: usize,
        kind: LayerKind,
        /// How far the text was read, in characters from 1.
        character: usize,
        cause: &'static str,
    },
}

/// Merges layers as Helm does: the files in their order (maps merge; lists, scalars and nulls replace), then each kind
/// of `--set` in Helm's order of kinds, within a kind in the order given.
///
/// Exactly one values file gives its bytes untouched and unread. Anything else gives one document as JSON text (but for
/// a `?` before keys of more than 100 bytes) with a final newline, which `helm -f -` reads; without layers it is `{}`.
///
/// A whole number given by `--set` is a 64-bit integer to Helm, but any number of a file is a 64-bit float. So one
/// beyond 2^53, which a file cannot hold, is refused; and a template that prints such a number bare (`{{ .Values.n }}`)
/// writes one of a million or more as `1e+06`, as it would from a file.
///
/// # Errors
/// The first layer, in the order of application, that Helm would refuse. Besides: an index without its `]`, which helm 4
/// ignores with all that follows and helm 3 refuses; more than 200 levels.
pub fn merge(layers: &[Layer]) -> Result<Zeroizing<Vec<u8>>, OverlayError> {
    if let [Layer { kind: LayerKind::Values, bytes, .. }] = layers {
        return Ok(bytes.clone());
    }
    let mut ordered: Vec<(usize, &Layer)> = layers.iter().enumerate().collect();
    ordered.sort_by_key(|(_, layer)| layer.kind);
    let mut base = Map::new();
    for (at, layer) in ordered {
        apply(at + 1, layer, &mut base)?;
    }
    let mut text = Zeroizing::new(Vec::new());
    json::write(&Value::Object(base), &mut text);
    text.push(b'\n');
    Ok(text)
}

/// What Helm stores of a values file or of merged layers, in one spelling: the document that [`merge`] writes, whatever was
/// given. Equal digests of it are equal values, to Helm.
///
/// # Errors
/// Helm would not read it.
pub fn document_of_file(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, YamlError> {
    Ok(document(&Tree::parse(bytes)?.to_json()))
}

/// The same of values as Helm gives them back; no values are an empty map.
pub fn document(values: &Value) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::new());
    match as_floats(values) {
        Value::Null => text.extend_from_slice(b"{}"),
        values => json::write(&values, &mut text),
    }
    text.push(b'\n');
    text
}

/// The same values with every number as Helm has it: `1` and `1.0` are one.
fn as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => super::Value::Float(number.as_f64().unwrap_or(f64::NAN)).to_json(),
        Value::Array(items) => items.iter().map(as_floats).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), as_floats(value))).collect(),
        other => other.clone(),
    }
}

/// Parts the text after `--set-file` into its key and the path of the file, both as written for Helm: a backslash takes
/// the meaning of the character after it, and is gone from the path.
///
/// # Errors
/// Text without a path; several keys or a list of paths, which Helm takes and `dr` wants one at a time.
pub fn set_file_parts(text: &str) -> Result<(&str, String), &'static str> {
    let mut escaped = false;
    let mut equals = None;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' => {
                equals = Some(at);
                break;
            }
            ',' => return Err("the key has no file: write KEY=PATH"),
            _ => {}
        }
    }
    let (key, written) = match equals {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => return Err("the key has no file: write KEY=PATH"),
    };
    let mut path = String::new();
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => path.extend(chars.next()),
            ',' => return Err("one file a flag: give the next one its own --set-file"),
            '{' if path.is_empty() => return Err("one file a flag: give each place of the list its own --set-file"),
            c => path.push(c),
        }
    }
    if path.is_empty() { Err("the key has no file: write KEY=PATH") } else { Ok((key, path)) }
}

/// JSON on one line that Helm's YAML parser reads as the same value.
pub(super) fn as_json(value: &Value) -> Zeroizing<String> {
    let mut text = Zeroizing::new(Vec::new());
    json::write(value, &mut text);
    Zeroizing::new(String::from_utf8_lossy(&text).into_owned())
}

fn apply(number: usize, layer: &Layer, base: &mut Map<String, Value>) -> Result<(), OverlayError> {
    let wrong = |(at, cause): (usize, &'static str)| OverlayError::Set {
        layer: number,
        kind: layer.kind,
        character: at + 1,
        cause,
    };
    let text = || Zeroizing::new(crate::yaml::go_text(&layer.bytes));
    let grammar = match layer.kind {
        LayerKind::Values => {
            let tree =
                Tree::parse_or_explain(&layer.bytes).map_err(|cause| OverlayError::File { layer: number, cause })?;
            if let Value::Object(map) = tree.to_json() {
                lay_over(base, map);
            }
            return Ok(());
        }
        LayerKind::SetJson => {
            let text = text();
            if text.trim().starts_with('{') {
                let before = text.chars().take_while(|c| c.is_whitespace()).count();
                let map = json::object(text.trim()).map_err(|(at, cause)| wrong((before + at, cause)))?;
                lay_over(base, map);
                return Ok(());
            }
            Grammar::Json
        }
        LayerKind::Set => Grammar::Typed,
        LayerKind::SetString => Grammar::Text,
        LayerKind::SetFile => Grammar::File,
        LayerKind::SetLiteral => Grammar::Literal,
    };
    strvals::apply(&text(), grammar, base).map_err(wrong)
}

/// Helm's merging of maps.
fn lay_over(below: &mut Map<String, Value>, above: Map<String, Value>) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => lay_over(old, new),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LayerKind::{Set, SetFile, SetJson, SetLiteral, SetString, Values};

    fn merged(layers: &[(LayerKind, &str)]) -> String {
        let layers: Vec<Layer> = layers.iter().map(|(kind, text)| Layer::new(*kind, *text)).collect();
        match merge(&layers) {
            Ok(bytes) => String::from_utf8(bytes.to_vec()).unwrap().trim_end().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn set(text: &str) -> String {
        merged(&[(Set, text)])
    }

    #[test]
    fn one_file_keeps_its_bytes() {
        let bytes = b"a:   1 # c\n\tno yaml";
        assert_eq!(merge(&[Layer::new(Values, bytes)]).unwrap().as_slice(), bytes);
        assert_eq!(merge(&[]).unwrap().as_slice(), b"{}\n");
    }

    #[test]
    fn files_merge_by_map_and_replace_all_else() {
        let below = "a: {x: 1, u: 2}\nl: [1, 2]\ns: on\nm: {z: 1}\n";
        let above = "a: {u: null, w: 3}\nl: [3]\nm: ~\n";
        assert_eq!(
            merged(&[(Values, below), (Values, above)]),
            r#"{"a":{"u":null,"w":3,"x":1},"l":[3],"m":null,"s":true}"#
        );
    }

    #[test]
    fn kinds_apply_in_helms_order_whatever_the_order_given() {
        let all = [
            (SetLiteral, "a=literal"),
            (SetFile, "b=file\n"),
            (SetString, "c=0"),
            (Set, "d=0"),
            (SetJson, "e=[0]"),
            (Values, "a: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\n"),
        ];
        assert_eq!(merged(&all), r#"{"a":"literal","b":"file\n","c":"0","d":0,"e":[0],"f":1}"#);
        assert_eq!(merged(&[(SetString, "a=s"), (Set, "a=t"), (SetJson, "a={}")]), r#"{"a":"s"}"#);
    }

    #[test]
    fn set_reads_as_recorded_from_helm() {
        for (text, expected) in [
            ("a=1,b=true,c=null,d=x", r#"{"a":1,"b":true,"c":null,"d":"x"}"#),
            ("a=007,b=0,c=-5,d=+5,e=-05,f=1.5", r#"{"a":"007","b":0,"c":-5,"d":5,"e":-5,"f":"1.5"}"#),
            ("a=TRUE,b=Null,c=FaLse,d=yes", r#"{"a":true,"b":null,"c":false,"d":"yes"}"#),
            (r"a\.b=c\,d", r#"{"a.b":"c,d"}"#),
            ("a={1,x,null}", r#"{"a":[1,"x",null]}"#),
            ("a={},b=", r#"{"a":[""],"b":""}"#),
            ("a[1]=x", r#"{"a":[null,"x"]}"#),
            ("a[0].b=1,a[0].c=2,a[1]={3}", r#"{"a":[{"b":1,"c":2},[3]]}"#),
            ("a[0][1]=x", r#"{"a":[[null,"x"]]}"#),
            ("a[0]", r#"{"a":[]}"#),
            ("a={b}c=1", r#"{"a":["b"],"c":1}"#),
            ("=x,.y=1", r#"{}"#),
            ("", "{}"),
            ("a=b=c", r#"{"a":"b=c"}"#),
        ] {
            assert_eq!(set(text), expected, "{text}");
        }
    }

    #[test]
    fn what_helm_refuses_is_refused_with_the_place_and_without_the_text() {
        for (text, character) in [
            ("hunter2", 8),
            ("a=1,hunter2", 12),
            ("a,b=1", 3),
            ("a={hunter2", 11),
            ("a[x]=1", 5),
            ("a[-1]=1", 6),
            ("a[70000]=1", 11),
            ("a[0]x=1", 7),
            ("a[", 3),
            ("a=9007199254740993", 19),
        ] {
            let said = set(text);
            assert!(said.starts_with(&format!("values layer 1 (--set), character {character}: ")), "{text}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(set(&format!("{}=1", ["a"; 32].join("."))).contains("levels"));
        assert!(set(&format!("a{}=1", "[0]".repeat(300))).contains("levels"));
        assert!(set(&format!("{}=1", ["a"; 31].join("."))).starts_with('{'));
    }

    #[test]
    fn setting_below_a_scalar_is_refused_as_helm_does() {
        assert!(merged(&[(Values, "a: 1\n"), (Set, "a.b=1")]).contains("is no map"));
        assert!(merged(&[(Values, "a:\n"), (Set, "a.b=1")]).contains("is no map"));
        assert!(merged(&[(Values, "a: {}\n"), (Set, "a[0]=1")]).contains("is no list"));
        assert_eq!(merged(&[(Values, "a: [1]\n"), (Set, "a[0].b=1")]), r#"{"a":[{"b":1}]}"#);
    }

    #[test]
    fn json_values_are_read_as_go_reads_them() {
        for (text, expected) in [
            (r#"a={"b":[1,2.5,"x"]}, c = 1"#, r#"{"a":{"b":[1,2.5,"x"]}," c ":1}"#),
            (r#"a=,b="\ud83d\ude00\ud800!""#, "{\"a\":null,\"b\":\"\u{1f600}\u{fffd}!\"}"),
            (r#"a=1b=2"#, r#"{"a":1,"b":2}"#),
            (r#" {"a":{"x":1},"a":{"y":12345678901234567890}} "#, r#"{"a":{"y":12345678901234567000.0}}"#),
        ] {
            assert_eq!(merged(&[(SetJson, text), (SetLiteral, "")]), sorted(expected));
        }
        assert!(merged(&[(SetJson, r#"{"a":1} x"#)]).contains("character 8"));
        assert!(merged(&[(SetJson, "a=[1,]")]).contains("is no JSON"));
    }

    /// The same document with its keys in the order in which they are written.
    fn sorted(json: &str) -> String {
        serde_json::from_str::<Value>(json).unwrap().to_string()
    }

    #[test]
    fn what_json_and_yaml_read_apart_is_escaped() {
        let text = "a=\u{7f}\u{85}\u{2028}\u{feff}\u{fffe}\u{1f600}é\u{1}/\\\"";
        let written = merged(&[(SetLiteral, text)]);
        assert_eq!(written, "{\"a\":\"\\u007f\\u0085\\u2028\\ufeff\\ufffe\u{1f600}é\\u0001/\\\\\\\"\"}");
        assert_eq!(Tree::parse(written.as_bytes()).unwrap().text(&["a"]), Some(&text[2..]));
        let long = "k".repeat(2000);
        let written = merged(&[(SetLiteral, &format!("{long}=v"))]);
        assert_eq!(Tree::parse(written.as_bytes()).unwrap().text(&[&long]), Some("v"));
    }

    #[test]
    fn a_set_file_is_parted_into_key_and_path() {
        assert_eq!(set_file_parts(r"a\=b.c=dir/x\,y"), Ok((r"a\=b.c", "dir/x,y".to_owned())));
        for text in ["a", "a=", "a,b=c", "a=b,c=d", "a={b}"] {
            assert!(set_file_parts(text).is_err(), "{text}");
        }
        assert_eq!(merged(&[(SetFile, "a[0].b={x},\\y\n")]), r#"{"a":[{"b":"{x},\\y\n"}]}"#);
    }
}
