//! Every command of `dr` that a message, a template or a page names is one that `dr` has.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;

/// Folders and files that speak to operators.
const SPEAKING: &[&str] = &["src", "templates", "docs", "README.md", "CHANGELOG.md"];

fn files(below: &Path, found: &mut Vec<PathBuf>) {
    if below.is_file() {
        return found.push(below.to_owned());
    }
    let mut entries: Vec<_> = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().for_each(|entry| files(entry, found));
}

/// The commands in backticks, and those that stand on lines of their own: in examples of help and in fenced blocks.
fn commands(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let lines = text.lines().map(|line| line.trim_start_matches(['/', '!', '"', ' ', '\\']).to_owned());
    quoted.chain(lines).filter(|command| command.starts_with("dr ") && !command.contains('\n')).collect()
}

/// The commands that literals begin with, or lead to by a colon: `page.next("dr doctor")`, `next: vec!["dr init"]`,
/// `"on the other host: dr ..."`. Where it is no hint by its place, it is one when its verb is one of ours.
fn literals(text: &str) -> Vec<String> {
    let verbs: Vec<String> =
        dr::internals::cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let mut found = Vec::new();
    for line in text.lines() {
        for (at, lead) in ["\"dr ", ": dr "].into_iter().flat_map(|lead| line.match_indices(lead)) {
            let command = &line[at + lead.len() - "dr ".len()..];
            let command = command.split_once('"').map_or(command, |(literal, _)| literal);
            let verb = command.split_whitespace().nth(1).unwrap_or_default();
            if line.contains("next(") || line.contains("next: ") || verbs.iter().any(|known| known == verb) {
                found.push(command.to_owned());
            }
        }
    }
    found
}

/// The words of a command as a shell parts them, up to where prose, a comment or another command begins.
fn words(command: &str) -> Vec<String> {
    let end =
        ["|", ">", "#", "<", ";", "\\", "\"", "  ", " && ", ", "].iter().filter_map(|end| command.find(end)).min();
    let mut words = Vec::new();
    // What stands in quotes is one word.
    for (place, part) in command[..end.unwrap_or(command.len())].split('\'').enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words.iter().map(|word| word.trim_end_matches(['.', ':', ')']).to_owned()).collect()
}

#[test]
fn every_command_that_is_named_somewhere_is_one_of_ours() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    SPEAKING.iter().for_each(|name| files(&root.join(name), &mut found));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in found {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let of_code = if file.extension().is_some_and(|end| end == "rs") { literals(&text) } else { Vec::new() };
        let mentioned = commands(&text).into_iter().map(|command| (command, true));
        for (command, is_mention) in mentioned.chain(of_code.into_iter().map(|command| (command, false))) {
            let words = words(&command);
            // Prose such as "dr keeps", and families such as `dr server *`.
            let is_command = words
                .get(1)
                .is_some_and(|verb| !verb.is_empty() && verb.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            // What a placeholder stands for may be a verb.
            let is_open = words.get(2).is_some_and(|word| word.starts_with('{'));
            if !is_command || is_open || words.iter().any(|word| word.contains('*')) {
                continue;
            }
            seen += 1;
            // What is filled in is a name, at the places where one may stand.
            let words = words.iter().map(|word| if word.starts_with('{') { "x" } else { word });
            let Err(error) = dr::internals::cli::command().try_get_matches_from(words) else { continue };
            // Who only speaks of a verb need not say what it takes; what is to be typed is whole.
            let is_fine = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
                ErrorKind::MissingRequiredArgument => is_mention,
                _ => false,
            };
            if !is_fine {
                wrong.push(format!("{}: `{command}`", file.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(seen > 200, "only {seen} commands were found: the search is broken");
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
