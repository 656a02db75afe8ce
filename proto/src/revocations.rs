//! Revocation lists on their way from an aggregator to its gateways: encoded once, sent in small parts, put together
//! again. Nothing here knows whether a list is signed.

use std::{fmt, iter};

use prost::{
    DecodeError, Message as _,
    bytes::{Buf as _, Bytes},
    encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field},
};

use crate::wire::{RevocationLists, RevocationPart};

/// Most lists, and most issuing certificates beside them.
pub const LISTS_MAX: usize = 4_096;
/// Most bytes of encoded lists.
pub const LISTS_BYTES_MAX: usize = 16 << 20;
/// Bytes of a part: few, so that an acknowledgement after it is hardly later, and a stream that is not read holds few.
pub const PART_BYTES: usize = 16 << 10;

/// Encoded lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedLists {
    /// A [`RevocationLists`].
    pub bytes: Bytes,
    /// Number of lists for which there was no room.
    pub left_out: usize,
}

/// Encodes lists (DER), each with the issuing certificate that signed it unless a root did. Those that exceed
/// [`LISTS_MAX`] or [`LISTS_BYTES_MAX`] are left out, so the most important come first.
pub fn encode_lists<'a>(lists: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> EncodedLists {
    let (mut message, mut length, mut left_out) = (RevocationLists::default(), 0, 0);
    for (list, issuer) in lists {
        let parts = iter::once(list).chain(issuer);
        let more: usize = parts.map(|part| 1 + prost::length_delimiter_len(part.len()) + part.len()).sum();
        if message.lists.len() >= LISTS_MAX || length + more > LISTS_BYTES_MAX {
            left_out += 1;
            continue;
        }
        length += more;
        message.lists.push(Bytes::copy_from_slice(list));
        message.issuers.extend(issuer.map(Bytes::copy_from_slice));
    }
    EncodedLists { bytes: message.encode_to_vec().into(), left_out }
}

/// Why lists cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListsError {
    /// A part does not follow the one before it.
    #[error("a part of the revocation lists does not follow the one before it")]
    Order,
    /// They are too long.
    #[error("the revocation lists have {0} bytes, at most {LISTS_BYTES_MAX} are allowed")]
    TooLarge(u64),
    /// They are too many.
    #[error("more than {LISTS_MAX} revocation lists or issuing certificates")]
    TooMany,
    /// They end early.
    #[error("the revocation lists are cut off")]
    Truncated,
    /// They are not what was encoded.
    #[error("the revocation lists cannot be decoded: {0}")]
    Malformed(#[from] DecodeError),
}

impl ListsError {
    /// A label for counters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) | Self::TooMany => "too_large",
            Self::Order | Self::Truncated | Self::Malformed(_) => "malformed",
        }
    }
}

/// Reads encoded lists, which share the memory of `bytes`. Allocates for [`LISTS_MAX`] entries at most, whatever the
/// bytes say.
///
/// # Errors
/// See [`ListsError`].
pub fn decode_lists(mut bytes: Bytes) -> Result<RevocationLists, ListsError> {
    if bytes.len() > LISTS_BYTES_MAX {
        return Err(ListsError::TooLarge(bytes.len() as u64));
    }
    let mut read = RevocationLists::default();
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        let into = match tag {
            1 => &mut read.lists,
            2 => &mut read.issuers,
            _ => {
                skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
                continue;
            }
        };
        check_wire_type(WireType::LengthDelimited, wire_type)?;
        let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
        if length > bytes.len() {
            return Err(ListsError::Truncated);
        }
        if into.len() >= LISTS_MAX {
            return Err(ListsError::TooMany);
        }
        into.push(bytes.split_to(length));
    }
    Ok(read)
}

/// The part of encoded lists that begins at a position; `None` at their end. Shares their memory.
pub fn part(transfer: u64, lists: &Bytes, offset: usize) -> Option<RevocationPart> {
    let rest = lists.len().checked_sub(offset).filter(|rest| *rest > 0)?;
    let content = lists.slice(offset..offset + rest.min(PART_BYTES));
    Some(RevocationPart { transfer, offset: offset as u64, bytes: lists.len() as u64, content })
}

/// Puts the parts of one stream together. Holds at most [`LISTS_BYTES_MAX`], and never more than arrived.
#[derive(Default)]
pub struct ListsAssembler {
    transfer: u64,
    /// Length of the whole; 0: nothing is being received.
    bytes: u64,
    received: Vec<u8>,
    /// The transfer was refused: its further parts are ignored.
    refused: bool,
}

impl fmt::Debug for ListsAssembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transfer, bytes, received, refused } = self;
        let received = received.len();
        f.debug_struct("ListsAssembler")
            .field("transfer", transfer)
            .field("bytes", bytes)
            .field("received", &received)
            .field("refused", refused)
            .finish()
    }
}

impl ListsAssembler {
    /// Takes a part. Returns the transfer and its lists once they are whole.
    ///
    /// # Errors
    /// See [`ListsError`]: once for a transfer, whose further parts are then ignored.
    pub fn take(&mut self, part: RevocationPart) -> Result<Option<(u64, RevocationLists)>, ListsError> {
        let taken = self.append(part);
        if !matches!(taken, Ok(None)) {
            (self.received, self.bytes) = (Vec::new(), 0);
        }
        self.refused |= taken.is_err();
        taken
    }

