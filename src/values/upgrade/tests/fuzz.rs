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
}

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

    /// A key of the root has another name, and a comment says so.
    fn with_another_name(&mut self, text: String) -> String {
        let key = ["a", "b", "k", "m", "s"][self.roll(5)];
        match text.split_once(&format!("\n{key}:")) {
            Some((before, behind)) if self.roll(3) > 0 => format!("{before}\n# Formerly {key}.\n{key}-{key}:{behind}"),
            _ => text,
        }
    }

    fn value(&mut self, depth: usize, column: usize, path: &str) -> String {
        let margin = " ".repeat(column);
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
        for key in ["a", "b", "k", "m", "\"q.r\"", "s"] {
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

/// The merge of three trees, told again in other words.
fn three_way(old: Option<&Json>, new: Option<&Json>, yours: Option<&Json>) -> Option<Json> {
    let Some(mine) = yours else { return new.cloned() };
    if let (Some(Json::Object(there)), Json::Object(own)) = (new, mine)
        && !there.is_empty()
    {
        let keys: HashSet<&String> = there.keys().chain(own.keys()).collect();
        let merged = keys.into_iter().filter_map(|key| {
            let below = |map: Option<&'_ Json>| map.and_then(|map| map.get(key)).cloned();
            let value = three_way(below(old).as_ref(), below(new).as_ref(), below(yours).as_ref())?;
            Some((key.clone(), value))
        });
        return Some(Json::Object(merged.collect()));
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

/// How many: `DR_MERGE_ROUNDS` says how many else.
fn rounds() -> usize {
    std::env::var("DR_MERGE_ROUNDS").map_or(800, |rounds| rounds.parse().unwrap())
}

/// The proposal says what the independent merge says, in the line ends of the operator's file, and no comment of the
/// operator's is lost where its key lives.
fn check(style: ProposalStyle, old: &str, new: &str, yours: &str) {
    let trees = (tree(old), tree(new), tree(yours));
    let three = Three { old: &trees.0, new: &trees.1, yours: &trees.2 };
    let said = format!("--- old\n{old}--- new\n{new}--- yours\n{yours}");
    let proposed = propose(three, Some(style), &FACTS, &Scrubber::new(None))
        .unwrap_or_else(|error| panic!("{style:?} {error}\n{said}"));
    assert_eq!(proposed.text.contains("\r\n"), yours.contains("\r\n"), "{said}");
    let read = tree(&proposed.text).to_json();
    let [was, mine] = [three.old, three.yours].map(|tree| with_new_names(tree.to_json(), &proposed.items));
    let now = three.new.to_json();
    let expected = match style {
        ProposalStyle::Full => three_way(Some(&was), Some(&now), Some(&mine)),
        ProposalStyle::Overrides => three_way_of_overrides(Some(&was), Some(&now), &mine),
    };
    let expected = expected.unwrap_or_else(|| Json::Object(Default::default()));
    assert_eq!(read, expected, "{style:?}\n--- text\n{}{said}", *proposed.text);
    for comment in &proposed.comments {
        let lives = read.pointer(&new_pointer(comment, &proposed.items)).is_some();
        assert!(!lives, "{comment} is lost\n--- text\n{}{said}", *proposed.text);
    }
}

fn made_up(style: ProposalStyle, state: u64, with_kin: bool) {
    let mut dice = Dice { state, about: "about", kin: None };
    for round in 0..rounds() as u64 {
        let kin = |file: u64| with_kin.then_some((round, round * 8 + file * 2));
        let mut file = |about: &'static str, kin| {
            (dice.about, dice.kin) = (about, kin);
            dice.map(0, 0, "")
        };
        let [old, new] = [kin(1), kin(2)].map(|kin| file("about", kin));
        let mut yours = file("mine", kin(3)) + "# mine at the end\n";
        let new = dice.with_another_name(new);
        if dice.roll(4) == 0 {
            yours = yours.replace('\n', "\r\n");
        }
        check(style, &old, &new, &yours);
    }
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
