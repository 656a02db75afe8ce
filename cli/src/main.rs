//! The program `catchment`: parses the command line and calls the library.

use std::process::ExitCode;

use catchment_settings::{exit, parse};

fn main() -> ExitCode {
    // No prefix of its own: what begins with CATCHMENT_AGGREGATOR_ belongs to that server.
    let cli = match parse::<catchment_cli::args::Cli>(None) {
        Ok((cli, _)) => cli,
        Err(error) => return exit::report(&error),
    };
    match catchment_cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}
