//! Secrets that Helm does not read as they were written: booleans, tags, anchors, comments, blanks, placeholders. No
//! finding quotes one.

use std::collections::HashSet;

use super::finding::{LintFinding, finding};
use super::placeholder::placeholder;
use super::secret_name::{Measure, is_own, is_plural, is_singular, is_switch, is_variable, measure};
use super::written::{is_in_typographic_quotes, is_invisible};
use crate::redact::{NamedSecret, secret_in_key};
use crate::yaml::{Node, NodeKind, Path, Segment, Style, Tree, Value};

/// What is wrong with how each secret was written: the first thing that explains it.
pub(super) fn check_all(tree: &Tree, secrets: &[NamedSecret<'_>]) -> Vec<LintFinding> {
    let parent = |named: &NamedSecret<'_>| named.path.0.split_last().map(|(_, parent)| parent.to_vec());
    let filled: HashSet<_> = secrets.iter().filter(|named| !is_null(named.node)).map(parent).collect();
    let aliases = aliases(tree.source());
    let mut findings = Vec::new();
    for named in secrets {
        if let Some(Segment::Key(key)) = named.path.0.last()
            && secret_in_key(tree, key, named.node).is_some()
        {
            let at = named.written.as_ref().map_or(&named.node.span, |written| &written.at);
            let path = Path(named.path.0[..named.path.0.len() - 1].to_vec());
            let reason = "a secret stands in a key here: without a blank, its name does not end before it".to_owned();
            let fix = "put `: ` between the name and the secret".to_owned();
            findings.push(LintFinding { reason, fix, ..finding("secret-not-text", at, Some(&path)) });
            continue;
        }
        // A file may leave out all of them; one variable among others was forgotten.
        let fault = match is_null(named.node) {
            true => written(tree, named, &aliases)
                .or_else(|| empty(tree, named).filter(|_| is_variable(&named.name) && filled.contains(&parent(named)))),
            false => written(tree, named, &aliases).or_else(|| read(tree, named)).or_else(|| text(tree, named)),
        };
        if let Some((id, reason, fix)) = fault {
            let at = named.written.as_ref().map_or(&named.node.span, |written| &written.at);
            findings.push(LintFinding { reason, fix, ..finding(id, at, Some(&named.path)) });
        }
    }
    findings
}

type Fault = (&'static str, String, String);

const QUOTES: &str = "put it in single quotes";

/// Signs at its beginning that YAML takes for its own, and a `#` that cuts it.
fn written(tree: &Tree, named: &NamedSecret<'_>, aliases: &HashSet<&str>) -> Option<Fault> {
    let written = named.written.as_ref()?;
    let is_nothing = is_nothing(tree, named.node);
    let not_text = |what: &str| Some(("secret-not-text", what.to_owned(), QUOTES.to_owned()));
    if let Some(tag) = &written.tag
        && !is_standard(&tree.source()[tag.clone()])
    {
        return not_text("this secret begins with `!`: Helm takes its first word for a tag, and drops it");
    }
    if let Some(tag) = &written.tag
        && matches!(&tree.source()[tag.clone()], "!!binary" | "!<tag:yaml.org,2002:binary>")
    {
        return not_text("this secret is tagged `!!binary`: Helm decodes it, and deploys other characters");
    }
    if let Some(anchor) = &written.anchor
        && (is_nothing || !aliases.contains(name_at(&tree.source()[anchor.start + 1..anchor.end])))
    {
        return not_text("this secret begins with `&`: Helm takes its first word for an anchor, and drops it");
    }
    let is_plain = named.node.scalar().is_some_and(|scalar| scalar.style == Style::Plain);
    match &written.cut {
        Some(_) if is_nothing => not_text("this secret begins with `#`: Helm takes it for a comment"),
        Some(cut) if tree.source()[cut.start..].starts_with(',') => {
            let reason = "Helm ends this secret before its comma, and takes the rest for another key";
            Some(("secret-cut", reason.into(), format!("{QUOTES}, or give what stands behind the comma a value")))
        }
        Some(_) if is_plain => {
            let reason = "Helm ends this secret before ` #`, and takes the rest for a comment";
            Some(("secret-cut", reason.into(), format!("{QUOTES}, or put a blank behind the `#` of a comment")))
        }
        _ => None,
    }
}

fn empty(tree: &Tree, named: &NamedSecret<'_>) -> Option<Fault> {
    let reason = if is_nothing(tree, named.node) { "nothing stands here" } else { "this is no text" };
    let reason = format!("{reason}: Helm reads null, and takes the chart's own value away");
    Some(("secret-empty", reason, "write the secret, or remove the key".to_owned()))
}

/// What Helm reads instead of a text.
fn read(tree: &Tree, named: &NamedSecret<'_>) -> Option<Fault> {
    let raw = tree.raw(named.node).trim();
    let kind = match &named.node.kind {
        NodeKind::Scalar(scalar) => match &scalar.value {
            // `{name: x, secret: true}` says of something else that it is one.
            Value::Bool(_) if named.name == "secret" && matches!(raw, "true" | "false") => return None,
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => match measure(&named.name, raw) {
                Measure::Secret => "a number",
                Measure::Count => return None,
                Measure::Vast => {
                    let reason = "a template prints this number with an exponent";
                    let fix = "put it in quotes, unless the chart counts with it";
                    return Some(("number-as-exponent", reason.into(), fix.into()));
                }
            },
            Value::Bool(_) if !is_switch(&named.name, raw) => "a boolean",
            _ => return None,
        },
        NodeKind::Map(entries) if !entries.is_empty() => "a map",
        NodeKind::List(items) if !items.is_empty() && !is_plural(&named.name) => "a list",
        // A chart may well have a map or a list here. A variable is a text.
        NodeKind::Map(entries) if entries.is_empty() && is_own(&named.name) => "an empty map",
        NodeKind::List(items) if items.is_empty() && is_own(&named.name) => "an empty list",
        _ => return None,
    };
    let reason = format!("a secret that Helm reads as {kind}: it is deployed as other characters than were written");
    Some(("secret-not-text", reason, "put it in quotes".to_owned()))
}

/// What a text has that nobody sees, and what was never filled in.
fn text(tree: &Tree, named: &NamedSecret<'_>) -> Option<Fault> {
    let Value::String(text) = &named.node.scalar()?.value else { return None };
    // The charts that have this key render what stands under it: `{{ htpasswd "user" "password" }}`.
    let is_rendered = named.name == "htpasswd" && text.contains("{{");
    if let Some(what) = placeholder(text).filter(|_| !is_rendered) {
        let reason = format!("this secret is {what} that nothing has filled in");
        return Some(("secret-placeholder", reason, "write the secret itself".into()));
    }
    if is_in_typographic_quotes(text) {
        let reason = "the quotes around this secret are those of a word processor: Helm takes them for part of it";
        return Some(("secret-not-text", reason.into(), "write plain single quotes around it".into()));
    }
    if is_folded(tree, named.node, text) {
        let reason = "this secret is written in several lines, which Helm joins with blanks";
        return Some(("secret-blank", reason.into(), "write it in one line, in quotes".into()));
    }
    if has_escapes(tree, named.node, text) {
        let reason = "a backslash in this secret begins an escape: Helm reads a character there that nobody sees";
        return Some(("secret-blank", reason.into(), "put it in single quotes, in which a backslash is one".into()));
    }
    if is_parted(named, text) {
        return Some((
            "secret-blank",
            "this secret has a line end in its middle".into(),
            "write it in one line".into(),
        ));
    }
    // What an escape says is meant.
    let literal = |c: char| tree.raw(named.node).contains(c);
    let blank = unseen(text, literal)?;
    Some(("secret-blank", format!("this secret {blank}"), "write it in one line, in quotes, without it".into()))
}

/// Whether a text was written in several lines, as a long key is that was copied from a screen. Words and settings in a
/// block may well be meant to be joined.
fn is_folded(tree: &Tree, node: &Node, text: &str) -> bool {
    let raw = tree.raw(node).trim();
    let is_block = node.scalar().is_some_and(|scalar| scalar.style == Style::Block);
    let is_meant = || raw.lines().any(|line| line.trim().contains(' ')) || raw.lines().all(|line| line.contains('='));
    let is_document = text.starts_with(['{', '[']) || text.starts_with("-----BEGIN");
    text.contains(' ') && !text.contains('\n') && raw.contains('\n') && !is_document && !(is_block && is_meant())
}

/// Whether an escape parts a short secret in two: `"abc\nDEF"`. Longer lines and such with blanks or colons are documents.
fn is_parted(named: &NamedSecret<'_>, text: &str) -> bool {
    let is_quoted = named.node.scalar().is_some_and(|scalar| scalar.style != Style::Block);
    // `"C:\temp\new"` is a path, of which escapes have made two lines and a tab.
    let without_drive = |line: &str| match line.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() && text.contains('\t') => line[2..].to_owned(),
        _ => line.to_owned(),
    };
    let is_word = |line: &str| {
        let line = without_drive(line);
        !line.is_empty() && line.len() < 60 && !line.contains([' ', ':', '{', '['])
    };
    let is_document = text.starts_with("-----BEGIN");
    is_quoted
        && text.trim().contains('\n')
        && !is_document
        && is_singular(&named.name)
        && text.trim().lines().all(is_word)
}

/// Whether an escape stands for a character that nobody sees. In a text of several lines, a tab is one that was meant.
fn has_escapes(tree: &Tree, node: &Node, text: &str) -> bool {
    let (raw, inner) = (tree.raw(node).trim(), text.trim());
    let is_document = inner.starts_with(['{', '[']) || inner.starts_with("-----BEGIN");
    let is_meant = |c: char| inner.contains('\n') && matches!(c, '\n' | '\r' | '\t');
    let is_hidden = |c: char| (is_invisible(c) || c.is_control()) && !is_meant(c) && !raw.contains(c);
    raw.starts_with('"') && raw.contains('\\') && !is_document && inner.chars().any(is_hidden)
}

/// What of a text nobody sees. Documents and keys of several lines may end in a line end.
fn unseen(text: &str, literal: impl Fn(char) -> bool) -> Option<&'static str> {
    let inner = text.trim();
    if inner.is_empty() {
        return (!text.is_empty()).then_some("is made of blanks only");
    }
    if inner.chars().any(|c| (is_invisible(c) || (c.is_control() && !matches!(c, '\n' | '\r'))) && literal(c)) {
        return Some("holds a character that nobody sees");
    }
    if inner.contains('\n') || inner.starts_with(['{', '[']) || inner.starts_with("-----BEGIN") {
        return None;
    }
    if text.ends_with(['\n', '\r']) {
        return Some("ends in a line end");
    }
    (inner.len() < text.len()).then_some("begins or ends in a blank")
}

