//! From parser events to a tree, with the habits of Helm's YAML library.

use std::collections::HashMap;
use std::sync::Arc;

use super::aliases::Decoded;
use super::cursor::TextMark;
use super::documents::{Document, LINE_SEPARATORS, Lines, at_end_of, documents, error_at, odd_line_end, up_to_line};
use super::map::MapBuilder;
use super::overlay::overlaid;
use super::parser::{EventKind, Parser, Properties};
use super::path::{Path, Segment};
use super::quotes;
use super::resolve::{Value, key_text, resolve};
use super::token::ScalarStyle;
use super::tree::{Entry, Node, NodeKind, OverriddenEntry, Scalar, Span, Style, Trap, Tree, YamlError};

/// The most nodes that a values file may have once its aliases are followed; OpsChain's own file has about 800.
pub const MAX_NODES: u64 = 1_000_000;
/// The most entries that merge keys may copy.
const MAX_MERGED: u64 = 4_000_000;

/// The most levels: what walks a tree walks it by recursion. Helm itself takes 10,000.
pub const MAX_DEPTH: usize = 1_500;

type Built = Result<Arc<Node>, YamlError>;

impl Tree {
    /// Reads a values file as helm 4 reads it, several documents merged into one. A last line without an end is read as
    /// if it had one. An empty file is an empty map.
    ///
    /// # Errors
    /// Whatever Helm refuses: text that is not UTF-8 or not YAML, a root that is no map, keys that JSON cannot take,
    /// `.inf`. Besides that: more than [`MAX_NODES`] nodes after aliases are followed, or [`MAX_DEPTH`] levels. The error
    /// says no more than what is wrong where: see [`Tree::parse_or_explain`].
    pub fn parse(bytes: &[u8]) -> Result<Self, YamlError> {
        let mut source = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
                let message = match is_utf16 {
                    true => {
                        "the text is UTF-16, which the majors of Helm read differently: convert it (iconv -f UTF-16 -t UTF-8)"
                    }
                    false => "the text is not UTF-8",
                };
                return Err(at_end_of(&before, message));
            }
        };
        if !source.is_empty() && !source.ends_with('\n') {
            source.push('\n');
        }
        if let Some((at, _)) = source.char_indices().find(|(_, c)| !is_allowed(*c)) {
            return Err(at_end_of(&source[..at], "a control character, which YAML does not allow"));
        }
        if source.starts_with("\u{feff}\u{feff}") {
            // Helm passes over the second, but not always.
            return Err(at_end_of("", "two byte order marks in a row"));
        }
        let chunks = documents(&source)?;
        let lines = Lines::new(&source);
        let separator = |(at, sign)| Trap::LineSeparator { at: lines.place_of(at), sign };
        let mut traps: Vec<Trap> = odd_line_end(&source).map(separator).into_iter().collect();
        let (mut layers, mut overridden) = (Vec::new(), Vec::new());
        for (place, chunk) in chunks.iter().enumerate() {
            if place > 0 {
                traps.push(Trap::SecondDocument { at: lines.place_of(chunk.separator) });
            }
            let mut builder = Builder::new(&lines, chunk);
            layers.extend(builder.document()?);
            traps.append(&mut builder.traps);
            overridden.append(&mut builder.overridden);
        }
        let empty = Node::new(NodeKind::Map(Vec::new()), Span { line: 1, column: 1, bytes: 0..0 }, 1);
        let root = overlaid(layers, &Path::root(), &mut overridden).unwrap_or_else(|| Arc::new(empty));
        if root.size > MAX_NODES {
            return Err(error_at(&root.span, format!("more than {MAX_NODES} nodes once aliases are followed")));
        }
        Ok(Tree { source, root, traps, overridden, unread: None })
    }

    /// As [`Tree::parse`], for a file whose error a person is to read: it also says what quotes would fix, which takes
    /// several more readings.
    ///
    /// # Errors
    /// Those of [`Tree::parse`].
    pub fn parse_or_explain(bytes: &[u8]) -> Result<Self, YamlError> {
        Self::parse(bytes).map_err(|error| quotes::explained(bytes, error))
    }
}

/// A list or a map that is being read.
struct Frame {
    content: Content,
    span: Span,
    anchor: Option<OpenAnchor>,
}

/// An anchor whose node is being read.
struct OpenAnchor {
    name: String,
    number: usize,
    /// How many nodes were decoded before its own.
    before: u64,
}

struct Anchor {
    number: usize,
    /// `None` while it is being read.
    node: Option<Arc<Node>>,
    /// How many nodes Helm decodes for it.
    decoded: u64,
}

enum Content {
    List(Vec<Arc<Node>>),
    Map(MapBuilder, Awaited),
}

