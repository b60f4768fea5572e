//! Files that hold values, by their names: how many of their values are secrets in the clear.

use super::references::{is_not_plain, is_not_plain_at, is_tagged};
use crate::redact::{self, Why};
use crate::values::Tree;
use crate::yaml::{NodeKind, Path, Segment, Trap, Value};

/// How a file holds values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    /// Checksums stand in many: only names and shapes count.
    Json,
    /// Lines of `KEY=value`.
    Variables,
}

/// By its name; `None` where a file is not known to hold values.
fn format_of(path: &str) -> Option<Format> {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let name = COPIES.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let ends = |all: &[&str]| all.iter().any(|end| name.ends_with(end));
    if ends(&[".yaml", ".yml"]) || name == "kubeconfig" || path.ends_with(".kube/config") {
        Some(Format::Yaml)
    } else if ends(&[".json", ".dockerconfigjson", ".tfstate"]) {
        Some(Format::Json)
    } else {
        let is_build = name == "dockerfile" || name.starts_with("dockerfile.");
        (SETTINGS.contains(&name) || ends(ENDS) || is_build || name.contains(".env.")).then_some(Format::Variables)
    }
}

/// What is added to the name of a file for a copy of it, or for what is made into it.
const COPIES: &[&str] = &[".bak", ".orig", ".old", "~", ".gotmpl", ".tmpl", ".tpl", ".j2"];

/// Files of settings by name, and by the ends of their names.
#[rustfmt::skip]
const SETTINGS: &[&str] = &[
    ".envrc", ".npmrc", ".netrc", "_netrc", ".git-credentials", ".pgpass", "pgpass.conf", ".my.cnf", ".pypirc", ".s3cfg", ".boto", ".htpasswd", "htpasswd", "userlist.txt",
    "credentials", ".curlrc", ".wgetrc", ".yarnrc", ".gemrc", "chap-secrets", "ipsec.secrets",
];
#[rustfmt::skip]
const ENDS: &[&str] = &[
    ".env", ".tfvars", ".properties", ".ini", ".cfg", ".conf", ".cnf", ".toml", ".tf", ".hcl", ".sh", ".bash", ".zsh", ".ps1", ".service", ".sql", ".htpasswd", ".pgpass",
];

/// Whether a file of this name is read as values or settings.
pub(super) fn is_read(path: &str) -> bool {
    format_of(path).is_some()
}

/// Keys of what only looks as random as a secret.
const CHECKSUMS: &[&str] = &[
    "sha1",
    "sha256",
    "sha512",
    "md5",
    "digest",
    "checksum",
    "integrity",
    "resolution",
    "hash",
    "commit",
    "revision",
    "rev",
    "ref",
    "cabundle",
    "fingerprint",
    "pgp",
    "gpg",
    "fp",
    "kms",
    "arn",
];

/// How many values of a file are secrets in the clear, and the line of the first. The JSON of a vault is its `own`.
pub(super) fn in_the_clear(path: &str, bytes: &[u8], own: bool) -> Option<(usize, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = SecretLines::default();
    match format_of(path)? {
        Format::Json if own => {}
        Format::Variables => found.lines(&text, 0),
        format => found.documents(&text, format),
    }
    found.first.map(|line| (found.count, line))
}

/// A text that another program wrote in UTF-16, as its first two bytes say.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let read: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let (pairs, _) = bytes[2..].as_chunks::<2>();
    Some(String::from_utf16_lossy(&pairs.iter().map(|pair| read(*pair)).collect::<Vec<u16>>()))
}

/// How many there are, and where the first is.
#[derive(Default)]
struct SecretLines {
    count: usize,
    first: Option<usize>,
}

impl SecretLines {
    fn note(&mut self, line: usize) {
        self.count += 1;
        self.first = Some(self.first.map_or(line, |first| first.min(line)));
    }

