//! Keys that Helm would take in silence and nothing would read: unknown, misplaced, replaced.

use std::collections::HashSet;

use super::finding::{LintFinding, finding};
use super::key_tree::{Context, KeyFact, KeyTree};
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree, Value};

/// Maps of these names hold keys that users make up, in any chart.
const FREE: &[&str] =
    &["annotations", "labels", "nodeSelector", "matchLabels", "env", "parameters", "requests", "limits", "data"];

pub(super) fn check(tree: &Tree, context: &Context<'_>, findings: &mut Vec<LintFinding>) {
    let mut known = KeyTree::from_facts(context.facts, context.version);
    if let Some(defaults) = context.defaults {
        known.take_in(defaults);
    }
    if known.children.is_empty() {
        return;
    }
    let top = known.clone();
    let facts = context.facts.keys.iter().flat_map(|fact| fact.paths().into_iter().map(move |path| (path, fact)));
    let walk = Walk { facts: facts.collect(), top: &top };
    walk.map(tree.root(), &known, &mut Vec::new(), findings);
}

struct Walk<'a> {
    /// Each path that the releases say something of.
    facts: Vec<(Vec<String>, &'static KeyFact)>,
    top: &'a KeyTree,
}

impl Walk<'_> {
    fn map(&self, node: &Node, known: &KeyTree, steps: &mut Vec<String>, findings: &mut Vec<LintFinding>) {
        let NodeKind::Map(entries) = &node.kind else { return };
        let names: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        for entry in entries.iter().filter(|entry| !entry.merged) {
            steps.push(entry.key.clone());
            match known.children.get(&entry.key) {
                Some(child) => self.known_key(entry, child, known, steps, findings),
                None => findings.extend(self.other_key(entry, &names, known, steps)),
            }
            steps.pop();
        }
    }

    fn known_key(
        &self,
        entry: &Entry,
        child: &KeyTree,
        parent: &KeyTree,
        steps: &mut Vec<String>,
        findings: &mut Vec<LintFinding>,
    ) {
        let is_null = entry.value.scalar().is_some_and(|scalar| scalar.value == Value::Null);
        let is_map = matches!(entry.value.kind, NodeKind::Map(_));
        if child.is_map.is_some_and(|wanted| wanted != is_map) && !is_null {
            let (has, wants) = if is_map { ("a map", "a single value") } else { ("no map", "a map") };
            findings.push(LintFinding {
                reason: format!("this is {has}, and the chart has {wants} here"),
                fix: "write what the chart's own values show at this key".into(),
                ..finding("wrong-type", &entry.key_span, Some(&path(steps)))
            });
            return;
        }
        let is_free = FREE.contains(&entry.key.as_str());
        if !child.children.is_empty() {
            let looser =
                KeyTree { partial: child.partial || parent.partial, free: child.free || is_free, ..child.clone() };
            self.map(&entry.value, &looser, steps, findings);
        }
    }

    /// A key that is not known in its place.
    fn other_key(
        &self,
        entry: &Entry,
        siblings: &HashSet<&str>,
        known: &KeyTree,
        steps: &[String],
    ) -> Option<LintFinding> {
        let here = path(steps);
        let of = |id, reason, fix| Some(LintFinding { reason, fix, ..finding(id, &entry.key_span, Some(&here)) });
        if let Some(fact) = self.fact(|fact, path| fact.until.is_some() && path == steps) {
            let until = fact.until.unwrap_or_default();
            let fix = match fact.instead {
                Some(instead) => format!("use {instead}"),
                None => "remove it".into(),
            };
            return of("deprecated-key", format!("release {until} replaced or removed this key"), fix);
        }
        // Were any of what is below it known already, it would be too.
        if let Some(fact) = self.fact(|fact, path| fact.from.is_some() && path.starts_with(steps)) {
            let from = fact.from.unwrap_or_default();
            let reason = format!("this key comes with release {from}: nothing reads it before");
            return of("unknown-key", reason, "remove it until then".into());
        }
        if let Some(place) = dotted(&entry.key, known) {
            let reason = "a dot parts no keys in a values file: Helm reads one key that has this name".to_owned();
            return of("misplaced-key", reason, format!("write it as maps, one within the other: {place}"));
        }
        let names = || known.children.keys().map(String::as_str);
        // Another case makes no key of its own, even beside the right one.
        let near = names()
            .find(|name| differ_in_case(name, &entry.key))
            .or_else(|| nearest(&entry.key, names().filter(|name| !siblings.contains(name))));
        if let Some(near) = near.filter(|_| !is_proxy(&entry.key)) {
            let reason = "nothing reads this key, and one that is written almost like it is known here".to_owned();
            return of("unknown-key", reason, format!("did you mean `{near}`?"));
        }
        if known.takes_anything() || known.partial {
            return None;
        }
        match self.top.places(&entry.key).as_slice() {
            [place] => {
                let reason = "nothing reads this key here".to_owned();
                of("misplaced-key", reason, format!("it belongs at `{place}`"))
            }
            [] if steps.len() == 1 && entry.key.starts_with("OPSCHAIN_") => {
                let reason = "nothing reads this key here".to_owned();
                of("misplaced-key", reason, format!("it belongs at `env.{}`", entry.key))
            }
            _ => of("unknown-key", "nothing is known to read this key".into(), "look it up, or remove it".into()),
        }
    }

    fn fact(&self, fits: impl Fn(&KeyFact, &[String]) -> bool) -> Option<&'static KeyFact> {
        self.facts.iter().find(|(path, fact)| fits(fact, path)).map(|(_, fact)| *fact)
    }
}

