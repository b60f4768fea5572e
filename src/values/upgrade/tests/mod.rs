//! What the proposal says, and what the report says of it.

mod anchors;
mod fuzz;
mod gone;
mod lists;
mod names;
mod shipped;

use super::*;
use crate::values::FingerprintKey;
use crate::values::lint::KeyFact;
use crate::yaml::Node;

const FACTS: KeyFacts = KeyFacts {
    keys: &[KeyFact { keys: "db.image", from: None, until: Some("2026-01-27"), instead: Some("db.cnpg.imageName") }],
    ..KeyFacts::NONE
};

fn tree(text: &str) -> Tree {
    Tree::parse(text.as_bytes()).unwrap()
}

fn proposal(old: &str, new: &str, yours: &str) -> Proposal {
    in_style(ProposalStyle::Full, old, new, yours)
}

fn in_style(style: ProposalStyle, old: &str, new: &str, yours: &str) -> Proposal {
    let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[7; 32]));
    let (old, new, yours) = (tree(old), tree(new), tree(yours));
    propose(Three { old: &old, new: &new, yours: &yours }, Some(style), &FACTS, &scrubber).unwrap()
}

fn text(old: &str, new: &str, yours: &str) -> String {
    proposal(old, new, yours).text.to_string()
}

fn outcomes(old: &str, new: &str, yours: &str) -> Vec<String> {
    told(&proposal(old, new, yours))
}

fn told(proposal: &Proposal) -> Vec<String> {
    let name = |item: &KeyReport| {
        let outcome = serde_json::to_value(item.outcome).unwrap();
        format!("{} {}", outcome.as_str().unwrap(), item.path)
    };
    proposal.items.iter().map(name).collect()
}

#[test]
fn comments_and_order_are_the_new_ones_and_values_the_operators() {
    let old = "# old words\na: 1\nb: {c: x, d: y}\nv: \"1\"\n";
    let new = "# new words\nv: \"2\" # the version\n# about b\nb: {c: x, d: y}\na: 1\ne: fresh\n";
    let yours = "# mine\na: 7 # seven\nb: {c: x, d: 'mine'}\nv: \"1\"\n";
    assert_eq!(
        text(old, new, yours),
        "# new words\nv: \"2\" # the version\n# about b\nb: {c: x, d: 'mine'}\n# mine\na: 7 # seven\ne: fresh\n"
    );
    assert_eq!(outcomes(old, new, yours), ["new-default v", "new e", "kept b.d", "kept a"]);
}

#[test]
fn keys_of_the_operators_own_come_to_the_end_of_their_map_with_their_comments() {
    let old = "a:\n  b: 1\nz: 1\n";
    let new = "a:\n    b: 1\n    n: 2\n\n# last\nz: 1\n";
    let yours = "a:\n  b: 1\n  # why\n  # I did\n  \"my.key\": |\n    one\n     two\n  l:\n  - x: 1 # one\n  - y\nz: 1\nown: [1,\n 2]\n";
    assert_eq!(
        text(old, new, yours),
        "a:\n    b: 1\n    n: 2\n    # why\n    # I did\n    \"my.key\": |\n      one\n       two\n    l:\n      - x: 1 # one\n      - y\n\n# last\nz: 1\nown: [1,\n 2]\n"
    );
}

#[test]
fn both_changed_is_a_conflict_and_the_operator_wins() {
    assert_eq!(outcomes("a: 1\n", "a: 2\n", "a: 3\n"), ["conflict a"]);
    assert_eq!(text("a: 1\n", "a: 2\n", "a: 3\n"), "a: 3\n");
    assert_eq!(outcomes("a: 1\n", "a: 2\n", "a: 2\n"), Vec::<String>::new());
    assert_eq!(outcomes("b: 1\n", "b: 1\na: 2\n", "b: 1\na: 3\n"), ["conflict a"]);
}

#[test]
fn what_is_gone_stays_only_where_it_was_changed() {
    assert_eq!(text("a: 1\nb: 1\n", "b: 1\n", "a: 1\nb: 1\n"), "b: 1\n");
    assert_eq!(text("a: 1\nb: 1\n", "b: 1\n", "a: 9\nb: 1\n"), "b: 1\na: 9\n");
    assert_eq!(outcomes("a: 1\nb: 1\n", "b: 1\n", "a: 9\nb: 1\n"), ["removed a"]);
    assert_eq!(outcomes("a: 1\nb: 1\n", "b: 1\n", "a: 1\nb: 1\n"), ["dropped a"]);
    assert_eq!(outcomes("apiToken:\nb: 1\n", "b: 1\n", "apiToken: x\nb: 1\n"), ["removed apiToken"]);
}

