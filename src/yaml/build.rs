//! From parser events to a tree, with the habits of Helm's YAML library.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, StrInput, StructureStyle, Tag};

use super::documents::{at_end_of, dash_of, documents, error_at, place_of, up_to_line};
use super::map::MapBuilder;
use super::path::{Path, Segment};
use super::quirks::{BracketSign, Patched, ends_in_colon, forbidden, refused_escape, says_margin, tab_in_margin};
use super::resolve::{Value, key_text, resolve};
use super::tree::{Entry, Node, NodeKind, Scalar, Span, Style, Trap, Tree, YamlError};

/// The most nodes that a values file may have once its aliases are followed; OpsChain's own file has about 800.
pub const MAX_NODES: u64 = 1_000_000;
/// The most entries that merge keys may copy.
const MAX_MERGED: u64 = 4_000_000;

type Built = Result<Arc<Node>, YamlError>;

impl Tree {
    /// Reads a values file as helm 4 reads it, several documents merged into one. A last line without an end is read as
    /// if it had one. An empty file is an empty map.
    ///
    /// # Errors
    /// Whatever Helm refuses: text that is not UTF-8 or not YAML, a root that is no map, keys that JSON cannot take,
    /// `.inf`. Besides that: more than [`MAX_NODES`] nodes after aliases are followed, or 255 levels.
    pub fn parse(bytes: &[u8]) -> Result<Self, YamlError> {
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
        if let Some((at, why)) = source.char_indices().find_map(|(at, c)| Some((at, forbidden(c)?))) {
            return Err(at_end_of(&source[..at], why));
        }
        let chunks = documents(&source)?;
        let (mut read, mut covered) = (Vec::new(), Vec::new());
        let mut traps = Vec::new();
        let mut root: Option<Arc<Node>> = None;
        for (place, chunk) in chunks.iter().enumerate() {
            if place > 0 {
                traps.push(Trap::SecondDocument { at: place_of(&source, chunk.separator) });
            }
            let mut patched = Patched::new(&source[chunk.bytes.clone()]);
            let document = loop {
                let mut builder = Builder::new(&source, chunk.bytes.clone(), &patched);
                match (builder.document(), builder.unexplained) {
                    (Ok(document), _) => {
                        traps.append(&mut builder.traps);
                        covered.append(&mut builder.covered);
                        read.push(chunk.bytes.start..builder.ignored_from);
                        break document;
                    }
                    (Err(error), None) => return Err(error),
                    (Err(error), Some((at, sign))) => {
                        if !patched.explain(at - chunk.bytes.start, sign) {
                            return Err(error);
                        }
                    }
                }
            };
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
        let empty = Node { kind: NodeKind::Map(Vec::new()), span: Span { line: 1, column: 1, bytes: 0..0 }, size: 1 };
        let root = root.unwrap_or_else(|| Arc::new(empty));
        if root.size > MAX_NODES {
            return Err(error_at(&root.span, format!("more than {MAX_NODES} nodes once aliases are followed")));
        }
        Ok(Tree { source, root, traps })
    }
}

/// A later document over an earlier one: maps merge, all else is replaced.
fn overlay(below: &Arc<Node>, above: &Arc<Node>) -> Arc<Node> {
    let (NodeKind::Map(lower), NodeKind::Map(upper)) = (&below.kind, &above.kind) else { return above.clone() };
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

struct Builder<'s> {
    source: &'s str,
    chunk: Range<usize>,
    first_line: usize,
    parser: Parser<'s, StrInput<'s>>,
    patched: &'s Patched<'s>,
    /// What the document has to be read again for, when it was refused.
    unexplained: Option<(usize, BracketSign)>,
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
    fn new(source: &'s str, chunk: Range<usize>, patched: &'s Patched<'s>) -> Self {
        // As libyaml: a byte order mark inside a document is text.
        let options = granit_parser::options! { emit_comments: false, bom_inside_document_as_content: true };
        Self {
            source,
            first_line: source[..chunk.start].matches('\n').count(),
            parser: Parser::new_from_str_with_options(patched.text(), options),
            patched,
            unexplained: None,
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
            Some(Err(error)) => {
                if matches!(error.kind(), ErrorKind::PlainScalarStartsWithDashFlowIndicator) {
                    let at = self.chunk.start + error.marker().byte_offset().unwrap_or(0);
                    self.unexplained = Some((at, BracketSign::Text));
                }
                Err(YamlError {
                    line: error.marker().line() + self.first_line,
                    column: error.marker().col() + 1,
                    message: error.info(),
                })
            }
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
            NodeKind::Map(_) => Ok(Some(root)),
            NodeKind::Scalar(Scalar { value: Value::Null, .. }) => Ok(None),
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
                let span = if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    up_to_line(self.source, span)
                } else {
                    span
                };
                let scalar = self.scalar(&text, style, tag.as_deref(), &span)?;
                match style {
                    ScalarStyle::Plain => {}
                    // Its first line may begin with a tab where the header says how wide the margin is.
                    ScalarStyle::Literal | ScalarStyle::Folded if says_margin(self.source, &span) => {
                        let line = self.source[..span.bytes.start].rfind('\n').unwrap_or(0);
                        self.covered.push(line..span.bytes.end);
                    }
                    _ => self.covered.push(span.bytes.clone()),
                }
                Ok(self.keep(anchor, Node { kind: NodeKind::Scalar(scalar), span, size: 1 }))
            }
            Event::SequenceStart(style, anchor, _) => {
                let items = self.within(style, &span, Self::list)?;
                let size = items.iter().fold(1u64, |sum, item| sum.saturating_add(item.size));
                let span = if style == StructureStyle::Block { dash_of(self.source, span) } else { span };
                Ok(self.keep(anchor, Node { kind: NodeKind::List(items), span, size }))
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
            self.key_in_brackets(&event, &span)?;
            // An item behind a `?` is a key without a value; one with a value comes as a map already.
            let is_pair = matches!(event, Event::MappingStart(..)) && !self.source[span.bytes.start..].starts_with('{');
            let is_key = !is_pair && self.flow > 0 && self.patched.is_key(span.bytes.start - self.chunk.start);
            let item = self.node(event, span)?;
            items.push(if is_key { self.lone_key(&item)? } else { item });
            self.steps.pop();
        }
    }

