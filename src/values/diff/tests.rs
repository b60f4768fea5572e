//! What a diff says, case by case; complaints about other tools are named by their number.

use super::*;
use crate::values::{FingerprintKey, Scrubber, Tree};

fn compare(old: &str, new: &str) -> Diff {
    let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[1; 32]));
    diff(&Tree::parse(old.as_bytes()).unwrap(), &Tree::parse(new.as_bytes()).unwrap(), &scrubber)
}

fn lines(diff: &Diff) -> Vec<String> {
    diff.changes.iter().map(|change| format!("{:?} {}", change.what, change.path)).collect()
}

#[test]
fn key_order_comments_and_quotes_are_layout() {
    assert_eq!(compare("a: 1\nb: x\n", "# new\nb: \"x\"\na: 0x1\n").class, Class::Layout);
    assert_eq!(compare("a: 1\n", "a: 1\n").class, Class::Same);
}

#[test]
fn changes_are_named_by_path_with_their_types() {
    let found = compare("a: 1\nb: {c: x, d: y}\ne: [1, 2]\n", "a: '1'\nb: {c: z}\ne: [1, 3, 4]\nf: {}\n");
    assert_eq!(lines(&found), ["Retyped a", "Changed b.c", "Removed b.d", "Changed e[1]", "Added e[2]", "Added f"]);
    assert_eq!(found.summary(), "2 changed, 1 changed in type, 2 added, 1 removed");
}

#[test]
fn list_items_are_matched_by_a_unique_name_only() {
    let old = "l:\n- {name: a, v: 1}\n- {name: b, v: 2}\n";
    let found = compare(old, "l:\n- {name: b, v: 3}\n- {name: a, v: 1}\n- {name: c}\n");
    assert_eq!(lines(&found), ["Changed l[name=b].v", "Added l[name=c].name", "Reordered l"]);
    // Two items by one name: by place.
    let found = compare("l:\n- {name: a, v: 1}\n- {name: a, v: 2}\n", "l:\n- {name: a, v: 1}\n- {name: a, v: 3}\n");
    assert_eq!(lines(&found), ["Changed l[1].v"]);
}

#[test]
fn a_file_never_differs_from_itself_and_an_inserted_item_is_one_addition() {
    let odd = "l: [{name: a}, {name: a}, 1, [x]]\nm: &m {k: .5}\nn: *m\n";
    assert_eq!(compare(odd, odd).class, Class::Same);
    assert_eq!(lines(&compare("l: [a, b, c]\n", "l: [a, x, b, c]\n")), ["Added l[1]"]);
}

#[test]
fn secrets_are_masked_on_both_sides_and_tell_same_from_changed() {
    let found = compare("env: {PGPASSWORD: hunter22, TZ: UTC}\n", "env: {PGPASSWORD: 12345678, TZ: CET}\n");
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("hunter22") && !json.contains("12345678"), "{json}");
    assert_eq!(found.changes[0].what, What::Retyped);
    let mask = |shown: &Option<ShownValue>| shown.as_ref().unwrap().masked.clone().unwrap();
    assert_ne!(mask(&found.changes[0].old), mask(&found.changes[0].new));
    // Blanked is shown as blank.
    let found = compare("env: {PGPASSWORD: hunter22}\n", "env: {PGPASSWORD: \"\"}\n");
    assert_eq!(found.changes[0].new.as_ref().unwrap().value, Some("".into()));
}

#[test]
fn the_unified_text_has_no_secret_and_shows_that_one_changed() {
    let old = Tree::parse(b"env:\n  PGPASSWORD: abc\n  TZ: UTC\n# old note\n").unwrap();
    let new = Tree::parse(b"env:\n  PGPASSWORD: xyz\n  TZ: UTC\n# new note\n").unwrap();
    let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[1; 32]));
    let text = unified(&old, &new, &scrubber, ("a", "b"), false);
    assert!(text.starts_with("--- a\n+++ b\n") && text.contains("+# new note"), "{text}");
    assert!(!text.contains("abc") && !text.contains("xyz"), "{text}");
    assert_eq!(text.matches("PGPASSWORD").count(), 2);
    assert_eq!(unified(&old, &old, &scrubber, ("a", "b"), false), "");
}

