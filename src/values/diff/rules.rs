//! The committed list of accepted differences: each with a reason, and until when.

use jiff::civil::Date;
use serde::Deserialize;

use super::pattern::Pattern;

/// A difference that is accepted.
#[derive(Debug, Clone)]
pub struct Rule {
    pub pattern: Pattern,
    pub reason: String,
    /// The last day on which it is.
    pub expires: Option<Date>,
    /// The line of the file that it begins on.
    pub line: usize,
}

/// The rules of a file.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Those that hold.
    pub active: Vec<Rule>,
    /// Those that have expired: they ignore nothing any more.
    pub expired: Vec<Rule>,
}

/// The file is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct RuleError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    ignore: Vec<toml::Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: toml::Spanned<String>,
    reason: toml::Spanned<String>,
    expires: Option<toml::Spanned<toml::Value>>,
}

impl Rules {
    /// Reads a file of `[[ignore]]` tables. A rule holds up to and on the day that `expires` names.
    ///
    /// # Errors
    /// A key that is unknown or missing, an empty reason, a path that names nothing, a date that is none; with the
    /// place.
    pub fn parse(text: &str, today: Date) -> Result<Self, RuleError> {
        let place = |at: usize, message: String| {
            let before = &text[..text.floor_char_boundary(at)];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
            RuleError { line, column, message }
        };
        let file: File = toml::from_str(text)
            .map_err(|error| place(error.span().map_or(0, |span| span.start), error.message().trim_end().to_owned()))?;
        let mut rules = Self::default();
        for written in file.ignore {
            let line = place(written.span().start, String::new()).line;
            let Written { path, reason, expires } = written.into_inner();
            let pattern: Pattern = path
                .get_ref()
                .parse()
                .map_err(|error: super::PatternError| place(path.span().start, error.to_string()))?;
            if reason.get_ref().trim().is_empty() {
                return Err(place(reason.span().start, "the reason is empty".into()));
            }
            let expires = expires.map(|date| {
                // TOML has dates of its own; a quoted one is as good.
                let words = date.get_ref().as_str().map_or_else(|| date.get_ref().to_string(), str::to_owned);
                let bad = |_| place(date.span().start, format!("`{words}` is no date such as 2026-12-31"));
                words.parse::<Date>().map_err(bad)
            });
            let rule = Rule { pattern, reason: reason.into_inner(), expires: expires.transpose()?, line };
            let over = rule.expires.is_some_and(|last| last < today);
            if over { rules.expired.push(rule) } else { rules.active.push(rule) }
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Rules, RuleError> {
        Rules::parse(text, jiff::civil::date(2026, 11, 23))
    }

    #[test]
    fn a_rule_holds_until_its_day_is_over() {
        let text = "# ours\n[[ignore]]\npath = \"env.TZ\"\nreason = \"sites differ\"\n\
            [[ignore]]\npath = \"a\"\nreason = \"b\"\nexpires = 2026-11-23\n\
            [[ignore]]\npath = \"/c/d\"\nreason = \"e\"\nexpires = \"2026-11-22\"\n";
        let rules = parse(text).unwrap();
        let names = |rules: &[Rule]| rules.iter().map(|rule| rule.pattern.text().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&rules.active), ["env.TZ", "a"]);
        assert_eq!(names(&rules.expired), ["/c/d"]);
        assert_eq!(rules.expired[0].line, 9);
        assert!(parse("").unwrap().active.is_empty());
    }

    #[test]
    fn mistakes_are_refused_with_line_and_column() {
        for (text, place) in [
            ("[[ignore]]\npath = \"a\"\n", "line 1, column 1: missing field `reason`"),
            ("[[ignore]]\npath = \"a\"\nreason = \" \"\n", "line 3, column 10: the reason is empty"),
            (
                "[[ignore]]\npath = \"a\"\nreason = \"b\"\n  until = 2026-01-01\n",
                "line 4, column 3: unknown field `until`",
            ),
            ("[[ignored]]\npath = \"a\"\n", "line 1, column 3: unknown field `ignored`"),
            ("[[ignore]]\npath = \"a[\"\nreason = \"b\"\n", "line 2, column 8: `a[` names no path"),
            ("[[ignore]]\npath = \"a\"\nreason = \"b\"\nexpires = \"soon\"\n", "line 4, column 11: `soon` is no date"),
            ("[[ignore]]\npath = \n", "line 2, column 8: "),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(place), "{text}: {error}");
        }
    }
}
