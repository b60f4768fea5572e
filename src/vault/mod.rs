//! The config vault: the git repository with every deployed values.yaml, encrypted.
