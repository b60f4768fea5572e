//! Files made up by chance, against an independent merge of what they say; comments are counted.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::*;

/// The same throws in every run.
pub(super) struct Dice {
    pub(super) state: u64,
    /// What a comment above a key begins with.
    pub(super) about: &'static str,
    /// What files of one kin have in common, and what is a file's own: with it, most of a file is as in its kin.
    pub(super) kin: Option<(u64, u64)>,
    /// The anchors of maps that this file has so far; `None` for a file without any.
    pub(super) anchors: Option<Vec<String>>,
}

/// Keys of the maps; one that is long enough is known again without a comment.
const KEYS: [&str; 6] = ["a", "b", "k", "maxConn", "\"q.r\"", "storage"];

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % sides
    }

    /// A throw for a place: by kin, that of the kin in most places.
    fn choose(&mut self, path: &str, what: &str, sides: usize) -> usize {
        let Some((kin, own)) = self.kin else { return self.roll(sides) };
        let hash = |seed: u64| {
            let mut hasher = std::hash::DefaultHasher::new();
            std::hash::Hash::hash(&(seed, path, what), &mut hasher);
            std::hash::Hasher::finish(&hasher)
        };
        let is_changed = hash(own) % 8 == 0;
        (hash(if is_changed { own + 1 } else { kin }) >> 8) as usize % sides
    }

    /// A key, at any depth, has another name, which a comment says or the name itself.
    fn with_another_name(&mut self, text: String) -> String {
        let is_key = |line: &&str| KEYS.iter().any(|key| line.trim_start().starts_with(&format!("{key}:")));
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let places: Vec<usize> = (0..lines.len()).filter(|place| is_key(&lines[*place])).collect();
        if places.is_empty() || self.roll(3) == 0 {
            return text;
        }
        let place = places[self.roll(places.len())];
        let (key, rest) = lines[place].trim_start().split_once(':').unwrap();
        let margin = &lines[place][..lines[place].len() - lines[place].trim_start().len()];
        let name = key.trim_matches('"');
        let renamed = match self.roll(2) {
            0 if name.len() > 4 => format!("{margin}{name}s:{rest}"),
            _ => format!("{margin}# Formerly {name}.\n{margin}{name}-{name}:{rest}"),
        };
        [lines[..place].concat(), renamed, lines[place + 1..].concat()].concat()
    }

    /// The name of an anchor that stands here already.
    fn anchor(&mut self) -> Option<String> {
        let count = self.anchors.as_ref().map_or(0, Vec::len);
        let place = (count > 0).then(|| self.roll(count))?;
        self.anchors.as_ref().map(|anchors| anchors[place].clone())
    }

    fn value(&mut self, depth: usize, column: usize, path: &str) -> String {
        let margin = " ".repeat(column);
        if self.anchors.is_some() && self.roll(6) == 0 {
            match self.anchor() {
                Some(name) if self.roll(2) == 0 => return format!(" *{name}"),
                _ if depth < 3 => {
                    let map = self.map(depth + 1, column + 2, path);
                    let anchors = self.anchors.as_mut().unwrap();
                    anchors.push(format!("n{}", anchors.len()));
                    return format!(" &n{}\n{}", anchors.len() - 1, map.trim_end());
                }
                _ => {}
            }
        }
        match self.choose(path, "value", if depth > 2 { 8 } else { 11 }) {
            0 => " 1".into(),
            1 => " 'a: b' # c".into(),
            2 => " \"x, y\"".into(),
            3 => format!(" |\n{margin}  one\n{margin}   two"),
            4 => String::new(),
            5 => " [1, {a: 2}]".into(),
            6 => format!("\n{margin}- x\n{margin}- y: 1\n{margin}  z: 2"),
            7 => " {k: 1, m: 'x'}".into(),
            _ => format!("\n{}", self.map(depth + 1, column + 2, path).trim_end()),
        }
    }

    fn map(&mut self, depth: usize, column: usize, above: &str) -> String {
        let margin = " ".repeat(column);
        let mut text = String::new();
        // A merge overrides what stands before it.
        let merged_at = if self.anchors.is_some() { self.roll(KEYS.len() * 2) } else { 0 };
        let merged_at = merged_at.saturating_sub(KEYS.len());
        for (place, key) in KEYS.into_iter().enumerate() {
            if place == merged_at
                && let Some(name) = self.anchor()
                && self.roll(4) == 0
            {
                text.push_str(&format!("{margin}<<: *{name}\n"));
            }
            let path = format!("{above}/{key}");
            if self.choose(&path, "there", 3) > 0 {
                if self.roll(4) == 0 {
                    text.push_str(&format!("{margin}# {} {path}\n", self.about));
                }
                let value = self.value(depth, column, &path);
                let is_line = !value.contains(['\n', '#']);
                let beside = if self.about == "mine" && is_line && self.roll(5) == 0 {
                    format!(" # {} beside {path}", self.about)
                } else {
                    String::new()
                };
                text.push_str(&format!("{margin}{key}:{value}{beside}\n"));
                if self.roll(6) == 0 {
                    text.push('\n');
                }
            }
        }
        if text.trim().is_empty() { format!("{margin}a: 1\n") } else { text }
    }
}

