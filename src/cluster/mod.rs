//! The Kubernetes cluster: objects, helper pods, and streams that cannot lie.
