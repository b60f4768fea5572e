//! Renamed and deprecated keys, and the order of blocks.

use super::*;

fn renamed(old: &str, new: &str, yours: &str) -> Vec<String> {
    let items = proposal(old, new, yours).items;
    let renamed = items.iter().filter(|item| item.outcome == KeyOutcome::Renamed);
    renamed.map(|item| format!("{} -> {}", item.was.as_ref().unwrap(), item.path)).collect()
}

#[test]
fn a_renamed_key_is_known_by_its_kin() {
    for (old, new, yours, expected) in [
        (
            "a: {replicaCount: 1, x: 2}\n",
            "a: {replicas: 1, x: 2}\n",
            "a: {replicaCount: 3}\n",
            "a.replicaCount -> a.replicas",
        ),
        ("maxConn: 100\n", "connLimit: 100\n", "maxConn: 200\n", "maxConn -> connLimit"),
        ("enabled: false\n", "isEnabled: false\n", "enabled: true\n", "enabled -> isEnabled"),
        (
            "vol: {size: 1, class: a}\n",
            "storage: {size: 2, class: a}\n",
            "vol: {size: 5, class: b}\n",
            "vol -> storage",
        ),
        ("a: 1\n", "# Formerly `a`.\nbee: 2\n", "a: 3\n", "a -> bee"),
        ("x: {a: 1}\n", "w:\n  # renamed from x.a\n  bee: 2\nx: {}\n", "x: {a: 3}\n", "x.a -> w.bee"),
        ("# deprecated, use bee\na: 1\nbee: 2\n", "bee: 2\n", "a: 3\n", "a -> bee"),
    ] {
        assert_eq!(renamed(old, new, yours), [expected], "{new}");
    }
}

#[test]
fn what_is_only_alike_is_not_renamed() {
    for (old, new, yours) in [
        ("logLevel: info\n", "logFormat: json\n", "logLevel: debug\n"),
        ("ingressHost: ''\n", "ingressPath: ''\n", "ingressHost: h\n"),
        ("hostA: x\n", "hostB: x\nhostC: x\n", "hostA: y\n"),
        ("a: true\n", "b: true\n", "a: false\n"),
        ("port: 80\n", "count: 80\n", "port: 81\n"),
        ("a: 1\nb: 1\n", "# formerly a\nb: 1\na: 1\n", "a: 2\n"),
    ] {
        assert_eq!(renamed(old, new, yours), Vec::<String>::new(), "{new}");
    }
}

#[test]
fn what_is_deprecated_is_said() {
    let new = "# DEPRECATED: use bee.\na: 1\nbee: 1\nold: 1 # obsolete\n";
    let said = |yours: &str| {
        let keys = proposal("a: 1\nbee: 1\nold: 1\n", new, yours).deprecated;
        keys.iter().map(|key| format!("{}: {}", key.path, key.says)).collect::<Vec<_>>()
    };
    assert_eq!(said("a: 2\nbee: 2\nold: 1\n"), ["a: DEPRECATED: use bee."]);
    assert_eq!(said("old: 2\n"), ["old: obsolete"]);
    assert_eq!(said("db: {image: q, cnpg: x}\n"), ["db.image: use db.cnpg.imageName"]);
}

#[test]
fn blocks_stay_in_the_operators_order() {
    let old = "# head\n\n# of a\na: 1\nb:\n  x: 1\n  y: 2\n\n# of c\nc: 1\n";
    let new = "# head\n\n# of a\na: 1\nfresh: 1\nb:\n  x: 1\n  n2: 1\n  y: 3\n\n# of c\nc: 1\n";
    let yours = "# of c\nc: 1\nb:\n  y: 2\n  # why\n  x: 5\n# of a\na: 1\n";
    assert_eq!(
        text(old, new, yours),
        "# head\n\n\n# of c\nc: 1\nb:\n  y: 3\n  # why\n  x: 5\n  n2: 1\n# of a\na: 1\nfresh: 1\n"
    );
    // Who has a few of the keys has no order of the whole; who has the release's gets the new one's.
    assert!(
        text("a: 1\nb: 1\nc: 1\nd: 1\ne: 1\n", "a: 1\nb: 1\nc: 1\nd: 1\ne: 1\n", "c: 2\na: 2\n")
            .starts_with("a: 2\nb: 1\nc: 2\n")
    );
    assert!(text("a: 1\nb: 1\n", "b: 1\na: 1\n", "a: 2\nb: 2\n").starts_with("b: 2\na: 2\n"));
    // Where an anchor would come to stand behind its alias, they stay.
    let anchored = "a: &x {k: 1}\nb: *x\nc: 1\n";
    assert_eq!(text(anchored, anchored, "b: {k: 1}\na: {k: 1}\nc: 2\n"), "a: &x {k: 1}\nb: *x\nc: 2\n");
}

