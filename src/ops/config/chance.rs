//! Keys that Helm takes by chance, said before anything is concluded from them.

use crate::ops::Ctx;
use crate::values::Tree;

/// Warns of keys that stand twice for Helm (`1` and `"1"`): what is said of them may be said of the value that it drops.
pub(super) fn warn_of_chance(ctx: &Ctx, name: &str, tree: &Tree) {
    let keys: Vec<String> = tree.keys_by_chance().map(ToString::to_string).collect();
    if !keys.is_empty() {
        ctx.events.warn(
            format!("{name}: which value of {} Helm keeps is chance; the last one is taken here", keys.join(", ")),
            Some("`dr config lint` names the lines: remove one of the two.".into()),
        );
    }
}
