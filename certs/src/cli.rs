//! The program `catchment-certs`.

use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
