//! Standard output, which may be a pipe that somebody closed.

use catchment_settings::output;

use crate::failure::Failure;

/// Writes a text to standard output. That nobody reads it any more (`| head`) is no failure.
///
/// # Errors
/// What the system says, for example that the disk is full.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_to_reader(text).map(drop)
}

/// As [`print`], for who has more to say: answers whether somebody may read it.
pub(crate) fn print_to_reader(text: &str) -> Result<bool, Failure> {
    output::print(text).map_err(Failure::failed)
}
