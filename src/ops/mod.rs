//! The operations: each a visible list of steps.