    /// Each document of a file is one; `---` parts them.
    fn documents(&mut self, text: &str, format: Format) {
        let (mut document, mut begin) = (String::new(), 0);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if line.starts_with("---") {
                self.document(&std::mem::take(&mut document), format, begin);
                begin = number + 1;
            } else {
                document.push_str(line);
            }
        }
        self.document(&document, format, begin);
    }

    /// One document, before which there are `begin` lines. What cannot be read (a template, say) is judged by its lines.
    fn document(&mut self, text: &str, format: Format, begin: usize) {
        let parsed = Tree::parse(text.as_bytes()).ok().map(|tree| (tree, 0));
        // A list at the root is no file of values, and may hold them all the same.
        let Some((tree, lower)) = parsed.or_else(|| as_list(text)) else {
            return self.lines(text, begin);
        };
        for (path, node, why) in redact::written_secrets(&tree) {
            let Some(scalar) = node.scalar() else { continue };
            let text = scalar.value.text();
            let last = path.keys().next_back().unwrap_or_default().to_lowercase();
            let is_one_of_many = path.keys().count() == 1 && matches!(path.0.last(), Some(Segment::Index(_)));
            let is_checksum =
                why == Why::Entropy && (format == Format::Json || CHECKSUMS.contains(&last.as_str()) || is_one_of_many);
            let start = node.span.bytes.start;
            let line = &tree.source()[tree.source()[..start].rfind('\n').map_or(0, |end| end + 1)..start];
            if is_tagged(line) || is_checksum || is_not_plain(&text) || is_not_plain_at(&tree, &path, &text) {
                continue;
            }
            self.note(begin + tree.source()[..node.span.bytes.start].matches('\n').count() + 1 - lower);
        }
        // What stands behind a document's end (`...`) is read by people only.
        for trap in tree.traps() {
            if let Trap::IgnoredRest { at } = trap {
                self.lines(&tree.source()[at.bytes.start..], (begin + at.line - 1).saturating_sub(lower));
            }
        }
    }

    /// Lines of `KEY=value` or `key: value`.
    fn lines(&mut self, text: &str, begin: usize) {
        for (number, line) in text.lines().enumerate() {
            if is_secret_line(line) {
                self.note(begin + number + 1);
            }
        }
    }
}

/// A document that is a list, below a key, and by how many lines it stands lower there.
fn as_list(text: &str) -> Option<(Tree, usize)> {
    let below = |key: &str| Tree::parse(format!("{key}{text}").as_bytes()).ok();
    let is_list = |tree: &Tree| tree.root().child("items").is_some_and(|items| matches!(items.kind, NodeKind::List(_)));
    [("items:\n", 1), ("items: ", 0)].iter().find_map(|(key, more)| Some((below(key).filter(is_list)?, *more)))
}

