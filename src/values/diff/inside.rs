//! What differs within a text: the fields of certificates, the values of a JSON or YAML document, else lines.

use super::certificate::{self, Certificate, Pem};
use super::change::{CertificateField, Inside};
use super::text::hunks;
use crate::redact::{Scrubber, Why, opened};
use crate::yaml::{Tree, Value};

/// A text on both sides, looked into.
pub(super) struct Texts<'a> {
    before: Option<&'a str>,
    after: Option<&'a str>,
    scrubber: &'a Scrubber,
    reveal: bool,
    /// Whether its lines and values are masked.
    pub(super) hidden: bool,
    /// Whether a certificate in it may be shown.
    open: bool,
}

impl<'a> Texts<'a> {
    /// Of two values, of which at least one may be a text. `why` says for what reason they are secret, if they are;
    /// `within_secret`, whether they stand in a text that is.
    pub(super) fn new(
        values: [Option<&'a Value>; 2],
        why: Option<Why>,
        within_secret: bool,
        scrubber: &'a Scrubber,
        reveal: bool,
    ) -> Self {
        let [before, after] = values.map(|value| match value {
            Some(Value::String(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        });
        let hidden = !reveal && (within_secret || why.is_some());
        // A name may make a secret of a certificate; its shape or its base64 may not.
        let open = reveal || (!within_secret && why != Some(Why::Name));
        Self { before, after, scrubber, reveal, hidden, open }
    }

    /// Fields of certificates, where there is one on either side that may be shown.
    pub(super) fn certificates(&self) -> Option<Inside> {
        let pem = |text: Option<&str>| text.and_then(certificate::certificates);
        let (before, after) = (pem(self.before), pem(self.after));
        let any = self.open && (before.is_some() || after.is_some());
        any.then(|| Inside::Certificates { fields: self.fields(before, after) })
    }

    /// The format and the two documents, where either text is one of the same format.
    pub(super) fn documents(&self) -> Option<(&'static str, Tree, Tree)> {
        let ((format, old), (other, new)) = (opened(self.before?)?, opened(self.after?)?);
        (format == other).then_some((format, old, new))
    }

    /// Lines, where there are several.
    pub(super) fn lines(&self) -> Option<Inside> {
        let (before, after) = (self.before?, self.after?);
        let several = before.contains('\n') || after.contains('\n');
        if !several || (self.hidden && (before.contains("PRIVATE KEY-----") || after.contains("PRIVATE KEY-----"))) {
            return None;
        }
        let show = |line: &str| match line {
            "" => String::new(),
            line if self.hidden => self.scrubber.mask(line.as_bytes()),
            line if self.reveal => line.to_owned(),
            line => self.scrubber.cleaned("", line),
        };
        Some(Inside::Lines { hunks: hunks(before, after, &show) })
    }

    /// The fields that differ. Certificates stand for each other by their subject, the rest by their order.
    fn fields(&self, before: Option<Pem>, after: Option<Pem>) -> Vec<CertificateField> {
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
                    fields.push(CertificateField { of: of.clone(), name, old, new });
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
                text if self.reveal => Some(text.to_owned()),
                text => Some(self.scrubber.mask(text.as_bytes())),
            };
            let name = "private key or other text";
            fields.push(CertificateField { of: String::new(), name, old: mask(&old_more), new: mask(&new_more) });
        }
        fields
    }
}
