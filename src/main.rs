//! Parses, builds the context, runs the verb, and ends with its exit code; a panic, whose last words were said by then,
//! has one of its own.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = dr::login_plugin(&argv) {
        return ExitCode::from(code);
    }
    let ended = std::panic::catch_unwind(|| dr::main(argv));
    ExitCode::from(ended.unwrap_or(dr::Exit::Panic).code())
}
