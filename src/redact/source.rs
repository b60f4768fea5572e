//! Masking of a whole values file: its secrets taken from its tree, and its text with each masked in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::line::secret_spans;
use super::named::{secret_in_key, written_named};
use super::scrubber::Scrubber;
use super::secret::{called, hint_above, name_hint, written_secrets};
use super::written::Written;
use crate::yaml::{Node, NodeKind, Segment, Style, Trap, Tree, Value};

impl Scrubber {
    /// Registers every secret scalar of a values file.
    pub fn register_tree(&mut self, tree: &Tree) {
        if tree.unread().is_some() {
            self.register_inside(tree.source().as_bytes());
            self.register_lines(tree.source());
            return;
        }
        for rest in ignored_rests(tree) {
            match read_rest(tree, &rest) {
                Some(read) => self.register_tree(&read),
                None => self.register_lines(&tree.source()[rest]),
            }
        }
        self.register_lost(tree);
        for (path, node, _) in written_secrets(tree) {
            let Some(scalar) = node.scalar() else { continue };
            let key = path.0.iter().rev().find_map(|step| match step {
                Segment::Key(key) => Some(key.as_str()),
                _ => None,
            });
            let text = scalar.value.text();
            self.register_at(key, text.as_bytes());
            // The file itself may be quoted: escapes and folds as they were written.
            let raw = tree.raw(node).trim_end();
            let quoted = ['"', '\''].iter().find_map(|quote| raw.strip_prefix(*quote)?.strip_suffix(*quote));
            if quoted.unwrap_or(raw) != text {
                self.register_at(key, quoted.unwrap_or(raw).as_bytes());
            }
            // A number that Helm rounds may also be quoted as Go prints a float.
            if !matches!(scalar.value, Value::String(_)) {
                let json = scalar.value.to_json();
                self.register_at(key, json.to_string().as_bytes());
                if let Some(number) = json.as_f64() {
                    self.register_at(key, go_float(number).as_bytes());
                }
            }
        }
    }

    /// Registers what the lines of a text give to names that hold secrets, a block below such a name among it.
    fn register_lines(&mut self, text: &str) {
        let margin = |line: &str| line.len() - line.trim_start().len();
        let mut block: Option<usize> = None;
        for line in text.lines() {
            block = block.filter(|outer| line.trim().is_empty() || margin(line) > *outer);
            if block.is_some() {
                self.register(line.trim().as_bytes());
            }
            for span in secret_spans(line) {
                let (before, secret) = (&line[..span.start], &line[span]);
                if secret.starts_with(['|', '>']) {
                    block = Some(margin(line));
                    continue;
                }
                let key = before.trim_end().trim_end_matches([':', '=']).rsplit([' ', '{', ',', '"', '\'']).next();
                self.register_at(key, secret.trim_matches(['"', '\'']).as_bytes());
                self.register_at(key, secret.split(" #").next().unwrap_or(secret).trim().as_bytes());
            }
        }
    }

    /// Registers what was written as a secret and Helm takes for something else: a tag, an anchor, a comment, a key.
    fn register_lost(&mut self, tree: &Tree) {
        for named in written_named(tree) {
            self.register_keys(named.node);
            if let Some(Segment::Key(key)) = named.path.0.last()
                && let Some(secret) = secret_in_key(tree, key, named.node)
            {
                self.register_at(Some(&key[..key.len() - secret.len() - 1]), secret.as_bytes());
            }
            let Some(lost) = named.written.as_ref().and_then(Written::lost) else { continue };
            let text = &tree.source()[lost];
            let key = named.path.keys().next_back();
            self.register_at(key, text.as_bytes());
            for part in text.split([' ', '\t', '\r', '\n', ',']) {
                self.register_at(key, part.trim_start_matches(['!', '&', '#', ',']).as_bytes());
            }
        }
    }

    /// Registers the keys of a map that YAML has made of a secret: `{word}`.
    fn register_keys(&mut self, node: &Node) {
        let NodeKind::Map(entries) = &node.kind else { return };
        for entry in entries {
            self.register(entry.key.as_bytes());
            self.register_keys(&entry.value);
        }
    }

