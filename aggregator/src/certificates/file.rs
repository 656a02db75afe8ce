//! The file `certificates` of a data folder: a line that names its format, then the entries in protobuf. The file is
//! replaced atomically and has a checksum (`catchment_journal::write_atomic`).

use std::{collections::HashMap, io, path::Path};

use catchment_journal::{Disk, read_atomic, write_atomic};
use catchment_proto::{GatewayId, Name};
use prost::Message;

use super::{Certificates, End, HOLDERS_MAX, Holder};

/// Its name.
pub(super) const NAME: &str = "certificates";
/// Its first line.
const FORMAT: &[u8] = b"catchment certificates 1\n";
/// Longest file that is read: as many entries as there may be, with the longest names.
const BYTES_MAX: u64 = 300 * HOLDERS_MAX as u64;
/// Entries that are copied at once.
const SLICE: usize = 1_000;

/// An entry.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(string, tag = "1")]
    site: String,
    #[prost(bool, tag = "2")]
    is_gateway: bool,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(int64, tag = "4")]
    expires_s: i64,
    #[prost(int64, tag = "5")]
    session_began_s: i64,
    #[prost(string, tag = "6")]
    told_by: String,
}

/// Replaces the file. Entries whose certificates ended before a time, Unix seconds, are removed. Nobody waits for more
/// than a slice meanwhile.
///
/// # Errors
/// Writing failed.
pub(super) fn write<D: Disk>(
    disk: &D,
    path: &Path,
    certificates: &Certificates,
    ended_before_s: i64,
) -> io::Result<()> {
    let mut bytes = FORMAT.to_vec();
    let mut last: Option<Holder> = None;
    loop {
        let slice = certificates.slice(last.as_ref(), SLICE);
        let Some((holder, _)) = slice.last() else { break };
        last = Some(holder.clone());
        for (holder, end) in slice {
            if end.expires_s < ended_before_s {
                certificates.remove(&holder, &end);
                continue;
            }
            let record = Record {
                site: holder.site.to_string(),
                is_gateway: holder.is_gateway,
                name: holder.name.to_string(),
                expires_s: end.expires_s,
                session_began_s: end.session_began_s,
                told_by: end.told_by.to_string(),
            };
            record.encode_length_delimited(&mut bytes).map_err(io::Error::other)?;
        }
    }
    write_atomic(disk, path, &bytes)
}

/// Reads the file. There is none at the first start.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read<D: Disk>(disk: &D, path: &Path) -> Result<Certificates, String> {
    let certificates = Certificates::default();
    match disk.len(path).map_err(|error| error.to_string())? {
        Some(length) if length > BYTES_MAX => {
            return Err(format!("{length} bytes, at most {BYTES_MAX} are allowed"));
        }
        _ => {}
    }
    let Some(bytes) = read_atomic(disk, path).map_err(|error| error.to_string())? else {
        return Ok(certificates);
    };
    let mut rest = bytes.strip_prefix(FORMAT).ok_or("it begins with no known format")?;
    // Sites and gateways have many entries each, which share their names.
    let mut names: HashMap<String, Name> = HashMap::new();
    let mut shared = |text: String| match names.get(&text) {
        Some(name) => Ok(name.clone()),
        None => {
            let name = Name::new(&text).map_err(|error| error.to_string())?;
            names.insert(text, name.clone());
            Ok::<_, String>(name)
        }
    };
    let mut table = certificates.table();
    while !rest.is_empty() {
        let record = Record::decode_length_delimited(&mut rest).map_err(|error| error.to_string())?;
        let (site, told_by) = (shared(record.site)?, shared(record.told_by)?);
        let name = Name::new(&record.name).map_err(|error| error.to_string())?;
        let gateway = GatewayId { site: site.clone(), name: told_by.clone() };
        let holder = Holder { site, is_gateway: record.is_gateway, name };
        let end = End { expires_s: record.expires_s, session_began_s: record.session_began_s, told_by };
        certificates.put(&mut table, &gateway, holder, end).map_err(str::to_owned)?;
    }
    table.changes = 0;
    drop(table);
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use catchment_journal::RealDisk;
    use catchment_proto::wire;

    use super::*;
    use crate::testing::gateway;

    #[test]
    fn what_was_written_is_read_and_certificates_that_ended_long_ago_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert!(read(&RealDisk, &path).unwrap().slice(None, 9).is_empty(), "the first start");
        let certificates = Certificates::default();
        let device = |number: i64| wire::DeviceCertificate {
            device: format!("d{number:04}"),
            expires_s: number + 1,
            session_began_s: 7,
        };
        for part in [0..1_000, 1_000..2_000, 2_000..2_500] {
            let told = wire::DeviceCertificates { devices: part.map(device).collect() };
            certificates.take(&gateway("berlin", "g1"), told, 1_000, |reason| panic!("{reason}"));
        }
        certificates.note_gateway(&gateway("berlin", "g1"), 9_999, 8);
        write(&RealDisk, &path, &certificates, 1_201).unwrap();
        let read = read(&RealDisk, &path).unwrap();
        assert_eq!(read.slice(None, 9_999), certificates.slice(None, 9_999));
        assert_eq!((read.slice(None, 9_999).len(), read.changes()), (1_301, 0));
        assert_eq!(read.of_gateway(&gateway("berlin", "g1")), 9_999);
        assert_eq!(read.table().told, certificates.table().told);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let written = |bytes: &[u8]| {
            write_atomic(&RealDisk, &path, bytes).unwrap();
            read(&RealDisk, &path).map(|_| ()).unwrap_err()
        };
        assert!(written(b"later version").contains("no known format"));
        for rest in [&[9][..], &[0xff; 20], &[2, 0x0a, 9], &[0]] {
            written(&[FORMAT, rest].concat());
        }
        fs::write(&path, b"torn").unwrap();
        assert!(read(&RealDisk, &path).is_err());
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&RealDisk, &path).unwrap_err().contains("at most"));
    }
}
