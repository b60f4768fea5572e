//! What `helm --debug` says beyond prose: it ends a good upgrade with the whole of the values and of the manifest.
//!
//! All of it is scrubbed by value. Three things make that hold: the two dumps of the values are left out, since the vault
//! has them and nobody needs them twice; the content of every Secret in the manifest is masked whatever it is, for a chart
//! makes secrets of its own (the key of a certificate authority) that no values name; and a long secret with blanks, which
//! helm's YAML writer folds over several lines, is known to the redactor by the pieces that such a line may hold.

use crate::redact::{MASK, secrets};
use crate::values::{Secrets, Tree};

/// The headings under which helm prints values.
const VALUES: [&str; 2] = ["USER-SUPPLIED VALUES:", "COMPUTED VALUES:"];
/// The headings under which it prints objects.
const OBJECTS: [&str; 2] = ["HOOKS:", "MANIFEST:"];
/// The heading of what the chart says to people.
const NOTES: &str = "NOTES:";
/// Said in the place of values.
const LEFT_OUT: &str = "(left out: `dr config cat` prints the values)";
/// Said in the place of an object whose content cannot be told from the rest.
const SECRET_LEFT_OUT: &str = "(left out: a Secret)";
/// The fields of a Secret that hold its content.
const CONTENT: [&str; 2] = ["data", "stringData"];
/// helm's YAML writer looks for a blank to break a line at from this column on.
const FOLD: usize = 80;

#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Prose,
    Values,
    Objects,
}

/// Tells the dumps of values and of objects from all else that helm says.
#[derive(Debug, Default)]
pub(super) struct Dump {
    part: Part,
    /// Of objects, the lines of the one that is being read.
    object: Vec<String>,
}

impl Dump {
    /// Takes a line, and gives those that are to be passed on now: an object is passed on when it is whole.
    pub(super) fn pass(&mut self, line: &[u8]) -> Vec<String> {
        let line = String::from_utf8_lossy(line).into_owned();
        let heading = if VALUES.contains(&line.as_str()) {
            Some(Part::Values)
        } else if OBJECTS.contains(&line.as_str()) {
            Some(Part::Objects)
        } else {
            (line == NOTES).then_some(Part::Prose)
        };
        if let Some(part) = heading {
            let mut passed = self.end();
            match (&part, &self.part) {
                (Part::Values, Part::Values) => {}
                (Part::Values, _) => passed.push(LEFT_OUT.to_owned()),
                _ => passed.push(line),
            }
            self.part = part;
            return passed;
        }
        match self.part {
            Part::Prose => vec![line],
            Part::Values => Vec::new(),
            Part::Objects if line == "---" => [self.end(), vec![line]].concat(),
            Part::Objects => {
                self.object.push(line);
                Vec::new()
            }
        }
    }

    /// What is left when helm has said all.
    pub(super) fn end(&mut self) -> Vec<String> {
        masked(std::mem::take(&mut self.object))
    }
}

/// The lines of an object, the content of a Secret masked.
fn masked(object: Vec<String>) -> Vec<String> {
    // What has no such word is no Secret, however it is written.
    if !object.iter().any(|line| line.contains("Secret")) {
        return object;
    }
    let Ok(tree) = Tree::parse(object.join("\n").as_bytes()) else { return vec![SECRET_LEFT_OUT.to_owned()] };
    let json = tree.to_json();
    if json["kind"] != "Secret" {
        let holds_one = json["items"].as_array().is_some_and(|items| items.iter().any(|item| item["kind"] == "Secret"));
        return if holds_one { vec![SECRET_LEFT_OUT.to_owned()] } else { object };
    }
    let mut mask = SecretLines::default();
    let lines: Vec<String> = object.iter().filter_map(|line| mask.line(line)).collect();
    let written = CONTENT.iter().filter(|field| json.get(**field).is_some()).count();
    if mask.fields == written { lines } else { vec![SECRET_LEFT_OUT.to_owned()] }
}

/// Masks a Secret that is written as people and Helm write one: a key of the top level a line.
#[derive(Default)]
struct SecretLines {
    /// How many fields with content were found.
    fields: usize,
    within: bool,
    /// The indent of the content's keys; none where they cannot be told from values.
    indent: Option<usize>,
}

impl SecretLines {
    fn line(&mut self, line: &str) -> Option<String> {
        let indent = line.len() - line.trim_start().len();
        if indent == 0 && !line.is_empty() && !line.starts_with('#') {
            let (key, rest) = line.split_once(':').unwrap_or((line, ""));
            self.within = CONTENT.contains(&key.trim_matches(['"', '\'']));
            if !self.within {
                return Some(line.to_owned());
            }
            self.fields += 1;
            let block = rest.trim().is_empty();
            self.indent = block.then_some(usize::MAX);
            return Some(if block { line.to_owned() } else { format!("{key}: {MASK}") });
        }
        if !self.within {
            return Some(line.to_owned());
        }
        let keys_at = self.indent?;
        let (key, _) = line.split_once(':')?;
        if line.trim_start().starts_with('#') || (keys_at != usize::MAX && indent != keys_at) {
            return None;
        }
        self.indent = Some(indent);
        Some(format!("{key}: {MASK}"))
    }
}