#[test]
fn what_has_moved_out_of_a_map_that_is_gone_is_not_kept_there_too() {
    let old = "old:\n  nested:\n    key: value-long-1234\n    b: 1\n    c: 1\nz: 1\n";
    let new = "fresh:\n  nested:\n    key: value-long-1234\nz: 1\n";
    let yours = "old:\n  nested:\n    key: value-mine-5678\nz: 2\n";
    assert_eq!(text(old, new, yours), "fresh:\n  nested:\n    key: value-mine-5678\nz: 2\n");
    let yours = "old:\n  nested:\n    # of c\n    c: 7\n    key: value-mine-5678\n    b: 1\nz: 2\n";
    let proposed = proposal(old, new, yours);
    assert_eq!(
        *proposed.text,
        "fresh:\n  nested:\n    key: value-mine-5678\nz: 2\nold:\n  nested:\n    # of c\n    c: 7\n"
    );
    assert_eq!(told(&proposed), ["removed old.nested.c", "dropped old.nested.b", "renamed fresh.nested.key", "kept z"]);
}

/// Old, new and the operator's file; and what becomes of the operator's.
#[test]
fn a_change_to_one_of_two_places_that_share_an_anchor_parts_them_there() {
    for (old, new, yours, expected) in [
        // Both places lose the same.
        (
            "v:\n  a: {c: x, m: y}\n  b: {c: x, m: y, s: 1}\n",
            "v:\n  a: {m: y}\n  b: {m: y}\n",
            "v:\n  a: &one\n    c: x\n    m: y\n  b:\n    <<: *one\n    s: 1\n",
            "v:\n  a: &one\n    m: y\n  b:\n    <<: *one\n",
        ),
        // One loses it, and in the other it is the operator's own.
        (
            "a: {c: x, m: y}\nb: {c: z, m: y}\n",
            "a: {m: y}\nb: {m: y}\n",
            "a: &one\n  c: x\n  m: y\nb:\n  <<: *one\n",
            "a: &one\n  m: y\nb:\n  <<: *one\n  c: \"x\"\n",
        ),
        // A new default for one of the places that an operator's own map is merged into.
        (
            "a: {tag: 1, n: 1}\nb: {tag: 1}\n",
            "a: {tag: 2, n: 1}\nb: {tag: 1}\n",
            "x: &x {tag: 1, n: 5}\na:\n  <<: *x\n  o: 1 # own\nb: {<<: *x}\n",
            "x: &x {tag: 1, n: 5}\na:\n  <<: *x\n  o: 1 # own\n  tag: 2\nb: {<<: *x}\n",
        ),
        // The same in brackets, and in a map that has nothing but the merge.
        (
            "a: {tag: 1}\nb: {tag: 1}\n",
            "a: {tag: 2}\nb: {tag: 3}\n",
            "x: &x {tag: 1, n: 5}\na: {<<: *x}\nb:\n  <<: *x\n# end\n",
            "x: &x {tag: 1, n: 5}\na: {<<: *x, tag: 2}\nb:\n  <<: *x\n  tag: 3\n# end\n",
        ),
        // An anchor whose own place changes, and one that does not.
        (
            "a: {tag: 1}\nb: {tag: 5}\n",
            "a: {tag: 2}\nb: {tag: 5}\n",
            "a: &x\n  tag: 1\n  n: 5\nb:\n  <<: *x\n",
            "a: &x\n  tag: 2\n  n: 5\nb:\n  <<: *x\n  tag: 1\n",
        ),
        // An alias of a map, and of a single value.
        (
            "a: {tag: 1}\nb: {tag: 5}\n",
            "a: {tag: 2}\nb: {tag: 5}\n",
            "a: &x\n  tag: 1\nb: *x\n",
            "a: &x\n  tag: 2\nb:\n  <<: *x\n  tag: 1\n",
        ),
        ("a: one\nb: two\n", "a: 1\nb: two\n", "a: &s one\nb: *s # mine\n", "a: &s 1\nb: \"one\" # mine\n"),
        // Below a key that is merged as a whole.
        (
            "a: {r: {cpu: 1}}\nb: {r: {cpu: 1}}\n",
            "a: {r: {cpu: 1}}\nb: {r: {cpu: 9}}\n",
            "x: &x\n  r:\n    cpu: 1\na:\n  <<: *x\nb:\n  <<: *x\n",
            "x: &x\n  r:\n    cpu: 1\na:\n  <<: *x\nb:\n  <<: *x\n  r: {\"cpu\":9}\n",
        ),
    ] {
        let proposed = in_style(ProposalStyle::Overrides, old, new, yours);
        assert_eq!(*proposed.text, expected, "{yours}");
    }
}

