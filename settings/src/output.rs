//! Output of programs. Writing may fail (a closed pipe, a full disk, a closed stream); the standard library's macros
//! would panic then.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes a text to standard output. Returns false if the reader has closed the pipe (`| head`), which is not a
/// failure.
///
/// # Errors
/// Writing failed, for example because the disk is full.
pub fn print(text: impl Display) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    read_by(write!(out, "{text}").and_then(|()| out.flush()))
}

/// As [`print()`], for bytes that are no text.
///
/// # Errors
/// As [`print()`].
pub fn write(bytes: &[u8]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    read_by(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes a line to standard error. Ignores failures: there is no place to report them.
pub fn eprint_line(line: impl Display) {
    // A single write, so that lines of other threads do not interleave.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

fn read_by(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_not_a_failure_but_a_full_disk_is() {
        assert!(read_by(Ok(())).unwrap());
        assert!(!read_by(Err(io::ErrorKind::BrokenPipe.into())).unwrap());
        let full = read_by(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(full.to_string().contains("standard output"), "{full}");
    }
}
