//! Varints at positions of a slice: the cursors of blocks keep positions instead of borrowing.

/// The varint at a position, which moves behind it; `None` if there is none.
#[inline]
pub(super) fn varint(bytes: &[u8], at: &mut u32) -> Option<u64> {
    let rest = bytes.get(*at as usize..)?;
    match rest.first() {
        Some(first) if *first < 0x80 => {
            *at += 1;
            Some(u64::from(*first))
        }
        _ => long(rest, at),
    }
}

fn long(rest: &[u8], at: &mut u32) -> Option<u64> {
    let mut behind = rest;
    let value = prost::encoding::decode_varint(&mut behind).ok()?;
    *at += (rest.len() - behind.len()) as u32;
    Some(value)
}

/// Writes a varint.
#[inline]
pub(super) fn put(value: u64, out: &mut Vec<u8>) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        prost::encoding::encode_varint(value, out);
    }
}

/// Its length in bytes.
#[inline]
pub(super) fn length(value: u64) -> usize {
    prost::encoding::encoded_len_varint(value)
}
