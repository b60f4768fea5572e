//! What OpsChain is: its versions, workloads, values and secrets.
