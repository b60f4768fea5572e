//! Masking of a whole values file: its secrets taken from its tree, and its text with each masked in its place.

use std::collections::BTreeMap;

use super::line::secret_spans;
use super::named::named_secrets;
use super::scrubber::Scrubber;
use super::secret::secrets;
use crate::yaml::{Node, NodeKind, Segment, Tree, Value};

impl Scrubber {
    /// Registers every secret scalar of a values file.
    pub fn register_tree(&mut self, tree: &Tree) {
        if tree.unread().is_some() {
            self.register_inside(tree.source().as_bytes());
            self.register_lines(tree.source());
            return;
        }
        self.register_lost(tree);
        for (path, node, _) in secrets(tree) {
            let Some(scalar) = node.scalar() else { continue };
            let key = path.0.iter().rev().find_map(|step| match step {
                Segment::Key(key) => Some(key.as_str()),
                _ => None,
            });
            let text = scalar.value.text();
            self.register_at(key, text.as_bytes());
            // The file itself may be quoted: escapes and folds as they were written.
            let raw = tree.raw(node).trim_end();
            let quoted = ['"', '\''].iter().find_map(|quote| raw.strip_prefix(*quote)?.strip_suffix(*quote));
            if quoted.unwrap_or(raw) != text {
                self.register_at(key, quoted.unwrap_or(raw).as_bytes());
            }
            // A number that Helm rounds may also be quoted as Go prints a float.
            if !matches!(scalar.value, Value::String(_)) {
                let json = scalar.value.to_json();
                self.register_at(key, json.to_string().as_bytes());
                if let Some(number) = json.as_f64() {
                    self.register_at(key, go_float(number).as_bytes());
                }
            }
        }
    }

    /// Registers what the lines of a text give to names that hold secrets, a block below such a name among it.
    fn register_lines(&mut self, text: &str) {
        let margin = |line: &str| line.len() - line.trim_start().len();
        let mut block: Option<usize> = None;
        for line in text.lines() {
            block = block.filter(|outer| line.trim().is_empty() || margin(line) > *outer);
            if block.is_some() {
                self.register(line.trim().as_bytes());
            }
            for span in secret_spans(line) {
                let (before, secret) = (&line[..span.start], &line[span]);
                if secret.starts_with(['|', '>']) {
                    block = Some(margin(line));
                    continue;
                }
                let key = before.trim_end().trim_end_matches([':', '=']).rsplit([' ', '{', ',', '"', '\'']).next();
                self.register_at(key, secret.trim_matches(['"', '\'']).as_bytes());
                self.register_at(key, secret.split(" #").next().unwrap_or(secret).trim().as_bytes());
            }
        }
    }

    /// Registers what was written as a secret and Helm takes for something else: a tag, an anchor, a comment.
    fn register_lost(&mut self, tree: &Tree) {
        for named in named_secrets(tree) {
            self.register_keys(named.node);
            let Some(lost) = named.written.as_ref().and_then(super::named::Written::lost) else { continue };
            let text = &tree.source()[lost];
            let key = named.path.keys().next_back();
            for part in text.split_whitespace().chain([text]) {
                self.register_at(key, part.as_bytes());
                self.register_at(key, part.trim_start_matches(['!', '&', '#']).as_bytes());
            }
        }
    }

    /// Registers the keys of a map that YAML has made of a secret: `{word}`.
    fn register_keys(&mut self, node: &Node) {
        let NodeKind::Map(entries) = &node.kind else { return };
        for entry in entries {
            self.register(entry.key.as_bytes());
            self.register_keys(&entry.value);
        }
    }

