//! Keys that belong together: equal ones, ones that need another, and sums.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::finding::{LintFinding, finding};
use super::key_tree::{Context, Number, Place, Relation, Trigger, Wanted};
use crate::yaml::{Node, NodeKind, Path, Segment, Tree, Value};

/// Looks at each relation of which the file has a key of its own.
pub(super) fn check(tree: &Tree, context: &Context<'_>, findings: &mut Vec<LintFinding>) {
    let sides = Sides { values: tree, defaults: context.defaults };
    for relation in context.facts.relations {
        let fault = match *relation {
            Relation::Equal(one, two) => sides.unequal(one, two),
            Relation::EqualIfGiven(one, two) => {
                sides.own(one).and(sides.own(two)).and_then(|_| sides.unequal(one, two))
            }
            Relation::Follows { given, place, otherwise } => sides.left_behind(given, place, otherwise),
            Relation::Reserved { map, names } => {
                reserved(tree, map, names, findings);
                None
            }
            Relation::Needs { when, wants, why } => sides.unmet(when, wants, why),
            Relation::Room { when, factors, spare, limit } => sides.too_much(when, factors, spare, limit),
        };
        if let Some((place, reason, fix)) = fault
            && let Some(node) = sides.own(place)
        {
            findings.push(LintFinding { reason, fix, ..finding("keys-disagree", &node.span, Some(&Path::of(place))) });
        }
    }
}

/// Where it is said, the reason and the fix. None quotes a value but those of [`Relation::Room`].
type Fault = (Place, String, String);

struct Sides<'t> {
    values: &'t Tree,
    defaults: Option<&'t Tree>,
}

impl<'t> Sides<'t> {
    fn unequal(&self, one: Place, two: Place) -> Option<Fault> {
        let (first, second) = (self.text(one)?, self.text(two)?);
        let (place, other) = if self.own(one).is_some() { (one, two) } else { (two, one) };
        let other = other.join(".");
        (!are_same(&first, &second)).then(|| {
            let reason = format!("this differs from {other}, and both must be the same");
            (place, reason, format!("write here what {other} has"))
        })
    }

    fn left_behind(&self, given: Place, place: Place, otherwise: &str) -> Option<Fault> {
        let wanted = scalar(self.values, given).filter(|value| **value != Value::Null)?.text();
        let in_tree = |tree: &'t Tree| {
            let mut texts = Vec::new();
            texts_at(tree.root(), place, &mut texts).then_some(texts)
        };
        let texts = in_tree(self.values).or_else(|| self.defaults.and_then(in_tree));
        let follows = texts.map_or(otherwise == wanted, |texts| texts.contains(&wanted));
        let name = dotted(place);
        (!wanted.is_empty() && !follows)
            .then(|| (given, format!("{name} must be the same as this"), format!("set {name} to what stands here")))
    }

    fn unmet(&self, (when, trigger): (Place, Trigger), (wanted, how): (Place, Wanted), why: &str) -> Option<Fault> {
        let is_set = |value: &Value| match trigger {
            Trigger::Is(truth) => *value == Value::Bool(truth),
            Trigger::Says(texts) => texts.contains(&value.text().as_str()),
        };
        // What the chart has as its own is no choice of the file's.
        let is_chosen = scalar(self.values, when).is_some_and(is_set)
            && !self.defaults.and_then(|defaults| scalar(defaults, when)).is_some_and(is_set);
        let name = wanted.join(".");
        let (is_met, fix) = match how {
            Wanted::Is(value) => (self.is(wanted, value), format!("set {name}: {value}")),
            Wanted::Given => (self.is_given(wanted), format!("give {name}")),
            Wanted::EitherGiven(other) => {
                (self.is_given(wanted) || self.is_given(other), format!("give {name}, or {}", other.join(".")))
            }
            Wanted::Empty => (self.is_empty(wanted), format!("set {name}: \"\"")),
        };
        (is_chosen && !is_met).then(|| (when, format!("{why}, and {name} does not fit"), fix))
    }

    fn too_much(&self, when: Place, factors: [Number; 2], spare: u64, limit: Number) -> Option<Fault> {
        let [first, second] = factors.map(|factor| self.number(factor));
        let (first, second, most) = (first?, second?, self.number(limit)?);
        let needed = first.saturating_mul(second).saturating_add(spare);
        let places = [factors[0].place, factors[1].place, limit.place, when];
        let place = places.into_iter().find(|place| self.own(place).is_some())?;
        let [one, two, most_of] = [factors[0], factors[1], limit].map(|number| number.place.join("."));
        (self.is(when, true) && needed > most).then(|| {
            let reason = format!("{first} ({one}) × {second} ({two}) + {spare} is {needed}, and {most_of} is {most}");
            (place, reason, format!("lower one of the two, or raise {most_of} to \"{needed}\""))
        })
    }

    fn own(&self, place: Place) -> Option<&'t Node> {
        self.values.get(place)
    }

    fn value(&self, place: Place) -> Option<&'t Value> {
        if self.own(place).is_some() { scalar(self.values, place) } else { scalar(self.defaults?, place) }
    }

    /// The value, unless it is empty.
    fn text(&self, place: Place) -> Option<String> {
        self.value(place).filter(|value| **value != Value::Null).map(Value::text).filter(|text| !text.is_empty())
    }

    fn is_given(&self, place: Place) -> bool {
        let node = self.own(place).or_else(|| self.defaults?.get(place));
        let is_list = node.is_some_and(|node| matches!(&node.kind, NodeKind::List(items) if !items.is_empty()));
        is_list || self.text(place).is_some()
    }

    fn is(&self, place: Place, truth: bool) -> bool {
        match self.value(place) {
            Some(Value::Null) | None => !truth,
            Some(value) => *value == Value::Bool(truth),
        }
    }

    /// Whether the file or the chart says that there is nothing.
    fn is_empty(&self, place: Place) -> bool {
        self.text(place).is_none() && (self.own(place).is_some() || self.defaults.is_some())
    }

    /// None where it is no number at all.
    fn number(&self, number: Number) -> Option<u64> {
        self.text(number.place).map_or(Some(number.otherwise), |text| text.trim().parse().ok())
    }
}