#[test]
fn a_map_that_became_text_is_said_whole() {
    let found = compare("a: {b: 1, c: 2}\n", "a: x\n");
    assert_eq!(lines(&found), ["Retyped a", "Removed a.b", "Removed a.c"]);
}

fn with(old: &str, new: &str, options: &Options) -> Diff {
    let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[1; 32]));
    diff_with(&Tree::parse(old.as_bytes()).unwrap(), &Tree::parse(new.as_bytes()).unwrap(), &scrubber, options)
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// helm-diff 254, 257, 310, 348, 433, 572; helmwave 515; difftastic 723: noise of order, margin and style.
#[test]
fn order_of_keys_margins_and_styles_are_no_change_however_often_it_is_asked() {
    let old = "a:\n  b: [x, z]\n  c: 'text'\nd: {e: yes, f: 017}\n";
    let new = "d:\n    f: 15\n    e: true\na:\n    c: \"text\"\n    b:\n    - x\n    - \"z\"\n";
    let found = with(old, new, &Options { layout: true, ..Options::default() });
    assert_eq!(found.class, Class::Layout);
    let layout = found.layout.unwrap();
    assert_eq!((layout.reordered, layout.rewritten), (3, 4), "{}", layout.words());
    for _ in 0..20 {
        assert_eq!(compare(old, new), compare(old, new));
    }
}

/// dyff 108: a list in another order is no heap of additions and removals.
#[test]
fn a_reordered_list_is_said_to_be_that_and_ignored_when_asked() {
    for (old, new) in [
        ("l: [a, b, c]\n", "l: [c, a, b]\n"),
        ("l: [{name: a, v: 1}, {name: b, v: 2}]\n", "l: [{name: b, v: 2}, {name: a, v: 1}]\n"),
    ] {
        assert_eq!(lines(&compare(old, new)), ["Reordered l"]);
        let ignoring = Options { ignore_order: true, ..Options::default() };
        assert_eq!(with(old, new, &ignoring).class, Class::Layout);
    }
    // As multisets: what is left over came or went, in lists within lists too.
    let ignoring = Options { ignore_order: true, ..Options::default() };
    let found = with("l: [a, b, b, [x, y]]\n", "l: [[y, x], b, c, d, a]\n", &ignoring);
    assert_eq!(lines(&found), ["Added l[2]", "Added l[3]", "Removed l[2]"]);
    assert_eq!(lines(&with("l: [a, {x: 1}]\n", "l: [{x: 2}, a]\n", &ignoring)), ["Changed l[0].x"]);
}

/// dyff 514: a file differed from itself when two items had one name.
#[test]
fn a_file_with_double_names_never_differs_from_itself() {
    let odd = "l: [{name: a, v: 1}, {name: a, v: 2}, {name: b}]\nm: [{id: 1}, {id: '1'}]\n";
    for ignore_order in [false, true] {
        let options = Options { ignore_order, identifiers: vec!["v".into()], ..Options::default() };
        assert_eq!(with(odd, odd, &options).class, Class::Same);
    }
}

/// diffyml 81: items with one name were taken for each other.
#[test]
fn items_are_never_matched_by_a_name_that_two_of_them_have() {
    let old = "l: [{name: a, v: 1}, {name: a, v: 2}, {name: c, v: 3}]\n";
    let new = "l: [{name: a, v: 1}, {name: c, v: 3}]\n";
    assert_eq!(lines(&compare(old, new)), ["Removed l[1].name", "Removed l[1].v"]);
    // Nor when it is unique on one side only.
    let found = compare(new, old);
    assert_eq!(lines(&found), ["Added l[1].name", "Added l[1].v"]);
}

