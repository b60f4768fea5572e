//! What is meant by a command line that is nearly one: `help` before a verb, a verb without its group, and the flags of a verb
//! that another one needs again.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::ops;
use crate::ui::RepeatedFlag;

/// What people type for a verb that is called otherwise here.
const OTHER_WORDS: [(&str, &[&str]); 6] = [
    ("backup", &["bundle", "create"]),
    ("install", &["deploy"]),
    ("logs", &["run", "show"]),
    ("history", &["config", "log"]),
    ("check", &["doctor"]),
    ("validate", &["config", "lint"]),
];
/// As many as are read.
const MOST: usize = 5;
/// The verbs that take the flags by which a bundle was found and believed.
const FOUND_BY: &[&str] = &["bundle show ", "bundle list"];
const BELIEVED_BY: &[&str] = &["bundle show "];

/// `help` before a verb asks for what `--help` behind it says.
pub(super) fn help_asked(command: &Command, mut argv: Vec<OsString>) -> Vec<OsString> {
    let mut verb = command;
    for at in 1..argv.len() {
        let Some(word) = argv[at].to_str() else { return argv };
        if word == "help" && verb.has_subcommands() {
            argv.remove(at);
            argv.push("--help".into());
            return argv;
        }
        match verb.find_subcommand(word) {
            Some(next) => verb = next,
            None => return argv,
        }
    }
    argv
}

/// Names the commands of groups that a word without its group may mean, in the place of words that look like it.
pub(super) fn name_elsewhere(command: &Command, program: &str, error: &mut clap::Error) {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return };
    let found = elsewhere(command, word);
    if !found.is_empty() {
        let named = found.iter().map(|verbs| format!("{program} {verbs}")).collect();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(named));
    }
}

fn elsewhere(command: &Command, word: &str) -> Vec<String> {
    let other = OTHER_WORDS.iter().find(|(known, _)| *known == word).map(|(_, verbs)| verbs.join(" "));
    let mut found: Vec<String> = other.into_iter().collect();
    below(command, "", word, &mut found);
    // Bundles are what most come for.
    found.sort_by_key(|verbs| !verbs.starts_with("bundle "));
    found.truncate(MOST);
    found
}

fn below(command: &Command, path: &str, word: &str, found: &mut Vec<String>) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let path = format!("{path}{}", verb.get_name());
        if verb.get_name() == word && !found.contains(&path) {
            found.push(path.clone());
        }
        below(verb, &format!("{path} "), word, found);
    }
}

/// By what the bundle of this command is found and believed: who is told to show it needs that again.
pub(super) fn of_bundle(matches: &ArgMatches) -> Vec<RepeatedFlag> {
    let mut verb = matches;
    while let Some((_, below)) = verb.subcommand() {
        verb = below;
    }
    let text = |id: &str| verb.try_get_one::<String>(id).ok().flatten().map(|value| ops::quoted(value));
    let path = verb.try_get_one::<PathBuf>("trusted_signers").ok().flatten();
    let any = verb.try_get_one::<bool>("any_signer").ok().flatten().copied().unwrap_or_default();
    let flags = [
        (
            &["--trusted-signers", "--any-signer"][..],
            path.map(|path| ops::quoted(&path.display().to_string())),
            BELIEVED_BY,
        ),
        (&["--any-signer", "--trusted-signers"], any.then(String::new), BELIEVED_BY),
        (&["--trust-key", "--any-signer"], text("trust_key"), BELIEVED_BY),
        (&["--store"], text("store"), FOUND_BY),
    ];
    let given =
        flags.into_iter().filter_map(|(names, value, verbs)| Some(RepeatedFlag { names, value: value?, verbs }));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        crate::cli::command()
    }

    #[test]
    fn help_stands_before_a_verb_or_behind_it() {
        let asked = |words: &[&str]| {
            let argv = std::iter::once(&"dr").chain(words).map(OsString::from).collect();
            let asked: Vec<String> =
                help_asked(&command(), argv).into_iter().map(|word| word.into_string().unwrap()).collect();
            asked.join(" ")
        };
        assert_eq!(asked(&["help"]), "dr --help");
        assert_eq!(asked(&["help", "bundle", "create"]), "dr bundle create --help");
        assert_eq!(asked(&["bundle", "help", "create"]), "dr bundle create --help");
        // A name is no verb.
        assert_eq!(asked(&["bundle", "show", "help"]), "dr bundle show help");
        assert_eq!(asked(&["status"]), "dr status");
    }

    #[test]
    fn a_verb_without_its_group_is_named_with_it() {
        for (word, first) in [
            ("restore", "bundle restore"),
            ("backup", "bundle create"),
            ("create", "bundle create"),
            ("rollback", "deploy rollback"),
            ("start", "server start"),
            ("stop", "server stop"),
            ("log", "config log"),
            ("lint", "config lint"),
            ("list", "bundle list"),
            ("diff", "bundle diff"),
            ("install", "deploy"),
        ] {
            assert_eq!(elsewhere(&command(), word).first().map(String::as_str), Some(first), "{word}");
        }
        assert!(elsewhere(&command(), "upgrade").contains(&"deploy upgrade".to_owned()));
        assert!(elsewhere(&command(), "frobnicate").is_empty());
        let mut error = command().try_get_matches_from(["dr", "restore", "x"]).unwrap_err();
        name_elsewhere(&command(), "kubectl dr", &mut error);
        let said = error.render().to_string();
        assert!(said.contains("'kubectl dr bundle restore'") && !said.contains("'report'"), "{said}");
    }

    #[test]
    fn what_believes_a_bundle_is_repeated_for_it() {
        let words = ["dr", "bundle", "verify", "b", "--trusted-signers", "a b", "--store", "s3://x/y"];
        let flags = of_bundle(&command().try_get_matches_from(words).unwrap());
        let said: Vec<String> = flags.iter().map(|flag| format!("{} {}", flag.names[0], flag.value)).collect();
        assert_eq!(said, ["--trusted-signers 'a b'", "--store s3://x/y"]);
        let any = of_bundle(&command().try_get_matches_from(["dr", "bundle", "show", "--any-signer"]).unwrap());
        assert_eq!((any.len(), any[0].names[0]), (1, "--any-signer"));
        assert!(of_bundle(&command().try_get_matches_from(["dr", "init", "--store", "x"]).unwrap()).len() < 2);
    }
}
