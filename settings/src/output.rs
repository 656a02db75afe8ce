//! What programs print, which may fail: a pipe that nobody reads any more, a full disk, a stream that is closed. The macros of
//! the standard library panic then.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes a text to standard output. Answers whether somebody may read more of it: not after `| head`, which is no failure.
///
/// # Errors
/// What the system says, for example that the disk is full.
pub fn print(text: impl Display) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    read_by(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Writes a line to standard error. There is nobody to tell when that fails.
pub fn eprint_line(line: impl Display) {
    // As one text: lines of other threads do not come between.
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
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
        assert!(read_by(Ok(())).unwrap());
        assert!(!read_by(Err(io::ErrorKind::BrokenPipe.into())).unwrap());
        let full = read_by(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(full.to_string().contains("standard output"), "{full}");
    }
}
