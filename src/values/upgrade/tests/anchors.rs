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

/// The proposal in a style, and its outcomes; or why there is none.
fn tried(style: ProposalStyle, old: &str, new: &str, yours: &str) -> Result<(String, Vec<String>), String> {
    let (old, new, yours) = (tree(old), tree(new), tree(yours));
    let three = Three { old: &old, new: &new, yours: &yours };
    let proposed = propose(three, Some(style), &FACTS, &Scrubber::new(None)).map_err(|error| error.to_string())?;
    Ok((proposed.text.to_string(), told(&proposed)))
}

fn text_of(style: ProposalStyle, old: &str, new: &str, yours: &str) -> Result<String, String> {
    tried(style, old, new, yours).map(|(text, _)| text)
}

#[test]
fn a_value_that_a_merge_brings_goes_to_the_new_name_of_its_key() {
    let (old, new) = ("m: {maxConn: 1, b: 1}\n", "m: {maxConns: 1, b: 1}\n");
    for (yours, expected) in [
        ("d: &d {maxConn: 5}\nm:\n  <<: *d\n  b: 2\n", "d: &d {maxConn: 5}\nm:\n  <<: *d\n  b: 2\n  maxConns: 5\n"),
        ("d: &d {maxConn: 5}\nm:\n  b: 2\n  <<: *d\n", "d: &d {maxConn: 5}\nm:\n  b: 2\n  <<: *d\n  maxConns: 5\n"),
        ("d: &d {maxConn: 5}\nm:\n  <<: *d\n", "d: &d {maxConn: 5}\nm:\n  <<: *d\n  maxConns: 5\n"),
        ("d: &d {maxConn: 5}\nm: {<<: *d}\n", "d: &d {maxConn: 5}\nm: {<<: *d, maxConns: 5}\n"),
        ("d: &d {maxConn: 5}\nm: *d\n", "d: &d {maxConn: 5}\nm: {\"maxConns\":5}\n"),
    ] {
        let (text, told) = tried(ProposalStyle::Overrides, old, new, yours).unwrap();
        assert_eq!(text, expected, "{yours}");
        assert!(told.contains(&"renamed m.maxConns".to_owned()), "{told:?}");
    }
    // Who had the old default gets the new one, by its new name.
    let yours = "d: &d {maxConn: 1}\nm:\n  <<: *d\n";
    let (text, told) = tried(ProposalStyle::Overrides, old, "m: {maxConns: 1, b: 1}\nc: 1\n", yours).unwrap();
    assert_eq!(text, "d: &d {maxConn: 1}\nm:\n  <<: *d\n  maxConns: 1\n");
    assert!(told.contains(&"renamed m.maxConns".to_owned()), "{told:?}");
}

#[test]
fn an_alias_in_a_list_is_written_out_where_its_anchor_changes() {
    let shipped = "domain: &d example.com\ntls:\n  hosts: [*d]\n";
    let [full, overrides] = [ProposalStyle::Full, ProposalStyle::Overrides];
    for (style, old, new, yours, expected) in [
        (full, shipped, shipped, "domain: my.org\n", "domain: &d my.org\ntls:\n  hosts: [\"example.com\"]\n"),
        (full, "p: &s b\ne: *s\nr: [*s]\n", "p: &s b\ne: *s\nr: [*s]\n", "p: 7\n", "p: &s 7\ne: \"b\"\nr: [\"b\"]\n"),
        (
            overrides,
            "d: x\nk:\n- v: x\n",
            "d: z\nk:\n- v: x\n",
            "d: &d x\nl: [*d]\nk:\n- v: *d\n",
            "d: &d z\nl: [\"x\"]\nk:\n- v: \"x\"\n",
        ),
    ] {
        assert_eq!(text_of(style, old, new, yours).as_deref(), Ok(expected), "{new}{yours}");
    }
}

