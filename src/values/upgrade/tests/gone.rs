//! Maps that the release has no more, and files that are written in odd ways.

use super::*;

const STYLES: [ProposalStyle; 2] = [ProposalStyle::Full, ProposalStyle::Overrides];

#[test]
fn of_a_map_that_is_gone_only_what_was_changed_stays_in_either_style() {
    let old = "reloader: {enabled: true, image: \"stakater/reloader:v1.0.1\", resources: {limits: {cpu: 1}}}\napi: {replicas: 1}\n";
    let new = "api: {replicas: 2}\n";
    let yours = old.replace("enabled: true", "enabled: false");
    for style in STYLES {
        let proposed = in_style(style, old, new, &yours);
        assert_eq!(tree(&proposed.text).to_json(), tree("reloader: {enabled: false}\napi: {replicas: 2}\n").to_json());
        let said = [
            "removed reloader.enabled",
            "dropped reloader.image",
            if style == ProposalStyle::Full {
                "dropped reloader.resources"
            } else {
                "dropped reloader.resources.limits.cpu"
            },
            "new-default api.replicas",
        ];
        assert_eq!(told(&proposed), said);
    }
    for (old, yours, left) in [
        ("s: {k: {a: 1, b: 2}}\n", "s: {k: {a: 1, b: 2, own: 3}}\n", "s: {k: {own: 3}}\n"),
        ("s: {a: 1, b: {c: 1, d: 2}}\n", "s:\n  a: 1\n  b:\n    c: 1\n    d: 7\n", "s:\n  b:\n    d: 7\n"),
        // A list is one value, and so is a map where the old release had another kind.
        ("s: {l: [1, 2], m: 1}\n", "s: {l: [1, 3], m: {x: 1}}\n", "s: {l: [1, 3], m: {x: 1}}\n"),
        ("s: {a: 1, b: 2}\n", "s: {a: 1, b: 2}\n", ""),
        ("s: {a: 1, b: {}}\n", "s: {a: 1, b: {x: 1}}\n", "s: {b: {x: 1}}\n"),
        // What an alias names stays whole where it is named.
        ("s: {a: 1, b: 2}\n", "x: &x {a: 1, b: 7}\ns: *x\n", "x: {a: 1, b: 7}\ns: {b: 7}\n"),
        ("s: {a: 1, b: 2, c: 1}\n", "s: {a: &a 1, b: 7, c: *a}\n", "s: {b: 7}\n"),
        ("s: {a: 1, b: 2, c: 2}\n", "s: {a: &a 1, b: 7, c: *a}\n", "s: {b: 7, c: 1}\n"),
    ] {
        let full = in_style(ProposalStyle::Full, &format!("{old}z: 1\n"), "z: 2\n", &format!("{yours}z: 1\n"));
        assert_eq!(tree(&full.text).to_json(), tree(&format!("{left}z: 2\n")).to_json(), "{yours}{}", *full.text);
    }
}

#[test]
fn comments_of_what_goes_from_a_map_that_is_gone_are_told() {
    let (old, new) = ("r:\n  on: true\n  image: x:1\n  t: 1\nz: 1\n", "z: 1\n");
    let yours = "# mine\nr: # too\n  # off\n  \"on\": false # CHG-1\n  # pinned\n  image: x:1 # CHG-2\n  t: 1\nz: 1\n";
    for style in STYLES {
        let proposed = in_style(style, &old.replace("on:", "\"on\":"), new, yours);
        assert_eq!(proposed.comments, ["# pinned", "# CHG-2"], "{style:?} {}", *proposed.text);
        for kept in ["# mine\n", "# too\n", "# off\n", "\"on\": false # CHG-1\n"] {
            assert!(proposed.text.contains(kept), "{style:?} {kept} {}", *proposed.text);
        }
    }
}

#[test]
fn a_gone_map_below_a_renamed_one_is_judged_key_by_key() {
    let (old, new) = ("vol:\n  size: 1\n  sub: {a: 1, b: 2}\nz: 1\n", "# formerly vol\nstorage:\n  size: 1\nz: 1\n");
    let proposed = proposal(old, new, "vol:\n  size: 5\n  sub: {a: 1, b: 7}\nz: 1\n");
    assert_eq!(tree(&proposed.text).to_json(), tree("storage: {size: 5, sub: {b: 7}}\nz: 1\n").to_json());
}

