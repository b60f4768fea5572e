//! Where bundles live.