/// What a map that is being read waits for.
enum Awaited {
    Key,
    Value(String, Span),
    /// What a merge key takes in.
    Merge,
}

struct Builder<'s> {
    lines: &'s Lines<'s>,
    source: &'s str,
    chunk: &'s Document,
    first_line: usize,
    /// Whether something else than a line feed ends a line somewhere, which only Helm's parser counts.
    has_odd_ends: bool,
    parser: Parser<'s>,
    /// What anchors name.
    anchors: HashMap<String, Anchor>,
    anchored: usize,
    frames: Vec<Frame>,
    steps: Vec<Segment>,
    merged: u64,
    decoded: Decoded,
    traps: Vec<Trap>,
    overridden: Vec<OverriddenEntry>,
}

impl<'s> Builder<'s> {
    fn new(lines: &'s Lines<'s>, chunk: &'s Document) -> Self {
        let source = lines.text;
        let text = &source[chunk.bytes.clone()];
        let carriage_returns = text.matches('\r').count();
        Self {
            lines,
            source,
            chunk,
            first_line: lines.line_of(chunk.bytes.start) - 1,
            has_odd_ends: text.contains(LINE_SEPARATORS) || carriage_returns != text.matches("\r\n").count(),
            parser: Parser::new(text),
            anchors: HashMap::new(),
            anchored: 0,
            frames: Vec::new(),
            steps: Vec::new(),
            merged: 0,
            decoded: Decoded::new(),
            traps: Vec::new(),
            overridden: Vec::new(),
        }
    }

    fn span(&self, start: TextMark, end: TextMark) -> Span {
        let (from, to) = (self.chunk.bytes.start + start.at, self.chunk.bytes.start + end.at);
        let bytes = from..to.max(from);
        if self.has_odd_ends {
            return Span { bytes, ..self.lines.place_of(from) };
        }
        Span { line: self.first_line + start.line + 1, column: start.column + 1, bytes }
    }

    /// An error of the parser's, whose lines are those of the chunk, and end where Helm's do.
    fn placed(&self, error: YamlError) -> YamlError {
        if !self.has_odd_ends {
            return YamlError { line: error.line + self.first_line, ..error };
        }
        let place = self.lines.place_in(self.chunk.bytes.clone(), (error.line, error.column));
        YamlError { line: place.line, column: place.column, ..error }
    }

    /// The first document of the chunk; `None` for one without content.
    fn document(&mut self) -> Result<Option<Arc<Node>>, YamlError> {
        let mut root = None;
        loop {
            let event = match self.parser.next() {
                Ok(event) => event,
                Err(error) => return Err(self.placed(error)),
            };
            let span = self.span(event.start, event.end);
            let node = match event.kind {
                EventKind::DocumentEnd => {
                    self.note_ignored_rest(span.bytes.end);
                    break;
                }
                EventKind::ListStart(properties) => {
                    // A merge key takes in its items, one by one.
                    if !self.awaits_merge() {
                        self.count(&span)?;
                    }
                    self.begin(Content::List(Vec::new()), properties, span)?;
                    continue;
                }
                EventKind::MapStart(properties) => {
                    self.count(&span)?;
                    self.begin(Content::Map(MapBuilder::default(), Awaited::Key), properties, span)?;
                    continue;
                }
                EventKind::End => {
                    let Some(node) = self.end() else { continue };
                    node
                }
                EventKind::Alias(name) => {
                    self.count(&span)?;
                    let node = self.alias(&name, &span)?;
                    self.aliases_fit(&span)?;
                    (node, span)
                }
                EventKind::Scalar(text, style, properties) => {
                    if self.takes_merge(&text, style, &properties) {
                        continue;
                    }
                    self.count(&span)?;
                    let span = if style == ScalarStyle::Block { up_to_line(self.source, span) } else { span };
                    (self.scalar_node(&text, style, properties, &span)?, span)
                }
            };
            if let Some(whole) = self.put(node)? {
                root = Some(whole);
            }
        }
        let Some(root) = root else { return Ok(None) };
        match &root.kind {
            NodeKind::Map(_) => Ok(Some(root)),
            NodeKind::Scalar(Scalar { value: Value::Null, .. }) => Ok(None),
            _ => Err(error_at(&root.span, format!("the document is a {}, not a map of keys", root.type_name()))),
        }
    }

    fn note_ignored_rest(&mut self, end: usize) {
        let mut at = end;
        for line in self.source[end..self.chunk.bytes.end].split_inclusive('\n') {
            let text = line.trim();
            if !text.is_empty() && !text.starts_with('#') && text != "..." {
                self.traps.push(Trap::IgnoredRest { at: self.lines.place_of(at) });
                return;
            }
            at += line.len();
        }
    }