fn is_secret_line(line: &str) -> bool {
    let line = line.trim();
    let line = ["export ", "- ", "ENV ", "ARG "].iter().find_map(|begin| line.strip_prefix(begin)).unwrap_or(line);
    let (key, value) = line.split_once(['=', ':']).unwrap_or_default();
    let value = value.trim().trim_matches(['"', '\'']);
    let value_of = |text: &str| Value::String(text.to_owned());
    let key = key.trim().trim_matches(['"', '\'']);
    let is_key = !key.contains(|c: char| c.is_whitespace() || "$()[]{}".contains(c));
    let is_marked = || value.split_once(' ').is_some_and(|(tag, _)| is_tagged(tag));
    let by_name = || is_key && !is_marked() && redact::is_secret(&Path::of(&[key]), None, &value_of(value));
    let by_shape = || redact::why_secret(&Path::root(), None, &value_of(line)) == Some(Why::Shape);
    let is_block = value.starts_with(['|', '>', '{', '[', '&']) && !value.starts_with("[[");
    // systemd's takes the place of a file; psql's names a variable.
    let is_place = key.starts_with("LoadCredential") || line.contains(":'");
    let is_plain = !value.is_empty() && !is_not_plain(value);
    !line.starts_with('#')
        && !is_block
        && !is_place
        && ((is_plain && by_name()) || ((is_plain || value.is_empty()) && !is_not_plain(line) && by_shape()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_into_by_their_names_and_what_cannot_be_read_by_its_lines() {
        let found = |path: &str, text: &str| in_the_clear(path, text.as_bytes(), false);
        for path in ["a.yaml", "A.YAML", "a.yml.bak", "kubeconfig", ".kube/config"] {
            assert_eq!(found(path, "a: 1\npassword: zebra-one-7\n"), Some((1, 2)), "{path}");
            assert_eq!(found(path, "x: {{ .Values.y }}-z\npassword: zebra-one-7\n"), Some((1, 2)), "{path}");
        }
        for path in [".env", ".env.prod", "f.env.prod", ".envrc", "a.tfvars", "a.properties", ".npmrc"] {
            assert_eq!(found(path, "A=1\nexport DB_PASSWORD = \"zebra-one-7\"\n"), Some((1, 2)), "{path}");
        }
        for path in ["a.ini", "b.conf", "c.toml", "d.sh", "my.cnf", "credentials"] {
            assert_eq!(found(path, "[db]\npassword = \"zebra-one-7\"\n"), Some((1, 2)), "{path}");
        }
        for path in ["values.yaml.gotmpl", "values.yaml.tpl", "values.yaml~", "a.yml.j2"] {
            assert_eq!(found(path, "a: 1\npassword: zebra-one-7\n"), Some((1, 2)), "{path}");
        }
        assert_eq!(found("Dockerfile", "FROM x\nENV PGPASSWORD=zebra-one-7\n"), Some((1, 2)));
        for (text, line) in [
            ("- password: zebra-one-7\n", 1),
            ("# x\n- name: PGPASSWORD\n  value: zebra-one-7\n", 3),
            ("- hosts: all\n  vars:\n    db_password: zebra-one-7\n", 3),
            ("[{\"password\": \"zebra-one-7\"}]\n", 1),
            ("- apiVersion: v1\n  kind: Secret\n  stringData: {password: zebra-one-7}\n", 3),
            ("a: 1\n---\n- password: zebra-one-7\n", 3),
            // What Helm does not keep stands in the file all the same.
            ("env:\n  PGPASSWORD: zebra-one-7\n  PGPASSWORD: ${PGPASSWORD}\n", 2),
            ("env:\n  PGPASSWORD: zebra-one-7\nenv: {}\n", 2),
            ("x: &x {PGPASSWORD: '${P}'}\nenv:\n  PGPASSWORD: zebra-one-7\n  <<: *x\n", 3),
            ("env:\n  <<: {PGPASSWORD: zebra-one-7}\n  PGPASSWORD: ${P}\n", 2),
            ("env:\n  <<: {PGPASSWORD: zebra-one-7}\n", 2),
            ("a: 1\n...\nenv:\n  PGPASSWORD: zebra-one-7\n", 4),
            ("a: 1\n...\n]: x\nPGPASSWORD: zebra-one-7\n", 4),
            ("{\"env\": {\"PGPASSWORD\": \"zebra-one-7\"}, \"env\": {}}\n", 1),
        ] {
            assert_eq!(found("a.yaml", text), Some((1, line)), "{text}");
        }
        assert_eq!(found("userlist.txt", "\"app\" \"zebra-one-7\"\n"), Some((1, 1)));
        assert_eq!(found("a.sql", "-- roles\nALTER ROLE app PASSWORD 'zebra-one-7';\n"), Some((1, 2)));
        assert_eq!(found(".git-credentials", "https://u:zebra-one-7@h\n"), Some((1, 1)));
        assert_eq!(found(".dockerconfigjson", "{\"auths\": {\"r\": {\"password\": \"zebra-one-7\"}}}"), Some((1, 1)));
        for (path, text) in [
            ("a.txt", "password: zebra-one-7\n"),
            ("a.sh", "TOKEN=$(cat f)\nif [ \"$TOKEN\" = \"none-of-them\" ]; then exit; fi\n"),
            ("a.yaml", "password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6231\n"),
            ("a.yaml", "{password: \"!vault |\"}\n"),
            ("a.yaml", "password: !secret database_password\nx: {token: !env DATABASE_TOKEN}\n"),
            ("a.yaml", "password: secretref+database\n"),
            (".sops.yaml", "creation_rules:\n- pgp: 85D77543B3D624B63CEA9E6DBC17301B491B3F21\n"),
            ("lock.yaml", "a: {sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}\n"),
            ("a.yaml", "x: {{ .Values.y }}-z\npassword: {{ .Values.p }}\n# password: zebra-one-7\n"),
            ("a.yaml", "- password\n- name\n"),
            ("a.yaml", "- 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n"),
            ("v.env", "PGPASSWORD=ENC[AES256_GCM,data:Kx6JwQvMZ0m1zv3xS0pXcA==,iv:3M7=,tag:5nq==,type:str]\n"),
            ("v.ini", "[db]\npassword = ENC[AES256_GCM,data:Kx6JwQvMZ0m1zv3xS0pXcA==,iv:3M7=,tag:5nq==,type:str]\n"),
            ("a.properties", "db.password=ENC(Kx6JwQvMZ0m1zv3xS0pXcA==)\n"),
            ("a.tf", "password = var.db_password\ntoken = data.vault_generic_secret.db.data[\"password\"]\n"),
            ("a.tf", "password = random_password.db.result\nsecret = local.database_secret\n"),
            ("a.sql", "ALTER ROLE x PASSWORD :'database_password';\n"),
            ("a.service", "LoadCredential=password:/etc/opschain/database\n"),
        ] {
            assert_eq!(found(path, text), None, "{path} {text}");
        }
    }

    #[test]
    fn utf16_is_read_in_both_orders() {
        let units: Vec<u16> = "\u{feff}password: zebra".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        assert_eq!([utf16(&little), utf16(&big)], [Some("password: zebra".into()), Some("password: zebra".into())]);
        assert_eq!(utf16(b"password"), None);
    }
}