#[test]
fn what_a_merge_brings_and_a_release_drops_stays_where_nothing_can_take_it_away() {
    let (old, new) = ("a: {gone: 1, k: 1}\n", "a: {k: 1}\n");
    let yours = "x: &x {gone: 1, k: 7}\na:\n  <<: *x\n";
    assert_eq!(*in_style(ProposalStyle::Overrides, old, new, yours).text, yours);
}

#[test]
fn a_renamed_key_of_overrides_keeps_its_place_and_is_merged_below_its_new_name() {
    for (old, new, yours, expected, said) in [
        (
            "vol:\n  size: 1\n  class: a\n  mode: x\nz: 1\n",
            "storage:\n  size: 2\n  class: a\n  mode: y\nz: 1\n",
            "# site\nvol:\n  # big\n  size: 5\n  mode: x # as it was\nz: 2\n",
            "# site\nstorage:\n  # big\n  size: 5\n  mode: y # as it was\nz: 2\n",
            &["conflict storage.size", "renamed storage", "new-default storage.mode", "kept z"][..],
        ),
        (
            "vol: {size: 1, class: fast-ssd}\n",
            "storage: {size: 2, class: fast-ssd}\n",
            "vol: {size: 1, class: slow-hdd} # ours\nown: 1\n",
            "storage: {size: 2, class: slow-hdd} # ours\nown: 1\n",
            &["renamed storage", "new-default storage.size", "kept storage.class", "own own"],
        ),
        (
            "a: 1\n",
            "# Formerly `a`.\nbee: 2\n",
            "own: 1\na: 1 # one\nlast: 1\n",
            "own: 1\nbee: 2 # one\nlast: 1\n",
            &["renamed-default bee", "own own", "own last"],
        ),
        (
            "a: 1\n",
            "# Formerly `a`.\nbee: 2\n",
            "own: 1\na: 3 # one\nlast: 1\n",
            "own: 1\nbee: 3 # one\nlast: 1\n",
            &["renamed bee", "own own", "own last"],
        ),
        (
            "x: {a: 1, k: 1}\nz: 1\n",
            "w:\n  # renamed from x.a\n  bee: 2\n  more: 1\nx: {k: 1}\nz: 1\n",
            "x:\n  # high\n  a: 3\n  k: 5\n\nz: 2\n",
            "x:\n  k: 5\nw:\n  # high\n  bee: 3\n\nz: 2\n",
            &["renamed w.bee", "new w.more", "kept x.k", "kept z"],
        ),
        (
            "db: {image: p:1, x: 1}\nz: 1\n",
            "db:\n  cnpg:\n    imageName: # none\nz: 1\n",
            "db:\n  image: q\n  # of x\n  x: 2\nown: 1\n",
            "db:\n  cnpg:\n    imageName: q\n  # of x\n  x: 2\nown: 1\n",
            &["removed db.x", "renamed db.cnpg.imageName", "own own"],
        ),
        // Below the new name, one of them has another name, too.
        (
            "vol: {size: 1, class: a}\n",
            "# formerly vol\nstorage:\n  # formerly vol.size\n  gigabytes: 1\n  class: b\n",
            "vol:\n  size: 5\n  class: a\n",
            "storage:\n  gigabytes: 5\n  class: b\n",
            &["renamed storage", "renamed storage.gigabytes", "new-default storage.class"],
        ),
        // Nothing of it is left.
        (
            "vol: {size: 1, class: a}\nz: 1\n",
            "# formerly vol\nstorage: {kind: 1}\nz: 1\n",
            "vol: {size: 1}\nz: 2\n",
            "z: 2\n",
            &["dropped storage.size", "new storage.kind", "kept z"],
        ),
    ] {
        let proposed = in_style(ProposalStyle::Overrides, old, new, yours);
        assert_eq!(*proposed.text, expected, "{yours}");
        assert_eq!(told(&proposed), said, "{yours}");
    }
    let full = |yours: &str| told(&proposal("a: 1\n", "# Formerly `a`.\nbee: 2\n", yours));
    assert_eq!(
        (full("a: 1\n"), full("a: 3\n")),
        (vec!["renamed-default bee".to_owned()], vec!["renamed bee".to_owned()])
    );
}
