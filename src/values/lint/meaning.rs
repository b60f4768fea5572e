//! Types that are not what the reader of a value wants: texts for booleans, booleans and numbers for texts.

use std::collections::{HashMap, HashSet};

use super::contents::{Contents, SingleValue};
use super::finding::{LintFinding, at_secrets, finding};
use super::key_tree::Context;
use super::written::names_version;
use crate::yaml::{Node, NodeKind, Path, Scalar, Segment, Style, Tree, Value};

/// Last words of maps whose values Kubernetes or PostgreSQL's operator want as texts.
const TEXT_MAPS: &[&str] = &["annotations", "labels", "nodeSelector", "matchLabels", "parameters"];
/// Lists whose items Kubernetes wants as texts.
const TEXT_LISTS: &[&str] = &["args", "command"];
/// Numbers that Kubernetes takes as numbers only, however large: quotes would do harm.
const NUMBERS: &[&str] = &["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "nodePort"];
/// Last words of keys of ids, which may look like a number with an exponent: `12345e7`.
const IDS: &[&str] = &["id", "ids", "commit", "revision", "sha", "hash", "ref", "build", "digest"];
/// Last words of keys of quantities.
const QUANTITIES: &[&str] = &["size", "memory", "cpu", "storage", "capacity"];
/// Last words of keys that are switches in any chart.
const SWITCHES: &[&str] = &["enabled", "disabled"];
/// What people write for true and false, in this language and in others.
const TRUE: &[&str] = &[
    "true",
    "yes",
    "on",
    "y",
    "1",
    "enabled",
    "enable",
    "active",
    "wahr",
    "ja",
    "ein",
    "vrai",
    "oui",
    "si",
    "sí",
    "sim",
    "verdadero",
    "vero",
];
const FALSE: &[&str] = &[
    "false", "no", "off", "n", "0", "disabled", "disable", "inactive", "never", "falsch", "nein", "aus", "faux", "non",
    "falso", "não", "nao",
];
/// Last words of keys whose values are codes, of which some are words for a boolean (Norway, Ontario).
const CODES: &[&str] = &["country", "region", "locale", "lang", "language", "province", "state", "code", "answer"];

/// Looks at every value; no secret is quoted.
pub(super) fn check(contents: &Contents<'_>, context: &Context<'_>, findings: &mut Vec<LintFinding>) {
    let tree = contents.tree;
    let told: HashSet<Path> = at_secrets(findings).cloned().collect();
    let defaults = context.defaults.map(defaults_of).unwrap_or_default();
    for SingleValue { path, node, scalar, is_secret } in &contents.values {
        let facts = context.facts;
        let default = defaults.get(path).copied();
        let spot = Spot { path, default, switches: facts.switches, texts: facts.texts, scalar };
        let raw = tree.raw(node).trim();
        let boolean = || spot.boolean_as_text(raw).filter(|_| !told.contains(path));
        // A word for a boolean is no secret that must not be quoted.
        let plain = || match *is_secret {
            true => boolean(),
            false => boolean().or_else(|| spot.number_as_exponent(raw)).or_else(|| spot.not_a_text(tree)),
        };
        if let Some((id, reason, fix)) = spot.text_as_boolean().or_else(plain) {
            findings.push(LintFinding { reason, fix, ..finding(id, &node.span, Some(path)) });
        }
    }
    let mut nested = Vec::new();
    nested_values(tree.root(), &mut Path::root(), &mut nested);
    findings.extend(nested.into_iter().filter(|finding| !finding.path.as_ref().is_some_and(|at| told.contains(at))));
}

/// Maps and lists as the value of a variable in a list.
fn nested_values(node: &Node, path: &mut Path, findings: &mut Vec<LintFinding>) {
    match &node.kind {
        NodeKind::Scalar(_) => {}
        NodeKind::Map(entries) => {
            for entry in entries {
                path.0.push(Segment::Key(entry.key.clone()));
                nested_values(&entry.value, path, findings);
                path.0.pop();
            }
        }
        NodeKind::List(items) => {
            let is_environment = matches!(path.0.last(), Some(Segment::Key(list)) if is_environment(list));
            for (place, item) in items.iter().enumerate() {
                path.0.push(Segment::Index(place));
                let value = item.child("value").filter(|_| is_environment && item.child("name").is_some());
                match value.filter(|value| value.scalar().is_none()) {
                    Some(value) => {
                        let kind = if matches!(value.kind, NodeKind::Map(_)) { "map" } else { "list" };
                        findings.push(LintFinding {
                            reason: refused(kind),
                            fix: "put it in quotes, or name where the value is with `valueFrom`".into(),
                            ..finding("not-a-text", &value.span, Some(&path.join(Segment::Key("value".into()))))
                        });
                    }
                    None => nested_values(item, path, findings),
                }
                path.0.pop();
            }
        }
    }
}

fn refused(kind: &str) -> String {
    format!("a {kind} where Kubernetes takes nothing but texts: the deployment would be refused")
}

/// The chart's own values by their paths. Places in lists mean nothing in another file.
fn defaults_of(defaults: &Tree) -> HashMap<Path, &Value> {
    let leaves = defaults.leaves().into_iter().filter(|(path, _)| path.keys().count() == path.0.len());
    leaves.filter_map(|(path, node)| Some((path, &node.scalar()?.value))).collect()
}

/// A lint's id, the reason and the fix.
type Fault = (&'static str, String, String);

/// A value and where it stands.
struct Spot<'a> {
    path: &'a Path,
    /// What the chart has there.
    default: Option<&'a Value>,
    switches: &'a [&'a str],
    texts: &'a [&'a str],
    scalar: &'a Scalar,
}