#[test]
fn renamed_keys_take_their_values_along() {
    let (old, new) = ("db: {image: p:1}\n", "db:\n  cnpg:\n    imageName: # none\n    instances: 1\n");
    assert_eq!(
        text(old, new, "db: {image: \"my/p:2\"}\n"),
        "db:\n  cnpg:\n    imageName: \"my/p:2\" # none\n    instances: 1\n"
    );
    let (old, new) = ("schedule: 0 2 * * *\nx: 1\n", "backup:\n  cron: 0 2 * * *\nx: 1\n");
    assert_eq!(text(old, new, "schedule: 0 4 * * *\nx: 1\n"), "backup:\n  cron: 0 4 * * *\nx: 1\n");
    assert!(outcomes(old, new, "schedule: 0 4 * * *\n").contains(&"renamed backup.cron".to_owned()));
}

#[test]
fn a_value_is_not_renamed_to_a_place_that_the_operator_has_taken_for_something_else() {
    let (old, new) = ("schedule: 0 2 * * *\nx: 1\n", "backup:\n  cron: 0 2 * * *\nx: 1\n");
    assert_eq!(text(old, new, "schedule: 0 4 * * *\nbackup: none\n"), "backup: none\nx: 1\nschedule: 0 4 * * *\n");
}

#[test]
fn maps_lists_and_blocks_go_where_scalars_were_and_back() {
    let old = "a: 1 # one\nb:\n  c: 1\nl: # list\n- 1\n- 2\nt: |\n  text\nn:\ne: {}\n";
    for yours in [
        "a:\n  x: 1\n",
        "a: |-\n  x # no comment\n  y\n",
        "a: [1, 2]\n",
        "b: text\n",
        "b:\n",
        "l: [1]\n",
        "l:\n  - 1\n  - 3\n",
        "t: one line\n",
        "t: >+\n  x\n\n",
        "t: |2\n    x\n   y\n",
        "n: {x: 1}\n",
        "n:\n- a\n- b: c\n",
        "e:\n  k: v\n  # c\n  k2: \"x\\u2028\"\n",
        "a: \"two\n  lines\"\n",
        "a: plain\n  lines\n",
        "e: &x {y: 1}\nn: *x\n",
        "base: &b {k: 1}\ne:\n  <<: *b\n  j: 2\n",
        "t: '- x: y'\na: '# no comment'\n",
        "e: {a: 'x, y', b: [1, {c: d}]}\n",
    ] {
        let proposed = proposal(old, old, yours);
        let again = proposal(old, old, &proposed.text);
        assert_eq!(tree(&again.text).to_json(), tree(&proposed.text).to_json(), "{yours}");
        assert!(proposed.text.contains("# list") || yours.starts_with("l:"), "{}", *proposed.text);
    }
}

#[test]
fn no_secret_is_shown() {
    let old = "env: {PGPASSWORD: \"\", OLD_TOKEN: \"\"}\nmap: {}\n";
    let new = "env: {PGPASSWORD: change-me-now}\nmap: {}\n";
    let yours = "env: {PGPASSWORD: hunter2hunter2, OLD_TOKEN: 123456, PIN: 7}\nmap: {password: hunter3hunter3}\n";
    let proposed = proposal(old, new, yours);
    let said = serde_json::to_string(&proposed.items).unwrap();
    for secret in ["hunter2", "hunter3", "123456", "\"7\""] {
        assert!(!said.contains(secret), "{said}");
        assert!(secret == "\"7\"" || proposed.text.contains(secret), "{}", *proposed.text);
    }
}

#[test]
fn an_empty_secret_is_shown_as_empty() {
    let proposed = proposal("apiToken:\n", "apiToken:\n", "apiToken: hunter2hunter2\n");
    assert_eq!(proposed.items[0].new.as_deref(), Some("null"));
    assert!(proposed.items[0].yours.as_deref().is_some_and(|yours| yours.starts_with('•')));
}

