//! LDIF (RFC 2849) as `slapcat` writes it: read, held against another one, and what makes the one of the other. It holds
//! hashes of passwords: values are never shown, and what is written of them goes into memory that is wiped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What a server keeps of an entry by itself, in small letters: it makes it anew, and refuses most of it from others.
const MAINTAINED: &[&str] = &[
    "structuralobjectclass",
    ENTRY_UUID,
    "entrycsn",
    "contextcsn",
    "entrydn",
    "creatorsname",
    "createtimestamp",
    "modifiersname",
    "modifytimestamp",
    "subschemasubentry",
    "hassubordinates",
    "numsubordinates",
    "memberof",
    "authtimestamp",
    "pwdchangedtime",
    "pwdfailuretime",
    "pwdhistory",
    "pwdgraceusetime",
    "pwdlastsuccess",
];
/// The one of these by which others may know an entry, and which an administrator may set.
const ENTRY_UUID: &str = "entryuuid";
/// What names other entries, which a server may look for when it is set.
const NAMES_OTHERS: &[&str] = &["member", "uniquemember"];
const PASSWORD: &str = "userpassword";

/// A directory, or a part of one.
pub struct Ldif {
    /// The text with its folded lines joined.
    text: Zeroizing<String>,
    entries: Vec<LdifEntry>,
}

struct LdifEntry {
    dn: String,
    /// The line of its name.
    name: Range<usize>,
    /// The lines of its attributes.
    lines: Vec<Range<usize>>,
}

/// Where a text stops being LDIF. Quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry}: {what}")]
pub struct LdifError {
    /// Which entry of the text, from 1 on.
    entry: usize,
    what: &'static str,
}

/// How a directory stands to the one that is wanted, by the names of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LdifComparison {
    /// Entries that it lacks.
    pub missing: Vec<String>,
    /// Entries that hold something else than what is wanted.
    pub differing: Vec<String>,
    /// Entries that are not wanted.
    pub more: Vec<String>,
}

/// Digests of an entry's values, by attribute.
type Content = BTreeMap<String, BTreeSet<[u8; 32]>>;

impl Ldif {
    /// Reads a text.
    ///
    /// # Errors
    /// It is not text, or an entry in it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, LdifError> {
        let wrong = |entry, what| LdifError { entry, what };
        let source = std::str::from_utf8(bytes).map_err(|_| wrong(1, "it is no text"))?;
        let mut text = Zeroizing::new(String::with_capacity(source.len() + 1));
        for line in source.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            match line.strip_prefix(' ') {
                Some(rest) if !text.is_empty() => {
                    let joined = text.trim_end_matches('\n').len();
                    text.truncate(joined);
                    text.push_str(rest);
                }
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        let mut entries: Vec<LdifEntry> = Vec::new();
        let (mut open, mut at) = (false, 0);
        for line in text.split('\n') {
            let range = at..at + line.len();
            at += line.len() + 1;
            let number = entries.len() + usize::from(!open);
            if line.is_empty() {
                open = false;
                continue;
            }
            if line.starts_with('#') || (entries.is_empty() && line.starts_with("version:")) {
                continue;
            }
            let (attribute, value) = attribute(line).ok_or(wrong(number, "a line has no value"))?;
            match entries.last_mut().filter(|_| open) {
                Some(entry) => entry.lines.push(range),
                None if attribute == "dn" => {
                    let dn = std::str::from_utf8(&value).map_err(|_| wrong(number, "its name is no text"))?;
                    entries.push(LdifEntry { dn: dn.to_owned(), name: range, lines: Vec::new() });
                    open = true;
                }
                None => return Err(wrong(number, "it does not begin with its name")),
            }
        }
        Ok(Self { text, entries })
    }

    /// How many entries it has.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The name of its first entry, below which all others are.
    pub fn base(&self) -> Option<&str> {
        self.entries.first().map(|entry| entry.dn.as_str())
    }

