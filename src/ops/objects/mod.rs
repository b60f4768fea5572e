//! Objects compared with objects: a release as it is with a release as it would be, and a release as helm stored it
//! with what the cluster has.
//!
//! Secrets are masked before anything is compared ([`masking`]), by their place and by their value: no difference that is
//! found afterwards can show one. The masks carry keyed fingerprints, so a changed secret is still seen to be changed.

mod compare;
mod effects;
mod masking;
mod release;
mod subset;

pub use compare::{Act, Field, compare};
pub use effects::EffectKind;
pub use masking::{comparing_scrubber, mask_object, mask_values, register_object, register_secrets};
pub use release::{ObjectChange, ReleaseDiff, between};
pub use subset::{added_by_hand, subset};
