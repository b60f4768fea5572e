//! What `helm --debug` says beyond prose: it ends a good upgrade with the whole of the values and of the manifest.
//!
//! All of it is scrubbed by value. Two things make that hold: the two dumps of the values are left out, since the vault
//! has them and nobody needs them twice; and a long secret with blanks, which helm's YAML writer folds over several
//! lines, is known to the scrubber by the pieces that such a line may hold.

use crate::values::Scrubber;
use crate::values::Tree;
use crate::values::secret::secrets;

/// The headings under which helm prints values.
const VALUES: [&str; 2] = ["USER-SUPPLIED VALUES:", "COMPUTED VALUES:"];
/// The headings that end them.
const OTHERS: [&str; 3] = ["HOOKS:", "MANIFEST:", "NOTES:"];
/// Said in their place.
const LEFT_OUT: &str = "(left out: `dr config cat` prints the values)";
/// helm's YAML writer looks for a blank to break a line at from this column on.
const FOLD: usize = 80;

/// Tells the lines of the values' dumps from all others.
#[derive(Debug, Default)]
pub(super) struct Dump {
    within: bool,
}

impl Dump {
    /// The line as it is to be passed on; `None` for one that is left out.
    pub(super) fn pass<'l>(&mut self, line: &'l [u8]) -> Option<&'l [u8]> {
        let is_one_of = |words: &[&str]| words.iter().any(|word| line == word.as_bytes());
        if is_one_of(&VALUES) {
            let first = !self.within;
            self.within = true;
            return first.then_some(LEFT_OUT.as_bytes());
        }
        if self.within && is_one_of(&OTHERS) {
            self.within = false;
        }
        (!self.within).then_some(line)
    }
}

/// Has the scrubber know the pieces of long secrets with blanks that a folded line may hold: every run of two or more
/// of its words that is not longer than a line.
pub(super) fn learn_folded(scrubber: &mut Scrubber, values: &Tree) {
    for (_, node, _) in secrets(values) {
        let Some(scalar) = node.scalar() else { continue };
        let text = scalar.value.text();
        for line in text.lines().filter(|line| line.len() > FOLD / 2 && line.trim().contains(' ')) {
            let words: Vec<&str> = line.split(' ').collect();
            for start in 0..words.len() {
                let mut piece = words[start].to_owned();
                for word in &words[start + 1..] {
                    piece = format!("{piece} {word}");
                    scrubber.learn(piece.as_bytes());
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

    #[test]
    fn the_dumps_of_values_are_left_out_and_all_else_is_passed() {
        let said = "NAME: r\nUSER-SUPPLIED VALUES:\na: s3cret\n\nCOMPUTED VALUES:\na: s3cret\n\nHOOKS:\n---\nMANIFEST:\n---\nk: v";
        let mut dump = Dump::default();
        let passed: Vec<&[u8]> = said.lines().filter_map(|line| dump.pass(line.as_bytes())).collect();
        let passed = String::from_utf8(passed.join(&b'\n')).unwrap();
        assert_eq!(passed, format!("NAME: r\n{LEFT_OUT}\nHOOKS:\n---\nMANIFEST:\n---\nk: v"));
    }

    #[test]
    fn a_folded_secret_is_masked_line_by_line() {
        let words: Vec<String> = (0..30).map(|number| format!("quartz{number:02}")).collect();
        let secret = words.join(" ");
        let tree = Tree::parse(format!("env:\n  PGPASSWORD: {secret}\n").as_bytes()).unwrap();
        let mut scrubber = Scrubber::new(None);
        learn_folded(&mut scrubber, &tree);
        for line in [words[..9].join(" "), words[9..18].join(" "), words[18..28].join(" "), words[28..].join(" ")] {
            let shown = scrubber.scrub(&format!("        {line}")).into_owned();
            assert!(!shown.contains("quartz"), "{shown}");
        }
    }
}
