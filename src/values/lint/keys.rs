//! Keys that Helm would take in silence and nothing would read: unknown, misplaced, replaced.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use super::finding::{LintFinding, finding};
use super::key_tree::{Context, Holds, KeyFact, KeyFacts, KeyTree, KnownPlace};
use super::near::KnownNames;
use super::secret_name::{is_variable, words};
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
    let walk = Walk { facts: Facts::of(context.facts), places: known.places() };
    let top = Spot { known: &known, free: known.free, partial: known.partial };
    walk.map(tree.root(), top, &mut Vec::new(), findings);
}

/// What the releases say, by path.
#[derive(Default)]
struct Facts {
    /// Of keys that a release replaced or removed.
    ended: HashMap<Vec<String>, &'static KeyFact>,
    /// Of keys that a release brought, and of all above them.
    begun: HashMap<Vec<String>, &'static KeyFact>,
}

impl Facts {
    fn of(facts: &KeyFacts) -> Self {
        let mut by_path = Self::default();
        for fact in facts.keys {
            for path in fact.paths() {
                if fact.until.is_some() {
                    by_path.ended.entry(path.clone()).or_insert(fact);
                }
                if fact.from.is_some() {
                    for length in 1..=path.len() {
                        by_path.begun.entry(path[..length].to_vec()).or_insert(fact);
                    }
                }
            }
        }
        by_path
    }
}

struct Walk<'a> {
    facts: Facts,
    /// Where each name is known.
    places: HashMap<&'a str, Vec<KnownPlace<'a>>>,
}

/// What is known of one map.
#[derive(Clone, Copy)]
struct Spot<'k> {
    known: &'k KeyTree,
    /// Any other key may stand here too.
    free: bool,
    /// All that is here and below is known in part only.
    partial: bool,
}

/// A map of the file, beside what is known of it.
struct Level<'k> {
    spot: Spot<'k>,
    own: HashSet<&'k str>,
    /// Made ready when the first key is unknown.
    names: OnceCell<KnownNames<'k>>,
}

impl<'k> Level<'k> {
    /// The known name that is written almost like this key. Another case makes no key of its own, even beside the right
    /// one.
    fn near(&self, key: &str) -> Option<&'k str> {
        let names = self.names.get_or_init(|| KnownNames::new(self.spot.known.children.keys().map(String::as_str)));
        // Where nothing else may stand, a key is wrong even beside the right one.
        let is_closed = !self.spot.free && !self.spot.partial;
        names
            .in_other_case(key)
            .or_else(|| names.nearest(key, |name| !self.own.contains(name)))
            .or_else(|| names.nearest(key, |_| true).filter(|_| is_closed))
    }
}

