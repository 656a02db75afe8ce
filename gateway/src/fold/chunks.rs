//! Bytes that grow without being copied: a checkpoint may have hundreds of megabytes, and a worker's thread appends to
//! it in slices.

use std::mem;

use prost::encoding::{WireType, encode_key, encode_varint};

/// About the size of a chunk.
const CHUNK_BYTES: usize = 64 << 10;
/// A chunk with less than this free is full: most windows fit, and so no chunk has to grow.
const FREE_MIN: usize = 4 << 10;

/// Bytes in several pieces of memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Chunks {
    pub(super) fn new(first: Vec<u8>) -> Self {
        Self { full: Vec::new(), last: first }
    }

    pub(super) fn len(&self) -> usize {
        self.full.iter().map(Vec::len).sum::<usize>() + self.last.len()
    }

    /// What to append a few bytes to.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        if self.last.len() + FREE_MIN > CHUNK_BYTES {
            self.full.push(mem::replace(&mut self.last, Vec::with_capacity(CHUNK_BYTES)));
        }
        &mut self.last
    }

    /// Appends a field of protobuf with these bytes, which are taken: whole chunks are not copied.
    pub(super) fn put_field(&mut self, tag: u32, bytes: &mut Self) {
        let length = bytes.len() as u64;
        let tail = self.tail();
        encode_key(tag, WireType::LengthDelimited, tail);
        encode_varint(length, tail);
        self.append(bytes);
    }

    /// Appends these bytes, which are taken: whole chunks are not copied.
    pub(super) fn append(&mut self, bytes: &mut Self) {
        if bytes.full.is_empty() && self.last.len() + bytes.last.len() <= CHUNK_BYTES {
            self.last.append(&mut bytes.last);
            return;
        }
        let before = mem::replace(&mut self.last, mem::take(&mut bytes.last));
        self.full.push(before);
        self.full.append(&mut bytes.full);
    }

    /// The pieces, in order.
    pub(super) fn into_parts(self) -> Vec<Vec<u8>> {
        let mut parts = self.full;
        parts.push(self.last);
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_many_chunks_is_moved_and_one_of_few_bytes_copied() {
        let mut all = Chunks::new(vec![1, 2]);
        let mut field = Chunks::default();
        field.tail().extend([3; 300]);
        all.put_field(4, &mut field);
        assert_eq!((field.len(), all.len(), all.full.len()), (0, 2 + 3 + 300, 0));
        for _ in 0..100 {
            field.tail().extend([5; 2_000]);
        }
        let chunk = field.full[0].as_ptr();
        all.put_field(6, &mut field);
        assert_eq!((field.len(), all.full[1].as_ptr()), (0, chunk), "not copied");
        all.tail().push(7);
        assert_eq!(all.len(), 305 + 4 + 200_000 + 1);
        let parts = all.into_parts();
        assert!(parts.iter().all(|part| part.len() <= CHUNK_BYTES && part.capacity() <= CHUNK_BYTES));
        let whole = parts.concat();
        assert_eq!(whole[..5], [1, 2, 0x22, 0xac, 0x02]);
        assert_eq!(whole[305..309], [0x32, 0xc0, 0x9a, 0x0c]);
        assert_eq!((whole[309], whole[200_308], whole[200_309]), (5, 5, 7));
    }
}