fn is_null(node: &Node) -> bool {
    node.scalar().is_some_and(|scalar| scalar.value == Value::Null)
}

/// Whether no character of a value stands there.
fn is_nothing(tree: &Tree, node: &Node) -> bool {
    node.scalar().is_some_and(|scalar| scalar.style == Style::Plain) && tree.raw(node).trim().is_empty()
}

/// The tags that YAML itself has, and the sign alone, which says: text.
fn is_standard(tag: &str) -> bool {
    const NAMES: &[&str] =
        &["str", "int", "float", "bool", "null", "binary", "timestamp", "seq", "map", "set", "omap", "merge"];
    tag.strip_prefix("!!").is_some_and(|name| NAMES.contains(&name)) || tag.starts_with("!<tag:yaml.org,2002:")
}

/// What the aliases of a file may name: YAML's names are letters, digits, `-` and `_`.
fn aliases(source: &str) -> HashSet<&str> {
    source.split('*').skip(1).map(name_at).collect()
}

fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::named_secrets;

    fn found(yaml: &str) -> Vec<String> {
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let findings: Vec<LintFinding> = check_all(&tree, &named_secrets(&tree));
        let text = format!("{findings:?}");
        assert!(!text.contains("0123") && !text.contains("w0rd"), "a finding quotes a secret: {text}");
        findings.iter().map(|f| format!("{}:{} {}", f.line, f.column, f.id)).collect()
    }

    /// On the left what Helm does not read as a text, or not as this text; seen with the real helm.
    #[test]
    fn a_secret_that_helm_reads_otherwise_is_found_at_its_place() {
        for value in [
            "no",
            "yes",
            "on",
            "Off",
            "y",
            "N",
            "true",
            "0123",
            "1e5",
            "0x12",
            "!x0123456789",
            "!w0rd rest",
            "!!w0rd",
            "&w0rd",
            "&w0rd rest",
            "#w0rd",
            "{}",
            "[]",
            "{w0rd}",
            "[w0rd]",
            "! w0rd",
            "!!int \"0123\"",
            "!!binary dzByZDAxMjM=",
            "{w0rd, x0123}",
        ] {
            assert_eq!(found(&format!("env:\n  PGPASSWORD: {value}\n")), ["2:15 secret-not-text"], "{value}");
            let beside = format!("env:\n- name: A_TOKEN\n  value: {value}\n");
            let expected: &[&str] = if matches!(value, "{}" | "[]") { &[] } else { &["3:10 secret-not-text"] };
            assert!(found(&beside) == expected || found(&beside) == ["3:10 secret-not-text"], "{value}");
        }
        for (value, id) in [
            ("w0rd #0123", "secret-cut"),
            ("w0rd\t#0123", "secret-cut"),
            ("\"w0rd \"", "secret-blank"),
            ("\" w0rd\"", "secret-blank"),
            ("\"w0rd\\n\"", "secret-blank"),
            ("|\n    w0rd0123", "secret-blank"),
            (">\n    w0rd0123\n    again", "secret-blank"),
            ("w0\u{200b}rd", "secret-blank"),
            ("'w0\trd'", "secret-blank"),
            ("w0rd\n    0123", "secret-blank"),
            (">-\n    w0rd\n    0123", "secret-blank"),
            (">-\n    w0rd0123\n    again", "secret-blank"),
            ("\"w0rd\\n0123\"", "secret-blank"),
            ("\"w0\\trd0123\"", "secret-blank"),
            ("\"w0\\brd0123\"", "secret-blank"),
            ("\"w0\\0rd0123\"", "secret-blank"),
            ("\"w0\\x00rd0123\"", "secret-blank"),
            ("\"w0\\_rd0123\"", "secret-blank"),
            ("\"w0\\Nrd0123\"", "secret-blank"),
            ("\"C:\\temp\\new0123\"", "secret-blank"),
            ("'%{db_w0rd}'", "secret-placeholder"),
            ("op://w0rd/item/field", "secret-placeholder"),
            ("vault:w0rd/data#key", "secret-placeholder"),
            ("'[[ w0rd ]]'", "secret-placeholder"),
            ("[[ w0rd ]]", "secret-not-text"),
            ("\u{201c}w0rd\u{201d}", "secret-not-text"),
            ("\u{2018}w0rd\u{2019}", "secret-not-text"),
            ("ENC(w0rd)", "secret-placeholder"),
            ("\"w0rd\n    0123\"", "secret-blank"),
            ("'your-w0rd-here'", "secret-placeholder"),
            ("\"{{ w0rd }}\"", "secret-placeholder"),
            ("x{{ .Values.w0rd }}", "secret-placeholder"),
            ("${w0rd}", "secret-placeholder"),
            ("$W0RD", "secret-placeholder"),
            ("<w0rd here>", "secret-placeholder"),
            ("__w0rd__", "secret-placeholder"),
            ("", "secret-empty"),
            ("~", "secret-empty"),
            ("null", "secret-empty"),
        ] {
            let yaml = format!("env:\n  PGPASSWORD: {value}\n  A_TOKEN: w0rd0123\n");
            assert_eq!(found(&yaml), [format!("2:15 {id}")], "{value}");
        }
    }

    #[test]
    fn a_number_in_a_secrets_place_is_one_beside_what_is_counted() {
        for yaml in [
            "unsealKey: 12",
            "nodeKey: 73915028461957",
            "hashKey: 007",
            "tokens: 73915028461957",
            "pin: 7391",
            "token: true",
            "secret: yes",
            "passwort: no",
            "mintPressLicence: no",
            "OPSCHAIN_DOCKER_USER: yes",
            "OPSCHAIN_DOCKER_USER: 1234",
            "password: {}",
            "dockerPassword: []",
            "promotionToken: {}",
            "password_2: 7391",
        ] {
            let place = yaml.find(' ').unwrap() + 2;
            assert_eq!(found(yaml), [format!("1:{place} secret-not-text")], "{yaml}");
        }
    }

    #[test]
    fn a_vast_count_is_a_warning_that_quotes_nothing() {
        assert_eq!(found("refreshTokenLifespan: 2592000\n"), ["1:23 number-as-exponent"]);
    }

    #[test]
    fn what_is_meant_is_left_alone() {
        for yaml in [
            "password: w0rd # a comment\n",
            "password: 'w0rd #0123'\n",
            "password: 'w0rd' #0123\n",
            "password: w0rd#0123\n",
            "password: &p w0rd\nother: *p\n",
            "password: !!str 0123\n",
            "password: |-\n  w0rd0123\n",
            "password: \"w0rd\\\n  0123\"\n",
            "sshKey: |\n  -----BEGIN X-----\n  0123\n",
            "auth: |\n  {\"a\": \"0123\"}\n",
            "password: \"\"\n",
            "A_TOKEN:\nB_TOKEN: ~\n",
            "createSecret: true\nautomountServiceAccountToken: no\nALLOW_EMPTY_PASSWORD: yes\nuse_token: on\n",
            "auth: true\nsecrets: {}\ntokens: []\ncredentials: {}\nAPI_KEYS: [w0rd, x0123]\n",
            "password:\n  name: w0rd\n  key: x0123\n",
            "password: >-\n  correct horse\n  battery staple\n",
            "dsn: >-\n  host=w0rd\n  password=x0123\n",
            "sshKey: \"-----BEGIN X-----\\n0123\\n\"\n",
            "token: \"a: w0rd\\nb: x0123\"\n",
            "openbao: {init: {secretShares: 5, secretThreshold: 3}, keyShares: 5, keyThreshold: 3}\n",
            "tokenExpirationSeconds: 3600\ntokenValidity: 24\ntokenMaxAge: 30\ntokenAudience: [w0rd]\n",
            "tokenBucket: 10\ntokens: 100\nwebhooks: 5\npasswordHistory: 5\npasswordMaxAge: 90\npasswordRetries: 3\n",
            "pwLen: 12\nsaltRounds: 10\nsshKeyBits: 4096\nsecret: true\n",
            "nodeKey: 1\nshardKey: 2\nlockKey: 3\nindexKey: 4\nhashKey: 1\nidempotencyKey: 1\n",
            "accessTokenLifespan: 86400\npassAccessToken: false\ntokenLimit: -1\ntokens_per_second: 2.5\nkeyIndex: 0\n",
            "secretRevision: 2\ntokenId: 5\ntotpStep: 30\nemptyPassword: false\napiKeyQuota: 50000\n",
            "service: {ports: {webhook: 9443}}\ncontainerPorts: {token: 8080}\nwebhook: 9443\nports: {secret: 8443}\n",
            "auth: {securePassword: true}\nserviceAccount: {token: false, tokenSecret: true}\nexternalSecret: true\n",
            "ssl: {key: true}\nsalt: true\npass: true\nhttpPass: 1\nrequirepass: true\nseed: 42\ntotp: 30\n",
            "initdb:\n  create_auth.sh: |\n    PGPASSWORD=$PW psql -c 'CREATE DATABASE {{ .x }}'\n    echo ${HOST}\n",
            "gateway: {basicAuth: {htpasswd: '{{ htpasswd .user .w0rd }}'}}\n",
            "password: \"w0rd\\x41\\\\0123\"\n",
            "token: \"a: w0rd\\n\\tb: x0123\"\n",
            "password: $2b$w0rd\n",
            "password: pa$W0RD\n",
        ] {
            assert_eq!(found(yaml), Vec::<String>::new(), "{yaml}");
        }
    }
}