#[test]
fn a_line_that_helm_drops_neither_stays_beside_the_new_one_nor_comes_back() {
    let [full, overrides] = [ProposalStyle::Full, ProposalStyle::Overrides];
    for (style, old, new, yours, expected) in [
        // A key that stands twice.
        (overrides, "s: {c: 3, d: 1}\n", "s: {d: 2}\n", "s:\n  c: 1\n  d: 1\n  c: 3\n", "s:\n  d: 2\n"),
        (overrides, "c: 3\nd: 1\n", "d: 2\n", "c: 1\nd: 1\nc: 3\n", "d: 2\n"),
        (overrides, "s: {c: 3, d: 1}\n", "s: {d: 2}\n", "s: {c: 1, d: 1, c: 3}\n", "s: {d: 2}\n"),
        (overrides, "maxConn: 1\n", "maxConns: 1\n", "maxConn: 5\nz: 1\nmaxConn: 6\n", "z: 1\nmaxConns: 6\n"),
        // One that a merge behind it overrides.
        (
            full,
            "s: {c: 3}\n",
            "r: &a {c: 3}\ns:\n  c: 2\n  <<: *a\n",
            "s: {c: 9}\n",
            "r: &a {c: 3}\ns:\n  <<: *a\n  c: 9\n",
        ),
        (
            overrides,
            "s: {c: 3}\n",
            "s: {c: 4}\n",
            "r: &a {c: 3}\ns:\n  # why\n  c: 2 # mine\n  <<: *a\nz: 1\n",
            "r: &a {c: 3}\ns:\n  <<: *a\n  # why\n  c: 4 # mine\nz: 1\n",
        ),
        (
            full,
            "r: {c: 1}\ns: {c: 1}\nz: 1\n",
            "r: &a {c: 1}\ns:\n  c:\n  - 2\n  <<: *a\nz: 1\n",
            "s:\n  b: 2\n",
            "r: &a {c: 1}\ns:\n  c:\n  - 2\n  <<: *a\n  b: 2\nz: 1\n",
        ),
    ] {
        assert_eq!(text_of(style, old, new, yours).as_deref(), Ok(expected), "{new}{yours}");
    }
}

#[test]
fn an_anchor_on_an_empty_value_stays_with_a_new_one() {
    let [full, overrides] = [ProposalStyle::Full, ProposalStyle::Overrides];
    for (style, old, new, yours, expected) in [
        (overrides, "n:\n", "n: 5\n", "n: &s\nb: *s\n", "n: &s 5\nb: null\n"),
        (overrides, "n:\n", "n: [1]\n", "n: &s\n", "n: &s [1]\n"),
        (overrides, "m: {n: }\n", "m: {n: 5}\n", "m: {n: &s }\n", "m: {n: &s 5 }\n"),
        (full, "n:\nb:\n", "n: &s\nb: *s\n", "n: 9\n", "n: &s 9\nb: null\n"),
    ] {
        assert_eq!(text_of(style, old, new, yours).as_deref(), Ok(expected), "{new}{yours}");
    }
}

#[test]
fn a_block_of_the_operators_own_keeps_its_text_around_an_alias() {
    let own = "own:\n  # c1\n  env: *e # c2\n  cm: |\n    l1\n    l2\n  list:\n  # c3\n  - one # c4\n  - two\n";
    assert_eq!(
        text("a: 1\n", "a: 2\n", &format!("x: &e {{A: 1}}\n{own}")),
        format!("a: 2\nx: {{A: 1}}\n{}", own.replace("*e", "{\"A\":1}"))
    );
}

#[test]
fn a_text_that_keeps_its_line_ends_keeps_its_own() {
    let [full, overrides] = [ProposalStyle::Full, ProposalStyle::Overrides];
    for (style, old, new, yours, expected) in [
        (
            full,
            "m:\n  a: 1\n  b: |+\n    end\n\n\nz: 1\n",
            "m:\n  a: 1\n  b: |+\n    end\n\n\nz: 1\n",
            "m:\n  a: 1\n  c: 5\n  b: |+\n    end\n\n\nz: 1\n",
            "m:\n  a: 1\n  b: |+\n    end\n\n\n  c: 5\nz: 1\n",
        ),
        (full, "b: |+\n  end\n\n", "b: |+\n  end\n\n", "c: 5\n", "b: |+\n  end\n\nc: 5\n"),
        (
            overrides,
            "m: {a: 1, b: 2}\nz: 1\n",
            "z: 1\n",
            "m:\n  o: |+\n    k\n\n  a: 1\n  b: 2\n\nz: 2\n",
            "m:\n  o: \"k\\n\\n\"\nz: 2\n",
        ),
    ] {
        assert_eq!(text_of(style, old, new, yours).as_deref(), Ok(expected), "{new}{yours}");
    }
    let shipped = "m:\n  b: |+\n    k\n\nz: 1\n";
    let proposed = proposal(shipped, shipped, "m:\n  b: |+\n    k\n\n  # mine\nz: 1\n");
    assert_eq!(proposed.comments, Vec::<String>::new());
}