/// The texts of each item at a place in which `*` stands for a list; whether the list is there at all.
fn texts_at(node: &Node, place: &[&str], texts: &mut Vec<String>) -> bool {
    match (place, &node.kind) {
        ([], NodeKind::Scalar(scalar)) => texts.push(scalar.value.text()),
        (["*", rest @ ..], NodeKind::List(items)) => {
            for item in items {
                texts_at(item, rest, texts);
            }
            return true;
        }
        ([key, rest @ ..], NodeKind::Map(_)) => {
            return node.child(key).is_some_and(|child| texts_at(child, rest, texts));
        }
        _ => {}
    }
    false
}

/// A place as people write it, the first of a list for `*`.
fn dotted(place: Place) -> String {
    place.join(".").replace(".*", "[0]")
}

fn reserved(tree: &Tree, map: Place, names: &[&str], findings: &mut Vec<LintFinding>) {
    let Some(NodeKind::Map(entries)) = tree.get(map).map(|node| &node.kind) else { return };
    let is_taken = |key: &str| {
        names.iter().any(|name| name.strip_suffix('*').map_or(*name == key, |begin| key.starts_with(begin)))
    };
    for entry in entries.iter().filter(|entry| is_taken(&entry.key)) {
        let path = Path::of(map).join(Segment::Key(entry.key.clone()));
        findings.push(LintFinding {
            reason: format!("{} cannot have a variable of this name: it is set elsewhere", map.join(".")),
            fix: "remove it".into(),
            ..finding("keys-disagree", &entry.key_span, Some(&path))
        });
    }
}

fn scalar(tree: &Tree, place: Place) -> Option<&Value> {
    tree.get(place)?.scalar().map(|scalar| &scalar.value)
}