    fn begin(&mut self, content: Content, properties: Properties, span: Span) -> Result<(), YamlError> {
        if let Some(Frame { content: Content::Map(_, Awaited::Key), .. }) = self.frames.last() {
            let kind = if matches!(content, Content::List(_)) { "list" } else { "map" };
            return Err(refused_key(kind, &span));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(error_at(&span, format!("more than {MAX_DEPTH} levels")));
        }
        self.enter();
        let anchor = properties.anchor.map(|name| self.open_anchor(name));
        self.frames.push(Frame { content, span, anchor });
        Ok(())
    }

    /// Notes the step to the node that begins.
    fn enter(&mut self) {
        if let Some(Frame { content: Content::List(items), .. }) = self.frames.last() {
            self.steps.push(Segment::Index(items.len()));
        }
    }

    /// Its node has been counted.
    fn open_anchor(&mut self, name: String) -> OpenAnchor {
        self.anchored += 1;
        let number = self.anchored;
        self.anchors.insert(name.clone(), Anchor { number, node: None, decoded: 0 });
        OpenAnchor { name, number, before: self.decoded.nodes() - 1 }
    }

    /// An anchor names its node from now on, unless another of this name stood inside of it.
    fn close_anchor(&mut self, open: Option<OpenAnchor>, node: &Arc<Node>) {
        let Some(OpenAnchor { name, number, before }) = open else { return };
        if let Some(anchor) = self.anchors.get_mut(&name)
            && anchor.number == number
        {
            anchor.node = Some(Arc::clone(node));
            anchor.decoded = self.decoded.nodes() - before;
        }
    }

    fn end(&mut self) -> Option<(Arc<Node>, Span)> {
        let frame = self.frames.pop()?;
        let node = match frame.content {
            Content::List(items) => {
                let size = items.iter().fold(1u64, |sum, item| sum.saturating_add(item.size));
                Node::new(NodeKind::List(items), frame.span.clone(), size)
            }
            Content::Map(map, _) => map.finish(frame.span.clone()),
        };
        let node = Arc::new(node);
        self.close_anchor(frame.anchor, &node);
        self.leave();
        Some((node, frame.span))
    }

    /// Takes back the step that [`Builder::enter`] noted.
    fn leave(&mut self) {
        if let Some(Frame { content: Content::List(_), .. }) = self.frames.last() {
            self.steps.pop();
        }
    }

    fn alias(&mut self, name: &str, span: &Span) -> Built {
        let Some(anchor) = self.anchors.get(name) else {
            return Err(error_at(span, "an alias without its anchor: a text that begins with `*` needs quotes"));
        };
        let Some(node) = &anchor.node else {
            return Err(error_at(span, "the alias stands inside what it names"));
        };
        if node.size > MAX_NODES {
            return Err(error_at(span, format!("more than {MAX_NODES} nodes once aliases are followed")));
        }
        if self.awaits_merge() && matches!(node.kind, NodeKind::List(_)) {
            return Err(error_at(
                span,
                "a merge key (`<<`) takes a list of maps only where it is written, by no alias",
            ));
        }
        self.decoded.alias_of(anchor.decoded);
        Ok(Arc::clone(node))
    }