/// What a file says, with its keys at their new names: an independent reading of what the report calls renamed.
fn with_new_names(mut json: Json, items: &[KeyReport]) -> Json {
    let keys = |path: &Path| path.keys().map(str::to_owned).collect::<Vec<String>>();
    let mut moves: Vec<_> =
        items.iter().filter_map(|item| Some((keys(item.was.as_ref()?), keys(&item.path)))).collect();
    moves.sort_by_key(|(was, _)| std::cmp::Reverse(was.len()));
    for (was, is) in moves {
        if let Some(value) = taken(&mut json, &was) {
            placed(&mut json, &is, value);
        }
    }
    json
}

/// A value, with which the maps go that held nothing else.
fn taken(json: &mut Json, keys: &[String]) -> Option<Json> {
    let (first, rest) = keys.split_first()?;
    let map = json.as_object_mut()?;
    if rest.is_empty() {
        return map.remove(first);
    }
    let value = taken(map.get_mut(first)?, rest)?;
    if map.get(first).is_some_and(|below| below.as_object().is_some_and(serde_json::Map::is_empty)) {
        map.remove(first);
    }
    Some(value)
}

fn placed(json: &mut Json, keys: &[String], value: Json) {
    let Some((first, rest)) = keys.split_first() else {
        match value {
            Json::Object(more) if json.is_object() => {
                more.into_iter().for_each(|(key, value)| placed(json, &[key], value));
            }
            value => *json = value,
        }
        return;
    };
    if !json.is_object() {
        *json = Json::Object(Default::default());
    }
    let below = json.as_object_mut().unwrap().entry(first.clone()).or_insert_with(|| Json::Object(Default::default()));
    placed(below, rest, value);
}

/// Whether a key stands in a file itself, and not where an anchor is that it comes from.
fn has_line(tree: &Tree, pointer: &str) -> bool {
    let mut node = tree.root();
    let keys: Vec<&str> = pointer.split('/').skip(1).collect();
    keys.iter().enumerate().all(|(place, key)| {
        let Some(entry) = node.entry(key).filter(|entry| !entry.merged) else { return false };
        node = &entry.value;
        place + 1 == keys.len() || entry.value.span.bytes.start >= entry.key_span.bytes.end
    })
}

/// Where the key that a comment speaks of is now.
fn new_pointer(comment: &str, items: &[KeyReport]) -> String {
    let path = comment.rsplit(' ').next().unwrap_or_default().replace('"', "");
    let pointer = |path: &Path| path.keys().map(|key| format!("/{key}")).collect::<String>();
    let moved = items.iter().filter_map(|item| {
        let rest = path.strip_prefix(&pointer(item.was.as_ref()?))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", pointer(&item.path)))
    });
    moved.max_by_key(String::len).unwrap_or(path)
}

/// The merge of three trees, told again in other words: what stands at `path`. What is gone is judged key by key where the
/// old file has a map there, too, or something below it has `moved` to another name.
fn three_way(path: &str, moved: &[String], [old, new, yours]: [Option<&Json>; 3]) -> Option<Json> {
    let Some(mine) = yours else { return new.cloned() };
    let has_moved = moved.iter().any(|from| from.starts_with(&format!("{path}/")));
    let is_looked_into = match new {
        Some(Json::Object(there)) => !there.is_empty(),
        None => has_moved || old.and_then(Json::as_object).is_some_and(|there| !there.is_empty()),
        Some(_) => false,
    };
    if let (true, Json::Object(own)) = (is_looked_into, mine) {
        let there = new.and_then(Json::as_object).into_iter().flat_map(|there| there.keys());
        let keys: HashSet<&String> = there.chain(own.keys()).collect();
        let merged = keys.into_iter().filter_map(|key| {
            let below = [old, new, yours].map(|map| map.and_then(|map| map.get(key)));
            Some((key.clone(), three_way(&format!("{path}/{key}"), moved, below)?))
        });
        let merged: serde_json::Map<String, Json> = merged.collect();
        return (new.is_some() || !merged.is_empty()).then_some(Json::Object(merged));
    }
    if old == yours { new.cloned() } else { yours.cloned() }
}

/// What a file of overrides says after the same merge: what stands there, and what went elsewhere.
fn three_way_of_overrides(old: Option<&Json>, new: Option<&Json>, yours: &Json) -> Option<Json> {
    let has_entries = |value: &Json| value.as_object().is_some_and(|map| !map.is_empty());
    if let Json::Object(own) = yours
        && has_entries(yours)
        && new.or(old).is_some_and(has_entries)
    {
        let below = |map: Option<&Json>, key: &str| map.and_then(|map| map.get(key)).cloned();
        let merged = own.iter().filter_map(|(key, value)| {
            Some((key.clone(), three_way_of_overrides(below(old, key).as_ref(), below(new, key).as_ref(), value)?))
        });
        let merged: serde_json::Map<String, Json> = merged.collect();
        return (!merged.is_empty()).then_some(Json::Object(merged));
    }
    if old == Some(yours) { new.cloned() } else { Some(yours.clone()) }
}

