//! The man pages: one for each verb, named after it.

use super::dr;

/// `dr`, `dr-bundle`, `dr-bundle-restore` and so on, with the words that call each.
fn verbs(command: &clap::Command, called: &str) -> Vec<String> {
    let below = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let below = below.flat_map(|verb| verbs(verb, &format!("{called} {}", verb.get_name())));
    [called.to_owned()].into_iter().chain(below).collect()
}

#[test]
fn every_verb_has_a_page_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(dr(home.path(), &["man", "pages/man1"]), "--- stderr\n--- exit 0");
    let folder = home.path().join("pages/man1");
    let verbs = verbs(&dr::internals::cli::command(), "dr");
    assert!(verbs.len() > 30, "{verbs:?}");
    for verb in &verbs {
        let file = folder.join(format!("{}.1", verb.replace(' ', "-")));
        let page = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = format!(".SH SYNOPSIS\n\\fB{verb}\\fR ");
        assert!(page.replace("\\-", "-").contains(&name), "{verb} is not in its own page:\n{page}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), verbs.len(), "a page without a verb");
}

#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("taken"), "").unwrap();
    let said = dr(home.path(), &["man", "taken/man1"]);
    assert!(said.contains("write man pages to taken/man1") && said.ends_with("--- exit 1"), "{said}");
}