    /// The values file as it was written, each secret scalar masked in its place, and each secret wherever else it
    /// stands (in a comment, say).
    pub fn scrub_source(&self, tree: &Tree) -> String {
        if tree.unread().is_some() {
            let mut registered = self.clone();
            registered.register_tree(tree);
            return registered.scrub(tree.source()).into_owned();
        }
        let source = tree.source();
        let mut spans: BTreeMap<usize, (usize, String)> = BTreeMap::new();
        for (_, node, _) in written_secrets(tree) {
            let Some(scalar) = node.scalar() else { continue };
            // The span of a block reaches to the next token.
            let length = tree.raw(node).trim_end().len();
            let start = node.span.bytes.start;
            spans.insert(start, (start + length, self.mask(scalar.value.text().as_bytes())));
        }
        for named in written_named(tree) {
            let whole = named.written.as_ref().filter(|_| named.node.scalar().is_none()).map(|w| w.whole.clone());
            let lost = named.written.as_ref().and_then(Written::lost).or(whole);
            if let Some(lost) = lost.filter(|lost| !lost.is_empty()) {
                let mask = self.mask(source[lost.clone()].as_bytes());
                spans.insert(lost.start, (lost.end, mask));
            }
        }
        for comment in comments_of_secrets(tree) {
            let mask = format!("# {}", self.mask(source[comment.clone()].as_bytes()));
            spans.insert(comment.start, (comment.end, mask));
        }
        let mut registered = self.clone();
        registered.register_tree(tree);
        // What nobody reads has secrets, too.
        registered.register_lines(&unread(tree));
        for rest in ignored_rests(tree) {
            match read_rest(tree, &rest) {
                Some(read) => {
                    registered.register_tree(&read);
                    let shown = registered.scrub_source(&read);
                    spans.insert(rest.start, (rest.end, shown));
                }
                // Which of it is secret cannot be told.
                None => spans.extend(words_of_lines(source, rest).map(|line| {
                    let mask = self.mask(source[line.clone()].as_bytes());
                    (line.start, (line.end, mask))
                })),
            }
        }
        for (name, node) in leaves(tree) {
            if !spans.contains_key(&node.span.bytes.start)
                && let Some((end, shown)) = registered.cleaned_scalar(tree, name, node)
            {
                spans.insert(node.span.bytes.start, (end, shown));
            }
        }
        let mut text = String::with_capacity(source.len());
        let mut at = 0;
        for (start, (end, shown)) in spans {
            if start < at {
                continue;
            }
            text.push_str(&registered.scrub(&source[at..start]));
            text.push_str(&shown);
            at = end;
        }
        text.push_str(&registered.scrub(&source[at..]));
        text
    }

    /// A text as it was written, what is secret in it masked, and where it ends; `None` where nothing is.
    fn cleaned_scalar(&self, tree: &Tree, name: &str, node: &Node) -> Option<(usize, String)> {
        let scalar = node.scalar()?;
        let Value::String(said) = &scalar.value else { return None };
        let clean = self.clean(name, said)?;
        let raw = tree.raw(node).trim_end();
        let shown = match raw.chars().next() {
            _ if raw.contains('\n') || scalar.style != Style::Quoted => self.clean(name, raw)?,
            Some('\'') => format!("'{}'", clean.replace('\'', "''")),
            _ => Value::String(clean).to_json().to_string(),
        };
        Some((node.span.bytes.start + raw.len(), shown))
    }

    /// Comments as they may be shown, each with the place of its sign: behind a secret, not at all.
    pub fn comments(&self, tree: &Tree, comments: &[(usize, &str)]) -> Vec<String> {
        let hidden: BTreeSet<usize> = comments_of_secrets(tree).into_iter().map(|comment| comment.start).collect();
        let shown = |(at, comment): &(usize, &str)| match hidden.contains(at) {
            true => format!("# {}", self.mask(comment.as_bytes())),
            false => self.cleaned("", comment),
        };
        comments.iter().map(shown).collect()
    }
}

/// Comments in the line of a secret, behind it: the one before, often enough.
fn comments_of_secrets(tree: &Tree) -> Vec<Range<usize>> {
    let source = tree.source();
    let comment = |node: &Node| {
        let scalar = node.scalar().filter(|scalar| scalar.style != Style::Block)?;
        let end = node.span.bytes.start + tree.raw(node).trim_end().len();
        let rest = &source[end..][..source[end..].find('\n')?];
        let sign = rest.len() - rest.trim_start_matches([' ', '\t', '}', ']', ',']).len();
        let is_comment = sign > 0 && rest[sign..].starts_with('#') && rest[..sign].ends_with([' ', '\t']);
        (is_comment && scalar.value != Value::Null).then(|| end + sign..end + rest.trim_end().len())
    };
    written_secrets(tree).into_iter().filter_map(|(_, node, _)| comment(node)).collect()
}

/// What stands behind the end of each document.
fn ignored_rests(tree: &Tree) -> Vec<Range<usize>> {
    let end = |traps: &[Trap]| {
        traps.iter().find_map(|trap| match trap {
            Trap::SecondDocument { at } => Some(at.bytes.start),
            _ => None,
        })
    };
    let rest = |(place, trap): (usize, &Trap)| match trap {
        Trap::IgnoredRest { at } => Some(at.bytes.start..end(&tree.traps()[place..]).unwrap_or(tree.source().len())),
        _ => None,
    };
    tree.traps().iter().enumerate().filter_map(rest).collect()
}

/// What stands behind the end of a document, where it is one itself, and no more than one.
fn read_rest(tree: &Tree, rest: &Range<usize>) -> Option<Tree> {
    let read = Tree::parse(&tree.source().as_bytes()[rest.clone()]).ok()?;
    read.traps()
        .iter()
        .all(|trap| !matches!(trap, Trap::IgnoredRest { .. } | Trap::SecondDocument { .. }))
        .then_some(read)
}