#[test]
fn other_keys_identify_items_when_they_are_named_and_unique() {
    let old = "l: [{name: x, host: a, p: 1}, {name: x, host: b, p: 2}]\n";
    let new = "l: [{name: x, host: b, p: 2}, {name: x, host: a, p: 9}]\n";
    let by = |key: &str| Options { identifiers: vec![key.into()], ..Options::default() };
    assert_eq!(lines(&with(old, new, &by("host"))), ["Changed l[host=a].p", "Reordered l"]);
    let old = "l: [{m: {q: a}, p: 1}, {m: {q: b}, p: 2}]\n";
    let new = "l: [{m: {q: b}, p: 2}, {m: {q: a}, p: 9}]\n";
    assert_eq!(lines(&with(old, new, &by("m.q"))), ["Changed l[\"m.q\"=a].p", "Reordered l"]);
    // A key that does not identify is passed over.
    assert_eq!(lines(&with("l: [{name: x, z: 1}]\n", "l: [{name: x, z: 2}]\n", &by("q"))), ["Changed l[name=x].z"]);
}

/// dyff 534: a field of list items could not be excluded, and made the items differ.
#[test]
fn what_is_excluded_in_items_does_not_keep_them_from_being_the_same() {
    let old = "l: [{p: one, at: 1}, {p: two, at: 1}, {p: three, at: 1}]\nx: 1\n";
    let new = "l: [{p: one, at: 2}, {p: new, at: 2}, {p: two, at: 2}, {p: three, at: 2}]\nx: 1\n";
    for pattern in ["l.at", "l[*].at", "/l/*/at", "/\\.?at$/", "**.at"] {
        let found = with(old, new, &Options { exclude: patterns(&[pattern]), ..Options::default() });
        // The new item is one addition, not a shift of all that follow.
        assert_eq!(lines(&found), ["Added l[1].p"], "{pattern}");
        assert_eq!(found.passed.ignored.len(), 4, "{pattern}: {:?}", found.passed.ignored);
    }
    let found = with(old, new, &Options { exclude: patterns(&["l"]), ..Options::default() });
    assert_eq!((found.class, found.passed.ignored.len()), (Class::Ignored, 1));
    // By identity, whatever the path calls the item.
    let found = with(
        "l: [{name: a, v: 1}, {name: b, v: 1}]\n",
        "l: [{name: a, v: 2}, {name: b, v: 2}]\n",
        &Options { exclude: patterns(&["l[name=a]"]), ..Options::default() },
    );
    assert_eq!(lines(&found), ["Changed l[name=b].v"]);
}

/// dyff 361: differences that are accepted, with the reason; dyff 316.
#[test]
fn a_rule_ignores_with_its_reason_and_only_where_something_differs() {
    let text = "[[ignore]]\npath = \"env.TZ\"\nreason = \"sites differ\"\n[[ignore]]\npath = \"b\"\nreason = \"c\"\n";
    let rules = Rules::parse(text, jiff::civil::date(2026, 11, 23)).unwrap().active;
    let options = Options { rules, ..Options::default() };
    let found = with("env: {TZ: UTC, A: 1}\nb: 1\n", "env: {TZ: CET, A: 2}\nb: 1\n", &options);
    assert_eq!(lines(&found), ["Changed env.A"]);
    assert_eq!(found.passed.ignored.len(), 1);
    assert_eq!(found.passed.ignored[0].reason.as_deref(), Some("sites differ"));
    let found = with("env: {TZ: UTC}\n", "env: {TZ: CET}\n", &options);
    assert_eq!((found.class, found.summary().as_str()), (Class::Ignored, "nothing but what is ignored"));
}

/// dyff 298: only what came, or only what went.
#[test]
fn kinds_and_places_can_be_picked_and_the_rest_is_counted() {
    let (old, new) = ("a: 1\nb: {c: 1, d: 2}\n", "a: 2\nb: {c: 1, e: 3}\n");
    let only = |only| Options { only: vec![only], ..Options::default() };
    assert_eq!(lines(&with(old, new, &only(Only::Added))), ["Added b.e"]);
    assert_eq!(lines(&with(old, new, &only(Only::Removed))), ["Removed b.d"]);
    let found = with(old, new, &only(Only::Changed));
    assert_eq!((lines(&found), found.passed.filtered), (vec!["Changed a".to_owned()], 2));
    let found = with(old, new, &Options { filter: patterns(&["b", "nothing"]), ..Options::default() });
    assert_eq!((lines(&found), found.passed.filtered), (vec!["Added b.e".to_owned(), "Removed b.d".to_owned()], 1));
    let found = with(old, new, &Options { filter: patterns(&["c"]), ..Options::default() });
    assert_eq!((found.class, found.passed.filtered), (Class::Ignored, 3));
}