impl Walk<'_> {
    fn map<'k>(&self, node: &'k Node, spot: Spot<'k>, steps: &mut Vec<String>, findings: &mut Vec<LintFinding>) {
        let NodeKind::Map(entries) = &node.kind else { return };
        let own = entries.iter().map(|entry| entry.key.as_str()).collect();
        let level = Level { spot, own, names: OnceCell::new() };
        for entry in entries.iter().filter(|entry| !entry.merged) {
            steps.push(entry.key.clone());
            match spot.known.children.get(&entry.key) {
                Some(child) => self.known_key(entry, child, spot, steps, findings),
                None => findings.extend(self.other_key(entry, &level, steps)),
            }
            steps.pop();
        }
    }

    fn known_key<'k>(
        &self,
        entry: &'k Entry,
        child: &'k KeyTree,
        above: Spot<'k>,
        steps: &mut Vec<String>,
        findings: &mut Vec<LintFinding>,
    ) {
        let is_null = entry.value.scalar().is_some_and(|scalar| scalar.value == Value::Null);
        let has = Holds::of(&entry.value);
        if let Some(wants) = child.shape.filter(|wants| *wants != has && !is_null) {
            findings.push(LintFinding {
                reason: format!("this is {}, and {} is meant here", has.name(), wants.name()),
                fix: "write it as the chart's own values show it".into(),
                ..finding("wrong-type", &entry.key_span, Some(&path(steps)))
            });
            return;
        }
        if !child.children.is_empty() {
            let free = child.free || FREE.contains(&entry.key.as_str());
            let below = Spot { known: child, free, partial: child.partial || above.partial };
            self.map(&entry.value, below, steps, findings);
        }
    }

    /// A key that is not known in its place.
    fn other_key(&self, entry: &Entry, level: &Level<'_>, steps: &[String]) -> Option<LintFinding> {
        let here = path(steps);
        let of = |id, reason, fix| Some(LintFinding { reason, fix, ..finding(id, &entry.key_span, Some(&here)) });
        if let Some(fact) = self.facts.ended.get(steps) {
            let until = fact.until.unwrap_or_default();
            let fix = match fact.instead {
                Some(instead) => format!("use {instead}"),
                None => "remove it".into(),
            };
            return of("deprecated-key", format!("release {until} replaced or removed this key"), fix);
        }
        // Were any of what is below it known already, it would be too.
        if let Some(fact) = self.facts.begun.get(steps) {
            let from = fact.from.unwrap_or_default();
            let reason = format!("this key comes with release {from}: nothing reads it before");
            return of("unknown-key", reason, "remove it until then".into());
        }
        if let Some(place) = dotted(&entry.key, level.spot) {
            let reason = "a dot parts no keys in a values file: Helm reads one key that has this name".to_owned();
            return of("misplaced-key", reason, format!("write it as maps, one within the other: {place}"));
        }
        if let Some(near) = level.near(&entry.key).filter(|_| !is_proxy(&entry.key)) {
            let reason = "nothing reads this key, and one that is written almost like it is known here".to_owned();
            return of("unknown-key", reason, format!("did you mean `{near}`?"));
        }
        if level.spot.free {
            return None;
        }
        if let Some(place) = self.right_place(entry, level, steps) {
            return of("misplaced-key", "nothing reads this key here".to_owned(), format!("it belongs at `{place}`"));
        }
        if level.spot.partial {
            return None;
        }
        of("unknown-key", "nothing is known to read this key".into(), "look it up, or remove it".into())
    }

    /// Where else a key is known, as far as that is no guess: below this very map; or in one place of all, for a name
    /// that hardly means two things, or a map of which keys are known there.
    fn right_place(&self, entry: &Entry, level: &Level<'_>, steps: &[String]) -> Option<String> {
        let key = entry.key.as_str();
        let places = self.places.get(key).map_or(&[][..], Vec::as_slice);
        let above = steps[..steps.len() - 1].join(".");
        let is_telling = !COMMON.contains(&key);
        let below = || places.iter().filter(|place| is_below(&place.name, &above)).collect::<Vec<_>>();
        if !above.is_empty()
            && (is_telling || !level.spot.partial)
            && let [place] = below().as_slice()
        {
            return Some(place.name.clone());
        }
        if level.spot.partial {
            return None;
        }
        match places {
            [place] => {
                let is_of_same = above.split('.').next().is_some_and(|first| is_below(&place.name, first));
                let is_known_map = || has_known_keys(&entry.value, place.tree);
                let is_sure =
                    is_of_same || (is_telling && (words(key).len() > 1 || is_variable(key))) || is_known_map();
                is_sure.then(|| place.name.clone())
            }
            [] => (steps.len() == 1 && key.starts_with("OPSCHAIN_")).then(|| format!("env.{key}")),
            _ => None,
        }
    }
}

/// Names that many maps have, each for itself: no sign of where one was meant to be.
const COMMON: &[&str] = &[
    "enabled",
    "name",
    "image",
    "annotations",
    "labels",
    "resources",
    "env",
    "tag",
    "repository",
    "registry",
    "size",
    "type",
    "config",
    "volumes",
    "parameters",
    "value",
    "http",
    "tls",
    "host",
    "port",
];