/// What stands in each line, without its margin.
fn words_of_lines(source: &str, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut at = range.start;
    source[range].split_inclusive('\n').filter_map(move |line| {
        let begin = at + line.len() - line.trim_start().len();
        at += line.len();
        (!line.trim().is_empty()).then(|| begin..begin + line.trim().len())
    })
}

/// The file without the keys and values that are judged as such: comments, and what nobody reads.
fn unread(tree: &Tree) -> String {
    fn keys(node: &Node, seen: &mut BTreeSet<usize>, found: &mut Vec<Range<usize>>) {
        if !seen.insert(std::ptr::from_ref(node).addr()) {
            return;
        }
        match &node.kind {
            NodeKind::Scalar(_) => {}
            NodeKind::List(items) => items.iter().for_each(|item| keys(item, seen, found)),
            NodeKind::Map(entries) => entries.iter().for_each(|entry| {
                found.push(entry.key_span.bytes.clone());
                keys(&entry.value, seen, found);
            }),
        }
    }
    let (mut seen, mut places) = (BTreeSet::new(), Vec::new());
    keys(tree.root(), &mut seen, &mut places);
    for dropped in tree.overridden() {
        places.push(dropped.entry.key_span.bytes.clone());
        keys(&dropped.entry.value, &mut seen, &mut places);
    }
    let start = |node: &Node| node.span.bytes.start;
    places.extend(leaves(tree).iter().map(|(_, node)| start(node)..start(node) + tree.raw(node).trim_end().len()));
    let mut rest = tree.source().as_bytes().to_vec();
    for place in places {
        let bytes = rest.get_mut(place).into_iter().flatten();
        bytes.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8_lossy(&rest).into_owned()
}

/// Every value that is no map and no list, in the tree or not, and what it is called.
fn leaves(tree: &Tree) -> Vec<(&str, &Node)> {
    fn walk<'t>(name: &'t str, node: &'t Node, seen: &mut BTreeSet<usize>, found: &mut Vec<(&'t str, &'t Node)>) {
        if !seen.insert(std::ptr::from_ref(node).addr()) {
            return;
        }
        match &node.kind {
            NodeKind::Scalar(_) => found.push((name, node)),
            NodeKind::List(items) => items.iter().for_each(|item| walk(name, item, seen, found)),
            NodeKind::Map(entries) => {
                let hint = name_hint(node);
                entries.iter().for_each(|entry| walk(called(&entry.key, hint), &entry.value, seen, found));
            }
        }
    }
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    walk("", tree.root(), &mut seen, &mut found);
    for dropped in tree.overridden() {
        let name = called(&dropped.entry.key, hint_above(tree, &dropped.path));
        walk(name, &dropped.entry.value, &mut seen, &mut found);
    }
    found
}

/// How Go prints a float in templates: `1.2345678901e+10`.
fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::MASK;
    use super::*;

    #[test]
    fn a_listing_masks_short_secrets_in_their_place_and_long_ones_in_comments() {
        let yaml = "# was s3cretvalue\nenv:\n  PGPASSWORD: abc # short\n  OPSCHAIN_PRIMARY_KEY: |\n    s3cretvalue\n  TZ: UTC\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let text = Scrubber::new(None).scrub_source(&tree);
        assert_eq!(
            text,
            format!(
                "# was {MASK}\nenv:\n  PGPASSWORD: {MASK} # {MASK}\n  OPSCHAIN_PRIMARY_KEY: |\n    {MASK}\n  TZ: UTC\n"
            )
        );
    }

    #[test]
    fn a_listing_masks_what_nobody_reads_and_maps_that_were_meant_as_secrets() {
        let yaml = "PGPASSWORD: zebraone1\nPGPASSWORD: zebratwo2\n# A_TOKEN: zebrathree3\n# was: B_TOKEN=zebrafour4\nC_TOKEN: {zebrafive5}\nD_TOKEN:\n  zebrasix6: zebraseven7\nz: 1\n...\nE_TOKEN: zebraeight8\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let text = Scrubber::new(None).scrub_source(&tree);
        assert!(!text.contains("zebra") && text.contains("z: 1\n"), "{text}");
    }

    #[test]
    fn what_helm_takes_for_a_tag_an_anchor_or_a_comment_is_masked_where_a_secret_belongs() {
        let yaml = "a: # note\n  PGPASSWORD: !x0123456 # said\n  A_TOKEN: &w0rdw0rd\n  B_TOKEN: abcdefgh #ijklmn\n  C_TOKEN: #opqrst\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let mut scrubber = Scrubber::new(None);
        assert_eq!(
            scrubber.scrub_source(&tree),
            format!(
                "a: # note\n  PGPASSWORD: {MASK} # said\n  A_TOKEN: {MASK}\n  B_TOKEN: {MASK}\n  C_TOKEN: {MASK}\n"
            )
        );
        scrubber.register_tree(&tree);
        for lost in ["x0123456", "w0rdw0rd", "abcdefgh", "ijklmn", "opqrst"] {
            assert_eq!(scrubber.scrub(&format!("<{lost}>")), format!("<{MASK}>"));
        }
    }
}