/// Takes off what a merge brings into a file of overrides, as the operator's file said it: nothing can take it away there.
fn without_merged(node: &Node, read: &mut Json, expected: &Json, said: &Json) {
    let (crate::yaml::NodeKind::Map(entries), Some(map)) = (&node.kind, read.as_object_mut()) else { return };
    for entry in entries {
        let (wanted, said) = (expected.get(&entry.key), said.get(&entry.key));
        match (wanted, said) {
            (None, said) if entry.merged && map.get(&entry.key) == said => drop(map.remove(&entry.key)),
            (Some(wanted), Some(said)) => without_merged(&entry.value, &mut map[&entry.key], wanted, said),
            _ => {}
        }
    }
}

/// How many: `DR_MERGE_ROUNDS` says how many else.
pub(super) fn rounds() -> usize {
    std::env::var("DR_MERGE_ROUNDS").map_or(800, |rounds| rounds.parse().unwrap())
}

/// The proposal says what the independent merge says, in the line ends of the operator's file, and no comment of the
/// operator's is lost where its key lives.
/// Gives how many keys were told to have another name; `None` where nothing was proposed, as a file of overrides with
/// anchors may ask for what only another file can say.
pub(super) fn check(style: ProposalStyle, old: &str, new: &str, yours: &str) -> Option<usize> {
    let trees = (tree(old), tree(new), tree(yours));
    let three = Three { old: &trees.0, new: &trees.1, yours: &trees.2 };
    let said = format!("--- old\n{old}--- new\n{new}--- yours\n{yours}");
    let proposed = match propose(three, Some(style), &FACTS, &Scrubber::new(None)) {
        Ok(proposed) => proposed,
        Err(_) if style == ProposalStyle::Overrides && yours.contains('&') => return None,
        Err(error) => panic!("{style:?} {error}\n{said}"),
    };
    assert_eq!(proposed.text.contains("\r\n"), yours.contains("\r\n"), "{said}");
    let proposed_tree = tree(&proposed.text);
    let read = proposed_tree.to_json();
    let [was, mine] = [three.old, three.yours].map(|tree| with_new_names(tree.to_json(), &proposed.items));
    let now = three.new.to_json();
    let expected = match style {
        ProposalStyle::Full => {
            let pointer = |path: &Path| path.keys().map(|key| format!("/{key}")).collect::<String>();
            let moved: Vec<String> = proposed.items.iter().filter_map(|item| item.was.as_ref()).map(pointer).collect();
            three_way("", &moved, [Some(&was), Some(&now), Some(&mine)])
        }
        ProposalStyle::Overrides => three_way_of_overrides(Some(&was), Some(&now), &mine),
    };
    let expected = expected.unwrap_or_else(|| Json::Object(Default::default()));
    let mut read = read;
    if style == ProposalStyle::Overrides {
        without_merged(proposed_tree.root(), &mut read, &expected, &three.yours.to_json());
    }
    assert_eq!(read, expected, "{style:?}\n--- text\n{}{said}", *proposed.text);
    for comment in &proposed.comments {
        let stood = has_line(three.yours, &comment.rsplit(' ').next().unwrap_or_default().replace('"', ""));
        let lives = has_line(&proposed_tree, &new_pointer(comment, &proposed.items));
        assert!(!(stood && lives), "{comment} is lost\n--- text\n{}{said}", *proposed.text);
    }
    Some(proposed.items.iter().filter(|item| item.was.is_some()).count())
}

fn made_up(style: ProposalStyle, state: u64, with_kin: bool) {
    let mut dice = Dice { state, about: "about", kin: None, anchors: None };
    let (mut renamed, mut refused) = (0, 0);
    for round in 0..rounds() as u64 {
        let kin = |file: u64| with_kin.then_some((round, round * 8 + file * 2));
        let mut file = |about: &'static str, kin| {
            (dice.about, dice.kin) = (about, kin);
            dice.anchors = (round % 2 == 0).then(Vec::new);
            dice.map(0, 0, "")
        };
        let [old, new] = [kin(1), kin(2)].map(|kin| file("about", kin));
        let mut yours = file("mine", kin(3)) + "# mine at the end\n";
        let new = dice.with_another_name(new);
        if dice.roll(4) == 0 {
            yours = yours.replace('\n', "\r\n");
        }
        match check(style, &old, &new, &yours) {
            Some(count) => renamed += count,
            None => refused += 1,
        }
    }
    assert!(refused <= rounds() / 100, "{refused} of {} refused", rounds());
    assert!(!with_kin || renamed > rounds() / 16, "{renamed} renamed keys in {} rounds", rounds());
}

#[test]
fn hundreds_of_made_up_files_of_overrides_take_the_releases_changes_and_keep_their_comments() {
    made_up(ProposalStyle::Overrides, 20_261_129, false);
    made_up(ProposalStyle::Overrides, 20_261_130, true);
}

#[test]
fn hundreds_of_made_up_files_take_their_edits_and_keep_their_comments() {
    made_up(ProposalStyle::Full, 20_261_008, false);
    made_up(ProposalStyle::Full, 20_261_009, true);
}