impl Spot<'_> {
    fn text_as_boolean(&self) -> Option<Fault> {
        let Value::String(text) = &self.scalar.value else { return None };
        let word = text.trim().to_lowercase();
        // `-` is how some charts say that another switch decides.
        if !word.contains(char::is_alphanumeric) || !self.is_switch() {
            return None;
        }
        let fix = match (TRUE.contains(&word.as_str()), FALSE.contains(&word.as_str())) {
            (true, _) => "write true, without quotes",
            (_, true) => "write false, without quotes",
            _ => "write true or false, without quotes",
        };
        let reason = "a text where a boolean is meant: in a template every text is true, this one too";
        Some(("text-as-boolean", reason.to_owned(), fix.to_owned()))
    }

    fn boolean_as_text(&self, raw: &str) -> Option<Fault> {
        let is_word = matches!(self.scalar.value, Value::Bool(_))
            && self.scalar.style == Style::Plain
            && !self.scalar.tagged
            && !["true", "false"].contains(&raw.to_ascii_lowercase().as_str());
        if !is_word || self.is_switch() {
            return None;
        }
        let is_code = raw.len() == 1 || !raw.contains(char::is_lowercase) || self.is_item();
        let is_named = || CODES.iter().any(|word| self.ends_in(word)) || self.texts.contains(&self.key());
        let is_meant = match self.default {
            Some(Value::String(_)) => true,
            Some(Value::Null) | None => is_named(),
            Some(_) => CODES.iter().any(|word| self.ends_in(word)),
        };
        (is_code || is_meant || self.is_variable()).then(|| {
            let reason = format!("Helm reads `{raw}` as the boolean {}", self.scalar.value.text());
            ("boolean-as-text", reason, format!("put it in quotes if it is a text: \"{raw}\""))
        })
    }

    fn number_as_exponent(&self, raw: &str) -> Option<Fault> {
        let (number, is_odd) = match self.scalar.value {
            // What is larger is rounded, and said to be.
            Value::Int(number) => (number as f64, number.unsigned_abs() > 1 << 53),
            Value::Float(number) if raw.contains(['e', 'E']) => return self.rewritten(raw, number),
            Value::Float(number) => (number, false),
            _ => return None,
        };
        let is_far = |number: f64| number.abs() >= 1e6 || (number != 0.0 && number.abs() < 1e-4);
        let is_printed_so = is_far(number) && !is_odd && self.scalar.style == Style::Plain;
        // Where the chart itself has such a number, its templates know how to print it.
        let is_known = self.default.and_then(Value::as_float).is_some_and(is_far);
        let digits = raw.trim_start_matches(['+', '-']);
        let is_decimal = raw.bytes().all(|byte| byte.is_ascii_digit() || b"+-_.".contains(&byte))
            && (!digits.starts_with('0') || digits.starts_with("0."));
        (is_printed_so && !is_known && is_decimal && !NUMBERS.contains(&self.key())).then(|| {
            let reason = format!("a template that prints this number writes {}", in_go(number));
            ("number-as-exponent", reason, format!("put it in quotes, unless the chart counts with it: \"{raw}\""))
        })
    }

    /// A number with an exponent that is printed as another text: a commit's `12345e7` as `1.2345e+11`. Whoever means a
    /// number writes one digit before the point.
    fn rewritten(&self, raw: &str, number: f64) -> Option<Fault> {
        let (mantissa, exponent) = raw.split_once(['e', 'E'])?;
        let digits = mantissa.trim_start_matches(['+', '-']);
        let is_decimal =
            [digits, exponent].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b)));
        let is_plain = self.scalar.style == Style::Plain && !self.scalar.tagged && is_decimal && number.is_finite();
        let whole = digits.split('.').next().unwrap_or_default();
        let is_usual = whole.len() == 1 && (whole != "0" || digits.contains('.'));
        let is_id = self.is_variable() || IDS.iter().any(|word| self.ends_in(word));
        // Of many digits another lint tells, and of versions.
        let is_told =
            (!raw.contains('.') && raw.bytes().filter(u8::is_ascii_digit).count() > 6) || names_version(self.key());
        let is_number = self.default.and_then(Value::as_float).is_some() || self.is_quantity();
        let printed = in_template(number);
        (is_plain && !is_told && !is_number && printed != raw && (is_id || !is_usual)).then(|| {
            let reason = format!("a template that prints this number writes {printed}");
            ("number-as-exponent", reason, format!("put it in quotes, unless a number is meant: \"{raw}\""))
        })
    }

    /// Whether Kubernetes reads it as a quantity, in which an exponent is as good as a zero.
    fn is_quantity(&self) -> bool {
        let above = self.path.keys().rev().nth(1).unwrap_or_default();
        ["requests", "limits"].contains(&above) || QUANTITIES.iter().any(|word| self.ends_in(word))
    }

    fn not_a_text(&self, tree: &Tree) -> Option<Fault> {
        let is_text = |value: &Value| matches!(value, Value::String(_) | Value::Null);
        // Where the chart itself has another type, its templates make a text of it.
        if is_text(&self.scalar.value) || self.default.is_some_and(|default| !is_text(default)) {
            return None;
        }
        (self.is_in_text_map() || self.is_in_text_list() || self.is_value_of_item(tree)).then(|| {
            let kind = self.scalar.value.type_name();
            ("not-a-text", refused(kind), "put it in quotes".to_owned())
        })
    }

    /// The last key on the way.
    fn key(&self) -> &str {
        self.path.keys().next_back().unwrap_or_default()
    }

    fn is_item(&self) -> bool {
        matches!(self.path.0.last(), Some(Segment::Index(_)))
    }

    fn ends_in(&self, word: &str) -> bool {
        ends_in(self.key(), word)
    }

    fn is_switch(&self) -> bool {
        match self.default {
            Some(Value::Null) | None => {
                let is_named = SWITCHES.iter().any(|word| self.ends_in(word)) || self.switches.contains(&self.key());
                is_named && !self.is_item() && !self.is_in_text_map() && !self.is_variable()
            }
            Some(default) => matches!(default, Value::Bool(_)),
        }
    }

    /// Whether the key is written as variables of the environment are.
    fn is_variable(&self) -> bool {
        self.key().len() > 1 && !self.key().contains(char::is_lowercase)
    }

    fn is_in_text_map(&self) -> bool {
        let [.., Segment::Key(map), Segment::Key(_)] = self.path.0.as_slice() else { return false };
        TEXT_MAPS.iter().any(|word| ends_in(map, word))
    }

    /// `args: [...]`, and `values: [...]` of an expression that chooses nodes or pods.
    fn is_in_text_list(&self) -> bool {
        match self.path.0.as_slice() {
            [.., Segment::Key(list), Segment::Index(_), Segment::Key(values), Segment::Index(_)] => {
                list == "matchExpressions" && values == "values"
            }
            [.., Segment::Key(list), Segment::Index(_)] => TEXT_LISTS.contains(&list.as_str()),
            _ => false,
        }
    }

    /// Whether this is the `value` of a variable, which has its name beside it, or of a toleration.
    fn is_value_of_item(&self, tree: &Tree) -> bool {
        let [above @ .., Segment::Key(key)] = self.path.0.as_slice() else { return false };
        let [.., Segment::Key(list), Segment::Index(_)] = above else { return false };
        if key != "value" {
            return false;
        }
        ends_in(list, "tolerations")
            || (is_environment(list) && node_at(tree, above).is_some_and(|item| item.child("name").is_some()))
    }
}

