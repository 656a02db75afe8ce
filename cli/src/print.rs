//! Standard output, which may be a closed pipe.

use catchment_settings::output;

use crate::failure::Failure;

/// Writes a text to standard output. A closed pipe (`| head`) is not a failure.
///
/// # Errors
/// The system's error, for example a full disk.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_to_reader(text).map(drop)
}

/// As [`print`], but returns whether standard output can still have a reader.
pub(crate) fn print_to_reader(text: &str) -> Result<bool, Failure> {
    output::print(text).map_err(Failure::failed)
}

/// As [`print`], for bytes that are no text.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    output::write(bytes).map(drop).map_err(Failure::failed)
}