#[test]
fn comments_of_the_release_are_not_carried_along_and_those_of_the_operator_stay_with_their_keys() {
    let old = "# release\na: 1 # keep the quotes\nb: {c: 1}\n# of g\ng:\nz: 1\n";
    let new = "# newer\na: 1\nb: {c: 1}\nz: 1 # of z\n";
    let yours = "# release\n# by ana, pin hunter2hunter2\na: 2 # keep the quotes\nb: {c: 2} # ticket 7\n# of g\ng: 1\nz: 2 # mine\n\n# ours\nown: 1 # too\npassword: hunter2hunter2\n";
    let proposed = proposal(old, new, yours);
    assert_eq!(
        *proposed.text,
        "# newer\n# by ana, pin hunter2hunter2\na: 2\nb: {c: 2} # ticket 7\n# mine\nz: 2 # of z\ng: 1\n\n# ours\nown: 1 # too\npassword: hunter2hunter2\n"
    );
    assert_eq!(proposed.comments, Vec::<String>::new());
    let lost =
        proposal("a: 1\nb: 1\n", "b: 1\n", "# why hunter2hunter2\na: 1\nb: 1\npassword: hunter2hunter2\n").comments;
    assert!(lost.len() == 1 && lost[0].starts_with("# why •"), "{lost:?}");
}

#[test]
fn comments_at_the_head_the_end_and_in_between_stay_where_they_are() {
    let old = "# The port.\nport: 80\nlimits:\n  cpu: 1\n  memory: 2\nlast: [x]\n";
    let new = "# Vendor\n\n# The port, in short.\nport: 80\nfresh: 1\nlimits:\n  # about cpu\n  cpu: 2\n  memory: 2\nlast: [x]\n";
    let yours = "# Site north.\n# ------\n\n# The port.\n# CHG-7\n#\n# CHG-8\nport: 80\nlimits: # tight\n  # as measured\n  cpu: 1\n  memory: 2\n  # end of limits\nlast: [x] # one\n# reviewed in March\n";
    let proposed = proposal(old, new, yours);
    assert_eq!(
        *proposed.text,
        "# Site north.\n# ------\n\n# Vendor\n\n# The port, in short.\n# CHG-7\n#\n# CHG-8\nport: 80\nfresh: 1\nlimits: # tight\n  # about cpu\n  # as measured\n  cpu: 2\n  memory: 2\n  # end of limits\nlast: [x] # one\n# reviewed in March\n"
    );
    assert_eq!(proposed.comments, Vec::<String>::new());
}

#[test]
fn comments_behind_a_byte_order_mark_and_glued_to_quotes_and_brackets_are_comments() {
    let yours = "\u{feff}# head\n\na: 'x'#of a\nb: [1, 2]#of b\nc: x#no comment\n";
    let found = text("a: x\nb: [1]\nc: y\n", "b: [1]\na: x\nc: y\nd: 1\n", yours);
    for comment in ["# head\n", "#of a\n", "#of b\n"] {
        assert_eq!(found.matches(comment).count(), 1, "{comment} in {found}");
    }
    assert!(found.contains("c: x#no comment\n"), "{found}");
}

#[test]
fn a_comment_goes_with_a_renamed_key() {
    let (old, new) = ("db: {image: p:1}\n", "db:\n  cnpg:\n    imageName: # none\n    instances: 1\n");
    let yours = "db:\n  # pinned for the audit\n  image: \"my/p:2\"\n";
    let proposed = text(old, new, yours);
    assert!(proposed.contains("    # pinned for the audit\n    imageName: \"my/p:2\""), "{proposed}");
}

#[test]
fn line_ends_are_those_of_the_operators_file() {
    let yours = "# c\r\na: 1\r\nown:\r\n  b: |\r\n    one\r\n    two\r\n  l:\r\n  - 1 # c\r\n";
    assert_eq!(
        text("a: 1\n", "a: 1\n", yours),
        "# c\na: 1\nown:\n  b: |\n    one\n    two\n  l:\n  - 1 # c\n".replace('\n', "\r\n")
    );
    assert_eq!(text("a: 1\r\n", "a: 1\r\nb: 2\r\n", "a: 1\n"), "a: 1\nb: 2\n");
}

#[test]
fn several_documents_are_refused() {
    let (one, two) = (tree("a: 1\n"), tree("a: 1\n---\nb: 1\n"));
    let refused = propose(Three { old: &one, new: &two, yours: &one }, None, &FACTS, &Scrubber::new(None));
    assert_eq!(refused.err(), Some(UpgradeError::Documents("new")));
}

#[test]
fn overrides_stay_the_operators_own_text() {
    let old = "a: 1\nb: {c: 1, d: 2}\ne: {f: 1}\ng: 1\nh: x\ni: 9\n";
    let new = "# vendor\na: 2 # vendor's\nb: {c: 1, d: 3, new: 4}\ne: {f: 1}\nfresh: {x: 1}\nh: y\ni: 9\n";
    let yours = "# Site north\r\nh: z # CHG-1\r\nb:\r\n  # why\r\n  d: 2 # two\r\n  own: 1\r\n# of g\r\ng: 1\r\ni: 7\r\n# end\r\n";
    let proposed = in_style(ProposalStyle::Overrides, old, new, yours);
    assert_eq!(
        *proposed.text,
        "# Site north\nh: z # CHG-1\nb:\n  # why\n  d: 3 # two\n  own: 1\ni: 7\n# end\n".replace('\n', "\r\n")
    );
    let said = [
        "conflict h",
        "dropped g",
        "new-default b.d",
        "new-default a",
        "new b.new",
        "new fresh",
        "kept i",
        "own b.own",
    ];
    assert_eq!(told(&proposed), said);
    assert_eq!(proposed.comments, ["# of g"]);
}