/// Has the redactor know the pieces of long secrets with blanks that a folded line may hold: every run of two or more
/// of its words that is not longer than a line.
pub(super) fn register_folded(known: &Secrets, values: &Tree) {
    for (_, node, _) in secrets(values) {
        let Some(scalar) = node.scalar() else { continue };
        let text = scalar.value.text();
        for line in text.lines().filter(|line| line.len() > FOLD / 2 && line.trim().contains(' ')) {
            let words: Vec<&str> = line.split(' ').collect();
            for start in 0..words.len() {
                let mut piece = words[start].to_owned();
                for word in &words[start + 1..] {
                    piece = format!("{piece} {word}");
                    known.register(piece.as_bytes());
                    // A line is broken at the first blank behind the column.
                    if piece.len() > 2 * FOLD {
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(said: &str) -> String {
        let mut dump = Dump::default();
        let mut passed: Vec<String> = said.lines().flat_map(|line| dump.pass(line.as_bytes())).collect();
        passed.extend(dump.end());
        passed.join("\n")
    }

    #[test]
    fn the_dumps_of_values_are_left_out_and_all_else_is_passed() {
        let said = "NAME: r\nUSER-SUPPLIED VALUES:\na: s3cret\n\nCOMPUTED VALUES:\na: s3cret\n\nHOOKS:\n---\nMANIFEST:\n---\nk: v\nNOTES:\nbye";
        assert_eq!(passed(said), format!("NAME: r\n{LEFT_OUT}\nHOOKS:\n---\nMANIFEST:\n---\nk: v\nNOTES:\nbye"));
    }

    #[test]
    fn whatever_a_secret_of_the_manifest_holds_is_masked_and_what_is_none_is_passed() {
        let ca = "# Source: x\napiVersion: v1\ndata:\n  # a key\n  tls.key: bm9ib2R5\n  \"a\": |\n    bm9ib2R5: x\n\n    eQ==\nkind: Secret\nmetadata:\n  name: ca\nstringData:\n    b: nobody\n      knows this";
        let map = "kind: ConfigMap\ndata:\n  kind: Secret\n  a: shown";
        let said = format!("HOOKS:\n---\n{map}\nMANIFEST:\n---\n{ca}\n---\n{map}");
        let expected = format!(
            "# Source: x\napiVersion: v1\ndata:\n  tls.key: {MASK}\n  \"a\": {MASK}\nkind: Secret\nmetadata:\n  name: ca\nstringData:\n    b: {MASK}"
        );
        assert_eq!(passed(&said), format!("HOOKS:\n---\n{map}\nMANIFEST:\n---\n{expected}\n---\n{map}"));
    }

    #[test]
    fn a_secret_that_is_written_in_another_way_is_left_out() {
        for odd in [
            "{\"kind\": \"Secret\", \"data\": {\"a\": \"bm9ib2R5\"}}",
            "kind: List\nitems:\n- kind: Secret\n  data: {a: bm9ib2R5}",
            "kind: Secret\ndata: {a: [bm9ib2R5",
            "? data\n: a: bm9ib2R5\nkind: Secret",
        ] {
            let text = passed(&format!("MANIFEST:\n---\n{odd}\n---"));
            assert_eq!(text, format!("MANIFEST:\n---\n{SECRET_LEFT_OUT}\n---"), "{odd}");
        }
        let flow = passed("MANIFEST:\nkind: Secret\ndata: {a: bm9ib2R5,\n  b: bm9ib2R5}");
        assert_eq!(flow, format!("MANIFEST:\nkind: Secret\ndata: {MASK}"));
    }

    #[test]
    fn a_folded_secret_is_masked_line_by_line() {
        let words: Vec<String> = (0..30).map(|number| format!("quartz{number:02}")).collect();
        let secret = words.join(" ");
        let tree = Tree::parse(format!("env:\n  PGPASSWORD: {secret}\n").as_bytes()).unwrap();
        let known = Secrets::default();
        register_folded(&known, &tree);
        for line in [words[..9].join(" "), words[9..18].join(" "), words[18..28].join(" "), words[28..].join(" ")] {
            let shown = known.scrub(&format!("        {line}")).into_owned();
            assert!(!shown.contains("quartz"), "{shown}");
        }
    }
}
