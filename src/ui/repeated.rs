//! The flags that name the install: whoever gave them needs them again in every command that is named.

use regex::Regex;

/// How the program was called, and the flags that its commands repeat.
#[derive(Debug, Clone)]
pub struct Repeated {
    program: String,
    flags: Vec<RepeatedFlag>,
}

/// A flag as it was given.
#[derive(Debug, Clone)]
pub struct RepeatedFlag {
    /// The ways to write it: a command that has one of them keeps its own.
    pub names: &'static [&'static str],
    /// The value, as a shell reads it; nothing of a flag without one.
    pub value: String,
    /// The commands that take it, as they begin; all, and before the verb, where none is said.
    pub verbs: &'static [&'static str],
}

impl RepeatedFlag {
    /// One that every command takes.
    pub fn global(names: &'static [&'static str], value: String) -> Self {
        Self { names, value, verbs: &[] }
    }
}

impl Default for Repeated {
    fn default() -> Self {
        Self::new("dr", Vec::new())
    }
}

impl Repeated {
    /// `program` is what a person types for `dr`.
    pub fn new(program: &str, flags: Vec<RepeatedFlag>) -> Self {
        Self { program: program.to_owned(), flags }
    }

    /// Running text, its commands in backticks completed. An odd backtick quotes nothing.
    pub(super) fn in_text(&self, text: &str) -> String {
        let parts: Vec<&str> = text.split('`').collect();
        if parts.len().is_multiple_of(2) {
            return text.to_owned();
        }
        let completed = parts.iter().enumerate().map(|(place, part)| match part.strip_prefix("dr ") {
            Some(rest) if place % 2 == 1 => self.command(rest) + &self.of_verb(rest),
            _ => (*part).to_owned(),
        });
        completed.collect::<Vec<_>>().join("`")
    }

    /// A line that is a command, or leads to some: `dr init, then dr doctor`. What is to be typed on another host stays:
    /// its flags are others.
    pub(super) fn in_line(&self, line: &str) -> String {
        let lead = Regex::new("(^|: |then |or |run )dr ");
        match lead {
            Ok(lead) if !line.starts_with("on the ") => {
                let mut completed = String::new();
                let mut rest = line;
                while let Some(found) = lead.find(rest) {
                    let (before, after) = (&rest[..found.end() - "dr ".len()], &rest[found.end()..]);
                    let end = lead.find(after).map_or(after.len(), |next| next.start());
                    completed.push_str(before);
                    completed.push_str(&self.command(&after[..end]));
                    rest = &after[end..];
                }
                completed + rest
            }
            _ => line.to_owned(),
        }
    }

    /// A command of ours; `rest` is what stands behind the program's name.
    fn command(&self, rest: &str) -> String {
        let global = self.flags.iter().filter(|flag| flag.verbs.is_empty() && lacks(rest, flag));
        let flags = global.map(|flag| format!("{} {} ", flag.names[0], flag.value));
        format!("{} {}{rest}", self.program, flags.collect::<String>())
    }

    /// The flags that the verb of a whole command takes, and that were given for another one.
    fn of_verb(&self, rest: &str) -> String {
        let takes = |flag: &&RepeatedFlag| flag.verbs.iter().any(|verb| rest.starts_with(verb)) && lacks(rest, flag);
        let word = |flag: &RepeatedFlag| format!(" {} {}", flag.names[0], flag.value).trim_end().to_owned();
        self.flags.iter().filter(takes).map(word).collect()
    }
}

/// Whether a command has a flag in none of its ways.
fn lacks(rest: &str, flag: &RepeatedFlag) -> bool {
    let mut words = rest.split(' ').map(|word| word.split_once('=').map_or(word, |(name, _)| name));
    !words.any(|word| flag.names.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_repeats_what_was_given_and_keeps_what_it_has() {
        let flag = |names: &'static [&'static str], value: &str| RepeatedFlag::global(names, value.into());
        let flags = vec![flag(&["-n", "--namespace"], "ops"), flag(&["--settings"], "'/a b.toml'")];
        let given = Repeated::new("kubectl dr", flags);
        let whole = "kubectl dr -n ops --settings '/a b.toml' ";
        assert_eq!(given.in_text("Run `dr init`, or `helm list`."), format!("Run `{whole}init`, or `helm list`."));
        assert_eq!(
            given.in_text("Run `dr server start --namespace=x`."),
            "Run `kubectl dr --settings '/a b.toml' server start --namespace=x`."
        );
        assert_eq!(given.in_text("it said `dr init"), "it said `dr init");
        assert_eq!(given.in_line("dr bundle list, then dr doctor"), format!("{whole}bundle list, then {whole}doctor"));
        assert_eq!(given.in_line("to check it: dr bundle verify x"), format!("to check it: {whole}bundle verify x"));
        let elsewhere = "on the other host: dr config parity f live";
        assert_eq!(given.in_line(elsewhere), elsewhere);
        assert_eq!(Repeated::default().in_line("set `x`, or run dr init"), "set `x`, or run dr init");
        let of_bundle = |names, value: &str| RepeatedFlag { names, value: value.into(), verbs: &["bundle show "] };
        let given = Repeated::new("dr", vec![of_bundle(&["--any-signer"], ""), of_bundle(&["--store"], "s")]);
        assert_eq!(
            given.in_text("`dr bundle show b` and `dr init`"),
            "`dr bundle show b --any-signer --store s` and `dr init`"
        );
        assert_eq!(given.in_text("`dr bundle show b --any-signer`"), "`dr bundle show b --any-signer --store s`");
    }
}
