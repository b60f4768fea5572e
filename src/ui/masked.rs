//! What may be shown of a text: secrets masked, and then made harmless.

use super::styled::Styled;
use crate::values::Secrets;

/// A secret that stands in several pieces is masked at the price of their roles.
pub(super) fn masked(secrets: &Secrets, text: Styled, harmless: impl FnMut(&str) -> String) -> Styled {
    let whole = text.plain();
    let masked = secrets.scrub(&whole);
    if masked == whole {
        return text.map(harmless);
    }
    let pieces = text.map(|piece| secrets.scrub(piece).into_owned());
    if pieces.plain() == masked { pieces.map(harmless) } else { Styled::from(masked.into_owned()).map(harmless) }
}