    /// Passwords and hashes of them.
    pub fn passwords(&self) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
        let lines = self.entries.iter().flat_map(|entry| &entry.lines).map(|range| &self.text[range.clone()]);
        lines.filter_map(|line| attribute(line).filter(|(name, _)| is_password(name)).map(|(_, value)| value))
    }

    /// Holds `found` against this one, which is wanted. What servers maintain themselves does not count.
    pub fn compare(&self, found: &Self) -> LdifComparison {
        let mut theirs = found.by_name();
        let mut seen = LdifComparison::default();
        for entry in &self.entries {
            match theirs.remove(&key(&entry.dn)) {
                None => seen.missing.push(entry.dn.clone()),
                Some(other) if self.content(entry) != found.content(other) => seen.differing.push(entry.dn.clone()),
                Some(_) => {}
            }
        }
        seen.more = found.entries.iter().filter(|e| theirs.contains_key(&key(&e.dn))).map(|e| e.dn.clone()).collect();
        seen
    }

    /// What makes this one out of `found`, for `ldapmodify`: entries that are missing, what names others last, then changes
    /// of those that differ. With `ids`, new entries get the identity (`entryUUID`) that they have here.
    pub fn changes(&self, found: &Self, ids: bool) -> Zeroizing<String> {
        let theirs = found.by_name();
        let mut out = Zeroizing::new(String::with_capacity(2 * self.text.len() + 4096));
        let mut missing: Vec<&LdifEntry> = Vec::new();
        let mut differing: Vec<(&LdifEntry, &LdifEntry)> = Vec::new();
        for entry in &self.entries {
            match theirs.get(&key(&entry.dn)) {
                None => missing.push(entry),
                Some(other) => differing.push((entry, other)),
            }
        }
        missing.sort_by_key(|entry| (self.names_others(entry), depth(&entry.dn)));
        for entry in missing {
            self.begin(&mut out, entry, "add");
            for (name, line) in self.attributes(entry) {
                if !is_maintained(&name) || (ids && name == ENTRY_UUID) {
                    out.push_str(line);
                    out.push('\n');
                }
            }
            out.push('\n');
        }
        for (entry, other) in differing {
            let (wanted, had) = (self.content(entry), found.content(other));
            if wanted != had {
                self.begin(&mut out, entry, "modify");
                self.modify(&mut out, entry, &wanted, &had);
                out.push('\n');
            }
        }
        out
    }

    fn begin(&self, out: &mut String, entry: &LdifEntry, change: &str) {
        out.push_str(&self.text[entry.name.clone()]);
        out.push_str("\nchangetype: ");
        out.push_str(change);
        out.push('\n');
    }

    fn modify(&self, out: &mut String, entry: &LdifEntry, wanted: &Content, had: &Content) {
        for name in wanted.keys().filter(|name| wanted.get(*name) != had.get(*name)) {
            out.push_str("replace: ");
            out.push_str(name);
            out.push('\n');
            for (_, line) in self.attributes(entry).filter(|(other, _)| other == name) {
                out.push_str(line);
                out.push('\n');
            }
            out.push_str("-\n");
        }
        for name in had.keys().filter(|name| !wanted.contains_key(*name)) {
            out.push_str("delete: ");
            out.push_str(name);
            out.push_str("\n-\n");
        }
    }

    fn by_name(&self) -> BTreeMap<String, &LdifEntry> {
        self.entries.iter().map(|entry| (key(&entry.dn), entry)).collect()
    }

    fn attributes<'a>(&'a self, entry: &'a LdifEntry) -> impl Iterator<Item = (String, &'a str)> {
        entry.lines.iter().filter_map(|range| {
            let line = &self.text[range.clone()];
            Some((attribute_name(line)?, line))
        })
    }

    fn content(&self, entry: &LdifEntry) -> Content {
        let mut content = Content::new();
        for (name, line) in self.attributes(entry).filter(|(name, _)| !is_maintained(name)) {
            if let Some((_, value)) = attribute(line) {
                content.entry(name).or_default().insert(Sha256::digest(&*value).into());
            }
        }
        content
    }

    fn names_others(&self, entry: &LdifEntry) -> bool {
        self.attributes(entry).any(|(name, _)| NAMES_OTHERS.contains(&name.as_str()))
    }
}

/// An attribute's name in small letters, its options included.
fn attribute_name(line: &str) -> Option<String> {
    let name = line.split_once(':')?.0;
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// An attribute with its value; `None` also of a value that lies elsewhere, which `slapcat` never writes.
fn attribute(line: &str) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let (name, rest) = (attribute_name(line)?, line.split_once(':')?.1);
    let value = match rest.strip_prefix(':') {
        Some(encoded) => STANDARD.decode(encoded.trim()).ok()?,
        None if rest.starts_with('<') => return None,
        None => rest.trim_start_matches(' ').as_bytes().to_vec(),
    };
    Some((name, Zeroizing::new(value)))
}

fn is_maintained(name: &str) -> bool {
    MAINTAINED.contains(&name)
}

fn is_password(name: &str) -> bool {
    let name = name.split(';').next().unwrap_or_default();
    name == PASSWORD || name == "olcrootpw" || name.ends_with("password") || name.ends_with("credentials")
}

/// By which names are the same: without regard to capitals and to blanks around commas.
fn key(dn: &str) -> String {
    dn.split(',').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>().join(",")
}

/// Whether two names name one entry.
pub fn is_same_name(one: &str, other: &str) -> bool {
    key(one) == key(other)
}

