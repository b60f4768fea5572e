//! From parser events to a tree, with the habits of Helm's YAML library.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, StructureStyle, Tag};

use super::path::{Path, Segment};
use super::resolve::{Value, key_text, resolve};
use super::tree::{Entry, Kind, Node, Scalar, Span, Style, Trap, Tree, YamlError};

/// The most nodes that a values file may have once its aliases are followed; OpsChain's own file has about 800.
pub const MAX_NODES: u64 = 1_000_000;
/// The most entries that merge keys may copy.
const MAX_MERGED: u64 = 4_000_000;

type Built = Result<Arc<Node>, YamlError>;

pub(super) fn tree(bytes: &[u8]) -> Result<Tree, YamlError> {
    let mut source = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            return Err(at_end_of(&before, "the text is not UTF-8"));
        }
    };
    if !source.is_empty() && !source.ends_with('\n') {
        source.push('\n');
    }
    if let Some(at) = source.find(forbidden) {
        return Err(at_end_of(&source[..at], "a control character, which YAML does not allow"));
    }
    let chunks = documents(&source)?;
    let (mut read, mut covered) = (Vec::new(), Vec::new());
    let mut traps = Vec::new();
    let mut root: Option<Arc<Node>> = None;
    for (place, chunk) in chunks.iter().enumerate() {
        if place > 0 {
            traps.push(Trap::SecondDocument { at: place_of(&source, chunk.separator) });
        }
        let mut builder = Builder::new(&source, chunk.bytes.clone());
        let document = builder.document()?;
        traps.append(&mut builder.traps);
        covered.append(&mut builder.covered);
        read.push(chunk.bytes.start..builder.ignored_from);
        if let Some(document) = document {
            root = Some(match root {
                Some(below) => overlay(&below, &document),
                None => document,
            });
        }
    }
    if let Some(at) = tab_in_margin(&source, &read, &covered) {
        return Err(error_at(&place_of(&source, at), "a tab where only spaces may stand"));
    }
    let empty = Node { kind: Kind::Map(Vec::new()), span: Span { line: 1, column: 1, bytes: 0..0 }, size: 1 };
    let root = root.unwrap_or_else(|| Arc::new(empty));
    if root.size > MAX_NODES {
        return Err(error_at(&root.span, format!("more than {MAX_NODES} nodes once aliases are followed")));
    }
    Ok(Tree { source, root, traps })
}

/// What libyaml's reader refuses.
fn forbidden(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// The first tab in the margin of a line that is neither in a scalar nor in brackets: Helm's parser refuses it even
/// where the line is empty otherwise.
fn tab_in_margin(source: &str, read: &[Range<usize>], covered: &[Range<usize>]) -> Option<usize> {
    if !source.contains('\t') {
        return None;
    }
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let margin = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..margin].find('\t')
            && read.iter().any(|range| range.contains(&start))
            && !covered.iter().any(|range| range.start < start && start < range.end)
        {
            return Some(start + tab);
        }
        start += line.len();
    }
    None
}

struct Chunk {
    bytes: Range<usize>,
    /// Where the line begins that parts it from the one before.
    separator: usize,
}

/// Cuts at lines that begin with `---`, as helm 4 does before it parses anything.
fn documents(source: &str) -> Result<Vec<Chunk>, YamlError> {
    let mut chunks = Vec::new();
    let (mut start, mut at, mut separator) = (0, 0, 0);
    let mut begun = false;
    for line in source.split_inclusive('\n') {
        if !begun && line.trim_end() == "..." {
            return Err(error_at(&place_of(source, at), "a document ends (`...`) before it has begun"));
        }
        begun = !line.starts_with("---") && (begun || !matches!(line.trim_start().chars().next(), None | Some('#')));
        if let Some(rest) = line.strip_prefix("---") {
            if !rest.trim().is_empty() && !rest.trim_start().starts_with('#') {
                let message = "text stands on the line of a document separator (`---`), which helm 4 refuses";
                return Err(error_at(&place_of(source, at), message));
            }
            if at > start {
                chunks.push(Chunk { bytes: start..at, separator });
            }
            (start, separator) = (at + line.len(), at);
        }
        at += line.len();
    }
    if at > start {
        chunks.push(Chunk { bytes: start..at, separator });
    }
    Ok(chunks)
}

