//! The half of `dr` that runs inside the helper pod: base backup out, PGDATA in.
