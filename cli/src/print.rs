//! Standard output, which may be a pipe that somebody closed.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Writes a text to standard output. That nobody reads it any more (`| head`) is no failure.
///
/// # Errors
/// What the system says, for example that the disk is full.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
