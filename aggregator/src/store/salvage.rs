//! Salvage: finds sealed values in the bytes of a file, whatever surrounds them. Used for a tree that sled cannot
//! open, or of which it would drop everything after one damaged byte.
//!
//! sled stores values verbatim, next to older values of the same key; the highest sequence number counts.

pub(in crate::store) mod check;
pub(in crate::store) mod copy;
pub(in crate::store) mod folder_watch;
pub(in crate::store) mod repair;
pub(in crate::store) mod tables;
pub(in crate::store) mod verify;

use std::{
    collections::{BTreeMap, btree_map},
    fs::File,
    io,
    os::unix::fs::FileExt,
};

use crate::store::{
    blocks::block::BLOCK_BYTES_MAX,
    tree::records::{HEAD_BYTES, MAGIC, sealed},
};

/// Bytes scanned at once.
const STRIDE: usize = 4 << 20;
/// Longest value that can be found: a block, with its head, the longest key and its checksum.
const VALUE_BYTES_MAX: usize = BLOCK_BYTES_MAX + HEAD_BYTES + 255 + 4;

/// Location of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct ValueLocation {
    pub(in crate::store) sequence: u64,
    /// Index of the file.
    pub(in crate::store) file: usize,
    pub(in crate::store) offset: u64,
    pub(in crate::store) length: usize,
}

/// The newest whole value of each key.
///
/// # Errors
/// Reading failed.
pub(in crate::store) fn salvage(files: &[File]) -> io::Result<BTreeMap<Vec<u8>, ValueLocation>> {
    let mut found: BTreeMap<Vec<u8>, ValueLocation> = BTreeMap::new();
    let mut buffer = vec![0; STRIDE + VALUE_BYTES_MAX];
    for (number, file) in files.iter().enumerate() {
        let mut base = 0_u64;
        loop {
            let bytes = read(file, &mut buffer, base)?;
            salvage_stride(bytes, |key, sequence, at, length| {
                let location = ValueLocation { sequence, file: number, offset: base + at as u64, length };
                match found.entry(key.to_vec()) {
                    btree_map::Entry::Vacant(slot) => drop(slot.insert(location)),
                    btree_map::Entry::Occupied(mut slot) if slot.get().sequence < sequence => {
                        slot.insert(location);
                    }
                    btree_map::Entry::Occupied(_) => {}
                }
            });
            if bytes.len() <= STRIDE {
                break;
            }
            base += STRIDE as u64;
        }
    }
    Ok(found)
}

/// Visits the whole values that begin within the first stride of these bytes: key, sequence number, offset, length.
fn salvage_stride(bytes: &[u8], mut visit: impl FnMut(&[u8], u64, usize, usize)) {
    let [first, ..] = MAGIC;
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| byte == first)) {
        at += next;
        if at >= STRIDE {
            return;
        }
        let value = bytes.get(at..bytes.len().min(at + VALUE_BYTES_MAX)).and_then(sealed);
        at += value.map_or(1, |(value, length)| {
            visit(value.key, value.sequence, at, length);
            length
        });
    }
}

/// The value at a location.
///
/// # Errors
/// Reading failed.
pub(in crate::store) fn value(files: &[File], location: ValueLocation) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; location.length];
    let file = files.get(location.file).ok_or(io::ErrorKind::NotFound)?;
    file.read_exact_at(&mut bytes, location.offset)?;
    Ok(bytes)
}

fn read<'a>(file: &File, buffer: &'a mut [u8], from: u64) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::store::tree::records::seal;

    #[test]
    fn the_newest_whole_value_of_each_key_is_found() {
        let mut file = tempfile::tempfile().unwrap();
        let mut bytes = vec![MAGIC[0]; 100];
        let mut put = |value: Vec<u8>| bytes.extend(value);
        put(seal(5, b"a", b"newer"));
        put(seal(4, b"a", b"older"));
        put(MAGIC.to_vec());
        let mut broken = seal(9, b"a", b"broken");
        broken[20] ^= 1;
        put(broken);
        put(vec![0; STRIDE - 150]);
        let long = vec![7; BLOCK_BYTES_MAX];
        put(seal(6, b"b", &long));
        file.write_all(&bytes).unwrap();
        let found = salvage(std::slice::from_ref(&file)).unwrap();
        assert_eq!(
            found.iter().map(|(key, location)| (key.as_slice(), location.sequence)).collect::<Vec<_>>(),
            [(b"a".as_slice(), 5), (b"b".as_slice(), 6)]
        );
        let value = value(&[file], found[b"b".as_slice()]).unwrap();
        assert_eq!(sealed(&value).unwrap().0.content, long);
    }
}