fn depth(dn: &str) -> usize {
    dn.replace("\\,", "").split(',').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = "\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example
structuralObjectClass: organization
entryUUID: 34a30d4a-80f5-1041-82e8-9fe59bacff9a

dn: cn=admins,dc=example,dc=org
objectClass: groupOfNames
cn: admins
member: uid=ada,ou=users,dc=example,dc=org
entryUUID: 402b78d2-80f5-1041-98d8-cfd96cfb174e

dn: ou=users,dc=example,dc=org
objectClass: organizationalUnit
ou: users

dn:: dWlkPWFkYSxvdT11c2VycyxkYz1leGFtcGxlLGRjPW9yZw==
objectClass: inetOrgPerson
uid: ada
sn:: w7ZtbGF1dA==
userPassword:: e1NTSEF9WHZVRjhUdGFDZE9ubW9Lellmbk96WXlPNkhUU3dYeXo=
description: a very long description that goes on over the edge of the li
 ne
entryUUID: 40337f5a-80f5-1041-98d9-cfd96cfb174e
memberOf: cn=admins,dc=example,dc=org
";

    fn read(text: &str) -> Ldif {
        Ldif::parse(text.as_bytes()).unwrap()
    }

    /// What a server makes at its first start.
    fn fresh() -> Ldif {
        read(
            "dn: dc=example, dc=ORG\nobjectClass: organization\nobjectClass: dcObject\no: Other\ndc: example\nl: x\n\n\
             dn: cn=guest,dc=example,dc=org\ncn: guest\n",
        )
    }

    #[test]
    fn folded_lines_base64_names_and_comments_are_read() {
        let directory = read(&format!("version: 1\r\n# a comment\n{DIRECTORY}\n# end\n"));
        assert_eq!((directory.count(), directory.base()), (4, Some("dc=example,dc=org")));
        assert_eq!(directory.entries[3].dn, "uid=ada,ou=users,dc=example,dc=org");
        let passwords: Vec<Vec<u8>> = directory.passwords().map(|password| password.to_vec()).collect();
        assert_eq!(passwords, [b"{SSHA}XvUF8TtaCdOnmoKzYfnOzYyO6HTSwXyz".to_vec()]);
    }

    #[test]
    fn what_is_no_ldif_is_refused_by_its_entry_and_nothing_of_it_is_quoted() {
        let refused = |text: &str| Ldif::parse(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused("cn: secret\n"), "entry 1: it does not begin with its name");
        assert_eq!(refused("dn: a=b\nsecret\n"), "entry 1: a line has no value");
        assert_eq!(refused("dn: a=b\nc: d\n\nuserPassword:: !!\n"), "entry 2: a line has no value");
        assert_eq!(refused("dn: a=b\njpegPhoto:< file:///etc/passwd\n"), "entry 1: a line has no value");
        assert!(Ldif::parse(b"dn: \xff\n").is_err());
        assert_eq!(read("").count(), 0);
    }

    #[test]
    fn what_a_server_maintains_itself_does_not_tell_two_directories_apart() {
        let (wanted, other) =
            (read(DIRECTORY), DIRECTORY.replace("402b78d2", "00000000").replace("memberOf: cn", "memberOf: dn"));
        assert_eq!(wanted.compare(&read(&other)), LdifComparison::default());
        let seen = wanted.compare(&read(&DIRECTORY.replace("uid: ada", "uid: eve")));
        assert_eq!(seen.differing, ["uid=ada,ou=users,dc=example,dc=org"]);
        let seen = wanted.compare(&fresh());
        assert_eq!((seen.missing.len(), seen.differing.len()), (3, 1));
        assert_eq!(seen.more, ["cn=guest,dc=example,dc=org"]);
    }

    #[test]
    fn changes_add_parents_first_and_groups_last_and_change_what_differs() {
        let changes = read(DIRECTORY).changes(&fresh(), true);
        let names: Vec<&str> = changes.lines().filter(|line| line.starts_with("dn:")).collect();
        let ada = "dn:: dWlkPWFkYSxvdT11c2VycyxkYz1leGFtcGxlLGRjPW9yZw==";
        assert_eq!(
            names,
            ["dn: ou=users,dc=example,dc=org", ada, "dn: cn=admins,dc=example,dc=org", "dn: dc=example,dc=org"]
        );
        assert!(changes.contains(&format!("{ada}\nchangetype: add\nobjectClass: inetOrgPerson\n")), "{}", *changes);
        assert!(changes.contains("entryUUID: 40337f5a") && !changes.to_lowercase().contains("memberof"));
        assert!(!read(DIRECTORY).changes(&fresh(), false).contains("entryUUID"));
        let change = "dn: dc=example,dc=org\nchangetype: modify\nreplace: o\no: Example\n-\ndelete: l\n-\n\n";
        assert!(changes.ends_with(change), "{}", *changes);
        assert!(read(DIRECTORY).changes(&read(DIRECTORY), true).is_empty());
    }
}