    /// The values file as it was written, each secret scalar masked in its place, and each secret wherever else it
    /// stands (in a comment, say).
    pub fn scrub_source(&self, tree: &Tree) -> String {
        if tree.unread().is_some() {
            let mut registered = self.clone();
            registered.register_tree(tree);
            return registered.scrub(tree.source()).into_owned();
        }
        let mut spans: BTreeMap<usize, (usize, String)> = BTreeMap::new();
        for (_, node, _) in secrets(tree) {
            let Some(scalar) = node.scalar() else { continue };
            // The span of a block reaches to the next token.
            let length = tree.raw(node).trim_end().len();
            spans.insert(
                node.span.bytes.start,
                (node.span.bytes.start + length, self.mask(scalar.value.text().as_bytes())),
            );
        }
        for named in named_secrets(tree) {
            let whole = named.written.as_ref().filter(|_| named.node.scalar().is_none()).map(|w| w.whole.clone());
            let lost = named.written.as_ref().and_then(super::named::Written::lost).or(whole);
            if let Some(lost) = lost.filter(|lost| !lost.is_empty()) {
                let mask = self.mask(tree.source()[lost.clone()].as_bytes());
                spans.insert(lost.start, (lost.end, mask));
            }
        }
        let mut registered = self.clone();
        registered.register_tree(tree);
        // What nobody reads has secrets, too: comments, the loser of a key that stands twice, text behind the end.
        registered.register_lines(tree.source());
        let mut text = String::with_capacity(tree.source().len());
        let mut at = 0;
        for (start, (end, mask)) in spans {
            if start < at {
                continue;
            }
            text.push_str(&registered.scrub(&tree.source()[at..start]));
            text.push_str(&mask);
            at = end;
        }
        text.push_str(&registered.scrub(&tree.source()[at..]));
        text
    }
}

/// How Go prints a float in templates: `1.2345678901e+10`.
fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::MASK;
    use super::*;

    #[test]
    fn a_listing_masks_short_secrets_in_their_place_and_long_ones_in_comments() {
        let yaml = "# was s3cretvalue\nenv:\n  PGPASSWORD: abc # short\n  OPSCHAIN_PRIMARY_KEY: |\n    s3cretvalue\n  TZ: UTC\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let text = Scrubber::new(None).scrub_source(&tree);
        assert_eq!(
            text,
            format!(
                "# was {MASK}\nenv:\n  PGPASSWORD: {MASK} # short\n  OPSCHAIN_PRIMARY_KEY: |\n    {MASK}\n  TZ: UTC\n"
            )
        );
    }

    #[test]
    fn a_listing_masks_what_nobody_reads_and_maps_that_were_meant_as_secrets() {
        let yaml = "PGPASSWORD: zebraone1\nPGPASSWORD: zebratwo2\n# A_TOKEN: zebrathree3\n# was: B_TOKEN=zebrafour4\nC_TOKEN: {zebrafive5}\nD_TOKEN:\n  zebrasix6: zebraseven7\nz: 1\n...\nE_TOKEN: zebraeight8\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let text = Scrubber::new(None).scrub_source(&tree);
        assert!(!text.contains("zebra") && text.contains("z: 1\n"), "{text}");
    }

    #[test]
    fn what_helm_takes_for_a_tag_an_anchor_or_a_comment_is_masked_where_a_secret_belongs() {
        let yaml = "a: # note\n  PGPASSWORD: !x0123456 # said\n  A_TOKEN: &w0rdw0rd\n  B_TOKEN: abcdefgh #ijklmn\n  C_TOKEN: #opqrst\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let mut scrubber = Scrubber::new(None);
        assert_eq!(
            scrubber.scrub_source(&tree),
            format!(
                "a: # note\n  PGPASSWORD: {MASK} # said\n  A_TOKEN: {MASK}\n  B_TOKEN: {MASK}\n  C_TOKEN: {MASK}\n"
            )
        );
        scrubber.register_tree(&tree);
        for lost in ["x0123456", "w0rdw0rd", "abcdefgh", "ijklmn", "opqrst"] {
            assert_eq!(scrubber.scrub(&format!("<{lost}>")), format!("<{MASK}>"));
        }
    }
}
