//! The program `catchment-certs`: parses its arguments and calls into the library.

fn main() -> std::process::ExitCode {
    catchment_certs::cli::main()
}
