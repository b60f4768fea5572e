//! The keys that a chart and the releases know, as one tree of names.

use std::collections::{BTreeMap, HashMap};

use crate::yaml::{Node, NodeKind, Tree};

/// What the releases of the product say of one key, or of several written in one: `api.{replicas,hostName}`.
#[derive(Debug, Clone, Copy)]
pub struct KeyFact {
    /// Dotted names; `{a,b}` stands for either, a final `*` for any key, a final `**` for any key at any depth (the
    /// chart's part of it is not all there is).
    pub keys: &'static str,
    /// The release that brought it, as its date.
    pub from: Option<&'static str>,
    /// The release that removed or replaced it.
    pub until: Option<&'static str>,
    /// What to write instead, in words that follow "use".
    pub instead: Option<&'static str>,
}

impl KeyFact {
    /// The paths that it stands for, each as its names; `*` and `**` among the last.
    pub fn paths(&self) -> Vec<Vec<String>> {
        expand(self.keys)
    }
}

/// How a secret must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Characters(usize),
    /// Standard base64, of so many bytes where that is asked for.
    Base64(Option<usize>),
}

/// A secret that must be written in a form.
#[derive(Debug, Clone, Copy)]
pub struct SecretForm {
    pub keys: Place,
    pub shape: Shape,
    /// The release that first asked for it, as its date.
    pub from: Option<&'static str>,
    /// The switch of the part that needs it: with that off, it may be empty.
    pub part: Option<Place>,
}

/// Where a key stands, by its names.
pub type Place = &'static [&'static str];

/// Keys that belong together; the chart's own values count where the file has none.
#[derive(Debug, Clone, Copy)]
pub enum Relation {
    /// Where both are set, they are the same, but for the base64 of one, or a port at the end of one.
    Equal(Place, Place),
    /// The same, where the file itself has both.
    EqualIfGiven(Place, Place),
    /// Where the file gives the first, an item of the list that `*` stands for in the second must be the same. What the
    /// release has there, where neither file nor chart say it.
    Follows { given: Place, place: Place, otherwise: &'static str },
    /// Names of variables that may not stand in a map; a final `*` for any that begin so.
    Reserved { map: Place, names: &'static [&'static str] },
    /// Where the file sets a key to this, another key must be as it is wanted.
    Needs {
        when: (Place, Trigger),
        wants: (Place, Wanted),
        /// In words that a colon follows.
        why: &'static str,
    },
    /// Where a switch is on, the product of two numbers, and some more, fit into a limit.
    Room { when: Place, factors: [Number; 2], spare: u64, limit: Number },
}

/// What a key is set to.
#[derive(Debug, Clone, Copy)]
pub enum Trigger {
    Is(bool),
    /// One of these texts.
    Says(&'static [&'static str]),
}

/// What a key must be for the sake of another.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// This boolean; without a value it is false.
    Is(bool),
    /// Any value but an empty one.
    Given,
    /// It, or this other key.
    EitherGiven(Place),
    /// Empty, and said to be: without the chart nobody knows that it is.
    Empty,
}

/// A number, and what it is where neither the file nor the chart has it.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    pub place: Place,
    pub otherwise: u64,
}

/// What is known of a product's values beside its chart.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts {
    pub keys: &'static [KeyFact],
    /// Those that hold secrets: single values.
    pub secrets: &'static [Place],
    pub shapes: &'static [SecretForm],
    /// Secrets that may be equal: by their last key.
    pub twins: &'static [(&'static str, &'static str)],
    /// Keys of booleans, by their last name, for when the chart is not at hand.
    pub switches: &'static [&'static str],
    /// Keys of texts, likewise.
    pub texts: &'static [&'static str],
    pub relations: &'static [Relation],
}

#[cfg(test)]
impl KeyFacts {
    /// Nothing.
    pub const NONE: Self =
        Self { keys: &[], secrets: &[], shapes: &[], twins: &[], switches: &[], texts: &[], relations: &[] };
}

/// What is known beside the file itself.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The chart's own values.
    pub defaults: Option<&'a Tree>,
    /// The release that is to run, as its date (`2026-08-20`); without it, the newest.
    pub version: Option<&'a str>,
    /// What the releases say of keys.
    pub facts: &'a KeyFacts,
}

/// What may stand at a key.
#[derive(Debug, Default)]
pub(super) struct KeyTree {
    pub(super) children: BTreeMap<String, KeyTree>,
    /// Any other key may stand here too.
    pub(super) free: bool,
    /// All that is below is known in part only.
    pub(super) partial: bool,
    /// What the chart or the releases have there. `None` where they say nothing.
    pub(super) shape: Option<Holds>,
}

/// A place where a key is known.
pub(super) struct KnownPlace<'k> {
    /// Dotted.
    pub(super) name: String,
    pub(super) tree: &'k KeyTree,
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Map,
    List,
    Single,
}