/// Whether two texts are the same but for the base64 of one, or a port at the end of one.
fn are_same(one: &str, two: &str) -> bool {
    let says = |code: &str, text: &str| STANDARD.decode(code).is_ok_and(|bytes| bytes == text.as_bytes());
    let with_port = |long: &str, short: &str| {
        let port = long.strip_prefix(short).and_then(|rest| rest.strip_prefix(':'));
        port.is_some_and(|port| port.parse::<u16>().is_ok())
    };
    one == two || says(one, two) || says(two, one) || with_port(one, two) || with_port(two, one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::lint::KeyFacts;

    const FACTS: KeyFacts = KeyFacts {
        relations: &[
            Relation::Equal(&["env", "PORT"], &["proxy", "port"]),
            needs(&["rest"], Trigger::Is(true), &["stopped"], Wanted::Is(true), "it is off"),
            needs(&["rest"], Trigger::Is(true), &["job", "up"], Wanted::Is(false), "it is off"),
            needs(&["certs"], Trigger::Is(false), &["secret"], Wanted::Given, "it is needed"),
            needs(&["classes"], Trigger::Is(false), &["class"], Wanted::Empty, "there is none"),
            needs(&["method"], Trigger::Says(&["ldap"]), &["user"], Wanted::EitherGiven(&["env", "U"]), "it asks"),
            Relation::EqualIfGiven(&["api", "host"], &["web", "host"]),
            Relation::Follows {
                given: &["cert"],
                place: &["server", "volumes", "*", "secret", "name"],
                otherwise: "shipped",
            },
            Relation::Reserved { map: &["db", "env"], names: &["PG*", "POD_NAME"] },
            Relation::Room {
                when: &["pool", "up"],
                factors: [
                    Number { place: &["pool", "hosts"], otherwise: 2 },
                    Number { place: &["pool", "size"], otherwise: 150 },
                ],
                spare: 50,
                limit: Number { place: &["most"], otherwise: 350 },
            },
        ],
        ..KeyFacts::NONE
    };

    const fn needs(when: Place, trigger: Trigger, wanted: Place, how: Wanted, why: &'static str) -> Relation {
        Relation::Needs { when: (when, trigger), wants: (wanted, how), why }
    }

    fn said(yaml: &str, defaults: Option<&str>) -> Vec<String> {
        let parse = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let defaults = defaults.map(parse);
        let mut findings = Vec::new();
        let context = Context { defaults: defaults.as_ref(), version: None, facts: &FACTS };
        check(&parse(yaml), &context, &mut findings);
        findings.iter().map(|f| format!("{}:{} {}; {}", f.line, f.column, f.reason, f.fix)).collect()
    }

    #[test]
    fn keys_that_must_be_the_same_are_compared_as_texts() {
        let differs = "this differs from proxy.port, and both must be the same; write here what proxy.port has";
        assert_eq!(said("env: {PORT: \"3443\"}\nproxy: {port: 443}", None), [format!("1:13 {differs}")]);
        assert_eq!(said("env: {PORT: 3443}", Some("proxy: {port: 443}")), [format!("1:13 {differs}")], "the chart's");
        let turned = said("proxy: {port: 443}", Some("env: {PORT: 3443}"));
        assert!(turned[0].starts_with("1:15 this differs from env.PORT"), "{turned:?}");
        for same in ["'3443'", "MzQ0Mw==", "\"3443:8443\"", "''", "~", "{a: b}"] {
            let yaml = format!("env: {{PORT: 3443}}\nproxy: {{port: {same}}}");
            assert_eq!(said(&yaml, None), Vec::<String>::new(), "{yaml}");
        }
        assert_eq!(said("proxy: {port: 443}", None), Vec::<String>::new(), "one alone");
        assert_eq!(
            said("a: 1", Some("env: {PORT: 1}\nproxy: {port: 2}")),
            Vec::<String>::new(),
            "no key of the file's"
        );
        assert_eq!(said("env: {PORT: a}\nproxy: {port: \"a:b\"}", None).len(), 1, "no port");
    }

    #[test]
    fn what_a_switch_needs_must_be_so() {
        let stopped = "1:7 it is off, and stopped does not fit; set stopped: true";
        assert_eq!(said("rest: true", None), [stopped]);
        assert_eq!(said("rest: true\nstopped: false", None), [stopped]);
        assert_eq!(said("rest: true\nstopped: \"true\"", None), [stopped], "a text is no boolean");
        assert_eq!(said("rest: true", Some("stopped: true")), Vec::<String>::new());
        assert_eq!(said("rest: true\nstopped: true\njob: {up: yes}", None).len(), 1);
        assert_eq!(said("rest: true\nstopped: true", Some("job: {up: true}")).len(), 1);
        for yaml in ["rest: false", "rest:", "rest: {a: b}", "stopped: false", "rest: yes\nstopped: yes\njob: {up: no}"]
        {
            assert_eq!(said(yaml, None), Vec::<String>::new(), "{yaml}");
        }
        assert_eq!(said("rest: true", Some("rest: true")), Vec::<String>::new(), "the chart's own choice");
    }

    #[test]
    fn what_must_be_given_or_empty_is_asked_for() {
        for yaml in ["certs: false", "certs: false\nsecret:", "certs: no\nsecret: ''"] {
            assert_eq!(said(yaml, None), ["1:8 it is needed, and secret does not fit; give secret"], "{yaml}");
        }
        assert_eq!(said("certs: false\nsecret: x", None), Vec::<String>::new());
        assert_eq!(said("certs: false", Some("secret: x")), Vec::<String>::new());

        let class = ["1:10 there is none, and class does not fit; set class: \"\""];
        assert_eq!(said("classes: false", None), class, "nobody knows what the chart has");
        assert_eq!(said("classes: false", Some("class: x")), class);
        assert_eq!(said("classes: false\nclass: x", Some("class: ''")), class);
        assert_eq!(said("classes: false", Some("other: x")), Vec::<String>::new());
        assert_eq!(said("classes: false\nclass: ''", Some("class: x")), Vec::<String>::new());
        assert_eq!(said("classes: false\nclass:", None), Vec::<String>::new(), "null takes the chart's away");
    }

    #[test]
    fn a_text_may_need_another_key_or_its_twin() {
        for yaml in ["method: ldap", "method: \"ldap\"\nuser: ''"] {
            assert_eq!(said(yaml, None), ["1:9 it asks, and user does not fit; give user, or env.U"], "{yaml}");
        }
        for yaml in ["method: ldap\nuser: a", "method: ldap\nenv: {U: a}", "method: token", "method:"] {
            assert_eq!(said(yaml, None), Vec::<String>::new(), "{yaml}");
        }
        assert_eq!(said("method: ldap", Some("method: ldap")), Vec::<String>::new(), "the chart's own choice");
    }

    #[test]
    fn what_two_keys_of_the_file_say_is_compared_and_not_the_charts_own() {
        assert_eq!(said("api: {host: a}\nweb: {host: b}", None).len(), 1);
        assert_eq!(said("api: {host: a}\nweb: {host: a}", None).len(), 0);
        assert_eq!(said("api: {host: a}", Some("web: {host: b}")).len(), 0);
    }

    #[test]
    fn an_item_of_a_list_must_follow_a_key() {
        let behind = "1:7 server.volumes[0].secret.name must be the same as this; \
                      set server.volumes[0].secret.name to what stands here";
        let shipped = "server: {volumes: [{secret: {name: shipped}}]}";
        assert_eq!(said("cert: own", None), [behind], "the release has its own");
        assert_eq!(said("cert: own", Some(shipped)), [behind]);
        assert_eq!(said("cert: own\nserver: {volumes: []}", None), [behind]);
        assert_eq!(said("cert: own\nserver: {volumes: [{secret: {name: other}}]}", None), [behind]);
        for yaml in [
            "cert: shipped",
            "cert: ''",
            "cert:",
            "cert: own\nserver: {volumes: [{secret: {name: own}}]}",
            "cert: own\nserver: {volumes: [{name: x}, {secret: {name: own}}]}",
            shipped,
        ] {
            assert_eq!(said(yaml, Some(shipped)), Vec::<String>::new(), "{yaml}");
        }
    }

    #[test]
    fn names_that_are_taken_are_found() {
        let found = said("db: {env: {PGHOST: a, POD_NAME: b, POD_NAMES: c, XPG: d}}", None);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("1:12 db.env cannot have"), "{found:?}");
    }

    #[test]
    fn a_product_and_some_more_must_fit() {
        assert_eq!(said("pool: {up: true}", None), Vec::<String>::new(), "2 × 150 + 50 is 350");
        assert_eq!(
            said("pool: {up: true, hosts: 3}", None),
            ["1:25 3 (pool.hosts) × 150 (pool.size) + 50 is 500, and most is 350; \
              lower one of the two, or raise most to \"500\""]
        );
        assert_eq!(said("pool: {up: true}\nmost: \"349\"", None).len(), 1);
        assert_eq!(said("pool: {up: true, size: '151'}", Some("most: 351")).len(), 1);
        assert_eq!(said("most: 100", Some("pool: {up: true}")).len(), 1, "the chart has it on");
        let vast = "pool: {up: true, hosts: 4000000000000000, size: 9000000000000000}";
        assert_eq!(said(vast, None).len(), 1, "no overflow");
        for yaml in ["pool: {hosts: 9}", "pool: {up: false, hosts: 9}", "pool: {up: true, hosts: many}", "most: 1"] {
            assert_eq!(said(yaml, None), Vec::<String>::new(), "{yaml}");
        }
    }
}
