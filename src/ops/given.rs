//! The command line as it was given, for hints that name it again with something more or less.

use std::ffi::OsString;
use std::fmt;

use crate::names::{NamespaceName, ReleaseName};

/// What flags or the environment say of the install; what neither says, the settings do, or what the verb works on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenInstall {
    pub namespace: Option<NamespaceName>,
    pub release: Option<ReleaseName>,
}

/// The words of the command line, the program's name first. Nothing secret is in it: secrets are never flags, and hints
/// go through the redactor like everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    pub fn new(program: &str, arguments: &[OsString]) -> Self {
        let words = arguments.iter().map(|word| word.to_string_lossy().into_owned());
        Self(std::iter::once(program.to_owned()).chain(words).collect())
    }

    /// The same with further words at its end, before what stands behind `--`.
    #[must_use]
    pub fn with(mut self, words: &[&str]) -> Self {
        let end = self.0.iter().position(|word| word == "--").unwrap_or(self.0.len());
        self.0.splice(end..end, words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Whether one of the flags, short or long, stands there with this value.
    pub fn has_value(&self, flags: &[&str], value: &str) -> bool {
        let words = self.0.iter().take_while(|word| *word != "--").map(String::as_str);
        let words: Vec<&str> = words.collect();
        let parted = words.windows(2).any(|pair| flags.contains(&pair[0]) && pair[1] == value);
        let joined = |word: &str| {
            flags.iter().any(|flag| word.strip_prefix(flag).is_some_and(|rest| rest.trim_start_matches('=') == value))
        };
        parted || words.iter().any(|word| joined(word))
    }

    /// The same without a flag that takes no value.
    #[must_use]
    pub fn without(mut self, flag: &str) -> Self {
        self.0.retain(|word| word != flag);
        self
    }

    /// The same with another word in the place of the last one that is `word`.
    #[must_use]
    pub fn replaced(mut self, word: &str, other: &str) -> Self {
        if let Some(place) = self.0.iter().rposition(|known| known == word) {
            other.clone_into(&mut self.0[place]);
        }
        self
    }
}

/// As a shell reads it.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// A word as a shell reads it: in quotes where it needs them.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(words: &[&str]) -> CommandLine {
        CommandLine::new("dr", &words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn words_come_and_go_and_what_a_shell_would_part_stands_in_quotes() {
        let line = given(&["bundle", "restore", "my bundle.tar", "--dry-run", "--version", "2026-08-20"]);
        assert_eq!(line.to_string(), "dr bundle restore 'my bundle.tar' --dry-run --version 2026-08-20");
        let full = line.without("--dry-run").replaced("my bundle.tar", "it's.tar").with(&["--identity", "KEYFILE"]);
        assert_eq!(full.to_string(), r"dr bundle restore 'it'\''s.tar' --version 2026-08-20 --identity KEYFILE");
        assert_eq!(quoted("/usr/bin/dr"), "/usr/bin/dr");
        for (words, is_json) in [
            (&["--output", "json", "x"][..], true),
            (&["x", "-o", "json"], true),
            (&["-ojson"], true),
            (&["--output=json"], true),
            (&["-o", "human"], false),
            (&["--", "-o", "json"], false),
        ] {
            assert_eq!(given(words).has_value(&["-o", "--output"], "json"), is_json, "{words:?}");
        }
        assert_eq!(
            given(&["bundle", "show", "--", "-x"]).with(&["--scope"]).to_string(),
            "dr bundle show --scope -- -x"
        );
    }
}