#[test]
fn a_default_comparison_leaves_nothing_out() {
    let options = Options::default();
    assert!(options.exclude.is_empty() && options.filter.is_empty() && options.only.is_empty());
    assert!(options.rules.is_empty() && !options.ignore_order && !options.reveal);
}

#[test]
fn a_key_that_came_with_the_value_that_went_is_renamed_and_both_halves_stay() {
    let found = compare(
        "env: {LDAP_HOST: ldap.example.test, N: 1}\ndb: {pool: {size: 20, mode: transaction}}\n",
        "env: {OPSCHAIN_LDAP_HOST: ldap.example.test, M: 1}\npooler: {size: 20, mode: transaction}\ndb: {}\n",
    );
    let renamed: Vec<String> =
        found.renamed.iter().map(|r| format!("{} from {} ({})", r.to, r.from, r.values)).collect();
    assert_eq!(renamed, ["env.OPSCHAIN_LDAP_HOST from env.LDAP_HOST (1)", "pooler from db.pool (2)"],);
    // Guards look for what went away: it is told as that, too.
    assert!(lines(&found).contains(&"Removed env.LDAP_HOST".to_owned()));
    let pooled = found.changes.iter().find(|change| change.path.to_string() == "pooler.mode").unwrap();
    assert_eq!(pooled.renamed_from.as_ref().unwrap().to_string(), "db.pool.mode");
    assert_eq!(found.summary(), "1 added, 1 removed, 2 renamed");
}

#[test]
fn nothing_is_called_renamed_by_chance() {
    for (old, new) in [
        ("a: true\n", "b: true\n"),
        ("a: 1\n", "b: 1\n"),
        ("a: ''\n", "b: ''\n"),
        ("a: {x: true, y: 1}\n", "b: {x: true, y: 1}\n"),
        ("volume: {size: 64Mi}\n", "api: {memory: 64Mi}\n"),
        // The value stands elsewhere as well, or went twice, or came twice.
        ("a: long value\nc: long value\n", "b: long value\nc: long value\n"),
        ("a: long value\nc: long value\n", "b: long value\n"),
        ("a: long value\n", "b: long value\nc: long value\n"),
    ] {
        assert!(compare(old, new).renamed.is_empty(), "{old} {new}");
    }
}

#[test]
fn a_short_value_is_known_again_beside_its_old_place_or_under_its_old_key() {
    for (old, new) in [("v: {size: 64Mi}\n", "v: {capacity: 64Mi}\n"), ("v: {size: 64Mi}\n", "w: {size: 64Mi, x: 1}\n")]
    {
        assert_eq!(compare(old, new).renamed.len(), 1, "{new}");
    }
}

#[test]
fn an_item_that_is_the_same_but_for_its_name_is_renamed() {
    let found = compare(
        "l: [{name: a, url: 'https://a.example.test'}, {name: z, v: 1}]\n",
        "l: [{name: b, url: 'https://a.example.test'}, {name: y, v: 1}]\n",
    );
    let renamed: Vec<String> = found.renamed.iter().map(|r| format!("{} from {}", r.to, r.from)).collect();
    assert_eq!(renamed, ["l[name=b] from l[name=a]"]);
    assert_eq!(found.summary(), "2 added, 2 removed, 1 renamed");
}

fn inside(found: &Diff) -> &Inside {
    found.changes[0].inside.as_ref().unwrap()
}

fn shown_lines(inside: &Inside) -> Vec<String> {
    let Inside::Lines { hunks } = inside else { panic!("{inside:?}") };
    hunks.iter().flat_map(|hunk| &hunk.lines).map(|line| format!("{}{}", line.sign.char(), line.text)).collect()
}

