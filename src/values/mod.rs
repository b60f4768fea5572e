//! values.yaml, read exactly as Helm reads it.
