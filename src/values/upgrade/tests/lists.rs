//! Lists whose items have names.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::fuzz::Dice;
use super::*;

const OLD: &str = "l:\n- name: a\n  v: 1\n- name: b\n  v: 1\n- name: c\n  v: 1\nz: 1\n";

fn both(new: &str, yours: &str) -> (String, Vec<String>) {
    let proposed = in_style(ProposalStyle::Full, OLD, new, yours);
    let own = in_style(ProposalStyle::Overrides, OLD, new, yours);
    assert_eq!(tree(&proposed.text).get(&["l"]).map(Node::to_json), tree(&own.text).get(&["l"]).map(Node::to_json));
    (proposed.text.to_string(), told(&proposed))
}

#[test]
fn the_releases_change_and_the_operators_meet_in_one_list() {
    let new = "l:\n- name: a\n  v: 2\n- name: new # vendor\n  v: 3\n- name: b\n  v: 1\n  w: 9\nz: 1\n";
    let yours = "l:\n# about b\n- name: b\n  v: 7 # mine\n- name: a\n  v: 1\n- {name: c, v: 1}\n# ours\n- name: own\n  v: 0\nz: 1\n";
    let (text, said) = both(new, yours);
    assert_eq!(
        text,
        "l:\n  # about b\n  - name: b\n    v: 7 # mine\n    w: 9\n  - name: a\n    v: 2\n  - name: new # vendor\n    v: 3\n  # ours\n  - name: own\n    v: 0\nz: 1\n"
    );
    assert_eq!(
        said,
        [
            "dropped l[name=c]",
            "new-default l[name=a].v",
            "new l[name=b].w",
            "new l[name=new]",
            "kept l[name=b].v",
            "own l[name=own]"
        ]
    );
}

#[test]
fn an_item_that_the_operator_took_away_stays_away() {
    let new = "l:\n- name: a\n  v: 2\n- name: b\n  v: 1\n- name: c\n  v: 1\nz: 1\n";
    let (text, said) = both(new, "l:\n- name: a\n  v: 1\n- name: c\n  v: 1\nz: 1\n");
    assert_eq!(text, "l:\n  - name: a\n    v: 2\n  - name: c\n    v: 1\nz: 1\n");
    assert_eq!(said, ["new-default l[name=a].v", "kept l[name=b]"]);
    let (_, said) = both(
        "l: [{name: a, v: 2}, {name: b, v: 2}, {name: c, v: 1}]\nz: 1\n",
        "l: [{name: a, v: 1}, {name: c, v: 1}]\nz: 1\n",
    );
    assert_eq!(said, ["conflict l[name=b]", "new-default l[name=a].v"]);
}

#[test]
fn a_list_in_brackets_is_merged_like_another() {
    let new = "l: [{name: x, v: 0}, {name: a, v: 2}, {name: b, v: 1}]\nz: 1\n";
    let (text, _) = both(new, "l: [{name: a, v: 1}, {name: b, v: 7}, {name: c, v: 1}] # why\nz: 1\n");
    assert_eq!(text, "l: [{\"name\":\"x\",\"v\":0}, {name: a, v: 2}, {name: b, v: 7}] # why\nz: 1\n");
}

#[test]
fn a_list_without_names_is_a_conflict_as_a_whole() {
    assert_eq!(outcomes("l: [1, 2]\n", "l: [1, 3]\n", "l: [2]\n"), ["conflict l"]);
    assert_eq!(
        outcomes("l: [{name: a}]\n", "l: [{name: a}, {name: a}]\n", "l: [{name: a}, {name: b}]\n"),
        ["conflict l"]
    );
}

#[test]
fn a_secret_in_an_item_is_masked_by_its_name() {
    let list = |a: &str, v: u8| format!("env:\n- {{name: API_TOKEN, value: '{a}'}}\n- {{name: X, value: '{v}'}}\n");
    let proposed = proposal(&list("", 1), &list("", 2), &list("s3cr", 1));
    assert_eq!(told(&proposed), ["new-default env[name=X].value", "kept env[name=API_TOKEN].value"]);
    assert!(!format!("{:?}", proposed.items).contains("s3cr"), "{:?}", proposed.items);
}

