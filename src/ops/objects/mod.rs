//! Objects compared with objects: a release as it is with a release as it would be, and a release as helm stored it
//! with what the cluster has.
//!
//! Secrets are masked before anything is compared ([`veil`]), by their place and by their value: no difference that is
//! found afterwards can show one. The masks carry keyed fingerprints, so a changed secret is still seen to be changed.

mod compare;
mod effects;
mod quantity;
mod release;
mod subset;
mod veil;

pub use compare::{Act, Field, compare};
pub use effects::{Effect, EffectKind};
pub use release::{ChangedObject, ObjectChange, ReleaseDiff, between};
pub use subset::{added_by_hand, subset};
pub use veil::{learn, masker, veil, veil_values};
