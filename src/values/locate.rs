//! Finding a node by a path that a person has written.
//!
//! Two spellings: the one that differences are shown in (`db.hosts[name=site-b].port`, `env."a.b"`, `list[0]`), and JSON
//! pointers (`/db/hosts/0/port`), in which a number is a place where it stands at a list.

use crate::yaml::{Node, NodeKind, Path, Segment, Tree};

/// The text is no path. It names the character, from 1, where it stops being one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path: {reason} at character {at}")]
pub struct BadPath {
    pub text: String,
    pub reason: &'static str,
    /// Where, from 1.
    pub at: usize,
}

/// Nothing stands at the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotThere {
    /// The deepest node on the way that is there.
    pub nearest: Path,
    /// What it is: `map`, `list`, `string`, ...
    pub kind: &'static str,
    /// What stands below it, as steps of a path: keys of a map, places of a list. They are no secrets.
    pub below: Vec<String>,
}

/// Reads a path. The empty text, `.`, `/` and `(root)` are the root.
///
/// # Errors
/// `BadPath` with the place.
pub fn parse(text: &str) -> Result<Path, BadPath> {
    match text {
        "" | "." | "/" | "(root)" => Ok(Path::root()),
        _ if text.starts_with('/') => pointer(text),
        _ => Reader { text, at: 0 }.path(),
    }
}

/// The node at a path.
///
/// # Errors
/// `NotThere` with the nearest node and what stands below it.
pub fn find<'t>(tree: &'t Tree, path: &Path) -> Result<&'t Node, NotThere> {
    let mut node = tree.root();
    for (depth, segment) in path.0.iter().enumerate() {
        node = step(node, segment).ok_or_else(|| NotThere {
            nearest: Path(path.0[..depth].to_vec()),
            kind: node.type_name(),
            below: below(node),
        })?;
    }
    Ok(node)
}

fn step<'t>(node: &'t Node, segment: &Segment) -> Option<&'t Node> {
    match (&node.kind, segment) {
        (NodeKind::Map(_), Segment::Key(key)) => node.child(key),
        // A key that is a number: from a pointer, and from a path such as `list.0`.
        (NodeKind::List(items), Segment::Key(key)) => items.get(key.parse::<usize>().ok()?).map(|item| &**item),
        (NodeKind::List(items), Segment::Index(place)) => items.get(*place).map(|item| &**item),
        (NodeKind::List(items), Segment::Item { by, id }) => {
            let named = |item: &&std::sync::Arc<Node>| {
                item.child(by).and_then(Node::scalar).is_some_and(|scalar| scalar.value.text() == *id)
            };
            let mut found = items.iter().filter(named);
            match (found.next(), found.next()) {
                (Some(one), None) => Some(one),
                _ => None,
            }
        }
        _ => None,
    }
}

fn below(node: &Node) -> Vec<String> {
    match &node.kind {
        NodeKind::Map(entries) => entries.iter().map(|entry| Path::of(&[&entry.key]).to_string()).collect(),
        NodeKind::List(items) => (0..items.len()).map(|place| format!("[{place}]")).collect(),
        NodeKind::Scalar(_) => Vec::new(),
    }
}

/// RFC 6901: `~1` is a slash, `~0` a tilde.
fn pointer(text: &str) -> Result<Path, BadPath> {
    let mut steps = Vec::new();
    let mut at = 1;
    for part in text[1..].split('/') {
        let mut key = String::new();
        let mut chars = part.chars();
        while let Some(c) = chars.next() {
            at += 1;
            let c = match c {
                '~' => match chars.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return Err(BadPath { text: text.to_owned(), reason: "`~` without 0 or 1 behind it", at }),
                },
                other => other,
            };
            key.push(c);
        }
        at += 1;
        steps.push(Segment::Key(key));
    }
    Ok(Path(steps))
}

struct Reader<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
}

