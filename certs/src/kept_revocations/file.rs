//! The file `revocations` of a data folder: a line that names its format, then encoded lists. The file is replaced
//! atomically and has a checksum (`catchment_journal::write_atomic`).

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::{Buf as _, Bytes};
use catchment_journal::{AtomicFileError, Disk, read_atomic, write_atomic};
use catchment_proto::{
    revocations::{LISTS_BYTES_MAX, decode_lists},
    wire,
};

/// Its name.
pub(super) const NAME: &str = "revocations";
/// Its first line.
const FORMAT: &[u8] = b"catchment revocation lists 1\n";
/// Longest file, with the header of the atomic file.
const BYTES_MAX: u64 = LISTS_BYTES_MAX as u64 + 1024;

/// What a data folder holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No file.
    Nothing,
    /// Lists, not verified yet.
    Lists(wire::RevocationLists),
    /// The file was not what is written here, and is set aside.
    Damaged {
        /// What is wrong with it.
        why: String,
        /// Where it is now.
        aside: PathBuf,
    },
}

/// Reads the file.
///
/// # Errors
/// Reading failed, or a damaged file cannot be set aside.
pub(super) fn read<D: Disk>(disk: &D, path: &Path) -> Result<Found, AtomicFileError> {
    let io = |source| AtomicFileError::Io { path: path.to_owned(), source };
    let length = disk.len(path).map_err(io)?;
    let why = match length {
        None => return Ok(Found::Nothing),
        Some(length) if length > BYTES_MAX => format!("{length} bytes, at most {BYTES_MAX} are allowed"),
        Some(_) => match read_atomic(disk, path) {
            Ok(None) => return Ok(Found::Nothing),
            Ok(Some(bytes)) => match decode(bytes.into()) {
                Ok(lists) => return Ok(Found::Lists(lists)),
                Err(why) => why,
            },
            Err(error @ AtomicFileError::Damaged { .. }) => error.to_string(),
            Err(error) => return Err(error),
        },
    };
    let mut aside = path.to_owned().into_os_string();
    aside.push(".bad");
    let aside = PathBuf::from(aside);
    disk.rename(path, &aside).map_err(io)?;
    Ok(Found::Damaged { why, aside })
}

fn decode(mut bytes: Bytes) -> Result<wire::RevocationLists, String> {
    if !bytes.starts_with(FORMAT) {
        return Err("it begins with no known format".to_owned());
    }
    bytes.advance(FORMAT.len());
    decode_lists(bytes).map_err(|error| error.to_string())
}

/// Replaces the file.
///
/// # Errors
/// Writing failed.
pub(super) fn write<D: Disk>(disk: &D, path: &Path, lists: &Bytes) -> io::Result<()> {
    write_atomic(disk, path, &[FORMAT, lists].concat())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use catchment_journal::RealDisk;
    use catchment_proto::revocations::encode_lists;

    use super::*;

    #[test]
    fn lists_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(read(&RealDisk, &path).unwrap(), Found::Nothing);
        for list in [&b"one"[..], b"two"] {
            let lists = encode_lists([(list, None), (b"site", Some(&b"issuer"[..]))]).bytes;
            write(&RealDisk, &path, &lists).unwrap();
            let Found::Lists(read) = read(&RealDisk, &path).unwrap() else { panic!("it is whole") };
            assert_eq!(
                (read.lists.len(), &read.lists[0][..], &read.issuers[0][..]),
                (2, list, &b"issuer"[..])
            );
        }
    }

    #[test]
    fn whatever_is_wrong_with_it_a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let aside = folder.path().join("revocations.bad");
        let damage: [(&str, &dyn Fn()); 5] = [
            ("checksum", &|| {
                write(&RealDisk, &path, &encode_lists([(&b"one"[..], None)]).bytes).unwrap();
                let mut bytes = fs::read(&path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(&path, bytes).unwrap();
            }),
            ("checksum", &|| fs::write(&path, b"").unwrap()),
            ("no known format", &|| write_atomic(&RealDisk, &path, b"later version").unwrap()),
            ("cut off", &|| write(&RealDisk, &path, &Bytes::from_static(&[0x0a, 9, 1])).unwrap()),
            ("at most", &|| fs::File::create(&path).unwrap().set_len(1 << 40).unwrap()),
        ];
        for (expected, damage) in damage {
            damage();
            let Found::Damaged { why, aside: moved } = read(&RealDisk, &path).unwrap() else {
                panic!("{expected}: it is damaged")
            };
            assert!(why.contains(expected), "{why}");
            assert_eq!(moved, aside);
            assert!(aside.exists() && read(&RealDisk, &path).unwrap() == Found::Nothing);
        }
    }
}
