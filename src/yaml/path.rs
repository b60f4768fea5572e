//! Where in a values file something stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A key of a map.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
    /// An item of a list, found by what it says of itself: `[name=site-b]`.
    Item {
        /// The key that identifies it.
        by: String,
        /// That key's value.
        id: String,
    },
}

/// A path from the root of a values file. Shown as `db.cnpg.externalClusters[name=site-b].host`; a key with a dot or
/// another odd character stands in quotes, so that a path names one node without doubt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// The path of the root.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path made of these keys.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Segment::Key((*key).to_owned())).collect())
    }

    /// This path and one step more.
    pub fn join(&self, segment: Segment) -> Self {
        let mut longer = self.0.clone();
        longer.push(segment);
        Self(longer)
    }

    /// The keys on the way, list steps left out.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) | Segment::Item { .. } => None,
        })
    }

    /// Whether it is this one or stands below it.
    pub fn starts_with(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(root)");
        }
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) => {
                    if place > 0 {
                        f.write_str(".")?;
                    }
                    write_word(f, key, &['-', '_', '/'])?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Item { by, id } => {
                    f.write_str("[")?;
                    write_word(f, by, &['-', '_', '/'])?;
                    f.write_str("=")?;
                    write_word(f, id, &['-', '_', '/', '.', ':'])?;
                    f.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}

fn write_word(f: &mut fmt::Formatter<'_>, word: &str, also: &[char]) -> fmt::Result {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(&c));
    if plain { f.write_str(word) } else { write!(f, "{}", serde_json::Value::from(word)) }
}

/// Reads what is shown.
impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut path, mut rest) = (Self::root(), if text == "(root)" { "" } else { text });
        while !rest.is_empty() {
            let step = match rest.strip_prefix('[') {
                Some(inside) => list_step(inside),
                None => word(rest.strip_prefix('.').unwrap_or(rest), &['.', '['])
                    .map(|(key, after)| (Segment::Key(key), after)),
            };
            let (segment, after) = step.ok_or_else(|| format!("`{text}` is no path"))?;
            path.0.push(segment);
            rest = after;
        }
        Ok(path)
    }
}

/// What stands in brackets, and what follows them.
fn list_step(text: &str) -> Option<(Segment, &str)> {
    let (first, after) = word(text, &['=', ']'])?;
    let (segment, after) = match after.strip_prefix('=') {
        Some(after) => {
            let (id, after) = word(after, &[']'])?;
            (Segment::Item { by: first, id }, after)
        }
        None => (Segment::Index(first.parse().ok()?), after),
    };
    Some((segment, after.strip_prefix(']')?))
}

/// A word, in quotes or up to one of `ends`, and what follows it.
fn word<'t>(text: &'t str, ends: &[char]) -> Option<(String, &'t str)> {
    if text.starts_with('"') {
        let mut quoted = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let word = quoted.next()?.ok()?;
        return Some((word, &text[quoted.byte_offset()..]));
    }
    let (word, after) = text.split_at(text.find(ends).unwrap_or(text.len()));
    (!word.is_empty()).then(|| (word.to_owned(), after))
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_dots_and_brackets_stand_in_quotes_and_are_read_again() {
        let path = Path(vec![
            Segment::Key("env".into()),
            Segment::Key("a.b[0]".into()),
            Segment::Item { by: "name".into(), id: "x y".into() },
            Segment::Index(3),
        ]);
        assert_eq!(path.to_string(), r#"env."a.b[0]"[name="x y"][3]"#);
        assert_eq!(Path::root().to_string(), "(root)");
        let item = Segment::Item { by: "n".into(), id: "10.0.0.1:80".into() };
        for path in [path, Path::root(), Path(vec![item, Segment::Key("(root)".into())])] {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        for text in ["a..b", "a[", "a[x]", "a[x=]", "a.\"b", "a."] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
    }
}
