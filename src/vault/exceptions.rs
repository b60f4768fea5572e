//! Findings of `dr config check` that are meant: a file in the repository's root, which is committed with the rest, says
//! of which files, why, and until when.

use git2::{Index, Repository};
use jiff::civil::Date;
use serde::Deserialize;

use super::error::VaultError;
use super::layout::EXCEPTIONS;
use super::objects::GitObjects;
use crate::text::fits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accept: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: String,
    reason: String,
    expires: Option<toml::Value>,
}

/// Files of which findings are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exception {
    /// From the repository's root; `*` stands for any characters.
    path: String,
    pub(super) reason: String,
    /// The last day.
    expires: Option<Date>,
}

/// What the exceptions say of a file.
pub(super) enum ExceptionVerdict<'e> {
    Accepted(&'e Exception),
    /// One that held once, and its last day.
    Expired(&'e Exception, Date),
    Nothing,
}

/// The exceptions of a repository as its index has them, so that none holds that nobody commits.
///
/// # Errors
/// The file is not as it should be.
pub(super) fn of(repo: &Repository, index: &Index) -> Result<Vec<Exception>, VaultError> {
    let entry = index.get_path(std::path::Path::new(EXCEPTIONS), 0);
    let objects = GitObjects::of(repo).ok();
    let content = entry.and_then(|entry| objects?.blob(entry.id).ok());
    let Some(content) = content else { return Ok(Vec::new()) };
    parse(&String::from_utf8_lossy(&content)).map_err(|reason| VaultError::Exceptions { reason })
}

fn parse(text: &str) -> Result<Vec<Exception>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let each = file.accept.into_iter().map(|Written { path, reason, expires }| {
        if path.is_empty() || reason.trim().is_empty() {
            return Err(format!("the exception for `{path}` needs a path and a reason"));
        }
        // TOML has dates of its own; a quoted one is as good.
        let date = |date: toml::Value| {
            let words = date.as_str().map_or_else(|| date.to_string(), str::to_owned);
            words.parse::<Date>().map_err(|_| format!("`{words}` is no date such as 2026-12-31"))
        };
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        Ok(Exception { path, reason, expires: expires.map(date).transpose()? })
    });
    each.collect()
}

/// What holds for a file today: one exception that has not expired is enough.
pub(super) fn judge<'e>(exceptions: &'e [Exception], file: &str, today: Date) -> ExceptionVerdict<'e> {
    let mut fitting = exceptions.iter().filter(|exception| fits(&exception.path, file)).peekable();
    let first = fitting.peek().copied();
    let holds = |exception: &&Exception| exception.expires.is_none_or(|last| today <= last);
    match (fitting.find(holds), first.and_then(|first| Some((first, first.expires?)))) {
        (Some(holding), _) => ExceptionVerdict::Accepted(holding),
        (None, Some((first, last))) => ExceptionVerdict::Expired(first, last),
        (None, None) => ExceptionVerdict::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_holds_on_its_last_day_and_not_after_it() {
        let text = "[[accept]]\npath = \"dev/*.yaml\"\nreason = \"made up\"\nexpires = 2026-11-29\n\
            [[accept]]\npath = \"./README.md\"\nreason = \"an example\"\n";
        let exceptions = parse(text).unwrap();
        let word = |file: &str, day: i8| match judge(&exceptions, file, jiff::civil::date(2026, 11, day)) {
            ExceptionVerdict::Accepted(exception) => exception.reason.clone(),
            ExceptionVerdict::Expired(_, last) => format!("expired {last}"),
            ExceptionVerdict::Nothing => "nothing".to_owned(),
        };
        assert_eq!(word("dev/a.yaml", 29), "made up");
        assert_eq!(word("dev/a.yaml", 30), "expired 2026-11-29");
        assert_eq!((word("README.md", 30), word("prod/a.yaml", 29)), ("an example".into(), "nothing".into()));
        for bad in ["[[accept]]\npath = \"a\"\n", "[[accept]]\npath = \"a\"\nreason = \" \"\n", "[[allow]]\n", "x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("[[accept]]\npath = \"a\"\nreason = \"b\"\nexpires = \"soon\"\n").is_err());
    }
}