fn is_below(place: &str, above: &str) -> bool {
    place.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether a map has a key that is known at a place.
fn has_known_keys(node: &Node, known: &KeyTree) -> bool {
    matches!(&node.kind, NodeKind::Map(entries) if entries.iter().any(|entry| known.children.contains_key(&entry.key)))
}

fn path(steps: &[String]) -> Path {
    Path(steps.iter().cloned().map(Segment::Key).collect())
}

/// `HTTP_PROXY` and its like: programs read them in either case.
fn is_proxy(key: &str) -> bool {
    key.to_ascii_lowercase().ends_with("_proxy")
}

/// Of a key with dots that is known as maps, one within the other: how they are written.
fn dotted(key: &str, spot: Spot<'_>) -> Option<String> {
    let names: Vec<&str> = key.split('.').collect();
    let (last, maps) = names.split_last()?;
    let (mut map, mut is_free, mut is_partial) = (spot.known, spot.free, spot.partial);
    for name in maps {
        map = map.children.get(*name)?;
        (is_free, is_partial) = (map.free, is_partial || map.partial);
    }
    let takes =
        map.children.contains_key(*last) || (matches!(map.shape, None | Some(Holds::Map)) && (is_free || is_partial));
    (!maps.is_empty() && takes).then(|| names.join(": {") + ": ..." + &"}".repeat(maps.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let both = "api: {replicas: 1, replica: 3}\n";
        assert_eq!(said(both, None, None), ["1:20 unknown-key did you mean `replicas`?"], "beside the right one");
        let env = "env:\n  OPSCHAIN_VERISON: x\n";
        assert_eq!(said(env, None, None), ["2:3 unknown-key did you mean `OPSCHAIN_VERSION`?"], "a free map too");
        assert!(said("env:\n  OPSCHAIN_VERSION: x\n  OPSCHAIN_VERSIONS: y\n", None, None).is_empty());
    }

    #[test]
    fn a_key_in_the_wrong_place_is_told_the_right_one() {
        assert_eq!(said("hostName: x\n", None, None), ["1:1 misplaced-key it belongs at `api.hostName`"]);
        assert_eq!(said("proxy: {tls: {}}\n", None, None), ["1:1 misplaced-key it belongs at `kong.proxy`"]);
        let below = said("kong: {servicePort: 1}\n", Some("kong: {proxy: {tls: {servicePort: 2}}}\n"), None);
        assert_eq!(below, ["1:8 misplaced-key it belongs at `kong.proxy.tls.servicePort`"], "a part known in part");
        let own = Some("db: {pooler: {bouncer: {parameters: {a: 1}}}, postgres: {parameters: {b: 2}}}\n");
        let pooler = said("db: {pooler: {parameters: {c: 3}}}\n", own, None);
        assert_eq!(pooler, ["1:15 misplaced-key it belongs at `db.pooler.bouncer.parameters`"], "the near one");
        assert_eq!(said("OPSCHAIN_FOO: 2\n", None, None), ["1:1 misplaced-key it belongs at `env.OPSCHAIN_FOO`"]);
    }

    /// A word that happens to stand in one place only says nothing of what was meant.
    #[test]
    fn a_common_word_is_sent_nowhere() {
        let own = Some("trow: {trow: {password: x, user: y}}\ntrust: {certificates: {a: x}}\nldap: {a: 1}\n");
        for yaml in ["ldap: {password: x}\n", "ldap: {user: x}\n", "password: x\n", "api: {certificates: {b: x}}\n"] {
            let found = said(yaml, own, None);
            assert!(found.len() == 1 && found[0].contains("unknown-key look it up"), "{yaml}: {found:?}");
        }
        assert_eq!(said("replicas: 2\n", None, None), ["1:1 unknown-key look it up, or remove it"]);
        // What another chart has beside the part that is known is its own.
        let partial = "kong: {enabled: true, image: {tag: x}, name: y, proxy: {tls: {servicePort: 1}}}\n";
        let own = Some("kong: {a: {enabled: true}, proxy: {tls: {servicePort: 2, image: x, name: z}}}\n");
        assert_eq!(said(partial, own, None), Vec::<String>::new());
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
    fn another_kind_of_value_than_is_meant_is_found_with_the_chart_and_without() {
        let kinds = |yaml: &str, own: Option<&str>| {
            said(yaml, own, None).iter().filter(|said| said.contains("wrong-type")).count()
        };
        for yaml in
            ["env: [{name: A, value: x}]\n", "env: x\n", "api: 1\n", "api: []\n", "db: {cnpg: []}\n", "kong: x\n"]
        {
            assert_eq!(kinds(yaml, None), 1, "{yaml}");
        }
        let own = "api: {env: [], replicas: 1}\nstopped: false\n";
        for yaml in
            ["api: {env: {A: b}}\n", "api: {env: x}\n", "api: {replicas: [1]}\n", "stopped: [false]\n", "stopped: {}\n"]
        {
            assert_eq!(kinds(yaml, Some(own)), 1, "{yaml}");
        }
        let fine = "api: {env: [{name: A}], replicas: 2}\nstopped:\nenv:\n";
        assert_eq!(kinds(fine, Some(own)) + kinds(fine, None), 0);
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