/// `env`, `extraEnv`, `extraEnvVars`, `environment`.
fn is_environment(list: &str) -> bool {
    ["env", "envs", "envVars", "env_vars", "environment", "variables"].iter().any(|word| ends_in(list, word))
}

/// Whether a key is this word, or ends in it as a word of its own: `podLabels`, `pod_labels`.
fn ends_in(key: &str, word: &str) -> bool {
    let Some(at) = key.len().checked_sub(word.len()).filter(|at| key.is_char_boundary(*at)) else { return false };
    let (before, last) = key.split_at(at);
    let begins = last.starts_with(char::is_uppercase) || before.chars().next_back().is_none_or(|c| !c.is_lowercase());
    begins && last.eq_ignore_ascii_case(word)
}

fn node_at<'t>(tree: &'t Tree, steps: &[Segment]) -> Option<&'t Node> {
    steps.iter().try_fold(tree.root(), |node, step| match (step, &node.kind) {
        (Segment::Key(key), _) => node.child(key),
        (Segment::Index(place), NodeKind::List(items)) => items.get(*place).map(|item| &**item),
        _ => None,
    })
}

/// As Go prints a number in a template.
fn in_template(number: f64) -> String {
    let is_far = number.abs() >= 1e6 || (number != 0.0 && number.abs() < 1e-4);
    if is_far { in_go(number) } else { number.to_string() }
}