#[test]
fn a_text_of_several_lines_is_shown_by_line_with_context() {
    let old: String = (1..30).map(|n| format!("  line {n}\n")).collect();
    let new = old.replace("line 15\n", "line fifteen\n");
    let found = compare(&format!("t: |\n{old}"), &format!("t: |\n{new}"));
    assert_eq!(lines(&found), ["Changed t"]);
    let said = shown_lines(inside(&found));
    assert_eq!(said.len(), 8, "{said:?}");
    assert!(said.contains(&"-line 15".to_owned()) && said.contains(&"+line fifteen".to_owned()));
    let Inside::Lines { hunks } = inside(&found) else { panic!() };
    assert_eq!(hunks[0].head(), "@@ -12,7 +12,7 @@");
}

#[test]
fn lines_of_secrets_are_masked_and_secrets_in_other_texts_too() {
    let found = compare("dbPassword: |\n  one1one\n  two2two\n", "dbPassword: |\n  one1one\n  three3three\n");
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("one1one") && !json.contains("two2two") && !json.contains("three3"), "{json}");
    assert_eq!(shown_lines(inside(&found)).iter().filter(|line| line.starts_with('-')).count(), 1);
    // A key is not told by its lines.
    let key = |body: &str| format!("k: |\n  -----BEGIN PRIVATE KEY-----\n  {body}\n  -----END PRIVATE KEY-----\n");
    let found = compare(&key("MIIEvQIBADANBgkq"), &key("MIIEvQIBADANBxxx"));
    assert!(found.changes[0].inside.is_none() && found.changes[0].secret);
    // A script that gives out a password is hidden line by line; the lines still tell what stayed and what changed.
    let found = compare(
        "s: |\n  export TOKEN=tok123\n  run --password hunter22 --password=hunter22\n  old\n",
        "s: |\n  export TOKEN=tok456\n  run --password hunter22 --password=hunter22\n  'pass-word': \"x\"\n  new\n",
    );
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("tok123") && !json.contains("tok456") && !json.contains("hunter22"), "{json}");
    let lines = shown_lines(inside(&found));
    let signs: String = lines.iter().filter_map(|line| line.chars().next()).collect();
    assert_eq!(signs, "-+ -++ ", "{lines:?}");
}

#[test]
fn json_and_yaml_in_texts_are_compared_by_path_and_their_secrets_masked() {
    let found = compare(
        "a: '{\"x\": {\"password\": \"hunter22\"}, \"n\": [1, 2]}'\nb: |\n  k: {v: 1}\n  other: 2\nc: '[1, {\"q\": 2}]'\n",
        "a: '{\"n\": [1, 3], \"x\": {\"password\": \"hunter33\"}}'\nb: |\n  other: 2\n  k: {v: 2}\nc: '[1, {\"q\": 5}]'\n",
    );
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("hunter"), "{json}");
    let paths: Vec<Vec<String>> = found
        .changes
        .iter()
        .map(|change| match change.inside.as_ref().unwrap() {
            Inside::Document { changes, .. } => changes.iter().map(|change| change.path.to_string()).collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(paths, [vec!["n[1]", "x.password"], vec!["k.v"], vec!["[1].q"]]);
    // The text's own path is the change's, so that whoever guards it sees it.
    assert_eq!(lines(&found), ["Changed a", "Changed b", "Changed c"]);
    // A document that says the same otherwise is a text that differs.
    let found = compare("b: |\n  # x\n  k: 1\n", "b: |\n  # y\n  k: 1\n");
    assert!(matches!(inside(&found), Inside::Lines { .. }));
}

#[test]
fn all_that_is_in_a_secret_document_is_masked() {
    let auths = |user: &str, auth: &str| {
        format!("pull: '{{\"auths\": {{\"docker.io\": {{\"username\": \"{user}\", \"auth\": \"{auth}\"}}}}}}'\n")
    };
    let found = compare(&auths("first-user", "Zmlyc3Q6cGFzcw=="), &auths("second-user", "c2Vjb25kOnBhc3M="));
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("first-user") && !json.contains("Zmlyc3Q6") && json.contains("username"), "{json}");
    let Inside::Document { changes, .. } = inside(&found) else { panic!() };
    assert!(changes.iter().all(|change| change.secret));
}

const OLD: &str = include_str!("../../../fixtures/certificates/old.pem");
const NEW: &str = include_str!("../../../fixtures/certificates/new.pem");
const RSA: &str = include_str!("../../../fixtures/certificates/rsa.pem");

