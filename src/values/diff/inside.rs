//! What differs within a text: the fields of certificates, the values of a JSON or YAML document, else lines.

use serde::Serialize;

use super::certificate::{self, Certificate, Pem};
use super::options::Options;
use super::text::{Hunk, hunks};
use super::walk::{Comparison, Within};
use super::{Change, Renamed};
use crate::redact::{Scrubber, Why, secret_spans, secrets};
use crate::yaml::{Kind, Path, Segment, Trap, Tree, Value};

/// How many documents are opened one within the other.
const DEEPEST: u8 = 3;

/// What differs within a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Inside {
    /// Lines.
    Lines {
        /// Stretches of them, with context.
        hunks: Vec<Hunk>,
    },
    /// Fields of certificates.
    Certificates {
        /// Those that differ.
        fields: Vec<Field>,
    },
    /// Values of a document that the text is.
    Document {
        /// `json` or `yaml`.
        format: &'static str,
        /// Those that differ; paths begin in the document.
        changes: Vec<Change>,
        /// What was renamed in it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        renamed: Vec<Renamed>,
    },
}

/// A field of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The certificate's subject; empty for what else the text holds.
    pub of: String,
    /// The field's name.
    pub name: &'static str,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// What there is to say of a change of a text besides the whole. `why` says for what reason it is secret, if it is.
pub(super) fn look(walk: &Comparison, old: Option<&Value>, new: Option<&Value>, why: Option<Why>) -> Option<Inside> {
    let text = |value: Option<&'_ Value>| match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let (before, after) = (text(old), text(new));
    let reveal = walk.options.reveal;
    let hidden = !reveal && (walk.within.secret || why.is_some());
    // A name may make a secret of a certificate; its shape or its base64 may not.
    let open = reveal || (!walk.within.secret && why != Some(Why::Name));
    let pem = |text: &Option<String>| text.as_deref().and_then(certificate::certificates);
    if open && let (before @ Some(_), after) | (before, after @ Some(_)) = (pem(&before), pem(&after)) {
        return Some(Inside::Certificates { fields: fields(before, after, walk) });
    }
    let (before, after) = (before?, after?);
    if walk.within.depth < DEEPEST
        && let Some(document) = document(walk, &before, &after, hidden)
    {
        return Some(document);
    }
    let several = before.contains('\n') || after.contains('\n');
    if !several || (hidden && (before.contains("PRIVATE KEY-----") || after.contains("PRIVATE KEY-----"))) {
        return None;
    }
    let show = |line: &str| match line {
        "" => String::new(),
        line if hidden => walk.scrubber.mask(line.as_bytes()),
        line if reveal => line.to_owned(),
        line => clean(walk.scrubber, line).unwrap_or_else(|| line.to_owned()),
    };
    Some(Inside::Lines { hunks: hunks(&before, &after, &show) })
}

fn document(walk: &Comparison, before: &str, after: &str, hidden: bool) -> Option<Inside> {
    let ((format, old), (other, new)) = (opened(before)?, opened(after)?);
    if format != other {
        return None;
    }
    let options = Options {
        identifiers: walk.options.identifiers.clone(),
        ignore_order: walk.options.ignore_order,
        reveal: walk.options.reveal,
        ..Options::default()
    };
    let within = Within { depth: walk.within.depth + 1, secret: hidden };
    let mut found = Comparison::new(walk.scrubber, &options, within).run(&old, &new);
    // Documents that say the same in other words differ all the same for whoever reads the text: as lines.
    if found.changes.is_empty() {
        return None;
    }
    if format == "list" {
        found.changes.iter_mut().for_each(|change| unwrap_list(&mut change.path));
        found.changes.iter_mut().flat_map(|c| [&mut c.renamed_from, &mut c.renamed_to]).flatten().for_each(unwrap_list);
        found.renamed.iter_mut().flat_map(|renamed| [&mut renamed.from, &mut renamed.to]).for_each(unwrap_list);
    }
    let format = if format == "yaml" { "yaml" } else { "json" };
    Some(Inside::Document { format, changes: found.changes, renamed: found.renamed })
}