/// As Go prints a float of this size: `2.026082e+07`, `5e-05`.
fn in_go(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::lint::KeyFacts;

    const FACTS: KeyFacts = KeyFacts { switches: &["stopped"], texts: &["method"], ..KeyFacts::NONE };
    const DEFAULTS: &str = "\
tls: {'on': false, mode: off-line, automountServiceAccountToken: true}
limit: 5000000
small: 1
ok: x
auto: {enabled: '-'}
labels: {replica: 1}
list: [true]
";

    fn said_by(yaml: &str, defaults: Option<&str>) -> Vec<String> {
        let parse = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let defaults = defaults.map(parse);
        let mut findings = Vec::new();
        let context = Context { defaults: defaults.as_ref(), version: None, facts: &FACTS };
        check(&Contents::of(&parse(yaml)), &context, &mut findings);
        findings.iter().map(|f| format!("{}:{} {}", f.line, f.column, f.id)).collect()
    }

    fn said(yaml: &str) -> Vec<String> {
        said_by(yaml, Some(DEFAULTS))
    }

    #[test]
    fn a_text_where_a_boolean_is_meant_is_found() {
        for (yaml, place) in [
            ("stopped: \"false\"", "1:10"),
            ("stopped: 'No'", "1:10"),
            ("stopped: |-\n  off", "2:3"),
            ("stopped: !!str false", "1:16"),
            ("ldap: {enabled: 'no'}", "1:17"),
            ("ldap: {tls_enabled: '0'}", "1:21"),
            ("ldap: {isEnabled: \"true\"}", "1:19"),
            ("tls: {\"on\": \"off\"}", "1:13"),
            ("tls: {\"on\": \"FALSE \"}", "1:13"),
            ("tls: {automountServiceAccountToken: \"false\"}", "1:37"),
            ("a: [{enabled: \"false\"}]", "1:15"),
            ("stopped: disabled", "1:10"),
            ("stopped: Falsch", "1:10"),
            ("ldap: {enabled: ja}", "1:17"),
            ("stopped: flase", "1:10"),
            ("stopped: 'null'", "1:10"),
            ("ldap: {enabled: nope}", "1:17"),
        ] {
            assert_eq!(said(yaml), [format!("{place} text-as-boolean")], "{yaml}");
        }
    }

    #[test]
    fn a_word_that_helm_reads_as_a_boolean_is_found() {
        for (yaml, place) in [
            ("country: NO", "1:10"),
            ("country: no", "1:10"),
            ("billingCountry: no", "1:17"),
            ("feature: NO", "1:10"),
            ("sites: {ON: {code: on}}", "1:20"),
            ("countries: [SE, NO]", "1:17"),
            ("countries:\n- se\n- no", "3:3"),
            ("env: {COUNTRY: no}", "1:16"),
            ("tls: {mode: off}", "1:13"),
            ("ok: N", "1:5"),
            ("axis: y", "1:7"),
            ("backup: {method: no}", "1:18"),
            ("env: {LICENSE: NO}", "1:16"),
            ("env: {ALLOW_EMPTY_PASSWORD: yes}", "1:29"),
        ] {
            assert_eq!(said(yaml), [format!("{place} boolean-as-text")], "{yaml}");
        }
    }

    #[test]
    fn a_number_that_a_template_prints_with_an_exponent_is_found() {
        for (yaml, place) in [
            ("image: {tag: 20260820}", "1:14"),
            ("env: {ACCOUNT_ID: 123456789012}", "1:19"),
            ("env: {OFFSET: -1000000}", "1:15"),
            ("phone: +61255501234", "1:8"),
            ("ids: [1000000]", "1:7"),
            ("small: 1_000_000", "1:8"),
            ("ratio: 12345678.0", "1:8"),
            ("ratio: 12345678.5", "1:8"),
            ("seq_page_cost: 0.00001", "1:16"),
            ("cost: -0.00005", "1:7"),
            ("api: {env: [{name: A, value: 20260820}]}", "1:30"),
            ("env: {GIT_COMMIT: 12345e7}", "1:19"),
            ("env: {GIT_COMMIT: 123e5}", "1:19"),
            ("env: {GIT_COMMIT: 1e5}", "1:19"),
            ("env: {GIT_COMMIT: 1e10}", "1:19"),
            ("commit: 7e9", "1:9"),
            ("build: {gitSha: 00e12}", "1:17"),
            ("note: 1234e5", "1:7"),
        ] {
            assert_eq!(said(yaml), [format!("{place} number-as-exponent")], "{yaml}");
        }
        // As helm 3.20 and 4.1 printed them.
        let printed = [20_260_820.0, 1_000_000.0, -12_345_678.0, 123_456_789_012.0, 0.00005].map(in_go);
        assert_eq!(printed, ["2.026082e+07", "1e+06", "-1.2345678e+07", "1.23456789012e+11", "5e-05"]);
    }

    #[test]
    fn a_number_or_boolean_where_kubernetes_takes_texts_is_found() {
        for (yaml, place) in [
            ("api: {env: [{name: A, value: 8}]}", "1:30"),
            ("api: {extraEnvVars: [{name: A, value: true}]}", "1:39"),
            ("api: {env: [{value: 0.5, name: A}]}", "1:21"),
            ("api: {env: [{name: A, value: no}]}", "1:30"),
            ("a: {annotations: {x: true}}", "1:22"),
            ("podLabels: {x: 1}", "1:16"),
            ("nodeSelector: {gpu: true}", "1:21"),
            ("db: {cnpg: {postgresql: {parameters: {max_connections: 350}}}}", "1:56"),
            ("args: [--port, 8080]", "1:16"),
            ("tolerations: [{key: a, operator: Equal, value: true}]", "1:48"),
            ("a: {matchExpressions: [{key: a, operator: In, values: [1]}]}", "1:56"),
            ("api: {env: [{name: A, value: [1]}]}", "1:30"),
            ("api: {env: [{name: A, value: {}}]}", "1:30"),
        ] {
            assert_eq!(said(yaml), [format!("{place} not-a-text")], "{yaml}");
        }
    }

    #[test]
    fn what_is_meant_is_left_alone() {
        for yaml in [
            "stopped: false\nldap: {enabled: no}\ntls: {\"on\": yes}",
            "ldap: {enabled: NO}\nstopped: OFF\na: True",
            "annotations: {a/enabled: \"true\"}\nenv: {X_ENABLED: \"false\"}",
            "auto: {enabled: \"false\"}\nstopped: ''",
            "limit: 8000000\nport: 3443\nsize: 999999\nratio: 0.5\nid: \"20260820\"\nr: 0.0001\nz: 0.0\ne: 1e-9",
            "env: {OPSCHAIN_INGRESS_TLS_PORT: 3443}\nitems: [{name: a, value: 8}]",
            "securityContext: {runAsUser: 1000620000, supplementalGroups: [1000620000]}",
            "sticky: yes\nok: \"no\"\nlabels: {replica: 2}\ngolang: yes",
            "parameters: [{name: a, value: 8}]\ninventory: [{name: a, value: 8}]",
            "env: [{name: A, value:}, {name: B, value: \"8\"}]\nannotations: {a: null}",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: x}}}]\nitems: [{name: a, value: [1]}]",
            "storage: {size: 12e9}\nlimits: {x: 10e9}\nratio: 0.5e3\nlimit: 12e5\ncommit: '7e9'\nid: 1e+10",
        ] {
            assert_eq!(said(yaml), Vec::<String>::new(), "{yaml}");
        }
        assert_eq!(said_by("auto: {enabled: \"false\"}", None), ["1:17 text-as-boolean"], "without the chart");
    }

    #[test]
    fn no_secret_is_quoted() {
        let yaml = "env: [{name: PGPASSWORD, value: 73915028}]\nstore: {password: 73915028}\n";
        assert_eq!(said(yaml), Vec::<String>::new());
    }
}
