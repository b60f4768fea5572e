//! Anchors and aliases in any of the three files.

use super::*;

#[test]
fn a_release_with_anchors_takes_a_change_at_one_of_the_places() {
    let (alias, merge) = ("a: &a {x: 1, z: 2}\nb: *a\n", "d: &d {x: 1, z: 2}\na: {<<: *d, q: 1}\n");
    let env = "x-env: &env {A: 1, B: 2}\napi:\n  env:\n    <<: *env\nz: 1\n";
    for (shipped, yours, expected) in [
        (alias, "a: {x: 1, z: 2}\nb: {x: 9, z: 2}\n", "a: &a {x: 1, z: 2}\nb:\n  <<: *a\n  x: 9\n"),
        (alias, "a: {x: 9, z: 2}\nb: {x: 1, z: 2}\n", "a: &a {x: 9, z: 2}\nb:\n  <<: *a\n  x: 1\n"),
        (alias, "a: {x: 9, z: 2}\nb: {x: 9, z: 2}\n", "a: &a {x: 9, z: 2}\nb: *a\n"),
        (alias, "b:\n  # why\n  own: 5\n", "a: &a {x: 1, z: 2}\nb:\n  <<: *a\n  # why\n  own: 5\n"),
        (alias, "b: none\n", "a: &a {x: 1, z: 2}\nb: none\n"),
        (merge, "a: {x: 5, z: 2, q: 1}\n", "d: &d {x: 1, z: 2}\na: {<<: *d, q: 1, x: 5}\n"),
        (merge, "a: {x: 1, z: null, q: 1}\n", "d: &d {x: 1, z: 2}\na: {<<: *d, q: 1, z: null}\n"),
        (merge, "a: {q: 7}\n", "d: &d {x: 1, z: 2}\na: {<<: *d, q: 7}\n"),
        (
            env,
            "api:\n  env:\n    # why\n    C: 'three' # c\n",
            "x-env: &env {A: 1, B: 2}\napi:\n  env:\n    <<: *env\n    # why\n    C: 'three' # c\nz: 1\n",
        ),
        ("a: {<<: {x: 1}}\n", "a: {y: 2}\n", "a: {<<: {x: 1}, y: 2}\n"),
        ("{}\n", "a: 1\n", "{a: 1}\n"),
    ] {
        assert_eq!(text(shipped, shipped, yours), expected, "{shipped}{yours}");
    }
}

#[test]
fn a_key_that_goes_lets_nothing_of_a_merge_come_in_its_place() {
    let old = "p: &o {c: '', a: 1, s: 2}\nq:\n  <<: *o\n  s: 6\n";
    let yours = "p: &o\n  c: ''\n  a: 1\n  s: [1, 2]\nq:\n  <<: *o\n  s: 6\n";
    let new = "p: {a: 1}\nq: {a: 1}\n";
    let style = ProposalStyle::Overrides;
    let (old, new, yours) = (tree(old), tree(new), tree(yours));
    let three = Three { old: &old, new: &new, yours: &yours };
    let proposed = propose(three, Some(style), &FACTS, &Scrubber::new(None)).map(|p| p.text.to_string());
    assert_eq!(proposed.map_err(|e| e.to_string()).as_deref(), Ok("p: &o\n  a: 1\n  s: [1, 2]\nq:\n  a: 1\n"));
}

/// Old, new and the operator's file; and what becomes of it.
#[test]
fn an_alias_whose_anchor_goes_is_written_out() {
    let both = [ProposalStyle::Full, ProposalStyle::Overrides];
    for (style, old, new, yours, expected) in [
        (both[0], "x: {y: &v 1}\nw: *v\n", "x: {y: &v 1}\nw: *v\n", "x: 5\nw: 1\n", "x: 5\nw: 1\n"),
        (
            both[0],
            "x: &x {z: 1}\nw:\n  <<: *x\n",
            "x: &x {z: 1}\nw:\n  <<: *x\n",
            "x: [1]\n",
            "x: &x [1]\nw:\n  z: 1\n",
        ),
        // What the operator adds to one of the places does not come to the other.
        (
            both[0],
            "x: &x {z: 1}\nw:\n  <<: *x\n",
            "x: &x {z: 1}\nw:\n  <<: *x\n",
            "x: {z: 1, own: 2}\nw: {z: 1}\n",
            "x: &x {z: 1, own: 2}\nw:\n  z: 1\n",
        ),
        (both[1], "v: one\nw: 1\nk: 2\n", "w: 1\nk: 3\n", "v: &v one\nw: *v\nk: 2\n", "w: \"one\"\nk: 3\n"),
        (both[1], "v: {x: 1}\nk: 2\n", "k: 2\n", "v: &v {x: 1}\nk:\n- *v\n", "k:\n- {\"x\":1}\n"),
        (
            both[1],
            "v: {x: 1}\nk: {y: 1}\n",
            "k: {y: 1}\n",
            "v: &v {x: 1}\nk:\n  <<: *v\n  y: 2\n",
            "k:\n  x: 1\n  y: 2\n",
        ),
    ] {
        assert_eq!(*in_style(style, old, new, yours).text, expected, "{yours}");
    }
}