fn path(steps: &[String]) -> Path {
    Path(steps.iter().cloned().map(Segment::Key).collect())
}

/// The one name that is written almost like `key`: other case, or one or two letters off (in longer names).
fn nearest<'n>(key: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let bare = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let allowed = match key.chars().count() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    let length = bare(key).len();
    let mut best: Vec<(usize, &str)> = names
        .filter(|name| name.len().abs_diff(length) <= allowed + name.len() - bare(name).len())
        .map(|name| (distance(&bare(key), &bare(name)), name))
        .filter(|(apart, _)| *apart <= allowed)
        // `a1` and `a2` are two names, not one written wrong.
        .filter(|(apart, name)| *apart == 0 || !differ_in_digits(key, name))
        .collect();
    best.sort();
    match best.as_slice() {
        [(_, name)] => Some(name),
        [(first, name), (second, _), ..] if first < second => Some(name),
        _ => None,
    }
}

/// Whether two names are the same but for case, dashes and underscores.
fn differ_in_case(a: &str, b: &str) -> bool {
    fn bare(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().filter(|c| !b"_-".contains(c)).map(|c| c.to_ascii_lowercase())
    }
    a.len().abs_diff(b.len()) <= 4 && bare(a).eq(bare(b))
}

/// `HTTP_PROXY` and its like: programs read them in either case.
fn is_proxy(key: &str) -> bool {
    key.to_ascii_lowercase().ends_with("_proxy")
}

/// Of a key with dots that is known as maps, one within the other: how they are written.
fn dotted(key: &str, known: &KeyTree) -> Option<String> {
    let names: Vec<&str> = key.split('.').collect();
    let (last, maps) = names.split_last()?;
    let (mut map, mut is_partial) = (known, known.partial);
    for name in maps {
        map = map.children.get(*name)?;
        is_partial |= map.partial;
    }
    let takes = map.children.contains_key(*last) || (map.is_map != Some(false) && (map.free || is_partial));
    (!maps.is_empty() && takes).then(|| names.join(": {") + ": ..." + &"}".repeat(maps.len()))
}

fn differ_in_digits(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    letters(a) == letters(b)
}