    /// A map of one key with nothing as its value.
    fn lone_key(&mut self, key: &Node) -> Built {
        let key_span = key.span.clone();
        let key = key_of(key)?;
        let null = Scalar { value: Value::Null, style: Style::Plain, tagged: false };
        let value = Arc::new(Node { kind: NodeKind::Scalar(null), span: key_span.clone(), size: 1 });
        let mut map = MapBuilder::default();
        map.set(Entry { key, key_span: key_span.clone(), value, merged: false });
        Ok(Arc::new(map.finish(key_span)))
    }

    fn map(&mut self) -> Result<MapBuilder, YamlError> {
        let mut map = MapBuilder::default();
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
            self.key_in_brackets(&event, &key_span)?;
            let key = self.node(event, key_span.clone())?;
            let text = key_of(&key)?;
            self.steps.push(Segment::Key(text.clone()));
            if !matches!(key.scalar(), Some(Scalar { value: Value::String(_), .. })) {
                let path = Path(self.steps.clone());
                self.traps.push(Trap::OddKey { path, at: key_span.clone(), becomes: text.clone() });
            }
            if let Some(first_line) = map.said(&text) {
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
            NodeKind::Map(_) => vec![value],
            NodeKind::List(items) => items.iter().rev().collect(),
            NodeKind::Scalar(_) => return Err(wanted()),
        };
        for source in sources {
            let NodeKind::Map(entries) = &source.kind else { return Err(wanted()) };
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

    /// Looks for signs in or after a plain scalar in brackets that mean something else to Helm's parser.
    fn sign_in_brackets(&mut self, raw: &str, span: &Span) -> Result<(), YamlError> {
        if raw.contains('?') {
            return Err(error_at(span, "a question mark inside brackets needs quotes, or Helm takes it for a sign"));
        }
        if raw.starts_with(':') {
            return Err(error_at(span, "a colon inside brackets needs quotes here, or Helm takes it for a sign"));
        }
        if self.source.get(span.bytes.end..).is_some_and(ends_in_colon) {
            self.unexplained = Some((span.bytes.end, BracketSign::Text));
            return Err(error_at(span, "a colon before a comma or bracket needs a space or quotes"));
        }
        Ok(())
    }

    /// Where an entry in brackets begins with `?`, Helm's parser reads a key, with or without a blank after the sign.
    fn key_in_brackets(&mut self, event: &Event<'_>, span: &Span) -> Result<(), YamlError> {
        let raw = self.source.get(span.bytes.clone()).unwrap_or("");
        let is_plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
        let first = raw.strip_prefix('?').and_then(|rest| rest.chars().next());
        if self.flow > 0 && is_plain && first.is_some_and(|c| !matches!(c, '?' | ':' | ',' | ' ')) {
            self.unexplained = Some((span.bytes.start, BracketSign::Key));
            return Err(error_at(span, "a question mark inside brackets needs quotes, or Helm takes it for a sign"));
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<Scalar, YamlError> {
        let source = self.source;
        let raw = source.get(span.bytes.clone()).unwrap_or("");
        // An empty plain scalar has an empty span, whatever text the parser gives it.
        let text = if style == ScalarStyle::Plain && raw.is_empty() { "" } else { text };
        if style == ScalarStyle::DoubleQuoted {
            refused_escape(raw).map_or(Ok(()), |message| Err(error_at(span, message)))?;
        }
        let patched;
        let text = if style == ScalarStyle::Plain && self.flow > 0 && !raw.is_empty() {
            self.sign_in_brackets(raw, span)?;
            let range = span.bytes.start - self.chunk.start..span.bytes.end - self.chunk.start;
            patched = self.patched.plain(range, raw);
            patched.as_deref().unwrap_or(text)
        } else {
            text
        };
        let follows = source[span.bytes.start..].chars().next();
        if tag.is_some() && raw.is_empty() && self.flow > 0 && !follows.is_some_and(char::is_whitespace) {
            return Err(error_at(
                span,
                "a tag inside brackets needs a blank after it, or Helm takes what follows for its end",
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

/// The text of a key as JSON gets it.
fn key_of(key: &Node) -> Result<String, YamlError> {
    let refused = |what: &str| error_at(&key.span, format!("a {what} as a key, which Helm refuses"));
    let scalar = key.scalar().ok_or_else(|| refused(key.type_name()))?;
    key_text(&scalar.value).map_err(refused)
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
