//! What is found inside of a text.

use zeroize::Zeroizing;

use super::literal::meant;

/// A secret inside of a text, and the name that it has there.
pub(in super::super) type Embedded = (Option<String>, Zeroizing<Vec<u8>>);

/// Adds a secret, unless there is none, or only says where it is.
pub(in super::super) fn push(found: &mut Vec<Embedded>, name: Option<&str>, secret: &str) {
    if !secret.is_empty() && !is_reference(secret) {
        found.push((name.map(str::to_owned), Zeroizing::new(secret.as_bytes().to_vec())));
    }
}

/// `$(PGPASSWORD)`, `${TOKEN}`, `{{ .Values.x }}`, `<your token>`, Apache's `%{TOKEN}e`, HAProxy's `%[env(TOKEN)]`: it says
/// where the secret is.
pub(super) fn is_reference(text: &str) -> bool {
    ["$", "{{", "<", "%{", "%["].iter().any(|begin| text.starts_with(begin))
}

/// A secret as it stands in quotes, and as it is meant.
pub(super) fn push_quoted(found: &mut Vec<Embedded>, name: &str, inside: &str) {
    push(found, Some(name), inside);
    let meant = meant(inside);
    if meant != inside {
        push(found, Some(name), &meant);
    }
}

/// No more than so many bytes of a text: what is looked through at many places of it.
pub(super) fn head(text: &str, most: usize) -> &str {
    &text[..(0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)]
}