fn block(key: &str, text: &str) -> String {
    text.lines().fold(format!("{key}: |\n"), |all, line| format!("{all}  {line}\n"))
}

fn field_names(inside: &Inside) -> Vec<&'static str> {
    let Inside::Certificates { fields } = inside else { panic!("{inside:?}") };
    fields.iter().map(|field| field.name).collect()
}

#[test]
fn a_certificate_is_told_by_its_fields() {
    let found = compare(&block("ca", OLD), &block("ca", NEW));
    assert_eq!(field_names(inside(&found)), ["serial", "not after", "key", "sha256"]);
    let Inside::Certificates { fields } = inside(&found) else { panic!() };
    assert_eq!(fields[0].of, "CN=opschain.example.test,O=Example");
    // As `openssl x509 -noout -serial -dates -fingerprint -sha256` says of the two files.
    assert_eq!(fields[0].old.as_deref(), Some("3e5119e67c1381bc78ff86f1b843069edf5492db"));
    assert_eq!(fields[1].old.as_deref(), Some("2027-11-23T11:47:50Z"));
    assert_eq!(fields[3].old.as_deref(), Some("5e7f79a5c047edb29ab12c3689ebc834eadb340d1600fda9f5729a72ae4d7112"));
    assert_eq!((fields[2].old.as_deref(), fields[2].new.as_deref()), (Some("ECDSA P-256"), Some("ECDSA P-384")));
    // One that came: all its fields.
    let found = compare("a: 1\n", &format!("a: 1\n{}", block("ca", RSA)));
    let Inside::Certificates { fields } = inside(&found) else { panic!() };
    let said: Vec<&str> = fields.iter().filter_map(|field| field.new.as_deref()).collect();
    assert!(said.contains(&"RSA 2048"), "{said:?}");
    assert!(said.contains(&"opschain.example.test, 192.0.2.7, https://opschain.example.test/"), "{said:?}");
}

#[test]
fn a_certificate_is_known_in_base64_and_in_a_chain_and_its_key_is_never_shown() {
    use base64::Engine as _;
    let packed = |text: &str| format!("crt: {}\n", base64::engine::general_purpose::STANDARD.encode(text));
    let found = compare(&packed(OLD), &packed(NEW));
    assert_eq!(field_names(inside(&found)).len(), 4);
    let key = |body: &str| format!("{OLD}-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let found = compare(&block("pem", &key("MIIEvQIBADANBgkq")), &block("pem", &key("MIIEvQIBADANBxxx")));
    assert_eq!(field_names(inside(&found)), ["private key or other text"]);
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("MIIEvQ"), "{json}");
    let found = compare(&block("chain", &format!("{OLD}{RSA}")), &block("chain", &format!("{RSA}{NEW}")));
    assert_eq!(field_names(inside(&found)), ["serial", "not after", "key", "sha256"]);
    // Under the name of a secret it is masked like any other.
    let found = compare(&block("apiToken", OLD), &block("apiToken", NEW));
    assert!(!serde_json::to_string(&found).unwrap().contains("opschain.example.test"));
}

#[test]
fn comments_are_counted_apart_from_values() {
    let layout = |old: &str, new: &str| with(old, new, &Options { layout: true, ..Options::default() }).layout;
    let old = "# one\na: 'x # no comment' # two\nb: |\n  # no comment either\n  t\n# three\nc: 1\n";
    let new = old.replace("# two", "# 2").replace("# three\n", "").replace("c: 1", "c: 2");
    let found = layout(old, &new).unwrap();
    assert_eq!((found.comments_added, found.comments_removed, found.rewritten), (1, 2, 0));
    let words = layout("a: 1\n", "a:   1\n").unwrap().words();
    assert_eq!(words, "blank space");
    assert_eq!(layout("a: 1\n", "a: 2\n"), None);
    assert_eq!(layout("a: 1\n", "a: 1\n"), None);
    let changed = old.replace("no comment either", "nothing");
    assert_eq!(layout(old, &changed), None, "text in a block is no comment");
}