impl Holds {
    pub(super) fn of(node: &Node) -> Self {
        match node.kind {
            NodeKind::Map(_) => Self::Map,
            NodeKind::List(_) => Self::List,
            NodeKind::Scalar(_) => Self::Single,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Map => "a map",
            Self::List => "a list",
            Self::Single => "a single value",
        }
    }
}

impl KeyTree {
    /// The keys of the facts that hold for a release.
    pub(super) fn from_facts(facts: &KeyFacts, version: Option<&str>) -> Self {
        let mut known = Self::default();
        for fact in facts.keys {
            let begun = match (version, fact.from) {
                (Some(version), Some(from)) => version >= from,
                _ => true,
            };
            let over = match (version, fact.until) {
                (Some(version), Some(until)) => version >= until,
                (None, until) => until.is_some(),
                (_, None) => false,
            };
            if begun && !over {
                for path in fact.paths() {
                    known.add(&path);
                }
            }
        }
        known.mark_singles(facts.switches);
        for keys in facts.secrets {
            let place = keys.iter().try_fold(&mut known, |map, key| map.children.get_mut(*key));
            if let Some(secret) = place.filter(|secret| secret.shape.is_none()) {
                secret.shape = Some(Holds::Single);
            }
        }
        known
    }

    /// Switches and counts are single values, whatever the chart.
    fn mark_singles(&mut self, switches: &[&str]) {
        for (key, child) in &mut self.children {
            child.mark_singles(switches);
            let is_single = ["enabled", "replicas", "instances"].contains(&key.as_str()) || switches.contains(&&**key);
            if child.shape.is_none() && !child.free && !child.partial && is_single {
                child.shape = Some(Holds::Single);
            }
        }
    }

    fn add(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        self.shape = Some(Holds::Map);
        match first.as_str() {
            "*" => self.free = true,
            "**" => self.partial = true,
            name => self.children.entry(name.to_owned()).or_default().add(rest),
        }
    }

    /// Takes in the chart's own values. What they leave empty takes any key.
    pub(super) fn take_in(&mut self, defaults: &Tree) {
        self.take_node(defaults.root());
        // At the top, an empty chart says nothing.
        self.free = false;
    }

    fn take_node(&mut self, node: &Node) {
        match &node.kind {
            NodeKind::Map(entries) if !entries.is_empty() => {
                self.shape = Some(Holds::Map);
                for entry in entries {
                    self.children.entry(entry.key.clone()).or_default().take_node(&entry.value);
                }
            }
            // A chart that has nothing there leaves it to the file.
            NodeKind::Scalar(scalar) if matches!(scalar.value, crate::yaml::Value::Null) => self.free = true,
            _ => (self.shape, self.free) = (Some(Holds::of(node)), true),
        }
    }

    /// Every place where a key is known, by its name.
    pub(super) fn places(&self) -> HashMap<&str, Vec<KnownPlace<'_>>> {
        let mut found = HashMap::new();
        self.collect("", &mut found);
        found
    }

    fn collect<'a>(&'a self, above: &str, found: &mut HashMap<&'a str, Vec<KnownPlace<'a>>>) {
        for (key, child) in &self.children {
            let place = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            child.collect(&place, found);
            found.entry(key).or_default().push(KnownPlace { name: place, tree: child });
        }
    }
}

/// The paths that a fact stands for.
fn expand(keys: &str) -> Vec<Vec<String>> {
    let mut paths: Vec<Vec<String>> = vec![Vec::new()];
    for part in split(keys, '.') {
        // A choice may be several steps, and hold choices of its own.
        let choices: Vec<Vec<String>> = match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(choices) => split(choices, ',').into_iter().flat_map(|choice| expand(choice.trim())).collect(),
            None => vec![vec![part.to_owned()]],
        };
        paths = paths
            .iter()
            .flat_map(|path| choices.iter().map(move |choice| path.iter().chain(choice).cloned().collect()))
            .collect();
    }
    paths
}

/// Cuts at a sign outside of braces.
fn split(keys: &str, sign: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, c) in keys.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c == sign && depth == 0 => {
                parts.push(&keys[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&keys[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_each_of_their_names() {
        let joined: Vec<String> = expand("a.{b,c.d}.{e,f}").iter().map(|path| path.join(".")).collect();
        assert_eq!(joined, ["a.b.e", "a.b.f", "a.c.d.e", "a.c.d.f"]);
        let nested: Vec<String> = expand("a.{b,c.{d,e.*},f}").iter().map(|path| path.join(".")).collect();
        assert_eq!(nested, ["a.b", "a.c.d", "a.c.e.*", "a.f"]);
        assert_eq!(expand("env.*"), [["env".to_owned(), "*".to_owned()]]);
    }

    #[test]
    fn what_the_defaults_leave_empty_takes_any_key() {
        let mut known = KeyTree::default();
        known.take_in(&Tree::parse(b"a: {b: 1}\nc: {}\nd:\n").unwrap());
        let takes = |key: &str| known.children[key].free || known.children[key].children.is_empty();
        assert_eq!((takes("a"), takes("c"), takes("d")), (false, true, true));
        assert_eq!(known.places()["b"][0].name, "a.b");
    }
}