impl Reader<'_> {
    fn path(mut self) -> Result<Path, BadPath> {
        let mut steps = Vec::new();
        // Whether a key has to come, for a dot stood before it.
        let mut wanted = !self.rest().starts_with('[');
        loop {
            if wanted {
                steps.push(Segment::Key(self.word(&['.', '['])?));
                wanted = false;
            } else if self.eat('.') {
                wanted = true;
            } else if self.eat('[') {
                steps.push(self.bracket()?);
            } else if self.rest().is_empty() {
                return Ok(Path(steps));
            } else {
                return Err(self.bad("a dot or a bracket is missing"));
            }
        }
    }

    fn bracket(&mut self) -> Result<Segment, BadPath> {
        let first = self.word(&['=', ']'])?;
        if self.eat('=') {
            let id = self.word(&[']'])?;
            return if self.eat(']') { Ok(Segment::Item { by: first, id }) } else { Err(self.bad("`]` is missing")) };
        }
        if !self.eat(']') {
            return Err(self.bad("`]` is missing"));
        }
        first.parse().map(Segment::Index).map_err(|_| self.bad("neither a place nor `key=value` in brackets"))
    }

    /// A word up to one of `ends`, or a JSON string.
    fn word(&mut self, ends: &[char]) -> Result<String, BadPath> {
        let rest = self.rest();
        if rest.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let Some(Ok(word)) = strings.next() else { return Err(self.bad("a quote that is not closed")) };
            self.at += strings.byte_offset();
            return Ok(word);
        }
        let length = rest.find(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.bad("a name is missing"));
        }
        let word = rest[..length].to_owned();
        self.at += length;
        Ok(word)
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.rest().starts_with(c);
        self.at += if there { c.len_utf8() } else { 0 };
        there
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn bad(&self, reason: &'static str) -> BadPath {
        BadPath { text: self.text.to_owned(), reason, at: self.text[..self.at].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_that_is_shown_is_read_back() {
        let yaml = "a: {b.c: [1, {name: x y, v: 2}], \"\": 3, \"q\\\"[0]\": 4, io/x: 5, é: 6}\nl: [[1], {}]\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let leaves = tree.leaves();
        assert_eq!(leaves.len(), 9);
        for (path, node) in leaves {
            let shown = path.to_string();
            let again = parse(&shown).unwrap();
            assert_eq!(again, path, "{shown}");
            assert!(std::ptr::eq(find(&tree, &again).unwrap(), node), "{shown}");
        }
        let item = parse("a.\"b.c\"[name=\"x y\"].v").unwrap();
        assert_eq!(find(&tree, &item).unwrap().to_json(), 2);
        assert!(std::ptr::eq(find(&tree, &parse("(root)").unwrap()).unwrap(), tree.root()));
    }

    #[test]
    fn json_pointers_reach_keys_and_places() {
        let tree = Tree::parse(b"a: {b/c: [1, {\"~\": 2}]}\n\"0\": x\n").unwrap();
        let json = |text: &str| find(&tree, &parse(text).unwrap()).unwrap().to_json();
        assert_eq!(json("/a/b~1c/1/~0"), 2);
        assert_eq!(json("/0"), "x");
        assert_eq!(parse("/a~2").unwrap_err().at, 3);
    }

    #[test]
    fn what_is_not_there_names_what_is() {
        let tree = Tree::parse(b"api: {replicas: 1, a.b: x}\nl: [{name: a}, {name: a}]\n").unwrap();
        let missing = |text: &str| find(&tree, &parse(text).unwrap()).unwrap_err();
        let found = missing("api.replica");
        assert_eq!((found.nearest.to_string().as_str(), found.kind), ("api", "map"));
        assert_eq!(found.below, ["replicas", "\"a.b\""]);
        assert_eq!(missing("api.replicas.x").kind, "number");
        assert_eq!(missing("l[2]").below, ["[0]", "[1]"]);
        assert_eq!(missing("l[name=a]").kind, "list", "two items by one name are never told apart");
    }

    #[test]
    fn what_is_no_path_is_refused_at_its_place() {
        let at = |text: &str| parse(text).unwrap_err().at;
        assert_eq!(
            [at("a..b"), at("a."), at("a[0"), at("a[x]"), at("a[0]b"), at("a.\"b"), at("[]")],
            [3, 3, 4, 5, 5, 3, 2]
        );
    }
}