/// The key that a list is put under, so that it is a file of values.
fn unwrap_list(path: &mut Path) {
    if matches!(path.0.first(), Some(Segment::Key(key)) if key.is_empty()) {
        path.0.remove(0);
    }
}

/// A text that is a document of more than one value, opened: JSON, or YAML of several lines.
fn opened(text: &str) -> Option<(&'static str, Tree)> {
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
    let empty = matches!(&tree.root().kind, Kind::Map(entries) if entries.is_empty());
    (!several && !empty).then_some((format, tree))
}

/// The fields that differ. Certificates stand for each other by their subject, the rest by their order.
fn fields(before: Option<Pem>, after: Option<Pem>, walk: &Comparison) -> Vec<Field> {
    let take = |pem: Option<Pem>| pem.map_or_else(Default::default, |pem| (pem.certificates, pem.more));
    let ((mut old, old_more), (mut new, new_more)) = (take(before), take(after));
    old.retain(|certificate| match new.iter().position(|other| other == certificate) {
        Some(place) => {
            new.remove(place);
            false
        }
        None => true,
    });
    let mut fields = Vec::new();
    let mut pair = |old: Option<&Certificate>, new: Option<&Certificate>| {
        let of = new.or(old).map(|certificate| certificate.subject.clone()).unwrap_or_default();
        let (old, new) = (old.map(Certificate::fields), new.map(Certificate::fields));
        for place in 0..8 {
            let at = |fields: &Option<[(&'static str, String); 8]>| fields.as_ref().map(|all| all[place].1.clone());
            let name = old.as_ref().or(new.as_ref()).map_or("", |all| all[place].0);
            let (old, new) = (at(&old), at(&new));
            if old != new && (old.as_deref().unwrap_or(""), new.as_deref().unwrap_or("")) != ("", "") {
                fields.push(Field { of: of.clone(), name, old, new });
            }
        }
    };
    let mut rest = Vec::new();
    for certificate in &new {
        match old.iter().position(|other| other.subject == certificate.subject) {
            Some(place) => pair(Some(&old.remove(place)), Some(certificate)),
            None => rest.push(certificate),
        }
    }
    let pairs = old.len().max(rest.len());
    (0..pairs).for_each(|place| pair(old.get(place), rest.get(place).copied()));
    if old_more != new_more {
        let mask = |text: &str| match text {
            "" => None,
            text if walk.options.reveal => Some(text.to_owned()),
            text => Some(walk.scrubber.mask(text.as_bytes())),
        };
        let name = "private key or other text";
        fields.push(Field { of: String::new(), name, old: mask(&old_more), new: mask(&new_more) });
    }
    fields
}

/// A text that is no secret as a whole, with what is secret in it masked; `None` where nothing is.
pub(super) fn clean(scrubber: &Scrubber, text: &str) -> Option<String> {
    if let Some((_, tree)) = opened(text)
        && !secrets(&tree).is_empty()
    {
        return Some(scrubber.scrub_source(&tree));
    }
    let scrubbed = scrubber.scrub(text);
    let mut any = matches!(scrubbed, std::borrow::Cow::Owned(_));
    let lines: Vec<String> = scrubbed
        .split('\n')
        .map(|line| match clean_line(scrubber, line) {
            Some(clean) => {
                any = true;
                clean
            }
            None => line.to_owned(),
        })
        .collect();
    any.then(|| lines.join("\n"))
}

/// Masks what of a line is secret.
fn clean_line(scrubber: &Scrubber, line: &str) -> Option<String> {
    let spans = secret_spans(line);
    if spans.is_empty() {
        return None;
    }
    let (mut clean, mut at) = (String::with_capacity(line.len()), 0);
    for span in spans {
        clean.push_str(&line[at..span.start]);
        clean.push_str(&scrubber.mask(&line.as_bytes()[span.clone()]));
        at = span.end;
    }
    clean.push_str(&line[at..]);
    Some(clean)
}
