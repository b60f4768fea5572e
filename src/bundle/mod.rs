//! The bundle: one restorable file of database and exact config.