impl Dice {
    /// A list with named items, in a random order.
    fn named_list(&mut self) -> String {
        let mut names = vec!["a", "b", "c", "d", "e"];
        let mut text = String::from("l:\n");
        for _ in 0..1 + self.roll(4) {
            let name = names.remove(self.roll(names.len()));
            let (v, w) = (self.roll(3), self.roll(3));
            let own = self.about == "mine";
            if own && self.roll(3) == 0 {
                text.push_str(&format!("# mine of {name}\n"));
            }
            text.push_str(&match self.roll(4) {
                0 => format!("- {{name: {name}, v: {v}, in: {{w: {w}}}}}\n"),
                1 => format!("- name: {name}\n  v: {v}\n"),
                2 => format!("- v: {v}\n  name: {name}\n  in:\n    w: {w}\n    x: [1]\n"),
                _ => format!("- name: {name} # of {name}\n  in: {{}}\n  t: |\n    {v}\n\n"),
            });
        }
        text + "z: 1\n"
    }
}

fn by_name(list: &Json) -> Vec<(&str, &Json)> {
    list.as_array().unwrap().iter().map(|item| (item["name"].as_str().unwrap(), item)).collect()
}

/// A strict merge: what is absent was taken away.
fn strict(old: Option<&Json>, new: Option<&Json>, yours: Option<&Json>) -> Option<Json> {
    let entries = |value: Option<&Json>| value.and_then(Json::as_object).filter(|map| !map.is_empty()).cloned();
    if let (Some(o), Some(n), Some(y)) = (entries(old), entries(new), entries(yours)) {
        let keys: HashSet<&String> = o.keys().chain(n.keys()).chain(y.keys()).collect();
        let merged =
            keys.into_iter().filter_map(|key| Some((key.clone(), strict(o.get(key), n.get(key), y.get(key))?)));
        return Some(Json::Object(merged.collect()));
    }
    if old == yours { new.cloned() } else { yours.cloned() }
}

#[test]
fn hundreds_of_made_up_lists_say_what_a_merge_by_name_says() {
    let mut dice = Dice { state: 14, about: "about", kin: None, anchors: None };
    for round in 0..1500 {
        dice.about = "about";
        let (old, new) = (dice.named_list(), dice.named_list());
        dice.about = "mine";
        let yours = dice.named_list();
        let style = if round % 2 == 0 { ProposalStyle::Full } else { ProposalStyle::Overrides };
        let proposed = in_style(style, &old, &new, &yours);
        let [o, n, y, read] = [&old, &new, &yours, &proposed.text].map(|text| tree(text).to_json()["l"].clone());
        let said = format!("--- old\n{old}--- new\n{new}--- yours\n{yours}--- text\n{}", *proposed.text);
        let find = |list: &Json, name: &str| {
            by_name(list).iter().find(|(other, _)| *other == name).map(|(_, item)| (*item).clone())
        };
        for name in ["a", "b", "c", "d", "e"] {
            let sides = [&o, &n, &y].map(|list| find(list, name));
            let expected = match &sides {
                [_, _, _] if o == y => sides[1].clone(),
                [_, _, _] if o == n => sides[2].clone(),
                [None, Some(_), Some(mine)] => Some(mine.clone()),
                [old, new, yours] => strict(old.as_ref(), new.as_ref(), yours.as_ref()),
            };
            let whole = told(&proposed).contains(&"conflict l".to_owned());
            let expected = if whole { sides[2].clone() } else { expected };
            assert_eq!(find(&read, name), expected, "{name} {said}");
        }
        // As a whole only where nothing of the operator's would be left.
        if told(&proposed).contains(&"conflict l".to_owned()) {
            let left = by_name(&y)
                .iter()
                .filter(|(name, item)| find(&n, name).is_some() || find(&o, name).as_ref() != Some(*item))
                .count();
            assert_eq!(left, 0, "{said}");
        }
        for comment in &proposed.comments {
            let name = comment.rsplit(' ').next().unwrap();
            assert!(find(&read, name).is_none(), "{comment} is lost {said}");
        }
    }
}

#[test]
fn what_comes_into_a_list_of_overrides_is_called_added() {
    let new = "l:\n- name: a\n  v: 1\n- name: b\n  v: 2\n- name: c\n  v: 1\n- name: d\n  v: 4\nz: 1\nfresh: 1\n";
    let proposed = in_style(ProposalStyle::Overrides, OLD, new, "l:\n- name: a\n  v: 7 # why\n");
    assert_eq!(*proposed.text, "l:\n- name: a\n  v: 7 # why\n- name: d\n  v: 4\n");
    assert_eq!(
        told(&proposed),
        ["conflict l[name=b]", "new fresh", "added l[name=d]", "kept l[name=a].v", "kept l[name=c]"]
    );
}
