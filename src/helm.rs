//! The helm binary, behind types.
