//! zstd, with one context a thread: making one takes longer than compressing a block.

use std::{cell::RefCell, io};

use zstd::bulk::{Compressor, Decompressor};

/// Level 3 compresses at half the speed, for windows of the same size and for minutes and hours that are 7 % smaller.
const LEVEL: i32 = 1;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Puts the compressed form of `content` into `buffer`.
pub(super) fn compress(content: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    buffer.reserve(zstd::zstd_safe::compress_bound(content.len()));
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress_to_buffer(content, buffer).map(drop)
    })
}

/// Decompresses into exactly `length` bytes; the caller bounds it.
pub(super) fn decompress(stored: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(length);
    let written = DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(stored, &mut content)
    })?;
    if written == length { Ok(content) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
