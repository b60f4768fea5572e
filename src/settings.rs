//! `dr.toml`.
