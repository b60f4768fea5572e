//! A text that is to be shown, and is no secret as a whole: one way for every output.

use std::borrow::Cow;

use super::line::secret_spans;
use super::place::is_digest;
use super::scrubber::Scrubber;
use super::secret::written_secrets;
use crate::yaml::{NodeKind, Trap, Tree};

impl Scrubber {
    /// What is secret in a text masked: what is known, what its lines give to names that hold secrets, the secrets of a
    /// document that it is; `None` where there is none. `name` is what the text is called, if it has a name.
    pub fn clean(&self, name: &str, text: &str) -> Option<String> {
        if is_digest(name, text) {
            return match self.scrub(text) {
                Cow::Owned(clean) => Some(clean),
                Cow::Borrowed(_) => None,
            };
        }
        if let Some((format, tree)) = opened(text)
            && !written_secrets(&tree).is_empty()
        {
            let shown = self.scrub_source(&tree);
            // A list was put below a key.
            let list = || shown.trim_end().strip_prefix("{\"\": ")?.strip_suffix('}').map(str::to_owned);
            return (format == "list").then(list).flatten().or(Some(shown));
        }
        let scrubbed = self.scrub(text);
        let mut any = matches!(scrubbed, Cow::Owned(_));
        let lines: Vec<Cow<'_, str>> = scrubbed
            .split('\n')
            .map(|line| match self.clean_line(line) {
                Some(clean) => {
                    any = true;
                    Cow::Owned(clean)
                }
                None => Cow::Borrowed(line),
            })
            .collect();
        any.then(|| lines.join("\n"))
    }

    /// The same of what a person has written beside values: a comment, say.
    pub fn cleaned(&self, name: &str, text: &str) -> String {
        self.clean(name, text).unwrap_or_else(|| text.to_owned())
    }

    /// Masks what of a line is secret.
    pub(super) fn clean_line(&self, line: &str) -> Option<String> {
        let spans = secret_spans(line);
        if spans.is_empty() {
            return None;
        }
        let (mut clean, mut at) = (String::with_capacity(line.len()), 0);
        for span in spans {
            clean.push_str(&line[at..span.start]);
            clean.push_str(&self.mask(&line.as_bytes()[span.clone()]));
            at = span.end;
        }
        clean.push_str(&line[at..]);
        Some(clean)
    }
}

/// A text that is a document of more than one value, opened: JSON, or YAML of several lines.
pub fn opened(text: &str) -> Option<(&'static str, Tree)> {
    let trimmed = text.trim();
    let json = || serde_json::from_str::<serde::de::IgnoredAny>(trimmed).is_ok();
    let (format, tree) = match trimmed.as_bytes().first()? {
        b'{' if json() => ("json", Tree::parse(trimmed.as_bytes()).ok()?),
        b'[' if json() => ("list", Tree::parse(format!("{{\"\": {trimmed}}}").as_bytes()).ok()?),
        _ if trimmed.contains('\n') => ("yaml", Tree::parse(text.as_bytes()).ok()?),
        _ => return None,
    };
    let several =
        tree.traps().iter().any(|trap| matches!(trap, Trap::SecondDocument { .. } | Trap::IgnoredRest { .. }));
    let empty = matches!(&tree.root().kind, NodeKind::Map(entries) if entries.is_empty());
    (!several && !empty).then_some((format, tree))
}