/// How many letters must be put in, taken out, exchanged, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::lint::KeyFacts;

    const FACTS: KeyFacts = KeyFacts {
        keys: &[
            KeyFact { keys: "{stopped,nodeSelector}", from: None, until: None, instead: None },
            KeyFact { keys: "api.{replicas,hostName}", from: None, until: None, instead: None },
            KeyFact { keys: "env.{OPSCHAIN_VERSION,*}", from: None, until: None, instead: None },
            KeyFact { keys: "kong.{proxy.tls,**}", from: None, until: None, instead: None },
            KeyFact { keys: "db.cnpg.clusterName", from: Some("2026-01-27"), until: None, instead: None },
            KeyFact { keys: "db.image", from: None, until: Some("2026-01-27"), instead: Some("db.cnpg.imageName") },
        ],
        ..KeyFacts::NONE
    };

    fn said(yaml: &str, defaults: Option<&str>, version: Option<&str>) -> Vec<String> {
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let defaults = defaults.map(|text| Tree::parse(text.as_bytes()).unwrap());
        let mut findings = Vec::new();
        check(&tree, &Context { defaults: defaults.as_ref(), version, facts: &FACTS }, &mut findings);
        let text = |f: &LintFinding| format!("{}:{} {} {}", f.line, f.column, f.id, f.fix);
        findings.iter().map(text).collect()
    }

    #[test]
    fn a_misspelt_key_is_told_what_was_meant() {
        assert_eq!(said("stoped: true\n", None, None), ["1:1 unknown-key did you mean `stopped`?"]);
        assert_eq!(said("api:\n  Replicas: 2\n", None, None), ["2:3 unknown-key did you mean `replicas`?"]);
        let env = "env:\n  OPSCHAIN_VERISON: x\n";
        assert_eq!(said(env, None, None), ["2:3 unknown-key did you mean `OPSCHAIN_VERSION`?"], "a free map too");
        assert!(said("env:\n  OPSCHAIN_VERSION: x\n  OPSCHAIN_VERSIONS: y\n", None, None).is_empty());
    }

    #[test]
    fn a_key_in_the_wrong_place_is_told_the_right_one() {
        assert_eq!(said("replicas: 2\n", None, None), ["1:1 misplaced-key it belongs at `api.replicas`"]);
        assert_eq!(said("OPSCHAIN_FOO: 2\n", None, None), ["1:1 misplaced-key it belongs at `env.OPSCHAIN_FOO`"]);
    }

    #[test]
    fn a_dot_parts_no_keys() {
        let known = "api.replicas: 2\nenv.ANY: x\nkong.proxy.http: 1\n";
        let fix = |place: &str| format!("write it as maps, one within the other: {place}");
        assert_eq!(
            said(known, None, None),
            [
                format!("1:1 misplaced-key {}", fix("api: {replicas: ...}")),
                format!("2:1 misplaced-key {}", fix("env: {ANY: ...}")),
                format!("3:1 misplaced-key {}", fix("kong: {proxy: {http: ...}}")),
            ]
        );
        let own = "a: {annotations: {konghq.com/x: y, konghq: {com: 1}}, b: x}\n";
        let fine = "a: {annotations: {example.org/team: z, other.com: z}}\nenv: {log.level: x}\n";
        assert_eq!(said(fine, Some(own), None), Vec::<String>::new());
    }

    #[test]
    fn another_case_is_found_beside_the_right_one() {
        for wrong in ["Replicas", "REPLICAS", "re-plicas"] {
            let yaml = format!("api: {{replicas: 1, {wrong}: 2}}\n");
            assert_eq!(said(&yaml, None, None), ["1:20 unknown-key did you mean `replicas`?"], "{yaml}");
        }
        assert_eq!(said("api: {host_name: x}\n", None, None), ["1:7 unknown-key did you mean `hostName`?"]);
        let proxies = "env: {HTTP_PROXY: x, http_proxy: x, no_proxy: x}\n";
        assert_eq!(said(proxies, Some("env: {HTTP_PROXY: '', NO_PROXY: ''}\n"), None), Vec::<String>::new());
    }

    #[test]
    fn keys_come_and_go_with_releases() {
        assert_eq!(said("db: {image: x}\n", None, None), ["1:6 deprecated-key use db.cnpg.imageName"]);
        assert!(said("db: {image: x}\n", None, Some("2025-10-17")).is_empty());
        let early = said("db: {cnpg: {clusterName: x}}\n", Some("db: {cnpg: {instances: 1}}\n"), Some("2025-10-17"));
        assert_eq!(early, ["1:13 unknown-key remove it until then"]);
    }

    #[test]
    fn twenty_thousand_keys_take_no_time_to_speak_of() {
        let lines: String = (0..20_000).map(|number| format!("  OPSCHAIN_EXTRA_SETTING_{number}: x\n")).collect();
        let yaml = format!("env:\n{lines}");
        let begun = std::time::Instant::now();
        assert_eq!(said(&yaml, None, None), Vec::<String>::new());
        // Quadratic work took half a minute here.
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn free_maps_subcharts_and_empty_defaults_take_any_key() {
        let defaults = "a: {b: 1, annotations: {x: y}, c: {}, d: }\n";
        let fine =
            "a: {annotations: {q: 1}, c: {z: 1}, d: {e: 1}}\nenv: {ANY: 1}\nkong: {proxy: {http: 1}, extra: {}}\n";
        assert_eq!(said(fine, Some(defaults), None), Vec::<String>::new());
        let wrong = said("a: {zzz: 1, b: {x: 1}}\nother: 1\n", Some(defaults), None);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[1].contains("wrong-type"));
    }
}
