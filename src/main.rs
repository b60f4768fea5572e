//! Parses, builds the context, runs the verb, and ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dr::cli::main(std::env::args_os()).code())
}
