//! Parses, builds the context, runs the verb, and ends with its exit code; a panic, whose last words were said by then,
//! has one of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = std::panic::catch_unwind(|| dr::main(std::env::args_os()));
    ExitCode::from(ended.unwrap_or(dr::Exit::Panic).code())
}