#[test]
fn overrides_of_renamed_keys_go_where_these_are_now() {
    let (old, new) =
        ("db: {image: p:1, x: 1}\nz: 1\n", "db:\n  cnpg:\n    imageName: # none\n    instances: 1\nz: 1\n");
    let over = |yours: &str| in_style(ProposalStyle::Overrides, old, new, yours).text.to_string();
    assert_eq!(
        over("db:\n  # pinned\n  image: \"my/p:2\" # by ana\nown: 1\n"),
        "db:\n  cnpg:\n    # pinned\n    imageName: \"my/p:2\" # by ana\nown: 1\n"
    );
    assert_eq!(over("db:\n  image: q\n  cnpg: {instances: 3}\n"), "db:\n  cnpg: {instances: 3, imageName: q}\n");
    assert_eq!(over("db: {image: q}\n"), "db: {cnpg: {imageName: q}}\n");
    assert_eq!(over("db: {image: q, x: 2}\n"), "db: {cnpg: {imageName: q}, x: 2}\n");
    assert_eq!(over("db: {x: 2, image: q}\n"), "db: {x: 2, cnpg: {imageName: q}}\n");
    let (old, new) = ("schedule: 0 2 * * *\nx: 1\n", "backup:\n  cron: 0 2 * * *\nx: 1\n");
    let over = |yours: &str| in_style(ProposalStyle::Overrides, old, new, yours).text.to_string();
    assert_eq!(over("schedule: 0 4 * * *\n"), "backup:\n  cron: 0 4 * * *\n");
    assert_eq!(over("x: 2\nschedule: 0 4 * * *"), "x: 2\nbackup:\n  cron: 0 4 * * *\n");
}

#[test]
fn a_file_of_a_few_keys_holds_overrides() {
    let (old, new) = (tree("a: 1\nb: 1\nc: 1\nd: 1\n"), tree("a: 1\nb: 1\nc: 1\nd: 1\n"));
    for (text, style) in [
        ("a: 2\n", ProposalStyle::Overrides),
        ("a: 2\nb: 1\n", ProposalStyle::Full),
        ("own: 1\n", ProposalStyle::Overrides),
    ] {
        let yours = tree(text);
        let three = Three { old: &old, new: &new, yours: &yours };
        assert_eq!(propose(three, None, &FACTS, &Scrubber::new(None)).unwrap().style, style, "{text}");
    }
}

#[test]
fn no_part_of_a_value_is_a_comment_that_finds_no_place() {
    for yours in [
        "a: \"one # two\"\na: 3\n",
        "a: 'one # two'\na: 3\n",
        "a: |\n  # two\na: 3\n",
        "x: &x {a: 3}\na: 1\nm:\n  a: \"one # two\"\n  <<: *x\n",
    ] {
        let proposed = proposal("a: 1\n", "a: 1\n", yours);
        assert_eq!(proposed.comments, Vec::<String>::new(), "{yours}");
    }
}

#[test]
fn no_secret_within_a_text_or_a_comment_is_shown() {
    let secret = "q8Lw2zKdVx91PbTn4Rs7";
    for written in [
        "a: \"ansible_ssh_pass: SECRET\"\n",
        "a: \"db: {admin_pw: SECRET}\"\n",
        "a: [\"password is SECRET\"]\n",
        "a: \"api_key: SECRET # x\"\n",
        "env:\n  PGPASSWORD SECRET\n",
        "TZ: UTC # old password was SECRET\n",
    ] {
        let yours = written.replace("SECRET", secret);
        for style in [ProposalStyle::Full, ProposalStyle::Overrides] {
            for (old, new) in [("a: b\n", "a: b\n"), ("z: 1\n", "z: 2\n"), ("TZ: UTC\n", "z: 1\n")] {
                let proposed = in_style(style, old, new, &yours);
                let said = serde_json::to_string(&(&proposed.items, &proposed.deprecated, &proposed.comments)).unwrap();
                assert!(!said.contains(secret), "{style:?} {yours}: {said}");
            }
        }
    }
}
