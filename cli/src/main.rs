//! The program `catchment`: parses the command line and calls the library.

use std::process::ExitCode;

use catchment_settings::{exit, output, parse};

fn main() -> ExitCode {
    // No environment prefix: variables that begin with CATCHMENT_AGGREGATOR_ belong to that server.
    let (cli, sources) = match parse::<catchment_cli::args::Cli>(None) {
        Ok(parsed) => parsed,
        Err(error) => return exit::report(&error),
    };
    match catchment_cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::eprint_line(format_args!("error: {}", sources.named(&failure.to_string())));
            ExitCode::from(failure.exit_status())
        }
    }
}