/// A later document over an earlier one: maps merge, all else is replaced.
fn overlay(below: &Arc<Node>, above: &Arc<Node>) -> Arc<Node> {
    let (Kind::Map(lower), Kind::Map(upper)) = (&below.kind, &above.kind) else { return above.clone() };
    let mut map = MapBuilder::default();
    for entry in lower {
        map.set(entry.clone());
    }
    for entry in upper {
        let value = map.get(&entry.key).map_or_else(|| entry.value.clone(), |old| overlay(&old.value, &entry.value));
        map.set(Entry { value, ..entry.clone() });
    }
    Arc::new(map.finish(below.span.clone()))
}

#[derive(Default)]
struct MapBuilder {
    entries: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl MapBuilder {
    fn get(&self, key: &str) -> Option<&Entry> {
        self.places.get(key).map(|place| &self.entries[*place])
    }

    /// The last one wins; the place in the order stays that of the first.
    fn set(&mut self, entry: Entry) {
        match self.places.get(&entry.key) {
            Some(place) => self.entries[*place] = entry,
            None => {
                self.places.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    fn finish(self, span: Span) -> Node {
        let size = self.entries.iter().fold(1u64, |sum, entry| sum.saturating_add(entry.value.size));
        Node { kind: Kind::Map(self.entries), span, size }
    }
}

struct Builder<'s> {
    source: &'s str,
    chunk: Range<usize>,
    first_line: usize,
    parser: Parser<'s, StrInput<'s>>,
    anchors: HashMap<usize, Arc<Node>>,
    steps: Vec<Segment>,
    merged: u64,
    /// Where the last event ended.
    end: usize,
    /// Where the document is over, and what follows it in its chunk is ignored.
    ignored_from: usize,
    /// How many brackets are open.
    flow: usize,
    /// Where a tab in the margin is text or harmless: inside scalars and brackets.
    covered: Vec<Range<usize>>,
    traps: Vec<Trap>,
}

impl<'s> Builder<'s> {
    fn new(source: &'s str, chunk: Range<usize>) -> Self {
        // As libyaml: a byte order mark inside a document is text.
        let options = granit_parser::options! { emit_comments: false, bom_inside_document_as_content: true };
        Self {
            source,
            first_line: source[..chunk.start].matches('\n').count(),
            parser: Parser::new_from_str_with_options(&source[chunk.clone()], options),
            anchors: HashMap::new(),
            steps: Vec::new(),
            merged: 0,
            end: 0,
            ignored_from: chunk.end,
            flow: 0,
            covered: Vec::new(),
            traps: Vec::new(),
            chunk,
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), YamlError> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let span = self.span(&span);
                self.end = span.bytes.end;
                Ok((event, span))
            }
            Some(Err(error)) => Err(YamlError {
                line: error.marker().line() + self.first_line,
                column: error.marker().col() + 1,
                message: error.info(),
            }),
            None => Err(at_end_of(self.source, "the document has no end")),
        }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let start = self.chunk.start + span.start.byte_offset().unwrap_or(0);
        let end = self.chunk.start + span.end.byte_offset().unwrap_or(0);
        Span { line: span.start.line() + self.first_line, column: span.start.col() + 1, bytes: start..end.max(start) }
    }

    /// The first document of the chunk; `None` for one without content.
    fn document(&mut self) -> Result<Option<Arc<Node>>, YamlError> {
        loop {
            match self.next()? {
                (Event::DocumentStart(..), _) => break,
                (Event::StreamEnd, _) => return Ok(None),
                _ => {}
            }
        }
        let (event, span) = self.next()?;
        let root = self.node(event, span)?;
        let end = loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::DocumentEnd) {
                break span.bytes.end;
            }
        };
        self.note_ignored_rest(end.max(root.span.bytes.end));
        match &root.kind {
            Kind::Map(_) => Ok(Some(root)),
            Kind::Scalar(Scalar { value: Value::Null, .. }) => Ok(None),
            _ => Err(error_at(&root.span, format!("the document is a {}, not a map of keys", root.type_name()))),
        }
    }

    fn note_ignored_rest(&mut self, end: usize) {
        let mut at = end;
        for line in self.source[end..self.chunk.end].split_inclusive('\n') {
            let text = line.trim();
            if !text.is_empty() && !text.starts_with('#') && text != "..." {
                self.traps.push(Trap::IgnoredRest { at: place_of(self.source, at) });
                self.ignored_from = at;
                return;
            }
            at += line.len();
        }
    }

    fn node(&mut self, event: Event<'s>, span: Span) -> Built {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, tag.as_deref(), &span)?;
                if style != ScalarStyle::Plain {
                    self.covered.push(span.bytes.clone());
                }
                Ok(self.keep(anchor, Node { kind: Kind::Scalar(scalar), span, size: 1 }))
            }
            Event::SequenceStart(style, anchor, _) => {
                let items = self.within(style, &span, Self::list)?;
                let size = items.iter().fold(1u64, |sum, item| sum.saturating_add(item.size));
                Ok(self.keep(anchor, Node { kind: Kind::List(items), span, size }))
            }
            Event::MappingStart(style, anchor, _) => {
                let map = self.within(style, &span, Self::map)?;
                Ok(self.keep(anchor, map.finish(span)))
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) if node.size > MAX_NODES => {
                    Err(error_at(&span, format!("more than {MAX_NODES} nodes once aliases are followed")))
                }
                Some(node) => Ok(node.clone()),
                None => Err(error_at(&span, "the alias stands inside what it names")),
            },
            _ => Err(error_at(&span, "a value is missing here")),
        }
    }

    /// Reads a list or map, and notes where it stands when it is in brackets.
    fn within<T>(
        &mut self,
        style: StructureStyle,
        span: &Span,
        read: impl FnOnce(&mut Self) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        if style == StructureStyle::Block {
            return read(self);
        }
        self.flow += 1;
        let read = read(self)?;
        self.flow -= 1;
        self.covered.push(span.bytes.start..self.end);
        Ok(read)
    }

    fn keep(&mut self, anchor: usize, node: Node) -> Arc<Node> {
        let node = Arc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }

    fn list(&mut self) -> Result<Vec<Arc<Node>>, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            self.steps.push(Segment::Index(items.len()));
            items.push(self.node(event, span)?);
            self.steps.pop();
        }
    }

    fn map(&mut self) -> Result<MapBuilder, YamlError> {
        let mut map = MapBuilder::default();
        // Keys that a merge brought in may be said again without being duplicates.
        let mut own: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(map);
            }
            if is_merge_key(&event) {
                let (event, span) = self.next()?;
                let value = self.node(event, span.clone())?;
                self.merge(&value, &span, &mut map)?;
                continue;
            }
            let key = self.node(event, key_span.clone())?;
            let Kind::Scalar(scalar) = &key.kind else {
                return Err(error_at(&key_span, format!("a {} as a key, which Helm refuses", key.type_name())));
            };
            let text = key_text(&scalar.value)
                .map_err(|what| error_at(&key_span, format!("a {what} as a key, which Helm refuses")))?;
            self.steps.push(Segment::Key(text.clone()));
            if !matches!(scalar.value, Value::String(_)) {
                let path = Path(self.steps.clone());
                self.traps.push(Trap::OddKey { path, at: key_span.clone(), becomes: text.clone() });
            }
            if let Some(first_line) = own.insert(text.clone(), key_span.line) {
                let path = Path(self.steps.clone());
                self.traps.push(Trap::DuplicateKey { path, at: key_span.clone(), first_line });
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            self.steps.pop();
            map.set(Entry { key: text, key_span, value, merged: false });
        }
    }

    /// Unlike YAML's own rule, a merge key overrides the keys that stand before it: so does Helm's parser. Of several
    /// maps in a list, the first takes precedence.
    fn merge(&mut self, value: &Arc<Node>, span: &Span, map: &mut MapBuilder) -> Result<(), YamlError> {
        let wanted = || error_at(span, "a merge key (`<<`) takes a map or a list of maps");
        let sources: Vec<&Arc<Node>> = match &value.kind {
            Kind::Map(_) => vec![value],
            Kind::List(items) => items.iter().rev().collect(),
            Kind::Scalar(_) => return Err(wanted()),
        };
        for source in sources {
            let Kind::Map(entries) = &source.kind else { return Err(wanted()) };
            self.merged = self.merged.saturating_add(entries.len() as u64);
            if self.merged > MAX_MERGED {
                return Err(error_at(span, format!("more than {MAX_MERGED} keys copied by merge keys")));
            }
            for entry in entries {
                map.set(Entry { merged: true, ..entry.clone() });
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<Scalar, YamlError> {
        let raw = self.source.get(span.bytes.clone()).unwrap_or("");
        // An empty plain scalar has an empty span, whatever text the parser gives it.
        let text = if style == ScalarStyle::Plain && raw.is_empty() { "" } else { text };
        if style == ScalarStyle::DoubleQuoted {
            refused_escape(raw).map_or(Ok(()), |message| Err(error_at(span, message)))?;
        }
        if style == ScalarStyle::Plain && self.flow > 0 && text.contains('?') {
            return Err(error_at(span, "a question mark inside brackets needs quotes, or Helm takes it for a sign"));
        }
        let after = self.source.get(span.bytes.end..).unwrap_or("");
        if style == ScalarStyle::Plain && self.flow > 0 && [":,", ":]", ":}"].iter().any(|end| after.starts_with(end)) {
            return Err(error_at(
                span,
                "a colon before a comma or bracket needs a space or quotes: Helm takes it for text",
            ));
        }
        let tag = tag.map(short_tag);
        let value = match tag.as_deref() {
            // `!` alone says: not plain.
            Some("!") => Value::String(text.to_owned()),
            None if style != ScalarStyle::Plain => Value::String(text.to_owned()),
            other => resolve(other.unwrap_or(""), text).map_err(|message| error_at(span, message))?,
        };
        if let Value::Float(number) = value
            && !number.is_finite()
        {
            return Err(error_at(span, "infinity and not-a-number cannot be given to a chart"));
        }
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        Ok(Scalar { value, style, tagged: tag.is_some() })
    }
}

fn is_merge_key(event: &Event<'_>) -> bool {
    let Event::Scalar(text, style, _, tag) = event else { return false };
    text == "<<"
        && match tag.as_deref().map(short_tag) {
            None => *style == ScalarStyle::Plain,
            Some(tag) => tag == "!!merge",
        }
}

fn short_tag(tag: &Tag) -> String {
    match tag.suffix_in_namespace("tag:yaml.org,2002:") {
        Some(suffix) => format!("!!{suffix}"),
        None => format!("{}{}", tag.handle(), tag.suffix()),
    }
}

/// Escapes that YAML 1.2 knows and Helm's parser does not.
fn refused_escape(raw: &str) -> Option<&'static str> {
    let mut chars = raw.char_indices();
    while let Some((_, c)) = chars.next() {
        if c != '\\' {
            continue;
        }
        let (at, escaped) = chars.next()?;
        if escaped == '/' {
            return Some("Helm does not know the escape `\\/`");
        }
        if escaped == 'u' {
            let code = raw.get(at + 1..at + 5).and_then(|hex| u32::from_str_radix(hex, 16).ok());
            if code.is_some_and(|code| (0xd800..0xe000).contains(&code)) {
                return Some("Helm refuses half of a surrogate pair (`\\ud800` to `\\udfff`)");
            }
        }
    }
    None
}

fn error_at(span: &Span, message: impl Into<String>) -> YamlError {
    YamlError { line: span.line, column: span.column, message: message.into() }
}

fn at_end_of(before: &str, message: &str) -> YamlError {
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    YamlError { line, column, message: message.into() }
}

fn place_of(source: &str, at: usize) -> Span {
    let error = at_end_of(&source[..at], "");
    Span { line: error.line, column: error.column, bytes: at..at }
}
