//! Where the time goes: spans run > step > call, each with its duration and outcome.
//!
//! Work marks what it does with [`run`], [`step`] and [`call`]; that goes through the `tracing` crate, together with what
//! the libraries say, to whoever hears it:
//!
//! ```text
//! call, step, run, libraries -+-> -v: each helm, psql and cluster call   -+-> events -> ui (masked)
//!                             +-> -vv: all of it                         -+
//!                             +-> --log-file, and run.log beside the journal (masked, bounded)
//!                             +-> timing.jsonl beside the journal: for each step, each kind of call
//! ```

mod file;
mod lines;
mod marks;
mod run_files;
mod subscriber;
pub mod timing;
mod visit;

#[cfg(test)]
pub(crate) mod tests;

pub use marks::{CallKind, call, call_blocking, call_judged, event, run, step, waited};
pub use subscriber::{TraceError, TraceOptions, start};