#[test]
fn secrets_are_shown_only_when_asked_for_and_then_with_their_fingerprint() {
    let (old, new) = ("password: hunter22\n", "password: hunter33\n");
    let found = with(old, new, &Options { reveal: true, ..Options::default() });
    let shown = found.changes[0].new.as_ref().unwrap();
    assert_eq!(shown.value, Some("hunter33".into()));
    assert_eq!(shown.fingerprint.as_ref().unwrap().len(), 8);
    assert!(found.changes[0].secret);
}

/// helm-diff 996 (a matrix of 3.6 GB), 139 (over 1 MB, and silently no changes), omni 2311 (98 GB for 80,000 lines),
/// difftastic 373: large files take what small ones take, times their size.
#[test]
fn four_megabytes_are_compared_in_linear_work_whatever_they_hold() {
    let begun = std::time::Instant::now();
    let file = |salt: &str, from: usize| {
        let wide: String = (0..50_000).map(|n| format!("key{n}: value {salt}{n}\n")).collect();
        let list: String = (from..from + 70_000).map(|n| format!("- item {}\n", n * 7919 % 300_007)).collect();
        let few: String = (from..from + 70_000).map(|n| format!("- v{}\n", n % 3)).collect();
        let text: String = (0..50_000).map(|n| format!("  some line {salt}{n}\n")).collect();
        format!("{wide}list:\n{list}few:\n- {salt}\n{few}text: |\n{text}")
    };
    let (old, new) = (file("a", 0), file("b", 40_000));
    assert!(old.len() > 3 << 20, "{}", old.len());
    let found = compare(&old, &new);
    assert!(found.changes.len() > 50_000);
    let text = found.changes.iter().find(|change| change.path.to_string() == "text").unwrap();
    assert_eq!(shown_lines(text.inside.as_ref().unwrap()).len(), 100_001);
    // A hang guard: quadratic work would take hours.
    assert!(begun.elapsed().as_secs() < 240, "{:?}", begun.elapsed());
}

#[test]
fn a_map_that_was_meant_as_a_secret_is_masked_with_its_keys() {
    let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
    for (old, new) in [
        ("env: {PGPASSWORD: {zebra}}\n", "env: {PGPASSWORD: {zebra2}}\n"),
        ("env: {}\n", "env: {PGPASSWORD: {zebra: x}}\n"),
        ("env: {PGPASSWORD: [zebra, {zebra: zebra}]}\n", "env: {PGPASSWORD: x}\n"),
        ("env: {PGPASSWORD: {a: zebra}}\n", "env: {}\n"),
    ] {
        let shown = serde_json::to_string(&diff(&tree(old), &tree(new), &Scrubber::new(None))).unwrap();
        assert!(!shown.contains("zebra") && shown.contains("env.PGPASSWORD\""), "{shown}");
    }
}

#[test]
fn what_cannot_be_read_is_compared_by_its_lines_and_masked() {
    let deep = |secret: &str, count: u8| {
        let brackets = ["[".repeat(1_600), "]".repeat(1_600)].concat();
        let env = format!("  PGPASSWORD: {secret} # c\n  A_TOKEN: \"{secret}\"\n  B_PASSWORD: |\n    {secret}s");
        format!("a: {brackets}\nreplicas: {count}\nenv:\n{env}\n")
    };
    let tree = |text: &str| Tree::parse_or_keep(text.as_bytes());
    let (old, new) = (tree(&deep("w0rdw0rd", 1)), tree(&deep("x9ndx9nd", 2)));
    assert!(old.unread().is_some());
    let found = diff(&old, &new, &Scrubber::new(None));
    let shown = serde_json::to_string(&found).unwrap();
    assert!(found.class == Class::Changed && shown.contains("replicas: ") && !shown.contains("replicas: 2"), "{shown}");
    assert!(!shown.contains("w0rd") && !shown.contains("x9nd"), "a secret is shown: {shown}");
    assert_eq!(diff(&old, &old, &Scrubber::new(None)).class, Class::Same);
    let read = diff(&tree("replicas: 1\nenv: {PGPASSWORD: w0rdw0rd}\n"), &new, &Scrubber::new(None));
    let shown = serde_json::to_string(&read).unwrap();
    assert!(!shown.contains("w0rd") && !shown.contains("x9nd"), "a secret is shown: {shown}");
}