    fn awaits_merge(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Map(_, Awaited::Merge), .. }))
    }

    /// Counts a node as Helm's parser does.
    fn count(&mut self, span: &Span) -> Result<(), YamlError> {
        self.decoded.node();
        self.aliases_fit(span)
    }

    fn aliases_fit(&self, span: &Span) -> Result<(), YamlError> {
        match self.decoded.is_excessive() {
            true => Err(error_at(span, "nearly all of the document stands below aliases, which Helm refuses")),
            false => Ok(()),
        }
    }

    fn scalar_node(&mut self, text: &str, style: ScalarStyle, properties: Properties, span: &Span) -> Built {
        let kind = NodeKind::Scalar(scalar(text, style, properties.tag.as_deref(), span)?);
        let node = Arc::new(Node::new(kind, span.clone(), 1));
        let anchor = properties.anchor.map(|name| self.open_anchor(name));
        self.close_anchor(anchor, &node);
        Ok(node)
    }

    /// Whether a scalar is a merge key (`<<`), which is then awaited.
    fn takes_merge(&mut self, text: &str, style: ScalarStyle, properties: &Properties) -> bool {
        let is_merge = text == "<<"
            && match properties.tag.as_deref() {
                None | Some("!") => style == ScalarStyle::Plain,
                Some(tag) => tag == "!!merge",
            };
        match self.frames.last_mut() {
            Some(Frame { content: Content::Map(_, awaited @ Awaited::Key), .. }) if is_merge => {
                *awaited = Awaited::Merge;
                true
            }
            _ => false,
        }
    }

    /// Puts a node where it belongs; gives back the root. Where it stands in the file may be elsewhere than where it was
    /// written.
    fn put(&mut self, (node, span): (Arc<Node>, Span)) -> Result<Option<Arc<Node>>, YamlError> {
        let Some(mut frame) = self.frames.pop() else { return Ok(Some(node)) };
        let start = frame.span.bytes.start;
        match &mut frame.content {
            Content::List(items) => {
                finite(&node, &span)?;
                items.push(node);
            }
            Content::Map(map, awaited) => match std::mem::replace(awaited, Awaited::Key) {
                Awaited::Key => *awaited = self.key(&node, span, map)?,
                Awaited::Value(key, key_span) => {
                    finite(&node, &span)?;
                    self.steps.pop();
                    let before = map.set(Entry { key, key_span, value: node, merged: false });
                    self.note_overridden(before, start);
                }
                Awaited::Merge => self.merge(&node, (&span, start), map)?,
            },
        }
        self.frames.push(frame);
        Ok(None)
    }

    fn key(&mut self, node: &Node, span: Span, map: &mut MapBuilder) -> Result<Awaited, YamlError> {
        let scalar = node.scalar().ok_or_else(|| refused_key(node.type_name(), &span))?;
        let text = key_text(&scalar.value).map_err(|what| refused_key(what, &span))?;
        self.steps.push(Segment::Key(text.clone()));
        if !matches!(scalar.value, Value::String(_)) {
            let path = Path(self.steps.clone());
            self.traps.push(Trap::OddKey { path, at: span.clone(), becomes: text.clone() });
        }
        if let Some(first_line) = map.said(&text) {
            let path = Path(self.steps.clone());
            let by_chance = map.is_another_key(&text, &scalar.value);
            self.traps.push(Trap::DuplicateKey { path, at: span.clone(), first_line, by_chance });
        }
        map.note(&text, &scalar.value);
        Ok(Awaited::Value(text, span))
    }

    /// Unlike YAML's own rule, a merge key overrides the keys that stand before it: so does Helm's parser. Of several
    /// maps in a list, the first takes precedence.
    fn merge(
        &mut self,
        value: &Arc<Node>,
        (span, start): (&Span, usize),
        map: &mut MapBuilder,
    ) -> Result<(), YamlError> {
        let wanted = || error_at(span, "a merge key (`<<`) takes a map or a list of maps");
        let sources: Vec<&Arc<Node>> = match &value.kind {
            NodeKind::Map(_) => vec![value],
            NodeKind::List(items) => items.iter().rev().collect(),
            NodeKind::Scalar(_) => return Err(wanted()),
        };
        // What is written there stands nowhere else.
        for source in sources.iter().filter(|source| source.span.bytes.start >= span.bytes.start) {
            let NodeKind::Map(entries) = &source.kind else { continue };
            entries.iter().for_each(|entry| self.note_overridden(Some(entry.clone()), source.span.bytes.start));
        }
        for source in sources {
            let NodeKind::Map(entries) = &source.kind else { return Err(wanted()) };
            self.merged = self.merged.saturating_add(entries.len() as u64);
            if self.merged > MAX_MERGED {
                return Err(error_at(span, format!("more than {MAX_MERGED} keys copied by merge keys")));
            }
            for entry in entries {
                let before = map.set(Entry { merged: true, ..entry.clone() });
                self.note_overridden(before, start);
            }
        }
        Ok(())
    }

    /// What stood in the map that begins at `map`. What a merge brought stands elsewhere, and is kept there.
    fn note_overridden(&mut self, before: Option<Entry>, map: usize) {
        if let Some(entry) = before.filter(|entry| !entry.merged) {
            let path = Path(self.steps.iter().cloned().chain([Segment::Key(entry.key.clone())]).collect());
            self.overridden.push(OverriddenEntry { path, map, entry });
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>, span: &Span) -> Result<Scalar, YamlError> {
    let value = match tag {
        // `!` alone says: not plain.
        Some("!") => Value::String(text.to_owned()),
        None if style != ScalarStyle::Plain => Value::String(text.to_owned()),
        other => resolve(other.unwrap_or(""), text).map_err(|message| error_at(span, message))?,
    };
    let style = match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::Quoted => Style::Quoted,
        ScalarStyle::Block => Style::Block,
    };
    Ok(Scalar { value, style, tagged: tag.is_some() })
}

/// JSON has no other numbers. As a key it is a text.
fn finite(node: &Node, span: &Span) -> Result<(), YamlError> {
    match node.scalar() {
        Some(Scalar { value: Value::Float(number), .. }) if !number.is_finite() => {
            Err(error_at(span, "infinity and not-a-number cannot be given to a chart"))
        }
        _ => Ok(()),
    }
}

fn refused_key(what: &str, span: &Span) -> YamlError {
    error_at(span, format!("a {what} as a key, which Helm refuses"))
}

/// What Helm's reader takes.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}
