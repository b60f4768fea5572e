//! Whether the store has room for the bundle.

use super::facts::CreateFacts;
use crate::error::{CommandError, Exit, Result};
use crate::text::bytes;

/// Noise does not compress: a database may take as much room sealed as it takes now, and a little more.
///
/// # Errors
/// [`Exit::Space`] with both sizes.
pub(super) fn enough(facts: &CreateFacts, database: u64) -> Result<()> {
    match facts.store_free {
        Some(free) if free < database + database / 10 => Err(CommandError::new(
            Exit::Space,
            format!("store {} has {} free, and the database alone has {}", facts.store, bytes(free), bytes(database)),
        )
        .hint("Free room there, or set another store in dr.toml.")),
        _ => Ok(()),
    }
}
