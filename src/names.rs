//! Names that become paths of the Kubernetes API, arguments of helm and folders of the vault. Each type holds one grammar,
//! checked where the name comes in: from a flag, the environment, the settings, a bundle, a record or a journal. So none of
//! them is a path, an option or a line of its own.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text;

/// The longest name that Helm lets a release have.
const RELEASE_LIMIT: usize = 53;
/// RFC 1123: the longest label, and the longest name of several.
const LABEL_LIMIT: usize = 63;
const SUBDOMAIN_LIMIT: usize = 253;
/// The longest text of somebody else's that is kept.
const TEXT_LIMIT: usize = 4096;

/// The text is not a name of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {what}: {rule}", text.escape_debug())]
pub struct BadName {
    text: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $fits:expr, $what:literal, $default:literal, $rule:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                let fits: fn(&str) -> bool = $fits;
                if fits(&text) { Ok(Self(text)) } else { Err(BadName { text, what: $what, rule: $rule }) }
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        /// What OpsChain's own documents call it.
        impl Default for $name {
            fn default() -> Self {
                Self($default.to_owned())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        #[cfg(test)]
        impl From<&str> for $name {
            /// For tests, which know what they write.
            fn from(text: &str) -> Self {
                text.parse().unwrap()
            }
        }
    )*};
}

names! {
    /// A namespace of Kubernetes. It holds no dot.
    NamespaceName: is_label, "the name of a namespace", "opschain",
        "it has 1 to 63 lower-case letters, digits and hyphens, and begins and ends with a letter or digit";
    /// A release of Helm.
    ReleaseName: |text| text.len() <= RELEASE_LIMIT && is_subdomain(text), "the name of a Helm release", "opschain",
        "it has 1 to 53 lower-case letters, digits, hyphens and dots, and begins and ends with a letter or digit";
    /// An object of Kubernetes, such as the database's cluster or a Secret.
    ObjectName: is_subdomain, "the name of an object", "opschain-db",
        "it has 1 to 253 lower-case letters, digits, hyphens and dots, and begins and ends with a letter or digit";
}

/// RFC 1123's label.
fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    text.len() <= LABEL_LIMIT
        && bytes.first().is_some_and(|byte| plain(*byte))
        && bytes.last().is_some_and(|byte| plain(*byte))
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
}

/// RFC 1123's labels with dots between them.
fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_LIMIT && text.split('.').all(is_label)
}

/// Whether it may be one step of a path of the Kubernetes API: some kinds of objects have freer names than RFC 1123's.
pub fn is_path_step(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= SUBDOMAIN_LIMIT
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '%' | '?' | '#'))
}

/// Whether it is a tag or version, as registries and Helm write them: `2026-08-20`, `0.1.0+2025-04-25`, `15.14`.
pub fn is_tag(text: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.len() <= 128
        && text.as_bytes().first().is_some_and(word)
        && text.as_bytes().iter().all(|byte| word(byte) || b".+-".contains(byte))
}

/// A text as such a line: what would steer a terminal is written out, and what is too long ends with an ellipsis.
pub fn as_text(from: &str) -> String {
    let mut line = String::with_capacity(from.len());
    for c in from.chars() {
        let end = line.len();
        match text::is_safe(c) {
            true => line.push(c),
            false => line.extend(c.escape_unicode()),
        }
        if line.len() > TEXT_LIMIT - '…'.len_utf8() {
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

/// Whether it is a line of text that people may be shown: nothing in it steers a terminal.
pub fn is_text(text: &str) -> bool {
    text.len() <= TEXT_LIMIT && text.chars().all(text::is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn whatever_others_have_named_becomes_a_line_of_text(named in "\\PC*|.*", times in 1usize..300) {
            let line = as_text(&named.repeat(times));
            proptest::prop_assert!(is_text(&line), "{line:?}");
            if is_text(&named) && named.len() < TEXT_LIMIT - 3 {
                proptest::prop_assert_eq!(as_text(&named), named);
            }
        }
    }

    #[test]
    fn a_name_is_no_path_no_option_and_no_line_of_its_own() {
        for bad in ["", ".", "..", "../../x", "-x", "x-", "a/b", "a b", "A", "a\n", "\u{202e}a", "a%2f", "ä", "a..b"] {
            assert!(bad.parse::<NamespaceName>().is_err(), "{bad}");
            assert!(bad.parse::<ReleaseName>().is_err(), "{bad}");
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
        let dotted = "my-release.1";
        assert!(dotted.parse::<NamespaceName>().is_err() && dotted.parse::<ReleaseName>().is_ok());
        let long = |count: usize| "a".repeat(count);
        assert!(long(63).parse::<NamespaceName>().is_ok() && long(64).parse::<NamespaceName>().is_err());
        assert!(long(53).parse::<ReleaseName>().is_ok() && long(54).parse::<ReleaseName>().is_err());
        let said = "a\u{1b}[2J".parse::<NamespaceName>().unwrap_err().to_string();
        assert!(said.starts_with(r"`a\u{1b}[2J` is not the name of a namespace: it has"), "{said}");
    }

    #[test]
    fn tags_texts_and_steps_of_paths_are_told_from_what_only_looks_like_them() {
        for good in ["2026-08-20", "0.1.0+2025-04-25", "local", "15.14", "2026.8.20-rc.1"] {
            assert!(is_tag(good), "{good}");
        }
        assert!(!is_tag("-x") && !is_tag("") && !is_tag("a b") && !is_tag("a\u{1b}"));
        assert!(is_path_step("system:node") && !is_path_step("..") && !is_path_step("a/b") && !is_path_step("a?b"));
        assert!(is_text("LDAP: \u{e9}, 1 of 2") && !is_text("a\nb") && !is_text("\u{9b}2J") && !is_text("\u{2066}a"));
    }
}