/// A carriage return alone, and Unicode's separators, end a line for Helm.
#[test]
fn lines_that_helm_alone_sees_are_lines() {
    for end in ["\r", "\u{85}", "\u{2028}", "\u{2029}"] {
        let yours = format!("env:\n  # why{end}  TZ: UTC # k\n");
        for style in STYLES {
            let proposed = in_style(style, "env: {TZ: UTC}\n", "env: {TZ: Oslo}\n", &yours);
            assert_eq!(proposed.comments, Vec::<String>::new(), "{style:?} {end:?} {}", *proposed.text);
            assert_eq!(tree(&proposed.text).to_json(), tree("env: {TZ: Oslo}\n").to_json());
            assert!(proposed.text.contains("# why") && proposed.text.contains("# k\n"), "{end:?} {}", *proposed.text);
        }
        let whole = format!("# h{end}a: 1 # c{end}b: 7 # d{end}");
        for style in STYLES {
            let proposed = in_style(style, "a: 1\nb: 1\n", "a: 2\nb: 1\n", &whole);
            assert_eq!(proposed.text.trim_end(), "# h\na: 2 # c\nb: 7 # d", "{style:?} {end:?}");
        }
    }
    // Within a text it is a character.
    let proposed = in_style(ProposalStyle::Overrides, "a: 1\n", "a: 2\n", "a: 1\nb: |\n  x\u{2028}  y\n");
    assert_eq!(*proposed.text, "a: 2\nb: |\n  x\u{2028}  y\n");
}

#[test]
fn keys_behind_a_question_mark_take_changes() {
    let (old, new) = ("a: 1\nb: 1\nc: {x: 1, y: 1}\n", "a: 2\nb: 1\nc: {x: 1, y: 2}\n");
    for (yours, expected) in [
        ("? a\n: 1\nb: 1\n", "a: 2\nb: 1\n"),
        ("? a # why\n: 1\nb: 7\n", "? a # why\n: 1\nb: 7\n"),
        ("? \"a\"\n: 1\n? c\n: x: 7\n  y: 1\n", "\"a\": 2\nc:\n  x: 7\n  y: 2\n"),
        ("? a\n: 7\nb: 1\n", "? a\n: 7\nb: 1\n"),
    ] {
        let read = |text: &str| tree(text);
        let (old, new, yours_tree) = (read(old), read(new), read(yours));
        let three = Three { old: &old, new: &new, yours: &yours_tree };
        match propose(three, Some(ProposalStyle::Overrides), &FACTS, &Scrubber::new(None)) {
            Ok(proposed) => assert_eq!(*proposed.text, expected, "{yours}"),
            // A comment between key and colon has no place.
            Err(error) => assert!(yours.contains('#'), "{yours} {error}"),
        }
    }
    let gone = in_style(ProposalStyle::Overrides, "a: 1\nb: 1\n", "b: 1\n", "? a\n: 1\nb: 7\n");
    assert_eq!(*gone.text, "b: 7\n");
}

#[test]
fn a_comment_behind_a_closing_bracket_is_that_of_its_map() {
    let yours = "a: { # h\n  b: 9, # f\n  c: 2, # g\n  d: 3 # i\n} # j\n";
    let proposed = proposal("a: {b: 1, c: 2, d: 3}\n", "a: {b: 1, c: 3}\n", yours);
    assert_eq!(proposed.comments, ["# i"], "{}", *proposed.text);
}

#[test]
fn an_empty_map_over_the_releases_is_no_change_of_it() {
    let proposed = in_style(ProposalStyle::Overrides, "b: {c: 1}\n", "b: {c: 2}\n", "b: {}\n");
    assert_eq!((&**proposed.text, told(&proposed)), ("b: {}\n", vec!["new-default b.c".to_owned()]));
    let proposed = in_style(ProposalStyle::Overrides, "b: {}\n", "b: {c: 2}\n", "b: {}\n");
    assert_eq!(told(&proposed), ["new-default b"]);
}

#[test]
fn a_comment_before_one_of_the_releases_stays_before_it() {
    let (old, new) = ("env:\n  P: 1\nz: 1\n", "env:\n  P: 1\n  # New here.\n  LOG: info\nz: 1\n");
    let first = proposal(old, new, "env:\n  P: 1\n  # end of env\n  # FOO: bar\nz: 1\n");
    let second = proposal(old, new, &first.text);
    assert_eq!(*second.text, *first.text);
    assert!(first.text.contains("  # end of env\n  # FOO: bar\n  # New here.\n  LOG: info\n"), "{}", *first.text);
}
