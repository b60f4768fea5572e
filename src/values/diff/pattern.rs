//! How an operator names places in a values file: `env.OPSCHAIN_*`, `/env/TZ`, `/_HOST$/`.

use regex::Regex;

use crate::yaml::{Node, Path, Segment};

/// The text names no places.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no path: {reason}")]
pub struct PatternError {
    pub text: String,
    pub reason: String,
}

/// Names places in a values file, and with each all that is below it.
///
/// - A dotted path as diffs print it, `db.hosts[name=a].port`; `*` in a key stands for any characters, `[*]` for any
///   item, `**` for any number of steps. Steps of lists may be left out: `hosts.port` is the port of every host.
/// - A JSON pointer, `/db/hosts/a/port`, with `~0` and `~1`; an item is named by its identity or its place.
/// - A regular expression between slashes, `/^env\..*_HOST$/`, held against the path as diffs print it.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    kind: NodeKind,
}

#[derive(Debug, Clone)]
enum NodeKind {
    Steps(Vec<Matcher>),
    Regex(Regex),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    /// `**`
    Deep,
    /// A key, `*` in it standing for any characters where it is not quoted.
    Key { text: String, glob: bool },
    /// `[*]`
    AnyItem,
    /// `[3]`
    Index(usize),
    /// `[name=x]`
    Item { by: String, id: String },
    /// A step of a pointer: key, place or identity.
    Token(String),
}

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = |reason: String| PatternError { text: text.to_owned(), reason };
        let kind = match text.strip_prefix('/') {
            Some(rest) => match rest.strip_suffix('/') {
                Some(inside) if !inside.is_empty() => {
                    // The library's text repeats the pattern over several lines; its last one says what is wrong.
                    let short = |error: regex::Error| {
                        error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
                    };
                    NodeKind::Regex(Regex::new(inside).map_err(|error| bad(short(error)))?)
                }
                _ => NodeKind::Steps(pointer(rest).map_err(bad)?),
            },
            None => NodeKind::Steps(dotted(text).map_err(bad)?),
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

impl Pattern {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names this very place. `items` has beside each step the item of a list that it leads to, by which a
    /// pattern may name it whatever the path calls it.
    pub(super) fn names(&self, path: &Path, items: &[Option<&Node>]) -> bool {
        match &self.kind {
            NodeKind::Regex(regex) => regex.is_match(&path.to_string()),
            NodeKind::Steps(matchers) => fits(matchers, &path.0, items),
        }
    }

    /// Whether it names this place or one above it.
    pub(super) fn covers(&self, path: &Path, items: &[Option<&Node>]) -> bool {
        match &self.kind {
            NodeKind::Regex(regex) => regex.is_match(&path.to_string()),
            NodeKind::Steps(matchers) => {
                (1..=path.0.len()).any(|steps| fits(matchers, &path.0[..steps], &items[..steps]))
            }
        }
    }
}

fn fits(matchers: &[Matcher], steps: &[Segment], items: &[Option<&Node>]) -> bool {
    let Some((matcher, rest)) = matchers.split_first() else { return steps.is_empty() };
    if *matcher == Matcher::Deep {
        return (0..=steps.len()).any(|skipped| fits(rest, &steps[skipped..], &items[skipped..]));
    }
    let Some((step, below)) = steps.split_first() else { return false };
    if matcher.fits(step, items[0]) && fits(rest, below, &items[1..]) {
        return true;
    }
    // `hosts.port` means the port of every host.
    let skips = matches!(matcher, Matcher::Key { .. }) && !matches!(step, Segment::Key(_));
    skips && !below.is_empty() && fits(matchers, below, &items[1..])
}

impl Matcher {
    fn fits(&self, step: &Segment, item: Option<&Node>) -> bool {
        let called = |by: &str, id: &str| {
            matches!(step, Segment::Item { by: its, id: own } if its == by && own == id)
                || item.and_then(|node| node.child(by)).and_then(Node::scalar).is_some_and(|s| s.value.text() == id)
        };
        match (self, step) {
            (Self::Deep, _) => true,
            (Self::Key { text, glob: true }, Segment::Key(key)) => wild(text, key),
            (Self::Key { text, glob: false }, Segment::Key(key)) => text == key,
            // `*` is any step, an item of a list too.
            (Self::Key { text, glob: true }, _) => text == "*",
            (Self::AnyItem, step) => !matches!(step, Segment::Key(_)),
            (Self::Index(place), Segment::Index(index)) => place == index,
            (Self::Item { by, id }, step) => !matches!(step, Segment::Key(_)) && called(by, id),
            (Self::Token(token), Segment::Key(key)) => token == key || token == "*",
            (Self::Token(token), Segment::Index(index)) => token == "*" || *token == index.to_string(),
            (Self::Token(token), Segment::Item { by, id }) => {
                token == "*" || token == id || token.split_once('=').is_some_and(|(b, i)| b == by && i == id)
            }
            _ => false,
        }
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any characters. Takes as many steps as both are long together
/// for each star, never more.
fn wild(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn pointer(rest: &str) -> Result<Vec<Matcher>, String> {
    if rest.is_empty() {
        return Err("it is the whole file".into());
    }
    Ok(rest.split('/').map(|token| Matcher::Token(token.replace("~1", "/").replace("~0", "~"))).collect())
}

fn dotted(text: &str) -> Result<Vec<Matcher>, String> {
    let mut matchers = Vec::new();
    let mut rest = text;
    if rest.is_empty() {
        return Err("it is empty".into());
    }
    loop {
        if let Some(inside) = rest.strip_prefix('[') {
            let (matcher, after) = brackets(inside)?;
            matchers.push(matcher);
            rest = after;
        } else {
            let (word, quoted, after) = word(rest, &['.', '['])?;
            matchers.push(match word.as_str() {
                "" if !quoted => return Err("a key is empty".into()),
                "**" if !quoted => Matcher::Deep,
                _ => Matcher::Key { glob: !quoted && word.contains('*'), text: word },
            });
            rest = after;
        }
        match rest.chars().next() {
            None => return Ok(matchers),
            Some('.') => rest = &rest[1..],
            Some('[') => {}
            Some(other) => return Err(format!("`{other}` stands where a dot or a bracket should")),
        }
    }
}

fn brackets(inside: &str) -> Result<(Matcher, &str), String> {
    let open = || "a bracket is not closed".to_owned();
    let (first, quoted, rest) = word(inside, &['=', ']'])?;
    if let Some(rest) = rest.strip_prefix('=') {
        let (id, _, rest) = word(rest, &[']'])?;
        let rest = rest.strip_prefix(']').ok_or_else(open)?;
        return Ok((Matcher::Item { by: first, id }, rest));
    }
    let rest = rest.strip_prefix(']').ok_or_else(open)?;
    if first == "*" && !quoted {
        return Ok((Matcher::AnyItem, rest));
    }
    let place =
        first.parse().map_err(|_| format!("`[{first}]` is neither a place nor an identity such as [name=a]"))?;
    Ok((Matcher::Index(place), rest))
}

/// A word up to one of `ends`, or in quotes as JSON writes them; and what follows.
fn word<'t>(text: &'t str, ends: &[char]) -> Result<(String, bool, &'t str), String> {
    if !text.starts_with('"') {
        let end = text.find(ends).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), false, &text[end..]));
    }
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<String>();
    match stream.next() {
        Some(Ok(word)) => Ok((word, true, &text[stream.byte_offset()..])),
        _ => Err("a quote is not closed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        let mut steps = Vec::new();
        for matcher in dotted(text).unwrap() {
            steps.push(match matcher {
                Matcher::Key { text, .. } => Segment::Key(text),
                Matcher::Index(index) => Segment::Index(index),
                Matcher::Item { by, id } => Segment::Item { by, id },
                other => panic!("{other:?}"),
            });
        }
        Path(steps)
    }

    fn covers(pattern: &str, at: &str) -> bool {
        let path = path(at);
        let items = vec![None; path.0.len()];
        pattern.parse::<Pattern>().unwrap().covers(&path, &items)
    }

    #[test]
    fn each_way_of_naming_takes_the_place_and_what_is_below_it() {
        for (pattern, at) in [
            ("env", "env.TZ"),
            ("env.OPSCHAIN_*", "env.OPSCHAIN_VERSION"),
            ("env.*_KEY", "env.OPSCHAIN_PRIMARY_KEY"),
            ("*.TZ", "env.TZ"),
            ("**.port", "db.hosts[name=a].port"),
            ("db.hosts[name=a]", "db.hosts[name=a].port"),
            ("db.hosts[*].port", "db.hosts[3].port"),
            ("db.hosts.*.port", "db.hosts[3].port"),
            ("db.hosts.port", "db.hosts[name=a].port"),
            ("hosts[1]", "hosts[1].x"),
            ("\"a.b\".c", "\"a.b\".c"),
            ("/env/TZ", "env.TZ"),
            ("/db/hosts/a/port", "db.hosts[name=a].port"),
            ("/db/hosts/0", "db.hosts[0]"),
            ("/a~1b/c~0d", "\"a/b\".\"c~d\""),
            ("/_HOST$/", "env.LDAP_HOST"),
            ("/^env\\.(A|B)$/", "env.B"),
        ] {
            assert!(covers(pattern, at), "{pattern} takes {at}");
        }
        for (pattern, at) in [
            ("env", "environment.TZ"),
            ("env.TZ", "env"),
            ("env.TZ", "a.env.TZ"),
            ("env.\"*\"", "env.TZ"),
            ("hosts[1]", "hosts[2]"),
            ("db.hosts[name=a]", "db.hosts[name=b]"),
            ("/env", "x.env"),
            ("/^TZ$/", "env.TZ"),
            ("a.*b*c", "a.xcb"),
        ] {
            assert!(!covers(pattern, at), "{pattern} does not take {at}");
        }
    }

    #[test]
    fn what_names_nothing_is_refused_with_the_reason() {
        for (pattern, reason) in [
            ("", "it is empty"),
            ("/", "it is the whole file"),
            ("a..b", "a key is empty"),
            ("a[x]", "neither a place"),
            ("a[1", "not closed"),
            ("a[1]b", "`b` stands where"),
            ("\"a", "a quote is not closed"),
            ("/(/", "unclosed group"),
        ] {
            let error = pattern.parse::<Pattern>().unwrap_err();
            assert!(error.reason.contains(reason), "{pattern}: {error}");
        }
    }
}
