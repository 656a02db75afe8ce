//! Where the bytes of a file go.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Bytes of the buffer before the system's calls.
const BUFFER_BYTES: usize = 256 << 10;

/// Where the bytes go.
pub(super) struct Target {
    place: Place,
    /// Bytes so far.
    written: Arc<AtomicU64>,
}

enum Place {
    Stdout,
    /// A pipe or a device with a name, which must not be replaced.
    Direct(File, PathBuf),
    /// Next to the file that it will replace, so that a half one never has its name.
    Temporary(NamedTempFile, PathBuf),
}

impl Target {
    /// A file; `None`: standard output.
    ///
    /// # Errors
    /// The system's error, with the file's name.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let place = match path {
            None => Place::Stdout,
            Some(path) => open(path).map_err(|error| cannot_write(path, &error))?,
        };
        Ok(Self { place, written: Arc::default() })
    }

    /// A writer to it. What is written is in place only after [`Self::complete`].
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn writer(&self) -> Result<BufWriter<Counted>, Failure> {
        let out: Box<dyn Write + Send> = match &self.place {
            Place::Stdout => Box::new(io::stdout()),
            Place::Direct(file, path) => Box::new(clone(file, path)?),
            Place::Temporary(file, path) => Box::new(clone(file.as_file(), path)?),
        };
        Ok(BufWriter::with_capacity(BUFFER_BYTES, Counted { out, written: Arc::clone(&self.written) }))
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// What a failed write means; `None`: nobody reads standard output any more, which is no failure.
    pub(super) fn failed(&self, error: &io::Error) -> Option<Failure> {
        match &self.place {
            Place::Stdout if error.kind() == io::ErrorKind::BrokenPipe => None,
            Place::Stdout => Some(Failure::failed(format!("cannot write to standard output: {error}"))),
            Place::Direct(_, path) | Place::Temporary(_, path) => Some(cannot_write(path, error)),
        }
    }

    /// Puts the whole file in its place.
    ///
    /// # Errors
    /// The system's error, with the file's name.
    pub(super) fn complete(self) -> Result<(), Failure> {
        let Place::Temporary(file, path) = self.place else { return Ok(()) };
        let done = file.as_file().sync_all().and_then(|()| file.persist(&path).map_err(|error| error.error));
        done.map(drop).map_err(|error| cannot_write(&path, &error))
    }
}

fn open(path: &Path) -> io::Result<Place> {
    match fs::metadata(path) {
        Ok(known) if !known.is_file() && !known.is_dir() => {
            return Ok(Place::Direct(File::options().write(true).open(path)?, path.to_owned()));
        }
        Ok(known) if known.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        _ => {}
    }
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(".catchment-").suffix(".partial");
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file: less what the umask takes.
        builder.permissions(fs::Permissions::from_mode(0o666))
    };
    Ok(Place::Temporary(builder.tempfile_in(folder)?, path))
}

fn clone(file: &File, path: &Path) -> Result<File, Failure> {
    file.try_clone().map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("--output {}: {error}", path.display()))
}

/// Counts what is written.
pub(super) struct Counted {
    out: Box<dyn Write + Send>,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
