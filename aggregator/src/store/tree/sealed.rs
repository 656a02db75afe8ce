//! The format of values in the sled tree: sealed with their key, the sequence number of the write batch that wrote
//! them, and a checksum.

use prost::Message;

/// First bytes of every sealed value.
pub(in crate::store) const MAGIC: &[u8; 4] = b"\xc7CV1";
/// Bytes of a sealed value before its key: magic, sequence number (8), length of the key (1), of the content (4).
pub(in crate::store) const HEAD_BYTES: usize = 17;
const CRC_BYTES: usize = 4;

/// A sealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Sealed<'a> {
    /// Sequence number of the write batch that wrote it.
    pub(in crate::store) sequence: u64,
    pub(in crate::store) key: &'a [u8],
    pub(in crate::store) content: &'a [u8],
}

/// Seals a value: magic, sequence number, lengths of key and content (little endian), key, content, CRC-32C of
/// everything.
pub(in crate::store) fn seal(sequence: u64, key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD_BYTES + key.len() + content.len() + CRC_BYTES);
    value.extend_from_slice(MAGIC);
    value.extend(sequence.to_le_bytes());
    value.push(key.len() as u8);
    value.extend((content.len() as u32).to_le_bytes());
    value.extend_from_slice(key);
    value.extend_from_slice(content);
    let crc = crc32c::crc32c(&value);
    value.extend(crc.to_le_bytes());
    value
}

/// The value at the start of these bytes, and its length; `None` if there is none, or it is damaged.
pub(in crate::store) fn sealed(bytes: &[u8]) -> Option<(Sealed<'_>, usize)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (key_bytes, rest) = rest.split_first()?;
    let (content_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(usize::from(*key_bytes))?;
    let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*content_bytes) as usize)?;
    let (crc, _) = rest.split_first_chunk::<CRC_BYTES>()?;
    let length = HEAD_BYTES + key.len() + content.len();
    if crc32c::crc32c(bytes.get(..length)?) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((Sealed { sequence: u64::from_le_bytes(*sequence), key, content }, length + CRC_BYTES))
}

/// Unseals the value of a key.
///
/// # Errors
/// What is wrong with it, as text for people.
pub(in crate::store) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<Sealed<'a>, &'static str> {
    let (found, length) = sealed(value).ok_or("its checksum does not match")?;
    if length != value.len() {
        return Err("its length does not match");
    }
    if found.key != key { Err("it belongs to another key") } else { Ok(found) }
}

/// Decodes the message in the value of a key.
///
/// # Errors
/// What is wrong with it, as text for people.
pub(in crate::store) fn message<M: Message + Default>(key: &[u8], value: &[u8]) -> Result<M, &'static str> {
    M::decode(unseal(key, value)?.content).map_err(|_| "its content is malformed")
}
