//! Pure facts about PostgreSQL: manifests, control data, WAL positions, command lines.