    fn append(&mut self, part: RevocationPart) -> Result<Option<(u64, RevocationLists)>, ListsError> {
        let RevocationPart { transfer, offset, bytes, content } = part;
        if offset == 0 {
            self.received.clear();
            (self.transfer, self.bytes, self.refused) = (transfer, bytes, false);
        } else if self.refused {
            return Ok(None);
        }
        if bytes > LISTS_BYTES_MAX as u64 {
            return Err(ListsError::TooLarge(bytes));
        }
        let received = self.received.len() as u64;
        let end = offset.saturating_add(content.len() as u64);
        let follows = (transfer, bytes, offset) == (self.transfer, self.bytes, received);
        if !follows || content.is_empty() || end > bytes {
            return Err(ListsError::Order);
        }
        if end < bytes {
            self.received.extend_from_slice(&content);
            return Ok(None);
        }
        let whole = match received {
            0 => content,
            _ => {
                self.received.extend_from_slice(&content);
                std::mem::take(&mut self.received).into()
            }
        };
        Ok(Some((transfer, decode_lists(whole)?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(transfer: u64, bytes: &Bytes) -> Vec<RevocationPart> {
        let mut offset = 0;
        let next = || {
            let next = part(transfer, bytes, offset)?;
            offset += next.content.len();
            Some(next)
        };
        iter::from_fn(next).collect()
    }

    #[test]
    fn long_lists_arrive_whole_and_share_memory() {
        let long = vec![7; 5 * PART_BYTES];
        let lists = [(&long[..], None), (b"site", Some(&b"issuer"[..]))];
        let EncodedLists { bytes, left_out } = encode_lists(lists);
        assert_eq!(left_out, 0);
        let mut assembler = ListsAssembler::default();
        let parts = parts(3, &bytes);
        assert!(parts.len() > 5 && parts.iter().all(|part| part.content.len() <= PART_BYTES));
        let taken: Vec<_> = parts.into_iter().map(|part| assembler.take(part).unwrap()).collect();
        assert!(taken.iter().rev().skip(1).all(Option::is_none));
        let (transfer, lists) = taken.last().cloned().flatten().unwrap();
        assert_eq!((transfer, lists.lists.len()), (3, 2));
        assert_eq!(
            (&lists.lists[0][..], &lists.issuers[..]),
            (&long[..], &[Bytes::from_static(b"issuer")][..])
        );
        assert_eq!(RevocationLists::decode(bytes.clone()).unwrap(), lists);
        assert!(assembler.received.is_empty());
        assert_eq!(part(3, &bytes, bytes.len()), None);
        assert_eq!(part(3, &Bytes::new(), 0), None);
    }

    #[test]
    fn a_newer_transfer_takes_the_place_of_an_unfinished_one() {
        let old = encode_lists([(&vec![1; 3 * PART_BYTES][..], None)]).bytes;
        let new = encode_lists([(&b"new"[..], None)]).bytes;
        let mut assembler = ListsAssembler::default();
        let old = parts(1, &old);
        assert_eq!(assembler.take(old[0].clone()), Ok(None));
        assert_eq!(assembler.take(old[1].clone()), Ok(None));
        let (transfer, lists) = assembler.take(parts(2, &new)[0].clone()).unwrap().unwrap();
        assert_eq!((transfer, &lists.lists[0][..]), (2, &b"new"[..]));
        assert_eq!(assembler.take(old[2].clone()), Err(ListsError::Order));
    }

    #[test]
    fn what_does_not_fit_is_refused_once_and_the_next_transfer_is_taken() {
        let bytes = encode_lists([(&vec![1; 3 * PART_BYTES][..], None)]).bytes;
        let parts = parts(1, &bytes);
        let mut assembler = ListsAssembler::default();
        assert_eq!(assembler.take(parts[1].clone()), Err(ListsError::Order), "the first part is missing");
        assert_eq!(assembler.take(parts[2].clone()), Ok(None), "refused already");
        for wrong in [
            RevocationPart { bytes: LISTS_BYTES_MAX as u64 + 1, ..parts[0].clone() },
            RevocationPart { bytes: u64::MAX, ..parts[0].clone() },
            RevocationPart { bytes: 5, ..parts[0].clone() },
            RevocationPart { content: Bytes::new(), ..parts[0].clone() },
        ] {
            assert!(assembler.take(wrong).is_err());
        }
        let (last, first) = parts.split_last().unwrap();
        for part in first {
            assert_eq!(assembler.take(part.clone()), Ok(None));
        }
        assert!(assembler.take(last.clone()).unwrap().is_some());
    }

    #[test]
    fn too_many_or_too_long_lists_are_left_out_and_refused() {
        let EncodedLists { bytes, left_out } = encode_lists((0..LISTS_MAX + 6).map(|_| (&b"x"[..], None)));
        assert_eq!((left_out, decode_lists(bytes).unwrap().lists.len()), (6, LISTS_MAX));
        let half = vec![0; LISTS_BYTES_MAX / 2];
        let EncodedLists { bytes, left_out } = encode_lists([(&half[..], None), (&half, None), (b"y", None)]);
        assert_eq!((left_out, decode_lists(bytes).unwrap().lists.len()), (1, 2));
        let many: Vec<u8> = [0x0a, 0].repeat(LISTS_MAX + 1);
        assert_eq!(decode_lists(many.into()), Err(ListsError::TooMany));
        assert_eq!(decode_lists(vec![0x0a, 2, 1].into()), Err(ListsError::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_prost_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let bytes = Bytes::from(bytes);
            let expected = RevocationLists::decode(bytes.clone()).ok();
            prop_assert_eq!(decode_lists(bytes).ok(), expected);
        }
    }
}
